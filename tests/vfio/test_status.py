"""Who takes the status, what accumulates, and what an unread IRB stands in the way of."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.programs import (
    CC,
    CE,
    CLEAR,
    ENDED,
    FORMAT1,
    HALT,
    INTERMEDIATE,
    IRB_AT,
    NOP,
    PCI,
    PENDING,
    PRIMARY,
    SECONDARY,
    SENSE_ID,
    SLI,
    SPND,
    START,
    STCTL,
    SUSPEND,
    SUSPENDED,
)
from tests.css.machine import Probe
from tests.machine import DATA, PROGRAM
from tests.vfio.driver import CSCH, HSCH, Driver
from vfioccw_fuse.css.paths import PathState
from vfioccw_fuse.devices.faults import Fault
from vfioccw_fuse.regions import constants as c
from vfioccw_fuse.vfio import status
from vfioccw_fuse.vfio.fsm import Event, State
from vfioccw_fuse.vfio.status import LONGEST_QUEUE

ISIC, ZERO_CC = c.ORB_CTRL0_MASK_ISIC, c.SCSW_FLAGS_MASK_ZCC
ACTIVE, DEVICE_ACTIVE = 0x00C0, 0x0040
FINAL = PRIMARY | SECONDARY | PENDING
MOVE_ARM, FAIL = 0x27, 0x47
"""Commands of a `Probe`: channel end first; a unit check."""
WAITS = ((MOVE_ARM, CC | SLI | PCI, 1, 0), (SENSE_ID, 0, 7, DATA))
"""A PCI, then the program waits for device end, then it ends."""
PCI_STATUS = c.SCSW_CSTAT_PCI
LINUX = ("start-only", "scsw", "async")


@pytest.fixture(params=[*LINUX, "full"])
def probe(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Driver]:
    """A `Probe` of each interface."""
    made = Driver(tmp_path, request.param, device=Probe())
    yield made
    made.close()


@pytest.fixture(params=LINUX)
def linux(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Driver]:
    """A `Probe` of each interface where the driver takes the status."""
    made = Driver(tmp_path, request.param, device=Probe())
    yield made
    made.close()


def device_end(driver: Driver) -> None:
    driver.machine.device.attention(0x04)
    driver.settle()


# --- what accumulates ---------------------------------------------------------------------------


def test_the_end_joins_a_pci_that_nobody_has_read_without_a_second_signal(probe: Driver) -> None:
    assert probe.start(*WAITS) == 0
    probe.settle()
    assert probe.signals() == 1
    assert probe.state() is State.CP_PENDING
    device_end(probe)
    assert probe.signals() == 0
    assert probe.state() is State.IDLE, "it ends when the status joins, not when it is read"
    irb = probe.take()
    assert irb.ctrl & STCTL == INTERMEDIATE | FINAL
    assert (irb.dstat, irb.cstat, irb.count) == (ENDED, PCI_STATUS, 0)
    assert irb.cpa == PROGRAM + 16
    assert probe.signals() == 0


def test_a_read_between_the_two_gives_two_signals(probe: Driver) -> None:
    assert probe.start(*WAITS) == 0
    probe.settle()
    first = probe.take()
    assert (first.ctrl & STCTL, first.cstat, first.dstat) == (INTERMEDIATE | PENDING, PCI_STATUS, 0)
    assert probe.state() is State.CP_PENDING
    device_end(probe)
    assert probe.signals() == 2
    last = probe.take()
    assert (last.ctrl & STCTL, last.cstat, last.dstat) == (FINAL, 0, ENDED)
    assert probe.state() is State.IDLE


def test_reading_other_bytes_than_24_is_no_read_between(probe: Driver) -> None:
    assert probe.start(*WAITS) == 0
    probe.settle()
    for offset, size in ((0, 24), (25, 99)):
        probe.read("io_region", offset, size)
    device_end(probe)
    assert probe.signals() == 1
    assert probe.take().ctrl & STCTL == INTERMEDIATE | FINAL


def test_initial_status_and_pci_join_each_other_and_the_end(probe: Driver) -> None:
    assert probe.start(*WAITS, ctrl0=FORMAT1 | ISIC) == 0
    probe.settle()
    device_end(probe)
    assert probe.signals() == 1
    irb = probe.take()
    assert irb.flags & ZERO_CC
    assert irb.cstat == PCI_STATUS
    assert irb.ctrl & STCTL == INTERMEDIATE | FINAL
    assert not probe.sch.scsw.flags & ZERO_CC, "what was taken is not said again"


def test_a_suspension_joins_a_pci(probe: Driver) -> None:
    ccws = ((NOP, CC | SLI | PCI, 1, 0), (NOP, SLI | SUSPEND, 1, 0))
    assert probe.start(*ccws, ctrl0=FORMAT1 | SPND) == 0
    probe.settle()
    assert probe.signals() == 1
    irb = probe.take()
    assert (irb.ctrl & (STCTL | SUSPENDED), irb.cstat) == (
        INTERMEDIATE | PENDING | SUSPENDED, PCI_STATUS,
    )  # fmt: skip
    assert probe.state() is State.CP_PENDING


def test_a_unit_check_joins_with_its_own_status_and_sense(probe: Driver) -> None:
    probe.sch.pmcw.chars = c.PMCW_CHARS_MASK_CSENSE
    assert probe.start((NOP, CC | SLI | PCI, 1, 0), (FAIL, SLI, 1, 0)) == 0
    probe.settle()
    assert probe.signals() == 1
    irb = probe.take()
    assert (irb.dstat, irb.cstat) == (ENDED | 0x02, PCI_STATUS)
    assert irb.ecw[:2] == b"\x40\x07"


def test_an_end_that_joined_is_status_pending_for_who_reads_it_and_nothing_for_linux(
    probe: Driver,
) -> None:
    assert probe.start(*WAITS) == 0
    probe.settle()
    device_end(probe)
    full = str(probe.ccw.interface) == "full"
    assert probe.request(START) == (errno.EBUSY if full else 0)
    if full:
        assert probe.ccw.driver.last_cc == 1


# --- where the driver takes the status ------------------------------------------------------------


def ended(driver: Driver) -> bytes:
    """A program that has ended and whose IRB nobody has read: that IRB."""
    assert driver.start((SENSE_ID, 0, 7, DATA)) == 0
    driver.settle()
    return bytes(driver.ccw.driver.io.data[IRB_AT : IRB_AT + 96])


def test_the_subchannel_has_no_status_as_soon_as_the_irb_is_shown(linux: Driver) -> None:
    ended(linux)
    assert linux.sch.scsw.ctrl == 0
    assert not linux.sch.scsw.status_pending
    assert linux.signals() == 1


def test_an_unread_irb_refuses_no_start_and_its_bytes_stay_until_the_next(linux: Driver) -> None:
    irb = ended(linux)
    linux.behaviour.delay = 1.0
    assert linux.start((NOP, SLI, 1, 0)) == 0
    assert linux.read("io_region", IRB_AT, 96) == irb
    linux.machine.executor.elapse()
    assert linux.signals() == 2
    assert linux.take().dstat == ENDED


def test_an_unread_irb_refuses_no_halt(tmp_path: Path) -> None:
    driver = Driver(tmp_path, "async")
    irb = ended(driver)
    assert driver.command(HSCH) == 0
    assert driver.read("io_region", IRB_AT, 96) == irb
    driver.settle()
    assert driver.take().ctrl == HALT | PENDING
    assert driver.signals() == 2
    driver.close()


def test_a_refused_start_takes_nothing(linux: Driver) -> None:
    irb = ended(linux)
    linux.machine.device.attention(0x80)
    assert linux.request(START, linux.orb(cpa=1 << 20)) == errno.EINVAL
    assert linux.request(START, linux.orb(lpm=0x3F)) == errno.EACCES
    assert linux.signals() == 1, "what waits behind it is not shown"
    assert linux.read("io_region", IRB_AT, 96) == irb
    assert linux.take().dstat == 0x80


def test_what_waits_behind_an_irb_that_a_start_took_is_shown_and_signalled(linux: Driver) -> None:
    ended(linux)
    linux.machine.device.attention(0x80)
    assert linux.signals() == 1
    linux.behaviour.delay = 1.0
    assert linux.start((NOP, SLI, 1, 0)) == 0
    assert linux.signals() == 1
    assert linux.take().dstat == 0x80
    linux.machine.executor.elapse()
    assert linux.signals() == 1
    assert linux.take().dstat == ENDED


def test_what_a_client_never_reads_is_bounded(linux: Driver) -> None:
    for _ in range(2 * LONGEST_QUEUE):
        assert linux.start((MOVE_ARM, SLI, 1, 0)) == 0
        linux.settle()
        linux.machine.device.attention(0x80)
        device_end(linux)
        linux.machine.device.attention(0x40)
    waiting = linux.ccw.driver.status.queued
    assert waiting < LONGEST_QUEUE
    linux.signals()
    for _ in range(waiting):
        linux.take()
        assert linux.signals() == 1
    linux.take()
    assert linux.signals() == 0
    assert linux.state() is State.IDLE


def test_a_clear_discards_what_is_shown_and_keeps_unsolicited_status(tmp_path: Path) -> None:
    driver = Driver(tmp_path, "async", device=Probe())
    ended(driver)
    driver.machine.device.attention(0x80)
    assert driver.command(CSCH) == 0
    driver.settle()
    assert driver.take().dstat == 0x80
    assert driver.take().ctrl == CLEAR | PENDING
    assert driver.signals() == 3, "an event that was signalled is not taken back"
    driver.close()


class Eventfd:
    """The eventfd of a client at io_irq."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        driver.ccw.irqs[0].attach(os.dup(self._fd))

    def signals(self) -> int:
        """How often it was signalled since it was asked last."""
        try:
            return os.eventfd_read(self._fd)
        except BlockingIOError:
            return 0

    def close(self) -> None:
        self._driver.ccw.irqs[0].detach()
        os.close(self._fd)


