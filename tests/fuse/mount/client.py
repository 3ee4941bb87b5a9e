"""A client of a mount that has nothing but system calls: os.pread, os.pwrite, select.poll."""

from __future__ import annotations

import os
import select
import struct
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from lab.mounts import BLOCK, MountedSystem
from lab.waits import SOON

START, HALT, CLEAR = 0x4000, 0x2000, 0x1000
HSCH, CSCH = 1, 2
CC, SLI, CD = 0x40, 0x20, 0x80
NOP, SENSE, SENSE_ID, READ, WRITE = 0x03, 0x04, 0xE4, 0x42, 0x41
ENDED = 0x0C
PROGRAM, PARAMETERS, DATA = 0x1000, 0x2000, 0x10000
ID = bytes.fromhex("ff631001933600")

Ccw = tuple[int, int, int, int]


class Irb(NamedTuple):
    """What a client looks at in an IRB."""

    flags: int
    ctrl: int
    cpa: int
    dstat: int
    cstat: int
    count: int  # type: ignore[assignment]  # hides tuple.count

    @classmethod
    def of(cls, data: bytes) -> Irb:
        assert len(data) == 96
        return cls(*struct.unpack_from(">HHIBBH", data))


def errno_of(call: Callable[[], object]) -> int:
    """The errno with which *call* fails; 0 if it does not."""
    try:
        call()
    except OSError as error:
        return error.errno or -1
    return 0


class Client:
    """Open files of one subchannel."""

    def __init__(self, system: MountedSystem | None, subchannel: Path | None = None) -> None:
        if subchannel is None:
            assert system is not None
            subchannel = system.subchannel
        directory = subchannel
        self.directory = directory
        self.io = os.open(directory / "io_region", os.O_RDWR)
        self.cmd = os.open(directory / "cmd_region", os.O_RDWR)
        self.schib_fd = os.open(directory / "schib_region", os.O_RDWR)
        self.irq = os.open(directory / "io_irq", os.O_RDONLY)
        self.memory = os.open(directory / "memory", os.O_RDWR)
        self._poll = select.poll()
        self._poll.register(self.irq, select.POLLIN)

    def close(self) -> None:
        for fd in (self.io, self.cmd, self.schib_fd, self.irq, self.memory):
            # close(2) of a file whose mount is gone says so, and has closed it.
            errno_of(partial(os.close, fd))

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *what: object) -> None:
        self.close()

    # --- storage ------------------------------------------------------------------------------

    def store(self, address: int, data: bytes) -> None:
        assert os.pwrite(self.memory, data, address) == len(data)

    def load(self, address: int, length: int) -> bytes:
        return os.pread(self.memory, length, address)

    def program(self, *ccws: Ccw) -> None:
        self.store(PROGRAM, b"".join(struct.pack(">BBHI", *ccw) for ccw in ccws))

    # --- requests -----------------------------------------------------------------------------

    def request(self, fctl: int, ctrl0: int = 0x0080, cpa: int = PROGRAM) -> int:
        """A request in the io region: 0 or the errno."""
        data = struct.pack(">IHBBI", 0xABCD, ctrl0, 0xFF, 0, cpa) + struct.pack(">HH8x", 0, fctl)
        return errno_of(lambda: os.pwrite(self.io, data, 0))

    def start(self, *ccws: Ccw, ctrl0: int = 0x0080) -> int:
        self.program(*ccws)
        return self.request(START, ctrl0)

    def command(self, command: int) -> int:
        data = command.to_bytes(4, sys.byteorder)
        return errno_of(lambda: os.pwrite(self.cmd, data, 0))

    def wait(self, seconds: float = SOON) -> bool:
        """Whether io_irq became readable in time; its counter is taken."""
        if not self._poll.poll(seconds * 1000):
            return False
        assert int.from_bytes(os.read(self.irq, 8), sys.byteorder) > 0
        return True

    def irb(self) -> Irb:
        """Read the IRB, which takes the interruption."""
        return Irb.of(os.pread(self.io, 96, 24))

    def run(self, *ccws: Ccw) -> Irb:
        assert self.start(*ccws) == 0
        assert self.wait()
        return self.irb()

    def schib(self) -> bytes:
        return os.pread(self.schib_fd, 52, 0)

    def control(self, words: str) -> int:
        return write_file(self.directory / "control", words)

    # --- blocks -------------------------------------------------------------------------------

    def blocks_io(self, operation: int, code: int, block: int, count: int) -> Irb:
        """Define extent, locate, and *code* for *count* blocks: the IRB that ends it."""
        capacity = self._capacity()
        extent = struct.pack(">B3xIII", 0xC0, 0, 0, capacity - 1)
        self.store(PARAMETERS, extent + struct.pack(">BBHI", operation, 0, count, block))
        return self.run(
            (0x63, CC, 16, PARAMETERS), (0x43, CC, 8, PARAMETERS + 16),
            (code, 0, count * BLOCK, DATA),
        )  # fmt: skip

    def _capacity(self) -> int:
        assert self.run((0x64, 0, 32, PARAMETERS)).dstat == ENDED
        return int.from_bytes(self.load(PARAMETERS + 14, 4), "big")

    def read_blocks(self, block: int, count: int) -> bytes:
        irb = self.blocks_io(0x06, READ, block, count)
        assert (irb.dstat, irb.cstat, irb.count) == (ENDED, 0, 0)
        return self.load(DATA, count * BLOCK)

    def write_blocks(self, block: int, data: bytes) -> None:
        self.store(DATA, data)
        irb = self.blocks_io(0x01, WRITE, block, len(data) // BLOCK)
        assert (irb.dstat, irb.cstat, irb.count) == (ENDED, 0, 0)


def write_file(path: Path, text: str) -> int:
    """Write *text* into a file of the mount: 0 or the errno."""

    def write() -> None:
        fd = os.open(path, os.O_WRONLY)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)

    return errno_of(write)
