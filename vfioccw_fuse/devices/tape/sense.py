"""What goes wrong on a tape drive, and the sense data that says so.

Two families: the 3420 behind a 3803 control unit, whose 24 bytes are bits of the drive's hardware,
and the 3480 and later, whose byte 3 is an error recovery action (ERA) that tells the program what
to do. Sources: the drives' descriptions (GA32-0020 for the 3803/3420, GA32-0127 for the 3490), the
ERA codes that Linux's tape_34xx driver acts on, and the recorded programs.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from ...regions import constants as c
from ..base import (
    ENDED,
    UC,
)
from . import codes
from .aws import Trouble


@dataclass(frozen=True, slots=True)
class _Meaning:
    """One condition in both families."""

    sense0_3420: int
    extra_3420: tuple[int, int]
    """(byte, value) of the hardware bits that go with it; (0, 0) adds nothing."""
    sense0_3480: int
    era: int
    """3480 sense byte 3."""
    status: int = ENDED | UC
    """Unit status; unit check alone when the command is refused at initial selection."""


class Condition(enum.Enum):
    """Why a command ends with unit check, or that it does not."""

    NONE = _Meaning(0, (0, 0), 0, 0x00, ENDED)
    """Nothing is wrong: what Sense gives without a unit check before it."""
    UNLOADED = _Meaning(c.SNS0_INTERVENTION_REQ, (0, 0), c.SNS0_INTERVENTION_REQ, 0x43, UC)
    """There is no tape."""
    REJECTED = _Meaning(c.SNS0_CMD_REJECT, (4, 0x01), c.SNS0_CMD_REJECT, 0x27, UC)
    """The command or its place in the program is not valid."""
    PROTECTED = _Meaning(c.SNS0_CMD_REJECT, (0, 0), c.SNS0_CMD_REJECT, 0x30)
    """A command that writes met a protected tape."""
    BLOCK_TOO_LONG = _Meaning(c.SNS0_CMD_REJECT, (0, 0), c.SNS0_CMD_REJECT, 0x4E)
    """The block to be written is longer than the control unit's limit."""
    LOAD_POINT = _Meaning(0, (0, 0), 0, 0x39)
    """Backward motion at the load point, or to it."""
    READ_CHECK = _Meaning(c.SNS0_DATA_CHECK, (3, 0xC0), c.SNS0_DATA_CHECK, 0x23)
    """A block cannot be read."""
    WRITE_CHECK = _Meaning(c.SNS0_DATA_CHECK, (3, 0x60), c.SNS0_DATA_CHECK, 0x25)
    """A block cannot be written."""
    VOID = _Meaning(c.SNS0_EQUIPMENT_CHECK, (7, 0x60), c.SNS0_DATA_CHECK, 0x31)
    """Nothing is recorded where a block was expected; a 3420 winds the tape off its reel."""
    TORN = _Meaning(c.SNS0_EQUIPMENT_CHECK, (7, 0x60), c.SNS0_EQUIPMENT_CHECK, 0x36)
    """The recording ends inside a block."""
    END_OF_TAPE = _Meaning(c.SNS0_EQUIPMENT_CHECK, (7, 0x60), c.SNS0_EQUIPMENT_CHECK, 0x38)
    """The physical end of the tape."""
    NOT_LOCATED = _Meaning(c.SNS0_EQUIPMENT_CHECK, (7, 0x60), c.SNS0_EQUIPMENT_CHECK, 0x44)
    """Locate Block did not find its block."""
    HAS_UNLOADED = _Meaning(c.SNS0_INTERVENTION_REQ, (0, 0), c.SNS0_INTERVENTION_REQ, 0x2B)
    """Rewind Unload has done its work: not an error, but it ends with unit check."""


TROUBLES: Final = {
    Trouble.LOAD_POINT: Condition.LOAD_POINT,
    Trouble.VOID: Condition.VOID,
    Trouble.TORN: Condition.TORN,
    Trouble.DAMAGED: Condition.READ_CHECK,
    Trouble.COMPRESSED: Condition.READ_CHECK,
    Trouble.READ: Condition.READ_CHECK,
    Trouble.WRITE: Condition.WRITE_CHECK,
    Trouble.FULL: Condition.END_OF_TAPE,
}
"""What a drive makes of trouble with its medium."""


@dataclass(frozen=True, slots=True)
class DriveState:
    """What sense data tells of the drive besides the condition."""

    loaded: bool
    """There is a tape."""
    at_load_point: bool = False
    """It is rewound."""
    protected: bool = False
    """It may not be written."""
    end_of_tape: bool = False
    """Its end is near."""


def unit_status(condition: Condition) -> int:
    """Unit status that presents *condition*, without a model's additions."""
    return condition.value.status


def sense_3420(condition: Condition, drive: DriveState) -> bytes:
    """The 24 sense bytes of a 3420."""
    meaning = condition.value
    sense = bytearray(24)
    sense[0] = meaning.sense0_3420
    at, value = meaning.extra_3420
    sense[at] |= value
    if drive.loaded:
        sense[0] &= ~c.SNS0_INTERVENTION_REQ
        sense[1] = codes.SENSE_TU_STATUS_A
        sense[1] |= codes.SENSE_BEGINNING_OF_TAPE if drive.at_load_point else 0
        sense[1] |= codes.SENSE_WRITE_PROTECT if drive.protected else 0
        sense[4] |= codes.SENSE4_TAPE_INDICATE if drive.end_of_tape else 0
    else:
        sense[0] |= c.SNS0_INTERVENTION_REQ
        sense[1] = codes.SENSE_TU_STATUS_B | codes.SENSE_WRITE_PROTECT
    sense[5:7] = 0xC0, 0x03  # new subsystem; a 3420 model 6, 6250 bits an inch
    sense[13:17] = 0x80, 0x01, 0x00, 0x01  # 3803 model 2 and serial numbers
    sense[19:21] = 0xFF, 0xFF  # all drives of the string are attached
    return bytes(sense)


def sense_3480(
    condition: Condition, drive: DriveState, *, unit: int, device_number: int, length: int
) -> bytes:
    """The sense bytes of a 3480 (24) or 3490 (32): *length* says how many.

    *unit* is the model in the upper half of byte 27; *device_number* stands for a serial number.
    """
    meaning = condition.value
    sense = bytearray(32)
    sense[0] = meaning.sense0_3480
    sense[1] = codes.SENSE_DRIVE_ONLINE
    if drive.loaded:
        sense[0] &= ~c.SNS0_INTERVENTION_REQ
        sense[1] |= codes.SENSE_BEGINNING_OF_TAPE if drive.at_load_point else 0
        sense[1] |= codes.SENSE_WRITE_PROTECT if drive.protected else 0
    else:
        sense[0] |= c.SNS0_INTERVENTION_REQ
        sense[1] |= codes.SENSE_WRITE_PROTECT
    sense[2] = 0x20  # reported over channel adapter A
    sense[3] = meaning.era
    if condition is Condition.HAS_UNLOADED:
        sense[7] = codes.FORMAT_END_OF_VOLUME
    else:
        sense[7] = codes.FORMAT_DRIVE
        sense[25] = 0x06  # data compaction is installed, and the bigger buffer
    sense[27] = unit << 4 | 0x0C
    sense[28] = device_number >> 12 & 0xFF
    sense[29] = device_number >> 4 & 0xFF
    sense[30] = (device_number & 0xF) * 0x11
    return bytes(sense[:length])


CONTROL_UNIT_END: Final = c.SCSW_DSTAT_CU_END
"""What a 3803 adds to the status of Rewind Unload."""
