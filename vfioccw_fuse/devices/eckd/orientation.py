"""Where the heads are: cylinder, head, and the place on the track; the chain's permissions.

All commands that read, write or search start from here. `Orientation` holds what one channel
program has established so far - the extent, the file mask, the domain of a Locate Record, which
search was satisfied - and moves from record to record, over the index point and from track to
track. Rules: 3990 reference, *Orientation*, *Multitrack Operations*, *Locate Record domain*.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Container
from typing import Final

from ...regions import constants as c
from .. import dasd
from ..base import ENDED, UC, UE, DataTransfer, F, UnitCheck, command
from ..reservation import Reservable
from . import codes, sense
from .codes import KEEP_INDEX, MASK_NO_SEEKS, MASK_SEEK_CONTROL, MULTITRACK, Message
from .control_unit import ControlUnit
from .extents import ExtentsInUse
from .geometry import HEADS, LONGEST_BLOCK
from .image import CkdImage
from .track import Track


class Place(enum.IntEnum):
    """How far along the current record the heads are."""

    INDEX = 0
    """Behind the home address; the next count field is record 0's."""
    COUNT = 1
    """Behind the current record's count field."""
    KEY = 2
    """Behind its key."""
    DATA = 3
    """Behind its data; the next count field is the next record's."""
    END = 4
    """Behind the last record."""


INDEX: Final = Place.INDEX
COUNT: Final = Place.COUNT
KEY: Final = Place.KEY
DATA: Final = Place.DATA
END: Final = Place.END


PROVED_HOME_ADDRESS: Final = 1
"""Search Home Address was satisfied, or the home address was written."""
PROVED_ID: Final = 2
"""Search ID Equal was satisfied on all five bytes."""
PROVED_KEY: Final = 4
"""Search Key Equal was satisfied on the whole key."""
PROVED_WRITTEN: Final = 8
"""Record 0, or a record, was just written."""
PROVED_RECORD: Final = PROVED_ID | PROVED_KEY

NOTHING: Final[frozenset[int]] = frozenset()
"""No command may follow."""

END_OF_FILE: Final = ENDED | UE
"""Unit status of a read or an update of a record without data."""

INVALID_SEQUENCE: Final = Message.INVALID_SEQUENCE
INVALID_PARAMETER: Final = Message.INVALID_PARAMETER


def either(code: int) -> Callable[[F], F]:
    """Mark the handler of *code* with and without the multitrack bit: `self.multitrack` tells."""
    return command(code, code | MULTITRACK)


