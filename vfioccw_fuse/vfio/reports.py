"""Channel reports of one subchannel: the CRWs that wait to be read."""

from __future__ import annotations

from collections import deque

from .irq import Irq


class ChannelReports:
    """A queue of channel-report words, oldest first, and the interrupt that tells of them."""

    __slots__ = ("_irq", "queue")

    def __init__(self, irq: Irq | None) -> None:
        """*irq* is crw_irq; None where the interface has none: reports are lost then."""
        self._irq = irq
        self.queue: deque[tuple[int, int]] = deque()
        """Flags and rsid of each."""

    def report(self, flags: int, rsid: int) -> None:
        """Queue a channel-report word and signal crw_irq, where the interface has it."""
        if self._irq is not None:
            self.queue.append((flags, rsid))
            self._irq.signal()

    def take(self) -> tuple[int, int]:
        """The oldest report, taken; zeros if there is none. More of them signal again."""
        if not self.queue:
            return 0, 0
        report = self.queue.popleft()
        if self.queue and self._irq is not None:
            self._irq.signal()
        return report
