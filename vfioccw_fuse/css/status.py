"""The status of a subchannel: SCSW, ESW and ECW, and the interruptions in their order.

One status is pending at a time; what comes meanwhile waits, so that no completion is lost. What a
client was shown does not change until it is taken. Rules: PoP 16 (interruption-response block), and
for what TSCH clears also QEMU's css.c.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from ..regions import codec
from ..regions import constants as c
from ..regions.layouts import Scsw

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
ACTL: Final = RESUME_PEND | START_PEND | HALT_PEND | CLEAR_PEND | ACTIVE | SUSPENDED
ALERT: Final = c.SCSW_STCTL_ALERT
INTERMEDIATE: Final = c.SCSW_STCTL_INTERMEDIATE
PRIMARY: Final = c.SCSW_STCTL_PRIMARY
SECONDARY: Final = c.SCSW_STCTL_SECONDARY
STATUS_PEND: Final = c.SCSW_STCTL_STATUS_PEND
STCTL: Final = ALERT | INTERMEDIATE | PRIMARY | SECONDARY | STATUS_PEND
INTERMEDIATE_ONLY: Final = INTERMEDIATE | STATUS_PEND
IN_USE: Final = FCTL | STATUS_PEND
"""What makes SSCH and MSCH fail: a function in progress, or status that nobody has taken."""

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
KEPT_FLAGS: Final = 0xFFFF & ~(c.SCSW_FLAGS_MASK_PNO | c.SCSW_FLAGS_MASK_ZCC)
"""What TSCH leaves of the SCSW's flags."""
NO_SCSW: Final = Scsw()
NO_ECW: Final = bytes(c.ECW_SIZE)
NO_EMW: Final = bytes(c.EMW_SIZE)

_pack_scsw = codec.SCSW.struct.pack
_pack_irb = codec.IRB.struct.pack


class Observer(Protocol):
    """Who follows what a subchannel does; nobody is asked unless there is one."""

    def ccw(self, address: int, code: int, flags: int, count: int, cda: int, status: int) -> None:
        """A CCW was executed; *status* is its unit status, 0 for one that only chains data."""
        ...

    def interruption(self, irb: bytes) -> None:
        """The subchannel became status pending with this IRB."""
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


class Status:
    """What a subchannel has to say, and to whom."""

    lpum: int
    """Last-path-used mask: the PMCW has it, and the ESW."""

    def __init__(self) -> None:
        self.flags = self.ctrl = self.cpa = self.dstat = self.cstat = self.count = 0
        self.erw = 0
        self.logout = 0
        """The subchannel logout of ESW format 0, without the LPUM."""
        self.ecw = NO_ECW
        self.shown = False
        """The pending status was shown to a client: it must not change until it is taken."""
        self.backlog: deque[Interruption] = deque()
        """Status that follows the pending one."""
        self.on_status_pending: Callable[[], None] = lambda: None
        """Called when the subchannel becomes status pending, or more so."""
        self.observer: Observer | None = None
        """Who follows CCWs and interruptions."""
        self.counters = Counters()

    @property
    def status_pending(self) -> bool:
        """A status waits for TSCH."""
        return self.ctrl & STATUS_PEND != 0

    def scsw(self) -> bytes:
        """The 12 bytes of the SCSW as the hardware has it: scsw(h)."""
        return _pack_scsw(self.flags, self.ctrl, self.cpa, self.dstat, self.cstat, self.count)

    def irb(self) -> bytes:
        """The 96 bytes of the IRB: SCSW, ESW (word 0 has the LPUM, word 1 the ERW), ECW, EMW."""
        return _pack_irb(
            self.flags, self.ctrl, self.cpa, self.dstat, self.cstat, self.count,
            self.lpum << 16 | self.logout, self.erw, 0, 0, self.ecw, NO_EMW,
        )  # fmt: skip

    def show(self) -> bytes:
        """The IRB for a client that will take it later by TSCH; from now on it does not change."""
        self.shown = True
        return self.irb()

    def post(
        self,
        scsw: Scsw,
        erw: int = 0,
        ecw: bytes = NO_ECW,
        logout: int = 0,
        *,
        solicited: bool = True,
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
                self._queue(Interruption(scsw, erw, ecw, solicited, logout))
                # What the hardware does meanwhile shows in fctl and actl, under the old status.
                self.ctrl = self.ctrl & ~(FCTL | ACTL) | scsw.ctrl & (FCTL | ACTL)
                return
            scsw = scsw._replace(
                flags=scsw.flags | self.flags & c.SCSW_FLAGS_MASK_ZCC,
                cstat=scsw.cstat | self.cstat & c.SCSW_CSTAT_PCI,
            )
        self.flags, self.ctrl, self.cpa, self.dstat, self.cstat, self.count = scsw
        self.erw = erw
        self.ecw = ecw
        self.logout = logout
        if self.observer is not None:
            self.observer.interruption(self.irb())
        self.on_status_pending()

    def _queue(self, new: Interruption) -> None:
        """Put *new* behind what waits; a PCI on a waiting PCI is one, or a loop fills memory."""
        if (
            new.scsw.ctrl & STCTL == INTERMEDIATE_ONLY
            and self.backlog
            and self.backlog[-1].scsw.ctrl & STCTL == INTERMEDIATE_ONLY
        ):
            old = self.backlog.pop().scsw
            flags = new.scsw.flags | old.flags & c.SCSW_FLAGS_MASK_ZCC
            cstat = new.scsw.cstat | old.cstat & c.SCSW_CSTAT_PCI
            new.scsw = new.scsw._replace(flags=flags, cstat=cstat)
        self.backlog.append(new)

    def next_interruption(self) -> None:
        """The status was taken: the next in the queue becomes pending."""
        if self.ctrl & STATUS_PEND:
            return
        for place, following in enumerate(self.backlog):
            # Unsolicited status never comes while a function is in progress.
            if following.solicited or not self.ctrl & FCTL:
                del self.backlog[place]
                self.post(
                    following.scsw,
                    following.erw,
                    following.ecw,
                    solicited=following.solicited,
                    logout=following.logout,
                )
                return

    def forget_status(self, scsw: Scsw = NO_SCSW) -> None:
        """Drop every status, pending or queued; *scsw* is what the SCSW says from now on."""
        self.backlog.clear()
        self.shown = False
        self.flags, self.ctrl, self.cpa, self.dstat, self.cstat, self.count = scsw
        self.erw = self.logout = 0
        self.ecw = NO_ECW

    def take_status(self) -> None:
        """What TSCH does to a subchannel that is status pending; the next status follows."""
        ctrl = self.ctrl
        stctl = ctrl & STCTL
        # Halted while suspended the start function ends with this status, if it tells of the halt:
        # one that was shown before the halt does not, and the halt's own follows.
        halted = ctrl & HALT and ctrl & SUSPENDED and not self.shown
        if stctl != INTERMEDIATE_ONLY or halted:
            # Device active outlives channel end: its device end is still to come.
            ended = stctl & SECONDARY or not stctl & PRIMARY
            self.ctrl = 0 if ended else ctrl & c.SCSW_ACTL_DEVICE_ACTIVE
        elif ctrl & SUSPENDED:
            self.ctrl = ctrl & ~(STCTL | RESUME_PEND)
        else:
            self.ctrl = ctrl & ~STCTL
        self.flags &= KEPT_FLAGS
        self.shown = False
        self.counters.interruptions += 1
        if self.backlog:
            self.next_interruption()
