"""Sizes as people write them, on a command line and in an option. It stands below all rooms."""

from __future__ import annotations

import re

from .errors import UserError

_UNITS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}
_SIZE = re.compile(r"(\d+)\s*(?:([kmgt])(?:ib)?|b)?", re.IGNORECASE | re.ASCII)


def parse_size(text: str) -> int:
    """The bytes that *text* means: `16MiB`, `16M`, `2GiB`, `512K` or plain bytes.

    Units are powers of 1024 in upper or lower case. UserError for anything else, also for `MB`,
    which some read as 1,000,000.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise UserError(f"{text!r} is not a size; write bytes or a unit, such as 512K, 16MiB, 2GiB")
    return int(match[1]) << _UNITS[(match[2] or "").lower()]
