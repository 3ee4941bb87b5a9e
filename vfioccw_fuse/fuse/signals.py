"""Who of the waiting threads has a signal: what /proc says of them (proc(5)).

A thread that waits in a FUSE request is in state S, and in state D once a signal came for it. Where
we look: at a thread, at the threads of all processes, and for those held in a request at which
files they have open, by the mount's number in /proc/PID/fdinfo and by readlink(2) on /proc/PID/fd:
a stat(2) there would be a request to ourselves.

Nothing here knows a request. All but `glance_at` runs in a thread of its own: /proc/TID/syscall
waits for an execve(2) there, which may wait for us to answer its close(2). `apart` gives that
thread its own descriptors, too: clients can use up all that this process may have, and yet their
readers must be killable.
"""

from __future__ import annotations

import contextlib
import ctypes
import enum
import os
import signal
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from ..mountinfo import Mounted, mounted

T = TypeVar("T")

_CLOSE_RANGE_UNSHARE: Final = 1 << 1  # linux/close_range.h


class ThreadState(enum.Enum):
    """What a thread is doing, as far as it matters here."""

    ELSEWHERE = enum.auto()
    """Gone, running, or waiting for something that is not a FUSE server."""
    WAITING = enum.auto()
    """Waiting in a request, and no signal came."""
    HELD = enum.auto()
    """Waiting in a request, in state D: a signal came, or something that feels like one."""


@dataclass(frozen=True, slots=True)
class InRequest:
    """A thread that waits in a request, `ThreadState.WAITING` or `HELD`."""

    tid: int
    """Its id."""
    pid: int
    """The id of its process."""
    names: frozenset[str]
    """Which of our files it may be waiting in; not empty."""
    held: bool
    """Whether it is in state `ThreadState.HELD`."""
    interrupted: bool
    """Whether it is, and has a signal to deliver."""


_DEFAULT_IGNORED: Final = sum(
    1 << (number - 1) for number in (signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH)
)
"""Signals that do nothing unless they are caught (signal(7)), as bits of /proc's masks."""


