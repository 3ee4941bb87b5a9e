"""A channel program as it is typed: `COMMAND[,FLAG]...[,COUNT][,DATA]`, once for each CCW.

`vfioccw ssch --ccw` takes it, and the `ccws` of a scenario; a client's `Program` lays it out.
"""

from collections.abc import Sequence

from ..client import Program, Step
from ..errors import UserError, shortened
from ..regions import descriptions
from ..regions.constants import (
    CCW_CMD_TIC,
    CCW_FLAG_CC,
    CCW_FLAG_DC,
    CCW_FLAG_IDA,
    CCW_FLAG_MIDA,
    CCW_FLAG_PCI,
    CCW_FLAG_SKIP,
    CCW_FLAG_SLI,
    CCW_FLAG_SUSPEND,
)
from ..regions.descriptions import DeviceWords
from ..sizes import parse_address, parse_number
from .commandcodes import ALIASES, command_code

FLAGS = {
    "cd": CCW_FLAG_DC,
    "dc": CCW_FLAG_DC,
    "cc": CCW_FLAG_CC,
    "sli": CCW_FLAG_SLI,
    "skip": CCW_FLAG_SKIP,
    "pci": CCW_FLAG_PCI,
    "ida": CCW_FLAG_IDA,
    "suspend": CCW_FLAG_SUSPEND,
    "mida": CCW_FLAG_MIDA,
}
"""What a flag of a CCW is called."""


class BadCcw(UserError):
    """A CCW that cannot be understood; its message names it."""

    def __init__(self, number: int, spec: str, wrong: object) -> None:
        """CCW *number*, from 0, was typed as *spec*, of which *wrong* is to be said."""
        super().__init__(f"{shortened(spec)}: {wrong}")
        self.number = number


def build(built: Program, specs: Sequence[str], device: DeviceWords) -> list[Step]:
    """Append the CCWs that *specs* describe to *built*, chained in this order.

    BadCcw for a bad description.
    """
    steps: list[Step] = []
    jumps: list[tuple[Step, int]] = []
    for number, spec in enumerate(specs):
        try:
            step, jump = _append(built, spec, device, last=number + 1 == len(specs))
        except (ValueError, UserError) as wrong:
            raise BadCcw(number, spec, wrong) from None
        steps.append(step)
        if jump is not None:
            if not 1 <= jump <= len(specs):
                raise BadCcw(number, spec, f"there is no CCW #{jump}")
            jumps.append((step, jump))
    for step, jump in jumps:
        step.target = steps[jump - 1]
    return steps


def _append(
    built: Program, spec: str, device: DeviceWords, *, last: bool
) -> tuple[Step, int | None]:
    """Append the CCW *spec*; give it and the number of the CCW that a TIC goes to, if it does.

    ValueError says what is wrong with *spec*.
    """
    name, *words = (word.strip() for word in spec.split(","))
    code = command_code(name, device)
    flags = 0
    count: int | None = None
    data: bytes | int | None = None
    jump: int | None = None
    for word in words:
        if word.lower() in FLAGS:
            flags |= FLAGS[word.lower()]
        elif word.isdigit() and count is None:
            count = parse_number(word)
        elif word.startswith("="):
            data = descriptions.from_hex(word[1:])
        elif word.startswith("@"):
            data = parse_address(word[1:])
        elif word.startswith("#") and word[1:].isdigit():
            jump = parse_number(word[1:])
        else:
            said = shortened(word)
            raise ValueError(f"{said!r} is no flag, no decimal count, no =HEX, no @ADDRESS")
    if code == CCW_CMD_TIC:
        if jump is None and not isinstance(data, int):
            raise ValueError("say where to, with #N or @ADDRESS")
        return built.tic(data if isinstance(data, int) else 0), jump
    if jump is not None:
        raise ValueError("#N is for tic")
    if flags & CCW_FLAG_MIDA and not isinstance(data, int):
        raise ValueError("mida takes @ADDRESS of a list that is in storage")
    if not last and not flags & (CCW_FLAG_CC | CCW_FLAG_DC):
        flags |= CCW_FLAG_CC
    if code == ALIASES["nop"] and count is None and data is None:
        # An immediate command with a count of zero is good in format 1 only, and with SLI always.
        flags, count = flags | CCW_FLAG_SLI, 1
    return built.ccw(code, flags, count, data), None
