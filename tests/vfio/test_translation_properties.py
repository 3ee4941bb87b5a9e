"""Any bytes are an ORB and a program: a START is answered as Linux answers it.

What is expected comes from `linux_translation`, a second statement of Linux's rules, which is held
to what Linux 6.12 was seen to answer.
"""

from __future__ import annotations

import errno
import struct
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
    TIC,
    Ccw,
)
from tests.vfio import linux_translation as linux
from tests.vfio.holes import (
    END,
    GAP,
    HIGH,
    ISLAND,
    NEXT,
    PATHS,
    Contents,
    client,
    mapped_part,
    storage,
)
from tests.vfio.linux_translation import IDAW_2K, PAGE, Orb
from vfioccw_fuse.vfio.fsm import State
from vfioccw_fuse.vfio.iommu import touches

COPIES = ("start-only", "scsw", "async")
"""The interfaces on which the driver's copy runs."""
copies = pytest.mark.parametrize("interface", COPIES)
interfaces = pytest.mark.parametrize("interface", [*COPIES, "full"])
MANY = settings(max_examples=150)

PROGRAM, LISTS, DATA = 0x1000, 0x2000, 0x3000
WRITE, READ, CONTROL, BACKWARD, FIND = 0x01, 0x02, 0x07, 0x0C, 0x17
MIDAW = 0x40
"""Of an ORB's byte 7."""


def check(interface: str, orb: bytes, contents: Contents) -> int:
    """The driver answers as the rules say, and shows it; gives the errno."""
    with client(interface) as c:
        c.put(contents)
        before = c.shows()
        expected = linux.answer(interface, Orb.of(orb), storage(contents), PATHS)
        assert c.start_at(orb) == expected
        assert c.ret_code() == -expected
        if not expected:
            assert c.state() is State.CP_PENDING
            c.settle(3)  # it runs and raises nothing
            return 0
        assert c.state() is State.IDLE
        assert not c.signals()
        assert expected == errno.EACCES or c.shows() == before
        # The device is as good as new.
        c.put([(PROGRAM, programs.ccws((NOP, 0, 0, 0), (0, 0, 0, 0)))])
        assert c.start_at(programs.orb(PROGRAM)) == 0
        irb = c.ended()
        assert irb is not None
        assert (irb.cpa, irb.dstat, irb.cstat) == (PROGRAM + 8, ENDED, 0)
        return expected


# --- hostile programs -----------------------------------------------------------------------------

edges = [PROGRAM, LISTS, DATA, NEXT - 8, END - 2048, END - 8, END, GAP, ISLAND, HIGH]
addresses = st.builds(
    lambda edge, by: max(edge + by, 0),
    st.sampled_from(edges),
    st.sampled_from([0, 0, 0, 0, 8, 16, 24, -8, 1, 4, -1, -4]),
)
anywhere = addresses | st.integers(0, 0xFFFF) | st.integers(0, 0x80004000)


def placed(data: st.SearchStrategy[bytes]) -> st.SearchStrategy[Contents]:
    pieces = st.tuples(addresses, data).map(lambda piece: (piece[0], mapped_part(*piece)))
    return st.lists(pieces, min_size=1, max_size=4)


any_orbs = st.builds(
    lambda head, cpa: head + struct.pack(">I", cpa), st.binary(min_size=8, max_size=8), anywhere
)
reasonable_orbs = st.builds(
    lambda ctrl0, cpa: programs.orb(cpa, ctrl0),
    st.lists(st.sampled_from([FORMAT1, FORMAT1, PREFETCH, IDAW64, IDAW_2K])).map(
        lambda bits: sum(set(bits))
    ),
    addresses,
)


@interfaces
@MANY
@given(orb=any_orbs | reasonable_orbs, contents=placed(st.binary(min_size=8, max_size=64)))
def test_any_bytes(interface: str, orb: bytes, contents: Contents) -> None:
    if interface == "full":
        orb = without_midaws(orb)
    check(interface, orb, contents)


def without_midaws(orb: bytes) -> bytes:
    """MIDAWs work on `full`, and Linux has no rule for them."""
    return orb[:7] + bytes([orb[7] & ~MIDAW]) + orb[8:]


# --- nearly valid programs ------------------------------------------------------------------------

