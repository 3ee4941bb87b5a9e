"""What is mounted, by the kernel's table: asks no file system, so none can hold us up.

It stands below all rooms, as `errors` does: storage, mount and command line ask it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple


class Mounted(NamedTuple):
    """One line of the mount table (proc_pid_mountinfo(5))."""

    id: int
    """The mount's number, as `mnt_id` in /proc/PID/fdinfo names it."""
    point: str
    """The mount point, an absolute path."""
    fstype: str
    """Type of the file system, e.g. `fuse.vfioccw`."""
    source: str
    """What is mounted, as the mount named it."""


def mounted() -> Iterator[Mounted]:
    """Every mount that this process sees, in the order in which they were made."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            # ID PARENT DEV ROOT POINT OPTIONS [TAG]... - TYPE SOURCE ...
            left, _, right = line.rstrip("\n").partition(" - ")
            words = left.split(" ")
            fstype, source = right.split(" ")[:2]
            yield Mounted(int(words[0]), _unescape(words[4]), fstype, _unescape(source))


def _unescape(text: str) -> str:
    """Undo the table's octal escapes of blank, tab, newline and backslash."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def file_system_of(fd: int) -> str:
    """The type of the file system that *fd* is on; "" for what is mounted nowhere (a memfd)."""
    with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as info:
        number = next((int(line.split()[1]) for line in info if line.startswith("mnt_id:")), -1)
    return next((mount.fstype for mount in mounted() if mount.id == number), "")
