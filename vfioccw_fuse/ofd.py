"""Open-file-description locks (fcntl(2)): held by an open file, and ended with its last descriptor.

Two open files exclude each other also within one process, and a lock ends with its holder, however
that dies. They stand below all rooms: media, consoles and a client's storage are locked by them.
Ranges are in bytes; a length of 0 reaches to the end of any file.
"""

from __future__ import annotations

import fcntl
import os
import struct
from typing import Final, NamedTuple

_FLOCK: Final = struct.Struct("@hhqqi4x")
"""struct flock of 64-bit machines: type, whence, start, length, pid, which must be 0."""


class Range(NamedTuple):
    """What another open file has locked."""

    start: int
    """Its first byte."""
    length: int
    """How many bytes."""


def take(fd: int, start: int, length: int = 1, *, shared: bool = False) -> bool:
    """Lock a range at once; False if the lock of another open file is in the way.

    Unless *shared* nobody else has a lock there; *fd* must be open for writing then, and for
    reading otherwise. OSError, as ENOLCK of a file system that has no locks.
    """
    try:
        _call(fd, fcntl.F_OFD_SETLK, fcntl.F_RDLCK if shared else fcntl.F_WRLCK, start, length)
    except (BlockingIOError, PermissionError):
        return False
    return True


def give_back(fd: int, start: int, length: int = 1) -> None:
    """End the locks of *fd* in a range."""
    _call(fd, fcntl.F_OFD_SETLK, fcntl.F_UNLCK, start, length)


def hindrance(fd: int, start: int, length: int = 1, *, shared: bool = False) -> Range | None:
    """A lock of another open file in a range; None if nobody has one there.

    It may be a shared one, unless what it would hinder is only *shared*.
    """
    wanted = fcntl.F_RDLCK if shared else fcntl.F_WRLCK
    kind, _, at, size, _ = _FLOCK.unpack(_call(fd, fcntl.F_OFD_GETLK, wanted, start, length))
    return None if kind == fcntl.F_UNLCK else Range(at, size)


def _call(fd: int, command: int, kind: int, start: int, length: int) -> bytes:
    return fcntl.fcntl(fd, command, _FLOCK.pack(kind, os.SEEK_SET, start, length, 0))
