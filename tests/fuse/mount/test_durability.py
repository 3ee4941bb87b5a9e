"""When written data is on stable storage: `sync=`, umount, SIGTERM, remove, fsync.

The image lies on a file system that holds or fails requests as the test says (`lab.slowfs`); how
many times it was asked for fsync is what counts here. What is lost is `test_loss.py`'s matter.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.client import DATA, Client, errno_of
from lab.mounts import (
    BLOCK,
    OTHER,
    SCHID,
    command,
    is_mounted,
    make_image,
    mount_at,
    mounted_at,
    vfioccw,
)
from lab.programs import (
    CD,
    ENDED,
    NOP,
    SENSE,
    SLI,
    UC,
)
from lab.slowfs import SlowFiles
from lab.waits import SOON, until, until_quiet
from tests.devices.eckd.drive import make_volume
from tests.fuse.mount.endings import ending
from tests.fuse.mount.units import BLOCKS, of_3390, of_fba, of_tape

NEW = b"\x55" * BLOCK


@pytest.fixture
def image(slow_image: Path) -> Path:
    """The image's own file, behind the file system that sleeps."""
    return slow_image


class Disks:
    """A disk on the slow file system with the options of a test, one elsewhere."""

    def __init__(self, slow: SlowFiles, directory: Path, *options: str) -> None:
        quick = make_image(directory / "quick.img", BLOCKS)
        slow_one = ",".join((f"fba@{SCHID}:{slow.path}/slow.img", *options))
        self.mount = mount_at(
            directory / "mnt", "--device", slow_one, "--device", f"fba@{OTHER}:{quick}"
        )
        self.disk = Client(self.mount.path / SCHID)
        self.other = Client(self.mount.path / OTHER)

    def close_files(self) -> None:
        self.disk.close()
        self.other.close()


@pytest.fixture
def disks(slow: SlowFiles, tmp_path: Path) -> Iterator[Callable[..., Disks]]:
    """A function that mounts the disks with the options it is given; the test may end the mount."""
    made: list[Disks] = []

    def make(*options: str) -> Disks:
        made.append(Disks(slow, tmp_path, *options))
        return made[-1]

    try:
        yield make
        slow.release()
        for one in made:
            one.close_files()
            if is_mounted(one.mount.path):
                done = one.mount.unmount()
                assert done.returncode == 0, done.stderr
            one.mount.assert_nothing_is_left()
    finally:
        for one in made:
            one.mount.give_up()


def start_write(client: Client, block: int = 0) -> None:
    client.store(DATA, NEW)
    assert client.start(*of_fba(client, block)) == 0


def ended(client: Client) -> None:
    irb = client.take()
    assert (irb.dstat, irb.cstat, irb.count) == (ENDED, 0, 0)


def write(client: Client, block: int = 0) -> None:
    start_write(client, block)
    ended(client)


# --- sync=always ----------------------------------------------------------------------------------


def test_with_always_a_write_ends_when_it_is_on_stable_storage(
    slow: SlowFiles, disks: Callable[..., Disks]
) -> None:
    made = disks("sync=always")
    slow.hold("fsync")
    start_write(made.disk)
    slow.until_held("fsync")
    assert not made.disk.wait(0.2)
    # Only this program waits.
    assert made.other.run((NOP, SLI, 1, 0)).dstat == ENDED
    write(made.other)
    slow.release("fsync")
    ended(made.disk)
    assert slow.seen("fsync") == 1


def test_with_always_each_command_that_wrote_is_synced_once(
    slow: SlowFiles, disks: Callable[..., Disks]
) -> None:
    disk = disks("sync=always").disk
    disk.store(DATA, NEW * 2)
    *prepare, (code, _, _, _) = of_fba(disk, 0, 2)
    chained = (code, CD, 100, DATA), (0, CD, BLOCK, DATA), (0, 0, 412, DATA)
    assert disk.run(*prepare, *chained).dstat == ENDED
    assert slow.seen("fsync") == 1
    disk.read_blocks(0, 4)
    assert slow.seen("fsync") == 1
    write(disk, 3)
    assert slow.seen("fsync") == 2


