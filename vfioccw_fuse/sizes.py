"""Numbers as people write them: counts, addresses and sizes, on a command line and in an option.

Every number that is read from a person's text is read here. It stands below all rooms.
"""

from __future__ import annotations

import re
from typing import Final

from .errors import UserError, shortened

DIGITS: Final = 20
"""Most digits of a number: 2^64-1 has so many. int(3.12) fails with thousands of them."""

_DIGITS = {10: re.compile("[0-9]+"), 16: re.compile("[0-9a-fA-F]+")}
_UNITS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}
_SIZE = re.compile(r"([0-9]+)\s*(?:([kmgt])(?:ib)?|b)?", re.IGNORECASE | re.ASCII)
_ADDRESSES = 1 << 64


def parse_number(text: str, base: int = 10) -> int:
    """The number that the digits *text* write, in *base* 10 or 16.

    UserError for anything but ASCII digits, or for more than `DIGITS` of them.
    """
    if not _DIGITS[base].fullmatch(text):
        digits = "decimal" if base == 10 else "hexadecimal"
        raise UserError(f"{shortened(text)!r} is not a number of {digits} digits")
    if len(text) > DIGITS:
        raise UserError(
            f"{shortened(text)!r} is too large: {len(text)} digits; at most {DIGITS} are read"
        )
    return int(text, base)


def parse_size(text: str) -> int:
    """The bytes that *text* means: `16MiB`, `16M`, `2GiB`, `512K` or plain bytes.

    Units are powers of 1024 in upper or lower case. UserError for anything else, also for `MB`,
    which some read as 1,000,000.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise UserError(
            f"{shortened(text)!r} is not a size; write bytes or a unit, such as 512K, 16MiB, 2GiB"
        )
    return parse_number(match[1]) << _UNITS[(match[2] or "").lower()]


def parse_address(text: str) -> int:
    """The number that *text* writes in decimal or, with `0x`, in hexadecimal.

    UserError for anything else, and for what does not fit into 64 bits.
    """
    digits = text[2:] if text[:2].lower() == "0x" else text
    base = 10 if digits is text else 16
    if not _DIGITS[base].fullmatch(digits):
        raise UserError(f"{shortened(text)!r} is not an address; write it like 0x2000 or 8192")
    if len(digits) > DIGITS or int(digits, base) >= _ADDRESSES:
        raise UserError(f"{shortened(text)!r} is not an address: it does not fit into 64 bits")
    return int(digits, base)
