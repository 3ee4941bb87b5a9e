"""Path groups, reservation, and what Perform Subsystem Function prepares for reading."""

from __future__ import annotations

import struct

import pytest

from lab.programs import SLI
from tests.devices.eckd.drive import extent, seek

GROUP = bytes.fromhex("0102030405060708090a0b")
OTHER = bytes.fromhex("1102030405060708090a0b")


def state(machine, lpm: int = 0x80) -> bytes:
    ending = machine.run((0x34, 12), lpm=lpm)
    assert ending.ok
    data: bytes = ending.data[0]
    return data


def set_group(machine, function: int, group: bytes = GROUP, lpm: int = 0x80):
    return machine.run((0xAF, bytes([function]) + group), lpm=lpm)


# ------------------------------------------------------------------ path groups


def test_paths_are_reset_at_first(machine):
    assert state(machine) == bytes(12)


def test_each_path_joins_the_group_by_itself(machine):
    assert set_group(machine, 0x80).ok
    assert state(machine) == b"\xc8" + GROUP
    assert state(machine, 0x40) == bytes(12)
    assert set_group(machine, 0x80, lpm=0x40).ok
    assert state(machine, 0x40) == b"\xc8" + GROUP


def test_single_path_mode(machine):
    assert set_group(machine, 0x00).ok
    assert state(machine) == b"\xc0" + GROUP


def test_resign_takes_one_path_out(machine):
    for lpm in (0x80, 0x40):
        assert set_group(machine, 0x80, lpm=lpm).ok
    assert set_group(machine, 0xC0).ok
    assert state(machine) == b"\x80" + bytes(11)
    assert state(machine, 0x40) == b"\xc8" + GROUP


def test_disband_takes_all_paths_out(machine):
    for lpm in (0x80, 0x40):
        assert set_group(machine, 0x80, lpm=lpm).ok
    assert set_group(machine, 0xA0).ok
    assert state(machine) == state(machine, 0x40) == b"\x80" + bytes(11)


@pytest.mark.parametrize(
    ("function", "group"), [(0xE0, GROUP), (0x90, GROUP), (0x81, GROUP), (0x80, bytes(11))]
)
def test_group_functions_that_are_not_valid(machine, function, group):
    assert set_group(machine, function, group).failed(0x80, 0, 4)


def test_a_grouped_path_keeps_its_group(machine):
    assert set_group(machine, 0x80).ok
    assert set_group(machine, 0x80, OTHER).failed(0x80, 0, 4)
    assert set_group(machine, 0x80).ok


def test_group_commands_are_alone_in_their_chain(machine):
    assert machine.run((0x64, 64), (0x34, 12)).failed(0x80, 0, 2)
    assert machine.run((0x34, 12), (0x64, 64)).failed(0x80, 0, 2)
    assert machine.run((0x5B, 1, SLI), (0x34, 12)).ok
    assert machine.run((0xAF, b"\x80" + GROUP), (0x03, 1, SLI)).failed(0x80, 0, 2)
    assert machine.run((0xAF, bytes(11), SLI)).failed(0x80, 0, 3)


def test_groups_and_reservation_survive_a_clear(machine):
    assert set_group(machine, 0x80).ok
    assert machine.run((0xB4, 32)).ok
    machine.device.reset()
    assert state(machine) == b"\xf8" + GROUP


# ------------------------------------------------------------------ reservation


@pytest.mark.parametrize("code", [0xB4, 0x14])
def test_reserve_and_release_read_sense(machine, code):
    ending = machine.run((code, 32))
    assert ending.ok
    assert ending.data[0][27] == 0x80
    assert state(machine)[0] == 0x30
    assert machine.run((0x94, 32)).ok
    assert state(machine)[0] == 0


def test_reservation_commands_come_first(machine):
    assert machine.run((0x64, 64), (0xB4, 32)).failed(0x80, 0, 2)
    assert machine.run(extent(), (0x94, 32)).failed(0x80, 0, 2)


def test_reset_allegiance_tells_of_the_reservation(machine):
    assert machine.run((0x44, 32)).data[0][:2].hex() == "8020"
    assert machine.run((0xB4, 32)).ok
    assert machine.run((0x44, 32)).data[0][:2].hex() == "9020"


# ------------------------------------------------------------------ subsystem functions


def prepare(suborder: int, **at: int) -> bytes:
    data = bytearray(12)
    data[0], data[6] = 0x18, suborder
    for name, value in at.items():
        data[int(name[1:])] = value
    return bytes(data)


def read(machine, order: bytes, length: int):
    return machine.run((0x27, order), (0x3E, length))


