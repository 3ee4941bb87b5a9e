"""ECKD disks: command codes, what the parameters say, sense bits, and words for people.

Names and numbers are those of the *3990/9390 Storage Control Reference* (GA32-0274); what came
with the 2107 is named as in Linux's `dasd_eckd.h`. A command code with the multitrack bit 0x80 goes
on to the next track by itself.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from construct import Bytes, Int8ub, Int16ub, Int32ub, Padding, Struct

from ...regions import constants as c
from ...regions.codec import Codec
from ...regions.descriptions import DeviceWords, Row, bits_set
from .. import dasd

# ----------------------------------------------------------------------------------- commands

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

# ---------------------------------------------------------------------- what the device says


class Characteristics(NamedTuple):
    """What Read Device Characteristics says of the size (`struct dasd_eckd_characteristics`).

    The 64 bytes have more: what a control unit says of itself is in `control_unit`.
    """

    device: int
    """Device type number: 0x3390."""
    cylinders: int
    """Cylinders; 65534 on a volume of more."""
    heads: int
    """Tracks of a cylinder."""
    long_cylinders: int
    """Cylinders, of a volume of any size; 0 from control units that do not know it."""


CHARACTERISTICS: Final = Codec(
    Struct(
        Padding(3),
        "device" / Int16ub,
        Padding(7),
        "cylinders" / Int16ub,
        "heads" / Int16ub,
        Padding(44),
        "long_cylinders" / Int32ub,
    ),
    Characteristics,
)
"""64 bytes, big endian."""


class Count(NamedTuple):
    """A count field: what the record behind it is."""

    cylinder: int
    """Of the track, mostly."""
    head: int
    """Of the track, mostly."""
    record: int
    """Record number."""
    key: int
    """Bytes of the key; 0: none."""
    data: int
    """Bytes of the data; 0: an end-of-file record."""


COUNT: Final = Codec(
    Struct(
        "cylinder" / Int16ub,
        "head" / Int16ub,
        "record" / Int8ub,
        "key" / Int8ub,
        "data" / Int16ub,
    ),
    Count,
)
"""8 bytes, big endian."""

# ---------------------------------------------------------------------------------- file mask

MASK_WRITE_CONTROL: Final = 0xC0
"""Which writes are permitted: 00 forbids home address and record 0, others are named below."""
MASK_WRITES_INHIBITED: Final = 0x40
MASK_UPDATES: Final = 0x80
"""Data and keys may be written, tracks may not be formatted."""
MASK_ALL_WRITES: Final = 0xC0
MASKS_FOR_FORMAT: Final = (0x00, MASK_ALL_WRITES)
"""Values of `MASK_WRITE_CONTROL` that permit Write CKD."""
MASK_RESERVED: Final = 0x20
MASK_SEEK_CONTROL: Final = 0x18
"""Which seeks are permitted."""
MASK_ALL_SEEKS: Final = 0x00
MASK_CYLINDER_AND_HEAD_SEEKS: Final = 0x08
MASK_NO_SEEKS: Final = 0x18
"""Neither seeks nor, outside a domain, multitrack operations."""
MASK_DIAGNOSTIC: Final = 0x04
MASK_DEVICE_SUPPORT: Final = 0x02

# --------------------------------------------------------------------------------------- Seek


class Seek(NamedTuple):
    """The data of Seek, Seek Cylinder and Seek Head."""

    bin: int
    """Must be zero."""
    cylinder: int
    """Seek Head does not look at it."""
    head: int
    """0 to 14."""


SEEK_DATA: Final = Codec(Struct("bin" / Int16ub, "cylinder" / Int16ub, "head" / Int16ub), Seek)
"""6 bytes, big endian."""

# ------------------------------------------------------------------------------ Define Extent

ATTRIBUTES_MODE: Final = 0xC0
ATTRIBUTES_ECKD: Final = 0xC0
"""The one valid value of `ATTRIBUTES_MODE`."""
ATTRIBUTES_CKD_CONVERSION: Final = 0x20


class DefineExtent(NamedTuple):
    """The data of Define Extent (`struct DE_eckd_data`): the tracks a program may touch."""

    mask: int
    """File mask."""
    attributes: int
    """Global attributes."""
    block_size: int
    """Bytes of the longest record's data; 0: no limit."""
    fast_write: int
    """Must be zero: there is no cache fast write."""
    additional: int
    """Additional attributes; must be zero."""
    extended: int
    """Global attributes extended: how the cache is used, which changes nothing here."""
    begin_cylinder: int
    """The first track."""
    begin_head: int
    """The first track."""
    end_cylinder: int
    """The last track."""
    end_head: int
    """The last track."""


