"""A track's slot: whatever its bytes are, it is taken apart without harm."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.devices.eckd.drive import make_track, pattern
from vfioccw_fuse.devices.eckd.track import SLOT, Track, empty_track, survey

RECORDS = st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=300)), max_size=20)


@given(RECORDS, st.binary(max_size=64))
def test_every_record_is_found(records, behind):
    slot = (make_track(2, 3, records) + behind).ljust(SLOT, b"\0")
    layout = survey(slot)
    assert layout.whole
    assert layout.keys[1:] == [len(key) for key, _ in records]
    assert layout.datas[1:] == [len(data) for _, data in records]
    assert slot[layout.end : layout.end + 8] == b"\xff" * 8


@given(st.binary(max_size=600), st.integers(0, 255))
def test_any_bytes_are_surveyed_within_the_slot(head, filler):
    slot = head.ljust(SLOT, bytes([filler]))
    layout = survey(slot)
    ends = [
        start + 8 + key + data
        for start, key, data in zip(layout.starts, layout.keys, layout.datas, strict=True)
    ]
    assert len(ends) <= 255
    assert layout.starts == [5, *ends][: len(ends)]
    assert all(end <= SLOT - 8 for end in ends)


def test_a_slot_of_zeros_has_no_end():
    assert not survey(bytes(SLOT)).whole


def test_an_end_marker_at_the_very_end_is_found():
    slot = bytearray(make_track(0, 0, [(b"", b"")])[:-8])
    length = SLOT - 8 - len(slot)
    slot[-2:] = length.to_bytes(2, "big")
    assert survey(bytes(slot) + bytes(length) + b"\xff" * 8).whole
    assert not survey(bytes(slot[:-2]) + (length + 1).to_bytes(2, "big") + bytes(SLOT)).whole


def test_a_foreign_home_address_is_refused():
    track = Track()
    track.buffer[: len(empty_track(1, 2))] = empty_track(1, 2)
    assert track.loaded(17, 1, 2)
    assert not track.loaded(18, 1, 3)
    assert track.number == -1
    track.buffer[0] = 1
    assert not track.loaded(17, 1, 2)


def test_room_behind_a_record_is_that_of_a_3390():
    track = Track()
    slot = make_track(0, 0, [(b"", pattern(1, 4096))] * 11)
    track.buffer[: len(slot)] = slot
    assert track.loaded(0, 0, 0)
    assert track.has_room(11, 0, 4096)
    assert not track.has_room(11, 0, 9000)
    assert track.has_room(0, 0, 56664)
    assert not track.has_room(0, 0, 56665)
