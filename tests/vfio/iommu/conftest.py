"""A client that gives a subchannel its storage, and reads blocks through it."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import select
import socket
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from lab.mounts import BLOCK, SCHID, MountedSystem, mounted
from lab.waits import SOON

PAGE = 4096
PROGRAM, PARAMETERS, DATA = 0x1000, 0x1100, 0x2000
"""Where a program lies in the storage, unless a test says otherwise."""
FETCHED = 0x00C0
"""ORB controls: format 1, prefetch, 31-bit addresses."""
FETCHED_IDAW64 = 0x00C2


class Irb(NamedTuple):
    """What matters of an IRB."""

    ctrl: int
    dstat: int
    cstat: int
    residual: int


def ccw(command: int, flags: int, count: int, address: int) -> bytes:
    """A format-1 CCW."""
    return struct.pack(">BBHI", command, flags, count, address)


def reading(
    block: int,
    data: int = DATA,
    parameters: int = PARAMETERS,
    flags: int = 0,
    command: int = 0x42,
    operation: int = 6,
) -> tuple[bytes, bytes]:
    """The program that moves a block to *data*, and its parameters."""
    program = ccw(0x63, 0x40, 16, parameters) + ccw(0x43, 0x40, 8, parameters + 16)
    extent = struct.pack(">B3xIII", 0x40 if operation == 6 else 0x00, block, 0, 0)
    return (
        program + ccw(command, flags, BLOCK, data),
        extent + struct.pack(">BBHI", operation, 0, 1, 0),
    )


class Connection:
    """A connection to `irqfd`."""

    def __init__(self, system: MountedSystem) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(SOON)
        self.socket.connect(str(system.path / "irqfd"))

    def say(self, message: dict[str, Any], fds: tuple[int, ...] = ()) -> str:
        """Send a message; "" or what the answer complains of."""
        socket.send_fds(self.socket, [json.dumps({"subchannel": SCHID} | message).encode()], fds)
        answer = json.loads(self.socket.recv(4096))
        return "" if answer == {"ok": True} else answer["error"]

    def map_file(self, fd: int, size: int, iova: int = 0, offset: int = 0, **more: Any) -> str:
        return self.say({"map": {"iova": iova, "size": size, "offset": offset}, **more}, (fd,))

    def map_own(self, vaddr: int, size: int, iova: int = 0) -> str:
        return self.say({"map": {"iova": iova, "size": size, "vaddr": vaddr}})

    def unmap(self, iova: int, size: int) -> str:
        return self.say({"unmap": {"iova": iova, "size": size}})

    def close(self) -> None:
        self.socket.close()


class Disk:
    """The subchannel of a mounted system as a client drives it."""

    def __init__(self, system: MountedSystem) -> None:
        self.system = system
        self.io = os.open(system.subchannel / "io_region", os.O_RDWR)
        self.irq = os.open(system.subchannel / "io_irq", os.O_RDWR | os.O_NONBLOCK)
        self.connections: list[Connection] = []

    def connect(self) -> Connection:
        self.connections.append(Connection(self.system))
        return self.connections[-1]

    def close(self) -> None:
        for connection in self.connections:
            connection.close()
        os.close(self.io)
        os.close(self.irq)
        self.system.until_nobody_is_connected()

    def start(self, address: int = PROGRAM, controls: int = FETCHED) -> None:
        """Start the program at *address*; OSError as the mount answers."""
        orb = struct.pack(">IHBBI", 1, controls, 0xFF, 0, address)
        os.pwrite(self.io, (orb + struct.pack(">HH", 0, 0x4000)).ljust(124, b"\0"), 0)

    def irb(self) -> Irb:
        """Wait for the interruption and take it."""
        assert select.select([self.irq], [], [], SOON)[0], "no interruption"
        os.read(self.irq, 8)
        region = os.pread(self.io, 124, 0)
        _, ctrl, _, dstat, cstat, count = struct.unpack_from(">HHIBBH", region, 24)
        return Irb(ctrl, dstat, cstat, count)

    def run(self, address: int = PROGRAM, controls: int = FETCHED) -> Irb:
        self.start(address, controls)
        return self.irb()

    def block(self, number: int) -> bytes:
        """What the image has."""
        return self.system.image.read_bytes()[number * BLOCK :][:BLOCK]

    def built_in_works(self) -> bool:
        """A program in the built-in storage reads a block."""
        program, parameters = reading(7)
        with self.system.storage.open("r+b") as storage:
            storage.seek(PROGRAM)
            storage.write(program)
            storage.seek(PARAMETERS)
            storage.write(parameters)
            storage.seek(DATA)
            storage.write(bytes(BLOCK))
        try:
            self.start()
        except OSError:
            return False
        ended = self.irb()
        with self.system.storage.open("rb") as storage:
            storage.seek(DATA)
            return ended.dstat == 0x0C and storage.read(BLOCK) == self.block(7)

    def rest(self) -> None:
        """End what still runs and take what waits; whoever comes next finds nothing of it."""
        (self.system.subchannel / "reset").write_text("1")
        with contextlib.suppress(BlockingIOError):
            os.read(self.irq, 8)

    def control(self, text: str) -> None:
        (self.system.subchannel / "control").write_text(text)

    def state(self) -> dict[str, str]:
        lines = (self.system.subchannel / "state").read_text().splitlines()
        return dict(line.split(": ", 1) for line in lines if ": " in line)


class Storage:
    """A sparse file in memory that the test and the mount share."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.fd = os.memfd_create("storage")
        os.truncate(self.fd, size)
        self.bytes = mmap.mmap(self.fd, size)

    def put(self, address: int, data: bytes) -> None:
        self.bytes[address : address + len(data)] = data

    def get(self, address: int, length: int = BLOCK) -> bytes:
        return self.bytes[address : address + length]

    def put_reading(self, block: int, at: int = 0, base: int = 0, **more: int) -> None:
        """Put the program into the file at *at*; the file is mapped at *base*."""
        program, parameters = reading(
            block, more.pop("data", base + DATA), base + PARAMETERS, **more
        )
        self.put(at + PROGRAM, program)
        self.put(at + PARAMETERS, parameters)

    def close(self) -> None:
        self.bytes.close()
        os.close(self.fd)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MountedSystem]:
    with mounted(tmp_path_factory.mktemp("iommu")) as system:
        yield system


@pytest.fixture
def disk(system: MountedSystem) -> Iterator[Disk]:
    with contextlib.closing(Disk(system)) as found:
        yield found
        found.control("delay=0 fault=none")
        found.rest()


@pytest.fixture
def storage() -> Iterator[Storage]:
    with contextlib.closing(Storage(1 << 20)) as made:
        yield made
