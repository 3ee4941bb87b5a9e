"""The 3215: command codes and words for people, as its manual has them (GA24-3550)."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from ...regions.descriptions import DeviceWords

WRITE: Final = 0x01
WRITE_RETURN: Final = 0x09
READ_INQUIRY: Final = 0x0A
AUDIBLE_ALARM: Final = 0x0B

WORDS: Final = DeviceWords(
    commands=MappingProxyType(
        {
            WRITE: "write",
            WRITE_RETURN: "write, carriage return",
            READ_INQUIRY: "read inquiry",
            AUDIBLE_ALARM: "audible alarm",
        }
    )
)
"""Those of a 3215."""
