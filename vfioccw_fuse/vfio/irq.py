"""One interruption line of a subchannel: an eventfd's counter, or the client's own eventfd.

`VFIO_DEVICE_SET_IRQS` gives a vfio driver an eventfd to signal. Here a client may do that too
(`Irq.attach`); without one the counter lives here and the mount shows it as a file. The counter's
rules are those of eventfd(2) without EFD_SEMAPHORE: 64 bits, reading takes all, an addition that
would pass the maximum does not happen.

Nothing here waits and nothing knows FUSE: who waits for a counter stands behind `Irq.on_ready`.
"""

from __future__ import annotations

import fcntl
import os
import select
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

COUNTER_BYTES: Final = 8
"""What one read of a counter gives and one write takes, in bytes (eventfd(2))."""
COUNTER_MAX: Final = 2**64 - 2
"""The largest value a counter holds; 2^64-1 cannot be written (eventfd(2))."""

_ONE: Final = (1).to_bytes(COUNTER_BYTES, sys.byteorder)


@dataclass(frozen=True, slots=True)
class IrqStatistics:
    """What happened on one line since it was made; for `state` and for debugging."""

    signals: int
    """Interruptions signalled by the driver (`Irq.signal`), wherever they went."""
    dropped: int
    """Those of them that found a full counter and left no trace, as in the kernel."""
    reads: int
    """Reads that took a value out of our own counter."""
    count: int
    """Our own counter as it is now."""
    attached: bool
    """Whether a client's eventfd is signalled instead of our own counter."""


class Irq:
    """One interruption line: what `io_irq`, `crw_irq` or `req_irq` shows.

    `signal` is the driver's side and never fails or blocks. `add`, `take` and `count` are the
    file's side. While a client's eventfd is attached, `signal` and `add` go there and our own
    counter keeps what it holds.
    """

    __slots__ = ("_room", "count", "dropped", "eventfd", "on_ready", "reads", "signals")

    def __init__(self) -> None:
        self.count = 0
        """Our own counter, 0 to `COUNTER_MAX`; only this class changes it."""
        self.eventfd = -1
        """The client's eventfd while one is attached, else -1; only this class changes it."""
        self.on_ready: Callable[[], None] | None = None
        """Called when something was added to our own counter, and when a full one got room."""
        self.signals = 0
        """Calls of `signal`."""
        self.dropped = 0
        """Calls of `signal` that met a full counter."""
        self.reads = 0
        """Calls of `take` that gave a value."""
        # Only for an eventfd without O_NONBLOCK: asks it for room before a write that would block.
        self._room: select.poll | None = None

    def signal(self, n: int = 1) -> None:
        """Add *n* to the counter; a full one stays as it is, as with eventfd_signal() in Linux."""
        self.signals += 1
        if not self.add(n):
            self.dropped += 1

    def add(self, n: int) -> bool:
        """Add *n* as a write to the file does; False and nothing changed if it does not fit.

        Zero fits always and tells waiters again that a counter above zero is ready, as write(2)
        on an eventfd does (edge-triggered epoll sees that).
        """
        if self.eventfd >= 0:
            return self._write(n)
        count = self.count + n
        if count > COUNTER_MAX:
            return False
        self.count = count
        if count and self.on_ready is not None:
            self.on_ready()
        return True

    def take(self) -> int:
        """Read our own counter and zero it; 0 if there was nothing."""
        count = self.count
        if count:
            self.count = 0
            self.reads += 1
            if count == COUNTER_MAX and self.on_ready is not None:
                self.on_ready()
        return count

    def attach(self, fd: int) -> None:
        """Signal the eventfd *fd* from now on, in place of one that was attached before.

        *fd* is kept and closed by `detach`: pass a descriptor of one's own (one received by
        SCM_RIGHTS is). Whether it is an eventfd is the caller's business. Its O_NONBLOCK is looked
        at now and never changed, because the flag belongs to the client's open file.
        """
        self.detach()
        if not fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK:
            self._room = select.poll()
            self._room.register(fd, select.POLLOUT)
        self.eventfd = fd

    def detach(self) -> None:
        """Close the attached eventfd, if any, and signal our own counter again."""
        fd, self.eventfd, self._room = self.eventfd, -1, None
        if fd >= 0:
            os.close(fd)

    def statistics(self) -> IrqStatistics:
        """What happened so far."""
        return IrqStatistics(self.signals, self.dropped, self.reads, self.count, self.eventfd >= 0)

    def _write(self, n: int) -> bool:
        """Write *n* to the attached eventfd; False if there is no room. Never blocks."""
        # POLLOUT promises room for 1 only; zero fits even into a full one.
        if self._room is not None and n:
            fits = self._room.poll(0) if n == 1 else eventfd_count(self.eventfd) + n <= COUNTER_MAX
            if not fits:
                return False
        try:
            os.write(self.eventfd, _ONE if n == 1 else n.to_bytes(COUNTER_BYTES, sys.byteorder))
        except BlockingIOError:
            return False
        return True


def eventfd_count(fd: int) -> int:
    """What an eventfd of this process holds, without taking it (proc(5), fdinfo)."""
    with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as info:
        for line in info:
            key, _, value = line.partition(":")
            if key == "eventfd-count":
                return int(value, 16)
    raise ValueError(f"descriptor {fd} is not an eventfd")
