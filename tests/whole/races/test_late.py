"""Halt, clear and cancel that come when the start has ended and nobody has seen it yet."""

from pathlib import Path

import pytest
import trio
import trio.testing

from lab.programs import CC, ENDED, NOP, PCI, SENSE_ID, SLI
from lab.waits import until
from tests.css.machine import DiskMachine
from tests.machine import DATA, PROGRAM
from tests.rig import Rig
from vfioccw_fuse.devices.faults import Behaviour
from vfioccw_fuse.regions import constants as c
from vfioccw_fuse.regions.layouts import Orb

BOTH = ((NOP, CC | SLI | PCI, 1, 0), (SENSE_ID, 0, 7, 0x3000))
JOINED = (
    c.SCSW_STCTL_INTERMEDIATE
    | c.SCSW_STCTL_PRIMARY
    | c.SCSW_STCTL_SECONDARY
    | c.SCSW_STCTL_STATUS_PEND
)


def ended_with_a_pci(rig: Rig) -> None:
    """The PCI's status was shown, nobody has read it, and the program's end has joined it."""
    assert rig.start(*BOTH) == 0
    until(lambda: rig.full.store().scsw_ctrl & JOINED == JOINED, "both are pending")


def test_a_halt_is_too_late_and_the_start_has_one_end(rig: Rig) -> None:
    ended_with_a_pci(rig)
    assert rig.sub.halt() == 2
    assert rig.full.status().cc == 1
    assert rig.full.status().halts == 0
    last = rig.take()
    assert (last.scsw_dstat, last.scsw_cstat) == (ENDED, c.SCSW_CSTAT_PCI)
    assert not last.scsw_ctrl & c.SCSW_FCTL_HALT_FUNC
    assert rig.full.status().pending == 0
    assert rig.sub.halt() == 0
    assert rig.take().scsw_ctrl == c.SCSW_FCTL_HALT_FUNC | c.SCSW_STCTL_STATUS_PEND


def test_a_cancel_is_too_late(rig: Rig) -> None:
    ended_with_a_pci(rig)
    assert rig.full.cancel() == 1
    assert rig.take().scsw_dstat == ENDED


def test_a_clear_takes_both_away_and_brings_one(rig: Rig) -> None:
    ended_with_a_pci(rig)
    assert rig.sub.clear() == 0
    until(lambda: rig.full.store().scsw_ctrl & c.SCSW_STCTL_STATUS_PEND, "the clear's interruption")
    assert rig.take().scsw_ctrl == c.SCSW_FCTL_CLEAR_FUNC | c.SCSW_STCTL_STATUS_PEND
    assert rig.full.status().pending == 0


SPND = c.ORB_CTRL0_MASK_SPND | c.ORB_CTRL0_MASK_FMT


@pytest.mark.parametrize("end", ["csch", "xsch", "quiesce"])
@pytest.mark.parametrize("waits_for", ["resume", "turn"])
async def test_a_program_that_is_awake_again_does_nothing_once_it_was_ended(
    tmp_path: Path, end: str, waits_for: str
) -> None:
    """Its task is scheduled already: cancelling its scope comes too late for trio."""
    machine = DiskMachine(tmp_path)
    sch = machine.sch
    machine.program((NOP, CC | SLI, 1, 0), (SENSE_ID, c.CCW_FLAG_SUSPEND, 7, DATA))
    try:
        async with trio.open_nursery() as nursery:
            machine.live(nursery)
            assert sch.ssch(Orb(0, SPND, 0xFF, 0, PROGRAM)) == 0
            await trio.testing.wait_all_tasks_blocked()
            assert sch.scsw.ctrl & c.SCSW_ACTL_SUSP
            sch.pending.take()
            machine.program((NOP, CC | SLI, 1, 0), (SENSE_ID, CC, 7, DATA), (0x08, 0, 0, PROGRAM))
            assert sch.rsch() == 0
            if waits_for == "turn":
                while not machine.load(DATA, 7).strip(b"\0"):
                    await trio.lowlevel.checkpoint()
                machine.store(DATA, bytes(7))
                if end == "xsch":
                    # It is active by now, and no longer to be cancelled.
                    assert sch.xsch() == 2
                    end = "csch"
            getattr(sch, end)()
            await trio.testing.wait_all_tasks_blocked()
            assert machine.load(DATA, 7) == bytes(7), "it went on"
            if end == "csch":
                assert sch.scsw.ctrl == c.SCSW_FCTL_CLEAR_FUNC | c.SCSW_STCTL_STATUS_PEND
            else:
                assert sch.scsw.ctrl == 0
            nursery.cancel_scope.cancel()
    finally:
        machine.close()


async def test_a_start_that_was_cleared_before_its_delay_began_leaves_no_task(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    machine = DiskMachine(tmp_path, behaviour=Behaviour(delay=3600.0))
    try:
        async with trio.open_nursery() as nursery:
            machine.live(nursery)
            machine.program((NOP, SLI, 1, 0))
            assert machine.sch.ssch(Orb(0, SPND, 0xFF, 0, PROGRAM)) == 0
            assert machine.sch.csch() == 0
            before = trio.current_time()
            await trio.testing.wait_all_tasks_blocked()
            assert not nursery.child_tasks
            assert trio.current_time() == before
    finally:
        machine.close()
