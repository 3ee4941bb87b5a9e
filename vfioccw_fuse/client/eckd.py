"""Tracks and records of a 3390, moved by the channel programs that Linux uses.

A program names its extent and what it does there, by Prefix where the control unit has it, else by
Define Extent and Locate Record; then come the commands that move data (`dasd_eckd.c`: prefix_LRE,
dasd_eckd_build_cp_raw). Whole tracks go by Read Track and Write Full Track; a control unit without
the latter is given Write Record Zero and a Write CKD for each further record. Cylinder and head of
track *n* are *n* // 15 and *n* % 15.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from ..devices.eckd import codes
from ..devices.eckd.codes import (
    Count,
    DefineExtent,
    LocateRecord,
    LocateRecordExtension,
    Prefix,
    Prepare,
)
from ..regions.codec import Buffer
from ..regions.constants import CCW_FLAG_CC, CCW_FLAG_SLI, SNS0_CMD_REJECT
from .faults import ProgramFailed, Unsupported
from .program import Program, Room
from .subchannel import PROGRAM_WITHIN, Subchannel

DEVICE: Final = 0x3390
"""The device type whose tracks these are."""
TRACK_END: Final = b"\xff" * codes.COUNT.size
"""What Read Track gives behind the last record."""
MOST_OF_A_TRACK: Final = 57326
"""More bytes than Read Track ever gives; Linux asks for as many."""
_NO_SECTOR = 0xFF  # of Locate Record: not given
_WIDE_CYLINDERS = 0xFFFE  # where the 32-bit field of the characteristics counts
_FEATURES = 256  # bytes that SUB_FEATURES prepares
_TRACK_COMMANDS = 16  # the most tracks of one program: Write Full Track has a bit for each


class Record(NamedTuple):
    """A record as it is on its track."""

    field: Count
    """Its count field."""
    key: bytes
    """As many bytes as the count field says; mostly none."""
    data: bytes
    """As many bytes as the count field says."""

    def pack(self) -> bytes:
        """Count field, key and data as they follow each other on the track."""
        return codes.COUNT.pack(self.field) + self.key + self.data


class Move(NamedTuple):
    """One command of a program that moves data."""

    code: int
    """Command code."""
    room: Room
    """The data, shared by all commands of the program."""
    at: int
    """Where in it its own begin."""
    length: int
    """Bytes, the CCW's count."""
    flags: int = 0
    """CCW flags besides command chaining."""


