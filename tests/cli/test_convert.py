"""``vfioccw image convert`` and ``image info --vtoc``."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from lab.mounts import PROJECT, command, mounted_at
from lab.waits import SOON, until
from tests.cli.commands import Done, complaint, vfioccw
from tests.cli.test_image_ckd import on_a_terminal
from tests.devices.eckd.test_hercules import tool, used
from vfioccw_fuse.devices.eckd.convert import to_3390, to_raw
from vfioccw_fuse.devices.eckd.image import HEADER_LENGTH
from vfioccw_fuse.devices.eckd.labels import Record, pack_track
from vfioccw_fuse.devices.eckd.track import SLOT
from vfioccw_fuse.devices.eckd.volume import check, create
from vfioccw_fuse.errors import UserError

TRACK = 12 * 4096


def pattern(length: int) -> bytes:
    """Bytes without zeros, of which no two tracks are equal."""
    return b"".join(b"%07d\xff" % at for at in range(-(-length // 8)))[:length]


def convert(*words: object) -> Done:
    return vfioccw("image", "convert", *words)


def good(done: Done) -> str:
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode()


def refused(done: Done, status: int = 1) -> str:
    assert (done.returncode, done.stdout) == (status, b"")
    return complaint(done)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A file system's image, so to say: data, a hole, and an end in the midst of a track."""
    path = tmp_path / "fs.img"
    with path.open("wb") as file:
        file.write(pattern(5 * TRACK))
        file.seek(40 * TRACK)
        file.write(pattern(TRACK // 2))
    return path


@pytest.fixture
def volume(raw: Path, tmp_path: Path) -> Path:
    good(convert(raw, tmp_path / "vol.ckd", "--volser", "linux1"))
    return tmp_path / "vol.ckd"


def test_a_raw_image_is_a_partition_of_a_3390_and_back(raw: Path, tmp_path: Path) -> None:
    volume, back = tmp_path / "vol.ckd", tmp_path / "back.img"
    said = good(convert(raw, volume, "--volser", "linux1"))
    assert said == f"{volume}: 3390, 3 cylinders of 15 tracks, partition 1 is {raw}\n"
    assert check(volume) == []
    assert volume.stat().st_blocks * 512 < 10 * SLOT
    said = good(convert(volume, back))
    size = 43 * TRACK
    named = "partition 1 (LINUX.VLINUX1.PART0001.NATIVE)"
    assert said == f"{back}: raw image, {size} bytes, {named} of {volume}\n"
    assert back.read_bytes() == raw.read_bytes().ljust(size, b"\0")
    assert back.stat().st_blocks * 512 < 8 * TRACK
    assert sorted(os.listdir(tmp_path)) == ["back.img", "fs.img", "vol.ckd"]


def test_info_shows_data_sets_and_partitions(volume: Path, raw: Path) -> None:
    lines = good(vfioccw("image", "info", volume, "--vtoc")).splitlines()
    assert "volume:    LINUX1" in lines
    assert [line.split()[0] for line in lines[-5:] if line] == [
        "data", "LINUX.VLINUX1.PART0001.NATIVE", "partition", "1",
    ]  # fmt: skip
    assert lines[-4].split()[-3:] == ["0/2", "2/14", "43"]
    assert lines[-1].split()[:4] == ["1", "24", "516", str(43 * TRACK)]
    assert "only a CKD image has a VTOC" in refused(vfioccw("image", "info", raw, "--vtoc"))


def test_the_tools_of_hercules_read_one_with_every_track(raw: Path, tmp_path: Path) -> None:
    good(convert(raw, tmp_path / "vol.ckd", "--full", "--cylinders", 4, "--volser", "FULL01"))
    said = tool("dasdls", "vol.ckd", directory=tmp_path)
    assert said.splitlines()[-1].rstrip() == "LINUX.VFULL01.PART0001.NATIVE"
    said = tool("ckd2cckd", "vol.ckd", "small.cckd", directory=tmp_path)
    assert "null track" not in said
    tool("cckd2ckd", "small.cckd", "again.ckd", directory=tmp_path)
    assert used(tmp_path / "again.ckd") == used(tmp_path / "vol.ckd")
    good(convert(tmp_path / "again.ckd", tmp_path / "back.img"))
    assert (tmp_path / "back.img").read_bytes()[: raw.stat().st_size] == raw.read_bytes()


def test_a_volume_of_the_linux_layout_is_one_partition(tmp_path: Path) -> None:
    path = tmp_path / "ldl.ckd"
    create(path, 1, format="ldl")
    blocks = [pattern(4096 * 24)[at * 4096 :][:4096] for at in range(24)]
    with path.open("r+b") as file:
        for track in (1, 14):
            file.seek(HEADER_LENGTH + track * SLOT)
            file.write(pack_track(0, track, [Record(b"", one) for one in blocks[:12]]))
    assert "partition 1 of" in good(convert(path, tmp_path / "back.img"))
    data = (tmp_path / "back.img").read_bytes()
    assert len(data) == (15 * 12 - 3) * 4096
    assert data[9 * 4096 : 21 * 4096] == b"".join(blocks[:12]) == data[-TRACK:]


def test_options_belong_to_a_direction(raw: Path, volume: Path, tmp_path: Path) -> None:
    line = refused(convert(raw, tmp_path / "x", "--partition", 1), 2)
    assert "--partition is not for a raw image" in line
    for option in (["--cylinders", 3], ["--volser", "A"], ["--full"]):
        line = refused(convert(volume, tmp_path / "x", *option), 2)
        assert f"{option[0]} is not for a 3390" in line
    assert not (tmp_path / "x").exists()


def test_what_cannot_be_converted_is_one_line_and_leaves_nothing(
    raw: Path, volume: Path, tmp_path: Path
) -> None:
    create(tmp_path / "none.ckd", 1, format="none")
    create(tmp_path / "bare.ckd", 1, format="cdl")
    (tmp_path / "odd.img").write_bytes(bytes(700))
    (tmp_path / "empty.img").touch()
    (tmp_path / "cckd").write_bytes(b"CKD_C370".ljust(512, b"\0"))
    mbr = bytes(450) + b"\x83\0\0\0" + (2048).to_bytes(4, "little") + b"\1\0\0\0" + bytes(48)
    (tmp_path / "mbr.img").write_bytes(mbr + b"\x55\xaa" + bytes(4096 - 512))
    with (tmp_path / "large.img").open("wb") as file:
        file.truncate(1 << 40)
    before = sorted(os.listdir(tmp_path))
    assert "no such file" in refused(convert(tmp_path / "nowhere.img", tmp_path / "new"))
    for source, words, said in (
        ("odd.img", {}, "not a raw disk"),
        ("empty.img", {}, "an empty file, not a raw disk"),
        ("cckd", {}, "compressed CKD"),
        ("mbr.img", {}, "a PC partition table"),
        ("large.img", {}, "the largest 3390 has room for 48306487296"),
        ("fs.img", {"cylinders": 2}, "needs 3"),
        ("fs.img", {"cylinders": 65521}, "at most 65520"),
        ("fs.img", {"volser": "too long"}, "volume serial 'too long'"),
        (tmp_path, {}, "not a file but a directory"),
    ):
        with pytest.raises(UserError, match=said):
            to_3390(str(tmp_path / source), str(tmp_path / "new"), **words)
    for source, number, said in (
        ("none.ckd", None, "its layout is none"),
        ("bare.ckd", None, "it has no partition"),
        ("vol.ckd", 2, "there is no partition 2; it has 1"),
    ):
        with pytest.raises(UserError, match=said):
            to_raw(str(tmp_path / source), str(tmp_path / "new"), partition=number)
    assert "exists already; --force replaces it" in refused(convert(raw, volume))
    (tmp_path / "new.new").touch()
    for target, replace, said in (
        (tmp_path, True, "not an ordinary file"),
        (tmp_path / "no" / "where", False, "cannot be made"),
        (tmp_path / "new", False, "remove it then"),
    ):
        with pytest.raises(UserError, match=said):
            to_3390(str(raw), str(target), replace=replace)
    (tmp_path / "new.new").unlink()
    with pytest.raises(UserError, match="is what it would be made of"):
        to_3390(str(raw), str(raw), replace=True)
    with pytest.raises(UserError, match="is what it would be made of"):
        to_raw(str(volume), str(volume), replace=True)
    assert sorted(os.listdir(tmp_path)) == before


def test_a_track_that_is_not_linuxs_is_named(volume: Path, tmp_path: Path) -> None:
    with volume.open("r+b") as file:
        file.seek(HEADER_LENGTH + 4 * SLOT)
        file.write(pack_track(0, 4, [Record(b"", bytes(80))]))
    line = refused(convert(volume, tmp_path / "new"))
    assert "cylinder 0 head 4 has not 12 blocks of 4096 bytes" in line
    assert not (tmp_path / "new").exists()


def test_an_image_in_use_is_refused_on_both_sides(
    raw: Path, volume: Path, tmp_path: Path
) -> None:
    devices = (f"fba@0.0.0313:{raw}", f"3390@0.0.0314:{volume}")
    words = [word for device in devices for word in ("--device", device)]
    with mounted_at(tmp_path / "mnt", *words) as system:
        for source, target in ((raw, "a"), (volume, "b")):
            line = refused(convert(source, tmp_path / target))
            assert line.startswith(f"{source}: in use by PID {system.pid} ")
            assert not (tmp_path / target).exists()
        create(tmp_path / "other.ckd", 1, format="ldl")
        line = refused(convert(tmp_path / "other.ckd", raw, "--force"))
        assert line.startswith(f"{raw}: in use by PID {system.pid} ")
    readers = [word.replace(str(raw), f"{raw},readonly") for word in words[:2]]
    with mounted_at(tmp_path / "mnt", *readers):
        good(convert(raw, tmp_path / "a"))


def test_force_replaces_at_the_end_and_keeps_permissions(raw: Path, volume: Path) -> None:
    volume.chmod(0o640)
    before = volume.stat().st_ino
    good(convert(raw, volume, "--force", "--volser", "AGAIN"))
    assert volume.stat().st_ino != before
    assert volume.stat().st_mode & 0o777 == 0o640
    assert b"AGAIN" in vfioccw("image", "info", volume).stdout


def test_a_full_file_system_leaves_nothing(raw: Path, tmp_path: Path) -> None:
    """As a limit of the process's, whose signal Python ignores: the write fails."""
    words = " ".join(map(str, command("image", "convert", raw, tmp_path / "vol.ckd", "--full")))
    done = subprocess.run(
        ["bash", "-c", f"ulimit -f 2000; exec {words}"], capture_output=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT)}, timeout=SOON,
    )  # fmt: skip
    assert done.returncode == 1
    assert complaint(done) == f"{tmp_path / 'vol.ckd'}: cannot be written: File too large"
    assert os.listdir(tmp_path) == ["fs.img"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_interrupted_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    raw = tmp_path / "fs.img"
    with raw.open("wb") as file:
        file.truncate(20 << 30)
    with subprocess.Popen(
        command("image", "convert", raw, tmp_path / "vol.ckd", "--full"),
        env={**os.environ, "PYTHONPATH": str(PROJECT)}, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        until((tmp_path / "vol.ckd.new").exists, "it has begun")
        process.send_signal(number)
        assert process.wait(SOON) == 128 + number
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert os.listdir(tmp_path) == ["fs.img"]


def test_how_far_it_is_shows_on_a_terminal(raw: Path, tmp_path: Path) -> None:
    assert "100%" in on_a_terminal("image", "convert", raw, tmp_path / "vol.ckd")
    assert "100%" in on_a_terminal("image", "convert", tmp_path / "vol.ckd", tmp_path / "back")
