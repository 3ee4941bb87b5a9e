"""A subchannel with storage and a device, whose programs run only when a test says so."""

from __future__ import annotations

import os
import struct
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import ClassVar, NamedTuple

import trio

from vfioccw_fuse.css.channel import ChannelProgram, Pause
from vfioccw_fuse.css.subchannel import Subchannel
from vfioccw_fuse.devices.base import CE, DE, SM, DataTransfer, Device, NotReady, UnitCheck, command
from vfioccw_fuse.devices.fba.device import Fba
from vfioccw_fuse.devices.options import Behaviour, DeviceSpec
from vfioccw_fuse.memory.backing import BuiltInStorage
from vfioccw_fuse.memory.space import AddressSpace, StorageKeys
from vfioccw_fuse.regions import constants as c
from vfioccw_fuse.regions.layouts import Orb

CD, CC, SLI, SKIP = c.CCW_FLAG_DC, c.CCW_FLAG_CC, c.CCW_FLAG_SLI, c.CCW_FLAG_SKIP
PCI, IDA, SUSPEND, MIDA = c.CCW_FLAG_PCI, c.CCW_FLAG_IDA, c.CCW_FLAG_SUSPEND, c.CCW_FLAG_MIDA
FORMAT1, PREFETCH = c.ORB_CTRL0_MASK_FMT, c.ORB_CTRL0_MASK_PFCH
NOP, SENSE, TIC, SENSE_ID = 0x03, 0x04, 0x08, 0xE4
WRITE, READ, LOCATE, DEFINE_EXTENT, RDC = 0x41, 0x42, 0x43, 0x63, 0x64
PROGRAM_CHECK, INCORRECT_LENGTH = c.SCSW_CSTAT_PROG_CHECK, c.SCSW_CSTAT_INCORR_LEN
PROTECTION_CHECK, DATA_CHECK = c.SCSW_CSTAT_PROT_CHECK, c.SCSW_CSTAT_DATA_CHECK
START, HALT, CLEAR = c.SCSW_FCTL_START_FUNC, c.SCSW_FCTL_HALT_FUNC, c.SCSW_FCTL_CLEAR_FUNC
PENDING, PRIMARY, SECONDARY = (
    c.SCSW_STCTL_STATUS_PEND, c.SCSW_STCTL_PRIMARY, c.SCSW_STCTL_SECONDARY,
)  # fmt: skip
INTERMEDIATE, ALERT = c.SCSW_STCTL_INTERMEDIATE, c.SCSW_STCTL_ALERT
STCTL, ACTL, FCTL = c.SCSW_CTRL_MASK_STCTL, c.SCSW_CTRL_MASK_ACTL, c.SCSW_CTRL_MASK_FCTL
SUSPENDED = c.SCSW_ACTL_SUSP
ENDED = CE | DE

PROGRAM = 0x2000
PARAMETERS = 0x3000
LISTS = 0x4000
DATA = 0x10000
MEMORY = 1 << 20
BLOCK = 512
BLOCKS = 64

Ccw = tuple[int, int, int, int]
"""Command code, flags, count, data address."""


class Status(NamedTuple):
    """An IRB: the SCSW, and what belongs to it."""

    flags: int
    ctrl: int
    cpa: int
    dstat: int
    cstat: int
    count: int  # type: ignore[assignment]  # hides tuple.count
    lpum: int
    erw: int
    ecw: bytes

    @classmethod
    def of(cls, irb: bytes) -> Status:
        """From the 96 bytes of an IRB."""
        assert len(irb) == 96
        return cls(*struct.unpack_from(">HHIBBHxBxxI12x32s", irb))


class ManualExecutor:
    """An executor without time: what it was given runs, in order, when `settle` is called."""

    def __init__(self) -> None:
        self.jobs: deque[Callable[[], None]] = deque()
        self.delayed: list[ChannelProgram] = []
        self.waiting: list[tuple[ChannelProgram, Pause | trio.Event]] = []

    def launch(self, program: ChannelProgram, delay: float) -> None:
        """See `css.subchannel.Executor.launch`."""
        if delay:
            self.delayed.append(program)
        else:
            self.jobs.append(partial(self._go, program))

    def soon(self, function: Callable[[], None]) -> None:
        """See `css.subchannel.Executor.soon`."""
        self.jobs.append(function)

    def _go(self, program: ChannelProgram) -> None:
        if program.cancelled:
            return
        pause = program.run()
        if pause is not None and not program.cancelled:
            self.waiting.append((program, pause))

    def settle(self, turns: int = 50) -> None:
        """Run what can run; a program that only lets others have their turn gets *turns* more."""
        while True:
            while self.jobs:
                self.jobs.popleft()()
            waiting, self.waiting = self.waiting, []
            for program, pause in waiting:
                if program.cancelled:
                    continue
                if pause is Pause.TURN and turns:
                    turns -= 1
                elif pause is Pause.EVENT and program.woken:
                    program.woken = False
                elif not (isinstance(pause, trio.Event) and pause.is_set()):
                    self.waiting.append((program, pause))
                    continue
                self.jobs.append(partial(self._go, program))
            if not self.jobs:
                return

    def elapse(self) -> None:
        """All delays are over."""
        delayed, self.delayed = self.delayed, []
        self.jobs.extend(partial(self._go, program) for program in delayed)
        self.settle()


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


