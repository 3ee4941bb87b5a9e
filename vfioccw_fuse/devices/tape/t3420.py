"""The 3420: reels of half-inch tape behind a 3803 control unit (GA32-0020).

It is older than Sense ID, block ids and most else: those commands it rejects. Densities and track
formats have no meaning for a file, so the Mode Set commands do nothing.
"""

from __future__ import annotations

from ...regions import constants as c
from ..base import DataTransfer, command
from .drive import TapeDrive
from .sense import CONTROL_UNIT_END, Condition, sense_3420


class Tape3420(TapeDrive):
    """A 3420 model 6 behind a 3803 model 2."""

    type_name = "3420"
    sense_length = 24
    unload_status = CONTROL_UNIT_END

    def build_sense(self, condition: Condition) -> bytes:
        """The 24 bytes for *condition*."""
        return sense_3420(condition, self.state())

    @command(c.CCW_CMD_SENSE_ID)
    def give_sense_id(self, io: DataTransfer) -> int | None:
        """Sense ID: a 3803 does not know it."""
        raise self.reject(c.CCW_CMD_SENSE_ID)

    @command(0x13, 0x23, 0x2B, 0x33, 0x3B, 0x53, 0x63, 0x6B, 0x73, 0x7B, 0x93, 0xA3, 0xAB, 0xB3,
             0xBB, 0xC3, 0xCB, 0xD3, 0xEB)  # fmt: skip
    def mode_set(self, io: DataTransfer) -> int | None:
        """Mode Set 1 and 2: 7-track modes, 800, 1600 and 6250 bits an inch; all the same here."""
        return None

    @command(0xD4, 0xF4)
    def sense_release_or_reserve(self, io: DataTransfer) -> int | None:
        """Sense Release (D4), Sense Reserve (F4): sense data; there is no other host."""
        io.give(self.take_sense())
        return None
