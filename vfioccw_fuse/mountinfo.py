"""What is mounted, by the kernel's table: asks no file system, so none can hold us up.

Only `file_system_says` asks one, for who waits for it anyhow and opens thousands of files.
It stands below all rooms, as `errors` does: storage, mount and command line ask it.
"""

from __future__ import annotations

import ctypes
import functools
import os
import re
import sys
from collections.abc import Iterator
from typing import Final, NamedTuple

from .regions.schid import whole_schid

IN_MEMORY: Final = frozenset({"tmpfs", "ramfs", "devtmpfs"})
"""File systems whose files are in memory alone: none of them ever waits for a disk."""

_MAGIC: Final = {
    0x01021994: "tmpfs",
    0x858458F6: "ramfs",
    0x958458F6: "hugetlbfs",
    0xEF53: "ext4",
    0x58465342: "xfs",
    0x9123683E: "btrfs",
    0x794C7630: "overlay",
    0x65735546: "fuse",
    0x6969: "nfs",
    0x517B: "smb",
    0xFF534D42: "cifs",
    0xFE534D42: "smb3",
    0x00C36400: "ceph",
    0x01021997: "9p",
    0x5346414F: "afs",
    0x6B414653: "afs",
    0x73757245: "coda",
    0x7461636F: "ocfs2",
}
"""f_type of statfs(2) to the file system's name (linux/magic.h), as far as it matters to us."""
_fstatfs: Final = ctypes.CDLL(None).fstatfs


class Mounted(NamedTuple):
    """One line of the mount table (proc_pid_mountinfo(5))."""

    id: int
    """The mount's number, as `mnt_id` in /proc/PID/fdinfo names it."""
    device: str
    """MAJOR:MINOR of the file system, the st_dev of its files."""
    root: str
    """What of the file system is mounted: `/`, or the directory that is bound."""
    point: str
    """The mount point, an absolute path."""
    fstype: str
    """Type of the file system, e.g. `fuse.vfioccw`."""
    source: str
    """What is mounted, as the mount named it."""
    options: str
    """Options of the file system, comma between: `rw,user_id=0`."""


def mounted(process: int | str = "self") -> Iterator[Mounted]:
    """Every mount that *process* sees, in the order in which they were made."""
    with open(f"/proc/{process}/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            # ID PARENT DEV ROOT POINT OPTIONS [TAG]... - TYPE SOURCE ...
            left, _, right = line.rstrip("\n").partition(" - ")
            words = left.split(" ")
            fstype, source, options = right.split(" ")[:3]
            yield Mounted(
                int(words[0]), words[2], _unescape(words[3]), _unescape(words[4]), fstype,
                _unescape(source), options,
            )  # fmt: skip


def _unescape(text: str) -> str:
    """Undo the table's octal escapes of blank, tab, newline and backslash."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def mount_at(point: str) -> Mounted:
    """The mount that the directory *point* leads to now; LookupError if the table has it no more.

    Asks nothing of the file system that is mounted there.
    """
    fd = os.open(point, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        number = _mount_of(fd)
    finally:
        os.close(fd)
    for mount in mounted():
        if mount.id == number:
            return mount
    raise LookupError(f"{point}: no mount has the number {number}")


def whole_path(path: str) -> str:
    """*path*, or MNT/0.0.0313 where it is MNT/0313 and nothing has that name."""
    folder, name = os.path.split(path.rstrip("/"))
    whole = whole_schid(name)
    return path if whole == name or os.path.lexists(path) else os.path.join(folder, whole)


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


def file_system_says(fd: int) -> str:
    """The type of the file system that *fd* is on, by itself; "" for one that matters nowhere.

    It may never answer: for a thread, or for who waits for that file system anyhow.
    """
    # struct statfs: f_type comes first; 256 bytes have room for every machine's.
    answer = ctypes.create_string_buffer(256)
    if _fstatfs(fd, answer):
        return ""
    return _MAGIC.get(int.from_bytes(answer.raw[:4], sys.byteorder), "")
