"""What commands are called where somebody types them: names as `decode` shows them, and codes."""

import functools
import re

from ..devices.catalog import TYPES, words_of
from ..errors import shortened
from ..regions import descriptions
from ..regions.constants import CCW_CMD_TIC
from ..regions.descriptions import EVERY_DEVICE, DeviceWords
from . import did_you_mean

ALIASES = {"nop": 0x03, "tic": CCW_CMD_TIC, "rdc": 0x64, "rcd": 0xFA, "sense-id": 0xE4}
"""Short names of commands, beside those that `decode` gives them, with - for blanks."""
_CODE = re.compile(r"(?:0x)?[0-9a-f]{1,2}", re.IGNORECASE)


def command_code(name: str, device: DeviceWords = EVERY_DEVICE) -> int:
    """Give the command code that *name* means for a device: hexadecimal, or a name.

    Names are those that `decode` shows, with `-` for blanks, and a few short ones. ValueError
    lists them if there is none.
    """
    low = name.lower()
    code = ALIASES.get(low, _names(device).get(low))
    if code is None and _CODE.fullmatch(low):
        code = int(low, 16)
    if code is None:
        known = sorted({*ALIASES, *_names(device)})
        raise ValueError(
            f"{shortened(name)!r} is no command code in hexadecimal and no name of a command."
            f"{did_you_mean(low, known)} The device has {', '.join(known)}"
        )
    return code


def codes_meant(name: str, device: DeviceWords = EVERY_DEVICE) -> frozenset[int]:
    """Give the command codes that *name* means for a device; none if it means none.

    Where it is neither a code nor a name it is the first words of names: all those.
    """
    try:
        return frozenset((command_code(name, device),))
    except ValueError:
        first = f"{name.lower()}-"
        return frozenset(c for known, c in _names(device).items() if known.startswith(first))


def commands_of(device: DeviceWords) -> list[tuple[int, str, str]]:
    """Code, name and short name (or "") of the commands that a device has, by code."""
    names = _names(device)
    short = {code: name for name, code in ALIASES.items() if name not in names}
    return sorted((code, name, short.get(code, "")) for name, code in names.items())


@functools.cache
def _names(device: DeviceWords) -> dict[str, int]:
    """Names of commands as they are typed, and their codes."""
    return {
        words.replace(",", "").replace(" ", "-").lower(): code
        for code, words in {**descriptions.COMMANDS, **device.commands}.items()
    }


def device_type(said: str) -> str:
    """The type of the device that `state` says is *said*; empty if it is none that we know.

    It is one of its first words: "3390 vol.ckd", "fba 9336 disk.img".
    """
    return next((word for word in reversed(said.split()[:2]) if word in TYPES), "")


@functools.cache
def device_words(said: str) -> DeviceWords:
    """Give what the commands and sense bits of a device are called that is said to be *said*.

    That is its type, or what `state` says of it: "fba 9336 disk.img". It may be unknown.
    """
    found = (words_of(word) for word in said.split()[:2])
    return next((words for words in found if words is not EVERY_DEVICE), EVERY_DEVICE)
