"""What is mounted, by the kernel's table: asks no file system, so none can hold us up.

It stands below all rooms, as `errors` does: storage, mount and command line ask it.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

IN_MEMORY: Final = frozenset({"tmpfs", "ramfs", "devtmpfs"})
"""File systems whose files are in memory alone: none of them ever waits for a disk."""


class Mounted(NamedTuple):
    """One line of the mount table (proc_pid_mountinfo(5))."""

    id: int
    """The mount's number, as `mnt_id` in /proc/PID/fdinfo names it."""
    device: str
    """MAJOR:MINOR of the file system, the st_dev of its files."""
    point: str
    """The mount point, an absolute path."""
    fstype: str
    """Type of the file system, e.g. `fuse.vfioccw`."""
    source: str
    """What is mounted, as the mount named it."""


def mounted(process: int | str = "self") -> Iterator[Mounted]:
    """Every mount that *process* sees, in the order in which they were made."""
    with open(f"/proc/{process}/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            # ID PARENT DEV ROOT POINT OPTIONS [TAG]... - TYPE SOURCE ...
            left, _, right = line.rstrip("\n").partition(" - ")
            words = left.split(" ")
            fstype, source = right.split(" ")[:2]
            yield Mounted(int(words[0]), words[2], _unescape(words[4]), fstype, _unescape(source))


def _unescape(text: str) -> str:
    """Undo the table's octal escapes of blank, tab, newline and backslash."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def file_system_of(fd: int) -> str:
    """The type of the file system that *fd* is on; "" for what is not mounted here.

    That is a socket or a pipe, or a file of another mount namespace. A memfd is a file on a tmpfs.
    """
    number = _mount_of(fd)
    if number == _mount_of_memfds():
        return "tmpfs"
    return next((mount.fstype for mount in mounted() if mount.id == number), "")


def _mount_of(fd: int) -> int:
    with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as info:
        return next((int(line.split()[1]) for line in info if line.startswith("mnt_id:")), -1)


@functools.cache
def _mount_of_memfds() -> int:
    """The kernel's own mount, which no table shows, that every memfd is on (memfd_create(2))."""
    fd = os.memfd_create("vfioccw")
    try:
        return _mount_of(fd)
    finally:
        os.close(fd)
