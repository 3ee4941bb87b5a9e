"""Where a client says what it does: memory that it shares with the run, and that outlives it.

Counts, the request that it is in at this moment, and its last actions. A client that is killed in
the middle of anything leaves all of that readable.
"""

import contextlib
import mmap
import struct
import time
from collections import Counter
from collections.abc import Iterator

COUNTS = (
    "reads", "writes", "programs started", "programs refused", "IRBs", "messages", "maps",
    "devices added", "media mutated", "media refused", "media attached", "clients blocked",
    "acknowledged writes", "blocks checked by programs", "writes without an answer",
)  # fmt: skip
"""What clients count, in the order of the table at the end."""
_PLACE = {name: 8 * number for number, name in enumerate(COUNTS)}
_SINCE, _WHAT, _LAST, _ACTIONS, _LENGTH = 512, 520, 1024, 8, 120
# Native ones are stored in one piece; of others the run could read a half.
_COUNT, _TIME = struct.Struct("@Q"), struct.Struct("@d")


class Board:
    """What one client shows. Made before the fork, written by the child, read by the parent."""

    def __init__(self) -> None:
        self._map = mmap.mmap(-1, mmap.PAGESIZE)
        self._next = 0

    def count(self, name: str, number: int = 1) -> None:
        """Add *number* to one of `COUNTS`."""
        at = _PLACE[name]
        [before] = _COUNT.unpack_from(self._map, at)
        _COUNT.pack_into(self._map, at, before + number)

    def counts(self) -> Counter[str]:
        """All counts so far, of all processes that had this board."""
        return Counter({n: _COUNT.unpack_from(self._map, at)[0] for n, at in _PLACE.items()})

    def act(self, what: str) -> None:
        """Begin another action, which `last` tells."""
        at = _LAST + _LENGTH * (self._next % _ACTIONS)
        self._map[at : at + _LENGTH] = f"{self._next:06d} {what}".encode(
            "ascii", "backslashreplace"
        )[:_LENGTH].ljust(_LENGTH, b"\0")
        self._next += 1

    def last(self) -> list[str]:
        """The last actions, in their order."""
        places = range(_LAST, _LAST + _ACTIONS * _LENGTH, _LENGTH)
        texts = (self._map[at : at + _LENGTH].rstrip(b"\0").decode() for at in places)
        return sorted(text for text in texts if text)

    @contextlib.contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """A request that has to be answered; the run sees when it is not."""
        self._map[_WHAT : _WHAT + _LENGTH] = what.encode()[:_LENGTH].ljust(_LENGTH, b"\0")
        _TIME.pack_into(self._map, _SINCE, time.monotonic())
        try:
            yield
        finally:
            _TIME.pack_into(self._map, _SINCE, 0.0)

    def waits(self) -> tuple[float, str]:
        """For how many seconds it has been in a request, and in which; 0 if in none."""
        [since] = _TIME.unpack_from(self._map, _SINCE)
        what = self._map[_WHAT : _WHAT + _LENGTH].rstrip(b"\0").decode(errors="replace")
        return (time.monotonic() - since, what) if since else (0.0, "")

    def renew(self) -> None:
        """Another process takes it over: only the counts stay."""
        self._map[_SINCE:] = bytes(mmap.PAGESIZE - _SINCE)
        self._next = 0
