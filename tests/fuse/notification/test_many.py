"""A thousand blocked reads: the mount goes on, and each reader can still be ended."""

import os
import re
import signal
import sys
import time
from pathlib import Path

import pytest

from lab.processes import cpu_time
from lab.waits import SOON, until
from vfioccw_fuse.fuse.blocked import SAFETY_S

from .conftest import number

READERS = 1000
READER = """
import os, sys, threading
threading.stack_size(65536)
def read():
    fd = os.open(sys.argv[1], os.O_RDONLY)
    value = os.read(fd, 8)
    os.close(fd)
    os.write(1, value)
for _ in range(int(sys.argv[2])):
    threading.Thread(target=read).start()
"""


def memory(pid):
    """Resident memory of a process, in KiB."""
    return int(re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[0])


@pytest.fixture
def readers(mount, python):
    """Processes with many reader threads each, all blocked."""
    before = memory(mount.process.pid)
    processes = [python(READER, mount.io_irq, str(READERS // 4)) for _ in range(4)]
    until(lambda: mount.waiting() == READERS, "all readers blocked")
    assert (memory(mount.process.pid) - before) / READERS < 32, "KiB for each reader"
    return processes


def test_the_mount_answers_and_hands_out_events(mount, readers):
    before = cpu_time(mount.process.pid)
    for _ in range(200):
        assert len(mount.region.read_bytes()) == 124
    assert (cpu_time(mount.process.pid) - before) / 200 < 0.02
    for value in range(5):
        mount.signal(value + 1)
    mount.until_waiting(READERS - 5)
    for _ in range(READERS - 5):
        fd = os.open(mount.io_irq, os.O_WRONLY)
        os.write(fd, number(1))
        os.close(fd)
    values = b"".join(reader.output() for reader in readers)
    got = sorted(int.from_bytes(values[i : i + 8], sys.byteorder) for i in range(0, len(values), 8))
    assert got == [1] * (READERS - 4) + [2, 3, 4, 5]


def test_they_all_die(mount, readers):
    end(readers)
    mount.until_waiting(0)
    until(lambda: mount.statistics()["tasks"] < 30, "the workers went home")


def test_one_of_them_dies_and_the_others_stay(mount, readers, start):
    """The one whose signal it is, among so many; also while the mount is busy."""
    one = start("xxd", mount.io_irq)
    mount.until_waiting(READERS + 1)
    sent = time.monotonic()
    one.send(signal.SIGTERM)
    while one.alive():
        mount.region.read_bytes()
        assert time.monotonic() - sent < SOON
    assert one.status() == -signal.SIGTERM
    time.sleep(0.5)
    assert mount.statistics()["blocked"]["waiting"] == READERS
    end(readers)
    mount.until_waiting(0)


def test_looking_after_them_costs_little(mount, readers):
    """Nothing happens: at most the look a second that is there to be safe."""
    time.sleep(0.5)
    started, before = time.monotonic(), mount.statistics()["blocked"]
    used = cpu_time(mount.process.pid)
    time.sleep(1.5)
    used = cpu_time(mount.process.pid) - used
    after, ended = mount.statistics()["blocked"], time.monotonic()
    # One more follows the request that asked for the first figures.
    looks = after["looks"] - before["looks"]
    assert looks <= (ended - started) / SAFETY_S + 2
    assert used / max(looks, 1) < 0.3, "seconds of the processor for each look"
    end(readers)
    mount.until_waiting(0)


def end(readers):
    for reader in readers:
        reader.send(signal.SIGKILL)
    for reader in readers:
        reader.status()
