"""A channel subsystem in a file: what `vfioccw mount --config css.toml` reads.

    interface = "full"          # of the devices that name none
    memory = "64MiB"            # the built-in guest storage

    [[device]]
    type = "fba"
    subchannel = "0.0.0313"
    image = "disk.img"          # seen from the directory of this file
    readonly = true
    chpids = ["40", "41"]
    delay = "3s"                # and every other option of --device

    [chpid.40]
    state = "vary-off"          # on, vary-off, off, fail

Every error is one line with the file, the line and the key. tomllib tells no lines; they are found
when they are needed, by reading the file up to ever fewer of them.
"""

import os
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, NoReturn

from ..css.paths import PathState
from ..devices.options import DeviceSpec, Option, parse_medium, parse_schid
from ..errors import UserError, shortened
from ..regions.table import Interface
from ..sizes import parse_size
from ..vfio.control import (
    CHPIDS,
    DEFAULT_CHPIDS,
    INTERFACE,
    PATH_STATE,
    options_of,
    parse_chpid,
)
from .chp import absolute

Key = tuple[str | int, ...]
"""Where a value is: names of tables and keys, and places in arrays of tables."""

_TOP: Final = ("interface", "memory", "device", "chpid")
_NEEDED: Final = ("type", "subchannel", "image")
_DEEPEST: Final = 8
_INTEGERS: Final = 1 << 63
"""TOML's integers have 64 bits (toml.io, "Integer"); tomllib reads larger ones, too."""


@dataclass(frozen=True, slots=True)
class Config:
    """What a configuration file says; None where it says nothing."""

    path: str = ""
    """The file, absolute."""
    interface: Interface | None = None
    """The interface of devices that name none."""
    memory: int | None = None
    """Bytes of the built-in guest storage."""
    devices: tuple[DeviceSpec, ...] = ()
    """The devices in the order of the file; their images are absolute."""
    paths: dict[int, PathState] = field(default_factory=dict)
    """How channel paths are at first, by chpid; the others are online."""
    places: Mapping[str, Callable[[], str]] = field(default_factory=dict)
    """Says where in the file an image is named, `FILE:LINE: device.image`, by its path."""

    def placed(self, wrong: UserError) -> UserError:
        """*wrong*, with its place in the file if it is about an image that is named there."""
        for path, place in self.places.items():
            if wrong.message.startswith(f"{path}: "):
                return UserError(f"{place()}: {wrong.message}")
        return wrong


class _File:
    """The file that is read, for errors with a line."""

    def __init__(self, path: str, text: str) -> None:
        self._path = path
        self._lines = text.splitlines(keepends=True)

    def fail(self, key: Key, what: str) -> NoReturn:
        """UserError: *what* is wrong at *key*."""
        raise UserError(f"{self.place_of(key)}: {what}")

    def place_of(self, key: Key) -> str:
        """Where *key* is: `FILE:LINE: KEY`."""
        named = ".".join(str(step) for step in key if isinstance(step, str))
        return f"{self._path}:{self.line_of(key)}: {named}"

    def checked(self, key: Key, check: Callable[[], Any]) -> Any:
        """What *check* gives; its UserError gets the line of *key*."""
        try:
            return check()
        except UserError as wrong:
            self.fail(key, wrong.message)

    def line_of(self, key: Key) -> int:
        """The number, from 1, of the line in which the value at *key* begins."""
        low, high = 1, len(self._lines)
        while low < high:
            middle = (low + high) // 2
            if _has(self._read(middle), key):
                high = middle
            else:
                low = middle + 1
        return low

    def _read(self, count: int) -> dict[str, Any]:
        """What the first *count* lines say, or some more, where those end within a value."""
        while True:
            try:
                return tomllib.loads("".join(self._lines[:count]))
            except tomllib.TOMLDecodeError:
                if count == len(self._lines):
                    raise
                count += 1


def _has(table: Any, key: Key) -> bool:
    for step in key:
        try:
            table = table[step]
        except (KeyError, IndexError, TypeError):
            return False
    return True


def read_config(path: str) -> Config:
    """Read the configuration file *path*; UserError in one line for all that is wrong with it."""
    try:
        with open(path, "rb") as opened:
            text = opened.read().decode()
    except UnicodeDecodeError as wrong:
        number = wrong.object[: wrong.start].count(b"\n") + 1
        raise UserError(f"{path}:{number}: not a text in UTF-8") from None
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as wrong:
        words, _, place = str(wrong).partition(" (at ")
        line = place.removeprefix("line ").split(",")[0]
        if not line.isdigit():
            line = str(text.count("\n") + 1)
        raise UserError(f"{path}:{line}: {words[:1].lower()}{words[1:]}") from None
    except (ValueError, RecursionError):
        # int() of thousands of digits, or arrays in arrays: tomllib says no more of them.
        raise UserError(
            f"{path}:{_unreadable(text)}: a number too large or tables too deep to be read"
        ) from None
    file = _File(path, text)
    _bounded(file, table)
    _known(file, (), table, _TOP)
    interface = memory = None
    if "interface" in table:
        name = _string(file, ("interface",), table["interface"])
        interface = file.checked(("interface",), lambda: INTERFACE.read(name))
    if "memory" in table:
        size = table["memory"]
        memory = size if type(size) is int else _memory(file, size)
    directory = os.path.dirname(os.path.abspath(path))
    devices = tuple(_devices(file, table.get("device", []), directory))
    paths = _paths(file, table.get("chpid", {}), devices)
    places = {
        # Only who has an error to tell wants to know: it is looked for by reading all again.
        spec.path: partial(file.place_of, ("device", number, "image"))
        for number, spec in enumerate(devices)
    }
    return Config(os.path.abspath(path), interface, memory, devices, paths, places)


