"""What storage has in the pieces of a data area, for who shows it: nothing changes by it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..memory.paging import StorageAway, StorageLost
from ..memory.space import AddressingError, AddressSpace
from .ida import SKIPPED


class Piece(NamedTuple):
    """A part of a data area."""

    address: int | None
    """Its absolute address; None: nothing is moved there (skipped)."""
    length: int
    """Bytes."""
    data: bytes
    """What storage has there; empty if it has nothing at hand."""

    def shown(self) -> list[int | str | None]:
        """It as a list for JSON: address, length, hexadecimal digits."""
        return [self.address, self.length, self.data.hex()]


def first_of(
    pieces: Iterable[tuple[int, int]], count: int, *, backward: bool = False
) -> Iterator[tuple[int, int]]:
    """Those of *pieces*, (address, length), that have the first *count* bytes, the last one cut.

    *backward*: the first bytes of each are those at its end (read backward).
    """
    for address, length in pieces:
        if count <= 0:
            return
        size = min(length, count)
        yield address + length - size if backward and address != SKIPPED else address, size
        count -= length


def peek(space: AddressSpace, address: int, length: int) -> Piece:
    """What *space* has at *address*, which may be SKIPPED."""
    if address == SKIPPED:
        return Piece(None, length, b"")
    try:
        return Piece(address, length, space.read(address, length))
    except (AddressingError, StorageLost, StorageAway):
        return Piece(address, length, b"")


def cut(pieces: Iterable[Piece], most: int) -> Iterator[Piece]:
    """Those of *pieces* that have the first *most* bytes, the last one cut."""
    for address, length, data in pieces:
        if most <= 0:
            return
        yield Piece(address, min(length, most), data[:most])
        most -= length
