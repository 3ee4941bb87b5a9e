"""Power cuts: no acknowledged write is lost that `sync=` says is on stable storage.

The images lie on a file system that loses what was not synced (`lab.slowfs`, volatile). Writers of
an FBA disk, a 3390 and a tape write units that say which of them they are, and note those whose
interruption said channel end and device end. At random moments what a power cut would leave is
looked at: what was acknowledged before must be there, or what was written over it since.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from lab.client import Client, Connection
from lab.mounts import BLOCK, Mount, make_image, mount_at, vfioccw
from lab.programs import ENDED, Ccw, Irb
from lab.slowfs import SlowFiles, slow_files
from lab.waits import SOON, until
from tests.devices.eckd.drive import make_volume
from tests.fuse.mount.units import (
    BLOCKS,
    RECORDS,
    in_3390,
    in_fba,
    in_tape,
    of_3390,
    of_fba,
    of_tape,
)
from tests.fuse.mount.units import write as write_unit


class Kind(NamedTuple):
    """A kind of medium."""

    type: str
    schid: str
    name: str
    """The image's file."""
    units: int
    """How many units are written; 0: one behind the other, without end."""
    program: Callable[[Client, int], tuple[Ccw, ...]]
    find: Callable[[bytes, int], bytes]


KINDS = (
    Kind("fba", "0.0.0313", "disk.img", BLOCKS, of_fba, in_fba),
    Kind("3390", "0.0.0314", "vol.ckd", 10 * RECORDS, of_3390, in_3390),
    Kind("3490", "0.0.0315", "tape.aws", 0, of_tape, in_tape),
)


STORAGE = 1 << 20


