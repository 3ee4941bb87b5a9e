"""Indirect data addressing by IDAWs and MIDAWs: PoP chapter 15."""

from __future__ import annotations

import struct

import pytest

from lab.mounts import BLOCK
from lab.programs import (
    CC,
    CD,
    ENDED,
    FORMAT1,
    IDA,
    INCORRECT_LENGTH,
    MIDA,
    PREFETCH,
    PROGRAM_CHECK,
    READ,
    SENSE_ID,
    SKIP,
    SLI,
    WRITE,
)
from tests.css.machine import DiskMachine, ProbeMachine
from tests.machine import DATA, LISTS, MEMORY
from vfioccw_fuse.regions import constants as c

FORMAT2 = c.ORB_CTRL0_MASK_C64
T2K = c.ORB_CTRL0_MASK_I2K
MIDAW = c.ORB_CTRL1_MASK_MIDAW
COUNT = 6 * BLOCK
KINDS = pytest.mark.parametrize(
    ("ctrl0", "unit"),
    [(0, 2048), (FORMAT2, 4096), (FORMAT2 | T2K, 2048)],
    ids=["format 1", "format 2, 4K", "format 2, 2K"],
)


def idal(ctrl0: int, *addresses: int) -> bytes:
    return struct.pack(f">{len(addresses)}{'Q' if ctrl0 & FORMAT2 else 'I'}", *addresses)


def midaw(flags: int, count: int, address: int, reserved: int = 0) -> bytes:
    return struct.pack(">IBBHQ", 0, reserved, flags, count, address)


@KINDS
@pytest.mark.parametrize("inside", [0, 1000, 2047])
def test_the_first_idaw_begins_anywhere_the_next_at_a_block(
    disk: DiskMachine, ctrl0: int, unit: int, inside: int
) -> None:
    second = DATA + 0x8000
    disk.store(LISTS, idal(ctrl0, DATA + inside, second, second + unit))
    irb = disk.run(*disk.reading(4, 6, (READ, IDA, COUNT, LISTS)), ctrl0=FORMAT1 | ctrl0)
    assert (irb.dstat, irb.cstat, irb.count) == (ENDED, 0, 0)
    first = min(unit - inside, COUNT)
    got = disk.load(DATA + inside, first) + disk.load(second, COUNT - first)
    assert got == disk.blocks(4, 6)
    assert disk.load(second + COUNT - first, 1) == b"\0"


@KINDS
def test_output_by_idaws_gathers_the_blocks(disk: DiskMachine, ctrl0: int, unit: int) -> None:
    disk.store(DATA + unit - 8, b"a" * 8)
    disk.store(DATA + 0x8000, b"b" * 504)
    disk.store(LISTS, idal(ctrl0, DATA + unit - 8, DATA + 0x8000))
    irb = disk.run(*disk.writing(4, 1, (WRITE, IDA, BLOCK, LISTS)), ctrl0=FORMAT1 | ctrl0)
    assert (irb.dstat, irb.cstat) == (ENDED, 0)
    assert disk.blocks(4) == b"a" * 8 + b"b" * 504


@KINDS
def test_an_idaw_after_the_first_off_its_block_is_a_program_check(
    disk: DiskMachine, ctrl0: int, unit: int
) -> None:
    disk.store(LISTS, idal(ctrl0, DATA + unit - 8, DATA + 0x8000 + 8))
    irb = disk.run(*disk.reading(4, 1, (READ, IDA, BLOCK, LISTS)), ctrl0=FORMAT1 | ctrl0)
    assert irb.cstat == PROGRAM_CHECK
    assert disk.load(DATA + unit - 8, 9) == disk.blocks(4)[:8] + b"\0"


@pytest.mark.parametrize("ctrl0", [FORMAT2, FORMAT2 | T2K])
def test_an_idaw_of_2k_blocks_crosses_no_2k_boundary(disk: DiskMachine, ctrl0: int) -> None:
    disk.store(LISTS, idal(ctrl0, DATA + 2048 - 8, DATA + 0x8000))
    irb = disk.run(*disk.reading(4, 1, (READ, IDA, BLOCK, LISTS)), ctrl0=FORMAT1 | ctrl0)
    assert irb.cstat == 0
    assert (disk.load(DATA + 0x8000, 2) != bytes(2)) == bool(ctrl0 & T2K)


@pytest.mark.parametrize(("ctrl0", "wrong"), [(0, 2), (FORMAT2, 4)])
def test_an_idal_off_its_boundary_is_a_program_check(
    disk: DiskMachine, ctrl0: int, wrong: int
) -> None:
    disk.store(LISTS, bytes(64))
    irb = disk.run((SENSE_ID, IDA, 7, LISTS + wrong), ctrl0=FORMAT1 | ctrl0)
    assert irb.cstat == PROGRAM_CHECK


def test_an_idal_outside_storage_is_a_program_check(disk: DiskMachine) -> None:
    assert disk.run((SENSE_ID, IDA, 7, MEMORY)).cstat == PROGRAM_CHECK


def test_an_idal_that_runs_off_storage_is_used_up_to_there(disk: DiskMachine) -> None:
    disk.store(MEMORY - 4, idal(0, DATA + 2040))
    irb = disk.run(*disk.reading(4, 1, (READ, IDA, BLOCK, MEMORY - 4)))
    assert irb.cstat == PROGRAM_CHECK
    assert disk.load(DATA + 2040, 8) == disk.blocks(4)[:8]


