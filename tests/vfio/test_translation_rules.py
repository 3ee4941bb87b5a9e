"""Each rule by which a START's program is refused or translated: Linux's, and what `full` takes.

What is expected stands in the test or was recorded from Linux 6.12; the driver and the second
statement of the rules, `linux_translation`, both have to give it.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from errno import EACCES, EINVAL, EIO, EOPNOTSUPP
from pathlib import Path
from typing import NamedTuple

import pytest

from lab import programs
from lab.programs import (
    CC,
    CD,
    ENDED,
    FORMAT1,
    IDA,
    IDAW64,
    MIDA,
    NOP,
    PREFETCH,
    PROGRAM_CHECK,
    SENSE,
    SENSE_ID,
    SKIP,
    SLI,
    START,
    TIC,
    Ccw,
)
from tests.machine import MEMORY
from tests.vfio import linux_translation as linux
from tests.vfio.driver import Driver
from tests.vfio.holes import END, GAP, HIGH, ISLAND, NEXT, PATHS, Contents, client, storage
from tests.vfio.linux_translation import CCWS, IDAW_2K, RESERVED, SEGMENTS, TRANSPORT, Orb
from vfioccw_fuse.memory.space import Range

COPIES = ("start-only", "scsw", "async")
"""The interfaces on which the driver's copy runs."""
copies = pytest.mark.parametrize("interface", COPIES)
interfaces = pytest.mark.parametrize("interface", [*COPIES, "full"])

PROGRAM, LISTS, DATA = 0x1000, 0x2000, 0x4000
SEGMENT = 8 * CCWS
"""Bytes that Linux reads of a segment."""
WRITE, READ, CONTROL, BACKWARD, FIND = 0x01, 0x02, 0x07, 0x0C, 0x17
X, MIDAW, L = 0x01, 0x40, 0x80
"""Bits of an ORB's byte 7."""
LAST: Ccw = (NOP, 0, 0, 0)
NEXT_FOLLOWS: Ccw = (NOP, CC, 0, 0)


def nops(number: int) -> tuple[Ccw, ...]:
    return NEXT_FOLLOWS, *[NEXT_FOLLOWS] * (number - 2), LAST


def tic(target: int, flags: int = 0) -> Ccw:
    return TIC, flags, 0, target


def idal(ctrl0: int, *addresses: int) -> bytes:
    return struct.pack(f">{len(addresses)}{'Q' if ctrl0 & IDAW64 else 'I'}", *addresses)


Program = Mapping[int, tuple[Ccw, ...] | bytes]
"""By address, CCWs or other bytes."""


class Case(NamedTuple):
    """A program, and what the write gets."""

    program: Program
    copied: int = 0
    """The errno where the program is copied."""
    full: int | None = None
    """The errno on `full` with prefetch, if it is another."""
    cpa: int = PROGRAM
    ctrl0: int = FORMAT1 | PREFETCH
    ctrl1: int = 0
    lpm: int = 0xFF
    unchecked: int = 0
    """The errno on `full` without prefetch."""

    def contents(self) -> Contents:
        return [
            (at, data if isinstance(data, bytes) else self._ccws(data))
            for at, data in self.program.items()
        ]

    def _ccws(self, ccws: tuple[Ccw, ...]) -> bytes:
        return programs.ccws(*ccws, format1=bool(self.ctrl0 & FORMAT1))

    def orb(self) -> bytes:
        return programs.orb(self.cpa, self.ctrl0, lpm=self.lpm, ctrl1=self.ctrl1)

    def expected(self, interface: str) -> int:
        if interface != "full":
            return self.copied
        if not self.ctrl0 & PREFETCH:
            return self.unchecked
        return self.copied if self.full is None else self.full


def joined(number: int, *last: Ccw) -> Program:
    """*number* segments of a NOP and a TIC to the next, which is 32 bytes on; then *last*."""
    segments: Program = {
        PROGRAM + 32 * n: (NEXT_FOLLOWS, tic(PROGRAM + 32 * (n + 1))) for n in range(number - 1)
    }
    return {**segments, PROGRAM + 32 * (number - 1): last or (LAST,)}


def one(*ccws: Ccw) -> Program:
    return {PROGRAM: ccws}


def found_late(last: int) -> Program:
    """*last* segments in a row, the last with two TICs: to B, which leads into C, and to C's head.

    Depth first the middle of C is a segment of its own, as C was not found yet.
    """
    b, c = LISTS, LISTS + 0x100
    return {**joined(last, tic(b, CC), tic(c)), b: (tic(c + 8),), c: nops(3)}


GOOD = {PROGRAM: (LAST,)}
NO_PREFETCH = FORMAT1
TWO = 2 * 2048 + 1
"""A count that needs three blocks of 2K, whatever the first address."""

