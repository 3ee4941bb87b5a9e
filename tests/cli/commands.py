"""The command as a user runs it, and a mount as a test wants it."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.mounted import PROJECT, SOON, MountedSystem
from tests.mounted import mount as real_mount

Done = subprocess.CompletedProcess[bytes]


def command(*args: object) -> list[str]:
    """The command line of ``vfioccw args``."""
    return [sys.executable, "-m", "vfioccw_fuse", *map(str, args)]


def vfioccw(*args: object, data: bytes | None = None, **more) -> Done:
    """Run ``vfioccw args``; output is bytes, stdin is ``data``, if any."""
    return subprocess.run(
        command(*args),
        input=data,
        stdin=subprocess.DEVNULL if data is None else None,
        capture_output=True,
        timeout=SOON,
        check=False,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        **more,
    )


def complaint(done: Done) -> str:
    """The one line on stderr of a command that failed."""
    lines = done.stderr.decode().splitlines()
    assert len(lines) == 1, done.stderr.decode()
    assert lines[0].startswith("vfioccw: ")
    return lines[0].removeprefix("vfioccw: ")


def run(system: MountedSystem, name: str, *args: object, **more) -> Done:
    """Run ``vfioccw name MNT/0.0.0313 args``."""
    return vfioccw(name, system.subchannel, *args, **more)


def control(system: MountedSystem, words: str) -> None:
    """Switch faults and timing of the disk."""
    (system.subchannel / "control").write_text(words)


Mount = Callable[..., MountedSystem]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """A function that mounts, each time below a directory of its own: `tests.mounted.mount`.

    The test may end the mount itself. Nothing may be left in any case.
    """
    systems: list[MountedSystem] = []

    def make(*options: str) -> MountedSystem:
        directory = tmp_path / f"system{len(systems)}"
        directory.mkdir()
        systems.append(real_mount(directory, *options))
        return systems[-1]

    try:
        yield make
        for system in systems:
            if not system.ended(0):
                done = system.unmount()
                assert done.returncode == 0, done.stderr
            system.assert_nothing_is_left()
    finally:
        for system in systems:
            system.give_up()
