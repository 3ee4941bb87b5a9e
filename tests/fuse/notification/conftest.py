"""The test file system, mounted in a child process, and processes that read from it."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.client import events_of
from lab.mounts import IMPORTS, SCHID, detach, is_mounted
from lab.processes import connections
from lab.waits import SOON, until

HERE = Path(__file__).resolve().parent


def number(value: int) -> bytes:
    """A counter as the mount shows it."""
    return value.to_bytes(8, sys.byteorder)


class Mount:
    """The test file system, mounted."""

    def __init__(self, path: Path, process: subprocess.Popen[str]) -> None:
        self.path = path
        self.process = process
        self.directory = path / SCHID
        self.io_irq = self.directory / "io_irq"
        self.crw_irq = self.directory / "crw_irq"
        self.region = self.directory / "io_region"
        self.socket = Path()
        """What `irqfd` points to; known from the start, as a mount that ended cannot be asked."""

    def command(self, text: str, control: str = "control") -> None:
        fd = os.open(self.directory / control, os.O_WRONLY)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)

    def signal(self, value: int = 1, index: int = 0) -> None:
        self.command(f"signal {index} {value}")

    def statistics(self):
        return json.loads((self.directory / "control").read_bytes())

    def waiting(self) -> int:
        """How many requests are blocked."""
        return int(self.statistics()["blocked"]["waiting"])

    def until_waiting(self, count: int) -> None:
        until(lambda: self.waiting() == count, f"{count} requests blocked")

    def drain(self) -> None:
        for path in (self.io_irq, self.crw_irq):
            events_of(path)

    def ended(self) -> str:
        """Wait for the server's end; what it printed after "ready"."""
        assert self.process.stdout is not None
        self.process.wait(SOON)
        return self.process.stdout.read()

    def mounted(self) -> bool:
        return is_mounted(self.path)


@contextlib.contextmanager
def mounted(path: Path, **environment: str) -> Iterator[Mount]:
    """The test file system on *path*, which must be an empty directory."""
    process = subprocess.Popen(
        [sys.executable, HERE / "server.py", path],
        env={**os.environ, "PYTHONPATH": IMPORTS, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    mount = Mount(path, process)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        mount.socket = Path(os.readlink(path / "irqfd"))
        yield mount
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(SOON)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if mount.mounted():
            detach(path)


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Iterator[Mount]:
    """One mount for all tests of a file."""
    with mounted(tmp_path_factory.mktemp("mount")) as mount:
        yield mount


@pytest.fixture
def mount(shared: Mount) -> Iterator[Mount]:
    """The shared mount with counters at zero; nothing may be blocked or open at the end."""
    yield shared
    until(lambda: shared.statistics()["openers"] == 1, "all files closed but control")
    shared.until_waiting(0)
    # What a connection has attached ends with it, and that is after its close has returned.
    until(lambda: not connections(shared.socket), "all connections closed")
    shared.drain()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Mount]:
    """A mount for this test alone, which may end it."""
    path = tmp_path / "mount"
    path.mkdir()
    with mounted(path) as mount:
        yield mount


class Process:
    """A client in a process of its own, killed at the end of the test."""

    def __init__(self, *command: str | Path, **options: object) -> None:
        self.popen: subprocess.Popen[bytes] = subprocess.Popen(  # type: ignore[call-overload]
            command,
            **{
                "stdin": subprocess.DEVNULL,
                "stdout": subprocess.PIPE,
                "stderr": subprocess.PIPE,
                # A group of its own, as a shell gives a job: Ctrl-Z does not stop orphaned ones.
                **({} if "start_new_session" in options else {"process_group": 0}),
                **options,
            },
        )
        self.pid: int = self.popen.pid
        self.said = b""
        """Output that was read and is not given out yet."""

    def send(self, number: int) -> None:
        self.popen.send_signal(number)

    def status(self) -> int:
        """Wait for its end; its exit status, negative for a signal."""
        return self.popen.wait(SOON)

    def output(self) -> bytes:
        """Wait for its end; its standard output, less the lines given. It must end well."""
        out, err = self.popen.communicate(timeout=SOON)
        assert self.popen.returncode == 0, err.decode()
        return self.said + out

    def line(self) -> str:
        """Its next line of output, within reason."""
        assert self.popen.stdout is not None
        fd = self.popen.stdout.fileno()
        # By read(2): what a buffered file has taken already, select does not see.
        while b"\n" not in self.said:
            assert select.select([fd], [], [], SOON)[0], f"no whole line, but {self.said!r}"
            piece = os.read(fd, 4096)
            assert piece, f"it ended after {self.said!r}"
            self.said += piece
        line, self.said = self.said.split(b"\n", 1)
        return line.decode().rstrip()

    def state(self) -> str:
        """The letter of its state, as ps shows it."""
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]

    def alive(self) -> bool:
        return self.popen.poll() is None


@pytest.fixture
def start() -> Iterator[Callable[..., Process]]:
    """Starts a `Process`."""
    processes: list[Process] = []

    def start(*command: str | Path, **options: object) -> Process:
        processes.append(Process(*command, **options))
        return processes[-1]

    yield start
    for process in processes:
        if process.alive():
            process.send(signal.SIGKILL)
        process.popen.communicate(timeout=SOON)


@pytest.fixture
def python(start: Callable[..., Process]) -> Callable[..., Process]:
    """Starts a `Process` that runs a Python program; arguments become sys.argv[1:]."""

    def python(program: str, *arguments: str | Path, **options: object) -> Process:
        return start(sys.executable, "-I", "-S", "-u", "-c", program, *arguments, **options)

    return python
