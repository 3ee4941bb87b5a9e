"""What cannot be mapped or unmapped: an error that says why, and nothing has changed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.client import Connection
from tests.vfio.iommu.conftest import DATA, PAGE, Disk, Storage

TOP = 1 << 64


@pytest.fixture
def connection(disk: Disk) -> Iterator[Connection]:
    """A connection that has nothing mapped, and still has not at the end."""
    made = disk.connect()
    assert disk.built_in_works()
    yield made
    assert disk.built_in_works()


@pytest.mark.parametrize(
    ("area", "why"),
    [
        ({"size": 0}, "at least one page"),
        ({"size": 100}, "not a multiple of 4096"),
        ({"iova": 512}, "not a multiple of 4096"),
        ({"offset": 512}, "not a multiple of 4096"),
        ({"iova": TOP - PAGE, "size": 2 * PAGE}, "64-bit"),
        ({"offset": TOP - PAGE}, "offset"),
        ({"size": 1 << 21}, "the map needs"),
        ({"offset": 1 << 20}, "the map needs"),
    ],
)
def test_an_area_that_is_wrong(
    connection: Connection, storage: Storage, area: dict[str, int], why: str
) -> None:
    assert why in connection.map_file(storage.fd, **({"size": PAGE} | area))


def test_a_size_that_is_no_size(connection: Connection, storage: Storage) -> None:
    for size in (-PAGE, 0.5, "4096", True, TOP):
        answer = connection.say({"map": {"iova": 0, "size": size, "offset": 0}}, storage.fd)
        assert "integer" in answer


def test_an_overlap(disk: Disk, storage: Storage) -> None:
    first, second = disk.connect(), disk.connect()
    assert not first.map_file(storage.fd, 0x8000, iova=0x8000)
    for iova, size in ((0x8000, 0x8000), (0x7000, 0x2000), (0xF000, PAGE), (0, 0x20000)):
        for connection in (first, second):
            assert "overlaps" in connection.map_file(storage.fd, size, iova=iova)
    assert not second.map_file(storage.fd, 0x8000, iova=0)
    storage.put_reading(3, data=0x8000 + DATA)
    assert disk.run().dstat == 0x0C
    assert storage.get(DATA) == disk.block(3)


def test_a_descriptor_that_is_no_storage(
    connection: Connection, storage: Storage, tmp_path: Path, disk: Disk
) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(PAGE))
    subchannel = disk.system.subchannel
    for path, flags, why in (
        (file, os.O_RDONLY, "both reading and writing"),
        (file, os.O_WRONLY, "both reading and writing"),
        (file, os.O_RDWR | os.O_APPEND, "O_APPEND"),
        (tmp_path, os.O_RDONLY, "both reading and writing"),
        (Path("/dev/null"), os.O_RDWR, "not an ordinary file"),
        (subchannel / "device", os.O_RDWR, "fuse"),
        (subchannel / "io_region", os.O_RDWR, "fuse"),
    ):
        fd = os.open(path, flags)
        try:
            assert why in connection.map_file(fd, PAGE)
        finally:
            os.close(fd)
    reader, writer = os.pipe()
    assert connection.map_file(reader, PAGE) != ""
    os.close(reader)
    os.close(writer)


def test_memory_that_the_client_does_not_have(connection: Connection) -> None:
    assert "no memory" in connection.map_own(1 << 46, PAGE)
    assert "no memory" in connection.map_own(0, PAGE)
    assert "not the address of a page" in connection.map_own(512, PAGE)
    assert "not the address of a page" in connection.map_own(TOP - PAGE, PAGE)


def test_a_message_cannot_name_the_process(connection: Connection) -> None:
    area = {"iova": 0, "size": PAGE, "vaddr": 0, "pid": os.getpid()}
    assert '"map" must have' in connection.say({"map": area})


def test_a_map_needs_its_descriptor_and_a_vaddr_none(
    connection: Connection, storage: Storage
) -> None:
    area = {"iova": 0, "size": PAGE}
    assert "descriptor" in connection.say({"map": area | {"offset": 0}})
    assert "descriptor" in connection.say({"map": area | {"vaddr": 0}}, storage.fd)
    assert "descriptor" in connection.say({"unmap": area}, storage.fd)


def test_an_unmap_that_fits_no_map(disk: Disk, storage: Storage) -> None:
    connection, other = disk.connect(), disk.connect()
    assert "is not mapped" in connection.unmap(0, PAGE)
    assert not connection.map_file(storage.fd, 0x10000)
    assert "only a part" in connection.unmap(0, 0x8000)
    assert "only a part" in connection.unmap(0x8000, 0x8000)
    assert "is not mapped" in connection.unmap(0x10000, PAGE)
    assert "another connection" in other.unmap(0, 0x10000)
    assert "multiple" in connection.unmap(0, 100)
    storage.put_reading(3)
    assert disk.run().dstat == 0x0C
    assert storage.get(DATA) == disk.block(3)


def test_a_subchannel_that_is_not_there(connection: Connection, storage: Storage) -> None:
    answer = connection.map_file(storage.fd, PAGE, subchannel="0.0.ffff")
    assert "no subchannel" in answer
