"""Reads: home address, record 0, count, key and data fields, whole tracks.

What a read gives lies in one piece on the track, so each is one `give` of a part of the track
buffer. Rules: 3990 reference, *Read Commands*; a record without data is an end-of-file record, and
reading it ends with unit exception.
"""

from __future__ import annotations

from ..base import DataTransfer, command
from . import codes
from .codes import Message
from .operations import OPERATIONS
from .orientation import (
    COUNT,
    DATA,
    END_OF_FILE,
    INVALID_SEQUENCE,
    KEY,
    PROVED_ID,
    PROVED_RECORD,
    Orientation,
    either,
)
from .track import COUNT_LENGTH, END_MARKER


class Read(Orientation):
    """The read commands."""

    @either(codes.READ_DATA)
    def read_data(self, io: DataTransfer) -> int | None:
        """Read Data: the current record's data, or the next one's."""
        if not self.domain:
            self.need_position()
        record = self.record
        if self.place not in (COUNT, KEY):
            record = self.next_record(patient=not self.domain)
        track = self.track
        start = track.starts[record] + COUNT_LENGTH + track.keys[record]
        length = track.datas[record]
        self.place = DATA
        self.proof = self.shown & PROVED_RECORD
        io.give(track.view[start : start + length])
        return None if length else END_OF_FILE

    @either(codes.READ_KEY_DATA)
    def read_key_data(self, io: DataTransfer) -> int | None:
        """Read Key and Data."""
        if not self.domain:
            self.need_position()
        if self.place != COUNT:
            self.next_record(patient=not self.domain)
        record, track = self.record, self.track
        self.place = DATA
        self.proof = self.shown & PROVED_ID
        io.give(track.view[track.starts[record] + COUNT_LENGTH : track.after(record)])
        return None if track.datas[record] else END_OF_FILE

    @either(codes.READ_COUNT)
    def read_count(self, io: DataTransfer) -> int | None:
        """Read Count: the next count field."""
        if not self.domain:
            self.need_position()
        record = self.next_record(patient=not self.domain)
        track = self.track
        start = track.starts[record]
        io.give(track.view[start : start + COUNT_LENGTH])
        return None

    @either(codes.READ_CKD)
    def read_ckd(self, io: DataTransfer) -> int | None:
        """Read Count, Key and Data: the next record."""
        if not self.domain:
            self.need_position()
        record = self.next_record(patient=not self.domain)
        return self._give_record(io, record)

    def _give_record(self, io: DataTransfer, record: int) -> int | None:
        track = self.track
        self.place = DATA
        io.give(track.view[track.starts[record] : track.after(record)])
        return None if track.datas[record] else END_OF_FILE

    @either(codes.READ_R0)
    def read_r0(self, io: DataTransfer) -> int | None:
        """Read Record Zero; multitrack of the next track, but within a domain of this one."""
        self._need_track_operation(self.whole_track_orientation)
        if self.multitrack and not self.domain:
            self.advance()
        self.move(self.cylinder, self.head)
        return self._give_record(io, self.next_record(record_zero=True, same_track=True))

    @either(codes.READ_HOME_ADDRESS)
    def read_home_address(self, io: DataTransfer) -> int | None:
        """Read Home Address; multitrack as Read Record Zero."""
        self._need_track_operation(self.index_orientation)
        if self.multitrack and not self.domain:
            self.advance()
        self.move(self.cylinder, self.head)
        io.give(self.track.home_address())
        return None

    def _need_track_operation(self, oriented: bool) -> None:
        """Within the domain of a Read the start of the track is only read from there."""
        self.need_position()
        if self.domain and self.operation == codes.OPERATION_READ and not oriented:
            raise self.rejected(INVALID_SEQUENCE)

    @command(codes.READ_IPL)
    def read_ipl(self, io: DataTransfer) -> int | None:
        """Read IPL: the data of record 1 on track 0; one more read may follow as in a domain."""
        if self.extent_defined or self.mask_set:
            raise self.rejected(INVALID_SEQUENCE)
        self.extent_defined = self.mask_set = True
        self.move(0, 0)
        record = self.next_record()
        track = self.track
        self.place = DATA
        self.ipl = self.positioned = True
        self.operation = codes.OPERATION_READ_DATA
        self.commands_of_domain = OPERATIONS[codes.OPERATION_READ_DATA].commands
        self.domain = 1
        io.give(track.view[track.after(record) - track.datas[record] : track.after(record)])
        return None if track.datas[record] else END_OF_FILE

    @command(codes.READ_MULTIPLE_CKD)
    def read_multiple_ckd(self, io: DataTransfer) -> int | None:
        """Read Multiple Count, Key and Data: the records from the next one to the track's end."""
        self.need_position()
        if self.domain:
            raise self.rejected(INVALID_SEQUENCE)
        record = self.next_on_track()
        track = self.track
        start = track.starts[record] if record >= 0 else track.end
        self._to_the_end()
        io.give(track.view[start : track.end])
        return None

    @command(codes.READ_TRACK)
    def read_track(self, io: DataTransfer) -> int | None:
        """Read Track: all records from the next one on, record 0 included, and the end marker."""
        if not self.domain or self.previous not in _BEFORE_READ_TRACK:
            raise self.rejected(INVALID_SEQUENCE)
        if self.previous == codes.READ_TRACK:
            self.advance(self._step())
        track = self.track
        start = self.after_current()
        self._to_the_end()
        io.give(track.view[start : track.end + len(END_MARKER)])
        return None

    def _step(self) -> int:
        """How many tracks further the next one of a track set is; without a track set, 1."""
        if not self.track_set_active:
            return 1
        step = 1
        self.track_set = self.track_set << 1 & 0xFFFF
        while self.track_set and not self.track_set & 0x8000:
            step += 1
            self.track_set = self.track_set << 1 & 0xFFFF
        return step

    def _to_the_end(self) -> None:
        """Go behind the last record; invalid track format if the track is damaged."""
        self.record = len(self.track.starts) - 1
        self._check_end()

    @command(codes.READ_TRACK_DATA)
    def read_track_data(self, io: DataTransfer) -> int | None:
        """Read Track Data: the data of all records of a track, without counts and keys.

        The first of a domain begins with the record that was located, the others with record 1; the
        last gives as many bytes as the transfer length factor says.
        """
        if not self.control_unit.prefix:
            raise self.rejected(Message.INVALID_COMMAND)
        if not self.domain:
            raise self.rejected(INVALID_SEQUENCE)
        if self.previous == codes.READ_TRACK_DATA:
            self.advance()
        elif self.previous not in codes.LOCATES:
            raise self.rejected(INVALID_SEQUENCE)
        track = self.track
        record = self.record if self.place == COUNT else self.next_on_track()
        if record < 0:
            record = len(track.starts)
        self._to_the_end()
        view, after, datas = track.view, track.after, track.datas
        records = range(record, len(datas))
        data = b"".join([view[(end := after(at)) - datas[at] : end] for at in records])
        if self.domain == 1 and self.transfer_length_given:
            data = data[: self.transfer_length]
        io.give(data)
        return None


_BEFORE_READ_TRACK = codes.LOCATES | {codes.READ_TRACK}
