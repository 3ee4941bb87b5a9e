"""Guest storage: ranges, gaps, keys, vectored transfers, and files that are cut under it."""

from __future__ import annotations

import mmap
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.mounts import PROJECT
from vfioccw_fuse.errors import UserError
from vfioccw_fuse.memory.backing import LARGEST, BuiltInStorage
from vfioccw_fuse.memory.paging import PAGE, StorageLost
from vfioccw_fuse.memory.space import IOV_MAX, AddressingError, AddressSpace, Range, StorageKeys


class Files:
    """Backing files and what must be closed."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.fds: list[int] = []

    def file(self, data: bytes) -> int:
        path = self.directory / f"file{len(self.fds)}"
        path.write_bytes(data)
        self.fds.append(os.open(path, os.O_RDWR))
        return self.fds[-1]

    def range(self, start: int, size: int, *, mapped: bool = True) -> Range:
        """Storage whose bytes say where they are; *mapped* False: reached by pread alone."""
        fd = self.file(bytes((start + n) * 31 >> 4 & 0xFF for n in range(size)))
        return Range(start, size, fd, 0, mmap.mmap(fd, size) if mapped else None)


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Files]:
    made = Files(tmp_path)
    yield made
    for fd in made.fds:
        os.close(fd)


def content(start: int, length: int) -> bytes:
    return bytes((start + n) * 31 >> 4 & 0xFF for n in range(length))


@pytest.fixture(params=[True, False], ids=["mapped", "by pread"])
def space(request: pytest.FixtureRequest, files: Files) -> AddressSpace:
    """0-0x2000 and 0x2000-0x3000 adjacent, a gap, 0x8000-0x9000."""
    return AddressSpace(
        [
            files.range(0x8000, 0x1000, mapped=request.param),
            files.range(0, 0x2000),
            files.range(0x2000, 0x1000, mapped=request.param),
        ]
    )


def test_ranges_are_kept_in_ascending_order(space: AddressSpace) -> None:
    assert [r.start for r in space.ranges] == [0, 0x2000, 0x8000]


@pytest.mark.parametrize(
    ("address", "length", "valid"),
    [(0, 1, 1), (0, 0x3000, 0x3000), (0, 0x3001, 0x3000), (0x1FFF, 2, 2), (0x2FFF, 100, 1),
     (0x3000, 1, 0), (0x7FFF, 2, 0), (0x8000, 0x1000, 0x1000), (0x8FFF, 2, 1), (0x9000, 1, 0),
     (1 << 63, 8, 0)],
)  # fmt: skip
def test_valid_says_how_much_is_mapped_without_a_gap(
    space: AddressSpace, address: int, length: int, valid: int
) -> None:
    assert space.valid(address, length) == valid


def test_a_read_goes_on_in_the_adjacent_range(space: AddressSpace) -> None:
    assert space.read(0x1FF0, 0x20) == content(0x1FF0, 0x20)
    assert space.read(0, 0x3000) == content(0, 0x3000)


def test_a_write_goes_on_in_the_adjacent_range(space: AddressSpace) -> None:
    space.write(0x1FFE, b"abcd")
    assert space.read(0x1FFD, 6) == content(0x1FFD, 1) + b"abcd" + content(0x2002, 1)


@pytest.mark.parametrize("address", [0x2FFF, 0x3000, 0x7FFF, 0x8FFF, 0x9000])
def test_a_gap_is_an_addressing_error_and_nothing_is_stored(
    space: AddressSpace, address: int
) -> None:
    with pytest.raises(AddressingError):
        space.read(address, 2)
    with pytest.raises(AddressingError):
        space.write(address, b"xy")
    with pytest.raises(AddressingError):
        space.areas(address, 2)
    assert space.read(0, 0x3000) == content(0, 0x3000)
    assert space.read(0x8000, 0x1000) == content(0x8000, 0x1000)


@pytest.mark.parametrize(("start", "size"), [(0, 0x1000), (0x2FFF, 1), (0x1000, 0x8000), (0, 1)])
def test_a_range_that_overlaps_is_refused_and_changes_nothing(
    space: AddressSpace, files: Files, start: int, size: int
) -> None:
    before = space.ranges
    with pytest.raises(ValueError, match="overlaps"):
        space.add(files.range(start, size))
    assert space.ranges == before


def test_a_gap_can_be_filled_and_a_range_taken_away(space: AddressSpace, files: Files) -> None:
    new = files.range(0x3000, 0x5000)
    space.add(new)
    assert space.read(0x2F00, 0x5200) == content(0x2F00, 0x5200)
    space.remove(new)
    assert space.valid(0x2F00, 0x5200) == 0x100
    with pytest.raises(AddressingError):
        space.read(0x3000, 1)


def test_a_range_taken_away_is_not_found_by_habit(space: AddressSpace) -> None:
    last = space.find(0x8000)
    assert last is not None
    space.remove(last)
    assert space.find(0x8000) is None


def test_a_range_may_begin_inside_its_file(files: Files) -> None:
    fd = files.file(b"0" * PAGE + b"1" * PAGE)
    space = AddressSpace([Range(0x5000, PAGE, fd, PAGE, None)])
    assert space.read(0x5000, 2) == b"11"
    space.write(0x5000, b"x")
    assert os.pread(fd, 2, PAGE - 1) == b"0x"


# --- vectored transfers ---------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, IOV_MAX - 1, IOV_MAX, IOV_MAX + 1, 3 * IOV_MAX + 7])
def test_fill_and_drain_move_more_pieces_than_one_call_takes(files: Files, count: int) -> None:
    space = AddressSpace([files.range(0, 0x10000)])
    data = os.urandom(count * 3)
    source = files.file(b"head" + data)
    pieces = [(5 * n, 3) for n in range(count)]
    assert space.fill(pieces, partial(os.preadv, source), 4) == len(data)
    assert b"".join(space.read(*piece) for piece in pieces) == data
    for n in range(count):
        assert space.read(5 * n + 3, 2) == content(5 * n + 3, 2)
    target = files.file(b"")
    assert space.drain(pieces, partial(os.pwritev, target), 2) == len(data)
    assert os.pread(target, len(data) + 9, 0) == b"\0\0" + data


def test_fill_skips_the_bytes_of_pieces_without_an_address(
    space: AddressSpace, files: Files
) -> None:
    source = files.file(b"abcdefghij")
    read = partial(os.preadv, source)
    assert space.fill([(0x1FFE, 4), (-1, 3), (0x8000, 2)], read, 1) == 9
    assert space.read(0x1FFE, 4) == b"bcde"
    assert space.read(0x8000, 3) == b"ij" + content(0x8002, 1)


def test_fill_from_a_file_that_ends_early_is_a_short_count(
    space: AddressSpace, files: Files
) -> None:
    source = files.file(b"abc")
    assert space.fill([(0, 2), (0x8000, 4), (0x100, 4)], partial(os.preadv, source), 0) == 3
    assert space.read(0, 3) == b"ab" + content(2, 1)
    assert space.read(0x8000, 2) == b"c" + content(0x8001, 1)
    assert space.read(0x100, 1) == content(0x100, 1)


pieces_of = st.lists(st.tuples(st.integers(0, 0x2FF0), st.integers(1, 40)), min_size=1, max_size=20)


@given(pieces_of, st.booleans())
@settings(max_examples=100, deadline=None)
def test_drain_gives_the_bytes_of_the_pieces_in_order(
    pieces: list[tuple[int, int]], mapped: bool
) -> None:
    low = os.memfd_create("low")
    high = os.memfd_create("high")
    out = os.memfd_create("out")
    os.write(low, content(0, 0x2000))
    os.write(high, content(0x2000, 0x1100))
    view = mmap.mmap(low, 0x2000) if mapped else None
    space = AddressSpace([Range(0, 0x2000, low, 0, view), Range(0x2000, 0x1100, high, 0, None)])
    expected = b"".join(content(*piece) for piece in pieces)
    assert space.drain(pieces, partial(os.pwritev, out), 0) == len(expected)
    assert os.pread(out, len(expected) + 1, 0) == expected
    for fd in (low, high, out):
        os.close(fd)


# --- keys -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("block_key", "access", "store", "permitted"),
    [(0x30, 3, True, True), (0x30, 0, True, True), (0x30, 4, True, False), (0x30, 4, False, True),
     (0x38, 4, False, False), (0x38, 3, False, True), (0x38, 0, False, True)],
)  # fmt: skip
def test_a_key_permits_what_the_manual_says(
    block_key: int, access: int, store: bool, permitted: bool
) -> None:
    keys = StorageKeys()
    keys.set(0x1000, block_key)
    assert keys.permitted(0x1000, 8, access, store=store) == (8 if permitted else 0)


def test_a_key_holds_for_its_4k_block() -> None:
    keys = StorageKeys()
    keys.set(0x1FFF, 0x50)
    keys.set(0x2000, 0x50)
    assert keys.permitted(0x1800, 0x1000, 5, store=True) == 0x1000
    assert keys.permitted(0x2800, 0x1000, 5, store=True) == 0x800
    assert keys.permitted(0x800, 0x1000, 5, store=True) == 0


# --- very many ranges -----------------------------------------------------------------------------


@pytest.mark.parametrize("mapped", [True, False], ids=["mapped", "by pread"])
def test_a_transfer_passes_thousands_of_ranges(mapped: bool) -> None:
    number = 5000
    memory = os.memfd_create("storage")
    os.truncate(memory, number * PAGE)
    view = mmap.mmap(memory, number * PAGE)
    space = AddressSpace()
    for page in range(number):
        one = mmap.mmap(memory, PAGE, offset=page * PAGE) if mapped else None
        space.add(Range(page * PAGE, PAGE, memory, page * PAGE, one))
    data = os.urandom(number * PAGE - 2)
    space.write(1, data)
    assert view[1:-1] == data
    assert space.read(1, len(data)) == data
    assert space.valid(1, number * PAGE) == number * PAGE - 1
    image = os.memfd_create("image")
    assert space.drain([(1, len(data))], partial(os.pwritev, image), 0) == len(data)
    assert os.pread(image, len(data) + 1, 0) == data
    space.write(0, bytes(number * PAGE))
    assert space.fill([(1, len(data))], partial(os.preadv, image), 0) == len(data)
    assert view[:] == b"\0" + data + b"\0"
    with pytest.raises(AddressingError):
        space.read(1, number * PAGE)
    for mapped_range in space.ranges:
        space.remove(mapped_range)
        mapped_range.release()
    os.close(image)
    os.close(memory)


def test_ranges_are_found_whatever_came_and_went(files: Files) -> None:
    space = AddressSpace()
    there: dict[int, Range] = {}
    chance = random.Random(313)
    for _ in range(500):
        page = chance.randrange(40)
        if page in there:
            space.remove(there.pop(page))
        else:
            there[page] = Range(page * PAGE, PAGE, -1, 0, None)
            space.add(there[page])
        assert [r.start for r in space.ranges] == [p * PAGE for p in sorted(there)]
        low, high = sorted(chance.sample(range(41 * PAGE), 2))
        assert space.within(low, high) == [
            there[p] for p in sorted(there) if p * PAGE < high and low < (p + 1) * PAGE
        ]
        assert space.find(low) is there.get(low // PAGE)
    with pytest.raises(ValueError, match="not mapped"):
        space.remove(Range(0, PAGE, -1, 0, None))


# --- files that are cut ---------------------------------------------------------------------------

CUT = """
import mmap, os, sys
from functools import partial
from vfioccw_fuse.memory.space import *
fd = os.memfd_create("guest")
os.truncate(fd, 0x4000)
space = AddressSpace([Range(0, 0x4000, fd, 0, mmap.mmap(fd, 0x4000))])
space.write(0x2000, b"here")
source = os.memfd_create("image")
os.write(source, b"i" * 0x2000)
read = partial(os.preadv, source)
os.truncate(fd, int(sys.argv[2]))
call = {
    "read": lambda: space.read(0x2000, 4),
    "write": lambda: space.write(0x2000, b"data"),
    "fill": lambda: space.fill([(0x2000, 0x1000)], read, 0),
    "fill in part": lambda: space.fill([(0x100, 16), (0x2000, 0x1000)], read, 0),
    "drain": lambda: space.drain([(0x2000, 0x1000)], partial(os.pwritev, source), 0),
}[sys.argv[1]]
try:
    print("moved", call())