def unit_of(serial: int) -> bytes:
    """A unit that says at any place which one it is."""
    return serial.to_bytes(8, "big") * (BLOCK // 8)


def serial_of(unit: bytes) -> int:
    """Which unit it is; AssertionError if it is torn, -1 if it is none of ours."""
    serial = int.from_bytes(unit[:8], "big")
    if unit[:6] != bytes(6):
        return -1
    assert unit == unit_of(serial), "a torn unit"
    return serial


class OwnStorage(Client):
    """A client whose subchannel has storage of its own: others' programs lie elsewhere."""

    def __init__(self, mount: Path, schid: str) -> None:
        super().__init__(mount / schid)
        os.close(self.fds["memory"])
        self.fds["memory"] = os.memfd_create("storage")
        os.truncate(self.fds["memory"], STORAGE)
        self._connection = Connection(mount)
        assert not self._connection.map_file(self.fds["memory"], STORAGE, subchannel=schid)

    def close(self) -> None:
        super().close()
        self._connection.close()


class Writer:
    """Writes units of one medium until it is told to stop, or the medium fails."""

    def __init__(self, kind: Kind, directory: Path, seed: int) -> None:
        self.kind = kind
        self.acknowledged: dict[int, int] = {}
        """By unit: the last write of it that was acknowledged."""
        self.begun = 0
        """Writes that were begun: a serial number each."""
        self.failed: Irb | None = None
        """How the write ended that did not go well; the last one."""
        self._directory = directory
        self._chance = random.Random(seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with OwnStorage(self._directory, self.kind.schid) as client:
            while not self._stop.is_set():
                unit = self._chance.randrange(self.kind.units) if self.kind.units else self.begun
                serial = self.begun + 1
                self.begun = serial
                irb = write_unit(client, self.kind.program(client, unit), unit_of(serial))
                if (irb.dstat, irb.cstat) != (ENDED, 0):
                    self.failed = irb
                    return
                self.acknowledged[unit] = serial

    def stop(self) -> None:
        """Let it end what it is at."""
        self._stop.set()
        self._thread.join(SOON)
        assert not self._thread.is_alive()

    def lost(self, acknowledged: dict[int, int], image: bytes) -> int:
        """How many of the units that were *acknowledged* an *image* has not, or only older ones."""
        found = {unit: serial_of(self.kind.find(image, unit)) for unit in acknowledged}
        assert all(serial <= self.begun for serial in found.values())
        return sum(found[unit] < serial for unit, serial in acknowledged.items())


class World:
    """A mount whose media lie on a file system that loses what was not synced."""

    def __init__(self, slow: SlowFiles, directory: Path, sync: str, seed: int) -> None:
        self._slow, self._files = slow, directory / "files"
        self.slow_pid = slow.pid
        """Who serves that file system."""
        words = [f"--device={k.type}@{k.schid}:{slow.path}/{k.name},sync={sync}" for k in KINDS]
        self.mount: Mount = mount_at(directory / "mnt", *words)
        chance = random.Random(seed)
        self.writers = [Writer(kind, self.mount.path, chance.randrange(1 << 32)) for kind in KINDS]

    def cut(self) -> tuple[int, int]:
        """Look at what a power cut now would leave: acknowledged units, and lost ones of them."""
        before = [dict(writer.acknowledged) for writer in self.writers]
        self._slow.cut()
        return self._judge(before, ".cut")

    def left(self) -> tuple[int, int]:
        """The same of what is in the files themselves."""
        return self._judge([dict(writer.acknowledged) for writer in self.writers], "")

    def _judge(self, before: list[dict[int, int]], suffix: str) -> tuple[int, int]:
        lost = 0
        for writer, acknowledged in zip(self.writers, before, strict=True):
            path = self._files / f"{writer.kind.name}{suffix}"
            if acknowledged:
                lost += writer.lost(acknowledged, path.read_bytes() if path.exists() else b"")
        return sum(map(len, before)), lost

    def until_all_write(self) -> None:
        """Wait until each has written something."""

        def ready() -> bool:
            assert not [writer.failed for writer in self.writers if writer.failed]
            return all(len(writer.acknowledged) > 2 for writer in self.writers)

        until(ready, "all of them write")

    def stop(self) -> None:
        """Let the writers end."""
        for writer in self.writers:
            writer.stop()


@contextmanager
def world(directory: Path, sync: str, seed: int) -> Iterator[World]:
    """A world that is writing; whatever happens nothing is left of it."""
    files = directory / "files"
    files.mkdir(parents=True)
    make_image(files / "disk.img", BLOCKS)
    make_volume(files / "vol.ckd")
    (files / "tape.aws").touch()
    with slow_files(directory / "slow", files, volatile=True) as slow:
        made = World(slow, directory, sync, seed)
        try:
            made.until_all_write()
            yield made
        finally:
            made.mount.give_up()


def cuts(made: World, number: int, chance: random.Random) -> list[tuple[int, int]]:
    """So many cuts at random moments while all write."""
    seen = []
    for _ in range(number):
        time.sleep(chance.uniform(0, 0.08))
        seen.append(made.cut())
    return seen


def many_cuts(directory: Path, seed: int, number: int) -> None:
    print(f"seed {seed}")
    with world(directory, "always", seed) as made:
        seen = cuts(made, number, random.Random(seed))
        lost = sum(lost for _, lost in seen)
        units = sum(units for units, _ in seen)
        writes = {writer.kind.type: writer.begun for writer in made.writers}
        print(f"{len(seen)} cuts, {units} acknowledged units looked at, {lost} lost; {writes}")
        assert units > number
        assert lost == 0
        # The last cut is a real one: the server of the file system is gone, in the middle.
        os.kill(made.slow_pid, signal.SIGKILL)
        until(lambda: all(writer.failed for writer in made.writers), "every medium fails")
        made.stop()
        units, lost = made.left()
        print(f"and killed: {units} acknowledged units, {lost} lost")
        assert (units > 0, lost) == (True, 0)


@pytest.mark.random
def test_with_always_no_acknowledged_write_is_lost_at_any_cut(tmp_path: Path, seed: int) -> None:
    many_cuts(tmp_path, seed, 150)


@pytest.mark.slow
@pytest.mark.random
def test_with_always_no_acknowledged_write_is_lost_at_thousands_of_cuts(
    tmp_path: Path, seed: int
) -> None:
    for turn in range(10):
        many_cuts(tmp_path / str(turn), seed + turn, 500)


def end_by_umount(made: World) -> None:
    done = vfioccw("umount", made.mount.path)
    assert (done.returncode, done.stderr) == (0, "")


def end_by_sigterm(made: World) -> None:
    os.kill(made.mount.pid, signal.SIGTERM)
    assert made.mount.ended()


def end_by_remove(made: World) -> None:
    for kind in KINDS:
        assert vfioccw("remove", made.mount.path / kind.schid).returncode == 0


def end_by_fsync(made: World) -> None:
    for kind in KINDS:
        fd = os.open(made.mount.path / kind.schid / "status_region", os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)


@pytest.mark.random
@pytest.mark.parametrize(
    "end", [end_by_umount, end_by_sigterm, end_by_remove, end_by_fsync],
    ids=lambda function: function.__name__,
)  # fmt: skip
def test_with_end_no_acknowledged_write_is_lost_behind_the_end(
    tmp_path: Path, seed: int, end: Callable[[World], None]
) -> None:
    with world(tmp_path, "end", seed) as made:
        time.sleep(random.Random(seed).uniform(0, 1))
        made.stop()
        assert not [writer.failed for writer in made.writers if writer.failed]
        end(made)
        units, lost = made.left()
        print(f"seed {seed}: {units} acknowledged units, {lost} lost")
        assert (units > 6, lost) == (True, 0)


@pytest.mark.random
@pytest.mark.parametrize("sync", ["end", "never"])
def test_the_cuts_find_what_was_not_synced(tmp_path: Path, seed: int, sync: str) -> None:
    with world(tmp_path, sync, seed) as made:
        assert sum(lost for _, lost in cuts(made, 5, random.Random(seed))) > 0
        made.stop()
        if sync == "never":
            end_by_umount(made)
            assert made.left()[1] > 0
