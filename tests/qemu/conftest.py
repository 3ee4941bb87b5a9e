"""A mount and guests on it: the real QEMU, Debian's real kernel."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.mounts import Mount, is_mounted, mount_at, vfioccw
from vfioccw_fuse.devices.eckd.volume import create
from vfioccw_fuse.guest.machine import QEMU, Guest, Options, booted

MIB = 1 << 20


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first guest of all has to be fetched before it boots."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.timeout(600))


@functools.cache
def has_iommufd() -> bool:
    """Whether the QEMU here can open devices by iommufd, as those of Debian 13 and newer can."""
    try:
        done = subprocess.run([QEMU, "-object", "help"], capture_output=True, check=False)
    except OSError:
        return False
    return b"iommufd" in done.stdout


@pytest.fixture(scope="module", params=["group", *(["iommufd"] if has_iommufd() else [])])
def way(request: pytest.FixtureRequest) -> str:
    """How QEMU comes to its devices: each of the ways that the QEMU here has."""
    return str(request.param)


by_each_way = pytest.mark.usefixtures("way")
"""For a test of a guest that is to pass however QEMU comes to its devices."""


def make_fba(path: Path, size: int = 4 * MIB, *, empty: bool = False) -> Path:
    """An FBA image, each the same of its size; *empty* ones are sparse."""
    if empty:
        path.touch()
        with path.open("r+b") as file:
            file.truncate(size)
    else:
        # Nothing that a kernel takes for a label or a partition table.
        path.write_bytes(bytes(4096) + random.Random(size).randbytes(size - 4096))
    return path


def make_eckd(path: Path, cylinders: int = 5, layout: str = "ldl") -> Path:
    """An ECKD image, formatted."""
    create(path, cylinders, volser="VFC001", format=layout)  # type: ignore[arg-type]
    return path


def digest(path: Path) -> str:
    """The MD5 sum of a file, as md5sum shows it."""
    return hashlib.md5(path.read_bytes()).hexdigest()


def sees(guest: Guest, bus: str) -> bool:
    """Whether a guest has a device at this bus id."""
    return guest.run(f"[ -e /sys/bus/ccw/devices/{bus} ]")[0] == 0


class Lab:
    """A mount, its images and its guests, which come to the devices by *way*."""

    def __init__(self, directory: Path, way: str) -> None:
        self.directory = directory
        self.way = way
        self.path = directory / "mnt"
        self.system: Mount | None = None

    def mount(self, *devices: str, options: tuple[str, ...] = ()) -> None:
        words = [word for device in devices for word in ("--device", device)]
        self.system = mount_at(self.path, *words, *options)

    def unmount(self) -> None:
        done = vfioccw("umount", self.path)
        assert done.returncode == 0, done.stderr
        self.mounted.assert_nothing_is_left()

    @property
    def mounted(self) -> Mount:
        assert self.system is not None, "nothing was mounted yet"
        return self.system

    def file(self, schid: str, name: str) -> Path:
        return self.mounted.file(name, schid)

    def control(self, schid: str, words: str) -> None:
        self.mounted.control(words, schid)

    def state(self, schid: str) -> dict[str, str]:
        return self.mounted.state(schid)

    def device(self, schid: str, number: str, more: str = "") -> str:
        """`--device` for QEMU: the guest sees 0.0.*number*."""
        return f"{self.path / schid},devno=fe.0.{number}{more}"

    @contextlib.contextmanager
    def guest(self, *devices: str, **options: object) -> Iterator[Guest]:
        iommufd = self.way == "iommufd"
        wanted = Options(devices=devices, iommufd=iommufd, **options)  # type: ignore[arg-type]
        with booted(wanted) as guest:
            yield guest


class Traced:
    """The trace of a subchannel, from now on."""

    def __init__(self, lab: Lab, schid: str) -> None:
        self.fd = os.open(lab.file(schid, "trace"), os.O_RDONLY | os.O_NONBLOCK)

    def __enter__(self) -> Traced:
        return self

    def __exit__(self, *raised: object) -> None:
        os.close(self.fd)

    def lines(self) -> list[str]:
        return os.read(self.fd, 1 << 20).decode().splitlines()


@contextlib.contextmanager
def laboratory(directory: Path, way: str = "group") -> Iterator[Lab]:
    """A lab; what it mounted is unmounted at the end, which must work if the test did."""
    lab = Lab(directory, way)
    try:
        yield lab
        if lab.system is not None and is_mounted(lab.path):
            lab.unmount()
    finally:
        if lab.system is not None:
            lab.system.give_up()


@pytest.fixture
def lab(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lab]:
    way = request.getfixturevalue("way") if "way" in request.fixturenames else "group"
    with laboratory(tmp_path, way) as made:
        yield made
