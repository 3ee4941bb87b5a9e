"""Define Extent, Locate Record (also extended) and Prefix: where a program may work, and on what.

Rules: 3990 reference, the commands of these names; Prefix: *IBM 2105/2107 Reference*, as Linux's
`dasd_eckd.h` describes it. A parameter that is not defined is command reject, message 4.
"""

from __future__ import annotations

from typing import Final

from .. import dasd
from ..base import DataTransfer, UnitCheck, command
from . import codes
from .codes import DEFINE_EXTENT_DATA, LOCATE_RECORD_DATA, PREFIX_DATA, Message
from .geometry import HEADS, LONGEST_BLOCK, NO_SECTOR, SECTORS
from .operations import NOWHERE, OPERATIONS, Operation
from .orientation import COUNT, DATA, INVALID_PARAMETER, INVALID_SEQUENCE, Orientation

# What is taken apart at once needs no named tuple: every program of Linux has these.
_unpack_extent = DEFINE_EXTENT_DATA.struct.unpack_from
_unpack_extension = codes.LOCATE_RECORD_EXTENSION.struct.unpack_from
_unpack_prefix = PREFIX_DATA.struct.unpack_from
_NONE: Final = Operation(NOWHERE)
"""An operation that is not defined."""


def _goes_to_any_record(located: bytes) -> bool:
    """Whether the 20 bytes of a Locate Record Extended ask for Read Any or Write Any."""
    if not located or located[0] & codes.OPERATION != codes.OPERATION_EXTENDED:
        return False
    _, extended, _ = _unpack_extension(located, LOCATE_RECORD_DATA.size)
    return OPERATIONS.get(extended, _NONE).any_record