CASES: dict[str, Case] = {
    # Segments
    "256 CCWs are a segment": Case(one(*nops(CCWS))),
    "257 CCWs are too many": Case(one(*nops(CCWS + 1)), EINVAL),
    "16 segments are a program": Case(joined(SEGMENTS)),
    "17 segments are too many": Case(joined(SEGMENTS + 1), EINVAL),
    "each of 16 segments may have 256 CCWs": Case(
        {PROGRAM: (*nops(255)[:-1], NEXT_FOLLOWS, tic(NEXT)), NEXT: nops(256)}
    ),
    "a TIC into a segment that was found is not counted": Case(
        joined(SEGMENTS, NEXT_FOLLOWS, tic(PROGRAM + 32 * 3 + 8))
    ),
    "a TIC behind a segment's last CCW is a new segment": Case(
        joined(SEGMENTS, NEXT_FOLLOWS, tic(PROGRAM + 32 * 3 + 16)), EINVAL
    ),
    "a TIC behind a segment's last CCW's first byte is a new segment": Case(
        joined(SEGMENTS, NEXT_FOLLOWS, tic(PROGRAM + 32 * 3 + 9)), EINVAL
    ),
    "any byte before that is in the segment": Case(
        joined(SEGMENTS, NEXT_FOLLOWS, tic(PROGRAM + 32 * 3 + 3))
    ),
    "a TIC in front of a segment is a new segment": Case(
        joined(SEGMENTS, NEXT_FOLLOWS, tic(PROGRAM - 8)), EINVAL
    ),
    "segments are found depth first: 16": Case(found_late(SEGMENTS - 3)),
    "segments are found depth first: 17": Case(found_late(SEGMENTS - 2), EINVAL),
    "behind a forward TIC nothing counts": Case(
        one(NEXT_FOLLOWS, tic(PROGRAM + 32), (WRITE, 0, 1, GAP))
    ),
    "behind a backward TIC counting goes on": Case(
        one(NEXT_FOLLOWS, tic(PROGRAM), (WRITE, 0, 1, GAP)), EINVAL
    ),
    "behind a TIC to itself counting goes on": Case(
        one(NEXT_FOLLOWS, tic(PROGRAM + 8), (WRITE, 0, 1, GAP)), EINVAL
    ),
    "behind a TIC to a CCW's middle counting goes on": Case(
        one(NEXT_FOLLOWS, tic(PROGRAM + 5), (WRITE, 0, 1, GAP)), EINVAL
    ),
    "behind a TIC into its own middle nothing counts": Case(
        # The CCW at the target is an invalid command with data that is mapped.
        one(NEXT_FOLLOWS, tic(PROGRAM + 12), (0, 0, DATA, GAP))
    ),
    "behind a backward TIC into another segment nothing counts": Case(
        {
            PROGRAM: (NEXT_FOLLOWS, tic(LISTS)),
            LISTS: (NEXT_FOLLOWS, tic(PROGRAM), (WRITE, 0, 1, GAP)),
        }
    ),
    "what counting finds behind a TIC is followed": Case(
        one(NEXT_FOLLOWS, tic(PROGRAM), tic(GAP)), EINVAL
    ),
    "the 257th CCW behind backward TICs is too many": Case(
        one(NEXT_FOLLOWS, *[tic(PROGRAM)] * 255, LAST), EINVAL
    ),
    "256 CCWs with backward TICs are a segment": Case(
        one(NEXT_FOLLOWS, *[tic(PROGRAM)] * 254, LAST)
    ),
    "a chaining flag counts in a TIC": Case(
        one(tic(LISTS, CC), (WRITE, 0, 1, GAP)), EINVAL
    ),
    "data chaining counts": Case(one((WRITE, CD, 1, DATA), (0, 0, 1, GAP)), EINVAL),
    # What is mapped of the program
    "the first CCW is not mapped": Case({}, EINVAL, cpa=GAP),
    "the target of a TIC is not mapped": Case(one(NEXT_FOLLOWS, tic(GAP)), EINVAL),
    "2,048 bytes are mapped to the last": Case({END - SEGMENT: (LAST,)}, cpa=END - SEGMENT),
    "2,048 bytes are not all mapped": Case(
        {END - SEGMENT + 8: (LAST,)}, EINVAL, 0, cpa=END - SEGMENT + 8
    ),
    "one byte of the 2,048 is not mapped": Case(
        {END - SEGMENT + 1: (LAST,)}, EINVAL, 0, cpa=END - SEGMENT + 1
    ),
    "2,048 bytes of a TIC's target are not all mapped": Case(
        {PROGRAM: (NEXT_FOLLOWS, tic(END - 8)), END - 8: (LAST,)}, EINVAL, 0
    ),
    "2,048 bytes in two mapped ranges": Case({NEXT - 16: nops(4)}, cpa=NEXT - 16),
    "the last CCW before a gap chains": Case({END - 8: (NEXT_FOLLOWS,)}, EINVAL, cpa=END - 8),
    # Addresses are numbers
    "a CPA that is no multiple of 8": Case({PROGRAM + 1: (LAST,)}, cpa=PROGRAM + 1),
    "a target that is no multiple of 8": Case(
        {PROGRAM: (NEXT_FOLLOWS, tic(LISTS + 1)), LISTS + 1: (LAST,)}
    ),
    "CPA with bit 0 where nothing is mapped": Case(
        GOOD, EINVAL, cpa=NEXT | 1 << 31, unchecked=EIO
    ),
    "CPA with bit 0, mapped": Case({HIGH: (LAST,)}, 0, EIO, cpa=HIGH, unchecked=EIO),
    "target with bit 0, mapped": Case({PROGRAM: (NEXT_FOLLOWS, tic(HIGH)), HIGH: (LAST,)}),
    "data with bit 0, mapped": Case(one((WRITE, SLI, 1, HIGH))),
    "data with bit 0 where nothing is mapped": Case(one((WRITE, 0, 1, DATA | 1 << 31)), EINVAL),
    # Data
    "data to the last mapped byte": Case(one((WRITE, 0, 256, END - 256))),
    "data one byte too far": Case(one((WRITE, 0, 257, END - 256)), EINVAL),
    "data one byte too far, in the range of the program": Case(
        {NEXT: ((WRITE, 0, 2, END - 1),)}, EINVAL, cpa=NEXT
    ),
    "data through two mapped ranges": Case(one((WRITE, 0, 4096, NEXT - 1))),
    "65,535 bytes of data, the fourth page is missing": Case(
        one((WRITE, 0, 0xFFFF, NEXT)), EINVAL
    ),
    "data over a gap": Case(one((WRITE, 0, ISLAND + 1 - DATA, DATA)), EINVAL),
    "Read Backward, as if upwards": Case(one((BACKWARD, 0, 0x100, ISLAND))),
    "Read Backward, over the end as if upwards": Case(one((BACKWARD, 0, 2, END - 1)), EINVAL),
    "count 0 moves nothing": Case(one((WRITE, 0, 0, GAP))),
    "a NOP moves nothing": Case(one((NOP, SLI, 0x40, GAP))),
    "a second CCW's data": Case(one(NEXT_FOLLOWS, (WRITE, 0, 1, GAP)), EINVAL),
    "the data of a second segment": Case(
        {PROGRAM: (NEXT_FOLLOWS, tic(LISTS)), LISTS: ((WRITE, 0, 1, GAP),)}, EINVAL
    ),
    "a NOP in a data chain moves nothing, whatever began the chain": Case(
        one((READ, CD, 1, DATA), (NOP, 0, 1, GAP))
    ),
    "an invalid command code moves data": Case(one((0x00, 0, 1, GAP)), EINVAL),
    "a TIC names no data": Case(one(NEXT_FOLLOWS, (TIC, IDA | SKIP, 0xFFFF, PROGRAM), LAST)),
    # Lists of IDAWs
    "the list of a write is not mapped": Case(one((WRITE, IDA, 1, GAP)), EINVAL),
    "the list of a NOP is not mapped": Case(one((NOP, IDA | SLI, 1, GAP)), EINVAL),
    "the list of a skipped read is not mapped": Case(one((READ, IDA | SKIP, 1, GAP)), EINVAL),
    "the list of count 0 is not mapped": Case(one((WRITE, IDA, 0, GAP)), EINVAL),
    "count 0 has one IDAW, of format 1": Case(
        {PROGRAM: ((WRITE, IDA, 0, END - 4),), END - 4: idal(0, GAP)}
    ),
    "count 0 has one IDAW, of format 2": Case(
        {PROGRAM: ((WRITE, IDA, 0, END - 8),), END - 8: idal(IDAW64, GAP)},
        ctrl0=FORMAT1 | PREFETCH | IDAW64,
    ),
    "count 0 has one IDAW, and half of it is not mapped": Case(
        one((WRITE, IDA, 0, END - 4)), EINVAL, ctrl0=FORMAT1 | PREFETCH | IDAW64
    ),
    "a NOP has as many IDAWs as its count asks for": Case(
        {PROGRAM: ((NOP, IDA | SLI, TWO, END - 8),), END - 8: idal(0, DATA, DATA)}, EINVAL
    ),
    "a skipped read has as many IDAWs as its count asks for": Case(
        {PROGRAM: ((READ, IDA | SKIP, TWO, END - 8),), END - 8: idal(0, DATA, DATA)}, EINVAL
    ),
    "an IDAW's page is not mapped": Case(
        {PROGRAM: ((WRITE, IDA, 2049, LISTS),), LISTS: idal(0, DATA, GAP)}, EINVAL
    ),
    "an IDAW is the first address that is not mapped": Case(
        {PROGRAM: ((WRITE, IDA, 2049, LISTS),), LISTS: idal(0, DATA, END)}, EINVAL
    ),
    "an IDAW's page is not mapped, and nothing moves": Case(
        {PROGRAM: ((NOP, IDA | SLI, 2049, LISTS),), LISTS: idal(0, GAP, GAP)}
    ),
    "an IDAW's page is not mapped, and the read is skipped": Case(
        {PROGRAM: ((READ, IDA | SKIP, 2049, LISTS),), LISTS: idal(0, GAP, GAP)}
    ),
    "an IDAW behind those that count is not looked at": Case(
        {PROGRAM: ((WRITE, IDA, 2048, LISTS),), LISTS: idal(0, DATA, GAP)}
    ),
    "an IDAW that does not begin a block is not refused": Case(
        {PROGRAM: ((WRITE, IDA | SLI, 2049, LISTS),), LISTS: idal(0, DATA, DATA + 1)}
    ),
    "an IDAW's block may reach over the end": Case(
        {PROGRAM: ((WRITE, IDA | SLI, 2049, LISTS),), LISTS: idal(0, DATA, END - 1)}
    ),
    "an IDAW of 64 bits is not mapped": Case(
        {PROGRAM: ((WRITE, IDA, 1, LISTS),), LISTS: idal(IDAW64, 1 << 32 | DATA)},
        EINVAL, ctrl0=FORMAT1 | PREFETCH | IDAW64,
    ),
    "a list at no multiple of its word": Case(
        {PROGRAM: ((WRITE, IDA | SLI, 1, LISTS + 1),), LISTS + 1: idal(0, DATA)}
    ),
    "MIDA is a flag like another where nothing says MIDAW": Case(one((WRITE, MIDA, 1, DATA))),
    # Format 0
    "format 0: a TIC's flags do not chain": Case(
        one((TIC, CC, 5, LISTS), (WRITE, 0, 1, GAP)), ctrl0=PREFETCH
    ),
    "format 0: data": Case(one((WRITE, 0, 1, GAP)), EINVAL, ctrl0=PREFETCH),
    "format 0: byte 5 is nothing": Case(
        {PROGRAM: bytes.fromhex("03000000 40ff0000 01007000 00ff0001")}, EINVAL, ctrl0=PREFETCH
    ),
    # The order: state, transport, translation, SSCH
    "transport mode": Case(
        GOOD, EOPNOTSUPP, ctrl0=FORMAT1 | PREFETCH | TRANSPORT, unchecked=EOPNOTSUPP
    ),
    "transport mode comes before translation": Case(
        {}, EOPNOTSUPP, cpa=GAP, ctrl0=FORMAT1 | PREFETCH | TRANSPORT, unchecked=EOPNOTSUPP
    ),
    "an operand exception": Case(GOOD, EIO, ctrl1=0x20, unchecked=EIO),
    "another operand exception": Case(GOOD, EIO, ctrl1=0x02, unchecked=EIO),
    "translation comes before an operand exception": Case(
        {}, EINVAL, cpa=GAP, ctrl1=RESERVED, unchecked=EIO
    ),
    "an operand exception comes before cc 3": Case(GOOD, EIO, ctrl1=0x20, lpm=1, unchecked=EIO),
    "translation comes before cc 3": Case({}, EINVAL, cpa=GAP, lpm=1, unchecked=EACCES),
    "no path": Case(GOOD, EACCES, lpm=0x20, unchecked=EACCES),
    "lpm 0 is any path": Case(GOOD, lpm=0),
}  # fmt: skip


