"""Storage whose pages may have to come from a disk: a thread reads them in before the loop does.

A file on tmpfs and a memfd have their pages; a file of a disk's file system may have to be read
first, and what a process has mapped of one, too. The thread changes nothing, it only reads: so
whoever is ended meanwhile leaves no trace in storage. What it has read in is trusted to stay for a
while.

A channel program is parked meanwhile (`strand`). A request cannot wait where it meets the storage:
it gets `StorageAway`, and whoever carries it waits and lets it begin again.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Sequence
from time import monotonic_ns
from typing import Final

import trio

from ..strand import on_strand, park

PAGE: Final = 4096
"""Granularity of mappings and of storage keys, in bytes."""
MOST_JOBS: Final = 8
"""Threads that read one range in at a time; who needs another waits until one ends."""
TRUST_NS: Final = 1_000_000_000
"""How long a page that was read in counts as being there, in ns."""
MOST_REMEMBERED: Final = 1 << 16
"""Pages of a range of which it is known whether they are there."""


class StorageLost(Exception):
    """A mapped range has no storage behind it: its file was cut, or its process is gone."""


class StorageAway(Exception):
    """Storage has to be read in first, and nothing has changed yet: `wait`, then begin again."""

    def __init__(self, coming: trio.Event) -> None:
        super().__init__("storage has to be read in")
        self.wait = coming.wait
        """Returns when it is worth to begin again."""


class Paging:
    """Reads in the pages of one range: of *fd*, from *offset* in bytes."""

    __slots__ = ("_fd", "_jobs", "_let_go", "_lock", "_lost", "_offset", "_there", "_users")

    def __init__(self, fd: int, offset: int, let_go: Callable[[], None]) -> None:
        """*let_go* closes the descriptor, when the range and the last thread have left it."""
        self._fd = fd
        self._offset = offset
        self._let_go = let_go
        # The range and each thread; they leave in any thread.
        self._users = 1
        self._lock = threading.Lock()
        self._jobs: dict[trio.Event, None] = {}
        # By page: until when it counts as being there, or as one that cannot be read.
        self._there: dict[int, int] = {}
        self._lost: dict[int, int] = {}

    def bring(self, areas: Sequence[tuple[int, int]]) -> None:
        """Return when all *areas* (place in the range, length) are there; waits on a strand.

        StorageLost if they cannot be read; StorageAway off a strand, if they are not there. Outside
        of a loop nobody else is kept from anything: nothing is read in.
        """
        if not trio.lowlevel.in_trio_run():
            return
        while True:
            away = self._away(areas)
            if not away:
                return
            busy = len(self._jobs) >= MOST_JOBS
            coming = next(iter(self._jobs)) if busy else self._start(away)
            if not on_strand():
                raise StorageAway(coming)
            park(coming)

    def _away(self, areas: Sequence[tuple[int, int]]) -> list[int]:
        """The pages of *areas* that have to be read in; StorageLost if that was tried in vain."""
        now = monotonic_ns()
        there = self._there
        away = []
        for place, length in areas:
            for page in range(place // PAGE, (place + length - 1) // PAGE + 1):
                if there.get(page, 0) > now:
                    continue
                if self._lost.pop(page, 0) > now:
                    raise StorageLost(page * PAGE)
                away.append(page)
        return away

    def _start(self, pages: list[int]) -> trio.Event:
        """Let a thread read *pages*; the event is set when it has ended."""
        coming = trio.Event()
        token = trio.lowlevel.current_trio_token()

        def work() -> None:
            lost = [page for page in pages if not self._read(page)]
            self.leave()
            # At the loop's end nobody is left who could want them.
            with contextlib.suppress(trio.RunFinishedError):
                token.run_sync_soon(self._ended, coming, pages, lost)

        with self._lock:
            self._users += 1
        try:
            trio.lowlevel.start_thread_soon(work, _nothing, "storage")
        except BaseException:
            self.leave()
            raise
        self._jobs[coming] = None
        return coming

    def _read(self, page: int) -> bool:
        """Read a byte of *page*: whether it can be read."""
        try:
            return bool(os.pread(self._fd, 1, self._offset + page * PAGE))
        except OSError:
            return False

    def _ended(self, coming: trio.Event, pages: list[int], lost: list[int]) -> None:
        del self._jobs[coming]
        until = monotonic_ns() + TRUST_NS
        if len(self._there) + len(self._lost) + len(pages) > MOST_REMEMBERED:
            self._there.clear()
            self._lost.clear()
        self._there.update(dict.fromkeys(pages, until))
        for page in lost:
            del self._there[page]
            self._lost[page] = until
        coming.set()

    def leave(self) -> None:
        """The range needs it no more, or a thread: the last one closes the descriptor."""
        with self._lock:
            self._users -= 1
            last = not self._users
        if last:
            self._let_go()


def _nothing(_: object) -> None:
    """What to do with the outcome of a thread that tells of itself what there is to tell."""