@pytest.mark.parametrize(
    ("suborder", "length"),
    [
        (0x00, 24),
        (0x01, 96),
        (0x03, 9),
        (0x0E, 512),
        (0x1C, 20),
        (0x41, 256),
        (0x52, 28),
        (0x53, 32),
    ],
)
def test_suborders_that_linux_asks_for(machine, suborder, length):
    assert read(machine, prepare(suborder), length).ok


@pytest.mark.parametrize(("unit", "features"), [("3990-6", 0), ("3990-3", 0), ("2107", 1)])
def test_features_name_the_track_commands_only_where_they_are(volume, attached, unit, features):
    data = read(attached(volume, cu=unit), prepare(0x41), 256).data[1]
    assert (data[8] & 0x01, data[9] >> 5 & 1, data[12] >> 6 & 1) == (features,) * 3
    assert not data[40]


def test_statistics_of_the_subsystem_are_longer(machine):
    assert read(machine, prepare(0x01, b8=1), 192).ok
    assert read(machine, prepare(0x01, b7=0xFF), 96).ok


def test_volume_storage_is_all_there(machine):
    data = read(machine, prepare(0x52, b4=3, b5=0x13), 28).data[1]
    assert struct.unpack(">BBHBBHIIIII", data) == (0, 0, 0, 0, 0, 0, 3, 3, 3, 3, 3)


def test_no_unit_address_is_an_alias(machine):
    assert read(machine, prepare(0x0E), 512).data[1] == bytes(512)


def test_there_is_no_attention_message(machine):
    order = prepare(0x03, b8=1, b9=2, b10=3, b11=4)
    assert read(machine, order, 9).data[1].hex() == "000900000102030400"


def test_host_access_lists_path_groups(machine):
    assert set_group(machine, 0x80).ok
    data = read(machine, prepare(0x1C), 52).data[1]
    assert struct.unpack_from(">BBH", data, 16) == (0, 32, 1)
    assert data[20:32] == b"\x10" + GROUP


def test_interface_identifier(machine):
    ending = machine.run((0x27, b"\xb0\0\0\0"), (0x3E, 96))
    assert ending.ok
    assert ending.data[1][4:10].decode("cp037") == "  3990"


def test_set_subsystem_characteristics_is_accepted(machine):
    assert machine.run((0x27, b"\x1d".ljust(66, b"\0"))).ok


@pytest.mark.parametrize(
    "order",
    [
        prepare(0x99),
        prepare(0x41, b1=1),
        prepare(0x41, b2=1),
        prepare(0x41, b5=1),
        prepare(0x41, b7=1),
        prepare(0x41, b8=1),
        prepare(0x01, b7=1),
        prepare(0x01, b8=2),
        prepare(0x01, b11=1),
        prepare(0x52, b3=1),
        b"\x99" + bytes(11),
        b"\x1d\x01".ljust(66, b"\0"),
        b"\xb0\x02\0\0",
    ],
)
def test_orders_that_are_not_valid(machine, order):
    assert machine.run((0x27, order, SLI)).failed(0x80, 0, 4)


@pytest.mark.parametrize("order", [b"\x18", b"\x18" + bytes(10), b"\x1d" + bytes(64), b"\xb0\0\0"])
def test_orders_that_are_too_short(machine, order):
    assert machine.run((0x27, order, SLI)).failed(0x80, 0, 3)


def test_subsystem_data_is_read_next_and_once(machine):
    assert machine.run((0x3E, 64, SLI)).failed(0x80, 0, 2)
    assert machine.run((0x27, prepare(0x41)), (0x64, 64)).failed(0x80, 0, 2)
    chain = [(0x27, prepare(0x41)), (0x3E, 256)]
    assert machine.run(*chain, (0x3E, 256)).failed(0x80, 0, 2)
    assert machine.run(*chain, *chain).ok
    assert machine.run(*chain, seek(0, 0)).failed(0x80, 0, 2)


def test_subsystem_mode(machine):
    assert machine.run((0x87, b"\x20\0")).ok
    assert machine.run((0x87, b"\x41\0"), (0x4E, 4)).ok
    assert machine.run((0x87, b"\x21\0")).failed(0x80, 0, 4)
    assert machine.run((0x87, b"\x02\0")).failed(0x80, 0, 4)
    assert machine.run((0x87, b"\x20\x20")).failed(0x80, 0, 4)
    assert machine.run((0x87, b"\x20", SLI)).failed(0x80, 0, 3)
    assert machine.run((0x4E, 4)).failed(0x80, 0, 2)
    assert machine.run((0x87, b"\x20\0"), (0x64, 64)).failed(0x80, 0, 2)


def test_a_3990_2_has_no_cache_to_set(volume, attached):
    assert attached(volume, cu="3990-2").run((0x87, b"\x20\0")).failed(0x80, 0, 1)
