"""The session loop's workers, handed over cheaply.

pyfuse3 serves each request in one of several tasks ("workers"). Between two requests a worker
takes a `trio.Lock` and waits in `trio.lowlevel.wait_readable`: two turns of the trio loop, 31 to
40 us, where asking the kernel by poll(2) costs one. pyfuse3 looks the name `trio` up in its own
module while it runs, which is how `pyfuse3.asyncio` replaces it. `Workers` uses that hook and puts
there

* a wait that asks poll(2) first and goes through the loop only when nothing is ready, when other
  tasks asked for a turn, and for every 16th request. While requests come less than 0.5 ms apart it
  goes on asking and does not sleep: to wake a sleeping core takes 30 to 50 us, twice for each
  program of a guest that reads block after block. Where there are no more than two processors it
  may be better to sleep once a program has ended, for a QEMU needs one to learn of that and its
  guest has the other: both is tried,
* a lock that the worker which has just replied takes again at once. The worker next in line runs
  when a handler really waits: `_drive` sees that, because every wait passes through its hands,
* a nursery that starts a worker anew whose request was gone before it was read.

None of this is documented API of pyfuse3, so its version is pinned. `VFIOCCW_STOCK_WORKERS=1` in
the environment leaves pyfuse3 as it is, for comparison and in case of doubt.
"""

from __future__ import annotations

import logging
import os
import select
import time
import types
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass
from typing import Any, Final

import pyfuse3
import trio

from .splice import CAP_SYS_RESOURCE, switch_capability

log = logging.getLogger(__name__)

MAX_TASKS: Final = 1_000_000
"""Workers at most. Each blocked read holds one, so this must never be what stops the mount."""
INLINE_MAX: Final = 15
"""Requests served in a row before the trio loop gets a turn."""
SPIN_NS: Final = 500_000
"""How long to ask for the next request before sleeping, in ns, if the last one came within that: an
emulated guest computes for a good half of it between two programs."""
SPIN_TURNS: Final = 16
"""How often to ask between two looks at what else there is to do, and at the clock."""
FEW_PROCESSORS: Final = 2
"""With so many a client may need ours to wake up."""
TRIED, KEPT = 64, 1024
"""How often a way to wait is tried, and how often the better one is then kept."""
CROWDED_NS: Final = 200_000
"""Others want this processor if those took so long, in ns: alone they take a tenth."""
CROWDED_FOR_NS: Final = 50_000_000
"""How long they have it then: so long nobody asks and asks, in ns."""
STOP_GRACE_S: Final = 1.0
"""How long handlers may go on after `Workers.stop` before they are cancelled, in seconds."""
STOCK_SWITCH: Final = "VFIOCCW_STOCK_WORKERS"
"""Environment variable; `1` leaves pyfuse3's own workers in place.

A session that the kernel cuts off (umount -f) then does not end while handlers wait.
"""

_JOB_FAILED: Final = "what was left to do after a reply failed"

Job = Callable[[], object]
"""What `Workers.after_reply` takes."""


@dataclass(frozen=True, slots=True)
class WorkersStatistics:
    """What the workers did so far; all zero but `stock` with pyfuse3's own workers."""

    stock: bool
    """Whether pyfuse3's own workers serve the mount."""
    inline: int
    """Requests served without a turn of the trio loop before them; at most 15/16 of all."""
    turns: int
    """Requests before which the trio loop had a turn."""
    waits: int
    """Those turns that waited for a request with epoll, because none was there."""
    vanished: int
    """Requests that were gone before they were read (their client was killed)."""
    jobs: int
    """Functions run after a reply."""


