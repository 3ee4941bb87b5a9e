"""Numbers of a command line as click takes them: sizes, storage addresses and times."""

import math
from typing import Any

import click

from ..errors import UserError
from ..sizes import parse_address, parse_size


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


class SecondsType(click.FloatRange):
    """The click type of an option that takes seconds, up to a day; gives a float."""

    name = "seconds"

    def __init__(self) -> None:
        """From 0 to 86,400."""
        super().__init__(0, 86400)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Turn text into seconds; "nan", which is in no range, is refused too."""
        seconds = super().convert(value, param, ctx)
        if math.isnan(seconds):
            self.fail(f"{value!r} is no number of seconds", param, ctx)
        return seconds


SECONDS = SecondsType()
"""Seconds, 0 to 86,400."""
SIZE = SizeType()
"""A size in bytes, with a unit or without."""
ADDRESS = AddressType()
"""An absolute storage address, decimal or 0x."""
