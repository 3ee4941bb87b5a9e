"""Command chaining, data chaining, TIC, status modifier: PoP chapter 15, Chaining."""

from __future__ import annotations

import pytest

from lab.mounts import BLOCK
from lab.programs import (
    CC,
    CD,
    ENDED,
    FORMAT1,
    INCORRECT_LENGTH,
    INTERMEDIATE,
    NOP,
    PCI,
    PREFETCH,
    PROGRAM_CHECK,
    RDC,
    READ,
    SENSE_ID,
    SKIP,
    SLI,
    STCTL,
    TIC,
    WRITE,
)
from tests.css.machine import DiskMachine, ProbeMachine
from tests.machine import DATA, PROGRAM

ID = bytes.fromhex("ff631001933600")
BOTH = pytest.mark.parametrize("prefetch", [0, PREFETCH], ids=["not prefetched", "prefetched"])


@pytest.mark.parametrize("ctrl0", [0, FORMAT1], ids=["format 0", "format 1"])
def test_a_program_of_one_ccw_transfers_and_ends_with_channel_end_and_device_end(
    disk: DiskMachine, ctrl0: int
) -> None:
    irb = disk.run((SENSE_ID, 0, 7, DATA), ctrl0=ctrl0)
    assert disk.load(DATA, 8) == ID + b"\0"
    assert (irb.dstat, irb.cstat, irb.count, irb.cpa) == (ENDED, 0, 0, PROGRAM + 8)
    assert irb.ctrl == 0x4007


def test_command_chaining_goes_on_after_device_end_with_the_next_doubleword(
    disk: DiskMachine,
) -> None:
    irb = disk.run((NOP, CC | SLI, 1, 0), (SENSE_ID, CC, 7, DATA), (RDC, 0, 32, DATA + 0x100))
    assert (irb.dstat, irb.cstat, irb.cpa) == (ENDED, 0, PROGRAM + 24)
    assert disk.load(DATA, 7) == ID
    assert disk.load(DATA + 0x100, 4) == bytes.fromhex("30082111")


def test_command_chaining_ends_at_unit_check(disk: DiskMachine) -> None:
    irb = disk.run((0xF3, CC | SLI, 1, 0), (SENSE_ID, 0, 7, DATA))
    assert irb.dstat & 0x02
    assert irb.cpa == PROGRAM + 8
    assert disk.load(DATA, 7) == bytes(7)


@BOTH
def test_data_chaining_scatters_one_block_over_the_areas(disk: DiskMachine, prefetch: int) -> None:
    irb = disk.run(
        *disk.reading(
            3, 1,
            (READ, CD, 100, DATA), (0, CD, 1, DATA + 0x1000), (0xFF, 0, 411, DATA + 0x2000),
        ),
        ctrl0=FORMAT1 | prefetch,
    )  # fmt: skip
    got = disk.load(DATA, 100) + disk.load(DATA + 0x1000, 1) + disk.load(DATA + 0x2000, 411)
    assert got == disk.blocks(3)
    assert disk.load(DATA + 100, 4) == bytes(4)
    assert (irb.dstat, irb.cstat, irb.count, irb.cpa) == (ENDED, 0, 0, PROGRAM + 40)


@BOTH
def test_data_chaining_gathers_one_block_from_the_areas(disk: DiskMachine, prefetch: int) -> None:
    disk.store(DATA, b"a" * 500)
    disk.store(DATA + 0x1000, b"b" * 12)
    irb = disk.run(
        *disk.writing(7, 1, (WRITE, CD, 500, DATA), (0, 0, 12, DATA + 0x1000)),
        ctrl0=FORMAT1 | prefetch,
    )
    assert (irb.dstat, irb.cstat) == (ENDED, 0)
    assert disk.blocks(7) == b"a" * 500 + b"b" * 12


def test_the_command_code_of_a_data_chained_ccw_is_ignored(disk: DiskMachine) -> None:
    irb = disk.run((SENSE_ID, CD, 3, DATA), (0xF3, 0, 4, DATA + 3))
    assert (irb.dstat, irb.cstat) == (ENDED, 0)
    assert disk.load(DATA, 7) == ID


def test_after_the_last_data_chained_ccw_command_chaining_goes_on(disk: DiskMachine) -> None:
    irb = disk.run((SENSE_ID, CD, 3, DATA), (0, CC, 4, DATA + 3), (SENSE_ID, 0, 7, DATA + 0x100))
    assert irb.cstat == 0
    assert disk.load(DATA + 0x100, 7) == ID


