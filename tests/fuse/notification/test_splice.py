"""libfuse does not read requests by splice, whatever the limit of pipes is."""

import contextlib
import fcntl
import os
import threading
from pathlib import Path

from vfioccw_fuse.fuse.splice import CAP_SYS_RESOURCE, switch_capability

CAP_CHOWN = 0
MIB = 1 << 20


def effective() -> int:
    lines = Path("/proc/thread-self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("CapEff")), 16)


def in_a_thread(function) -> None:
    """Capabilities belong to a thread: ours stay as they are, whatever happens."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            function()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    for failure in failures:
        raise failure


def test_a_capability_goes_and_comes_back():
    def check() -> None:
        for number in (CAP_CHOWN, CAP_SYS_RESOURCE):
            before = effective()
            had = bool(before >> number & 1)
            assert switch_capability(number, False) is had
            assert effective() == before & ~(1 << number)
            assert switch_capability(number, False) is False
            assert switch_capability(number, True) is had
            assert effective() == before

    in_a_thread(check)


def capabilities(pid: int | str) -> list[str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return [line for line in lines if line.startswith("Cap")]


def test_the_server_gets_its_capabilities_back(mount):
    mount.statistics()
    assert capabilities(mount.process.pid) == capabilities("self")


def test_the_pipe_stays_smaller_than_a_request_may_be(mount):
    """That is what keeps libfuse from using it."""
    mount.statistics()
    pipes = []
    for link in Path(f"/proc/{mount.process.pid}/fd").iterdir():
        # It may close what it has just looked at.
        with contextlib.suppress(FileNotFoundError):
            if os.readlink(link).startswith("pipe:"):
                pipes.append(link)
    assert pipes
    for link in pipes:
        fd = os.open(link, os.O_RDONLY | os.O_NONBLOCK)
        assert fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ) <= MIB
        os.close(fd)