@ending
def test_a_write_that_waits_for_stable_storage_is_ended_at_once(
    slow: SlowFiles, disks: Callable[..., Disks], end: Callable[[Client], None]
) -> None:
    disk = disks("sync=always").disk
    slow.hold("fsync")
    start_write(disk)
    slow.until_held("fsync")
    end(disk)
    assert disk.run((NOP, SLI, 1, 0)).dstat == ENDED
    # The next write is not on stable storage before the old one is.
    start_write(disk, 1)
    assert not disk.wait(0.2)
    assert slow.held("fsync") == 1
    slow.release("fsync")
    ended(disk)
    assert slow.seen("fsync") == 2


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_with_always_what_does_not_reach_stable_storage_is_an_equipment_check(
    slow: SlowFiles, disks: Callable[..., Disks], number: int
) -> None:
    made = disks("sync=always")
    slow.fail(number, "fsync")
    start_write(made.disk)
    assert made.disk.take().dstat == ENDED | UC
    assert made.disk.run((SENSE, 0, 24, DATA)).dstat == ENDED
    assert made.disk.load(DATA, 1) == b"\x10"
    slow.release("fsync")
    write(made.disk)
    # And the end of the mount tells it again.
    made.close_files()
    done = vfioccw("umount", made.mount.path)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert f"{slow.path}/slow.img: {os.strerror(number)}" in line
    assert not is_mounted(made.mount.path)


def test_a_tape_and_a_3390_say_it_with_their_own_sense(
    slow: SlowFiles, image: Path, tmp_path: Path
) -> None:
    make_volume(image.parent / "vol.ckd")
    (image.parent / "blank.aws").touch()
    words = [f"--device=3390@0.0.0320:{slow.path}/vol.ckd,sync=always",
             f"--device=3490@0.0.0321:{slow.path}/blank.aws,sync=always"]  # fmt: skip
    with mounted_at(tmp_path / "mnt", *words) as system:
        slow.fail(errno.EIO, "fsync")
        with Client(system.path / "0.0.0321") as tape:
            assert tape.run(*of_tape(tape, 0)).dstat == ENDED | UC
            tape.run((SENSE, SLI, 32, DATA))
            assert tape.load(DATA, 4)[0::3] == b"\x08\x25"  # data check, write error
            slow.release("fsync")
            assert tape.run(*of_tape(tape, 1)).dstat == ENDED
        with Client(system.path / "0.0.0320") as disk:
            slow.fail(errno.EIO, "fsync")
            assert disk.run(*of_3390(disk, 0)).dstat == ENDED | UC
            disk.run((SENSE, SLI, 32, DATA))
            assert disk.load(DATA, 2) == b"\x10\x80"
            slow.release("fsync")
            assert disk.run(*of_3390(disk, 0)).dstat == ENDED


# --- sync=end: umount, SIGTERM, fusermount3 -------------------------------------------------------


def test_with_end_a_write_is_not_synced_and_the_end_of_the_mount_is_one_sync(
    slow: SlowFiles, disks: Callable[..., Disks]
) -> None:
    made = disks()
    for block in range(5):
        write(made.disk, block)
    assert made.mount.state()["medium.sync"] == "end"
    assert slow.seen("fsync") == 0
    made.close_files()
    done = vfioccw("umount", made.mount.path)
    assert (done.returncode, done.stderr) == (0, "")
    assert slow.seen("fsync") == 1


def test_what_was_not_written_is_not_synced(slow: SlowFiles, disks: Callable[..., Disks]) -> None:
    made = disks()
    made.disk.read_blocks(0, 4)
    slow.hold("fsync")
    made.close_files()
    assert vfioccw("umount", made.mount.path).returncode == 0
    assert slow.seen("fsync") == 0


def fusermount(made: Disks) -> None:
    assert made.mount.unmount().returncode == 0


def sigterm(made: Disks) -> None:
    os.kill(made.mount.pid, signal.SIGTERM)


