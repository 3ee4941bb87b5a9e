"""A subchannel: PMCW and SCSW, the I/O instructions, and the interruptions in their order.

Condition codes and the changes of fctl, actl and stctl are those of the Principles of Operation,
chapters 14 and 16. Instructions are plain calls: they return with their condition code at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from regions import codec
from regions import constants as c
from regions.layouts import Orb, Scsw

from ..devices.base import Device
from ..devices.options import Behaviour, Fault
from ..memory.space import AddressSpace
from .channel import ChannelProgram
from .measurement import Measurement
from .paths import PathState

START: Final = c.SCSW_FCTL_START_FUNC
HALT: Final = c.SCSW_FCTL_HALT_FUNC
CLEAR: Final = c.SCSW_FCTL_CLEAR_FUNC
FCTL: Final = START | HALT | CLEAR
RESUME_PEND: Final = c.SCSW_ACTL_RESUME_PEND
START_PEND: Final = c.SCSW_ACTL_START_PEND
HALT_PEND: Final = c.SCSW_ACTL_HALT_PEND
CLEAR_PEND: Final = c.SCSW_ACTL_CLEAR_PEND
ACTIVE: Final = c.SCSW_ACTL_SUBCH_ACTIVE | c.SCSW_ACTL_DEVICE_ACTIVE
SUSPENDED: Final = c.SCSW_ACTL_SUSP
PENDINGS: Final = RESUME_PEND | START_PEND | HALT_PEND | CLEAR_PEND | SUSPENDED
ACTL: Final = PENDINGS | ACTIVE
ALERT: Final = c.SCSW_STCTL_ALERT
INTERMEDIATE: Final = c.SCSW_STCTL_INTERMEDIATE
PRIMARY: Final = c.SCSW_STCTL_PRIMARY
SECONDARY: Final = c.SCSW_STCTL_SECONDARY
STATUS_PEND: Final = c.SCSW_STCTL_STATUS_PEND
STCTL: Final = ALERT | INTERMEDIATE | PRIMARY | SECONDARY | STATUS_PEND
INTERMEDIATE_ONLY: Final = INTERMEDIATE | STATUS_PEND

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
ORB_CTRL1_RESERVED: Final = 0x3E
"""Bits of the ORB's last control byte that must be zero."""
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
CONCURRENT_SENSE: Final = c.PMCW_CHARS_MASK_CSENSE
KEPT_FLAGS: Final = 0xFFFF & ~c.SCSW_FLAGS_MASK_CC
NO_ECW: Final = bytes(c.ECW_SIZE)
PMCW_CHARS_MODIFIABLE: Final = c.PMCW_CHARS_MASK_CSENSE
PMCW_FLAGS_MODIFIABLE: Final = (
    c.PMCW_FLAGS_MASK_ISC | c.PMCW_FLAGS_MASK_ENA | c.PMCW_FLAGS_MASK_LM | c.PMCW_FLAGS_MASK_MME
)
LIMIT_LOW: Final = 0x0020
"""Limit mode 1: data lies at or above the address limit."""
LIMIT_HIGH: Final = 0x0040
"""Limit mode 2: data lies below the address limit."""
PMCW_FLAGS_RESERVED: Final = 0x4000

_pack_scsw = codec.SCSW.struct.pack
_pack_irb = codec.IRB.struct.pack


class OperandException(Exception):
    """The operand of an instruction is not what it must be (PoP 14): a program interruption."""


class Observer(Protocol):
    """Who follows what a subchannel does; nobody is asked unless there is one."""

    def ccw(self, address: int, code: int, flags: int, count: int, cda: int, status: int) -> None:
        """A CCW was executed; *status* is its unit status, 0 for one that only chains data."""
        ...

    def interruption(self, irb: bytes) -> None:
        """The subchannel became status pending with this IRB."""
        ...


class Executor(Protocol):
    """Who gives programs their time and lets them wait."""

    def launch(self, program: ChannelProgram, delay: float) -> None:
        """Run *program*, *delay* seconds from now."""
        ...

    def soon(self, function: Callable[[], None]) -> None:
        """Call *function* once the instruction that asks for it has been answered."""
        ...


@dataclass(slots=True)
class Counters:
    """What happened at a subchannel since it was made."""

    starts: int = 0
    halts: int = 0
    clears: int = 0
    interruptions: int = 0