def _unreadable(text: str) -> int:
    """The number of the line at which tomllib gives *text* up, though it is TOML."""
    lines = text.splitlines(keepends=True)
    low, high = 1, len(lines)
    while low < high:
        middle = (low + high) // 2
        try:
            tomllib.loads("".join(lines[:middle]))
        except tomllib.TOMLDecodeError:  # it ends within a value
            low = middle + 1
        except (ValueError, RecursionError):
            high = middle
        else:
            low = middle + 1
    return low


def _memory(file: _File, size: Any) -> int:
    text = _string(file, ("memory",), size)
    return int(file.checked(("memory",), lambda: parse_size(text)))


def _bounded(file: _File, table: dict[str, Any]) -> None:
    """No integer in *table* may have more than 64 bits, no value lie deeper than any key does."""
    left: list[tuple[Key, Any]] = [((), table)]
    while left:
        key, value = left.pop()
        if len(key) > _DEEPEST:
            file.fail(key[:_DEEPEST], "nothing is as deep in tables as this")
        if isinstance(value, dict):
            left += [((*key, name), inner) for name, inner in value.items()]
        elif isinstance(value, list):
            left += [((*key, place), inner) for place, inner in enumerate(value)]
        elif isinstance(value, int) and not -_INTEGERS <= value < _INTEGERS:
            file.fail(key, "a number of more than 64 bits")


def _known(file: _File, key: Key, table: dict[str, Any], words: Sequence[str]) -> None:
    """Every key of *table* must be one of *words*."""
    for name in table:
        if name not in words:
            file.fail((*key, name), f"unknown; one of {', '.join(sorted(words))}")


def _string(file: _File, key: Key, value: Any) -> str:
    if not isinstance(value, str):
        file.fail(key, f"{_shown(value)} is not a string; put it in quotes")
    return value


def _shown(value: Any) -> str:
    return shortened(repr(value))


def _devices(file: _File, tables: Any, directory: str) -> Iterator[DeviceSpec]:
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        file.fail(("device",), "each device is a table of its own, [[device]]")
    seen: set[str] = set()
    for place, table in enumerate(tables):
        key: Key = ("device", place)
        for name in _NEEDED:
            if name not in table:
                file.fail(key, f"{name} is missing")
        spec = _device(file, key, table, directory)
        if spec.schid in seen:
            file.fail((*key, "subchannel"), f"{spec.schid}: an earlier device has it")
        seen.add(spec.schid)
        yield spec


def _device(file: _File, key: Key, table: dict[str, Any], directory: str) -> DeviceSpec:
    """One device; every word is checked that can be checked without its medium."""
    type_name = _string(file, (*key, "type"), table["type"]).lower()
    options = file.checked((*key, "type"), lambda: options_of(type_name))
    _known(file, key, table, (*_NEEDED, *options))
    schid_text = _string(file, (*key, "subchannel"), table["subchannel"])
    schid = file.checked((*key, "subchannel"), lambda: parse_schid(schid_text))
    image_text = _string(file, (*key, "image"), table["image"])
    image = file.checked((*key, "image"), lambda: parse_medium(image_text))
    values: dict[str, Any] = {}
    for name in table:
        if name not in _NEEDED:
            text = _text(file, (*key, name), options[name], table[name])
            if text is not None:
                values[name] = file.checked((*key, name), partial(options[name].read, text))
    return DeviceSpec(type_name, schid, absolute(image, directory), values)


def _text(file: _File, key: Key, option: Option[Any], value: Any) -> str | None:
    """An option's value as `--device` takes it; None for one that is switched off by `false`."""
    match value:
        case bool() if not option.metavar or option.alone is not None:
            return "" if value else None
        case _ if not option.metavar:
            file.fail(key, f"{_shown(value)}: true or false")
        case bool():
            file.fail(key, f"{value!r}: it needs a value, {option.usage}")
        case str() | int() | float():
            return str(value)
        case list() if value and all(isinstance(one, str) for one in value):
            return "+".join(value)
        case _:
            file.fail(
                key, f"{_shown(value)}: a string, a number, true, false, or a list of strings"
            )


def _paths(file: _File, table: Any, devices: Sequence[DeviceSpec]) -> dict[int, PathState]:
    if not isinstance(table, dict):
        file.fail(("chpid",), "each path is a table of its own, such as [chpid.40]")
    known = {chpid for spec in devices for chpid in spec.get(CHPIDS, DEFAULT_CHPIDS)}
    states: dict[int, PathState] = {}
    for name, row in table.items():
        key: Key = ("chpid", name)
        if not isinstance(row, dict):
            file.fail(key, f"a path is a table, [chpid.{name}]")
        _known(file, key, row, (PATH_STATE.word,))
        chpid = file.checked(key, partial(parse_chpid, name))
        if chpid not in known:
            file.fail(key, "no device has this path among its chpids")
        if PATH_STATE.word in row:
            key = (*key, PATH_STATE.word)
            text = _string(file, key, row[PATH_STATE.word])
            states[chpid] = file.checked(key, partial(PATH_STATE.read, text))
    return states
