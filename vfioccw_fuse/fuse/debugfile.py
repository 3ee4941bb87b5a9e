"""The file `debug`: channel programs CCW by CCW, for one opener at a time.

What is written are the requests of `css.debugger`, one JSON object each; what is read are its
events, one in a line, as they happen. To open and to read it changes nothing: who writes the
request `attach` is attached until his file is closed, however that comes about.
"""

from __future__ import annotations

import contextlib
import errno
import json
import select
from typing import Final

import pyfuse3

from ..css.debugger import Debugger, Event
from ..errors import UserError
from ..memory.paging import StorageAway
from ..vfio.debugging import attach_debugger
from ..vfio.device import CcwDevice
from .blocked import BlockedRequests, Line, Opener
from .file import READY, File

BACKLOG: Final = 1 << 20
"""Bytes of events kept for who does not read; of what comes then he learns how much it was."""
REQUEST_MAX: Final = 1 << 16
"""Longest request, in bytes."""


class DebugFile(File):
    """Requests in, events out; reads wait for the next event."""

    waits = True

    def __init__(self, device: CcwDevice, blocked: BlockedRequests) -> None:
        self._device = device
        self._blocked = blocked
        self._line = Line()
        self._text = bytearray()
        self._lost = 0
        self._debugger: Debugger | None = None
        self._attached: Opener | None = None
        self._handle: pyfuse3.PollHandle | None = None

    def _tell(self, event: Event) -> None:
        if len(self._text) > BACKLOG:
            self._lost += 1
            return
        if self._lost:
            event = {**event, "lost": self._lost}
            self._lost = 0
        self._text += json.dumps(event).encode() + b"\n"
        self._line.finish_all()
        self._notify()

    def _notify(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            # Once the kernel has ended the session nobody is left to be told.
            with contextlib.suppress(OSError):
                handle.notify()

    async def write_waiting(self, opener: Opener, data: bytes) -> int:
        """One request. EINVAL: not attached, or no text; EBUSY: somebody else is attached.

        What is wrong with a request otherwise is told by an event.
        """
        try:
            text = data.decode()
        except UnicodeDecodeError:
            raise pyfuse3.FUSEError(errno.EINVAL) from None
        if len(data) > REQUEST_MAX:
            raise pyfuse3.FUSEError(errno.EINVAL)
        if opener is not self._attached:
            self._attach(opener, text)
            return len(data)
        while self._debugger is not None:
            try:
                self._debugger.obey(text)
                break
            except StorageAway as away:
                await self._blocked.wait_for(opener, away.wait)
        return len(data)

    def _attach(self, opener: Opener, text: str) -> None:
        """The first request of *opener*, which must be to attach."""
        try:
            wanted = json.loads(text) == {"do": "attach"}
        except (ValueError, RecursionError):
            wanted = False
        if not wanted:
            raise pyfuse3.FUSEError(errno.EINVAL)
        try:
            self._debugger = attach_debugger(self._device, self._tell)
        except UserError:
            raise pyfuse3.FUSEError(errno.EBUSY) from None
        self._attached = opener

    async def read_waiting(self, opener: Opener, size: int) -> bytes:
        """Events as they come; EINVAL: not attached; EAGAIN: O_NONBLOCK; ENODEV: it is gone."""
        while opener is self._attached:
            if self._text:
                data = bytes(self._text[:size])
                del self._text[:size]
                return data
            if self._debugger is None:
                raise pyfuse3.FUSEError(errno.ENODEV)
            if opener.nonblock:
                raise pyfuse3.FUSEError(errno.EAGAIN)
            await self._blocked.wait(opener, self._line)
        raise pyfuse3.FUSEError(errno.EINVAL)

    def poll(self, opener: Opener, handle: pyfuse3.PollHandle | None) -> int:
        """POLLIN while there are events; a request never has to wait for room."""
        if opener is not self._attached:
            return READY
        if self._debugger is None:
            return select.POLLERR | select.POLLHUP
        if handle is not None:
            self._handle = handle
        return READY if self._text else select.POLLOUT

    def release(self, opener: Opener) -> None:
        """Who was attached is so no more: what is stopped goes on."""
        if opener is self._attached:
            self._detach()
            self._attached = None
            self._text.clear()
            self._lost = 0

    def _detach(self) -> None:
        debugger, self._debugger = self._debugger, None
        if debugger is not None:
            debugger.detach()

    def shutdown(self) -> None:
        """ENODEV to who waits; nothing is stopped any more."""
        self._detach()
        self._line.fail_all(errno.ENODEV)
        self._notify()
