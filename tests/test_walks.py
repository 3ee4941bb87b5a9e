"""The walks of vfioccw_fuse/README.md: what is really called, in the order that it says."""

from __future__ import annotations

import json
import os
import re
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType, SimpleNamespace
from typing import Any, Generic, TypeVar

import pyfuse3
import pytest
import trio

from lab import programs
from lab.mounts import BLOCK, PROJECT
from tests.css.machine import BLOCKS
from tests.machine import DATA, MEMORY, PROGRAM
from vfioccw_fuse.css.executor import TrioExecutor
from vfioccw_fuse.devices.catalog import attach
from vfioccw_fuse.fuse.blocked import BlockedRequests
from vfioccw_fuse.fuse.fs import FileSystem
from vfioccw_fuse.fuse.irqfd import IrqfdServer
from vfioccw_fuse.memory.backing import BuiltInStorage
from vfioccw_fuse.memory.space import AddressSpace
from vfioccw_fuse.regions import constants as c
from vfioccw_fuse.regions.table import Interface
from vfioccw_fuse.vfio.control import parse_device
from vfioccw_fuse.vfio.device import CcwDevice
from vfioccw_fuse.vfio.iommu import Iommu
from vfioccw_fuse.vfio.system import System

HOUSE = PROJECT / "vfioccw_fuse"
TEXT = (HOUSE / "README.md").read_text()
SCHID = "0.0.0313"
PARAMETERS = 0x3000
CONTEXT: Any = SimpleNamespace(pid=os.getpid(), uid=os.getuid())

T = TypeVar("T")
Step = tuple[str, str]
"""A file below the package, and a function in it."""


def walks() -> dict[str, list[Step]]:
    found: dict[str, list[Step]] = {}
    for part in TEXT.partition("## The walks")[2].split("\n### ")[1:]:
        title, _, body = part.partition("\n")
        found[title.partition(":")[0]] = re.findall(r"^\d+\. `([\w/]+\.py)` `([\w.]+)`", body, re.M)
    return found


WALKS = walks()


