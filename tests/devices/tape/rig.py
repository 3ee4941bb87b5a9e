"""A device behind a real subchannel, with storage: what a test runs channel programs on."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from vfioccw_fuse.css.executor import TrioExecutor
from vfioccw_fuse.css.subchannel import Subchannel
from vfioccw_fuse.devices.base import Device
from vfioccw_fuse.devices.catalog import device_class
from vfioccw_fuse.devices.options import DeviceSpec
from vfioccw_fuse.memory.backing import BuiltInStorage
from vfioccw_fuse.memory.space import AddressSpace
from vfioccw_fuse.regions import codec

CC, CD, SLI = 0x40, 0x80, 0x20
PROGRAM = 0x1000
SENSE = 0x800
DATA = 0x10000
SIZE = 1 << 20

CE_DE, UC, UE, ATTENTION = 0x0C, 0x02, 0x01, 0x80
INCORRECT_LENGTH = 0x40


@dataclass(frozen=True)
class Ending:
    """How a channel program ended."""

    dstat: int
    cstat: int
    count: int
    commands: int
    """CCWs that were begun."""


def ccw(code: int, count: int = 1, address: int = DATA, flags: int = SLI) -> bytes:
    return struct.pack(">BBHI", code, flags, count, address)


def chain(*ccws: bytes) -> bytes:
    """Command chaining from each CCW to the next."""
    return b"".join(
        bytes([one[0], one[1] | CC]) + one[2:] if at < len(ccws) - 1 else one
        for at, one in enumerate(ccws)
    )


def spec(kind: str, path: Path | str, *, readonly: bool = False, **words: str) -> DeviceSpec:
    if readonly:
        words["readonly"] = ""
    return DeviceSpec(kind, "0.0.0313", str(path), device_class(kind).options.read(words))


class Rig:
    """The subchannel and its storage."""

    def __init__(self, sch: Subchannel, space: AddressSpace) -> None:
        self.sch = sch
        self.space = space
        self.events = 0
        self.news = trio.Event()
        sch.pending.on_status_pending = self._on_status_pending

    def _on_status_pending(self) -> None:
        self.events += 1
        self.news.set()

    def start(self, *ccws: bytes) -> None:
        self.news = trio.Event()
        self.space.write(PROGRAM, chain(*ccws))
        orb = struct.pack(">IHBBI", 0x1234, 0x0080, 0xFF, 0, PROGRAM)
        assert self.sch.ssch(codec.ORB.parse(orb)) == 0

    async def ending(self) -> Ending:
        with trio.fail_after(60):
            while not self.sch.scsw.status_pending:
                self.news = trio.Event()
                await self.news.wait()
        cc, irb = self.sch.tsch()
        assert cc == 0
        cpa, dstat, cstat, count = struct.unpack_from(">IBBH", irb, 4)
        return Ending(dstat, cstat, count, (cpa - PROGRAM) // 8 if cpa else 0)

    async def run(self, *ccws: bytes) -> Ending:
        self.start(*ccws)
        return await self.ending()

    async def sense(self, size: int = 32) -> bytes:
        """The sense data; without a check that there is any."""
        self.space.write(SENSE, bytes(size))
        self.news = trio.Event()
        ending = await self.run(ccw(0x04, size, SENSE))
        assert ending.dstat == CE_DE
        return self.read(SENSE, size - ending.count)

    def read(self, address: int, length: int) -> bytes:
        return self.space.read(address, length)

    def write(self, address: int, data: bytes) -> None:
        self.space.write(address, data)


@asynccontextmanager
async def attached(device: Device, directory: Path) -> AsyncIterator[Rig]:
    """*device* behind an enabled subchannel, with its service running; closed in the end."""
    storage = BuiltInStorage(str(directory), SIZE)
    space = AddressSpace([storage.range()])
    try:
        async with trio.open_nursery() as nursery:
            sch = Subchannel("0.0.0313", device, space, TrioExecutor(nursery))
            sch.enable()
            nursery.start_soon(device.service)
            yield Rig(sch, space)
            sch.quiesce()
            nursery.cancel_scope.cancel()
    finally:
        device.close()
        storage.close()
