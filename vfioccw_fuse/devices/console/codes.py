"""The commands of a 3215, and what people call them."""

from __future__ import annotations

from types import MappingProxyType

from ...regions import constants as c
from ...regions.descriptions import DeviceWords

_COMMANDS = {
    c.CONS_WRITE: "write",
    c.CONS_WRITE_CR: "write, carriage return",
    c.CONS_READ_INQUIRY: "read inquiry",
    c.CONS_ALARM: "audible alarm",
}

WORDS = DeviceWords(commands=MappingProxyType(_COMMANDS))
"""A 3215's."""