DEFINE_EXTENT_DATA: Final = Codec(
    Struct(
        "mask" / Int8ub,
        "attributes" / Int8ub,
        "block_size" / Int16ub,
        "fast_write" / Int16ub,
        "additional" / Int8ub,
        "extended" / Int8ub,
        "begin_cylinder" / Int16ub,
        "begin_head" / Int16ub,
        "end_cylinder" / Int16ub,
        "end_head" / Int16ub,
    ),
    DefineExtent,
)
"""16 bytes, big endian."""

# ------------------------------------------------------------- Locate Record, also extended

ORIENTATION: Final = 0xC0
"""Byte 0: where on the track the domain begins."""
ORIENT_COUNT: Final = 0x00
ORIENT_HOME: Final = 0x40
ORIENT_DATA: Final = 0x80
ORIENT_INDEX: Final = 0xC0
OPERATION: Final = 0x3F
"""Byte 0: what the commands of the domain do."""
OPERATION_ORIENT: Final = 0x00
OPERATION_WRITE: Final = 0x01
OPERATION_FORMAT_WRITE: Final = 0x03
OPERATION_READ_DATA: Final = 0x06
OPERATION_WRITE_ANY: Final = 0x09
OPERATION_READ_ANY: Final = 0x0A
OPERATION_WRITE_TRACK: Final = 0x0B
OPERATION_READ_TRACKS: Final = 0x0C
OPERATION_READ_TRACKSET: Final = 0x0E
OPERATION_WRITE_FULL_TRACK: Final = 0x11
OPERATION_READ: Final = 0x16
OPERATION_WRITE_TRACK_DATA: Final = 0x23
OPERATION_EXTENDED: Final = 0x3F
"""The operation is in byte 17 of Locate Record Extended."""

AUXILIARY_LENGTH: Final = 0x80
"""The transfer length factor is given."""
AUXILIARY_RESERVED: Final = 0x7E
AUXILIARY_COUNT_SUFFIX: Final = 0x01
"""A Read Count ends the domain."""


class LocateRecord(NamedTuple):
    """The data of Locate Record (`struct LO_eckd_data`): where a domain is, and what it does."""

    operation: int
    """`ORIENTATION` and `OPERATION`."""
    auxiliary: int
    """`AUXILIARY_LENGTH` and `AUXILIARY_COUNT_SUFFIX`."""
    zero: int
    """Must be zero."""
    commands: int
    """How many commands the domain has."""
    cylinder: int
    """Where to seek."""
    head: int
    """Where to seek."""
    argument: bytes
    """The record to find there: cylinder, head, record number (CCHHR)."""
    sector: int
    """Angular position; ff: not given."""
    length: int
    """Transfer length factor: bytes of data of each record; 0: not given."""


LOCATE_RECORD_DATA: Final = Codec(
    Struct(
        "operation" / Int8ub,
        "auxiliary" / Int8ub,
        "zero" / Int8ub,
        "commands" / Int8ub,
        "cylinder" / Int16ub,
        "head" / Int16ub,
        "argument" / Bytes(5),
        "sector" / Int8ub,
        "length" / Int16ub,
    ),
    LocateRecord,
)
"""16 bytes, big endian."""


class LocateRecordExtension(NamedTuple):
    """What Locate Record Extended has behind `LOCATE_RECORD_DATA` (`struct LRE_eckd_data`)."""

    imbedded: int
    """Imbedded CCW count; not looked at."""
    operation: int
    """The operation, if byte 0 says `OPERATION_EXTENDED`; else zero."""
    length: int
    """Bytes of the extended parameter, which follows."""


LOCATE_RECORD_EXTENSION: Final = Codec(
    Struct("imbedded" / Int8ub, "operation" / Int8ub, "length" / Int16ub), LocateRecordExtension
)
"""4 bytes, big endian."""
LOCATE_RECORD_EXTENDED_SIZE: Final = LOCATE_RECORD_DATA.size + LOCATE_RECORD_EXTENSION.size

