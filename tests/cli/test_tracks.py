"""``vfioccw read`` and ``write`` on a 3390: by block, by track, by record."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.mounts import PROJECT, Mount, command, make_image, mount_at, mounted_at
from lab.waits import SOON, until
from tests.cli.commands import Done, complaint, vfioccw
from vfioccw_fuse.devices.eckd.volume import check, create

BLOCK, TRACK, BLOCKS, TRACKS = 4096, 65536, 360, 30
CDL, OLD, EMPTY, FBA, TAPE = (f"0.0.03{at:02x}" for at in range(0x13, 0x18))


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mount]:
    """A mount with a compatible volume, one behind a 3990-3, an empty one, and other devices."""
    place = tmp_path_factory.mktemp("tracks")
    create(place / "cdl.ckd", 2, "LINUX1", "cdl")
    create(place / "old.ckd", 2, "LINUX2", "cdl")
    create(place / "empty.ckd", 2, format="none")
    (place / "tape.aws").touch()
    devices = (
        f"3390@{CDL}:{place}/cdl.ckd", f"3390@{OLD}:{place}/old.ckd,cu=3990-3",
        f"3390@{EMPTY}:{place}/empty.ckd", f"fba@{FBA}:{make_image(place / 'fba.img')}",
        f"3490@{TAPE}:{place}/tape.aws",
    )  # fmt: skip
    words = [word for device in devices for word in ("--device", device)]
    with mounted_at(place / "mnt", *words) as mounted:
        yield mounted
    assert check(place / "cdl.ckd") == check(place / "old.ckd") == []


def run(system: Mount, name: str, schid: str, *words: object, data: bytes | None = None) -> Done:
    return vfioccw(name, system.path / schid, *words, data=data)


def good(done: Done) -> bytes:
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout


def test_the_blocks_of_a_volume_are_copied_and_written_back(system: Mount, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    assert good(run(system, "read", CDL, "--output", copy)) == b""
    before = copy.read_bytes()
    assert len(before) == BLOCKS * BLOCK
    assert os.listdir(tmp_path) == ["copy"]
    new = os.urandom(100 * BLOCK)
    good(run(system, "write", CDL, "--block", 100, data=new))
    assert good(run(system, "read", CDL, "--block", 100, "--count", 100)) == new
    good(run(system, "write", CDL, "--input", copy))
    assert good(run(system, "read", CDL)) == before


@pytest.mark.parametrize("schid", [CDL, OLD])
def test_tracks_go_to_a_file_and_back(system: Mount, tmp_path: Path, schid: str) -> None:
    tracks = tmp_path / "tracks"
    good(run(system, "read", schid, "--track", "0/1", "--count", 3, "--output", tracks))
    data = tracks.read_bytes()
    assert len(data) == 3 * TRACK
    before = good(run(system, "read", schid, "--track", 27))
    assert data[16 : 16 + 8] == bytes([0, 0, 0, 1, 1, 44, 0, 96])
    good(run(system, "write", schid, "--track", 27, "--input", tracks))
    assert good(run(system, "read", schid, "--track", "1/12")) == data
    good(run(system, "write", schid, "--track", "1/12", data=before))


def test_records_are_listed_read_and_updated(system: Mount) -> None:
    listed = good(run(system, "read", CDL, "--track", "0", "--list")).decode().splitlines()
    assert listed[0].split() == ["cylinder", "head", "record", "key", "data"]
    assert [line.split() for line in listed[1:5]] == [
        ["0", "0", "0", "0", "8"], ["0", "0", "1", "4", "24"],
        ["0", "0", "2", "4", "144"], ["0", "0", "3", "4", "80"],
    ]  # fmt: skip
    where = ("--track", 0, "--record", 3)
    label = good(run(system, "read", CDL, *where))
    assert label[4:10].decode("cp037") == "LINUX1"
    assert good(run(system, "read", CDL, *where, "--key")) == label[:4] + label
    other = label[:4] + "OTHER1".encode("cp037") + label[10:]
    good(run(system, "write", CDL, *where, "--key", data=label[:4] + other))
    assert good(run(system, "read", CDL, *where)) == other
    good(run(system, "write", CDL, *where, data=label))
    assert len(good(run(system, "read", CDL, "--track", 0, "--record", 0))) == 8


@pytest.mark.parametrize(
    ("name", "schid", "words", "said"),
    [
        ("read", FBA, ["--track", 0], "a 9336 has no tracks; --block names its blocks"),
        ("read", TAPE, [], "not an FBA disk"),
        ("read", EMPTY, [], "not formatted by Linux"),
        ("write", EMPTY, [], "not formatted by Linux"),
        ("read", CDL, ["--block", BLOCKS + 1], f"the disk has blocks 0 to {BLOCKS - 1}"),
        ("read", CDL, ["--track", TRACKS], "there is no 30"),
        ("read", CDL, ["--track", "0/15"], "2 cylinders of 15 tracks, 0 to 29; there is no 0/15"),
        ("read", CDL, ["--track", 28, "--count", 3], "there are no 3 from 28 on"),
        ("read", CDL, ["--track", 2, "--record", 99], "track 2 has no record 99; --list shows"),
        ("write", CDL, ["--track", 2, "--record", 0], "with its track only"),
        ("write", CDL, ["--track", 2, "--record", 1], "has 4096 bytes of data, not 5"),
        ("write", CDL, ["--track", 2], "the last 5 bytes are no track of 65536"),
        ("write", CDL, [], "the last 5 bytes are no block of 4096"),
    ],
)
def test_what_cannot_be_is_one_line(
    system: Mount, name: str, schid: str, words: list[object], said: str
) -> None:
    done = run(system, name, schid, *words, data=b"short" if name == "write" else None)
    assert (done.returncode, done.stdout) == (1, b"")
    assert said in complaint(done)


@pytest.mark.parametrize(
    "words",
    [
        ["--track", "x"], ["--track", "1/2/3"], ["--track", -1], ["--block", 0, "--track", 0],
        ["--record", 0], ["--track", 0, "--record", 0, "--count", 0], ["--list"],
        ["--track", 0, "--key"], ["--track", 0, "--list", "--record", 1],
        ["--track", 0, "--list", "--output", "x"],
    ],
)  # fmt: skip
def test_wrong_use_is_told_before_anything_is_asked(tmp_path: Path, words: list[object]) -> None:
    done = vfioccw("read", tmp_path / "no mount", *words)
    assert done.returncode == 2
    assert "--help" in complaint(done)


def test_a_failure_says_what_is_written(system: Mount) -> None:
    tracks = good(run(system, "read", CDL, "--track", 25, "--count", 2))
    done = run(system, "write", CDL, "--track", 25, data=tracks + bytes(TRACK))
    assert complaint(done) == (
        "-: track 2 of it is none: the track has no end; take a file that vfioccw read --track has "
        "made; tracks 25 to 26 are written"
    )
    system.control("fault=unit-check:sense=1000:start=11", CDL)
    done = run(system, "write", CDL, "--block", 24, data=bytes(300 * BLOCK))
    system.control("fault=none", CDL)
    assert done.returncode == 1
    assert complaint(done).endswith("; blocks 24 to 215 are written")


def test_what_is_read_in_part_leaves_no_file(system: Mount, tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"as it was")
    system.control("fault=unit-check:sense=1000:start=12", CDL)
    done = run(system, "read", CDL, "--output", tmp_path / "old")
    system.control("fault=none", CDL)
    assert "equipment check" in complaint(done)
    assert (tmp_path / "old").read_bytes() == b"as it was"
    assert os.listdir(tmp_path) == ["old"]


def test_a_full_disk_is_one_line(system: Mount) -> None:
    done = run(system, "read", CDL, "--output", "/dev/full")
    assert complaint(done) == "/dev/full: cannot be written: No space left on device"


def test_a_reader_that_goes_away_is_no_error(system: Mount) -> None:
    with subprocess.Popen(
        command("read", system.path / CDL, "--track", 0), env=_environment(),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(8)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(SOON) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("read", "--output", "copy"), ""),
        (("write", "--block", "24"), "vfioccw: interrupted; blocks 24 to 119 are written\n"),
    ],
)
def test_ctrl_c_ends_a_program_that_hangs_and_the_disk_goes_on(
    system: Mount, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    last = int(system.state(CDL)["starts"]) + 10
    system.control("fault=hang:start=10", CDL)
    with subprocess.Popen(
        command(words[0], system.path / CDL, *words[1:]), env=_environment(), cwd=tmp_path,
        stdin=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stderr is not None
        if words[0] == "write":
            process.stdin.write(bytes(200 * BLOCK))
            process.stdin.close()
        until(lambda: _hangs(system, CDL, last), "it hangs")
        process.send_signal(signal.SIGINT)
        assert process.wait(SOON) == 130
        assert process.stderr.read().decode() == said
    system.control("fault=none", CDL)
    assert os.listdir(tmp_path) == []
    assert not _hangs(system, CDL, last), "what it leaves is ended"
    assert len(good(run(system, "read", CDL, "--count", 1))) == BLOCK


def _hangs(system: Mount, schid: str, start: int) -> bool:
    """Whether the start function that is number *start* has reached the device."""
    state = system.state(schid)
    return int(state["starts"]) == start and "device active" in state["scsw.actl"]


def test_a_mount_that_dies_and_a_subchannel_that_goes_are_one_line_each(tmp_path: Path) -> None:
    create(tmp_path / "a.ckd", 2, format="cdl")
    create(tmp_path / "b.ckd", 2, format="cdl")
    words = ("--device", f"3390@{CDL}:{tmp_path}/a.ckd", "--device", f"3390@{OLD}:{tmp_path}/b.ckd")
    system = mount_at(tmp_path / "mnt", *words)
    try:
        for schid in (CDL, OLD):
            system.control("fault=hang:start=8", schid)
        for schid, end in ((OLD, "remove"), (CDL, "kill")):
            with subprocess.Popen(
                command("read", system.path / schid), env=_environment(),
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            ) as process:  # fmt: skip
                until(functools.partial(_hangs, system, schid, 8), "it hangs")
                if end == "remove":
                    assert vfioccw("remove", system.path / schid).returncode == 0
                else:
                    os.kill(system.pid, signal.SIGKILL)
                assert process.stderr is not None
                assert process.wait(SOON) == 1
                lines = process.stderr.read().decode().splitlines()
                assert len(lines) == 1
                assert str(schid) in lines[0]
    finally:
        system.give_up()


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(PROJECT)}
