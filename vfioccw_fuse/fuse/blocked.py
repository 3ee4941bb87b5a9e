"""Requests that wait, and the signals that end them.

A read that has to wait keeps its FUSE request, and from then on the kernel lets no signal end it:
the reading thread goes from state S (sleeping) to D when a signal arrives and stays there, even for
SIGKILL, until the server answers. The kernel announces the signal by a FUSE_INTERRUPT request, but
pyfuse3 does not pass it on. So the server looks by itself (proc(5)) and answers EINTR exactly to a
thread that waits in the request and has a signal pending that it does not block or ignore. An EINTR
without need would end `xxd` and `od`.

When it looks: 100 ms after a request was read while others wait, because a FUSE_INTERRUPT is one
such request, again as long as something is unclear, and every second to be safe. An idle mount
without blocked requests never wakes up.

Where it looks (`signals` does): at the thread that opened the file. If that one is gone or does not
wait, the reader is another thread, or a child that inherited the descriptor: then at the threads of
all processes.

A request in which nobody waits is the kernel's own: it reads ahead for posix_fadvise(2) and for a
page of a private mmap(2), into a page that is locked meanwhile, and whoever then needs that page
(write, ftruncate) waits for it beyond any kill. Such a request is answered EINTR, too: the kernel
takes it as a page that it does not have.

What cannot be known:

* Several threads that share one open file: their requests look alike, and the oldest is answered.
  If that was another thread's, its pread fails with EINTR although it had no signal; the right one
  is answered by the next look.
* A program that handles a signal with SA_RESTART sees EINTR all the same, and so does one that was
  stopped (Ctrl-Z) and continued: FUSE has no way to ask for a restart.
* A process whose /proc entries we may not read (another user's, or not dumpable) is not recognised.
"""

from __future__ import annotations

import errno
import logging
import math
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import pyfuse3
import trio

from ..mountinfo import Mounted, mount_at
from .signals import ThreadState, apart, distance, examine, examine_all, glance_at

if TYPE_CHECKING:
    from .workers import Workers

log = logging.getLogger(__name__)

T = TypeVar("T")

LOOK_S: Final = 0.1
"""From a request to the look for signals that follows it, in seconds."""
LOOK_MAX_S: Final = 0.5
"""The same at most, when looks take long because very many requests wait."""
SAFETY_S: Final = 1.0
"""Longest time between two looks while requests wait, in seconds."""
SCAN_S: Final = 2.0
"""Looks pass all processes at least this often, even if all openers wait for us, in seconds."""
ALONE_S: Final = 3.0
"""A request is the kernel's own if for so long no thread was seen that waits in it, in seconds."""
LOOK_SHARE: Final = 10
"""A look that took long is followed by a pause of this many times its own time."""
INLINE_THREADS: Final = 8
"""Up to so many openers are looked at by the loop itself (20 us each), more by a thread."""


@dataclass(slots=True, eq=False)
class Opener:
    """One open file of the mount, from its open to its release, and who opened it."""

    name: str
    """The file's path below the mount point, with a leading slash: `/0.0.0313/io_irq`."""
    tid: int
    """The thread that called open(2), as the server's PID namespace sees it; 0 if it does not."""
    uid: int
    """Its file system user id."""
    nonblock: bool
    """Whether O_NONBLOCK was among the flags of open(2); a later fcntl(2) never reaches us."""


class Waiter:
    """One request that waits. It ends once: by `finish`, by `fail`, or with its session."""

    __slots__ = ("_home", "_line", "_task", "error", "opener", "value")

    def __init__(self, home: BlockedRequests, line: Line, opener: Opener) -> None:
        self._home = home
        self._line = line
        self._task = trio.lowlevel.current_task()
        self.opener = opener
        """Through which open file it came."""
        self.value = 0
        """What it ended with."""
        self.error = 0
        """The errno that it ended with, or 0."""

    def finish(self, value: int = 0) -> None:
        """Let the request go on; its `BlockedRequests.wait` gives *value*."""
        self.value = value
        self._end()

    def fail(self, number: int) -> None:
        """Let the request fail with the errno *number*."""
        self.error = number
        self._end()

    def forget(self) -> None:
        """Take the request off the lists, without waking it."""
        self._home.waiting.pop(self, None)
        self._line.waiters.pop(self, None)

    def _end(self) -> None:
        self.forget()
        trio.lowlevel.reschedule(self._task)
        self._home.yield_soon()


