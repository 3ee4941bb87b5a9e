"""Fixed-block disks: command codes, what the parameters say, and words for people.

Names are the kernel's (`dasd_fba.h`); what it does not name is in the recorded programs.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final, NamedTuple

from construct import Bytes, Int8ub, Int16ub, Int32ub, Struct

from ...regions.codec import Codec
from ...regions.descriptions import DeviceWords
from .. import dasd

WRITE: Final = 0x41
READ: Final = 0x42
LOCATE: Final = 0x43

BLOCK: Final = 512
"""Bytes of a block."""

# ------------------------------------------------------------------------------ Define Extent

MASK_PERMISSION: Final = 0xC0
"""What the program may do: the two values below, or, with others, all."""
MASK_INHIBIT_FORMAT: Final = 0x00
"""All but format writes."""
MASK_INHIBIT_WRITES: Final = 0x40
"""No writes."""
MASK_RESERVED: Final = 0x20
"""Must be zero.

The 3880 (GA26-1661) wants zero in 0x10, too, and has 0x08 for the CE area. Later control units have
there the seek control of an ECKD file mask (0x18; SA22-1025), which means nothing where nothing
seeks: neither bit is looked at.
"""


class DefineExtent(NamedTuple):
    """The data of Define Extent (`struct DE_fba_data`): the blocks a program may touch."""

    mask: int
    """What is permitted, `MASK_PERMISSION`."""
    zero: int
    """Must be zero."""
    block_size: int
    """Bytes of a block."""
    location: int
    """Physical number of the extent's first block."""
    begin: int
    """The number that this block has in the program."""
    end: int
    """The number of the last block in the program."""


DEFINE_EXTENT_DATA: Final = Codec(
    Struct(
        "mask" / Int8ub,
        "zero" / Int8ub,
        "block_size" / Int16ub,
        "location" / Int32ub,
        "begin" / Int32ub,
        "end" / Int32ub,
    ),
    DefineExtent,
)
"""16 bytes, big endian."""

# ------------------------------------------------------------------------------------- Locate

OPERATION: Final = 0x0F
"""The bits that say what is done to the blocks: one of the values below."""
OPERATION_RESERVED: Final = 0xE0
"""Must be zero."""
WRITE_DATA: Final = 0x01
READ_REPLICATED: Final = 0x02
FORMAT_DEFECTIVE: Final = 0x04
WRITE_AND_VERIFY: Final = 0x05
READ_DATA: Final = 0x06


class Locate(NamedTuple):
    """The data of Locate (`struct LO_fba_data`): what is read or written next."""

    operation: int
    """`OPERATION`."""
    auxiliary: int
    """Replication count: blocks from which one of `blocks` copies is read."""
    blocks: int
    """How many."""
    block: int
    """Number of the first, as Define Extent numbers them."""


LOCATE_DATA: Final = Codec(
    Struct("operation" / Int8ub, "auxiliary" / Int8ub, "blocks" / Int16ub, "block" / Int32ub),
    Locate,
)
"""8 bytes, big endian."""

# ---------------------------------------------------------------- Read Device Characteristics

CLASS: Final = 0x21
"""Device class of every FBA disk in its characteristics."""


class Characteristics(NamedTuple):
    """What Read Device Characteristics tells of an FBA disk."""

    modes: int = 0
    """Operation modes; 0x10: data chaining is allowed."""
    features: int = 0
    """Features."""
    device_class: int = CLASS
    """`CLASS`."""
    unit_type: int = 0
    """0x11 for a 9336."""
    block_size: int = BLOCK
    """Bytes of a block."""
    blocks_per_cycle: int = 0
    """Blocks of a cyclical group."""
    blocks_per_position: int = 0
    """Blocks of an access position."""
    blocks: int = 0
    """Blocks of the disk."""
    rest: bytes = bytes(14)
    """Alternate blocks and the like."""


CHARACTERISTICS: Final = Codec(
    Struct(
        "modes" / Int8ub,
        "features" / Int8ub,
        "device_class" / Int8ub,
        "unit_type" / Int8ub,
        "block_size" / Int16ub,
        "blocks_per_cycle" / Int32ub,
        "blocks_per_position" / Int32ub,
        "blocks" / Int32ub,
        "rest" / Bytes(14),
    ),
    Characteristics,
)
"""32 bytes, big endian."""

# --------------------------------------------------------------------------------- words

WORDS: Final = DeviceWords(
    commands=MappingProxyType(
        {
            **dasd.COMMANDS,
            WRITE: "write",
            READ: "read",
            LOCATE: "locate",
        }
    ),
    sense1=dasd.SENSE1,
)
"""Those of all FBA disks."""
