"""A subchannel: PMCW and SCSW, the I/O instructions, and the interruptions in their order.

Condition codes and the changes of fctl, actl and stctl are those of the Principles of Operation,
chapters 14 and 16. Instructions are plain calls: they return with their condition code at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from ..devices.base import Device
from ..devices.options import Behaviour, Fault
from ..memory.space import AddressSpace
from ..regions import codec
from ..regions import constants as c
from ..regions.layouts import Orb, Scsw
from .channel import ChannelProgram
from .measurement import Measurement
from .pmcw import PathManagement, modifiable
from .status import (
    ABNORMAL_CSTAT,
    ABNORMAL_DSTAT,
    ACTIVE,
    ACTL,
    ALERT,
    CLEAR,
    CLEAR_PEND,
    FCTL,
    FETCH_ACCESS,
    HALT,
    HALT_PEND,
    IN_USE,
    INTERMEDIATE_ONLY,
    LOGGED,
    LOGOUT_VALID,
    NO_ECW,
    PRIMARY,
    RESUME_PEND,
    SECONDARY,
    START,
    START_PEND,
    STATUS_PEND,
    STCTL,
    STORE_ACCESS,
    SUSPENDED,
    Interruption,
    Status,
)

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
ENABLED: Final = c.PMCW_FLAGS_MASK_ENA
TRANSPORT_MODE: Final = c.ORB_CTRL0_MASK_TRANSPORT
ORB_CTRL1_RESERVED: Final = c.ORB_CTRL1_MASK_INVALID
"""Bits of the ORB's last control byte that must be zero."""
STARTED: Final = START | START_PEND
ENDED: Final = START | PRIMARY | SECONDARY | STATUS_PEND
ENDED_ACTIVE: Final = START | c.SCSW_ACTL_DEVICE_ACTIVE | PRIMARY | STATUS_PEND
"""Control bits of the SCSW after channel end with device end, and without it."""
NOT_OPERATIONAL: Final = Fault.NOT_OPERATIONAL
UNIT_CHECK: Final = c.SCSW_DSTAT_UNIT_CHECK
CONCURRENT_SENSE: Final = c.PMCW_CHARS_MASK_CSENSE


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


