"""Following a file of the mount that never ends, such as `trace`, as tail -f does."""

import os
import select
import time
from collections.abc import Iterator

_PIECE = 1 << 16  # bytes of text read at a time


def follow(fd: int, seconds: float | None, stop: int = -1) -> Iterator[bytes]:
    """Give what comes from *fd*, for so many seconds, until it ends or *stop* is readable."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    if stop >= 0:
        poll.register(stop, select.POLLIN)
    end = None if seconds is None else time.monotonic() + seconds
    while ready := poll.poll(None if end is None else max(0.0, end - time.monotonic()) * 1000):
        if any(readable == stop for readable, _ in ready):
            return
        piece = os.read(fd, _PIECE)
        if not piece:
            return
        yield piece
