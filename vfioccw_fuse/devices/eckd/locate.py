"""Define Extent, Locate Record (also extended) and Prefix: where a program may work, and on what.

Rules: 3990 reference, the commands of these names; Prefix: *IBM 2105/2107 Reference*, as Linux's
`dasd_eckd.h` describes it. A parameter that is not defined is command reject, message 4.
"""

from __future__ import annotations

import struct
from typing import Final

from ..base import DataTransfer, UnitCheck, command
from . import codes, sense
from .geometry import HEADS, LONGEST_BLOCK, NO_SECTOR, SECTORS
from .orientation import COUNT, DATA, INVALID_PARAMETER, INVALID_SEQUENCE, Orientation
from .sense import Message

EXTENT_LENGTH: Final = 16
LOCATE_LENGTH: Final = 16
LOCATE_EXTENDED_LENGTH: Final = 20
PREFIX_LENGTH: Final = 64
_PREFIX_EXTENT = 12
_PREFIX_LOCATE = 44

_extent = struct.Struct(">BBHHBBHHHH").unpack_from
"""Mask, attributes, block size, 4 bytes of others, begin and end as cylinder and head."""
_locate = struct.Struct(">BBBBHH5sBH").unpack_from
"""Operation, auxiliary, zero, count, cylinder, head, search argument, sector, transfer length."""
_locate_extended = struct.Struct(">BBH").unpack_from
"""At byte 16: imbedded count, extended operation, length of the extended parameter."""

# File mask and global attributes of Define Extent
MASK_RESERVED: Final = 0x20
MASK_DIAGNOSTIC: Final = 0x04
MASK_DEVICE_SUPPORT: Final = 0x02
ATTRIBUTES_MODE: Final = 0xC0
ATTRIBUTES_ECKD: Final = 0xC0
ATTRIBUTES_CKD_CONVERSION: Final = 0x20

# Byte 0 of Locate Record: orientation and operation
ORIENTATION: Final = 0xC0
ORIENT_COUNT: Final = 0x00
ORIENT_HOME: Final = 0x40
ORIENT_DATA: Final = 0x80
ORIENT_INDEX: Final = 0xC0
OPERATION: Final = 0x3F
ORIENT: Final = 0x00
WRITE: Final = 0x01
FORMAT_WRITE: Final = 0x03
READ_DATA: Final = 0x06
WRITE_ANY: Final = 0x09
READ_ANY: Final = 0x0A
WRITE_TRACK: Final = 0x0B
READ_TRACKS: Final = 0x0C
READ_TRACKSET: Final = 0x0E
WRITE_FULL_TRACK: Final = 0x11
READ: Final = 0x16
WRITE_TRACK_DATA: Final = 0x23
EXTENDED: Final = 0x3F
"""The operation is in byte 17 of Locate Record Extended."""

AUXILIARY_LENGTH: Final = 0x80
"""Byte 1: the transfer length factor is given."""
AUXILIARY_COUNT_SUFFIX: Final = 0x01
_AUXILIARY_RESERVED = 0x7E

_WRITES = frozenset(
    {WRITE, FORMAT_WRITE, WRITE_TRACK, WRITE_ANY, WRITE_FULL_TRACK, WRITE_TRACK_DATA}
)
_BASIC = frozenset({ORIENT, WRITE, FORMAT_WRITE, READ_DATA, WRITE_TRACK, READ_TRACKS, READ})
_ORIENTATIONS: Final = {
    ORIENT_COUNT: frozenset(range(OPERATION + 1)),
    ORIENT_HOME: frozenset({ORIENT, FORMAT_WRITE, READ_DATA, READ_TRACKS, READ, READ_TRACKSET}),
    ORIENT_DATA: frozenset({ORIENT, WRITE, READ_DATA, READ}),
    ORIENT_INDEX: frozenset({FORMAT_WRITE, READ}),
}
"""The operations that each orientation is defined for."""
_SUFFIXED = frozenset({WRITE, READ})
_SUFFIXED_EXTENDED = frozenset({WRITE, READ, READ_DATA, WRITE_ANY, READ_ANY})
_PARAMETER_LENGTHS: Final = {
    WRITE_ANY: (1, 1),
    READ_ANY: (1, 1),
    READ_TRACKSET: (1, 2),
    WRITE_FULL_TRACK: (1, 2),
    WRITE_TRACK_DATA: (0, 0),
}
"""Extended operations, and the shortest and longest extended parameter of each."""
_PREFIXED = frozenset({WRITE_FULL_TRACK, WRITE_TRACK_DATA})
"""Extended operations that came with Prefix."""


