"""Machines for tests of the channel subsystem."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.css.machine import Machine, Probe


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Machine]:
    """A disk behind a subchannel."""
    machine = Machine(tmp_path)
    yield machine
    machine.close()


@pytest.fixture
def probe(tmp_path: Path) -> Iterator[Machine]:
    """A `Probe` behind a subchannel."""
    machine = Machine(tmp_path, Probe())
    yield machine
    machine.close()
