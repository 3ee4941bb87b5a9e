"""A unit-record device, tape or console behind a machine: CCWs as bytes, endings, sense data."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from lab import programs
from lab.mounts import SCHID
from lab.programs import CC, ENDED, SENSE, SLI, Irb
from tests.machine import DATA, PROGRAM, SENSE_DATA, Machine
from vfioccw_fuse.devices.base import Device
from vfioccw_fuse.devices.catalog import device_class
from vfioccw_fuse.devices.options import DeviceSpec


@dataclass(frozen=True)
class Ending:
    """How a channel program ended."""

    dstat: int
    cstat: int
    count: int
    commands: int
    """CCWs that were begun."""


def ccw(code: int, count: int = 1, address: int = DATA, flags: int = SLI) -> bytes:
    return programs.ccw(code, flags, count, address)


def chain(*ccws: bytes) -> bytes:
    """Command chaining from each CCW to the next."""
    return b"".join(
        bytes([one[0], one[1] | CC]) + one[2:] if at < len(ccws) - 1 else one
        for at, one in enumerate(ccws)
    )


def spec(kind: str, path: Path | str, *, readonly: bool = False, **words: str) -> DeviceSpec:
    if readonly:
        words["readonly"] = ""
    return DeviceSpec(kind, SCHID, str(path), device_class(kind).options.read(words))


class Unit:
    """A device behind a machine whose programs are tasks."""

    def __init__(self, machine: Machine) -> None:
        self.sch = machine.sch
        self.load, self.store = machine.load, machine.store
        self._orb = machine.orb
        self.events = 0
        self.news = trio.Event()
        self.sch.pending.on_status_pending = self._on_status_pending

    def _on_status_pending(self) -> None:
        self.events += 1
        self.news.set()

    def start(self, *ccws: bytes) -> None:
        self.news = trio.Event()
        self.store(PROGRAM, chain(*ccws))
        assert self.sch.ssch(self._orb()) == 0

    async def ending(self) -> Ending:
        with trio.fail_after(60):
            while not self.sch.scsw.status_pending:
                self.news = trio.Event()
                await self.news.wait()
        cc, irb = self.sch.tsch()
        assert cc == 0
        seen = Irb.of(irb)
        begun = (seen.cpa - PROGRAM) // 8 if seen.cpa else 0
        return Ending(seen.dstat, seen.cstat, seen.count, begun)

    async def run(self, *ccws: bytes) -> Ending:
        self.start(*ccws)
        return await self.ending()

    async def sense(self, size: int = 32) -> bytes:
        """The sense data; without a check that there is any."""
        self.store(SENSE_DATA, bytes(size))
        self.news = trio.Event()
        ending = await self.run(ccw(SENSE, size, SENSE_DATA))
        assert ending.dstat == ENDED
        return self.load(SENSE_DATA, size - ending.count)


@asynccontextmanager
async def attached(device: Device, directory: Path) -> AsyncIterator[Unit]:
    """*device* behind an enabled subchannel, with its service running; closed in the end."""
    machine = Machine(device, directory)
    try:
        async with trio.open_nursery() as nursery:
            machine.live(nursery)
            nursery.start_soon(device.service)
            yield Unit(machine)
            machine.sch.quiesce()
            nursery.cancel_scope.cancel()
    finally:
        machine.close()
