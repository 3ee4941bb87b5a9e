"""The devices of one mount: added, removed, and the channel paths that lead to them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from ..css.chp import ChannelPaths
from ..css.paths import PathState
from ..css.subchannel import Executor, Subchannel
from ..devices.base import Device
from ..devices.options import DeviceSpec
from ..errors import UserError
from ..memory.space import AddressSpace
from ..regions import constants as c
from ..regions import table
from .device import CcwDevice
from .fsm import Event
from .text import SWITCHES, switch_subchannel

DEFAULT_CHPIDS: Final = bytes([0x40, 0x41])
"""Channel paths of a device that names none."""


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
        self._services: dict[CcwDevice, Callable[[], None]] = {}
        self.paths = ChannelPaths(self._subchannels, self._report)
        """The channel paths."""

    def _subchannels(self) -> list[Subchannel]:
        return [device.sch for device in self.devices.values()]

    def add(self, spec: DeviceSpec, model: Device) -> CcwDevice:
        """Put *model* behind a new subchannel and open it; UserError for options that are wrong.

        From then on *model* belongs to it, and is closed with it.
        """
        if spec.schid in self.devices:
            raise UserError(f"{spec.schid}: this subchannel is there already")
        sch = Subchannel(
            spec.schid, model, self._space(), self._executor, spec.behaviour(), chpids_of(spec)
        )
        named = spec.options.get("interface")
        device = CcwDevice(sch, interface_of(named) if named else self._interface)
        words = {word: value for word, value in spec.options.items() if word in SWITCHES}
        switch_subchannel(device, words)
        self.devices[spec.schid] = device
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
        """Take a subchannel away: NOT_OPER, and a channel report; UserError if there is none."""
        device = self.devices.pop(schid, None)
        if device is None:
            raise UserError(f"{schid}: no such subchannel; see vfioccw ls")
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

    def _end(self, device: CcwDevice) -> None:
        self._services.pop(device)()
        device.sch.device.close()

    def _report(self, sch: Subchannel, flags: int, rsid: int) -> None:
        self.devices[sch.schid].driver.reports.report(flags, rsid)


def report_subchannel(device: CcwDevice) -> None:
    """Report that a subchannel came or went: two chained words, its number and where it is.

    The second as QEMU's css.c makes it, and Linux's css_process_crw reads it: cssid, then ssid.
    """
    cssid, ssid, _ = (int(part, 16) for part in device.sch.schid.split("."))
    flags = c.CRW_RSC_SUBCH << c.CRW_RSC_SHIFT | c.CRW_ERC_IPI
    device.driver.reports.report(flags | c.CRW_FLAGS_MASK_C, device.sch.number)
    device.driver.reports.report(flags, cssid << 8 | ssid << 4)


def chpids_of(spec: DeviceSpec) -> bytes:
    """The chpids of `chpids=40+41`, one to eight; UserError if they are wrong."""
    text = spec.options.get("chpids")
    if text is None:
        return DEFAULT_CHPIDS
    try:
        chpids = bytes(int(word, 16) for word in text.split("+"))
    except ValueError:
        chpids = b""
    if not 1 <= len(chpids) <= 8 or len(set(chpids)) != len(chpids):
        raise UserError(
            f"{spec.type}@{spec.schid}: chpids={text}: one to eight different ids in hex, 00 to ff,"
            " such as chpids=40+41"
        )
    return chpids


def interface_of(name: str) -> table.Interface:
    """The interface called *name*; UserError lists them if there is none."""
    try:
        return table.interface_of(name)
    except ValueError as error:
        raise UserError(f"--{error}") from None


def path_state(word: str) -> PathState:
    """The path state called *word*: on, vary-off, off, fail; UserError otherwise."""
    states = {
        "on": PathState.ONLINE,
        "vary-off": PathState.VARIED_OFF,
        "off": PathState.OFFLINE,
        "fail": PathState.FAILED,
    }
    try:
        return states[word]
    except KeyError:
        raise UserError(f"{word}: a path goes {', '.join(states)}") from None
