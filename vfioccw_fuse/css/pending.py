"""The pending status of a subchannel, and the interruptions that follow it in their order.

One status is pending at a time; what comes meanwhile waits, so that no completion is lost. To
intermediate status that a client was shown joins what follows of the same start function, until it
is taken: there is one SCSW. Unshown it is a status of its own, as a program sees it that tests the
subchannel before the next comes. Rules: PoP 16 (interruption-response block; status control), and
for what TSCH clears also QEMU's css.c.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from ..regions import codec
from ..regions import constants as c
from ..regions.layouts import Scsw
from .observer import Observer
from .pmcw import PathManagementControlWord
from .scsw import (
    ACTL,
    CLEAR,
    DEVICE_ACTIVE,
    FCTL,
    HALT,
    INTERMEDIATE,
    INTERMEDIATE_ONLY,
    NO_SCSW,
    PRIMARY,
    RESUME_PEND,
    SECONDARY,
    STATUS_PEND,
    STCTL,
    SUSPENDED,
    UNSOLICITED,
    SubchannelStatusWord,
)

KEPT_FLAGS: Final = 0xFFFF & ~(c.SCSW_FLAGS_MASK_PNO | c.SCSW_FLAGS_MASK_ZCC)
"""What TSCH leaves of the SCSW's flags."""
JOINED_FLAGS: Final = c.SCSW_FLAGS_MASK_ZCC
JOINED_CSTAT: Final = c.SCSW_CSTAT_PCI
"""What intermediate status tells beside its bit of status control."""
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

    @property
    def joins(self) -> bool:
        """Whether it is status of a start function, which joins intermediate status of the same."""
        return self.solicited and not self.scsw.ctrl & (HALT | CLEAR)

    def over(self, before: Scsw) -> Interruption:
        """The same joined with *before*, intermediate status that nobody took."""
        scsw = self.scsw
        return self._replace(
            scsw=scsw._replace(
                flags=scsw.flags | before.flags & JOINED_FLAGS,
                ctrl=scsw.ctrl | before.ctrl & INTERMEDIATE,
                cstat=scsw.cstat | before.cstat & JOINED_CSTAT,
            )
        )


def joined(before: bytes, after: bytes) -> bytes:
    """The IRB *after* joined with *before*, intermediate status of the same start function."""
    return _or(before, after, _JOINED)


def coalesced(before: bytes, after: bytes) -> bytes:
    """The IRBs *before* and *after*, both of unsolicited status, as one."""
    return _or(before, after, _COALESCED)


def _or(before: bytes, after: bytes, mask: int) -> bytes:
    """The IRB *after* with those bits of *before* that *mask*, of the length of a SCSW, has."""
    size = c.SCSW_SIZE
    scsw = int.from_bytes(before[:size], "big") & mask | int.from_bytes(after[:size], "big")
    return scsw.to_bytes(size, "big") + after[size:]


_JOINED: Final = int.from_bytes(
    codec.SCSW.pack(Scsw(flags=JOINED_FLAGS, ctrl=INTERMEDIATE, cstat=JOINED_CSTAT)), "big"
)
_COALESCED: Final = int.from_bytes(codec.SCSW.pack(Scsw(dstat=0xFF)), "big")


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
        """The pending status was shown to a client; what joins it changes what is shown."""
        self.queue: list[Interruption] = []
        """Status that follows the pending one."""
        self.taken = 0
        """Interruptions that TSCH took."""
        self.on_status_pending: Callable[[], None] = lambda: None
        """Called when the subchannel becomes status pending, and when status joins that."""
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
        """The IRB for a client that will take it later by TSCH."""
        self.shown = True
        return self.irb()

    def post(self, new: Interruption) -> None:
        """Make *new* the pending status, join it to the pending one, or queue it behind that."""
        scsw = self._scsw
        joined = scsw.ctrl & STATUS_PEND != 0
        if joined:
            ctrl = new.scsw.ctrl
            if (
                scsw.ctrl & STCTL != INTERMEDIATE_ONLY
                or not new.joins
                or not (self.shown or ctrl & STCTL == INTERMEDIATE_ONLY)
            ):
                self.hold(new)
                # What the hardware does meanwhile shows in fctl and actl, under the old status.
                scsw.ctrl = scsw.ctrl & ~(FCTL | ACTL) | ctrl & (FCTL | ACTL)
                return
            new = new.over(Scsw(scsw.flags, scsw.ctrl, cstat=scsw.cstat))
        said, self.erw, self.ecw, self.logout, _ = new
        if said.ctrl & STCTL == UNSOLICITED:
            # The device end that is owed is owed still.
            said = said._replace(ctrl=said.ctrl | scsw.ctrl & DEVICE_ACTIVE)
        scsw.flags, scsw.ctrl, scsw.cpa, scsw.dstat, scsw.cstat, scsw.count = said
        if self.observer is not None:
            self.observer.interruption(self.irb(), joined=joined)
        self.on_status_pending()

    def hold(self, new: Interruption) -> None:
        """Put *new* behind what waits.

        A PCI on a waiting PCI is one, and unsolicited status on unsolicited: queues are bounded.
        """
        queue = self.queue
        stctl = new.scsw.ctrl & STCTL
        if queue and queue[-1].scsw.ctrl & STCTL == stctl:
            last = queue[-1].scsw
            if stctl == INTERMEDIATE_ONLY:
                new = new.over(last)
                queue.pop()
            elif stctl == UNSOLICITED and not (queue[-1].solicited or new.solicited):
                new = new._replace(scsw=new.scsw._replace(dstat=new.scsw.dstat | last.dstat))
                queue.pop()
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
            owed = stctl & (PRIMARY | SECONDARY) == PRIMARY or stctl == UNSOLICITED
            scsw.ctrl = ctrl & DEVICE_ACTIVE if owed else 0
        elif ctrl & SUSPENDED:
            scsw.ctrl = ctrl & ~(STCTL | RESUME_PEND)
        else:
            scsw.ctrl = ctrl & ~STCTL
        scsw.flags &= KEPT_FLAGS
        self.shown = False
        self.taken += 1
        if self.queue:
            self.next()
