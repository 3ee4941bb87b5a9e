"""CCWs: fetched from storage, decoded, checked as chapter 15 of the Principles of Operation says.

`CcwFetcher` gives one CCW after another, follows TIC, and raises `ChannelCheck` where the
architecture detects a program check (or protection or channel control check) at CCW fetch. What a
driver has prefetched comes from there; `CopiedCcws` runs from what was prefetched alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar, Final

from ..memory.paging import StorageLost
from ..memory.space import AddressingError, AddressSpace
from ..regions import codec
from ..regions import constants as c
from ..regions.layouts import Orb
from .observer import Observer

FORMAT0_LIMIT: Final = 1 << 24
"""Format-0 CCWs and their data lie below 16 MiB."""
CHAINS: Final = c.CCW_FLAG_DC | c.CCW_FLAG_CC
FORMAT1: Final = c.ORB_CTRL0_MASK_FMT
PREFETCH: Final = c.ORB_CTRL0_MASK_PFCH
FORMAT2_IDAW: Final = c.ORB_CTRL0_MASK_C64
MIDAW: Final = c.ORB_CTRL1_MASK_MIDAW
NOT_WITH_MIDA: Final = c.CCW_FLAG_IDA | c.CCW_FLAG_SKIP

_parse0 = codec.CCW0.parse
_unpack1 = codec.CCW1.struct.unpack_from


class ChannelCheck(Exception):
    """The channel ends the program: *cstat* is the subchannel-status bit (program check, ...)."""

    def __init__(self, cstat: int) -> None:
        super().__init__(f"subchannel status {cstat:02x}")
        self.cstat = cstat


Segments = Sequence[tuple[int, bytes]]
"""CCWs that a driver has read: pieces of a program, each with the address of its first CCW."""
Idals = Mapping[int, tuple[int, ...]]
"""IDAWs that a driver has read, by the address of the CCW that has the list."""
NO_IDALS: Final[Idals] = MappingProxyType({})


class CcwFetcher:
    """The CCW that is current, and the way to the next.

    The fields `address`, `code`, `flags`, `count` and `cda` are those of the current CCW: absolute
    address, command code, CCW_FLAG_ bits, byte count and data address.
    """

    HIGHEST: ClassVar[int] = 0x7FFFFFFF
    """The highest address in a CCW and in the SCSW."""
    copied: ClassVar[bool] = False
    """What runs is a driver's copy: `CopiedCcws`."""

    code: int = 0
    """Command code."""
    flags: int = 0
    """`CCW_FLAG_*` bits."""
    count: int = 0
    """Byte count."""
    cda: int = 0
    """Data address."""

    def __init__(
        self, space: AddressSpace, orb: Orb, segments: Segments = (), idals: Idals = NO_IDALS
    ) -> None:
        """*segments*, from the first CCW on, and *idals* count, not what storage has now."""
        _, self.ctrl0, _, ctrl1, cpa = orb
        """The ORB's key and controls, `ORB_CTRL0_MASK_*`."""
        self.address = cpa
        """Absolute address of the current CCW."""
        self.space = space
        """Where the program and its data are."""
        self.segments = segments
        """The CCWs that were prefetched."""
        self.idals = idals
        """The IDAWs that were prefetched."""
        self._format1 = self.ctrl0 & FORMAT1
        self._midaw = ctrl1 & MIDAW
        # The CCWs at hand: the address of the first, and the offset of the last from it.
        self._base = cpa
        self._block = segments[0][1] if segments else b""
        self._last = len(self._block) - 8
        if cpa & 7 or (not self._format1 and cpa >= FORMAT0_LIMIT):
            self._last = -8

    @property
    def cpa(self) -> int:
        """The CCW address of the SCSW: 8 higher than the CCW used last."""
        return (self.address + 8) & self.HIGHEST

    @property
    def key(self) -> int:
        """The access key, 0 to 15."""
        return self.ctrl0 >> c.ORB_KEY_SHIFT

    @property
    def prefetched(self) -> bool:
        """The current CCW is the one that was prefetched, whatever storage has there now."""
        return self._last >= 0

    def refetch(self) -> None:
        """What was prefetched counts no more: from now on every CCW is fetched from storage."""
        self.segments = ()
        self.idals = NO_IDALS
        self._last = -8

    def ahead(self) -> Iterator[tuple[int, int, int, int, int]]:
        """Address, command code, flags, count and data address of every CCW that was prefetched."""
        for head, block in self.segments:
            for place in range(0, len(block), c.CCW_SIZE):
                yield head + place, *self._decode(block, place)

    def idaws(self, *, backward: bool) -> tuple[int, ...] | None:
        """The IDAWs of the current CCW that were prefetched; None: the channel fetches the list.

        It does where the list is not on its boundary, and for *backward*, as a driver counts words
        for a forward operation.
        """
        if backward or self.cda & (7 if self.ctrl0 & FORMAT2_IDAW else 3):
            return None
        return self.idals.get(self.address)

    def tell(self, observer: Observer, status: int) -> None:
        """Tell *observer* of the current CCW: its unit status, or 0 if its data chain goes on."""
        observer.ccw(self.address, self.code, self.flags, self.count, self.cda, status)

    def _decode(self, block: bytes, place: int) -> tuple[int, int, int, int]:
        if self._format1:
            code, flags, count, cda = _unpack1(block, place)
        else:
            code, cda, flags, _, count = _parse0(block, place)
        return code, flags, count, cda

    def _prefetched(self, address: int) -> int:
        """Get the prefetched CCW at *address* at hand; gives its place there, -1: there is none."""
        for head, block in self.segments:
            place = address - head
            if 0 <= place < len(block) and not place & 7:
                self._base, self._block, self._last = head, block, len(block) - 8
                return place
        return -1

    def _seek(self, address: int) -> int:
        """Get the CCW at *address* at hand, prefetched or from storage; gives its place there."""
        if address & 7 or (not self._format1 and address >= FORMAT0_LIMIT):
            raise ChannelCheck(c.SCSW_CSTAT_PROG_CHECK)
        place = self._prefetched(address)
        if place >= 0:
            return place
        space = self.space
        if space.valid(address, 8) < 8:
            raise ChannelCheck(c.SCSW_CSTAT_PROG_CHECK)
        if space.keys is not None and space.keys.permitted(address, 8, self.key, store=False) < 8:
            raise ChannelCheck(c.SCSW_CSTAT_PROT_CHECK)
        try:
            self._block = space.read(address, 8)
        except (AddressingError, StorageLost):
            raise ChannelCheck(c.SCSW_CSTAT_CHN_CTRL_CHK) from None
        # It is fetched each time: storage may change.
        self._last = -8
        return 0

    def _leads(self, target: int) -> bool:
        """Whether a TIC may lead to *target*."""
        return not target & 7 and self.space.valid(target, 8) == 8

    def fetch(self, address: int, *, chained_data: bool = False, first: bool = False) -> None:
        """Make the CCW at *address* current, through a TIC if there is one, and check it.

        *chained_data*: it continues the data area of the CCW before; its command code is ignored
        unless it is TIC. *first*: the ORB designates it, so it must not be TIC.
        """
        transferred = False
        while True:
            self.address = address
            place = address - self._base
            if not 0 <= place <= self._last or place & 7:
                place = self._seek(address)
            if self._format1:
                code, flags, count, cda = _unpack1(self._block, place)
            else:
                code, cda, flags, _, count = _parse0(self._block, place)
            if code & 0x0F != c.CCW_CMD_TIC:
                break
            # Format 0 ignores what format 1 wants to be zero.
            if self._format1 and (code != c.CCW_CMD_TIC or flags or count):
                raise ChannelCheck(c.SCSW_CSTAT_PROG_CHECK)
            if transferred or first or cda > self.HIGHEST or not self._leads(cda):
                raise ChannelCheck(c.SCSW_CSTAT_PROG_CHECK)
            transferred = True
            address = cda
        if not chained_data:
            self.code = code
        self.flags = flags
        self.count = count
        self.cda = cda
        # Every combination that chapter 15 calls invalid ends in the same program check.
        if (not count or not code & 0x0F or cda >> 31 or flags & c.CCW_FLAG_MIDA) and (
            cda > self.HIGHEST
            or (not code & 0x0F and not chained_data)
            or (not count and (not self._format1 or flags & c.CCW_FLAG_DC or chained_data))
            or (flags & c.CCW_FLAG_MIDA and (not self._midaw or flags & NOT_WITH_MIDA))
        ):
            raise ChannelCheck(c.SCSW_CSTAT_PROG_CHECK)


