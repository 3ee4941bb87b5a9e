"""XSCH, RSCH, MSCH and SSCH by command: the errno of the write, the exact cc in status_region."""

import errno
import os
import struct

import pytest

from lab.programs import BITS, CC, ENDED, FORMAT1, NOP, SLI, SPND, SUSPEND, ccws, command, orb
from tests.rig import PROGRAM, Rig
from vfioccw_fuse.client import RequestFailed
from vfioccw_fuse.regions import constants as c
from vfioccw_fuse.regions.layouts import CmdRegion

SITUATIONS = ("idle", "start pending", "active", "suspended", "status pending", "not operational")
CODES = {
    #        idle, start pending, active, suspended, status pending, not operational
    "xsch": (2, 0, 2, 0, 1, 3),
    "rsch": (2, 2, 2, 0, 1, 3),
    "msch": (0, 2, 2, 2, 1, 0),
    "ssch": (0, 2, 2, 2, 1, 3),
    "hsch": (0, 0, 0, 0, 1, 3),
    "csch": (0, 0, 0, 0, 0, 3),
}
ERRNOS = {0: 0, 1: errno.EBUSY, 2: errno.EBUSY, 3: errno.ENODEV}


def do(rig: Rig, instruction: str) -> int:
    """The errno of the write, 0 if it was accepted."""
    try:
        if instruction == "msch":
            data = (rig.path / "schib_region").read_bytes()
            with (rig.path / "schib_region").open("r+b", buffering=0) as file:
                file.write(data)
        else:
            with (rig.path / "cmd_region").open("r+b", buffering=0) as file:
                file.write(command(BITS[instruction]))
    except OSError as refused:
        return refused.errno or -1
    return 0


def put_orb(rig: Rig) -> None:
    """Into the io region's orb_area alone: it only lands."""
    with (rig.path / "io_region").open("r+b", buffering=0) as file:
        file.write(orb(PROGRAM, FORMAT1 | SPND, intparm=0xAB))


@pytest.mark.parametrize("instruction", CODES)
def test_each_situation_has_its_condition_code_and_errno(rig: Rig, instruction: str) -> None:
    for situation, cc in zip(SITUATIONS, CODES[instruction], strict=True):
        rig.situation(situation)
        put_orb(rig)
        before = rig.full.status()
        assert do(rig, instruction) == ERRNOS[cc], situation
        status = rig.full.status()
        assert status.cc == cc, situation
        assert status.ret_code == -ERRNOS[cc] & 0xFFFFFFFF
        if instruction != "msch":
            assert status.command == BITS[instruction]
            _, ret_code = struct.unpack("=II", (rig.path / "cmd_region").read_bytes())
            assert ret_code == status.ret_code
        counted = {1: "ebusy_status_pending", 2: "ebusy_busy"}.get(cc)
        for name in ("ebusy_status_pending", "ebusy_busy"):
            grown = getattr(status, name) - getattr(before, name)
            assert grown == (name == counted)
        if cc:
            assert status.scsw_area == before.scsw_area


def test_xsch_cancels_at_once_and_no_interruption_follows(rig: Rig) -> None:
    rig.situation("idle")
    delay = 0.3
    while True:
        rig.control(f"delay={delay}s")
        assert rig.start((0xE4, SLI, 7, 0x3000)) == 0
        rig.sub.storage.view[0x3000:0x3007] = bytes(7)
        if (cc := rig.full.cancel()) == 0:
            break
        # On a busy machine that may have been too late.
        assert cc in (1, 2)
        rig.take()
        delay *= 2
    status = rig.full.status()
    assert status.fsm_state == 2
    assert status.scsw_area[2:4] == b"\0\0"
    assert not rig.sub.wait(2 * delay)
    assert rig.full.status().pending == 0
    assert bytes(rig.sub.storage.view[0x3000:0x3007]) == bytes(7)
    rig.control("delay=0s")
    assert rig.start((NOP, SLI, 1, 0)) == 0
    assert rig.take().scsw_dstat == ENDED


