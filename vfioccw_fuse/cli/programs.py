"""Channel programs as a command line writes them: `--ccw`, `--program`, `--orb`.

What is wrong with one of them is a `click.UsageError` that names it.
"""

import re

import click

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
    CCW_SIZE,
)
from ..regions.descriptions import EVERY_DEVICE, DeviceWords
from ..sizes import parse_address, parse_number

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
"""What a flag of a CCW is called in `--ccw`."""
ALIASES = {"nop": 0x03, "tic": CCW_CMD_TIC, "rdc": 0x64, "rcd": 0xFA, "sense-id": 0xE4}
"""Short names of commands, beside those that `decode` gives them, with - for blanks."""
_CODE = re.compile(r"(?:0x)?[0-9a-f]{1,2}", re.IGNORECASE)


def hex_of(text: str, option: str, size: int | None = None) -> bytes:
    """Give the bytes of hexadecimal *text*, which must be *size* many; UsageError if not."""
    try:
        data = descriptions.from_hex(text)
    except ValueError as wrong:
        raise click.UsageError(f"{option}: {wrong}") from None
    if size is not None and len(data) != size:
        raise click.UsageError(f"{option} takes {size} bytes, these are {len(data)}.")
    return data


def ccws_of(text: str) -> tuple[int, bytes]:
    """Give length and bytes of `--program`; UsageError for what are no whole CCWs."""
    data = hex_of(text, "--program")
    if not data or len(data) % CCW_SIZE:
        raise click.UsageError(f"--program takes CCWs of {CCW_SIZE} bytes, these are {len(data)}.")
    return len(data), data


def append_all(built: Program, specs: tuple[str, ...], device: DeviceWords) -> list[Step]:
    """Append the CCWs that `--ccw` describes to *built*; UsageError for a bad description.

    *device*: what its commands are called.
    """
    steps: list[Step] = []
    jumps: list[tuple[Step, int]] = []
    for number, spec in enumerate(specs, 1):
        try:
            step, jump = _append(built, spec, device, last=number == len(specs))
        except (ValueError, UserError) as wrong:
            raise click.UsageError(f"--ccw {shortened(spec)}: {wrong}") from None
        steps.append(step)
        if jump is not None:
            if not 1 <= jump <= len(specs):
                raise click.UsageError(f"--ccw {shortened(spec)}: there is no CCW #{jump}")
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


def command_code(name: str, device: DeviceWords = EVERY_DEVICE) -> int:
    """Give the command code that *name* means for a device: hexadecimal, or a name.

    Names are those that `decode` shows, with `-` for blanks, and a few short ones. ValueError
    if there is none.
    """
    low = name.lower()
    if low in ALIASES:
        return ALIASES[low]
    known = {
        words.replace(",", "").replace(" ", "-"): code
        for code, words in {**descriptions.COMMANDS, **device.commands}.items()
    }
    if low in known:
        return known[low]
    if _CODE.fullmatch(low):
        return int(low, 16)
    raise ValueError(
        f"{shortened(name)!r} is no command code in hexadecimal and no name of a command"
    )