class Workers:
    """Runs a pyfuse3 session, after `pyfuse3.init`; one at a time in a process, as pyfuse3 is."""

    def __init__(self, *, stock: bool | None = None) -> None:
        self.stock = os.environ.get(STOCK_SWITCH) == "1" if stock is None else stock
        """Whether pyfuse3's own workers are left in place."""
        self._at_end: list[Job] = []
        self._ended = False
        self._nursery: trio.Nursery | None = None
        self._scope = trio.CancelScope()
        self._facade = _Facade(self)
        self.on_request: Job | None = None
        """Called when a request is there to be read. `blocked` sets it while it has to know."""

    def after_reply(self, job: Job) -> None:
        """Run *job* right after the reply to the request being handled was sent.

        It runs before the next request is read and costs no turn of the loop; several run in the
        order of their calls. It must not wait. An exception in it is a line in the log, and
        the others run. Called from elsewhere than a request's handler, or with pyfuse3's own
        workers, it runs at the loop's next turn: after the reply too, unless the handler waits.
        """
        if self._facade.handling:
            self._facade.jobs.append(job)
        elif self._nursery is None:
            raise RuntimeError("after_reply() needs a running session")
        else:
            self._nursery.start_soon(_run_job, job)

    def yield_soon(self) -> None:
        """Let the loop have a turn before the next request: a task was made ready to run."""
        self._facade.inline = INLINE_MAX

    def at_end(self, job: Job) -> None:
        """Run *job* once when the session ends, by `stop` or because the kernel closed it.

        Handlers that wait must be made to return by it: the session goes on until they have.
        """
        self._at_end.append(job)

    async def run_session(self, max_tasks: int = MAX_TASKS) -> None:
        """Serve requests until `stop`, or until the file system was unmounted.

        When this returns, every request that was read has been answered; `pyfuse3.close` then
        detaches the mount. An exception in a handler comes out of here: nobody has answered its
        request, and pyfuse3 does not say which one that is.
        """
        if not self.stock:
            pyfuse3.trio = self._facade  # type: ignore[attr-defined]  # the hook, see above
        try:
            with self._scope:
                async with trio.open_nursery() as self._nursery:
                    await pyfuse3.main(max_tasks=max_tasks)
                    self.session_ended()
        finally:
            self._facade.return_capability()
            self._nursery = None
            pyfuse3.trio = trio  # type: ignore[attr-defined]
            self.session_ended()

    def stop(self) -> None:
        """End the session: waiting handlers are ended (see `at_end`), and `run_session` returns."""
        self.session_ended()
        pyfuse3.terminate()
        self._scope.deadline = trio.current_time() + STOP_GRACE_S

    def statistics(self) -> WorkersStatistics:
        """What happened so far."""
        facade = self._facade
        return WorkersStatistics(
            self.stock,
            facade.served_inline,
            facade.turns,
            facade.waits,
            facade.vanished,
            facade.ran,
        )

    def session_ended(self) -> None:
        """Run what `at_end` took, once. For this file: the session is over or about to be."""
        if not self._ended:
            self._ended = True
            for job in self._at_end:
                job()


async def _run_job(job: Job) -> None:
    try:
        job()
    except Exception:
        log.exception(_JOB_FAILED)


class Leaving:
    """Whether to leave the processor to a client that has just been told of something.

    Both is tried in turn, and what made requests come faster is kept for a while.
    """

    __slots__ = ("_began", "_better", "_left", "_took", "_trying")

    def __init__(self) -> None:
        self._trying: bool | None = True  # None: no trial, the better way is kept
        self._better = True
        self._left = TRIED
        self._began = 0
        self._took = 0  # by the first trial, in which the processor is left

    def decide(self, now: int) -> bool:
        """Whether to leave it this time; *now* in ns."""
        self._began = self._began or now
        self._left -= 1
        if not self._left:
            took, self._began = now - self._began, now
            if self._trying is None:
                self._trying, self._left = True, TRIED
            elif self._trying:
                self._trying, self._left, self._took = False, TRIED, took
            else:
                self._trying, self._left, self._better = None, KEPT, self._took <= took
        return self._better if self._trying is None else self._trying


