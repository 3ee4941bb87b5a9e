"""Endings and interruptions: device status, sense, PCI, initial status, unsolicited (PoP 16)."""

from __future__ import annotations

import itertools

import pytest

from lab.programs import (
    ACTL,
    ALERT,
    CC,
    CLEAR,
    ENDED,
    FCTL,
    FORMAT1,
    HALT,
    INTERMEDIATE,
    NOP,
    PCI,
    PENDING,
    PRIMARY,
    READ,
    SECONDARY,
    SENSE,
    SENSE_ID,
    SLI,
    START,
    STCTL,
    SUSPEND,
    TIC,
    Irb,
)
from tests.css.machine import DiskMachine, ProbeMachine
from tests.machine import DATA, PROGRAM
from vfioccw_fuse.devices.faults import Fault
from vfioccw_fuse.regions import constants as c

ISIC = c.ORB_CTRL0_MASK_ISIC
ZERO_CC = c.SCSW_FLAGS_MASK_ZCC
DEVICE_ACTIVE = c.SCSW_ACTL_DEVICE_ACTIVE


def test_a_normal_ending_is_primary_and_secondary_status_without_alert(disk: DiskMachine) -> None:
    status = disk.run((NOP, SLI, 1, 0))
    assert status.ctrl == START | PRIMARY | SECONDARY | PENDING


def test_tsch_clears_function_activity_and_status_control(disk: DiskMachine) -> None:
    disk.run((NOP, SLI, 1, 0))
    assert disk.sch.scsw.ctrl == 0
    assert disk.sch.tsch()[0] == 1


def test_a_unit_check_has_alert_status_and_its_sense_data_wait(disk: DiskMachine) -> None:
    status = disk.run((0xF3, 0, 1, DATA))
    assert status.dstat & 0x02
    assert status.ctrl & STCTL == ALERT | PRIMARY | SECONDARY | PENDING
    assert (status.erw, status.ecw) == (0, bytes(32))
    assert disk.run((SENSE, 0, 24, DATA)).dstat == ENDED
    assert disk.load(DATA, 24) == b"\x80" + bytes(23)


def test_sense_data_are_given_once(disk: DiskMachine) -> None:
    disk.run((0xF3, 0, 1, DATA))
    disk.run((SENSE, 0, 24, DATA))
    disk.run((SENSE, 0, 24, DATA))
    assert disk.load(DATA, 24) == bytes(24)


def test_concurrent_sense_comes_in_the_ecw_with_its_count_and_is_taken(disk: DiskMachine) -> None:
    disk.sch.pmcw.chars = c.PMCW_CHARS_MASK_CSENSE
    status = disk.run((0xF3, 0, 1, DATA))
    assert status.flags & c.SCSW_FLAGS_MASK_ECTL
    assert status.erw == c.ERW_CONS | 24 << c.ERW_SCNT_SHIFT
    assert status.ecw == b"\x80" + bytes(31)
    assert disk.run((NOP, SLI, 1, 0)).flags & c.SCSW_FLAGS_MASK_ECTL == 0
    disk.run((SENSE, 0, 24, DATA))
    assert disk.load(DATA, 24) == bytes(24)


def test_the_esw_has_the_last_path_used(disk: DiskMachine) -> None:
    assert disk.run((NOP, SLI, 1, 0)).lpum == 0x80


def test_a_pci_is_an_intermediate_status_of_its_own_before_the_ending(disk: DiskMachine) -> None:
    disk.start((SENSE_ID, PCI, 7, DATA))
    first, last = disk.take(), disk.take()
    assert first.ctrl & (FCTL | STCTL) == START | INTERMEDIATE | PENDING
    assert (first.dstat, first.cstat) == (0, 0x80)
    assert (last.dstat, last.cstat) == (ENDED, 0)


def test_a_pci_that_was_taken_leaves_the_start_function_in_progress(disk: DiskMachine) -> None:
    disk.sch.behaviour.switch(Fault.HANG)
    disk.start((NOP, PCI, 1, 0))
    disk.take()
    assert disk.sch.scsw.ctrl & FCTL == START
    assert disk.sch.scsw.ctrl & ACTL
    assert disk.sch.ssch(disk.orb()) == 2


def test_initial_status_is_an_intermediate_status_with_zero_condition_code(
    disk: DiskMachine,
) -> None:
    disk.start((SENSE_ID, 0, 7, DATA), ctrl0=FORMAT1 | ISIC)
    first, last = disk.take(), disk.take()
    assert first.flags & ZERO_CC
    assert first.ctrl & STCTL == INTERMEDIATE | PENDING
    assert (first.dstat, first.cstat) == (0, 0)
    assert not last.flags & ZERO_CC
    assert last.dstat == ENDED


