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
SOON = 60.0
"""Longest wait for what should happen at once, in seconds: a machine may have much else to do."""
GONE_WITHIN = 45.0
"""Seconds after the unmount in which the daemon must have ended: 2 if the machine has time, 30 for
what it wrote."""
ASLEEP_IN_THE_MOUNT = ("request_wait",)
"""Where a thread sleeps that waits for a FUSE server's answer, as `sleeps_in` wants it."""
ASLEEP_IN_POLL = ("poll", "select")
"""Where one sleeps in poll, select or epoll_wait."""


def until(
    condition: Callable[[], object], what: str = "the condition", seconds: float = SOON
) -> None:
    """Wait until *condition* holds; AssertionError names *what* did not come true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.005)


def until_quiet(count: Callable[[], object], what: str, seconds: float = 1.0) -> None:
    """Wait for *seconds* in which *count* stays as it is: what comes to rest may take a while."""
    deadline = time.monotonic() + SOON
    before = count()
    while True:
        time.sleep(seconds)
        now = count()
        if now == before:
            return
        assert time.monotonic() < deadline, f"never for {seconds:g} s: {what}"
        before = now


def sleeps_in(places: tuple[str, ...], pid: int, tid: int | None = None) -> bool:
    """Whether a thread, or a process's first one, sleeps in a kernel function of such a name."""
    with contextlib.suppress(OSError):
        place = Path(f"/proc/{pid}/task/{tid or pid}/wchan").read_text()
        return any(name in place for name in places)
    return False


def cpu_time(pid: int) -> float:
    """Processor time of a process so far, in seconds: other programs hardly change it."""
    return time.clock_gettime((~pid << 3) | 2)


def connections(socket: Path) -> int:
    """How many connections to a mount's socket its server has not closed yet."""
    # The server's ends have the name that the socket had when it was bound; one of them listens.
    directory, listens = f"{socket.parent}/", 0x10000
    lines = (line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:])
    return sum(
        len(words) > 7 and words[7].startswith(directory) and not int(words[3], 16) & listens
        for words in lines
    )


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
        # The first child of a daemon's making may be a moment behind its own child.
        until(lambda: len(servers_of(path)) == 1, "one process serves the mount")
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

    def until_nobody_is_connected(self) -> None:
        """Wait until the server has noticed the end of all connections to `irqfd`.

        It does so after `close` has returned, and what they attached and mapped ends only then.
        """
        until(lambda: not connections(self.socket), "every connection to irqfd is closed")

    def unmount(self, *options: str) -> subprocess.CompletedProcess[str]:
        """fusermount3 -u."""
        return subprocess.run(
            ["fusermount3", "-u", *options, str(self.path)],
            capture_output=True, text=True, timeout=SOON, check=False,
        )  # fmt: skip

    def assert_nothing_is_left(self, within: float = GONE_WITHIN) -> None:
        """The daemon is gone, the mount detached, its storage and its socket removed."""
        # A mount namespace that another program has made meanwhile would keep the mount, too.
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
