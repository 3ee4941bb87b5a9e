"""The built-in guest storage: one sparse file, where its maker wants it (a mount: on tmpfs)."""

from __future__ import annotations

import mmap
import os

from ..errors import UserError
from .paging import PAGE
from .space import Range

LARGEST = 2 << 30
"""Largest built-in storage: 2 GiB."""


class BuiltInStorage:
    """The file behind `memory`: sparse, so that untouched storage costs nothing."""

    def __init__(self, directory: str, size: int, *, everyone: bool = False) -> None:
        """Make the file in *directory*; UserError if *size* is not 4 KiB to 2 GiB in pages.

        Its mode is 0600, or 0666 for *everyone*. OSError if it cannot be made there, or is there
        already.
        """
        if not PAGE <= size <= LARGEST or size % PAGE:
            raise UserError(
                f"memory {size}: guest storage is 4 KiB to 2 GiB, a multiple of 4096 bytes"
            )
        self.size = size
        self.path = os.path.join(directory, "memory")
        self.fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        if everyone:
            os.fchmod(self.fd, 0o666)
        os.truncate(self.fd, size)
        self._mapping = mmap.mmap(self.fd, size, mmap.MAP_SHARED)

    def range(self) -> Range:
        """The whole of it as the range from address 0."""
        return Range(0, self.size, self.fd, 0, self._mapping)

    def close(self) -> None:
        """Remove the file; mappings, ours and those of clients, keep their pages until they end."""
        os.close(self.fd)
        os.unlink(self.path)
