"""Machines of the channel subsystem's tests: an FBA disk, and what shows more than a disk can."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import trio

from lab.mounts import BLOCK, SCHID
from lab.programs import CE, DE, READING, SM, WRITING, Ccw, extent, locate, located
from tests.machine import PARAMETERS, Machine
from vfioccw_fuse.devices.base import DataTransfer, Device, NotReady, UnitCheck, command
from vfioccw_fuse.devices.faults import Behaviour
from vfioccw_fuse.devices.fba.device import Fba
from vfioccw_fuse.devices.options import DeviceSpec

BLOCKS = 64


class Probe(Device):
    """A device that shows what a disk cannot: status modifier, two endings, lengths at will."""

    type_name = "probe"
    sense_length: ClassVar[int] = 24
    sense_id = bytes.fromhex("ff000001000100")

    def __init__(self) -> None:
        super().__init__("probe")
        self.data = bytes(range(1, 101))
        self.written: list[bytes] = []
        self.wanted = 100
        self.event = trio.Event()
        self.resets = 0

    def reset(self) -> None:
        super().reset()
        self.resets += 1

    @command(0x02)
    def read(self, io: DataTransfer) -> int | None:
        io.give(self.data)
        return None

    @command(0x0C)
    def read_backward(self, io: DataTransfer) -> int | None:
        io.give(self.data, backward=True)
        return None

    @command(0x01)
    def write(self, io: DataTransfer) -> int | None:
        self.written.append(io.take(self.wanted))
        return None

    @command(0x07)
    def control(self, io: DataTransfer) -> int | None:
        return None

    @command(0x17)
    def find(self, io: DataTransfer) -> int | None:
        return CE | DE | SM

    @command(0x27)
    def move_arm(self, io: DataTransfer) -> int | None:
        return CE

    @command(0x37)
    def ask_operator(self, io: DataTransfer) -> int | None:
        if not self.event.is_set():
            raise NotReady(self.event)
        return None

    @command(0x47)
    def fail(self, io: DataTransfer) -> int | None:
        raise UnitCheck(b"\x40\x07")


class ProbeMachine(Machine):
    """A machine with a `Probe`."""

    def __init__(self, directory: Path) -> None:
        self.probe = Probe()
        super().__init__(self.probe, directory)


class DiskMachine(Machine):
    """A machine with a disk of 64 blocks, each full of its number."""

    def __init__(self, directory: Path, behaviour: Behaviour | None = None) -> None:
        self.image = directory / "disk.img"
        self.image.write_bytes(b"".join(n.to_bytes(2) * (BLOCK // 2) for n in range(BLOCKS)))
        disk = Fba.open(DeviceSpec("fba", SCHID, str(self.image)))
        super().__init__(disk, directory, behaviour=behaviour)

    def locate(self, operation: int, block: int, count: int) -> tuple[Ccw, Ccw]:
        """The CCWs that prepare a disk for *count* blocks from *block*; parameters are stored."""
        self.store(PARAMETERS, extent(BLOCKS) + locate(operation, count, block))
        return located(PARAMETERS)

    def reading(self, block: int, count: int, *ccws: Ccw) -> tuple[Ccw, ...]:
        """A program that reads *count* blocks by *ccws*."""
        return (*self.locate(READING, block, count), *ccws)

    def writing(self, block: int, count: int, *ccws: Ccw) -> tuple[Ccw, ...]:
        """A program that writes *count* blocks by *ccws*."""
        return (*self.locate(WRITING, block, count), *ccws)

    def blocks(self, block: int, count: int = 1) -> bytes:
        """What the image has there."""
        return self.image.read_bytes()[block * BLOCK : (block + count) * BLOCK]
