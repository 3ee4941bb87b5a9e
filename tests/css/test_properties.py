"""Any bytes are a channel program: what must hold for all of them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from lab.mounts import BLOCK
from lab.programs import (
    ACTL,
    ALERT,
    CC,
    CD,
    ENDED,
    FCTL,
    FORMAT1,
    HALT,
    IDA,
    INCORRECT_LENGTH,
    INTERMEDIATE,
    PENDING,
    PREFETCH,
    READ,
    SKIP,
    SLI,
    START,
    STCTL,
    SUSPENDED,
    Ccw,
    Irb,
    ccw,
)
from tests.css.machine import DiskMachine
from tests.machine import DATA, LISTS, MEMORY, PROGRAM
from vfioccw_fuse.regions import constants as c

PAGE = 4096
CODES = [0x02, 0x03, 0x04, 0x08, 0x41, 0x42, 0x43, 0x63, 0x64, 0xE4, 0xA4, 0x94]
ENDINGS = {PENDING, *(ALERT * a | 6 | PENDING for a in (0, 1)), ALERT | PENDING}


@contextmanager
def machine() -> Iterator[DiskMachine]:
    with TemporaryDirectory(prefix="vfioccw-", dir="/dev/shm") as directory:
        made = DiskMachine(Path(directory))
        yield made
        made.close()


def consistent(m: DiskMachine) -> None:
    """fctl, actl and stctl say the same of the subchannel."""
    ctrl = m.sch.scsw.ctrl
    assert not ctrl & 0x8000
    if not ctrl & FCTL:
        assert not ctrl & (c.SCSW_ACTL_START_PEND | c.SCSW_ACTL_HALT_PEND | SUSPENDED)
    if ctrl & c.SCSW_ACTL_START_PEND:
        assert ctrl & FCTL == START
        assert m.sch.program is not None
    if ctrl & SUSPENDED:
        assert not ctrl & (0x00C0 | c.SCSW_ACTL_START_PEND)
    if ctrl & STCTL:
        assert ctrl & PENDING
    if ctrl & INTERMEDIATE:
        assert not ctrl & 0x06


def ending(m: DiskMachine) -> Irb:
    """Take all status; a program that does not end by itself is halted."""
    for _ in range(1000):
        consistent(m)
        if not m.sch.scsw.status_pending:
            assert m.sch.program is not None, "no ending status and no program"
            assert m.sch.hsch() == 0
            m.executor.settle()
        status = m.take()
        assert status.ctrl & FCTL in (START, START | HALT)
        if not status.ctrl & INTERMEDIATE:
            assert status.ctrl & STCTL in ENDINGS
            assert not m.sch.scsw.ctrl
            assert m.sch.program is None
            assert not m.sch.scsw.status_pending
            return status
    raise AssertionError("intermediate status without an end")


orbs = st.builds(
    lambda ctrl0, ctrl1: (ctrl0 & ~0x0004, ctrl1),
    st.integers(0, 0xFFFF),
    st.sampled_from([0, 0x80, 0x40, 0xC0]),
)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(CODES), st.integers(0, 255), st.integers(0, 64),
            st.sampled_from([PROGRAM, PROGRAM + 8, PROGRAM + 16, LISTS, DATA, MEMORY - 16])
            | st.integers(0, MEMORY + 64),
        ),
        min_size=1, max_size=12,
    ),
    orbs,
    st.binary(max_size=64),
)  # fmt: skip
@settings(max_examples=250, deadline=None)
def test_every_program_ends_or_is_halted_and_never_raises(
    ccws: list[Ccw], orb: tuple[int, int], lists: bytes
) -> None:
    with machine() as m:
        m.store(LISTS, lists)
        m.program(*ccws, format1=bool(orb[0] & FORMAT1))
        assert m.sch.ssch(m.orb(orb[0], ctrl1=orb[1])) == 0
        m.executor.settle(turns=3)
        ending(m)


@given(st.binary(min_size=8, max_size=400), st.binary(max_size=200), orbs)
@settings(max_examples=150, deadline=None)
def test_every_byte_string_ends_or_is_halted_and_never_raises(
    program: bytes, lists: bytes, orb: tuple[int, int]
) -> None:
    with machine() as m:
        m.store(PROGRAM, program)
        m.store(LISTS, lists)
        assert m.sch.ssch(m.orb(orb[0], ctrl1=orb[1])) == 0
        m.executor.settle(turns=3)
        ending(m)


safe_ccws = st.lists(
    st.tuples(
        st.sampled_from([0x02, 0x03, 0x04, 0x42, 0x64, 0xE4]),
        st.sampled_from([0, CC, CD, CC | SLI, SLI, CD | SKIP, CC | IDA | SLI, CD | IDA, SKIP]),
        st.integers(0, 700),
        st.integers(DATA, DATA + 0x3000) | st.integers(MEMORY - 600, MEMORY + 100),
        st.lists(st.integers(DATA, DATA + 0x8000), min_size=1, max_size=3),
    ),
    min_size=1, max_size=8,
)  # fmt: skip


@given(safe_ccws, st.sampled_from([0, FORMAT1, PREFETCH, FORMAT1 | PREFETCH]), st.booleans())
@settings(max_examples=250, deadline=None)
def test_storage_outside_the_data_areas_is_untouched(
    rows: list[tuple[int, int, int, int, list[int]]], ctrl0: int, aligned: bool
) -> None:
    with machine() as m:
        allowed = bytearray(MEMORY)
        ccws: list[Ccw] = []
        for number, (code, flags, count, cda, words) in enumerate(rows):
            area = cda
            if flags & IDA:
                area = LISTS + 64 * number
                if aligned:
                    words = [words[0], *(word & ~2047 for word in words[1:])]
                stop = [0xFFFFFFFF] * 3
                m.store(area, struct.pack(f">{len(words) + 3}I", *words, *stop))
                for word in words:
                    size = min(2048 - word % 2048, count)
                    allowed[word : word + size] = b"\1" * size
            elif not flags & SKIP:
                size = max(0, min(count, MEMORY - cda))
                allowed[cda : cda + size] = b"\1" * size
            ccws.append((code, flags, count, area))
        prepare = m.locate(0x06, 0, 2)
        m.program(*prepare, *ccws, format1=bool(ctrl0 & FORMAT1))
        before = m.picture()
        assert m.sch.ssch(m.orb(ctrl0)) == 0
        m.executor.settle()
        status = ending(m)
        after = m.picture()
        for page in range(0, MEMORY, PAGE):
            end = page + PAGE
            if before[page:end] != after[page:end]:
                rows_of_bytes = zip(
                    before[page:end], after[page:end], allowed[page:end], strict=True
                )
                assert all(old == new or inside for old, new, inside in rows_of_bytes)
        last = (status.cpa - 8 - PROGRAM) // 8 - 2
        if 0 <= last < len(ccws) and not status.cstat & ~INCORRECT_LENGTH:
            assert status.count <= ccws[last][2]
        assert len(m.picture()) == MEMORY


@given(
    st.lists(st.tuples(st.integers(1, 300), st.booleans()), min_size=1, max_size=8),
    st.booleans(),
    st.sampled_from([0, PREFETCH]),
)
@settings(max_examples=150, deadline=None)
def test_data_chaining_puts_every_byte_where_the_counts_say_and_leaves_the_rest_as_residual(
    parts: list[tuple[int, bool]], sli: bool, prefetch: int
) -> None:
    with machine() as m:
        size = BLOCK
        ccws: list[Ccw] = []
        expected: list[tuple[int, bytes]] = []
        data = m.blocks(5)
        place, residual, last = 0, 0, 0
        for number, (count, skip) in enumerate(parts):
            end = number == len(parts) - 1
            flags = (0 if end else CD) | (SKIP if skip else 0) | (SLI if sli and end else 0)
            area = DATA + 0x1000 * number
            ccws.append((READ, flags, count, area))
            if place < size or (number == last + 1 and residual == 0):
                part = data[place : place + count]
                expected.append((area, b"" if skip else part))
                place += len(part)
                residual, last = count - len(part), number
        status = m.run(*m.reading(5, 1, *ccws), ctrl0=FORMAT1 | prefetch)
        for area, part in expected:
            assert m.load(area, len(part) + 1) == part + b"\0"
        assert status.dstat == ENDED
        assert status.count == residual
        assert status.cpa == PROGRAM + 8 * (2 + last + 1)
        exact = not residual and place == size and last == len(parts) - 1
        suppressed = sli and last == len(parts) - 1
        assert bool(status.cstat & INCORRECT_LENGTH) == (not exact and not suppressed)


@given(st.lists(st.integers(1, 512), min_size=1, max_size=6), st.integers(0, 20))
@settings(max_examples=60, deadline=None)
def test_what_is_written_by_any_chain_is_read_back_by_any_other(
    counts: list[int], block: int
) -> None:
    with machine() as m:
        total = sum(counts)
        blocks = -(-total // BLOCK)
        payload = bytes(n * 7 & 0xFF for n in range(total))
        m.store(DATA, payload)
        places = [DATA + sum(counts[:n]) for n in range(len(counts))]
        chain = [
            (0x41, CD if n < len(counts) - 1 else SLI, count, places[n])
            for n, count in enumerate(counts)
        ]
        assert m.run(*m.writing(block, blocks, *chain)).dstat == ENDED
        status = m.run(*m.reading(block, blocks, (READ, 0, blocks * BLOCK, DATA + 0x8000)))
        assert (status.dstat, status.cstat) == (ENDED, 0)
        rest = bytes(blocks * BLOCK - total)
        assert m.load(DATA + 0x8000, blocks * BLOCK) == payload + rest
        assert m.blocks(block, blocks) == payload + rest


def test_a_ccw_of_the_tests_is_the_architectures() -> None:
    assert ccw(1, 2, 3, 4) == bytes.fromhex("0102000300000004")
    assert ccw(1, 2, 3, 4, format1=False) == bytes.fromhex("0100000402000003")
    assert ACTL & STCTL == 0
