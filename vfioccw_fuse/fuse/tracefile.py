"""The file `trace`: every instruction, CCW and interruption, as it happens.

Who only reads gets lines for people. Who writes `{"data": N}` gets events from then on, one JSON
object in a line, those of CCWs with at most N bytes of data. Lines are made when they are read, a
few at a time: what a client waits for is not held up by words.
"""

from __future__ import annotations

import contextlib
import errno
import json
import select
from collections import deque
from collections.abc import Iterator
from time import monotonic_ns
from typing import Final

import pyfuse3

from ..css.trace import DATA_MAX, Event, Executed, Lost, Trace, to_json
from ..errors import printable
from ..vfio.device import CcwDevice
from .blocked import BlockedRequests, Line, Opener
from .file import READY, File

BACKLOG: Final = 65536
"""Events kept for a reader that does not read; what comes then is counted as lost."""
BACKLOG_CCWS: Final = BACKLOG // 2
"""The same for CCWs: a loop of them leaves room for instructions and interruptions."""
BACKLOG_DATA: Final = 1 << 20
"""Bytes of data that are kept, beyond which CCWs are lost."""
OPENERS: Final = 64
"""Open files of one trace at a time: each keeps what its reader has not read."""
REQUEST_MAX: Final = 64
"""Longest request, in bytes."""
_LINES: Final = 256
_OBJECTS: Final = 1024
"""Events that a read makes words or JSON of, at most: about half a millisecond."""


class Reader:
    """One opener: what it has not read yet."""

    __slots__ = ("as_json", "ccws", "data", "events", "most", "others", "rest")

    def __init__(self) -> None:
        self.events: deque[Event] = deque()
        """What happened, the oldest first."""
        self.rest = b""
        """What was made of events and has not been read."""
        self.as_json = False
        """It gets JSON, not words."""
        self.most = 0
        """Bytes of data with a CCW."""
        self.data = 0
        """Bytes of data in `events`."""
        self.ccws = self.others = 0
        """CCWs, and instructions and interruptions, that were lost since."""

    def __bool__(self) -> bool:
        """There is something to read."""
        return bool(self.rest or self.events)


class TraceFile(File):
    """Events of one subchannel; reads wait for the next, as `tail -f`."""

    waits = True

    def __init__(self, device: CcwDevice, blocked: BlockedRequests) -> None:
        self._device = device
        self._blocked = blocked
        self._line = Line()
        self._readers: dict[Opener, Reader] = {}
        self._handles: dict[Opener, pyfuse3.PollHandle] = {}
        self._trace: Trace | None = None
        self._start = 0
        self._gone = False

    def opened(self, opener: Opener) -> None:
        """The first opener starts the trace: without one it costs nothing. EBUSY: 64 are open."""
        if len(self._readers) >= OPENERS:
            raise OSError(errno.EBUSY, f"{OPENERS} have this trace open")
        if self._trace is None:
            self._follow()
        self._readers[opener] = Reader()

    def _follow(self) -> None:
        self._start = monotonic_ns()
        self._trace = Trace(self._device.sch, self._tell)
        self._device.driver.trace = self._trace
        self._device.sch.follow(self._trace)

    def _tell(self, event: Event) -> None:
        room, data, is_ccw = BACKLOG, 0, False
        if type(event) is Executed:
            room, is_ccw = BACKLOG_CCWS, True
            if event.pieces:
                data = sum(piece.length for piece in event.pieces)
        for reader in self._readers.values():
            if len(reader.events) >= room or (data and reader.data + data > BACKLOG_DATA):
                if is_ccw:
                    reader.ccws += 1
                else:
                    reader.others += 1
                continue
            if reader.ccws or reader.others:
                reader.events.append(Lost(event.ns, reader.ccws, reader.others))
                reader.ccws = reader.others = 0
            reader.events.append(event)
            reader.data += data
        if self._line:
            self._line.finish_all()
        if self._handles:
            self._notify()

    def _notify(self) -> None:
        handles, self._handles = self._handles, {}
        for handle in handles.values():
            # Once the kernel has ended the session nobody is left to be told.
            with contextlib.suppress(OSError):
                handle.notify()

    async def write_waiting(self, opener: Opener, data: bytes) -> int:
        """`{"data": N}`: events from now on, with at most N bytes of data. EINVAL: not that."""
        try:
            wanted = json.loads(data.decode()) if len(data) <= REQUEST_MAX else None
        except (ValueError, RecursionError):
            wanted = None
        match wanted:
            case {"data": int(most), **rest} if not rest and 0 <= most <= DATA_MAX:
                reader = self._readers[opener]
                reader.as_json, reader.most = True, int(most)
            case _:
                raise pyfuse3.FUSEError(errno.EINVAL)
        self._ask_for_data()
        return len(data)

    def _ask_for_data(self) -> None:
        if self._trace is not None:
            self._trace.most = max((reader.most for reader in self._readers.values()), default=0)

    async def read_waiting(self, opener: Opener, size: int) -> bytes:
        """What comes, as it comes; EAGAIN for O_NONBLOCK, ENODEV: the subchannel is gone."""
        reader = self._readers[opener]
        while not reader:
            if self._gone:
                raise pyfuse3.FUSEError(errno.ENODEV)
            if opener.nonblock:
                raise pyfuse3.FUSEError(errno.EAGAIN)
            await self._blocked.wait(opener, self._line)
        if not reader.rest:
            made = self._objects(reader) if reader.as_json else self._lines(reader)
            reader.rest = "".join(made).encode()
        data, reader.rest = reader.rest[:size], reader.rest[size:]
        return data

    def _objects(self, reader: Reader) -> Iterator[str]:
        for event in _taken(reader, _OBJECTS):
            yield f"{to_json(event, reader.most)}\n"

    def _lines(self, reader: Reader) -> Iterator[str]:
        from ..css.tracewords import words_for

        sch = self._device.sch
        for event in _taken(reader, _LINES):
            what, text = words_for(event, sch.device.words)
            if type(event) is Lost:
                yield f"... {text}\n"
            else:
                seconds = (event.ns - self._start) / 1e9
                line = printable(f"{seconds:12.6f} {sch.schid} {what:5} {text}")
                yield f"{line}\n"

    def poll(self, opener: Opener, handle: pyfuse3.PollHandle | None) -> int:
        """POLLIN while there is something to read; a request never has to wait for room."""
        if self._readers[opener]:
            return READY
        if self._gone:
            return select.POLLERR | select.POLLHUP
        if handle is not None:
            self._handles[opener] = handle
        return select.POLLOUT

    def release(self, opener: Opener) -> None:
        """The last one stops the trace."""
        self._readers.pop(opener, None)
        self._handles.pop(opener, None)
        if self._readers:
            self._ask_for_data()
        elif self._trace is not None:
            self._device.driver.trace = None
            self._device.sch.unfollow(self._trace)
            self._trace = None

    def shutdown(self) -> None:
        """ENODEV to all who wait, and to others when they have read the rest."""
        self._gone = True
        self._line.fail_all(errno.ENODEV)
        self._notify()


def _taken(reader: Reader, most: int) -> Iterator[Event]:
    """Take at most *most* events of *reader*."""
    events = reader.events
    for _ in range(min(most, len(events))):
        event = events.popleft()
        if type(event) is Executed and event.pieces:
            reader.data -= sum(piece.length for piece in event.pieces)
        yield event