class Orientation(Reservable):
    """The mechanism and the state of one channel program; subclasses add the commands."""

    sense_length = sense.LENGTH
    places = "tracks"

    def __init__(self, name: str, image: CkdImage, control_unit: ControlUnit) -> None:
        super().__init__(name)
        self.image = image
        self.media = image.media
        self.control_unit = control_unit
        self.track = Track()
        """The track under the heads. Loaded anew by every channel program."""
        self.in_use: ExtentsInUse | None = None
        """Who works where on the volume, if others do so at the same time; None: nobody does."""
        self.cylinder = self.head = 0
        """Where the access mechanism is; it stays there between channel programs."""
        self.begin()

    @property
    def capacity(self) -> int:
        """The tracks of the volume."""
        return self.image.tracks

    def at(self) -> range:
        """The track that the program has positioned to; behind its last record the next one."""
        if not self.positioned:
            return range(0)
        number = self.cylinder * HEADS + self.head
        if self.domain and self.place >= DATA and self.record + 1 >= len(self.track.starts):
            number += 1
        return range(number, number + 1)

    # ------------------------------------------------------------------ one channel program

    def begin(self) -> None:
        """A channel program starts: the extent is the whole volume, nothing is permitted yet."""
        self.track.number = -1  # others may have written the file since
        self.place = INDEX
        self.record = -1
        """Index of the current record on the track; -1 at the index point."""
        self.index_passed = False
        """The index point was passed without transfer of data since a command that resets this."""
        self.multitrack = False
        """The command goes on to the next track by itself, if it is one that can."""
        self.positioned = False
        """A seek, Locate Record, Read IPL or Recalibrate was done."""
        self.mask = 0
        self.mask_set = False
        self.extent_defined = False
        self.attributes = 0
        """Global attributes of Define Extent."""
        self.block_size = LONGEST_BLOCK
        self.first_track = 0
        self.last_track = self.image.tracks - 1
        self.ipl = False
        """Read IPL was done."""
        self.domain = 0
        """Commands still to come in the domain of a Locate Record; 0: outside."""
        self.operation = 0
        """Operation code of the domain."""
        self.commands_of_domain = NOTHING
        """The commands that it may have, but for a suffix."""
        self.whole_track_orientation = False
        """The domain began at the home address or the index point."""
        self.index_orientation = False
        """The domain began at the index point."""
        self.transfer_length = 0
        """Transfer length factor: bytes of data that each write of the domain moves."""
        self.transfer_length_given = False
        self.count_suffix = False
        """A Read Count ends the domain."""
        self.stays_on_track = False
        """Read Any and Write Any: even a multitrack command goes round the one track."""
        self.track_set = 0
        """Read Trackset: a bit for each track still to come, the next one at 0x8000."""
        self.track_set_active = False
        self.proof = 0
        """What this command has shown (PROVED_ bits): a write outside a domain needs it."""
        self.shown = 0
        """What the command before has shown."""
        self.previous = -1
        """Command code of the command before; -1: there is none."""
        self.only_next: Container[int] | None = None
        """If not None, the only commands that may follow."""
        self.subsystem_data = b""
        """Prepared by Perform Subsystem Function for Read Subsystem Data."""

    def execute(self, code: int, io: DataTransfer) -> int:
        """Do one command: check that it may come here, run it, keep count of the domain."""
        domain = self.domain
        self.shown = self.proof
        self.proof = 0
        self.multitrack = code >= MULTITRACK
        if self.index_passed and code not in KEEP_INDEX:
            self.index_passed = False
        try:
            handler = self.commands.get(code)
            if handler is None:
                raise self.rejected(Message.INVALID_COMMAND)
            if self.only_next is not None:
                if code not in self.only_next:
                    raise self.rejected(INVALID_SEQUENCE)
                self.only_next = None
            if domain and code not in self.commands_of_domain and not self._is_exempt(code):
                raise self.rejected(INVALID_SEQUENCE)
            status = handler(self, io)
            if status is None:
                status = ENDED
        except UnitCheck as check:
            status = self.end_with(check)
        except OSError:
            self.track.number = -1
            status = self.end_with(self.cannot_write())
        if domain:
            if not (io.chaining and code & 0x7F == codes.READ_COUNT and self._counts_with_data()):
                self.domain = domain - 1
            if self.domain and not io.chaining and not status & UC:
                status = self.end_with(
                    self.failed(c.SNS0_CMD_REJECT | codes.SENSE0_INCOMPLETE_DOMAIN, 0)
                )
        self.previous = code
        return status

    def end_with(self, check: UnitCheck) -> int:
        """The unit status of a command that *check* ends; its sense data are kept."""
        self.sense = check.sense
        return check.status

    def _is_exempt(self, code: int) -> bool:
        """May come into any domain: an announced suffix, or No-Operation behind Read IPL."""
        if code & 0x7F == codes.READ_COUNT:
            return self.count_suffix and self.domain == 1
        return code == codes.NO_OPERATION and self.previous == codes.READ_IPL

    def _counts_with_data(self) -> bool:
        """A Read Count of Read Any, but for its suffix, is of the record that is read next."""
        return self.operation == codes.OPERATION_READ_ANY and not (
            self.count_suffix and self.domain == 1
        )

    def reset(self) -> None:
        """A clear signal: what was in progress is forgotten; path groups and reservation stay."""
        super().reset()
        self.begin()

    def close(self) -> None:
        """Give the image back, and what was reserved."""
        super().close()
        self.image.close()
        self.track.number = -1

    # ------------------------------------------------------------------ sense data

    def failed(self, byte0: int, byte1: int, message: int = 0) -> UnitCheck:
        """A unit check with these sense bytes, at the current cylinder and head."""
        return UnitCheck(
            sense.build(byte0, byte1, message, self.cylinder, self.head, self.image.cylinders)
        )

    def cannot_write(self) -> UnitCheck:
        """Equipment check: the image could not be written, or read."""
        return self.failed(c.SNS0_EQUIPMENT_CHECK, dasd.SENSE1_PERMANENT_ERROR, codes.MEDIUM_ERROR)

    def lost(self) -> UnitCheck:
        """Equipment check, allegiance terminated: Linux knows a lost reservation by that."""
        data = sense.build(
            c.SNS0_EQUIPMENT_CHECK, 0, codes.ALLEGIANCE_TERMINATED,
            self.cylinder, self.head, self.image.cylinders,
            byte2=codes.SENSE2_ENVIRONMENTAL_DATA,
        )  # fmt: skip
        return UnitCheck(data, UC)

    def rejected(self, message: Message) -> UnitCheck:
        """Command reject, format 0."""
        return self.failed(c.SNS0_CMD_REJECT, 0, message)

    def write_inhibited(self) -> UnitCheck:
        """The image is attached read-only: what the control unit makes of that."""
        return self.failed(self.control_unit.write_inhibited, dasd.SENSE1_WRITE_INHIBITED)

    def stopped(self, byte1: int) -> UnitCheck:
        """No record found, end of cylinder, file protected, invalid track format."""
        return self.failed(0, byte1)

    def take_sense(self) -> bytes:
        """The 32 bytes of sense data; if nothing is wrong, they say where the heads are.

        Sense data that are shorter, as those of an injected fault, are completed, so that byte 27
        names the format.
        """
        data, self.sense = self.sense, b""
        if len(data) < sense.LENGTH:
            rest = sense.build(0, 0, 0, self.cylinder, self.head, self.image.cylinders)
            data += rest[len(data) :]
        return data

    # ------------------------------------------------------------------ parameters

    def parameters(self, io: DataTransfer, length: int) -> bytes:
        """The first *length* bytes from the channel; command reject if the CCW count is less."""
        data = io.take(length)
        if len(data) < length:
            raise self.rejected(Message.COUNT_TOO_SMALL)
        return data

    # ------------------------------------------------------------------ from track to track

    def valid_address(self, cylinder: int, head: int) -> bool:
        """Whether the volume has this track."""
        return cylinder < self.image.cylinders and head < HEADS

    def outside_extent(self, track: int) -> bool:
        """Whether *track* (cylinder * HEADS + head) is outside the defined extent."""
        return not self.first_track <= track <= self.last_track

    def move(self, cylinder: int, head: int) -> None:
        """Put the heads on a track, behind its home address.

        Before the first one it waits for programs of others whose extents forbid this one's. Unit
        check with invalid track format if the image does not have this track there; equipment check
        if it was cut.
        """
        if self.in_use is not None and self.claim is None:
            writes = self.mask & codes.MASK_WRITE_CONTROL != codes.MASK_WRITES_INHIBITED
            self.claim = self.in_use.take(self.first_track, self.last_track, writes)
        self.cylinder, self.head = cylinder, head
        self.record = -1
        self.place = INDEX
        number = cylinder * HEADS + head
        track = self.track
        if track.number != number:
            track.number = -1
            if not self.image.read_track(number, track.buffer):
                self.image.tell_cut(number)
                raise self.cannot_write()
            if not track.loaded(number, cylinder, head):
                raise self.stopped(codes.SENSE1_INVALID_TRACK_FORMAT)

    def advance(self, tracks: int = 1) -> None:
        """Multitrack operation: go on to a later track.

        Outside a domain it needs permission by the file mask and ends at the end of the cylinder;
        the extent binds always.
        """
        if not self.domain:
            if self.mask & MASK_SEEK_CONTROL == MASK_NO_SEEKS:
                raise self.stopped(dasd.SENSE1_FILE_PROTECTED)
            if self.head + tracks >= HEADS:
                raise self.stopped(codes.SENSE1_END_OF_CYLINDER)
        number = self.cylinder * HEADS + self.head + tracks
        if self.outside_extent(number):
            raise self.stopped(dasd.SENSE1_FILE_PROTECTED)
        self.move(*divmod(number, HEADS))

    # ------------------------------------------------------------------ from record to record

    def next_record(
        self,
        *,
        record_zero: bool = False,
        same_track: bool = False,
        marks_index: bool = True,
        patient: bool = False,
    ) -> int:
        """Read the next count field; gives the index of its record, which becomes the current one.

        Record 0 is passed over unless *record_zero*. At the end of the track the search goes on at
        the start of the same track or, for a multitrack command unless *same_track*, of the next
        one. The second time the index point is passed without data in between it ends with no
        record found, unless *patient* (multitrack outside a domain, which the end of the cylinder
        ends). *marks_index*: the step to the next track counts as such a passage.
        """
        track = self.track
        multitrack = self.multitrack and not same_track
        if self.place == END:
            self.advance()
        while True:
            record = self.record + 1
            if record < len(track.starts):
                self.record = record
                self.place = COUNT
                if record_zero or track.buffer[track.starts[record] + 4]:
                    return record
                continue
            self._check_end()
            if self.index_passed and not (patient and multitrack):
                raise self.stopped(dasd.SENSE1_NO_RECORD_FOUND)
            if multitrack and not (self.domain and self.stays_on_track):
                self.advance()
                if marks_index:
                    self.index_passed = True
            else:
                self.move(self.cylinder, self.head)
                self.index_passed = True

    def next_on_track(self, *, record_zero: bool = False) -> int:
        """Like `next_record`, but gives -1 at the end of the track and stays there."""
        track = self.track
        if self.place == END:
            self.advance()
        while True:
            record = self.record + 1
            if record >= len(track.starts):
                self._check_end()
                return -1
            self.record = record
            self.place = COUNT
            if record_zero or track.buffer[track.starts[record] + 4]:
                return record

    def _check_end(self) -> None:
        """The records of the track are used up: is that its end, or is it damaged from here on?"""
        if not self.track.whole:
            raise self.stopped(codes.SENSE1_INVALID_TRACK_FORMAT)
        self.place = END

    def after_current(self) -> int:
        """Offset on the track behind the current record (or behind the home address)."""
        return self.track.after(self.record)

    def need_position(self) -> None:
        """Reject the command if nothing has put the heads on a track yet; a domain always has."""
        if not self.positioned:
            raise self.rejected(INVALID_SEQUENCE)
