"""CKD images as files: the uncompressed format of the Hercules tools, read and written in place.

A header of 512 bytes: `CKD_P370`, heads per cylinder (32 bits), bytes of a track's slot (32 bits),
low byte of the device type (3390: 90), file sequence number, highest cylinder (16 bits), serial
number of 12 ASCII characters, what tracks hold that were never written (`unwritten`); numbers are
LITTLE endian. Then one slot per track, in order. A volume in several files has sequence numbers
from 1 on and in all files but the last the highest cylinder; the last character of the file name
before its first dot counts the files: vol_1.ckd, vol_2.ckd, ...
"""

from __future__ import annotations

import errno
import os
import struct
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, Self

from ...errors import UserError, reason
from ..identify import CKD_HEADER, CKD_MAGIC, Kind, identify
from ..locks import Use
from ..medium import Medium
from .geometry import DEVICE_TYPE, HEADS, MOST_CYLINDERS
from .track import SLOT
from .unwritten import KINDS, NONE, Unwritten, is_unwritten

HEADER_LENGTH: Final = CKD_HEADER
MOST_FILES: Final = 27
"""Files of one volume: suffixes 1 to 9, then A to R."""
SERIAL_LENGTH: Final = 12

_HEADER = struct.Struct("<8sIIBBH12sB")
_UNWRITTEN_AT: Final = _HEADER.size - 1


class Header(NamedTuple):
    """The fields of a header, in their order."""

    magic: bytes
    heads: int
    slot: int
    """Bytes of a track."""
    device: int
    """Low byte of the device type."""
    sequence: int
    """0: the only file; 1 and up: this file's place among several."""
    highest: int
    """The highest cylinder in this file; 0: it is the last file."""
    serial: bytes
    unwritten: int
    """What tracks hold that were never written, a key of `unwritten.KINDS`; else there are none."""

    def pack(self) -> bytes:
        """The 512 bytes of the header."""
        return _HEADER.pack(*self).ljust(HEADER_LENGTH, b"\0")


def new_header(serial: str, unwritten: int = NONE) -> Header:
    """The header of a volume in one file; *serial* has 12 characters, *unwritten* is in `KINDS`."""
    device = DEVICE_TYPE & 0xFF
    return Header(CKD_MAGIC, HEADS, SLOT, device, 0, 0, serial.encode("ascii"), unwritten)


@dataclass(frozen=True, slots=True)
class _File:
    """One of the files of a volume."""

    medium: Medium
    header: Header
    tracks: int

    @property
    def path(self) -> str:
        """Its name."""
        return self.medium.path


def _open_file(path: str, use: Use) -> _File:
    """Open one file and check its header against its size; UserError with the remedy."""
    try:
        medium = Medium.open(path, use.flags, use=use)
    except PermissionError:
        hint = "; attach it with readonly, or make it writable" if use.writes else ""
        raise UserError(f"{path}: permission denied{hint}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be opened: {reason(error)}; name a CKD image") from None
    try:
        header, tracks = _check_file(medium)
    except BaseException:
        medium.close()
        raise
    return _File(medium, header, tracks)


def _check_file(medium: Medium) -> tuple[Header, int]:
    """The header of an open file and its number of tracks; UserError if it is no 3390 image."""
    path, size = medium.path, medium.size_at_open
    found = identify(path, medium.fd, size)
    if found.kind is not Kind.CKD:
        raise found.refusal(Kind.CKD)
    try:
        header = Header(*_HEADER.unpack_from(medium.read(HEADER_LENGTH, 0)))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    if (header.heads, header.slot) != (HEADS, SLOT):
        raise UserError(
            f"{path}: the header says {header.heads} heads and {header.slot} bytes a track, a 3390 "
            f"has {HEADS} and {SLOT}; the header is damaged, use a copy of the image"
        )
    tracks, rest = divmod(size - HEADER_LENGTH, SLOT)
    if rest or tracks <= 0 or tracks % HEADS:
        raise UserError(
            f"{path}: {size} bytes are not a header and whole cylinders of "
            f"{HEADS * SLOT} bytes; it was cut short or not copied whole, use a complete copy"
        )
    return header, tracks


def _sibling(path: str, sequence: int) -> str:
    """The name of file number *sequence* of the volume whose first file is *path*."""
    where = Path(path)
    stem, dot, rest = where.name.partition(".")
    suffix = str(sequence) if sequence <= 9 else chr(ord("A") + sequence - 10)
    return str(where.with_name(stem[:-1] + suffix + dot + rest))


