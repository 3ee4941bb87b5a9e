"""The file `debug`: who is attached, what is asked and told, and how it ends."""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.client import Client, errno_of
from lab.mounts import MountedSystem
from lab.programs import CC, ENDED, NOP, SENSE_ID, SLI
from lab.waits import SOON

DATA = 0x10000
TWO = ((SENSE_ID, CC | SLI, 20, DATA), (NOP, SLI, 1, 0))
"""A program of two commands."""


class File:
    """An open file `debug`."""

    def __init__(self, directory: Path, flags: int = 0) -> None:
        self.fd = os.open(directory / "debug", os.O_RDWR | flags)
        self._events: list[dict[str, Any]] = []

    def ask(self, do: str, **operands: object) -> int:
        """Write a request; 0 or the errno."""
        return errno_of(lambda: os.write(self.fd, json.dumps({"do": do, **operands}).encode()))

    def next(self) -> dict[str, Any]:
        """The next event."""
        if not self._events:
            assert select.select([self.fd], [], [], SOON)[0]
            self._events = [json.loads(line) for line in os.read(self.fd, 1 << 20).splitlines()]
        return self._events.pop(0)

    def until(self, name: str) -> dict[str, Any]:
        """The next event of that name."""
        while (event := self.next())["event"] != name:
            pass
        return event

    def attach(self) -> dict[str, Any]:
        """Attach; gives the event."""
        assert self.ask("attach") == 0
        return self.until("attached")

    def close(self) -> None:
        os.close(self.fd)


@pytest.fixture
def file(shared: MountedSystem) -> Iterator[File]:
    file = File(shared.subchannel)
    yield file
    file.close()


@pytest.fixture
def client(shared: MountedSystem) -> Iterator[Client]:
    with Client(shared.subchannel) as client:
        yield client
    shared.reset()


def test_to_have_it_open_stops_nothing(file: File, client: Client) -> None:
    assert client.start(*TWO) == 0
    assert client.wait()
    assert client.irb().dstat == ENDED


def test_who_is_not_attached_reads_and_asks_for_nothing(file: File) -> None:
    assert errno_of(lambda: os.read(file.fd, 100)) == errno.EINVAL
    assert file.ask("look") == errno.EINVAL
    assert errno_of(lambda: os.write(file.fd, b"\xff")) == errno.EINVAL
    assert errno_of(lambda: os.write(file.fd, b"attach")) == errno.EINVAL


def test_one_at_a_time_is_attached_until_his_file_is_closed(
    shared: MountedSystem, file: File
) -> None:
    first = File(shared.subchannel)
    event = first.attach()
    assert (event["subchannel"], event["state"]) == (shared.subchannel.name, "idle")
    assert file.ask("attach") == errno.EBUSY
    assert errno_of(lambda: os.read(file.fd, 100)) == errno.EINVAL
    first.close()
    file.attach()


def test_a_read_without_events_waits_or_is_eagain(shared: MountedSystem) -> None:
    file = File(shared.subchannel, os.O_NONBLOCK)
    file.attach()
    assert errno_of(lambda: os.read(file.fd, 100)) == errno.EAGAIN
    assert select.select([file.fd], [file.fd], [], 0)[:2] == ([], [file.fd])
    file.ask("look")
    assert select.select([file.fd], [], [], SOON)[0]
    assert file.next()["event"] == "look"
    file.close()


