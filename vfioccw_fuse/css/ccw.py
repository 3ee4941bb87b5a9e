"""CCWs: fetched from storage, decoded, checked as chapter 15 of the Principles of Operation says.

`CcwFetcher` gives one CCW after another, follows TIC, and raises `ChannelCheck` where the
architecture detects a program check (or protection or channel control check) at CCW fetch.
"""

from __future__ import annotations

from typing import Final

from ..memory.space import AddressingError, AddressSpace, StorageLost
from ..regions import codec
from ..regions import constants as c
from ..regions.layouts import Orb
from .observer import Observer

PREFETCH_BYTES: Final = 2048
"""With prefetch allowed, how much of a program is fetched at once: 256 CCWs."""
FORMAT0_LIMIT: Final = 1 << 24
"""Format-0 CCWs and their data lie below 16 MiB."""
CHAINS: Final = c.CCW_FLAG_DC | c.CCW_FLAG_CC
FORMAT1: Final = c.ORB_CTRL0_MASK_FMT
PREFETCH: Final = c.ORB_CTRL0_MASK_PFCH
MIDAW: Final = c.ORB_CTRL1_MASK_MIDAW
NOT_WITH_MIDA: Final = c.CCW_FLAG_IDA | c.CCW_FLAG_SKIP

_parse0 = codec.CCW0.parse
_unpack1 = codec.CCW1.struct.unpack_from


class ChannelCheck(Exception):
    """The channel ends the program: *cstat* is the subchannel-status bit (program check, ...)."""

    def __init__(self, cstat: int) -> None:
        super().__init__(f"subchannel status {cstat:02x}")
        self.cstat = cstat


class CcwFetcher:
    """The CCW that is current, and the way to the next.

    The fields `address`, `code`, `flags`, `count` and `cda` are those of the current CCW: absolute
    address, command code, CCW_FLAG_ bits, byte count and data address.
    """

    code: int = 0
    """Command code."""
    flags: int = 0
    """`CCW_FLAG_*` bits."""
    count: int = 0
    """Byte count."""
    cda: int = 0
    """Data address."""

    def __init__(self, space: AddressSpace, orb: Orb, fetched: bytes) -> None:
        """*fetched* is storage from the first CCW on, as far as it was fetched before."""
        _, self.ctrl0, _, ctrl1, cpa = orb
        """The ORB's key and controls, `ORB_CTRL0_MASK_*`."""
        self.space = space
        """Where the program and its data are."""
        self._format1 = self.ctrl0 & FORMAT1
        self._midaw = ctrl1 & MIDAW
        self._block = fetched
        self._base = self.address = cpa
        """Absolute address of the current CCW."""
        # Where the last CCW in the block begins; negative if there is none.
        self._last = -8 if cpa & 7 else len(fetched) - 8

    @property
    def cpa(self) -> int:
        """The CCW address of the SCSW: 8 higher than the CCW used last."""
        return (self.address + 8) & 0x7FFFFFFF

    @property
    def key(self) -> int:
        """The access key, 0 to 15."""
        return self.ctrl0 >> c.ORB_KEY_SHIFT

    def forget(self) -> None:
        """Storage changed: the CCWs that were read ahead may have, too."""
        self._last = -8

    def tell(self, observer: Observer, status: int) -> None:
        """Tell *observer* of the current CCW: its unit status, or 0 if its data chain goes on."""
        observer.ccw(self.address, self.code, self.flags, self.count, self.cda, status)

    def _read(self, address: int) -> int:
        """Read the CCW at *address*, and with prefetch what follows; gives its place: 0."""
        if address & 7 or (not self._format1 and address >= FORMAT0_LIMIT):
            raise ChannelCheck(c.SCSW_CSTAT_PROG_CHECK)
        space = self.space
        prefetch = self.ctrl0 & PREFETCH
        length = space.valid(address, PREFETCH_BYTES if prefetch else 8)
        if length < 8:
            raise ChannelCheck(c.SCSW_CSTAT_PROG_CHECK)
        if space.keys is not None and space.keys.permitted(address, 8, self.key, store=False) < 8:
            raise ChannelCheck(c.SCSW_CSTAT_PROT_CHECK)
        try:
            self._block = space.read(address, length)
        except (AddressingError, StorageLost):
            raise ChannelCheck(c.SCSW_CSTAT_CHN_CTRL_CHK) from None
        self._base = address
        self._last = length - 8 if prefetch else -8
        return 0

    def fetch(self, address: int, *, chained_data: bool = False, first: bool = False) -> None:
        """Make the CCW at *address* current, through a TIC if there is one, and check it.

        *chained_data*: it continues the data area of the CCW before; its command code is ignored
        unless it is TIC. *first*: the ORB designates it, so it must not be TIC.
        """
        transferred = False
        while True:
            self.address = address
            place = address - self._base
            if not 0 <= place <= self._last:
                place = self._read(address)
            if self._format1:
                code, flags, count, cda = _unpack1(self._block, place)
            else:
                code, cda, flags, _, count = _parse0(self._block, place)
            if code & 0x0F != c.CCW_CMD_TIC:
                break
            # Format 0 ignores what format 1 wants to be zero.
            if self._format1 and (code != c.CCW_CMD_TIC or flags or count or cda >> 31):
                raise ChannelCheck(c.SCSW_CSTAT_PROG_CHECK)
            if transferred or first:
                raise ChannelCheck(c.SCSW_CSTAT_PROG_CHECK)
            if cda & 7 or self.space.valid(cda, 8) < 8:
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
            cda >> 31
            or (not code & 0x0F and not chained_data)
            or (not count and (not self._format1 or flags & c.CCW_FLAG_DC or chained_data))
            or (flags & c.CCW_FLAG_MIDA and (not self._midaw or flags & NOT_WITH_MIDA))
        ):
            raise ChannelCheck(c.SCSW_CSTAT_PROG_CHECK)
