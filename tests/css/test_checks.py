"""Program, protection, data and control checks: where the channel finds an error (PoP 15, 16)."""

from __future__ import annotations

import os

import pytest

from lab.mounts import BLOCK
from lab.programs import (
    ALERT,
    CC,
    CD,
    DATA_CHECK,
    ENDED,
    FORMAT1,
    IDA,
    MIDA,
    NOP,
    PREFETCH,
    PRIMARY,
    PROGRAM_CHECK,
    PROTECTION_CHECK,
    READ,
    SECONDARY,
    SENSE_ID,
    SKIP,
    SLI,
    STCTL,
    SUSPEND,
    WRITE,
)
from tests.css.machine import DiskMachine
from tests.machine import DATA, MEMORY, PROGRAM

KEY3 = 3 << 12


def test_a_program_check_at_the_first_ccw_starts_nothing_at_the_device(disk: DiskMachine) -> None:
    irb = disk.run((0x00, 0, 1, DATA))
    assert (irb.dstat, irb.cstat, irb.cpa) == (0, PROGRAM_CHECK, PROGRAM + 8)
    assert irb.ctrl & STCTL == ALERT | PRIMARY | SECONDARY | 1


@pytest.mark.parametrize("code", [0x00, 0x10, 0x50, 0xF0])
def test_a_command_code_with_four_low_zeros_is_invalid(disk: DiskMachine, code: int) -> None:
    assert disk.run((code, 0, 1, DATA)).cstat == PROGRAM_CHECK


@pytest.mark.parametrize("ctrl0", [0, FORMAT1], ids=["format 0", "format 1"])
@pytest.mark.parametrize("cpa", [PROGRAM + 1, PROGRAM + 4, MEMORY, MEMORY - 4])
def test_a_program_address_off_its_doubleword_or_storage_is_a_program_check(
    disk: DiskMachine, ctrl0: int, cpa: int
) -> None:
    assert disk.sch.ssch(disk.orb(ctrl0, cpa)) == 0
    disk.executor.settle()
    assert disk.take().cstat == PROGRAM_CHECK


def test_a_format_0_program_lies_below_16_mib(disk: DiskMachine) -> None:
    assert disk.sch.ssch(disk.orb(0, 1 << 24)) == 0
    disk.executor.settle()
    assert disk.take().cstat == PROGRAM_CHECK


def test_running_off_the_end_of_storage_is_a_program_check(disk: DiskMachine) -> None:
    disk.program((NOP, CC | SLI, 1, 0), at=MEMORY - 8)
    assert disk.sch.ssch(disk.orb(cpa=MEMORY - 8)) == 0
    disk.executor.settle()
    irb = disk.take()
    assert irb.cstat == PROGRAM_CHECK


def test_count_zero_in_format_0_is_a_program_check(disk: DiskMachine) -> None:
    assert disk.run((SENSE_ID, SLI, 0, DATA), ctrl0=0).cstat == PROGRAM_CHECK


def test_count_zero_with_data_chaining_in_format_1_is_a_program_check(disk: DiskMachine) -> None:
    assert disk.run((SENSE_ID, CD, 0, DATA), (0, 0, 1, DATA)).cstat == PROGRAM_CHECK


def test_count_zero_in_a_data_chained_ccw_is_a_program_check(disk: DiskMachine) -> None:
    irb = disk.run((SENSE_ID, CD, 3, DATA), (0, SLI, 0, DATA))
    assert irb.cstat == PROGRAM_CHECK
    assert irb.dstat == ENDED


def test_bit_0_of_the_data_address_in_format_1_is_a_program_check(disk: DiskMachine) -> None:
    assert disk.run((SENSE_ID, 0, 7, 1 << 31 | DATA)).cstat == PROGRAM_CHECK


def test_mida_without_the_orbs_bit_d_is_a_program_check(disk: DiskMachine) -> None:
    assert disk.run((SENSE_ID, MIDA, 7, DATA)).cstat == PROGRAM_CHECK


@pytest.mark.parametrize("other", [IDA, SKIP])
def test_mida_with_ida_or_skip_is_a_program_check(disk: DiskMachine, other: int) -> None:
    assert disk.run((SENSE_ID, MIDA | other, 7, DATA), ctrl1=0x40).cstat == PROGRAM_CHECK


def test_the_suspend_flag_without_suspend_control_is_a_program_check(disk: DiskMachine) -> None:
    assert disk.run((NOP, SUSPEND, 1, 0)).cstat == PROGRAM_CHECK


def test_the_suspend_flag_in_a_data_chained_ccw_is_a_program_check(disk: DiskMachine) -> None:
    irb = disk.run((SENSE_ID, CD, 3, DATA), (0, SUSPEND, 4, DATA), ctrl0=FORMAT1 | 0x0800)
    assert irb.cstat == PROGRAM_CHECK


def test_a_data_address_outside_storage_is_a_program_check_after_what_fits(
    disk: DiskMachine,
) -> None:
    irb = disk.run(*disk.reading(1, 1, (READ, 0, BLOCK, MEMORY - 100)))
    assert irb.cstat == PROGRAM_CHECK
    assert disk.load(MEMORY - 100, 100) == disk.blocks(1)[:100]


def test_output_from_outside_storage_is_a_program_check_and_writes_nothing_more(
    disk: DiskMachine,
) -> None:
    before = disk.blocks(0, 64)
    irb = disk.run(*disk.writing(1, 1, (WRITE, 0, BLOCK, MEMORY + 0x1000)))
    assert irb.cstat == PROGRAM_CHECK
    assert disk.blocks(0, 64) == before


