"""Devices for tests of the vfio-ccw driver."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.css.machine import Probe
from tests.vfio.driver import Driver


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    """A disk of interface full."""
    made = Driver(tmp_path)
    yield made
    made.close()


@pytest.fixture
def probe(tmp_path: Path) -> Iterator[Driver]:
    """A `Probe` of interface full."""
    made = Driver(tmp_path, device=Probe())
    yield made
    made.close()


@pytest.fixture(params=["start-only", "scsw", "async", "full"])
def each(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Driver]:
    """A disk of each interface."""
    made = Driver(tmp_path, request.param)
    yield made
    made.close()