class CopiedCcws(CcwFetcher):
    """The copy that a driver made of a program: nothing else runs, whatever storage has now.

    To the channel the copy lies elsewhere, and every CCW of it has an IDAL (Linux vfio_ccw_cp.c):
    an address that the client wrote is a number, on no boundary and of 32 bits.
    """

    HIGHEST = 0xFFFFFFFF
    copied = True

    def __init__(self, space: AddressSpace, orb: Orb, segments: Segments, idals: Idals) -> None:
        super().__init__(space, orb, segments, idals)
        self._last = len(self._block) - 8
        # Modified and ordinary indirect data addressing exclude each other.
        self._midaw = 0

    def refetch(self) -> None:
        """A copy stays the copy."""

    def idaws(self, *, backward: bool) -> tuple[int, ...] | None:
        """The IDAWs of the current CCW; their list is where the driver put it."""
        return self.idals.get(self.address)

    def _seek(self, address: int) -> int:
        place = self._prefetched(address)
        if place < 0:
            raise ChannelCheck(c.SCSW_CSTAT_PROG_CHECK)
        return place

    def _leads(self, target: int) -> bool:
        # Linux goes into the first segment that has the byte (ccwchain_fetch_tic).
        for head, block in self.segments:
            if head <= target <= head + len(block) - c.CCW_SIZE:
                return not (target - head) & 7
        return False
