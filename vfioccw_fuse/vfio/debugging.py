"""A debugger of a device: what it instructs goes through the driver, as a client's commands do."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Final

from ..css.debugger import Debugger, Event
from ..regions import constants as c
from ..regions.layouts import Orb
from .device import CcwDevice

_COMMANDS: Final = {
    "hsch": c.VFIO_CCW_ASYNC_CMD_HSCH,
    "csch": c.VFIO_CCW_ASYNC_CMD_CSCH,
}
_NOT_EXECUTED: Final = frozenset({errno.EIO, errno.EAGAIN, errno.EINVAL})
"""The driver did not get as far as to execute the instruction."""


def attach_debugger(device: CcwDevice, tell: Callable[[Event], None]) -> Debugger:
    """Somebody debugs *device* from now on, and *tell* gets all that happens.

    UserError if somebody does already.
    """
    driver = device.driver

    def instruct(name: str) -> int:
        number = driver.command(_COMMANDS[name], Orb())
        if number in _NOT_EXECUTED:
            raise OSError(number, os.strerror(number))
        return driver.last_cc

    return Debugger(device.sch, tell, instruct)