class Subchannel(PathManagement, Status):
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
        self.space = space
        """The storage its programs address."""
        self.behaviour = behaviour if behaviour is not None else Behaviour()
        """Timing and faults."""
        self._executor = executor
        PathManagement.__init__(self, self.number, chpids)
        Status.__init__(self)
        self.program: ChannelProgram | None = None
        """The start function in progress."""
        self.measurement = Measurement()
        """What the channel-measurement block counts."""
        self._lost = False
        device.attention = self.unsolicited

    @property
    def busy(self) -> bool:
        """Status may come by itself: a function is in progress that is not suspended."""
        return self.ctrl & (HALT_PEND | CLEAR_PEND) != 0 or (
            self.program is not None and self.ctrl & (SUSPENDED | RESUME_PEND) != SUSPENDED
        )

    def _operational(self) -> bool:
        return self.enabled and self.behaviour.fault is not NOT_OPERATIONAL

    # --- instructions -------------------------------------------------------------------------

    def ssch(self, orb: Orb, fetched: bytes = b"", space: AddressSpace | None = None) -> int:
        """START SUBCHANNEL: 0 started, 1 status pending, 2 busy, 3 not operational.

        *fetched*: storage from the first CCW on that a driver prefetched, where the ORB allows it.
        *space*: where program and data are, if not in the subchannel's storage.
        OperandException for an ORB that is not valid; it comes before any condition code.
        """
        intparm, ctrl0, lpm, ctrl1, cpa = orb
        if cpa >> 31 or ctrl0 & TRANSPORT_MODE or ctrl1 & ORB_CTRL1_RESERVED:
            raise OperandException
        behaviour = self.behaviour
        if not self.pmcw_flags & ENABLED or behaviour.fault is NOT_OPERATIONAL:
            return 3
        if self.ctrl & IN_USE:
            return 1 if self.ctrl & STATUS_PEND else 2
        lpm &= ~self.varied_off
        if not lpm & self.pam:
            return 3
        self.counters.starts += 1
        self.measurement.ssch_rsch_count += 1
        self.lpm = lpm
        self.intparm = intparm
        self.flags = ctrl0 & ORB_IN_SCSW
        self.ctrl = STARTED
        self.cpa = cpa
        self.dstat = self.cstat = self.count = self.erw = self.logout = self.pnom = 0
        self._lost = False
        self.program = program = ChannelProgram(self, orb, fetched, space)
        self._executor.launch(program, behaviour.delay)
        return 0

    def hsch(self) -> int:
        """HALT SUBCHANNEL: 0 halt pending, 1 status pending, 2 busy, 3 not operational."""
        if not self._operational():
            return 3
        # The ending of a start may wait behind intermediate status that nobody took: too late then.
        ended = self.program is None and self.ctrl & FCTL == START
        if self.ctrl & STATUS_PEND and (ended or self.ctrl & STCTL != INTERMEDIATE_ONLY):
            return 1
        if self.ctrl & (HALT | CLEAR):
            return 2
        self.counters.halts += 1
        program, self.program = self.program, None
        if program is not None:
            program.cancel()
            if self.ctrl & (ACTIVE | SUSPENDED):
                self.cpa = program.ccws.cpa
        self.ctrl = self.ctrl & ~(START_PEND | RESUME_PEND) | HALT | HALT_PEND
        self._executor.soon(self._perform_halt)
        return 0

    def _perform_halt(self) -> None:
        """The halt function: the device is signalled, and status pending alone is what follows."""
        if not self.ctrl & HALT_PEND:
            return
        self.ctrl &= ~HALT_PEND
        scsw = Scsw(self.flags, self.ctrl & FCTL | STATUS_PEND, self.cpa, 0, 0, 0)
        if self.ctrl & STATUS_PEND and not self.shown:
            # Intermediate status that nobody has seen goes into the halt's.
            self.ctrl &= ~STCTL
        self.post(scsw)

    def csch(self) -> int:
        """CLEAR SUBCHANNEL: 0 clear pending, start and halt gone; 3 not operational."""
        if not self._operational():
            return 3
        self.counters.clears += 1
        self._drop_program()
        unsolicited = [i for i in self.backlog if not i.solicited]
        self.forget_status(Scsw(ctrl=CLEAR | CLEAR_PEND))
        self.backlog.extend(unsolicited)
        self.pnom = 0
        self._executor.soon(self._perform_clear)
        return 0

    def _perform_clear(self) -> None:
        """The clear function: the device is reset, and status pending alone is what follows."""
        if not self.ctrl & CLEAR_PEND:
            return
        self.device.reset()
        self.ctrl = 0
        self.post(Scsw(ctrl=CLEAR | STATUS_PEND))

    def rsch(self) -> int:
        """RESUME SUBCHANNEL: 0 resume pending, 1 status pending, 2 not applicable, 3."""
        if not self._operational():
            return 3
        if self.ctrl & STATUS_PEND:
            return 1
        program = self.program
        if (
            self.ctrl & FCTL != START
            or self.ctrl & RESUME_PEND
            or program is None
            or not program.orb.ctrl0 & c.ORB_CTRL0_MASK_SPND
        ):
            return 2
        self.measurement.ssch_rsch_count += 1
        if self.ctrl & SUSPENDED:
            self.ctrl |= RESUME_PEND
            program.resume()
        return 0

    def xsch(self) -> int:
        """CANCEL SUBCHANNEL: 0 the start function is gone, without an interruption; 1; 2; 3."""
        if not self._operational():
            return 3
        if self.ctrl & STATUS_PEND:
            return 1
        if not self.ctrl & (START_PEND | RESUME_PEND | SUSPENDED) or self.ctrl & FCTL != START:
            return 2
        self._drop_program()
        self.ctrl = 0
        self.next_interruption()
        return 0

    def stsch(self) -> bytes:
        """STORE SUBCHANNEL: the 52 bytes of the SCHIB."""
        return self.pmcw() + self.scsw() + bytes(12)

    def msch(self, schib: bytes) -> int:
        """MODIFY SUBCHANNEL from 52 bytes: 0 done, 1 status pending, 2 busy, 3 not operational.

        OperandException for limit mode 3 and for reserved bits.
        """
        new = codec.PMCW.parse(schib[: c.PMCW_SIZE])
        if not modifiable(new):
            raise OperandException
        if not self.pmcw_flags & c.PMCW_FLAGS_MASK_DNV:
            return 3
        if self.ctrl & IN_USE:
            return 1 if self.ctrl & STATUS_PEND else 2
        self.modify(new)
        return 0

    def tsch(self) -> tuple[int, bytes]:
        """TEST SUBCHANNEL: condition code (0 status was pending, 1 it was not, 3), 96-byte IRB."""
        if not self.enabled:
            return 3, b""
        irb = self.irb()
        if not self.ctrl & STATUS_PEND:
            return 1, irb
        self.take_status()
        return 0, irb

    # --- what the channel reports -------------------------------------------------------------

    def note_active(self) -> None:
        """The first command was accepted: subchannel and device are active."""
        self.ctrl = self.ctrl & ~(START_PEND | RESUME_PEND | SUSPENDED) | ACTIVE
        if self.program is not None:
            self.lpum = self.program.io.path

    def note_pci(self) -> None:
        """A CCW with the PCI flag became current: an intermediate interruption."""
        self.note_active()
        self._intermediate(self.flags, c.SCSW_CSTAT_PCI)

    def note_initial_status(self) -> None:
        """The first command got zero initial status: an intermediate interruption with Z."""
        self.note_active()
        self._intermediate(self.flags | c.SCSW_FLAGS_MASK_ZCC, 0)

    def note_suspended(self, program: ChannelProgram, cstat: int) -> None:
        """The suspend flag took effect; the interruption unless the ORB suppresses it (bit U).

        *cstat* has the PCI bit if the CCW with the suspend flag has the PCI flag, too.
        """
        self.lpum = program.io.path
        self.cpa = program.ccws.cpa
        self.ctrl = self.ctrl & ~(ACTL | STCTL) | self.ctrl & STCTL | SUSPENDED
        if not program.orb.ctrl0 & c.ORB_CTRL0_MASK_SSIC:
            self._intermediate(self.flags, cstat)

    def _intermediate(self, flags: int, cstat: int) -> None:
        program = self.program
        cpa = program.ccws.cpa if program is not None else self.cpa
        scsw = Scsw(flags, self.ctrl & ~STCTL | INTERMEDIATE_ONLY, cpa, 0, cstat, 0)
        self.post(scsw)

    def lose_interruption(self) -> None:
        """The ending status of the program that begins will be lost on its way."""
        self._lost = True

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
        io = program.io
        self.lpum = io.path
        if self._lost:
            self.note_active()
            return
        self.program = None
        self.measurement.sample_count += 1
        ctrl = ENDED_ACTIVE if device_active else ENDED
        flags = self.flags & ORB_IN_SCSW
        if self.pnom:
            flags |= c.SCSW_FLAGS_MASK_PNO
        erw = logout = 0
        ecw = NO_ECW
        if dstat & ABNORMAL_DSTAT or cstat & ABNORMAL_CSTAT or deferred_cc:
            ctrl |= ALERT
            flags |= deferred_cc << 8
            if dstat & UNIT_CHECK and self.chars & CONCURRENT_SENSE:
                sense = self.device.take_sense()
                erw = c.ERW_CONS | len(sense) << c.ERW_SCNT_SHIFT
                ecw = sense.ljust(c.ECW_SIZE, b"\0")
                flags |= c.SCSW_FLAGS_MASK_ECTL
            if cstat & LOGGED:
                # ESW format 0: whose LPUM and CCW address are valid, and the use of storage.
                flags |= c.SCSW_FLAGS_MASK_ESWF
                logout = LOGOUT_VALID | (STORE_ACCESS if io.input else FETCH_ACCESS)
        self.post(Scsw(flags, ctrl, program.ccws.cpa, dstat, cstat, count), erw, ecw, logout)

    def unsolicited(self, dstat: int) -> None:
        """The device presents status by itself: attention, or the device end that was awaited."""
        if self.program is not None and self.program.status and dstat & c.SCSW_DSTAT_DEVICE_END:
            self.program.device_end(dstat)
            return
        if not self.enabled:
            return
        stctl = ALERT | STATUS_PEND
        if self.ctrl & c.SCSW_ACTL_DEVICE_ACTIVE and dstat & c.SCSW_DSTAT_DEVICE_END:
            stctl = SECONDARY | STATUS_PEND
        scsw = Scsw(ctrl=stctl, dstat=dstat)
        if self.ctrl & FCTL:
            self.backlog.append(Interruption(scsw, 0, NO_ECW, False, 0))
        else:
            self.post(scsw, solicited=False)

    # --- channel paths ------------------------------------------------------------------------

    def lose_path(self, path: int) -> None:
        """*path* went away: a program that uses it ends with interface-control check."""
        program = self.program
        if program is not None and self.ctrl & ACTIVE and program.io.path == path:
            self._lost = False
            self.conclude(program, 0, c.SCSW_CSTAT_INTF_CTRL_CHK, program.io.left)
            program.cancel()

    def other_path(self, lpm: int) -> bool:
        """Whether a path that *lpm* does not name is left (EACCES instead of ENODEV)."""
        return self._operational() and bool(self.pam & ~self.varied_off & ~lpm)

    # --- life ---------------------------------------------------------------------------------

    def _drop_program(self) -> None:
        program, self.program = self.program, None
        if program is not None:
            program.cancel()

    def enable(self) -> None:
        """What a driver does first: MSCH with E."""
        self.pmcw_flags |= c.PMCW_FLAGS_MASK_ENA

    def disable(self) -> None:
        """The end of a driver: no function, no status, E off."""
        self.quiesce()
        self.pmcw_flags &= ~c.PMCW_FLAGS_MASK_ENA

    def quiesce(self) -> None:
        """Drop the function in progress and every status, without an interruption."""
        self._drop_program()
        self.device.reset()
        self.forget_status()