@pytest.mark.parametrize("end", [fusermount, sigterm], ids=lambda function: function.__name__)
def test_the_mount_point_is_gone_at_once_and_the_daemon_when_all_is_on_stable_storage(
    slow: SlowFiles, disks: Callable[..., Disks], end: Callable[[Disks], None]
) -> None:
    made = disks()
    write(made.disk)
    made.close_files()
    slow.hold("fsync")
    end(made)
    slow.until_held("fsync")
    until(lambda: not is_mounted(made.mount.path), "the mount is detached")
    until(lambda: not made.mount.storage.parent.exists(), "its storage is gone")
    until(lambda: not made.mount.socket.parent.exists(), "its socket is gone")
    # Nor does who asks again lose anything.
    os.kill(made.mount.pid, signal.SIGTERM)
    assert not made.mount.ended(0.5)
    slow.release("fsync")
    assert made.mount.ended()
    assert slow.seen("fsync") == 1


def test_umount_waits_and_says_for_what(slow: SlowFiles, disks: Callable[..., Disks]) -> None:
    made = disks()
    write(made.disk)
    made.close_files()
    slow.hold("fsync")
    umount = subprocess.Popen(command("umount", made.mount.path), stderr=subprocess.PIPE, text=True)
    assert umount.stderr is not None
    line = umount.stderr.readline()
    assert line == f"{slow.path}/slow.img: being written to stable storage ...\n"
    assert not is_mounted(made.mount.path)
    assert umount.poll() is None
    slow.release("fsync")
    rest = umount.stderr.read()
    assert (umount.wait(SOON), rest) == (0, "")
    umount.stderr.close()


def test_umount_tells_what_did_not_reach_stable_storage(
    slow: SlowFiles, disks: Callable[..., Disks]
) -> None:
    made = disks()
    write(made.disk)
    made.close_files()
    slow.fail(errno.EIO, "fsync")
    done = vfioccw("umount", made.mount.path)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert f"{slow.path}/slow.img: {os.strerror(errno.EIO)}; check it" in done.stderr
    assert not is_mounted(made.mount.path)


def test_umount_tells_that_the_daemon_was_killed_before_all_was_on_stable_storage(
    slow: SlowFiles, disks: Callable[..., Disks]
) -> None:
    made = disks()
    write(made.disk)
    made.close_files()
    slow.hold("fsync")
    umount = subprocess.Popen(command("umount", made.mount.path), stderr=subprocess.PIPE, text=True)
    assert umount.stderr is not None
    assert "being written to stable storage" in umount.stderr.readline()
    os.kill(made.mount.pid, signal.SIGKILL)
    rest = umount.stderr.read()
    assert umount.wait(SOON) == 1
    assert "the daemon was killed" in rest
    umount.stderr.close()


@pytest.mark.slow
def test_a_file_system_that_never_answers_is_waited_for_30_seconds_and_told(
    slow: SlowFiles, disks: Callable[..., Disks]
) -> None:
    made = disks()
    write(made.disk)
    made.close_files()
    slow.hold("fsync")
    begun = time.monotonic()
    done = vfioccw("umount", made.mount.path)
    assert 29 < time.monotonic() - begun < 40
    assert done.returncode == 1
    assert "no answer for 30 s" in done.stderr


def test_with_never_nothing_is_synced_and_fsync_neither(
    slow: SlowFiles, disks: Callable[..., Disks]
) -> None:
    made = disks("sync=never")
    write(made.disk)
    os.fsync(made.disk.fds["io_region"])
    assert made.mount.state()["medium.sync"] == "never"
    made.close_files()
    assert vfioccw("umount", made.mount.path).returncode == 0
    assert slow.seen("fsync") == 0


# --- remove ---------------------------------------------------------------------------------------


def test_remove_takes_the_subchannel_at_once_and_waits_for_stable_storage(
    slow: SlowFiles, disks: Callable[..., Disks]
) -> None:
    made = disks()
    write(made.disk)
    made.disk.close()
    slow.hold("fsync")
    remove = subprocess.Popen(command("remove", made.mount.path / SCHID))
    slow.until_held("fsync")
    until(lambda: not (made.mount.path / SCHID).exists(), "the subchannel is gone")
    assert remove.poll() is None
    write(made.other)
    slow.release("fsync")
    assert remove.wait(SOON) == 0


