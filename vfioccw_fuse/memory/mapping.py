"""Ranges that a client gives: its file, or its own memory, as guest storage.

What VFIO_IOMMU_MAP_DMA takes (linux/vfio.h): whole pages, at an address that is a page's. Storage
is never looked at here, only made reachable; `space` says how it is read and written.

`file_range` and `process_range` may block for as long as a file system or a process likes: they are
for a thread.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import stat
from collections.abc import Iterator
from typing import Final, NamedTuple, Protocol

from ..errors import UserError, reason
from ..mountinfo import IN_MEMORY, file_system_of, file_system_says, mounted
from .paging import PAGE, Paging
from .space import Range

ADDRESSES: Final = 1 << 64
"""One more than the highest guest address."""
FILE_END: Final = 1 << 63
"""One more than the highest offset that pread(2) takes."""
_REFUSED_FLAGS: Final = {
    os.O_APPEND: "O_APPEND, so that every write would go to its end",
    os.O_DIRECT: "O_DIRECT, which cannot move single bytes",
}


def check_area(iova: int, size: int) -> None:
    """UserError unless *size* bytes from guest address *iova* are one page or more, all whole."""
    if not size:
        raise UserError("size 0: at least one page of 4096 bytes")
    for name, value in (("iova", iova), ("size", size)):
        if value % PAGE:
            raise UserError(f"{name} {value:#x}: not a multiple of {PAGE}")
    if iova + size > ADDRESSES:
        raise UserError(f"iova {iova:#x}, size {size:#x}: passes the end of 64-bit storage")


_ELSEWHERE: Final = frozenset(
    (
        *("nfs", "nfs4", "smb", "cifs", "smb3", "ceph", "9p", "virtiofs", "afs", "coda"),
        *("lustre", "ocfs2", "gfs2", "orangefs", "gpfs", "beegfs", "vboxsf"),
    )
)
"""File systems whose pages come from another machine, which may never send them."""
_NEVER_READ: Final = IN_MEMORY | {"hugetlbfs"}
"""File systems that a process may have mapped, whose pages come from no disk."""
_FAULT_FLAGS: Final = frozenset(("um", "uw", "ui"))
"""VmFlags of memory that is registered with a userfaultfd (proc_pid_smaps(5))."""


def kind_of(fd: int) -> str:
    """The type of the file system that *fd* is on; "" for one that matters nowhere here.

    By the mount table; only what is mounted in no place that we see is asked itself, and that may
    never answer: for a thread.
    """
    kind = file_system_of(fd)
    if not kind:
        kind = file_system_says(fd)
    return kind


def _never_comes(kind: str) -> bool:
    """Whether touching a file of such a file system may wait for ever, and beyond any kill."""
    return kind.startswith("fuse") or kind in _ELSEWHERE


class Process(Protocol):
    """A process that is not mistaken for another one that has its number by now."""

    @property
    def pid(self) -> int:
        """Its number."""
        ...

    def check(self) -> None:
        """UserError if it has ended; its number may be another's then."""
        ...


class MappedRange(Range):
    """A range with a descriptor of its own, which `release` closes."""

    __slots__ = ()

    def __init__(
        self,
        start: int,
        size: int,
        fd: int,
        offset: int,
        mapping: mmap.mmap | None,
        *,
        in_file: bool,
        on_disk: bool,
    ) -> None:
        """*on_disk*: pages may have to be read in first."""
        super().__init__(start, size, fd, offset, mapping, in_file=in_file)
        if on_disk:
            self.paging = Paging(fd, offset, self._close)

    def release(self) -> None:
        """Unmap, and close as soon as no thread needs it."""
        super().release()
        if self.paging is None:
            self._close()
        else:
            self.paging.leave()

    def _close(self) -> None:
        os.close(self.fd)


def file_range(iova: int, size: int, offset: int, fd: int) -> MappedRange:
    """*size* bytes of the file *fd* from *offset* as storage at *iova*.

    *fd* belongs to the range from now on; it is closed if there is none. UserError says why not: no
    ordinary file, not open for both reading and writing, open with O_APPEND or O_DIRECT, too short,
    an area or an offset that is not whole pages, a file of hugetlbfs, of another machine or of a
    FUSE mount (perhaps our own: it would wait for us).
    """
    try:
        on_disk = _check_file(iova, size, offset, fd)
        mapping = None if on_disk else mmap.mmap(fd, size, mmap.MAP_SHARED, offset=offset)
        return MappedRange(iova, size, fd, offset, mapping, in_file=True, on_disk=on_disk)
    except BaseException:
        os.close(fd)
        raise


