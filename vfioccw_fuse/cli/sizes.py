"""Numbers as people write them on a command line: sizes and storage addresses."""

from typing import Any

import click

from ..errors import UserError
from ..sizes import parse_size


def parse_address(text: str) -> int:
    """Give the number that *text* writes in decimal or, with `0x`, in hexadecimal.

    Raises UserError for anything else and for what does not fit into 64 bits.
    """
    try:
        value = int(text, 16) if text[:2].lower() == "0x" else int(text)
    except ValueError:
        raise UserError(f"{text!r} is not an address; write it like 0x2000 or 8192") from None
    if not 0 <= value < 1 << 64:
        raise UserError(f"{text!r} is not an address: it does not fit into 64 bits")
    return value


class SizeType(click.ParamType[int]):
    """The click type of an option that takes a size; gives an int, in bytes."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Turn text into bytes (see `parse_size`); an int passes as it is."""
        try:
            return value if isinstance(value, int) else parse_size(str(value))
        except UserError as wrong:
            self.fail(wrong.message, param, ctx)


class AddressType(click.ParamType[int]):
    """The click type of an option that takes a storage address; gives an int."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Turn text into an address (see `parse_address`); an int passes as it is."""
        try:
            return value if isinstance(value, int) else parse_address(str(value))
        except UserError as wrong:
            self.fail(wrong.message, param, ctx)


SIZE = SizeType()
"""A size in bytes, with a unit or without."""
ADDRESS = AddressType()
"""An absolute storage address, decimal or 0x."""
