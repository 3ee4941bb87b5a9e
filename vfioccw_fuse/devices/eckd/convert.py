"""Linux's disks from raw images to 3390s and back: `vfioccw image convert`.

A raw image becomes the one partition of a volume with the compatible disk layout and blocks of
4096 bytes, as `dasdfmt` and `fdasd -a` would have made it; a partition becomes a raw image. What is
zero takes no room on either side.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import os
import struct
from collections.abc import Iterator
from typing import Final

from ...errors import UserError
from ..identify import Kind, identify
from ..locks import Use
from ..making import new_file, write_at, writing
from ..medium import Medium
from . import labels, unwritten, vtoc
from .geometry import HEADS, MOST_CYLINDERS, records_per_track
from .image import HEADER_LENGTH, CkdImage, new_header
from .track import COUNT_LENGTH, SLOT, survey
from .volume import CYLINDER_LENGTH, Progress, random_serial

_SECTOR, _MBR_ENTRIES, _MBR_MARK = 512, 446, 510
_MBR_ENTRY = struct.Struct("<B3xB3xII")  # active, type, first sector, sectors
TRACK_DATA: Final = labels.BLOCKS_PER_TRACK * labels.BLOCK
"""Bytes of Linux's data on a track."""
MOST_DATA: Final = (MOST_CYLINDERS * HEADS - labels.FIRST_DATA_TRACK) * TRACK_DATA
"""Bytes that fit into the partition of the largest 3390."""


