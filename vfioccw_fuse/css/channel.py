"""The interpreter: one channel program from its first CCW to its ending status.

A `ChannelProgram` is run, not awaited: `run` executes CCWs until the program ends or has to wait,
and says for what. Where a device waits in the middle of a command, all of it is parked (`strand`).
Who waits, and may be cancelled meanwhile, is the executor's matter. The steps have the names that
chapter 15 of the Principles of Operation gives them.
"""

from __future__ import annotations

import enum
import logging
from time import perf_counter_ns
from typing import TYPE_CHECKING, Final

from ..devices.base import CE, DE, ENDED, EQUIPMENT_CHECK, SM, UC, Busy, NotReady
from ..devices.faults import Fault
from ..regions import constants as c
from ..regions.layouts import Orb
from ..strand import TURN, Moment, Parked
from .ccw import CHAINS, CcwFetcher, ChannelCheck
from .scsw import SUSPENDED
from .transfer import Transfer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import trio

    from ..devices.faults import Armed, Hit
    from ..strand import Waits
    from .subchannel import Subchannel

log = logging.getLogger(__name__)

ISIC: Final = c.ORB_CTRL0_MASK_ISIC
SLI_OR_DC: Final = c.CCW_FLAG_SLI | c.CCW_FLAG_DC
UNUSUAL: Final = 0xFF & ~(ENDED | SM)
"""Unit status that ends a program."""
PCI_OR_SUSPEND: Final = c.CCW_FLAG_PCI | c.CCW_FLAG_SUSPEND
CHECKS: Final = {
    Fault.PROGRAM_CHECK: (ENDED, c.SCSW_CSTAT_PROG_CHECK),
    Fault.PROTECTION_CHECK: (ENDED, c.SCSW_CSTAT_PROT_CHECK),
    Fault.CHAINING_CHECK: (ENDED, c.SCSW_CSTAT_CHAIN_CHECK),
    Fault.CHANNEL_DATA_CHECK: (ENDED, c.SCSW_CSTAT_DATA_CHECK),
    Fault.CHANNEL_CONTROL_CHECK: (0, c.SCSW_CSTAT_CHN_CTRL_CHK),
    Fault.INTERFACE_CONTROL_CHECK: (0, c.SCSW_CSTAT_INTF_CTRL_CHK),
}
"""Device and subchannel status of faults of the channel."""
TURN_NS: Final = 900_000
"""How long a program works before others have their turn, in ns."""
BURST: Final = 16
"""Commands between two looks at the clock; a command that moves much is followed by one."""


class Pause(enum.Enum):
    """Why a program cannot go on by itself."""

    HANG = "the device never ends the command"
    EVENT = "until `woken`: RSCH, or the device end that a chain waits for"