@pytest.fixture
def eventfd(probe: Driver, monkeypatch: pytest.MonkeyPatch) -> Iterator[Eventfd]:
    # However busy the machine is, what comes next comes within it.
    monkeypatch.setattr(status, "SPACING_S", 3600.0)
    made = Eventfd(probe)
    yield made
    made.close()


def test_an_eventfd_tells_of_unsolicited_status_when_a_guest_had_time_for_what_came_before(
    probe: Driver, eventfd: Eventfd
) -> None:
    probe.behaviour.delay = 1.0
    assert probe.start((NOP, SLI, 1, 0)) == 0
    probe.machine.device.attention(0x80)
    probe.machine.executor.elapse()
    assert eventfd.signals() == 1
    assert probe.take().dstat == ENDED
    assert eventfd.signals() == 0
    probe.machine.executor.elapse()
    assert eventfd.signals() == 1
    assert probe.take().dstat == 0x80


def test_a_request_shows_that_the_guest_has_got_it(probe: Driver, eventfd: Eventfd) -> None:
    ended(probe)
    assert eventfd.signals() == 1
    probe.take()
    probe.machine.device.attention(0x80)
    assert eventfd.signals() == 0
    full = probe.ccw.driver.sch.scsw.status_pending
    assert probe.start((NOP, SLI, 1, 0)) == (errno.EBUSY if full else 0)
    assert eventfd.signals() == 1
    probe.machine.executor.elapse()
    assert eventfd.signals() == (not full), "the end of the program; no second for the attention"


