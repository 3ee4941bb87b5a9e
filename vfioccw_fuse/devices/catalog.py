"""Every device type there is, by the name that a command line uses: its model and its words.

It imports no model before one is asked for: start-up counts, and clients need the words alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..errors import UserError
from ..regions.descriptions import EVERY_DEVICE, DeviceWords

if TYPE_CHECKING:
    from .base import Device
    from .options import DeviceSpec


class DeviceType(NamedTuple):
    """Where a device type is: `module:name`, below this package, imported when first used.

    The words are apart from the model so that a client finds them without loading it.
    """

    model: str
    """Its class, a `Device`."""
    words: str
    """What people call its commands and sense bits, a `DeviceWords`."""


TYPES: Final[Mapping[str, DeviceType]] = {
    "fba": DeviceType("fba.device:Fba", "fba.codes:WORDS"),
    "9336": DeviceType("fba.device:Fba", "fba.codes:WORDS"),
    "3370": DeviceType("fba.device:Fba3370", "fba.codes:WORDS"),
    "3390": DeviceType("eckd.device:Eckd3390", "eckd.codes:WORDS"),
    "3420": DeviceType("tape.t3420:Tape3420", "tape.codes:T3420"),
    "3480": DeviceType("tape.t3480:Tape3480", "tape.codes:T3480"),
    "3490": DeviceType("tape.t3490:Tape3490", "tape.codes:T3490"),
    "3505": DeviceType("unitrec.reader:Reader3505", "unitrec.codes:READER"),
    "3525": DeviceType("unitrec.punch:Punch3525", "unitrec.codes:PUNCH"),
    "1403": DeviceType("unitrec.printer:Printer1403", "unitrec.codes:PRINTER"),
    "3215": DeviceType("console.device:Console3215", "console.codes:WORDS"),
}
"""Every type that can be attached."""

DECODED: Final[Mapping[str, str]] = {
    **dict.fromkeys(("0671", "3310", "9313", "9332", "9335"), "fba.codes:WORDS"),
    **dict.fromkeys(("eckd", "3380"), "eckd.codes:WORDS"),
    **dict.fromkeys(("tape", "3590"), "tape.codes:T3490"),
    "reader": "unitrec.codes:READER",
    "punch": "unitrec.codes:PUNCH",
    "printer": "unitrec.codes:PRINTER",
    "console": "console.codes:WORDS",
}
"""Where the words of further types are, and of families by their names: only to decode."""


def _load(place: str) -> Any:
    """What is at `module:name` below this package."""
    module, _, name = place.partition(":")
    return getattr(import_module(f"{__package__}.{module}"), name)


def device_class(name: str) -> type[Device]:
    """The class of device type *name*; UserError lists the types if there is none."""
    try:
        model = TYPES[name].model
    except KeyError:
        known = ", ".join(sorted(TYPES))
        raise UserError(f"{name}: unknown device type; one of {known}") from None
    found: type[Device] = _load(model)
    return found


def words_of(name: str) -> DeviceWords:
    """What people call the commands and sense bits of device type *name*.

    `EVERY_DEVICE` if the type is not known. Loads no device model.
    """
    place = TYPES[name].words if name in TYPES else DECODED.get(name)
    if place is None:
        return EVERY_DEVICE
    found: DeviceWords = _load(place)
    return found


def attach(spec: DeviceSpec) -> Device:
    """Open the device that *spec* describes; UserError for an unknown type or a bad medium.

    UserError, too, for a fault that means blocks or tracks which it does not have.
    """
    from .faults import FAULT, need_fit
    from .options import SENSE_ID, SYNC, SenseId, Sync

    device = device_class(spec.type).open(spec)
    try:
        need_fit(spec.get(FAULT, ()), device)
    except UserError:
        device.close()
        raise
    device.spec = spec
    if spec.get(SENSE_ID, SenseId.YES) is SenseId.LEGACY:
        device.sense_id = b""
    sync = spec.get(SYNC, Sync.END)
    device.secures = sync is Sync.ALWAYS
    for medium in device.media:
        medium.keep(sync)
    return device
