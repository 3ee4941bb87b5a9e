"""Endings and interruptions: device status, sense, PCI, initial status, unsolicited (PoP 16)."""

from __future__ import annotations

import pytest

from lab.programs import (
    ACTL,
    ALERT,
    CC,
    ENDED,
    FCTL,
    FORMAT1,
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
)
from tests.css.machine import DiskMachine, ProbeMachine
from tests.machine import DATA, PROGRAM
from vfioccw_fuse.devices.options import Fault
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
    disk.sch.behaviour.fault = Fault.HANG
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
    disk.sch.behaviour.fault = Fault.HANG
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
    disk.sch.behaviour.fault = Fault.BUSY
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
    disk.sch.behaviour.fault = Fault.LOST_INTERRUPTION
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
