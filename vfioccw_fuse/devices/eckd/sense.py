"""Sense data of a 3390: 32 bytes, the 24-byte compatible formats.

Byte 0 and 1 say what went wrong, byte 7 which format and message, byte 27 = 0x80 that the 24-byte
formats are used: Linux looks at all of them (`dasd_3990_erp.c`, `dasd_eckd.c`) and retries 255
times if byte 27 is zero. Layout: 3990 reference, *Sense Data*.
"""

from __future__ import annotations

import enum
from typing import Final

from ...regions import constants as c

LENGTH: Final = 32
"""Bytes of sense data that a 3990 and its successors offer."""
COMPATIBLE_24_BYTES: Final = 0x80
"""Byte 27: bytes 0 to 23 follow the 24-byte formats."""
WIDE_CYLINDERS: Final = 4095
"""The last cylinder number that bytes 5 and 6 can name; on larger volumes both are ff."""

COMMAND_REJECT: Final = c.SNS0_CMD_REJECT
EQUIPMENT_CHECK: Final = c.SNS0_EQUIPMENT_CHECK
INCOMPLETE_DOMAIN: Final = c.SNS0_INCOMPL_DOMAIN
PERMANENT_ERROR: Final = c.SNS1_PERM_ERR
INVALID_TRACK_FORMAT: Final = c.SNS1_INV_TRACK_FORMAT
END_OF_CYLINDER: Final = c.SNS1_EOC
NO_RECORD_FOUND: Final = c.SNS1_NO_REC_FOUND
FILE_PROTECTED: Final = c.SNS1_FILE_PROTECTED
WRITE_INHIBITED: Final = c.SNS1_WRITE_INHIBITED


class Message(enum.IntEnum):
    """Byte 7 for a program error (format 0): why a command was rejected."""

    NONE = 0
    INVALID_COMMAND = 1
    """The control unit or device does not have the command."""
    INVALID_SEQUENCE = 2
    """The command must not follow those before it, or must follow others."""
    COUNT_TOO_SMALL = 3
    """The CCW count is less than the parameters need."""
    INVALID_PARAMETER = 4
    """A parameter has a value that is not defined or not valid for the device."""
    DIAGNOSTIC = 5
    """The file mask does not authorize diagnostic commands."""


MEDIUM_ERROR: Final = 0x10
"""Byte 7, format 1 message 0: the drive failed; here, an access to the image file."""


def build(byte0: int, byte1: int, message: int, cylinder: int, head: int, cylinders: int) -> bytes:
    """Sense data for an access mechanism at *cylinder* and *head* of a volume of *cylinders*.

    *message* is byte 7 whole: format in the high half, message in the low.
    """
    data = bytearray(LENGTH)
    data[0] = byte0
    data[1] = byte1
    if cylinders > WIDE_CYLINDERS:
        data[5] = data[6] = 0xFF
    else:
        data[5] = cylinder & 0xFF
        data[6] = (cylinder >> 8) << 4 | head
    data[7] = message
    data[27] = COMPATIBLE_24_BYTES
    data[29] = cylinder >> 8
    data[30] = cylinder & 0xFF
    data[31] = head
    return bytes(data)