def test_initial_status_comes_when_the_device_has_the_command_and_not_when_it_ends(
    disk: DiskMachine,
) -> None:
    disk.sch.behaviour.switch(Fault.HANG)
    disk.start((SENSE_ID, SLI, 7, DATA), ctrl0=FORMAT1 | ISIC)
    first = disk.take()
    assert first.flags & ZERO_CC
    assert first.ctrl == START | 0x00C0 | INTERMEDIATE | PENDING
    assert not disk.sch.scsw.status_pending


def test_initial_status_is_asked_for_once_in_a_program(disk: DiskMachine) -> None:
    disk.start((NOP, CC | SLI, 1, 0), (NOP, SLI, 1, 0), ctrl0=FORMAT1 | ISIC)
    disk.take()
    assert disk.take().dstat == ENDED
    assert not disk.sch.scsw.status_pending


def test_the_orbs_controls_show_in_the_scsw(disk: DiskMachine) -> None:
    status = disk.run((NOP, SLI, 1, 0), ctrl0=0x5000 | FORMAT1 | c.ORB_CTRL0_MASK_PFCH)
    assert status.flags == 0x50C0


def test_busy_is_a_deferred_condition_code_1_with_alert(disk: DiskMachine) -> None:
    disk.sch.behaviour.switch(Fault.BUSY)
    status = disk.run((NOP, SLI, 1, 0))
    assert status.flags & c.SCSW_FLAGS_MASK_CC == 1 << c.SCSW_CC_SHIFT
    assert status.dstat == 0x10
    assert status.ctrl & ALERT


def test_an_injected_unit_check_hits_the_first_command_with_its_sense(disk: DiskMachine) -> None:
    disk.sch.behaviour.switch(Fault.UNIT_CHECK, 1)
    disk.sch.behaviour.sense = b"\x40\x01"
    status = disk.run((SENSE_ID, CC, 7, DATA), (NOP, 0, 1, 0))
    assert status.dstat == ENDED | 0x02
    assert status.cpa == PROGRAM + 8
    assert disk.run((SENSE, 0, 24, DATA)).dstat == ENDED
    assert disk.load(DATA, 3) == b"\x40\x01\0"


def test_a_lost_interruption_transfers_and_never_ends(disk: DiskMachine) -> None:
    disk.sch.behaviour.switch(Fault.LOST_INTERRUPTION)
    disk.start((SENSE_ID, 0, 7, DATA))
    assert not disk.sch.scsw.status_pending
    assert disk.load(DATA, 7) == disk.device.sense_id
    assert disk.sch.ssch(disk.orb()) == 2
    assert disk.sch.hsch() == 0
    disk.executor.settle()
    assert disk.take().ctrl & STCTL == PENDING


def test_channel_end_alone_is_primary_status_with_the_device_active(probe: ProbeMachine) -> None:
    probe.start((0x27, SLI, 1, 0))
    status = probe.take()
    assert status.dstat == 0x08
    assert status.ctrl & (STCTL | ACTL) == PRIMARY | PENDING | DEVICE_ACTIVE
    assert probe.sch.scsw.ctrl & ACTL == DEVICE_ACTIVE


def test_the_device_end_that_follows_is_secondary_status(probe: ProbeMachine) -> None:
    probe.start((0x27, SLI, 1, 0))
    probe.take()
    probe.device.attention(0x04)
    status = probe.take()
    assert status.dstat == 0x04
    assert status.ctrl & STCTL == SECONDARY | PENDING
    assert probe.sch.scsw.ctrl == 0


def test_a_device_end_before_the_channel_end_was_taken_waits_for_it(probe: ProbeMachine) -> None:
    probe.start((0x27, SLI, 1, 0))
    probe.device.attention(0x04)
    assert probe.take().dstat == 0x08
    status = probe.take()
    assert status.dstat == 0x04
    assert status.ctrl & STCTL == SECONDARY | PENDING
    assert probe.sch.scsw.ctrl == 0


def test_a_device_end_that_is_owed_comes_once(probe: ProbeMachine) -> None:
    probe.start((0x27, SLI, 1, 0))
    for _ in range(3):
        probe.device.attention(0x04)
    assert probe.take().ctrl & STCTL == PRIMARY | PENDING
    assert probe.take().ctrl == SECONDARY | PENDING
    assert probe.take().ctrl == ALERT | PENDING, "what came too often is one, and unsolicited"
    assert probe.sch.tsch()[0] == 1
    assert probe.sch.scsw.ctrl == 0


