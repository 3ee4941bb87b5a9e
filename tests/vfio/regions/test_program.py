"""program_region: programs without guest storage, and half B written while half A runs."""

import errno

import pytest

from lab.programs import CC, ENDED, FBA_ID, NOP, SENSE_ID, SLI, ccws
from lab.waits import SOON, until
from tests.rig import Rig
from vfioccw_fuse.regions import constants as c

A, B, NONE = c.PROGRAM_HALF_A, c.PROGRAM_HALF_B, c.PROGRAM_HALF_NONE
SIZE = c.PROGRAM_HALF_SIZE
DATA = 0x40


def written(rig: Rig) -> int:
    """512-byte blocks of guest storage that somebody has touched."""
    return rig.system.storage.stat().st_blocks


def test_half_b_is_written_while_half_a_runs_and_no_guest_storage_is_touched(rig: Rig) -> None:
    header = rig.full.header()
    assert (header.version, header.size, header.running) == (1, 1008, NONE)
    assert (header.half_size, header.half_a, header.half_b) == (SIZE, 16, 512)
    # Longer than the requests below take, however busy the machine is.
    rig.control("delay=3s")
    rig.full.write_half(A, ccws((SENSE_ID, 0, 7, DATA)))
    assert rig.full.start_half(A) == 0
    assert rig.full.header().running == A

    rig.full.write_half(B, ccws((NOP, CC | SLI, 1, 0), (SENSE_ID, 0, 7, DATA)))
    assert rig.full.header().running == A, "half A still runs"
    with pytest.raises(OSError, match="busy") as locked:
        rig.full.write_half(A, b"\xff" * 8)
    assert locked.value.errno == errno.EBUSY
    assert rig.full.start_half(B) == 2

    first = rig.take()
    assert (first.scsw_dstat, first.scsw_cpa) == (ENDED, 8)
    assert rig.full.read_half(A, 7, DATA) == FBA_ID
    assert rig.full.header().running == NONE
    rig.control("delay=0s")
    assert rig.full.start_half(B) == 0
    second = rig.take()
    assert (second.scsw_dstat, second.scsw_cpa) == (ENDED, 16)
    assert rig.full.read_half(B, 7, DATA) == FBA_ID
    assert written(rig) == 0


def test_double_buffering_in_a_loop_loses_no_program(rig: Rig) -> None:
    halves = (A, B)
    rig.full.write_half(A, ccws((SENSE_ID, SLI, 1, DATA)))
    for number in range(50):
        now, following = halves[number % 2], halves[1 - number % 2]
        assert rig.full.start_half(now) == 0
        rig.full.write_half(following, ccws((SENSE_ID, SLI, 1 + number % 7, DATA)))
        rig.full.write_half(following, bytes(8), DATA)
        irb = rig.take()
        assert irb.scsw_dstat == ENDED
        count = 1 if number == 0 else 1 + (number - 1) % 7
        assert rig.full.read_half(now, 8, DATA) == FBA_ID[:count].ljust(8, b"\0")
    assert rig.full.status().starts == 50
    assert written(rig) == 0


def test_the_lock_ends_with_halt_clear_and_cancel(rig: Rig) -> None:
    rig.full.write_half(A, ccws((NOP, SLI, 1, 0)))
    for end in ("halt", "clear", "cancel"):
        rig.control("delay=60s")
        assert rig.full.start_half(A) == 0
        assert rig.full.header().running == A
        if end == "cancel":
            assert rig.full.cancel() == 0
        else:
            assert getattr(rig.sub, end)() == 0
            assert rig.sub.wait(SOON)
            rig.sub.result()
        until(lambda: rig.full.header().running == NONE, f"the half is free after {end}")
        rig.full.write_half(A, ccws((NOP, SLI, 1, 0)))


@pytest.mark.parametrize(
    ("program", "cstat"),
    [
        (ccws((SENSE_ID, SLI, 7, SIZE)), c.SCSW_CSTAT_PROG_CHECK),
        (ccws((SENSE_ID, SLI, 7, 0x2000)), c.SCSW_CSTAT_PROG_CHECK),
        (ccws((c.CCW_CMD_TIC, 0, 0, SIZE)), c.SCSW_CSTAT_PROG_CHECK),
        (ccws((c.CCW_CMD_TIC, 0, 0, 0x2000)), c.SCSW_CSTAT_PROG_CHECK),
        (ccws((NOP, CC | SLI, 1, 0)) * (SIZE // 8), c.SCSW_CSTAT_PROG_CHECK),
    ],
    ids=["data at the end", "data far away", "tic to the end", "tic far away", "runs off the end"],
)
def test_addresses_are_offsets_in_the_half_and_are_checked(rig: Rig, program, cstat) -> None:
    rig.full.write_half(A, program)
    assert rig.full.start_half(A) == 0
    assert rig.take().scsw_cstat == cstat


def test_data_may_reach_to_the_halfs_last_byte_and_no_further(rig: Rig) -> None:
    rig.full.write_half(B, b"\xaa" * 16)
    rig.full.write_half(A, ccws((SENSE_ID, SLI, 7, SIZE - 7)))
    assert rig.full.start_half(A) == 0
    assert rig.take().scsw_dstat == ENDED
    assert rig.full.read_half(A, 7, SIZE - 7) == FBA_ID
    assert rig.full.read_half(B, 16) == b"\xaa" * 16


def test_the_header_is_read_only(rig: Rig) -> None:
    with (
        (rig.path / "program_region").open("r+b", buffering=0) as file,
        pytest.raises(OSError, match="Invalid"),
    ):
        file.write(b"\0")


def test_a_write_over_both_halves_is_refused_whole_while_one_runs(rig: Rig) -> None:
    rig.full.write_half(A, ccws((NOP, SLI, 1, 0)))
    rig.control("delay=60s")
    assert rig.full.start_half(A) == 0
    with (rig.path / "program_region").open("r+b", buffering=0) as file:
        file.seek(16)
        with pytest.raises(OSError, match="busy"):
            file.write(b"\x55" * (1008 - 16))
    assert rig.full.read_half(B, 16) == bytes(16)
    assert rig.full.cancel() == 0