def to_3390(
    source: str,
    target: str,
    *,
    cylinders: int | None = None,
    volser: str | None = None,
    full: bool = False,
    replace: bool = False,
    progress: Progress | None = None,
) -> int:
    """Make *target* a 3390 whose one partition begins with the raw image *source*; its cylinders.

    *cylinders*: its size, as large as needed unless said. *full*: every track is written, which the
    Hercules tools want. UserError for what cannot be; nothing is left then.
    """
    volser = labels.check_volser(volser if volser is not None else labels.DEFAULT_VOLSER)
    _need_another(source, target)
    with _raw(source) as (medium, size):
        tracks = -(-size // TRACK_DATA)
        needed = -(-(tracks + labels.FIRST_DATA_TRACK) // HEADS)
        if needed > MOST_CYLINDERS:
            raise UserError(
                f"{source}: {size} bytes, and the largest 3390 has room for {MOST_DATA}; "
                "make it smaller"
            )
        cylinders = needed if cylinders is None else cylinders
        if not needed <= cylinders <= MOST_CYLINDERS:
            raise UserError(
                f"{cylinders} cylinders: {source} needs {needed}, and a 3390 has at most "
                f"{MOST_CYLINDERS}"
            )
        header = new_header(random_serial(), unwritten.NONE if full else unwritten.BLOCKS)
        special = labels.cdl_tracks(volser, cylinders, datetime.date.today())
        with new_file(target, replace=replace) as fd, writing(target):
            os.ftruncate(fd, HEADER_LENGTH + cylinders * CYLINDER_LENGTH)
            write_at(fd, header.pack(), 0)
            for track, records in special.items():
                _write_track(fd, track, labels.pack_track(*divmod(track, HEADS), records))
            plain = unwritten.Unwritten(unwritten.BLOCKS)
            first = labels.FIRST_DATA_TRACK
            for track in range(first, cylinders * HEADS):
                data = _read(medium, source, (track - first) * TRACK_DATA, size)
                if data.strip(b"\0"):
                    blocks = [
                        labels.Record(b"", data[at : at + labels.BLOCK].ljust(labels.BLOCK, b"\0"))
                        for at in range(0, TRACK_DATA, labels.BLOCK)
                    ]
                    _write_track(fd, track, labels.pack_track(*divmod(track, HEADS), blocks))
                elif full:
                    _write_track(fd, track, plain.content(track))
                if progress is not None and track % HEADS == HEADS - 1:
                    progress(track // HEADS + 1, cylinders)
    return cylinders


def to_raw(
    source: str,
    target: str,
    *,
    partition: int | None = None,
    replace: bool = False,
    progress: Progress | None = None,
) -> vtoc.Partition:
    """Make *target* a raw image of a partition of the 3390 *source*; gives which.

    *partition*: its number; the only one unless said. UserError for what cannot be, and for a track
    without Linux's blocks; nothing is left then.
    """
    _need_another(source, target)
    image = CkdImage.open(source, use=Use.COPY)
    try:
        contents = vtoc.contents_of(image)
        size = contents.label.block_size
        chosen = _chosen(source, contents, partition)
        assert size is not None
        per_track = records_per_track(size)
        end = chosen.first + chosen.blocks
        if end > image.tracks * per_track:
            raise UserError(f"{source}: partition {chosen.number} ends behind the disk")
        with new_file(target, replace=replace) as fd, writing(target):
            os.ftruncate(fd, chosen.blocks * size)
            track = chosen.first // per_track
            last = (end - 1) // per_track
            while (track := image.next_written(track)) <= last:
                data = _blocks(image, source, track, size, per_track)
                at = (track * per_track - chosen.first) * size
                part = data[max(0, -at) : min(len(data), chosen.blocks * size - at)]
                if part.strip(b"\0"):
                    write_at(fd, part, max(0, at))
                track += 1
                if progress is not None and not track % HEADS:
                    progress(track // HEADS, image.cylinders)
        return chosen
    finally:
        image.close()


def _need_another(source: str, target: str) -> None:
    """UserError if *target* is *source*, by whatever name."""
    if os.path.exists(source) and os.path.exists(target) and os.path.samefile(source, target):
        raise UserError(f"{target}: is what it would be made of; name another file")


def _chosen(source: str, contents: vtoc.Contents, number: int | None) -> vtoc.Partition:
    """The partition that is meant; UserError if there is none, or several."""
    found = contents.partitions
    if not found:
        layout = contents.label.layout
        why = "it has no partition" if layout == "cdl" else f"its layout is {layout}"
        raise UserError(
            f"{source}: no partition of Linux's: {why}; "
            "vfioccw image info --vtoc shows what is there"
        )
    if number is None and len(found) > 1:
        most = len(found)
        raise UserError(f"{source}: {most} partitions; say which: --partition 1 to {most}")
    chosen = number or 1
    if chosen > len(found):
        raise UserError(f"{source}: there is no partition {chosen}; it has {len(found)}")
    return found[chosen - 1]


def _blocks(image: CkdImage, source: str, track: int, size: int, per_track: int) -> bytes:
    """The data of a track of blocks; UserError if it is none."""
    slot = bytearray(SLOT)
    cylinder, head = divmod(track, HEADS)
    try:
        whole = image.read_track(track, slot)
    except OSError as error:
        raise UserError(f"{source}: cannot be read: {error.strerror}") from None
    found = survey(slot)
    blocks = list(zip(found.starts, found.keys, found.datas, strict=True))[1 : per_track + 1]
    if not whole or len(blocks) < per_track or any(key or data != size for _, key, data in blocks):
        raise UserError(
            f"{source}: cylinder {cylinder} head {head} has not {per_track} blocks of {size} "
            "bytes; see vfioccw image check"
        )
    return b"".join(slot[at + COUNT_LENGTH : at + COUNT_LENGTH + size] for at, _, _ in blocks)


@contextlib.contextmanager
def _raw(path: str) -> Iterator[tuple[Medium, int]]:
    """The raw image *path*, open for reading, and its size; UserError if it is none."""
    medium = Medium.open(path, os.O_RDONLY, use=Use.COPY)
    try:
        size = medium.size_at_open
        found = identify(path, medium.fd, size)
        if found.kind is not Kind.RAW:
            raise UserError(f"{path}: {found.what}, not a raw disk; {found.remedy}")
        if _has_pc_partitions(medium.read(2 * _SECTOR, 0)):
            raise UserError(
                f"{path}: a disk with a PC partition table, and Linux looks for none in a "
                "partition of a 3390; take one of its partitions out (sfdisk -l, dd) and convert "
                "that"
            )
        yield medium, size
    finally:
        medium.close()


def _has_pc_partitions(head: bytes) -> bool:
    """Whether the first two sectors *head* have a partition table (GPT, or MBR with entries)."""
    if head[_SECTOR:].startswith(b"EFI PART"):
        return True
    if head[_MBR_MARK : _MBR_MARK + 2] != b"\x55\xaa":
        return False
    entries = [_MBR_ENTRY.unpack_from(head, _MBR_ENTRIES + 16 * at) for at in range(4)]
    used = [kind for _, kind, begin, sectors in entries if kind and begin and sectors]
    return bool(used) and all(active in (0x00, 0x80) for active, _, _, _ in entries)


def _read(medium: Medium, path: str, offset: int, size: int) -> bytes:
    """The data of a track out of a raw image of *size* bytes; empty where the file has a hole."""
    length = min(TRACK_DATA, size - offset)
    if length <= 0 or _is_hole(medium.fd, offset, length):
        return b""
    try:
        data = medium.read(length, offset)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    if len(data) < length:
        raise UserError(f"{path}: another program has cut it short; try again")
    return data


def _is_hole(fd: int, offset: int, length: int) -> bool:
    """Whether the file has no data from *offset* on for *length* bytes."""
    try:
        return os.lseek(fd, offset, os.SEEK_DATA) >= offset + length
    except OSError as error:
        return error.errno == errno.ENXIO


def _write_track(fd: int, track: int, data: bytes) -> None:
    write_at(fd, data, HEADER_LENGTH + track * SLOT)