codes = st.sampled_from(
    [NOP, WRITE, READ, CONTROL, SENSE, SENSE_ID, BACKWARD, 0x0A, 0x14, 0x18, 0xF8, 0x00, 0x0B]
)
chaining = st.sampled_from([CC, CC, CC, CD, CC | CD])
flags = st.lists(st.sampled_from([SLI, SKIP, SKIP, IDA, IDA, MIDA]), max_size=2).map(
    lambda bits: sum(set(bits))
)
counts = st.sampled_from([0, 1, 1, 8, 8, 100, 2048, 2049, 4096, 4097]) | st.integers(0, 65535)
good = st.sampled_from([PROGRAM, LISTS, LISTS + 2047, DATA, DATA + 1, NEXT - 8, END - 8, ISLAND])
data_addresses = good | good | good | good | addresses
near = st.builds(
    lambda n, inside: PROGRAM + 8 * n + inside,
    st.integers(0, 8),
    st.sampled_from([0] * 9 + [1, 4, 7]),
)
targets = near | near | near | addresses
tics = st.tuples(st.just(TIC), st.sampled_from([0, 0, 0, CC]), st.just(0), targets)
links = tics | st.tuples(codes, st.builds(int.__or__, chaining, flags), counts, data_addresses)
lasts = tics | st.sampled_from([(NOP, 0, 0, 0), (NOP, SLI, 1, 0)])


def packed(ccws: list[Ccw], format1: bool) -> bytes:
    """CCWs; format 0 has 24 bits for an address."""
    limit = 0xFFFFFFFF if format1 else 0xFFFFFF
    fitting = [(code, flags, count, address & limit) for code, flags, count, address in ccws]
    return programs.ccws(*fitting, format1=format1)


