"""`io_irq`, `crw_irq` and `req_irq`: an `Irq` as a file that behaves as an eventfd.

Read, write and poll are those of eventfd(2); offsets mean nothing. One `IrqFile` serves all openers
of its file. The errors are `pyfuse3.FUSEError`.
"""

from __future__ import annotations

import errno
import select
import sys
from typing import Final

import pyfuse3

from ..vfio.irq import COUNTER_BYTES, COUNTER_MAX, Irq
from .blocked import BlockedRequests, Line, Opener

_TOO_LARGE: Final = COUNTER_MAX + 1


class IrqFile:
    """The file of one interruption line, for all who have it open."""

    __slots__ = ("_blocked", "_gone", "_handles", "_irq", "_readers", "_writers")

    def __init__(self, irq: Irq, blocked: BlockedRequests) -> None:
        """Show *irq*, whose `Irq.on_ready` this takes; who has to wait does so in *blocked*."""
        self._irq = irq
        self._blocked = blocked
        self._readers = Line()
        self._writers = Line()
        # The kernel's wish to be told of the next event, one for each open file.
        self._handles: dict[Opener, pyfuse3.PollHandle] = {}
        self._gone = False
        irq.on_ready = self._ready

    async def read(self, opener: Opener, size: int) -> bytes:
        """The counter, 8 bytes in host order, and zero it; waits while it is zero.

        EINVAL: *size* is less than 8. EAGAIN: it is zero and the file was opened with O_NONBLOCK.
        EINTR: a signal. ENODEV: the session or the subchannel ended.
        """
        self._check()
        if size < COUNTER_BYTES:
            raise pyfuse3.FUSEError(errno.EINVAL)
        count = self._irq.take()
        if not count:
            if opener.nonblock:
                raise pyfuse3.FUSEError(errno.EAGAIN)
            count = await self._blocked.wait(opener, self._readers)
        elif self._writers:
            self._writers.finish_all()
        return count.to_bytes(COUNTER_BYTES, sys.byteorder)

    async def write(self, opener: Opener, data: bytes) -> int:
        """Add the first 8 bytes of *data*, host order, to the counter; 8. Waits while it is full.

        EINVAL: fewer than 8 bytes, or 2^64-1. EAGAIN: no room and the file was opened with
        O_NONBLOCK, or no room in a client's own eventfd, whose reads we do not see. EINTR and
        ENODEV as for `read`.
        """
        self._check()
        number = int.from_bytes(data[:COUNTER_BYTES], sys.byteorder)
        if len(data) < COUNTER_BYTES or number == _TOO_LARGE:
            raise pyfuse3.FUSEError(errno.EINVAL)
        while not self._irq.add(number):
            if opener.nonblock or self._irq.eventfd >= 0:
                raise pyfuse3.FUSEError(errno.EAGAIN)
            await self._blocked.wait(opener, self._writers)
        return COUNTER_BYTES

    def poll(self, opener: Opener, handle: pyfuse3.PollHandle | None) -> int:
        """Readiness now, POLLIN and POLLOUT; *handle* is told of the next change.

        After `shutdown` POLLERR and POLLHUP.

        The handle is kept also if the answer is "ready": edge-triggered epoll asks once and then
        waits for the next event. It serves one notification; the kernel brings a new one whenever
        it asks again, and it always does after being told.
        """
        if self._gone:
            return select.POLLERR | select.POLLHUP
        if handle is not None:
            self._handles[opener] = handle
        count = self._irq.count
        return (select.POLLIN if count else 0) | (select.POLLOUT if count < COUNTER_MAX else 0)

    def release(self, opener: Opener) -> None:
        """*opener* was closed for the last time."""
        self._handles.pop(opener, None)

    def shutdown(self) -> None:
        """The subchannel or the session is gone: ENODEV to all who wait and to all who come."""
        self._gone = True
        self._irq.on_ready = None
        self._readers.fail_all(errno.ENODEV)
        self._writers.fail_all(errno.ENODEV)
        self._notify()

    def _check(self) -> None:
        if self._gone:
            raise pyfuse3.FUSEError(errno.ENODEV)

    def _ready(self) -> None:
        """Something was added to the counter, or a full one got room."""
        if self._readers and self._irq.count:
            self._readers.first().finish(self._irq.take())
            self._writers.finish_all()
        else:
            self._notify()

    def _notify(self) -> None:
        if self._handles:
            handles, self._handles = self._handles, {}
            for handle in handles.values():
                try:
                    handle.notify()
                except OSError:
                    # The kernel has ended the session: nobody is left to be told.
                    return
