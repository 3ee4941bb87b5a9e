"""Channel reports of one subchannel: the CRWs that wait to be read."""

from __future__ import annotations

from typing import Final

from ..regions import constants as c
from .irq import Irq

LONGEST_QUEUE: Final = 256
"""Channel-report words that are kept unread."""


class ChannelReports:
    """A queue of channel-report words, oldest first, and the interrupt that tells of them."""

    __slots__ = ("_irq", "queue")

    def __init__(self, irq: Irq | None) -> None:
        """*irq* is crw_irq; None where the interface has none: reports are lost then."""
        self._irq = irq
        self.queue: list[tuple[int, int]] = []
        """Flags and rsid of each."""

    def report(self, *words: tuple[int, int]) -> None:
        """Queue a report where the interface has crw_irq, which is signalled for each word.

        *words*: flags and rsid of one word, or of chained ones. A report that finds no room is
        lost, and the last that is there says so by its overflow bit (PoP 17, channel-report word).
        """
        if self._irq is None:
            return
        if len(self.queue) + len(words) > LONGEST_QUEUE:
            flags, rsid = self.queue.pop()
            self.queue.append((flags | c.CRW_FLAGS_MASK_R, rsid))
            return
        for word in words:
            self.queue.append(word)
            self._irq.signal()

    def take(self) -> tuple[int, int]:
        """The oldest report, taken; zeros if there is none. More of them signal again."""
        if not self.queue:
            return 0, 0
        report = self.queue.pop(0)
        if self.queue and self._irq is not None:
            self._irq.signal()
        return report
