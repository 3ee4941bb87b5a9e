"""Every device type there is, by the name that a command line uses."""

from __future__ import annotations

from importlib import import_module
from typing import Final

from ..errors import UserError
from .base import Device
from .options import DeviceSpec

TYPES: Final[dict[str, tuple[str, str]]] = {
    "fba": ("fba", "Fba"),
    "9336": ("fba", "Fba"),
    "3370": ("fba", "Fba3370"),
    "3390": ("eckd", "Eckd3390"),
    "3420": ("tape", "Tape3420"),
    "3480": ("tape", "Tape3480"),
    "3490": ("tape", "Tape3490"),
    "3505": ("unitrec", "Reader3505"),
    "3525": ("unitrec", "Punch3525"),
    "1403": ("unitrec", "Printer1403"),
    "3215": ("console", "Console3215"),
}
"""Type name: module below this package and class. Imported when first used, as start-up counts."""


def device_class(name: str) -> type[Device]:
    """The class of device type *name*; UserError lists the types if there is none."""
    try:
        module, cls = TYPES[name]
    except KeyError:
        known = ", ".join(sorted(TYPES))
        raise UserError(f"{name}: unknown device type; one of {known}") from None
    found: type[Device] = getattr(import_module(f"{__package__}.{module}"), cls)
    return found


def attach(spec: DeviceSpec) -> Device:
    """Open the device that *spec* describes; UserError for an unknown type or a bad medium."""
    device = device_class(spec.type).open(spec)
    device.medium = spec.path
    return device
