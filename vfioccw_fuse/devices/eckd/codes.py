"""The command codes of a 3390 behind a 3990 or 2107, under the names of the 3990 reference.

Numbers that Linux names, too, are taken from there; the rest are in the *3990/9390 Storage Control
Reference* (GA32-0274). A code with the multitrack bit 0x80 goes on to the next track by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from ...regions import constants as c
from ...regions.descriptions import DeviceWords, Row, bits_set
from .. import dasd

MULTITRACK: Final = 0x80

READ_IPL: Final = c.CCW_CMD_READ_IPL
NO_OPERATION: Final = c.CCW_CMD_NOOP
SENSE: Final = c.CCW_CMD_BASIC_SENSE
WRITE_DATA: Final = 0x05
READ_DATA: Final = 0x06
SEEK: Final = 0x07
SEEK_CYLINDER: Final = 0x0B
WRITE_KEY_DATA: Final = 0x0D
READ_KEY_DATA: Final = 0x0E
ERASE: Final = 0x11
READ_COUNT: Final = 0x12
RECALIBRATE: Final = 0x13
UNCONDITIONAL_RESERVE: Final = dasd.SLCK
WRITE_R0: Final = 0x15
READ_R0: Final = 0x16
RESTORE: Final = 0x17
WRITE_HOME_ADDRESS: Final = 0x19
READ_HOME_ADDRESS: Final = 0x1A
SEEK_HEAD: Final = 0x1B
WRITE_CKD: Final = 0x1D
READ_CKD: Final = 0x1E
SET_FILE_MASK: Final = 0x1F
READ_SECTOR: Final = 0x22
SET_SECTOR: Final = 0x23
PERFORM_SUBSYSTEM_FUNCTION: Final = 0x27
SEARCH_KEY_EQUAL: Final = 0x29
SEARCH_ID_EQUAL: Final = 0x31
SENSE_PATH_GROUP_ID: Final = c.CCW_CMD_SENSE_PGID
SEARCH_HOME_ADDRESS: Final = 0x39
READ_SUBSYSTEM_DATA: Final = 0x3E
RESET_ALLEGIANCE: Final = 0x44
LOCATE_RECORD: Final = 0x47
SEARCH_KEY_HIGH: Final = 0x49
LOCATE_RECORD_EXTENDED: Final = 0x4B
READ_MESSAGE_ID: Final = 0x4E
SEARCH_ID_HIGH: Final = 0x51
SENSE_SUBSYSTEM_STATUS: Final = 0x54
SUSPEND_MULTIPATH_RECONNECTION: Final = c.CCW_CMD_SUSPEND_RECONN
READ_MULTIPLE_CKD: Final = 0x5E
DEFINE_EXTENT: Final = dasd.DEFINE_EXTENT
READ_DEVICE_CHARACTERISTICS: Final = c.CCW_CMD_RDC
SEARCH_KEY_EQUAL_HIGH: Final = 0x69
SEARCH_ID_EQUAL_HIGH: Final = 0x71
WRITE_UPDATE_DATA: Final = 0x85
SET_SUBSYSTEM_MODE: Final = 0x87
WRITE_UPDATE_KEY_DATA: Final = 0x8D
RELEASE: Final = dasd.RELEASE
WRITE_FULL_TRACK: Final = 0x95
WRITE_CKD_NEXT_TRACK: Final = 0x9D
READ_BUFFERED_LOG: Final = dasd.READ_BUFFERED_LOG
WRITE_TRACK_DATA: Final = 0xA5
READ_TRACK_DATA: Final = 0xA6
SET_PATH_GROUP_ID: Final = c.CCW_CMD_SET_PGID
RESERVE: Final = dasd.RESERVE
READ_TRACK: Final = 0xDE
PREFIX: Final = 0xE7
READ_CONFIGURATION_DATA: Final = c.CCW_CMD_RCD

LOCATES: Final = frozenset({LOCATE_RECORD, LOCATE_RECORD_EXTENDED, PREFIX})
"""Commands that open a domain."""

SEARCHES: Final = frozenset(
    code | bit
    for bit in (0, MULTITRACK)
    for code in (
        *(SEARCH_ID_EQUAL, SEARCH_ID_HIGH, SEARCH_ID_EQUAL_HIGH),
        *(SEARCH_KEY_EQUAL, SEARCH_KEY_HIGH, SEARCH_KEY_EQUAL_HIGH, SEARCH_HOME_ADDRESS),
    )
)

KEEP_INDEX: Final = SEARCHES | {READ_COUNT, READ_SECTOR, DEFINE_EXTENT, SENSE, c.CCW_CMD_SENSE_ID}
"""Commands that leave it remembered that the index point was passed; all others reset it."""

DOMAIN: Final = frozenset(
    {
        *(code | bit for bit in (0, MULTITRACK) for code in (READ_DATA, READ_KEY_DATA, READ_COUNT)),
        *(code | bit for bit in (0, MULTITRACK) for code in (READ_R0, READ_HOME_ADDRESS, READ_CKD)),
        *(READ_TRACK, READ_TRACK_DATA),
        *(WRITE_DATA, WRITE_UPDATE_DATA, WRITE_KEY_DATA, WRITE_UPDATE_KEY_DATA),
        *(WRITE_HOME_ADDRESS, WRITE_R0, WRITE_CKD, WRITE_CKD_NEXT_TRACK, ERASE),
        *(WRITE_TRACK_DATA, WRITE_FULL_TRACK),
    }
)
"""Commands that may be part of the domain of a Locate Record; all others are rejected there."""

_NAMES = {
    WRITE_DATA: "write data",
    READ_DATA: "read data",
    SEEK: "seek",
    WRITE_HOME_ADDRESS: "write home address",
    READ_HOME_ADDRESS: "read home address",
    SEEK_CYLINDER: "seek cylinder",
    WRITE_KEY_DATA: "write key and data",
    READ_KEY_DATA: "read key and data",
    0x0F: "space count",
    ERASE: "erase",
    READ_COUNT: "read count",
    RECALIBRATE: "recalibrate",
    WRITE_R0: "write record zero",
    READ_R0: "read record zero",
    SEEK_HEAD: "seek head",
    WRITE_CKD: "write count, key and data",
    READ_CKD: "read count, key and data",
    SET_FILE_MASK: "set file mask",
    READ_SECTOR: "read sector",
    SET_SECTOR: "set sector",
    PERFORM_SUBSYSTEM_FUNCTION: "perform subsystem function",
    SEARCH_KEY_EQUAL: "search key equal",
    SEARCH_ID_EQUAL: "search id equal",
    SEARCH_HOME_ADDRESS: "search home address equal",
    READ_SUBSYSTEM_DATA: "read subsystem data",
    LOCATE_RECORD: "locate record",
    SEARCH_KEY_HIGH: "search key high",
    LOCATE_RECORD_EXTENDED: "locate record extended",
    SEARCH_ID_HIGH: "search id high",
    SENSE_SUBSYSTEM_STATUS: "sense subsystem status",
    READ_MULTIPLE_CKD: "read multiple count, key and data",
    SEARCH_KEY_EQUAL_HIGH: "search key equal or high",
    SEARCH_ID_EQUAL_HIGH: "search id equal or high",
    WRITE_UPDATE_DATA: "write update data",
    READ_DATA | MULTITRACK: "read data, multitrack",
    WRITE_UPDATE_KEY_DATA: "write update key and data",
    READ_KEY_DATA | MULTITRACK: "read key and data, multitrack",
    READ_COUNT | MULTITRACK: "read count, multitrack",
    WRITE_FULL_TRACK: "write full track",
    WRITE_CKD_NEXT_TRACK: "write count, key and data next track",
    READ_CKD | MULTITRACK: "read count, key and data, multitrack",
    WRITE_TRACK_DATA: "write track data",
    READ_TRACK_DATA: "read track data",
    READ_TRACK: "read track",
    PREFIX: "prefix",
    0xEA: "prefix with read",
    0xF7: "define subsystem operation",
    0xF9: "reset summary unit check",
    RESET_ALLEGIANCE: "reset allegiance",
    RESTORE: "restore",
    READ_MESSAGE_ID: "read message id",
    SET_SUBSYSTEM_MODE: "set subsystem mode",
}

_MULTITRACK = {
    code | MULTITRACK: f"{name}, multitrack"
    for code, name in _NAMES.items()
    if code in SEARCHES or code in (READ_R0, READ_HOME_ADDRESS)
}

_FORMATS: Mapping[int, str] = {
    0x0: "program or system check",
    0x1: "device equipment check",
    0x2: "device equipment check",
    0x3: "storage-control equipment check",
    0x4: "data check",
    0x5: "data check with displacement",
    0x6: "usage statistics or overrun",
    0x7: "device connection or control check",
    0x8: "additional device equipment check",
    0x9: "device read, write or seek check",
    0xF: "cache storage check",
}

_MESSAGES_0: Mapping[int, str] = {
    0x0: "no message",
    0x1: "invalid command",
    0x2: "invalid command sequence",
    0x3: "CCW count less than required",
    0x4: "invalid parameter",
    0x5: "diagnostic of special command violates the file mask",
    0x7: "channel returned with incorrect retry CCW",
    0x8: "reset notification",
    0x9: "storage path restart",
    0xB: "invalid defective or alternate track pointer",
    0xC: "DPS installation check",
    0xE: "command invalid on secondary address",
    0xF: "status not as required",
}


def _further(data: bytes) -> list[Row]:
    """Bytes 2 and up of a disk's sense data, in brief."""
    rows = []
    if len(data) > 2:
        table = ((c.SNS2_ENV_DATA_PRESENT, "environmental data present"),)
        rows.append(Row("byte 2", f"{data[2]:02x}", bits_set(table, data[2])))
    if len(data) > 27 and not data[27] & 0x80:
        # Bit 0 of byte 27 tells whether the first 24 bytes are in the older, 24-byte form.
        rows.append(Row("byte 25", f"{data[25]:02x}", "program action code"))
    elif len(data) > 7:
        form, message = data[7] >> 4, data[7] & 0x0F
        words = f"format {form:X}: {_FORMATS.get(form, 'reserved')}"
        if form == 0:
            words += f", {_MESSAGES_0.get(message, f'message {message:X}')}"
        else:
            words += f", message {message:X}"
        rows.append(Row("byte 7", f"{data[7]:02x}", words))
    if len(data) > 31:
        cylinder, head = int.from_bytes(data[29:31]), data[31]
        rows.append(Row("29-31", data[29:32].hex(), f"cylinder {cylinder}, head {head}"))
    return rows


WORDS = DeviceWords(
    commands=MappingProxyType({**dasd.COMMANDS, **_NAMES, **_MULTITRACK}),
    sense0=((c.SNS0_INCOMPL_DOMAIN, "incomplete domain"),),
    sense1=(
        (c.SNS1_PERM_ERR, "permanent error"),
        (c.SNS1_INV_TRACK_FORMAT, "invalid track format"),
        (c.SNS1_EOC, "end of cylinder"),
        (c.SNS1_MESSAGE_TO_OPER, "message to operator"),
        (c.SNS1_NO_REC_FOUND, "no record found"),
        (c.SNS1_FILE_PROTECTED, "file protected"),
        (c.SNS1_WRITE_INHIBITED, "write inhibited"),
        (c.SNS1_IMPRECISE_END, "imprecise ending"),
    ),
    further=_further,
)
"""A 3390's, and a 3380's."""