def test_rsch_resumes_with_the_ccw_as_it_is_then(rig: Rig) -> None:
    rig.situation("suspended")
    rig.sub.storage.view[PROGRAM + 8 : PROGRAM + 16] = ccws((NOP, SLI, 1, 0))
    assert rig.full.resume() == 0
    irb = rig.take()
    assert (irb.scsw_dstat, irb.scsw_cpa) == (ENDED, PROGRAM + 16)
    assert rig.full.measurement().ssch_rsch_count == 2


def test_a_ccw_that_still_has_the_flag_suspends_again(rig: Rig) -> None:
    rig.situation("suspended")
    for _ in range(3):
        assert rig.full.resume() == 0
        assert rig.take().scsw_ctrl & c.SCSW_ACTL_SUSP
    assert rig.full.cancel() == 0


def test_ssch_by_command_starts_with_the_orb_that_was_only_put_down(rig: Rig) -> None:
    rig.situation("idle")
    rig.sub.storage.view[PROGRAM : PROGRAM + 16] = ccws(
        (NOP, CC | SLI, 1, 0), (NOP, SLI | SUSPEND, 1, 0)
    )
    put_orb(rig)
    assert rig.full.status().starts == 0
    assert do(rig, "ssch") == 0
    assert rig.take().scsw_ctrl & c.SCSW_ACTL_SUSP
    assert rig.full.store().pmcw_intparm == 0xAB
    assert rig.full.cancel() == 0


def test_msch_changes_what_may_be_changed_and_stsch_shows_it(rig: Rig) -> None:
    rig.situation("idle")
    before = rig.full.store()
    wanted = before._replace(
        pmcw_intparm=0xCAFE, pmcw_lpm=0x40, pmcw_devno=0x9999, pmcw_pim=0xFF, pmcw_chpid=bytes(8)
    )
    assert rig.full.modify(wanted) == 0
    expected = before._replace(pmcw_intparm=0xCAFE, pmcw_lpm=0x40)
    assert rig.full.store() == expected


def test_a_subchannel_that_msch_disabled_refuses_all_until_it_is_enabled_again(rig: Rig) -> None:
    rig.situation("idle")
    schib = rig.full.store()
    assert rig.full.modify(schib._replace(pmcw_flags=schib.pmcw_flags & ~0x80)) == 0
    assert do(rig, "csch") == errno.ENODEV
    assert rig.start((NOP, SLI, 1, 0)) == 3
    assert rig.full.modify(schib) == 0
    assert rig.start((NOP, SLI, 1, 0)) == 0
    assert rig.take().scsw_dstat == ENDED


def test_limit_mode_3_is_eio_and_unknown_commands_and_wrong_sizes_are_einval(rig: Rig) -> None:
    rig.situation("idle")
    schib = rig.full.store()
    with pytest.raises(RequestFailed) as refused:
        rig.full.modify(schib._replace(pmcw_flags=schib.pmcw_flags | 0x0060))
    assert refused.value.errno == errno.EIO
    for bits in (0, 3, 1 << 7, 1 << 31):
        with pytest.raises(RequestFailed) as refused:
            rig.full.command("unknown", bits)
        assert refused.value.errno == errno.EINVAL
    with (
        (rig.path / "schib_region").open("r+b", buffering=0) as file,
        pytest.raises(OSError, match="Invalid"),
    ):
        file.write(bytes(51))


def test_the_client_says_that_an_older_interface_lacks_them(mount) -> None:
    from vfioccw_fuse.client import Unsupported
    from vfioccw_fuse.client.full import FullSubchannel

    with pytest.raises(Unsupported, match="status_region"):
        FullSubchannel(mount("--interface=async").subchannel)
    with pytest.raises(FileNotFoundError):
        FullSubchannel("/nowhere/0.0.0313")
    assert CmdRegion(1, 0).command == 1


def test_through_the_device_file_the_commands_are_the_same(rig: Rig) -> None:
    rig.situation("start pending")
    fd = os.open(rig.path / "device", os.O_RDWR)
    try:
        os.pwrite(fd, command(BITS["xsch"]), 1 << 10)
        assert rig.full.status().cc == 0
        assert os.pread(fd, 128, 4 << 10)[5] == 0
    finally:
        os.close(fd)
