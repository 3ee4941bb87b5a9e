"""What a run says: bad events as they come, a line of progress, and the table at its end."""

import sys
import time
from collections import Counter
from dataclasses import dataclass, field

from attack.board import COUNTS
from attack.plan import Plan

_EACH = 3
"""So many events of one kind are told in full; the rest is counted."""


@dataclass
class Report:
    """Prints, and counts what it was told."""

    plan: Plan
    began: float = field(default_factory=time.monotonic)
    bad: Counter[str] = field(default_factory=Counter)
    """Bad events by kind."""
    done: Counter[str] = field(default_factory=Counter)
    """What the run itself has done."""
    notes: Counter[str] = field(default_factory=Counter)
    """What the server logged, with numbers left out."""
    _told: float = 0.0

    def event(self, kind: str, what: str, who: str = "") -> None:
        """Something bad: *kind* is the same for all of its kind, *what* says more."""
        self.bad[kind] += 1
        if self.bad[kind] <= _EACH:
            whose = f" ({who})" if who else ""
            print(f"BAD {self._clock()} seed {self.plan.seed}{whose}: {kind}", flush=True)
            for line in what.splitlines():
                print(f"    {line}", flush=True)

    def progress(self, counts: Counter[str], doing: str) -> None:
        """Every 10 s on a terminal, else every minute: a line."""
        every = 10 if sys.stdout.isatty() else 60
        now = time.monotonic()
        if now - max(self._told, self.began) < every:
            return
        self._told = now
        print(
            f"{self._clock()} {doing}: {counts['programs started']} programs, "
            f"{counts['acknowledged writes']} writes acknowledged, "
            f"{self.done['clients killed']} clients and {self.done['servers killed']} servers "
            f"killed, {self.bad.total()} bad events",
            flush=True,
        )

    def close(self, counts: Counter[str], worst: float, median: float) -> int:
        """Print the table; the exit status: 1 if anything was bad."""
        print(f"\nseed {self.plan.seed}, {self._clock()}, {self.plan.clients} clients")
        for name in COUNTS:
            _row(name, f"{counts[name]}")
        for name, number in sorted(self.done.items()):
            _row(name, f"{number}")
        _row("a NOP, median", f"{median * 1000:.1f} ms")
        _row("a NOP, worst", f"{worst * 1000:.1f} ms")
        _row("bad events", f"{self.bad.total()}")
        for kind, number in self.bad.most_common():
            print(f"    {number} x {kind}")
        for line, number in self.notes.most_common(8):
            print(f"  logged {number} x {line[:150]}")
        print(f"again: {self.plan.again()}", flush=True)
        return 1 if self.bad else 0

    def _clock(self) -> str:
        minutes, seconds = divmod(time.monotonic() - self.began, 60)
        return f"{minutes:02.0f}:{seconds:04.1f}"


def _row(name: str, value: str) -> None:
    print(f"  {name:<32}{value:>14}")
