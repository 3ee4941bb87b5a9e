"""What is on a volume: its label, its data sets, and what Linux makes partitions of.

A standard label (VOL1) says where the VTOC is, whose records of 44 bytes of key and 96 of data are
DSCBs: format 4 describes the VTOC itself, format 1 or 8 a data set and its first three extents,
format 3 further ones. Linux takes the first extent of the first three data sets of a volume with
the compatible disk layout for partitions; a volume with the Linux disk layout is one from the block
behind its label on. Rules: DSCB layouts: z/OS DFSMS *Advanced Services*; partitions: Linux
`block/partitions/ibm.c`; s390-tools' `libvtoc`.
"""

from __future__ import annotations

import datetime
import struct
from collections.abc import Iterator, Mapping
from itertools import islice, takewhile
from typing import Final, NamedTuple

from . import labels
from .geometry import HEADS, records_per_track
from .image import CkdImage
from .labels import Record
from .track import COUNT_LENGTH, SLOT, survey

MOST_PARTITIONS: Final = 3
"""Linux has minor numbers for so many."""
LABEL_BLOCKS: Final = 3
"""Blocks of the Linux disk layout before its partition: two IPL records and the label."""

Place = tuple[int, int]
"""Track and record number of a DSCB."""

_FORMAT3, _FORMAT4 = 0xF3, 0xF4
_DATA_SETS = (0xF1, 0xF8)
_PASSED_OVER = (0xF4, 0xF5, 0xF7, 0xF9)  # DSCBs between data sets, by the rules of Linux
_VTOC_POINTER = struct.Struct(">HHB")  # of the label: cylinder, head, record
_VTOC_POINTER_AT = 11
_DSCB1 = struct.Struct(">B6sH3s3sBBB13s3sBBHHBBHHBH")
_EXTENT = struct.Struct(">BBHHHH")
_DSCB1_EXTENTS, _DSCB4_EXTENT, _DSCB1_NEXT = 61, 61, 91
_IN_DSCB1, _IN_DSCB3_KEY, _IN_DSCB3 = 3, 4, 9  # extents
_ORGANIZATIONS = {0x8000: "IS", 0x4000: "PS", 0x2000: "DA", 0x0200: "PO", 0x0008: "VS"}
_RECORDS = {0xC0: "U", 0x80: "F", 0x40: "V"}


class Label(NamedTuple):
    """What the first tracks say a volume is."""

    layout: str
    """`cdl`, `ldl`, `cms`, `os` (a standard label but no Linux layout), `none` (no label)."""
    volser: str | None
    """Volume serial."""
    block_size: int | None
    """Bytes of a block, if the volume has blocks."""


class Extent(NamedTuple):
    """Tracks that follow each other; cylinder and head of each are divmod(track, 15)."""

    first: int
    last: int


class DataSet(NamedTuple):
    """A data set, as its format-1 DSCB and those that follow it have it."""

    name: str
    organization: str
    """PS, PO, DA, IS, VS; `-` if others know none, as of Linux's partitions."""
    record_format: str
    """F, V or U; B behind it: blocked."""
    block_size: int
    record_length: int
    created: str
    """The day as YYYY-MM-DD; empty if it is not said."""
    extents: tuple[Extent, ...]


class Partition(NamedTuple):
    """What Linux calls /dev/dasdX with the *number* behind it."""

    number: int
    first: int
    """Its first block."""
    blocks: int
    data_set: str
    """Name of the data set that it is; empty on the Linux disk layout."""


class Contents(NamedTuple):
    """All of it."""

    label: Label
    data_sets: tuple[DataSet, ...]
    partitions: tuple[Partition, ...]


def label_of(image: CkdImage) -> Label:
    """Layout, volume serial and block size of a volume, by the rules of Linux's analysis."""
    records = list(_records(image, 0))[1:4]
    if len(records) < 3:
        return Label("none", None, None)
    label = records[2].data
    mark, volser = label[:4], label[4:10].decode(labels.EBCDIC).strip()
    lengths = [(len(record.key), len(record.data)) for record in records]
    if mark == labels.VOL1:
        expected = [(4, labels.IPL1_LENGTH), (4, labels.IPL2_LENGTH), (4, labels.VOL1_LENGTH)]
        block = _block_of(image, labels.FIRST_DATA_TRACK) if lengths == expected else None
        return Label("cdl" if block else "os", volser, block)
    if mark in (labels.LNX1, labels.CMS1):
        block = len(records[0].data) or None if not records[0].key else None
        return Label("ldl" if mark == labels.LNX1 else "cms", volser, block)
    return Label("none", None, None)


def contents_of(image: CkdImage) -> Contents:
    """What is on a volume; OSError if it cannot be read.

    A VTOC that is damaged gives what could be found.
    """
    label = label_of(image)
    dscbs = dict(_dscbs(image)) if label.layout in ("cdl", "os") else {}
    data_sets = [
        _data_set(record, dscbs) for record in dscbs.values() if record.data[0] in _DATA_SETS
    ]
    return Contents(label, tuple(data_sets), tuple(_partitions(image, label, dscbs)))


