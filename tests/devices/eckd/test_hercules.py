"""Interoperation with the Hercules tools (Debian package hercules), both ways.

This file is collected only where the tools are installed.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from tests.devices.eckd.drive import Drive, extent, locate, pattern
from vfioccw_fuse.devices.eckd.image import CkdImage
from vfioccw_fuse.devices.eckd.labels import EBCDIC
from vfioccw_fuse.devices.eckd.track import SLOT, survey
from vfioccw_fuse.devices.eckd.volume import check, create, fill, info

CARDS = "".join(line.ljust(80) for line in ("first line", "second line")).encode(EBCDIC)


def tool(*words: str | Path, directory: Path, ok: bool = True) -> str:
    """Run one of the tools; gives what it printed."""
    done = subprocess.run(
        [os.fspath(word) for word in words],
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
        check=False,
    )
    text = done.stdout.decode("latin-1")
    if ok:
        assert done.returncode == 0, text
    return text


def used(path: Path) -> list[bytes]:
    """The used part of every track: what the rest of a slot holds does not matter."""
    image = CkdImage.open(path, readonly=True)
    slot = bytearray(SLOT)
    parts = []
    for track in range(image.tracks):
        assert image.read_track(track, slot)
        layout = survey(slot)
        assert layout.whole
        parts.append(bytes(slot[: layout.end + 8]))
    image.close()
    return parts


# ------------------------------------------------------------------ their volumes, our device


def test_dasdinit_makes_what_we_take(tmp_path):
    tool("dasdinit", "-r", "raw.ckd", "3390", "3", directory=tmp_path)
    tool("dasdinit", "label.ckd", "3390", "LABVOL", "3", directory=tmp_path)
    tool("dasdinit", "-linux", "linux.ckd", "3390", "LINVOL", "3", directory=tmp_path)
    layouts = {name: info(tmp_path / f"{name}.ckd") for name in ("raw", "label", "linux")}
    assert [(one.layout, one.volser, one.cylinders) for one in layouts.values()] == [
        ("none", None, 3),
        ("os", "LABVOL", 3),
        ("cdl", "LINVOL", 3),
    ]
    for name in layouts:
        assert check(tmp_path / f"{name}.ckd") == []


def test_empty_tracks_are_those_of_dasdinit(tmp_path):
    tool("dasdinit", "-r", "theirs.ckd", "3390", "3", directory=tmp_path)
    create(tmp_path / "ours.ckd", 3, format="none")
    assert used(tmp_path / "ours.ckd") == used(tmp_path / "theirs.ckd")
    assert (tmp_path / "ours.ckd").stat().st_size == (tmp_path / "theirs.ckd").stat().st_size


def test_compatible_layout_is_that_of_dasdinit_for_linux(tmp_path):
    """All but the IPL text, the label's owner field and newer fields of the format-4 DSCB."""
    tool("dasdinit", "-linux", "theirs.ckd", "3390", "LINVOL", "3", directory=tmp_path)
    create(tmp_path / "ours.ckd", 3, "LINVOL", "cdl")
    ours, theirs = used(tmp_path / "ours.ckd"), used(tmp_path / "theirs.ckd")
    assert ours[2:] == theirs[2:]
    assert [len(track) for track in ours] == [len(track) for track in theirs]
    vtoc, other = survey(ours[1].ljust(SLOT)), survey(theirs[1].ljust(SLOT))
    assert vtoc[:3] == other[:3]
    assert ours[1][21 : 21 + 8 + 44 + 80] == theirs[1][21 : 21 + 8 + 44 + 80]


@pytest.fixture
def loaded(tmp_path: Path) -> Path:
    """A volume from dasdload: a sequential data set and an empty partitioned one."""
    (tmp_path / "input").write_bytes(CARDS)
    (tmp_path / "control").write_text(
        "LOADVO 3390 4\n"
        "SYSVTOC VTOC TRK 5\n"
        "TEST.PDS EMPTY CYL 1 0 5 PO FB 80 3120 0\n"
        "TEST.SEQ SEQ input TRK 1 0 0 PS FB 80 800 0\n"
    )
    tool("dasdload", "control", "loaded.ckd", directory=tmp_path)
    return tmp_path / "loaded.ckd"


def test_a_loaded_volume_is_without_problems(loaded):
    assert check(loaded) == []
    assert (info(loaded).layout, info(loaded).volser) == ("os", "LOADVO")


def find(machine: Drive, name: str) -> tuple[int, int]:
    """The first track of a data set, from its format-1 DSCB in the VTOC on cylinder 0, head 1."""
    key = name.ljust(44).encode(EBCDIC)
    found = machine.run(
        extent(),
        (0x07, struct.pack(">HHH", 0, 0, 1)),
        *[(0x0E, 140)] * 6,
    )
    for data in found.data[2:]:
        if data[:44] == key:
            cylinder, head = struct.unpack_from(">HH", data, 44 + 63)
            return cylinder, head
    raise AssertionError(f"{name} not in the VTOC")


def test_our_device_reads_what_dasdload_wrote(loaded, attached):
    machine = attached(loaded)
    cylinder, head = find(machine, "TEST.SEQ")
    ending = machine.run(extent(), locate(6, cylinder, head, 1), (0x06, len(CARDS)))
    assert ending.ok
    assert ending.data[2] == CARDS


