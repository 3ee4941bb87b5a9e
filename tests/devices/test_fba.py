"""The FBA disk alone: commands on a transfer that the test holds, without a channel."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from vfioccw_fuse.devices import dasd
from vfioccw_fuse.devices.base import CE, DE, UC
from vfioccw_fuse.devices.fba import codes
from vfioccw_fuse.devices.fba.device import Fba, Fba3370
from vfioccw_fuse.devices.medium import Medium
from vfioccw_fuse.devices.options import DeviceSpec
from vfioccw_fuse.errors import UserError
from vfioccw_fuse.regions import constants as c

BLOCK = codes.BLOCK
BLOCKS = 32
ENDED = CE | DE
REFUSED = ENDED | UC
PERMIT_ALL = 0xC0

REJECT = b"\x80\x00"
INHIBITED = b"\x80\x02"
EQUIPMENT = b"\x10\x00"


class Transfer:
    """The channel's side of one command: *data* of the program, room for *room* bytes."""

    def __init__(self, data: bytes = b"", *, room: int = 1 << 20, first: bool = False) -> None:
        self.data = data
        self.room = room
        self.first = first
        self.given = b""
        self.chaining = False
        self.path = 0x80

    def take(self, length: int, *, variable: bool = False) -> bytes:
        taken, self.data = self.data[:length], self.data[length:]
        return taken

    def give(self, data: bytes | bytearray | memoryview, *, backward: bool = False) -> int:
        accepted = bytes(data)[: self.room]
        self.given += accepted
        self.room -= len(accepted)
        return len(accepted)

    def give_file(self, medium: Medium, offset: int, length: int) -> int:
        return self.give(medium.read(min(length, self.room), offset))

    def take_file(self, medium: Medium, offset: int, length: int) -> int:
        data = self.take(length)
        medium.write(data, offset)
        return len(data)

    def breathe(self) -> None:
        pass


class Disk:
    """A disk of 32 blocks, each full of its own number, and what a program does with it."""

    def __init__(self, path: Path, cls: type[Fba] = Fba, **options: bool) -> None:
        self.path = path
        path.write_bytes(b"".join(bytes([number]) * BLOCK for number in range(BLOCKS)))
        self.device = cls.open(DeviceSpec(cls.type_name, "0.0.0313", str(path), options))
        self.device.begin()

    def block(self, number: int) -> bytes:
        """What the image has there."""
        return self.path.read_bytes()[number * BLOCK : (number + 1) * BLOCK]

    def execute(self, code: int, io: Transfer | None = None) -> int:
        return self.device.execute(code, io if io is not None else Transfer())

    def extent(
        self, mask: int = PERMIT_ALL, location: int = 0, begin: int = 0, end: int = BLOCKS - 1
    ) -> int:
        data = codes.DefineExtent(mask, 0, BLOCK, location, begin, end)
        return self.execute(dasd.DEFINE_EXTENT, Transfer(codes.DEFINE_EXTENT_DATA.pack(data)))

    def locate(self, operation: int, block: int = 0, count: int = 1, auxiliary: int = 0) -> int:
        data = codes.Locate(operation, auxiliary, count, block)
        return self.execute(codes.LOCATE, Transfer(codes.LOCATE_DATA.pack(data)))

    def sense(self) -> bytes:
        """The first two bytes of the sense data, which are all that a 9336 says."""
        data = self.device.take_sense()
        assert len(data) == 24
        assert not any(data[2:])
        return data[:2]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(tmp_path / "disk.img")
    yield disk
    disk.device.close()


# --- Define Extent --------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [0x00, 0x40, 0x80, 0xC0, 0x0F, 0x08, 0x10, 0x18, 0xDF])
def test_masks_that_define_extent_accepts(disk: Disk, mask: int) -> None:
    assert disk.extent(mask) == ENDED