def test_skip_transfers_nothing_to_storage_and_uses_the_count(disk: DiskMachine) -> None:
    irb = disk.run((SENSE_ID, CD | SKIP, 3, DATA), (0, 0, 4, DATA + 0x100))
    assert (irb.cstat, irb.count) == (0, 0)
    assert disk.load(DATA, 8) == bytes(8)
    assert disk.load(DATA + 0x100, 5) == ID[3:] + b"\0"


def test_skip_does_not_test_the_data_address(disk: DiskMachine) -> None:
    irb = disk.run((SENSE_ID, SKIP, 7, 0x7FFFFF00))
    assert (irb.dstat, irb.cstat) == (ENDED, 0)


def test_skip_is_ignored_on_output(disk: DiskMachine) -> None:
    disk.store(DATA, b"w" * BLOCK)
    irb = disk.run(*disk.writing(9, 1, (WRITE, SKIP, BLOCK, DATA)))
    assert (irb.dstat, irb.cstat) == (ENDED, 0)
    assert disk.blocks(9) == b"w" * BLOCK


def test_tic_goes_on_at_its_data_address_and_is_no_command(disk: DiskMachine) -> None:
    disk.program((SENSE_ID, 0, 7, DATA), at=PROGRAM + 0x800)
    irb = disk.run((NOP, CC | SLI, 1, 0), (TIC, 0, 0, PROGRAM + 0x800))
    assert (irb.dstat, irb.cstat, irb.cpa) == (ENDED, 0, PROGRAM + 0x808)
    assert disk.load(DATA, 7) == ID


def test_tic_may_stand_in_a_data_chain(disk: DiskMachine) -> None:
    disk.program((0, 0, 4, DATA + 3), at=PROGRAM + 0x800)
    irb = disk.run((SENSE_ID, CD, 3, DATA), (TIC, 0, 0, PROGRAM + 0x800))
    assert (irb.dstat, irb.cstat) == (ENDED, 0)
    assert disk.load(DATA, 7) == ID


def test_tic_to_tic_is_a_program_check(disk: DiskMachine) -> None:
    disk.program((TIC, 0, 0, PROGRAM), at=PROGRAM + 0x800)
    irb = disk.run((NOP, CC | SLI, 1, 0), (TIC, 0, 0, PROGRAM + 0x800))
    assert irb.cstat == PROGRAM_CHECK


def test_tic_as_the_first_ccw_is_a_program_check(disk: DiskMachine) -> None:
    assert disk.run((TIC, 0, 0, PROGRAM + 8), (NOP, 0, 1, 0)).cstat == PROGRAM_CHECK


@pytest.mark.parametrize("target", [PROGRAM + 4, PROGRAM + 1, 0x7FFFFFF8])
def test_tic_to_a_wrong_address_is_a_program_check(disk: DiskMachine, target: int) -> None:
    assert disk.run((NOP, CC | SLI, 1, 0), (TIC, 0, 0, target)).cstat == PROGRAM_CHECK


@pytest.mark.parametrize("tic", [(TIC, CC, 0), (TIC, 0, 1), (0x18, 0, 0)])
def test_in_format_1_a_tic_has_nothing_but_its_address(
    disk: DiskMachine, tic: tuple[int, int, int]
) -> None:
    disk.program((SENSE_ID, 0, 7, DATA), at=PROGRAM + 0x800)
    irb = disk.run((NOP, CC | SLI, 1, 0), (*tic, PROGRAM + 0x800))
    assert irb.cstat == PROGRAM_CHECK


@pytest.mark.parametrize("tic", [(TIC, 0xFF, 0), (TIC, 0, 1), (0xF8, 0, 0)])
def test_in_format_0_all_of_a_tic_but_four_bits_and_the_address_is_ignored(
    disk: DiskMachine, tic: tuple[int, int, int]
) -> None:
    disk.program((SENSE_ID, 0, 7, DATA), at=PROGRAM + 0x800, format1=False)
    irb = disk.run((NOP, CC | SLI, 1, 0), (*tic, PROGRAM + 0x800), ctrl0=0)
    assert irb.cstat == 0
    assert disk.load(DATA, 7) == ID