def test_dasdcat_reads_the_member_that_our_device_wrote(loaded, attached, tmp_path):
    machine = attached(loaded)
    cylinder, head = find(machine, "TEST.PDS")
    entry = "HELLO   ".encode(EBCDIC) + bytes([0, 1, 1, 0])
    directory = struct.pack(">H", 2 + 12 + 12) + entry + b"\xff" * 8 + bytes(4)
    block = b"\xff" * 8 + directory.ljust(256, b"\0")
    write = machine.run(extent(0x80), locate(1, cylinder, head, 1, 1, 264), (0x0D, block))
    assert write.ok
    card = "written by a channel program".ljust(80).encode(EBCDIC)
    count = struct.pack(">HHBBH", cylinder, head + 1, 1, 0, 80)
    end = struct.pack(">HHBBH", cylinder, head + 1, 2, 0, 0)
    member = machine.run(
        extent(0xC0), locate(3, cylinder, head + 1, 0, 2), (0x1D, count + card), (0x1D, end)
    )
    assert member.ok
    machine.device.close()
    # Its exit status is 1 even if all is well.
    assert "hello" in tool("dasdcat", "-i", loaded, "TEST.PDS/?", directory=tmp_path, ok=False)
    text = tool("dasdcat", "-i", loaded, "TEST.PDS/HELLO:ac", directory=tmp_path, ok=False)
    assert "written by a channel program" in text
    tool("dasdpdsu", loaded, "TEST.PDS", "ascii", directory=tmp_path)
    (unloaded,) = tmp_path.glob("[hH][eE][lL][lL][oO].*")
    assert b"written by a channel program" in unloaded.read_bytes()
    assert check(loaded) == []
    machine.device.image = CkdImage.open(loaded)


# ------------------------------------------------------------------ our volumes, their tools


def test_dasdls_reads_our_label_and_vtoc(tmp_path):
    create(tmp_path / "ours.ckd", 3, "OURVOL", "cdl")
    text = tool("dasdls", "ours.ckd", directory=tmp_path)
    assert "VOLSER=OURVOL" in text
    assert "HHC" not in text


def test_their_tools_read_what_was_written_of_a_sparse_volume_and_all_of_it_when_filled(tmp_path):
    create(tmp_path / "ours.ckd", 3, "OURVOL", "cdl", full=False)
    assert "VOLSER=OURVOL" in tool("dasdls", "ours.ckd", directory=tmp_path)
    said = tool("ckd2cckd", "ours.ckd", "sparse.cckd", directory=tmp_path)
    assert said.count("null track substituted") == 3 * 15 - 2
    before = used(tmp_path / "ours.ckd")
    assert fill(tmp_path / "ours.ckd")
    assert used(tmp_path / "ours.ckd") == before
    said = tool("ckd2cckd", "ours.ckd", "full.cckd", directory=tmp_path)
    assert "error" not in said
    tool("cckd2ckd", "full.cckd", "back.ckd", directory=tmp_path)
    assert used(tmp_path / "back.ckd") == before


@pytest.mark.parametrize("kind", ["none", "ldl", "cdl"])
def test_compressing_and_expanding_gives_the_same_tracks(tmp_path, kind):
    create(tmp_path / "ours.ckd", 3, format=kind)
    tool("ckd2cckd", "ours.ckd", "small.cckd", directory=tmp_path)
    tool("cckdcdsk", "-3", "small.cckd", directory=tmp_path)
    tool("cckd2ckd", "small.cckd", "back.ckd", directory=tmp_path)
    assert used(tmp_path / "back.ckd") == used(tmp_path / "ours.ckd")
    assert check(tmp_path / "back.ckd") == []


def test_a_volume_that_our_device_wrote_survives_their_tools(tmp_path, volume, attached):
    """Keys, end-of-file records, records of all lengths, written by channel programs."""
    machine = attached(volume)
    lengths = [0, 1, 80, 4096, 12000]
    for head in range(15):
        chain = [
            (
                0x1D,
                struct.pack(">HHBBH", 1, head, at + 1, head, length) + pattern(at, head + length),
            )
            for at, length in enumerate(lengths)
        ]
        assert machine.run(extent(0xC0), locate(3, 1, head, 0, len(chain)), *chain).ok
    tool("ckd2cckd", volume, "small.cckd", directory=tmp_path)
    tool("cckdcdsk", "-3", "small.cckd", directory=tmp_path)
    tool("dasdcopy", "-o", "ckd", "small.cckd", "copy.ckd", directory=tmp_path)
    assert used(tmp_path / "copy.ckd") == used(volume)


def test_a_compressed_volume_is_refused_with_the_remedy(tmp_path):
    create(tmp_path / "ours.ckd", 1, format="cdl")
    tool("ckd2cckd", "ours.ckd", "small.cckd", directory=tmp_path)
    with pytest.raises(Exception, match="cckd2ckd"):
        info(tmp_path / "small.cckd")


def test_a_volume_in_several_files_is_one_for_their_tools_too(tmp_path, volume):
    """Two files as dasdinit makes them for a volume beyond 2 GiB, only smaller."""
    data = volume.read_bytes()
    length = 2 * 15 * SLOT
    for number, (start, end, highest) in enumerate([(0, length, 1), (length, None, 0)], 1):
        header = bytearray(data[:512])
        struct.pack_into("<BH", header, 17, number, highest)
        part = data[512:][start:end]
        (tmp_path / f"part{number}.ckd").write_bytes(bytes(header) + part)
    assert used(tmp_path / "part1.ckd") == used(volume)
    tool("ckd2cckd", "part1.ckd", "small.cckd", directory=tmp_path)
    tool("cckd2ckd", "small.cckd", "back.ckd", directory=tmp_path)
    assert used(tmp_path / "back.ckd") == used(volume)


def test_the_tools_are_there():
    for name in ("dasdinit", "dasdls", "dasdcat", "dasdpdsu", "dasdload", "dasdcopy", "ckd2cckd"):
        assert shutil.which(name)
