"""Tracks that nobody has written: what is read there, and what the first write makes of them."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from tests.devices.eckd.conftest import Attach
from tests.devices.eckd.drive import extent, locate, pattern
from vfioccw_fuse.devices.eckd import unwritten
from vfioccw_fuse.devices.eckd.geometry import HEADS
from vfioccw_fuse.devices.eckd.image import HEADER_LENGTH, CkdImage
from vfioccw_fuse.devices.eckd.track import SLOT, survey
from vfioccw_fuse.devices.eckd.volume import check, create, fill, info
from vfioccw_fuse.errors import UserError

TRACK = 1 * HEADS + 4
ALL = (2, 14)


def slot_of(path: Path, track: int) -> bytes:
    with open(path, "rb") as file:
        file.seek(HEADER_LENGTH + track * SLOT)
        return file.read(SLOT)


@pytest.fixture(params=["ldl", "cdl", "none"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path]:
    """A sparse volume, and the same one of which every track was written."""
    sparse, full = tmp_path / "sparse.ckd", tmp_path / "full.ckd"
    for path in (sparse, full):
        create(path, 3, format=request.param, serial="ABC123456789", full=path is full)
    return sparse, full


def test_they_are_read_as_if_they_had_been_written(pair: tuple[Path, Path]) -> None:
    one, other = bytearray(SLOT), bytearray(SLOT)
    images = [CkdImage.open(path, readonly=True) for path in pair]
    for track in range(3 * HEADS):
        assert images[0].read_track(track, one)
        assert images[1].read_track(track, other)
        end = survey(other).end + 8
        assert one[:end] == other[:end]
        assert not any(one[end:])
    for image in images:
        image.close()
    assert info(pair[0]).layout == info(pair[1]).layout
    assert (info(pair[0]).unwritten is None, info(pair[1]).unwritten) == (False, None)


def test_filling_makes_the_volume_that_was_written_whole(pair: tuple[Path, Path]) -> None:
    told: list[tuple[int, int]] = []
    assert fill(pair[0], lambda *args: told.append(args))
    assert pair[0].read_bytes() == pair[1].read_bytes()
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert not fill(pair[0])
    assert info(pair[0]).unwritten is None


def test_a_copy_whose_holes_became_zeros_is_the_same(tmp_path: Path) -> None:
    create(tmp_path / "v.ckd", 1, full=False)
    (tmp_path / "copy.ckd").write_bytes((tmp_path / "v.ckd").read_bytes())
    assert check(tmp_path / "copy.ckd") == []


def test_without_the_mark_in_the_header_zeros_are_no_track(tmp_path: Path) -> None:
    create(tmp_path / "v.ckd", 1, full=False)
    with open(tmp_path / "v.ckd", "r+b") as file:
        file.seek(32)
        file.write(b"\0")
    assert len(check(tmp_path / "v.ckd")) == HEADS - 1


def test_an_unknown_mark_is_none(tmp_path: Path) -> None:
    create(tmp_path / "v.ckd", 1, full=False)
    with open(tmp_path / "v.ckd", "r+b") as file:
        file.seek(32)
        file.write(b"\x09")
    assert len(check(tmp_path / "v.ckd")) == HEADS - 1
    assert not fill(tmp_path / "v.ckd")


def test_reading_writes_nothing(tmp_path: Path, attached: Attach) -> None:
    create(tmp_path / "v.ckd", 3, full=False)
    before = os.stat(tmp_path / "v.ckd").st_blocks
    drive = attached(tmp_path / "v.ckd")
    ending = drive.run(extent(last=ALL), locate(0x06, 1, 4, 3), (0x86, 4096))
    assert ending.ok
    assert ending.data[2] == bytes(4096)
    assert os.stat(tmp_path / "v.ckd").st_blocks == before


def test_the_first_write_makes_a_track(tmp_path: Path, attached: Attach) -> None:
    create(tmp_path / "v.ckd", 3, full=False)
    drive = attached(tmp_path / "v.ckd")
    data = pattern(3, 4096)
    assert drive.run(extent(0x80, last=ALL), locate(1, 1, 4, 3, 1, 4096), (0x8D, data)).ok
    layout = survey(slot_of(tmp_path / "v.ckd", TRACK))
    assert layout.whole
    assert layout.datas == [8] + [4096] * 12
    start = layout.starts[3] + 8
    slot = slot_of(tmp_path / "v.ckd", TRACK)
    assert slot[start : start + 4096] == data
    assert slot[:5] == struct.pack(">BHH", 0, 1, 4)
    assert not any(slot_of(tmp_path / "v.ckd", TRACK + 1))
    assert check(tmp_path / "v.ckd") == []
    other = pattern(9, 4096)
    assert drive.run(extent(0x80, last=ALL), locate(1, 1, 4, 12, 1, 4096), (0x8D, other)).ok
    reads = drive.run(extent(last=ALL), locate(0x06, 1, 4, 1, 12), *[(0x86, 4096)] * 12)
    assert reads.ok
    assert reads.data[4] == data
    assert reads.data[13] == other


def test_formatting_makes_a_track_of_what_was_formatted(tmp_path: Path, attached: Attach) -> None:
    create(tmp_path / "v.ckd", 3, full=False)
    drive = attached(tmp_path / "v.ckd")
    count = struct.pack(">HHBBH", 1, 4, 1, 0, 80)
    write = drive.run(extent(0xC0, last=ALL), locate(3, 1, 4, 0), (0x1D, count + pattern(1, 80)))
    assert write.ok
    layout = survey(slot_of(tmp_path / "v.ckd", TRACK))
    assert (layout.datas, layout.whole) == ([8, 80], True)


def test_a_track_whose_making_was_cut_off_is_one_that_nobody_has_written(tmp_path: Path) -> None:
    create(tmp_path / "v.ckd", 3, full=False)
    frame = list(unwritten.Unwritten(unwritten.BLOCKS).frame(TRACK))
    assert frame[-1][0] == 0
    assert len(frame) == 14
    with open(tmp_path / "v.ckd", "r+b") as file:
        for offset, part in frame[:-1]:
            file.seek(HEADER_LENGTH + TRACK * SLOT + offset)
            file.write(part)
            file.flush()
            assert check(tmp_path / "v.ckd") == []
    image = CkdImage.open(tmp_path / "v.ckd")
    slot = bytearray(SLOT)
    assert image.read_track(TRACK, slot)
    image.write(TRACK, survey(slot).starts[1] + 8, b"data")
    image.close()
    assert survey(slot_of(tmp_path / "v.ckd", TRACK)).whole


def test_two_who_share_a_volume_lose_no_write_to_such_a_track(tmp_path: Path) -> None:
    create(tmp_path / "v.ckd", 3, full=False)
    images = [CkdImage.open(tmp_path / "v.ckd", shared=True) for _ in range(2)]
    slot = bytearray(SLOT)
    for image in images:
        assert image.read_track(TRACK, slot)
    starts = survey(slot).starts
    for record, image in enumerate(images, 1):
        image.write(TRACK, starts[record] + 8, bytes([record]) * 4096)
    for image in images:
        assert image.read_track(TRACK, slot)
        for record in (1, 2):
            assert slot[starts[record] + 8 : starts[record] + 4104] == bytes([record]) * 4096
        image.close()


def test_a_volume_in_use_is_not_filled(tmp_path: Path) -> None:
    create(tmp_path / "v.ckd", 1, full=False)
    image = CkdImage.open(tmp_path / "v.ckd")
    with pytest.raises(UserError, match=r"v\.ckd: in use by"):
        fill(tmp_path / "v.ckd")
    image.close()


def test_a_large_volume_takes_little_room_and_is_checked_at_once(tmp_path: Path) -> None:
    path = tmp_path / "v.ckd"
    create(path, 10_000, full=False)
    assert path.stat().st_size == HEADER_LENGTH + 150_000 * SLOT
    assert path.stat().st_blocks * 512 < 1 << 20
    looked: list[tuple[int, int]] = []
    assert check(path, lambda *args: looked.append(args)) == []
    assert len(looked) <= 2, "holes are passed over"
