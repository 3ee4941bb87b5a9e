"""A mount of a device that nobody would ship: ``python broken.py mount MNT --device ... -f``.

It is `vfioccw` with one more device type, `broken`, whose model fails in every way in which a model
can: in a command, at a clear, in what it does by itself, and when it is asked what it is.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import trio

from vfioccw_fuse.cli import main
from vfioccw_fuse.devices import catalog
from vfioccw_fuse.devices.base import DataTransfer, Device, NotReady, command
from vfioccw_fuse.devices.options import DeviceSpec

FAILS, FAILS_LATER, FAILS_CLEAR = 0x01, 0x02, 0x05
"""Commands that fail at once, and after a wait; one that lets the next clear signal fail."""


class Broken(Device):
    """The device."""

    type_name = "broken"
    armed = False
    waited = False

    @classmethod
    def open(cls, spec: DeviceSpec) -> Device:
        """It has no medium."""
        return cls("broken")

    @command(FAILS)
    def fails(self, io: DataTransfer) -> int | None:
        """Fail at once: in the job after the START's reply."""
        raise ZeroDivisionError("in a command")

    @command(FAILS_LATER)
    def fails_later(self, io: DataTransfer) -> int | None:
        """Fail in the task of a program that had to wait."""
        if self.waited:
            raise ZeroDivisionError("in a command that waited")
        self.waited = True
        event = trio.Event()
        event.set()
        raise NotReady(event)

    @command(FAILS_CLEAR)
    def arm(self, io: DataTransfer) -> int | None:
        """Work."""
        self.armed = True
        return None

    def reset(self) -> None:
        """Fail once after FAILS_CLEAR."""
        armed, self.armed = self.armed, False
        if armed:
            raise ZeroDivisionError("at a clear")

    async def service(self) -> None:
        """Fail."""
        raise ZeroDivisionError("by itself")

    @property
    def sense_id(self) -> bytes:  # type: ignore[override]
        """Fail: `state` wants to know."""
        raise ZeroDivisionError("asked what it is")


if __name__ == "__main__":
    module: Any = ModuleType("vfioccw_fuse.devices.broken")
    module.Broken = Broken
    sys.modules[module.__name__] = module
    catalog.TYPES["broken"] = catalog.DeviceType("broken:Broken", "fba.codes:WORDS")  # type: ignore[index]
    sys.exit(main())
