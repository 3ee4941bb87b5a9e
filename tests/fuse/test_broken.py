"""An error that nobody foresaw ends one request or one program, never the mount."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.client import Client, errno_of
from lab.mounts import IMPORTS, SCHID, detach, is_mounted
from lab.programs import CLEAR, ENDED, NOP, SLI, UC
from lab.waits import SOON, until
from tests.fuse.broken import FAILS, FAILS_CLEAR, FAILS_LATER

HERE = Path(__file__).resolve().parent
EQUIPMENT_CHECK = 0x10


class Broken:
    """A mount with a broken device."""

    def __init__(self, path: Path, process: subprocess.Popen[str], log: Path) -> None:
        self.path = path / SCHID
        self.process = process
        self._log = log

    def log(self) -> str:
        return self._log.read_text()


@pytest.fixture
def broken(tmp_path: Path) -> Iterator[Broken]:
    path, log = tmp_path / "mnt", tmp_path / "log"
    path.mkdir()
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, HERE / "broken.py", "mount", path, "-f",
             "--device", f"broken@{SCHID}:-"],
            env={**os.environ, "PYTHONPATH": IMPORTS}, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr,
        )  # fmt: skip
    try:
        assert process.stdout is not None
        assert "mounted" in process.stdout.readline(), log.read_text()
        yield Broken(path, process, log)
        assert process.poll() is None, log.read_text()
        process.send_signal(signal.SIGTERM)
        assert process.wait(SOON) == 0
        assert not is_mounted(path)
    finally:
        process.kill()
        process.communicate()
        if is_mounted(path):
            detach(path)


@pytest.mark.parametrize("code", [FAILS, FAILS_LATER])
def test_a_command_that_fails_is_an_equipment_check(broken: Broken, code: int) -> None:
    with Client(broken.path) as client:
        irb = client.run((code, SLI, 1, 0))
        assert (irb.dstat, irb.cstat) == (ENDED | UC, 0)
        assert client.run((0x04, SLI, 1, 0x10000)).dstat == ENDED
        assert client.load(0x10000, 1)[0] == EQUIPMENT_CHECK
        assert client.run((NOP, SLI, 1, 0)).dstat == ENDED
    assert "in a command" in broken.log()


def test_a_clear_signal_that_fails_leaves_the_next_one(broken: Broken) -> None:
    with Client(broken.path) as client:
        assert client.run((FAILS_CLEAR, SLI, 1, 0)).dstat == ENDED
        assert client.request(CLEAR) == 0
        until(lambda: "at a clear" in broken.log(), "the clear failed")
        assert client.request(CLEAR) == 0
        assert client.take().ctrl & CLEAR
        assert client.run((NOP, SLI, 1, 0)).dstat == ENDED


def test_a_request_that_fails_is_eio(broken: Broken) -> None:
    state = broken.path / "state"
    for _ in range(3):
        assert errno_of(state.read_bytes) == errno.EIO
    assert "asked what it is" in broken.log()
    assert (broken.path / "control").read_bytes()


def test_what_a_device_does_by_itself_may_fail(broken: Broken) -> None:
    until(lambda: "by itself" in broken.log(), "its service failed")
    with Client(broken.path) as client:
        assert client.run((NOP, SLI, 1, 0)).dstat == ENDED
