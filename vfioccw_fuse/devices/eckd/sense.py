"""Sense data of a 3390: 32 bytes, the 24-byte compatible formats.

Byte 0 and 1 say what went wrong, byte 7 which format and message, byte 27 = 0x80 that the 24-byte
formats are used: Linux looks at all of them (`dasd_3990_erp.c`, `dasd_eckd.c`) and retries 255
times if byte 27 is zero. Layout: 3990 reference, *Sense Data*.
"""

from __future__ import annotations

from typing import Final

from . import codes

LENGTH: Final = 32
"""Bytes of sense data that a 3990 and its successors offer."""
WIDE_CYLINDERS: Final = 4095
"""The last cylinder number that bytes 5 and 6 can name; on larger volumes both are ff."""


def build(
    byte0: int, byte1: int, message: int, cylinder: int, head: int, cylinders: int, byte2: int = 0
) -> bytes:
    """Sense data for an access mechanism at *cylinder* and *head* of a volume of *cylinders*.

    *message* is byte 7 whole: format in the high half, message in the low.
    """
    data = bytearray(LENGTH)
    data[0] = byte0
    data[1] = byte1
    data[2] = byte2
    if cylinders > WIDE_CYLINDERS:
        data[5] = data[6] = 0xFF
    else:
        data[5] = cylinder & 0xFF
        data[6] = (cylinder >> 8) << 4 | head
    data[7] = message
    data[27] = codes.COMPATIBLE_24_BYTES
    data[29] = cylinder >> 8
    data[30] = cylinder & 0xFF
    data[31] = head
    return bytes(data)