def test_no_signal_comes_for_unsolicited_status_that_was_read_or_dropped(
    probe: Driver, eventfd: Eventfd
) -> None:
    for drop in (probe.take, probe.ccw.driver.reset):
        ended(probe)
        probe.take()
        assert eventfd.signals() == 1
        probe.machine.device.attention(0x80)
        drop()
        probe.machine.executor.elapse()
        assert eventfd.signals() == 0


def test_an_eventfd_tells_of_unsolicited_status_at_once_when_nothing_was_read_before_it(
    probe: Driver, eventfd: Eventfd
) -> None:
    probe.machine.device.attention(0x80)
    assert eventfd.signals() == 1


def test_a_device_end_that_is_owed_keeps_cp_pending_as_in_linux(linux: Driver) -> None:
    assert linux.start((MOVE_ARM, SLI, 1, 0)) == 0
    linux.settle()
    assert linux.take().dstat == CE
    assert linux.state() is State.CP_PENDING
    assert linux.request(START) == errno.EBUSY
    linux.machine.device.attention(0x80)
    assert linux.take().dstat == 0x80, "an attention meanwhile is not that device end"
    assert linux.state() is State.CP_PENDING
    device_end(linux)
    irb = linux.take()
    assert (irb.dstat, irb.ctrl & STCTL) == (0x04, SECONDARY | PENDING)
    assert linux.state() is State.IDLE


def test_on_full_channel_end_concludes_the_start(tmp_path: Path) -> None:
    driver = Driver(tmp_path, device=Probe())
    assert driver.start((MOVE_ARM, SLI, 1, 0)) == 0
    driver.settle()
    assert driver.state() is State.IDLE
    driver.take()
    driver.machine.device.attention(0x80)
    assert driver.sch.scsw.ctrl & DEVICE_ACTIVE
    driver.take()
    device_end(driver)
    assert driver.take().ctrl & STCTL == SECONDARY | PENDING
    driver.close()


