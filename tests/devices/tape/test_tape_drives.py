"""What the drives do with channel programs: data, unit status, sense data."""

from __future__ import annotations

import os
import struct

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.programs import CD, ENDED, INCORRECT_LENGTH, SLI, UC, UE
from tests.devices.unit import Unit, attached, ccw, spec
from tests.machine import DATA
from vfioccw_fuse.css import channel
from vfioccw_fuse.devices.tape import drive as drive_module
from vfioccw_fuse.devices.tape.aws import AwsTape
from vfioccw_fuse.devices.tape.drive import TapeDrive
from vfioccw_fuse.devices.tape.t3420 import Tape3420
from vfioccw_fuse.devices.tape.t3480 import Tape3480
from vfioccw_fuse.devices.tape.t3490 import Tape3490
from vfioccw_fuse.errors import UserError

NOP, SENSE, SENSE_ID = 0x03, 0x04, 0xE4
WRITE, READ, READ_BACKWARD = 0x01, 0x02, 0x0C
REWIND, UNLOAD, ERASE_GAP, MARK = 0x07, 0x0F, 0x17, 0x1F
BSB, BSF, FSB, FSF = 0x27, 0x2F, 0x37, 0x3F
READ_ID, SYNC, LOCATE, ERASE = 0x22, 0x43, 0x4F, 0x97
DISPLAY, MODE_SET, SNID, SPID, ASSIGN, UNASSIGN = 0x9F, 0xDB, 0x34, 0xAF, 0xB7, 0xC7
CONTROL_ACCESS, PSF, RSSD, MESSAGE_ID, RDC, RCD = 0xE3, 0x77, 0x3E, 0x4E, 0x64, 0xFA
LOG = 0x24

CLASSES = {"3420": Tape3420, "3480": Tape3480, "3490": Tape3490}
ALL = sorted(CLASSES)
CARTRIDGES = ["3480", "3490"]


def block(number: int, size: int) -> bytes:
    return bytes((17 * number + 3 * at) & 0xFF for at in range(size))


FIRST, SECOND, THIRD = block(0, 80), block(1, 4096), block(2, 18)


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "tape.aws"
    path.touch()
    tape = AwsTape.open(str(path))
    for data in (FIRST, SECOND, None, THIRD, None, None):
        tape.write_mark() if data is None else tape.write(data)
    tape.close()
    return path


def drive(kind, path, **options) -> TapeDrive:
    readonly = options.pop("readonly", False)
    return CLASSES[kind].open(spec(kind, path, readonly=readonly, **options))


@pytest.fixture(params=ALL)
async def unit(request, image, tmp_path):
    async with attached(drive(request.param, image), tmp_path) as unit:
        yield unit


@pytest.fixture(params=CARTRIDGES)
async def cartridge(request, image, tmp_path):
    async with attached(drive(request.param, image), tmp_path) as unit:
        yield unit


def tape_of(unit: Unit) -> AwsTape:
    device = unit.sch.device
    assert isinstance(device, TapeDrive)
    assert device.tape is not None
    return device.tape


def era(sense: bytes) -> int:
    return sense[3]


# ------------------------------------------------------------------------------------- reading
async def test_reading_gives_one_block_after_the_other(unit):
    ending = await unit.run(ccw(READ, 80, flags=0), ccw(READ, 4096, DATA + 80, 0))
    assert (ending.dstat, ending.cstat, ending.count) == (ENDED, 0, 0)
    assert unit.load(DATA, 80 + 4096) == FIRST + SECOND


async def test_a_count_that_is_not_the_block_s_is_incorrect_length(unit):
    ending = await unit.run(ccw(READ, 100, flags=0))
    assert (ending.dstat, ending.cstat, ending.count) == (ENDED, INCORRECT_LENGTH, 20)
    ending = await unit.run(ccw(READ, 100, flags=0))
    assert (ending.dstat, ending.cstat, ending.count) == (ENDED, INCORRECT_LENGTH, 0)
    assert unit.load(DATA, 100) == SECOND[:100]