class ChannelProgram:
    """One start function: the ORB, where the program is, and what has become of it.

    The subchannel learns of everything that a program can see: `note_pci`, `note_initial_status`,
    `note_suspended` and, once, `conclude`.
    """

    # What most programs never change is kept in the class: a start makes one of these.
    status: int = 0
    """Unit status that the command in progress has presented: channel end, until device end."""
    cancelled: bool = False
    """A clear, cancel or reset ended the start function: nothing more may be done or shown."""
    scope: trio.CancelScope | None = None
    """The scope of the task that runs the program, once it has one."""
    woken: bool = False
    """`Pause.EVENT` is over, perhaps before anybody waited; who waited resets it."""
    on_wake: Callable[[], None] | None = None
    """Called when `woken` becomes true; whoever waits puts it here."""
    parked: Parked | None = None
    """Where it waits in the middle of a command."""
    _begun: bool = False
    _answered: bool = False
    # The faults that may hit its commands, the command that they were asked of last (from 1), and
    # what hits that one and has not come yet.
    _faults: Sequence[Armed] = ()
    _asked: int = 0
    _hits: Sequence[Hit] = ()
    _hindrance: Pause | Waits | None = None

    def __init__(self, sch: Subchannel, orb: Orb, ccws: CcwFetcher, io: Transfer) -> None:
        """*ccws* fetches the program of *orb*, *io* moves the data of its commands."""
        self._sch = sch
        self.orb = orb
        """What the START asked for."""
        self.ccws = ccws
        """The program's CCWs."""
        self.io = io
        """The data movement of its commands."""
        # Address of the CCW that is to be fetched; None while a command is in progress.
        self._fetch_next: int | None = orb.cpa
        self._since = perf_counter_ns()

    @property
    def schid(self) -> str:
        """Whose program it is: cssid.ssid.schno in hex."""
        return self._sch.schid

    def cancel(self) -> None:
        """End the program without a status (clear, halt, cancel, reset)."""
        self.cancelled = True
        parked, self.parked = self.parked, None
        if parked is not None:
            parked.abandon()
        self._sch.device.abandon()
        self._account_wait(perf_counter_ns())
        if self._sch.stepper is not None:
            self._sch.stepper.cancelled(self)
        if self.scope is not None:
            self.scope.cancel()

    def disconnect(self, parked: Parked) -> None:
        """It waits in the middle of a command: device and channel path are not connected."""
        now = perf_counter_ns()
        self._sch.measurement.device_connect_ns += now - self._since
        self.parked = parked
        self.note_accepted()
        self._since = now

    def reconnect(self) -> Pause | Waits | Parked | None:
        """What it waited for has come: go on as `run` does."""
        parked, self.parked = self.parked, None
        if parked is None:
            return None
        now = perf_counter_ns()
        self._account_wait(now)
        self._since = now
        self.io.turn(now + TURN_NS)
        pause: Pause | Waits | Parked | None = parked.resume()
        return pause

    def fail(self) -> None:
        """Something went wrong that nobody foresaw: the device ends the program."""
        self._sch.device.sense = EQUIPMENT_CHECK
        self._sch.conclude(self, ENDED | UC, 0, self.io.left)

    def run(self) -> Pause | Waits | None:
        """Go on until the program has ended (None) or must wait for what is given."""
        # A task that was awake already when its scope was cancelled comes here all the same.
        if self.cancelled:
            return None
        begin = perf_counter_ns()
        measurement = self._sch.measurement
        begun = self._begun
        if begun:
            self._account_wait(begin)
        else:
            measurement.function_pending_ns += begin - self._since
        self._since = begin
        self.io.turn(begin + TURN_NS)
        pause = self._execute() if begun or self._begin() else None
        now = perf_counter_ns()
        measurement.device_connect_ns += now - self._since
        self._since = now
        return pause

    def _begin(self) -> bool:
        """Select a path and the device; False if no path is operational: that is the end."""
        sch = self._sch
        self._begun = True
        self.io.path = sch.paths.select(self.orb.lpm)
        if not self.io.path:
            sch.conclude(self, 0, 0, 0, deferred_cc=3)
            return False
        self._begin_at_device()
        if sch.behaviour.armed:
            self._faults = sch.behaviour.begin()
        return True

    def _begin_at_device(self) -> None:
        """To the device a channel program begins."""
        device = self._sch.device
        device.begin()
        for medium in device.media:
            if medium.ahead:
                medium.forget()

    def _account_wait(self, now: int) -> None:
        """Add the time since the last step to what it was spent with."""
        measurement = self._sch.measurement
        waited = now - self._since
        if not self._begun:
            measurement.function_pending_ns += waited
        elif self.status:
            measurement.device_active_only_ns += waited
        elif self._sch.scsw.ctrl & SUSPENDED:
            pass
        elif self._answered:
            measurement.device_disconnect_ns += waited
        else:
            measurement.function_pending_ns += waited
            measurement.device_busy_ns += waited

    def _execute(self) -> Pause | Waits | None:
        """As `run`."""
        sch = self._sch
        pending = sch.pending
        measured = sch.measurement
        device = sch.device
        shared = device.shared
        stepper = sch.stepper
        io = self.io
        ccws = self.ccws
        burst = BURST
        try:
            if self._hits and self._hindered():
                return self._hindrance
            if self.status:
                status, self.status = self.status, 0
                if not self._chain(status):
                    return None
            while True:
                address = self._fetch_next
                if address is not None:
                    if stepper is not None:
                        stepper.before(self, address)
                    ccws.fetch(address, first=io.first)
                    if ccws.flags & PCI_OR_SUSPEND and self._suspends():
                        return Pause.EVENT
                    self._fetch_next = None
                    io.begin()
                    if self._faults:
                        self._asked += 1
                        self._hits = sch.behaviour.meet(
                            self._faults, self._asked, ccws.code, device.at()
                        )
                        if self._hindered():
                            return self._hindrance
                try:
                    if shared:
                        status = device.execute_shared(ccws.code, io)
                    else:
                        status = device.execute(ccws.code, io)
                except NotReady as wait:
                    if self._answered or type(wait) is not Busy:
                        self._accepted()
                    return wait.event
                if device.secures:
                    status = device.secure(status)
                io.end()
                answered, self._answered = self._answered, True
                if not answered:
                    measured.initial_command_response_ns += perf_counter_ns() - self._since
                if pending.observer is not None:
                    ccws.tell(pending.observer, status)
                if not answered and self.orb.ctrl0 & ISIC and status & CE:
                    # Zero initial status: the interruption that the ORB asks for.
                    sch.note_initial_status()
                if status & (CE | DE) == CE:
                    return self._channel_end(status)
                if not self._chain(status):
                    return None
                burst -= 1
                if not burst or io.heavy:
                    io.heavy = False
                    burst = BURST
                    if perf_counter_ns() >= io.turn_ends:
                        sch.note_active()
                        return TURN
        except ChannelCheck as check:
            self._end_by_check(check.cstat)
            return None
        except Exception:
            log.exception("%s: command %02x failed; the program ends", self.schid, ccws.code)
            self.fail()
            return None

    def note_accepted(self) -> None:
        """It has to wait: the subchannel shows active, unless no command was accepted yet."""
        if self._fetch_next is None or not self.io.first:
            self._accepted()

    def _accepted(self) -> None:
        """The device works at the command and has not ended it."""
        sch = self._sch
        sch.note_active()
        if not self._answered:
            self._answered = True
            sch.measurement.initial_command_response_ns += perf_counter_ns() - self._since
            if self.orb.ctrl0 & ISIC:
                sch.note_initial_status()

    def _wake(self) -> None:
        self.woken = True
        if self.on_wake is not None:
            self.on_wake()

    def _suspends(self) -> bool:
        """The PCI and suspend flags of a CCW that became current; True if it suspends."""
        flags = self.ccws.flags
        if flags & c.CCW_FLAG_SUSPEND:
            if not self.orb.ctrl0 & c.ORB_CTRL0_MASK_SPND:
                raise ChannelCheck(c.SCSW_CSTAT_PROG_CHECK)
            self._fetch_next = self.ccws.address
            pci = c.SCSW_CSTAT_PCI if flags & c.CCW_FLAG_PCI else 0
            self._sch.note_suspended(self, pci)
            if self._sch.stepper is not None:
                self._sch.stepper.suspended()
            return True
        self._sch.note_pci()
        return False

    def resume(self) -> None:
        """RSCH took effect: the CCW is fetched anew, and suspends again if it still says so."""
        self.ccws.refetch()
        # Suspension ended the chain at the device: what it had located is lost.
        self._begin_at_device()
        self._wake()

    def _hindered(self) -> bool:
        """Let come what hits the command; True if that is not done now: `run` gives _hindrance."""
        sch = self._sch
        self._hindrance = None
        while self._hits:
            hit, *self._hits = self._hits
            match hit.fault:
                case Fault.DELAY:
                    self._accepted()
                    self._hindrance = Moment(hit.seconds)
                case Fault.HANG:
                    self._accepted()
                    self._hindrance = Pause.HANG
                case Fault.LOST_INTERRUPTION:
                    sch.lose_status()
                    continue
                case Fault.BUSY:
                    # Only the first command is refused before the device has begun.
                    cc = 0 if self._answered else 1
                    sch.conclude(self, c.SCSW_DSTAT_BUSY, 0, self.io.left, deferred_cc=cc)
                case Fault.UNIT_CHECK:
                    sch.device.sense = hit.sense
                    self._answered = True
                    if sch.pending.observer is not None:
                        self.ccws.tell(sch.pending.observer, ENDED | UC)
                    sch.conclude(self, ENDED | UC, 0, self.io.left)
                case check:
                    sch.conclude(self, *CHECKS[check], self.io.left)
            return True
        return False

    def _chain(self, status: int) -> bool:
        """Incorrect length, then command chaining; False if the program ended here."""
        io = self.io
        flags = self.ccws.flags
        io.first = False
        cstat = io.check
        if not status & UC and self._incorrect_length():
            cstat |= c.SCSW_CSTAT_INCORR_LEN
        if cstat or status & UNUSUAL or flags & CHAINS != c.CCW_FLAG_CC:
            self._sch.conclude(self, status, cstat, io.left)
            return False
        self._fetch_next = self.ccws.address + (16 if status & SM else 8)
        return True

    def _incorrect_length(self) -> bool:
        """Whether the ending status has incorrect length (PoP 15, table of incorrect length)."""
        io = self.io
        flags = self.ccws.flags
        if flags & SLI_OR_DC == c.CCW_FLAG_SLI or io.check or not (io.left or io.over):
            return False
        if io.used or flags & c.CCW_FLAG_DC:
            return True
        # Format 1 counts an immediate command's length unless the ORB suppresses it (bit L).
        orb = self.orb
        return bool(orb.ctrl0 & c.ORB_CTRL0_MASK_FMT) and not orb.ctrl1 & c.ORB_CTRL1_MASK_ILS

    def _channel_end(self, status: int) -> Pause | None:
        """Channel end without device end: primary status, or a chain that waits for device end."""
        if self.ccws.flags & CHAINS == c.CCW_FLAG_CC and status == CE:
            self.status = status
            self._sch.note_active()
            return Pause.EVENT
        cstat = self.io.check
        if self._incorrect_length():
            cstat |= c.SCSW_CSTAT_INCORR_LEN
        self._sch.conclude(self, status, cstat, self.io.left, device_active=not status & UC)
        return None

    def device_end(self, status: int) -> None:
        """The device presented the *status* (device end) that the chain waits for."""
        self.status |= status
        self._wake()

    def _end_by_check(self, cstat: int) -> None:
        """The channel found an error: end with what the device was told to end with."""
        status = 0
        count = 0
        if self._fetch_next is None:
            status = ENDED
            count = self.io.left
        self._sch.conclude(self, status, cstat, count)
