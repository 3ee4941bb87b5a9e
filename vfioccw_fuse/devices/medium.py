"""The file that a device has as its medium, read and written so that nobody waits for another.

What a file system may make us wait for is done by a thread, in a buffer of its own, while the
program is parked (`strand`); what the page cache has, and what tmpfs has, is done at once. Which it
is, is decided when the medium is opened, by its file system, and said by `reads` and `writes`.

A program may be ended while a thread works for it. Of a read nothing is left then: the thread's
buffer goes nowhere. A write cannot be called back: until it has ended, whoever next uses the file
waits, by whatever subchannel, as for a control unit that is busy. A job that never ends costs one
of `MOST_JOBS` threads of its file, and of no other. The descriptor lives until the last job ends,
and with it the lock that keeps other writers away (`locks`).

What was written goes to stable storage as the device's `sync=` says (`Medium.keep`); how, is
`durability`'s matter. A file that others have cut short is not made longer again by a write.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import logging
import os
import stat
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic_ns, perf_counter_ns
from typing import Any, Final, TypeVar
from weakref import WeakValueDictionary

import outcome
import trio

from ..errors import UserError, printable
from ..mountinfo import IN_MEMORY, file_system_says
from ..strand import on_strand, park
from .durability import Ending, FileSystem, failures, fdatasync
from .locks import Hold, Use, hold, identity
from .options import Sync

log = logging.getLogger(__name__)

T = TypeVar("T")

MOST_JOBS: Final = 8
"""Threads that work on one file at a time; who needs another waits until one ends."""
QUICK_WRITE: Final = 64 << 10
"""Bytes of the longest write that is done at once on a disk's file system."""
QUICK_NS: Final = 5_000_000
"""A write that took less, in ns, is a quick one."""
TRUST_NS: Final = 1_000_000_000
"""How long after a quick write the next one may be done at once, in ns."""
READ_AHEAD: Final = 256 << 10
"""Most bytes that a thread reads at once for a program that reads on and on."""
ON_DISK: Final = frozenset({"ext4", "xfs", "btrfs"})
"""File systems of local disks, whose page cache answers for them mostly; ext2 and 3 are ext4."""
LOCKS_AT_ONCE: Final = ON_DISK | IN_MEMORY | {"overlay"}
"""File systems whose locks are the kernel's own; those of a server may have to be waited for."""


class Access(enum.StrEnum):
    """How a medium is read, or written."""

    INLINE = "inline"
    """At once: its file system never waits."""
    NOWAIT = "nowait"
    """What the page cache has at once (RWF_NOWAIT), the rest by a thread."""
    TIMED = "timed"
    """At once if it is short and the last one was quick, else by a thread."""
    THREAD = "thread"
    """By a thread."""


class Job:
    """What a thread does for a program."""

    __slots__ = ("_ended", "medium", "outcome", "writes")

    def __init__(self, medium: Medium, *, writes: bool) -> None:
        self.medium = medium
        """What it works on."""
        self.writes = writes
        """Whether it may change it."""
        self.outcome: outcome.Outcome[Any] | None = None
        """What came of it; None until it has ended."""
        self._ended = trio.Event()

    async def wait(self) -> None:
        """Wait until it has ended."""
        await self._ended.wait()

    def end(self) -> None:
        """It has ended; its `outcome` is there."""
        self._ended.set()


class _Shared:
    """What all have in common who use one file, by whatever name."""

    __slots__ = ("__weakref__", "changes", "jobs", "left_alone", "settled")

    def __init__(self) -> None:
        self.jobs: dict[Job, None] = {}
        self.left_alone: dict[Job, None] = {}
        self.settled: list[Callable[[], None]] = []
        self.changes = 0


_files: WeakValueDictionary[tuple[int, int], _Shared] = WeakValueDictionary()
"""By device and inode: the files that are media, or that a job still works on."""
_entering: Final = threading.Lock()
"""Held by who looks into `_files` and enters a file: media are opened in threads."""
_systems: Final[defaultdict[int, FileSystem]] = defaultdict(FileSystem)
"""By device: who brings what is written there to stable storage."""


