"""Channel programs laid out in storage, byte for byte as the Principles of Operation has them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vfioccw_fuse.client import GuestStorage, Program
from vfioccw_fuse.regions.constants import CCW_FLAG_CC, CCW_FLAG_DC, CCW_FLAG_IDA, CCW_FLAG_SLI

SIZE = 1 << 20
BASE = 0x10000


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    path = tmp_path_factory.mktemp("storage") / "memory"
    path.write_bytes(bytes(SIZE))
    storage = GuestStorage(path)
    yield storage
    storage.close()


def at(storage: GuestStorage, address: int, size: int) -> str:
    return storage.view[address : address + size].hex()


def test_format_1_ccws_are_cmd_flags_count_address(storage):
    with Program(storage) as program:
        program.ccw(0x63, CCW_FLAG_CC, data=b"\x40" + bytes(15))
        read = program.ccw(0x42, CCW_FLAG_SLI, 512)
        assert program.lay_out() == BASE == program.cpa
        assert at(storage, BASE, 16) == "63400010000100104220020000010020"
        assert at(storage, BASE + 0x10, 16) == "40" + "00" * 15
        assert (read.address, read.data_address) == (BASE + 8, BASE + 0x20)


def test_format_0_ccws_are_cmd_address_flags_zero_count(storage):
    with Program(storage, fmt=0) as program:
        program.ccw(0xE4, CCW_FLAG_SLI, 20)
        program.lay_out()
        assert at(storage, BASE, 8) == "e401001020000014"
        assert program.orb().ctrl0 == 0x0042


def test_the_orb_is_that_of_linux(storage):
    with Program(storage) as program:
        program.ccw(3, CCW_FLAG_SLI, 1)
        program.lay_out()
        orb = program.orb(intparm=7)
        assert (orb.intparm, orb.ctrl0, orb.lpm, orb.cpa) == (7, 0x00C2, 0xFF, BASE)


@pytest.mark.parametrize(
    ("options", "ctrl0"),
    [
        ({"fmt": 0}, 0x0042),
        ({"prefetch": False}, 0x0082),
        ({"idaw": 1}, 0x00C0),
        ({"idaw": 2, "idaw_block": 2048}, 0x00C3),
    ],
)
def test_ctrl0_says_how_the_program_is_built(storage, options, ctrl0):
    assert Program(storage, **options).ctrl0 == ctrl0


def test_what_the_channel_stores_is_seen_without_a_copy(storage):
    with Program(storage) as program:
        step = program.ccw(0x02, 0, 4)
        program.lay_out()
        storage.view[step.data_address : step.data_address + 4] = b"abcd"
        assert bytes(step.view) == b"abcd"


def test_tic_goes_to_a_step_or_an_address(storage):
    with Program(storage) as program:
        first = program.ccw(0x31, CCW_FLAG_CC, data=b"12345")
        program.tic(first)
        program.tic(0x2000)
        program.lay_out()
        assert at(storage, BASE + 8, 16) == "08000000000100000800000000002000"


def test_ccws_can_share_a_room(storage):
    with Program(storage) as program:
        room = program.room(1024)
        steps = [program.ccw(0x42, CCW_FLAG_DC, 512, room, at=512 * n) for n in range(2)]
        program.lay_out()
        assert steps[1].data_address == steps[0].data_address + 512 == room.address + 512


def test_an_absolute_address_is_designated_as_it_is(storage):
    with Program(storage) as program:
        program.ccw(0x42, 0, 512, 0x2000)
        program.lay_out()
        assert at(storage, BASE, 8) == "4200020000002000"


def test_a_changed_ccw_is_written_again(storage):
    with Program(storage) as program:
        step = program.ccw(0x42, CCW_FLAG_DC, 512)
        program.lay_out()
        step.cmd, step.flags = 0x41, 0
        program.rewrite(step)
        assert at(storage, BASE, 4) == "41000200"


def test_format_1_idals_have_words_of_2k_blocks(storage):
    with Program(storage, idaw=1) as program:
        step = program.ccw(0x02, CCW_FLAG_IDA, 4096, at=0x7F0)
        program.lay_out()
        first = step.data_address
        assert first % 2048 == 0x7F0
        assert at(storage, BASE, 8) == f"02041000{step.idal:08x}"
        words = [first, first + 0x10, first + 0x10 + 2048]
        assert at(storage, step.idal, 12) == "".join(f"{word:08x}" for word in words)


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(1, 0xFFFF),
    beyond=st.integers(0, 4095),
    kind=st.sampled_from([(1, 2048), (2, 2048), (2, 4096)]),
)
def test_an_idal_covers_the_data_block_by_block(storage, count, beyond, kind):
    idaw, block = kind
    with Program(storage, idaw=idaw, idaw_block=block) as program:
        step = program.ccw(0x02, CCW_FLAG_IDA, count, at=beyond)
        other = program.ccw(0x04, 0, 32)
        program.lay_out()
        size = 4 if idaw == 1 else 8
        covered, address, where = 0, step.idal, []
        while covered < count:
            word = int.from_bytes(storage.view[address : address + size], "big")
            where.append(word)
            covered += block - word % block
            address += size
        assert where[0] == step.data_address
        assert where[0] % block == beyond % block
        blocks = [first // block for first in where]
        assert blocks == list(range(blocks[0], blocks[0] + len(where)))
        assert not any(word % block for word in where[1:])
        assert address <= min(step.data_address, other.data_address)
        assert not (
            step.data_address < other.data_address + 32
            and other.data_address < step.data_address + count
        )


@pytest.mark.parametrize(
    ("cmd", "flags", "count", "data"),
    [(256, 0, 1, None), (1, 256, 1, None), (1, 0, 65536, None), (1, 0, -1, None), (1, 0, 2, b"x")],
)
def test_what_does_not_fit_into_a_ccw_is_a_value_error(storage, cmd, flags, count, data):
    with pytest.raises(ValueError, match=r"bits|bytes"):
        Program(storage).ccw(cmd, flags, count, data)


def test_a_24_bit_address_does_not_take_more(storage):
    with Program(storage, fmt=0) as program:
        program.ccw(0x42, 0, 512, 1 << 24)
        with pytest.raises(ValueError, match="format-0"):
            program.lay_out()


def test_a_program_that_is_not_laid_out_has_no_address(storage):
    with pytest.raises(ValueError, match="not laid out"):
        Program(storage).orb()


def test_an_area_that_is_too_small_is_refused(storage):
    with storage.reserve(4096) as area, Program(storage) as program:
        program.ccw(0x02, 0, 8192)
        with pytest.raises(MemoryError):
            program.lay_out(area)