class _Facade:
    """What pyfuse3 finds under the name `trio` while a session of `Workers` runs.

    It offers exactly the names that pyfuse3 3.5.0 uses, and is its own `trio.lowlevel`.
    """

    ClosedResourceError = trio.ClosedResourceError
    current_task = staticmethod(trio.lowlevel.current_task)
    current_trio_token = staticmethod(trio.lowlevel.current_trio_token)

    def __init__(self, workers: Workers) -> None:
        self.workers = workers
        self.lowlevel = self
        self.jobs: deque[Job] = deque()
        self.handling = False  # a request was read, its reply was not sent, its handler is running
        self.running: object = None  # the worker whose code runs now
        self.holder: object = None  # the worker that holds the lock
        self.parked = trio.lowlevel.ParkingLot()  # the workers that wait for the lock
        self.woken = False  # one of them was made ready and did not run yet
        self.closing = False
        self.poll = select.poll()  # on the session's descriptor
        self.starting = 3  # how many of the first waits are still special, see start()
        self.capability_lent = False
        self.inline = 0  # requests served since the loop had its last turn
        self.lively = False  # the last request came soon: so may the next
        self.asked_since = 0  # since when it was asked in vain for the next; 0: it was not
        self.crowded_until = 0  # before that nobody asks and asks
        self.few = len(os.sched_getaffinity(0)) <= FEW_PROCESSORS
        self.told = False  # what was done after the last reply may have woken a client
        self.leaving = Leaving()  # whether the processor is left to it
        self.served_inline = 0
        self.turns = 0
        self.waits = 0
        self.vanished = 0
        self.ran = 0

    def Lock(self) -> _Lock:
        """The lock that the one worker holds which waits for the next request."""
        return _Lock(self)

    def open_nursery(self) -> _Nursery:
        """The nursery of the workers."""
        return _Nursery(self)

    def notify_closing(self, fd: int) -> None:
        """Wake the worker that waits for *fd*, with `trio.ClosedResourceError`."""
        self.closing = True
        trio.lowlevel.notify_closing(fd)

    async def wait_readable(self, fd: int) -> None:
        """Return when a request can be read from *fd*, the session's descriptor."""
        if self.starting:
            self.start(fd)
        poll = self.poll
        turn = self.inline >= INLINE_MAX
        if turn:
            await trio.lowlevel.checkpoint()
        if not poll.poll(0) and not self.next_is_near(poll):
            turn = True
            self.waits += 1
            began, self.asked_since = self.asked_since or time.perf_counter_ns(), 0
            await trio.lowlevel.wait_readable(fd)
            self.lively = time.perf_counter_ns() - began < SPIN_NS
        if turn:
            self.inline = 0
            self.turns += 1
        else:
            self.inline += 1
            self.served_inline += 1
        if self.closing:
            raise trio.ClosedResourceError
        if self.workers.on_request is not None:
            self.workers.on_request()

    def start(self, fd: int) -> None:
        """Prepare the first waits for a request."""
        self.starting -= 1
        if self.starting == 2:
            # A request may be gone between poll and read: the read must not block the process.
            os.set_blocking(fd, False)
            self.poll.register(fd, select.POLLIN)
            # The first request is FUSE_INIT; reading the second, libfuse decides on splice.
            self.capability_lent = switch_capability(CAP_SYS_RESOURCE, False)
        elif self.starting == 0:
            self.return_capability()

    def return_capability(self) -> None:
        """Put back what `start` took away."""
        if self.capability_lent:
            self.capability_lent = False
            switch_capability(CAP_SYS_RESOURCE, True)

    def next_is_near(self, poll: select.poll) -> bool:
        """Keep the processor for the next request; False if none came or there is other work."""
        told, self.told = self.told, False
        if not self.lively:
            return False
        # The client may need this very processor.
        os.sched_yield()
        if poll.poll(0):
            return True
        began = now = time.perf_counter_ns()
        if now < self.crowded_until or (told and self.few and self.leaving.decide(now)):
            return False
        while now - began < SPIN_NS:
            seen = trio.lowlevel.current_statistics()
            # What a thread has done, a timer that is due, a program's turn: the loop's business.
            if seen.tasks_runnable or seen.run_sync_soon_queue_size:
                return False
            if seen.seconds_to_next_deadline <= 0:
                return False
            for _ in range(SPIN_TURNS):
                os.sched_yield()
                if poll.poll(0):
                    return True
            before, now = now, time.perf_counter_ns()
            if now - before > CROWDED_NS:
                self.crowded_until = now + CROWDED_FOR_NS
                return False
        self.lively = False
        self.asked_since = began
        return False

    def run_jobs(self) -> None:
        """Run what `Workers.after_reply` queued."""
        self.told = True
        while self.jobs:
            self.ran += 1
            try:
                self.jobs.popleft()()
            except Exception:
                log.exception(_JOB_FAILED)

    def wake_next(self) -> None:
        """Nobody waits for requests: let the worker next in line do it."""
        if self.holder is None and not self.woken and self.parked:
            self.woken = True
            self.parked.unpark()

    async def work(self, loop: Callable[..., Coroutine[Any, Any, None]], *args: object) -> None:
        """Be one worker: run pyfuse3's session loop, again if a request vanished under it."""
        while True:
            try:
                await _drive(self, loop(*args))
                break
            except (BlockingIOError, ConnectionAbortedError) as error:
                # A handler's error looks the same but for its text.
                if not str(error.strerror).startswith("fuse_session_receive_buf"):
                    raise
                # ECONNABORTED: the session was ended while it was being read (fuse_dev_do_read of
                # fs/fuse/dev.c). The next read says so, and this worker wakes the others then.
                self.vanished += 1
        # The session's end by the kernel shows as POLLERR; waiting handlers must learn of it.
        if any(events & select.POLLERR for _, events in self.poll.poll(0)):
            self.workers.session_ended()