def both(interface: str, case: Case) -> None:
    """The rules and the driver give what is expected."""
    expected, contents = case.expected(interface), case.contents()
    assert linux.answer(interface, Orb.of(case.orb()), storage(contents), PATHS) == expected
    with client(interface) as c:
        c.put(contents)
        assert c.start_at(case.orb()) == expected
        assert c.ret_code() == -expected


@interfaces
@pytest.mark.parametrize("name", CASES)
def test_a_program_with_prefetch(interface: str, name: str) -> None:
    both(interface, CASES[name])


@interfaces
@pytest.mark.parametrize("name", CASES)
def test_without_prefetch_full_alone_looks_at_nothing(interface: str, name: str) -> None:
    case = CASES[name]
    both(interface, case._replace(ctrl0=case.ctrl0 & ~PREFETCH))


# --- many at once ---------------------------------------------------------------------------------


@interfaces
@pytest.mark.parametrize("flags", [0, SKIP], ids=["", "skip"])
def test_which_commands_move_data(interface: str, flags: int) -> None:
    read_or_sensed = {code for code in range(256) if code & 3 == 2 or code & 0x0F in (0x0C, 4)}
    assert {READ, BACKWARD, SENSE, SENSE_ID} <= read_or_sensed
    assert not read_or_sensed & {WRITE, CONTROL, NOP, TIC}
    with client(interface) as c:
        for code in {*range(256)} - {TIC}:
            c.put([(PROGRAM, programs.ccw(code, flags, 1, GAP))])
            moves = code != NOP and not (flags and code in read_or_sensed)
            orb = programs.orb(PROGRAM, FORMAT1 | PREFETCH)
            assert c.start_at(orb) == (EINVAL if moves else 0), hex(code)
            c.ccw.driver.reset()


