"""Tracks that nobody has written: what they hold is said once, and they are holes in the file.

A slot whose home address is zero, but for track 0, was never written. Byte 32 of the image's
header, which the Hercules tools leave zero, says what is read there; the numbers are those of their
null tracks in compressed images (Hercules, `CKDDASD_NULLTRK_FMT1` and 2). The first write to such a
track gives it its count fields, where the data areas are zeros already, and its home address last:
until that is there the track is still one that nobody has written, whatever happens meanwhile. Two
systems that share the volume may do so at once, as both write the same.

The Hercules tools know no such track: they take it for a damaged one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from .geometry import HEADS
from .labels import count_offsets, plain_track
from .track import (
    COUNT_LENGTH,
    HOME_ADDRESS,
    HOME_ADDRESS_LENGTH,
    R0_DATA_LENGTH,
    SLOT,
    empty_track,
)

NONE: Final = 0
"""Every track was written."""
EMPTY: Final = 1
"""Home address and a standard record 0."""
BLOCKS: Final = 2
"""12 blocks of 4096 zero bytes, as on the volumes of Linux."""
KINDS: Final = {EMPTY: "empty tracks", BLOCKS: "12 blocks of 4096 bytes a track"}
"""What people call them."""

_NO_ADDRESS = bytes(HOME_ADDRESS_LENGTH)
_FIRST = HOME_ADDRESS_LENGTH + COUNT_LENGTH + R0_DATA_LENGTH
_place = struct.Struct(">HH")


def is_unwritten(slot: bytes | bytearray, track: int) -> bool:
    """Whether nobody has written *track*, which begins as *slot* does."""
    return slot[:HOME_ADDRESS_LENGTH] == _NO_ADDRESS and track > 0


class Unwritten:
    """The content of the tracks that nobody has written."""

    def __init__(self, kind: int) -> None:
        """*kind* is a key of `KINDS`."""
        blocks = kind == BLOCKS
        self._track = bytearray(plain_track(0, 0) if blocks else empty_track(0, 0))
        self._counts = count_offsets() if blocks else [HOME_ADDRESS_LENGTH]
        self._rest = bytes(SLOT - len(self._track))

    def content(self, track: int) -> bytes:
        """The used part of *track*."""
        cylinder, head = divmod(track, HEADS)
        HOME_ADDRESS.pack_into(self._track, 0, 0, cylinder, head)
        for offset in self._counts:
            _place.pack_into(self._track, offset, cylinder, head)
        return bytes(self._track)

    def fill(self, slot: bytearray, track: int) -> None:
        """Make *slot* what *track* holds."""
        slot[:] = self.content(track) + self._rest

    def frame(self, track: int) -> Iterator[tuple[int, bytes]]:
        """Offset in the slot and bytes of all that is not zero, the home address last."""
        content = self.content(track)
        yield len(content) - COUNT_LENGTH, content[-COUNT_LENGTH:]
        for offset in reversed(self._counts[1:]):
            yield offset, content[offset : offset + COUNT_LENGTH]
        yield 0, content[:_FIRST]