class Line:
    """Requests that wait for the same thing, the oldest first."""

    __slots__ = ("waiters",)

    def __init__(self) -> None:
        self.waiters: dict[Waiter, None] = {}
        """Its requests, in the order in which they came."""

    def __bool__(self) -> bool:
        return bool(self.waiters)

    def first(self) -> Waiter:
        """The request that waits longest; the line must not be empty."""
        return next(iter(self.waiters))

    def finish_all(self) -> None:
        """Let all its requests go on."""
        for waiter in list(self.waiters):
            waiter.finish()

    def fail_all(self, number: int) -> None:
        """Let all its requests fail with the errno *number*."""
        for waiter in list(self.waiters):
            waiter.fail(number)


@dataclass(frozen=True, slots=True)
class BlockedStatistics:
    """What happened so far, and what waits now."""

    waiting: int
    """Requests that wait now."""
    looks: int
    """Looks at the openers' threads."""
    scans: int
    """Looks at all processes."""
    interrupted: int
    """Requests answered with EINTR."""


class BlockedRequests:
    """All requests of a mount that wait. `run` must be running, or no signal ends them."""

    def __init__(self, mountpoint: str, workers: Workers | None = None) -> None:
        """Look for files of what will be mounted at *mountpoint* when `run` begins.

        *workers* tells when a request was read. Without it, or with pyfuse3's own workers, there
        is a look every 100 ms while requests wait.
        """
        self._mountpoint = mountpoint
        self._workers = workers
        self._told = workers is not None and not workers.stock
        self._news = trio.Event()
        self._over = False
        self._threads = trio.CapacityLimiter(1)
        self._looks = self._scans = self._interrupted = 0
        self._pause = LOOK_S
        self._next_scan = 0.0
        self._last_scan = -math.inf
        # Requests in which nobody waited at the last scan, and since when.
        self._alone: dict[Waiter, float] = {}
        self.waiting: dict[Waiter, None] = {}
        """The requests that wait, oldest first. For this file."""

    async def wait(self, opener: Opener, line: Line) -> int:
        """Wait in *line* until the request's `Waiter` is finished; its value.

        Raises `pyfuse3.FUSEError`: EINTR for a signal, ENODEV at the session's end, and whatever
        `Waiter.fail` was given. The caller never waits if the opener has O_NONBLOCK.
        """
        if self._over:
            raise pyfuse3.FUSEError(errno.ENODEV)
        waiter = Waiter(self, line, opener)
        self.waiting[waiter] = line.waiters[waiter] = None
        self._news.set()

        def abort(_: object) -> trio.lowlevel.Abort:
            waiter.forget()
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
        if waiter.error:
            raise pyfuse3.FUSEError(waiter.error)
        return waiter.value

    async def wait_for(self, opener: Opener, work: Callable[[], Awaitable[object]]) -> None:
        """Let a request wait until *work* has returned; OSError of that, or FUSEError as `wait`.

        *work* is cancelled where the request ends before.
        """
        line = Line()
        ended: Exception | None = None

        async def do() -> None:
            nonlocal ended
            try:
                await work()
            except OSError as error:
                ended = error
            line.finish_all()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(do)
            try:
                await self.wait(opener, line)
            except pyfuse3.FUSEError as error:
                ended = error
            nursery.cancel_scope.cancel()
        if ended is not None:
            raise ended

    def shutdown(self) -> None:
        """End all waits with ENODEV, and those that may still come."""
        self._over = True
        for waiter in list(self.waiting):
            waiter.fail(errno.ENODEV)

    def yield_soon(self) -> None:
        """A waiting request was made ready: let it run soon. For this file."""
        if self._workers is not None:
            self._workers.yield_soon()

    def statistics(self) -> BlockedStatistics:
        """What happened so far."""
        return BlockedStatistics(len(self.waiting), self._looks, self._scans, self._interrupted)

    async def run(self) -> None:
        """Look for signals for ever; to be cancelled when the session has ended."""
        own = mount_at(self._mountpoint)
        failed = False
        while True:
            if not self.waiting:
                self._listen(False)
                await self._news.wait()
            elif not self._news.is_set() and self._told:
                with trio.move_on_after(SAFETY_S):
                    await self._news.wait()
            self._news = trio.Event()
            self._listen(True)
            # A thread needs a moment from its FUSE_INTERRUPT to state D.
            await trio.sleep(self._pause)
            try:
                if self.waiting and await self._look(own):
                    self._news.set()
                failed = False
            except Exception:
                # No thread to be had, for instance. Who waits has no other way out: look again.
                self._news.set()
                self._pause = LOOK_MAX_S
                if not failed:
                    log.exception("a look for signals failed; it is tried again")
                failed = True

    def _listen(self, on: bool) -> None:
        if self._workers is not None:
            self._workers.on_request = self._on_request if on else None

    def _on_request(self) -> None:
        self._listen(False)
        self._news.set()

    async def _look(self, own: Mounted) -> bool:
        """Answer EINTR where it is due; whether to look again without further news."""
        started = trio.current_time()
        self._looks += 1
        # What comes while we look is for the next look; what ends meanwhile is left alone.
        known = list(self.waiting)
        waiters: dict[int, list[Waiter]] = {}
        for waiter in known:
            waiters.setdefault(waiter.opener.tid, []).append(waiter)
        if len(waiters) <= INLINE_THREADS:
            glances = glance_at(waiters)
        else:
            glances = await self._in_thread(partial(glance_at, list(waiters)))
        # A thread waits in one request at a time: further ones of the same opener are others'.
        accounted = {
            waiter
            for tid, state in glances.items()
            if state is not ThreadState.ELSEWHERE
            for waiter in waiters[tid][:1]
        }
        readers = {tid for tid, state in glances.items() if state is not ThreadState.ELSEWHERE}
        held = {tid for tid, state in glances.items() if state is ThreadState.HELD}
        unsettled = bool(held)
        if held:
            found = await self._in_thread(partial(examine, held, own))
            threads = {thread.tid: thread for thread in found}
            for tid in held:
                thread = threads.get(tid)
                names = thread.names if thread else ()
                mine = [waiter for waiter in waiters[tid] if waiter.opener.name in names]
                accounted.difference_update(waiters[tid])
                accounted.update(mine[:1])
                mine = [waiter for waiter in mine if waiter in self.waiting]
                if mine and thread and thread.interrupted:
                    self._interrupt(mine[0])
        others = [waiter for waiter in known if waiter not in accounted]
        if others or started - self._last_scan >= SCAN_S:
            if started >= self._next_scan:
                unsettled |= await self._scan(own, others, held, readers)
            else:
                unsettled = True
        cost = trio.current_time() - started
        self._pause = min(max(LOOK_S, LOOK_SHARE * cost), LOOK_MAX_S)
        return unsettled

    async def _scan(
        self,
        own: Mounted,
        waiters: Sequence[Waiter],
        done: Collection[int],
        readers: Collection[int],
    ) -> bool:
        """Look at all processes for those who wait in these requests, except the threads *done*.

        The threads *readers* wait in other requests.
        """
        started = self._last_scan = trio.current_time()
        self._scans += 1
        states = (ThreadState.HELD, ThreadState.WAITING) if waiters else (ThreadState.HELD,)
        threads = await self._in_thread(partial(examine_all, own, states))
        ended = trio.current_time()
        self._next_scan = ended + min(LOOK_SHARE * (ended - started), SAFETY_S)
        unsettled = False
        for thread in threads:
            possible = [
                waiter
                for waiter in waiters
                if waiter in self.waiting and waiter.opener.name in thread.names
            ]
            if possible and thread.tid not in done:
                unsettled |= thread.held
                if thread.interrupted:
                    self._interrupt(min(possible, key=lambda w: distance(w.opener.tid, thread)))
        read = {name for thread in threads if thread.tid not in readers for name in thread.names}
        before, self._alone = self._alone, {}
        for waiter in waiters:
            # An opener whom we do not see may have others wait whom we do not see.
            if waiter in self.waiting and waiter.opener.tid and waiter.opener.name not in read:
                self._alone[waiter] = since = before.get(waiter, started)
                if started - since >= ALONE_S:
                    self._interrupt(waiter)
        return unsettled or bool(self._alone)

    async def _in_thread(self, look: Callable[[], T]) -> T:
        """What *look* gives; the threads of others, and their descriptors, may all be in use."""
        return await trio.to_thread.run_sync(
            apart, look, abandon_on_cancel=True, limiter=self._threads
        )

    def _interrupt(self, waiter: Waiter) -> None:
        self._interrupted += 1
        waiter.fail(errno.EINTR)
