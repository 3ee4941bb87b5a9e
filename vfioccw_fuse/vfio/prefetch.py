"""What the driver checks of a channel program before SSCH when the ORB allows prefetch.

Linux copies the program then (vfio_ccw_cp.c); we only have to refuse what it refuses: a segment of
more than 255 CCWs (EINVAL), and a CCW or an IDAL that is not mapped (EFAULT). All else is the
channel's to find.
"""

from __future__ import annotations

import errno
from struct import unpack_from
from typing import Any, Final, NamedTuple

from ..memory.space import AddressingError, AddressSpace, StorageLost
from ..regions import codec
from ..regions import constants as c
from ..regions.layouts import Orb

LONGEST_SEGMENT: Final = 255
"""Most CCWs of a segment: CCWs up to one without chaining."""
FETCHED: Final = (LONGEST_SEGMENT + 1) * 8
"""Bytes that are looked at for one segment: one CCW more than it may have."""
GLANCE: Final = 64
"""Bytes that are enough for a short program."""
_CHAINS: Final = c.CCW_FLAG_DC | c.CCW_FLAG_CC
_ENDS: Final = bytes(0 if flags & _CHAINS else 1 for flags in range(256))
_IDA: Final = bytes(1 if flags & c.CCW_FLAG_IDA else 0 for flags in range(256))
_TIC_FORMAT0: Final = bytes(1 if code & 0x0F == c.CCW_CMD_TIC else 0 for code in range(256))
_TIC_FORMAT1: Final = bytes(1 if code == c.CCW_CMD_TIC else 0 for code in range(256))


class _Format(NamedTuple):
    """Where things lie in the CCWs of a format, and which codes are TIC."""

    codec: codec.Codec[Any]
    flags: int
    tic: bytes


_FORMATS: Final = (
    _Format(codec.CCW0, codec.CCW0.offset_of("flags"), _TIC_FORMAT0),
    _Format(codec.CCW1, codec.CCW1.offset_of("flags"), _TIC_FORMAT1),
)

_FLAGS_AT: Final = {0: _FORMATS[0].flags, c.ORB_CTRL0_MASK_FMT: _FORMATS[1].flags}


def _at(orb: Orb) -> _Format:
    return _FORMATS[orb.ctrl0 & c.ORB_CTRL0_MASK_FMT != 0]


def prefetch_program(space: AddressSpace, orb: Orb) -> tuple[int, bytes]:
    """0 and the storage from the program's first CCW on, or the errno that refuses the program."""
    head = orb.cpa
    try:
        block = space.read(head, GLANCE)
    except (AddressingError, StorageLost):
        block = b""
    try:
        if not block:
            # Near the end of storage less will do.
            block = space.read(head, space.valid(head, GLANCE) & ~7)
            if not block:
                return errno.EFAULT, b""
        code, flags = block[0], block[_FLAGS_AT[orb.ctrl0 & c.ORB_CTRL0_MASK_FMT]]
        if not flags & (_CHAINS | c.CCW_FLAG_IDA) and code & 0x0F != c.CCW_CMD_TIC:
            # The one-CCW program needs no closer look.
            return 0, block
        block = space.read(head, space.valid(head, FETCHED) & ~7)
        return _check_segments(space, orb, block), block
    except (AddressingError, StorageLost):
        return errno.EFAULT, b""


def _check_segments(space: AddressSpace, orb: Orb, block: bytes) -> int:
    at = _at(orb)
    heads = [orb.cpa]
    segments: list[tuple[int, int]] = []
    while heads:
        head = heads.pop()
        if any(start <= head < end for start, end in segments):
            continue
        if head != orb.cpa:
            block = space.read(head, space.valid(head, FETCHED) & ~7)
        if not block:
            return errno.EFAULT
        flags = block[at.flags :: c.CCW_SIZE]
        tics = block[:: c.CCW_SIZE].translate(at.tic)
        ends = flags.translate(_ENDS)
        end = ends.find(1)
        tic = tics.find(1)
        if tic >= 0 and (end < 0 or tic <= end):
            end = tic
            heads.append(at.codec.parse(block, tic * c.CCW_SIZE).cda)
        if end < 0:
            return errno.EINVAL if len(block) == FETCHED else errno.EFAULT
        if end >= LONGEST_SEGMENT:
            return errno.EINVAL
        segments.append((head, head + (end + 1) * 8))
        indirect = flags.translate(_IDA)
        place = indirect.find(1, 0, end + 1)
        while place >= 0:
            if not _idal_mapped(space, orb, block, place * 8):
                return errno.EFAULT
            place = indirect.find(1, place + 1, end + 1)
    return 0


def _idal_mapped(space: AddressSpace, orb: Orb, block: bytes, place: int) -> bool:
    """Whether every IDAW that the CCW at *place* needs lies in mapped storage."""
    ccw = _at(orb).codec.parse(block, place)
    count, address = ccw.count, ccw.cda
    if not count:
        return True
    format2 = orb.ctrl0 & c.ORB_CTRL0_MASK_C64 != 0
    size = 8 if format2 else 4
    unit = 4096 if format2 and not orb.ctrl0 & c.ORB_CTRL0_MASK_I2K else 2048
    if space.valid(address, size) < size:
        return False
    (first,) = unpack_from(">Q" if format2 else ">I", space.read(address, size))
    words: int = (first % unit + count + unit - 1) // unit
    return space.valid(address, words * size) == words * size