def _partitions(image: CkdImage, label: Label, dscbs: Mapping[Place, Record]) -> list[Partition]:
    """What Linux makes partitions of."""
    if label.block_size is None:
        return []
    per_track = records_per_track(label.block_size)
    if label.layout == "ldl":
        blocks = min(_formatted(image) or image.tracks * per_track, image.tracks * per_track)
        return [Partition(1, LABEL_BLOCKS, max(0, blocks - LABEL_BLOCKS), "")]
    # It looks no further than the first DSCB that it does not know.
    known = takewhile(lambda r: r.data[0] in (*_DATA_SETS, *_PASSED_OVER), dscbs.values())
    found = (_data_set(record, dscbs) for record in known if record.data[0] in _DATA_SETS)
    return [
        Partition(number, first * per_track, (last - first + 1) * per_track, one.name)
        for number, one in enumerate(islice(filter(_has_extent, found), MOST_PARTITIONS), 1)
        for first, last in one.extents[:1]
    ]


def _formatted(image: CkdImage) -> int:
    """The blocks of the Linux disk layout as its label has it; 0 if it is too old to say so."""
    label = list(_records(image, 0))[3].data
    behind = labels.LDL_VERSION_AT + 1
    if label[labels.LDL_VERSION_AT : behind] != bytes([labels.LDL_VERSION]):
        return 0
    return int.from_bytes(label[behind : behind + 8], "big")


def _records(image: CkdImage, track: int) -> Iterator[Record]:
    """The records of a track, record 0 first; none of a track that the volume does not have."""
    slot = bytearray(SLOT)
    if not 0 <= track < image.tracks or not image.read_track(track, slot):
        return
    found = survey(slot)
    for start, key, data in zip(found.starts, found.keys, found.datas, strict=True):
        begin = start + COUNT_LENGTH
        yield Record(
            bytes(slot[begin : begin + key]), bytes(slot[begin + key : begin + key + data])
        )


def _block_of(image: CkdImage, track: int) -> int | None:
    """The data length of record 1 of *track* if it has no key and some data."""
    records = list(_records(image, track))[1:2]
    return len(records[0].data) or None if records and not records[0].key else None


def _dscbs(image: CkdImage) -> Iterator[tuple[Place, Record]]:
    """The DSCBs of the VTOC, each with its place, in their order."""
    label = list(_records(image, 0))[3].data
    if len(label) < _VTOC_POINTER_AT + _VTOC_POINTER.size:
        return
    cylinder, head, number = _VTOC_POINTER.unpack_from(label, _VTOC_POINTER_AT)
    track = _track(cylinder, head)
    first = next((r for r in list(_records(image, track))[number : number + 1]), None)
    if first is None or not _is_dscb(first) or first.data[0] != _FORMAT4:
        return
    extent = _extents(first.data, _DSCB4_EXTENT, 1)
    last = min(extent[0].last, image.tracks - 1) if extent else track
    for at in range(track, last + 1):
        for place, record in enumerate(_records(image, at)):
            if _is_dscb(record) and (at > track or place >= number):
                yield (at, place), record


def _is_dscb(record: Record) -> bool:
    return (len(record.key), len(record.data)) == (labels.DSCB_KEY, labels.DSCB_DATA)


def _has_extent(one: DataSet) -> bool:
    return bool(one.extents)


def _data_set(record: Record, dscbs: Mapping[Place, Record]) -> DataSet:
    """What a format-1 DSCB says; *dscbs* has those that may follow it."""
    data = record.data
    (_, _, _, created, _, _, _, _, _, _, _, _, _, organization, form, _, block, length, _, _) = (
        _DSCB1.unpack_from(data)
    )
    extents = _extents(data, _DSCB1_EXTENTS, _IN_DSCB1)
    pointer = data[_DSCB1_NEXT:]
    passed = set()
    while any(pointer):
        cylinder, head, number = _VTOC_POINTER.unpack(pointer)
        place = _track(cylinder, head), number
        further = dscbs.get(place)
        if further is None or further.data[0] != _FORMAT3 or place in passed:
            break
        passed.add(place)
        extents += _extents(further.key, 4, _IN_DSCB3_KEY)
        extents += _extents(further.data, 1, _IN_DSCB3)
        pointer = further.data[_DSCB1_NEXT:]
    return DataSet(
        name=record.key.decode(labels.EBCDIC).rstrip(),
        organization=next((w for bit, w in _ORGANIZATIONS.items() if organization & bit), "-"),
        record_format=_RECORDS.get(form & 0xC0, "-") + ("B" if form & 0x10 else ""),
        block_size=block,
        record_length=length,
        created=_day(created),
        extents=tuple(extents),
    )


def _extents(data: bytes, at: int, count: int) -> list[Extent]:
    """The extents among *count* descriptions at *at* that are used."""
    found = []
    for number in range(count):
        kind, _, begin, head, end, last = _EXTENT.unpack_from(data, at + number * _EXTENT.size)
        first, behind = _track(begin, head), _track(end, last)
        if kind and behind >= first:
            found.append(Extent(first, behind))
    return found


def _track(cylinder: int, head: int) -> int:
    """The number of a track; beyond cylinder 65535 the head has the upper bits (`ibm.c`)."""
    return (cylinder | (head & 0xFFF0) << 12) * HEADS + (head & 0xF)


def _day(packed: bytes) -> str:
    """A day out of its three bytes: years since 1900, day of the year."""
    year, day = struct.unpack(">BH", packed)
    if not 1 <= day <= 366:
        return ""
    return str(datetime.date(1900 + year, 1, 1) + datetime.timedelta(day - 1))
