"""Mounted systems: the real command, the real kernel, images, and a clean end.

`mount_at` mounts what its words say; `mount` mounts one FBA disk below a directory, which is what
most users want. `mounted_at` and `mounted` unmount at the end and want nothing to be left.
"""

import contextlib
import ctypes
import os
import random
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from lab.processes import command_of, connections
from lab.waits import SOON, until
from vfioccw_fuse.regions.state import parse_state

PROJECT = Path(__file__).resolve().parents[2]
"""The repository."""
IMPORTS = f"{PROJECT}:{PROJECT / 'scripts'}"
"""PYTHONPATH of a child process that imports the package, `tests` or `lab`."""
SCHID = "0.0.0313"
"""The subchannel of the disk that `mount` mounts."""
OTHER = "0.0.0314"
"""A second subchannel, where a mount has one."""
BLOCK = 512
"""Bytes in a block of an FBA disk."""
BLOCKS = 512
"""Blocks of the image that `make_image` makes unless told otherwise."""
GONE_WITHIN = 45.0
"""Seconds after the unmount in which the daemon must have ended: 2 if the machine has time, 30 for
what it wrote."""

_MNT_FORCE = 1  # sys/mount.h


def command(*words: object) -> list[str]:
    """The command line of `vfioccw` with *words*, by the Python that runs."""
    return [sys.executable, "-m", "vfioccw_fuse", *map(str, words)]


def vfioccw(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command `vfioccw` with *words*; gives exit status and output."""
    return subprocess.run(
        command(*words),
        cwd=cwd, env={**os.environ, "PYTHONPATH": str(PROJECT), "COLUMNS": "400"},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SOON, check=False,
    )  # fmt: skip


def make_image(path: Path, blocks: int = BLOCKS) -> Path:
    """A disk image that is the same each time and has no two equal blocks."""
    path.write_bytes(random.Random(blocks).randbytes(blocks * BLOCK))
    return path


def is_mounted(path: Path) -> bool:
    """Whether something is mounted at *path*; asks only the mount table."""
    return f" {path} fuse" in Path("/proc/self/mounts").read_text(errors="surrogateescape")


def servers_of(path: Path) -> list[int]:
    """The processes that serve the mount at *path*."""
    found = (int(name) for name in os.listdir("/proc") if name.isdigit())
    return [
        pid for pid in found if str(path) in (words := command_of(pid)) and "vfioccw_fuse" in words
    ]


def detach(path: Path) -> None:
    """Take the mount at *path* out of the tree, also while its files are open or nobody serves."""
    subprocess.run(["fusermount3", "-u", "-z", str(path)], check=False, capture_output=True)


def abort(path: Path) -> None:
    """End all requests of the mount at *path*, also those that its own server waits for.

    Nothing if there is none. It is done here: a child would end copies of files that are open.
    """
    ctypes.CDLL(None).umount2(os.fsencode(path), _MNT_FORCE)


def end_servers(path: Path) -> None:
    """Kill what serves *path* and detach it, whatever state it is in."""
    for pid in servers_of(path):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if is_mounted(path):
        detach(path)


class Mount:
    """One mount, whatever its devices, and all that one may want to know of it."""

    def __init__(self, path: Path) -> None:
        """*path* is mounted by now, and has at least one subchannel."""
        self.path = path
        """The mount point."""
        # The first child of a daemon's making may be a moment behind its own child.
        until(lambda: len(servers_of(path)) == 1, "one process serves the mount")
        [self.pid] = servers_of(path)
        """The daemon's process id."""
        self.pidfd = os.pidfd_open(self.pid)
        """Readable when the daemon has ended."""
        self.storage = Path(os.readlink(next(path.glob("*.*.*/memory"))))
        """The file behind `memory`, which is the same for every subchannel."""
        self.socket = Path(os.readlink(path / "irqfd"))
        """What `irqfd` points to."""

    def file(self, name: str, schid: str = SCHID) -> Path:
        """The file *name* of a subchannel."""
        return self.path / schid / name

    def control(self, words: str, schid: str = SCHID) -> None:
        """Switch faults and timing of a device; OSError as the mount answers."""
        self.file("control", schid).write_text(words)

    def state(self, schid: str = SCHID) -> dict[str, str]:
        """What the file `state` of a subchannel says, by name."""
        return parse_state(self.file("state", schid).read_text())

    def reset(self, schid: str = SCHID) -> None:
        """VFIO_DEVICE_RESET."""
        self.file("reset", schid).write_text("1")

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
            if not self.ended():
                abort(self.path)
        end_servers(self.path)
        os.close(self.pidfd)


_M = TypeVar("_M", bound="Mount")


class MountedSystem(Mount):
    """A mount with an FBA disk at 0.0.0313."""

    def __init__(self, path: Path, image: Path) -> None:
        """*path* is mounted by now; *image* is behind its disk."""
        super().__init__(path)
        self.image = image
        """The image behind subchannel 0.0.0313."""
        self.subchannel = path / SCHID
        """Its directory."""


def _mount(path: Path, words: tuple[object, ...]) -> str:
    path.mkdir(exist_ok=True)
    done = vfioccw("mount", path, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def mount_at(path: Path, *words: object) -> Mount:
    """Mount at *path*, made here if need be, what *words* say: `--device`, `fba@0.0.0313:IMAGE`.

    AssertionError with what `vfioccw` says if it does not mount.
    """
    _mount(path, words)
    return Mount(path)


def mount(directory: Path, *options: str, image: Path | None = None) -> MountedSystem:
    """Mount a disk below *directory*; *options* go to the disk (`delay=1s`) or, with --, mount."""
    image = image or make_image(directory / "disk.img")
    words = [word for word in options if not word.startswith("--")]
    spec = ",".join([f"fba@{SCHID}:{image}", *words])
    more = [word for word in options if word.startswith("--")]
    assert not _mount(directory / "mnt", ("--device", spec, *more))
    return MountedSystem(directory / "mnt", image)


@contextlib.contextmanager
def _ending(system: _M, *, there: bool = True) -> Iterator[_M]:
    try:
        yield system
        if there or is_mounted(system.path):
            done = system.unmount()
            assert done.returncode == 0, done.stderr
        system.assert_nothing_is_left()
    finally:
        system.give_up()


@contextlib.contextmanager
def mounted_at(path: Path, *words: object) -> Iterator[Mount]:
    """As `mount_at`; at the end it is unmounted, and nothing may be left of it."""
    with _ending(mount_at(path, *words)) as system:
        yield system


@contextlib.contextmanager
def mounted_for_now(path: Path, *words: object) -> Iterator[Mount]:
    """As `mounted_at`, for whoever may have unmounted it before the end."""
    with _ending(mount_at(path, *words), there=False) as system:
        yield system


@contextlib.contextmanager
def mounted(directory: Path, *options: str) -> Iterator[MountedSystem]:
    """As `mount`; at the end it is unmounted, and nothing may be left of it."""
    with _ending(mount(directory, *options)) as system:
        yield system
