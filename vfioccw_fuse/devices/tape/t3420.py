"""The 3420: reels of half-inch tape behind a 3803 control unit (GA32-0020).

It is older than block ids and most else: those commands it rejects. It is older than Sense ID, too,
which it answers all the same unless `sense-id=legacy` is said. Densities and track formats have no
meaning for a file, so the Mode Set commands do nothing.
"""

from __future__ import annotations

from ..base import DataTransfer, command
from ..options import SENSE_ID, Options
from . import codes
from .drive import TapeDrive
from .sense import CONTROL_UNIT_END, Condition, sense_3420


class Tape3420(TapeDrive):
    """A 3420 model 6 behind a 3803 model 2."""

    type_name = "3420"
    words = codes.T3420
    sense_length = 24
    sense_id = bytes.fromhex("ff 3803 02 3420 06")
    options = TapeDrive.options | Options(SENSE_ID)
    unload_status = CONTROL_UNIT_END

    def build_sense(self, condition: Condition) -> bytes:
        """The 24 bytes for *condition*."""
        return sense_3420(condition, self.state())

    @command(*codes.MODE_SET_1, codes.MODE_SET_1600, codes.MODE_SET_800, codes.MODE_SET_6250,
             codes.DIAGNOSTIC_MODE_SET)  # fmt: skip
    def mode_set(self, io: DataTransfer) -> int | None:
        """Mode Set 1 and 2: 7-track modes, 800, 1600 and 6250 bits an inch; all the same here."""
        return None

    @command(codes.SENSE_RELEASE, codes.SENSE_RESERVE)
    def sense_release_or_reserve(self, io: DataTransfer) -> int | None:
        """Sense Release, Sense Reserve: sense data; there is no other host."""
        io.give(self.take_sense())
        return None
