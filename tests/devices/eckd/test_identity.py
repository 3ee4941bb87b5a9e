"""What the device says of itself: Sense ID, characteristics, configuration, status, sense data."""

from __future__ import annotations

import struct

import pytest

from lab.programs import ENDED, INCORRECT_LENGTH, SLI
from tests.devices.eckd.drive import locate
from vfioccw_fuse.devices.eckd.control_unit import CONTROL_UNITS
from vfioccw_fuse.devices.eckd.device import Eckd3390
from vfioccw_fuse.devices.eckd.geometry import model_of
from vfioccw_fuse.devices.eckd.image import CkdImage
from vfioccw_fuse.devices.eckd.volume import create
from vfioccw_fuse.devices.options import DeviceSpec
from vfioccw_fuse.errors import UserError

UNITS = list(CONTROL_UNITS)

SENSE_ID = {
    "3990-6": "ff3990e93390020040fa010041270004423e0060",
    "3990-3": "ff3990ec3390020040fa010041270004423e0040",
    "3990-2": "ff3990c23390020040fa0100",
    "2107": "ff2107e83390020040fa010041270004423e01a0433e0008",
}
CHARACTERISTICS = {
    "3990-6": "3990e93390025000109620260003000fe000e5a2059402221309067400000000"
    "000000000000000026261502dfee00010677080f007f400000ff000000000003",
    "3990-3": "3990ec339002d080109420260003000fe000e5a2059402221309067400000000"
    "000000000000000026260602dfee00010677080f003f000000ff000000000003",
    "3990-2": "3990c2339002d000000020260003000fe000e5a2059402221309067400000000"
    "000000000000000026260502dfee0001067708000000000000ff000000000003",
    "2107": "2107e8339002528010b720260003000fe000e5a2059402221309067400000000"
    "000000000000000026261f02dfee0001067708000000480000ff000000000003",
}


@pytest.mark.parametrize("unit", UNITS)
def test_sense_id_is_that_of_the_control_unit(volume, attached, unit):
    expected = bytes.fromhex(SENSE_ID[unit])
    ending = attached(volume, cu=unit).run((0xE4, len(expected)))
    assert ending.ok
    assert ending.data[0] == expected


@pytest.mark.parametrize("unit", UNITS)
def test_characteristics_are_those_of_the_control_unit(volume, attached, unit):
    ending = attached(volume, cu=unit).run((0x64, 64))
    assert ending.ok
    assert ending.data[0].hex() == CHARACTERISTICS[unit]


@pytest.mark.parametrize(
    ("cylinders", "bytes_"),
    [(1113, "02 26 0459"), (2226, "06 27 08b2"), (3339, "0a 24 0d0b"), (10017, "0c 32 2721")],
)
def test_characteristics_by_size(cylinders, bytes_):
    model, kind, size = bytes_.split()
    data = CONTROL_UNITS["3990-6"].characteristics(model_of(cylinders), cylinders)
    assert (data[5:6].hex(), data[11:12].hex(), data[12:14].hex()) == (model, kind, size)
    assert struct.unpack_from(">I", data, 60) == (cylinders,)


@pytest.mark.parametrize("unit", UNITS)
def test_configuration_has_what_linux_looks_for(volume, attached, unit):
    """`dasd_eckd.c`, dasd_eckd_identify_conf_parts: a device NED and a general NEQ."""
    data = attached(volume, cu=unit).run((0xFA, 256)).data[0]
    parts = [data[at : at + 32] for at in range(0, 256, 32)]
    neds = [part for part in parts if part[0] >> 6 == 3 and part[1] == 1]
    (ned,) = neds
    assert ned[4:10].decode("cp037") == "003390"
    assert ned[18:30].decode("cp037") == "ABC123456789"
    (neq,) = [part for part in parts if part[0] >> 6 == 2]
    assert neq[6] == 0x1E
    assert [part[0] for part in parts[:4]] == [0xDC, 0xD4, 0xD0, 0xF0]


def test_configuration_tells_devices_apart(volume, tmp_path):
    numbers = []
    for schid in ("0.0.0313", "0.0.0414"):
        device = Eckd3390.open(DeviceSpec("3390", schid, str(volume)))
        assert isinstance(device, Eckd3390)
        numbers.append((device.configuration[30:32].hex(), device.configuration[235:238].hex()))
        device.close()
    assert numbers == [("0313", "131313"), ("0414", "141414")]


