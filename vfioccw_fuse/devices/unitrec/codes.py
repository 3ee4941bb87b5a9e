"""The commands of the card reader, the card punch and the printer, and what people call them."""

from __future__ import annotations

from types import MappingProxyType

from ...regions import constants as c
from ...regions.descriptions import DeviceWords

READER = DeviceWords(commands=MappingProxyType({c.UREC_READ: "read card"}))
"""A 3505's."""

PUNCH = DeviceWords(commands=MappingProxyType({c.UREC_WRITE_NO_SPACE: "punch card"}))
"""A 3525's."""

_PRINTER = {
    c.UREC_WRITE_NO_SPACE: "write without spacing",
    c.UREC_WRITE_SPACE_1: "write, space 1",
    c.UREC_SPACE_1: "space 1",
    c.UREC_WRITE_SPACE_2: "write, space 2",
    c.UREC_SPACE_2: "space 2",
    c.UREC_WRITE_SPACE_3: "write, space 3",
    c.UREC_SPACE_3: "space 3",
    # Bit 0 of a carriage command means channel, bits 1-4 which of the twelve.
    **{0x81 | channel << 3: f"write, skip to channel {channel}" for channel in range(1, 13)},
    **{0x83 | channel << 3: f"skip to channel {channel}" for channel in range(1, 13)},
}

PRINTER = DeviceWords(commands=MappingProxyType(_PRINTER), sense0=((0x01, "channel 9"),))
"""A 1403's."""
