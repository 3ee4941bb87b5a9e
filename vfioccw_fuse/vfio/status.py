"""Who takes a subchannel's status, and what is in the IRB area until somebody has read it.

On `full` the client's read is the TSCH. Linux's driver does the TSCH itself when the interruption
comes (do_cio_interrupt of cio.c, then fsm_irq), and the client reads what it was told. Either way
the IRBs come one by one: the next is shown and signalled when the one before was read.

A hypervisor has room for one status, too, until its guest does its own TSCH, of which nobody tells
us: QEMU puts the next over the one before (vfio_ccw_io_notifier_handler of hw/vfio/ccw.c), and a
guest that misses the end of a clear waits for ever. Devices need some time to present status by
themselves. So an eventfd is signalled for unsolicited status no sooner than `SPACING_S` after an
IRB was read, or when a request shows that the guest has got that.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Final

from ..css.pending import coalesced, joined
from ..css.scsw import (
    ACTIVE,
    FCTL,
    INTERMEDIATE_ONLY,
    START,
    STATUS_PEND,
    STCTL,
    UNSOLICITED,
)
from ..css.subchannel import Subchannel
from ..regions import constants as c
from .areas import IoArea
from .irq import Irq

NO_IRB: Final = bytes(c.IRB_SIZE)
SHOWN_BY_LINUX: Final = c.EMW_OFFSET
"""Bytes of an IRB that Linux puts into the area: struct irb has no extended measurement word."""
LONGEST_QUEUE: Final = 256
"""IRBs that are kept unread."""
SPACING_S: Final = 0.05
"""From the read of an IRB to the signal for unsolicited status, in seconds."""


class Taker(ABC):
    """Takes the status of a subchannel and shows it."""

    def __init__(
        self, sch: Subchannel, area: IoArea, irq: Irq, conclude: Callable[[], None]
    ) -> None:
        """*conclude* is called when status comes that concludes a start."""
        self._scsw = sch.scsw
        self._pending = sch.pending
        self._area = area
        self._irq = irq
        self._conclude = conclude
        self._later = sch.executor.later
        self._read_at = -math.inf
        # What calls the signal off that comes later.
        self._call_off: Callable[[], None] | None = None

    def _signal(self, stctl: int) -> None:
        """Signal status that is shown by now, of status control *stctl*; perhaps later."""
        if stctl == UNSOLICITED and self._irq.eventfd >= 0:
            left = self._read_at + SPACING_S - time.monotonic()
            if left > 0:
                self._call_off = self._later(self.hurry, left)
                return
        self._irq.signal()

    def hurry(self) -> None:
        """Give the signal now that would come later: the client took what it was told before."""
        if self._call_off is not None:
            self._withdraw()
            self._irq.signal()

    def _withdraw(self) -> None:
        """What is shown was read or dropped: no signal for it comes later."""
        if self._call_off is not None:
            self._call_off()
            self._call_off = None

    def _note_read(self) -> None:
        self._read_at = time.monotonic()
        self._withdraw()

    @abstractmethod
    def come(self) -> None:
        """The subchannel is status pending, or more so."""

    @abstractmethod
    def read(self) -> None:
        """A client read the IRB area."""

    @abstractmethod
    def accepted(self) -> None:
        """A start or halt was accepted."""

    @abstractmethod
    def cleared(self) -> None:
        """A clear was accepted: the subchannel dropped all solicited status."""

    @abstractmethod
    def dropped(self) -> None:
        """The subchannel dropped all status: reset or close."""

    @property
    @abstractmethod
    def shown(self) -> bool:
        """An IRB is shown that nobody has read."""

    @property
    @abstractmethod
    def queued(self) -> int:
        """IRBs that wait behind it."""


class ReaderTakes(Taker):
    """`full`: status stays pending until a client reads the IRB."""

    def come(self) -> None:
        """Show it, and signal it unless it joins what is shown."""
        pending = self._pending
        shown = pending.shown
        self._area.show(pending.show())
        ctrl = self._scsw.ctrl
        if ctrl & START and ctrl & STCTL != INTERMEDIATE_ONLY:
            self._conclude()
        if not shown:
            self._signal(ctrl & STCTL)

    def read(self) -> None:
        """That is the TSCH."""
        if self._irq.eventfd >= 0:
            self._note_read()
        if self._pending.shown and self._scsw.ctrl & STATUS_PEND:
            self._pending.take()

    def accepted(self) -> None:
        """What is shown stays."""

    def cleared(self) -> None:
        """The subchannel has dropped it."""
        self._withdraw()

    def dropped(self) -> None:
        """The subchannel has dropped it; nothing is left in the area."""
        self._withdraw()
        self._area.show(NO_IRB)

    @property
    def shown(self) -> bool:
        """Status is pending, and shown."""
        return self._pending.shown

    @property
    def queued(self) -> int:
        """Status that waits at the subchannel."""
        return len(self._pending.queue)


class DriverTakes(Taker):
    """As Linux: an IRB that nobody has read stands in the way of nothing.

    Linux overwrites it with the next; here no completion is lost.
    """

    def __init__(
        self, sch: Subchannel, area: IoArea, irq: Irq, conclude: Callable[[], None]
    ) -> None:
        """As `Taker`."""
        super().__init__(sch, area, irq, conclude)
        # The first is shown. With each its ctrl halfword.
        self._irbs: deque[tuple[int, bytes]] = deque()

    def come(self) -> None:
        """Take it; join it to the last if both are of one start function, else put it behind."""
        ctrl = self._scsw.ctrl
        irb = self._pending.irb()
        irbs = self._irbs
        if irbs and irbs[-1][0] & STCTL == INTERMEDIATE_ONLY and ctrl & FCTL == START:
            irbs[-1] = ctrl, joined(irbs[-1][1], irb)
            if len(irbs) == 1:
                self._area.show(irbs[0][1][:SHOWN_BY_LINUX])
        elif not (ctrl & STCTL == UNSOLICITED and self._coalesce(irb)):
            if len(irbs) == LONGEST_QUEUE:
                # Nobody reads: the oldest makes way, as in Linux any does.
                self.read()
            irbs.append((ctrl, irb))
            if len(irbs) == 1:
                self._show()
        if ctrl & STCTL not in (INTERMEDIATE_ONLY, UNSOLICITED) and not ctrl & ACTIVE:
            self._conclude()
        # That is the TSCH; what it lets come next comes behind.
        self._pending.take()

    def _coalesce(self, irb: bytes) -> bool:
        """Join unsolicited status to what waits of it behind the shown IRB, if any does."""
        irbs = self._irbs
        for place in range(1, len(irbs)):
            ctrl, waiting = irbs[place]
            if ctrl & STCTL == UNSOLICITED:
                irbs[place] = ctrl, coalesced(waiting, irb)
                return True
        return False

    def _show(self) -> None:
        ctrl, irb = self._irbs[0]
        self._area.show(irb[:SHOWN_BY_LINUX])
        self._signal(ctrl & STCTL)

    def read(self) -> None:
        """The next is shown."""
        if self._irq.eventfd >= 0:
            self._note_read()
        if self._irbs:
            self._irbs.popleft()
            if self._irbs:
                self._show()

    def accepted(self) -> None:
        """What is shown makes way as if it had been read; its bytes stay."""
        self.hurry()
        self.read()

    def cleared(self) -> None:
        """What is shown is dropped, and what is solicited; an event that was signalled stays."""
        self._withdraw()
        if self._irbs:
            self._irbs.popleft()
            self._irbs = deque(i for i in self._irbs if i[0] & STCTL == UNSOLICITED)
            if self._irbs:
                self._show()

    def dropped(self) -> None:
        """Nothing counts as shown any more, nothing waits; the bytes stay (vfio_ccw_mdev_reset)."""
        self._withdraw()
        self._irbs.clear()

    @property
    def shown(self) -> bool:
        """The first one waits to be read."""
        return bool(self._irbs)

    @property
    def queued(self) -> int:
        """Those behind it."""
        return max(len(self._irbs) - 1, 0)
