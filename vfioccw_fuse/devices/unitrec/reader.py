"""The 3505: a card reader, whose hopper is a file.

With `ebcdic`, the default, the file is a plain row of 80-byte cards; with `ascii` each line of a
text is a card, translated to EBCDIC and filled with blanks. Behind the last card the operator would
have to put more in: intervention required. With `eof` he has pressed END OF FILE: unit exception,
once. Cards that are added to the file later are read.

Commands: the 3505's (GA21-9124) as far as Hercules has them: every read feeds its card, so that a
Feed alone has nothing left to do, and the stackers are one.
"""

from __future__ import annotations

import os
from typing import Final, Protocol

from ...errors import UserError
from ...regions import constants as c
from ..base import (
    ENDED,
    EQUIPMENT_CHECK,
    UE,
    DataTransfer,
    Device,
    UnitCheck,
    command,
)
from ..medium import Medium
from ..options import READONLY, SENSE_ID, DeviceSpec, Option, Options, Owner, parse_flag
from . import codes

CARD: Final = 80
"""Bytes of a card, one a column."""
BLANK: Final = 0x40
"""An EBCDIC blank."""
LINE_LIMIT: Final = 4096
"""Bytes in which the end of a text line is looked for."""

NO_CARDS: Final = bytes([c.SNS0_INTERVENTION_REQ, codes.SENSE1_RETRY])


EBCDIC: Final = Option(
    word="ebcdic",
    owner=Owner.DEVICE,
    help="the file is a row of 80-byte cards, as without this word",
    parse=parse_flag,
)
ASCII: Final = Option(
    word="ascii",
    owner=Owner.DEVICE,
    help="the file is a text, of which each line is a card",
    parse=parse_flag,
)
EOF: Final = Option(
    word="eof",
    owner=Owner.DEVICE,
    help="behind the last card is unit exception, not intervention required",
    parse=parse_flag,
)


class Hopper(Protocol):
    """Cards waiting to be read."""

    def next(self) -> bytes | None:
        """The next card, 80 bytes of EBCDIC; None when there is none. OSError when it jams."""
        ...

    @property
    def empty(self) -> bool:
        """There is no card."""
        ...


class CardFile:
    """A hopper of 80-byte cards."""

    def __init__(self, medium: Medium) -> None:
        self._medium = medium
        self._offset = 0

    def next(self) -> bytes | None:
        """The next card; None behind the last whole one."""
        card = self._medium.read(CARD, self._offset)
        if len(card) < CARD:
            return None
        self._offset += CARD
        return card

    @property
    def empty(self) -> bool:
        """No whole card is left."""
        return self._medium.size() < self._offset + CARD


class TextFile:
    """A hopper of text lines."""

    def __init__(self, medium: Medium) -> None:
        self._medium = medium
        self._offset = 0

    def next(self) -> bytes | None:
        """The next line as a card; UnitCheck (data check) when it is longer than a card."""
        text = self._medium.read(LINE_LIMIT, self._offset)
        if not text:
            return None
        line, newline, _ = text.partition(b"\n")
        self._offset += len(line) + len(newline)
        columns = line.rstrip(b"\r").decode("utf-8", "replace").expandtabs(8)
        if len(columns) > CARD:
            raise UnitCheck(bytes([c.SNS0_DATA_CHECK]))
        return columns.encode("cp037", "replace").ljust(CARD, bytes([BLANK]))

    @property
    def empty(self) -> bool:
        """No line is left."""
        return self._medium.size() <= self._offset


class Reader3505(Device):
    """A card reader."""

    type_name = "3505"
    description = "card reader"
    takes = "file of 80-byte cards, or a text with ascii"
    words = codes.READER
    sense_length = 4
    sense_id = bytes.fromhex("ff 3505 01 3505 01")
    options = Options(READONLY, EBCDIC, ASCII, EOF, SENSE_ID)

    def __init__(
        self, name: str, medium: Medium, hopper: Hopper, *, end_of_file: bool = False
    ) -> None:
        """*medium* is the file behind *hopper*, which the device closes."""
        super().__init__(name)
        self.media = (medium,)
        self._hopper = hopper
        self._end_of_file = end_of_file
        self._ran_empty = False

    @classmethod
    def open(cls, spec: DeviceSpec) -> Reader3505:
        """Attach the file that *spec* names; UserError when it is no deck of cards."""
        text = spec.get(ASCII, False)
        if text and spec.get(EBCDIC, False):
            raise UserError(f"3505@{spec.schid}: ebcdic or ascii, not both")
        try:
            medium = Medium.open(spec.path, os.O_RDONLY)
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            raise UserError(f"{spec.path}: {reason}; name a file of cards") from None
        size = medium.size_at_open
        if not text and size % CARD:
            medium.close()
            raise UserError(
                f"{spec.path}: {size} bytes are not whole cards of {CARD} bytes; "
                "add `ascii` if it is a text"
            )
        hopper = TextFile(medium) if text else CardFile(medium)
        name = f"reader 3505 {spec.path}"
        return cls(name, medium, hopper, end_of_file=spec.get(EOF, False))

    def take_sense(self) -> bytes:
        """The sense data; a reader that ran out of cards tells so without being asked to read."""
        if not self.sense and self._ran_empty and self._hopper.empty:
            self.sense = NO_CARDS
        return super().take_sense()

    @command(*codes.READS)
    def read(self, io: DataTransfer) -> int | None:
        """Read a card, and feed the next."""
        try:
            card = self._hopper.next()
        except OSError:
            raise UnitCheck(EQUIPMENT_CHECK) from None
        if card is not None:
            self._ran_empty = False
            io.give(card)
            return None
        if self._end_of_file and not self._ran_empty:
            self._ran_empty = True
            io.give(b"")
            return ENDED | UE
        self._ran_empty = True
        raise UnitCheck(NO_CARDS)

    @command(*codes.FEEDS)
    def feed(self, io: DataTransfer) -> int | None:
        """Feed, Select Stacker: the card was fed when it was read."""
        return None
