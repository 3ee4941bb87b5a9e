"""Storage that goes while a program runs on it: the subchannel is reset, as in Linux."""

from __future__ import annotations

import os
import select

from lab.waits import SOON, until
from tests.vfio.iommu.conftest import DATA, PAGE, PROGRAM, Disk, Storage


def assert_reset(disk: Disk, resets: int) -> None:
    until(lambda: int(disk.system.state()["resets"]) == resets + 1, "the subchannel was reset")
    state = disk.system.state()
    assert state["fsm"] == "IDLE"
    assert not select.select([disk.irq], [], [], 0.05)[0], "a reset has no interruption"


def test_an_unmap_under_a_program_resets(disk: Disk, storage: Storage) -> None:
    resets = int(disk.system.state()["resets"])
    connection = disk.connect()
    assert not connection.map_file(storage.fd, storage.size)
    storage.put_reading(3)
    disk.system.control("delay=30s")
    disk.start()
    assert not connection.unmap(0, storage.size)
    assert_reset(disk, resets)
    disk.system.control("delay=0")
    assert disk.built_in_works()
    assert storage.get(DATA) == bytes(512)


def test_the_end_of_the_connection_under_a_program_resets(disk: Disk, storage: Storage) -> None:
    resets = int(disk.system.state()["resets"])
    connection = disk.connect()
    assert not connection.map_file(storage.fd, storage.size)
    storage.put_reading(3)
    disk.system.control("fault=hang")
    disk.start()
    connection.close()
    assert_reset(disk, resets)
    disk.system.control("fault=none")
    assert disk.built_in_works()


def test_the_first_map_under_a_program_resets(disk: Disk, storage: Storage) -> None:
    assert disk.built_in_works()
    resets = int(disk.system.state()["resets"])
    disk.system.control("delay=30s")
    disk.start()
    assert not disk.connect().map_file(storage.fd, storage.size)
    assert_reset(disk, resets)


def test_an_unmap_beside_the_program_lets_it_run(disk: Disk, storage: Storage) -> None:
    resets = int(disk.system.state()["resets"])
    connection = disk.connect()
    assert not connection.map_file(storage.fd, 0x8000)
    assert not connection.map_file(storage.fd, 0x8000, iova=0x8000, offset=0x8000)
    storage.put_reading(3)
    disk.system.control("delay=300ms")
    disk.start()
    assert not connection.unmap(0x8000, 0x8000)
    assert disk.irb().dstat == 0x0C
    assert storage.get(DATA) == disk.block(3)
    assert int(disk.system.state()["resets"]) == resets


def test_an_unmap_of_the_data_alone_resets(disk: Disk, storage: Storage) -> None:
    resets = int(disk.system.state()["resets"])
    connection = disk.connect()
    assert not connection.map_file(storage.fd, 0x8000)
    assert not connection.map_file(storage.fd, PAGE, iova=0x8000, offset=0x8000)
    storage.put_reading(3, data=0x8000)
    disk.system.control("delay=30s")
    disk.start()
    assert not connection.unmap(0x8000, PAGE)
    assert_reset(disk, resets)


def test_a_program_that_was_not_prefetched_may_be_anywhere(disk: Disk, storage: Storage) -> None:
    resets = int(disk.system.state()["resets"])
    connection = disk.connect()
    assert not connection.map_file(storage.fd, 0x8000)
    assert not connection.map_file(storage.fd, 0x8000, iova=0x8000, offset=0x8000)
    storage.put_reading(3)
    disk.system.control("delay=30s")
    disk.start(PROGRAM, 0x0080)
    assert not connection.unmap(0x8000, 0x8000)
    assert_reset(disk, resets)


def test_status_that_waits_is_no_program(disk: Disk, storage: Storage) -> None:
    resets = int(disk.system.state()["resets"])
    connection = disk.connect()
    assert not connection.map_file(storage.fd, storage.size)
    storage.put_reading(3)
    disk.start()
    assert select.select([disk.irq], [], [], SOON)[0]
    assert not connection.unmap(0, storage.size)
    assert int(disk.system.state()["resets"]) == resets
    assert disk.irb().dstat == 0x0C
    assert os.path.exists(disk.system.storage)
