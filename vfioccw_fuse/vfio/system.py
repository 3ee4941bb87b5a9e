"""The devices of one mount: added, removed, and the channel paths that lead to them."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Protocol

from ..css.chp import ChannelPaths
from ..css.subchannel import Executor, Subchannel
from ..devices.base import Device
from ..devices.faults import behaviour_of
from ..devices.options import DeviceSpec
from ..errors import UserError
from ..memory.space import AddressSpace
from ..regions import constants as c
from ..regions import table
from .control import CHPIDS, DEFAULT_CHPIDS, INTERFACE, SWITCHES
from .device import CcwDevice
from .fsm import Event


class Attendant(Executor, Protocol):
    """Who gives programs their time, and devices what they do by themselves."""

    def attend(self, service: Callable[[], Awaitable[None]]) -> Callable[[], None]:
        """Run *service* until it ends, or until what this gives is called."""
        ...


class System:
    """All vfio-ccw devices there are, by subchannel id: this is their only registry."""

    def __init__(
        self,
        executor: Attendant,
        space: Callable[[], AddressSpace],
        interface: table.Interface,
        devices: dict[str, CcwDevice] | None = None,
    ) -> None:
        """*space* makes a new subchannel's storage; *interface* is what it offers by default.

        *devices* is the registry, empty, where others look into it, too.
        """
        self._executor = executor
        self._space = space
        self._interface = interface
        self.devices: dict[str, CcwDevice] = {} if devices is None else devices
        """The devices by subchannel id."""
        self._models: dict[str, Device] = {}
        self._services: dict[CcwDevice, Callable[[], None]] = {}
        self.paths = ChannelPaths(self._subchannels, self._report)
        """The channel paths."""

    def _subchannels(self) -> list[Subchannel]:
        return [device.sch for device in self.devices.values()]

    def add(self, spec: DeviceSpec, model: Device) -> CcwDevice:
        """Put *model* behind a new subchannel and open it.

        From then on *model* belongs to it, and is closed with it. UserError if its id is taken, or
        if it cannot be beside the devices that are there.
        """
        if spec.schid in self.devices:
            raise UserError(f"{spec.schid}: this subchannel is there already")
        with _named(spec.schid):
            model = model.beside(self._models)
        chpids = spec.get(CHPIDS, DEFAULT_CHPIDS)
        sch = Subchannel(
            spec.schid, model, self._space(), self._executor, behaviour_of(spec), chpids
        )
        device = CcwDevice(sch, spec.get(INTERFACE, self._interface))
        SWITCHES.put(device, spec.options)
        self.devices[spec.schid] = device
        self._models[spec.schid] = model
        self.paths.lead_to(sch)
        device.driver.event(Event.OPEN)
        self._services[device] = self._executor.attend(model.service)
        return device

    def plug(self, spec: DeviceSpec, model: Device) -> CcwDevice:
        """As `add`, while clients are there: a channel report tells of it."""
        device = self.add(spec, model)
        report_subchannel(device)
        return device

    def remove(self, schid: str) -> CcwDevice:
        """Take a subchannel away: NOT_OPER, and a channel report.

        UserError if there is none, or if others need it.
        """
        device = self.devices.get(schid)
        if device is None:
            raise UserError(f"{schid}: no such subchannel")
        with _named(schid):
            device.sch.device.withdraw()
        del self.devices[schid], self._models[schid]
        device.driver.event(Event.NOT_OPER)
        report_subchannel(device)
        self._end(device)
        return device

    def close(self) -> None:
        """Close every device, and let their media go."""
        for device in list(self.devices.values()):
            device.driver.event(Event.CLOSE)
            self._end(device)
        self.devices.clear()
        self._models.clear()

    def _end(self, device: CcwDevice) -> None:
        self._services.pop(device)()
        device.driver.halves.close()
        device.sch.device.close()

    def _report(self, sch: Subchannel, flags: int, rsid: int) -> None:
        self.devices[sch.schid].driver.reports.report((flags, rsid))


@contextlib.contextmanager
def _named(schid: str) -> Iterator[None]:
    """A UserError of the device behind *schid* names it."""
    try:
        yield
    except UserError as wrong:
        raise UserError(f"{schid}: {wrong.message}") from None


def report_subchannel(device: CcwDevice) -> None:
    """Report that a subchannel came or went: two chained words, its number and where it is.

    The second as QEMU's css.c makes it, and Linux's css_process_crw reads it: cssid, then ssid.
    """
    cssid, ssid, _ = (int(part, 16) for part in device.sch.schid.split("."))
    flags = c.CRW_RSC_SUBCH << c.CRW_RSC_SHIFT | c.CRW_ERC_IPI
    device.driver.reports.report(
        (flags | c.CRW_FLAGS_MASK_C, device.sch.number), (flags, cssid << 8 | ssid << 4)
    )
