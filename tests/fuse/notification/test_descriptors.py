"""A server that may open no more files: what needs none goes on, and its remedy is named."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.client import Connection
from lab.mounts import SCHID
from lab.waits import SOON, until

from .conftest import Mount, Process

REMEDY = "raise the limit"


def open_in(pid: int) -> list[int]:
    return [int(name) for name in os.listdir(f"/proc/{pid}/fd")]


class Exhausted:
    """A mount whose server has as many files open as it may."""

    def __init__(self, mount: Mount) -> None:
        self.mount = mount
        self.pid = mount.process.pid
        self.limits = resource.prlimit(self.pid, resource.RLIMIT_NOFILE)
        self.early = Connection(mount.path)
        """A connection from before."""
        assert self.early.irq() == {"ok": True}
        self.late: list[socket.socket] = []

    def exhaust(self) -> None:
        """Lower the limit and take what is left; one connection more waits to be accepted."""
        most = max(open_in(self.pid)) + 3
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (most, self.limits[1]))
        while len(open_in(self.pid)) < most:
            free = most - len(open_in(self.pid))
            self.connect(free)
            until(lambda: len(open_in(self.pid)) >= most, "every descriptor is in use")
        self.connect(1)

    def connect(self, count: int) -> None:
        for _ in range(count):
            self.late.append(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
            self.late[-1].settimeout(SOON)
            self.late[-1].connect(str(self.mount.socket))

    def let_go(self) -> None:
        for connection in self.late[:-1]:
            connection.close()

    def close(self) -> None:
        for connection in (*self.late, self.early.socket):
            connection.close()


@pytest.fixture
def exhausted(own: Mount) -> Iterator[Exhausted]:
    with contextlib.closing(Exhausted(own)) as made:
        yield made
        resource.prlimit(made.pid, resource.RLIMIT_NOFILE, made.limits)
    own.process.terminate()
    assert own.ended().endswith("gone\n")


OTHERS_READ = """
import os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
child = os.fork()
if child:
    print(child)
    os._exit(0)
os.read(fd, 8)
"""


@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGKILL])
def test_a_blocked_reader_dies(
    exhausted: Exhausted,
    start: Callable[..., Process],
    python: Callable[..., Process],
    which: signal.Signals,
) -> None:
    """Also one whose opener is gone, so that all processes have to be looked at."""
    mount = exhausted.mount
    reader = start(
        "xxd", "-l8", mount.io_irq, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    )
    opener = python("import signal; signal.signal(2, signal.SIG_DFL)" + OTHERS_READ, mount.io_irq)
    child = os.pidfd_open(int(opener.line()))
    assert opener.status() == 0
    mount.until_waiting(2)
    exhausted.exhaust()
    reader.send(which)
    signal.pidfd_send_signal(child, which)
    assert reader.status() == -which
    assert select.select([child], [], [], SOON)[0], "the child is there still"
    os.close(child)


def test_a_message_with_a_descriptor_names_the_remedy(exhausted: Exhausted) -> None:
    exhausted.exhaust()
    eventfd = os.eventfd(0)
    assert REMEDY in exhausted.early.irq(eventfd)["error"]
    assert exhausted.early.irq() == {"ok": True}
    exhausted.let_go()
    until(lambda: exhausted.early.irq(eventfd) == {"ok": True}, "there is room again")
    os.close(eventfd)


def test_a_connection_waits_until_there_is_room(exhausted: Exhausted) -> None:
    exhausted.exhaust()
    waiting = exhausted.late[-1]
    waiting.send(json.dumps({"subchannel": SCHID, "irq": 0}).encode())
    assert exhausted.early.irq() == {"ok": True}
    assert not select.select([waiting], [], [], 0.3)[0]
    exhausted.let_go()
    assert json.loads(waiting.recv(4096)) == {"ok": True}


def test_what_waits_for_room_does_not_keep_the_processor(exhausted: Exhausted) -> None:
    exhausted.exhaust()

    def turns() -> int:
        status = Path(f"/proc/{exhausted.pid}/status").read_text()
        return int(status.split("\nvoluntary_ctxt_switches:")[1].split()[0])

    # It tries again every 100 ms. What spins has thousands of turns, or none at all.
    before, began = turns(), time.monotonic()
    until(lambda: turns() >= before + 5, "it tries again")
    assert time.monotonic() - began > 0.1