def test_a_clear_takes_the_device_end_that_waits_with_the_channel_end(probe: ProbeMachine) -> None:
    probe.start((0x27, SLI, 1, 0))
    probe.device.attention(0x04)
    probe.device.attention(0x80)
    assert probe.sch.csch() == 0
    probe.executor.settle()
    assert probe.take().ctrl == CLEAR | PENDING
    assert probe.take()[1:4] == (ALERT | PENDING, 0, 0x80)
    assert probe.sch.tsch()[0] == 1


@pytest.mark.parametrize("when", ["before the halt is performed", "behind it"])
def test_an_accepted_halt_ends_what_the_device_owes(probe: ProbeMachine, when: str) -> None:
    probe.start((0x27, SLI, 1, 0))
    assert probe.take().ctrl & STCTL == PRIMARY | PENDING
    assert probe.sch.hsch() == 0
    if when == "behind it":
        probe.executor.settle()
        assert probe.take().ctrl == HALT | PENDING
    probe.device.attention(0x04)
    probe.executor.settle()
    if when != "behind it":
        assert probe.take().ctrl == HALT | PENDING
    assert probe.take()[1:4] == (ALERT | PENDING, 0, 0x04)
    assert probe.sch.tsch()[0] == 1
    assert probe.sch.scsw.ctrl == 0


@pytest.mark.parametrize("more", [0x80, 0x81])
def test_unusual_status_beside_an_owed_device_end_is_alert_status_too(
    probe: ProbeMachine, more: int
) -> None:
    probe.start((0x27, SLI, 1, 0))
    probe.take()
    probe.device.attention(0x04 | more)
    status = probe.take()
    assert (status.ctrl, status.dstat) == (ALERT | SECONDARY | PENDING, 0x04 | more)


@pytest.mark.parametrize("dstat", [0x04, 0x80, 0x84, 0x85])
@pytest.mark.parametrize("when", ["before the end", "while it is pending"])
@pytest.mark.parametrize("end", ["halt", "clear", "reset"])
@pytest.mark.parametrize("fault", [Fault.HANG, Fault.LOST_INTERRUPTION])
def test_no_device_end_is_owed_by_a_start_that_never_ended(
    disk: DiskMachine, fault: Fault, end: str, when: str, dstat: int
) -> None:
    sch = disk.sch
    sch.behaviour.switch(fault, 1)
    disk.start((NOP, SLI, 1, 0))
    if when == "before the end":
        disk.device.attention(dstat)
        assert not sch.scsw.status_pending
    if end == "reset":
        sch.quiesce()
    else:
        assert {"halt": sch.hsch, "clear": sch.csch}[end]() == 0
    if when == "while it is pending":
        disk.device.attention(dstat)
    disk.executor.settle()
    if end != "reset":
        ended = {"halt": START | HALT, "clear": CLEAR}[end]
        assert disk.take()[1:4] == (ended | PENDING, 0 if end == "clear" else PROGRAM + 8, 0)
    if end != "reset" or when == "while it is pending":
        assert disk.take()[1:4] == (ALERT | PENDING, 0, dstat)
    assert sch.tsch()[0] == 1, "nothing more comes"
    disk.device.attention(0x04)
    assert disk.take().ctrl == ALERT | PENDING
    assert disk.run((NOP, SLI, 1, 0)).dstat == ENDED


ENDLESS = {"hang": Fault.HANG, "lost interruption": Fault.LOST_INTERRUPTION}


class Speaker:
    """A device that speaks at any time, what its channel ends owe, and what is told of it."""

    def __init__(self, machine: ProbeMachine) -> None:
        self.machine = machine
        self.owed = 0

    def do(self, step: str) -> None:
        """One step of an order; what is given for it does not matter."""
        machine, sch = self.machine, self.machine.sch
        match step:
            case "halt":
                sch.hsch()
            case "cancel":
                sch.xsch()
            case "clear":
                if not sch.csch():
                    self.owed = 0
            case "reset":
                sch.quiesce()
                self.owed = 0
            case "take":
                self.look()
            case "run":
                machine.executor.settle()
            case _:
                machine.device.attention(int(step, 16))

    def look(self) -> bool:
        """Take what is pending, if anything is; it must be right."""
        sch = self.machine.sch
        # Nothing but a start's own status comes while it is active.
        active = sch.program is not None
        cc, irb = sch.tsch()
        if cc:
            return False
        status = Irb.of(irb)
        fctl, stctl = status.ctrl & FCTL, status.ctrl & STCTL
        if not fctl and not stctl & SECONDARY:
            assert stctl == ALERT | PENDING
            assert not active
        elif not fctl:
            assert stctl & ~ALERT == SECONDARY | PENDING
            assert status.dstat & 0x04
            assert self.owed, "a device end that is not owed"
            self.owed -= 1
        elif stctl & (PRIMARY | SECONDARY) == PRIMARY:
            self.owed += 1
        return True