@dataclass(slots=True)
class Interruption:
    """Status that waits until the one before it was taken."""

    scsw: Scsw
    erw: int
    ecw: bytes
    solicited: bool
    logout: int


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
        self.space = space
        """The storage its programs address."""
        self.behaviour = behaviour if behaviour is not None else Behaviour()
        """Timing and faults."""
        self._executor = executor
        self.intparm = 0
        self.pmcw_flags = c.PMCW_FLAGS_MASK_DNV
        self.devno = self.number
        paths = 0xFF00 >> len(chpids) & 0xFF
        self.lpm = self.pim = self.pam = paths
        self.pom = 0xFF
        self.pnom = 0
        self.lpum = 0
        self.mbi = 0
        self.chpid = chpids.ljust(8, b"\0")
        self.chars = 0
        self.flags = self.ctrl = self.cpa = self.dstat = self.cstat = self.count = 0
        self.erw = 0
        self.logout = 0
        """The subchannel logout of ESW format 0, without the LPUM."""
        self.ecw = NO_ECW
        self.program: ChannelProgram | None = None
        """The start function in progress."""
        self.shown = False
        """The pending status was shown to a client: it must not change until it is taken."""
        self.backlog: deque[Interruption] = deque()
        """Status that follows the pending one."""
        self.on_status_pending: Callable[[], None] = lambda: None
        """Called when the subchannel becomes status pending, or more so."""
        self.observer: Observer | None = None
        """Who follows CCWs and interruptions."""
        self.counters = Counters()
        self.measurement = Measurement()
        """What the channel-measurement block counts."""
        self.varied_off = 0
        """Paths that the operating system does not use, as LPM bits."""
        self.failed = 0
        """Paths that do not answer, as LPM bits: selection finds them not operational."""
        self.address_limit = 0
        """What SET ADDRESS LIMIT sets: the absolute address that limit modes 1 and 2 mean."""
        self._lost = False
        device.attention = self.unsolicited

    @property
    def enabled(self) -> bool:
        """PMCW bit E."""
        return self.pmcw_flags & c.PMCW_FLAGS_MASK_ENA != 0

    @property
    def status_pending(self) -> bool:
        """A status waits for TSCH."""
        return self.ctrl & STATUS_PEND != 0

    @property
    def busy(self) -> bool:
        """Status may come by itself: a function is in progress that is not suspended."""
        return self.ctrl & (HALT_PEND | CLEAR_PEND) != 0 or (
            self.program is not None and self.ctrl & (SUSPENDED | RESUME_PEND) != SUSPENDED
        )

    def _operational(self) -> bool:
        return self.enabled and self.behaviour.fault is not Fault.NOT_OPERATIONAL

    # --- instructions -------------------------------------------------------------------------

    def ssch(self, orb: Orb, fetched: bytes = b"", space: AddressSpace | None = None) -> int:
        """START SUBCHANNEL: 0 started, 1 status pending, 2 busy, 3 not operational.

        *fetched*: storage from the first CCW on that a driver prefetched, where the ORB allows it.
        *space*: where program and data are, if not in the subchannel's storage.
        OperandException for an ORB that is not valid; it comes before any condition code.
        """
        if orb.cpa >> 31 or orb.ctrl0 & TRANSPORT_MODE or orb.ctrl1 & ORB_CTRL1_RESERVED:
            raise OperandException
        if not self.pmcw_flags & ENABLED or self.behaviour.fault is Fault.NOT_OPERATIONAL:
            return 3
        if self.ctrl & (STATUS_PEND | FCTL):
            return 1 if self.ctrl & STATUS_PEND else 2
        if not orb.lpm & self.pam & ~self.varied_off:
            return 3
        self.counters.starts += 1
        self.measurement.ssch_rsch_count += 1
        self.lpm = orb.lpm & ~self.varied_off
        self.intparm = orb.intparm
        self.flags = orb.ctrl0 & ORB_IN_SCSW
        self.ctrl = START | START_PEND
        self.cpa = orb.cpa
        self.dstat = self.cstat = self.count = self.erw = self.logout = 0
        self.pnom = 0
        self._lost = False
        self.program = program = ChannelProgram(self, orb, fetched, space)
        self._executor.launch(program, self.behaviour.delay)
        return 0

    def hsch(self) -> int:
        """HALT SUBCHANNEL: 0 halt pending, 1 status pending, 2 busy, 3 not operational."""
        if not self._operational():
            return 3
        if self.ctrl & STATUS_PEND and self.ctrl & STCTL != INTERMEDIATE_ONLY:
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
        self._post(scsw)

    def csch(self) -> int:
        """CLEAR SUBCHANNEL: 0 clear pending, start and halt gone; 3 not operational."""
        if not self._operational():
            return 3
        self.counters.clears += 1
        self._drop_program()
        self.backlog = deque(i for i in self.backlog if not i.solicited)
        self.shown = False
        self._set(Scsw(ctrl=CLEAR | CLEAR_PEND))
        self.erw = 0
        self.ecw = NO_ECW
        self.pnom = 0
        self._executor.soon(self._perform_clear)
        return 0

    def _perform_clear(self) -> None:
        """The clear function: the device is reset, and status pending alone is what follows."""
        if not self.ctrl & CLEAR_PEND:
            return
        self.device.reset()
        self.ctrl = 0
        self._post(Scsw(ctrl=CLEAR | STATUS_PEND))

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
        self._next_interruption()
        return 0

    def stsch(self) -> bytes:
        """STORE SUBCHANNEL: the 52 bytes of the SCHIB."""
        return self.pmcw() + self.scsw() + bytes(12)

    def msch(self, schib: bytes) -> int:
        """MODIFY SUBCHANNEL from 52 bytes: 0 done, 1 status pending, 2 busy, 3 not operational.

        OperandException for limit mode 3 and for reserved bits.
        """
        new = codec.PMCW.parse(schib[:28])
        if new.flags & c.PMCW_FLAGS_MASK_LM == c.PMCW_FLAGS_MASK_LM or (
            new.flags & PMCW_FLAGS_RESERVED
        ):
            raise OperandException
        if not self.pmcw_flags & c.PMCW_FLAGS_MASK_DNV:
            return 3
        if self.ctrl & STATUS_PEND:
            return 1
        if self.ctrl & FCTL:
            return 2
        self.intparm = new.intparm
        self.pmcw_flags = (
            self.pmcw_flags & ~PMCW_FLAGS_MODIFIABLE | new.flags & PMCW_FLAGS_MODIFIABLE
        )
        self.lpm = new.lpm
        self.pom = new.pom
        self.mbi = new.mbi
        self.chars = new.chars & PMCW_CHARS_MODIFIABLE
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

    def take_status(self) -> None:
        """What TSCH does to a subchannel that is status pending; the next status follows."""
        ctrl = self.ctrl
        stctl = ctrl & STCTL
        new = ctrl & ~STCTL
        halted = ctrl & HALT and ctrl & SUSPENDED
        if stctl != INTERMEDIATE_ONLY or halted:
            # Device active outlives channel end: its device end is still to come.
            new &= ~(FCTL | PENDINGS | c.SCSW_ACTL_SUBCH_ACTIVE)
            if stctl & SECONDARY or not stctl & PRIMARY:
                new &= ~ACTIVE
        elif ctrl & SUSPENDED:
            new &= ~RESUME_PEND
        self.ctrl = new
        self.flags &= ~(c.SCSW_FLAGS_MASK_PNO | c.SCSW_FLAGS_MASK_ZCC)
        self.shown = False
        self.counters.interruptions += 1
        if self.backlog:
            self._next_interruption()

    # --- what the status says -----------------------------------------------------------------

    def pmcw(self) -> bytes:
        """The 28 bytes of the PMCW."""
        return codec.PMCW.struct.pack(
            self.intparm, self.pmcw_flags, self.devno, self.lpm, self.pnom, self.lpum, self.pim,
            self.mbi, self.pom, self.pam, self.chpid, self.chars,
        )  # fmt: skip

    def scsw(self) -> bytes:
        """The 12 bytes of the SCSW as the hardware has it: scsw(h)."""
        return _pack_scsw(self.flags, self.ctrl, self.cpa, self.dstat, self.cstat, self.count)

    def irb(self) -> bytes:
        """The 96 bytes of the IRB: SCSW, ESW (word 0 has the LPUM, word 1 the ERW), ECW, EMW."""
        return _pack_irb(
            self.flags, self.ctrl, self.cpa, self.dstat, self.cstat, self.count,
            self.lpum << 16 | self.logout, self.erw, 0, 0, self.ecw, _EMW,
        )  # fmt: skip

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
        self._post(scsw)

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
        if program.cancelled or program is not self.program:
            return
        self.lpum = program.io.path
        if self._lost:
            self.ctrl = self.ctrl & ~START_PEND | ACTIVE
            return
        self.program = None
        self.measurement.sample_count += 1
        stctl = PRIMARY | STATUS_PEND if device_active else PRIMARY | SECONDARY | STATUS_PEND
        if dstat & ABNORMAL_DSTAT or cstat & ABNORMAL_CSTAT or deferred_cc:
            stctl |= ALERT
        flags = self.flags & KEPT_FLAGS | deferred_cc << 8
        if self.pnom:
            flags |= c.SCSW_FLAGS_MASK_PNO
        erw = 0
        ecw = NO_ECW
        if dstat & UNIT_CHECK and self.chars & CONCURRENT_SENSE:
            sense = self.device.take_sense()
            erw = c.ERW_CONS | len(sense) << c.ERW_SCNT_SHIFT
            ecw = sense.ljust(c.ECW_SIZE, b"\0")
            flags |= c.SCSW_FLAGS_MASK_ECTL
        logout = 0
        if cstat & LOGGED:
            # ESW format 0: whose LPUM and CCW address are valid, and what storage was used for.
            flags |= c.SCSW_FLAGS_MASK_ESWF
            logout = LOGOUT_VALID | (STORE_ACCESS if program.io.input else FETCH_ACCESS)
        actl = c.SCSW_ACTL_DEVICE_ACTIVE if device_active else 0
        scsw = Scsw(flags, START | actl | stctl, program.ccws.cpa, dstat, cstat, count)
        self._post(scsw, erw, ecw, logout=logout)

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
            self._post(scsw, solicited=False)

    # --- interruptions in order ---------------------------------------------------------------

    def _post(
        self,
        scsw: Scsw,
        erw: int = 0,
        ecw: bytes = NO_ECW,
        *,
        solicited: bool = True,
        logout: int = 0,
    ) -> None:
        """Make this the pending status, or queue it behind one that was not taken yet.

        Only intermediate status on top of intermediate status merges: a PCI and a suspension.
        """
        if self.ctrl & STATUS_PEND:
            if (
                self.shown
                or self.ctrl & STCTL != INTERMEDIATE_ONLY
                or scsw.ctrl & STCTL != INTERMEDIATE_ONLY
            ):
                self.backlog.append(Interruption(scsw, erw, ecw, solicited, logout))
                # What the hardware does meanwhile shows in fctl and actl, under the old status.
                self.ctrl = self.ctrl & ~(FCTL | ACTL) | scsw.ctrl & (FCTL | ACTL)
                return
            scsw = scsw._replace(
                flags=scsw.flags | self.flags & c.SCSW_FLAGS_MASK_ZCC,
                cstat=scsw.cstat | self.cstat & c.SCSW_CSTAT_PCI,
            )
        self._set(scsw)
        self.erw = erw
        self.ecw = ecw
        self.logout = logout
        if self.observer is not None:
            self.observer.interruption(self.irb())
        self.on_status_pending()

    def _next_interruption(self) -> None:
        """The status was taken: the next in the queue becomes pending."""
        if self.backlog and not self.ctrl & STATUS_PEND:
            following = self.backlog[0]
            if not following.solicited and self.ctrl & FCTL:
                return
            self.backlog.popleft()
            self._post(
                following.scsw,
                following.erw,
                following.ecw,
                solicited=following.solicited,
                logout=following.logout,
            )

    def _set(self, scsw: Scsw) -> None:
        self.flags, self.ctrl, self.cpa, self.dstat, self.cstat, self.count = scsw

    def address_limits(self) -> tuple[int, int] | None:
        """Between which addresses data must lie by the PMCW's limit mode; None: anywhere."""
        mode = self.pmcw_flags & c.PMCW_FLAGS_MASK_LM
        if mode == LIMIT_LOW:
            return self.address_limit, 1 << 64
        return (0, self.address_limit) if mode == LIMIT_HIGH else None

    # --- channel paths ------------------------------------------------------------------------

    def installed_chpids(self) -> list[int]:
        """The chpids of the installed paths, in the order of the paths."""
        return [chpid for place, chpid in enumerate(self.chpid) if self.pim & 0x80 >> place]

    def path_of(self, chpid: int) -> int:
        """The LPM bit of the path with *chpid*; 0 if it does not lead here."""
        for place, known in enumerate(self.chpid):
            if known == chpid and self.pim & 0x80 >> place:
                return 0x80 >> place
        return 0

    def set_path(self, path: int, state: PathState) -> None:
        """Let the masks say that *path* (an LPM bit) is in *state*."""
        self.varied_off &= ~path
        self.failed &= ~path
        if state is PathState.OFFLINE:
            self.pam &= ~path
            return
        self.pam |= path
        if state is PathState.VARIED_OFF:
            self.varied_off |= path
            self.lpm &= ~path
        elif state is PathState.FAILED:
            self.failed |= path
        else:
            self.lpm |= path
            self.pom |= path
            self.pnom &= ~path

    def select_path(self, lpm: int) -> int:
        """The path that a start function uses, as an LPM bit; 0 if none is operational.

        What does not answer goes into PNOM and out of POM, and the next path is tried.
        """
        usable = lpm & self.pam & ~self.varied_off
        while usable:
            path = 1 << (usable.bit_length() - 1)
            if not path & self.failed:
                return path
            self.pnom |= path
            self.pom &= ~path
            usable &= ~path
        return 0

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

    def show(self) -> bytes:
        """The IRB for a client that will take it later by TSCH; from now on it does not change."""
        self.shown = True
        return self.irb()

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
        self.backlog.clear()
        self.device.reset()
        self._set(Scsw())
        self.erw = 0
        self.ecw = NO_ECW
        self.shown = False


_EMW: Final = bytes(32)
