"""One track as the image holds it: home address, records, end marker.

A track's slot is a home address of 5 bytes (flag 00, cylinder, head), then records one after the
other - count field of 8 bytes (cylinder, head, record number, key length, data length), key, data -
and 8 bytes of ff after the last; what follows is unused and may be anything. All numbers are big
endian. Only this file takes bytes of a track apart.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from .geometry import fits

HOME_ADDRESS_LENGTH: Final = 5
COUNT_LENGTH: Final = 8
R0_DATA_LENGTH: Final = 8
"""Data bytes of a standard record 0, which is empty."""
END_MARKER: Final = b"\xff" * COUNT_LENGTH
SLOT: Final = 56832
"""Bytes that a track of a 3390 takes in the image, as the Hercules tools make it."""
MOST_RECORDS: Final = 255
"""More than fit on any track (87 empty ones do): a longer chain of counts is garbage."""

HOME_ADDRESS: Final = struct.Struct(">BHH")
"""Flag, cylinder, head."""
COUNT: Final = struct.Struct(">HHBBH")
"""Cylinder, head, record number, key length, data length."""

_unpack_count = struct.Struct(">IBBH").unpack_from


class Layout(NamedTuple):
    """Where the records of a track are: lists of equal length, in the order of the track."""

    starts: list[int]
    """Offset of each count field in the slot."""
    keys: list[int]
    """Key length of each record."""
    datas: list[int]
    """Data length of each record."""
    end: int
    """Offset behind the last record: of the end marker, or of what should be one."""
    whole: bool
    """The end marker is there. If not, the track is not well formed from `end` on."""


def survey(slot: bytes | bytearray | memoryview) -> Layout:
    """Find the records of *slot*; any content is taken, and nothing beyond it is looked at."""
    starts: list[int] = []
    keys: list[int] = []
    datas: list[int] = []
    position = HOME_ADDRESS_LENGTH
    last = len(slot) - COUNT_LENGTH
    while position <= last:
        address, number, key, data = _unpack_count(slot, position)
        if address == 0xFFFFFFFF and number == 0xFF and key == 0xFF and data == 0xFFFF:
            return Layout(starts, keys, datas, position, True)
        after = position + COUNT_LENGTH + key + data
        if after > last or len(starts) == MOST_RECORDS:
            break
        starts.append(position)
        keys.append(key)
        datas.append(data)
        position = after
    return Layout(starts, keys, datas, position, False)


def empty_track(cylinder: int, head: int) -> bytes:
    """The used part of a track that holds nothing but its home address and a standard record 0."""
    return (
        HOME_ADDRESS.pack(0, cylinder, head)
        + COUNT.pack(cylinder, head, 0, 0, R0_DATA_LENGTH)
        + bytes(R0_DATA_LENGTH)
        + END_MARKER
    )


class Track:
    """The track under the heads: its bytes, and where its records are.

    `view` shows the bytes without a copy; it stays valid when another track is loaded, but shows
    that one then.
    """

    __slots__ = (
        "buffer",
        "cylinder",
        "datas",
        "end",
        "head",
        "keys",
        "number",
        "starts",
        "view",
        "whole",
    )

    def __init__(self) -> None:
        self.buffer = bytearray(SLOT)
        self.view = memoryview(self.buffer)
        self.number = -1
        """Which track of the volume it is, cylinder * HEADS + head; -1: none."""
        self.cylinder = self.head = 0
        self.starts: list[int] = []
        self.keys: list[int] = []
        self.datas: list[int] = []
        self.end = HOME_ADDRESS_LENGTH
        self.whole = True

    def loaded(self, number: int, cylinder: int, head: int) -> bool:
        """The buffer was filled with track *number*; False if its home address differs."""
        self.number = -1
        if HOME_ADDRESS.unpack_from(self.buffer) != (0, cylinder, head):
            return False
        self.starts, self.keys, self.datas, self.end, self.whole = survey(self.buffer)
        self.number, self.cylinder, self.head = number, cylinder, head
        return True

    def home_address(self) -> memoryview:
        """The 5 bytes of the home address."""
        return self.view[:HOME_ADDRESS_LENGTH]

    def identifier(self, record: int) -> bytes:
        """Cylinder, head and record number (CCHHR) out of the count field of *record*, 5 bytes."""
        start = self.starts[record]
        return bytes(self.buffer[start : start + 5])

    def record_number(self, record: int) -> int:
        """The record number in the count field of *record*."""
        return self.buffer[self.starts[record] + 4]

    def after(self, record: int) -> int:
        """Offset behind *record* (-1: behind the home address)."""
        if record < 0:
            return HOME_ADDRESS_LENGTH
        return self.starts[record] + COUNT_LENGTH + self.keys[record] + self.datas[record]

    def has_room(self, record: int, key: int, data: int) -> bool:
        """Whether a record of these lengths fits behind *record*, on the device and in the slot."""
        # An end marker at the very end of the slot is legal, but the Hercules tools do not find it.
        if self.after(record) + COUNT_LENGTH + key + data + len(END_MARKER) >= SLOT:
            return False
        lengths = list(zip(self.keys[: record + 1], self.datas[: record + 1], strict=True))
        return fits([*lengths, (key, data)])

    def changed(self, offset: int, data: bytes) -> None:
        """The *data* bytes at *offset*, within records, were written."""
        self.buffer[offset : offset + len(data)] = data

    def formatted(self, offset: int, data: bytes) -> None:
        """The track was written anew from *offset* on; *data* ends with the end marker."""
        self.buffer[offset : offset + len(data)] = data
        self.starts, self.keys, self.datas, self.end, self.whole = survey(self.buffer)