@pytest.mark.parametrize("mask", [0x20, 0x30, 0x60, 0xF0, 0xFF])
def test_the_reserved_bit_of_the_mask_is_refused(disk: Disk, mask: int) -> None:
    assert disk.extent(mask) == REFUSED
    assert disk.sense() == REJECT


@pytest.mark.parametrize(
    ("location", "begin", "end", "status"),
    [
        (0, 0, BLOCKS - 1, ENDED),
        (BLOCKS - 1, 0, 0, ENDED),
        (BLOCKS - 4, 100, 103, ENDED),
        (0, 0, BLOCKS, REFUSED),
        (BLOCKS, 0, 0, REFUSED),
        (BLOCKS - 4, 100, 104, REFUSED),
        (0, 5, 4, REFUSED),
        (0xFFFFFFFF, 0, 0xFFFFFFFF, REFUSED),
    ],
)
def test_an_extent_lies_on_the_disk(
    disk: Disk, location: int, begin: int, end: int, status: int
) -> None:
    assert disk.extent(location=location, begin=begin, end=end) == status
    assert disk.sense() == (b"\0\0" if status == ENDED else REJECT)


def test_a_program_defines_one_extent(disk: Disk) -> None:
    assert disk.extent() == ENDED
    assert disk.extent() == REFUSED
    assert disk.sense() == REJECT
    disk.device.begin()
    assert disk.extent() == ENDED


def test_fifteen_bytes_are_no_extent_and_seven_no_locate(disk: Disk) -> None:
    assert disk.execute(dasd.DEFINE_EXTENT, Transfer(bytes(15))) == REFUSED
    assert disk.sense() == REJECT
    assert disk.extent() == ENDED
    assert disk.execute(codes.LOCATE, Transfer(bytes.fromhex("06000001000000"))) == REFUSED
    assert disk.sense() == REJECT


# --- Locate ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", range(16))
def test_operations_of_locate(disk: Disk, operation: int) -> None:
    disk.extent()
    known = operation in (0x01, 0x02, 0x04, 0x05, 0x06)
    assert disk.locate(operation, auxiliary=1) == (ENDED if known else REFUSED)
    assert disk.sense() == (b"\0\0" if known else REJECT)


@pytest.mark.parametrize("bit", [0x20, 0x40, 0x80])
def test_reserved_bits_of_the_operation_are_refused(disk: Disk, bit: int) -> None:
    disk.extent()
    assert disk.locate(codes.READ_DATA | bit) == REFUSED
    assert disk.sense() == REJECT


def test_the_bit_before_the_operation_is_ignored(disk: Disk) -> None:
    disk.extent()
    assert disk.locate(codes.READ_DATA | 0x10) == ENDED


@pytest.mark.parametrize(
    ("mask", "refused"),
    [
        (codes.MASK_INHIBIT_FORMAT, {codes.FORMAT_DEFECTIVE}),
        (codes.MASK_INHIBIT_WRITES, {codes.WRITE_DATA, codes.WRITE_AND_VERIFY}),
        (0x80, set()),
        (0xC0, set()),
    ],
)
def test_the_mask_decides_what_may_be_located(disk: Disk, mask: int, refused: set[int]) -> None:
    disk.extent(mask)
    every = (codes.WRITE_DATA, codes.FORMAT_DEFECTIVE, codes.WRITE_AND_VERIFY, codes.READ_DATA)
    assert {one for one in every if disk.locate(one) == REFUSED} == refused
    if refused:
        assert disk.sense() == REJECT


@pytest.mark.parametrize(
    ("block", "count", "status"),
    [
        (100, 1, ENDED),
        (100, 4, ENDED),
        (103, 1, ENDED),
        (100, 0, REFUSED),
        (99, 1, REFUSED),
        (104, 1, REFUSED),
        (101, 4, REFUSED),
    ],
)
def test_located_blocks_lie_in_the_extent(disk: Disk, block: int, count: int, status: int) -> None:
    disk.extent(location=8, begin=100, end=103)
    assert disk.locate(codes.READ_DATA, block, count) == status
    assert disk.sense() == (b"\0\0" if status == ENDED else REJECT)