# ------------------------------------------------------------------------------------- Prefix

PREFIX_FORMAT_LOCATE: Final = 1
"""Format with a Locate Record Extended, too; in format 0 is a Define Extent alone."""
VALID_EXTENT: Final = 0x80
"""Validity: there is a Define Extent."""
VERIFY_BASE: Final = 0x20
"""Validity: the program is for the volume of the base that is named, and for no other."""
HYPER_PAV: Final = 0x10
"""Validity: the alias takes the base that is named for this one program."""


class Prefix(NamedTuple):
    """The data of Prefix (`struct PFX_eckd_data`): Define Extent and Locate Record Extended."""

    format: int
    """0 or `PREFIX_FORMAT_LOCATE`."""
    validity: int
    """`VALID_EXTENT`, `VERIFY_BASE`, `HYPER_PAV`."""
    base: int
    """Unit address of the base."""
    subsystem: int
    """Number of the logical subsystem that the base is in."""
    extent: bytes
    """`DEFINE_EXTENT_DATA`, and what is reserved behind it."""
    locate: bytes
    """`LOCATE_RECORD_DATA` and `LOCATE_RECORD_EXTENSION`; the extended parameter follows."""


PREFIX_DATA: Final = Codec(
    Struct(
        "format" / Int8ub,
        "validity" / Int8ub,
        "base" / Int8ub,
        Padding(1),
        "subsystem" / Int8ub,
        Padding(7),
        "extent" / Bytes(32),
        "locate" / Bytes(LOCATE_RECORD_EXTENDED_SIZE),
    ),
    Prefix,
)
"""64 bytes."""

# ------------------------------------------------------- Perform Subsystem Function and others

PSF_PREPARE: Final = 0x18
"""Order: Prepare for Read Subsystem Data."""
PSF_SET_CHARACTERISTICS: Final = 0x1D
PSF_SET_INTERFACE_IDENTIFIER: Final = 0xB0

SUB_PATH_STATUS: Final = 0x00
SUB_STATISTICS: Final = 0x01
SUB_ATTENTION_MESSAGE: Final = 0x03
SUB_UNIT_ADDRESSES: Final = 0x0E
SUB_HOST_ACCESS: Final = 0x1C
SUB_FEATURES: Final = 0x41
SUB_VOLUME_STORAGE: Final = 0x52
SUB_LOGICAL_CONFIGURATION: Final = 0x53
SUBS_OF_A_VOLUME: Final = frozenset({SUB_HOST_ACCESS, SUB_VOLUME_STORAGE})
"""Suborders of Prepare for Read Subsystem Data; these two look at the volume that it names."""


class Prepare(NamedTuple):
    """The data of `PSF_PREPARE` (`struct dasd_psf_prssd_data`)."""

    order: int
    """`PSF_PREPARE`."""
    flags: int
    """Must be zero."""
    reserved: int
    """Must be zero."""
    volume: int
    """Logical subsystem and unit address; zero for a suborder that is not of a volume."""
    suborder: int
    """`SUB_`: what to prepare."""
    selector: int
    """What of it; zero for most."""
    rest: bytes
    """What else the suborder needs."""


PREPARE_DATA: Final = Codec(
    Struct(
        "order" / Int8ub,
        "flags" / Int8ub,
        "reserved" / Int16ub,
        "volume" / Int16ub,
        "suborder" / Int8ub,
        "selector" / Int8ub,
        "rest" / Bytes(4),
    ),
    Prepare,
)
"""12 bytes, big endian."""

PSF_SIZES: Final[Mapping[int, int]] = MappingProxyType(
    {PSF_PREPARE: PREPARE_DATA.size, PSF_SET_CHARACTERISTICS: 66, PSF_SET_INTERFACE_IDENTIFIER: 4}
)
"""Orders, and the bytes of each."""

FEATURE_PREFIX: Final = (8, 0x01)
FEATURE_READ_TRACK_DATA: Final = (9, 0x20)
FEATURE_WRITE_TRACK_DATA: Final = (12, 0x40)
"""Byte and bit of what `SUB_FEATURES` prepares."""

MODE_MESSAGE_REQUIRED: Final = 0x01
"""Set Subsystem Mode, byte 0: a message is to tell of the end; Read Message ID follows."""

# -------------------------------------------------------------------------------------- sense

