"""Whole images: what `create` puts on them, what `info` says, what `check` finds."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.devices.eckd.drive import make_track, make_volume, pattern
from vfioccw_fuse.devices.eckd.geometry import HEADS
from vfioccw_fuse.devices.eckd.image import HEADER_LENGTH, CkdImage
from vfioccw_fuse.devices.eckd.labels import EBCDIC
from vfioccw_fuse.devices.eckd.track import SLOT, survey
from vfioccw_fuse.devices.eckd.volume import Severity, check, create, info
from vfioccw_fuse.errors import UserError


def slot_of(path: Path, track: int) -> bytes:
    with open(path, "rb") as file:
        file.seek(HEADER_LENGTH + track * SLOT)
        return file.read(SLOT)


def records(path: Path, track: int) -> list[tuple[bytes, bytes, bytes]]:
    """Identifier, key and data of every record of a track."""
    slot = slot_of(path, track)
    layout = survey(slot)
    assert layout.whole
    found = []
    for start, key, data in zip(layout.starts, layout.keys, layout.datas, strict=True):
        body = slot[start + 8 : start + 8 + key + data]
        found.append((slot[start : start + 5], body[:key], body[key:]))
    return found


def put(path: Path, track: int, offset: int, data: bytes) -> None:
    with open(path, "r+b") as file:
        file.seek(HEADER_LENGTH + track * SLOT + offset)
        file.write(data)


# ------------------------------------------------------------------ create


@pytest.mark.parametrize("kind", ["none", "ldl", "cdl"])
def test_a_fresh_volume_is_without_problems(tmp_path, kind):
    path = tmp_path / "v.ckd"
    create(path, 4, format=kind)
    assert path.stat().st_size == HEADER_LENGTH + 4 * HEADS * SLOT
    assert check(path) == []


def test_empty_tracks_have_home_address_and_record_zero(tmp_path):
    path = tmp_path / "v.ckd"
    create(path, 2, format="none")
    home, zero = "0000010002", "0001000200000008" + "00" * 8
    assert slot_of(path, 17)[:30].hex() == home + zero + "ff" * 8 + "00"
    assert path.stat().st_blocks * 512 < path.stat().st_size


def test_linux_layout_is_uniform_and_labelled(tmp_path):
    path = tmp_path / "v.ckd"
    create(path, 3, "linux9", "ldl")
    for track in (0, 1, 2, 44):
        found = records(path, track)
        assert [len(data) for _, _, data in found] == [8] + [4096] * 12
        cylinder, head = divmod(track, HEADS)
        assert [identifier for identifier, _, _ in found] == [
            struct.pack(">HHB", cylinder, head, number) for number in range(13)
        ]
    label = records(path, 0)[3][2]
    assert label[:10] == "LNX1LINUX9".encode(EBCDIC)
    assert label[79] == 0xF2
    assert struct.unpack_from(">Q", label, 80) == (3 * 15 * 12,)
    assert records(path, 0)[1][2][:8].hex() == "000a00000000000f"


def test_compatible_layout_has_keyed_labels_and_a_vtoc(tmp_path):
    path = tmp_path / "v.ckd"
    create(path, 3, "VOL123", "cdl")
    first = records(path, 0)
    assert [(len(key), len(data)) for _, key, data in first[1:4]] == [(4, 24), (4, 144), (4, 80)]
    assert [key.decode(EBCDIC) for _, key, _ in first[1:4]] == ["IPL1", "IPL2", "VOL1"]
    label = first[3][2]
    assert label[:10] == "VOL1VOL123".encode(EBCDIC)
    assert label[11:16].hex() == "0000000101"
    vtoc = records(path, 1)
    assert [(len(key), len(data)) for _, key, data in vtoc[1:]] == [(44, 96)] * 12
    assert vtoc[1][1] == b"\x04" * 44
    assert [data[0] for _, _, data in vtoc[1:4]] == [0xF4, 0xF5, 0]
    assert vtoc[2][1][4:9].hex() == "000200020d"
    assert [len(data) for _, _, data in records(path, 2)] == [8] + [4096] * 12


def test_vtoc_describes_the_device(tmp_path):
    path = tmp_path / "v.ckd"
    create(path, 3, format="cdl")
    data = records(path, 1)[1][2]
    assert struct.unpack_from(">H", data, 6) == (10,)  # free DSCBs
    assert struct.unpack_from(">HHH", data, 18) == (3, 15, 0xE5A2)
    assert data[30] == 12
    assert data[61:71].hex() == "01000000000100000001"
    assert struct.unpack_from(">I", data, 88) == (3,)


@pytest.mark.slow
def test_a_large_volume_has_its_free_space_in_format_7(tmp_path):
    path = tmp_path / "v.ckd"
    create(path, 4370, format="cdl")
    vtoc = records(path, 1)
    assert [data[0] for _, _, data in vtoc[1:4]] == [0xF4, 0xF5, 0xF7]
    assert struct.unpack_from(">II", vtoc[3][1], 4) == (2, 4370 * 15)
    assert vtoc[2][1][4:9] == bytes(5)
    assert vtoc[1][2][81:87].hex() == "070000000103"


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"cylinders": 0}, "1 to 65520"),
        ({"cylinders": 65521}, "1 to 65520"),
        ({"cylinders": 1, "volser": "TOOLONG"}, "volume serial"),
        ({"cylinders": 1, "volser": ""}, "volume serial"),
        ({"cylinders": 1, "volser": "A-B"}, "volume serial"),
        ({"cylinders": 1, "serial": "123"}, "12 letters or digits"),
        ({"cylinders": 1, "format": "fat"}, "one of"),
        ({"cylinders": 1, "format": "none", "volser": "X"}, "no label"),
    ],
)
def test_wrong_wishes_are_refused_and_nothing_is_made(tmp_path, arguments, word):
    path = tmp_path / "v.ckd"
    with pytest.raises(UserError, match=word):
        create(path, **arguments)
    assert not path.exists()


def test_an_existing_file_is_kept_unless_it_is_to_be_replaced(tmp_path):
    path = tmp_path / "v.ckd"
    path.write_text("precious")
    with pytest.raises(UserError, match="exists"):
        create(path, 1)
    assert path.read_text() == "precious"
    create(path, 1, replace=True)
    assert info(path).cylinders == 1
    assert os.listdir(tmp_path) == ["v.ckd"]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(UserError, match=r"v\.ckd"):
        create(tmp_path / "missing" / "v.ckd", 1)


def test_progress_is_told_by_cylinder(tmp_path):
    told: list[tuple[int, int]] = []
    create(tmp_path / "v.ckd", 3, progress=lambda *args: told.append(args))
    assert told == [(1, 3), (2, 3), (3, 3)]
    told.clear()
    check(tmp_path / "v.ckd", progress=lambda *args: told.append(args))
    assert told == [(1, 3), (2, 3), (3, 3)]


# ------------------------------------------------------------------ info


@pytest.mark.parametrize(
    ("kind", "volser", "block"),
    [("cdl", "TEST01", 4096), ("ldl", "TEST01", 4096), ("none", None, None)],
)
def test_info_knows_the_layout(tmp_path, kind, volser, block):
    path = tmp_path / "v.ckd"
    create(path, 4, volser, kind, "SER123456789")
    known = info(path)
    assert (known.layout, known.volser, known.block_size) == (kind, volser, block)
    assert (known.cylinders, known.heads, known.tracks, known.model) == (4, 15, 60, 1)
    assert known.serial == "SER123456789"
    assert known.blocks_per_track == (12 if block else None)
    assert known.size == path.stat().st_size


def test_info_of_a_volume_with_an_os_label(tmp_path):
    path = tmp_path / "v.ckd"
    create(path, 1, format="none")
    label = ("VOL1" + "OSVOL1").encode(EBCDIC).ljust(80, b"\x40")
    ipl = [(b"\xc9\xd7\xd3\xf1", bytes(24)), (b"\xc9\xd7\xd3\xf2", bytes(144))]
    put(path, 0, 0, make_track(0, 0, [*ipl, (b"\xe5\xd6\xd3\xf1", label)]))
    assert (info(path).layout, info(path).volser) == ("os", "OSVOL1")


# ------------------------------------------------------------------ check


def problems(path: Path) -> list[str]:
    return [str(problem) for problem in check(path)]


def test_a_wrong_home_address_is_found(volume):
    put(volume, 20, 0, bytes.fromhex("0000010006"))
    (found,) = check(volume)
    assert (found.cylinder, found.head, found.severity) == (1, 5, Severity.ERROR)
    assert "home address" in found.what


def test_a_flagged_home_address_is_found(volume):
    put(volume, 20, 0, b"\x02")
    assert "home address" in problems(volume)[0]


def test_a_missing_end_marker_is_found(volume):
    end = survey(slot_of(volume, 3)).end
    put(volume, 3, end, b"\0" * 8)
    assert "cylinder 0 head 3" in problems(volume)[0]
    assert any("no end marker" in problem for problem in problems(volume))


def test_a_record_that_leaves_the_slot_is_found(volume):
    start = survey(slot_of(volume, 3)).starts[4]
    put(volume, 3, start + 6, b"\xf0\x00")
    assert any("no record that fits" in problem for problem in problems(volume))


def test_a_missing_record_zero_is_found(volume):
    put(volume, 3, 0, bytes.fromhex("0000000003") + b"\xff" * 8)
    assert "record 0 is missing" in problems(volume)[0]
    put(volume, 3, 5 + 4, b"\x01")
    put(volume, 3, 0, make_track(0, 3, [])[:5] + make_track(0, 3, [(b"", b"x")])[21:])
    assert "not record 0" in problems(volume)[0]


def test_counts_out_of_order_are_found(volume):
    layout = survey(slot_of(volume, 3))
    put(volume, 3, layout.starts[3] + 4, b"\x02")
    (found,) = check(volume)
    assert found.severity is Severity.WARNING
    assert "record 2 follows record 2" in found.what


def test_a_count_of_another_track_is_found(volume):
    put(volume, 3, survey(slot_of(volume, 3)).starts[2] + 3, b"\x07")
    assert "head 7" in problems(volume)[0]


def test_more_than_a_3390_holds_is_found(volume):
    put(volume, 3, 0, make_track(0, 3, [(b"", pattern(1, 4096))] * 13))
    assert "more than fits" in problems(volume)[0]


def test_a_cut_image_is_refused(volume):
    os.truncate(volume, volume.stat().st_size - 1)
    with pytest.raises(UserError):
        check(volume)


def test_every_damaged_track_is_reported(volume):
    for track in range(45):
        put(volume, track, 0, bytes([0xAA] * 5))
    assert [(p.cylinder, p.head) for p in check(volume)] == [divmod(t, 15) for t in range(45)]


@pytest.mark.parametrize("kind", ["ldl", "cdl"])
def test_a_track_of_blocks_that_was_half_cleared_is_found(tmp_path, kind):
    path = tmp_path / "v.ckd"
    create(path, 2, format=kind)
    put(path, 9, 0, make_track(0, 9, []))
    (found,) = check(path)
    assert "0 records, not 12 blocks" in found.what


def test_a_format_write_that_tore_is_found(tmp_path):
    """A track was being formatted in blocks; only the first pages reached the medium."""
    path = tmp_path / "v.ckd"
    blocks = make_track(0, 4, [(b"", pattern(at, 4096)) for at in range(12)])
    for pages in range(1, len(blocks) // 4096 + 1):
        make_volume(path)
        put(path, 4, 0, blocks[: pages * 4096])
        assert check(path), f"{pages} pages"
        path.unlink()


def test_a_format_write_over_blocks_that_tore_is_found(tmp_path):
    """Blocks of 512 were written where blocks of 4096 were, and the power failed at some page."""
    path = tmp_path / "v.ckd"
    create(path, 1, format="ldl")
    small = make_track(0, 4, [(b"", pattern(at, 512)) for at in range(49)])
    for pages in range(1, len(small) // 4096 + 1):
        put(path, 4, 0, make_track(0, 4, [(b"", bytes(4096))] * 12))
        assert check(path) == []
        put(path, 4, 0, small[: pages * 4096])
        assert check(path), f"{pages} pages"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 45 * SLOT - 64), st.binary(max_size=64)), max_size=6))
def test_any_damage_gives_problems_not_exceptions(tmp_path_factory, damage):
    path = tmp_path_factory.getbasetemp() / "damaged.ckd"
    if path.exists():
        path.unlink()
    make_volume(path)
    with open(path, "r+b") as file:
        for offset, data in damage:
            file.seek(HEADER_LENGTH + offset)
            file.write(data)
    for problem in check(path):
        assert 0 <= problem.cylinder < 3
        assert 0 <= problem.head < HEADS
    assert info(path).cylinders == 3


@pytest.mark.parametrize("full", [True, False])
def test_a_file_that_shrinks_under_the_check_is_a_problem(tmp_path, full):
    volume = tmp_path / "v.ckd"
    create(volume, 3)
    if not full:
        put(volume, 17, 0, bytes(28 * SLOT))
        with open(volume, "r+b") as file:
            file.seek(32)
            file.write(b"\2")
    image = CkdImage.open(volume, readonly=True)
    image.close()
    seen = 0

    def cut(done: int, total: int) -> None:
        nonlocal seen
        seen = done
        if done == 1:
            os.truncate(volume, HEADER_LENGTH + 16 * SLOT)

    found = check(volume, progress=cut)
    assert seen == 3
    assert [p.what for p in found] == [
        "the file ends before the end of the track"
    ] * (29 if full else 1)
