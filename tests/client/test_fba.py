"""Blocks of an FBA disk, against the image that they come from."""

import pytest

from lab.mounts import BLOCK, BLOCKS
from vfioccw_fuse.client import FbaDisk, NoInterruption, ProgramFailed, Subchannel


@pytest.fixture
def disk(mnt):
    with Subchannel(mnt.subchannel) as sub, FbaDisk(sub) as disk:
        yield disk


def test_it_knows_its_size(disk):
    assert disk.blocks == BLOCKS


@pytest.mark.parametrize(
    ("first", "count"),
    [(0, 1), (1, 95), (0, 96), (3, 97), (0, BLOCKS), (BLOCKS - 1, 1), (7, 0), (BLOCKS, 0)],
)
def test_reading_gives_what_is_in_the_image(mnt, disk, first, count):
    expected = mnt.image.read_bytes()[first * BLOCK : (first + count) * BLOCK]
    assert disk.read(first, count) == expected


@pytest.mark.parametrize(("first", "count"), [(0, 1), (5, 96), (9, 97), (0, BLOCKS)])
def test_what_is_written_is_in_the_image(mnt, disk, first, count):
    expected = bytearray(mnt.image.read_bytes())
    new = bytes(byte ^ 0xA5 for byte in expected[first * BLOCK : (first + count) * BLOCK])
    expected[first * BLOCK : (first + count) * BLOCK] = new
    disk.write_blocks(first, new)
    assert mnt.image.read_bytes() == expected
    assert disk.read(first, count) == new


def test_pieces_have_at_most_96_blocks(disk):
    assert [len(piece) // BLOCK for piece in disk.read_blocks(0, 200)] == [96, 96, 8]


def test_long_and_short_requests_take_turns(mnt, disk):
    expected = mnt.image.read_bytes()
    for count in (5, 96, 1, 2, 96, 95):
        assert disk.read(0, count) == expected[: count * BLOCK]
        disk.write_blocks(100, expected[100 * BLOCK : (100 + count) * BLOCK])
    assert disk.read(0, BLOCKS) == expected


@pytest.mark.parametrize(("first", "count"), [(-1, 1), (0, BLOCKS + 1), (BLOCKS, 1), (0, -1)])
def test_blocks_that_are_not_there_are_a_value_error(disk, first, count):
    with pytest.raises(ValueError, match="not all on a disk"):
        disk.read(first, count)


def test_part_of_a_block_is_a_value_error(disk):
    with pytest.raises(ValueError, match="multiple of 512"):
        disk.write_blocks(0, b"x" * 700)


def test_a_write_to_a_read_only_disk_fails_with_sense(mount):
    system = mount("readonly")
    before = system.image.read_bytes()
    with Subchannel(system.subchannel) as sub, FbaDisk(sub) as disk:
        with pytest.raises(ProgramFailed, match="write inhibited") as failed:
            disk.write_blocks(0, bytes(BLOCK))
        assert failed.value.sense[1] == 0x02
        assert disk.read(0, 1) == before[:BLOCK]
    assert system.image.read_bytes() == before


def test_after_a_fault_the_disk_goes_on(mnt):
    with Subchannel(mnt.subchannel) as sub, FbaDisk(sub) as disk, FbaDisk(sub) as hasty:
        # Only for what hangs: a busy machine may need longer for what does not.
        hasty._timeout = 0.2
        for fault, error, reader in (
            ("unit-check", ProgramFailed, disk),
            ("hang", NoInterruption, hasty),
        ):
            mnt.control(f"fault={fault} count=1")
            with pytest.raises(error):
                reader.read(0, 1)
            assert disk.read(0, 1) == mnt.image.read_bytes()[:BLOCK]


def test_two_clients_of_one_storage_do_not_disturb_each_other(mnt):
    with Subchannel(mnt.subchannel) as sub, FbaDisk(sub) as one, FbaDisk(sub) as other:
        first, second = next(one.read_blocks(0, 1)), next(other.read_blocks(1, 1))
        assert bytes(first) + bytes(second) == mnt.image.read_bytes()[: 2 * BLOCK]