def test_remove_tells_what_did_not_reach_stable_storage(
    slow: SlowFiles, disks: Callable[..., Disks]
) -> None:
    made = disks()
    write(made.disk)
    made.disk.close()
    slow.fail(errno.EIO, "fsync")
    done = vfioccw("remove", made.mount.path / SCHID)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert f"{slow.path}/slow.img may not be on stable storage" in done.stderr
    assert not (made.mount.path / SCHID).exists()


# --- fsync(2) -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["io_region", "status_region", "device"])
def test_fsync_waits_for_stable_storage_and_nobody_else_does(
    slow: SlowFiles, disks: Callable[..., Disks], name: str
) -> None:
    made = disks()
    write(made.disk)
    slow.hold("fsync")
    path = made.mount.path / SCHID / name
    dd = subprocess.Popen(["sync", str(path)])
    slow.until_held("fsync")
    write(made.other)
    if name != "io_region":  # the kernel lets nobody write into the very file meanwhile
        assert made.disk.run((NOP, SLI, 1, 0)).dstat == ENDED
    assert made.mount.state()["fsm"] == "IDLE"
    assert dd.poll() is None
    slow.release("fsync")
    assert dd.wait(SOON) == 0
    assert slow.seen("fsync") == 1
    # Nothing is left to be done.
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)
    assert slow.seen("fsync") == 1


def test_dd_conv_fsync_of_a_start_that_has_ended(
    slow: SlowFiles, disks: Callable[..., Disks]
) -> None:
    made = disks()
    write(made.disk)
    words = ["of=" + str(made.mount.path / SCHID / "io_region"), "if=/dev/null", "conv=fsync"]
    done = subprocess.run(["dd", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert slow.seen("fsync") == 1


def test_fsync_is_eio_if_it_failed(slow: SlowFiles, disks: Callable[..., Disks]) -> None:
    made = disks()
    write(made.disk)
    slow.fail(errno.EIO, "fsync")
    assert errno_of(lambda: os.fsync(made.disk.fds["io_region"])) == errno.EIO
    slow.release("fsync")
    write(made.disk)
    os.fsync(made.disk.fds["io_region"])


def test_who_waits_in_fsync_can_be_killed(slow: SlowFiles, disks: Callable[..., Disks]) -> None:
    made = disks()
    write(made.disk)
    slow.hold("fsync")
    waits = subprocess.Popen(["sync", str(made.mount.path / SCHID / "io_region")])
    slow.until_held("fsync")
    waits.kill()
    assert waits.wait(SOON) == -signal.SIGKILL


def test_what_an_fsync_is_about_that_has_not_ended_is_waited_for_at_the_end(
    slow: SlowFiles, disks: Callable[..., Disks]
) -> None:
    made = disks()
    write(made.disk)
    slow.hold("fsync")
    waits = subprocess.Popen(["sync", str(made.mount.path / SCHID / "io_region")])
    slow.until_held("fsync")
    write(made.other)
    made.close_files()
    os.kill(made.mount.pid, signal.SIGTERM)
    until(lambda: not is_mounted(made.mount.path), "the mount is detached")
    assert not made.mount.ended(0.3)
    slow.release("fsync")
    assert made.mount.ended()
    assert waits.wait(SOON) != 0
    # Whoever waited for the first has gone: the end has its own.
    assert slow.seen("fsync") == 2


# --- rest -----------------------------------------------------------------------------------------


def test_a_mount_whose_writes_are_on_their_way_does_not_wake_up(
    disks: Callable[..., Disks],
) -> None:
    made: Disks = disks()
    write(made.disk)
    write(made.other)

    def switches() -> list[str]:
        said = []
        for task in sorted(Path(f"/proc/{made.mount.pid}/task").iterdir()):
            with contextlib.suppress(FileNotFoundError):  # its work is done
                said += (task / "status").read_text().splitlines()
        return [line for line in said if line.startswith(("Pid", "voluntary"))]

    # Threads that have nothing to do end within ten seconds.
    until_quiet(switches, "a second without a wake-up of any thread")
