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
