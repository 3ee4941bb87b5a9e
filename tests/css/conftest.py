"""Machines for tests of the channel subsystem."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.css.machine import DiskMachine, ProbeMachine


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[DiskMachine]:
    """A disk behind a subchannel."""
    machine = DiskMachine(tmp_path)
    yield machine
    machine.close()


@pytest.fixture
def probe(tmp_path: Path) -> Iterator[ProbeMachine]:
    """A `Probe` behind a subchannel."""
    machine = ProbeMachine(tmp_path)
    yield machine
    machine.close()