def test_options_choose_control_unit_and_serial(volume):
    options = Eckd3390.options.read({"cu": "3990-6", "serial": "abc000000001"})
    device = Eckd3390.open(DeviceSpec("3390", "0.0.0001", str(volume), options))
    assert isinstance(device, Eckd3390)
    assert device.sense_id[1:4].hex() == "3990e9"
    assert device.serial == "ABC000000001"
    device.close()
    default = Eckd3390.open(DeviceSpec("3390", "0.0.0001", str(volume)))
    assert default.sense_id[1:4].hex() == "2107e8"
    default.close()


@pytest.mark.parametrize(
    ("options", "word"), [({"cu": "3880"}, "3990-6"), ({"serial": "1"}, "12 letters")]
)
def test_wrong_options_are_refused(options, word):
    with pytest.raises(UserError, match=word):
        Eckd3390.options.read(options)


def test_sense_without_a_unit_check_is_zeros_in_the_24_byte_format(machine):
    data = machine.run((0x04, 32)).data[0]
    assert data == bytes(27) + b"\x80" + bytes(4)


def test_sense_is_kept_until_it_is_read(machine):
    failed = machine.run(locate(6, 0, 0))
    assert failed.sense[0] == 0x80
    assert machine.run((0x04, 32)).data[0][0] == 0


def test_injected_sense_data_are_completed(machine):
    machine.device.sense = b"\x08\x40"
    assert machine.run((0x04, 32)).data[0] == b"\x08\x40" + bytes(25) + b"\x80" + bytes(4)


def test_sense_data_is_longer_than_24_bytes(machine):
    assert machine.run((0x04, 24, SLI)).ok
    ending = machine.run((0x04, 40))
    assert (ending.dstat, ending.cstat, ending.count) == (ENDED, INCORRECT_LENGTH, 8)


def test_sense_names_cylinder_and_head(machine):
    sense = machine.run((0x07, bytes.fromhex("00000001000b")), (0xFF, 1, SLI)).sense
    assert sense[5:7].hex() == "010b"
    assert sense[29:32].hex() == "00010b"


def test_sense_of_a_large_volume_has_no_short_address(tmp_path, attached):
    create(tmp_path / "large.ckd", 4097, format="none")
    machine = attached(tmp_path / "large.ckd")
    sense = machine.run((0x07, bytes.fromhex("00001000000b")), (0xFF, 1, SLI)).sense
    assert sense[5:7].hex() == "ffff"
    assert sense[29:32].hex() == "10000b"


@pytest.mark.parametrize(("unit", "length"), [("3990-6", 44), ("3990-3", 40), ("2107", 40)])
def test_subsystem_status(volume, attached, unit, length):
    machine = attached(volume, cu=unit)
    assert machine.run((0x54, length)).ok
    assert machine.run((0x54, length + 1)).count == 1


def test_buffered_log_is_empty(machine):
    assert machine.run((0xA4, 32)).data[0] == bytes(32)


@pytest.mark.parametrize("code", [0x00 | 0x0F, 0x0A, 0x2F, 0xBA, 0xFF, 0xF7, 0xEA])
def test_commands_that_do_not_exist_are_rejected(machine, code):
    assert machine.run((code, 16, SLI)).failed(0x80, 0, 1)


@pytest.mark.parametrize("code", [0xE7, 0xA6, 0xA5, 0x95])
def test_track_commands_are_not_those_of_a_3990(machine, code):
    assert machine.run((code, bytes(64), SLI)).failed(0x80, 0, 1)


@pytest.mark.parametrize("unit", ["3990-2", "3990-3"])
def test_older_control_units_have_no_extended_locate(volume, attached, unit):
    assert attached(volume, cu=unit).run((0x4B, bytes(20), SLI)).failed(0x80, 0, 1)


@pytest.mark.parametrize(
    ("unit", "there"), [("3990-2", True), ("3990-3", True), ("3990-6", False), ("2107", False)]
)
def test_recalibrate_went_with_the_3990_6(volume, attached, unit, there):
    machine = attached(volume, cu=unit)
    ending = machine.run((0x07, bytes.fromhex("000000010001")), (0x13, 1, SLI), (0x1A, 5))
    if there:
        assert ending.ok
        assert ending.data[2] == bytes(5)
    else:
        assert ending.failed(0x80, 0, 1)


def test_closing_gives_the_file_back(volume):
    device = Eckd3390(CkdImage.open(volume))
    device.close()
    assert device.image.tracks == 0
