"""Initramfs archives: cpio in the format "newc", as the kernel unpacks it, one after the other.

Format: Documentation/driver-api/early-userspace/buffer-format.rst of Linux. Not compressed: an
emulated processor takes longer to unpack than QEMU to load.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO


class Archive:
    """Writes entries to a file; leave the context to end it."""

    def __init__(self, file: BinaryIO) -> None:
        """*file* is open for writing and stays the caller's."""
        self._file = file
        self._next_inode = 1
        self._directories: set[str] = set()

    def __enter__(self) -> Archive:
        """Nothing to do: the file is open."""
        return self

    def __exit__(self, *raised: object) -> None:
        """Write the trailer."""
        self._entry("TRAILER!!!", 0)

    def _entry(
        self, name: str, mode: int, data: bytes = b"", device: tuple[int, int] = (0, 0)
    ) -> None:
        encoded = name.encode() + b"\0"
        numbers = (
            *(self._next_inode, mode, 0, 0, 1, 0, len(data), 0, 0),
            *(device[0], device[1], len(encoded), 0),
        )
        self._next_inode += 1
        head = b"070701" + b"".join(b"%08X" % number for number in numbers) + encoded
        self._file.write(head.ljust(-len(head) % 4 + len(head), b"\0"))
        self._file.write(data.ljust(-len(data) % 4 + len(data), b"\0"))

    def directory(self, name: str) -> None:
        """A directory, and those above it, unless this archive has them."""
        parent = os.path.dirname(name)
        if name and name not in self._directories:
            self.directory(parent)
            self._directories.add(name)
            self._entry(name, stat.S_IFDIR | 0o755)

    def file(self, name: str, data: bytes, mode: int = 0o755) -> None:
        """An ordinary file."""
        self.directory(os.path.dirname(name))
        self._entry(name, stat.S_IFREG | mode, data)

    def copy(self, source: Path, name: str) -> None:
        """The file *source*, its symlinks followed."""
        self.file(name, source.read_bytes(), 0o755)

    def symlink(self, name: str, target: str) -> None:
        """A symbolic link to *target*."""
        self.directory(os.path.dirname(name))
        self._entry(name, stat.S_IFLNK | 0o777, target.encode())

    def device(self, name: str, major: int, minor: int) -> None:
        """A character device."""
        self.directory(os.path.dirname(name))
        self._entry(name, stat.S_IFCHR | 0o600, device=(major, minor))