@interfaces
def test_which_codes_are_tic(interface: str) -> None:
    with client(interface) as c:
        for format1 in (0, FORMAT1):
            for code in range(256):
                tic = code == TIC if format1 else code & 0x0F == TIC
                ccws = ((code, 0, 0, GAP), (NOP, 0, 0, 0))
                c.put([(PROGRAM, programs.ccws(*ccws, format1=bool(format1)))])
                orb = programs.orb(PROGRAM, format1 | PREFETCH)
                assert c.start_at(orb) == (EINVAL if tic else 0), hex(code)
                c.ccw.driver.reset()


KINDS = {"format 1": 0, "format 1, 2K": IDAW_2K, "4K": IDAW64, "2K": IDAW64 | IDAW_2K}


@interfaces
@pytest.mark.parametrize(
    ("inside", "count", "of_2k", "of_4k"),
    [
        (0, 0, 1, 1),
        (2047, 0, 1, 1),
        (0, 1, 1, 1),
        (2047, 1, 1, 1),
        (2047, 2, 2, 1),
        (0, 2048, 1, 1),
        (1, 2048, 2, 1),
        (0, 4096, 2, 1),
        (1, 4096, 3, 2),
        (4095, 2, 2, 2),
        (0, 65535, 32, 16),
        (2047, 65535, 33, 17),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_how_many_idaws_a_list_has(
    interface: str, kind: str, inside: int, count: int, of_2k: int, of_4k: int
) -> None:
    ctrl0 = FORMAT1 | PREFETCH | KINDS[kind]
    number = of_4k if kind == "4K" else of_2k
    data = idal(ctrl0, DATA + inside, *[DATA] * (number - 1))
    for short in (0, 1):
        at = END - len(data) + short
        program: Program = {PROGRAM: ((WRITE, IDA | SLI, count, at),), at: data[: END - at]}
        both(interface, Case(program, EINVAL * short, ctrl0=ctrl0))


# --- what runs ------------------------------------------------------------------------------------

ENDS: dict[str, tuple[Case, int, bool]] = {
    "256 CCWs": (Case(one(*nops(CCWS))), PROGRAM + SEGMENT, False),
    "CPA and targets that are no multiples of 8": (
        Case({PROGRAM + 3: (NEXT_FOLLOWS, tic(LISTS + 1)), LISTS + 1: nops(2)}, cpa=PROGRAM + 3),
        LISTS + 17, False,
    ),
    "a target in a segment, a multiple of 8 from its head": (
        Case(
            {PROGRAM + 3: (NEXT_FOLLOWS, tic(LISTS)), LISTS: (NEXT_FOLLOWS, tic(PROGRAM + 11))},
            cpa=PROGRAM + 3,
        ),
        PROGRAM + 19, True,  # a TIC to a TIC
    ),
    "a target in a segment, no multiple of 8 from its head": (
        Case(one(NEXT_FOLLOWS, tic(PROGRAM + 4), LAST)), PROGRAM + 16, True,
    ),
    "addresses with bit 0": (Case({HIGH: nops(3)}, cpa=HIGH), HIGH + 24, False),
    "a target with bit 0": (
        Case({PROGRAM: (NEXT_FOLLOWS, tic(HIGH + 8)), HIGH + 8: nops(3)}), HIGH + 32, False,
    ),
    "format 0, count 0": (Case(one(*nops(4)), ctrl0=PREFETCH), PROGRAM + 32, False),
    "format 0, a TIC of code f8 with flags": (
        Case({PROGRAM: (NEXT_FOLLOWS, (0xF8, CC, 9, LISTS)), LISTS: nops(2)}, ctrl0=PREFETCH),
        LISTS + 16, False,
    ),
    "a TIC first": (Case({PROGRAM: (tic(LISTS),), LISTS: nops(2)}), PROGRAM + 8, True),
    "a TIC to a TIC": (
        Case({PROGRAM: (NEXT_FOLLOWS, tic(LISTS)), LISTS: (tic(ISLAND),), ISLAND: nops(2)}),
        LISTS + 8, True,
    ),
    "16 segments": (Case(joined(SEGMENTS)), PROGRAM + 32 * 15 + 8, False),
    "segments that overlap in storage": (
        Case({PROGRAM: (NEXT_FOLLOWS, tic(PROGRAM - 16)), PROGRAM - 16: (NEXT_FOLLOWS, LAST)}),
        PROGRAM, False,
    ),
}  # fmt: skip


@copies
@pytest.mark.parametrize("name", ENDS)
def test_the_irb_tells_the_place_of_the_clients_ccw(interface: str, name: str) -> None:
    case, cpa, program_check = ENDS[name]
    segments = linux.start(interface, Orb.of(case.orb()), storage(case.contents()), PATHS)
    assert segments is not None
    assert linux.ending(segments) == (cpa, program_check)
    with client(interface) as c:
        c.put(case.contents())
        assert c.start_at(case.orb()) == 0
        irb = c.ended()
        assert irb is not None
        assert (irb.cpa, irb.cstat) == (cpa, PROGRAM_CHECK * program_check)
        assert irb.flags & (FORMAT1 | PREFETCH) == FORMAT1 | PREFETCH


@copies
@pytest.mark.parametrize("ctrl0", [FORMAT1, FORMAT1 | PREFETCH, 0])
def test_a_program_that_changes_itself_does_not_see_it(interface: str, ctrl0: int) -> None:
    with client(interface) as c:
        ccws = ((READ, CC | SLI, 24, PROGRAM), (NOP, CC, 0, 0), (NOP, 0, 0, 0))
        c.put([(PROGRAM, programs.ccws(*ccws, format1=bool(ctrl0)))])
        assert c.start_at(programs.orb(PROGRAM, ctrl0)) == 0
        irb = c.ended()
        assert irb is not None
        assert (irb.cpa, irb.dstat, irb.cstat) == (PROGRAM + 24, ENDED, 0)
        assert c.machine.load(PROGRAM, 24) == bytes(range(1, 25))


@copies
def test_a_target_in_two_segments_is_in_the_one_that_was_found_first(interface: str) -> None:
    """ccwchain_fetch_tic: 4 bytes inside the first, though it is a CCW of the second."""
    first, second = PROGRAM, PROGRAM - 4
    with client(interface) as c:
        c.put([
            (second, programs.ccw(NOP, CC, 0, 0)),
            # Status modifier: the TIC that is there to name the second segment is skipped.
            (first, programs.ccw(FIND, CC, 0, NOP << 24)),
            (first + 8, programs.ccws(tic(second, CC), tic(first + 4))),
        ])  # fmt: skip
        assert c.machine.load(first + 4, 4) == programs.ccw(*LAST)[:4]
        assert c.start_at(programs.orb(first)) == 0
        irb = c.ended()
        assert irb is not None
        assert (irb.cpa, irb.cstat) == (first + 24, PROGRAM_CHECK)


@interfaces
@pytest.mark.parametrize("kind", KINDS)
def test_an_idaw_stands_for_a_block_of_the_orb(interface: str, kind: str) -> None:
    ctrl0 = FORMAT1 | PREFETCH | KINDS[kind]
    last = 4095 if kind == "4K" else 2047  # of the first block
    with client(interface) as c:
        c.put([
            (PROGRAM, programs.ccw(READ, IDA | SLI, 50, LISTS)),
            (LISTS, idal(ctrl0, DATA + last, ISLAND)),
        ])  # fmt: skip
        assert c.start_at(programs.orb(PROGRAM, ctrl0)) == 0
        irb = c.ended()
        assert irb is not None
        assert (irb.dstat, irb.cstat & PROGRAM_CHECK, irb.count) == (ENDED, 0, 0)
        assert c.machine.load(DATA + last, 2) == b"\x01\0"
        assert c.machine.load(ISLAND, 50) == bytes(range(2, 51)) + b"\0"


@interfaces
def test_midaws_work_on_full_and_exclude_the_list_that_the_driver_made(interface: str) -> None:
    with client(interface) as c:
        c.put([
            (PROGRAM, programs.ccw(READ, MIDA | SLI, 16, END - 16)),
            (END - 16, struct.pack(">5xBHQ", 0x80, 16, DATA)),  # the last one
        ])  # fmt: skip
        assert c.start_at(programs.orb(PROGRAM, FORMAT1 | PREFETCH, ctrl1=MIDAW)) == 0
        irb = c.ended()
        assert irb is not None
        full = interface == "full"
        assert irb.cpa == PROGRAM + 8
        assert bool(irb.cstat & PROGRAM_CHECK) == (not full)
        assert c.machine.load(DATA, 16) == (bytes(range(1, 17)) if full else bytes(16))


@interfaces
def test_a_list_of_midaws_is_no_data_on_full(interface: str) -> None:
    with client(interface) as c:
        c.put([(PROGRAM, programs.ccw(READ, MIDA | SLI, 17, END - 16))])
        orb = programs.orb(PROGRAM, FORMAT1 | PREFETCH, ctrl1=MIDAW)
        assert c.start_at(orb) == (0 if interface == "full" else EINVAL)


@copies
def test_data_has_any_address(interface: str) -> None:
    with client(interface) as c:
        c.put([(PROGRAM, programs.ccw(SENSE_ID, 0, 7, HIGH + 1))])
        assert c.start_at(programs.orb(PROGRAM)) == 0
        irb = c.ended()
        assert irb is not None
        assert (irb.dstat, irb.cstat, irb.count) == (ENDED, 0, 0)
        assert c.machine.load(HIGH, 9) == bytes(1) + c.machine.device.sense_id + bytes(1)


# --- how much is read -----------------------------------------------------------------------------


@interfaces
@pytest.mark.parametrize("format1", [True, False])
def test_a_program_of_8000_segments_costs_what_17_cost(
    interface: str, format1: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_room = Driver(tmp_path, interface)
    space = with_room.machine.space
    whole = space.ranges[0]
    space.remove(whole)
    space.add(Range(0, MEMORY, whole.fd, 0, None))  # reached by pread alone
    ccws = programs.ccws(*(tic(PROGRAM + 8 * n) for n in range(1, 8001)), format1=format1)
    with_room.machine.store(PROGRAM, ccws)
    lengths: list[int] = []

    def pread(fd: int, length: int, offset: int) -> bytes:
        lengths.append(length)
        return read(fd, length, offset)

    read = os.pread
    monkeypatch.setattr(os, "pread", pread)
    try:
        orb = programs.orb(PROGRAM, PREFETCH | FORMAT1 * format1)
        assert with_room.request(START, orb) == EINVAL
        assert 0 < sum(lengths) <= (SEGMENTS + 1) * SEGMENT
        assert len(lengths) <= SEGMENTS + 1
    finally:
        with_room.close()
        whole.release()


# --- what Linux 6.12 answered ---------------------------------------------------------------------


class Recorded(NamedTuple):
    """A start on an FBA disk, and the answer: the errno, or the first words of the SCSW."""

    program: dict[int, tuple[Ccw, ...]]
    answer: str
    cpa: int = PROGRAM
    ctrl0: int = FORMAT1 | PREFETCH
    ctrl1: int = 0
    lpm: int = 0xFF


ID: Ccw = (SENSE_ID, SLI, 0x40, 0x3000)
SHOWS_ID = "00c04007 00001008 0c000039"
NOP1: Ccw = (NOP, CC | SLI, 1, 0)


def chain(number: int) -> tuple[Ccw, ...]:
    return *[NOP1] * (number - 1), (NOP, SLI, 1, 0)


RECORDED = {
    "nop sli": Recorded({PROGRAM: ((NOP, SLI, 1, 0),)}, "00c04007 00001008 0c000001"),
    "nop, lpm 80": Recorded({PROGRAM: chain(1)}, "00c04007 00001008 0c000001", lpm=0x80),
    "nop, lpm 40": Recorded({PROGRAM: chain(1)}, "00c04007 00001008 0c000001", lpm=0x40),
    "nop, lpm 00": Recorded({PROGRAM: chain(1)}, "00c04007 00001008 0c000001", lpm=0),
    "nop, lpm 20": Recorded({PROGRAM: chain(1)}, "EACCES", lpm=0x20),
    "sense id": Recorded({PROGRAM: (ID,)}, SHOWS_ID),
    "sense id no sli": Recorded(
        {PROGRAM: ((SENSE_ID, 0, 0x40, DATA),)}, "00c04017 00001008 0c400039"
    ),
    "sense id 4 no sli": Recorded(
        {PROGRAM: ((SENSE_ID, 0, 4, DATA),)}, "00c04017 00001008 0c400000"
    ),
    "format 0": Recorded({PROGRAM: (ID,)}, SHOWS_ID, ctrl0=PREFETCH),
    "no prefetch": Recorded({PROGRAM: (ID,)}, "00804007 00001008 0c000039", ctrl0=FORMAT1),
    "cpa odd 1004": Recorded({PROGRAM: (ID,)}, "00c04017 0000100c 00200000", cpa=PROGRAM + 4),
    "cpa odd 1001": Recorded({PROGRAM: (ID,)}, "EINVAL", cpa=PROGRAM + 1),
    "cpa unmapped": Recorded({PROGRAM: (ID,)}, "EINVAL", cpa=MEMORY),
    "cpa bit 0": Recorded({PROGRAM: (ID,)}, "EINVAL", cpa=PROGRAM | 1 << 31),
    "orb ctrl1 reserved": Recorded({PROGRAM: (ID,)}, "EIO", ctrl1=0x20),
    "orb ctrl1 01 (X)": Recorded({PROGRAM: (ID,)}, SHOWS_ID, ctrl1=X),
    "orb L": Recorded({PROGRAM: (ID,)}, SHOWS_ID, ctrl1=L),
    "orb key 3": Recorded({PROGRAM: (ID,)}, "30c04007 00001008 0c000039", ctrl0=0x30C0),
    "transport mode": Recorded({PROGRAM: (ID,)}, "EOPNOTSUPP", ctrl0=0xC0 | TRANSPORT),
    "streaming": Recorded({PROGRAM: (ID,)}, SHOWS_ID, ctrl0=0x04C0),
    "modification": Recorded({PROGRAM: (ID,)}, SHOWS_ID, ctrl0=0x02C0),
    "alcc": Recorded({PROGRAM: (ID,)}, "00d04007 00001008 0c000039", ctrl0=0x00D0),
    "command 00": Recorded({PROGRAM: ((0, 0, 1, DATA),)}, "00c04017 00001008 00200000"),
    "count 0": Recorded({PROGRAM: ((SENSE_ID, SLI, 0, DATA),)}, "00c04007 00001008 0c000000"),
    "nop count 0": Recorded({PROGRAM: ((NOP, SLI, 0, 0),)}, "00c04007 00001008 0c000000"),
    "data unmapped": Recorded({PROGRAM: ((SENSE_ID, SLI, 0x40, MEMORY),)}, "EINVAL"),
    "data crosses end": Recorded({PROGRAM: ((SENSE_ID, SLI, 0x40, MEMORY - 4),)}, "EINVAL"),
    "data bit 0": Recorded({PROGRAM: ((SENSE_ID, SLI, 0x40, DATA | 1 << 31),)}, "EINVAL"),
    "nop data unmapped": Recorded(
        {PROGRAM: ((NOP, SLI, 0x40, MEMORY),)}, "00c04007 00001008 0c000040"
    ),
    "skip data unmapped": Recorded({PROGRAM: ((SENSE_ID, SLI | SKIP, 0x40, MEMORY),)}, SHOWS_ID),
    "skip": Recorded({PROGRAM: ((SENSE_ID, SLI | SKIP, 0x40, DATA),)}, SHOWS_ID),
    "tic first to self": Recorded({PROGRAM: (tic(PROGRAM),)}, "00c04017 00001008 00200000"),
    "tic first": Recorded(
        {PROGRAM: (tic(0x1100),), 0x1100: (ID,)}, "00c04017 00001008 00200000"
    ),
    "nop, tic, sense id": Recorded(
        {PROGRAM: (NOP1, tic(0x1100)), 0x1100: (ID,)}, "00c04007 00001108 0c000039"
    ),
    "tic to tic": Recorded(
        {PROGRAM: (NOP1, tic(0x1010), tic(0x1100)), 0x1100: (ID,)}, "00c04017 00001018 00200000"
    ),
    "tic unmapped": Recorded({PROGRAM: (NOP1, tic(MEMORY))}, "EINVAL"),
    "nop, sense id": Recorded({PROGRAM: (NOP1, ID)}, "00c04007 00001010 0c000039"),
    "nop cc without sli": Recorded(
        {PROGRAM: ((NOP, CC, 1, 0), ID)}, "00c04017 00001008 0c400001"
    ),
    "255 ccws": Recorded({0x4000: chain(255)}, "00c04007 000047f8 0c000001", cpa=0x4000),
    "257 ccws": Recorded({0x4000: chain(257)}, "EINVAL", cpa=0x4000),
    "data chain of 20": Recorded(
        {PROGRAM: (*[(SENSE_ID, CD | SLI, 1, DATA)] * 19, (0, SLI, 1, DATA))},
        "00c04017 00001040 0c400001",
    ),
    "data chain tic": Recorded(
        {
            PROGRAM: ((SENSE_ID, CD, 4, DATA), tic(0x1100)),
            0x1100: ((0, SLI, 0x3C, DATA + 4),),
        },
        "00c04007 00001108 0c000039",
    ),
    "data chain count 0": Recorded(
        {PROGRAM: ((SENSE_ID, CD, 4, DATA), (0, SLI, 0, DATA))}, "00c04017 00001010 0c200000"
    ),
}  # fmt: skip


@copies
@pytest.mark.parametrize("name", RECORDED)
def test_what_linux_was_seen_to_answer(interface: str, name: str, tmp_path: Path) -> None:
    """The programs are rebuilt from their names and the IRBs; data is shorter than 64 bytes."""
    program, answer, cpa, ctrl0, ctrl1, lpm = RECORDED[name]
    orb = programs.orb(cpa, ctrl0, lpm=lpm, ctrl1=ctrl1)
    held = bytearray(MEMORY)
    driver = Driver(tmp_path, interface)
    try:
        for at, ccws in program.items():
            data = programs.ccws(*ccws, format1=bool(ctrl0 & FORMAT1))
            held[at : at + len(data)] = data
            driver.machine.store(at, data)
        seen = {"EACCES": EACCES, "EINVAL": EINVAL, "EIO": EIO, "EOPNOTSUPP": EOPNOTSUPP}
        expected = seen.get(answer, 0)
        rules = linux.Storage({0: bytes(held)})
        assert linux.answer(interface, Orb.of(orb), rules, PATHS) == expected
        assert driver.request(START, orb) == expected
        if not expected:
            driver.settle()
            assert driver.signals() == 1
            assert driver.read("io_region", 24, 12).hex(" ", -4) == answer
    finally:
        driver.close()
