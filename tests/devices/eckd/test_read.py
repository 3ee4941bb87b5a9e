"""Reads: what each gives, and what happens at the end of tracks, cylinders and extents."""

from __future__ import annotations

import os
import struct

import pytest

from lab.programs import ENDED, INCORRECT_LENGTH, SLI, UE, ccw
from tests.devices.eckd.drive import extent, locate, make_track, pattern, seek, standard_records
from tests.machine import DATA, PROGRAM
from vfioccw_fuse.devices.eckd.image import HEADER_LENGTH
from vfioccw_fuse.devices.eckd.track import SLOT


def put(path, track, data, offset=0):
    with open(path, "r+b") as file:
        file.seek(HEADER_LENGTH + track * SLOT + offset)
        file.write(data)


def records_of(track: int) -> list[bytes]:
    return [data for _, data in standard_records(track)]


def test_home_address_and_record_zero(machine):
    ending = machine.run(seek(1, 2), (0x1A, 5), (0x16, 16), (0x12, 8))
    assert ending.ok
    assert ending.data[1].hex() == "0000010002"
    assert ending.data[2].hex() == "0001000200000008" + "00" * 8
    assert ending.data[3].hex() == "0001000201000200"


def test_multitrack_home_address_and_record_zero_are_those_of_the_next_track(machine):
    ending = machine.run(seek(1, 2), (0x9A, 5), (0x96, 16))
    assert ending.data[1].hex() == "0000010003"
    assert ending.data[2][:4].hex() == "00010004"


def test_counts_go_round_the_track(machine):
    ending = machine.run(seek(0, 4), *[(0x12, 8)] * 6)
    assert ending.ok
    assert [data[4] for data in ending.data[1:]] == [1, 2, 3, 4, 1, 2]


def test_counts_go_round_once_only(machine):
    """The index point may be passed once without data in between."""
    assert machine.run(seek(0, 4), *[(0x12, 8)] * 8).ok
    assert machine.run(seek(0, 4), *[(0x12, 8)] * 9).failed(0, 0x08)


def test_multitrack_counts_go_on(machine):
    ending = machine.run(seek(0, 4), *[(0x92, 8)] * 6)
    assert [(data[3], data[4]) for data in ending.data[1:]] == [
        (4, 1), (4, 2), (4, 3), (4, 4), (5, 1), (5, 2),
    ]  # fmt: skip


def test_data_of_one_record_after_the_other(machine):
    ending = machine.run(seek(0, 4), *[(0x06, 512)] * 5)
    assert ending.ok
    assert ending.data[1:] == [*records_of(4), records_of(4)[0]]


def test_key_and_data_fields(machine):
    ending = machine.run(seek(1, 1), (0x0E, 136), (0x1E, 144), (0x06, 128))
    assert ending.ok
    assert ending.data[1] == pattern(100, 8) + pattern(0, 128)
    assert ending.data[2] == bytes.fromhex("0001000102080080") + pattern(101, 8) + pattern(1, 128)
    assert ending.data[3] == pattern(2, 128)


def test_an_empty_track_has_no_record(machine):
    assert machine.run(seek(2, 2), (0x06, 512, SLI)).failed(0, 0x08)
    assert machine.run(seek(2, 2), (0x5E, 512, SLI)).count == 512


def test_multitrack_read_passes_empty_tracks_until_the_cylinder_ends(machine):
    ending = machine.run(seek(2, 2), (0x86, 512))
    assert ending.ok
    assert ending.data[1] == records_of(33)[0]
    assert machine.run(seek(2, 14), (0x86, 512, SLI)).failed(0, 0x20)


def test_multitrack_outside_a_domain_ends_with_the_cylinder(machine):
    reads = [(0x86, 512)] * 5
    assert machine.run(seek(0, 14), *reads).failed(0, 0x20)
    assert machine.run(seek(0, 13), *reads).ok


def test_multitrack_in_a_domain_crosses_cylinders(machine):
    ending = machine.run(
        extent(), locate(6, 0, 14, 1, count=6), *[(0x86, 512)] * 4, (0x86, 128), (0x86, 128, SLI)
    )
    # Cylinder 1 head 0 is like all tracks.
    assert ending.cstat == INCORRECT_LENGTH
    ending = machine.run(extent(), locate(6, 0, 14, 1, count=6), *[(0x86, 512)] * 6)
    assert ending.ok
    assert ending.data[2:] == records_of(14) + records_of(15)[:2]


