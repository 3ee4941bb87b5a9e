"""Plain calls that may have to wait in the middle: each runs on a stack of its own.

A channel program is plain code that is run, not awaited, from the interpreter through the device to
its medium: that is what makes a start cheap. Now and then such code must wait all the same, for a
thread that reads an image or for its next turn. `park` then leaves its whole call stack where it
is, and whoever runs it (`Strands.run`) gets what it waits for; `Parked.resume` goes on from there,
`Parked.abandon` unwinds it. It stands below all rooms: devices park, the executor runs.

The stacks are greenlets. Off a strand (`vfioccw image`, a test that has no loop) nothing can be
parked: who could wait looks with `on_strand` and blocks instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol, TypeVar, final

import trio
from greenlet import GreenletExit, getcurrent, greenlet

T = TypeVar("T")


class Waits(Protocol):
    """What a parked call waits for."""

    async def wait(self) -> object:
        """Return when it has come; may be called by several tasks, and after it has come."""
        ...


@final
class Turn:
    """The reason of a call that has worked long and only lets others have their turn."""

    async def wait(self) -> None:
        """There is nothing to wait for."""


TURN: Final = Turn()


@final
class Moment:
    """The reason of a call that goes on when so much time is over."""

    __slots__ = ("_seconds",)

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def wait(self) -> None:
        """Return when it is time."""
        await trio.sleep(self._seconds)


@final
class Parked:
    """A call that waits."""

    __slots__ = ("_strand", "reason")

    def __init__(self, strand: _Strand, reason: Waits) -> None:
        self._strand = strand
        self.reason = reason
        """What it waits for."""

    def resume(self) -> Any:
        """Let it go on: what it gives, or `Parked` again. What it raises comes out of here."""
        return self._strand.switch()

    def abandon(self) -> None:
        """It will not go on: its stack is unwound now, with GreenletExit, from where it waits."""
        strand = self._strand
        # Whoever abandons goes on behind it, also if that is another strand.
        strand.parent = getcurrent()
        strand.throw(GreenletExit)


class _Strand(greenlet):
    """One stack: runs one call after another."""

    def __init__(self, idle: list[_Strand]) -> None:
        super().__init__(self._work)
        self._idle = idle

    def _work(self, call: Callable[[], object]) -> object:
        hub = self.parent
        idle = self._idle
        assert hub is not None
        while True:
            result = call()
            idle.append(self)
            call = hub.switch(result)


class Strands:
    """The stacks of one loop: as many as calls wait, and those that are left for the next."""

    __slots__ = ("_idle",)

    def __init__(self) -> None:
        self._idle: list[_Strand] = []

    def run(self, call: Callable[[], T]) -> T | Parked:
        """Run *call* until it ends, or until it waits; what it raises comes out of here."""
        idle = self._idle
        strand = idle.pop() if idle else _Strand(idle)
        result: T | Parked = strand.switch(call)
        return result


def on_strand() -> bool:
    """Whether the call that asks runs on a strand, so that it may `park`."""
    return type(getcurrent()) is _Strand


def park(reason: Waits) -> None:
    """Wait for *reason*; returns when somebody lets the call go on. RuntimeError off a strand."""
    strand = getcurrent()
    if type(strand) is not _Strand:
        raise RuntimeError("only what runs on a strand can wait")
    hub = strand.parent
    assert hub is not None
    hub.switch(Parked(strand, reason))