@pytest.mark.parametrize(
    ("copies", "count", "status"),
    [(4, 2, ENDED), (2, 2, ENDED), (0, 2, REFUSED), (3, 2, REFUSED), (1, 2, REFUSED)],
)
def test_replicated_data_comes_in_whole_copies(
    disk: Disk, copies: int, count: int, status: int
) -> None:
    disk.extent()
    assert disk.locate(codes.READ_REPLICATED, 0, count, copies) == status
    assert disk.sense() == (b"\0\0" if status == ENDED else REJECT)


def test_locate_wants_an_extent(disk: Disk) -> None:
    assert disk.locate(codes.READ_DATA) == REFUSED
    assert disk.sense() == REJECT


# --- Read and Write -------------------------------------------------------------------------------


def test_read_gives_what_was_located_and_no_more(disk: Disk) -> None:
    disk.extent(location=8, begin=100, end=103)
    disk.locate(codes.READ_DATA, 101, 2)
    io = Transfer()
    assert disk.execute(codes.READ, io) == ENDED
    assert io.given == disk.block(9) + disk.block(10)


def test_a_short_read_ends_well_too(disk: Disk) -> None:
    disk.extent()
    disk.locate(codes.READ_DATA, 3, 2)
    io = Transfer(room=700)
    assert disk.execute(codes.READ, io) == ENDED
    assert io.given == (disk.block(3) + disk.block(4))[:700]


@pytest.mark.parametrize(
    "operation", [codes.WRITE_DATA, codes.WRITE_AND_VERIFY, codes.FORMAT_DEFECTIVE]
)
def test_write(disk: Disk, operation: int) -> None:
    disk.extent()
    disk.locate(operation, 5, 2)
    before = disk.path.read_bytes()
    data = bytes(range(256)) * 4
    assert disk.execute(codes.WRITE, Transfer(data)) == ENDED
    assert disk.path.read_bytes() == before[: 5 * BLOCK] + data + before[7 * BLOCK :]


@pytest.mark.parametrize("length", [0, 1, BLOCK, BLOCK + 88, 3 * BLOCK - 1, 3 * BLOCK])
def test_a_short_write_leaves_zeros_in_the_rest_of_what_was_located(
    disk: Disk, length: int
) -> None:
    disk.extent()
    disk.locate(codes.WRITE_DATA, 5, 3)
    before = disk.path.read_bytes()
    assert disk.execute(codes.WRITE, Transfer(b"\xaa" * length)) == ENDED
    written = (b"\xaa" * length).ljust(3 * BLOCK, b"\0")
    assert disk.path.read_bytes() == before[: 5 * BLOCK] + written + before[8 * BLOCK :]


def test_a_short_write_of_a_long_domain_leaves_zeros_to_its_end(tmp_path: Path) -> None:
    path, blocks = tmp_path / "long.img", 1000
    path.write_bytes(b"\x11" * (blocks * BLOCK))
    disk = Disk(tmp_path / "disk.img")
    disk.device.close()
    disk.device = Fba.open(DeviceSpec("fba", "0.0.0313", str(path)))
    disk.device.begin()
    disk.extent(end=blocks - 1)
    disk.locate(codes.WRITE_DATA, 1, blocks - 2)
    assert disk.execute(codes.WRITE, Transfer(b"\xaa" * 700)) == ENDED
    zeros = bytes((blocks - 2) * BLOCK - 700)
    assert path.read_bytes() == b"\x11" * BLOCK + b"\xaa" * 700 + zeros + b"\x11" * BLOCK
    disk.device.close()


