"""From the page cache to stable storage, in threads: what is written, and how a file ends.

What was written goes to its disk from the first second on (sync_file_range(2), which only begins
that), so that little is left to do at the end. The end of a file that was written is fdatasync(2),
then close(2). Either may hang for ever where a server is dead: each file system has threads of its
own, and none while nothing is written there.

What fails is a line in the log, once for each file, and is told again at the end (`failures`).
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import trio

from ..errors import printable, reason

log = logging.getLogger(__name__)

BEGINS_AFTER: Final = 1.0
"""Seconds from a write to the beginning of its way to the disk, and between two such beginnings."""
LONGEST_END: Final = 30.0
"""Seconds that anybody waits for the ends of files."""
ENDS_AT_ONCE: Final = 16
"""Threads that end files of one file system; who needs another waits until one has ended."""
_NAMED: Final = 3  # files in a phrase; more are only counted

_SYNC_FILE_RANGE_WRITE: Final = 2
_sync_file_range: Final[Any] = getattr(ctypes.CDLL(None), "sync_file_range", None)
if _sync_file_range is not None:
    _sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)

failures: Final[dict[str, str]] = {}
"""What may not be on stable storage: the file's name, and why."""


class Written(Protocol):
    """A file that was written."""

    fd: int
    """Its descriptor; -1 when it is closed."""
    noted: bool
    """What is written now needs no `note`."""


def failed(path: str, why: str) -> None:
    """What was written into *path* may not be on stable storage: a line in the log, once."""
    if path not in failures:
        failures[path] = why
        log.error("%s: what was written may not be on stable storage: %s", printable(path), why)


def fdatasync(path: str, fd: int) -> None:
    """fdatasync(2) of *fd*, which is open as *path*; OSError, which was told by `failed` then."""
    try:
        os.fdatasync(fd)
    except OSError as error:
        failed(path, reason(error))
        raise


class FileSystem:
    """The threads that work for the files of one file system; it has none while all is well."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._written: set[Written] = set()
        self._begins = False
        self._ends: deque[Ending] = deque()
        self._enders = 0

    def note(self, file: Written) -> None:
        """*file* was written: a second from now what it has goes on its way to the disk."""
        if _sync_file_range is None:
            return  # the kernel does it by itself, some half a minute later
        with self._lock:
            self._written.add(file)
            if self._begins:
                return
            self._begins = True
        try:
            threading.Thread(target=self._begin, name="write-back", daemon=True).start()
        except RuntimeError:
            self._begins = False  # no thread to be had: the kernel does it, or the next write

    def _begin(self) -> None:
        """Let what was written go on its way, once a second, until nothing is written any more."""
        while True:
            time.sleep(BEGINS_AFTER)
            with self._lock:
                written, self._written = self._written, set()
                if not written:
                    self._begins = False
                    return
            for file in written:
                # First: what is written from now on is noted anew. Errors are fdatasync's to tell,
                # and where this cannot be done (ESPIPE, EINVAL) the kernel does it later.
                file.noted = False
                _sync_file_range(file.fd, 0, 0, _SYNC_FILE_RANGE_WRITE)

    def end(self, path: str, fd: int, close: Callable[[int], None]) -> Ending:
        """Bring what *fd*, open as *path*, has to stable storage, then *close* it: soon."""
        ending = Ending(path, fd, close)
        with self._lock:
            self._ends.append(ending)
            if self._enders == ENDS_AT_ONCE:
                return ending
            self._enders += 1
        try:
            threading.Thread(target=self._end, name="end of files", daemon=True).start()
        except RuntimeError:
            self._end()  # no thread to be had: to wait is better than to lose
        return ending

    def _end(self) -> None:
        while True:
            with self._lock:
                if not self._ends:
                    self._enders -= 1
                    return
                ending = self._ends.popleft()
            ending.run()


class Ending:
    """The end of one file: fdatasync, then close."""

    def __init__(self, path: str, fd: int, close: Callable[[int], None]) -> None:
        self.path = path
        """The file's name."""
        self._fd = fd
        self._close = close
        self._ended: trio.Event | None = None
        self._tell: Callable[[Callable[[], None]], None] = _nobody
        with contextlib.suppress(RuntimeError):  # off a loop nobody waits in it
            self._tell = trio.lowlevel.current_trio_token().run_sync_soon
            self._ended = trio.Event()
        with _news:
            _going[self] = None

    async def wait(self) -> None:
        """Wait until it is over; only in the loop in which it began."""
        if self._ended is not None:
            await self._ended.wait()

    def run(self) -> None:
        """Do it. For this file, in a thread."""
        with contextlib.suppress(OSError):
            fdatasync(self.path, self._fd)
        with contextlib.suppress(OSError):
            self._close(self._fd)
        with _news:
            del _going[self]
            _news.notify_all()
        # At the loop's end nobody is left who could wait.
        with contextlib.suppress(trio.RunFinishedError):
            if self._ended is not None:
                self._tell(self._ended.set)


def _nobody(_: Callable[[], None]) -> None:
    """There is no loop that could be told."""


_news: Final = threading.Condition()
_going: Final[dict[Ending, None]] = {}


def going() -> list[str]:
    """The names of the files whose end has begun and is not over."""
    with _news:
        return [ending.path for ending in _going]


def wait_for_all(seconds: float = LONGEST_END) -> None:
    """Block until every end that has begun is over, at most so long: what is not is a failure."""
    deadline = time.monotonic() + seconds
    with _news:
        while _going and (left := deadline - time.monotonic()) > 0:
            _news.wait(left)
    for path in going():
        failed(path, f"no answer for {seconds:g} s")


def named(paths: Sequence[str]) -> str:
    """*paths* as a phrase: `a.img, b.img and 7 more`."""
    said = ", ".join(paths[:_NAMED])
    return said if len(paths) <= _NAMED else f"{said} and {len(paths) - _NAMED} more"
