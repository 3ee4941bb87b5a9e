"""The command codes and sense bits that disks of both families have, and what people call them.

Names are the kernel's (`dasd_eckd.h`, `dasd_fba.h`).
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from ..regions import constants as c

SLCK: Final = 0x14
"""Unconditional Reserve ("steal lock")."""
DEFINE_EXTENT: Final = 0x63
RELEASE: Final = 0x94
READ_BUFFERED_LOG: Final = 0xA4
RESERVE: Final = 0xB4

COMMANDS: Final = MappingProxyType(
    {
        c.CCW_CMD_READ_IPL: "read IPL",
        SLCK: "unconditional reserve",
        DEFINE_EXTENT: "define extent",
        RELEASE: "device release",
        READ_BUFFERED_LOG: "read and reset buffered log",
        RESERVE: "device reserve",
    }
)
"""Command code to name."""

SENSE1_PERMANENT_ERROR: Final = 0x80
SENSE1_MESSAGE_TO_OPERATOR: Final = 0x10
SENSE1_NO_RECORD_FOUND: Final = 0x08
SENSE1_FILE_PROTECTED: Final = 0x04
SENSE1_WRITE_INHIBITED: Final = 0x02

SENSE1: Final = (
    (SENSE1_PERMANENT_ERROR, "permanent error"),
    (SENSE1_MESSAGE_TO_OPERATOR, "message to operator"),
    (SENSE1_NO_RECORD_FOUND, "no record found"),
    (SENSE1_FILE_PROTECTED, "file protected"),
    (SENSE1_WRITE_INHIBITED, "write inhibited"),
)
"""Bits of sense byte 1 to words."""
