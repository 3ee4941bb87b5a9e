"""A file system that does not answer, beside a mount."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.mounts import IMPORTS, detach, is_mounted
from lab.waits import SOON, until

HERE = Path(__file__).resolve().parent


class Sleeper:
    """The file system of sleeper.py, mounted."""

    def __init__(self, path: Path) -> None:
        self.image = path / "image"
        """Its open waits until `wake`."""
        self.data = path / "data"
        """A file that answers."""
        self._gate = path / "gate"

    def wake(self) -> None:
        """Let all opens of the image go on."""
        self._gate.write_bytes(b"-")

    def until_waiting(self, count: int) -> None:
        until(lambda: self._numbers()[0] == count, f"{count} wait for the image")

    def until_open(self, count: int) -> None:
        until(lambda: self._numbers() == (0, count), f"the image is open {count} times")

    def _numbers(self) -> tuple[int, int]:
        waiting, opened = self._gate.read_bytes().split()
        return int(waiting), int(opened)


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[Sleeper]:
    path = tmp_path / "sleeper"
    path.mkdir()
    process = subprocess.Popen(
        [sys.executable, HERE / "sleeper.py", path],
        env={**os.environ, "PYTHONPATH": IMPORTS}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        made = Sleeper(path)
        yield made
        made.wake()
    finally:
        process.terminate()
        process.wait(SOON)
        if is_mounted(path):
            detach(path)
