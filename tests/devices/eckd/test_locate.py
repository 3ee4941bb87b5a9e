"""Define Extent and Locate Record: every parameter that is checked, and how a domain goes on."""

from __future__ import annotations

import struct

import pytest

from lab.programs import SLI
from tests.devices.eckd.drive import (
    Command,
    extent,
    locate,
    locate_extended,
    pattern,
    prefix,
    search,
    seek,
    standard_records,
)

READ = (0x86, 512)


def changed(command: Command, offset: int, data: bytes) -> Command:
    """*command* with some parameter bytes replaced."""
    old = command[1]
    assert isinstance(old, bytes)
    return (command[0], old[:offset] + data + old[offset + len(data) :])


# ------------------------------------------------------------------ Define Extent


@pytest.mark.parametrize("mask", [0x00, 0x01, 0x02, 0x04, 0x06, 0x18, 0x40, 0x80, 0xC0])
def test_file_masks_that_are_defined(machine, mask):
    assert machine.run(extent(mask)).ok


@pytest.mark.parametrize(
    "command",
    [
        extent(0x20),
        extent(attributes=0x00),
        extent(attributes=0x40),
        extent(block=57335),
        extent(first=(1, 0), last=(0, 14)),
        extent(first=(0, 2), last=(0, 1)),
        extent(last=(3, 0)),
        extent(last=(2, 15)),
        extent(first=(0, 15)),
        changed(extent(), 4, b"\x01"),
        changed(extent(), 5, b"\x01"),
        changed(extent(), 6, b"\x01"),
    ],
)
def test_extents_that_are_not_valid(machine, command):
    assert machine.run(command).failed(0x80, 0, 4)


def test_extent_attributes_and_longest_block(machine):
    assert machine.run(extent(attributes=0xC4, block=57334)).ok
    assert machine.run(changed(extent(), 7, b"\x40")).ok


def test_extent_needs_16_bytes(machine):
    assert machine.run((0x63, bytes(15), SLI)).failed(0x80, 0, 3)
    sixteen = extent()[1]
    assert isinstance(sixteen, bytes)
    assert machine.run((0x63, sixteen + bytes(16), SLI)).ok


def test_2107_knows_no_diagnostic_authorization(machine_2107):
    assert machine_2107.run(extent(0x04)).failed(0x80, 0, 4)
    assert machine_2107.run(extent(0x06)).ok


def test_a_second_extent_lies_within_the_first_and_keeps_its_mask(machine):
    first = extent(last=(1, 14))
    assert machine.run(first, extent(first=(0, 3), last=(0, 4))).ok
    assert machine.run(first, extent(last=(2, 0))).failed(0x80, 0, 2)
    assert machine.run(first, extent(0x80, last=(0, 0))).failed(0x80, 0, 2)
    assert machine.run(first, extent(last=(0, 0), block=512)).failed(0x80, 0, 2)


def test_an_extent_is_forgotten_at_the_end_of_the_program(machine):
    assert machine.run(extent(last=(0, 3))).ok
    assert machine.run(seek(2, 0), (0x1A, 5)).ok


@pytest.mark.parametrize("before", [(0x1F, b"\0"), (0x02, 24, SLI)])
def test_extent_not_after_set_file_mask_or_read_ipl(machine, before):
    chain = [before, extent()] if before[0] == 0x1F else [before, (0x03, 1, SLI), extent()]
    assert machine.run(*chain).failed(0x80, 0, 2)


# ------------------------------------------------------------------ Locate Record


@pytest.mark.parametrize(
    "operation", [0x00, 0x01, 0x03, 0x06, 0x0B, 0x0C, 0x16, 0x40, 0x43, 0x46, 0x4C, 0x56]
)
def test_operations_that_are_defined(machine, operation):
    count = 0 if operation in (0x00, 0x40) else 1
    length = 512 if operation == 1 else 0
    assert machine.run(extent(0xC0), locate(operation, 0, 1, 1, count, length)).ok


@pytest.mark.parametrize("operation", [0x80, 0x81, 0x86, 0x96, 0xC3, 0xD6])
def test_data_and_index_orientation(machine, operation):
    count = 0 if operation == 0x80 else 1
    assert machine.run(extent(0xC0), locate(operation, 0, 1, 1, count)).ok


@pytest.mark.parametrize(
    "operation",
    [
        0x02,
        0x04,
        0x09,
        0x0A,
        0x0E,
        0x10,
        0x12,
        0x3F,
        0x41,
        0x4B,
        0x83,
        0x8B,
        0x8C,
        0xC0,
        0xC1,
        0xC6,
    ],
)
def test_operations_and_orientations_that_are_not_defined(machine, operation):
    assert machine.run(extent(0xC0), locate(operation, 0, 1, 1)).failed(0x80, 0, 4)


