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
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import Final

from .paging import PAGE, Paging, StorageLost

IOV_MAX: Final = 1024
"""Most areas of one preadv or pwritev (limits.h)."""


Vectored = Callable[[Sequence[memoryview], int], int]
"""Moves areas from or to an offset of a file as one, and gives how much: preadv or pwritev."""
Pieces = Sequence[tuple[int, int]]
"""(address, length) of parts of storage, in the order of use."""


class AddressingError(Exception):
    """An address is outside every mapped range (PoP: invalid address, a program check)."""


class Range:
    """One mapped range: *size* bytes of storage from address *start*.

    The bytes are those of *fd* from *offset*: a file, or /proc/PID/mem with the address as offset.
    *mapping* is the same bytes mapped shared, or None where only pread and pwrite reach them: in
    a process, and where they may have to come from a disk.
    """

    __slots__ = ("end", "fd", "in_file", "mapping", "offset", "paging", "size", "start", "view")

    paging: Paging | None
    """Reads in what has to come from a disk; None if nothing has to."""

    def __init__(
        self,
        start: int,
        size: int,
        fd: int,
        offset: int,
        mapping: mmap.mmap | None,
        *,
        in_file: bool = True,
    ) -> None:
        self.start = start
        self.size = size
        self.end = start + size
        self.fd = fd
        self.offset = offset
        self.mapping = mapping
        self.view = memoryview(mapping) if mapping is not None else None
        self.in_file = in_file
        self.paging = None

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

    __slots__ = ("_last", "_on_disk", "_ranges", "_seen", "_starts", "_there", "keys")

    def __init__(self, ranges: Sequence[Range] = (), keys: StorageKeys | None = None) -> None:
        self._ranges = sorted(ranges, key=_start_of)
        self._starts = [mapped.start for mapped in self._ranges]
        self._last = self._ranges[0] if self._ranges else None
        self._on_disk = sum(mapped.paging is not None for mapped in self._ranges)
        # The range whose file's length was looked at last in this turn, and that length.
        self._seen: Range | None = None
        self._there = 0
        self.keys = keys
        """Storage keys, or None where none can be set and so none are checked."""

    @property
    def ranges(self) -> tuple[Range, ...]:
        """The mapped ranges in ascending order."""
        return tuple(self._ranges)

    def add(self, new: Range) -> None:
        """Map *new*; ValueError if it overlaps a mapped range (then nothing changed)."""
        if self.within(new.start, new.end):
            raise ValueError(f"{new.start:#x}-{new.end:#x} overlaps a mapped range")
        place = bisect_right(self._starts, new.start)
        self._ranges.insert(place, new)
        self._starts.insert(place, new.start)
        self._last = new
        self._on_disk += new.paging is not None

    def remove(self, old: Range) -> None:
        """Unmap *old*; ValueError if it is not mapped."""
        place = bisect_right(self._starts, old.start) - 1
        if place < 0 or self._ranges[place] is not old:
            raise ValueError(f"{old.start:#x}-{old.end:#x} is not mapped")
        del self._ranges[place]
        del self._starts[place]
        self._on_disk -= old.paging is not None
        self._last = self._ranges[0] if self._ranges else None

    def within(self, start: int, end: int) -> list[Range]:
        """The ranges that have a byte of storage from address *start* to before *end*."""
        first = max(bisect_right(self._starts, start) - 1, 0)
        last = bisect_right(self._starts, end - 1)
        return [mapped for mapped in self._ranges[first:last] if start < mapped.end]

    def find(self, address: int) -> Range | None:
        """The range that holds *address*, or None."""
        last = self._last
        if last is not None and last.start <= address < last.end:
            return last
        place = bisect_right(self._starts, address) - 1
        if place >= 0:
            candidate = self._ranges[place]
            if address < candidate.end:
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

    def _parts(self, address: int, length: int) -> Iterator[tuple[Range, int, int]]:
        """The area range by range: the range, the place of the part in it, its length.

        AddressingError where it passes into a gap.
        """
        while length:
            found = self.find(address)
            if found is None:
                raise AddressingError(address)
            size = min(length, found.end - address)
            yield found, address - found.start, size
            address += size
            length -= size

    def read(self, address: int, length: int) -> bytes:
        """*length* bytes from *address*; AddressingError, or StorageLost as the class says."""
        found = self._last
        if found is None or not (found.start <= address and address + length <= found.end):
            found = self.find(address)
            if found is None:
                raise AddressingError(address)
            if address + length > found.end:
                parts = list(self._parts(address, length))
                return b"".join([_load(part, place, size) for part, place, size in parts])
        return _load(found, address - found.start, length)

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Store *data* at *address*: all or, when not all of it is mapped, nothing.

        AddressingError then; StorageLost as the class says, with what lies in ranges before it
        stored.
        """
        self.new_turn()
        self.store(address, data)

    def new_turn(self) -> None:
        """Others may have run, and files may have been cut, since `store` was called last."""
        self._seen = None

    def store(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """As `write`, of whoever has said `new_turn` when his turn began."""
        found = self.find(address)
        if found is None:
            raise AddressingError(address)
        if address + len(data) <= found.end:
            self._store(found, address - found.start, data)
            return
        view = memoryview(data)
        done = 0
        for part, place, size in list(self._parts(address, len(data))):
            self._store(part, place, view[done : done + size])
            done += size

    def _store(self, found: Range, place: int, data: bytes | bytearray | memoryview) -> None:
        """Put *data* at *place* of a range; StorageLost if it cannot be put there."""
        if found.paging is not None:
            found.paging.bring(((place, len(data)),))
        offset = found.offset + place
        try:
            # A write behind the end would make a cut file longer again. A process has no end.
            if found.in_file:
                if found is not self._seen:
                    self._there = os.fstat(found.fd).st_size
                    self._seen = found
                if self._there < offset + len(data):
                    raise StorageLost(found.start + place)
            done = os.pwrite(found.fd, data, offset)
        except OSError as error:
            raise StorageLost(found.start + place) from error
        if done != len(data):
            raise StorageLost(found.start + place)

    def bring(self, pieces: Pieces) -> None:
        """Have all *pieces* read in that may have to come from a disk, at once; may wait.

        A piece with an address below 0 is skipped. StorageLost and StorageAway as `Paging.bring`,
        AddressingError as `areas`.
        """
        if not self._on_disk:
            return
        wanted: dict[Paging, list[tuple[int, int]]] = {}
        for address, length in pieces:
            if address >= 0:
                for part, place, size in self._parts(address, length):
                    if part.paging is not None:
                        wanted.setdefault(part.paging, []).append((place, size))
        for paging, areas in wanted.items():
            paging.bring(areas)

    def areas(self, address: int, length: int) -> list[memoryview | None]:
        """The mapped bytes from *address* as areas for one vectored call, never to be looked into.

        None stands for a part that is not mapped here (a process's storage): use read and write.
        AddressingError if not all of it is storage.
        """
        found = self._last
        if found is None or not (found.start <= address and address + length <= found.end):
            return [
                None if part.view is None else part.view[place : place + size]
                for part, place, size in self._parts(address, length)
            ]
        if found.view is None:
            return [None]
        start = address - found.start
        return [found.view[start : start + length]]

    def _views(self, pieces: Pieces) -> list[memoryview] | None:
        """All *pieces* as areas of one mapped range, few enough for one call; else None."""
        found = self._last
        if found is None or found.view is None or not 0 < len(pieces) <= IOV_MAX:
            return None
        start, view = found.start, found.view
        if min(pieces)[0] < start or max(a + n for a, n in pieces) > found.end:
            return None
        return [view[a - start : a - start + n] for a, n in pieces]

    def _batches(self, pieces: Pieces) -> Iterator[tuple[int, int, list[memoryview]]]:
        """*pieces* in runs that one vectored call moves: address and length of those that none can.

        Either the areas of a run, with address and length 0, or no area: a piece that is skipped
        (address below 0) or that only `read` and `write` reach. AddressingError as `areas`.
        """
        views: list[memoryview] = []
        for address, length in pieces:
            areas = self.areas(address, length) if address >= 0 else [None]
            if None in areas:
                if views:
                    yield 0, 0, views
                    views = []
                yield address, length, []
                continue
            for area in areas:
                assert area is not None
                if len(views) == IOV_MAX:
                    yield 0, 0, views
                    views = []
                views.append(area)
        if views:
            yield 0, 0, views

    def fill(self, pieces: Pieces, read: Vectored, offset: int) -> int:
        """Read a file by *read* from *offset* into the *pieces*; gives bytes moved.

        A piece with an address below 0 is skipped; it counts in full, also past the file's end.
        The count is short where *read* gives no more. StorageLost where the storage was lost on the
        way, AddressingError as `areas`, each with earlier pieces filled or not; OSError from the
        file goes through.
        """
        views = self._views(pieces)
        if views is not None:
            total = 0
            for _, length in pieces:
                total += length
            return _move(read, views, offset, total)
        self.bring(pieces)
        moved = 0
        for address, length, views in self._batches(pieces):
            if views:
                total = sum(map(len, views))
                done = _move(read, views, offset + moved, total)
                moved += done
                if done < total:
                    break
            elif address < 0:
                moved += length
            else:
                data = bytearray(length)
                done = _move(read, [memoryview(data)], offset + moved, length)
                self.write(address, memoryview(data)[:done])
                moved += done
                if done < length:
                    break
        return moved

    def drain(self, pieces: Pieces, write: Vectored, offset: int) -> int:
        """Write the *pieces* into a file by *write* from *offset*; gives their sum.

        StorageLost as the class says, AddressingError as `areas`, OSError from the file (ENOSPC,
        EIO) as it is; earlier bytes may be in the file then.
        """
        views = self._views(pieces)
        if views is not None:
            return _move_all(write, views, offset)
        self.bring(pieces)
        moved = 0
        for address, length, views in self._batches(pieces):
            views = views or [memoryview(self.read(address, length))]
            moved += _move_all(write, views, offset + moved)
        return moved


_start_of: Final = attrgetter("start")


def _load(found: Range, place: int, length: int) -> bytes:
    """*length* bytes at *place* of a range; StorageLost if they are not there."""
    if found.paging is not None:
        found.paging.bring(((place, length),))
    try:
        data = os.pread(found.fd, length, found.offset + place)
    except OSError as error:
        raise StorageLost(found.start + place) from error
    if len(data) != length:
        raise StorageLost(found.start + place)
    return data


def _move(call: Vectored, views: list[memoryview], offset: int, total: int) -> int:
    """Move the *views*, of *total* bytes, by *call*; again where it was cut short.

    Only then it says why: storage that is gone is EFAULT, a full disk ENOSPC, a file's end 0.
    """
    done = _vectored(call, views, offset)
    while done < total:
        more = _vectored(call, _behind(views, done), offset + done)
        if not more:
            break
        done += more
    return done


def _move_all(write: Vectored, views: list[memoryview], offset: int) -> int:
    """Move all of *views* by *write*, and give their sum; a file that takes no more is EIO."""
    total = sum(map(len, views))
    if _move(write, views, offset, total) < total:
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    return total


def _behind(views: list[memoryview], done: int) -> list[memoryview]:
    """What of *views* lies behind their first *done* bytes."""
    rest = []
    for view in views:
        if done < len(view):
            rest.append(view[done:])
        done = max(done - len(view), 0)
    return rest


def _vectored(call: Vectored, views: list[memoryview], offset: int) -> int:
    """One *call*; EFAULT is a mapping whose file was cut."""
    try:
        return call(views, offset)
    except OSError as error:
        if error.errno == errno.EFAULT:
            raise StorageLost(offset) from error
        raise