class EckdDisk:
    """The 3390 behind a subchannel: its tracks and their records.

    Methods raise what `Subchannel.execute` raises, ValueError for tracks that the disk does not
    have; after an exception the disk can be used again.
    """

    def __init__(self, subchannel: Subchannel, *, timeout: float = PROGRAM_WITHIN) -> None:
        """Ask the device what it is; *timeout*: seconds for one channel program.

        Unsupported if it is no 3390.
        """
        self.subchannel = subchannel
        """Where it is."""
        self._timeout = timeout
        data = subchannel.rdc()
        told = codes.CHARACTERISTICS.parse(data.ljust(codes.CHARACTERISTICS.size, b"\0"))
        if told.device != DEVICE:
            raise Unsupported(f"not a 3390 (type {told.device:04x})")
        subchannel.words = codes.WORDS
        wide = told.cylinders == _WIDE_CYLINDERS and told.long_cylinders
        self.cylinders = wide or told.cylinders
        """Cylinders of the disk."""
        self.heads = told.heads
        """Tracks of a cylinder."""
        self.tracks = self.cylinders * self.heads
        """Tracks of the disk."""
        self.has_prefix = self._feature(*codes.FEATURE_PREFIX)
        """The control unit has Prefix, and with it Write Full Track."""

    def _feature(self, byte: int, bit: int) -> bool:
        """Whether the control unit has a feature; older ones know no order that asks for it."""
        with Program(self.subchannel.storage) as program:
            order = Prepare(codes.PSF_PREPARE, 0, 0, 0, codes.SUB_FEATURES, 0, bytes(4))
            data = codes.PREPARE_DATA.pack(order)
            program.ccw(codes.PERFORM_SUBSYSTEM_FUNCTION, CCW_FLAG_CC, data=data)
            answer = program.ccw(codes.READ_SUBSYSTEM_DATA, CCW_FLAG_SLI, _FEATURES)
            program.lay_out()
            try:
                self.subchannel.execute(program, self._timeout)
            except ProgramFailed as failed:
                if failed.sense[:1] and failed.sense[0] & SNS0_CMD_REJECT:
                    return False
                raise
            return bool(answer.view[byte] & bit)

    def check_tracks(self, first: int, count: int) -> None:
        """ValueError unless the disk has *count* tracks from *first* on."""
        if first < 0 or count < 0 or first + count > self.tracks:
            raise ValueError(
                f"tracks {first} to {first + count - 1} are not all on a disk of {self.tracks}"
            )

    # ------------------------------------------------------------------------ one program

    def at_once(self, size: int, most: int) -> int:
        """How many pieces of *size* bytes one program shall move, at most *most*.

        They take a part of guest storage only, as others use it, too; one goes always.
        """
        return max(1, min(most, self.subchannel.storage.size // 4 // size))

    def run(
        self,
        program: Program,
        tracks: tuple[int, int],
        operation: int,
        moves: Sequence[Move],
        *,
        record: int = 0,
        length: int = 0,
        mask: int = codes.MASK_WRITES_INHIBITED,
        track_set: bool = False,
    ) -> None:
        """Put into *program*, which has the rooms of *moves*, what opens their domain; execute it.

        *tracks*: the first and the last. *operation*: orientation and operation of Locate Record;
        *record*: where on the first track it begins. *length*: transfer length factor. *mask*: the
        file mask. *track_set*: the operation needs to be told which tracks follow.
        """
        first, last = (divmod(track, self.heads) for track in tracks)
        extent = codes.DEFINE_EXTENT_DATA.pack(
            DefineExtent(mask, codes.ATTRIBUTES_ECKD, 0, 0, 0, 0, *first, *last)
        )
        parameter = b""
        if track_set:
            parameter = (0xFFFF << 16 - len(moves) & 0xFFFF).to_bytes(2, "big")
        located = codes.LOCATE_RECORD_DATA.pack(
            LocateRecord(
                operation=codes.OPERATION_EXTENDED if track_set else operation,
                auxiliary=codes.AUXILIARY_LENGTH if length else 0,
                zero=0,
                commands=len(moves),
                cylinder=first[0],
                head=first[1],
                argument=codes.COUNT.pack(Count(*first, record, 0, 0))[:5],
                sector=_NO_SECTOR,
                length=length,
            )
        )
        if self.has_prefix:
            extension = codes.LOCATE_RECORD_EXTENSION.pack(
                LocateRecordExtension(0, operation if track_set else 0, len(parameter))
            )
            prefix = codes.PREFIX_DATA.pack(
                Prefix(
                    format=codes.PREFIX_FORMAT_LOCATE,
                    validity=codes.VALID_EXTENT,
                    base=0,
                    subsystem=0,
                    extent=extent.ljust(32, b"\0"),
                    locate=located + extension,
                )
            )
            program.ccw(codes.PREFIX, CCW_FLAG_CC, data=prefix + parameter)
        else:
            program.ccw(codes.DEFINE_EXTENT, CCW_FLAG_CC, data=extent)
            program.ccw(codes.LOCATE_RECORD, CCW_FLAG_CC, data=located)
        for number, move in enumerate(moves, 1):
            chain = CCW_FLAG_CC if number < len(moves) else 0
            program.ccw(move.code, move.flags | chain, move.length, move.room, at=move.at)
        program.lay_out()
        self.subchannel.execute(program, self._timeout)

    # ------------------------------------------------------------------------ whole tracks

    def read_tracks(self, first: int, count: int) -> Iterator[bytes]:
        """Read *count* tracks from *first* on, each as Read Track gives it.

        That is record 0 and all others, count fields, keys and data, and `TRACK_END`.
        """
        self.check_tracks(first, count)
        most = self.at_once(MOST_OF_A_TRACK, _TRACK_COMMANDS)
        while count:
            tracks = min(count, most)
            with Program(self.subchannel.storage) as program:
                room = program.room(tracks * MOST_OF_A_TRACK)
                moves = [
                    Move(
                        codes.READ_TRACK, room, at * MOST_OF_A_TRACK, MOST_OF_A_TRACK, CCW_FLAG_SLI
                    )
                    for at in range(tracks)
                ]
                operation = codes.ORIENT_HOME | codes.OPERATION_READ_TRACKS
                self.run(program, (first, first + tracks - 1), operation, moves, record=1)
                for move in moves:
                    track = room.view[move.at : move.at + move.length]
                    yield bytes(track[: track_length(track)])
            first += tracks
            count -= tracks

    def write_track(self, track: int, data: Buffer) -> None:
        """Write a track anew: *data* as `read_tracks` gives it; what follows its end is left out.

        ValueError if *data* is no track: if record 0 is not the first, or there is no end.
        """
        self.check_tracks(track, 1)
        view = memoryview(data).cast("B")
        records = list(records_of(view))
        if not records or records[0].field.record:
            raise ValueError("record 0 is not the first of the track")
        with Program(self.subchannel.storage) as program:
            content = bytes(view[: track_length(view)])
            room = program.room(len(content), content)
            if self.has_prefix:
                moves = [Move(codes.WRITE_FULL_TRACK, room, 0, len(content), CCW_FLAG_SLI)]
                operation = codes.OPERATION_WRITE_FULL_TRACK
            else:
                moves, at = [], 0
                for record in records:
                    code = codes.WRITE_CKD if moves else codes.WRITE_R0
                    moves.append(Move(code, room, at, len(record.pack())))
                    at += moves[-1].length
                operation = codes.ORIENT_HOME | codes.OPERATION_FORMAT_WRITE
            self.run(
                program, (track, track), operation, moves,
                record=1 if self.has_prefix else 0, mask=codes.MASK_ALL_WRITES,
                track_set=self.has_prefix,
            )  # fmt: skip

    # ------------------------------------------------------------------------ records

    def counts(self, track: int) -> list[Count]:
        """Read the count fields of a track, that of record 0 first."""
        (data,) = self.read_tracks(track, 1)
        return [record.field for record in records_of(data)]

    def count_of(self, track: int, number: int) -> Count:
        """Read the count field of record *number* of a track; ValueError if there is none."""
        for count in self.counts(track):
            if count.record == number:
                return count
        raise ValueError(f"track {track} has no record {number}")

    def read_record(self, track: int, number: int) -> Record:
        """Read record *number* of a track: Locate Record, then Read Key and Data or Read Data.

        ValueError if the track has no such record.
        """
        count = self.count_of(track, number)
        if not count.data:
            return Record(count, b"", b"")
        with Program(self.subchannel.storage) as program:
            room = program.room(count.key + count.data)
            code = codes.READ_KEY_DATA if count.key else codes.READ_DATA
            self.run(
                program, (track, track), codes.OPERATION_READ_DATA,
                [Move(code, room, 0, room.size)], record=number,
            )  # fmt: skip
            content = bytes(room.view)
        return Record(count, content[: count.key], content[count.key :])

    def write_record(self, track: int, number: int, data: bytes, key: bytes | None = None) -> None:
        """Write data, or key and data, of record *number* of a track; its lengths stay.

        ValueError if the track has no such record, if it is record 0, and if *data* or *key* have
        another length than it.
        """
        count = self.count_of(track, number)
        if not number:
            raise ValueError("record 0 is written with its track only")
        if len(data) != count.data:
            raise ValueError(f"record {number} has {count.data} bytes of data, not {len(data)}")
        if key is not None and len(key) != count.key:
            raise ValueError(f"record {number} has {count.key} bytes of key, not {len(key)}")
        content = (key or b"") + data
        with Program(self.subchannel.storage) as program:
            room = program.room(len(content), content)
            code = codes.WRITE_UPDATE_KEY_DATA if key else codes.WRITE_UPDATE_DATA
            self.run(
                program, (track, track), codes.OPERATION_WRITE, [Move(code, room, 0, room.size)],
                record=number, length=room.size, mask=codes.MASK_UPDATES,
            )  # fmt: skip


def records_of(track: Buffer) -> Iterator[Record]:
    """Take a track apart that Read Track has given; ValueError if it has no end."""
    view = memoryview(track).cast("B")
    at = 0
    while bytes(view[at : at + len(TRACK_END)]) != TRACK_END:
        if at + codes.COUNT.size > len(view):
            raise ValueError("the track has no end")
        count = codes.COUNT.parse(view, at)
        key = at + codes.COUNT.size
        data = key + count.key
        at = data + count.data
        yield Record(count, bytes(view[key:data]), bytes(view[data:at]))


def track_length(track: Buffer) -> int:
    """Give the bytes of a track up to its end, `TRACK_END` included; ValueError if it has none."""
    return sum(len(record.pack()) for record in records_of(track)) + len(TRACK_END)