@pytest.mark.parametrize("start", [*ENDLESS, "channel end alone", "a chain waits for device end"])
def test_secondary_status_comes_only_if_it_is_owed_in_every_order(
    probe: ProbeMachine, start: str
) -> None:
    statuses = ("04", "80", "84", "85")
    programs = {
        "channel end alone": ((0x27, SLI, 1, 0),),
        "a chain waits for device end": ((0x27, CC | SLI, 1, 0), (0x07, SLI, 1, 0)),
    }
    steps = (*statuses, "halt", "cancel", "clear", "reset", "take", "run")
    for order in itertools.product(steps, repeat=3):
        probe.sch.quiesce()
        probe.executor.settle()
        probe.sch.behaviour.switch(ENDLESS.get(start, Fault.NONE), 1)
        probe.start(*programs.get(start, ((0x07, SLI, 1, 0),)))
        speaker = Speaker(probe)
        for step in (*order, "run", "take", "take", "take", "take", "04"):
            speaker.do(step)
        while speaker.look():
            pass


def test_attention_is_alert_status_without_a_function(probe: ProbeMachine) -> None:
    probe.device.attention(0x80)
    status = probe.take()
    assert status.ctrl == ALERT | PENDING
    assert status.dstat == 0x80


def test_attention_waits_while_a_start_function_is_in_progress(probe: ProbeMachine) -> None:
    probe.sch.behaviour.delay = 1.0
    probe.start((0x07, SLI, 1, 0))
    probe.device.attention(0x80)
    assert not probe.sch.scsw.status_pending
    probe.executor.elapse()
    assert probe.take().dstat == ENDED
    assert probe.take().dstat == 0x80


@pytest.mark.parametrize("end", ["halt", "clear", "cancel"])
def test_attention_that_waited_comes_after_halt_clear_and_cancel_too(
    probe: ProbeMachine, end: str
) -> None:
    probe.sch.behaviour.delay = 1.0
    probe.start((0x07, SLI, 1, 0))
    probe.device.attention(0x80)
    sch = probe.sch
    assert {"halt": sch.hsch, "clear": sch.csch, "cancel": sch.xsch}[end]() == 0
    probe.executor.settle()
    if end != "cancel":
        assert probe.take().ctrl & STCTL == PENDING
    assert probe.take().dstat == 0x80


def test_attention_of_a_disabled_subchannel_is_dropped(probe: ProbeMachine) -> None:
    probe.sch.disable()
    probe.device.attention(0x80)
    probe.sch.enable()
    assert probe.sch.tsch()[0] == 1


def test_a_device_that_is_not_ready_holds_its_command_until_it_is(probe: ProbeMachine) -> None:
    probe.start((0x37, CC | SLI, 1, 0), (0x02, 0, 100, DATA))
    assert probe.sch.scsw.ctrl & ACTL
    assert not probe.sch.scsw.status_pending
    probe.probe.event.set()
    probe.executor.settle()
    assert probe.take().dstat == ENDED
    assert probe.load(DATA, 2) == b"\1\2"


def test_an_endless_tic_loop_runs_until_it_is_halted(disk: DiskMachine) -> None:
    disk.start((NOP, CC | SLI, 1, 0), (TIC, 0, 0, PROGRAM))
    assert disk.sch.scsw.ctrl & ACTL
    assert not disk.sch.scsw.status_pending
    assert disk.sch.hsch() == 0
    disk.executor.settle()
    assert disk.take().ctrl & (FCTL | STCTL) == 0x6000 | PENDING
    assert not disk.executor.waiting


def test_reading_without_locating_is_a_command_reject(disk: DiskMachine) -> None:
    assert disk.run((READ, 0, 512, DATA)).dstat & 0x02


def test_the_answer_to_the_first_command_is_measured_once(disk: DiskMachine) -> None:
    counts = disk.sch.measurement
    disk.run((NOP, CC | SLI, 1, 0), (SENSE_ID, 0, 7, DATA))
    first = counts.initial_command_response_ns
    assert 0 < first <= counts.device_connect_ns
    disk.start((NOP, SLI | SUSPEND, 1, 0), ctrl0=FORMAT1 | c.ORB_CTRL0_MASK_SPND)
    assert counts.initial_command_response_ns == first, "no command was given yet"
    disk.take()
    disk.program((NOP, SLI, 1, 0))
    assert disk.sch.rsch() == 0
    disk.executor.settle()
    assert counts.initial_command_response_ns > first


def test_a_device_that_hangs_has_answered_too(disk: DiskMachine) -> None:
    disk.sch.behaviour.switch(Fault.HANG)
    disk.start((NOP, SLI, 1, 0))
    assert disk.sch.measurement.initial_command_response_ns > 0
