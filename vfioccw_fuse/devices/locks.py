"""One writer for each medium: who uses a file, and who may use it beside.

Between programs it is said by open-file-description locks, in the bytes in which QEMU's raw driver
says it (block/file-posix.c; its images are ours): for each thing that is done with a file a read
lock on byte 100 + n, for each that nobody else may do on byte 200 + n. Then it is looked whether
others do what they may not, or forbid what is done. Read locks keep nobody from locking: who comes
later sees them and goes. They end with the process that has the file open, however it ends.

Within a process the same is said by a list, by device and inode, which holds on a file system
without locks, too, and for a block device by whatever node.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import os
import re
import stat
import threading
from collections.abc import Collection, Iterable, Iterator
from typing import Final

from .. import ofd
from ..errors import UserError

READS: Final = 0
"""The file is read, and what is read counts (QEMU: consistent read)."""
WRITES: Final = 1
"""The file is written."""
DONE: Final = 100
"""Byte of the lock that says that the first of these is done."""
KEPT: Final = 200
"""Byte of the lock that says that nobody else may do the first of these."""
_FIRST, _LAST = DONE + READS, KEPT + WRITES
_NO_LOCKS: Final = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})
"""What a file system that has no locks answers."""
_LOCK: Final = re.compile(r"lock:\t\d+: (?:OFDLCK|POSIX) .* (\S+:\S+:\d+) (\d+) (\d+|EOF)")
"""A line of /proc/PID/fdinfo/FD: device and inode, first and last byte (proc(5))."""


class Use(enum.Enum):
    """What is done with a medium, and what others may not do meanwhile."""

    does: frozenset[int]
    """What is done."""
    keeps: frozenset[int]
    """What nobody else may do."""
    remedy: str
    """What helps who is refused."""

    def __new__(cls, word: str, does: tuple[int, ...], keeps: tuple[int, ...], remedy: str) -> Use:
        """A use of that value."""
        use = object.__new__(cls)
        use._value_ = word
        use.does, use.keeps, use.remedy = frozenset(does), frozenset(keeps), remedy
        return use

    READ = "read", (READS,), (), "wait for its end"
    """Read, whoever writes it."""
    COPY = "copy", (READS,), (WRITES,), "end that first, or name a copy"
    """Read as a whole: what others write meanwhile would be in part of it."""
    SHARE = "share", (READS, WRITES), (), "end that first, or attach it with readonly"
    """Written, as others may who let us."""
    WRITE = "write", (READS, WRITES), (WRITES,), "end that first, or attach it with readonly"
    """Written, by us alone."""
    REPLACE = "replace", (READS, WRITES), (READS, WRITES), "end that first, or name another file"
    """Made anew: what others read would be nonsense."""

    @classmethod
    def of(cls, *, readonly: bool, shared: bool = False) -> Use:
        """The use by a device with these options; who only reads shares anyhow."""
        return cls.READ if readonly else cls.SHARE if shared else cls.WRITE

    @property
    def writes(self) -> bool:
        """The file is written."""
        return WRITES in self.does

    @property
    def flags(self) -> int:
        """For open(2)."""
        return os.O_RDWR if self.writes else os.O_RDONLY

    def bears(self, other: Use) -> bool:
        """Whether both may be at a time."""
        return not (self.keeps & other.does or other.keeps & self.does)


class Hold:
    """A file in use, from `hold` to `end`."""

    __slots__ = ("_ending", "_fd", "_unlocking", "key", "locked", "path", "use")

    def __init__(self, fd: int, path: str, use: Use) -> None:
        self.path = path
        """Its name."""
        self.use = use
        """What is done with it."""
        self.locked = True
        """Other programs are told; False on a file system without locks."""
        self.key = identity(os.fstat(fd))
        """Which file it is."""
        self._fd = fd
        self._ending = False
        self._unlocking = threading.Lock()

    def admit(self) -> list[Hold]:
        """Be entered in the list; UserError if there is one that cannot be borne.

        Gives those that are about to end, and would be in the way only by their locks.
        """
        with _entering:
            others = [o for o in _holds.get(self.key, ()) if not self.use.bears(o.use)]
            for other in others:
                if not other._ending:
                    named = "" if other.path == self.path else f", as {other.path}"
                    raise UserError(
                        f"{self.path}: in use by another device{named}; "
                        "attach a copy of it, or one of them with readonly"
                    )
            _holds.setdefault(self.key, []).append(self)
            return others

    def will_end(self) -> None:
        """The device has gone; what it has begun to write may still be under way.

        Another one of this process has to wait for that anyhow, so it is not refused any more.
        """
        with _entering:
            self._ending = True

    def unlock(self) -> None:
        """Give the locks back before the file is closed; it may wait for a file system."""
        with self._unlocking:
            if self._fd >= 0 and self.locked:
                with contextlib.suppress(OSError):
                    ofd.give_back(self._fd, _FIRST, _LAST - _FIRST + 1)

    def end(self) -> None:
        """The file is to be closed now; it may wait for a file system. Again: nothing."""
        self.unlock()
        with self._unlocking:
            ended, self._fd = self._fd < 0, -1
        if ended:
            return
        with _entering:
            holds = _holds[self.key]
            holds.remove(self)
            if not holds:
                del _holds[self.key]


_holds: Final[dict[tuple[int, int], list[Hold]]] = {}
"""The files in use, by `identity`."""
_entering: Final = threading.Lock()
"""Held by who looks into the list: files are opened and closed in threads."""


def identity(status: os.stat_result) -> tuple[int, int]:
    """What is the same for all names of a file: device and inode; of a block device its number."""
    if stat.S_ISBLK(status.st_mode):
        return 0, status.st_rdev
    return status.st_dev, status.st_ino


def hold(fd: int, path: str, use: Use) -> Hold:
    """Use *fd*, the file *path*, open for reading and perhaps for writing, until `Hold.end`.

    UserError says who uses it and does not bear that. It may wait for a file system.
    """
    held = Hold(fd, path, use)
    going = held.admit()
    try:
        refused = _lock(fd, use, going)
        if refused:
            who = _named(_holders(fd, refused))
            raise UserError(f"{path}: in use by {who}; {use.remedy}")
        if identity(os.stat(path)) != held.key:
            # Who made it anew had locked what has no name any more.
            raise UserError(f"{path}: replaced at this very moment; try again")
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            held.end()
            raise
        held.locked = False
    except BaseException:
        held.end()
        raise
    return held


def _lock(fd: int, use: Use, going: list[Hold]) -> list[int]:
    """Take the locks of *use*, also for those who are *going*.

    Gives the bytes at which others do not bear it. OSError.
    """
    mine = [*(DONE + n for n in use.does), *(KEPT + n for n in use.keeps)]
    theirs = [*(KEPT + n for n in use.does), *(DONE + n for n in use.keeps)]
    refused = [byte for byte in mine if not ofd.take(fd, byte, shared=True)]
    for other in going:
        other.unlock()
    return refused + [byte for byte in theirs if ofd.hindrance(fd, byte) is not None]


@contextlib.contextmanager
def using(fd: int, path: str, use: Use) -> Iterator[None]:
    """Use *fd*, the file *path*, meanwhile; as `hold`."""
    held = hold(fd, path, use)
    try:
        yield
    finally:
        held.end()


@contextlib.contextmanager
def replacing(path: str) -> Iterator[None]:
    """The file *path*, if there is one, is made anew meanwhile; UserError if somebody uses it."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except FileNotFoundError:
        yield
        return
    except OSError as error:
        raise UserError(f"{path}: cannot be opened: {error.strerror}; name another file") from None
    try:
        with using(fd, path, Use.REPLACE):
            yield
    finally:
        os.close(fd)