def test_multitrack_ends_with_the_extent(machine):
    ending = machine.run(extent(last=(0, 4)), locate(6, 0, 4, 1, count=6), *[(0x86, 512)] * 6)
    assert ending.failed(0, 0x04)
    assert ending.ccws == 7


def test_file_mask_inhibits_multitrack(machine):
    ending = machine.run(seek(0, 4), (0x1F, b"\x18"), *[(0x86, 512)] * 5)
    assert ending.failed(0, 0x04)
    assert ending.ccws == 7


def test_multitrack_in_a_domain_finds_no_record_on_an_empty_next_track(machine):
    ending = machine.run(extent(), locate(6, 2, 1, 3, count=2), (0x86, 256), (0x86, 256, SLI))
    assert ending.failed(0, 0x08)


def test_end_of_file_is_unit_exception(machine):
    ending = machine.run(extent(), locate(6, 2, 1, 1, count=2), (0x86, 256), (0x86, 256, SLI))
    assert (ending.dstat, ending.count) == (ENDED | UE, 256)
    ending = machine.run(seek(2, 1), (0x06, 256), (0x1E, 8))
    assert ending.dstat == ENDED | UE
    assert ending.data[2].hex() == "0002000102000000"


def test_length_is_watched(machine):
    ending = machine.run(seek(0, 4), (0x06, 511))
    assert (ending.dstat, ending.cstat, ending.count) == (ENDED, INCORRECT_LENGTH, 0)
    ending = machine.run(seek(0, 4), (0x06, 513))
    assert (ending.cstat, ending.count) == (INCORRECT_LENGTH, 1)
    assert machine.run(seek(0, 4), (0x06, 513, SLI)).cstat == 0


def test_multiple_ckd_is_the_rest_of_the_track(machine):
    ending = machine.run(seek(1, 1), (0x06, 128), (0x5E, 5 * 144))
    assert ending.ok
    assert ending.data[2][:8].hex() == "0001000102080080"
    assert ending.data[2][-128:] == pattern(5, 128)


def test_read_track_has_all_and_the_end_marker(machine):
    whole = make_track(1, 3, standard_records(18))[5:]
    ending = machine.run(extent(), locate(0x4C, 1, 3), (0xDE, len(whole)))
    assert ending.ok
    assert ending.data[2] == whole


def test_read_track_behind_record_zero_and_on_to_the_next_track(machine):
    track = make_track(1, 3, standard_records(18))[21:]
    following = make_track(1, 4, standard_records(19))[5:]
    ending = machine.run(
        extent(), locate(0x0C, 1, 3, count=2), (0xDE, len(track)), (0xDE, len(following))
    )
    assert ending.ok
    assert ending.data[2:] == [track, following]


def test_read_track_belongs_into_its_domain(machine):
    assert machine.run(seek(1, 3), (0xDE, 100, SLI)).failed(0x80, 0, 2)
    assert machine.run(extent(), locate(6, 1, 3), (0xDE, 100, SLI)).failed(0x80, 0, 2)


def test_locate_at_data_reads_the_next_record(machine):
    ending = machine.run(extent(), locate(0x86, 0, 4, 2), (0x06, 512))
    assert ending.data[2] == records_of(4)[2]


def test_locate_at_count_reads_that_record(machine):
    ending = machine.run(extent(), locate(0x06, 0, 4, 2), (0x06, 512))
    assert ending.data[2] == records_of(4)[1]
    assert machine.run(extent(), locate(0x06, 0, 4, 0), (0x06, 8)).ok


def test_the_operation_read_is_multitrack(machine):
    assert machine.run(extent(), locate(0x16, 0, 4, 2), (0x06, 512)).failed(0x80, 0, 2)
    assert machine.run(extent(), locate(0x16, 0, 4, 2), (0x86, 512)).ok


def test_read_ipl_is_record_one_of_the_volume(machine):
    ending = machine.run((0x02, 512))
    assert ending.ok
    assert ending.data[0] == records_of(0)[0]
    ending = machine.run((0x02, 512), (0x06, 512), seek(0, 5), (0x06, 512))
    assert ending.ok
    assert ending.data[1] == records_of(0)[1]
    assert machine.run((0x02, 512), seek(0, 5)).failed(0x80, 0, 2)
    assert machine.run((0x02, 512), (0x03, 1, SLI), seek(0, 5)).ok


