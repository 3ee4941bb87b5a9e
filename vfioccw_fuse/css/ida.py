"""Where the data of one CCW lies: directly, or by IDAWs or MIDAWs (PoP 15, Indirect Addressing).

`idaw_areas` and `midaw_areas` give the pieces of storage in the order in which the channel uses
them. A list that is wrong at its nth word is used up to there: the pieces before it are good, then
comes the check. `idaw_pieces` gives those of prefetched IDAWs without a fault at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import reduce
from operator import or_
from struct import unpack_from
from typing import Final, NamedTuple

from ..memory.paging import StorageLost
from ..memory.space import AddressingError, AddressSpace
from ..regions import constants as c
from .ccw import ChannelCheck

SKIPPED: Final = -(1 << 64)
"""Address of a piece whose data goes nowhere; that of no piece that lies before address 0."""
PAGE: Final = 4096


class IdaMode(NamedTuple):
    """What the ORB says of indirect data addresses."""

    format2: bool
    """64-bit IDAWs (ORB bit H)."""
    block: int
    """Bytes that one IDAW covers: 2048, or 4096 for format 2 unless ORB bit T is one."""

    @property
    def size(self) -> int:
        """Bytes of one IDAW."""
        return 8 if self.format2 else 4

    @classmethod
    def of(cls, ctrl0: int) -> IdaMode:
        """From the ORB's halfword of controls."""
        format2 = ctrl0 & c.ORB_CTRL0_MASK_C64 != 0
        return cls(format2, 4096 if format2 and not ctrl0 & c.ORB_CTRL0_MASK_I2K else 2048)


def _words(space: AddressSpace, address: int, wanted: int, size: int, key: int) -> bytes:
    """At most *wanted* words of *size* bytes from *address*; ChannelCheck if not even one."""
    length = space.valid(address, wanted * size) // size * size
    if not length:
        raise ChannelCheck(c.SCSW_CSTAT_PROG_CHECK)
    if space.keys is not None:
        length = space.keys.permitted(address, length, key, store=False) // size * size
        if not length:
            raise ChannelCheck(c.SCSW_CSTAT_PROT_CHECK)
    try:
        return space.read(address, length)
    except (AddressingError, StorageLost):
        raise ChannelCheck(c.SCSW_CSTAT_CHN_CTRL_CHK) from None


def idaws(space: AddressSpace, mode: IdaMode, key: int, address: int, count: int) -> Iterator[int]:
    """The IDAWs of the list at *address*, of a CCW with *count* bytes, as they are asked for.

    Raises ChannelCheck (program check) for a list that is not on its boundary or ends outside
    storage.
    """
    size = mode.size
    if address & (size - 1):
        raise ChannelCheck(c.SCSW_CSTAT_PROG_CHECK)
    wanted = (count + mode.block - 1) // mode.block + 1
    while True:
        words = _words(space, address, max(wanted, 1), size, key)
        address += len(words)
        wanted -= len(words) // size
        yield from unpack_from(f">{len(words) // size}{'Q' if size == 8 else 'I'}", words)


def fabricated(cda: int, count: int, block: int) -> Iterator[int]:
    """The IDAWs that Linux makes up for a CCW without an IDAL (vfio_ccw_cp.c, get_guest_idal)."""
    yield cda
    start = cda & ~(block - 1)
    yield from range(start + block, cda + count, block)


def idaw_areas(
    words: Iterable[int], mode: IdaMode, count: int, *, backward: bool
) -> Iterator[tuple[int, int]]:
    """The pieces (lowest address, length) of *count* bytes by the IDAWs *words*.

    Raises ChannelCheck (program check) for an IDAW that lies outside storage or, after the first,
    does not start a block (end one, when *backward*), and where the words end too early.
    """
    block = mode.block
    mask = block - 1
    first = True
    following = iter(words)
    while count > 0:
        data = next(following, None)
        if data is None or (not mode.format2 and data >> 31):
            raise ChannelCheck(c.SCSW_CSTAT_PROG_CHECK)
        inside = data & mask
        if not first and inside != (mask if backward else 0):
            raise ChannelCheck(c.SCSW_CSTAT_PROG_CHECK)
        first = False
        length = min(count, inside + 1 if backward else block - inside)
        yield (data - length + 1 if backward else data), length
        count -= length


def idaw_pieces(words: tuple[int, ...], mode: IdaMode, count: int) -> list[tuple[int, int]] | None:
    """The same pieces at once, where all of the *words* are in order and are used forward."""
    block = mode.block
    if not count:
        return None
    first = block - (words[0] & (block - 1))
    if count <= first:
        return [(words[0], count)] if mode.format2 or not words[0] >> 31 else None
    rest, tail = divmod(count - first, block)
    used = words[1 : 1 + rest + bool(tail)]
    union = reduce(or_, used, 0)
    if len(used) < rest + bool(tail) or union & (block - 1):
        return None
    if not mode.format2 and (words[0] | union) >> 31:
        return None
    pieces = [(words[0], first)]
    pieces += [(word, block) for word in used]
    if tail:
        pieces[-1] = (used[-1], tail)
    return pieces


def midaw_areas(
    space: AddressSpace, key: int, address: int, count: int, *, backward: bool
) -> Iterator[tuple[int, int]]:
    """The pieces of *count* bytes by the MIDAW list at *address* (PoP 15, Modified CCW IDA).

    Raises ChannelCheck (program check) for a list off a quadword boundary or across 4 KiB, a
    reserved bit, a zero count, data across 4 KiB, and counts whose sum is not the CCW's count.
    """
    if address & 15:
        raise ChannelCheck(c.SCSW_CSTAT_PROG_CHECK)
    start = address
    while count > 0:
        if address // PAGE != start // PAGE:
            raise ChannelCheck(c.SCSW_CSTAT_PROG_CHECK)
        reserved, flags, length, data = unpack_from(">5sBHQ", _words(space, address, 1, 16, key))
        address += 16
        last = bool(flags & c.MIDAW_FLAG_LAST)
        low = data - length + 1 if backward else data
        if (
            any(reserved)
            or flags & ~(c.MIDAW_FLAG_LAST | c.MIDAW_FLAG_SKIP)
            or not length
            or length > count
            or (last and length != count)
            or low < 0
            or (not flags & c.MIDAW_FLAG_SKIP and low // PAGE != (low + length - 1) // PAGE)
        ):
            raise ChannelCheck(c.SCSW_CSTAT_PROG_CHECK)
        yield (SKIPPED if flags & c.MIDAW_FLAG_SKIP else low), length
        count -= length
