"""Seeks, file masks and searches: the commands that came before Define Extent and Locate Record."""

from __future__ import annotations

import struct

import pytest

from lab.programs import ENDED, SLI, SM, ccw
from tests.devices.eckd.drive import extent, pattern, search, seek, standard_records
from tests.machine import DATA, PROGRAM

READ = (0x06, 512)


def loop(machine, cylinder: int, head: int, argument: bytes, code: int, *then: tuple[int, int]):
    """Seek, search until satisfied, then the commands *then* (code, length)."""
    machine.space.write(DATA, struct.pack(">HHH", 0, cylinder, head))
    machine.space.write(DATA + 8, argument)
    program = ccw(0x07, 0x40, 6, DATA)
    program += ccw(code, 0x40 | SLI, len(argument), DATA + 8)
    program += ccw(0x08, 0, 0, PROGRAM + 8)
    for at, (command, length) in enumerate(then):
        chain = 0x40 if at < len(then) - 1 else 0
        program += ccw(command, chain | SLI, length, DATA + 0x100 + at * 0x1000)
    machine.space.write(PROGRAM, program)
    ending = machine.start(PROGRAM)
    ending.data = [
        machine.space.read(DATA + 0x100 + at * 0x1000, length)
        for at, (_, length) in enumerate(then)
    ]
    if ending.dstat & 2:
        ending.sense = machine.run((0x04, 32)).data[0]
    return ending


# ------------------------------------------------------------------ seeks


@pytest.mark.parametrize("code", [0x07, 0x0B])
def test_seek_goes_to_a_track(machine, code):
    ending = machine.run(seek(2, 14, code), (0x1A, 5))
    assert ending.ok
    assert ending.data[1].hex() == "000002000e"


def test_seek_head_stays_on_the_cylinder(machine):
    ending = machine.run(seek(1, 2), seek(0, 9, 0x1B), (0x1A, 5))
    assert ending.data[2].hex() == "0000010009"


@pytest.mark.parametrize("address", ["000000030000", "00000000000f", "000100000000"])
def test_seek_to_what_is_not_there(machine, address):
    assert machine.run((0x07, bytes.fromhex(address))).failed(0x80, 0, 4)


def test_seek_needs_six_bytes(machine):
    assert machine.run((0x07, bytes(5), SLI)).failed(0x80, 0, 3)


def test_seek_head_needs_a_position(machine):
    assert machine.run(seek(0, 3, 0x1B)).failed(0x80, 0, 2)


def test_seek_outside_the_extent(machine):
    assert machine.run(extent(last=(0, 4)), seek(0, 5)).failed(0, 0x04)


@pytest.mark.parametrize("code", [0x06, 0x12, 0x1E, 0x1A, 0x16, 0x5E, 0x31, 0x29, 0x39, 0x23])
def test_what_needs_a_position(machine, code):
    assert machine.run((code, bytes(8), SLI)).failed(0x80, 0, 2)


@pytest.mark.parametrize(
    ("mask", "code", "permitted"),
    [
        (0x00, 0x07, True),
        (0x08, 0x07, False),
        (0x10, 0x07, False),
        (0x18, 0x07, False),
        (0x08, 0x0B, True),
        (0x10, 0x0B, False),
        (0x18, 0x0B, False),
    ],
)
def test_seek_bits_of_the_file_mask(machine, mask, code, permitted):
    ending = machine.run((0x1F, bytes([mask])), seek(0, 3, code), (0x1A, 5))
    assert ending.ok if permitted else ending.failed(0, 0x04)


@pytest.mark.parametrize(("mask", "permitted"), [(0x08, True), (0x10, True), (0x18, False)])
def test_seek_head_bits_of_the_file_mask(machine, mask, permitted):
    ending = machine.run(seek(0, 0), (0x1F, bytes([mask])), seek(0, 3, 0x1B))
    assert ending.ok if permitted else ending.failed(0, 0x04)


def test_set_file_mask_once_and_not_after_an_extent(machine):
    assert machine.run((0x1F, b"\0"), (0x1F, b"\0")).failed(0x80, 0, 2)
    assert machine.run(extent(), (0x1F, b"\0")).failed(0x80, 0, 2)
    assert machine.run((0x1F, b"\x20")).failed(0x80, 0, 4)


def test_sectors(machine):
    ending = machine.run(seek(0, 1), (0x23, b"\x10"), (0x22, 1), READ)
    assert ending.ok
    assert ending.data[2] < b"\xe0"
    assert machine.run(seek(0, 1), (0x23, b"\xe0")).failed(0x80, 0, 4)
    assert machine.run(seek(0, 1), (0x23, b"\xff")).ok


