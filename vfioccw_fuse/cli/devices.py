"""What `vfioccw mount --device help` lists: device types, options and faults, as declared."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..devices.catalog import TYPES, device_class
from ..devices.faults import BEHAVIOUR, QUALIFIERS, Fault
from ..devices.options import Option
from ..vfio.control import SUBCHANNEL
from .text import columns

_IN = "  "


def device_help() -> Iterator[str]:
    """Give the lines of the list; imports every device."""
    yield "--device TYPE@SUBCHANNEL:IMAGE[,OPTION]..., such as fba@0.0.0313:disk.img,readonly"
    yield "SUBCHANNEL may be short, 0313 for 0.0.0313; a comma in IMAGE or OPTION is written twice"
    rows = [("TYPE", "what", "image")]
    for name in TYPES:
        kind = device_class(name)
        rows.append((name, kind.description, kind.takes))
    yield from ("", "Device types:", *_indented(columns(rows)))
    for names, options in _own_options().items():
        yield from ("", f"Options of {names}:", *_listed(options))
    yield from ("", "Options of every device:", *_listed({**BEHAVIOUR, **SUBCHANNEL}))
    faults = columns([(fault.value, fault.effect) for fault in Fault])
    yield from ("", "Faults, several apart by +:", *_indented(faults))
    when = [(f":{qualifier.usage}", qualifier.help) for qualifier in QUALIFIERS.values()]
    yield from ("", "When a fault hits, behind it; else at the first command of every start:",
                *_indented(columns(when)))  # fmt: skip


def _own_options() -> dict[str, Mapping[str, Option[Any]]]:
    """The options of the device types, by the types that have the same ones."""
    found: dict[tuple[Option[Any], ...], list[str]] = {}
    for name in TYPES:
        options = tuple(device_class(name).options.values())
        if options:
            found.setdefault(options, []).append(name)
    return {
        ", ".join(names): {option.word: option for option in options}
        for options, names in found.items()
    }


def _listed(options: Mapping[str, Option[Any]]) -> Iterator[str]:
    return _indented(columns([(option.usage, option.help) for option in options.values()]))


def _indented(lines: Iterable[str]) -> Iterator[str]:
    return (f"{_IN}{line}" for line in lines)
