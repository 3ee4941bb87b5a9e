"""Unit record: command codes, sense bits and words for people.

Names are those of the manuals: 3505 (GA21-9124), 3525 (GA21-9127), and 2821 (GA24-3312) for the
1403; the codes are those of them that Hercules has, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from ...regions.descriptions import DeviceWords

_STACKERS: Final = {0x00: "", 0x40: ", stacker bits 01", 0x80: ", stacker bits 10"}
"""The two high bits of reads, feeds and punches: the stacker that the card goes to."""

# ------------------------------------------------------------------------- card reader: 3505

READ: Final = 0x02
READ_ONLY: Final = 0xC2
"""As READ, but the card is not fed."""
FEED: Final = 0x23
READ_MODE_2: Final = 0x20
"""Data mode 2, card image."""
READ_FORMAT: Final = 0x08
"""Format mode."""

_MODES: Final = {
    0x00: "",
    READ_MODE_2: ", mode 2",
    READ_FORMAT: ", format",
    READ_MODE_2 | READ_FORMAT: ", mode 2, format",
}

READS: Final[Mapping[int, str]] = MappingProxyType(
    {
        **{
            READ | stacker | bits: f"read card{where}{how}"
            for stacker, where in _STACKERS.items()
            for bits, how in _MODES.items()
        },
        **{READ_ONLY | bits: f"read only{how}" for bits, how in _MODES.items()},
    }
)
"""Read, Feed, Select Stacker and Read Only, each in every mode."""

FEEDS: Final[Mapping[int, str]] = MappingProxyType(
    {
        FEED | stacker | bits: f"feed card{where}{how}"
        for stacker, where in (*_STACKERS.items(), (0xC0, ", stacker bits 11"))
        for bits, how in ((0x00, ""), (READ_FORMAT, ", format"))
    }
)
"""Feed, Select Stacker."""

SENSE1_RETRY: Final = 0x10
"""The command is to be tried again when the intervention is over."""

READER: Final = DeviceWords(commands=MappingProxyType({**READS, **FEEDS}))
"""Those of a 3505."""

# -------------------------------------------------------------------------- card punch: 3525

PUNCHES: Final[Mapping[int, str]] = MappingProxyType(
    {0x01 | stacker: f"punch card{where}" for stacker, where in _STACKERS.items()}
)
"""Write, Feed, Select Stacker."""

PUNCH: Final = DeviceWords(commands=PUNCHES)
"""Those of a 3525."""

# ----------------------------------------------------------------------------- printer: 1403

CHANNELS: Final = range(1, 13)
"""Channels of the carriage's control tape."""
IS_SKIP: Final = 0x80
"""Command bit: skip to a channel, not space some lines; which and how many are bits 1-4."""
IS_CONTROL: Final = 0x02
"""Command bit: move the carriage without printing."""

WRITES: Final[Mapping[int, str]] = MappingProxyType(
    {
        0x01: "write without spacing",
        **{0x01 | lines << 3: f"write, space {lines}" for lines in range(1, 4)},
        **{
            0x01 | IS_SKIP | channel << 3: f"write, skip to channel {channel}"
            for channel in CHANNELS
        },
    }
)
"""Print a line, then move the carriage."""
MOVES: Final[Mapping[int, str]] = MappingProxyType(
    {
        **{0x01 | IS_CONTROL | lines << 3: f"space {lines}" for lines in range(1, 4)},
        **{
            0x01 | IS_CONTROL | IS_SKIP | channel << 3: f"skip to channel {channel}"
            for channel in CHANNELS
        },
    }
)
"""Move the carriage."""
DIAGNOSTIC_WRITES: Final[Mapping[int, str]] = MappingProxyType(
    {
        0x05: "diagnostic write without spacing",
        **{0x05 | lines << 3: f"diagnostic write, space {lines}" for lines in range(1, 4)},
        **{
            0x05 | IS_SKIP | channel << 3: f"diagnostic write, skip to channel {channel}"
            for channel in CHANNELS
        },
    }
)
"""Fill the print line buffer and print nothing."""
DIAGNOSTIC_READ: Final = 0x02
CHECK_READ: Final = 0x06
BLOCK_DATA_CHECK: Final = 0x73
ALLOW_DATA_CHECK: Final = 0x7B
UCS_GATE_LOAD: Final = 0xEB
LOAD_UCS_FOLD: Final = 0xF3
LOAD_UCS: Final = 0xFB

SENSE_LOAD_CHECK: Final = 0x02
"""Byte 0: the buffer was not loaded in full."""
SENSE_CHANNEL_9: Final = 0x01
"""Byte 0: the hole of channel 9 was passed."""

PRINTER: Final = DeviceWords(
    commands=MappingProxyType(
        {
            **WRITES,
            **MOVES,
            **DIAGNOSTIC_WRITES,
            DIAGNOSTIC_READ: "diagnostic read",
            CHECK_READ: "diagnostic check read",
            BLOCK_DATA_CHECK: "block data check",
            ALLOW_DATA_CHECK: "allow data check",
            UCS_GATE_LOAD: "UCS gate load",
            LOAD_UCS_FOLD: "load UCS buffer and fold",
            LOAD_UCS: "load UCS buffer",
        }
    ),
    sense0=((SENSE_LOAD_CHECK, "load check"), (SENSE_CHANNEL_9, "channel 9")),
)
"""Those of a 1403."""
