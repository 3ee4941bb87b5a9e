"""Writes: what changes in the file and nothing else, and everything that forbids a write."""

from __future__ import annotations

import os
import struct

import pytest

from lab.programs import ENDED, INCORRECT_LENGTH, SLI, UC, UE, ccw
from tests.devices.eckd.drive import (
    Command,
    extent,
    locate,
    locate_extended,
    make_track,
    pattern,
    search,
    seek,
    standard_records,
)
from vfioccw_fuse.devices.eckd.image import HEADER_LENGTH
from vfioccw_fuse.devices.eckd.track import SLOT
from vfioccw_fuse.devices.eckd.volume import check

NEW = bytes(range(256)) * 2
WRITE = (0x05, NEW)
UPDATE = (0x85, NEW)


def one(cylinder: int, head: int, record: int, count: int = 1, length: int = 512) -> Command:
    """Locate for Write Data."""
    return locate(0x01, cylinder, head, record, count, length)


def only(before: bytes, after: bytes, track: int) -> None:
    """Nothing but *track* differs between two contents of the file."""
    start = HEADER_LENGTH + track * SLOT
    assert before[:start] == after[:start]
    assert before[start + SLOT :] == after[start + SLOT :]
    assert len(before) == len(after)


def count(cylinder: int, head: int, record: int, key: int, data: int) -> bytes:
    return struct.pack(">HHBBH", cylinder, head, record, key, data)


# ------------------------------------------------------------------ updates


def test_write_data_changes_one_record_only(machine, volume):
    before = volume.read_bytes()
    assert machine.run(extent(0x80), one(0, 4, 2), WRITE).ok
    after = volume.read_bytes()
    only(before, after, 4)
    records = standard_records(4)
    records[1] = (b"", NEW)
    expected = make_track(0, 4, records)
    assert machine.track(0, 4)[: len(expected)] == expected


def test_what_was_written_is_read_in_the_same_program(machine):
    ending = machine.run(
        extent(0x80), one(0, 4, 2), WRITE, locate(6, 0, 4, 2, count=2), (0x86, 512), (0x86, 512)
    )
    assert ending.ok
    assert ending.data[4:] == [NEW, standard_records(4)[2][1]]


def test_a_short_write_is_padded_with_zeros(machine):
    assert machine.run(extent(0x80), one(0, 4, 2), (0x05, NEW[:100], SLI)).ok
    ending = machine.run(seek(0, 4), (0x06, 512), (0x06, 512))
    assert ending.data[2] == NEW[:100] + bytes(412)


def test_lengths_of_writes_are_watched(machine):
    ending = machine.run(extent(0x80), one(0, 4, 2), (0x05, NEW[:100]))
    assert (ending.dstat, ending.cstat) == (ENDED, INCORRECT_LENGTH)
    ending = machine.run(extent(0x80), one(0, 4, 2), (0x05, NEW + b"xyz"))
    assert (ending.cstat, ending.count) == (INCORRECT_LENGTH, 3)


def test_update_writes_go_from_record_to_record_and_track_to_track(machine):
    new = [pattern(at, 512) for at in range(6)]
    ending = machine.run(extent(0x80), one(0, 14, 3, count=6), *[(0x85, data) for data in new])
    assert ending.ok
    read = machine.run(extent(), locate(6, 0, 14, 3, count=6), *[(0x86, 512)] * 6)
    assert read.data[2:] == new


def test_update_passes_record_zero(machine):
    assert machine.run(extent(0x80), one(0, 4, 0), UPDATE).ok
    assert machine.run(seek(0, 4), (0x06, 512)).data[1] == NEW


def test_key_and_data(machine):
    new = b"NEWKEY  " + pattern(9, 128)
    assert machine.run(extent(0x80), one(1, 1, 2, length=136), (0x0D, new)).ok
    assert machine.run(extent(0x80), one(1, 1, 3, length=136), (0x8D, new)).ok
    ending = machine.run(seek(1, 1), *[(0x0E, 136)] * 3)
    assert ending.data[2:] == [new, new]


def test_a_length_that_is_not_the_announced_one(machine, volume):
    before = volume.read_bytes()
    assert machine.run(extent(0x80), one(0, 4, 2, length=100), WRITE).failed(0, 0x40)
    assert machine.run(extent(0x80), one(0, 4, 2, length=0), UPDATE).failed(0, 0x40)
    assert machine.run(extent(0x80), one(1, 1, 2, length=128), (0x0D, NEW)).failed(0, 0x40)
    assert volume.read_bytes() == before
    assert machine.run(extent(0x80, block=512), one(0, 4, 2, length=0), WRITE).ok
    assert machine.run(extent(0x80, attributes=0xE0), one(0, 4, 2, length=1), WRITE).ok