except StorageLost:
    print("lost")
"""


@pytest.mark.parametrize("size", [0, 0x1000, 0x2000])
@pytest.mark.parametrize("call", ["read", "write", "fill", "drain"])
def test_storage_that_was_cut_is_lost_and_never_a_sigbus(call: str, size: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CUT, call, str(size)],
        cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "lost\n", "")


def test_a_file_that_is_cut_is_found_out_at_the_next_turn_and_stays_cut(tmp_path: Path) -> None:
    storage = BuiltInStorage(str(tmp_path), 0x4000)
    space = AddressSpace([storage.range()])
    space.new_turn()
    space.store(0x2000, b"here")
    os.truncate(storage.path, 0x1000)
    space.new_turn()
    with pytest.raises(StorageLost):
        space.store(0x2000, b"gone")
    assert os.path.getsize(storage.path) == 0x1000


def test_storage_lost_behind_what_was_moved_is_not_taken_for_the_end_of_the_file() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CUT, "fill in part", "4096"],
        cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "lost\n", "")


def test_storage_that_is_written_again_is_there_again(tmp_path: Path) -> None:
    storage = BuiltInStorage(str(tmp_path), 0x4000)
    space = AddressSpace([storage.range()])
    os.truncate(storage.path, 0)
    with pytest.raises(StorageLost):
        space.read(0, 8)
    os.truncate(storage.path, 0x4000)
    assert space.read(0x3FF8, 8) == bytes(8)
    source = os.memfd_create("image")
    os.write(source, b"again")
    assert space.fill([(0x3000, 5)], partial(os.preadv, source), 0) == 5
    assert space.read(0x3000, 5) == b"again"
    os.close(source)
    storage.close()


# --- the built-in storage -------------------------------------------------------------------------


def test_the_built_in_storage_is_private_sparse_zero_and_removed(tmp_path: Path) -> None:
    storage = BuiltInStorage(str(tmp_path), 16 << 20)
    found = os.stat(storage.path)
    assert found.st_mode & 0o777 == 0o600
    assert found.st_size == 16 << 20
    assert found.st_blocks == 0
    space = AddressSpace([storage.range()])
    assert space.valid(0, 1 << 40) == 16 << 20
    assert space.read((16 << 20) - 4, 4) == bytes(4)
    storage.close()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("size", [0, 1, PAGE - 1, PAGE + 1, -PAGE, LARGEST + PAGE])
def test_a_size_that_is_not_pages_up_to_2_gib_is_refused(tmp_path: Path, size: int) -> None:
    with pytest.raises(UserError, match="2 GiB"):
        BuiltInStorage(str(tmp_path), size)
    assert os.listdir(tmp_path) == []


def test_the_largest_storage_is_2_gib_and_costs_nothing(tmp_path: Path) -> None:
    storage = BuiltInStorage(str(tmp_path), LARGEST)
    space = AddressSpace([storage.range()])
    space.write(LARGEST - 1, b"x")
    assert os.stat(storage.path).st_blocks * 512 <= PAGE
    storage.close()