class Called:
    """The functions of the package that are called while it watches, in their order."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def __enter__(self) -> Called:
        sys.setprofile(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _note(self, frame: FrameType, event: str, _: object) -> None:
        code: CodeType = frame.f_code
        if event == "call" and code.co_filename.startswith(str(HOUSE)):
            name = code.co_filename.removeprefix(f"{HOUSE}/")
            self.steps.append((name, code.co_qualname))

    def assert_walks(self, title: str) -> None:
        """Every step of the walk was made, none before the one that stands above it."""
        rest = iter(self.steps)
        for step in WALKS[title]:
            assert step in rest, f"{title}: {' '.join(step)} is not where the walk says"


class Here:
    """Stands for threads: what runs in another one is not seen."""

    def start(self, call: Callable[[], T], give_back: Callable[[T], object]) -> Ended[T]:
        return Ended(call())


class Ended(Generic[T]):
    """A call that has ended."""

    def __init__(self, value: T) -> None:
        self.value = value

    async def wait(self) -> T:
        return self.value


class Visitor:
    """A system and its presentation, all but the kernel."""

    def __init__(self, system: System, fs: FileSystem, jobs: list[Callable[[], None]]) -> None:
        self.system = system
        self.fs = fs
        self.jobs = jobs
        self.space = system.devices[SCHID].sch.space

    async def open(self, name: str) -> pyfuse3.FileHandleT:
        directory = await self.fs.lookup(pyfuse3.ROOT_INODE, SCHID.encode(), CONTEXT)
        entry = await self.fs.lookup(directory.st_ino, name.encode(), CONTEXT)
        return (await self.fs.open(entry.st_ino, os.O_RDWR, CONTEXT)).fh

    def run_jobs(self) -> None:
        while self.jobs:
            self.jobs.pop(0)()


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[BuiltInStorage]:
    made = BuiltInStorage(str(tmp_path), MEMORY)
    yield made
    made.close()


async def no_medium(device: CcwDevice, path: str) -> None:
    """Nobody loads one."""


@pytest.fixture
async def visitor(
    tmp_path: Path, storage: BuiltInStorage, nursery: trio.Nursery
) -> AsyncIterator[Visitor]:
    image = tmp_path / "disk.img"
    image.write_bytes(os.urandom(BLOCKS * BLOCK))
    jobs: list[Callable[[], None]] = []
    executor = TrioExecutor(nursery, jobs.append)
    system = System(executor, lambda: AddressSpace([storage.range()]), Interface.FULL)
    spec = parse_device(f"fba@{SCHID}:{image}")
    system.add(spec, attach(spec))
    fs = FileSystem(system.devices, BlockedRequests(str(tmp_path)), "", "", no_medium)
    yield Visitor(system, fs, jobs)
    system.close()


def start_of(program: int) -> bytes:
    """The request that starts the program at *program*, with prefetch."""
    ctrl0 = c.ORB_CTRL0_MASK_FMT | c.ORB_CTRL0_MASK_PFCH
    return programs.request(programs.START, programs.orb(program, ctrl0))


def reading(space: AddressSpace) -> bytes:
    """Lay out a program that reads block 1; gives the request that starts it."""
    space.write(PARAMETERS, programs.extent(BLOCKS) + programs.locate(programs.READING, 1, 1))
    read = (programs.READ, 0, BLOCK, DATA)
    space.write(PROGRAM, programs.ccws(*programs.located(PARAMETERS), read))
    return start_of(PROGRAM)


@pytest.mark.pure
async def test_a_start_goes_to_the_device_and_back_as_the_walks_say(visitor: Visitor) -> None:
    request = reading(visitor.space)
    io_region = await visitor.open("io_region")
    with Called() as write:
        assert await visitor.fs.write(io_region, 0, request) == len(request)
    with Called() as program:
        visitor.run_jobs()
    with Called() as read:
        region = await visitor.fs.read(io_region, 0, c.IO_REGION_SIZE)
    assert region[c.IRB_AREA_OFFSET + 8] == 0x0C
    write.assert_walks("A pwrite")
    program.assert_walks("A program to the device and back")
    both = Called()
    both.steps = program.steps + read.steps
    both.assert_walks("An interruption")


@pytest.mark.pure
async def test_an_option_goes_as_the_walk_says(
    storage: BuiltInStorage, nursery: trio.Nursery
) -> None:
    with Called() as called:
        system = System(
            TrioExecutor(nursery), lambda: AddressSpace([storage.range()]), Interface.FULL
        )
        spec = parse_device(f"3215@{SCHID}:-,delay=3s")
        device = system.add(spec, attach(spec))
        device.regions[0].write(0, start_of(PROGRAM))
    assert device.sch.behaviour.delay == 3
    system.close()
    called.assert_walks("An option")


@pytest.mark.pure
async def test_a_map_goes_as_the_walk_says(visitor: Visitor, nursery: trio.Nursery) -> None:
    devices = visitor.system.devices
    iommu = Iommu(devices.__getitem__, Here())
    server = IrqfdServer(lambda schid: devices[schid].irqs, iommu)
    server.open()
    memory = os.memfd_create("guest")
    os.truncate(memory, 1 << 20)
    try:
        nursery.start_soon(server.serve)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
            client.connect(os.fspath(server.path))
            area = {"iova": 0, "size": 1 << 20, "offset": 0}
            message = json.dumps({"subchannel": SCHID, "map": area}).encode()
            with Called() as mapping:
                socket.send_fds(client, [message], [memory])
                client.setblocking(False)
                answer = b""
                while not answer:
                    await trio.sleep(0)
                    try:
                        answer = client.recv(4096)
                    except BlockingIOError:
                        continue
        assert json.loads(answer) == {"ok": True}
        mapping.assert_walks("A map")
    finally:
        os.close(memory)
        server.close()


def test_every_walk_is_walked() -> None:
    walked = set(re.findall(r'assert_walks\("([^"]+)"\)', Path(__file__).read_text()))
    assert walked == set(WALKS)
    assert all(WALKS.values())


@pytest.mark.parametrize("step", [s for steps in WALKS.values() for s in steps], ids=" ".join)
def test_a_step_is_in_the_file_where_one_would_look(step: Step) -> None:
    name, function = step
    last = function.rpartition(".")[2]
    assert re.search(rf"^\s*(async )?def {last}\(", (HOUSE / name).read_text(), re.M)


def test_the_table_of_floors_names_every_room() -> None:
    rooms = {p.name for p in HOUSE.iterdir() if p.is_dir() and (p / "__init__.py").exists()}
    for room in rooms:
        assert f"`{room}/`" in TEXT