SENSE0_INCOMPLETE_DOMAIN: Final = 0x01
SENSE1_INVALID_TRACK_FORMAT: Final = 0x40
SENSE1_END_OF_CYLINDER: Final = 0x20
SENSE1_IMPRECISE_ENDING: Final = 0x01
SENSE2_ENVIRONMENTAL_DATA: Final = 0x10
MEDIUM_ERROR: Final = 0x10
"""Byte 7, format 1 message 0: the drive failed; here, an access to the image file."""
ALLEGIANCE_TERMINATED: Final = 0x3F
"""Byte 7, format 3 message F: another system took the device away by Unconditional Reserve."""
NOT_OF_THIS_BASE: Final = 0x67
"""Byte 8, format 0 message F: the alias is none of the base that Prefix names."""
COMPATIBLE_24_BYTES: Final = 0x80
"""Byte 27: bytes 0 to 23 follow the 24-byte formats."""


class Message(enum.IntEnum):
    """Byte 7 for a program error (format 0): why a command was rejected."""

    INVALID_COMMAND = 1
    """The control unit or device does not have the command."""
    INVALID_SEQUENCE = 2
    """The command must not follow those before it, or must follow others."""
    COUNT_TOO_SMALL = 3
    """The CCW count is less than the parameters need."""
    INVALID_PARAMETER = 4
    """A parameter has a value that is not defined or not valid for the device."""
    SECONDARY_ADDRESS = 14
    """An alias that has no base yet does not have the command."""
    STATUS_NOT_AS_REQUIRED = 15
    """Something is not as the command requires it; byte 8 says what."""


# -------------------------------------------------------------------------------------- words

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
    Message.INVALID_COMMAND: "invalid command",
    Message.INVALID_SEQUENCE: "invalid command sequence",
    Message.COUNT_TOO_SMALL: "CCW count less than required",
    Message.INVALID_PARAMETER: "invalid parameter",
    0x5: "diagnostic of special command violates the file mask",
    0x7: "channel returned with incorrect retry CCW",
    0x8: "reset notification",
    0x9: "storage path restart",
    0xB: "invalid defective or alternate track pointer",
    0xC: "DPS installation check",
    Message.SECONDARY_ADDRESS: "command invalid on secondary address",
    Message.STATUS_NOT_AS_REQUIRED: "status not as required",
}


def _further(data: bytes) -> list[Row]:
    """Bytes 2 and up of a disk's sense data, in brief."""
    rows = []
    if len(data) > 2:
        table = ((SENSE2_ENVIRONMENTAL_DATA, "environmental data present"),)
        rows.append(Row("byte 2", f"{data[2]:02x}", bits_set(table, data[2])))
    if len(data) > 27 and not data[27] & COMPATIBLE_24_BYTES:
        # Bit 0 of byte 27 tells whether the first 24 bytes are in the older, 24-byte form.
        rows.append(Row("byte 25", f"{data[25]:02x}", "program action code"))
    elif len(data) > 7:
        form, message = data[7] >> 4, data[7] & 0x0F
        words = f"format {form:X}: {_FORMATS.get(form, 'reserved')}"
        if data[7] == ALLEGIANCE_TERMINATED:
            words += ", allegiance terminated"
        elif form == 0:
            words += f", {_MESSAGES_0.get(message, f'message {message:X}')}"
        else:
            words += f", message {message:X}"
        rows.append(Row("byte 7", f"{data[7]:02x}", words))
    if len(data) > 31:
        cylinder, head = int.from_bytes(data[29:31]), data[31]
        rows.append(Row("29-31", data[29:32].hex(), f"cylinder {cylinder}, head {head}"))
    return rows


_SENSE1: Final = tuple(
    sorted(
        (
            *dasd.SENSE1,
            (SENSE1_INVALID_TRACK_FORMAT, "invalid track format"),
            (SENSE1_END_OF_CYLINDER, "end of cylinder"),
            (SENSE1_IMPRECISE_ENDING, "imprecise ending"),
        ),
        reverse=True,  # the highest bit is said first
    )
)

WORDS = DeviceWords(
    commands=MappingProxyType({**dasd.COMMANDS, **_NAMES, **_MULTITRACK}),
    sense0=((SENSE0_INCOMPLETE_DOMAIN, "incomplete domain"),),
    sense1=_SENSE1,
    further=_further,
)
"""A 3390's, and a 3380's."""
