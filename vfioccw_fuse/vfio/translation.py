"""What the driver makes of a channel program before SSCH: Linux's channel program translation.

Linux copies every program and gives the copy to the hardware (drivers/s390/cio/vfio_ccw_cp.c): so
`driver_copy` does for the interfaces that Linux has. `client_program`, for `full`, takes the copy's
limits and errors for an ORB that allows prefetch and runs what it has read then, as the client
wrote it; a program that may not be prefetched is the channel's alone. Both change nothing, and
refuse by Untranslatable, by AddressingError for what is not mapped, and by StorageLost where the
file behind what is mapped was cut.

The rules, and Linux 6.12's functions: a segment are the CCWs up to one that does not chain, and it
goes on behind a TIC that leads back into it (ccwchain_calc_length); a TIC elsewhere begins another
unless its target is a CCW of one that is there (tic_target_chain_exists), depth first
(ccwchain_loop_tic). All else that may be wrong with a program is the channel's to find.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator
from struct import Struct, unpack_from
from typing import Final

from ..css.ccw import CHAINS, NO_IDALS, CcwFetcher, CopiedCcws, Idals, Segments
from ..css.ida import IdaMode
from ..memory.space import AddressingError, AddressSpace
from ..regions import codec
from ..regions import constants as c
from ..regions.layouts import Orb

LONGEST_SEGMENT: Final = 256
"""Most CCWs of a segment (CCWCHAIN_LEN_MAX)."""
MOST_SEGMENTS: Final = 16
"""Most segments of a program (CCWCHAIN_COUNT_MAX)."""
SEGMENT_BYTES: Final = LONGEST_SEGMENT * c.CCW_SIZE
MIDAW: Final = c.ORB_CTRL1_MASK_MIDAW
IDA: Final = c.CCW_FLAG_IDA
TIC: Final = c.CCW_CMD_TIC
NOT_ALONE: Final = CHAINS | IDA
"""Flags of a CCW that is more than an address and a count."""

_ENDS: Final = bytes(0 if flags & CHAINS else 1 for flags in range(256))
_IDA: Final = bytes(1 if flags & IDA else 0 for flags in range(256))
_TIC_FORMAT0: Final = bytes(1 if code & 0x0F == TIC else 0 for code in range(256))
_TIC_FORMAT1: Final = bytes(1 if code == TIC else 0 for code in range(256))
_MOVES: Final = tuple(code != c.CCW_CMD_NOOP for code in range(256))
_MOVES_SKIPPED: Final = tuple(
    moves and code & 0x03 != 0x02 and code & 0x0F not in (0x0C, c.CCW_CMD_BASIC_SENSE)
    for code, moves in enumerate(_MOVES)
)
_unpack1: Final = codec.CCW1.struct.unpack
_FLAGS_AT: Final = (codec.CCW0.offset_of("flags"), codec.CCW1.offset_of("flags"))
_CDA_AT: Final = codec.CCW1.offset_of("cda")
_MOST_BYTES: Final = 0xFFFF
"""The largest count of a CCW."""


class Untranslatable(Exception):
    """The program has a segment that is too long, or too many of them."""


def driver_copy(space: AddressSpace, orb: Orb) -> tuple[Orb, CcwFetcher]:
    """The ORB and the copy that Linux's driver starts (cp_init, cp_prefetch, cp_get_orb).

    Each segment is read as 2,048 bytes, whatever its length (ccwchain_handle_ccw). The copy is in
    format 1 (convert_ccw0_to_ccw1), and has 64-bit IDAWs of the block size that the client's had.
    """
    intparm, ctrl0, lpm, ctrl1, cpa = orb
    alone = _alone(space, ctrl0, cpa) if space.valid(cpa, SEGMENT_BYTES) == SEGMENT_BYTES else None
    segments, idals = alone or _prefetch(space, ctrl0, cpa, SEGMENT_BYTES, 0)
    if not ctrl0 & c.ORB_CTRL0_MASK_FMT:
        segments = [(head, _as_format1(block)) for head, block in segments]
        ctrl0 |= c.ORB_CTRL0_MASK_FMT
    if not ctrl0 & c.ORB_CTRL0_MASK_C64:
        ctrl0 |= c.ORB_CTRL0_MASK_C64 | c.ORB_CTRL0_MASK_I2K
    orb = Orb(intparm, ctrl0, lpm, ctrl1, cpa)
    return orb, CopiedCcws(space, orb, segments, idals)


def client_program(space: AddressSpace, orb: Orb) -> tuple[Orb, CcwFetcher]:
    """The ORB as it is, and its program: if it may be prefetched, then checked and prefetched."""
    _, ctrl0, _, ctrl1, cpa = orb
    if not ctrl0 & c.ORB_CTRL0_MASK_PFCH:
        return orb, CcwFetcher(space, orb)
    alone = _alone(space, ctrl0, cpa)
    if alone is not None:
        return orb, CcwFetcher(space, orb, *alone)
    midaw = c.CCW_FLAG_MIDA if ctrl1 & MIDAW else 0
    return orb, CcwFetcher(space, orb, *_prefetch(space, ctrl0, cpa, c.CCW_SIZE, midaw))


def _alone(space: AddressSpace, ctrl0: int, cpa: int) -> tuple[Segments, Idals] | None:
    """The program that begins at *cpa* if it is one CCW, as most of what waits for one answer."""
    if ctrl0 & c.ORB_CTRL0_MASK_FMT:
        ccw = space.read(cpa, 8)
        code, flags, count, cda = _unpack1(ccw)
        if not flags & NOT_ALONE and code != TIC:
            found = space.find(cda)
            if found is not None and cda + count <= found.end:
                return ((cpa, ccw),), NO_IDALS
    return None


def _prefetch(
    space: AddressSpace, ctrl0: int, cpa: int, least: int, midaw: int
) -> tuple[Segments, Idals]:
    """The program that begins at *cpa*: its segments, and the IDAWs.

    *least*: bytes that must be mapped from a segment's first CCW on. *midaw*: the flag of CCWs
    whose data the channel looks for by itself, or 0.
    """
    format1 = ctrl0 & c.ORB_CTRL0_MASK_FMT != 0
    is_tic = _TIC_FORMAT1 if format1 else _TIC_FORMAT0
    segments: list[tuple[int, bytes]] = []
    idals: dict[int, tuple[int, ...]] = {}
    targets = [cpa]
    while targets:
        head = targets.pop()
        if any(start <= head <= start + len(there) - 8 for start, there in segments):
            continue
        if len(segments) == MOST_SEGMENTS:
            raise Untranslatable
        mapped = space.valid(head, SEGMENT_BYTES)
        if mapped < least:
            raise AddressingError(head)
        block = space.read(head, mapped & ~7)
        end = block[_FLAGS_AT[format1] :: 8].translate(_ENDS).find(1) + 1
        tics = block[::8].translate(is_tic)
        if tics.find(1, 0, end or len(tics)) >= 0:
            end, following = _with_tics(head, _decoded(block, format1))
            targets += reversed(following)
        elif not end:
            # Too long, or the next CCW is not mapped.
            raise Untranslatable
        block = block[: end * 8]
        segments.append((head, block))
        if not _plain(space, head, block, format1):
            _look(space, ctrl0, head, _decoded(block, format1), midaw, idals)
    return segments, idals


def _decoded(block: bytes, format1: bool) -> Iterator[tuple[int, int, int, int]]:
    """Command code, flags, count and data address of each CCW of *block*, as format 1 has them."""
    return codec.CCW1.struct.iter_unpack(block if format1 else _as_format1(block))


def _as_format1(block: bytes) -> bytes:
    """The format-0 CCWs of *block* in format 1 (convert_ccw0_to_ccw1): TIC has an address alone."""
    pack = codec.CCW1.struct.pack
    return b"".join(
        pack(TIC, 0, 0, high << 16 | low)
        if _TIC_FORMAT0[code]
        else pack(code, flags, count, high << 16 | low)
        for code, high, low, flags, _, count in codec.CCW0.struct.iter_unpack(block)
    )


def _with_tics(head: int, ccws: Iterable[tuple[int, int, int, int]]) -> tuple[int, list[int]]:
    """How many of *ccws* are the segment at *head*, and where its TICs lead."""
    targets: list[int] = []
    for number, (code, flags, _, cda) in enumerate(ccws):
        if code == TIC:
            targets.append(cda)
        leads_back = code == TIC and head <= cda <= head + number * 8
        if not flags & CHAINS and not leads_back:
            return number + 1, targets
    raise Untranslatable


def _plain(space: AddressSpace, head: int, block: bytes, format1: bool) -> bool:
    """Whether one look tells that all data of a segment is mapped: most have it beside them."""
    if not format1 or block[_FLAGS_AT[1] :: 8].translate(_IDA).find(1) >= 0:
        return False
    found = space.find(head)
    addresses = _addresses(len(block) // 8).unpack(block)
    return (
        found is not None
        and max(addresses) + _MOST_BYTES <= found.end
        and (not found.start or found.start <= min(addresses))
    )


@functools.cache
def _addresses(number: int) -> Struct:
    """Reads the data addresses of *number* format-1 CCWs."""
    return Struct(">" + f"{_CDA_AT}xI" * number)


def _look(
    space: AddressSpace,
    ctrl0: int,
    head: int,
    ccws: Iterable[tuple[int, int, int, int]],
    midaw: int,
    idals: dict[int, tuple[int, ...]],
) -> None:
    """Look at the data and the lists of the *ccws* from *head* on; their IDAWs go to *idals*."""
    mode = IdaMode.of(ctrl0)
    for address, (code, flags, count, cda) in zip(itertools.count(head, 8), ccws, strict=False):
        if code == TIC or flags & midaw:
            continue
        if flags & IDA:
            idals[address] = words = _idaws(space, mode, count, cda)
            if moves(code, flags, count):
                _look_at_blocks(space, words)
        elif moves(code, flags, count) and space.valid(cda, count) < count:
            raise AddressingError(cda)


def moves(code: int, flags: int, count: int) -> bool:
    """Whether a CCW moves data, so that its pages must be mapped (ccw_does_data_transfer)."""
    return count != 0 and (_MOVES_SKIPPED if flags & c.CCW_FLAG_SKIP else _MOVES)[code]


def _idaws(space: AddressSpace, mode: IdaMode, count: int, cda: int) -> tuple[int, ...]:
    """The IDAWs of a CCW: as many as *count* needs, or one (ccw_count_idaws, get_guest_idal)."""
    count = max(count, 1)
    most = (count + mode.block - 2) // mode.block + 1
    there = space.valid(cda, most * mode.size) // mode.size
    if not there:
        raise AddressingError(cda)
    words: tuple[int, ...] = unpack_from(
        f">{there}{'Q' if mode.format2 else 'I'}", space.read(cda, there * mode.size)
    )
    wanted = (words[0] % mode.block + count + mode.block - 1) // mode.block
    if there < wanted:
        raise AddressingError(cda)
    return words[:wanted]


def _look_at_blocks(space: AddressSpace, words: tuple[int, ...]) -> None:
    """AddressingError for an IDAW whose page is not mapped (page_array_pin)."""
    found = space.find(words[0])
    if found is None or min(words) < found.start or max(words) >= found.end:
        for word in words:
            if space.find(word) is None:
                raise AddressingError(word)
