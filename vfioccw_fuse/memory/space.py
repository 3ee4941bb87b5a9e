"""Absolute storage as a channel sees it: mapped ranges of files and processes, and storage keys.

Nothing here is ever dereferenced by Python: bytes are read and written by pread and pwrite on the
backing file, bulk data by preadv and pwritev between a device's file and the mapping. A backing
file that was cut short therefore gives a short count or EFAULT, which is an I/O error for the
guest, and never a SIGBUS for the mount. Ranges: VFIO_IOMMU_MAP_DMA of linux/vfio.h; keys: PoP
chapter 3.
"""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Callable, Sequence
from typing import Final

PAGE: Final = 4096
"""Granularity of mappings and of storage keys, in bytes."""
IOV_MAX: Final = 1024
"""Most areas of one preadv or pwritev (limits.h)."""


Vectored = Callable[[int, Sequence[memoryview], int], int]
"""os.preadv or os.pwritev."""


class AddressingError(Exception):
    """An address is outside every mapped range (PoP: invalid address, a program check)."""


class StorageLost(Exception):
    """A mapped range has no storage behind it: its file was cut, or its process is gone."""


class Range:
    """One mapped range: *size* bytes of storage from address *start*.

    The bytes are those of *fd* from *offset*: a file, or /proc/PID/mem with the address as offset.
    *mapping* is the same bytes mapped shared, or None where only pread and pwrite reach them.
    """

    __slots__ = ("end", "fd", "mapping", "offset", "size", "start", "view")

    def __init__(
        self, start: int, size: int, fd: int, offset: int, mapping: mmap.mmap | None
    ) -> None:
        self.start = start
        self.size = size
        self.end = start + size
        self.fd = fd
        self.offset = offset
        self.mapping = mapping
        self.view = memoryview(mapping) if mapping is not None else None

    def release(self) -> None:
        """Unmap; the descriptor stays its owner's."""
        if self.view is not None and self.mapping is not None:
            self.view.release()
            self.mapping.close()
            self.view = self.mapping = None


