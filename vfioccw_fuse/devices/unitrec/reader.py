"""The 3505: a card reader, whose hopper is a file.

With `ebcdic`, the default, the file is a plain row of 80-byte cards; with `ascii` each line of a
text is a card, translated to EBCDIC and filled with blanks. The files of a directory are one deck.

Behind the last card the operator would have to put more in: intervention required. With `eof` he
has pressed END OF FILE: unit exception, once. X'1A' in a text is the end of the file that somebody
has put there: unit exception, and what is behind it is not read. Cards that are added to the file
later are read.

Commands: the 3505's (GA21-9124) as far as Hercules has them: every read feeds its card, so that a
Feed alone has nothing left to do, and the stackers are one.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from typing import Final, Protocol, Self

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
from ..ebcdic import CODE_PAGE, DEFAULT, PAGES, CodePage
from ..medium import Medium
from ..options import NO_MEDIUM, READONLY, SENSE_ID, DeviceSpec, Option, Options, Owner, parse_flag
from . import codes

CARD: Final = 80
"""Bytes of a card, one a column."""
BLANK: Final = b"\x40"
"""An EBCDIC blank."""
LINE_LIMIT: Final = 4096
"""Bytes in which the end of a text line is looked for."""

_END_MARK: Final = b"\x1a"
DATA_CHECK: Final = bytes([c.SNS0_DATA_CHECK])
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


END: Final = b""
"""What a hopper gives where its deck says that it ends."""


class Hopper(Protocol):
    """Cards waiting to be read."""

    def next(self) -> bytes | None:
        """The next card, 80 bytes of EBCDIC; END; None when there is none. OSError when it jams."""
        ...

    @property
    def empty(self) -> bool:
        """There is no card."""
        ...


class CardFile:
    """A hopper of 80-byte cards."""

    def __init__(self, medium: Medium) -> None:
        """UserError if *medium* is not whole cards."""
        size = medium.size_at_open
        if size % CARD:
            raise UserError(
                f"{medium.path}: {size} bytes are not whole cards of {CARD} bytes; "
                "add `ascii` if it is a text"
            )
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
    """A hopper of text lines, up to the first X'1A'."""

    def __init__(self, medium: Medium, page: CodePage) -> None:
        """UserError if *medium* has what *page* has no counterpart of; it names the place."""
        self._medium = medium
        self._page = page
        self._offset = 0
        self._ended = False
        self._check()
        self._offset = 0
        self._ended = False

    def _check(self) -> None:
        number = 0
        while (line := self._line()) is not None and line != _END_MARK:
            number += 1
            try:
                text = line.decode()
                self._page.encode(text)
            except UnicodeDecodeError as wrong:
                # A character that LINE_LIMIT cut in two is in no card.
                if len(line) < LINE_LIMIT:
                    at, byte = len(line[: wrong.start].decode()), line[wrong.start]
                    raise self._wrong(number, at, f"byte {byte:02x} is not UTF-8") from None
            except UnicodeEncodeError as wrong:
                what = f"U+{ord(text[wrong.start]):04X} is not in code page {self._page.name}"
                raise self._wrong(number, wrong.start, what) from None

    def _wrong(self, line: int, at: int, what: str) -> UserError:
        where = f"{self._medium.path}: line {line}, column {at + 1}"
        return UserError(f"{where}: {what}; change it, or say another code-page")

    def _line(self) -> bytes | None:
        """The next line without its end, or _END_MARK; None when there is none."""
        if self._ended:
            return None
        text = self._medium.read(LINE_LIMIT, self._offset)
        if not text:
            return None
        line, newline, _ = text.partition(b"\n")
        line, mark, _ = line.partition(_END_MARK)
        if mark and not line:
            self._ended = True
            return _END_MARK
        self._offset += len(line) + (0 if mark else len(newline))
        return line.rstrip(b"\r")

    def next(self) -> bytes | None:
        """The next line as a card.

        UnitCheck (data check) when it is longer than one, or has what the code page has not.
        """
        line = self._line()
        if line is None:
            return None
        if line == _END_MARK:
            return END
        try:
            card = self._page.encode(line.decode().expandtabs(8))
        except UnicodeError:
            raise UnitCheck(DATA_CHECK) from None
        if len(card) > CARD:
            raise UnitCheck(DATA_CHECK)
        return card.ljust(CARD, BLANK)

    @property
    def empty(self) -> bool:
        """No line is left."""
        return self._ended or self._medium.size() <= self._offset


class Files:
    """Hoppers one behind the other. What comes into the last one later is read, too."""

    def __init__(self, hoppers: Sequence[Hopper]) -> None:
        self._hoppers = deque(hoppers)

    def next(self) -> bytes | None:
        """The next card of the first that has one."""
        while self._hoppers:
            card = self._hoppers[0].next()
            if card is not None or len(self._hoppers) == 1:
                return card
            self._hoppers.popleft()
        return None

    @property
    def empty(self) -> bool:
        """None has a card."""
        return all(hopper.empty for hopper in self._hoppers)


class Reader3505(Device):
    """A card reader."""

    type_name = "3505"
    description = "card reader"
    takes = "file of 80-byte cards, or a text with ascii; a directory of them; or - for none"
    loads = True
    words = codes.READER
    sense_length = 4
    sense_id = bytes.fromhex("ff 3505 01 3505 01")
    options = Options(READONLY, EBCDIC, ASCII, CODE_PAGE, EOF, SENSE_ID)

    def __init__(
        self, name: str, media: tuple[Medium, ...], hopper: Hopper, *, end_of_file: bool = False
    ) -> None:
        """*media* are the files behind *hopper*, which the device closes."""
        super().__init__(name)
        self.media = media
        self._hopper = hopper
        self._end_of_file = end_of_file
        self._ran_empty = False

    @classmethod
    def open(cls, spec: DeviceSpec) -> Reader3505:
        """Attach the files that *spec* names; UserError when one is no deck of cards."""
        text, page = spec.get(ASCII, False), spec.get(CODE_PAGE, None)
        if text and spec.get(EBCDIC, False):
            raise UserError(f"3505@{spec.schid}: ebcdic or ascii, not both")
        if page is not None and not text:
            raise UserError(f"3505@{spec.schid}: code-page is for a text; add `ascii`")
        media: list[Medium] = []
        hoppers: list[Hopper] = []
        try:
            for path in _files(spec.path):
                medium = _open(path)
                media.append(medium)
                hoppers.append(
                    TextFile(medium, page or PAGES[DEFAULT]) if text else CardFile(medium)
                )
        except BaseException:
            for medium in media:
                medium.close()
            raise
        name = f"reader 3505 {spec.path}"
        return cls(name, tuple(media), Files(hoppers), end_of_file=spec.get(EOF, False))

    def exchange(self, other: Self) -> None:
        """As `Device.exchange`: other cards in the hopper."""
        super().exchange(other)
        self._hopper = other._hopper
        self._ran_empty = False

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
        if card:
            self._ran_empty = False
            io.give(card)
            return None
        if card == END or (self._end_of_file and not self._ran_empty):
            self._ran_empty = self._hopper.empty
            io.give(b"")
            return ENDED | UE
        self._ran_empty = True
        raise UnitCheck(NO_CARDS)

    @command(*codes.FEEDS)
    def feed(self, io: DataTransfer) -> int | None:
        """Feed, Select Stacker: the card was fed when it was read."""
        return None


def _files(path: str) -> Sequence[str]:
    """The files that *path* means: it, those of a directory in the order of their names, or none.

    What begins with a dot is no deck, nor is a directory in it. UserError if there is none.
    """
    if path in NO_MEDIUM:
        return ()
    if not os.path.isdir(path):
        return (path,)
    try:
        with os.scandir(path) as entries:
            names = sorted(
                entry.name for entry in entries if entry.is_file() and entry.name[0] != "."
            )
    except OSError as error:
        raise UserError(f"{path}: {os.strerror(error.errno or 0)}; name a deck of cards") from None
    if not names:
        raise UserError(f"{path}: no file in this directory; put decks there, or name one")
    return [os.path.join(path, name) for name in names]


def _open(path: str) -> Medium:
    try:
        return Medium.open(path, os.O_RDONLY)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise UserError(f"{path}: {reason}; name a file of cards") from None