class Medium:
    """One file, open. Errors of the file are OSError, as the system call gives them.

    Offsets and lengths are in bytes.
    """

    __slots__ = (
        "_ahead_at", "_closed", "_hold", "_jobs", "_least", "_next", "_quick_until", "_seen",
        "_shared", "_syncing", "_system", "_told", "ahead", "ending", "fd", "locks_at_once",
        "noted", "path", "reads", "size_at_open", "sync", "unsynced", "writes",
    )  # fmt: skip

    def __init__(
        self,
        path: str,
        fd: int,
        *,
        on_disk: bool = True,
        in_memory: bool = False,
        locks_at_once: bool = True,
        held: Hold | None = None,
    ) -> None:
        """Take over *fd*, a regular file or a block device; `Medium.open` knows its file system.

        *held* is its lock, if it has one.
        """
        self.path = path
        """Its name, as it was given."""
        self.fd = fd
        """Its descriptor; -1 when it is closed."""
        self.size_at_open = _size(fd)
        """Its size when it was opened."""
        self.reads = Access.INLINE if in_memory else Access.NOWAIT if on_disk else Access.THREAD
        """How it is read."""
        self.writes = Access.INLINE if in_memory else Access.TIMED if on_disk else Access.THREAD
        """How it is written."""
        self._hold = held
        status = os.fstat(fd)
        self.locks_at_once = locks_at_once
        """Its file system has locks (`ofd`), and one of them needs no waiting."""
        with _entering:
            key = identity(status)
            self._shared = _files.get(key) or _Shared()
            _files[key] = self._shared
        self._quick_until = 0
        self._jobs = 0
        self._closed = False
        self.sync = Sync.END
        """When what was written is brought to stable storage; `keep` sets it."""
        self.unsynced = False
        """It was written since the last fdatasync began. Never, where nothing is to be done."""
        self.noted = in_memory
        """A write needs no `_note`: it is on its way already, or nothing is to be done."""
        self.ending: Ending | None = None
        """What `close` has begun: what was written goes to stable storage."""
        self._system = _systems[status.st_rdev or status.st_dev]
        self._syncing: Job | None = None
        # A file that does not grow and shall not shrink: its least size.
        self._least = 0
        self._told = False
        self.ahead = b""
        """What a thread read last, for the program that runs."""
        # Where it begins, and when that was, by the count of changes.
        self._ahead_at = self._seen = 0
        self._next = -1

    @classmethod
    def open(cls, path: str, flags: int, mode: int = 0o666, *, use: Use | None = None) -> Medium:
        """Open a file or a block device as open(2) does; OSError, or UserError for what is neither.

        UserError, too, if others use it and *use* does not bear that; None: it is not locked, as
        what is only added to. It may wait for its file system: a mount does this in a thread.
        """
        # A pipe, and what else waits for somebody, shall not hold us up.
        fd = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY, mode)
        held = None
        try:
            kind = os.fstat(fd).st_mode
            if stat.S_ISDIR(kind):
                raise UserError(f"{path}: not a file but a directory; name a file")
            if not (stat.S_ISREG(kind) or stat.S_ISBLK(kind)):
                raise UserError(f"{path}: not a file; name a file, or a block device")
            system = file_system_says(fd) if stat.S_ISREG(kind) else ""
            if use is not None:
                held = hold(fd, path, use)
                if use.writes and not held.locked:
                    log.warning(
                        "%s: its file system has no locks, and nothing keeps other programs away; "
                        "let none of them write it",
                        path,
                    )
            return cls(
                path, fd, on_disk=system in ON_DISK, in_memory=system in IN_MEMORY,
                locks_at_once=(held is None or held.locked)
                and (stat.S_ISBLK(kind) or system in LOCKS_AT_ONCE),
                held=held,
            )  # fmt: skip
        except BaseException:
            if held is not None:
                held.end()
            os.close(fd)
            raise

    def keep(self, sync: Sync) -> None:
        """Bring what is written to stable storage when *sync* says; END unless this was called."""
        self.sync = sync
        self.noted |= sync is Sync.NEVER

    def keep_size(self) -> None:
        """The file has its size for good: a write behind the end of a shorter one is an error."""
        self._least = self.size_at_open

    # --- reading ------------------------------------------------------------------------------

    def reads_at_once(self) -> bool:
        """Whether `preadv` may have something; waits if an ended program still writes."""
        if self._shared.left_alone:
            self._settle()
        return self.reads is not Access.THREAD

    def preadv(self, areas: Sequence[memoryview | bytearray], offset: int) -> int:
        """Read into *areas* what can be had without waiting; gives how much, 0 if nothing.

        Only if it `reads_at_once`.
        """
        if self.reads is Access.INLINE:
            return os.preadv(self.fd, areas, offset)
        if self.reads is Access.NOWAIT:
            try:
                return os.preadv(self.fd, areas, offset, os.RWF_NOWAIT)
            except BlockingIOError:
                return 0
            except OSError as error:
                if error.errno != errno.EOPNOTSUPP:
                    raise
                self.reads = Access.THREAD
        return 0

    def read(self, length: int, offset: int) -> bytes:
        """At most *length* bytes from *offset*, fewer at the end of the file; waits if it must."""
        if self.reads_at_once():
            if self.reads is Access.INLINE:
                return os.pread(self.fd, length, offset)
            buffer = bytearray(length)
            if self.preadv([buffer], offset) == length:
                return bytes(buffer)
        return self._read_by_thread(length, offset)

    def read_into(self, buffer: bytearray, offset: int) -> int:
        """Fill *buffer* from *offset*; gives how much, less at the end of the file; waits."""
        done = self.preadv([buffer], offset) if self.reads_at_once() else 0
        if done < len(buffer) and self.reads is not Access.INLINE:
            rest = self._read_by_thread(len(buffer) - done, offset + done)
            buffer[done : done + len(rest)] = rest
            done += len(rest)
        return done

    def _read_by_thread(self, length: int, offset: int) -> bytes:
        """What `read` gives. Who reads on from where he was is given what was read ahead."""
        shared = self._shared
        start = offset - self._ahead_at
        if self._seen == shared.changes and start >= 0 and start + length <= len(self.ahead):
            self._next = offset + length
            return self.ahead[start : start + length]
        more = min(4 * (length + len(self.ahead)), READ_AHEAD) if offset == self._next else 0
        seen = shared.changes
        data = self._by_thread(lambda: _pread(self.fd, max(length, more), offset))
        self.ahead, self._ahead_at, self._seen = data, offset, seen
        self._next = offset + length
        return data[:length]

    def forget(self) -> None:
        """A new program: what was read ahead counts no more, as others may have written."""
        self.ahead = b""
        self._next = -1

    def size(self) -> int:
        """The size of the file as it is now; waits if it must."""
        if self.reads is Access.THREAD:
            return self._by_thread(lambda: _size(self.fd))
        return _size(self.fd)

    # --- writing ------------------------------------------------------------------------------

    def writes_at_once(self, length: int) -> bool:
        """Whether *length* bytes may be written by `pwritev`; waits as `reads_at_once`."""
        if self._shared.left_alone:
            self._settle()
        writes = self.writes
        return writes is Access.INLINE or (
            writes is Access.TIMED and length <= QUICK_WRITE and monotonic_ns() < self._quick_until
        )

    def pwritev(self, areas: Sequence[memoryview | bytes], offset: int) -> int:
        """Write *areas* at *offset* now; gives how much was taken. Only if it `writes_at_once`."""
        if self._least and os.lseek(self.fd, 0, os.SEEK_END) < self._least:
            self._need(offset + sum(map(len, areas)))
        self._shared.changes += 1
        if self.writes is Access.INLINE:
            return os.pwritev(self.fd, areas, offset)
        begin = perf_counter_ns()
        try:
            done = os.pwritev(self.fd, areas, offset)
        finally:
            if not self.noted:
                self._note()
        self._took(perf_counter_ns() - begin)
        return done

    def write(self, data: bytes | bytearray | memoryview, offset: int) -> None:
        """Write all of *data* at *offset*; waits if it must. Some of it may be there after OSError.

        *data* must not change any more.
        """
        if self.writes_at_once(len(data)):
            self._shared.changes += 1
            try:
                self._took(self._pwrite(data, offset))
            finally:
                if not self.noted:
                    self._note()
        else:
            self._took(self._by_thread(lambda: self._pwrite(data, offset), writes=True))

    def _pwrite(self, data: bytes | bytearray | memoryview, offset: int) -> int:
        """Write all of *data*; gives how long it took, in ns. In a thread or not."""
        begin = perf_counter_ns()
        if self._least and os.lseek(self.fd, 0, os.SEEK_END) < self._least:
            self._need(offset + len(data))
        _pwrite(self.fd, data, offset)
        return perf_counter_ns() - begin

    def _need(self, end: int) -> None:
        """EIO unless the file, which is shorter than it was, reaches up to *end*."""
        if _size(self.fd) < end:
            self.tell_cut()
            raise OSError(errno.EIO, "the file is shorter than it was")

    def tell_cut(self) -> None:
        """Somebody has cut the file: a line in the log, once."""
        if not self._told:
            self._told = True
            log.error(
                "%s: another program has cut it short; what is missing is an equipment check; "
                "unmount, and restore it",
                printable(self.path),
            )

    def _took(self, ns: int) -> None:
        """A write took so long."""
        self._quick_until = monotonic_ns() + TRUST_NS if ns < QUICK_NS else 0

    def append(self, data: bytes) -> int:
        """Add *data* to a file that is open for appending; gives how much was taken; may wait."""
        if self.writes_at_once(len(data)):
            try:
                return os.write(self.fd, data)
            finally:
                if not self.noted:
                    self._note()
        return self._by_thread(lambda: os.write(self.fd, data), writes=True)

    def truncate(self, size: int) -> None:
        """Cut the file, or make it longer; waits if it must."""
        if self.writes is Access.INLINE:
            os.ftruncate(self.fd, size)
        else:
            self._by_thread(lambda: os.ftruncate(self.fd, size), writes=True)

    # --- stable storage -----------------------------------------------------------------------

    def _note(self) -> None:
        """It was written, this moment: that comes behind each write, not before it."""
        self.noted = self.unsynced = True
        if self.sync is Sync.END:
            self._system.note(self)

    def secure(self) -> None:
        """Wait until what was written is on stable storage; OSError if it is not.

        Of a file with `sync=never` and of one that is in memory alone that is never asked.
        """
        while self._syncing is not None and on_strand():
            # It may be about what was written here, too.
            job = self._syncing
            park(job)
            if isinstance(job.outcome, outcome.Error):
                raise job.outcome.error
        if self.unsynced:
            self._by_thread(partial(fdatasync, self.path, self.fd), syncs=True)

    async def secured(self) -> None:
        """As `secure`, for a task of the loop. Of a closed file, until its end is over."""
        if self._syncing is not None:
            # It may have begun before what the caller means was written.
            await _outcome_of(self._syncing)
        if self._closed:
            if self.ending is not None:
                await self.ending.wait()
                if self.path in failures:
                    raise OSError(errno.EIO, failures[self.path])
            return
        if self.unsynced and self._syncing is None:
            self._start(partial(fdatasync, self.path, self.fd), syncs=True)
        if self._syncing is not None:
            await _outcome_of(self._syncing)

    # --- threads ------------------------------------------------------------------------------

    def _by_thread(self, work: Callable[[], T], *, writes: bool = False, syncs: bool = False) -> T:
        """What *work* gives, done by a thread while the program waits; at once off a strand.

        *writes*: it may change the file; *syncs*: it is fdatasync.
        """
        shared = self._shared
        if not on_strand():
            if syncs:
                self.unsynced = self.noted = False
            try:
                return work()
            finally:
                if writes:
                    shared.changes += 1
                    if not self.noted:
                        self._note()
        while shared.left_alone or len(shared.jobs) >= MOST_JOBS:
            park(next(iter(shared.left_alone or shared.jobs)))
        if self._closed:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        job = self._start(work, writes=writes, syncs=syncs)
        try:
            park(job)
        except BaseException:
            # The program was ended. What it wrote is on its way all the same.
            if writes and job in shared.jobs:
                shared.left_alone[job] = None
            raise
        assert job.outcome is not None
        result: T = job.outcome.unwrap()
        return result

    def _start(
        self, work: Callable[[], object], *, writes: bool = False, syncs: bool = False
    ) -> Job:
        """Begin *work* in a thread; RuntimeError if there is none to be had."""
        job = Job(self, writes=writes)
        self._shared.jobs[job] = None
        self._jobs += 1
        if syncs:
            # What is written from now on is for the next one.
            self._syncing = job
            self.unsynced = self.noted = False
        token = trio.lowlevel.current_trio_token()

        def deliver(result: outcome.Outcome[object]) -> None:
            job.outcome = result
            # At the loop's end nobody is left who could want it.
            with contextlib.suppress(trio.RunFinishedError):
                token.run_sync_soon(self._ended, job)

        try:
            trio.lowlevel.start_thread_soon(work, deliver, f"medium {self.path}")
        except BaseException:
            self.unsynced |= syncs
            self._ended(job)
            raise
        return job

    def _settle(self) -> None:
        """Wait for the writes of programs that have been ended."""
        left_alone = self._shared.left_alone
        while left_alone and on_strand():
            park(next(iter(left_alone)))

    def once_settled(self, call: Callable[[], None]) -> None:
        """Call *call* as soon as no program that has been ended writes any more: now, mostly."""
        if self._shared.left_alone:
            self._shared.settled.append(call)
        else:
            call()

    def _ended(self, job: Job) -> None:
        shared = self._shared
        del shared.jobs[job]
        shared.left_alone.pop(job, None)
        if shared.settled and not shared.left_alone:
            settled, shared.settled = shared.settled, []
            for call in settled:
                call()
        if job.writes:
            # What was read meanwhile may be from before it.
            shared.changes += 1
            if not self.noted:
                self._note()
        elif job is self._syncing:
            self._syncing = None
        job.end()
        self._jobs -= 1
        if self._closed and not self._jobs:
            self._let_go()

    def close(self) -> None:
        """Close the file, once the last job has ended; waits for nothing. Again: nothing.

        What was written goes to stable storage before: `ending`.
        """
        if not self._closed:
            self._closed = True
            if self._hold is not None:
                self._hold.will_end()
            if not self._jobs:
                self._let_go()
            elif self.unsynced or self._syncing is not None:
                # The jobs may never end; what has ended goes to stable storage all the same.
                self.unsynced = False
                self.ending = self._system.end(self.path, os.dup(self.fd), os.close)

    def _let_go(self) -> None:
        fd, self.fd = self.fd, -1
        if self.unsynced:
            self.unsynced = False
            if self._hold is not None and self.writes is not Access.THREAD:
                # Who attaches it next need not wait for the end: all see what was written.
                self._hold.end()
            self.ending = self._system.end(self.path, fd, self._close)
        elif self.writes is Access.THREAD:
            # close(2) may write out what is left.
            trio.lowlevel.start_thread_soon(lambda: self._close(fd), lambda _: None, "close")
        else:
            self._close(fd)

    def _close(self, fd: int) -> None:
        if self._hold is not None:
            self._hold.end()
        os.close(fd)


def _size(fd: int) -> int:
    """Bytes of a file or a block device; a write that goes on does not hold it up."""
    status = os.fstat(fd)
    return status.st_size if stat.S_ISREG(status.st_mode) else os.lseek(fd, 0, os.SEEK_END)


def _pread(fd: int, length: int, offset: int) -> bytes:
    """All of *length* bytes but for the end of the file."""
    parts = []
    while length:
        part = os.pread(fd, length, offset)
        if not part:
            break
        parts.append(part)
        offset += len(part)
        length -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _pwrite(fd: int, data: bytes | bytearray | memoryview, offset: int) -> None:
    """All of *data*: what a signal or a full disk cut short is tried again, and says why."""
    done = os.pwrite(fd, data, offset)
    while done < len(data):
        done += os.pwrite(fd, memoryview(data)[done:], offset + done)


async def _outcome_of(job: Job) -> None:
    """Wait for *job*, which others may wait for; raises what it raised."""
    await job.wait()
    if isinstance(job.outcome, outcome.Error):
        raise job.outcome.error
