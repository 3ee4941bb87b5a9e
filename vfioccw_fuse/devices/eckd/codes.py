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
from ..dasd import COMMANDS as DASD_COMMANDS

MULTITRACK: Final = c.DASD_ECKD_CCW_MULTITRACK

READ_IPL: Final = 0x02
NO_OPERATION: Final = c.DASD_ECKD_CCW_NOP
SENSE: Final = c.CCW_CMD_BASIC_SENSE
WRITE_DATA: Final = c.DASD_ECKD_CCW_WRITE
READ_DATA: Final = c.DASD_ECKD_CCW_READ
SEEK: Final = c.DASD_ECKD_CCW_SEEK
SEEK_CYLINDER: Final = c.DASD_ECKD_CCW_SEEK_CYLINDER
WRITE_KEY_DATA: Final = c.DASD_ECKD_CCW_WRITE_KD
READ_KEY_DATA: Final = c.DASD_ECKD_CCW_READ_KD
ERASE: Final = c.DASD_ECKD_CCW_ERASE
READ_COUNT: Final = c.DASD_ECKD_CCW_READ_COUNT
RECALIBRATE: Final = c.DASD_ECKD_CCW_RECALIBRATE
UNCONDITIONAL_RESERVE: Final = c.DASD_ECKD_CCW_SLCK
WRITE_R0: Final = c.DASD_ECKD_CCW_WRITE_RECORD_ZERO
READ_R0: Final = c.DASD_ECKD_CCW_READ_RECORD_ZERO
RESTORE: Final = 0x17
WRITE_HOME_ADDRESS: Final = 0x19
READ_HOME_ADDRESS: Final = 0x1A
SEEK_HEAD: Final = c.DASD_ECKD_CCW_SEEK_HEAD
WRITE_CKD: Final = c.DASD_ECKD_CCW_WRITE_CKD
READ_CKD: Final = c.DASD_ECKD_CCW_READ_CKD
SET_FILE_MASK: Final = c.DASD_ECKD_CCW_SET_FILE_MASK
READ_SECTOR: Final = c.DASD_ECKD_CCW_READ_SECTOR
SET_SECTOR: Final = c.DASD_ECKD_CCW_SET_SECTOR
PERFORM_SUBSYSTEM_FUNCTION: Final = c.DASD_ECKD_CCW_PSF
SEARCH_KEY_EQUAL: Final = c.DASD_ECKD_CCW_SEARCH_KEY_EQ
SEARCH_ID_EQUAL: Final = c.DASD_ECKD_CCW_SEARCH_ID_EQ
SENSE_PATH_GROUP_ID: Final = c.DASD_ECKD_CCW_SNID
SEARCH_HOME_ADDRESS: Final = c.DASD_ECKD_CCW_SEARCH_HA_EQ
READ_SUBSYSTEM_DATA: Final = c.DASD_ECKD_CCW_RSSD
RESET_ALLEGIANCE: Final = 0x44
LOCATE_RECORD: Final = c.DASD_ECKD_CCW_LOCATE_RECORD
SEARCH_KEY_HIGH: Final = c.DASD_ECKD_CCW_SEARCH_KEY_HI
LOCATE_RECORD_EXTENDED: Final = c.DASD_ECKD_CCW_LOCATE_RECORD_EXT
READ_MESSAGE_ID: Final = 0x4E
SEARCH_ID_HIGH: Final = c.DASD_ECKD_CCW_SEARCH_ID_HI
SENSE_SUBSYSTEM_STATUS: Final = c.DASD_ECKD_CCW_SNSS
SUSPEND_MULTIPATH_RECONNECTION: Final = 0x5B
READ_MULTIPLE_CKD: Final = c.DASD_ECKD_CCW_READ_MULTIPLE_CKD
DEFINE_EXTENT: Final = c.DASD_ECKD_CCW_DEFINE_EXTENT
READ_DEVICE_CHARACTERISTICS: Final = c.DASD_ECKD_CCW_RDC
SEARCH_KEY_EQUAL_HIGH: Final = c.DASD_ECKD_CCW_SEARCH_KEY_EQ_HI
SEARCH_ID_EQUAL_HIGH: Final = c.DASD_ECKD_CCW_SEARCH_ID_EQ_HI
WRITE_UPDATE_DATA: Final = c.DASD_ECKD_CCW_WRITE_MT
SET_SUBSYSTEM_MODE: Final = 0x87
WRITE_UPDATE_KEY_DATA: Final = c.DASD_ECKD_CCW_WRITE_KD_MT
RELEASE: Final = c.DASD_ECKD_CCW_RELEASE
WRITE_FULL_TRACK: Final = c.DASD_ECKD_CCW_WRITE_FULL_TRACK
WRITE_CKD_NEXT_TRACK: Final = c.DASD_ECKD_CCW_WRITE_CKD_MT
READ_BUFFERED_LOG: Final = c.DASD_ECKD_CCW_READ_BUFFERED_LOG
WRITE_TRACK_DATA: Final = c.DASD_ECKD_CCW_WRITE_TRACK_DATA
READ_TRACK_DATA: Final = c.DASD_ECKD_CCW_READ_TRACK_DATA
SET_PATH_GROUP_ID: Final = c.CCW_CMD_SET_PGID
RESERVE: Final = c.DASD_ECKD_CCW_RESERVE
READ_TRACK: Final = c.DASD_ECKD_CCW_READ_TRACK
PREFIX: Final = c.DASD_ECKD_CCW_PFX
READ_CONFIGURATION_DATA: Final = c.DASD_ECKD_CCW_RCD