async def test_a_tape_mark_is_unit_exception_and_is_passed(unit):
    await unit.run(ccw(FSB), ccw(FSB))
    ending = await unit.run(ccw(READ, 80))
    assert (ending.dstat, ending.count) == (ENDED | UE, 80)
    assert (await unit.run(ccw(READ, 18, flags=0))).dstat == ENDED
    assert unit.load(DATA, 18) == THIRD


async def test_reading_backward_stores_downwards(unit):
    await unit.run(ccw(FSB), ccw(FSB))
    ending = await unit.run(ccw(READ_BACKWARD, 4096, DATA + 4095, 0))
    assert (ending.dstat, ending.cstat) == (ENDED, 0)
    assert unit.load(DATA, 4096) == SECOND
    unit.store(DATA, bytes(100))
    ending = await unit.run(ccw(READ_BACKWARD, 30, DATA + 79))
    assert (ending.dstat, ending.cstat, ending.count) == (ENDED, 0, 0)
    assert unit.load(DATA, 80) == bytes(50) + FIRST[50:]


async def test_reading_backward_over_a_tape_mark_is_unit_exception(unit):
    await unit.run(ccw(FSF))
    ending = await unit.run(ccw(READ_BACKWARD, 80, DATA + 79))
    assert ending.dstat == ENDED | UE
    assert (await unit.run(ccw(READ, 80))).dstat == ENDED | UE


@pytest.mark.parametrize("code", [BSB, BSF, READ_BACKWARD])
async def test_backward_motion_at_the_load_point_is_unit_check(unit, code):
    assert (await unit.run(ccw(code))).dstat == ENDED | UC
    sense = await unit.sense()
    assert sense[:2] == bytes.fromhex("0048")
    assert unit.sch.device.type_name == "3420" or era(sense) == 0x39


async def test_behind_the_last_mark_there_is_nothing_to_read(unit):
    await unit.run(ccw(FSF), ccw(FSF), ccw(FSF))
    assert (await unit.run(ccw(READ, 80))).dstat == ENDED | UC
    sense = await unit.sense()
    assert sense[0] == (0x10 if unit.sch.device.type_name == "3420" else 0x08)
    assert (await unit.run(ccw(BSB))).dstat == ENDED | UE


async def test_spacing_files_stops_at_the_marks_without_unit_exception(unit):
    ending = await unit.run(ccw(FSF), ccw(READ, 18, flags=0))
    assert (ending.dstat, unit.load(DATA, 18)) == (ENDED, THIRD)
    ending = await unit.run(ccw(BSF), ccw(BSB), ccw(READ, 4096, flags=0))
    assert (ending.dstat, unit.load(DATA, 4096)) == (ENDED, SECOND)


async def test_rewind_goes_to_the_load_point(unit):
    await unit.run(ccw(FSF))
    ending = await unit.run(ccw(REWIND), ccw(READ, 80, flags=0))
    assert (ending.dstat, unit.load(DATA, 80)) == (ENDED, FIRST)


async def test_data_chaining_scatters_a_block(unit):
    ending = await unit.run(
        ccw(READ, 30, DATA, CD) + ccw(READ, 50, DATA + 100, 0),
    )
    assert (ending.dstat, ending.cstat, ending.commands) == (ENDED, 0, 2)
    assert unit.load(DATA, 30) + unit.load(DATA + 100, 50) == FIRST


# ------------------------------------------------------------------------------------- writing
async def test_writing_ends_the_tape_behind_the_block(unit, image):
    unit.store(DATA, b"hello" * 20)
    ending = await unit.run(ccw(WRITE, 100, flags=0))
    assert (ending.dstat, ending.cstat, ending.count) == (ENDED, 0, 0)
    assert image.read_bytes() == struct.pack("<HHBB", 100, 0, 0xA0, 0) + b"hello" * 20
    assert (await unit.run(ccw(MARK), ccw(BSB))).dstat == ENDED | UE
    assert image.read_bytes()[106:] == struct.pack("<HHBB", 0, 100, 0x40, 0)


