"""Tape drives: command codes, what the parameters say, sense bits, and words for people.

Names are the kernel's (`tape_std.h`), or those of the drives' descriptions: GA32-0020 for the 3420
behind a 3803, GA32-0127 for the 3490, which describes the 3480, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from construct import Bytes, Int8ub, Int16ub, Int32ub, Padding, Struct

from ...regions.codec import Codec
from ...regions.descriptions import DeviceWords

# ---------------------------------------------------------------------- commands of all drives

WRITE: Final = 0x01
READ_FORWARD: Final = 0x02
REWIND: Final = 0x07
READ_BACKWARD: Final = 0x0C
REWIND_UNLOAD: Final = 0x0F
ERASE_GAP: Final = 0x17
WRITE_TAPE_MARK: Final = 0x1F
BACKSPACE_BLOCK: Final = 0x27
BACKSPACE_FILE: Final = 0x2F
FORSPACE_BLOCK: Final = 0x37
FORSPACE_FILE: Final = 0x3F
DATA_SECURITY_ERASE: Final = 0x97

_ALL: Final = {
    WRITE: "write",
    READ_FORWARD: "read forward",
    REWIND: "rewind",
    READ_BACKWARD: "read backward",
    REWIND_UNLOAD: "rewind unload",
    ERASE_GAP: "erase gap",
    WRITE_TAPE_MARK: "write tape mark",
    BACKSPACE_BLOCK: "backspace block",
    BACKSPACE_FILE: "backspace file",
    FORSPACE_BLOCK: "forward space block",
    FORSPACE_FILE: "forward space file",
    DATA_SECURITY_ERASE: "data security erase",
}

MODE_SET_1: Final[Mapping[int, str]] = MappingProxyType(
    {
        density | mode: f"mode set, 7 tracks, {bits} bpi, {words}"
        for density, bits in ((0x00, 200), (0x40, 556), (0x80, 800))
        for mode, words in (
            (0x13, "odd parity, data converter"),
            (0x23, "even parity"),
            (0x2B, "even parity, translator"),
            (0x33, "odd parity"),
            (0x3B, "odd parity, translator"),
        )
    }
)
"""Mode Set 1: densities and ways to write 7 tracks, of old drives."""
MODE_SET_1600: Final = 0xC3
MODE_SET_800: Final = 0xCB
MODE_SET_6250: Final = 0xD3
DIAGNOSTIC_MODE_SET: Final = 0xEB

_MODE_SET_2: Final = {MODE_SET_800: "mode set, 800 bpi", MODE_SET_6250: "mode set, 6250 bpi"}

# ------------------------------------------------------------------------------------- 3420

SENSE_RELEASE: Final = 0xD4
SENSE_RESERVE: Final = 0xF4

# --------------------------------------------------------------------------- 3480 and later

READ_BUFFER: Final = 0x12
READ_BLOCK_ID: Final = 0x22
READ_BUFFERED_LOG: Final = 0x24
SYNC: Final = 0x43
LOCATE: Final = 0x4F
PERFORM_SUBSYSTEM_FUNC: Final = 0x77
LOAD_DISPLAY: Final = 0x9F
ASSIGN: Final = 0xB7
SET_TAPE_WRITE_IMMEDIATE: Final = 0xC3
UNASSIGN: Final = 0xC7
MODE_SET_DB: Final = 0xDB
CONTROL_ACCESS: Final = 0xE3

_BUFFERED: Final = {
    READ_BUFFER: "read buffer",
    READ_BLOCK_ID: "read block id",
    READ_BUFFERED_LOG: "read buffered log",
    SYNC: "synchronize",
    LOCATE: "locate block",
    PERFORM_SUBSYSTEM_FUNC: "perform subsystem function",
    LOAD_DISPLAY: "load display",
    ASSIGN: "assign",
    SET_TAPE_WRITE_IMMEDIATE: "set tape-write-immediate",
    UNASSIGN: "unassign",
    MODE_SET_DB: "mode set",
    CONTROL_ACCESS: "control access",
}

MODE_SUPERVISOR_INHIBIT: Final = 0x10
"""Mode Set: the commands of a supervisor are rejected for the rest of the program."""

BLOCK_ID_WRAP: Final = 0x01000000
"""The first byte of a block id: the physical reference, here always the same."""
BLOCK_ID_NUMBER: Final = 0x003FFFFF
"""The block number in a block id."""
BLOCK_ID_FORMAT: Final = 0x00C00000
"""The recording format in a block id; both bits are not valid."""


class BlockId(NamedTuple):
    """The data of Locate Block."""

    block: int
    """The block to go to."""


BLOCK_ID: Final = Codec(Struct("block" / Int32ub), BlockId)
"""4 bytes, big endian."""


class BlockIds(NamedTuple):
    """What Read Block ID gives."""

    channel: int
    """The block that the channel comes to next."""
    device: int
    """The block that the tape comes to next."""


BLOCK_IDS: Final = Codec(Struct("channel" / Int32ub, "device" / Int32ub), BlockIds)
"""8 bytes, big endian."""

DISPLAY_SIZE: Final = 17
"""Bytes of Load Display: a control byte and two messages of eight characters."""
DISPLAY_FUNCTION: Final = 0xE0
DISPLAY_NO_CHANGE: Final = 0x60
DISPLAY_RESET: Final = 0x80

BUFFERED_LOG_SIZE: Final = 32

PSF_MESSAGE_NOT_SUPPORTED: Final = 0x1C
PSF_ACTIVATE_LOGGING: Final = 0x80
PSF_DEACTIVATE_LOGGING: Final = 0x81
PSF_ACTIVATE_ACCESS: Final = 0x82
PSF_DEACTIVATE_ACCESS: Final = 0x83
PSF_RESET_FENCED: Final = 0x90
PSF_PIN: Final = 0xA1
PSF_UNPIN: Final = 0xA2
PSF_SIZES: Final[Mapping[int, int]] = MappingProxyType(
    {
        PSF_MESSAGE_NOT_SUPPORTED: 20,
        PSF_ACTIVATE_LOGGING: 3,
        PSF_DEACTIVATE_LOGGING: 3,
        PSF_ACTIVATE_ACCESS: 4,
        PSF_DEACTIVATE_ACCESS: 4,
        PSF_RESET_FENCED: 2,
        PSF_PIN: 3,
        PSF_UNPIN: 2,
    }
)
"""Orders of Perform Subsystem Function of a 3480, and the bytes that each has."""
ACCESS_WRITE_PROTECT: Final = 0x80
ACCESS_KINDS: Final = 0x93
"""Logical write protect, data compaction, data check recovery, extended recovery."""


class Characteristics(NamedTuple):
    """What Read Device Characteristics gives."""

    cu_type: int
    """Type of the control unit, as hexadecimal digits."""
    cu_model: int
    """Its model."""
    device_type: int
    """Type of the drive."""
    device_model: int
    """Its model."""
    facilities: int
    """0x2C0: logical write protect, cartridge loader, data compaction."""
    device_class: int
    """Device class."""
    device_code: int
    """Device type code."""
    real_cu_type: int
    """The same of the real control unit, where one stands in for another."""
    real_cu_model: int
    """Its model."""
    real_device_type: int
    """The same of the real drive."""
    real_device_model: int
    """Its model."""
    mdr: int
    """Id of its miscellaneous data records."""
    obr: int
    """Id of its outboard records."""
    longest_read: int
    """Bytes of the longest block that is read."""
    longest_written: int
    """Bytes of the longest block that is written."""


CHARACTERISTICS: Final = Codec(
    Struct(
        "cu_type" / Int16ub,
        "cu_model" / Int8ub,
        "device_type" / Int16ub,
        "device_model" / Int8ub,
        "facilities" / Int32ub,
        "device_class" / Int8ub,
        "device_code" / Int8ub,
        Padding(12),
        "real_cu_type" / Int16ub,
        "real_cu_model" / Int8ub,
        "real_device_type" / Int16ub,
        "real_device_model" / Int8ub,
        Padding(10),
        "mdr" / Int8ub,
        "obr" / Int8ub,
        Padding(1),
        "longest_read" / Int32ub,
        "longest_written" / Int32ub,
        Padding(13),
    ),
    Characteristics,
)
"""64 bytes, big endian."""

# -------------------------------------------------------------------------------- 3490 alone

READ_SUBSYSTEM_DATA: Final = 0x3E
READ_MESSAGE_ID: Final = 0x4E
SET_INTERFACE_ID: Final = 0x73

PSF_PREPARE_READ: Final = 0x18
"""Order of Perform Subsystem Function: Prepare for Read Subsystem Data."""
PREPARE_ATTENTION_MESSAGE: Final = 0x03
"""Its only sub-order."""
MESSAGE_NONE: Final = 0x00
"""Format byte: there is no message."""
MESSAGE_STATUS: Final = 0x02
"""Format byte: the status of the operation that a message id names."""
MESSAGE_DELAYED: Final = 0x01
"""Message code: a delayed response."""


class Prepare(NamedTuple):
    """The data of Perform Subsystem Function that prepares for Read Subsystem Data."""

    order: int
    """`PSF_PREPARE_READ`."""
    flags: int
    """Must be zero."""
    reserved: int
    """Must be zero."""
    sub_order: int
    """`PREPARE_ATTENTION_MESSAGE`."""
    sub_flags: int
    """Must be zero."""
    message: int
    """Id of the message that is wanted."""


PREPARE: Final = Codec(
    Struct(
        "order" / Int8ub,
        "flags" / Int8ub,
        "reserved" / Int32ub,
        "sub_order" / Int8ub,
        "sub_flags" / Int8ub,
        "message" / Int32ub,
    ),
    Prepare,
)
"""12 bytes, big endian."""


class Message(NamedTuple):
    """The front of what Read Subsystem Data and Read Message ID give."""

    length: int
    """Bytes of the message, these included."""
    format: int
    """`MESSAGE_NONE` or `MESSAGE_STATUS`."""
    code: int
    """`MESSAGE_DELAYED` where there is one."""
    id: int
    """Which message; 0: none is asynchronous."""


MESSAGE: Final = Codec(
    Struct("length" / Int16ub, "format" / Int8ub, "code" / Int8ub, "id" / Int32ub), Message
)
"""8 bytes, big endian; flags follow."""


class Node(NamedTuple):
    """A node element descriptor of the configuration data."""

    flags: int
    """What it describes, and how."""
    type: bytes
    """`NODE_TAPE`, `NODE_CONTROL_UNIT`, or zeros in a token."""
    name: bytes
    """Type, model, manufacturer, plant and serial number, in EBCDIC."""
    tag: int
    """Which of the nodes of that name."""


NODE: Final = Codec(
    Struct("flags" / Int8ub, "type" / Bytes(3), "name" / Bytes(26), "tag" / Int16ub), Node
)
"""32 bytes, big endian."""
NODE_TAPE: Final = bytes.fromhex("010200")
"""Type: an I/O device, a magnetic tape."""
NODE_CONTROL_UNIT: Final = bytes.fromhex("020000")


class Qualifier(NamedTuple):
    """The general node element qualifier, which ends the configuration data."""

    flags: int
    """What it is."""
    record: int
    """Record selector."""
    interface: int
    """Id of the interface."""
    extended: int
    """Extended information: 1 for the upper half of sixteen drives."""


QUALIFIER: Final = Codec(
    Struct(
        "flags" / Int8ub,
        "record" / Int8ub,
        "interface" / Int16ub,
        Padding(4),
        "extended" / Int8ub,
        Padding(23),
    ),
    Qualifier,
)
"""32 bytes, big endian."""

# ------------------------------------------------------------------------------------- sense

SENSE_LOCATE_FAILURE: Final = 0x80
SENSE_DRIVE_ONLINE: Final = 0x40
SENSE_RECORD_SEQUENCE_ERR: Final = 0x10
SENSE_BEGINNING_OF_TAPE: Final = 0x08
SENSE_WRITE_MODE: Final = 0x04
SENSE_WRITE_PROTECT: Final = 0x02
SENSE_NOT_CAPABLE: Final = 0x01
# A 3420 behind a 3803 has two of these bits for other things.
SENSE_TU_STATUS_A: Final = 0x40
"""The drive is ready."""
SENSE_TU_STATUS_B: Final = 0x20
"""The drive is not ready."""

SENSE4_TAPE_INDICATE: Final = 0x20
"""3420: the end-of-tape marker has been passed."""

FORMAT_DRIVE: Final = 0x20
"""3480 sense byte 7: drive and control unit error information."""
FORMAT_BUFFERED_LOG: Final = 0x21
"""3480 sense byte 7: buffered log."""
FORMAT_END_OF_VOLUME: Final = 0x22
"""3480 sense byte 7: end-of-volume statistics."""

_SENSE0: Final = ((0x02, "deferred unit check"), (0x01, "assigned elsewhere"))
_SENSE1: Final = (
    (SENSE_LOCATE_FAILURE, "locate failure"),
    (SENSE_DRIVE_ONLINE, "drive online"),
    (SENSE_RECORD_SEQUENCE_ERR, "record sequence error"),
    (SENSE_BEGINNING_OF_TAPE, "beginning of tape"),
    (SENSE_WRITE_MODE, "write mode"),
    (SENSE_WRITE_PROTECT, "write protected"),
    (SENSE_NOT_CAPABLE, "not capable"),
)

# ------------------------------------------------------------------------------------- words

T3420: Final = DeviceWords(
    commands=MappingProxyType(
        {
            **_ALL,
            **MODE_SET_1,
            **_MODE_SET_2,
            MODE_SET_1600: "mode set, 1600 bpi",
            DIAGNOSTIC_MODE_SET: "diagnostic mode set",
            SENSE_RELEASE: "sense release",
            SENSE_RESERVE: "sense reserve",
        }
    ),
    sense1=(
        (SENSE_TU_STATUS_A, "ready"),
        (SENSE_TU_STATUS_B, "not ready"),
        (SENSE_BEGINNING_OF_TAPE, "beginning of tape"),
        (SENSE_WRITE_MODE, "write mode"),
        (SENSE_WRITE_PROTECT, "write protected"),
        (SENSE_NOT_CAPABLE, "not capable"),
    ),
)
"""Those of a 3420."""

T3480: Final = DeviceWords(
    commands=MappingProxyType({**_ALL, **MODE_SET_1, **_MODE_SET_2, **_BUFFERED}),
    sense0=_SENSE0,
    sense1=_SENSE1,
)
"""Those of a 3480."""

T3490: Final = DeviceWords(
    commands=MappingProxyType(
        {
            **T3480.commands,
            READ_SUBSYSTEM_DATA: "read subsystem data",
            READ_MESSAGE_ID: "read message id",
            SET_INTERFACE_ID: "set interface id",
        }
    ),
    sense0=_SENSE0,
    sense1=_SENSE1,
)
"""Those of a 3490, and of a 3590 in what they have in common."""