# --- reset ----------------------------------------------------------------------------------------


def test_reset_is_silent_and_leaves_the_eventfd_and_the_request(probe: Driver) -> None:
    assert probe.start(*WAITS) == 0
    probe.settle()
    probe.machine.device.attention(0x80)
    before = probe.read("io_region", 0, IRB_AT), bytes(probe.ccw.driver.io.data[IRB_AT:])
    probe.ccw.driver.reset()
    probe.settle()
    assert probe.read("io_region", 0, IRB_AT) == before[0]
    full = str(probe.ccw.interface) == "full"
    assert probe.read("io_region", IRB_AT) == (bytes(100) if full else before[1])
    assert probe.signals() == 1, "the PCI's"
    assert probe.state() is State.IDLE
    assert not probe.ccw.driver.status.shown
    assert not probe.ccw.driver.status.queued


# --- the driver's path mask -----------------------------------------------------------------------


def test_an_lpm_of_0_is_replaced_by_the_path_mask(probe: Driver) -> None:
    probe.machine.program((NOP, SLI, 1, 0))
    assert probe.request(START, probe.orb(lpm=0)) == 0
    probe.settle()
    assert probe.take().lpum == 0x80


def test_a_start_with_cc_3_wears_the_mask_down_and_a_path_that_comes_back_counts_again(
    linux: Driver,
) -> None:
    linux.behaviour.switch(Fault.NOT_OPERATIONAL)
    linux.machine.program((NOP, SLI, 1, 0))
    assert linux.request(START, linux.orb(lpm=0x80)) == errno.EACCES
    assert linux.request(START, linux.orb(lpm=0x80)) == errno.EACCES
    assert linux.request(START, linux.orb(lpm=0x40)) == errno.ENODEV
    linux.behaviour.switch(Fault.NONE)
    assert linux.request(START, linux.orb(lpm=0)) == errno.ENODEV, "no path is in the mask"
    linux.sch.paths.set(0x40, PathState.ONLINE)
    assert linux.request(START, linux.orb(lpm=0)) == 0
    linux.settle()
    assert linux.take().lpum == 0x40
    linux.ccw.driver.event(Event.CLOSE)
    linux.ccw.driver.event(Event.OPEN)
    assert linux.request(START, linux.orb(lpm=0)) == 0
    linux.settle()
    assert linux.take().lpum == 0x80, "all that are usable count when it is opened"


def test_a_start_without_lpm_that_gets_cc_3_empties_the_mask(linux: Driver) -> None:
    linux.behaviour.switch(Fault.NOT_OPERATIONAL)
    linux.machine.program((NOP, SLI, 1, 0))
    assert linux.request(START, linux.orb(lpm=0)) == errno.ENODEV
    assert linux.request(START, linux.orb(lpm=0x80)) == errno.ENODEV


def test_a_path_varied_off_is_out_of_the_mask(linux: Driver) -> None:
    linux.machine.program((NOP, SLI, 1, 0))
    linux.sch.paths.set(0x80, PathState.VARIED_OFF)
    assert linux.request(START, linux.orb(lpm=0)) == 0
    linux.settle()
    assert linux.take().lpum == 0x40
    linux.sch.paths.set(0x80, PathState.ONLINE)
    assert linux.request(START, linux.orb(lpm=0)) == 0
    linux.settle()
    assert linux.take().lpum == 0x80


def test_on_full_the_mask_is_lpm_of_the_pmcw_and_no_fault_wears_it_down(tmp_path: Path) -> None:
    driver = Driver(tmp_path)
    driver.machine.program((NOP, SLI, 1, 0))
    driver.behaviour.switch(Fault.NOT_OPERATIONAL)
    for _ in range(2):
        assert driver.request(START, driver.orb(lpm=0x80)) == errno.EACCES
        assert driver.request(START, driver.orb(lpm=0xC0)) == errno.ENODEV
    driver.behaviour.switch(Fault.NONE)
    schib = bytearray(driver.sch.stsch())
    schib[8] = 0x40
    assert driver.write("schib_region", 0, bytes(schib)) == 0
    assert driver.request(START, driver.orb(lpm=0)) == 0
    driver.settle()
    assert driver.take().lpum == 0x40
    driver.close()


def test_actl_of_an_intermediate_status_says_what_goes_on(probe: Driver) -> None:
    assert probe.start(*WAITS) == 0
    probe.settle()
    assert probe.take().ctrl & ACTIVE == ACTIVE