@pytest.mark.parametrize("code", [codes.READ, codes.WRITE])
def test_without_locate_nothing_is_read_or_written(disk: Disk, code: int) -> None:
    disk.extent()
    assert disk.execute(code, Transfer(bytes(BLOCK))) == REFUSED
    assert disk.sense() == REJECT
    assert disk.block(0) == bytes(BLOCK)


@pytest.mark.parametrize(
    ("operation", "code"),
    [
        (codes.READ_DATA, codes.WRITE),
        (codes.READ_REPLICATED, codes.WRITE),
        (codes.WRITE_DATA, codes.READ),
        (codes.WRITE_AND_VERIFY, codes.READ),
        (codes.FORMAT_DEFECTIVE, codes.READ),
    ],
)
def test_the_command_does_what_was_located(disk: Disk, operation: int, code: int) -> None:
    disk.extent()
    disk.locate(operation, 5, 1, 1)
    io = Transfer(b"\xff" * BLOCK)
    assert disk.execute(code, io) == REFUSED
    assert disk.sense() == REJECT
    assert io.given == b""
    assert disk.block(5) == bytes([5]) * BLOCK


@pytest.mark.parametrize("between", [c.CCW_CMD_NOOP, codes.READ])
def test_what_was_located_is_good_for_the_next_command_alone(disk: Disk, between: int) -> None:
    disk.extent()
    disk.locate(codes.READ_DATA)
    assert disk.execute(between) == ENDED
    assert disk.execute(codes.READ) == REFUSED
    assert disk.sense() == REJECT


def test_nothing_is_left_for_the_next_program(disk: Disk) -> None:
    disk.extent()
    disk.locate(codes.READ_DATA)
    disk.device.begin()
    assert disk.execute(codes.READ) == REFUSED
    assert disk.locate(codes.READ_DATA) == REFUSED


def test_an_image_that_was_cut_off_is_an_equipment_check(disk: Disk) -> None:
    os.truncate(disk.path, 4 * BLOCK)
    disk.extent()
    disk.locate(codes.READ_DATA, 3, 2)
    assert disk.execute(codes.READ) == REFUSED
    assert disk.sense() == EQUIPMENT