class Case(NamedTuple):
    orb: bytes
    contents: Contents


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Segments of chained CCWs with TICs between them, and lists of IDAWs where CCWs may look."""
    ctrl0 = sum(bit for bit in (FORMAT1, PREFETCH, IDAW64, IDAW_2K) if draw(st.booleans())) | draw(
        st.sampled_from([0, 0x3000])
    )
    format1 = bool(ctrl0 & FORMAT1)
    word = "Q" if ctrl0 & IDAW64 else "I"
    contents: Contents = []
    for at in draw(st.lists(good, max_size=3)):
        idaws = draw(st.lists(data_addresses, min_size=1, max_size=34))
        contents.append((at, struct.pack(f">{len(idaws)}{word}", *idaws)))
    cpa = draw(near | near | near | addresses)
    for at in [cpa, *draw(st.lists(targets, min_size=1, max_size=4))]:
        ccws = draw(st.lists(links, min_size=1, max_size=5))
        contents.append((at, packed([*ccws, draw(lasts)], format1)))
    contents = [(at, mapped_part(at, data)) for at, data in contents]
    lpm = draw(st.sampled_from([0xFF, 0x80, 0]))
    return Case(programs.orb(cpa, ctrl0, lpm=lpm), contents)


@interfaces
@MANY
@given(cases())
def test_nearly_valid_programs(interface: str, case: Case) -> None:
    check(interface, case.orb, case.contents)


@st.composite
def long_programs(draw: st.DrawFn) -> Case:
    """Programs near the limits: of some 16 segments, or of a segment of some 256 CCWs."""
    if draw(st.booleans()):
        heads = [PROGRAM + 24 * n for n in range(draw(st.integers(15, 18)))]
        following = dict(zip(heads, [*heads[1:], PROGRAM], strict=True))
        places = st.sampled_from(heads).map(lambda head: head + 8) | st.sampled_from(edges)
        ccws = [
            ccw
            for head in heads
            for ccw in (
                (NOP, CC, 0, 0),
                draw(st.sampled_from([(TIC, CC, 0, draw(places)), (NOP, CC, 0, 0)])),
                (TIC, 0, 0, following[head]),
            )
        ]
    else:
        ccws = [(NOP, CC, 0, 0)] * draw(st.integers(254, 257))
        for place in draw(st.lists(st.integers(0, len(ccws) - 1), max_size=3)):
            ccws[place] = (TIC, 0, 0, PROGRAM + 4 * draw(st.integers(0, 2 * len(ccws))))
    ccws.append(draw(lasts))
    format1 = draw(st.booleans())
    contents = [(PROGRAM, packed(ccws, format1))]
    return Case(programs.orb(PROGRAM, FORMAT1 * format1 | PREFETCH), contents)


@interfaces
@MANY
@given(long_programs())
def test_programs_near_the_limits(interface: str, case: Case) -> None:
    check(interface, case.orb, case.contents)


steps = st.sampled_from([(NOP, CC, 0, DATA), (NOP, CC | SLI, 0, GAP), (NOP, CC | SLI, 5, GAP)])


@st.composite
def walks(draw: st.DrawFn) -> Case:
    """NOPs that lead from segment to segment."""
    ctrl0 = sum(bit for bit in (FORMAT1, PREFETCH) if draw(st.booleans()))
    places = draw(st.permutations([PROGRAM + n for n in (0, 16, 44, 0x400, 0x1FF8)]))
    contents: Contents = []
    for number, at in enumerate(places):
        ccws = draw(st.lists(steps, max_size=4))
        following = places[(number + 1) % len(places)]
        target = following + draw(st.sampled_from([0, 0, 0, 0, 8, 4]))
        ccws.append(draw(st.sampled_from([(NOP, 0, 0, 0), (TIC, 0, 0, target)])))
        contents.append((at, packed(ccws, bool(ctrl0 & FORMAT1))))
    return Case(programs.orb(places[0], ctrl0), contents)


@copies
@MANY
@given(walks())
def test_an_accepted_program_ends_where_the_copy_ends(interface: str, case: Case) -> None:
    try:
        segments = linux.start(interface, Orb.of(case.orb), storage(case.contents), PATHS)
    except linux.Refused:
        return
    assert segments is not None
    expected = linux.ending(segments)
    with client(interface) as c:
        c.put(case.contents)
        assert c.start_at(case.orb) == 0
        irb = c.ended()
        if expected is not None:
            assert irb is not None
            assert (irb.cpa, bool(irb.cstat & PROGRAM_CHECK)) == expected
            assert irb.flags & FORMAT1


@copies
@MANY
@given(cases())
def test_an_unmap_takes_the_data_of_a_copy_alone(interface: str, case: Case) -> None:
    orb, held = Orb.of(case.orb), storage(case.contents)
    if linux.answer(interface, orb, held, PATHS):
        return
    pinned = linux.Translation(orb, held, whole=True).pinned()
    with client(interface) as c:
        c.put(case.contents)
        assert c.start_at(case.orb) == 0
        assert c.sch.program is not None
        for area in c.machine.space.ranges:
            there = range(area.start // PAGE, area.end // PAGE)
            expected = any(page in pinned for page in there)
            assert touches(c.machine.space, c.sch.program.ccws, area) == expected


# --- what a copy shares with what was copied ------------------------------------------------------

areas = st.sampled_from([DATA, DATA + 1, DATA + 2047, PROGRAM, PROGRAM + 16, NEXT - 8, END - 100])
heads = [PROGRAM, PROGRAM + 24, PROGRAM + 64]
in_order = st.tuples(
    st.sampled_from([TIC, NOP, WRITE, READ, CONTROL, FIND, SENSE, SENSE_ID, 0x00, NOP, READ, FIND]),
    st.builds(
        lambda chain, others, sli: chain | others | sli,
        chaining,
        flags,
        st.sampled_from([SLI, SLI, SLI, 0]),
    ),
    st.sampled_from([1, 7, 8, 50, 100, 2048, 2049, 0]),
)


@st.composite
def orderly(draw: st.DrawFn) -> Case:
    """Programs on their boundaries, which may be prefetched, write over themselves, and loop."""
    ctrl0 = FORMAT1 | PREFETCH | draw(st.sampled_from([0, IDAW64, IDAW64 | IDAW_2K]))
    word = "Q" if ctrl0 & IDAW64 else "I"
    blocks = st.sampled_from([DATA, DATA + 0x800, DATA + 0x1000, PROGRAM, ISLAND])
    contents: Contents = [(DATA, bytes(range(256)))]
    for number in range(4):
        idaws = [draw(areas), *draw(st.lists(blocks | areas, min_size=4, max_size=4))]
        contents.append((LISTS + 64 * number, struct.pack(f">5{word}", *idaws)))
    for head in heads:
        ccws: list[Ccw] = []
        for code, with_flags, count in draw(st.lists(in_order, min_size=1, max_size=4)):
            if code == TIC:
                ccws.append((TIC, 0, 0, head))
                continue
            ida = LISTS + 64 * draw(st.integers(0, 3))
            ccws.append((code, with_flags, count, ida if with_flags & IDA else draw(areas)))
        target = draw(st.sampled_from(heads)) + 8 * draw(st.integers(0, 3))
        # A status modifier must not lead behind the segment: there is nothing in the copy.
        ccws += [(NOP, CC, 0, 0), draw(st.sampled_from([(TIC, 0, 0, target), (NOP, 0, 0, 0)]))]
        contents.append((head, packed(ccws, True)))
    return Case(programs.orb(PROGRAM, ctrl0), contents)


@MANY
@given(orderly())
def test_the_copy_of_an_orderly_program_does_what_the_program_does(case: Case) -> None:
    ends = []
    for interface in ("full", "async"):
        with client(interface) as c:
            c.put(case.contents)
            refused = c.start_at(case.orb)
            ends.append((refused, c.ended(), c.machine.picture()))
    assert ends[0] == ends[1]