@pytest.mark.parametrize(("ctrl0", "word"), [(0, 1 << 31 | DATA), (0, MEMORY), (FORMAT2, 1 << 40)])
def test_an_idaw_that_names_no_storage_is_a_program_check(
    disk: DiskMachine, ctrl0: int, word: int
) -> None:
    disk.store(LISTS, idal(ctrl0, word))
    assert disk.run((SENSE_ID, IDA, 7, LISTS), ctrl0=FORMAT1 | ctrl0).cstat == PROGRAM_CHECK


def test_idaws_that_are_not_used_are_not_looked_at(disk: DiskMachine) -> None:
    disk.store(LISTS, idal(0, DATA, 0xFFFFFFFF, 0xFFFFFFFF))
    irb = disk.run((SENSE_ID, IDA | SLI, 5000, LISTS))
    assert (irb.cstat, irb.count) == (0, 4993)


def test_ida_with_skip_does_not_look_at_the_list(disk: DiskMachine) -> None:
    assert disk.run((SENSE_ID, IDA | SKIP, 7, MEMORY + 2)).cstat == 0


def test_direct_and_indirect_ccws_mix_in_one_data_chain(disk: DiskMachine) -> None:
    disk.store(LISTS, idal(0, DATA + 0x1000))
    irb = disk.run((SENSE_ID, CD, 3, DATA), (0, IDA, 4, LISTS))
    assert irb.cstat == 0
    assert disk.load(DATA, 3) + disk.load(DATA + 0x1000, 4) == disk.device.sense_id


def test_backward_idaws_end_their_blocks(probe: ProbeMachine) -> None:
    probe.store(LISTS, idal(0, DATA + 0x1000 + 39, DATA + 0x87FF))
    irb = probe.run((0x0C, IDA, 100, LISTS))
    assert (irb.dstat, irb.cstat) == (ENDED, 0)
    got = probe.load(DATA + 0x8800 - 60, 60) + probe.load(DATA + 0x1000, 40)
    assert got == probe.probe.data


@pytest.mark.parametrize("prefetch", [0, PREFETCH])
def test_midaws_scatter_by_any_address_and_count(disk: DiskMachine, prefetch: int) -> None:
    disk.store(
        LISTS,
        midaw(0, 5, DATA + 3) + midaw(0, 500, DATA + 0x1100) + midaw(0x80, 7, DATA + 0x2001),
    )
    irb = disk.run(
        *disk.reading(4, 1, (READ, MIDA, BLOCK, LISTS)), ctrl0=FORMAT1 | prefetch, ctrl1=MIDAW
    )
    assert (irb.dstat, irb.cstat, irb.count) == (ENDED, 0, 0)
    got = disk.load(DATA + 3, 5) + disk.load(DATA + 0x1100, 500) + disk.load(DATA + 0x2001, 7)
    assert got == disk.blocks(4)


def test_a_midaw_with_skip_stores_nothing(disk: DiskMachine) -> None:
    disk.store(LISTS, midaw(0x40, 3, 0) + midaw(0x80, 4, DATA))
    irb = disk.run((SENSE_ID, MIDA, 7, LISTS), ctrl1=MIDAW)
    assert irb.cstat == 0
    assert disk.load(DATA, 4) == disk.device.sense_id[3:]


@pytest.mark.parametrize(
    "words",
    [
        midaw(0x80, 7, DATA, reserved=1),
        midaw(0x88, 7, DATA),
        midaw(0x00, 0, DATA),
        midaw(0x80, 6, DATA),
        midaw(0x80, 8, DATA),
        midaw(0x80, 7, DATA + 4093),
        midaw(0x80, 7, MEMORY),
        midaw(0x80, 7, 1 << 62),
    ],
    ids=["reserved byte", "reserved flag", "count 0", "last, too short", "too long",
         "crosses 4K", "no storage", "far away"],
)  # fmt: skip
def test_a_wrong_midaw_is_a_program_check(disk: DiskMachine, words: bytes) -> None:
    disk.store(LISTS, words)
    irb = disk.run((SENSE_ID, MIDA, 7, LISTS), ctrl1=MIDAW)
    assert irb.cstat == PROGRAM_CHECK


@pytest.mark.parametrize("address", [LISTS + 8, MEMORY])
def test_a_midaw_list_off_its_quadword_or_storage_is_a_program_check(
    disk: DiskMachine, address: int
) -> None:
    irb = disk.run((SENSE_ID, MIDA, 7, address), ctrl1=MIDAW)
    assert irb.cstat == PROGRAM_CHECK


def test_a_midaw_list_across_4k_is_a_program_check(disk: DiskMachine) -> None:
    disk.store(LISTS + 4096 - 16, midaw(0, 3, DATA) + midaw(0x80, 4, DATA + 3))
    irb = disk.run((SENSE_ID, MIDA, 7, LISTS + 4096 - 16), ctrl1=MIDAW)
    assert irb.cstat == PROGRAM_CHECK


def test_the_residual_count_under_indirect_addressing_is_the_ccws(disk: DiskMachine) -> None:
    disk.store(LISTS, idal(0, DATA))
    irb = disk.run((SENSE_ID, IDA, 100, LISTS))
    assert (irb.cstat, irb.count) == (INCORRECT_LENGTH, 93)


def test_a_program_goes_on_after_a_command_with_midaws(disk: DiskMachine) -> None:
    disk.store(LISTS, midaw(0x80, 7, DATA))
    irb = disk.run((SENSE_ID, MIDA | CC, 7, LISTS), (SENSE_ID, 0, 7, DATA + 0x100), ctrl1=MIDAW)
    assert irb.cstat == 0
    assert disk.load(DATA + 0x100, 7) == disk.load(DATA, 7) == disk.device.sense_id