def users(path: str) -> str:
    """Who else uses the medium *path*, such as `PID 1234 (vfioccw)`; empty if nobody does.

    OSError for a file that cannot be opened. On a file system without locks nobody is known.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        if ofd.hindrance(fd, _FIRST, _LAST - _FIRST + 1) is None:
            return ""
        # Who has a lock itself is told by what numbers the kernel knows the file.
        ofd.take(fd, DONE + READS, shared=True)
        found = _holders(fd, range(_FIRST, _LAST + 1))
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return ""
        raise
    finally:
        os.close(fd)
    # What this process reads is being closed by a thread, perhaps.
    return "" if found == {os.getpid()} else _named(found - {os.getpid()})


def _named(processes: Iterable[int]) -> str:
    """Processes as people are told of them."""
    return ", ".join(f"PID {pid}{_command(pid)}" for pid in sorted(processes)) or "another process"


def _command(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return f" ({file.read().strip()})"
    except OSError:
        return ""


def _holders(fd: int, wanted: Collection[int]) -> set[int]:
    """The processes that have a lock on one of the bytes *wanted* of *fd*, which has locks itself.

    Such a lock has no process (F_OFD_GETLK gives -1): it is a file's, and /proc says whose files
    have which. Nothing there asks a file system. Other users' processes are unseen but for root.
    """
    name = next((name for name, _, _ in _locks(f"/proc/self/fdinfo/{fd}")), None)
    if name is None:
        return set()
    found = set()
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        process = f"/proc/{entry}"
        with contextlib.suppress(OSError):
            for number in os.listdir(f"{process}/fd"):
                if int(entry) == os.getpid() and int(number) == fd:
                    continue
                with contextlib.suppress(OSError):  # closed meanwhile
                    if not os.readlink(f"{process}/fd/{number}").startswith("/"):
                        continue
                    for locked, first, last in _locks(f"{process}/fdinfo/{number}"):
                        if locked == name and any(first <= byte <= last for byte in wanted):
                            found.add(int(entry))
    return found


def _locks(fdinfo: str) -> Iterator[tuple[str, int, float]]:
    """The locks that an open file has: device and inode, first and last byte. OSError."""
    with open(fdinfo, encoding="ascii") as lines:
        for line in lines:
            if match := _LOCK.match(line):
                yield match[1], int(match[2]), float("inf" if match[3] == "EOF" else match[3])
