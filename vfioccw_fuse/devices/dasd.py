"""What disks of both families have: their common commands."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from ..regions import constants as c

COMMANDS: Final = MappingProxyType(
    {
        c.CCW_CMD_READ_IPL: "read IPL",
        c.CCW_CMD_STLCK: "unconditional reserve",
        c.CCW_CMD_RELEASE: "device release",
        c.DASD_ECKD_CCW_RESERVE: "device reserve",
        c.CCW_CMD_SENSE_PGID: "sense path group id",
        c.CCW_CMD_SUSPEND_RECONN: "suspend multipath reconnection",
        c.CCW_CMD_SET_PGID: "set path group id",
        c.DASD_ECKD_CCW_READ_BUFFERED_LOG: "read and reset buffered log",
        c.DASD_ECKD_CCW_DEFINE_EXTENT: "define extent",
    }
)
"""Command code to name."""
