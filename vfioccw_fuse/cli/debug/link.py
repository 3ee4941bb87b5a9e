"""The connection of a debugger: requests out, events in, one JSON object in a line."""

import contextlib
import errno
import json
import os
import select
import time
from collections.abc import Iterator
from typing import Any, Final

from ...errors import UserError
from .. import asking_the_mount

Event = dict[str, Any]
"""What happened; `event` says what it is of (`regions/README.md`, section "debug")."""
_PIECE: Final = 1 << 16  # bytes read at a time


class Link:
    """Two descriptors: one is written, one is read; of a mount they are the same."""

    def __init__(self, requests: int, events: int) -> None:
        self.events = events
        """Readable when something has happened."""
        self._requests = requests
        self._text = b""
        self.over = False
        """Nothing will happen any more."""

    def close(self) -> None:
        """Detach: what is stopped goes on."""
        for fd in {self._requests, self.events}:
            # close(2) of a file whose mount is gone says so, and has closed it.
            with contextlib.suppress(OSError):
                os.close(fd)

    def ask(self, do: str, **operands: object) -> None:
        """Send a request; one event answers it. UserError if the subchannel is gone."""
        with _there():
            os.write(self._requests, json.dumps({"do": do, **operands}).encode() + b"\n")

    def take(self) -> Iterator[Event]:
        """What has happened; waits if nothing has. UserError if the subchannel is gone."""
        with _there():
            piece = os.read(self.events, _PIECE)
        if not piece:
            self.over = True
        *lines, self._text = (self._text + piece).split(b"\n")
        for line in lines:
            yield json.loads(line)

    def wait(self, until: float) -> bool:
        """Whether something happens before the time *until* of `time.monotonic`."""
        poll = select.poll()
        poll.register(self.events, select.POLLIN)
        return bool(poll.poll(max(0.0, until - time.monotonic()) * 1000))


@contextlib.contextmanager
def _there() -> Iterator[None]:
    """Make a UserError of an OSError which says that nobody is at the other end any more."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENODEV, errno.ENOTCONN, errno.ECONNABORTED, errno.EPIPE):
            raise UserError("the subchannel is gone, or its mount has ended") from None
        raise


def attach(subchannel: str) -> Link:
    """Attach to the directory *subchannel* of a mount; UserError says why that cannot be."""
    with asking_the_mount():
        fd = os.open(os.path.join(subchannel, "debug"), os.O_RDWR | os.O_CLOEXEC)
    link = Link(fd, fd)
    try:
        link.ask("attach")
    except OSError as error:
        link.close()
        if error.errno == errno.EBUSY:
            raise UserError(
                f"{subchannel}: somebody debugs it already; one at a time can"
            ) from None
        raise
    return link
