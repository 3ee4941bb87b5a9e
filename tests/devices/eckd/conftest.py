"""Machines with a 3390: a small volume on each of the control units."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.devices.eckd.drive import Drive, attach, make_volume

# The tests with the Hercules tools run where Debian's package hercules is installed.

Attach = Callable[..., Drive]


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """A fresh volume of 3 cylinders."""
    return make_volume(tmp_path / "vol.ckd")


@pytest.fixture
def attached(tmp_path: Path) -> Iterator[Attach]:
    """Attaches volumes; all are closed in the end."""
    machines: list[Drive] = []

    def one(path: Path, cu: str = "3990-6", readonly: bool = False) -> Drive:
        directory = tmp_path / f"storage-{len(machines)}"
        directory.mkdir()
        machines.append(attach(path, directory, cu=cu, readonly=readonly))
        return machines[-1]

    yield one
    for machine in machines:
        machine.close()


@pytest.fixture
def machine(volume: Path, attached: Attach) -> Drive:
    """The volume behind a 3990-6."""
    return attached(volume)


@pytest.fixture
def machine_2107(volume: Path, attached: Attach) -> Drive:
    """The volume behind a 2107."""
    return attached(volume, cu="2107")
