"""CKD images as files: what is opened, what is refused with which remedy, what is written where."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.devices.eckd.drive import make_track, make_volume
from vfioccw_fuse.devices.eckd.geometry import HEADS
from vfioccw_fuse.devices.eckd.image import HEADER_LENGTH, CkdImage
from vfioccw_fuse.devices.eckd.track import SLOT
from vfioccw_fuse.devices.eckd.volume import create
from vfioccw_fuse.devices.locks import Use
from vfioccw_fuse.devices.medium import Medium
from vfioccw_fuse.errors import UserError

CYLINDER = HEADS * SLOT


def refused(path: Path, *words: str) -> None:
    with pytest.raises(UserError) as caught:
        CkdImage.open(path, readonly=True)
    for word in words:
        assert word in caught.value.message
    assert "\n" not in caught.value.message


def patch(path: Path, offset: int, data: bytes) -> None:
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)


def test_an_image_is_opened_and_its_size_known(volume):
    image = CkdImage.open(volume)
    assert (image.cylinders, image.tracks, image.serial) == (3, 45, "ABC123456789")
    image.close()


def test_header_fields_are_those_of_hercules(volume):
    header = volume.read_bytes()[:HEADER_LENGTH]
    assert header[:8] == b"CKD_P370"
    assert struct.unpack_from("<IIBBH", header, 8) == (15, 56832, 0x90, 0, 0)
    assert header[20:32] == b"ABC123456789"
    assert not any(header[32:])
    sparse = volume.with_name("sparse.ckd")
    create(sparse, 1, format="none", full=False)
    assert sparse.read_bytes()[32] == 1, "tracks that nobody has written are empty"
    assert not any(sparse.read_bytes()[33:HEADER_LENGTH])


def test_a_missing_file_is_refused(tmp_path):
    refused(tmp_path / "none.ckd", "none.ckd", "No such file")


def test_a_directory_is_refused(tmp_path):
    refused(tmp_path, "not a file")


@pytest.mark.parametrize("content", [b"", b"x" * 4096, bytes(512)])
def test_a_file_that_is_no_image_is_refused(tmp_path, content):
    path = tmp_path / "x.img"
    path.write_bytes(content)
    refused(path, "not a CKD image", "image create 3390")


@pytest.mark.parametrize(
    ("magic", "word"),
    [
        (b"CKD_C370", "cckd2ckd"),
        (b"CKD_S370", "shadow"),
        (b"CKD_P064", "dasdcopy"),
        (b"CKD_C064", "dasdcopy"),
        (b"FBA_C370", "FBA"),
    ],
)
def test_other_formats_are_named_with_the_remedy(volume, magic, word):
    patch(volume, 0, magic)
    refused(volume, word)


def test_another_device_type_is_named(volume):
    patch(volume, 16, b"\x80")
    refused(volume, "3380", "only a 3390")


@pytest.mark.parametrize(("offset", "value"), [(8, 30), (12, 47988), (12, 0), (8, 0)])
def test_a_damaged_geometry_is_refused(volume, offset, value):
    patch(volume, offset, struct.pack("<I", value))
    refused(volume, "damaged")


@pytest.mark.parametrize("size", [512, 513, 512 + SLOT, 512 + CYLINDER - 1, 512 + 2 * CYLINDER + 9])
def test_a_size_of_no_whole_cylinders_is_refused(volume, size):
    os.truncate(volume, size)
    refused(volume, "cut short", "complete copy")


def test_too_many_cylinders_are_refused(volume):
    os.truncate(volume, 512 + 65521 * CYLINDER)
    refused(volume, "65521 cylinders", "65520")


def test_no_write_permission_suggests_readonly(volume, monkeypatch):
    def denied(path, flags, *rest):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(UserError, match="readonly"):
        CkdImage.open(volume)
    with pytest.raises(UserError, match=r"permission denied$"):
        CkdImage.open(volume, readonly=True)


def test_a_serial_that_is_not_printable_is_replaced_by_a_lasting_one(volume):
    patch(volume, 20, bytes(12))
    first, again = CkdImage.open(volume), CkdImage.open(volume, readonly=True)
    assert first.serial == again.serial
    assert len(first.serial) == 12
    assert first.serial.isdigit()
    first.close()
    again.close()


@given(st.binary(max_size=64))
def test_any_header_is_taken_or_refused_with_one_line(tmp_path_factory, header):
    path = tmp_path_factory.getbasetemp() / "any.ckd"
    with open(path, "wb") as file:
        file.write(header.ljust(512, b"\0"))
        file.truncate(512 + CYLINDER)
    message = ""
    try:
        CkdImage.open(path, readonly=True).close()
    except UserError as error:
        message = error.message
    assert "\n" not in message


# ------------------------------------------------------------------ several files


def split(volume: Path, cylinders: list[int]) -> list[Path]:
    """Make several files of one, as dasdinit does for volumes beyond 2 GiB."""
    data = volume.read_bytes()
    paths = []
    done = 0
    for number, share in enumerate(cylinders, 1):
        path = volume.with_name(f"part_{number}.ckd")
        last = number == len(cylinders)
        header = bytearray(data[:HEADER_LENGTH])
        struct.pack_into("<BH", header, 17, number, 0 if last else done + share - 1)
        part = data[HEADER_LENGTH + done * CYLINDER : HEADER_LENGTH + (done + share) * CYLINDER]
        path.write_bytes(bytes(header) + part)
        paths.append(path)
        done += share
    return paths


@pytest.mark.parametrize("readonly", [False, True])
def test_all_files_of_a_volume_are_locked_until_it_is_closed(tmp_path, readonly):
    paths = split(make_volume(tmp_path / "one.ckd", 4), [2, 1, 1])
    before = [path.read_bytes() for path in paths]
    image = CkdImage.open(paths[0], readonly)
    for path in paths:
        with pytest.raises(UserError, match=f"{path}: in use by"):
            create(path, 1, replace=True)
        if not readonly:
            with pytest.raises(UserError, match=f"{path}: in use by"):
                Medium.open(str(path), os.O_RDWR, use=Use.WRITE)
    assert [path.read_bytes() for path in paths] == before
    image.close()
    for path in paths:
        create(path, 1, replace=True)


def test_a_volume_of_which_one_file_is_in_use_is_refused_and_leaves_the_others(tmp_path):
    paths = split(make_volume(tmp_path / "one.ckd", 4), [2, 1, 1])
    last = Medium.open(str(paths[2]), os.O_RDWR, use=Use.WRITE)
    with pytest.raises(UserError, match=f"{paths[2]}: in use by"):
        CkdImage.open(paths[0])
    for path in paths[:2]:
        Medium.open(str(path), os.O_RDWR, use=Use.REPLACE).close()
    last.close()
    CkdImage.open(paths[0]).close()


@pytest.mark.parametrize("replace", [False, True])
def test_a_volume_that_is_being_made_is_in_use(tmp_path, replace):
    path = tmp_path / "one.ckd"
    if replace:
        create(path, 1)
    seen = []

    def look(_done, _all):
        for name in tmp_path.iterdir():
            with pytest.raises(UserError, match=f"{name}: in use by"):
                Medium.open(str(name), os.O_RDONLY, use=Use.READ)
            seen.append(name.name)

    create(path, 1, replace=replace, progress=look)
    assert sorted(seen) == (["one.ckd"] if replace else []) + ["one.ckd.new"]
    CkdImage.open(path).close()


def test_a_volume_in_several_files_is_one(tmp_path):
    volume = make_volume(tmp_path / "one.ckd", 6)
    whole = CkdImage.open(volume)
    parts = CkdImage.open(split(volume, [2, 3, 1])[0])
    assert parts.cylinders == 6
    one, other = bytearray(SLOT), bytearray(SLOT)
    for track in range(whole.tracks):
        assert whole.read_track(track, one)
        assert parts.read_track(track, other)
        assert one == other
    whole.close()
    parts.close()


def test_a_write_goes_to_the_file_that_holds_the_track(tmp_path):
    paths = split(make_volume(tmp_path / "one.ckd", 6), [2, 2, 2])
    before = [path.read_bytes() for path in paths]
    image = CkdImage.open(paths[0])
    image.write(2 * HEADS + 2, 100, b"HERE")
    image.close()
    assert paths[0].read_bytes() == before[0]
    assert paths[2].read_bytes() == before[2]
    offset = HEADER_LENGTH + 2 * SLOT + 100
    assert paths[1].read_bytes() == before[1][:offset] + b"HERE" + before[1][offset + 4 :]


def test_a_missing_part_is_named(tmp_path):
    paths = split(make_volume(tmp_path / "one.ckd", 6), [2, 2, 2])
    paths[1].unlink()
    refused(paths[0], "part_2.ckd", "missing")


def test_a_later_part_alone_is_refused(tmp_path):
    paths = split(make_volume(tmp_path / "one.ckd", 3), [1, 2])
    refused(paths[1], "file 2", "name the first")


def test_parts_in_the_wrong_order_are_refused(tmp_path):
    paths = split(make_volume(tmp_path / "one.ckd", 6), [2, 2, 2])
    paths[2].replace(paths[1])
    refused(paths[0], "file 3 of a volume")


def test_a_part_of_the_wrong_size_is_refused(tmp_path):
    paths = split(make_volume(tmp_path / "one.ckd", 3), [2, 1])
    os.truncate(paths[0], HEADER_LENGTH + CYLINDER)
    refused(paths[0], "ends with cylinder 1")


# ------------------------------------------------------------------ access


def test_nothing_outside_the_volume_is_read_or_written(volume):
    image = CkdImage.open(volume)
    buffer = bytearray(SLOT)
    for track in (-1, 45):
        with pytest.raises(ValueError, match="track"):
            image.read_track(track, buffer)
        with pytest.raises(ValueError, match="track"):
            image.write(track, 0, b"x")
    with pytest.raises(ValueError, match="leave"):
        image.write(44, SLOT - 1, b"xy")
    image.close()
    assert volume.stat().st_size == HEADER_LENGTH + 3 * CYLINDER


def test_a_file_that_shrinks_gives_no_track(volume):
    image = CkdImage.open(volume)
    os.truncate(volume, HEADER_LENGTH + SLOT)
    buffer = bytearray(SLOT)
    assert image.read_track(0, buffer)
    assert not image.read_track(1, buffer)
    image.close()


def test_a_writer_beside_us_is_seen(volume):
    image = CkdImage.open(volume)
    patch(volume, HEADER_LENGTH, make_track(0, 0, [(b"", b"new")]))
    buffer = bytearray(SLOT)
    assert image.read_track(0, buffer)
    assert b"new" in buffer
    image.close()


def test_create_makes_what_open_takes(tmp_path):
    create(tmp_path / "n.ckd", 7, format="none")
    image = CkdImage.open(tmp_path / "n.ckd")
    assert image.cylinders == 7
    assert image.serial.isdigit()
    image.close()