def test_a_program_stops_and_goes_on_as_it_is_told(file: File, client: Client) -> None:
    client.store(DATA, bytes(20))
    file.attach()
    assert client.start(*TWO) == 0
    stopped = file.until("stopped")
    assert (stopped["why"], stopped["state"], stopped["last"]) == ("start", "stopped", None)
    assert stopped["next"]["pieces"] == [[DATA, 20, bytes(20).hex()]]
    assert file.ask("go", until="step", value=1) == 0
    assert file.next() == {"event": "going"}
    stopped = file.next()
    assert stopped["last"]["pieces"] == [[DATA, 7, "ff631001933600"]]
    assert (stopped["last"]["status"], stopped["last"]["moved"]) == (ENDED, 7)
    assert file.ask("go", until="end") == 0
    assert file.until("interruption")["state"] == "idle"
    assert client.wait()


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ({"do": "attach"}, '"do" is go, look'),
        ({"do": "go"}, '"do" is go, look'),
        ({"do": "go", "until": "dawn"}, "until dawn: one of start, end, step, address, command"),
        ({"do": "go", "until": "end", "value": 1}, "until end has no value"),
        ({"do": "go", "until": "step"}, "until step has a value, which is a number"),
        ({"do": "go", "until": "step", "value": True}, "until step has a value"),
        ({"do": "storage", "address": 0, "count": 0}, "0 bytes: 1 to 16384"),
        ({"do": "storage", "address": -1, "count": 1}, "-0x1: 1 bytes from there are not all"),
        ({"do": "storage", "address": 0, "count": 1, "more": 1}, '"do" is'),
        ({"do": "store", "address": 0, "data": "0"}, "data: pairs of hexadecimal digits"),
        ({"do": "store", "address": 0, "data": "00" * 16385}, "16385 bytes: 1 to 16384"),
        ([], "a message is one JSON object"),
    ],
)
def test_what_is_wrong_with_a_request_is_told(file: File, request_: object, error: str) -> None:
    file.attach()
    os.write(file.fd, json.dumps(request_).encode())
    event = file.next()
    assert event["event"] == "refused"
    assert event["error"].startswith(error)


def test_what_is_no_json_is_told_and_what_is_too_long_is_einval(file: File) -> None:
    file.attach()
    os.write(file.fd, b"[" * 60000)
    assert file.next() == {"event": "refused", "error": "a message is one JSON object"}
    assert errno_of(lambda: os.write(file.fd, b" " * 65537)) == errno.EINVAL


def test_storage_is_shown_and_changed(file: File, client: Client) -> None:
    file.attach()
    file.ask("store", address=DATA, data="c1c2")
    assert file.next() == {"event": "stored", "address": DATA, "count": 2}
    assert client.load(DATA, 2) == b"\xc1\xc2"
    file.ask("storage", address=DATA, count=2)
    assert file.next() == {"event": "storage", "address": DATA, "data": "c1c2"}


def test_what_is_stopped_goes_on_when_who_is_attached_is_killed(
    shared: MountedSystem, client: Client
) -> None:
    program = (
        "import os, sys, time\n"
        "fd = os.open(sys.argv[1], os.O_RDWR)\n"
        "os.write(fd, b'{\"do\": \"attach\"}')\n"
        "while b'stopped' not in os.read(fd, 65536): pass\n"
        "print('stopped', flush=True)\n"
        "time.sleep(1000)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-I", "-c", program, shared.subchannel / "debug"], stdout=subprocess.PIPE
    ) as other:
        # It may not be attached yet: then a program runs through, and the next is tried.
        assert other.stdout is not None
        while not select.select([other.stdout], [], [], 0)[0]:
            assert client.start(*TWO) == 0
            if client.wait(1):
                assert client.irb().dstat == ENDED
            else:
                assert other.stdout.readline() == b"stopped\n"
                break
        other.send_signal(signal.SIGKILL)
        other.wait(SOON)
        assert client.wait()
        assert client.irb().dstat == ENDED


def test_events_that_nobody_reads_are_counted(file: File) -> None:
    file.attach()
    for _ in range(40):
        assert file.ask("storage", address=0, count=16384) == 0
    kept = b""
    while select.select([file.fd], [], [], 0)[0]:
        kept += os.read(file.fd, 1 << 20)
    assert kept.endswith(b"}\n")
    file.ask("look")
    assert kept.count(b"\n") + file.next()["lost"] == 40
