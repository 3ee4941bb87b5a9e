"""Channel programs as a trace shows them: from a start to the interruption that ends it."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from .seen import Seen, ends_a_start

_USUAL = ("start function", "channel end, device end")
"""How functions and device status of a program begin that nothing is to be said of."""


@dataclass
class Part:
    """One command of a program."""

    begin: int
    """When the event before it was, in ns since the trace began."""
    end: int
    """When it had ended."""
    name: str
    """What it is called."""
    moved: int = 0
    """Bytes that it moved, as far as the trace says."""
    waited: bool = False
    """It began some time after `begin`: the function was pending at first."""


@dataclass
class SeenProgram:
    """One program."""

    subchannel: str
    """Whose."""
    begin: int
    """When it was started, in ns since the trace began."""
    end: int
    """When it had ended, or when something of it was seen last."""
    parts: list[Part] = field(default_factory=list)
    """Its commands."""
    besides: list[str] = field(default_factory=list)
    """What else happened meanwhile: halts, unusual endings."""

    @property
    def took(self) -> int:
        """How long, in ns."""
        return self.end - self.begin


class Programs:
    """Makes programs of events."""

    def __init__(self) -> None:
        self._now: dict[str, SeenProgram] = {}
        self._last: dict[str, int] = {}

    def see(self, event: Seen) -> SeenProgram | None:
        """The program that *event* ends, if it ends one."""
        whose = event.subchannel
        last, self._last[whose] = self._last.get(whose, event.ns), event.ns
        now = self._now.get(whose)
        if event.what == "ssch" and event.fields.get("cc") == 0:
            self._now[whose] = SeenProgram(whose, event.ns, event.ns)
            return now
        if now is None:
            if event.what in ("lost", "irb"):
                return None
            now = self._now[whose] = SeenProgram(whose, last, event.ns)
        now.end = event.ns
        if event.what == "ccw":
            self._part(now, event, last)
        elif event.what == "irb":
            if not ends_a_start(event):
                now.besides.append(_short(event.words))
            else:
                if unusual := _unusual(event.words):
                    now.besides.append(unusual)
                return self._now.pop(whose)
        else:
            what = "" if event.what == "lost" else f"{event.what} "
            now.besides.append(f"{what}{event.words}")
        return None

    def _part(self, now: SeenProgram, event: Seen, last: int) -> None:
        moved = event.fields.get("moved", 0)
        status = event.fields["status"]
        before = now.parts[-1] if now.parts else None
        if before is not None and before.end < 0:
            part = before
        else:
            part = Part(last, -1, event.fields["name"], waited=before is None)
            now.parts.append(part)
        part.moved += moved
        if status:
            part.end = event.ns
        if status & ~0x0C:
            now.besides.append(f"{part.name}: unit status {status:02x}")

    def rest(self) -> Iterator[SeenProgram]:
        """Those that have not ended."""
        yield from self._now.values()


def _short(words: str) -> str:
    return words.split("; ")[0]


def _unusual(words: str) -> str:
    """What an ending status says that is not always there; empty for channel end, device end."""
    found = []
    for part in words.split("; "):
        for usual in _USUAL:
            if part.startswith(usual):
                part = part[len(usual) :].removeprefix(", ")
        if part and "status pending" not in part and not part.startswith(("path ", "cpa ")):
            found.append(part)
    return "; ".join(found)