class StorageKeys:
    """Storage keys of 4 KiB blocks: access-control bits 0xf0, fetch protection 0x08 (PoP 3)."""

    def __init__(self) -> None:
        self._keys: dict[int, int] = {}

    def set(self, address: int, key: int) -> None:
        """Set the key byte of the block that holds *address*; untouched blocks have key 0."""
        self._keys[address // PAGE] = key

    def permitted(self, address: int, length: int, access_key: int, *, store: bool) -> int:
        """How many of *length* bytes from *address* the access key (0-15) may store or fetch."""
        if access_key == 0:
            return length
        position = address
        end = address + length
        while position < end:
            key = self._keys.get(position // PAGE, 0)
            if key >> 4 != access_key and (store or key & 0x08):
                break
            position = (position // PAGE + 1) * PAGE
        return min(position, end) - address


class AddressSpace:
    """The mapped ranges of one subchannel, sorted and without overlap."""

    __slots__ = ("_last", "_ranges", "keys")

    def __init__(self, ranges: Sequence[Range] = (), keys: StorageKeys | None = None) -> None:
        self._ranges = sorted(ranges, key=lambda r: r.start)
        self._last = self._ranges[0] if self._ranges else None
        self.keys = keys
        """Storage keys, or None where none can be set and so none are checked."""

    @property
    def ranges(self) -> tuple[Range, ...]:
        """The mapped ranges in ascending order."""
        return tuple(self._ranges)

    def add(self, new: Range) -> None:
        """Map *new*; ValueError if it overlaps a mapped range (then nothing changed)."""
        if any(new.start < r.end and r.start < new.end for r in self._ranges):
            raise ValueError(f"{new.start:#x}-{new.end:#x} overlaps a mapped range")
        self._ranges = sorted([*self._ranges, new], key=lambda r: r.start)
        self._last = new

    def remove(self, old: Range) -> None:
        """Unmap *old*; ValueError if it is not mapped."""
        self._ranges.remove(old)
        self._last = self._ranges[0] if self._ranges else None

    def find(self, address: int) -> Range | None:
        """The range that holds *address*, or None."""
        last = self._last
        if last is not None and last.start <= address < last.end:
            return last
        for candidate in self._ranges:
            if candidate.start <= address < candidate.end:
                self._last = candidate
                return candidate
        return None

    def valid(self, address: int, length: int) -> int:
        """How many of *length* bytes from *address* are mapped without a gap."""
        found = self.find(address)
        if found is None:
            return 0
        end = found.end
        while end < address + length:
            following = self.find(end)
            if following is None:
                break
            end = following.end
        return min(end - address, length)

    def read(self, address: int, length: int) -> bytes:
        """*length* bytes from *address*; AddressingError, or StorageLost as the class says."""
        found = self._last
        if found is None or not (found.start <= address and address + length <= found.end):
            found = self.find(address)
            if found is None:
                raise AddressingError(address)
            if address + length > found.end:
                head = found.end - address
                return self.read(address, head) + self.read(found.end, length - head)
        try:
            data = os.pread(found.fd, length, found.offset + address - found.start)
        except OSError as error:
            raise StorageLost(address) from error
        if len(data) != length:
            raise StorageLost(address)
        return data

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Store *data* at *address*: all or, when not all of it is mapped, nothing.

        AddressingError then; StorageLost as the class says, with what lies in ranges before it
        stored.
        """
        found = self.find(address)
        if found is None:
            raise AddressingError(address)
        if address + len(data) > found.end:
            if self.valid(address, len(data)) < len(data):
                raise AddressingError(address)
            head = found.end - address
            self.write(address, data[:head])
            self.write(found.end, data[head:])
            return
        place = found.offset + address - found.start
        try:
            # A write behind the end would make a cut file longer again. A process has no end.
            if found.view is not None and os.fstat(found.fd).st_size < place + len(data):
                raise StorageLost(address)
            done = os.pwrite(found.fd, data, place)
        except OSError as error:
            raise StorageLost(address) from error
        if done != len(data):
            raise StorageLost(address)

    def areas(self, address: int, length: int) -> list[memoryview | None]:
        """The mapped bytes from *address* as areas for one vectored call, never to be looked into.

        None stands for a part that is not mapped here (a process's storage): use read and write.
        AddressingError if not all of it is storage.
        """
        found = self._last
        if found is None or not (found.start <= address and address + length <= found.end):
            found = self.find(address)
            if found is None:
                raise AddressingError(address)
            if address + length > found.end:
                head = found.end - address
                return self.areas(address, head) + self.areas(found.end, length - head)
        if found.view is None:
            return [None]
        start = address - found.start
        return [found.view[start : start + length]]

    def _views(self, pieces: Sequence[tuple[int, int]]) -> list[memoryview] | None:
        """All *pieces* as areas of one mapped range, few enough for one call; else None."""
        found = self._last
        if found is None or found.view is None or not 0 < len(pieces) <= IOV_MAX:
            return None
        start, view = found.start, found.view
        if min(pieces)[0] < start or max(a + n for a, n in pieces) > found.end:
            return None
        return [view[a - start : a - start + n] for a, n in pieces]

    def fill(self, pieces: Sequence[tuple[int, int]], fd: int, offset: int) -> int:
        """Read file *fd* from *offset* into the (address, length) *pieces*; gives bytes moved.

        Address -1 is a piece whose bytes are skipped; it counts in full, also past the file's end.
        A file that ends early gives a short count, and so does storage whose first bytes could be
        filled before the rest was lost; StorageLost where none could. AddressingError as `areas`,
        with earlier pieces filled or not; OSError from the file goes through.
        """
        views = self._views(pieces)
        if views is not None:
            return _vectored(os.preadv, fd, views, offset)
        views = []
        moved = 0
        pending = 0
        for address, length in pieces:
            areas = self.areas(address, length) if address >= 0 else [None]
            if None in areas or len(views) + len(areas) > IOV_MAX:
                moved += _vectored(os.preadv, fd, views, offset + moved)
                if moved < pending:
                    return moved
                views = []
            if None in areas:
                if address >= 0:
                    data = os.pread(fd, length, offset + moved)
                    self.write(address, data)
                    moved += len(data)
                else:
                    moved += length
            else:
                views.extend(area for area in areas if area is not None)
            pending += length
        return moved + _vectored(os.preadv, fd, views, offset + moved)

    def drain(self, pieces: Sequence[tuple[int, int]], fd: int, offset: int) -> int:
        """Write the (address, length) *pieces* into file *fd* from *offset*; gives their sum.

        StorageLost as the class says, AddressingError as `areas`, OSError from the file (ENOSPC,
        EIO) as it is; earlier bytes may be in the file then.
        """
        views = self._views(pieces)
        if views is not None:
            return _write_all(fd, views, offset)
        views = []
        moved = 0
        for address, length in pieces:
            areas = self.areas(address, length)
            if None in areas or len(views) + len(areas) > IOV_MAX:
                moved += _write_all(fd, views, offset + moved)
                views = []
            if None in areas:
                moved += _write_all(fd, [memoryview(self.read(address, length))], offset + moved)
            else:
                views.extend(area for area in areas if area is not None)
        return moved + _write_all(fd, views, offset + moved)


def _write_all(fd: int, views: list[memoryview], offset: int) -> int:
    """One pwritev, and more when it was cut short (a full disk): they say why, as an OSError."""
    done = _vectored(os.pwritev, fd, views, offset)
    total = sum(map(len, views))
    while done < total:
        left = done
        rest = []
        for view in views:
            rest.append(view[min(left, len(view)) :])
            left -= min(left, len(view))
        done += _vectored(os.pwritev, fd, [view for view in rest if view], offset + done)
    return done


def _vectored(call: Vectored, fd: int, views: list[memoryview], offset: int) -> int:
    """One preadv or pwritev; EFAULT is a mapping whose file was cut."""
    if not views:
        return 0
    try:
        return call(fd, views, offset)
    except OSError as error:
        if error.errno == errno.EFAULT:
            raise StorageLost(offset) from error
        raise
