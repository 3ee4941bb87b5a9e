"""The commands of fixed-block disks, and what people call them and their sense bits."""

from __future__ import annotations

from types import MappingProxyType

from ...regions import constants as c
from ...regions.descriptions import DeviceWords
from ..dasd import COMMANDS as DASD_COMMANDS

_COMMANDS = {
    c.DASD_FBA_CCW_WRITE: "write",
    c.DASD_FBA_CCW_READ: "read",
    c.DASD_FBA_CCW_LOCATE: "locate",
}

WORDS = DeviceWords(
    commands=MappingProxyType({**DASD_COMMANDS, **_COMMANDS}),
    sense1=(
        (c.SNS1_PERM_ERR, "permanent error"),
        (c.SNS1_MESSAGE_TO_OPER, "message to operator"),
        (c.SNS1_NO_REC_FOUND, "no record found"),
        (c.SNS1_FILE_PROTECTED, "file protected"),
        (c.SNS1_WRITE_INHIBITED, "write inhibited"),
    ),
)
"""A 3370's and a 9336's."""
