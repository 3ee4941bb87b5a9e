"""What may be guest storage: by the file system, and by what a process has mapped."""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import platform
import struct
from pathlib import Path

import pytest

from vfioccw_fuse.errors import UserError
from vfioccw_fuse.memory import mapping
from vfioccw_fuse.memory.mapping import file_range, kind_of, process_range
from vfioccw_fuse.memory.paging import PAGE

USERFAULTFD = {"x86_64": 323, "aarch64": 282, "s390x": 355}
USER_MODE_ONLY = 1
UFFD_API = 0xAA
UFFDIO_API, UFFDIO_REGISTER = 0xC018AA3F, 0xC020AA00
MISSING = 1


class Own:
    """This process."""

    pid = os.getpid()

    def check(self) -> None:
        """It lives."""


def anonymous(pages: int) -> tuple[mmap.mmap, int]:
    """So many pages of this process, and their address."""
    own = mmap.mmap(-1, pages * PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return own, ctypes.addressof(ctypes.c_char.from_buffer(own))


def test_a_file_in_memory_is_known_as_one_also_where_nothing_mounts_it() -> None:
    memfd = os.memfd_create("guest")
    shm = os.open("/dev/shm", os.O_RDWR | os.O_TMPFILE)
    assert (kind_of(memfd), kind_of(shm)) == ("tmpfs", "tmpfs")
    for fd in (memfd, shm):
        os.close(fd)


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs", "9p", "hugetlbfs"])
def test_a_file_whose_pages_may_never_come_is_refused_and_closed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    # No server of such a file system can be had here.
    monkeypatch.setattr(mapping, "file_system_of", lambda fd: kind)
    file = tmp_path / "file"
    file.write_bytes(bytes(PAGE))
    fd = os.open(file, os.O_RDWR)
    with pytest.raises(UserError, match=f"a file of a {kind} file system cannot be guest storage"):
        file_range(0, PAGE, 0, fd)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_memory_registered_with_a_userfaultfd_is_refused() -> None:
    own, address = anonymous(4)
    process_range(0, 4 * PAGE, address, Own()).release()
    fd = ctypes.CDLL(None).syscall(USERFAULTFD[platform.machine()], os.O_CLOEXEC | USER_MODE_ONLY)
    assert fd >= 0
    fcntl.ioctl(fd, UFFDIO_API, struct.pack("QQQ", UFFD_API, 0, 0))
    fcntl.ioctl(fd, UFFDIO_REGISTER, struct.pack("QQQQ", address + PAGE, PAGE, MISSING, 0))
    with pytest.raises(UserError, match="userfaultfd"):
        process_range(0, 4 * PAGE, address, Own())
    process_range(0, PAGE, address, Own()).release()
    os.close(fd)
    process_range(0, 4 * PAGE, address, Own()).release()
    assert len(own) == 4 * PAGE


def test_memory_with_a_page_that_cannot_be_written_is_refused() -> None:
    own, address = anonymous(4)
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mprotect(ctypes.c_void_p(address + 2 * PAGE), PAGE, mmap.PROT_READ) == 0
    with pytest.raises(UserError, match=f"no memory to read and write at {address + 2 * PAGE:#x}"):
        process_range(0, 4 * PAGE, address, Own())
    process_range(0, 2 * PAGE, address, Own()).release()
    assert len(own) == 4 * PAGE
