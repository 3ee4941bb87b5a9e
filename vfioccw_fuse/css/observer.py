"""Who follows what a subchannel does, CCW by CCW."""

from __future__ import annotations

from typing import Protocol


class Observer(Protocol):
    """Is told of each CCW and each interruption; nobody is asked unless there is one."""

    def ccw(self, address: int, code: int, flags: int, count: int, cda: int, status: int) -> None:
        """A CCW was executed; *status* is its unit status, 0 for one that only chains data."""
        ...

    def interruption(self, irb: bytes, *, joined: bool) -> None:
        """The subchannel became status pending with this IRB, or what is pending became it."""
        ...


class Several:
    """Several observers, each told in its turn."""

    def __init__(self, observers: tuple[Observer, ...]) -> None:
        self.observers = observers
        """Whom it tells, in this order."""

    def ccw(self, address: int, code: int, flags: int, count: int, cda: int, status: int) -> None:
        """See `Observer.ccw`."""
        for observer in self.observers:
            observer.ccw(address, code, flags, count, cda, status)

    def interruption(self, irb: bytes, *, joined: bool) -> None:
        """See `Observer.interruption`."""
        for observer in self.observers:
            observer.interruption(irb, joined=joined)


def followed_by(before: Observer | None, new: Observer) -> Observer:
    """Whom to tell so that *new* is told beside *before*, who may be nobody."""
    if before is None:
        return new
    known = before.observers if isinstance(before, Several) else (before,)
    return Several((*known, new))


def without(before: Observer | None, old: Observer) -> Observer | None:
    """Whom to tell so that *old* is told no more; None: nobody is left."""
    if not isinstance(before, Several):
        return None if before is old else before
    rest = tuple(one for one in before.observers if one is not old)
    return Several(rest) if len(rest) > 1 else rest[0]