def test_a_check_in_a_data_chain_keeps_what_was_transferred_before_it(disk: DiskMachine) -> None:
    irb = disk.run((SENSE_ID, CD, 3, DATA), (0, 0, 4, MEMORY))
    assert (irb.cstat, irb.cpa) == (PROGRAM_CHECK, PROGRAM + 16)
    assert disk.load(DATA, 4) == b"\xff\x63\x10\0"


def test_a_check_ends_command_chaining(disk: DiskMachine) -> None:
    irb = disk.run((SENSE_ID, CC, 7, MEMORY - 2), (SENSE_ID, 0, 7, DATA))
    assert irb.cpa == PROGRAM + 8
    assert disk.load(DATA, 7) == bytes(7)


def test_a_check_is_no_incorrect_length_as_well(disk: DiskMachine) -> None:
    assert disk.run((SENSE_ID, 0, 90, MEMORY - 2)).cstat == PROGRAM_CHECK


def test_key_0_stores_anywhere(disk: DiskMachine) -> None:
    disk.set_key(DATA, 0x58)
    assert disk.run((SENSE_ID, 0, 7, DATA)).cstat == 0


@pytest.mark.parametrize(("key", "cstat"), [(0x30, 0), (0x38, 0), (0x20, PROTECTION_CHECK)])
def test_storing_needs_the_blocks_key(disk: DiskMachine, key: int, cstat: int) -> None:
    for page in range(0, 0x20000, 4096):
        disk.set_key(page, 0x30)
    disk.set_key(DATA, key)
    irb = disk.run((SENSE_ID, 0, 7, DATA), ctrl0=FORMAT1 | KEY3)
    assert irb.cstat == cstat
    assert disk.load(DATA, 7) == (bytes(7) if cstat else disk.device.sense_id)


@pytest.mark.parametrize(("key", "cstat"), [(0x20, 0), (0x28, PROTECTION_CHECK), (0x38, 0)])
def test_fetching_needs_it_only_with_fetch_protection(
    disk: DiskMachine, key: int, cstat: int
) -> None:
    for page in range(0, 0x20000, 4096):
        disk.set_key(page, 0x30)
    disk.set_key(DATA, key)
    irb = disk.run(*disk.writing(1, 1, (WRITE, 0, BLOCK, DATA)), ctrl0=FORMAT1 | KEY3)
    assert irb.cstat == cstat


def test_protection_is_found_at_the_block_that_has_the_key(disk: DiskMachine) -> None:
    for page in range(0, 0x20000, 4096):
        disk.set_key(page, 0x30)
    disk.set_key(DATA + 4096, 0x20)
    irb = disk.run(*disk.reading(1, 1, (READ, 0, BLOCK, DATA + 4096 - 100)), ctrl0=FORMAT1 | KEY3)
    assert irb.cstat == PROTECTION_CHECK
    assert disk.load(DATA + 4096 - 100, 101) == disk.blocks(1)[:100] + b"\0"


def test_a_protected_ccw_is_a_protection_check(disk: DiskMachine) -> None:
    disk.set_key(PROGRAM, 0x28)
    irb = disk.run((SENSE_ID, 0, 7, DATA), ctrl0=FORMAT1 | KEY3)
    assert irb.cstat == PROTECTION_CHECK


@pytest.mark.parametrize("prefetch", [0, PREFETCH])
def test_storage_whose_file_was_cut_is_a_data_check_and_no_sigbus(
    disk: DiskMachine, prefetch: int
) -> None:
    program = disk.reading(1, 1, (READ, 0, BLOCK, DATA))
    disk.program(*program)
    os.truncate(disk.storage.path, DATA)
    irb = disk.run(ctrl0=FORMAT1 | prefetch)
    assert irb.cstat == DATA_CHECK


def test_a_program_whose_file_was_cut_is_a_channel_control_check(disk: DiskMachine) -> None:
    disk.program((NOP, 0, 1, 0))
    os.truncate(disk.storage.path, 4096)
    assert disk.run().cstat == 0x04


def test_a_disk_that_was_cut_is_an_equipment_check(disk: DiskMachine) -> None:
    os.truncate(disk.image, 4 * BLOCK)
    irb = disk.run(*disk.reading(8, 1, (READ, SLI, BLOCK, DATA)))
    assert irb.dstat & 0x02
    assert disk.run((0x04, SLI, 24, DATA)).cstat == 0
    assert disk.load(DATA, 1) == b"\x10"


@pytest.mark.parametrize("ctrl0", [FORMAT1, FORMAT1 | PREFETCH], ids=["fetched", "prefetched"])
def test_a_read_that_leaves_storage_is_a_program_check_and_counts_what_is_left(
    disk: DiskMachine, ctrl0: int
) -> None:
    irb = disk.run(*disk.reading(0, 32, (READ, 0, 32 * BLOCK, MEMORY - 8192)), ctrl0=ctrl0)
    assert (irb.dstat, irb.cstat, irb.count) == (ENDED, PROGRAM_CHECK, 32 * BLOCK - 8192)
    assert disk.load(MEMORY - 8192, 8192) == disk.blocks(0, 16)


@pytest.mark.parametrize("ctrl0", [FORMAT1, FORMAT1 | PREFETCH], ids=["fetched", "prefetched"])
def test_a_read_into_storage_that_was_cut_in_its_middle_is_a_data_check(
    disk: DiskMachine, ctrl0: int
) -> None:
    left = 0x20000
    os.truncate(disk.storage.path, left)
    irb = disk.run(*disk.reading(0, 32, (READ, 0, 32 * BLOCK, left - 8192)), ctrl0=ctrl0)
    assert (irb.dstat, irb.cstat) == (ENDED, DATA_CHECK)
    os.truncate(disk.storage.path, MEMORY)