def test_read_ipl_comes_before_anything_else(machine):
    assert machine.run(extent(), (0x02, 512)).failed(0x80, 0, 2)


def test_a_read_with_data_chaining_is_scattered(machine):
    machine.space.write(DATA, struct.pack(">HHH", 0, 0, 4))
    machine.space.write(
        PROGRAM,
        ccw(0x07, 0x40, 6, DATA)
        + ccw(0x06, 0x80, 100, DATA + 0x1000)
        + ccw(0, 0x80, 12, DATA + 0x3000)
        + ccw(0, 0, 400, DATA + 0x2000),
    )
    assert machine.start(PROGRAM).ok
    data = records_of(4)[0]
    assert machine.space.read(DATA + 0x1000, 100) == data[:100]
    assert machine.space.read(DATA + 0x3000, 12) == data[100:112]
    assert machine.space.read(DATA + 0x2000, 400) == data[112:]


# ------------------------------------------------------------------ damaged tracks


def test_a_foreign_home_address_is_invalid_track_format(volume, attached):
    put(volume, 4, b"\0\0\0\0\x05")
    machine = attached(volume)
    assert machine.run(seek(0, 4), (0x1A, 5)).failed(0, 0x40)
    assert machine.run(extent(), locate(6, 0, 4, 1), (0x06, 512)).failed(0, 0x40)


def test_records_before_the_damage_are_read(volume, attached):
    whole = make_track(0, 4, standard_records(4))
    put(volume, 4, b"\xf0\x00", whole.index(bytes.fromhex("0000000403000200")) + 6)
    machine = attached(volume)
    assert machine.run(seek(0, 4), (0x06, 512), (0x06, 512)).ok
    assert machine.run(seek(0, 4), *[(0x06, 512)] * 3).failed(0, 0x40)
    assert machine.run(extent(), locate(6, 0, 4, 3), (0x06, 512)).failed(0, 0x40)
    assert machine.run(seek(0, 4), (0x5E, 4096, SLI)).failed(0, 0x40)
    assert machine.run(extent(), locate(0x4C, 0, 4), (0xDE, 4096, SLI)).failed(0, 0x40)
    assert machine.run(seek(0, 4), (0x86, 512), (0x86, 512), (0x86, 512)).failed(0, 0x40)


def test_a_slot_of_zeros_is_invalid_track_format(volume, attached):
    put(volume, 0, bytes(SLOT))
    assert attached(volume).run((0x02, 24, SLI)).failed(0, 0x40)


def test_what_an_image_that_was_cut_off_has_lost_is_an_equipment_check(volume, attached, caplog):
    machine = attached(volume)
    os.truncate(volume, HEADER_LENGTH + 2 * SLOT + 100)
    assert machine.run(seek(0, 1), (0x06, 512)).ok
    for _ in range(2):
        assert machine.run(seek(0, 2), (0x06, 512)).failed(0x10, 0x80)
    [said] = caplog.messages
    assert said.startswith(f"{volume}: another program has cut it short")


def test_an_unreadable_image_is_an_equipment_check(machine, monkeypatch):
    def fails(*args):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "preadv", fails)
    assert machine.run(seek(0, 1), (0x06, 512)).failed(0x10, 0x80)


# ------------------------------------------------------------------ cost


@pytest.mark.parametrize(("reads", "tracks"), [(4, 1), (12, 3)])
def test_a_track_is_read_once_in_a_program(machine, monkeypatch, reads, tracks):
    calls = []
    image = machine.device.image
    plain = image.read_track

    def counted(track, buffer):
        calls.append(track)
        return plain(track, buffer)

    monkeypatch.setattr(image, "read_track", counted)
    ending = machine.run(extent(), locate(6, 0, 4, 1, count=reads), *[(0x86, 512)] * reads)
    assert ending.ok
    assert len(calls) == tracks


def test_every_program_sees_what_others_wrote(machine, volume):
    assert machine.run(seek(0, 4), (0x06, 512)).ok
    put(volume, 4, make_track(0, 4, [(b"", b"changed!")]))
    assert machine.run(seek(0, 4), (0x06, 8)).data[1] == b"changed!"
