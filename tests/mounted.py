"""A mounted system: the real command, the real kernel, a disk image, and a clean end."""

from __future__ import annotations

import contextlib
import os
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
SCHID = "0.0.0313"
BLOCK = 512
BLOCKS = 512
SOON = 10.0
"""Longest wait for what should happen at once, in seconds: generous for a busy machine."""
GONE_WITHIN = 2.0
"""Seconds after the unmount in which the daemon must have ended."""


def until(condition: Callable[[], object], what: str, seconds: float = SOON) -> None:
    """Wait until *condition* holds; AssertionError names *what* did not come true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.005)


def vfioccw(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command `vfioccw` with *words*; gives exit status and output."""
    return subprocess.run(
        [sys.executable, "-m", "vfioccw_fuse", *map(str, words)],
        cwd=cwd, env={**os.environ, "PYTHONPATH": str(PROJECT), "COLUMNS": "400"},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SOON, check=False,
    )  # fmt: skip


def make_image(path: Path, blocks: int = BLOCKS) -> Path:
    """A disk image that is the same each time and has no two equal blocks."""
    path.write_bytes(random.Random(blocks).randbytes(blocks * BLOCK))
    return path


def is_mounted(path: Path) -> bool:
    """Whether something is mounted at *path*; asks only the mount table."""
    return f" {path} fuse" in Path("/proc/self/mounts").read_text()


def command_of(pid: int) -> list[str]:
    """The command line of a process; empty if there is none."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def files_of(pid: int) -> list[str]:
    """What a process has open, as its links in /proc say; empty if there is no such process."""
    files = []
    with contextlib.suppress(OSError):
        for descriptor in os.listdir(f"/proc/{pid}/fd"):
            # It opens and closes others meanwhile.
            with contextlib.suppress(FileNotFoundError):
                files.append(os.readlink(f"/proc/{pid}/fd/{descriptor}"))
    return files


def servers_of(path: Path) -> list[int]:
    """The processes that serve the mount at *path*."""
    found = (int(name) for name in os.listdir("/proc") if name.isdigit())
    return [
        pid for pid in found if str(path) in (words := command_of(pid)) and "vfioccw_fuse" in words
    ]


def end_servers(path: Path) -> None:
    """Kill what serves *path* and detach it, whatever state it is in."""
    for pid in servers_of(path):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if is_mounted(path):
        subprocess.run(["fusermount3", "-u", "-z", str(path)], check=False, capture_output=True)


class MountedSystem:
    """One mount and all that a test may want to know of it."""

    def __init__(self, path: Path, image: Path) -> None:
        """*path* is mounted by now."""
        self.path = path
        """The mount point."""
        self.image = image
        """The image behind subchannel 0.0.0313."""
        self.subchannel = path / SCHID
        """Its directory."""
        [self.pid] = servers_of(path)
        """The daemon's process id."""
        self.pidfd = os.pidfd_open(self.pid)
        """Readable when the daemon has ended."""
        self.storage = Path(os.readlink(self.subchannel / "memory"))
        """The file behind `memory`."""
        self.socket = Path(os.readlink(path / "irqfd"))
        """What `irqfd` points to."""

    def ended(self, seconds: float = SOON) -> bool:
        """Wait for the daemon's end; whether it came in time."""
        return bool(select.select([self.pidfd], [], [], seconds)[0])

    def unmount(self, *options: str) -> subprocess.CompletedProcess[str]:
        """fusermount3 -u."""
        return subprocess.run(
            ["fusermount3", "-u", *options, str(self.path)],
            capture_output=True, text=True, timeout=SOON, check=False,
        )  # fmt: skip

    def assert_nothing_is_left(self, within: float = GONE_WITHIN) -> None:
        """The daemon is gone, the mount detached, its storage and its socket removed."""
        assert self.ended(within), f"the daemon is there {within:g} s after the unmount"
        until(lambda: not is_mounted(self.path), "the mount is detached", within)
        until(lambda: not self.storage.parent.exists(), "/dev/shm is clean", within)
        until(lambda: not self.socket.exists(), "the socket is removed", within)

    def give_up(self) -> None:
        """Whatever happened: no process, no mount."""
        if not self.ended(0):
            os.kill(self.pid, signal.SIGKILL)
            self.ended()
        end_servers(self.path)
        os.close(self.pidfd)


def mount(directory: Path, *options: str, image: Path | None = None) -> MountedSystem:
    """Mount a disk below *directory*; *options* go to the disk (`delay=1s`) or, with --, mount."""
    image = image or make_image(directory / "disk.img")
    path = directory / "mnt"
    path.mkdir(exist_ok=True)
    words = [word for word in options if not word.startswith("--")]
    spec = ",".join([f"fba@{SCHID}:{image}", *words])
    more = [word for word in options if word.startswith("--")]
    done = vfioccw("mount", path, "--device", spec, *more)
    assert done.returncode == 0, done.stderr
    assert not done.stdout + done.stderr
    return MountedSystem(path, image)


@contextlib.contextmanager
def mounted(directory: Path, *options: str) -> Iterator[MountedSystem]:
    """As `mount`; at the end it is unmounted, and nothing may be left of it."""
    system = mount(directory, *options)
    try:
        yield system
        done = system.unmount()
        assert done.returncode == 0, done.stderr
        system.assert_nothing_is_left()
    finally:
        system.give_up()
