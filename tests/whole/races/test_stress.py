"""Many clients on one subchannel at once: no interruption lost, none doubled, no start forgotten.

Each client is a process that starts, halts, clears, cancels, resumes, resets and reads at random;
the subchannel's trace says in which order it all happened, and the books must balance.
"""

import contextlib
import json
import os
import random
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.mounts import IMPORTS, PROJECT, MountedSystem, make_image, mount, vfioccw
from lab.programs import CC, ENDED, NOP, PCI, SENSE_ID, SLI, START, SUSPEND, ccws, orb, request
from lab.waits import SOON, until
from tests.rig import Rig, rigged
from vfioccw_fuse.regions import constants as c

CLIENTS = 6
UNMOUNTS = ("sigterm", "sigint", "refused")
"""How a mount ends under its clients; "refused" tries first what open files forbid."""
STORAGE = {
    0x2000: ccws((NOP, SLI, 1, 0)),
    0x2100: ccws((NOP, CC | SLI | PCI, 1, 0), (SENSE_ID, 0, 7, 0x3000)),
    0x2200: ccws((NOP, CC | SLI, 1, 0), (NOP, SLI | SUSPEND, 1, 0)),
    0x2300: ccws((NOP, CC | SLI, 1, 0), (0x08, 0, 0, 0x2300)),
    0x2400: ccws((0x00, 0, 1, 0)),
}


class Follower(threading.Thread):
    """Keeps the lines of the subchannel's trace."""

    def __init__(self, rig: Rig) -> None:
        super().__init__()
        self.fd = os.open(rig.path / "trace", os.O_RDONLY)
        self.pieces: list[bytes] = []
        self.ended = False

    def run(self) -> None:
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        while poll.poll(200) or not self.ended:
            if poll.poll(0):
                self.pieces.append(os.read(self.fd, 1 << 16))
        os.close(self.fd)

    def lines(self) -> list[str]:
        """What was traced, without CCWs."""
        text = b"".join(self.pieces).decode()
        # Of a loop's CCWs a reader on a busy machine does not get all, and nobody wants them here.
        assert "lines lost" not in text
        noise = (" ccw ", " CCWs lost")
        return [line for line in text.splitlines() if not any(word in line for word in noise)]


def stress(system: MountedSystem, seconds: float, seed: int) -> None:
    with rigged(system) as rig:
        prepare(rig)
        follower = Follower(rig)
        follower.start()
        try:
            with working(rig.path, seconds, seed) as clients:
                told = [tale(client, seconds + SOON) for client in clients]
        finally:
            settle(rig)
            follower.ended = True
            follower.join(SOON)
        balance(rig, told, follower.lines())


def prepare(rig: Rig) -> None:
    """Put the programs where the clients take them from."""
    for address, data in STORAGE.items():
        rig.sub.storage.view[address : address + len(data)] = data
    # SSCH by the cmd region takes this ORB until a start by the io region brings another.
    with (rig.path / "io_region").open("r+b", buffering=0) as file:
        file.write(bytes.fromhex("00000000 0080ff00 00002000"))


@contextlib.contextmanager
def working(path: Path, seconds: float, seed: int) -> Iterator[list[subprocess.Popen[str]]]:
    """Clients that work on the subchannel at *path* as *seed* says; each has opened its files."""
    clients = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.whole.races.client", path, str(seconds), str(own)],
            cwd=PROJECT,
            env={**os.environ, "PYTHONPATH": IMPORTS},
            stdout=subprocess.PIPE,
            text=True,
        )
        for own in range(seed, seed + CLIENTS)
    ]
    try:
        for client in clients:
            assert client.stdout is not None
            assert client.stdout.readline() == "open\n"
        yield clients
    finally:
        for client in clients:
            client.kill()
            client.wait()


def tale(client: subprocess.Popen[str], seconds: float) -> dict[str, Any]:
    """What a client tells when it has ended, within *seconds*."""
    said, _ = client.communicate(timeout=seconds)
    assert client.returncode == 0
    told: dict[str, Any] = json.loads(said)
    return told


def settle(rig: Rig) -> None:
    """Bring it to rest: nothing runs, every interruption is taken."""
    rig.control("fault=none,delay=0s")
    # Not by the client's own clear: it takes events that are stale then, and here all are counted.
    assert rig.full.command("csch", c.VFIO_CCW_ASYNC_CMD_CSCH) == 0
    until(lambda: rig.full.status().pending, "the clear's interruption")
    while rig.full.status().pending:
        (rig.path / "io_region").read_bytes()