@types.coroutine
def _drive(facade: _Facade, coroutine: Coroutine[Any, Any, None]) -> Generator[Any, Any, None]:
    """Run a worker's coroutine as `await` does, and see each time it waits.

    A worker that waits without holding the lock is in a handler that waits: then another worker
    must take over. What the handler left to do after its reply waits with it.
    """
    worker = object()
    step, value = coroutine.send, None
    while True:
        facade.running = worker
        try:
            trap = step(value)
        except StopIteration:
            break
        handling, facade.handling = facade.handling, False
        jobs, facade.jobs = facade.jobs, deque()
        facade.wake_next()
        try:
            value = yield trap
            step = coroutine.send
        except BaseException as error:
            value, step = error, coroutine.throw
        facade.handling, facade.jobs = handling, jobs
    facade.handling = False
    facade.run_jobs()
    facade.wake_next()


class _Lock:
    """The lock around the wait for the next request; first come first served, unless one retakes.

    Its release wakes nobody: the worker that releases it takes it again after its request, and if
    it has to wait before that, `_drive` wakes the next.
    """

    def __init__(self, facade: _Facade) -> None:
        self._facade = facade

    async def __aenter__(self) -> None:
        facade = self._facade
        # The last request of this worker has been answered.
        facade.handling = False
        if facade.jobs:
            facade.run_jobs()
        while facade.holder is not None:
            await facade.parked.park()
            facade.woken = False
        facade.holder = facade.running

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._facade.holder = None
        self._facade.handling = kind is None


class _Nursery:
    """The nursery that pyfuse3 starts its workers in: each is run by `_Facade.work`."""

    def __init__(self, facade: _Facade) -> None:
        self._facade = facade
        self._manager = trio.open_nursery()

    async def __aenter__(self) -> _Nursery:
        self._nursery = await self._manager.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> bool | None:
        return await self._manager.__aexit__(*error)

    def start_soon(
        self, loop: Callable[..., Coroutine[Any, Any, None]], *args: object, name: str
    ) -> None:
        """Start a worker that runs pyfuse3's session loop."""
        self._nursery.start_soon(self._facade.work, loop, *args, name=name)