# ------------------------------------------------------------------ searches


def test_search_meets_record_zero_first(machine):
    assert machine.run(seek(0, 4), search(0, 4, 0)).dstat == ENDED | SM
    assert machine.run(seek(0, 4), search(0, 4, 1)).dstat == ENDED
    assert machine.run(seek(0, 4), search(0, 4, 1), search(0, 4, 1)).dstat == ENDED | SM


@pytest.mark.parametrize("record", [1, 2, 3, 4])
def test_search_and_read(machine, record):
    ending = loop(machine, 0, 4, struct.pack(">HHB", 0, 4, record), 0x31, (0x06, 512))
    assert ending.ok
    assert ending.data[0] == standard_records(4)[record - 1][1]


def test_search_that_is_never_satisfied(machine):
    assert loop(machine, 0, 4, b"\0\0\0\4\x09", 0x31, (0x06, 512)).failed(0, 0x08)


def test_search_high_and_equal_or_high(machine):
    high = loop(machine, 0, 4, b"\0\0\0\4\x02", 0x51, (0x06, 512))
    assert high.data[0] == standard_records(4)[2][1]
    equal = loop(machine, 0, 4, b"\0\0\0\4\x02", 0x71, (0x06, 512))
    assert equal.data[0] == standard_records(4)[1][1]
    assert loop(machine, 0, 4, b"\0\0\0\4\x04", 0x51, (0x06, 512)).failed(0, 0x08)


def test_multitrack_search_goes_on_to_the_next_tracks(machine):
    ending = loop(machine, 0, 4, b"\0\0\0\x0c\x02", 0xB1, (0x06, 512))
    assert ending.data[0] == standard_records(12)[1][1]


def test_multitrack_search_ends_with_the_cylinder(machine):
    assert loop(machine, 0, 4, b"\0\1\0\0\x02", 0xB1, (0x06, 512)).failed(0, 0x20)


def test_multitrack_search_ends_with_the_extent(machine):
    machine.space.write(DATA + 0x80, extent(last=(0, 4))[1])
    machine.space.write(DATA, struct.pack(">HHH", 0, 0, 4))
    machine.space.write(DATA + 8, b"\0\0\0\5\1")
    machine.space.write(
        PROGRAM,
        ccw(0x63, 0x40, 16, DATA + 0x80)
        + ccw(0x07, 0x40, 6, DATA)
        + ccw(0xB1, 0x40, 5, DATA + 8)
        + ccw(0x08, 0, 0, PROGRAM + 16)
        + ccw(0x06, SLI, 512, DATA),
    )
    assert machine.start(PROGRAM).dstat & 2
    assert machine.run((0x04, 32)).data[0][:2].hex() == "0004"


def test_search_key(machine):
    ending = loop(machine, 1, 1, pattern(103, 8), 0x29, (0x06, 128))
    assert ending.ok
    assert ending.data[0] == pattern(3, 128)
    assert loop(machine, 1, 1, b"NOTFOUND", 0x29, (0x06, 128)).failed(0, 0x08)


def test_search_key_passes_records_without_a_key(machine):
    assert loop(machine, 0, 4, b"ANYTHING", 0x29, (0x06, 512)).failed(0, 0x08)


def test_search_key_high(machine):
    keys = [pattern(100 + at, 8) for at in range(6)]
    highest = max(range(6), key=lambda at: keys[at])
    second = sorted(keys)[-2]
    ending = loop(machine, 1, 1, second, 0x49, (0x06, 128))
    assert ending.data[0] == pattern(highest, 128)
    ending = loop(machine, 1, 1, keys[highest], 0x69, (0x06, 128))
    assert ending.data[0] == pattern(highest, 128)
    assert loop(machine, 1, 1, keys[highest], 0x49, (0x06, 128)).failed(0, 0x08)


def test_search_home_address(machine):
    assert machine.run(seek(0, 4), (0x39, b"\0\0\0\4")).dstat == ENDED | SM
    assert machine.run(seek(0, 4), (0x39, b"\0\0\0\5")).dstat == ENDED
    assert machine.run(seek(0, 4), (0xB9, b"\0\0\0\5")).dstat == ENDED | SM
    assert machine.run(seek(0, 14), (0xB9, b"\0\1\0\0")).failed(0, 0x20)


def test_a_short_argument_compares_what_there_is(machine):
    ending = machine.run(seek(0, 4), (0x31, b"\0\0\0\4", SLI))
    assert ending.dstat == ENDED | SM
