"""A subchannel: PMCW and SCSW, the I/O instructions, and the interruptions in their order.

Condition codes and the changes of fctl, actl and stctl are those of the Principles of Operation,
chapters 14 and 16. Instructions are plain calls: they return with their condition code at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from ..devices.base import Device
from ..devices.faults import Behaviour
from ..memory.space import AddressSpace
from ..regions import codec
from ..regions import constants as c
from ..regions.layouts import Orb, Scsw
from .ccw import CcwFetcher
from .channel import ChannelProgram
from .measurement import Measurement
from .observer import Observer, followed_by, without
from .paths import SubchannelPaths
from .pending import NO_ECW, Interruption, PendingStatus
from .pmcw import (
    CONCURRENT_SENSE,
    ENABLED,
    LIMIT_HIGH,
    LIMIT_LOW,
    PathManagementControlWord,
    modifiable,
)
from .scsw import (
    ACTIVE,
    ACTL,
    ALERT,
    CLEAR,
    CLEAR_PEND,
    DEVICE_ACTIVE,
    FCTL,
    HALT,
    HALT_PEND,
    IN_USE,
    INTERMEDIATE_ONLY,
    PRIMARY,
    RESUME_PEND,
    SECONDARY,
    START,
    START_PEND,
    STATUS_PEND,
    STCTL,
    SUSPENDED,
    UNSOLICITED,
    SubchannelStatusWord,
)
from .transfer import Transfer

if TYPE_CHECKING:
    from .stepper import Stepper

ORB_IN_SCSW: Final = (
    c.ORB_CTRL0_MASK_KEY
    | c.ORB_CTRL0_MASK_SPND
    | c.ORB_CTRL0_MASK_FMT
    | c.ORB_CTRL0_MASK_PFCH
    | c.ORB_CTRL0_MASK_ISIC
    | c.ORB_CTRL0_MASK_ALCC
    | c.ORB_CTRL0_MASK_SSIC
)
"""Bits of the ORB that a start function copies into the same places of the SCSW."""
TRANSPORT_MODE: Final = c.ORB_CTRL0_MASK_TRANSPORT
ADDRESS_LIMIT_CHECKING: Final = c.ORB_CTRL0_MASK_ALCC
ORB_CTRL1_RESERVED: Final = c.ORB_CTRL1_MASK_INVALID
"""Bits of the ORB's last control byte that must be zero."""
STARTED: Final = START | START_PEND
CONCLUDED: Final = START | PRIMARY | SECONDARY | STATUS_PEND
CONCLUDED_ACTIVE: Final = START | DEVICE_ACTIVE | PRIMARY | STATUS_PEND
"""Control bits of the SCSW after channel end with device end, and without it."""
ABNORMAL_DSTAT: Final = 0xFF & ~(c.SCSW_DSTAT_CHANNEL_END | c.SCSW_DSTAT_DEVICE_END)
ABNORMAL_CSTAT: Final = 0xFF & ~c.SCSW_CSTAT_PCI
"""Device and subchannel status that make the ending an unusual one: alert status."""
LOGGED: Final = c.SCSW_CSTAT_DATA_CHECK | c.SCSW_CSTAT_CHN_CTRL_CHK | c.SCSW_CSTAT_INTF_CTRL_CHK
"""Subchannel status that comes with a subchannel logout (ESW format 0)."""
LOGOUT_VALID: Final = 0x4000 | 0x0400
"""Field-validity flags: last-path-used mask, CCW address."""
FETCH_ACCESS: Final = 0x0100
STORE_ACCESS: Final = 0x0200
"""Storage-access codes."""
UNIT_CHECK: Final = c.SCSW_DSTAT_UNIT_CHECK


_new = tuple.__new__  # of a NamedTuple: without the call that sorts its arguments


class OperandException(Exception):
    """The operand of an instruction is not what it must be (PoP 14): a program interruption."""


