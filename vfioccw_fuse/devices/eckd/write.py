"""Writes: update a record's key and data, or format a track from some record on.

Every write is one `pwrite` of exactly what changed, at once: what a program has been told is
written is with the operating system, and a crash can hurt the current record only. A format write
puts the new record and the end marker into that one call. If the CCW count is shorter than the
record, the rest is zeros. Rules: 3990 reference, *Write Commands*; `dasd_eckd.c` formats tracks
with count fields alone.
"""

from __future__ import annotations

from typing import Final

from .. import dasd
from ..base import DataTransfer, command
from . import codes
from .codes import (
    MASK_ALL_WRITES,
    MASK_WRITE_CONTROL,
    MASK_WRITES_INHIBITED,
    MASKS_FOR_FORMAT,
    Message,
)
from .geometry import fits
from .orientation import (
    COUNT,
    DATA,
    END,
    END_OF_FILE,
    INDEX,
    INVALID_PARAMETER,
    INVALID_SEQUENCE,
    KEY,
    PROVED_HOME_ADDRESS,
    PROVED_ID,
    PROVED_RECORD,
    PROVED_WRITTEN,
    Orientation,
)
from .track import (
    COUNT_LENGTH,
    END_MARKER,
    HOME_ADDRESS_LENGTH,
    R0_DATA_LENGTH,
    SLOT,
    survey,
)

_BEFORE_NEXT_TRACK = frozenset({codes.WRITE_CKD, codes.WRITE_CKD_NEXT_TRACK})
_TRACK_ROOM: Final = SLOT - HOME_ADDRESS_LENGTH - len(END_MARKER)