def _check_file(iova: int, size: int, offset: int, fd: int) -> bool:
    """Whether its pages may have to come from a disk; UserError for what `file_range` refuses."""
    check_area(iova, size)
    if offset % PAGE or offset + size > FILE_END:
        raise UserError(f"offset {offset:#x}: not a multiple of {PAGE} within the file")
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    for flag, why in _REFUSED_FLAGS.items():
        if flags & flag:
            raise UserError(f"the file is open with {why}")
    if flags & os.O_ACCMODE != os.O_RDWR:
        raise UserError("the file is not open for both reading and writing")
    kind = kind_of(fd)
    # Before any fstat: the file system may never answer it.
    if _never_comes(kind) or kind == "hugetlbfs":
        raise UserError(f"a file of a {kind} file system cannot be guest storage; use tmpfs")
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise UserError("the descriptor is not an ordinary file")
    if status.st_size < offset + size:
        raise UserError(
            f"the file has {status.st_size} bytes, and the map needs {offset + size} of it"
        )
    return kind not in IN_MEMORY


def process_range(iova: int, size: int, vaddr: int, process: Process) -> MappedRange:
    """*size* bytes of the memory of *process* from its address *vaddr* as storage at *iova*.

    UserError if it cannot be: the process has ended, no permission (that of ptrace(2)), memory that
    it has not mapped for reading and writing, or whose pages may never come (of a FUSE mount, of
    another machine, of a userfaultfd), an area that is not whole pages.
    """
    pid = process.pid
    check_area(iova, size)
    if vaddr % PAGE or vaddr + size > FILE_END:
        raise UserError(f"vaddr {vaddr:#x}: not the address of a page of a process")
    process.check()
    try:
        on_disk = _check_memory(vaddr, size, pid)
        fd = os.open(f"/proc/{pid}/mem", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise UserError(f"the memory of process {pid} is out of reach: {reason(error)}") from None
    try:
        # Only now is it certain that all this was of the same process.
        process.check()
    except BaseException:
        os.close(fd)
        raise
    return MappedRange(iova, size, fd, vaddr, None, in_file=False, on_disk=on_disk)


class _Area(NamedTuple):
    """What a process has mapped at some addresses (proc_pid_smaps(5))."""

    low: int
    high: int
    permissions: str
    device: str
    flags: frozenset[str]


def _areas(pid: int) -> Iterator[_Area]:
    """All that the process has mapped, in ascending order."""
    with open(f"/proc/{pid}/smaps", encoding="utf-8", errors="surrogateescape") as lines:
        head: list[str] = []
        for line in lines:
            if line[0] in "0123456789abcdef":
                # START-END PERMS OFFSET MAJOR:MINOR INODE PATH, then lines of `Name: value`.
                head = line.split(" ", 4)
            elif line.startswith("VmFlags:"):
                low, high = (int(word, 16) for word in head[0].split("-"))
                major, minor = (int(word, 16) for word in head[3].split(":"))
                yield _Area(low, high, head[1], f"{major}:{minor}", frozenset(line.split()[1:]))


def _check_memory(vaddr: int, size: int, pid: int) -> bool:
    """Whether some of the area is of files on a disk.

    UserError unless the process can read and write it all, and so can we without its help.
    """
    on_disk = False
    kinds = {mount.device: mount.fstype for mount in (*mounted(), *mounted(pid))}
    end = vaddr + size
    for area in _areas(pid):
        if area.low <= vaddr < area.high:
            if not area.permissions.startswith("rw"):
                break
            what = f"process {pid} at {area.low:#x}-{area.high - 1:#x}"
            kind = kinds.get(area.device, "")
            if _never_comes(kind):
                raise UserError(f"{what}: a file of a {kind} file system cannot be guest storage")
            if area.flags & _FAULT_FLAGS:
                raise UserError(f"{what}: registered with a userfaultfd, cannot be guest storage")
            on_disk = on_disk or (kind != "" and kind not in _NEVER_READ)
            vaddr = area.high
        if vaddr >= end:
            return on_disk
    raise UserError(f"process {pid} has no memory to read and write at {vaddr:#x}")
