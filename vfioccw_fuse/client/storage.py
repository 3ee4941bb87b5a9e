"""Guest storage as a client sees it: the file behind `memory`, mapped shared.

One storage serves all subchannels of a mount, and many clients may use it at a time, so room in it
is reserved: an `Area` is held by an open-file-description lock on its bytes (fcntl(2)). Such a lock
keeps out every other client that reserves, also one in the same process, and ends with its holder,
however that dies. Who writes without a reservation (dd) is not kept out.
"""

import contextlib
import mmap
import os
from typing import Self

from .. import ofd

PAGE = 4096
"""Bytes in which room is reserved; every area begins at a multiple of it."""
FIRST_FREE = 0x10000
"""Lowest address that is reserved: below it lie what dd examples and firmware use (prefixes)."""


class Area:
    """A reserved piece of guest storage: contiguous, page aligned, zero only if nobody wrote there.

    A context manager; leaving it gives the room back. `view` must not be used after that.
    """

    def __init__(self, storage: "GuestStorage", address: int, size: int) -> None:
        """Made by `GuestStorage.reserve`."""
        self._storage = storage
        self.address = address
        """Guest absolute address of the first byte."""
        self.size = size
        """Bytes, a multiple of `PAGE`."""
        self.view = storage.view[address : address + size]
        """The bytes themselves, shared with the channel: no copy."""

    def release(self) -> None:
        """Give the room back; the content stays. A second release does nothing."""
        if self.size:
            self.view.release()
            self._storage.give_back(self.address, self.size)
            self.size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class GuestStorage:
    """The guest storage of a mount, mapped into this process."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Map the file *path* (`MNT/0.0.0313/memory`) shared, for reading and writing.

        Raises OSError: ENOENT without a mount, EACCES for who did not make it. A file that is cut
        while it is mapped ends a process that touches the missing part with SIGBUS (mmap(2)).
        """
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            self.size = os.fstat(self._fd).st_size
            """Bytes of storage: addresses are 0 to `size - 1`."""
            self._mapping = mmap.mmap(self._fd, self.size, mmap.MAP_SHARED)
        except BaseException:
            os.close(self._fd)
            raise
        self.view = memoryview(self._mapping)
        """All of it, by guest absolute address."""
        self._own: set[tuple[int, int]] = set()

    def reserve(self, size: int) -> Area:
        """Reserve *size* bytes (rounded up to pages): the first room that nobody holds.

        Looks from `FIRST_FREE` up and only then below. Raises MemoryError if there is none.
        """
        size = max(1, -(-size // PAGE)) * PAGE
        for address, end in ((FIRST_FREE, self.size), (0, min(self.size, FIRST_FREE + size))):
            while address + size <= end:
                held_to = self._lock(address, size)
                if held_to is None:
                    return Area(self, address, size)
                address = -(-held_to // PAGE) * PAGE
        raise MemoryError(
            f"no {size} bytes are free in the {self.size} bytes of guest storage; "
            "mount it with more --memory, or end other clients"
        )

    def give_back(self, address: int, size: int) -> None:
        """End the reservation of *size* bytes at *address*."""
        ofd.give_back(self._fd, address, size)
        self._own.discard((address, size))

    def _lock(self, address: int, size: int) -> int | None:
        """Lock a range and give None, or the end of a range in it that is held already."""
        # Two locks of one description do not exclude each other.
        for start, length in self._own:
            if address < start + length and start < address + size:
                return start + length
        if not ofd.take(self._fd, address, size):
            held = ofd.hindrance(self._fd, address, size)
            if held is None:  # it was given back meanwhile
                return address
            # A length of zero means to the end of the file and beyond.
            return held.start + held.length if held.length else self.size
        self._own.add((address, size))
        return None

    def close(self) -> None:
        """Give all room back and unmap; views that somebody keeps keep the mapping alive."""
        if self._fd < 0:
            return
        os.close(self._fd)
        self._fd = -1
        with contextlib.suppress(BufferError):  # while a view of it lives: the last one unmaps
            self.view.release()
            self._mapping.close()
