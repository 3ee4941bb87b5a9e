"""The file `trace` of a subchannel: lines for people, and events for who asks for them."""

from __future__ import annotations

import errno
import json
import os
import select
import struct
import time
from functools import partial
from typing import Any

from lab.client import DATA, Client, errno_of
from lab.mounts import MountedSystem, vfioccw
from lab.programs import BITS, CC, CD, ENDED, IDA, NOP, SENSE_ID, SKIP, SLI
from lab.waits import SOON


def test_trace_follows_instructions_ccws_and_interruptions(client: Client) -> None:
    fd = os.open(client.directory / "trace", os.O_RDONLY | os.O_NONBLOCK)
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    try:
        assert errno_of(lambda: os.read(fd, 10)) == errno.EAGAIN
        client.run((NOP, CC | SLI, 1, 0), (SENSE_ID, 0, 7, DATA))
        client.command(BITS["hsch"])
        assert client.wait()
        client.irb()
        assert poll.poll(SOON * 1000)
        text = os.read(fd, 1 << 16).decode()
    finally:
        os.close(fd)
    kinds = [line.split()[2] for line in text.splitlines()]
    assert kinds == ["ssch", "ccw", "ccw", "irb", "hsch", "irb"]
    assert all("0.0.0313" in line for line in text.splitlines())


def test_a_trace_that_nobody_reads_loses_ccws_before_anything_else(client: Client) -> None:
    fd = os.open(client.directory / "trace", os.O_RDONLY | os.O_NONBLOCK)
    parts: list[bytes] = []
    try:
        for _ in range(5):
            ended = client.run(*[(NOP, CC | SLI, 1, 0)] * 7000, (SENSE_ID, 0, 7, DATA))
            assert ended.dstat == ENDED
        assert client.command(BITS["hsch"]) == 0
        assert client.wait()
        client.irb()
        while not errno_of(lambda: parts.append(os.read(fd, 1 << 16))):
            pass
    finally:
        os.close(fd)
    lines = b"".join(parts).decode().splitlines()
    lost = [int(line.split()[1]) for line in lines if line.endswith(" CCWs lost")]
    kinds = [line.split()[2] for line in lines if line.split()[2] not in ("ccw", "CCWs")]
    assert kinds == ["ssch", "irb"] * 5 + ["hsch", "irb"]
    assert len(lost) == 1
    assert len(lines) - 1 + lost[0] == 5 * 7001 + len(kinds)


def events_of(fd: int) -> list[dict[str, Any]]:
    """What a trace has that was asked for events."""
    parts: list[bytes] = []
    while not errno_of(lambda: parts.append(os.read(fd, 1 << 16))):
        pass
    return [json.loads(line) for line in b"".join(parts).splitlines()]


def test_a_trace_that_is_asked_for_events_has_them_as_json_with_data(client: Client) -> None:
    def run() -> list[dict[str, Any]]:
        client.store(DATA, bytes(32))
        client.run((SENSE_ID, CD, 3, DATA), (0, 0, 4, DATA + 16))
        return events_of(fd)

    fd = os.open(client.directory / "trace", os.O_RDWR | os.O_NONBLOCK)
    try:
        for wrong in (b"data", b"{}", b'{"data": -1}', b'{"data": 65537}', b'{"data": 1, "a": 1}'):
            assert errno_of(partial(os.write, fd, wrong)) == errno.EINVAL
        os.write(fd, b'{"data": 5}')
        start, first, second, irb = run()
        os.write(fd, b'{"data": 0}')
        assert [event.get("pieces") for event in run()] == [None] * 4
    finally:
        os.close(fd)
    assert start.keys() == {"ns", "event", "name", "cc", "orb"}
    assert irb.keys() == {"ns", "event", "irb", "joined"}
    assert len(bytes.fromhex(irb["irb"])) == 96
    assert first["ns"] <= second["ns"] <= irb["ns"] <= time.monotonic_ns()
    # The first CCW's data came with the command's end: it shows it all the same.
    assert (first["code"], first["status"], first["moved"]) == (SENSE_ID, 0, 3)
    assert first["pieces"] == [[DATA, 3, "ff6310"]]
    assert (second["status"], second["moved"]) == (ENDED, 4)
    assert second["pieces"] == [[DATA + 16, 4, "01933600"]]


def test_a_trace_shows_data_by_idaws_and_what_is_skipped(client: Client) -> None:
    fd = os.open(client.directory / "trace", os.O_RDWR | os.O_NONBLOCK)
    try:
        os.write(fd, b'{"data": 64}')
        client.store(DATA, struct.pack(">QQ", DATA + 0x1FFE, DATA + 0x2000))
        assert client.start((SENSE_ID, IDA, 7, DATA), ctrl0=0x00C2) == 0
        client.take()
        client.run((SENSE_ID, SKIP, 7, DATA))
        pieces = [event["pieces"] for event in events_of(fd) if event["event"] == "ccw"]
    finally:
        os.close(fd)
    assert pieces == [
        [[DATA + 0x1FFE, 2, "ff63"], [DATA + 0x2000, 5, "1001933600"]],
        [[None, 7, ""]],
    ]


def test_the_trace_of_a_subchannel_that_is_removed_ends(mount) -> None:
    system: MountedSystem = mount()
    with Client(system.subchannel) as client:
        fd = os.open(client.directory / "trace", os.O_RDWR)
        try:
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            assert not poll.poll(0)
            client.run((NOP, SLI, 1, 0))
            assert vfioccw("remove", system.subchannel).returncode == 0
            assert poll.poll(SOON * 1000)
            assert b" irb " in os.read(fd, 1 << 16), "what had happened"
            assert poll.poll(SOON * 1000)
            assert errno_of(partial(os.read, fd, 1)) == errno.ENODEV
        finally:
            os.close(fd)
