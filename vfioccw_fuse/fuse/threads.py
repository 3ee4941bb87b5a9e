"""Calls to the operating system that may block, in threads that nobody has to wait for.

A file system may never answer an open or a close, and a process may hold its own memory map for
long. The loop must not wait for them, and what hangs must not use up the threads of others: each
kind of call has a number of threads of its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

import trio

from ..errors import UserError

T = TypeVar("T")


class Threads:
    """So many calls of one kind at once, each in a thread; to be used from the trio loop."""

    def __init__(self, what: str, most: int) -> None:
        """At most *most* calls at once; *what* they do is for the error if there are more."""
        self._what = what
        self._most = most
        self.busy = 0
        """Calls that have not ended."""

    def start(self, call: Callable[[], T], give_back: Callable[[T], object]) -> Job[T]:
        """Begin *call* in a thread. UserError if too many are at it already: nothing has begun.

        Its result goes to who waits for the `Job`, or, if nobody does so any more, to *give_back*,
        in a thread as well. RuntimeError if the system has no thread to give.
        """
        if self.busy >= self._most:
            raise UserError(f"{self._most} {self._what} have not ended; try again later")
        job = Job(self, call, give_back)
        trio.lowlevel.start_thread_soon(job.run, _nothing)
        self.busy += 1
        return job


def _nothing(_: object) -> None:
    """What to do with the outcome of a thread that tells of itself what there is to tell."""


class Job(Generic[T]):
    """One call of `Threads`, and who waits for it."""

    def __init__(
        self, threads: Threads, call: Callable[[], T], give_back: Callable[[T], object]
    ) -> None:
        self._threads = threads
        self._call = call
        self._give_back = give_back
        self._token = trio.lowlevel.current_trio_token()
        self._ended = trio.Event()
        self._waited_for = True
        self._results: list[T] = []
        self._error: BaseException | None = None

    async def wait(self) -> T:
        """What the call gave, or its exception. If this is cancelled nobody waits any more."""
        try:
            await self._ended.wait()
        finally:
            self._waited_for = False
        if self._error is not None:
            raise self._error
        return self._results[0]

    def run(self) -> None:
        """Do it. For this file, in the thread."""
        try:
            self._results.append(self._call())
        except BaseException as error:
            self._error = error
        # A loop that is no more has no use for it either: the process ends.
        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._end)

    def _end(self) -> None:
        self._threads.busy -= 1
        if self._waited_for:
            self._ended.set()
        elif self._results:
            trio.lowlevel.start_thread_soon(partial(self._give_back, self._results[0]), _nothing)