@pytest.mark.parametrize(
    "command",
    [
        locate(0x06, 0, 1, 1, auxiliary=0x40),
        locate(0x06, 0, 1, 1, auxiliary=0x80),
        locate(0x06, 0, 1, 1, length=512, auxiliary=0),
        locate(0x06, 0, 1, 1, auxiliary=0x01, count=2),
        locate(0x01, 0, 1, 1, length=512, auxiliary=0x81, count=1),
        locate(0x06, 0, 1, 1, count=0),
        locate(0x00, 0, 1, 1, count=1),
        locate(0x06, 3, 0, 1),
        locate(0x06, 0, 15, 1),
        locate(0x06, 0, 1, 1, sector=224),
        locate(0x06, 0, 1, 1, length=57335),
        changed(locate(0x06, 0, 1, 1), 2, b"\x01"),
    ],
)
def test_locate_parameters_that_are_not_valid(machine, command):
    assert machine.run(extent(), command).failed(0x80, 0, 4)


@pytest.mark.parametrize("sector", [0, 127, 223, 255])
def test_sectors_that_exist(machine, sector):
    assert machine.run(extent(), locate(0x06, 0, 1, 1, sector=sector), (0x06, 512)).ok


def test_length_factor_is_bound_by_the_block_size(machine):
    assert machine.run(extent(block=512), locate(0x06, 0, 1, 1, length=512)).ok
    assert machine.run(extent(block=512), locate(0x06, 0, 1, 1, length=513)).failed(0x80, 0, 4)


def test_locate_needs_16_bytes_and_an_extent(machine):
    assert machine.run(extent(), (0x47, bytes(15), SLI)).failed(0x80, 0, 3)
    assert machine.run(locate(0x06, 0, 1, 1), READ).failed(0x80, 0, 2)


def test_locate_outside_the_extent_is_file_protected(machine):
    assert machine.run(extent(last=(0, 4)), locate(0x06, 0, 5, 1), READ).failed(0, 0x04)


def test_a_record_that_is_not_there(machine):
    assert machine.run(extent(), locate(0x06, 0, 1, 9), READ).failed(0, 0x08)
    assert machine.run(extent(), locate(0x06, 2, 2, 1), READ).failed(0, 0x08)
    other = changed(locate(0x06, 0, 1, 1), 11, b"\x02")
    assert machine.run(extent(), other, READ).failed(0, 0x08)


def test_a_home_address_that_is_not_there(machine):
    other = changed(locate(0x46, 0, 1), 11, b"\x02")
    assert machine.run(extent(), other, READ).failed(0, 0x08)


@pytest.mark.parametrize(("unit", "byte0"), [("3990-3", 0x10), ("3990-6", 0x10), ("2107", 0x80)])
def test_writes_on_a_readonly_volume_are_inhibited(volume, attached, unit, byte0):
    """Command reject, which Linux takes to be about the volume; a 3990 as it was recorded."""
    machine = attached(volume, cu=unit, readonly=True)
    for operation in (0x01, 0x03, 0x0B):
        assert machine.run(extent(0xC0), locate(operation, 0, 1, 1)).failed(byte0, 0x02, 0)
    assert machine.run(extent(), locate(0x06, 0, 1, 1), READ).ok


# ------------------------------------------------------------------ the domain


def test_a_domain_that_is_not_used_up(machine):
    ending = machine.run(extent(), locate(0x06, 0, 1, 1, count=2), READ)
    assert ending.failed(0x81, 0, 0)
    assert ending.data[2] == standard_records(1)[0][1]


def test_an_error_in_a_domain_is_shown_rather_than_that_it_is_not_used_up(machine):
    ending = machine.run(extent(last=(0, 1)), locate(0x06, 0, 1, 4, count=9), READ, READ)
    assert ending.failed(0, 0x04)


def test_a_locate_alone_may_end_the_chain(machine):
    assert machine.run(extent(), locate(0x06, 0, 1, 1, count=7)).ok


@pytest.mark.parametrize(
    "command",
    [
        (0x03, 1, SLI),
        (0x64, 64),
        (0x04, 32),
        (0xE4, 20),
        (0xFA, 256),
        extent(),
        locate(0x06, 0, 1, 1),
        seek(0, 0),
        search(0, 1, 1),
        (0x1F, b"\0"),
        (0x23, b"\0"),
        (0x22, 1),
        (0x5E, 100, SLI),
        (0x02, 24, SLI),
        (0xB4, 32, SLI),
        (0x27, bytes(12)),
    ],
)
def test_commands_that_do_not_belong_into_a_domain(machine, command):
    assert machine.run(extent(), locate(0x06, 0, 1, 1), command, READ).failed(0x80, 0, 2)


def test_after_a_domain_another_may_follow(machine):
    ending = machine.run(extent(), locate(6, 0, 1, 1), READ, locate(6, 1, 1, 1), (0x86, 128))
    assert ending.ok
    assert ending.data[4] == pattern(0, 128)


@pytest.mark.parametrize("code", [0x05, 0x85, 0x0D, 0x8D, 0x1D, 0x15, 0x11, 0x9D])
def test_writes_in_a_read_domain(machine, code):
    ending = machine.run(extent(0xC0), locate(0x06, 0, 1, 1), (code, bytes(512), SLI))
    assert ending.failed(0x80, 0, 2)