class Machine:
    """Storage, a device, a subchannel, and what a program can do with them."""

    def __init__(
        self, directory: Path, device: Device | None = None, behaviour: Behaviour | None = None
    ) -> None:
        """*device*: by default a disk of 64 blocks that is enabled."""
        self.image = directory / "disk.img"
        if not self.image.exists():
            self.image.write_bytes(
                b"".join(n.to_bytes(2, "big") * (BLOCK // 2) for n in range(BLOCKS))
            )
        self.device = device or Fba.open(DeviceSpec("fba", "0.0.0313", str(self.image)))
        self.storage = BuiltInStorage(str(directory), MEMORY)
        self.space = AddressSpace([self.storage.range()])
        self.executor = ManualExecutor()
        self.sch = Subchannel("0.0.0313", self.device, self.space, self.executor, behaviour)
        self.sch.enable()
        self.intparm = 0

    def close(self) -> None:
        self.sch.quiesce()
        self.device.close()
        for mapped in self.space.ranges:
            mapped.release()
        self.storage.close()

    @property
    def probe(self) -> Probe:
        """The device, which is one for tests."""
        assert isinstance(self.device, Probe)
        return self.device

    # --- storage ------------------------------------------------------------------------------

    def store(self, address: int, data: bytes) -> None:
        self.space.write(address, data)

    def load(self, address: int, length: int) -> bytes:
        return self.space.read(address, length)

    def picture(self) -> bytes:
        """All of storage."""
        return os.pread(self.storage.fd, MEMORY, 0)

    def program(self, *ccws: Ccw, at: int = PROGRAM, format1: bool = True) -> None:
        """Put a channel program into storage."""
        for number, ccw in enumerate(ccws):
            self.store(at + 8 * number, ccw_bytes(*ccw, format1=format1))

    def set_key(self, address: int, key: int) -> None:
        if self.space.keys is None:
            self.space.keys = StorageKeys()
        self.space.keys.set(address, key)

    # --- instructions -------------------------------------------------------------------------

    def orb(self, ctrl0: int = FORMAT1, cpa: int = PROGRAM, lpm: int = 0xFF, ctrl1: int = 0) -> Orb:
        self.intparm += 1
        return Orb(self.intparm, ctrl0, lpm, ctrl1, cpa)

    def start(self, *ccws: Ccw, ctrl0: int = FORMAT1, ctrl1: int = 0) -> None:
        """Store the program if one is given, start it, let it run as far as it can."""
        self.program(*ccws, format1=bool(ctrl0 & FORMAT1))
        assert self.sch.ssch(self.orb(ctrl0, ctrl1=ctrl1)) == 0
        self.executor.settle()

    def take(self) -> Status:
        """TSCH of a subchannel that is status pending."""
        cc, irb = self.sch.tsch()
        assert cc == 0, "no status is pending"
        return Status.of(irb)

    def run(self, *ccws: Ccw, ctrl0: int = FORMAT1, ctrl1: int = 0) -> Status:
        """A whole start function: the IRB that ends it, which is the only one."""
        self.start(*ccws, ctrl0=ctrl0, ctrl1=ctrl1)
        irb = self.take()
        assert not self.sch.scsw.status_pending
        return irb

    def locate(self, operation: int, block: int, count: int) -> tuple[Ccw, Ccw]:
        """The CCWs that prepare a disk for *count* blocks from *block*; parameters are stored."""
        extent = struct.pack(">B3xIII", 0xC0, 0, 0, BLOCKS - 1)
        self.store(PARAMETERS, extent + struct.pack(">BBHI", operation, 0, count, block))
        return (DEFINE_EXTENT, CC, 16, PARAMETERS), (LOCATE, CC, 8, PARAMETERS + 16)

    def reading(self, block: int, count: int, *ccws: Ccw) -> tuple[Ccw, ...]:
        """A program that reads *count* blocks by *ccws*."""
        return (*self.locate(0x06, block, count), *ccws)

    def writing(self, block: int, count: int, *ccws: Ccw) -> tuple[Ccw, ...]:
        """A program that writes *count* blocks by *ccws*."""
        return (*self.locate(0x01, block, count), *ccws)

    def blocks(self, block: int, count: int = 1) -> bytes:
        """What the image has there."""
        return self.image.read_bytes()[block * BLOCK : (block + count) * BLOCK]


def ccw_bytes(code: int, flags: int, count: int, cda: int, *, format1: bool = True) -> bytes:
    """The 8 bytes of a CCW."""
    if format1:
        return struct.pack(">BBHI", code, flags, count, cda)
    return struct.pack(">BBHBxH", code, cda >> 16, cda & 0xFFFF, flags, count)