class Locate(Orientation):
    """The commands that define extents and open domains."""

    @command(codes.DEFINE_EXTENT)
    def define_extent(self, io: DataTransfer) -> int | None:
        """Define Extent: the tracks that the program may touch, its file mask, its block size."""
        data = self._parameters(io, EXTENT_LENGTH)
        self._define_extent(data)
        return None

    @command(codes.LOCATE_RECORD)
    def locate_record(self, io: DataTransfer) -> int | None:
        """Locate Record: go to a record and say what the next commands will do there."""
        data = self._parameters(io, LOCATE_LENGTH)
        self._need_extent()
        operation = data[0] & OPERATION
        if operation not in _BASIC:
            raise self.rejected(INVALID_PARAMETER)
        self._open_domain(data, operation, _SUFFIXED)
        self._orient(data[0] & ORIENTATION, data[8:13])
        return None

    @command(codes.LOCATE_RECORD_EXTENDED)
    def locate_record_extended(self, io: DataTransfer) -> int | None:
        """Locate Record Extended: with the operations Read Any, Write Any, Read Trackset."""
        if not self.control_unit.extended:
            raise self.rejected(Message.INVALID_COMMAND)
        data = self._parameters(io, LOCATE_EXTENDED_LENGTH)
        self._locate_extended(data, io)
        return None

    @command(codes.PREFIX)
    def prefix(self, io: DataTransfer) -> int | None:
        """Prefix: Define Extent, and with format 1 Locate Record Extended, in one command."""
        if not self.control_unit.prefix:
            raise self.rejected(Message.INVALID_COMMAND)
        data = self._parameters(io, PREFIX_LENGTH)
        if data[0] > 1:
            raise self.rejected(INVALID_PARAMETER)
        if data[1] & 0x80:
            self._define_extent(data[_PREFIX_EXTENT:])
        if data[0] == 1:
            self._locate_extended(data[_PREFIX_LOCATE:], io)
        return None

    def _parameters(self, io: DataTransfer, length: int) -> bytes:
        data = io.take(length)
        if len(data) < length:
            raise self.rejected(Message.COUNT_TOO_SMALL)
        return data

    # ------------------------------------------------------------------ the extent

    def _define_extent(self, data: bytes) -> None:
        """Check the 16 bytes of a Define Extent, then let them take effect."""
        if self.mask_set or self.ipl:
            raise self.rejected(INVALID_SEQUENCE)
        (mask, attributes, block_size, _, additional, _, *ends) = _extent(data)
        if (
            attributes & ATTRIBUTES_MODE != ATTRIBUTES_ECKD
            or block_size > LONGEST_BLOCK
            or data[4] | data[5] | additional
        ):
            raise self.rejected(INVALID_PARAMETER)
        mask = self.check_mask(mask)
        if self.extent_defined and (mask, attributes, block_size or LONGEST_BLOCK) != (
            self.mask,
            self.attributes,
            self.block_size,
        ):
            raise self.rejected(INVALID_SEQUENCE)
        first, last = self._track(ends[0], ends[1]), self._track(ends[2], ends[3])
        if first > last:
            raise self.rejected(INVALID_PARAMETER)
        if self.outside_extent(first) or self.outside_extent(last):
            raise self.rejected(INVALID_SEQUENCE if self.extent_defined else INVALID_PARAMETER)
        self.mask = mask
        self.attributes = attributes
        self.block_size = block_size or LONGEST_BLOCK
        self.first_track, self.last_track = first, last
        self.extent_defined = True

    def check_mask(self, mask: int) -> int:
        """A file mask as the control unit takes it; command reject if it is not defined."""
        if mask & MASK_RESERVED:
            raise self.rejected(INVALID_PARAMETER)
        if self.control_unit.prefix and mask & MASK_DIAGNOSTIC:
            # A 2107 has no diagnostic authorization, and takes "both" for device support.
            if not mask & MASK_DEVICE_SUPPORT:
                raise self.rejected(INVALID_PARAMETER)
            mask &= ~MASK_DIAGNOSTIC
        return mask

    def _track(self, cylinder: int, head: int) -> int:
        """The number of a track; command reject if the volume does not have it."""
        if not self.valid_address(cylinder, head):
            raise self.rejected(INVALID_PARAMETER)
        return cylinder * HEADS + head

    # ------------------------------------------------------------------ the domain

    def _need_extent(self) -> None:
        if not (self.extent_defined or self.ipl):
            raise self.rejected(INVALID_SEQUENCE)

    def _locate_extended(self, data: bytes, io: DataTransfer) -> None:
        """The 20 bytes of Locate Record Extended, then its extended parameter."""
        self._need_extent()
        operation = data[0] & OPERATION
        _, extended, length = _locate_extended(data, 16)
        if operation == EXTENDED:
            operation = extended
            if operation not in _PARAMETER_LENGTHS or (
                operation in _PREFIXED and not self.control_unit.prefix
            ):
                raise self.rejected(INVALID_PARAMETER)
            shortest, longest = _PARAMETER_LENGTHS[operation]
        else:
            if operation not in _BASIC or operation == ORIENT or extended:
                raise self.rejected(INVALID_PARAMETER)
            shortest = longest = 0
        if not shortest <= length <= longest:
            raise self.rejected(INVALID_PARAMETER)
        parameter = self._parameters(io, length) if length else b""
        if operation in (READ_ANY, WRITE_ANY) and parameter != b"\x01":
            raise self.rejected(INVALID_PARAMETER)
        self._open_domain(data, operation, _SUFFIXED_EXTENDED)
        if operation == READ_TRACKSET:
            self._take_track_set(parameter)
        orientation = data[0] & ORIENTATION
        if operation in (READ_ANY, WRITE_ANY):
            self.stays_on_track = True
            self.next_record(same_track=True)
        elif operation != WRITE_FULL_TRACK:  # that needs no record to begin with
            self._orient(orientation, data[8:13])

    def _take_track_set(self, parameter: bytes) -> None:
        """Read Trackset: one bit a track, the first one set; as many as the domain counts."""
        bits = int.from_bytes(parameter.ljust(2, b"\0"), "big")
        if not bits & 0x8000 or bits.bit_count() != self.domain:
            raise self._closed(self.rejected(INVALID_PARAMETER))
        last = 16 - (bits & -bits).bit_length()
        if self.outside_extent(self.cylinder * HEADS + self.head + last):
            raise self._closed(self.stopped(sense.FILE_PROTECTED))
        self.track_set = bits
        self.track_set_active = True

    def _open_domain(self, data: bytes, operation: int, suffixed: frozenset[int]) -> None:
        """Check the common 16 bytes, move to the track, and begin the domain."""
        (byte0, auxiliary, zero, count, cylinder, head, _, sector, length) = _locate(data)
        orientation = byte0 & ORIENTATION
        if operation not in _ORIENTATIONS[orientation]:
            raise self.rejected(INVALID_PARAMETER)
        if self.image.readonly and operation in _WRITES:
            raise self.failed(
                sense.EQUIPMENT_CHECK, sense.WRITE_INHIBITED, Message.INVALID_PARAMETER
            )
        suffix = auxiliary & AUXILIARY_COUNT_SUFFIX
        given = auxiliary & AUXILIARY_LENGTH
        if (
            auxiliary & _AUXILIARY_RESERVED
            or zero
            or (suffix and (operation not in suffixed or count < 2))
            or (count == 0) != (operation == ORIENT)
        ):
            raise self.rejected(INVALID_PARAMETER)
        track = self._track(cylinder, head)
        if self.outside_extent(track):
            raise self.stopped(sense.FILE_PROTECTED)
        if (
            (sector >= SECTORS and sector != NO_SECTOR)
            or (given != 0) != (length != 0)
            or length > self.block_size
        ):
            raise self.rejected(INVALID_PARAMETER)
        self.move(cylinder, head)
        self.operation = operation
        self.transfer_length = length or self.block_size
        self.transfer_length_given = length != 0
        self.count_suffix = suffix != 0
        self.stays_on_track = False
        self.track_set_active = False
        self.whole_track_orientation = orientation in (ORIENT_HOME, ORIENT_INDEX)
        self.index_orientation = orientation == ORIENT_INDEX
        self.domain = count
        self.positioned = True

    def _orient(self, orientation: int, argument: bytes) -> None:
        """Find what the search argument (CCHHR) names: the track itself, or a record on it."""
        track = self.track
        if orientation == ORIENT_INDEX:
            return
        if orientation == ORIENT_HOME:
            if track.home_address()[1:] != argument[:4]:
                raise self._closed(self.stopped(sense.NO_RECORD_FOUND))
            return
        buffer = track.buffer
        for record, start in enumerate(track.starts):
            if buffer[start : start + 5] == argument:
                self.record = record
                self.place = DATA if orientation == ORIENT_DATA else COUNT
                return
        bits = sense.NO_RECORD_FOUND if track.whole else sense.INVALID_TRACK_FORMAT
        raise self._closed(self.stopped(bits))

    def _closed(self, check: UnitCheck) -> UnitCheck:
        """The Locate Record failed: there is no domain."""
        self.domain = 0
        return check