class CkdImage:
    """A volume on one file or several: reads and writes whole tracks or parts of them.

    Nothing is kept: every access goes to the page cache, so that others who read the file see it.
    """

    def __init__(self, files: list[_File], readonly: bool) -> None:
        """Use `CkdImage.open`; *files* are checked and in order."""
        self._files = files
        self._firsts: list[int] = []
        total = 0
        for file in files:
            self._firsts.append(total)
            total += file.tracks
        self._only = files[0].medium if len(files) == 1 else None
        self.media = tuple(file.medium for file in files)
        """All files, open, in order."""
        for medium in self.media:
            medium.keep_size()
        self.path = files[0].path
        """The (first) file."""
        self.paths = [file.path for file in files]
        """All files, in order."""
        self.readonly = readonly
        """Opened for reading only: `write` must not be called."""
        self.tracks = total
        """Tracks of the volume."""
        self.cylinders = total // HEADS
        self.serial = _serial(files[0])
        """Serial number, 12 characters; from the file's inode if the header has none."""
        self.unwritten = files[0].header.unwritten
        """What tracks hold that were never written, as in the header."""
        self._content = Unwritten(self.unwritten) if self.unwritten in KINDS else None
        # Those that somebody has read and nobody has written.
        self._blank: set[int] = set()

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        readonly: bool = False,
        shared: bool = False,
        *,
        use: Use | None = None,
    ) -> Self:
        """Open the volume that begins in file *path*; UserError says what is wrong with it.

        All its files are locked, as is said for these options of a device, or by *use*.
        """
        use = use or Use.of(readonly=readonly, shared=shared)
        first = _open_file(os.fspath(path), use)
        files = [first]
        try:
            if first.header.sequence > 1:
                raise UserError(
                    f"{path}: file {first.header.sequence} of a volume in several files; "
                    "name the first one"
                )
            if first.header.sequence == 1:
                _open_siblings(files, use)
            cylinders = sum(file.tracks for file in files) // HEADS
            if cylinders > MOST_CYLINDERS:
                raise UserError(
                    f"{path}: {cylinders} cylinders; at most {MOST_CYLINDERS} are supported"
                )
        except BaseException:
            for file in files:
                file.medium.close()
            raise
        return cls(files, not use.writes)

    def _place(self, track: int, offset: int) -> tuple[Medium, int]:
        """File and file offset of byte *offset* of the slot of *track*."""
        if not (0 <= track < self.tracks and 0 <= offset <= SLOT):
            raise ValueError(f"track {track}, offset {offset}")
        if self._only is not None:
            return self._only, HEADER_LENGTH + track * SLOT + offset
        index = bisect_right(self._firsts, track) - 1
        return (
            self._files[index].medium,
            HEADER_LENGTH + (track - self._firsts[index]) * SLOT + offset,
        )

    def read_track(self, track: int, buffer: bytearray) -> bool:
        """Fill *buffer* (SLOT bytes) with a track; False if the file ends first. OSError."""
        medium, offset = self._place(track, 0)
        if medium.read_into(buffer, offset) != SLOT:
            return False
        if self._content is not None and is_unwritten(buffer, track):
            self._content.fill(buffer, track)
            self._blank.add(track)
        return True

    def write(self, track: int, offset: int, data: bytes) -> None:
        """Write *data* at *offset* in the slot of *track*, in one call. Raises OSError.

        The first write to a track that was read as one that nobody has written makes it one.
        """
        medium, position = self._place(track, offset)
        if offset + len(data) > SLOT:
            raise ValueError(f"{len(data)} bytes at {offset} leave the slot")
        if track in self._blank:
            assert self._content is not None
            for start, part in self._content.frame(track):
                medium.write(part, position - offset + start)
            self._blank.discard(track)
        medium.write(data, position)

    def next_written(self, track: int) -> int:
        """The first track from *track* on that may have been written; `tracks` behind the last one.

        It goes by the holes of the file; the last track is always one that may. OSError.
        """
        if self._content is None or self._only is None:
            return track
        try:
            data = os.lseek(self._only.fd, HEADER_LENGTH + track * SLOT, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return max(track, self.tracks - 1)
            raise
        return max(track, (data - HEADER_LENGTH) // SLOT)

    def write_all(self) -> Iterator[int]:
        """Write the tracks that nobody has written, so that others read them; gives each track.

        Only for who has the volume alone. OSError.
        """
        slot = bytearray(SLOT)
        for track in range(self.tracks):
            if self.read_track(track, slot) and track in self._blank:
                assert self._content is not None
                self._blank.discard(track)
                self.write(track, 0, self._content.content(track))
            yield track
        self._files[0].medium.write(bytes([NONE]), _UNWRITTEN_AT)

    def tell_cut(self, track: int) -> None:
        """The file of *track* ends before it: a line in the log, once."""
        self._place(track, 0)[0].tell_cut()

    def close(self) -> None:
        """Give the files back."""
        for medium in self.media:
            medium.close()
        self._files = []
        self._only = None
        self.tracks = 0


def _open_siblings(files: list[_File], use: Use) -> None:
    """Append the files after the first one; UserError if they do not belong together."""
    cylinders = 0
    while True:
        file = files[-1]
        cylinders += file.tracks // HEADS
        highest = file.header.highest
        if highest == 0:
            return
        if highest != cylinders - 1:
            raise UserError(
                f"{file.path}: the header says that it ends with cylinder {highest}, its size that "
                f"it ends with {cylinders - 1}; use a complete copy"
            )
        sequence = len(files) + 1
        if sequence > MOST_FILES:
            raise UserError(f"{files[0].path}: a volume has at most {MOST_FILES} files")
        path = _sibling(files[0].path, sequence)
        if not os.path.exists(path):
            raise UserError(f"{path}: missing; the volume goes on in this file, put it there")
        file = _open_file(path, use)
        files.append(file)
        if file.header.sequence != sequence:
            raise UserError(
                f"{path}: is file {file.header.sequence} of a volume, file {sequence} belongs here"
            )


def _serial(file: _File) -> str:
    """The serial number in the header, or 12 digits that stay the same for the file."""
    text = file.header.serial.decode("ascii", "replace")
    if text.isascii() and text.isalnum():
        return text.upper()
    return f"{os.fstat(file.medium.fd).st_ino % 10**SERIAL_LENGTH:0{SERIAL_LENGTH}d}"
