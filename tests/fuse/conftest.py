"""A file system that holds requests until it is told to let them go, beside a mount."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.mounts import make_image
from lab.slowfs import SlowFiles, slow_files


@pytest.fixture
def slow_image(tmp_path: Path) -> Path:
    """The file of an image of 64 blocks, which `slow` shows as `slow.img`."""
    (tmp_path / "files").mkdir()
    return make_image(tmp_path / "files" / "slow.img", 64)


@pytest.fixture
def slow(slow_image: Path, tmp_path: Path) -> Iterator[SlowFiles]:
    """The image on the file system that holds requests."""
    with slow_files(tmp_path / "slow", slow_image.parent) as files:
        yield files
