"""One mount for the tests that leave it as it was, and a client of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.client import Client, events_of, write_file
from lab.mounts import OTHER, SCHID, Mount, MountedSystem, mounted


@pytest.fixture(scope="session")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MountedSystem]:
    """A mount that stands through all tests."""
    with mounted(tmp_path_factory.mktemp("standing")) as system:
        yield system


@pytest.fixture
def shared(standing: MountedSystem) -> Iterator[MountedSystem]:
    """The standing mount as new: no fault, no status, no count. The test must not end it."""
    assert not standing.ended(0), "an earlier test ended the mount"
    control = standing.subchannel / "control"
    assert write_file(control, "fault=none delay=0s csense=off order=big sense=10") == 0
    assert write_file(standing.subchannel / "reset", "1") == 0
    for name in ("io_irq", "crw_irq", "req_irq"):
        events_of(standing.subchannel / name)
    yield standing
    assert not standing.ended(0), "the daemon died"


@pytest.fixture
def client(shared: MountedSystem) -> Iterator[Client]:
    """A client of the shared mount."""
    with Client(shared.subchannel) as made:
        yield made


@pytest.fixture
def disk(system: Mount) -> Iterator[Client]:
    """A client of the first subchannel of the mount that the test's own `system` makes."""
    with Client(system.path / SCHID) as made:
        yield made


@pytest.fixture
def other(system: Mount) -> Iterator[Client]:
    """A client of its second subchannel."""
    with Client(system.path / OTHER) as made:
        yield made
