"""Residual count and incorrect length: PoP chapter 15, Execution of I/O Operations, and 16."""

from __future__ import annotations

import pytest

from lab.mounts import BLOCK
from lab.programs import (
    ALERT,
    CC,
    CD,
    ENDED,
    FORMAT1,
    INCORRECT_LENGTH,
    NOP,
    PROGRAM_CHECK,
    READ,
    SENSE_ID,
    SLI,
    WRITE,
)
from tests.css.machine import DiskMachine, ProbeMachine
from tests.machine import DATA, PROGRAM
from vfioccw_fuse.regions import constants as c

BOTH = pytest.mark.parametrize("ctrl0", [0, FORMAT1], ids=["format 0", "format 1"])


@BOTH
@pytest.mark.parametrize(("count", "residual"), [(1, 0), (6, 0), (8, 1), (0xFFFF, 0xFFF8)])
def test_a_count_that_is_not_the_devices_is_an_incorrect_length(
    disk: DiskMachine, ctrl0: int, count: int, residual: int
) -> None:
    irb = disk.run((SENSE_ID, 0, count, DATA), ctrl0=ctrl0)
    assert (irb.dstat, irb.cstat, irb.count) == (ENDED, INCORRECT_LENGTH, residual)
    assert irb.ctrl & ALERT


@BOTH
@pytest.mark.parametrize(("count", "residual"), [(1, 0), (8, 1)])
def test_sli_suppresses_incorrect_length_and_keeps_the_residual_count(
    disk: DiskMachine, ctrl0: int, count: int, residual: int
) -> None:
    irb = disk.run((SENSE_ID, SLI, count, DATA), ctrl0=ctrl0)
    assert (irb.dstat, irb.cstat, irb.count) == (ENDED, 0, residual)


def test_an_incorrect_length_ends_command_chaining(disk: DiskMachine) -> None:
    irb = disk.run((SENSE_ID, CC, 8, DATA), (NOP, 0, 1, 0))
    assert (irb.cstat, irb.cpa) == (INCORRECT_LENGTH, PROGRAM + 8)


def test_a_suppressed_incorrect_length_lets_command_chaining_go_on(disk: DiskMachine) -> None:
    irb = disk.run((SENSE_ID, CC | SLI, 8, DATA), (NOP, SLI, 1, 0))
    assert (irb.cstat, irb.cpa) == (0, PROGRAM + 16)


def test_sli_does_not_help_while_data_chaining(disk: DiskMachine) -> None:
    irb = disk.run((SENSE_ID, CD | SLI, 8, DATA), (0, SLI, 8, DATA))
    assert (irb.cstat, irb.count) == (INCORRECT_LENGTH, 1)


def test_an_immediate_command_in_format_0_has_no_incorrect_length(disk: DiskMachine) -> None:
    irb = disk.run((NOP, 0, 5, DATA), ctrl0=0)
    assert (irb.dstat, irb.cstat, irb.count) == (ENDED, 0, 5)


def test_an_immediate_command_in_format_1_has_an_incorrect_length(disk: DiskMachine) -> None:
    irb = disk.run((NOP, 0, 5, DATA))
    assert (irb.dstat, irb.cstat, irb.count) == (ENDED, INCORRECT_LENGTH, 5)


def test_the_orbs_bit_l_suppresses_it_for_immediate_commands_only(disk: DiskMachine) -> None:
    ctrl1 = c.ORB_CTRL1_MASK_ILS
    assert disk.run((NOP, 0, 5, DATA), ctrl1=ctrl1).cstat == 0
    assert disk.run((SENSE_ID, 0, 8, DATA), ctrl1=ctrl1).cstat == INCORRECT_LENGTH


def test_an_immediate_command_with_count_zero_in_format_1_is_right(disk: DiskMachine) -> None:
    irb = disk.run((NOP, 0, 0, 0))
    assert (irb.dstat, irb.cstat, irb.count) == (ENDED, 0, 0)


def test_the_residual_count_is_that_of_the_last_ccw_used(disk: DiskMachine) -> None:
    irb = disk.run((SENSE_ID, CD, 5, DATA), (0, SLI, 10, DATA + 5), (0, 0, 1, 0))
    assert (irb.count, irb.cpa, irb.cstat) == (8, PROGRAM + 16, 0)


def test_an_input_ccw_that_is_short_leaves_the_rest_of_the_block(disk: DiskMachine) -> None:
    irb = disk.run(*disk.reading(2, 1, (READ, SLI, 100, DATA)))
    assert (irb.dstat, irb.cstat, irb.count) == (ENDED, 0, 0)
    assert disk.load(DATA, 101) == disk.blocks(2)[:100] + b"\0"


def test_an_output_ccw_that_is_long_keeps_the_residual_count(disk: DiskMachine) -> None:
    disk.store(DATA, b"x" * 600)
    before = disk.blocks(12)
    irb = disk.run(*disk.writing(11, 1, (WRITE, 0, 600, DATA)))
    assert (irb.cstat, irb.count) == (INCORRECT_LENGTH, 600 - BLOCK)
    assert disk.blocks(11) == b"x" * BLOCK
    assert disk.blocks(12) == before


def test_an_output_ccw_that_is_short_is_an_incorrect_length(probe: ProbeMachine) -> None:
    probe.store(DATA, b"abc")
    irb = probe.run((0x01, 0, 3, DATA))
    assert (irb.dstat, irb.cstat, irb.count) == (ENDED, INCORRECT_LENGTH, 0)
    assert probe.probe.written == [b"abc"]


def test_read_backward_stores_at_descending_addresses(probe: ProbeMachine) -> None:
    irb = probe.run((0x0C, 0, 100, DATA + 99))
    assert (irb.dstat, irb.cstat) == (ENDED, 0)
    assert probe.load(DATA - 1, 102) == b"\0" + probe.probe.data + b"\0"


@pytest.mark.parametrize("below", [1, 2, 50])
def test_read_backward_to_before_address_0_is_a_program_check(
    probe: ProbeMachine, below: int
) -> None:
    before = probe.picture()
    irb = probe.run((0x0C, 0, 100, 99 - below))
    assert (irb.dstat, irb.cstat, irb.count) == (ENDED, PROGRAM_CHECK, 100)
    assert probe.picture()[:PROGRAM] == before[:PROGRAM]


def test_read_backward_data_chains_from_the_end_of_the_record(probe: ProbeMachine) -> None:
    irb = probe.run((0x0C, CD, 40, DATA + 39), (0, 0, 60, DATA + 0x1000 + 59))
    assert irb.cstat == 0
    assert probe.load(DATA, 40) == probe.probe.data[60:]
    assert probe.load(DATA + 0x1000, 60) == probe.probe.data[:60]
