"""Faults as a program sees them: each kind, on the first command and on a later one."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from lab.programs import (
    CC,
    CE,
    DATA_CHECK,
    DE,
    ENDED,
    NOP,
    PREFETCH,
    PROGRAM_CHECK,
    PROTECTION_CHECK,
    SENSE,
    SENSE_ID,
    SLI,
    STCTL,
    UC,
    Ccw,
)
from tests.css.machine import DiskMachine, ProbeMachine
from tests.machine import DATA, PROGRAM
from vfioccw_fuse.devices.faults import parse_faults

BUSY, CONTROL_CHECK, INTERFACE_CHECK, CHAINING_CHECK = 0x10, 0x04, 0x02, 0x01
ALERT_ENDING = 0x17
"""Alert, primary and secondary status, status pending."""
READ: Ccw = (0x02, CC | SLI, 100, DATA)
LAST: Ccw = (0x02, SLI, 100, DATA + 0x1000)
CHECKS = {
    "program-check": (ENDED, PROGRAM_CHECK),
    "protection-check": (ENDED, PROTECTION_CHECK),
    "chaining-check": (ENDED, CHAINING_CHECK),
    "channel-data-check": (ENDED, DATA_CHECK),
    "channel-control-check": (0, CONTROL_CHECK),
    "interface-control-check": (0, INTERFACE_CHECK),
}


def let(machine: ProbeMachine | DiskMachine, text: str) -> None:
    machine.sch.behaviour.switch(parse_faults(text))


@pytest.mark.parametrize("fault", CHECKS)
@pytest.mark.parametrize(("nth", "moved"), [(1, 0), (2, 100)])
def test_a_check_ends_the_program_at_its_command_which_moves_no_data(
    probe: ProbeMachine, fault: str, nth: int, moved: int
) -> None:
    let(probe, f"{fault}:nth={nth}")
    status = probe.run(READ, LAST)
    assert (status.dstat, status.cstat) == CHECKS[fault]
    assert status.cpa == PROGRAM + 8 * nth
    assert status.count == 100
    assert status.ctrl & STCTL == ALERT_ENDING
    assert probe.load(DATA, 100) == probe.probe.data[:moved].ljust(100, b"\0")
    assert probe.load(DATA + 0x1000, 100) == bytes(100)


@pytest.mark.parametrize("fault", ["channel-data-check", "channel-control-check",
                                   "interface-control-check"])  # fmt: skip
def test_a_channel_check_comes_with_a_logout(probe: ProbeMachine, fault: str) -> None:
    let(probe, fault)
    probe.start(LAST)
    _, irb = probe.sch.tsch()
    assert irb[0] & 0x04, "ESW format 0"
    assert irb[12:16] != bytes(4)


@pytest.mark.parametrize(("nth", "cc"), [(1, 1), (2, 0)])
def test_busy_is_deferred_only_where_the_program_has_not_begun(
    probe: ProbeMachine, nth: int, cc: int
) -> None:
    let(probe, f"busy:nth={nth}")
    status = probe.run(READ, LAST)
    assert status.dstat == BUSY
    assert status.flags & 0x0300 == cc << 8
    assert status.cpa == PROGRAM + 8 * nth


def test_a_unit_check_of_a_later_command_leaves_its_own_sense_data(probe: ProbeMachine) -> None:
    let(probe, "unit-check:nth=2:sense=0840")
    assert probe.run(READ, LAST).dstat == ENDED | UC
    assert probe.run((SENSE, SLI, 24, DATA)).dstat == ENDED
    assert probe.load(DATA, 3) == b"\x08\x40\0"


def test_a_hang_at_a_later_command_ends_by_halt(probe: ProbeMachine) -> None:
    let(probe, "hang:command=17")
    probe.start((0x07, CC | SLI, 1, 0), (0x17, SLI, 1, 0))
    assert probe.sch.busy
    assert probe.sch.hsch() == 0
    probe.executor.settle()
    assert probe.take().cpa == PROGRAM + 16


def test_an_interruption_is_lost_by_a_later_command(probe: ProbeMachine) -> None:
    let(probe, "lost-interruption:nth=2:count=1")
    probe.start(READ, LAST)
    assert not probe.sch.scsw.status_pending
    assert probe.load(DATA + 0x1000, 100) == probe.probe.data
    assert probe.sch.csch() == 0
    probe.executor.settle()
    probe.take()
    assert probe.run(READ, LAST).dstat == CE | DE


def test_tic_and_data_chaining_are_no_commands(probe: ProbeMachine) -> None:
    let(probe, "unit-check:nth=2")
    again: Ccw = (0x08, 0, 0, PROGRAM + 24)
    first = (0x02, 0x80 | SLI, 50, DATA), (0, CC | SLI, 50, DATA + 50)
    status = probe.run(*first, again, LAST)
    assert status.dstat == ENDED | UC
    assert status.cpa == PROGRAM + 32


def test_a_program_that_was_prefetched_meets_them_too(disk: DiskMachine) -> None:
    let(disk, "channel-data-check:command=42:blocks=4")
    read: Ccw = (0x42, SLI, 512, DATA)
    assert disk.run(*disk.reading(3, 1, read), ctrl0=0x80 | PREFETCH).cstat == 0
    assert disk.run(*disk.reading(4, 1, read), ctrl0=0x80 | PREFETCH).cstat == DATA_CHECK
    assert disk.run((SENSE_ID, SLI, 7, DATA)).cstat == 0


def test_not_operational_refuses_as_many_instructions_as_it_says(disk: DiskMachine) -> None:
    let(disk, "not-operational:count=2")
    sch = disk.sch
    disk.program((NOP, SLI, 1, 0))
    assert [sch.ssch(disk.orb()), sch.hsch(), sch.ssch(disk.orb())] == [3, 3, 0]
    assert sch.behaviour.faults == ()


# --- delay ----------------------------------------------------------------------------------------


async def ended(probe: ProbeMachine) -> float:
    """Wait for status; gives the time."""
    while not probe.sch.scsw.status_pending:
        await trio.sleep(0.001)
    return trio.current_time()


async def test_each_command_that_is_meant_takes_its_time(
    probe: ProbeMachine, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    probe.live(nursery)
    let(probe, "delay:for=2s:command=read+delay:for=3s:nth=2")
    probe.program(READ, READ, (0x07, CC | SLI, 1, 0), LAST)
    begin = trio.current_time()
    assert probe.sch.ssch(probe.orb()) == 0
    assert await ended(probe) - begin == pytest.approx(2 + 2 + 3 + 2, abs=0.1)
    assert probe.take().dstat == ENDED


async def test_what_ends_the_command_comes_behind_its_delay(
    probe: ProbeMachine, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    probe.live(nursery)
    let(probe, "delay:for=2s+interface-control-check")
    probe.program(LAST)
    begin = trio.current_time()
    assert probe.sch.ssch(probe.orb()) == 0
    assert await ended(probe) - begin == pytest.approx(2, abs=0.1)
    assert probe.take().cstat == INTERFACE_CHECK


async def test_a_halt_ends_a_delay(
    probe: ProbeMachine, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    probe.live(nursery)
    let(probe, "delay:for=3600s:nth=2")
    probe.program(READ, LAST)
    begin = trio.current_time()
    assert probe.sch.ssch(probe.orb()) == 0
    await trio.sleep(1)
    assert probe.sch.xsch() == 2, "the device has accepted the command"
    assert probe.sch.hsch() == 0
    assert await ended(probe) - begin < 2
    assert probe.take().cpa == PROGRAM + 16