async def test_data_chaining_gathers_a_block(unit, image):
    unit.store(DATA, b"ab")
    ending = await unit.run(ccw(WRITE, 1, DATA, CD) + ccw(0, 1, DATA + 1, 0))
    assert (ending.dstat, ending.cstat) == (ENDED, 0)
    assert image.read_bytes()[6:] == b"ab"


async def test_the_longest_block_is_65535_bytes(unit, image):
    long = ccw(WRITE, 0xFFFF, DATA, CD)
    ending = await unit.run(long + ccw(0, 1, DATA))
    assert ending.dstat == ENDED | UC
    assert (await unit.sense())[0] == 0x80
    assert image.stat().st_size > 4096  # nothing was written
    assert (await unit.run(ccw(WRITE, 0xFFFF, flags=0), ccw(BSB), ccw(READ, 0xFFFF, flags=0))) == (
        await unit.run(ccw(REWIND), ccw(NOP), ccw(READ, 0xFFFF, flags=0))
    )


async def test_nothing_is_written_from_storage_that_is_not_there(unit, image):
    before = image.read_bytes()
    ending = await unit.run(ccw(WRITE, 100, 0x7FFF0000))
    assert ending.cstat == 0x20
    assert image.read_bytes() == before


@pytest.mark.parametrize("code", [WRITE, MARK, ERASE_GAP])
@pytest.mark.parametrize("kind", ALL)
async def test_a_protected_tape_is_not_written(image, tmp_path, kind, code):
    before = image.read_bytes()
    async with attached(drive(kind, image, readonly=True), tmp_path) as unit:
        assert (await unit.run(ccw(code, 80))).dstat == ENDED | UC
        sense = await unit.sense()
        assert sense[:2] == bytes.fromhex("804a")
        assert kind == "3420" or era(sense) == 0x30
        assert (await unit.run(ccw(READ, 80, flags=0))).dstat == ENDED
    assert image.read_bytes() == before


async def test_erase_gap_leaves_the_file_alone(unit, image):
    before = image.read_bytes()
    assert (await unit.run(ccw(ERASE_GAP))).dstat == ENDED
    assert image.read_bytes() == before


async def test_data_security_erase_follows_erase_gap(unit, image):
    assert (await unit.run(ccw(ERASE))).dstat == UC
    assert (await unit.run(ccw(FSB), ccw(ERASE_GAP), ccw(ERASE), ccw(NOP))).dstat == ENDED
    assert image.stat().st_size == 86


@pytest.mark.parametrize("kind", ALL)
async def test_near_the_end_of_the_tape_writing_is_unit_exception(tmp_path, kind):
    path = tmp_path / "t"
    path.touch()
    async with attached(drive(kind, path, length="256KiB"), tmp_path) as unit:
        assert (await unit.run(ccw(WRITE, 60000), ccw(WRITE, 60000))).dstat == ENDED
        assert (await unit.run(ccw(WRITE, 60000))).dstat == ENDED | UE
        assert (await unit.run(ccw(MARK))).dstat == ENDED | UE
        assert (await unit.run(ccw(WRITE, 60000))).dstat == ENDED | UE
        assert (await unit.run(ccw(WRITE, 60000))).dstat == ENDED | UC
        sense = await unit.sense()
        assert sense[0] == 0x10
        assert kind == "3420" or era(sense) == 0x38
        assert (await unit.run(ccw(REWIND), ccw(READ, 60000, flags=0))).dstat == ENDED


