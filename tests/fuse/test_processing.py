"""The fault `processing`: a start stays in CP_PROCESSING, and others meanwhile get EAGAIN.

The kernel lets one write at a time into a file of ours, so others come through other files.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from lab.client import PROGRAM, Client, errno_of, write_file
from lab.mounts import MountedSystem, mount
from lab.processes import ASLEEP_IN_THE_MOUNT, sleeps_in
from lab.programs import ENDED, HALT, NOP, SLI, START, orb, request
from lab.waits import SOON, until
from vfioccw_fuse.client import Program, Subchannel
from vfioccw_fuse.regions.state import parse_state

FOR_LONG = "fault=processing for=3600s"
WRITER = """
import os, sys
io = os.open(sys.argv[1] + "/io_region", os.O_RDWR)
os.pwrite(io, bytes.fromhex(sys.argv[2]), 0)
"""


@pytest.fixture
def client(mnt: MountedSystem) -> Iterator[Client]:
    with Client(mnt.subchannel) as made:
        made.program((NOP, SLI, 1, 0))
        yield made


class Starter(threading.Thread):
    """A START in a thread of its own, whose write waits."""

    def __init__(self, client: Client) -> None:
        super().__init__()
        self.client = client
        self.result = -1
        self.start()
        until(lambda: fsm(client.directory) == "CP_PROCESSING", "the start is processed")

    def run(self) -> None:
        self.result = self.client.request(START)

    def ended(self) -> int:
        self.join(SOON)
        assert not self.is_alive(), "the write did not come back"
        return self.result


def fsm(directory: Path) -> str:
    return parse_state((directory / "state").read_text())["fsm"]


def test_others_get_eagain_until_the_start_goes_on(client: Client) -> None:
    assert client.control("fault=processing for=10s") == 0
    starter = Starter(client)
    with open(client.directory / "device", "r+b", buffering=0) as device:
        for fctl in (START, HALT, 0):
            write = partial(os.pwrite, device.fileno(), request(fctl), 0)
            assert errno_of(write) == errno.EAGAIN
        assert client.command(1) == errno.EAGAIN
        assert client.write("schib_region", client.schib()) == errno.EAGAIN
        assert starter.ended() == 0
        assert client.take().dstat == ENDED
        assert fsm(client.directory) == "IDLE"


def test_ssch_by_the_cmd_region_is_processed_as_long(client: Client) -> None:
    assert client.control("fault=processing for=10ms count=1") == 0
    assert client.write("io_region", orb(PROGRAM)) == 0
    assert client.command(1 << 4) == 0
    assert client.take().dstat == ENDED
    assert "fault=none" in (client.directory / "control").read_text()


def test_a_client_that_loops_at_eagain_gets_through(client: Client, mnt: MountedSystem) -> None:
    assert client.control("fault=processing for=3s count=1") == 0
    starter = Starter(client)
    with Subchannel(str(mnt.subchannel)) as patient, Program(patient.storage) as program:
        # It tries until the start is no longer processed; then the start runs, and is halted.
        program.ccw(NOP, SLI, 1)
        program.lay_out()
        patient.clear()
    assert starter.ended() == 0


def test_a_refusal_after_it_leads_back_to_idle(client: Client) -> None:
    assert client.control("fault=processing for=10s") == 0
    starter = Starter(client)
    assert client.control("unsolicited=80") == 0
    assert starter.ended() == errno.EBUSY
    assert fsm(client.directory) == "IDLE"
    assert client.take().dstat == 0x80


@pytest.mark.parametrize("way", ["reset", "device"])
def test_a_reset_meanwhile_ends_the_request_at_once(client: Client, way: str) -> None:
    assert client.control(FOR_LONG) == 0
    starter = Starter(client)
    if way == "reset":
        assert write_file(client.directory / "reset", "1") == 0
    else:
        os.close(os.open(client.directory / "device", os.O_RDWR))
        until(lambda: fsm(client.directory) == "IDLE", "the last close has reset it")
    assert starter.ended() == errno.EIO
    assert fsm(client.directory) == "IDLE"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=str)
def test_a_signal_withdraws_the_request(client: Client, number: int) -> None:
    assert client.control(FOR_LONG) == 0
    start = request(START, orb(PROGRAM))
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", WRITER, client.directory, start.hex()],
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: fsm(client.directory) == "CP_PROCESSING", "the start is processed")
        until(lambda: sleeps_in(ASLEEP_IN_THE_MOUNT, process.pid), "the client waits")
        process.send_signal(number)
        process.wait(SOON)
    finally:
        process.kill()
    until(lambda: fsm(client.directory) == "IDLE", "the start was given up")
    assert client.control("fault=none") == 0
    assert client.run((NOP, SLI, 1, 0)).dstat == ENDED


def test_an_unmount_does_not_wait_for_it(tmp_path: Path) -> None:
    system = mount(tmp_path, FOR_LONG.replace(" ", ","))
    try:
        client = Client(system.subchannel)
        client.program((NOP, SLI, 1, 0))
        starter = Starter(client)
        os.kill(system.pid, signal.SIGTERM)
        assert starter.ended() in (errno.ENODEV, errno.EINTR, errno.EIO, errno.ECONNABORTED)
        client.close()
        system.assert_nothing_is_left()
    finally:
        system.give_up()
