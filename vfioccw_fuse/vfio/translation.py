"""What the driver makes of a channel program before SSCH: Linux's channel program translation.

Linux copies every program and gives the copy to the hardware (drivers/s390/cio/vfio_ccw_cp.c): so
`driver_copy` does for the interfaces that Linux has. `client_program`, for `full`, takes the copy's
limits and errors for an ORB that allows prefetch and runs what it has read then, as the client
wrote it; a program that may not be prefetched is the channel's alone. Both refuse by
`Untranslatable`, and change nothing.

The rules, and Linux 6.12's functions: a segment are the CCWs up to one that does not chain, and it
goes on behind a TIC that leads back into it (ccwchain_calc_length); a TIC elsewhere begins another
unless its target is a CCW of one that is there (tic_target_chain_exists), depth first
(ccwchain_loop_tic). All else that may be wrong with a program is the channel's to find.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from struct import unpack_from
from typing import Final

from ..css.ccw import CHAINS, Ccw, CcwFetcher, CopiedCcws, Prefetched
from ..css.ida import IdaMode
from ..memory.space import AddressingError, AddressSpace, StorageLost
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

_ENDS: Final = bytes(0 if flags & CHAINS else 1 for flags in range(256))
_TIC_FORMAT0: Final = bytes(1 if code & 0x0F == TIC else 0 for code in range(256))
_TIC_FORMAT1: Final = bytes(1 if code == TIC else 0 for code in range(256))
_MOVES: Final = tuple(code != c.CCW_CMD_NOOP for code in range(256))
_MOVES_SKIPPED: Final = tuple(
    moves and code & 0x03 != 0x02 and code & 0x0F not in (0x0C, c.CCW_CMD_BASIC_SENSE)
    for code, moves in enumerate(_MOVES)
)
_FLAGS_AT: Final = (codec.CCW0.offset_of("flags"), codec.CCW1.offset_of("flags"))
_ccws0: Final = codec.CCW0.struct.iter_unpack
_ccws1: Final = codec.CCW1.struct.iter_unpack


class Untranslatable(Exception):
    """The program is refused before SSCH."""

    def __init__(self, number: int) -> None:
        """*number*: EINVAL, or EFAULT where mapped storage turned out to be gone."""
        super().__init__(errno.errorcode[number])
        self.errno = number
        """The errno."""


def driver_copy(space: AddressSpace, orb: Orb) -> tuple[Orb, CcwFetcher]:
    """The ORB and the copy that Linux's driver starts (cp_init, cp_prefetch, cp_get_orb).

    Each segment is read as 2,048 bytes, whatever its length (ccwchain_handle_ccw). The copy is in
    format 1 (convert_ccw0_to_ccw1), and has 64-bit IDAWs of the block size that the client's had.
    """
    intparm, ctrl0, lpm, ctrl1, cpa = orb
    prefetched = _Reader(space, ctrl0, SEGMENT_BYTES, 0).program(cpa)
    ctrl0 |= c.ORB_CTRL0_MASK_FMT
    if not ctrl0 & c.ORB_CTRL0_MASK_C64:
        ctrl0 |= c.ORB_CTRL0_MASK_C64 | c.ORB_CTRL0_MASK_I2K
    orb = Orb(intparm, ctrl0, lpm, ctrl1, cpa)
    return orb, CopiedCcws(space, orb, prefetched)


def client_program(space: AddressSpace, orb: Orb) -> tuple[Orb, CcwFetcher]:
    """The ORB as it is, and its program: if it may be prefetched, then checked and prefetched."""
    _, ctrl0, _, ctrl1, cpa = orb
    if not ctrl0 & c.ORB_CTRL0_MASK_PFCH:
        return orb, CcwFetcher(space, orb)
    midaw = c.CCW_FLAG_MIDA if ctrl1 & MIDAW else 0
    return orb, CcwFetcher(space, orb, _Reader(space, ctrl0, c.CCW_SIZE, midaw).program(cpa))


class _Reader:
    """Reads one program, segment by segment."""

    __slots__ = (
        "_ccws", "_flags_at", "_idals", "_least", "_midaw", "_mode", "_space", "_tic", "_unpack",
    )  # fmt: skip

    def __init__(self, space: AddressSpace, ctrl0: int, least: int, midaw: int) -> None:
        """*least*: bytes that must be mapped from a segment's first CCW on.

        *midaw*: the flag of CCWs whose data the channel looks for by itself, or 0.
        """
        self._space = space
        format1 = ctrl0 & c.ORB_CTRL0_MASK_FMT != 0
        self._flags_at = _FLAGS_AT[format1]
        self._tic = _TIC_FORMAT1 if format1 else _TIC_FORMAT0
        self._unpack: Callable[[bytes], Iterator[Ccw]] = _ccws1 if format1 else _as_format1
        self._mode = IdaMode.of(ctrl0)
        self._least = least
        self._midaw = midaw
        self._ccws: dict[int, Ccw] = {}
        self._idals: dict[int, tuple[int, ...]] = {}

    def program(self, cpa: int) -> Prefetched:
        """The program that begins at *cpa*; Untranslatable."""
        segments: list[tuple[int, int]] = []
        targets = [cpa]
        try:
            while targets:
                head = targets.pop()
                if any(start <= head <= last for start, last in segments):
                    continue
                if len(segments) == MOST_SEGMENTS:
                    raise Untranslatable(errno.EINVAL)
                ccws = self._segment(head)
                segments.append((head, head + (len(ccws) - 1) * c.CCW_SIZE))
                targets += reversed(self._check(head, ccws))
        except AddressingError:
            raise Untranslatable(errno.EINVAL) from None
        except StorageLost:
            raise Untranslatable(errno.EFAULT) from None
        return Prefetched(self._ccws, self._idals, segments)

    def _segment(self, head: int) -> list[Ccw]:
        """The CCWs of the segment at *head*, all as format 1."""
        space = self._space
        there = space.valid(head, SEGMENT_BYTES)
        if there < self._least:
            raise AddressingError(head)
        block = space.read(head, there // c.CCW_SIZE * c.CCW_SIZE)
        end = block[self._flags_at :: c.CCW_SIZE].translate(_ENDS).find(1) + 1
        if not end or block[: end * c.CCW_SIZE : c.CCW_SIZE].translate(self._tic).find(1) >= 0:
            end = self._end(head, list(self._unpack(block)))
        return list(self._unpack(block[: end * c.CCW_SIZE]))

    @staticmethod
    def _end(head: int, ccws: list[Ccw]) -> int:
        """How many of *ccws* are the segment, where it has a TIC."""
        for number, (code, flags, _, cda) in enumerate(ccws, 1):
            leads_back = code == TIC and head <= cda <= head + (number - 1) * c.CCW_SIZE
            if not flags & CHAINS and not leads_back:
                return number
        # Too long, or the next CCW is not mapped.
        raise Untranslatable(errno.EINVAL)

    def _check(self, head: int, ccws: list[Ccw]) -> list[int]:
        """Keep the segment, look at its data and its lists; gives the targets of its TICs."""
        addresses = range(head, head + len(ccws) * c.CCW_SIZE, c.CCW_SIZE)
        self._ccws.update(zip(addresses, ccws, strict=True))
        found = self._space.find(head)
        low, high = (found.start, found.end) if found is not None else (0, 0)
        targets = []
        for number, (code, flags, count, cda) in enumerate(ccws):
            if code == TIC:
                targets.append(cda)
            elif flags & IDA:
                self._idals[addresses[number]] = self._idal(code, flags, count, cda)
            elif (
                (cda < low or cda + count > high)
                and _moves(code, flags, count)
                and not flags & self._midaw
                and self._space.valid(cda, count) < count
            ):
                raise AddressingError(cda)
        return targets

    def _idal(self, code: int, flags: int, count: int, cda: int) -> tuple[int, ...]:
        """The IDAWs that a CCW needs (ccw_count_idaws, get_guest_idal), their blocks mapped."""
        block = self._mode.block
        size = self._mode.size
        wanted = (max(count, 1) + block - 2) // block + 1
        there = self._space.valid(cda, wanted * size) // size
        words: tuple[int, ...] = unpack_from(
            f">{there}{'Q' if size == 8 else 'I'}", self._space.read(cda, there * size)
        )
        if there:
            wanted = (words[0] % block + max(count, 1) + block - 1) // block
        if there < wanted:
            raise AddressingError(cda)
        words = words[:wanted]
        if _moves(code, flags, count):
            found = self._space.find(words[0])
            if found is None or min(words) < found.start or max(words) >= found.end:
                for word in words:
                    if self._space.find(word) is None:
                        raise AddressingError(word)
        return words


def _as_format1(block: bytes) -> Iterator[Ccw]:
    """The format-0 CCWs of *block* as those of format 1 (convert_ccw0_to_ccw1)."""
    for code, high, low, flags, _, count in _ccws0(block):
        if _TIC_FORMAT0[code]:
            yield TIC, 0, 0, high << 16 | low
        else:
            yield code, flags, count, high << 16 | low


def _moves(code: int, flags: int, count: int) -> bool:
    """Whether a CCW moves data, so that its pages must be mapped (ccw_does_data_transfer)."""
    return count != 0 and (_MOVES_SKIPPED if flags & c.CCW_FLAG_SKIP else _MOVES)[code]
