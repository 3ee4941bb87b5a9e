"""The 1403: a line printer behind a 2821, whose paper is a text file.

Lines are translated from EBCDIC, trailing blanks left out; spacing is newlines, a line that is not
spaced ends with a carriage return and is overprinted, a skip to a line above is a form feed. The
carriage is moved by a control tape of 66 lines with a hole for each of twelve channels. Passing
the hole of channel 9 is a unit check, of channel 12 a unit exception: the form is nearly full.

Commands: the 2821's (GA24-3312) as far as Hercules has them, its control tape too.
"""

from __future__ import annotations

from typing import Final, Self

from ..base import (
    ENDED,
    UC,
    UE,
    DataTransfer,
    Device,
    UnitCheck,
    command,
)
from ..ebcdic import CODE_PAGE, DEFAULT, PAGES, CodePage
from ..options import SENSE_ID, SYNC, DeviceSpec, Options
from . import codes
from .output import Output

LINE: Final = 132
"""Print positions of a line, and bytes of the print line buffer."""
UCS_SIZE: Final = 240
"""Bytes of the universal character set buffer: the type on the train."""
FORM: Final = 66
"""Lines of a form."""
CHANNELS: Final = {1: 1, 2: 7, 3: 13, 4: 19, 5: 25, 6: 31, 7: 37, 8: 43, 9: 63, 10: 49, 11: 55,
                   12: 61}  # fmt: skip
"""The control tape: channel to line of the form."""

CHECK_BITS_PRINTED: Final = 0x04
"""Check Read: this position was compared and printed."""


def printable(data: bytes, page: CodePage) -> str:
    """The text that EBCDIC *data* prints: what has no type on the train leaves a blank."""
    text = page.decode(data).replace("\N{REPLACEMENT CHARACTER}", " ")
    return "".join(letter if letter.isprintable() else " " for letter in text)


class Printer1403(Device):
    """A line printer. Its file is made when there is none; lines are added at its end."""

    type_name = "1403"
    description = "printer"
    takes = "plain file, printed at its end; or - for none"
    loads = True
    options = Options(SYNC, CODE_PAGE, SENSE_ID)
    words = codes.PRINTER
    sense_length = 2
    sense_id = bytes.fromhex("ff 2821 01 1403 01")

    def __init__(self, name: str, paper: Output, page: CodePage) -> None:
        super().__init__(name)
        self.media = paper.media
        self._page = page
        self._paper = paper
        self._code = 0
        self._buffer = bytes(LINE)
        self._line = 1
        self._overprints = False
        self._folds = False
        self._fresh_form = False
        self._gate_open = False

    @classmethod
    def open(cls, spec: DeviceSpec) -> Printer1403:
        """Attach the file that *spec* names; UserError when it cannot be written."""
        page = spec.get(CODE_PAGE, PAGES[DEFAULT])
        return cls(f"printer 1403 {spec.path}", Output(spec.path), page)

    def exchange(self, other: Self) -> None:
        """As `Device.exchange`: other paper, at its first line."""
        super().exchange(other)
        self._paper = other._paper
        self._line = 1
        self._overprints = False

    def begin(self) -> None:
        """A new program: the UCS gate is closed."""
        self._gate_open = False

    def execute(self, code: int, io: DataTransfer) -> int:
        """Do one command; its code says how the carriage moves."""
        self._code = code
        return super().execute(code, io)

    # ------------------------------------------------------------------------------- carriage
    def _put(self, text: str) -> None:
        self._paper.write(text.encode())

    def _move(self) -> int:
        """Space or skip as the command says; gives the unit status."""
        if self._code & codes.IS_SKIP:
            self._skip((self._code & 0x7F) >> 3)
            return ENDED
        return self._space(self._code >> 3)

    def _space(self, lines: int) -> int:
        before, after = self._line, self._line + lines
        self._put("\n" * lines or "\r")
        self._line = (after - 1) % FORM + 1
        self._overprints = not lines
        status = ENDED
        if before < CHANNELS[12] <= after:
            status |= UE
        if before < CHANNELS[9] <= after:
            raise UnitCheck(bytes([codes.SENSE_CHANNEL_9]), status | UC)
        return status

    def _skip(self, channel: int) -> None:
        target = CHANNELS[channel]
        here = target == self._line and not self._overprints
        self._overprints = False
        if here and self._code & codes.IS_CONTROL:
            return  # a Skip Immediate to where the carriage stands moves nothing
        text = ""
        if target <= self._line or self._fresh_form:
            text, self._line = "\f", 1
        self._put(text + "\n" * (target - self._line))
        self._line = target
        self._fresh_form = False

    # ------------------------------------------------------------------------------- commands
    @command(*codes.WRITES)
    def write(self, io: DataTransfer) -> int | None:
        """Write a line, then move the carriage."""
        data = io.take(LINE, variable=True)
        self._buffer = data.ljust(LINE, b"\0")
        text = printable(data, self._page).rstrip(" ")
        self._put(text.upper() if self._folds else text)
        return self._move()

    @command(*codes.MOVES)
    def move_immediate(self, io: DataTransfer) -> int | None:
        """Space or skip without printing."""
        return self._move()

    @command(*codes.DIAGNOSTIC_WRITES)
    def diagnostic_write(self, io: DataTransfer) -> int | None:
        """Diagnostic Write: fills the print line buffer and prints nothing."""
        self._buffer = io.take(LINE, variable=True).ljust(LINE, b"\0")
        return None

    @command(codes.DIAGNOSTIC_READ)
    def diagnostic_read(self, io: DataTransfer) -> int | None:
        """Diagnostic Read: the print line buffer."""
        io.give(self._buffer)
        return None

    @command(codes.CHECK_READ)
    def check_read(self, io: DataTransfer) -> int | None:
        """Diagnostic Check Read: check bits of each print position."""
        io.give(bytes([CHECK_BITS_PRINTED]) * LINE)
        return None

    @command(codes.UCS_GATE_LOAD)
    def ucs_gate_load(self, io: DataTransfer) -> int | None:
        """UCS Gate Load: the load of the character set buffer may follow in this program."""
        self._gate_open = True
        return None

    @command(codes.LOAD_UCS_FOLD)
    def load_ucs_fold(self, io: DataTransfer) -> int | None:
        """Load UCS Buffer and Fold: small letters print as capitals."""
        self._load_ucs(io, folds=True)
        return None

    @command(codes.LOAD_UCS)
    def load_ucs(self, io: DataTransfer) -> int | None:
        """Load UCS Buffer."""
        self._load_ucs(io, folds=False)
        return None

    def _load_ucs(self, io: DataTransfer, *, folds: bool) -> None:
        """Take the 240 bytes; the paper file has every character, so only folding matters."""
        if not self._gate_open:
            raise self.reject(self._code)
        if len(io.take(UCS_SIZE)) < UCS_SIZE:
            raise UnitCheck(bytes([codes.SENSE_LOAD_CHECK]))
        self._folds = folds
        self._fresh_form = True

    @command(codes.BLOCK_DATA_CHECK, codes.ALLOW_DATA_CHECK)
    def set_data_check(self, io: DataTransfer) -> int | None:
        """Block Data Check (73), Allow Data Check (7B): no character is ever unprintable."""
        return None
