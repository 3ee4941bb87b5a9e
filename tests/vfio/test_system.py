"""The devices of a system: whole and at work without a mount."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from lab import programs
from lab.mounts import BLOCK
from lab.programs import START, ccw
from tests.css.machine import BLOCKS, Probe
from tests.machine import MEMORY, PROGRAM
from vfioccw_fuse.css.executor import TrioExecutor
from vfioccw_fuse.css.paths import PathState
from vfioccw_fuse.devices.catalog import attach
from vfioccw_fuse.devices.options import DeviceSpec
from vfioccw_fuse.errors import UserError
from vfioccw_fuse.memory.backing import BuiltInStorage
from vfioccw_fuse.memory.space import AddressSpace
from vfioccw_fuse.regions import constants as c
from vfioccw_fuse.regions.table import Interface
from vfioccw_fuse.vfio.control import parse_device
from vfioccw_fuse.vfio.device import CcwDevice
from vfioccw_fuse.vfio.fsm import State
from vfioccw_fuse.vfio.system import System

SCHID = "0.0.0313"
SENSE_ID = 0xE4
DATA = 0x8000


class Waiter(Probe):
    """A device that does something by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.serving = 0
        self.closed = False

    async def service(self) -> None:
        self.serving += 1
        try:
            await trio.sleep_forever()
        finally:
            self.serving -= 1

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[BuiltInStorage]:
    made = BuiltInStorage(str(tmp_path), MEMORY)
    yield made
    made.close()


@pytest.fixture
async def system(storage: BuiltInStorage, nursery: trio.Nursery) -> AsyncIterator[System]:
    made = System(TrioExecutor(nursery), lambda: AddressSpace([storage.range()]), Interface.FULL)
    yield made
    made.close()


def disk(tmp_path: Path) -> DeviceSpec:
    image = tmp_path / "disk.img"
    image.write_bytes(bytes(BLOCKS * BLOCK))
    return parse_device(f"fba@{SCHID}:{image}")


def probe(schid: str = SCHID) -> DeviceSpec:
    return DeviceSpec("probe", schid, "-")


def request(device: CcwDevice) -> None:
    """START of the program at PROGRAM by the io region."""
    device.regions[0].write(0, programs.request(START, programs.orb(PROGRAM)))


async def test_a_device_is_whole_when_it_was_added(system: System, tmp_path: Path) -> None:
    spec = disk(tmp_path)
    device = system.add(spec, attach(spec))
    device.sch.space.write(PROGRAM, ccw(SENSE_ID, 0, 7, DATA))
    request(device)
    while not device.irqs[c.VFIO_CCW_IO_IRQ_INDEX].take():
        await trio.lowlevel.checkpoint()
    irb = device.regions[0].read(c.IRB_AREA_OFFSET, c.IRB_SIZE)
    assert irb[8] == c.SCSW_DSTAT_CHANNEL_END | c.SCSW_DSTAT_DEVICE_END
    assert device.sch.space.read(DATA, 1) == b"\xff"


async def test_every_region_of_the_table_is_there(system: System) -> None:
    device = system.add(probe(), Probe())
    for row, region in zip(device.rows, device.regions, strict=True):
        assert len(region.read(0, row.size)) == row.size


async def test_what_a_device_does_by_itself_ends_with_it(system: System) -> None:
    model = Waiter()
    system.add(probe(), model)
    await trio.testing.wait_all_tasks_blocked()
    assert model.serving == 1
    assert not model.closed
    system.remove(SCHID)
    await trio.testing.wait_all_tasks_blocked()
    assert model.serving == 0
    assert model.closed


async def test_a_removed_device_refuses_and_reports_and_is_forgotten(system: System) -> None:
    device = system.add(probe(), Probe())
    assert system.remove(SCHID) is device
    assert device.driver.state is State.NOT_OPER
    with pytest.raises(OSError, match="refused") as refused:
        request(device)
    assert refused.value.errno == errno.EIO
    assert [flags & c.CRW_FLAGS_MASK_RSC for flags, _ in device.driver.reports.queue] == [
        c.CRW_RSC_SUBCH << c.CRW_RSC_SHIFT
    ] * 2
    assert not system.devices
    assert all(not behind for _, _, behind in system.paths.known())
    with pytest.raises(UserError, match="no such subchannel"):
        system.remove(SCHID)


async def test_what_is_plugged_in_reports_and_what_is_added_does_not(system: System) -> None:
    assert not system.add(probe(), Probe()).driver.reports.queue
    assert len(system.plug(probe("0.0.0314"), Probe()).driver.reports.queue) == 2


async def test_a_subchannel_id_is_there_once(system: System) -> None:
    device = system.add(probe(), Probe())
    with pytest.raises(UserError, match="there already"):
        system.add(probe(), Probe())
    assert system.devices == {SCHID: device}


async def test_a_path_that_goes_is_known_by_who_comes_later(system: System) -> None:
    system.add(probe(), Probe())
    system.paths.change(0x40, PathState.OFFLINE)
    later = system.add(probe("0.0.0314"), Probe())
    assert later.sch.pmcw.pam == 0x40
    assert [behind for _, _, behind in system.paths.known()] == [[SCHID, "0.0.0314"]] * 2


def is_open(path: str) -> bool:
    """Whether this process has the file open. The number of all its files says nothing: what other
    tests left is closed when the garbage collector comes by."""
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the listing's own
            if os.readlink(f"/proc/self/fd/{fd}") == path:
                return True
    return False


async def test_the_end_of_the_system_closes_all_media(system: System, tmp_path: Path) -> None:
    spec = disk(tmp_path)
    system.add(spec, attach(spec))
    assert is_open(spec.path)
    system.close()
    assert not system.devices
    assert not is_open(spec.path)


@pytest.mark.parametrize("end", ["remove", "close"])
async def test_what_the_program_region_holds_ends_with_its_device(system: System, end: str) -> None:
    device = system.add(probe(), Probe())
    [region] = [
        region
        for row, region in zip(device.rows, device.regions, strict=True)
        if row.name == "program_region"
    ]
    assert len(region.read(0, 1008)) == 1008
    if end == "remove":
        system.remove(SCHID)
    else:
        system.close()
    with pytest.raises(OSError, match="removed") as gone:
        region.read(0, 1008)
    assert gone.value.errno == errno.EIO