def test_a_write_behind_the_end_of_an_image_that_was_cut_off_is_an_equipment_check(
    disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    os.truncate(disk.path, 4 * BLOCK)
    disk.extent()
    for block in (3, 4, BLOCKS - 2):
        disk.locate(codes.WRITE_DATA, block, 2)
        assert disk.execute(codes.WRITE, Transfer(bytes(2 * BLOCK))) == REFUSED
        assert disk.sense() == EQUIPMENT
        assert disk.path.stat().st_size == 4 * BLOCK
    disk.locate(codes.READ_DATA, 4)
    assert disk.execute(codes.READ) == REFUSED
    [said] = caplog.messages
    assert said.startswith(f"{disk.path}: another program has cut it short")
    # What is left of it goes on.
    disk.locate(codes.WRITE_DATA, 3)
    assert disk.execute(codes.WRITE, Transfer(b"\xee" * BLOCK)) == ENDED
    assert disk.block(3) == b"\xee" * BLOCK


def test_an_image_that_cannot_be_written_is_an_equipment_check(disk: Disk) -> None:
    device = Fba(Medium.open(str(disk.path), os.O_RDONLY), False)
    disk.device, whole = device, disk.device
    whole.close()
    disk.extent()
    disk.locate(codes.WRITE_DATA)
    assert disk.execute(codes.WRITE, Transfer(bytes(BLOCK))) == REFUSED
    assert disk.sense() == EQUIPMENT


def test_a_readonly_disk_inhibits_writes(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "disk.img", readonly=True)
    disk.extent()
    disk.locate(codes.WRITE_DATA)
    assert disk.execute(codes.WRITE, Transfer(b"\xff" * BLOCK)) == REFUSED
    assert disk.sense() == INHIBITED
    assert disk.block(0) == bytes(BLOCK)
    disk.locate(codes.READ_DATA)
    assert disk.execute(codes.READ) == ENDED
    disk.device.close()


# --- Read IPL -------------------------------------------------------------------------------------


def test_read_ipl_gives_block_0_and_the_whole_disk_as_extent(disk: Disk) -> None:
    disk.path.write_bytes(b"\xc9" * BLOCK + disk.path.read_bytes()[BLOCK:])
    io = Transfer(room=24, first=True)
    assert disk.execute(c.CCW_CMD_READ_IPL, io) == ENDED
    assert io.given == b"\xc9" * 24
    assert disk.extent() == REFUSED
    assert disk.locate(codes.READ_DATA, BLOCKS - 1) == ENDED
    io = Transfer()
    assert disk.execute(codes.READ, io) == ENDED
    assert io.given == disk.block(BLOCKS - 1)


def test_read_ipl_is_the_first_command(disk: Disk) -> None:
    assert disk.execute(c.CCW_CMD_READ_IPL, Transfer(first=False)) == REFUSED
    assert disk.sense() == REJECT


def test_what_the_program_before_was_permitted_does_not_count_after_read_ipl(disk: Disk) -> None:
    disk.extent(codes.MASK_INHIBIT_WRITES)
    disk.device.begin()
    assert disk.execute(c.CCW_CMD_READ_IPL, Transfer(first=True)) == ENDED
    assert disk.locate(codes.WRITE_DATA) == ENDED
    assert disk.locate(codes.FORMAT_DEFECTIVE) == REFUSED


# --- what it is -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cls", "sense_id", "characteristics"),
    [
        (Fba, "ff631001933600", "30 08 21 11 0200 0000003f 0000013b 00000020"),
        (Fba3370, "ff388001337000", "30 08 21 02 0200 0000003e 000002e8 00000020"),
    ],
)
def test_characteristics_and_sense_id(
    tmp_path: Path, cls: type[Fba], sense_id: str, characteristics: str
) -> None:
    disk = Disk(tmp_path / "disk.img", cls)
    io = Transfer()
    assert disk.execute(c.CCW_CMD_RDC, io) == ENDED
    assert io.given == bytes.fromhex(characteristics) + bytes(14)
    assert len(io.given) == codes.CHARACTERISTICS.size == 32
    assert codes.CHARACTERISTICS.parse(io.given).blocks == BLOCKS
    io = Transfer()
    assert disk.execute(c.CCW_CMD_SENSE_ID, io) == ENDED
    assert io.given == bytes.fromhex(sense_id)
    disk.device.close()


@pytest.mark.parametrize("code", [dasd.RESERVE, dasd.RELEASE, dasd.SLCK, c.CCW_CMD_BASIC_SENSE])
def test_reserve_and_release_give_the_sense_data_and_reset_it(disk: Disk, code: int) -> None:
    disk.locate(codes.READ_DATA)
    io, again = Transfer(), Transfer()
    assert disk.execute(code, io) == ENDED
    assert disk.execute(code, again) == ENDED
    assert io.given == b"\x80" + bytes(23)
    assert again.given == bytes(24)


def test_the_buffered_log_is_empty_and_leaves_the_sense_data(disk: Disk) -> None:
    disk.locate(codes.READ_DATA)
    io = Transfer()
    assert disk.execute(dasd.READ_BUFFERED_LOG, io) == ENDED
    assert io.given == bytes(24)
    assert disk.sense() == REJECT


def test_commands_of_other_disks_are_rejected(disk: Disk) -> None:
    for code in range(256):
        if code not in Fba.commands:
            assert disk.execute(code) & UC
            assert disk.sense() == REJECT


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK + 1])
def test_an_image_is_whole_blocks(tmp_path: Path, size: int) -> None:
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(size))
    with pytest.raises(UserError, match="an empty file" if not size else "no multiple of 512"):
        Fba.open(DeviceSpec("fba", "0.0.0313", str(path)))
