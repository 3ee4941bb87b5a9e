"""Searches: compare a record's identifier or key, or the home address, with an argument in storage.

A search that is satisfied ends with status modifier, so that the channel skips the next CCW
(usually a transfer back to the search). Rules: 3990 reference, *Search Commands*. If the CCW count
is shorter than what is compared, only so many bytes are.
"""

from __future__ import annotations

from ..base import ENDED, SM, DataTransfer
from . import codes
from .orientation import (
    COUNT,
    KEY,
    PROVED_HOME_ADDRESS,
    PROVED_ID,
    PROVED_KEY,
    Orientation,
    either,
)
from .track import COUNT_LENGTH

IDENTIFIER_LENGTH = 5
SATISFIED = ENDED | SM


class Search(Orientation):
    """The search commands. None of them is part of a domain."""

    @either(codes.SEARCH_ID_EQUAL)
    def search_id_equal(self, io: DataTransfer) -> int | None:
        """Search ID Equal."""
        return self._search_id(io, equal=True, high=False)

    @either(codes.SEARCH_ID_HIGH)
    def search_id_high(self, io: DataTransfer) -> int | None:
        """Search ID High: the record's identifier is higher than the argument."""
        return self._search_id(io, equal=False, high=True)

    @either(codes.SEARCH_ID_EQUAL_HIGH)
    def search_id_equal_high(self, io: DataTransfer) -> int | None:
        """Search ID Equal or High."""
        return self._search_id(io, equal=True, high=True)

    @either(codes.SEARCH_KEY_EQUAL)
    def search_key_equal(self, io: DataTransfer) -> int | None:
        """Search Key Equal."""
        return self._search_key(io, equal=True, high=False)

    @either(codes.SEARCH_KEY_HIGH)
    def search_key_high(self, io: DataTransfer) -> int | None:
        """Search Key High: the record's key is higher than the argument."""
        return self._search_key(io, equal=False, high=True)

    @either(codes.SEARCH_KEY_EQUAL_HIGH)
    def search_key_equal_high(self, io: DataTransfer) -> int | None:
        """Search Key Equal or High."""
        return self._search_key(io, equal=True, high=True)

    @either(codes.SEARCH_HOME_ADDRESS)
    def search_home_address(self, io: DataTransfer) -> int | None:
        """Search Home Address Equal; multitrack on the next track."""
        self.need_position()
        if self.multitrack:
            self.advance()
        self.move(self.cylinder, self.head)
        argument = io.take(4)
        if self.track.home_address()[1 : 1 + len(argument)] != argument:
            return ENDED
        if len(argument) == 4:
            self.proof = PROVED_HOME_ADDRESS
        return SATISFIED

    def _search_id(self, io: DataTransfer, *, equal: bool, high: bool) -> int:
        self.need_position()
        record = self.next_record(record_zero=True, marks_index=False)
        argument = io.take(IDENTIFIER_LENGTH)
        found = self.track.identifier(record)[: len(argument)]
        if equal and not high and found == argument and len(argument) == IDENTIFIER_LENGTH:
            self.proof = PROVED_ID
        return SATISFIED if (equal and found == argument) or (high and found > argument) else ENDED

    def _search_key(self, io: DataTransfer, *, equal: bool, high: bool) -> int:
        self.need_position()
        record = self.record
        if self.place != COUNT:
            record = self.next_record(marks_index=False, patient=True)
        self.place = KEY
        track = self.track
        length = track.keys[record]
        if not length:
            return ENDED
        argument = io.take(length)
        start = track.starts[record] + COUNT_LENGTH
        found = bytes(track.view[start : start + len(argument)])
        if equal and not high and found == argument and len(argument) == length:
            self.proof = PROVED_KEY
        return SATISFIED if (equal and found == argument) or (high and found > argument) else ENDED
