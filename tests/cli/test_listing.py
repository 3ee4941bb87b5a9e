"""``vfioccw mounts``; and tables where a terminal is narrow."""

import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

from lab.mounts import MountedSystem, command
from lab.processes import stop
from lab.terminal import Terminal
from lab.waits import SOON
from tests.cli.commands import here, vfioccw


def told_of(path: Path) -> dict[str, object]:
    done = vfioccw("mounts", "--json")
    assert (done.returncode, done.stderr) == (0, b"")
    [found] = [one for one in json.loads(done.stdout) if one["mount"] == str(path)]
    assert isinstance(found, dict)
    return found


def test_a_mount_is_listed_with_who_serves_it_and_what_it_has(mnt: MountedSystem) -> None:
    found = told_of(mnt.path)
    assert (found["pid"], found["state"]) == (mnt.pid, "served")
    assert (found["subchannels"], found["devices"]) == (1, ["9336"])
    assert found["interfaces"] == ["full"]
    status, text = here("mounts")
    assert status == 0
    [row] = [line.split() for line in text.splitlines() if line.startswith(f"{mnt.path} ")]
    assert row[1:5] == [str(mnt.pid), "1", "9336", "full"]


def test_a_mount_whose_devices_are_gone_is_listed_too(mnt: MountedSystem) -> None:
    assert here("remove", mnt.subchannel)[0] == 0
    found = told_of(mnt.path)
    assert (found["subchannels"], found["devices"], found["interfaces"]) == (0, [], [])


def test_a_server_that_hangs_holds_up_nobody(mnt: MountedSystem) -> None:
    stop(mnt.pid)
    try:
        found = told_of(mnt.path)
    finally:
        os.kill(mnt.pid, signal.SIGCONT)
    assert (found["pid"], found["state"]) == (None, "does not answer")


def test_who_only_looks_into_a_mount_does_not_keep_it(mount: Callable[[], MountedSystem]) -> None:
    system = mount()
    fd = os.open(system.path, os.O_RDONLY)
    letting_go = threading.Timer(0.4, os.close, (fd,))
    letting_go.start()
    done = vfioccw("umount", system.path)
    letting_go.join()
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_narrow_terminal_has_a_line_for_each_column(mnt: MountedSystem) -> None:
    with Terminal(command("ls", mnt.path), columns=40) as terminal:
        terminal.expect("Device    0.0.0313\n")
        terminal.expect("DevType   9336/00\n")
        terminal.expect("FSM       IDLE\n")
        assert terminal.process.wait(SOON) == 0