class Locate(Orientation):
    """The commands that define extents and open domains."""

    @command(codes.DEFINE_EXTENT)
    def define_extent(self, io: DataTransfer) -> int | None:
        """Define Extent: the tracks that the program may touch, its file mask, its block size."""
        self._define_extent(self.parameters(io, DEFINE_EXTENT_DATA.size))
        return None

    @command(codes.LOCATE_RECORD)
    def locate_record(self, io: DataTransfer) -> int | None:
        """Locate Record: go to a record and say what the next commands will do there."""
        asked = LOCATE_RECORD_DATA.parse(self.parameters(io, LOCATE_RECORD_DATA.size))
        self._need_extent()
        code = asked.operation & codes.OPERATION
        operation = OPERATIONS.get(code, _NONE)
        self._open_domain(asked, code, operation.basic, operation.suffix)
        self._orient(asked)
        return None

    @command(codes.LOCATE_RECORD_EXTENDED)
    def locate_record_extended(self, io: DataTransfer) -> int | None:
        """Locate Record Extended: with the operations Read Any, Write Any, Read Trackset."""
        if not self.control_unit.extended:
            raise self.rejected(Message.INVALID_COMMAND)
        self._locate_extended(self.parameters(io, codes.LOCATE_RECORD_EXTENDED_SIZE), io)
        return None

    @command(codes.PREFIX)
    def prefix(self, io: DataTransfer) -> int | None:
        """Prefix: Define Extent, and with format 1 Locate Record Extended, in one command."""
        if not self.control_unit.prefix:
            raise self.rejected(Message.INVALID_COMMAND)
        data = self.parameters(io, PREFIX_DATA.size)
        layout, validity, base, subsystem, extent, located = _unpack_prefix(data)
        if layout > codes.PREFIX_FORMAT_LOCATE:
            raise self.rejected(INVALID_PARAMETER)
        self.go_to_base(validity, base, subsystem)
        if validity & codes.VALID_EXTENT:
            self._define_extent(extent, located if layout == codes.PREFIX_FORMAT_LOCATE else b"")
        if layout == codes.PREFIX_FORMAT_LOCATE:
            self._locate_extended(located, io)
        return None

    def go_to_base(self, validity: int, unit: int, subsystem: int) -> None:
        """Prefix names the base on whose volume the program works: a device alone is its own.

        *validity* as in the Prefix; *unit*: unit address of the base in logical *subsystem*.
        """

    # ------------------------------------------------------------------ the extent

    def _define_extent(self, data: bytes, located: bytes = b"") -> None:
        """Check the 16 bytes of a Define Extent, then let them take effect.

        *located* are the 20 bytes of a Locate Record Extended that comes with it. One that will not
        leave its track needs no end of the extent: z/VM names the track before as the last one.
        """
        if self.mask_set or self.ipl:
            raise self.rejected(INVALID_SEQUENCE)
        (mask, attributes, block_size, fast_write, additional, _, *ends) = _unpack_extent(data)
        if (
            attributes & codes.ATTRIBUTES_MODE != codes.ATTRIBUTES_ECKD
            or block_size > LONGEST_BLOCK
            or fast_write
            or additional
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
            if not _goes_to_any_record(located):
                raise self.rejected(INVALID_PARAMETER)
            last = first
        if self.outside_extent(first) or self.outside_extent(last):
            raise self.rejected(INVALID_SEQUENCE if self.extent_defined else INVALID_PARAMETER)
        self.mask = mask
        self.attributes = attributes
        self.block_size = block_size or LONGEST_BLOCK
        self.first_track, self.last_track = first, last
        self.extent_defined = True

    def check_mask(self, mask: int) -> int:
        """A file mask as the control unit takes it; command reject if it is not defined."""
        if mask & codes.MASK_RESERVED:
            raise self.rejected(INVALID_PARAMETER)
        if self.control_unit.prefix and mask & codes.MASK_DIAGNOSTIC:
            # A 2107 has no diagnostic authorization, and takes "both" for device support.
            if not mask & codes.MASK_DEVICE_SUPPORT:
                raise self.rejected(INVALID_PARAMETER)
            mask &= ~codes.MASK_DIAGNOSTIC
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
        asked = LOCATE_RECORD_DATA.parse(data)
        code = asked.operation & codes.OPERATION
        _, extended, length = _unpack_extension(data, LOCATE_RECORD_DATA.size)
        in_byte_17 = code == codes.OPERATION_EXTENDED
        if in_byte_17:
            code = extended
        operation = OPERATIONS.get(code, _NONE)
        if (
            in_byte_17 == (operation.shortest is None)
            or (extended and not in_byte_17)
            or (operation.prefix and not self.control_unit.prefix)
            or not (operation.shortest or 0) <= length <= operation.longest
        ):
            raise self.rejected(INVALID_PARAMETER)
        parameter = self.parameters(io, length) if length else b""
        if operation.any_record and parameter != b"\x01":
            raise self.rejected(INVALID_PARAMETER)
        self._open_domain(asked, code, operation.extended, operation.suffix_extended)
        if code == codes.OPERATION_READ_TRACKSET:
            self._take_track_set(parameter)
        if operation.any_record:
            self._orient_to_any(asked)
        elif code != codes.OPERATION_WRITE_FULL_TRACK:  # that needs no record to begin with
            self._orient(asked)

    def _orient_to_any(self, asked: codes.LocateRecord) -> None:
        """Go to the first record of the track behind record 0; no record found if there is none.

        Where the search argument is zero, a Read Count gives that record's count field; else it was
        passed, as when a search had found it.
        """
        self.stays_on_track = True
        try:
            self.next_record(same_track=True)
        except UnitCheck as check:
            raise self._closed(check) from None
        if not any(asked.argument):
            self.move(self.cylinder, self.head)

    def _take_track_set(self, parameter: bytes) -> None:
        """Read Trackset: one bit a track, the first one set; as many as the domain counts."""
        bits = int.from_bytes(parameter.ljust(2, b"\0"), "big")
        if not bits & 0x8000 or bits.bit_count() != self.domain:
            raise self._closed(self.rejected(INVALID_PARAMETER))
        last = 16 - (bits & -bits).bit_length()
        if self.outside_extent(self.cylinder * HEADS + self.head + last):
            raise self._closed(self.stopped(dasd.SENSE1_FILE_PROTECTED))
        self.track_set = bits
        self.track_set_active = True

    def _open_domain(
        self, asked: codes.LocateRecord, code: int, orientations: frozenset[int], suffixed: bool
    ) -> None:
        """Check what is common to both, move to the track, and begin the domain.

        *orientations* are those that operation *code* has; *suffixed*: a Read Count may end it.
        """
        (byte0, auxiliary, zero, count, cylinder, head, _, sector, length) = asked
        orientation = byte0 & codes.ORIENTATION
        if orientation not in orientations:
            raise self.rejected(INVALID_PARAMETER)
        operation = OPERATIONS[code]
        if self.image.readonly and operation.writes:
            raise self.write_inhibited()
        suffix = auxiliary & codes.AUXILIARY_COUNT_SUFFIX
        given = auxiliary & codes.AUXILIARY_LENGTH
        if (
            auxiliary & codes.AUXILIARY_RESERVED
            or zero
            or (suffix and (not suffixed or count < 2))
            or (count == 0) != (code == codes.OPERATION_ORIENT)
        ):
            raise self.rejected(INVALID_PARAMETER)
        track = self._track(cylinder, head)
        if self.outside_extent(track):
            raise self.stopped(dasd.SENSE1_FILE_PROTECTED)
        if (
            (sector >= SECTORS and sector != NO_SECTOR)
            or (given != 0) != (length != 0)
            or length > self.block_size
        ):
            raise self.rejected(INVALID_PARAMETER)
        self.move(cylinder, head)
        self.operation = code
        self.commands_of_domain = operation.commands
        self.transfer_length = length or self.block_size
        self.transfer_length_given = length != 0
        self.count_suffix = suffix != 0
        self.stays_on_track = False
        self.track_set_active = False
        self.whole_track_orientation = orientation in (codes.ORIENT_HOME, codes.ORIENT_INDEX)
        self.index_orientation = orientation == codes.ORIENT_INDEX
        self.domain = count
        self.positioned = True

    def _orient(self, asked: codes.LocateRecord) -> None:
        """Find what the search argument (CCHHR) names: the track itself, or a record on it."""
        orientation, argument = asked.operation & codes.ORIENTATION, asked.argument
        track = self.track
        if orientation == codes.ORIENT_INDEX:
            return
        if orientation == codes.ORIENT_HOME:
            if track.home_address()[1:] != argument[:4]:
                raise self._closed(self.stopped(dasd.SENSE1_NO_RECORD_FOUND))
            return
        buffer = track.buffer
        for record, start in enumerate(track.starts):
            if buffer[start : start + 5] == argument:
                self.record = record
                self.place = DATA if orientation == codes.ORIENT_DATA else COUNT
                return
        bits = dasd.SENSE1_NO_RECORD_FOUND if track.whole else codes.SENSE1_INVALID_TRACK_FORMAT
        raise self._closed(self.stopped(bits))

    def _closed(self, check: UnitCheck) -> UnitCheck:
        """The Locate Record failed: there is no domain."""
        self.domain = 0
        return check