# -------------------------------------------------------------------------------- without a tape
@pytest.mark.parametrize("path", ["", "-", "*"])
@pytest.mark.parametrize("kind", ALL)
async def test_an_empty_drive_needs_intervention(tmp_path, kind, path):
    async with attached(drive(kind, path), tmp_path) as unit:
        for code in (NOP, READ, WRITE, REWIND, FSF, BSB, MARK, ERASE_GAP, ERASE, UNLOAD):
            assert (await unit.run(ccw(code, 80))).dstat == UC
            sense = await unit.sense()
            assert sense[0] == 0x40
            assert kind == "3420" or (sense[1], era(sense)) == (0x42, 0x43)
            assert kind != "3420" or sense[1] == 0x22
        sense = await unit.sense()
        assert sense[0] == 0x40
        assert kind == "3420" or era(sense) == 0


@pytest.mark.parametrize("kind", ALL)
async def test_rewind_unload_empties_the_drive_and_says_so(image, tmp_path, kind):
    async with attached(drive(kind, image), tmp_path) as unit:
        assert (await unit.run(ccw(UNLOAD))).dstat == (0x2E if kind == "3420" else 0x0E)
        sense = await unit.sense()
        assert sense[0] == 0x40
        assert kind == "3420" or (era(sense), sense[7]) == (0x2B, 0x22)
        assert (await unit.run(ccw(READ, 80))).dstat == UC
        AwsTape.open(str(image)).close()  # the file is free


# -------------------------------------------------------------------------- damaged recordings
@pytest.mark.parametrize("kind", ALL)
async def test_a_torn_block_is_equipment_check(image, tmp_path, kind):
    os.truncate(image, 86 + 6 + 4000)
    async with attached(drive(kind, image), tmp_path) as unit:
        for code in (READ, FSB, FSF):
            assert (await unit.run(ccw(REWIND), ccw(FSB), ccw(code, 80))).dstat == ENDED | UC
            sense = await unit.sense()
            assert sense[0] == 0x10
            assert kind == "3420" or era(sense) == 0x36
        assert (await unit.run(ccw(BSB), ccw(READ, 80, flags=0))).dstat == ENDED


@pytest.mark.parametrize("kind", ALL)
async def test_a_damaged_block_is_data_check(image, tmp_path, kind):
    with image.open("r+b") as file:
        file.seek(86 + 4)
        file.write(b"\x5a")
    async with attached(drive(kind, image), tmp_path) as unit:
        assert (await unit.run(ccw(FSB), ccw(READ, 80))).dstat == ENDED | UC
        sense = await unit.sense()
        assert sense[0] == 0x08
        assert kind == "3420" or era(sense) == 0x23


def test_what_cannot_be_a_tape_is_refused_when_it_is_attached(tmp_path):
    (tmp_path / "x").write_bytes(b"no tape at all")
    with pytest.raises(UserError, match="not a tape image"):
        drive("3480", tmp_path / "x")


@pytest.mark.parametrize("length", ["", "ten", "-5", "1KiB", "10TiB", "MiB", "٣MiB"])
def test_a_length_that_is_none_is_refused(image, length):
    with pytest.raises(UserError, match="length="):
        drive("3480", image, length=length)


# --------------------------------------------------------------------------------------- identity
IDENTITY = {"3480": "ff348031348031", "3490": "ff349050349050"}


@pytest.mark.parametrize("kind", CARTRIDGES)
async def test_sense_id(image, tmp_path, kind):
    async with attached(drive(kind, image), tmp_path) as unit:
        ending = await unit.run(ccw(SENSE_ID, 256))
        assert (ending.dstat, ending.count) == (ENDED, 249)
        assert unit.load(DATA, 7).hex() == IDENTITY[kind]


@pytest.mark.parametrize("code", [RDC, RCD, READ_ID, LOCATE, SYNC, MODE_SET, SNID, 0xFF])
async def test_a_3420_rejects_what_is_younger_than_itself(image, tmp_path, code):
    async with attached(drive("3420", image), tmp_path) as unit:
        assert (await unit.run(ccw(code, 8))).dstat == UC
        sense = await unit.sense()
        assert sense.hex() == "8048000001c003000000000000800100010000ffff000000"


