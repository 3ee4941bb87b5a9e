"""The 3525: a card punch, whose stacker is a file of 80-byte cards in EBCDIC.

Commands: the 3525's (GA21-9127) as far as Hercules has them; the stackers are one.
"""

from __future__ import annotations

from typing import Final, Self

from ..base import DataTransfer, Device, command
from ..options import SYNC, DeviceSpec, Options
from . import codes
from .output import Output

CARD: Final = 80
"""Bytes of a card, one a column."""
BLANK: Final = b"\x40"
"""An EBCDIC blank: a column without holes."""


class Punch3525(Device):
    """A card punch. Its file is made when there is none; cards are added at its end."""

    type_name = "3525"
    description = "card punch"
    takes = "file of 80-byte cards, added at its end; or - for none"
    loads = True
    options = Options(SYNC)
    words = codes.PUNCH
    sense_length = 1
    sense_id = bytes.fromhex("ff 3505 01 3525 01")

    def __init__(self, name: str, stacker: Output) -> None:
        super().__init__(name)
        self.media = stacker.media
        self._stacker = stacker

    @classmethod
    def open(cls, spec: DeviceSpec) -> Punch3525:
        """Attach the file that *spec* names; UserError when it is no stack of cards."""
        return cls(f"punch 3525 {spec.path}", Output(spec.path, record=CARD))

    def exchange(self, other: Self) -> None:
        """As `Device.exchange`: another stacker."""
        super().exchange(other)
        self._stacker = other._stacker

    @command(*codes.PUNCHES)
    def write_feed_select_stacker(self, io: DataTransfer) -> int | None:
        """Write, Feed, Select Stacker: one card; columns that the program leaves out are blank."""
        self._stacker.write(io.take(CARD).ljust(CARD, BLANK))
        return None
