"""A disk that two mounts share: the one sees what the other has reserved, until that has ended."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from lab.mounts import SCHID, Mount, make_image, mount_at, mounted_at, vfioccw
from lab.processes import cpu_time, stop
from vfioccw_fuse.client import FbaDisk, NoInterruption, Program, ProgramFailed, Subchannel
from vfioccw_fuse.devices.dasd import RELEASE, RESERVE, SLCK
from vfioccw_fuse.devices.eckd.volume import create
from vfioccw_fuse.regions.constants import CCW_CMD_NOOP, CCW_FLAG_SLI

A_WHILE = 0.3
"""Seconds in which what must not happen would."""
Shared = Callable[[], Mount]


BOTH = pytest.mark.parametrize("kind", ["3390", "fba"])


@pytest.fixture
def kind() -> str:
    """The device type, unless a test has others."""
    return "3390"


@pytest.fixture
def disk(kind: str, tmp_path: Path) -> Path:
    path = tmp_path / "disk"
    if kind == "3390":
        create(path, 1)
        return path
    return make_image(path)


@pytest.fixture
def shared(kind: str, disk: Path, tmp_path: Path) -> Iterator[Shared]:
    """Mounts the disk, each time at a place of its own; unmounted at the end."""
    places: list[Path] = []
    with ExitStack() as stack:

        def one() -> Mount:
            places.append(tmp_path / f"mnt{len(places)}")
            words = "--device", f"{kind}@{SCHID}:{disk},shared"
            return stack.enter_context(mounted_at(places[-1], *words))

        yield one


def run(mount: Mount, code: int, timeout: float = 60.0) -> None:
    """One command; NoInterruption if it does not end in time, ProgramFailed for a unit check."""
    with Subchannel(mount.path / SCHID) as sch, Program(sch.storage) as program:
        program.ccw(code, CCW_FLAG_SLI, 32)
        program.lay_out()
        sch.execute(program, timeout)


def busy(mount: Mount) -> None:
    """A program does not begin."""
    with pytest.raises(NoInterruption):
        run(mount, CCW_CMD_NOOP, A_WHILE)


@BOTH
def test_a_mount_waits_for_what_another_has_reserved(shared: Shared) -> None:
    one, two = shared(), shared()
    run(one, RESERVE)
    assert (one.state()["reservation"], two.state()["reservation"]) == ("here", "elsewhere")
    busy(two)
    run(one, CCW_CMD_NOOP)
    run(one, RELEASE)
    run(two, CCW_CMD_NOOP)
    assert (one.state()["reservation"], two.state()["reservation"]) == ("none", "none")


@BOTH
def test_a_mount_takes_away_what_another_has_reserved(shared: Shared, kind: str) -> None:
    one, two = shared(), shared()
    run(one, RESERVE)
    run(two, SLCK)
    assert (one.state()["reservation"], two.state()["reservation"]) == ("elsewhere", "here")
    with pytest.raises(ProgramFailed) as failed:
        run(one, CCW_CMD_NOOP)
    if kind == "3390":
        said = vfioccw("decode", "sense", "--device", "3390", failed.value.sense.hex()).stdout
        assert "storage-control equipment check, allegiance terminated" in said
    busy(one)
    run(two, RELEASE)
    run(one, CCW_CMD_NOOP)


@pytest.mark.parametrize("stopped", [False, True])
def test_what_a_killed_mount_had_reserved_is_free_at_once(
    disk: Path, kind: str, shared: Shared, tmp_path: Path, stopped: bool
) -> None:
    """Also for who waits already, and if the mount did not answer before."""
    other = mount_at(tmp_path / "killed", "--device", f"{kind}@{SCHID}:{disk},shared")
    try:
        one = shared()
        run(other, RESERVE)
        if stopped:
            stop(other.pid)
        with Subchannel(one.path / SCHID) as sch, Program(sch.storage) as program:
            program.ccw(SLCK if stopped else RESERVE, CCW_FLAG_SLI, 32)
            program.lay_out()
            assert sch.start(program.orb()) == 0
            assert not sch.wait(A_WHILE)
            os.kill(other.pid, signal.SIGKILL)
            assert sch.wait(60)
            assert sch.result().scsw_dstat == 0x0C
        assert one.state()["reservation"] == "here"
    finally:
        other.give_up()


@pytest.mark.parametrize("way", ["umount", "remove", "reset"])
def test_what_ends_a_reservation(
    shared: Shared, disk: Path, kind: str, tmp_path: Path, way: str
) -> None:
    one = shared()
    words = [("--device", f"{kind}@{schid}:{disk},shared") for schid in (SCHID, "0.0.0001")]
    with mounted_at(tmp_path / "other", *words[0], *words[1]) as other:
        run(other, RESERVE)
        if way == "remove":
            done = vfioccw("remove", other.path / SCHID)
            assert done.returncode == 0, done.stderr
        elif way == "reset":
            other.reset()
        if way != "umount":
            run(one, CCW_CMD_NOOP)
    run(one, CCW_CMD_NOOP)


def test_what_waits_and_what_is_reserved_cost_next_to_nothing(shared: Shared) -> None:
    one, two = shared(), shared()
    run(one, RESERVE)
    with Subchannel(two.path / SCHID) as sch, Program(sch.storage) as program:
        program.ccw(CCW_CMD_NOOP, CCW_FLAG_SLI, 1)
        program.lay_out()
        assert sch.start(program.orb()) == 0
        before = cpu_time(one.pid) + cpu_time(two.pid)
        assert not sch.wait(2)
        assert cpu_time(one.pid) + cpu_time(two.pid) - before < 0.3
        sch.clear_and_wait()
    run(one, RELEASE)


@pytest.mark.parametrize("kind", ["fba"])
def test_what_one_mount_has_written_the_other_reads(shared: Shared) -> None:
    one, two = shared(), shared()
    with Subchannel(one.path / SCHID) as first, Subchannel(two.path / SCHID) as second:
        disks = FbaDisk(first), FbaDisk(second)
        for turn in range(6):
            writer, reader = disks[turn % 2], disks[1 - turn % 2]
            data = os.urandom(8 * 512)
            reader.read(0, 8)
            writer.write_blocks(0, data)
            assert reader.read(0, 8) == data
