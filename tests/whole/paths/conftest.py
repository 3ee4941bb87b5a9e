from collections.abc import Iterator

import pytest

from tests.cli.commands import mount
from tests.mounted import MountedSystem
from tests.vfio.regions.rig import Rig, rigged

__all__ = ["mount"]


@pytest.fixture
def rig(mnt: MountedSystem) -> Iterator[Rig]:
    """A client of both sides on a mount of its own."""
    with rigged(mnt) as made:
        yield made
