"""The servers under measurement: the C null device and our mount, and what they cost."""

import contextlib
import json
import os
import shlex
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import lab.mounts
from lab.processes import cpu_time_ns

HERE = Path(__file__).resolve().parent
PROGRAMS = lab.mounts.PROJECT / ".venv" / "bench"
CFLAGS = ("-O2", "-Wall", "-Wextra", "-Wno-missing-field-initializers", "-pthread")
READY_S = 30.0  # far above any target: past it the server has failed
GONE_S = 10.0


class BenchError(Exception):
    """What was to be measured did not work; one line for people."""


@dataclass(frozen=True)
class Options:
    """How much to measure: alternating rounds, and round trips in each of them."""

    rounds: int
    count: int


@dataclass(frozen=True)
class Server:
    """A server that is mounted: its name in the report, its mount point, its process."""

    name: str
    mount: Path
    pid: int

    def cpu_ns(self) -> int:
        """CPU time of all its threads so far, user and system, in nanoseconds."""
        return cpu_time_ns(self.pid)


def build(name: str, libraries: Sequence[str] = ()) -> Path:
    """Compile ``name``.c if it is newer than its program; *libraries* are pkg-config's names."""
    source, program = HERE / f"{name}.c", PROGRAMS / name
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        program.parent.mkdir(exist_ok=True)
        flags = [*CFLAGS]
        if libraries:
            flags += shlex.split(_run("pkg-config", "--cflags", "--libs", *libraries))
        _run("gcc", str(source), "-o", str(program), *flags)
    return program


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = "; ".join(done.stderr.split("\n")[:3]).strip("; ")
        raise BenchError(f"{Path(command[0]).name} exits with {done.returncode}: {said}")
    return done.stdout


def vfioccw(*words: object) -> str:
    """Run our command line to its end; its standard output."""
    done = lab.mounts.vfioccw(*words)
    if done.returncode:
        raise BenchError(f"vfioccw {words[0]}: {done.stderr.strip()}")
    return done.stdout


@contextlib.contextmanager
def directory(place: Path | None = None) -> Iterator[Path]:
    """A directory for images and mount points, in *place* if it says so, removed at the end."""
    with tempfile.TemporaryDirectory(prefix="bench.", dir=place) as name:
        yield Path(name)


def file_system(path: Path) -> str:
    """The type of the file system that *path* lies on: ext4, tmpfs."""
    # Where one is mounted over another, both are listed.
    return _run("findmnt", "-n", "-o", "FSTYPE", "-T", str(path)).split()[-1]


def cores() -> list[int]:
    """The cores that this machine lets us use; the bench itself runs on one of them."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    found = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, before)
    return found


@contextlib.contextmanager
def on_cores(cores: Iterable[int]) -> Iterator[None]:
    """Let this process and those that it starts meanwhile run on *cores*."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def mounted(path: Path, *words: object) -> Iterator[Server]:
    """Our mount on *path* (made here) of what *words* say, as a user has it."""
    try:
        with lab.mounts.mounted_at(path, *words) as system:
            yield Server("vfioccw", path, system.pid)
    except AssertionError as error:
        raise BenchError(str(error)) from error


@contextlib.contextmanager
def null_device(mount: Path) -> Iterator[Server]:
    """The C peer, mounted on *mount* (made here), its socket beside it."""
    start = [str(build("null_device", ["fuse3"])), str(mount), f"{mount}.irqfd"]
    mount.mkdir()
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(start, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            _await_mount(process, mount, log)
            yield Server("C", mount, process.pid)
            _run("fusermount3", "-u", str(mount))
            process.wait(GONE_S)
        except subprocess.TimeoutExpired as error:
            raise BenchError(f"C still runs {GONE_S:.0f} s after umount") from error
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            if lab.mounts.is_mounted(mount):
                lab.mounts.detach(mount)


def _await_mount(process: subprocess.Popen[bytes], mount: Path, log: IO[str]) -> None:
    deadline = time.monotonic() + READY_S
    while not lab.mounts.is_mounted(mount):
        if process.poll() is not None or time.monotonic() > deadline:
            log.seek(0)
            lines = log.read().splitlines() or ["it said nothing"]
            raise BenchError(f"C did not mount: {lines[-1]}")
        time.sleep(0.01)


def drive(server: Server, mode: str, count: int, pause_us: int = 0) -> dict[str, float]:
    """Do *count* round trips in *mode* by the C client, *pause_us* before each.

    p50 in us of "round", "pwrite" and "pread", and the "worst" round trip.
    """
    client = str(build("client"))
    printed = _run(client, str(server.mount), lab.mounts.SCHID, mode, str(count), str(pause_us))
    return {key: float(value) for key, value in json.loads(printed).items()}