@pytest.mark.parametrize("code", [0x06, 0x86, 0x0E, 0x12, 0x1E, 0x16, 0x1A, 0xDE])
def test_reads_in_a_write_domain(machine, code):
    ending = machine.run(extent(0xC0), locate(0x01, 0, 1, 1, length=512), (code, 512, SLI))
    assert ending.failed(0x80, 0, 2)


def test_a_count_may_be_read_at_the_end_of_a_write_domain(machine):
    ending = machine.run(
        extent(0xC0),
        locate(0x01, 0, 1, 1, count=2, length=512, auxiliary=0x81),
        (0x05, bytes(512)),
        (0x12, 8),
    )
    assert ending.ok
    assert ending.data[3].hex() == "0000000102000200"


# ------------------------------------------------------------------ Locate Record Extended


def test_extended_locate_reads_like_the_basic_one(machine):
    ending = machine.run(extent(), locate_extended(0x16, 0, 1, 2, count=2), READ, READ)
    assert ending.ok
    assert ending.data[2] == standard_records(1)[1][1]


@pytest.mark.parametrize(
    "command",
    [
        locate_extended(0x00, 0, 1, count=0),
        locate_extended(0x06, 0, 1, 1, extended=0x0A),
        locate_extended(0x3F, 0, 1, 1, extended=0x07),
        locate_extended(0x3F, 0, 1, 1, extended=0x11, parameter=b"\x80\0"),
        locate_extended(0x3F, 0, 1, 1, extended=0x23),
        locate_extended(0x3F, 0, 1, 1, extended=0x0A),
        locate_extended(0x3F, 0, 1, 1, extended=0x0A, parameter=b"\x02"),
        locate_extended(0x3F, 0, 1, 1, extended=0x0E, parameter=b"\x40"),
        locate_extended(0x3F, 0, 1, 1, count=2, extended=0x0E, parameter=b"\x80"),
        locate_extended(0x06, 0, 1, 1, parameter=b"\0"),
    ],
)
def test_extended_parameters_that_are_not_valid(machine, command):
    assert machine.run(extent(), command).failed(0x80, 0, 4)


def test_extended_locate_needs_its_parameters(machine):
    assert machine.run(extent(), (0x4B, bytes(19), SLI)).failed(0x80, 0, 3)
    cut = locate_extended(0x3F, 0, 1, 1, extended=0x0A, parameter=b"\x01")
    assert isinstance(cut[1], bytes)
    assert machine.run(extent(), (0x4B, cut[1][:-1], SLI)).failed(0x80, 0, 3)


def test_read_any_begins_with_the_first_record_and_goes_round(machine):
    any_ = locate_extended(0x3F, 0, 1, 3, extended=0x0A, parameter=b"\x01")
    ending = machine.run(extent(), any_, READ)
    assert ending.ok
    assert ending.data[2] == standard_records(1)[0][1]
    counts = machine.run(extent(), any_, *[(0x92, 8)] * 5)
    assert counts.ok
    assert [(data[3], data[4]) for data in counts.data[2:]] == [
        (1, 2), (1, 3), (1, 4), (1, 1), (1, 2),
    ]  # fmt: skip


def test_read_trackset_skips_tracks(machine):
    tracks = locate_extended(0x7F, 0, 1, count=2, extended=0x0E, parameter=b"\xa0")
    ending = machine.run(extent(), tracks, (0xDE, 3000, SLI), (0xDE, 3000, SLI))
    assert ending.ok
    assert ending.data[2][:4].hex() == "00000001"
    assert ending.data[3][:4].hex() == "00000003"


def test_read_trackset_outside_the_extent(machine):
    tracks = locate_extended(0x7F, 0, 1, count=2, extended=0x0E, parameter=b"\x81")
    assert machine.run(extent(last=(0, 7)), tracks).failed(0, 0x04)
    assert machine.run(extent(last=(0, 8)), tracks).ok


# ------------------------------------------------------------------ Prefix


def test_prefix_is_extent_and_locate_in_one(machine_2107):
    ending = machine_2107.run(prefix(extent(), locate_extended(0x06, 0, 1, 3)), READ)
    assert ending.ok
    assert ending.data[1] == standard_records(1)[2][1]


def test_prefix_with_an_extent_alone(machine_2107):
    assert machine_2107.run(prefix(extent()), locate(0x06, 0, 1, 3), READ).ok


def test_prefix_parameters_that_are_not_valid(machine_2107):
    assert machine_2107.run((0xE7, bytes(63), SLI)).failed(0x80, 0, 3)
    assert machine_2107.run((0xE7, b"\x02" + bytes(63))).failed(0x80, 0, 4)
    assert machine_2107.run(prefix(extent(0x20))).failed(0x80, 0, 4)
    assert machine_2107.run(prefix(extent(), locate_extended(0x10, 0, 1))).failed(0x80, 0, 4)
    no_extent = struct.pack(">BB62x", 1, 0)
    assert machine_2107.run((0xE7, no_extent)).failed(0x80, 0, 2)