def apart(look: Callable[[], T]) -> T:
    """What *look* gives, by a thread that has no open files but the first three, and room for more.

    The limit of open files counts the entries of a descriptor table; this one is the thread's own.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            # Linux 5.9, glibc 2.34; with older ones it shares our table, and sees what fits.
            with contextlib.suppress(AttributeError):
                first, last, flags = (ctypes.c_uint(n) for n in (3, ~0, _CLOSE_RANGE_UNSHARE))
                ctypes.CDLL(None).close_range(first, last, flags)
            results.append(look())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="look for signals", daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def glance_at(tids: Iterable[int]) -> dict[int, ThreadState]:
    """What these threads are doing."""
    return {tid: _state(_read(f"/proc/{tid}/status"), tid) for tid in tids}


def examine(
    tids: Iterable[int], own: Mounted, states: Collection[ThreadState] = (ThreadState.HELD,)
) -> list[InRequest]:
    """Those of the threads that wait so in a request to a file of our mount *own*."""
    found = []
    for tid in tids:
        status = _read(f"/proc/{tid}/status")
        state = _state(status, tid)
        if state in states and (names := _names(tid, own)):
            pid = int(_field(status, b"Tgid"))
            held = state is ThreadState.HELD
            interrupted = held and (bool(deliverable(status)) or _stopping(pid))
            found.append(InRequest(tid, pid, names, held, interrupted))
    return found


def examine_all(own: Mounted, states: Collection[ThreadState]) -> list[InRequest]:
    """The same for all threads of all processes but our own."""
    ourselves = str(os.getpid())
    pids = [entry for entry in _listdir("/proc") if entry.isdecimal() and entry != ourselves]
    tids = (int(tid) for pid in pids for tid in _listdir(f"/proc/{pid}/task"))
    return examine(tids, own, states)


def _state(status: bytes, tid: int) -> ThreadState:
    """What the thread *tid* is doing, by its /proc/TID/status."""
    letter = _field(status, b"State")[:1]
    if letter not in (b"S", b"D"):
        return ThreadState.ELSEWHERE
    # Where it sleeps; the kernel may be built without telling.
    place = _read(f"/proc/{tid}/wchan")
    if place not in (b"", b"0") and b"request_wait_answer" not in place and b"fuse" not in place:
        return ThreadState.ELSEWHERE
    return ThreadState.WAITING if letter == b"S" else ThreadState.HELD


def deliverable(status: bytes) -> int:
    """The pending signals that would be delivered, from a /proc/TID/status."""
    pending, shared, blocked, ignored, caught = (
        int(_field(status, name) or b"0", 16)
        for name in (b"SigPnd", b"ShdPnd", b"SigBlk", b"SigIgn", b"SigCgt")
    )
    # A tracer makes even ignored signals pending; they interrupt nothing.
    return (pending | shared) & ~blocked & ~ignored & ~(_DEFAULT_IGNORED & ~caught)


def _stopping(pid: int) -> bool:
    """Whether the process stops (Ctrl-Z) and waits for its last threads to do so too.

    The stop signal was then taken by another thread, and is no longer pending.
    """
    states = (
        _field(_read(f"/proc/{pid}/task/{tid}/status"), b"State")[:1]
        for tid in _listdir(f"/proc/{pid}/task")
    )
    return b"T" in states


def _names(tid: int, own: Mounted) -> frozenset[str]:
    """The files of *own* that the thread may be waiting in, as paths below its mount point."""
    # Bound elsewhere, or in another mount namespace, a mount has another number.
    mounts = {own.id: own}
    with contextlib.suppress(OSError):
        mounts |= {mount.id: mount for mount in mounted(tid) if mount.device == own.device}
    # The descriptor is the first argument of every read call, and sendfile's second.
    for argument in _read(f"/proc/{tid}/syscall").split()[1:3]:
        name = _name(tid, str(int(argument, 16)), mounts)
        if name is not None:
            return frozenset((name,))
    names = (_name(tid, fd, mounts) for fd in _listdir(f"/proc/{tid}/fd"))
    return frozenset(name for name in names if name is not None)


def _name(tid: int, fd: str, mounts: Mapping[int, Mounted]) -> str | None:
    """Which of our files the descriptor *fd* of a thread is, if it came by one of the *mounts*."""
    number = _field(_read(f"/proc/{tid}/fdinfo/{fd}"), b"mnt_id")
    mount = mounts.get(int(number)) if number else None
    if mount is None:
        return None
    try:
        path = os.readlink(f"/proc/{tid}/fd/{fd}")
    except OSError:
        return None
    # A lazy unmount (`umount -l`) takes the mount point away from the paths of open files.
    _, found, rest = path.partition(mount.point.rstrip("/") + "/")
    return mount.root.rstrip("/") + (f"/{rest}" if found else path)


def distance(opener: int, thread: InRequest) -> int:
    """How far a reading thread is from the *opener*'s: the same, of the same process, another."""
    if opener == thread.tid:
        return 0
    return 1 if os.path.exists(f"/proc/{thread.pid}/task/{opener}") else 2


def _field(status: bytes, name: bytes) -> bytes:
    """The value of a line of /proc/TID/status; empty if it is not there."""
    start = status.find(b"\n" + name + b":")
    if start < 0:
        return b""
    start += len(name) + 2
    return status[start : status.find(b"\n", start)].strip()


def _read(path: str) -> bytes:
    """A file of /proc; empty if it cannot be read, because the thread is gone or another user's."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(fd, 8192)
    except OSError:
        return b""
    finally:
        os.close(fd)


def _listdir(path: str) -> Sequence[str]:
    """A directory of /proc; empty if it cannot be read."""
    try:
        return os.listdir(path)
    except OSError:
        return ()