@pytest.mark.parametrize("code", [0xCB, 0x13, 0xC3, 0xD3, 0xEB])
async def test_a_3420_takes_every_density(image, tmp_path, code):
    async with attached(drive("3420", image), tmp_path) as unit:
        assert (await unit.run(ccw(code))).dstat == ENDED


async def test_a_3480_has_no_configuration_record(image, tmp_path):
    async with attached(drive("3480", image), tmp_path) as unit:
        for code in (RCD, RSSD, MESSAGE_ID, 0xEB, 0x4B):
            assert (await unit.run(ccw(code, 8))).dstat == UC
            assert (await unit.sense()).hex() == "804820270000002000000000000000000000000000000000"


async def test_sense_data_has_the_model_s_length(unit):
    sense = await unit.sense(64)
    assert len(sense) == {"3420": 24, "3480": 24, "3490": 32}[unit.sch.device.type_name]
    assert sense[0] == 0
    assert sense[1] == 0x48


async def test_device_characteristics_of_a_3490(image, tmp_path):
    async with attached(drive("3490", image), tmp_path) as unit:
        assert (await unit.run(ccw(RDC, 64, flags=0))).dstat == ENDED
        data = unit.load(DATA, 64)
        assert data[:12].hex() == "349050349050000002c08080"
        assert data[24:30].hex() == "349050349050"
        assert data[40:51].hex() == "4281000000ffff0000ffff"
        assert not any(data[12:24] + data[30:40] + data[51:])


async def test_configuration_of_a_3490(image, tmp_path):
    async with attached(drive("3490", image), tmp_path) as unit:
        ending = await unit.run(ccw(RCD, 256))
        assert (ending.dstat, ending.count) == (ENDED, 96)
        data = unit.load(DATA, 160)
        assert data[0:4].hex() == "cc010200"
        assert data[4:13].decode("cp037") == "003490C10"
        assert data[32:34].hex() == "c402"
        assert not any(data[64:96])
        assert data[96] == 0xEC
        assert data[128:132].hex() == "80800080"


async def test_the_buffered_log_is_empty(cartridge):
    ending = await cartridge.run(ccw(LOG, 64))
    assert (ending.dstat, ending.count) == (ENDED, 32)
    assert cartridge.load(DATA, 8)[7] == 0x21


# ------------------------------------------------------------------------------ blocks and modes
async def test_block_ids_count_blocks_and_marks(cartridge):
    await cartridge.run(ccw(FSF))
    ending = await cartridge.run(ccw(READ_ID, 8, flags=0))
    assert (ending.dstat, ending.cstat) == (ENDED, 0)
    assert cartridge.load(DATA, 8).hex() == "01000003" * 2