LOCATES: Final = frozenset({LOCATE_RECORD, LOCATE_RECORD_EXTENDED, PREFIX})
"""Commands that open a domain."""

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

_COMMANDS = {
    c.DASD_ECKD_CCW_WRITE: "write data",
    c.DASD_ECKD_CCW_READ: "read data",
    c.DASD_ECKD_CCW_SEEK: "seek",
    c.DASD_ECKD_CCW_WRITE_HOME_ADDRESS: "write home address",
    c.DASD_ECKD_CCW_READ_HOME_ADDRESS: "read home address",
    c.DASD_ECKD_CCW_SEEK_CYLINDER: "seek cylinder",
    c.DASD_ECKD_CCW_WRITE_KD: "write key and data",
    c.DASD_ECKD_CCW_READ_KD: "read key and data",
    c.DASD_ECKD_CCW_SPACE_COUNT: "space count",
    c.DASD_ECKD_CCW_ERASE: "erase",
    c.DASD_ECKD_CCW_READ_COUNT: "read count",
    c.DASD_ECKD_CCW_RECALIBRATE: "recalibrate",
    c.DASD_ECKD_CCW_WRITE_RECORD_ZERO: "write record zero",
    c.DASD_ECKD_CCW_READ_RECORD_ZERO: "read record zero",
    c.DASD_ECKD_CCW_SEEK_HEAD: "seek head",
    c.DASD_ECKD_CCW_WRITE_CKD: "write count, key and data",
    c.DASD_ECKD_CCW_READ_CKD: "read count, key and data",
    c.DASD_ECKD_CCW_SET_FILE_MASK: "set file mask",
    c.DASD_ECKD_CCW_READ_SECTOR: "read sector",
    c.DASD_ECKD_CCW_SET_SECTOR: "set sector",
    c.DASD_ECKD_CCW_PSF: "perform subsystem function",
    c.DASD_ECKD_CCW_SEARCH_KEY_EQ: "search key equal",
    c.DASD_ECKD_CCW_SEARCH_ID_EQ: "search id equal",
    c.DASD_ECKD_CCW_SEARCH_HA_EQ: "search home address equal",
    c.DASD_ECKD_CCW_RSSD: "read subsystem data",
    c.DASD_ECKD_CCW_LOCATE_RECORD: "locate record",
    c.DASD_ECKD_CCW_SEARCH_KEY_HI: "search key high",
    c.DASD_ECKD_CCW_LOCATE_RECORD_EXT: "locate record extended",
    c.DASD_ECKD_CCW_SEARCH_ID_HI: "search id high",
    c.DASD_ECKD_CCW_SNSS: "sense subsystem status",
    c.DASD_ECKD_CCW_READ_MULTIPLE_CKD: "read multiple count, key and data",
    c.DASD_ECKD_CCW_SEARCH_KEY_EQ_HI: "search key equal or high",
    c.DASD_ECKD_CCW_SEARCH_ID_EQ_HI: "search id equal or high",
    c.DASD_ECKD_CCW_WRITE_MT: "write update data",
    c.DASD_ECKD_CCW_READ_MT: "read data, multitrack",
    c.DASD_ECKD_CCW_WRITE_KD_MT: "write update key and data",
    c.DASD_ECKD_CCW_READ_KD_MT: "read key and data, multitrack",
    c.DASD_ECKD_CCW_READ_COUNT_MT: "read count, multitrack",
    c.DASD_ECKD_CCW_WRITE_FULL_TRACK: "write full track",
    c.DASD_ECKD_CCW_WRITE_CKD_MT: "write count, key and data next track",
    c.DASD_ECKD_CCW_READ_CKD_MT: "read count, key and data, multitrack",
    c.DASD_ECKD_CCW_WRITE_TRACK_DATA: "write track data",
    c.DASD_ECKD_CCW_READ_TRACK_DATA: "read track data",
    c.DASD_ECKD_CCW_READ_TRACK: "read track",
    c.DASD_ECKD_CCW_PFX: "prefix",
    c.DASD_ECKD_CCW_PFX_READ: "prefix with read",
    c.DASD_ECKD_CCW_DSO: "define subsystem operation",
    c.DASD_ECKD_CCW_RSCK: "reset allegiance",
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
    commands=MappingProxyType({**DASD_COMMANDS, **_COMMANDS}),
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
