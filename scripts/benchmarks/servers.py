"""The servers under measurement: the C null device and our mount, each in a child process."""

import contextlib
import json
import os
import shlex
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

HERE = Path(__file__).resolve().parent
VENV = HERE.parent.parent / ".venv"
VFIOCCW = VENV / "bin" / "vfioccw"
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
        # The clock id that clock_getcpuclockid(3) makes of a process id.
        return time.clock_gettime_ns((~self.pid << 3) | 2)

    def rss_mib(self) -> float:
        """Resident memory (VmRSS: with shared pages), in MiB."""
        return int(_status(Path(f"/proc/{self.pid}/status"))["VmRSS"].split()[0]) / 1024

    def switches(self) -> int:
        """How often its threads were switched to so far: what an idle process does not do."""
        tasks = [_status(task / "status") for task in Path(f"/proc/{self.pid}/task").iterdir()]
        kinds = ("voluntary_ctxt_switches", "nonvoluntary_ctxt_switches")
        return sum(int(task[kind]) for task in tasks for kind in kinds)


def _status(path: Path) -> dict[str, str]:
    lines = (line.partition(":") for line in path.read_text().splitlines())
    return {key: value.strip() for key, _, value in lines}


def build(name: str, libraries: Sequence[str] = ()) -> Path:
    """Compile ``name``.c if it is newer than its program; *libraries* are pkg-config's names."""
    source, program = HERE / f"{name}.c", VENV / "bench" / name
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


def vfioccw(*arguments: str) -> str:
    """Run our command line to its end; its standard output."""
    return _run(str(VFIOCCW), *arguments)


@contextlib.contextmanager
def directory() -> Iterator[Path]:
    """A directory for images and mount points, removed at the end."""
    with tempfile.TemporaryDirectory(prefix="bench.") as name:
        yield Path(name)


@contextlib.contextmanager
def null_device(mount: Path) -> Iterator[Server]:
    """The C peer, mounted on *mount* (made here), its socket beside it."""
    start = [str(build("null_device", ["fuse3"])), str(mount), f"{mount}.irqfd"]
    with _served("C", start, mount, ["fusermount3", "-u", str(mount)]) as server:
        yield server


@contextlib.contextmanager
def mounted(mount: Path, *arguments: str) -> Iterator[Server]:
    """Our mount on *mount* (made here) with these further *arguments*, in the foreground."""
    start = [str(VFIOCCW), "mount", "-f", str(mount), *arguments]
    with _served("vfioccw", start, mount, [str(VFIOCCW), "umount", str(mount)]) as server:
        yield server


@contextlib.contextmanager
def _served(name: str, start: list[str], mount: Path, end: list[str]) -> Iterator[Server]:
    mount.mkdir()
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(start, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            _await_mount(name, process, mount, log)
            yield Server(name, mount, process.pid)
            _run(*end)
            process.wait(GONE_S)
        except subprocess.TimeoutExpired as error:
            raise BenchError(f"{name} still runs {GONE_S:.0f} s after umount") from error
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            if os.path.ismount(mount):
                subprocess.run(["fusermount3", "-u", "-z", str(mount)], check=False)


def _await_mount(name: str, process: subprocess.Popen[bytes], mount: Path, log: IO[str]) -> None:
    deadline = time.monotonic() + READY_S
    while not os.path.ismount(mount):
        if process.poll() is not None or time.monotonic() > deadline:
            log.seek(0)
            lines = log.read().splitlines() or ["it said nothing"]
            raise BenchError(f"{name} did not mount: {lines[-1]}")
        time.sleep(0.01)


def drive(server: Server, mode: str, count: int) -> dict[str, float]:
    """Do *count* round trips in *mode* by the C client: p50 in us of "round", "pwrite", "pread"."""
    client = str(build("client"))
    printed = _run(client, str(server.mount), "0.0.0313", mode, str(count))
    return {key: float(value) for key, value in json.loads(printed).items()}