def balance(rig: Rig, told: list[dict[str, Any]], lines: list[str]) -> None:
    """What the clients did, what the trace shows and what the subchannel counted agree."""
    assert [(client["wrong"], client["ended"]) for client in told] == [([], None)] * CLIENTS
    done = sum((Counter(client["done"]) for client in told), Counter())
    assert not [what for what in done if "EAGAIN" in what], "no lock is held between requests"
    status = rig.full.status()
    clears = done["clear"] + 1  # the last one, of `settle`
    assert (status.starts, status.halts, status.clears) == (done["start"], done["halt"], clears)
    for kind in ("start", "halt", "clear", "xsch", "reset", "rsch", "status"):
        assert done[kind], f"nobody managed to {kind}"

    shown, vanished = in_order(lines)
    assert vanished <= done["reset"], "a start ended without an interruption"
    # Each IRB that was shown was signalled once; what was not read is still in the counter.
    state = (rig.path / "state").read_text()
    [signals] = map(int, re.findall(r"^io_irq\.signals: (\d+)", state, re.MULTILINE))
    assert signals == shown
    assert sum(client["events"] for client in told) + rig.signals() == signals
    # Each was taken, or discarded by a clear or a reset.
    assert status.pending == 0
    assert 0 <= shown - status.interruptions <= clears + done["reset"]

    assert rig.start((SENSE_ID, 0, 7, 0x3000)) == 0
    assert rig.take().scsw_dstat == ENDED


def in_order(lines: list[str]) -> tuple[int, int]:
    """Each start ends once. Gives the IRBs shown, and the starts that a reset must have ended."""
    running = halted = cleared = False
    shown = vanished = 0
    for line in lines:
        _, _, what, words = line.split(None, 3)
        if what == "irb":
            shown += not words.endswith("joined")
            intermediate = "intermediate status" in words and "primary status" not in words
            if "start function" in words and not intermediate:
                assert running, f"an end without a start: {line}"
                assert halted == ("halt function" in words), line
                running = halted = False
            elif words.startswith("clear function"):
                assert cleared, f"a clear's end without a clear: {line}"
                cleared = False
            elif words.startswith("halt function"):
                assert halted, f"a halt's end without a halt: {line}"
                halted = False
        elif words.startswith("cc 0"):
            if what == "ssch":
                # Only a reset, which no trace shows, ends a start or a clear in silence.
                vanished += running or halted or cleared
                running, halted, cleared = True, False, False
            elif what == "hsch":
                halted = True
            elif what == "csch":
                running, halted, cleared = False, False, True
            elif what == "xsch":
                assert running, f"nothing was there to cancel: {line}"
                running = False
    assert not running
    assert not cleared
    return shown, vanished


@pytest.mark.random
def test_many_clients_at_once_for_five_seconds(mnt: MountedSystem, seed: int) -> None:
    stress(mnt, 5, seed)


@pytest.mark.random
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_many_clients_at_once_for_a_minute(mnt: MountedSystem, seed: int) -> None:
    stress(mnt, 60, seed)


def unmount_at_random(directory: Path, seconds: float, seed: int) -> None:
    """Mount, let many clients work, end the mount at some moment in some way, again and again."""
    image = make_image(directory / "disk.img")
    content = image.read_bytes()
    chance = random.Random(seed)
    ends: Counter[str] = Counter()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline or set(ends) != set(UNMOUNTS):
        system = mount(directory, image=image)
        try:
            with rigged(system) as rig:
                prepare(rig)
            # Longer than any of them may take: each is to be ended by its mount.
            with working(system.subchannel, 600, seed) as clients:
                time.sleep(chance.uniform(0, 0.3))
                how = chance.choice(UNMOUNTS)
                ends[how] += 1
                if how == "refused":
                    assert "busy" in system.unmount().stderr
                    assert vfioccw("umount", system.path).returncode == 1
                    assert not [client for client in clients if client.poll() is not None]
                os.kill(system.pid, signal.SIGINT if how == "sigint" else signal.SIGTERM)
                told = [tale(client, SOON) for client in clients]
            system.assert_nothing_is_left()
        finally:
            system.give_up()
        assert [client["wrong"] for client in told] == [[]] * CLIENTS
        assert None not in {client["ended"] for client in told}
        assert image.read_bytes() == content


@pytest.mark.random
def test_unmounts_at_random_under_many_clients(tmp_path: Path, seed: int) -> None:
    unmount_at_random(tmp_path, 5, seed)


@pytest.mark.random
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_unmounts_at_random_for_a_minute(tmp_path: Path, seed: int) -> None:
    unmount_at_random(tmp_path, 60, seed)


def test_one_of_many_that_start_at_the_same_moment_is_accepted(mnt: MountedSystem) -> None:
    with rigged(mnt) as rig:
        rig.sub.storage.view[0x2000:0x2008] = STORAGE[0x2000]
        for _ in range(20):
            rig.control("delay=60s")
            barrier = threading.Barrier(8)
            answers: list[str] = []

            def start(barrier: threading.Barrier = barrier, said: list[str] = answers) -> None:
                fd = os.open(rig.path / "io_region", os.O_RDWR)
                data = request(START, orb(0x2000), 16)
                barrier.wait()
                try:
                    os.pwrite(fd, data, 0)
                    said.append("accepted")
                except OSError as refused:
                    said.append(refused.strerror or "")
                finally:
                    os.close(fd)

            threads = [threading.Thread(target=start) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(SOON)
            assert Counter(answers) == {"accepted": 1, "Device or resource busy": 7}
            assert rig.full.cancel() == 0
