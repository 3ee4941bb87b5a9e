"""Ranges that a client gives: its file, or its own memory, as guest storage.

What VFIO_IOMMU_MAP_DMA takes (linux/vfio.h): whole pages, at an address that is a page's. Storage
is never looked at here, only made reachable; `space` says how it is read and written.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import stat
from typing import Final

from ..errors import UserError
from ..mountinfo import file_system_of
from .space import PAGE, Range

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


class MappedRange(Range):
    """A range with a descriptor of its own, which `release` closes."""

    __slots__ = ()

    def release(self) -> None:
        """Unmap and close."""
        super().release()
        os.close(self.fd)


def file_range(iova: int, size: int, offset: int, fd: int) -> MappedRange:
    """*size* bytes of the file *fd* from *offset* as storage at *iova*; *fd* stays the caller's.

    UserError says why not: no ordinary file, not open for both reading and writing, open with
    O_APPEND or O_DIRECT, too short, an area or an offset that is not whole pages, a file of
    hugetlbfs or of a FUSE mount (perhaps our own: it would wait for us).
    """
    check_area(iova, size)
    if offset % PAGE or offset + size > FILE_END:
        raise UserError(f"offset {offset:#x}: not a multiple of {PAGE} within the file")
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    for flag, why in _REFUSED_FLAGS.items():
        if flags & flag:
            raise UserError(f"the file is open with {why}")
    if flags & os.O_ACCMODE != os.O_RDWR:
        raise UserError("the file is not open for both reading and writing")
    kind = file_system_of(fd)
    # Before any fstat: asked of our own mount it would never be answered.
    if kind.startswith("fuse") or kind == "hugetlbfs":
        raise UserError(f"a file of a {kind} file system cannot be guest storage; use tmpfs")
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise UserError("the descriptor is not an ordinary file")
    if status.st_size < offset + size:
        raise UserError(
            f"the file has {status.st_size} bytes, and the map needs {offset + size} of it"
        )
    mapping = mmap.mmap(fd, size, mmap.MAP_SHARED, offset=offset)
    try:
        own = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 0)
    except BaseException:
        mapping.close()
        raise
    return MappedRange(iova, size, own, offset, mapping)


def process_range(iova: int, size: int, vaddr: int, pid: int) -> MappedRange:
    """*size* bytes of the memory of process *pid* from its address *vaddr* as storage at *iova*.

    UserError if it cannot be: no such process, no permission (that of ptrace(2)), memory that the
    process has not mapped for reading and writing, an area that is not whole pages.
    """
    check_area(iova, size)
    if vaddr % PAGE or vaddr + size > FILE_END:
        raise UserError(f"vaddr {vaddr:#x}: not the address of a page of a process")
    try:
        gap = _first_gap(vaddr, size, pid)
        fd = os.open(f"/proc/{pid}/mem", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise UserError(f"the memory of process {pid} is out of reach: {error.strerror}") from None
    if gap is not None:
        os.close(fd)
        raise UserError(f"process {pid} has no memory to read and write at {gap:#x}")
    return MappedRange(iova, size, fd, vaddr, None)


def _first_gap(vaddr: int, size: int, pid: int) -> int | None:
    """The first address of the area that the process cannot read and write, or None."""
    end = vaddr + size
    with open(f"/proc/{pid}/maps", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            # proc_pid_maps(5): START-END PERMS ..., in ascending order.
            area, permissions, _ = line.split(" ", 2)
            low, high = (int(word, 16) for word in area.split("-"))
            if low <= vaddr < high and permissions.startswith("rw"):
                vaddr = high
            if vaddr >= end:
                return None
    return vaddr
