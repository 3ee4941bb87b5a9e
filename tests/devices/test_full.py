"""A file system that is full, and what a write that it cut short leaves."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.mounts import BLOCK, SCHID
from lab.programs import CC, ENDED, SENSE, SLI, UC, WRITE, WRITING, extent, locate, located
from tests.devices.eckd import drive as eckd
from tests.devices.eckd.drive import attach, make_volume
from tests.machine import DATA, PARAMETERS, Machine
from vfioccw_fuse.devices.eckd.volume import Severity, check
from vfioccw_fuse.devices.fba.device import Fba
from vfioccw_fuse.devices.options import DeviceSpec
from vfioccw_fuse.devices.tape.aws import AwsTape
from vfioccw_fuse.devices.tape.t3490 import Tape3490

PAGE = 4096
SIZE = 1 << 20


class SmallDisk:
    """A tmpfs of one MiB."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    def fill(self, pages: int) -> None:
        """Leave so many pages free."""
        free = os.statvfs(self.path)
        with self._filler.open("ab") as file:
            file.write(bytes(free.f_bavail * free.f_frsize - pages * PAGE))
        assert os.statvfs(self.path).f_bavail * free.f_frsize == pages * PAGE

    def empty(self) -> None:
        """There is room again."""
        self._filler.unlink()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[SmallDisk]:
    path = tmp_path / "small"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "small", path], check=True)
    yield SmallDisk(path)
    subprocess.run(["umount", path], check=True)


@pytest.fixture
def machine(small: SmallDisk, tmp_path: Path) -> Iterator[Callable[[Fba | Tape3490], Machine]]:
    made: list[Machine] = []

    def make(device: Fba | Tape3490) -> Machine:
        made.append(Machine(device, tmp_path))
        return made[-1]

    yield make
    for one in made:
        one.close()


def sense_of(machine: Machine) -> bytes:
    machine.run((SENSE, SLI, 32, DATA))
    return machine.load(DATA, 4)


def test_a_write_to_an_fba_disk_that_finds_no_room_is_an_equipment_check(
    small: SmallDisk, machine: Callable[[Fba], Machine]
) -> None:
    image = small.path / "disk.img"
    image.touch()
    os.truncate(image, 1000 * BLOCK)
    disk = machine(Fba.open(DeviceSpec("fba", SCHID, str(image))))
    small.fill(2)
    disk.store(PARAMETERS, extent(1000) + locate(WRITING, 64, 8))
    disk.store(DATA, b"\x77" * (64 * BLOCK))
    program = (*located(PARAMETERS), (WRITE, 0, 64 * BLOCK, DATA))
    assert disk.run(*program).dstat == ENDED | UC
    assert sense_of(disk)[0] == 0x10
    assert image.stat().st_size == 1000 * BLOCK
    small.empty()
    disk.store(DATA, b"\x77" * (64 * BLOCK))
    assert disk.run(*program).dstat == ENDED
    assert image.read_bytes()[8 * BLOCK : 72 * BLOCK] == b"\x77" * (64 * BLOCK)


def test_a_format_write_that_finds_no_room_is_an_equipment_check_and_check_finds_the_torn_track(
    small: SmallDisk, tmp_path: Path
) -> None:
    volume = make_volume(small.path / "vol.ckd")
    drive = attach(volume, tmp_path)
    assert not check(volume)
    small.fill(2)
    record = struct.pack(">HHBBH", 0, 2, 1, 0, 30000) + b"\x77" * 30000
    program = eckd.extent(0xC0), eckd.locate(0x03, 0, 2, 0), (0x1D, record)
    assert drive.run(*program).failed(0x10, 0x80)
    found = [problem for problem in check(volume) if problem.severity is Severity.ERROR]
    assert [(problem.cylinder, problem.head) for problem in found] == [(0, 2)]
    small.empty()
    assert drive.run(*program).ok
    assert not [problem for problem in check(volume) if problem.severity is Severity.ERROR]
    drive.close()


def test_a_tape_block_that_finds_no_room_is_an_equipment_check_and_leaves_whole_blocks(
    small: SmallDisk, machine: Callable[[Tape3490], Machine]
) -> None:
    image = small.path / "tape.aws"
    image.touch()
    tape = machine(Tape3490.open(DeviceSpec("3490", SCHID, str(image))))
    assert tape.run((0x01, 0, 100, DATA)).dstat == ENDED
    small.fill(2)
    assert tape.run((0x01, 0, 30000, DATA)).dstat == ENDED | UC
    assert sense_of(tape)[0::3] == b"\x10\x38"  # equipment check, end of tape
    small.empty()
    assert tape.run((0x01, CC, 300, DATA), (0x1F, SLI, 1, 0)).dstat == ENDED
    copy = small.path / "copy.aws"
    copy.write_bytes(image.read_bytes())
    whole = AwsTape.open(str(copy))
    survey = whole.survey()
    whole.close()
    assert (survey.blocks, survey.marks, survey.trouble) == ((2, 0), 1, None)
