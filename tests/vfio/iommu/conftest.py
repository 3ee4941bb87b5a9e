"""A client that gives a subchannel its storage, and reads blocks through it."""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Iterator, Mapping
from typing import ClassVar

import pytest

from lab import programs
from lab.client import Client, Connection
from lab.mounts import BLOCK, MountedSystem, mounted
from lab.programs import ENDED, FORMAT1, IDAW64, IO_REGION, PREFETCH, READ, READING, START, Irb

PAGE = 4096
PROGRAM, PARAMETERS, DATA = 0x1000, 0x1100, 0x2000
"""Where a program lies in the storage, unless a test says otherwise."""
FETCHED = FORMAT1 | PREFETCH
FETCHED_IDAW64 = FETCHED | IDAW64


def reading(
    block: int,
    data: int = DATA,
    parameters: int = PARAMETERS,
    flags: int = 0,
    command: int = READ,
    operation: int = READING,
) -> tuple[bytes, bytes]:
    """The program that moves a block to *data*, and its parameters."""
    program = programs.ccws(*programs.located(parameters), (command, flags, BLOCK, data))
    extent = programs.extent(1, block, mask=0x40 if operation == READING else 0x00)
    return program, extent + programs.locate(operation, 1)


class IoClient(Client):
    """Has the io region and its interrupt alone: storage is not the mount's."""

    FILES: ClassVar[Mapping[str, int]] = {
        "io_region": os.O_RDWR,
        "io_irq": os.O_RDWR | os.O_NONBLOCK,
    }


class Disk:
    """The subchannel of a mounted system as a client drives it."""

    def __init__(self, system: MountedSystem) -> None:
        self.system = system
        self.client = IoClient(system.subchannel)
        self.irq = self.client.fds["io_irq"]
        self.connections: list[Connection] = []

    def connect(self) -> Connection:
        self.connections.append(Connection(self.system.path))
        return self.connections[-1]

    def close(self) -> None:
        for connection in self.connections:
            connection.close()
        self.client.close()
        self.system.until_nobody_is_connected()

    def start(self, address: int = PROGRAM, controls: int = FETCHED) -> None:
        """Start the program at *address*; OSError as the mount answers."""
        request = programs.request(START, programs.orb(address, controls), IO_REGION)
        os.pwrite(self.client.fds["io_region"], request, 0)

    def irb(self) -> Irb:
        """Wait for the interruption and take it."""
        return self.client.take()

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
            return ended.dstat == ENDED and storage.read(BLOCK) == self.block(7)

    def rest(self) -> None:
        """End what still runs and take what waits; whoever comes next finds nothing of it."""
        self.system.reset()
        with contextlib.suppress(BlockingIOError):
            os.read(self.irq, 8)


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
        found.system.control("delay=0 fault=none")
        found.rest()


@pytest.fixture
def storage() -> Iterator[Storage]:
    with contextlib.closing(Storage(1 << 20)) as made:
        yield made
