"""The pending status of a subchannel, and the interruptions that follow it in their order.

One status is pending at a time; what comes meanwhile waits, so that no completion is lost. What a
client was shown does not change until it is taken. Rules: PoP 16 (interruption-response block), and
for what TSCH clears also QEMU's css.c.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from ..regions import codec
from ..regions import constants as c
from ..regions.layouts import Scsw
from .observer import Observer
from .pmcw import PathManagementControlWord
from .scsw import (
    ACTL,
    DEVICE_ACTIVE,
    FCTL,
    HALT,
    INTERMEDIATE_ONLY,
    NO_SCSW,
    PRIMARY,
    RESUME_PEND,
    SECONDARY,
    STATUS_PEND,
    STCTL,
    SUSPENDED,
    SubchannelStatusWord,
)

KEPT_FLAGS: Final = 0xFFFF & ~(c.SCSW_FLAGS_MASK_PNO | c.SCSW_FLAGS_MASK_ZCC)
"""What TSCH leaves of the SCSW's flags."""
NO_ECW: Final = bytes(c.ECW_SIZE)
NO_EMW: Final = bytes(c.EMW_SIZE)

_pack_irb = codec.IRB.struct.pack


class Interruption(NamedTuple):
    """A status that the subchannel has to tell: what becomes of the IRB."""

    scsw: Scsw
    """The whole SCSW that it brings."""
    erw: int = 0
    """Extended-report word, `ERW_*`."""
    ecw: bytes = NO_ECW
    """Extended-control word, 32 bytes: concurrent sense."""
    logout: int = 0
    """The subchannel logout of ESW format 0, without the LPUM."""
    solicited: bool = True
    """A function that the program started brings it."""

    def over(self, before: Scsw) -> Interruption:
        """The same with what *before*, intermediate status that nobody saw, told: Z and PCI."""
        scsw = self.scsw
        return self._replace(
            scsw=scsw._replace(
                flags=scsw.flags | before.flags & c.SCSW_FLAGS_MASK_ZCC,
                cstat=scsw.cstat | before.cstat & c.SCSW_CSTAT_PCI,
            )
        )


class PendingStatus:
    """What a subchannel has to say: beside the SCSW the ESW and the ECW, and what comes next."""

    __slots__ = (
        "_pmcw", "_scsw", "ecw", "erw", "logout", "observer", "on_status_pending", "queue",
        "shown", "taken",
    )  # fmt: skip

    def __init__(self, scsw: SubchannelStatusWord, pmcw: PathManagementControlWord) -> None:
        """*scsw* becomes what is pending; *pmcw* has the LPUM that the ESW repeats."""
        self._scsw = scsw
        self._pmcw = pmcw
        self.erw = 0
        """Extended-report word of the pending status."""
        self.logout = 0
        """Its subchannel logout, without the LPUM."""
        self.ecw = NO_ECW
        """Its extended-control word."""
        self.shown = False
        """The pending status was shown to a client: it must not change until it is taken."""
        self.queue: deque[Interruption] = deque()
        """Status that follows the pending one."""
        self.taken = 0
        """Interruptions that TSCH took."""
        self.on_status_pending: Callable[[], None] = lambda: None
        """Called when the subchannel becomes status pending, or more so."""
        self.observer: Observer | None = None
        """Who follows interruptions, and the CCWs of the programs."""

    def irb(self) -> bytes:
        """The 96 bytes of the IRB: SCSW, ESW (word 0 has the LPUM, word 1 the ERW), ECW, EMW."""
        scsw = self._scsw
        return _pack_irb(
            scsw.flags, scsw.ctrl, scsw.cpa, scsw.dstat, scsw.cstat, scsw.count,
            self._pmcw.lpum << 16 | self.logout, self.erw, 0, 0, self.ecw, NO_EMW,
        )  # fmt: skip

    def show(self) -> bytes:
        """The IRB for a client that will take it later by TSCH; from now on it does not change."""
        self.shown = True
        return self.irb()

    def post(self, new: Interruption) -> None:
        """Make *new* the pending status, or queue it behind one that was not taken yet.

        Only intermediate status on top of intermediate status merges: a PCI and a suspension.
        """
        scsw = self._scsw
        if scsw.ctrl & STATUS_PEND:
            ctrl = new.scsw.ctrl
            if (
                self.shown
                or scsw.ctrl & STCTL != INTERMEDIATE_ONLY
                or ctrl & STCTL != INTERMEDIATE_ONLY
            ):
                self._wait(new)
                # What the hardware does meanwhile shows in fctl and actl, under the old status.
                scsw.ctrl = scsw.ctrl & ~(FCTL | ACTL) | ctrl & (FCTL | ACTL)
                return
            new = new.over(Scsw(flags=scsw.flags, cstat=scsw.cstat))
        said, self.erw, self.ecw, self.logout, _ = new
        scsw.flags, scsw.ctrl, scsw.cpa, scsw.dstat, scsw.cstat, scsw.count = said
        if self.observer is not None:
            self.observer.interruption(self.irb())
        self.on_status_pending()

    def _wait(self, new: Interruption) -> None:
        """Put *new* behind what waits; a PCI on a waiting PCI is one, or a loop fills memory."""
        queue = self.queue
        if (
            new.scsw.ctrl & STCTL == INTERMEDIATE_ONLY
            and queue
            and queue[-1].scsw.ctrl & STCTL == INTERMEDIATE_ONLY
        ):
            new = new.over(queue.pop().scsw)
        queue.append(new)

    def next(self) -> None:
        """Nothing is pending any more: the first in the queue that may come becomes it."""
        ctrl = self._scsw.ctrl
        if ctrl & STATUS_PEND:
            return
        for place, following in enumerate(self.queue):
            # Unsolicited status never comes while a function is in progress.
            if following.solicited or not ctrl & FCTL:
                del self.queue[place]
                self.post(following)
                return

    def forget(self, scsw: Scsw = NO_SCSW) -> None:
        """Drop every status, pending or queued; *scsw* is what the SCSW says from now on."""
        self.queue.clear()
        self.shown = False
        now = self._scsw
        now.flags, now.ctrl, now.cpa, now.dstat, now.cstat, now.count = scsw
        self.erw = self.logout = 0
        self.ecw = NO_ECW

    def take(self) -> None:
        """What TSCH does to a subchannel that is status pending; the next status follows."""
        scsw = self._scsw
        ctrl = scsw.ctrl
        stctl = ctrl & STCTL
        # Halted while suspended the start function ends with this status, if it tells of the halt:
        # one that was shown before the halt does not, and the halt's own follows.
        halted = ctrl & HALT and ctrl & SUSPENDED and not self.shown
        if stctl != INTERMEDIATE_ONLY or halted:
            # Device active outlives channel end: its device end is still to come.
            ended = stctl & SECONDARY or not stctl & PRIMARY
            scsw.ctrl = 0 if ended else ctrl & DEVICE_ACTIVE
        elif ctrl & SUSPENDED:
            scsw.ctrl = ctrl & ~(STCTL | RESUME_PEND)
        else:
            scsw.ctrl = ctrl & ~STCTL
        scsw.flags &= KEPT_FLAGS
        self.shown = False
        self.taken += 1
        if self.queue:
            self.next()
