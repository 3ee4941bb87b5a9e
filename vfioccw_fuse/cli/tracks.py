"""What `vfioccw read` and `vfioccw write` do with tracks and records of a 3390.

A track in a file is 64 KiB, as Linux has it with `raw_track_access`: what Read Track gives, up to
the eight bytes of ff behind the last record, then zeros.
"""

from typing import Final

from rich.table import Table

from ..client import EckdDisk
from ..client.eckd import track_length
from ..errors import UserError
from .copying import Written, progress, size_of, source, target, whole_units, write_all
from .output import show_table

TRACK: Final = 1 << 16
"""Bytes of a track in a file (`dasd_eckd.c`: DASD_RAW_SECTORS_PER_TRACK)."""


def list_records(disk: EckdDisk, track: int) -> None:
    """Show the count fields of a track."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("cylinder", "head", "record", "key", "data"):
        table.add_column(heading, justify="right")
    for count in disk.counts(track):
        table.add_row(*map(str, count))
    show_table(table)


def read_tracks(disk: EckdDisk, path: str, first: int, count: int | None, output: str) -> None:
    """Copy *count* tracks from *first* on, or all up to the last, to the file *output*."""
    count = disk.tracks - first if count is None else count
    _check(disk, path, first, count)
    with target(output) as file, progress("reading", count * TRACK) as advance:
        for track in disk.read_tracks(first, count):
            write_all(file, output, track.ljust(TRACK, b"\0"))
            advance(TRACK)


def read_record(
    disk: EckdDisk, path: str, track: int, number: int, with_key: bool, output: str
) -> None:
    """Copy the data of a record, or its key and data, to the file *output*."""
    try:
        record = disk.read_record(track, number)
    except ValueError as wrong:
        raise UserError(f"{path}: {wrong}; --list shows which it has") from None
    with target(output) as file:
        write_all(file, output, (record.key if with_key else b"") + record.data)


def write_tracks(disk: EckdDisk, path: str, first: int, count: int | None, name: str) -> None:
    """Copy the file *name* to tracks from *first* on, at most *count*."""
    written = Written("track", first)
    with written.told(), source(name) as file:
        left = size_of(file)
        if left is not None:
            tracks = whole_units(name, file, left, TRACK)
            count = tracks if count is None else min(count, tracks)
        most = disk.tracks - first if count is None else count
        _check(disk, path, first, most)
        with progress("writing", None if count is None else count * TRACK) as advance:
            while written.done < most and (piece := file.read(TRACK)):
                if len(piece) < TRACK:
                    raise UserError(f"{name}: the last {len(piece)} bytes are no track of {TRACK}")
                try:
                    disk.write_track(first + written.done, piece[: track_length(piece)])
                except ValueError as wrong:
                    raise UserError(
                        f"{name}: track {written.done} of it is none: {wrong}; take a file that "
                        "vfioccw read --track has made"
                    ) from None
                written.done += 1
                advance(TRACK)
        if count is None and file.read(1):
            raise UserError(f"{path}: the disk ends after {written.done} tracks; the rest is lost")


def write_record(
    disk: EckdDisk, path: str, track: int, number: int, with_key: bool, name: str
) -> None:
    """Copy the file *name* to the data of a record, or to its key and data."""
    try:
        count = disk.count_of(track, number)
        key = count.key if with_key else 0
        with source(name) as file:
            content = file.read(key + count.data + 1)
        disk.write_record(track, number, content[key:], content[:key] if with_key else None)
    except ValueError as wrong:
        raise UserError(f"{path}: {wrong}; --list shows which it has") from None


def _check(disk: EckdDisk, path: str, first: int, count: int) -> None:
    """Raise UserError unless the disk has *count* tracks from *first* on."""
    if first + count > disk.tracks:
        raise UserError(
            f"{path}: the disk has tracks 0 to {disk.tracks - 1}; "
            f"there are no {count} from {first} on"
        )
