"""Adding a device whose medium does not answer: nobody else waits, and nothing is left of it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.client import DATA, Client, Connection
from lab.mounts import IMPORTS, MountedSystem, command, is_mounted, make_image, vfioccw
from lab.programs import ENDED, SENSE_ID
from lab.slowfs import SlowFiles
from lab.waits import SOON, until

NEW = "0.0.0400"
Adding = Callable[[], subprocess.Popen[str]]


@pytest.fixture
def adding(mnt: MountedSystem, slow: SlowFiles) -> Iterator[Adding]:
    """Starts `vfioccw add` of the image that does not answer."""
    slow.hold("open")
    started: list[subprocess.Popen[str]] = []

    def add() -> subprocess.Popen[str]:
        process = subprocess.Popen(
            command("add", mnt.path, f"fba@{NEW}:{slow.path}/slow.img"),
            env={**os.environ, "PYTHONPATH": IMPORTS}, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        started.append(process)
        slow.until_held("open", len(started))
        return process

    yield add
    slow.release("open")
    for process in started:
        process.kill()
        process.communicate()


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, said = process.communicate(timeout=SOON)
    return process.returncode, said


def test_everybody_else_goes_on(
    mnt: MountedSystem, slow: SlowFiles, adding: Adding, tmp_path: Path
) -> None:
    process = adding()
    with Client(mnt.subchannel) as client:
        assert client.run((SENSE_ID, 0, 7, DATA)).dstat == ENDED
    image = make_image(tmp_path / "other.img")
    assert vfioccw("add", mnt.path, f"fba@0.0.0401:{image}").returncode == 0
    assert (mnt.path / "0.0.0401").is_dir()
    again = vfioccw("add", mnt.path, f"fba@{NEW}:{image}")
    assert again.returncode == 1
    assert again.stderr == f"vfioccw: {NEW}: this subchannel is being added already\n"
    slow.release("open")
    assert end(process) == (0, "")
    with Client(mnt.path / NEW) as client:
        assert client.run((SENSE_ID, 0, 7, DATA)).dstat == ENDED
    assert vfioccw("remove", mnt.path / NEW).returncode == 0
    slow.until_open(0)


def test_a_client_that_goes_away_gives_it_up(
    mnt: MountedSystem, slow: SlowFiles, adding: Adding, tmp_path: Path
) -> None:
    adding().kill()
    image = make_image(tmp_path / "other.img")
    # The id is free before the image has answered.
    until(
        lambda: vfioccw("add", mnt.path, f"fba@{NEW}:{image}").returncode == 0, "the add is over"
    )
    slow.release("open")
    slow.until_open(0)
    state = (mnt.path / NEW / "state").read_text()
    assert str(image) in state


def test_a_remove_gives_it_up(mnt: MountedSystem, slow: SlowFiles, adding: Adding) -> None:
    process = adding()
    connection = Connection(mnt.path)
    assert connection.send({"do": "remove", "subchannel": NEW}) == {"ok": True}
    assert end(process) == (1, f"vfioccw: {NEW}: removed before it was there\n")
    connection.close()
    assert not (mnt.path / NEW).exists()
    slow.release("open")
    slow.until_open(0)


def test_the_end_of_the_mount_does_not_wait_for_it(
    mount: Callable[..., MountedSystem], slow: SlowFiles
) -> None:
    system = mount()
    slow.hold("open")
    connection = Connection(system.path)
    connection.socket.send(
        json.dumps({"do": "add", "device": f"fba@{NEW}:{slow.path}/slow.img"}).encode()
    )
    slow.until_held("open")
    assert system.unmount().returncode == 0
    until(lambda: not is_mounted(system.path), "the mount is detached")
    assert connection.socket.recv(4096) == b""
    connection.close()
    # The kernel lets no thread go that waits for a FUSE server.
    slow.release("open")
    assert system.ended()


@pytest.mark.parametrize("name", ["{}/io_region", "{}/device", "{}/nothing", "{}", "link"])
def test_an_image_inside_the_mount_itself_is_refused(
    mnt: MountedSystem, tmp_path: Path, name: str
) -> None:
    (tmp_path / "link").symlink_to(mnt.subchannel / "state")
    path = tmp_path / name.format(mnt.subchannel)
    for kind in ("fba", "1403"):
        done = vfioccw("add", mnt.path, f"{kind}@{NEW}:{path}")
        assert done.returncode == 1
        assert done.stderr == (
            f"vfioccw: {path}: is inside the mount itself; name a file elsewhere\n"
        )
