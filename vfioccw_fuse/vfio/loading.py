"""Changing the medium of a device that is in use: a tape, a deck of cards, paper.

The new medium is opened first, as that of a device of its own with the options of the old one: what
is wrong with it is found before anything has changed. Opening may wait for a file system, so that
whoever serves the device does it, in a thread, and comes back to `exchange`.
"""

from __future__ import annotations

from dataclasses import replace

from ..devices.base import Device
from ..devices.catalog import attach
from ..devices.options import NO_MEDIUM, DeviceSpec
from ..errors import UserError
from .device import CcwDevice


class Loading(Exception):
    """*device* is to have the medium at *path*: what a request could not do without waiting.

    Raised through `control` to whoever carries requests; nothing has changed yet.
    """

    def __init__(self, device: CcwDevice, path: str) -> None:
        super().__init__(f"{device.sch.schid}: {path} is to be loaded")
        self.device = device
        """Where it goes."""
        self.path = path
        """The file, absolute."""


def hindrance(device: CcwDevice) -> str:
    """Why the medium of *device* cannot be changed now; empty if it can."""
    model = device.sch.device
    if not model.loads or model.spec is None:
        return f"a {model.type_name} has no medium that could be changed"
    if device.sch.program is not None:
        return "a channel program runs; try again when it has ended"
    return ""


def nothing_loaded(device: CcwDevice) -> str:
    """The same, also if there is nothing that could be taken out."""
    return hindrance(device) or ("" if device.sch.device.media else "nothing is loaded")


def spec_with(device: CcwDevice, path: str) -> DeviceSpec:
    """How *device* is attached with the medium at *path*; UserError if it cannot be changed."""
    wrong = hindrance(device)
    if wrong:
        raise UserError(f"{device.sch.schid}: {wrong}")
    spec = device.sch.device.spec
    assert spec is not None
    return replace(spec, path=path)


def exchange(device: CcwDevice, model: Device) -> None:
    """Let *device* have the medium of *model*, a device of the same type that is done with then.

    That a medium has come is presented as unsolicited status. UserError if it cannot be changed
    now; *model* is closed then.
    """
    wrong = hindrance(device)
    if wrong:
        model.close()
        raise UserError(f"{device.sch.schid}: {wrong}")
    device.sch.device.exchange(model)
    if device.sch.device.media:
        device.sch.unsolicited(model.ready)


def unload(device: CcwDevice) -> None:
    """Take the medium of *device* out; UserError if it has none, or it cannot be changed now."""
    wrong = nothing_loaded(device)
    if wrong:
        raise UserError(f"{device.sch.schid}: {wrong}")
    exchange(device, attach(spec_with(device, NO_MEDIUM[1])))
