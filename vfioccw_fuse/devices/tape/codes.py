"""The commands of tape drives, and what people call them and their sense bits."""

from __future__ import annotations

from types import MappingProxyType

from ...regions import constants as c
from ...regions.descriptions import DeviceWords

_COMMANDS = {
    c.TAPE_WRITE: "write",
    c.TAPE_READ_FORWARD: "read forward",
    c.TAPE_REWIND: "rewind",
    c.TAPE_READ_BACKWARD: "read backward",
    c.TAPE_REWIND_UNLOAD: "rewind unload",
    c.TAPE_READ_BUFFER: "read buffer",
    c.TAPE_ERASE_GAP: "erase gap",
    c.TAPE_WRITE_TAPE_MARK: "write tape mark",
    c.TAPE_READ_BLOCK_ID: "read block id",
    c.TAPE_READ_BUFFERED_LOG: "read buffered log",
    c.TAPE_BACKSPACE_BLOCK: "backspace block",
    c.TAPE_BACKSPACE_FILE: "backspace file",
    c.CCW_CMD_SENSE_PGID: "sense path group id",
    c.TAPE_FORSPACE_BLOCK: "forward space block",
    c.TAPE_RSSD: "read subsystem data",
    c.TAPE_FORSPACE_FILE: "forward space file",
    c.TAPE_SYNC: "synchronize",
    c.TAPE_READ_MESSAGE_ID: "read message id",
    c.TAPE_LOCATE: "locate block",
    c.TAPE_SET_INTERFACE_ID: "set interface id",
    c.TAPE_PSF: "perform subsystem function",
    c.TAPE_DATA_SECURITY_ERASE: "data security erase",
    c.TAPE_LOAD_DISPLAY: "load display",
    c.CCW_CMD_SET_PGID: "set path group id",
    c.TAPE_ASSIGN: "assign",
    c.TAPE_UNASSIGN: "unassign",
    c.TAPE_MODE_SET: "mode set",
    c.TAPE_CONTROL_ACCESS: "control access",
}

WORDS = DeviceWords(
    commands=MappingProxyType(_COMMANDS),
    sense0=((0x02, "deferred unit check"), (0x01, "assigned elsewhere")),
    sense1=(
        (c.SENSE_LOCATE_FAILURE, "locate failure"),
        (c.SENSE_DRIVE_ONLINE, "drive online"),
        (c.SENSE_RECORD_SEQUENCE_ERR, "record sequence error"),
        (c.SENSE_BEGINNING_OF_TAPE, "beginning of tape"),
        (c.SENSE_WRITE_MODE, "write mode"),
        (c.SENSE_WRITE_PROTECT, "write protected"),
        (c.SENSE_NOT_CAPABLE, "not capable"),
    ),
)
"""A 3420's, 3480's and 3490's."""