class Executor(Protocol):
    """Who gives programs their time and lets them wait."""

    def launch(self, program: ChannelProgram, delay: float) -> None:
        """Run *program*, *delay* seconds from now."""
        ...

    def soon(self, function: Callable[[], None]) -> None:
        """Call *function* once the instruction that asks for it has been answered."""
        ...

    def later(self, function: Callable[[], None], delay: float) -> Callable[[], None]:
        """Call *function*, *delay* seconds from now, unless what this gives is called before."""
        ...


@dataclass(slots=True)
class Counters:
    """Functions that were accepted since the subchannel was made."""

    starts: int = 0
    halts: int = 0
    clears: int = 0


class Subchannel:
    """One subchannel and the device behind it."""

    def __init__(
        self,
        schid: str,
        device: Device,
        space: AddressSpace,
        executor: Executor,
        behaviour: Behaviour | None = None,
        chpids: bytes = b"\x40\x41",
    ) -> None:
        self.schid = schid
        """cssid.ssid.schno in hex."""
        self.number = int(schid.rpartition(".")[2], 16)
        """The subchannel number."""
        self.device = device
        """The device behind it."""
        self.space = space
        """The storage its programs address."""
        self.behaviour = behaviour if behaviour is not None else Behaviour()
        """Timing and faults."""
        self.executor = executor
        """Who gives its programs their time."""
        self.scsw = SubchannelStatusWord()
        """The subchannel-status word."""
        self.pmcw = PathManagementControlWord(self.number, chpids)
        """The path-management-control word."""
        self.paths = SubchannelPaths(self.pmcw)
        """Its channel paths."""
        self.pending = PendingStatus(self.scsw, self.pmcw)
        """The status that waits to be taken, and what follows it."""
        self.program: ChannelProgram | None = None
        """The start function in progress."""
        self.address_limit = 0
        """What SET ADDRESS LIMIT sets: the absolute address that limit modes 1 and 2 mean."""
        self.counters = Counters()
        """Starts, halts and clears."""
        self.measurement = Measurement()
        """What the channel-measurement block counts."""
        self.stepper: Stepper | None = None
        """Who lets its programs stop; programs see it when they get their turn."""
        self._loses_status = False
        device.attention = self.unsolicited

    def follow(self, observer: Observer) -> None:
        """Tell *observer* of CCWs and interruptions from now on, beside those who are told."""
        self.pending.observer = followed_by(self.pending.observer, observer)

    def unfollow(self, observer: Observer) -> None:
        """Tell *observer* no more."""
        self.pending.observer = without(self.pending.observer, observer)

    @property
    def busy(self) -> bool:
        """Status may come by itself: a function is in progress that is not suspended."""
        ctrl = self.scsw.ctrl
        return ctrl & (HALT_PEND | CLEAR_PEND) != 0 or (
            self.program is not None and ctrl & (SUSPENDED | RESUME_PEND) != SUSPENDED
        )

    def _operational(self) -> bool:
        behaviour = self.behaviour
        return self.pmcw.enabled and not (behaviour.armed and behaviour.refuses())

    # --- instructions -------------------------------------------------------------------------

    def ssch(self, orb: Orb, ccws: CcwFetcher | None = None) -> int:
        """START SUBCHANNEL: 0 started, 1 status pending, 2 busy, 3 not operational.

        *ccws*: the program of *orb*, if a driver prefetched or copied it, or if it is not in the
        subchannel's storage.
        OperandException for an ORB that is not valid; it comes before any condition code.
        """
        if ccws is None:
            ccws = CcwFetcher(self.space, orb)
        intparm, ctrl0, lpm, ctrl1, cpa = orb
        if cpa > ccws.HIGHEST or ctrl0 & TRANSPORT_MODE or ctrl1 & ORB_CTRL1_RESERVED:
            raise OperandException
        behaviour = self.behaviour
        pmcw = self.pmcw
        if not pmcw.flags & ENABLED or (behaviour.armed and behaviour.refuses(start=True)):
            return 3
        scsw = self.scsw
        if scsw.ctrl & IN_USE:
            return 1 if scsw.ctrl & STATUS_PEND else 2
        lpm &= ~self.paths.varied_off
        if not lpm & pmcw.pam:
            return 3
        self.counters.starts += 1
        self.measurement.ssch_rsch_count += 1
        pmcw.lpm = lpm
        pmcw.intparm = intparm
        pmcw.pnom = 0
        scsw.flags = ctrl0 & ORB_IN_SCSW
        scsw.ctrl = STARTED
        scsw.cpa = cpa
        scsw.dstat = scsw.cstat = scsw.count = 0
        self.pending.erw = self.pending.logout = 0
        self._loses_status = False
        limits = self._address_limits() if ctrl0 & ADDRESS_LIMIT_CHECKING else None
        self.program = program = ChannelProgram(self, orb, ccws, Transfer(ccws, self, limits))
        self.executor.launch(program, behaviour.delay)
        return 0

    def _address_limits(self) -> tuple[int, int] | None:
        """Between which addresses data must lie by the PMCW's limit mode; None: anywhere."""
        mode = self.pmcw.flags & c.PMCW_FLAGS_MASK_LM
        if mode == LIMIT_LOW:
            return self.address_limit, 1 << 64
        return (0, self.address_limit) if mode == LIMIT_HIGH else None

    def hsch(self) -> int:
        """HALT SUBCHANNEL: 0 halt pending, 1 status pending, 2 busy, 3 not operational."""
        if not self._operational():
            return 3
        scsw = self.scsw
        ctrl = scsw.ctrl
        # The ending of a start may wait behind intermediate status that nobody took: too late then.
        ended = self.program is None and ctrl & FCTL == START
        if ctrl & STATUS_PEND and (ended or ctrl & STCTL != INTERMEDIATE_ONLY):
            return 1
        if ctrl & (HALT | CLEAR):
            return 2
        self.counters.halts += 1
        program, self.program = self.program, None
        if program is not None:
            program.cancel()
            if ctrl & (ACTIVE | SUSPENDED):
                scsw.cpa = program.ccws.cpa
        scsw.ctrl = ctrl & ~(START_PEND | RESUME_PEND) | HALT | HALT_PEND
        self.executor.soon(self._perform_halt)
        return 0

    def _perform_halt(self) -> None:
        """The halt function: the device is signalled, and status pending alone is what follows."""
        scsw = self.scsw
        if not scsw.ctrl & HALT_PEND:
            return
        scsw.ctrl &= ~HALT_PEND
        halted = Scsw(scsw.flags, scsw.ctrl & FCTL | STATUS_PEND, scsw.cpa, 0, 0, 0)
        if scsw.ctrl & STATUS_PEND and not self.pending.shown:
            # Intermediate status that nobody has seen goes into the halt's.
            scsw.ctrl &= ~STCTL
        self.pending.post(Interruption(halted))

    def csch(self) -> int:
        """CLEAR SUBCHANNEL: 0 clear pending, start and halt gone; 3 not operational."""
        if not self._operational():
            return 3
        self.counters.clears += 1
        self._drop_program()
        unsolicited = [i for i in self.pending.queue if not i.solicited]
        self.pending.forget(Scsw(ctrl=CLEAR | CLEAR_PEND))
        self.pending.queue.extend(unsolicited)
        self.pmcw.pnom = 0
        self.executor.soon(self._perform_clear)
        return 0

    def _perform_clear(self) -> None:
        """The clear function: the device is reset, and status pending alone is what follows."""
        if not self.scsw.ctrl & CLEAR_PEND:
            return
        self.device.reset()
        self.scsw.ctrl = 0
        self.pending.post(Interruption(Scsw(ctrl=CLEAR | STATUS_PEND)))

    def rsch(self) -> int:
        """RESUME SUBCHANNEL: 0 resume pending, 1 status pending, 2 not applicable, 3."""
        if not self._operational():
            return 3
        ctrl = self.scsw.ctrl
        if ctrl & STATUS_PEND:
            return 1
        program = self.program
        if (
            ctrl & FCTL != START
            or ctrl & RESUME_PEND
            or program is None
            or not program.orb.ctrl0 & c.ORB_CTRL0_MASK_SPND
        ):
            return 2
        self.measurement.ssch_rsch_count += 1
        if ctrl & SUSPENDED:
            self.scsw.ctrl = ctrl | RESUME_PEND
            program.resume()
        return 0

    def xsch(self) -> int:
        """CANCEL SUBCHANNEL: 0 the start function is gone, without an interruption; 1; 2; 3."""
        if not self._operational():
            return 3
        ctrl = self.scsw.ctrl
        if ctrl & STATUS_PEND:
            return 1
        if not ctrl & (START_PEND | RESUME_PEND | SUSPENDED) or ctrl & FCTL != START:
            return 2
        self._drop_program()
        self.scsw.ctrl = 0
        self.pending.next()
        return 0

    def stsch(self) -> bytes:
        """STORE SUBCHANNEL: the 52 bytes of the SCHIB."""
        return self.pmcw.pack() + self.scsw.pack() + bytes(12)

    def msch(self, schib: bytes) -> int:
        """MODIFY SUBCHANNEL from 52 bytes: 0 done, 1 status pending, 2 busy, 3 not operational.

        OperandException for limit mode 3 and for reserved bits.
        """
        new = codec.PMCW.parse(schib)
        if not modifiable(new):
            raise OperandException
        if not self.pmcw.flags & c.PMCW_FLAGS_MASK_DNV:
            return 3
        if self.scsw.ctrl & IN_USE:
            return 1 if self.scsw.status_pending else 2
        self.pmcw.modify(new)
        return 0

    def tsch(self) -> tuple[int, bytes]:
        """TEST SUBCHANNEL: condition code (0 status was pending, 1 it was not, 3), 96-byte IRB."""
        if not self.pmcw.enabled:
            return 3, b""
        irb = self.pending.irb()
        if not self.scsw.status_pending:
            return 1, irb
        self.pending.take()
        return 0, irb

    # --- what the channel reports -------------------------------------------------------------

    def note_active(self) -> None:
        """The first command was accepted: subchannel and device are active."""
        self.scsw.ctrl = self.scsw.ctrl & ~(START_PEND | RESUME_PEND | SUSPENDED) | ACTIVE
        if self.program is not None:
            self.pmcw.lpum = self.program.io.path

    def note_pci(self) -> None:
        """A CCW with the PCI flag became current: an intermediate interruption."""
        self.note_active()
        self._intermediate(self.scsw.flags, c.SCSW_CSTAT_PCI)

    def note_initial_status(self) -> None:
        """The first command got zero initial status: an intermediate interruption with Z."""
        self.note_active()
        self._intermediate(self.scsw.flags | c.SCSW_FLAGS_MASK_ZCC, 0)

    def note_suspended(self, program: ChannelProgram, cstat: int) -> None:
        """The suspend flag took effect; the interruption unless the ORB suppresses it (bit U).

        *cstat* has the PCI bit if the CCW with the suspend flag has the PCI flag, too.
        """
        self.device.leave()
        scsw = self.scsw
        self.pmcw.lpum = program.io.path
        scsw.cpa = program.ccws.cpa
        scsw.ctrl = scsw.ctrl & ~(ACTL | STCTL) | scsw.ctrl & STCTL | SUSPENDED
        if not program.orb.ctrl0 & c.ORB_CTRL0_MASK_SSIC:
            self._intermediate(scsw.flags, cstat)

    def _intermediate(self, flags: int, cstat: int) -> None:
        program = self.program
        cpa = program.ccws.cpa if program is not None else self.scsw.cpa
        ctrl = self.scsw.ctrl & ~STCTL | INTERMEDIATE_ONLY
        self.pending.post(Interruption(Scsw(flags, ctrl, cpa, 0, cstat, 0)))

    def lose_status(self) -> None:
        """The ending status of the program that begins will be lost on its way."""
        self._loses_status = True

    def conclude(
        self,
        program: ChannelProgram,
        dstat: int,
        cstat: int,
        count: int,
        *,
        device_active: bool = False,
        deferred_cc: int = 0,
    ) -> None:
        """The start function ends: primary and, unless *device_active*, secondary status."""
        if program is not self.program:
            return
        device = self.device
        if device.shared or device.claim is not None:
            device.leave()
        io = program.io
        pmcw = self.pmcw
        pmcw.lpum = io.path
        if self._loses_status:
            self.note_active()
            return
        sense = b""
        if dstat & UNIT_CHECK and pmcw.chars & CONCURRENT_SENSE:
            # The device may look at its medium for it: the program has not ended yet.
            sense = self.device.take_sense()
        self.program = None
        self.measurement.sample_count += 1
        ctrl = CONCLUDED_ACTIVE if device_active else CONCLUDED
        flags = self.scsw.flags & ORB_IN_SCSW
        if pmcw.pnom:
            flags |= c.SCSW_FLAGS_MASK_PNO
        erw = logout = 0
        ecw = NO_ECW
        if dstat & ABNORMAL_DSTAT or cstat & ABNORMAL_CSTAT or deferred_cc:
            ctrl |= ALERT
            flags |= deferred_cc << c.SCSW_CC_SHIFT
            if sense:
                erw = c.ERW_CONS | len(sense) << c.ERW_SCNT_SHIFT
                ecw = sense.ljust(c.ECW_SIZE, b"\0")
                flags |= c.SCSW_FLAGS_MASK_ECTL
            if cstat & LOGGED:
                # ESW format 0: whose LPUM and CCW address are valid, and the use of storage.
                flags |= c.SCSW_FLAGS_MASK_ESWF
                logout = LOGOUT_VALID | (STORE_ACCESS if io.input else FETCH_ACCESS)
        scsw = _new(Scsw, (flags, ctrl, program.ccws.cpa, dstat, cstat, count))
        self.pending.post(_new(Interruption, (scsw, erw, ecw, logout, True)))

    def unsolicited(self, dstat: int) -> None:
        """The device presents status by itself: attention, or the device end that was awaited."""
        if self.program is not None and self.program.status and dstat & c.SCSW_DSTAT_DEVICE_END:
            self.program.device_end(dstat)
            return
        if not self.pmcw.enabled:
            return
        scsw = self.scsw
        ctrl = scsw.ctrl
        stctl = UNSOLICITED
        owed = (
            self.program is None
            and ctrl & ACTIVE == DEVICE_ACTIVE
            and not ctrl & HALT
            and dstat & c.SCSW_DSTAT_DEVICE_END != 0
        )
        if owed:
            stctl = SECONDARY | STATUS_PEND
            if dstat & ABNORMAL_DSTAT:
                stctl |= ALERT
            # It comes once: another device end is unsolicited, also before this one is taken.
            scsw.ctrl = ctrl & ~DEVICE_ACTIVE
        new = Interruption(Scsw(ctrl=stctl, dstat=dstat), solicited=owed)
        if ctrl & FCTL:
            self.pending.hold(new)
        else:
            self.pending.post(new)

    # --- channel paths ------------------------------------------------------------------------

    def lose_path(self, path: int) -> None:
        """*path* went away: a program that uses it ends with interface-control check."""
        program = self.program
        if program is not None and self.scsw.ctrl & ACTIVE and program.io.path == path:
            self._loses_status = False
            self.conclude(program, 0, c.SCSW_CSTAT_INTF_CTRL_CHK, program.io.left)
            program.cancel()

    # --- life ---------------------------------------------------------------------------------

    def _drop_program(self) -> None:
        program, self.program = self.program, None
        if program is not None:
            program.cancel()

    def enable(self) -> None:
        """What a driver does first: MSCH with E."""
        self.pmcw.flags |= ENABLED

    def disable(self) -> None:
        """The end of a driver: no function, no status, E off."""
        self.quiesce()
        self.pmcw.flags &= ~ENABLED

    def quiesce(self) -> None:
        """Drop the function in progress and every status, without an interruption."""
        self._drop_program()
        self.device.system_reset()
        self.pending.forget()