def test_writing_an_end_of_file_record_is_unit_exception(machine):
    ending = machine.run(extent(0x80, attributes=0xE0), one(2, 1, 2, length=1), (0x05, b"x", SLI))
    assert ending.dstat == ENDED | UE


def test_write_data_is_the_last_of_its_domain(machine):
    assert machine.run(extent(0x80), one(0, 4, 2, count=2), WRITE, WRITE).failed(0x80, 0, 2)


@pytest.mark.parametrize("mask", [0x00, 0x80, 0xC0])
def test_file_masks_that_permit_updates(machine, mask):
    assert machine.run(extent(mask), one(0, 4, 2), WRITE).ok
    assert machine.run(extent(mask), one(0, 4, 2), UPDATE).ok


@pytest.mark.parametrize("code", [0x05, 0x85, 0x0D, 0x8D])
def test_a_file_mask_that_inhibits_writes(machine, volume, code):
    before = volume.read_bytes()
    assert machine.run(extent(0x40), one(0, 4, 2), (code, NEW)).failed(0x80, 0, 2)
    assert volume.read_bytes() == before


def test_a_write_that_fails_is_an_equipment_check(machine, monkeypatch):
    def fails(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(machine.device.image, "write", fails)
    assert machine.run(extent(0x80), one(0, 4, 2), WRITE).failed(0x10, 0x80)
    monkeypatch.undo()
    assert machine.run(seek(0, 4), (0x06, 512), (0x06, 512)).data[2] == standard_records(4)[1][1]


def test_a_data_address_that_is_wrong_writes_nothing(machine, volume):
    before = volume.read_bytes()
    machine.space.write(0x3000, extent(0x80)[1])
    machine.space.write(0x3010, one(0, 4, 2)[1])
    machine.space.write(
        0x2000,
        ccw(0x63, 0x40, 16, 0x3000) + ccw(0x47, 0x40, 16, 0x3010) + ccw(0x05, 0, 512, 0x7F000000),
    )
    assert machine.start(0x2000).cstat == 0x20
    assert volume.read_bytes() == before


# ------------------------------------------------------------------ updates after a search


def test_a_search_permits_an_update(machine):
    chain = [seek(0, 4), search(0, 4, 0), search(0, 4, 0)]
    # The first search is satisfied and skips the second.
    assert machine.run(extent(0xC0), *chain, (0x05, bytes(8))).ok


def test_without_a_search_no_update(machine):
    assert machine.run(extent(0xC0), seek(0, 4), WRITE).failed(0x80, 0, 2)
    assert machine.run(extent(0xC0), seek(0, 4), search(0, 4, 9), WRITE).failed(0x80, 0, 2)


def test_a_search_high_or_a_short_one_is_no_permission(machine):
    chain = [extent(0xC0), seek(0, 4)]
    high = (0x71, b"\0\0\0\4\0")
    assert machine.run(*chain, high, (0x03, 1, SLI), (0x05, bytes(8))).failed(0x80, 0, 2)
    short = (0x31, b"\0\0\0\4", SLI)
    assert machine.run(*chain, short, (0x03, 1, SLI), (0x05, bytes(8))).failed(0x80, 0, 2)


def test_a_command_between_search_and_update_takes_the_permission(machine):
    chain = [extent(0xC0), seek(0, 4), search(0, 4, 0), (0x03, 1, SLI)]
    assert machine.run(*chain, (0x03, 1, SLI), (0x05, bytes(8))).failed(0x80, 0, 2)
    read = [extent(0xC0), seek(0, 4), search(0, 4, 0), (0x03, 1, SLI), (0x12, 8)]
    assert machine.run(*read, WRITE).failed(0x80, 0, 2)


def test_a_readonly_volume_is_not_written_after_a_search(volume, attached):
    machine = attached(volume, readonly=True)
    chain = [extent(0xC0), seek(0, 4), search(0, 4, 0), (0x03, 1, SLI)]
    assert machine.run(*chain, (0x05, bytes(8))).failed(0x10, 0x02)
    home = [extent(0xC0), seek(0, 4), (0x39, b"\0\0\0\4"), (0x03, 1, SLI)]
    assert machine.run(*home, (0x15, count(0, 4, 0, 0, 8), SLI)).failed(0x10, 0x02)


# ------------------------------------------------------------------ formatting


def test_format_a_track_with_count_fields_alone(machine, volume):
    """As Linux does: every record is zeros."""
    before = volume.read_bytes()
    ending = machine.run(
        extent(0xC0),
        locate(0x43, 0, 5, count=13, length=4096),
        (0x15, count(0, 5, 0, 0, 8), SLI),
        *[(0x1D, count(0, 5, number, 0, 4096), SLI) for number in range(1, 13)],
    )
    assert ending.ok
    expected = make_track(0, 5, [(b"", bytes(4096))] * 12)
    assert machine.track(0, 5)[: len(expected)] == expected
    only(before, volume.read_bytes(), 5)
    assert check(volume) == []


def test_format_from_a_record_on(machine):
    key, data = b"KEYKEY", pattern(3, 700)
    ending = machine.run(
        extent(0xC0), locate(0x03, 0, 5, 2), (0x1D, count(0, 5, 9, 6, 700) + key + data)
    )
    assert ending.ok
    expected = make_track(0, 5, standard_records(5)[:2])[:-8]
    expected += count(0, 5, 9, 6, 700) + key + data + b"\xff" * 8
    assert machine.track(0, 5)[: len(expected)] == expected


def test_old_bytes_behind_the_end_marker_are_left(machine):
    before = machine.track(0, 5)
    assert machine.run(extent(0xC0), locate(3, 0, 5), (0x1D, count(0, 5, 1, 0, 4) + b"data")).ok
    after = machine.track(0, 5)
    assert after[:21] == before[:21]
    assert after[21 + 8 + 4 + 8 :] == before[21 + 8 + 4 + 8 :]


def test_format_over_several_tracks(machine):
    ending = machine.run(
        extent(0xC0),
        locate(0x03, 0, 5, count=4),
        (0x1D, count(0, 5, 1, 0, 512), SLI),
        (0x1D, count(0, 5, 2, 0, 512), SLI),
        (0x9D, count(0, 6, 1, 0, 512), SLI),
        (0x1D, count(0, 6, 2, 0, 512), SLI),
    )
    assert ending.ok
    for head in (5, 6):
        expected = make_track(0, head, [(b"", bytes(512))] * 2)
        assert machine.track(0, head)[: len(expected)] == expected


def test_a_record_that_does_not_fit(machine, volume):
    before = volume.read_bytes()
    too_long = (0x1D, count(0, 5, 1, 0, 0xFFF0), SLI)
    assert machine.run(extent(0xC0), locate(0x03, 0, 5), too_long).failed(0, 0x40)
    assert volume.read_bytes() == before


def test_a_track_holds_no_more_than_a_3390(machine):
    ending = machine.run(
        extent(0xC0),
        locate(0x03, 0, 5, count=13),
        *[(0x1D, count(0, 5, number, 0, 4096), SLI) for number in range(1, 14)],
    )
    assert ending.failed(0, 0x40)
    assert ending.ccws == 15


def test_a_count_field_of_ff_would_be_an_end_marker(machine):
    assert machine.run(extent(0xC0), locate(3, 0, 5), (0x1D, b"\xff" * 8)).failed(0, 0x40)


def test_an_end_of_file_record_is_written(machine):
    assert machine.run(extent(0xC0), locate(0x03, 0, 5, 1), (0x1D, count(0, 5, 2, 0, 0))).ok
    ending = machine.run(seek(0, 5), (0x06, 512), (0x06, 512, SLI))
    assert ending.dstat == ENDED | UE


@pytest.mark.parametrize(
    ("mask", "permitted"), [(0x00, True), (0xC0, True), (0x40, False), (0x80, False)]
)
def test_file_mask_for_format_writes(machine, mask, permitted):
    ending = machine.run(extent(mask), locate(0x03, 0, 5, 1), (0x1D, count(0, 5, 2, 0, 4), SLI))
    assert ending.ok if permitted else ending.failed(0x80, 0, 2)


@pytest.mark.parametrize("mask", [0x00, 0x40, 0x80])
def test_record_zero_needs_permission_for_all_writes(machine, mask):
    ending = machine.run(extent(mask), locate(0x43, 0, 5), (0x15, count(0, 5, 0, 0, 8), SLI))
    assert ending.failed(0x80, 0, 2)


def test_record_zero_is_written_at_the_start_of_the_track_only(machine):
    r0 = (0x15, count(0, 5, 0, 0, 8), SLI)
    assert machine.run(extent(0xC0), locate(0x03, 0, 5), r0).failed(0x80, 0, 2)
    assert machine.run(extent(0xC0), locate(0x43, 0, 5, count=2), r0, r0).failed(0x80, 0, 2)
    assert machine.run(extent(0xC0), seek(0, 5), r0).failed(0x80, 0, 2)
    home = [extent(0xC0), seek(0, 5), (0x39, b"\0\0\0\5"), (0x03, 1, SLI)]
    assert machine.run(*home, r0).ok
    assert machine.run(seek(0, 5), (0x06, 512, SLI)).failed(0, 0x08)


def test_records_do_not_come_before_record_zero(machine):
    ending = machine.run(extent(0xC0), locate(0x43, 0, 5), (0x1D, count(0, 5, 1, 0, 8), SLI))
    assert ending.failed(0x80, 0, 2)


def test_writes_of_records_after_a_search(machine):
    found = [extent(0xC0), seek(0, 5), search(0, 5, 0), (0x03, 1, SLI)]
    two = [(0x1D, count(0, 5, at, 0, 4) + b"data") for at in (1, 2)]
    assert machine.run(*found, *two).ok
    expected = make_track(0, 5, [(b"", b"data")] * 2)
    assert machine.track(0, 5)[: len(expected)] == expected
    assert machine.run(extent(0xC0), seek(0, 5), two[0]).failed(0x80, 0, 2)


def test_write_next_track_follows_a_format_write(machine):
    next_track = (0x9D, count(0, 6, 1, 0, 4), SLI)
    assert machine.run(extent(0xC0), locate(3, 0, 5), next_track).failed(0x80, 0, 2)
    assert machine.run(extent(0xC0), seek(0, 5), next_track).failed(0x80, 0, 2)
    chain = [extent(0xC0, last=(0, 5)), locate(3, 0, 5, count=2), (0x1D, count(0, 5, 1, 0, 4), SLI)]
    assert machine.run(*chain, next_track).failed(0, 0x04)


def test_erase_ends_the_track(machine):
    ending = machine.run(extent(0xC0), locate(0x0B, 0, 5, 2), (0x11, count(0, 5, 3, 0, 0)))
    assert ending.ok
    expected = make_track(0, 5, standard_records(5)[:2])
    assert machine.track(0, 5)[: len(expected)] == expected
    ending = machine.run(extent(0xC0), locate(0x03, 0, 5, 1), (0x11, count(0, 5, 2, 0, 0)))
    assert ending.failed(0x80, 0, 2)


def test_write_track_updates_and_extends_a_track(machine):
    """Operation Write Track: record 0 is rewritten, then records follow."""
    ending = machine.run(
        extent(0xC0),
        locate(0x0B, 0, 5, 0, count=2),
        (0x05, b"R0 DATA!"),
        (0x1D, count(0, 5, 1, 0, 4) + b"data"),
    )
    assert ending.ok
    assert machine.track(0, 5)[13:21] == b"R0 DATA!"
    ending = machine.run(extent(0xC0), locate(0x0B, 0, 5, 0), (0x05, b"R0 ALONE"))
    assert ending.ok
    assert machine.track(0, 5)[13:29] == b"R0 ALONE" + b"\xff" * 8


def test_write_home_address_keeps_what_it_is(machine):
    home = (0x19, bytes.fromhex("0000000005"))
    assert machine.run(extent(0xC0), locate(0x43, 0, 5), home).ok
    chain = [extent(0xC0), locate(0x43, 0, 5, count=2), home]
    assert machine.run(*chain, (0x15, count(0, 5, 0, 0, 8), SLI)).ok
    other = (0x19, bytes.fromhex("0000000006"))
    assert machine.run(extent(0xC0), locate(0x43, 0, 5), other).failed(0x80, 0, 4)
    assert machine.run(extent(0x80), locate(0x43, 0, 5), home).failed(0, 0x04)


def test_write_any_takes_the_records_as_they_come(machine):
    any_ = locate_extended(0x3F, 0, 5, 1, count=2, length=512, extended=0x09, parameter=b"\x01")
    assert machine.run(extent(0x80), any_, UPDATE, UPDATE).ok
    assert machine.run(seek(0, 5), *[(0x06, 512)] * 2).data[1:] == [NEW, NEW]


def test_one_call_for_each_write(machine, monkeypatch):
    calls = []
    plain = os.pwrite

    def counted(fd, data, offset):
        if fd == machine.device.media[0].fd:
            calls.append(len(data))
        return plain(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", counted)
    assert machine.run(extent(0x80), one(0, 4, 1, count=2), UPDATE, UPDATE).ok
    assert calls == [512, 512]
    calls.clear()
    assert machine.run(extent(0xC0), locate(3, 0, 5), (0x1D, count(0, 5, 1, 0, 4) + b"data")).ok
    assert calls == [8 + 4 + 8]


def test_nothing_is_written_before_a_unit_check(machine, volume):
    before = volume.read_bytes()
    for chain in (
        [extent(0xC0), one(0, 4, 9), WRITE],
        [extent(0xC0, last=(0, 3)), one(0, 4, 1), WRITE],
        [extent(0xC0), locate(0x03, 0, 4, 9), (0x1D, count(0, 4, 1, 0, 4), SLI)],
    ):
        assert machine.run(*chain).dstat & UC
    assert volume.read_bytes() == before