@pytest.mark.parametrize("start", [0, 3, 6])
async def test_locate_block_goes_there(cartridge, start):
    cartridge.store(DATA, struct.pack(">I", 0x01000003))
    moves = [ccw(FSB)] * 2 if start == 0 else [ccw(FSF)] * (start // 2)
    await cartridge.run(ccw(REWIND), *moves)
    ending = await cartridge.run(ccw(LOCATE, 4, flags=0), ccw(READ, 18, DATA + 16, 0))
    assert (ending.dstat, ending.cstat) == (ENDED, 0)
    assert cartridge.load(DATA + 16, 18) == THIRD


async def test_locate_block_beyond_the_tape_is_unit_check(cartridge):
    cartridge.store(DATA, struct.pack(">I", 0x01000063))
    assert (await cartridge.run(ccw(LOCATE, 4))).dstat == ENDED | UC
    sense = await cartridge.sense()
    assert (sense[0], era(sense)) == (0x10, 0x44)


@pytest.mark.parametrize(("block_id", "count"), [(3, 3), (0x01C00003, 4)])
async def test_locate_block_wants_a_valid_id(cartridge, block_id, count):
    cartridge.store(DATA, struct.pack(">I", block_id))
    assert (await cartridge.run(ccw(LOCATE, count))).dstat == UC
    assert (await cartridge.sense())[0] == 0x80


@pytest.mark.parametrize("code", [SYNC, 0xC3])
async def test_synchronize_waits_for_the_disk(cartridge, code):
    assert (await cartridge.run(ccw(WRITE, 80), ccw(code), ccw(MARK))).dstat == ENDED
    assert (await cartridge.run(ccw(code))).dstat == ENDED


@pytest.mark.parametrize("kind", CARTRIDGES)
async def test_synchronize_of_a_protected_tape_has_nothing_to_do(image, tmp_path, kind):
    async with attached(drive(kind, image, readonly=True), tmp_path) as unit:
        assert (await unit.run(ccw(SYNC))).dstat == ENDED


async def test_read_buffer_has_nothing(cartridge):
    ending = await cartridge.run(ccw(0x12, 80))
    assert (ending.dstat, ending.count) == (ENDED, 80)


async def test_mode_set_shuts_the_supervisor_s_commands_out(cartridge):
    cartridge.store(DATA, b"\x10" + bytes(20))
    for code in (SNID, SPID, ASSIGN, UNASSIGN, DISPLAY, CONTROL_ACCESS, PSF, 0x5B, MODE_SET):
        ending = await cartridge.run(ccw(MODE_SET), ccw(code, 12))
        assert (ending.dstat, ending.commands) == (UC, 2)
        assert era(await cartridge.sense()) == 0x27
    assert (await cartridge.run(ccw(MODE_SET), ccw(READ, 80))).dstat == ENDED
    assert (await cartridge.run(ccw(UNASSIGN, 11))).dstat == ENDED


async def test_load_display_shows_two_messages(cartridge):
    cartridge.store(DATA, b"\x00" + "MOUNT1  VOL001  ".encode("cp037"))
    assert (await cartridge.run(ccw(DISPLAY, 17, flags=0))).dstat == ENDED
    assert cartridge.sch.device.display == ("MOUNT1", "VOL001")
    cartridge.store(DATA, b"\x60")
    await cartridge.run(ccw(DISPLAY, 17))
    assert cartridge.sch.device.display == ("MOUNT1", "VOL001")
    cartridge.store(DATA, b"\x80")
    await cartridge.run(ccw(DISPLAY, 17))
    assert cartridge.sch.device.display == ("", "")


# ----------------------------------------------------------------------------------------- paths
GROUP = b"\x80" + b"linux-group"


async def test_path_groups_and_assignment(cartridge):
    assert (await cartridge.run(ccw(SNID, 12, flags=0))).dstat == ENDED
    assert cartridge.load(DATA, 12) == bytes(12)
    cartridge.store(DATA, GROUP)
    assert (await cartridge.run(ccw(SPID, 12, flags=0))).dstat == ENDED
    assert (await cartridge.run(ccw(ASSIGN, 11, DATA + 1, 0))).dstat == ENDED
    await cartridge.run(ccw(SNID, 12))
    assert cartridge.load(DATA, 12) == b"\xf0" + GROUP[1:]
    cartridge.store(DATA, b"\x80" + b"other-group")
    assert (await cartridge.run(ccw(SPID, 12))).dstat == UC
    assert (await cartridge.run(ccw(ASSIGN, 11, DATA + 1))).dstat == UC
    cartridge.store(DATA, bytes(11))
    assert (await cartridge.run(ccw(UNASSIGN, 11))).dstat == ENDED
    cartridge.store(DATA, b"\x40" + GROUP[1:])
    assert (await cartridge.run(ccw(SPID, 12))).dstat == ENDED
    await cartridge.run(ccw(SNID, 12))
    assert cartridge.load(DATA, 12) == bytes(12)


async def test_path_group_commands_stand_alone_and_are_whole(cartridge):
    assert (await cartridge.run(ccw(NOP), ccw(SNID, 12))).dstat == UC
    assert (await cartridge.run(ccw(SPID, 11))).dstat == UC
    assert (await cartridge.run(ccw(ASSIGN, 10))).dstat == UC


async def test_control_access_wants_its_password(cartridge):
    cartridge.store(DATA, b"\x80password...\x00password...\x40other......")
    enable, set_password, disable = (ccw(CONTROL_ACCESS, 12, DATA + at) for at in (0, 12, 24))
    assert (await cartridge.run(enable)).dstat == UC
    assert (await cartridge.run(set_password)).dstat == UC
    assert (await cartridge.run(disable)).dstat == ENDED
    assert (await cartridge.run(ccw(ASSIGN, 11, DATA + 0x1000))).dstat == ENDED
    assert (await cartridge.run(set_password)).dstat == ENDED
    assert (await cartridge.run(enable)).dstat == ENDED
    assert (await cartridge.run(disable)).dstat == UC


# --------------------------------------------------------------------- perform subsystem function
@pytest.mark.parametrize(
    "order",
    ["800001", "810002", "82001000", "83001000", "9000", "a10000", "a200",
     "1c000100000000000000000000000000000000 00"],
)  # fmt: skip
async def test_orders_that_are_known(cartridge, order):
    data = bytes.fromhex(order)
    cartridge.store(DATA, data)
    ending = await cartridge.run(ccw(PSF, len(data), flags=0))
    assert (ending.dstat, ending.cstat) == (ENDED, 0)


@pytest.mark.parametrize("order", ["00", "9001", "800000", "8000", "82000000", "a10002", "ff00"])
async def test_orders_that_are_not(cartridge, order):
    data = bytes.fromhex(order)
    cartridge.store(DATA, data)
    assert (await cartridge.run(ccw(PSF, len(data)))).dstat == UC
    assert era(await cartridge.sense()) == 0x27


async def test_the_program_can_protect_the_tape(cartridge):
    cartridge.store(DATA, bytes.fromhex("82008000 83008000"))
    assert (await cartridge.run(ccw(PSF, 4))).dstat == ENDED
    assert (await cartridge.run(ccw(WRITE, 80))).dstat == ENDED | UC
    assert (await cartridge.sense())[:2] == bytes.fromhex("804a")
    assert (await cartridge.run(ccw(PSF, 4, DATA + 4))).dstat == ENDED
    assert (await cartridge.run(ccw(WRITE, 80))).dstat == ENDED


@pytest.mark.parametrize(
    ("message", "answer"),
    [("00000000", "00090000 00000000 00"), ("0000002a", "000a0201 0000002a 0000")],
)
async def test_a_3490_answers_for_messages(image, tmp_path, message, answer):
    async with attached(drive("3490", image), tmp_path) as unit:
        unit.store(DATA, bytes.fromhex("1800 00000000 0300") + bytes.fromhex(message))
        expected = bytes.fromhex(answer)
        ending = await unit.run(ccw(PSF, 12, flags=0), ccw(RSSD, len(expected), DATA + 64, 0))
        assert (ending.dstat, ending.cstat) == (ENDED, 0)
        assert unit.load(DATA + 64, len(expected)) == expected
        assert (await unit.run(ccw(RSSD, 12))).dstat == UC
        assert (await unit.run(ccw(PSF, 12), ccw(NOP), ccw(RSSD, 12))).dstat == UC


async def test_a_message_id_follows_a_write(image, tmp_path):
    async with attached(drive("3490", image), tmp_path) as unit:
        assert (await unit.run(ccw(MESSAGE_ID, 10))).dstat == UC
        assert (await unit.run(ccw(WRITE, 80), ccw(MESSAGE_ID, 10, flags=0))).dstat == ENDED
        assert unit.load(DATA, 10).hex() == "000a0201000000000000"


# ---------------------------------------------------------------------------------- long motions
@pytest.fixture
def long_image(tmp_path):
    """5000 blocks of 4 bytes, a tape mark."""
    path = tmp_path / "long.aws"
    first = struct.pack("<HHBB4s", 4, 0, 0xA0, 0, b"data")
    other = struct.pack("<HHBB4s", 4, 4, 0xA0, 0, b"data")
    path.write_bytes(first + other * 4999 + struct.pack("<HHBB", 0, 4, 0x40, 0))
    return path


@pytest.mark.pure
@pytest.mark.parametrize("kind", ALL)
async def test_a_long_motion_lets_others_have_their_turn(long_image, tmp_path, kind, monkeypatch):
    monkeypatch.setattr(channel, "TURN_NS", 0)
    async with attached(drive(kind, long_image), tmp_path) as unit:
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                await trio.lowlevel.checkpoint()
                turns += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(count)
            assert (await unit.run(ccw(FSF))).dstat == ENDED
            nursery.cancel_scope.cancel()
        assert turns >= 5000 // drive_module.SLICE
        assert tape_of(unit).block_number == 5001
        assert (await unit.run(ccw(BSF))).dstat == ENDED
        assert (await unit.run(ccw(BSF))).dstat == ENDED | UC
        assert tape_of(unit).at_load_point


@pytest.mark.parametrize("kind", CARTRIDGES)
async def test_a_long_locate_keeps_its_count(long_image, tmp_path, kind):
    async with attached(drive(kind, long_image), tmp_path) as unit:
        for target in (4500, 2200):
            unit.store(DATA, struct.pack(">I", target))
            ending = await unit.run(ccw(LOCATE, 4, flags=0), ccw(READ, 4, flags=0))
            assert (ending.dstat, ending.cstat, ending.count) == (ENDED, 0, 0)
            assert tape_of(unit).block_number == target + 1


async def test_a_halt_stops_a_long_motion_where_it_is(long_image, tmp_path):
    async with attached(drive("3490", long_image), tmp_path) as unit:
        unit.start(ccw(FSF))
        while not tape_of(unit).block_number:
            await trio.lowlevel.checkpoint()
        assert unit.sch.hsch() == 0
        await unit.ending()
        stopped = tape_of(unit).block_number
        assert 0 < stopped < 5001
        for _ in range(5):
            await trio.lowlevel.checkpoint()
        assert tape_of(unit).block_number == stopped
        unit.store(DATA, struct.pack(">I", 10))
        assert (await unit.run(ccw(LOCATE, 4, flags=0))).dstat == ENDED
        assert tape_of(unit).block_number == 10


async def test_a_clear_does_not_move_the_tape(unit):
    await unit.run(ccw(FSF))
    assert unit.sch.csch() == 0
    await unit.ending()
    assert (await unit.run(ccw(READ, 18, flags=0))).dstat == ENDED
    assert unit.load(DATA, 18) == THIRD


# ------------------------------------------------------------------------------- whatever comes
COMMANDS = st.tuples(
    st.integers(1, 255).filter(
        lambda code: (code & 0x0F and code & 0x0F != 8) or code & 0xF0 == 0x10
    ),
    st.integers(1, 200),
    st.binary(max_size=24),
)


@pytest.mark.parametrize("kind", ALL)
@settings(max_examples=60)
@given(data=st.binary(max_size=300), programs=st.lists(COMMANDS, max_size=12))
def test_any_commands_on_any_file_end(tmp_path_factory, kind, data, programs):
    directory = tmp_path_factory.mktemp("any")
    path = directory / "t"
    path.write_bytes(data)
    try:
        device = drive(kind, path)
    except UserError:
        return

    async def main() -> None:
        async with attached(device, directory) as unit:
            for code, count, operand in programs:
                unit.store(DATA, operand)
                ending = await unit.run(ccw(code, count, DATA, SLI), ccw(NOP))
                assert not ending.dstat & ~(ENDED | UC | UE | 0x20)
                if ending.dstat & UC:
                    assert len(await unit.sense()) == device.sense_length

    trio.run(main)
