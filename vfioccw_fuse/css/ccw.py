"""CCWs: fetched from storage, decoded, checked as chapter 15 of the Principles of Operation says.

`CcwFetcher` gives one CCW after another, follows TIC, and raises `ChannelCheck` where the
architecture detects a program check (or protection or channel control check) at CCW fetch. What a
driver has prefetched comes from there; `CopiedCcws` runs from what was prefetched alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar, Final, NamedTuple

from ..memory.space import AddressingError, AddressSpace, StorageLost
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

Ccw = tuple[int, int, int, int]
"""Command code, `CCW_FLAG_*` bits, byte count and data address of a CCW of either format."""

_parse0 = codec.CCW0.parse
_unpack1 = codec.CCW1.struct.unpack


class ChannelCheck(Exception):
    """The channel ends the program: *cstat* is the subchannel-status bit (program check, ...)."""

    def __init__(self, cstat: int) -> None:
        super().__init__(f"subchannel status {cstat:02x}")
        self.cstat = cstat


class Prefetched(NamedTuple):
    """What a driver has read of a channel program before SSCH."""

    ccws: Mapping[int, Ccw] = MappingProxyType({})
    """CCWs by their addresses."""
    idals: Mapping[int, tuple[int, ...]] = MappingProxyType({})
    """The IDAWs of the CCWs that have an IDAL, by the addresses of the CCWs."""
    segments: Sequence[tuple[int, int]] = ()
    """Where the first and the last CCW of each segment begin, in the order of their discovery."""


NOTHING: Final = Prefetched()


class CcwFetcher:
    """The CCW that is current, and the way to the next.

    The fields `address`, `code`, `flags`, `count` and `cda` are those of the current CCW: absolute
    address, command code, CCW_FLAG_ bits, byte count and data address.
    """

    ADDRESS_BITS: ClassVar[int] = 31
    """Bits of an address in a CCW and in the SCSW."""
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

    def __init__(self, space: AddressSpace, orb: Orb, prefetched: Prefetched = NOTHING) -> None:
        """*prefetched* runs in place of what storage has now; all else is fetched from *space*."""
        _, self.ctrl0, _, ctrl1, self.address = orb
        """The ORB's key and controls, `ORB_CTRL0_MASK_*`; the absolute address of a CCW."""
        self.space = space
        """Where the program and its data are."""
        self._format1 = self.ctrl0 & FORMAT1
        self._midaw = ctrl1 & MIDAW
        self.prefetched = prefetched
        """What a driver has read."""
        self._known = prefetched.ccws

    @property
    def cpa(self) -> int:
        """The CCW address of the SCSW: 8 higher than the CCW used last."""
        return (self.address + 8) & (1 << self.ADDRESS_BITS) - 1

    @property
    def key(self) -> int:
        """The access key, 0 to 15."""
        return self.ctrl0 >> c.ORB_KEY_SHIFT

    def refetch(self) -> None:
        """What was prefetched counts no more: from now on every CCW is fetched from storage."""
        self.prefetched = NOTHING
        self._known = NOTHING.ccws

    def idaws(self, *, backward: bool) -> tuple[int, ...] | None:
        """The IDAWs of the current CCW that were prefetched; None: the channel fetches the list.

        It does where the list is not on its boundary, and for *backward*, as a driver counts words
        for a forward operation.
        """
        if backward or self.cda & (7 if self.ctrl0 & FORMAT2_IDAW else 3):
            return None
        return self.prefetched.idals.get(self.address)

    def tell(self, observer: Observer, status: int) -> None:
        """Tell *observer* of the current CCW: its unit status, or 0 if its data chain goes on."""
        observer.ccw(self.address, self.code, self.flags, self.count, self.cda, status)

    def _fetch(self, address: int) -> Ccw:
        """The CCW at *address*, which was not prefetched."""
        if address & 7 or (not self._format1 and address >= FORMAT0_LIMIT):
            raise ChannelCheck(c.SCSW_CSTAT_PROG_CHECK)
        space = self.space
        if space.valid(address, 8) < 8:
            raise ChannelCheck(c.SCSW_CSTAT_PROG_CHECK)
        if space.keys is not None and space.keys.permitted(address, 8, self.key, store=False) < 8:
            raise ChannelCheck(c.SCSW_CSTAT_PROT_CHECK)
        try:
            ccw = space.read(address, 8)
        except (AddressingError, StorageLost):
            raise ChannelCheck(c.SCSW_CSTAT_CHN_CTRL_CHK) from None
        if self._format1:
            code, flags, count, cda = _unpack1(ccw)
        else:
            code, cda, flags, _, count = _parse0(ccw)
        return code, flags, count, cda

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
            ccw = self._known.get(address)
            code, flags, count, cda = self._fetch(address) if ccw is None else ccw
            if code & 0x0F != c.CCW_CMD_TIC:
                break
            # Format 0 ignores what format 1 wants to be zero.
            if self._format1 and (code != c.CCW_CMD_TIC or flags or count):
                raise ChannelCheck(c.SCSW_CSTAT_PROG_CHECK)
            if transferred or first or cda >> self.ADDRESS_BITS or not self._leads(cda):
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
            cda >> self.ADDRESS_BITS
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

    ADDRESS_BITS = 32
    copied = True

    def __init__(self, space: AddressSpace, orb: Orb, prefetched: Prefetched) -> None:
        super().__init__(space, orb, prefetched)
        # Modified and ordinary indirect data addressing exclude each other.
        self._midaw = 0

    def refetch(self) -> None:
        """A copy stays the copy."""

    def idaws(self, *, backward: bool) -> tuple[int, ...] | None:
        """The IDAWs of the current CCW; their list is where the driver put it."""
        return self.prefetched.idals.get(self.address)

    def _fetch(self, address: int) -> Ccw:
        raise ChannelCheck(c.SCSW_CSTAT_PROG_CHECK)

    def _leads(self, target: int) -> bool:
        # Linux goes into the first segment that has the byte (ccwchain_fetch_tic).
        for first, last in self.prefetched.segments:
            if first <= target <= last:
                return not (target - first) % c.CCW_SIZE
        return False