def test_status_modifier_skips_the_next_ccw(probe: ProbeMachine) -> None:
    irb = probe.run((0x17, CC | SLI, 1, 0), (0x47, CC | SLI, 1, 0), (0x02, 0, 100, DATA))
    assert (irb.dstat, irb.cstat, irb.cpa) == (ENDED, 0, PROGRAM + 24)
    assert probe.load(DATA, 100) == probe.probe.data


def test_status_modifier_leaves_a_search_loop_by_tic(probe: ProbeMachine) -> None:
    probe.program((0x02, 0, 100, DATA), at=PROGRAM + 16)
    irb = probe.run((0x17, CC | SLI, 1, 0), (TIC, 0, 0, PROGRAM))
    assert irb.cpa == PROGRAM + 24
    assert probe.load(DATA, 3) == b"\1\2\3"


def test_status_modifier_without_command_chaining_is_only_status(probe: ProbeMachine) -> None:
    irb = probe.run((0x17, SLI, 1, 0), (0x47, 0, 1, 0))
    assert irb.dstat == ENDED | 0x40
    assert irb.cpa == PROGRAM + 8


def test_channel_end_alone_under_command_chaining_waits_for_device_end(probe: ProbeMachine) -> None:
    probe.start((0x27, CC | SLI, 1, 0), (0x02, 0, 100, DATA))
    assert not probe.sch.scsw.status_pending
    probe.device.attention(0x04)
    probe.executor.settle()
    irb = probe.take()
    assert (irb.dstat, irb.cstat, irb.cpa) == (ENDED, 0, PROGRAM + 16)


def test_a_program_that_is_not_prefetched_may_be_changed_while_it_runs(disk: DiskMachine) -> None:
    # The first command reads what becomes the second CCW: 8 bytes of the disk's identity follow.
    disk.program((SENSE_ID, CC, 7, PROGRAM + 8 + 0x100))
    ccw = bytes([SENSE_ID, 0, 0, 7]) + (DATA).to_bytes(4, "big")
    block = ccw + bytes(BLOCK - 8)
    with disk.image.open("r+b") as image:
        image.seek(5 * BLOCK)
        image.write(block)
    irb = disk.run(*disk.reading(5, 1, (READ, CC | SLI, 8, PROGRAM + 24)))
    assert (irb.dstat, irb.cstat, irb.cpa) == (ENDED, 0, PROGRAM + 32)
    assert disk.load(DATA, 7) == ID


def test_a_data_chain_that_is_not_prefetched_may_bring_its_own_next_ccw(
    probe: ProbeMachine,
) -> None:
    # The CCW of the chain is part of what the first 8 bytes of the data overwrite.
    probe.probe.data = bytes([0, 0, 0, 4]) + DATA.to_bytes(4, "big") + b"tail"
    irb = probe.run((0x02, CD, 8, PROGRAM + 8), (0, 0, 99, 0x7FFFFFFF))
    assert (irb.dstat, irb.cstat) == (ENDED, 0)
    assert probe.load(DATA, 4) == b"tail"


def test_a_pci_in_a_data_chain_is_reported_when_the_ccw_is_fetched(probe: ProbeMachine) -> None:
    probe.start((0x02, CD, 8, DATA), (0, PCI, 92, DATA + 8))
    irb = probe.take()
    assert irb.cstat == 0x80
    assert irb.ctrl & STCTL == INTERMEDIATE | 1
    assert probe.take().dstat == ENDED


def test_a_pci_in_an_endless_loop_does_not_pile_up_without_bound(disk: DiskMachine) -> None:
    shown: list[bytes] = []
    pending = disk.sch.pending
    pending.on_status_pending = lambda: None if pending.shown else shown.append(pending.show())
    disk.start((NOP, CC | SLI | PCI, 1, 0), (TIC, 0, 0, PROGRAM))
    assert len(shown) == 1
    assert len(disk.sch.pending.queue) < 100


@BOTH
def test_a_block_that_ends_with_the_count_fetches_the_chained_ccw_all_the_same(
    disk: DiskMachine, prefetch: int
) -> None:
    irb = disk.run((SENSE_ID, CD, 7, DATA), (0, 0, 9, DATA), ctrl0=FORMAT1 | prefetch)
    assert (irb.cstat, irb.count, irb.cpa) == (INCORRECT_LENGTH, 9, PROGRAM + 16)