class Write(Orientation):
    """The write commands."""

    # ------------------------------------------------------------------ updates

    @command(codes.WRITE_DATA)
    def write_data(self, io: DataTransfer) -> int | None:
        """Write Data: new data for the current record."""
        self._need_update(PROVED_RECORD)
        track, record = self.track, self.record
        if record < 0:
            raise self.rejected(INVALID_SEQUENCE)
        length = track.datas[record]
        writes_track = self.domain and self.operation == codes.OPERATION_WRITE_TRACK
        record_zero = track.record_number(record) == 0
        if self.domain:
            # Under Write Track, record 0 has its standard length whatever the factor says.
            self._need_length(length, R0_DATA_LENGTH if writes_track and record_zero else 0)
        if not length:
            return END_OF_FILE
        if self.place not in (COUNT, KEY):
            raise self.rejected(INVALID_SEQUENCE)
        self.proof = self.shown & PROVED_RECORD
        self._update(io, track.after(record) - length, length)
        if writes_track and record_zero and self.domain == 1:
            self._end_track(track.after(record))
        return None

    @command(codes.WRITE_KEY_DATA)
    def write_key_data(self, io: DataTransfer) -> int | None:
        """Write Key and Data: a new key and new data for the current record."""
        self._need_update(PROVED_ID)
        status = self._write_key_data(io)
        self.proof = self.shown & PROVED_ID
        return status

    @command(codes.WRITE_UPDATE_DATA)
    def write_update_data(self, io: DataTransfer) -> int | None:
        """Write Update Data: new data for the next record of the domain, on any track."""
        self._need_update_domain()
        self._next_to_update()
        track, record = self.track, self.record
        length = track.datas[record]
        self._need_length(length)
        if not length:
            return END_OF_FILE
        self._update(io, track.after(record) - length, length)
        return None

    @command(codes.WRITE_UPDATE_KEY_DATA)
    def write_update_key_data(self, io: DataTransfer) -> int | None:
        """Write Update Key and Data: a new key and new data for the next record of the domain."""
        self._need_update_domain()
        self._next_to_update()
        return self._write_key_data(io)

    def _write_key_data(self, io: DataTransfer) -> int | None:
        if self.place != COUNT:
            raise self.rejected(INVALID_SEQUENCE)
        track, record = self.track, self.record
        length = track.keys[record] + track.datas[record]
        if self.domain:
            self._need_length(length)
        if not track.datas[record]:
            return END_OF_FILE
        self._update(io, track.starts[record] + COUNT_LENGTH, length)
        return None

    def _need_update(self, proof: int) -> None:
        """Reject an update that neither a domain nor one of the searches *proof* permits."""
        if not self.domain and not self.shown & proof:
            raise self.rejected(INVALID_SEQUENCE)
        self._need_write_permission()
        if self.domain and self.operation == codes.OPERATION_WRITE:
            last = 2 if self.count_suffix else 1
            if self.domain != last:
                raise self.rejected(INVALID_SEQUENCE)

    def _need_update_domain(self) -> None:
        if not self.domain:
            raise self.rejected(INVALID_SEQUENCE)
        self._need_write_permission()

    def _need_write_permission(self) -> None:
        if self.mask & MASK_WRITE_CONTROL == MASK_WRITES_INHIBITED:
            raise self.rejected(INVALID_SEQUENCE)
        if self.image.readonly:
            raise self.write_inhibited()

    def _need_length(self, length: int, expected: int = 0) -> None:
        """In a domain the record has the announced length, unless CKD conversion is on."""
        if not self.attributes & codes.ATTRIBUTES_CKD_CONVERSION and length != (
            expected or self.transfer_length
        ):
            raise self.stopped(codes.SENSE1_INVALID_TRACK_FORMAT)

    def _next_to_update(self) -> None:
        """Make the record that was located current, or else the next one that is not record 0."""
        if self.place != COUNT or self.track.record_number(self.record) == 0:
            self.next_record()

    def _update(self, io: DataTransfer, offset: int, length: int) -> None:
        """Replace *length* bytes of the track by what the channel gives, and zeros."""
        data = io.take(length)
        if len(data) < length:
            data = data.ljust(length, b"\0")
        self.image.write(self.track.number, offset, data)
        self.track.changed(offset, data)
        self.place = DATA

    # ------------------------------------------------------------------ formatting

    @command(codes.WRITE_CKD)
    def write_ckd(self, io: DataTransfer) -> int | None:
        """Write Count, Key and Data: a new record behind the current one; the rest is erased."""
        self._need_format()
        if self.place in (INDEX, END):
            raise self.rejected(INVALID_SEQUENCE)  # record 0 comes first
        self._write_record(io)
        return None

    @command(codes.WRITE_CKD_NEXT_TRACK)
    def write_ckd_next_track(self, io: DataTransfer) -> int | None:
        """Write Count, Key and Data Next Track: a new record behind record 0 of the next track."""
        if not self.domain or self.previous not in _BEFORE_NEXT_TRACK:
            raise self.rejected(INVALID_SEQUENCE)
        self._need_format()
        self.advance()
        if self.next_on_track(record_zero=True) < 0:
            raise self.stopped(dasd.SENSE1_NO_RECORD_FOUND)
        self._write_record(io)
        return None

    @command(codes.WRITE_R0)
    def write_r0(self, io: DataTransfer) -> int | None:
        """Write Record Zero: a new record 0; the rest of the track is erased."""
        if not self.domain and not self.shown & PROVED_HOME_ADDRESS:
            raise self.rejected(INVALID_SEQUENCE)
        self._need_whole_track_permission()
        if self.domain and not self.whole_track_orientation:
            raise self.rejected(INVALID_SEQUENCE)
        if self.place != INDEX:
            raise self.rejected(INVALID_SEQUENCE)
        self._write_record(io)
        return None

    @command(codes.WRITE_HOME_ADDRESS)
    def write_home_address(self, io: DataTransfer) -> int | None:
        """Write Home Address: only checked, as flag and address are fixed."""
        self.need_position()
        if self.domain and not self.whole_track_orientation:
            raise self.rejected(INVALID_SEQUENCE)
        if self.mask & MASK_WRITE_CONTROL != MASK_ALL_WRITES:
            raise self.stopped(dasd.SENSE1_FILE_PROTECTED)
        if self.image.readonly:
            raise self.write_inhibited()
        self.move(self.cylinder, self.head)
        data = io.take(HOME_ADDRESS_LENGTH)
        if self.track.home_address()[: len(data)] != data:
            raise self.rejected(INVALID_PARAMETER)
        self.proof = PROVED_HOME_ADDRESS
        return None

    @command(codes.ERASE)
    def erase(self, io: DataTransfer) -> int | None:
        """Erase: the track ends behind the current record. A whole record is taken."""
        self._need_format()
        if self.place in (INDEX, END):
            raise self.rejected(INVALID_SEQUENCE)
        _, length = self._take_count(io)
        if length:
            io.take(length)
        self._end_track(self.after_current())
        return None

    def _need_format(self) -> None:
        """Reject a format write that neither a domain nor what came before permits."""
        if not self.domain and not self.shown & (PROVED_RECORD | PROVED_WRITTEN):
            raise self.rejected(INVALID_SEQUENCE)
        if self.mask & MASK_WRITE_CONTROL not in MASKS_FOR_FORMAT:
            raise self.rejected(INVALID_SEQUENCE)
        if self.image.readonly:
            raise self.write_inhibited()

    def _need_whole_track_permission(self) -> None:
        if self.mask & MASK_WRITE_CONTROL != MASK_ALL_WRITES:
            raise self.rejected(INVALID_SEQUENCE)
        if self.image.readonly:
            raise self.write_inhibited()

    def _take_count(self, io: DataTransfer) -> tuple[bytes, int]:
        """A count field from the channel, zeros for what it lacks, and the length of key and data.

        Invalid track format if such a record does not fit behind the current one.
        """
        count = io.take(COUNT_LENGTH).ljust(COUNT_LENGTH, b"\0")
        key, data = count[5], count[6] << 8 | count[7]
        if not self.track.has_room(self.record, key, data) or count == END_MARKER:
            raise self.stopped(codes.SENSE1_INVALID_TRACK_FORMAT)
        return count, key + data

    def _write_record(self, io: DataTransfer) -> None:
        """Write the record that the channel gives behind the current one; the track ends there."""
        count, length = self._take_count(io)
        data = io.take(length).ljust(length, b"\0") if length else b""
        self._format(self.after_current(), count + data + END_MARKER)
        self.record += 1
        self.place = DATA
        if not self.domain:
            self.proof = PROVED_WRITTEN

    def _end_track(self, offset: int) -> None:
        """Erase the track from *offset* on."""
        self._format(offset, END_MARKER)
        self.place = DATA

    def _format(self, offset: int, data: bytes) -> None:
        """Write *data*, which ends with the end marker, at *offset* of the track."""
        self.image.write(self.track.number, offset, data)
        self.track.formatted(offset, data)

    # ------------------------------------------------------------------ whole tracks

    @command(codes.WRITE_TRACK_DATA)
    def write_track_data(self, io: DataTransfer) -> int | None:
        """Write Track Data: new data for the records of a track, as many as the CCW count has.

        The first of a domain begins with the record that was located, the others with record 1. All
        records have the length that the Locate Record gave.
        """
        self._need_prefix()
        self._need_write_permission()
        if self.previous == codes.WRITE_TRACK_DATA:
            self.advance()
        elif self.previous not in codes.LOCATES:
            raise self.rejected(INVALID_SEQUENCE)
        track = self.track
        first = self.record if self.place == COUNT else self.next_on_track()
        if first < 0:
            raise self.stopped(dasd.SENSE1_NO_RECORD_FOUND)
        length = self.transfer_length
        data = io.take(length * (len(track.starts) - first), variable=True)
        used = -(-len(data) // length)
        if any(track.datas[at] != length for at in range(first, first + used)):
            raise self.stopped(codes.SENSE1_INVALID_TRACK_FORMAT)
        data = data.ljust(used * length, b"\0")
        start = track.starts[first]
        for at in range(used):
            end = track.after(first + at)
            track.buffer[end - length : end] = data[at * length : (at + 1) * length]
        self.record = first + used - 1
        self.place = DATA
        # The count fields between the data are written again as they are: one call for all.
        self.image.write(track.number, start, bytes(track.view[start : track.after(self.record)]))
        return None

    @command(codes.WRITE_FULL_TRACK)
    def write_full_track(self, io: DataTransfer) -> int | None:
        """Write Full Track: record 0 and all others, as Read Track gives them."""
        self._need_prefix()
        self._need_whole_track_permission()
        if self.previous == codes.WRITE_FULL_TRACK:
            self.advance()
        elif self.previous not in codes.LOCATES:
            raise self.rejected(INVALID_SEQUENCE)
        track = self.track
        data = io.take(_TRACK_ROOM, variable=True)
        layout = survey((bytes(track.home_address()) + data + END_MARKER).ljust(SLOT, b"\xff"))
        length = layout.end - HOME_ADDRESS_LENGTH
        if (
            not layout.whole
            or not COUNT_LENGTH <= length <= len(data)
            or data[4] != 0
            or not fits(list(zip(layout.keys, layout.datas, strict=True)))
        ):
            raise self.stopped(codes.SENSE1_INVALID_TRACK_FORMAT)
        records = data[:length]
        self._format(HOME_ADDRESS_LENGTH, records + END_MARKER)
        self.record = len(track.starts) - 1
        self.place = END
        return None

    def _need_prefix(self) -> None:
        if not self.control_unit.prefix:
            raise self.rejected(Message.INVALID_COMMAND)
        if not self.domain:
            raise self.rejected(INVALID_SEQUENCE)
