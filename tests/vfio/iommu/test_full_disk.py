"""A write that the image's file system cuts short: nothing lands in a wrong place."""

from __future__ import annotations

import mmap
import os
import resource
import signal
from functools import partial
from pathlib import Path

import pytest

from vfioccw_fuse.memory.space import AddressSpace, Range

PAGE = 4096


@pytest.fixture
def space() -> AddressSpace:
    """64 KiB at 0, mapped, and 64 KiB behind it that are not, each page its number."""
    pages = b"".join(bytes([page]) * PAGE for page in range(32))
    memory = os.memfd_create("storage")
    os.write(memory, pages)
    mapped = Range(0, 16 * PAGE, memory, 0, mmap.mmap(memory, 16 * PAGE))
    return AddressSpace([mapped, Range(16 * PAGE, 16 * PAGE, memory, 16 * PAGE, None)])


@pytest.mark.parametrize("first", [0, 12, 16])
@pytest.mark.parametrize("size", [3 * PAGE, 3 * PAGE + 100])
def test_a_short_write_is_an_error_and_what_was_written_is_right(
    space: AddressSpace, tmp_path: Path, first: int, size: int
) -> None:
    image = tmp_path / "image"
    fd = os.open(image, os.O_RDWR | os.O_CREAT)
    pieces = [((first + page) * PAGE, PAGE) for page in range(8)]
    # A limit of the file's size cuts a write as a full disk does.
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            space.drain(pieces, partial(os.pwritev, fd), 0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
        os.close(fd)
    expected = b"".join(bytes([first + page]) * PAGE for page in range(8))
    written = image.read_bytes()
    assert written == expected[: len(written)]
    assert len(written) == size


def test_an_unhindered_write_is_whole(space: AddressSpace, tmp_path: Path) -> None:
    fd = os.open(tmp_path / "image", os.O_RDWR | os.O_CREAT)
    assert space.drain([(14 * PAGE, 4 * PAGE), (3, 5)], partial(os.pwritev, fd), 10) == 4 * PAGE + 5
    os.close(fd)
    pages = b"".join(bytes([page]) * PAGE for page in range(14, 18))
    assert (tmp_path / "image").read_bytes() == bytes(10) + pages + bytes(5)
