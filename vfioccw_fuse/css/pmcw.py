"""The path-management-control word of a subchannel, and what MSCH may set of it.

Rules: PoP 15 (path-management control word); the names of the masks are those of the manual and of
Linux's schib.h.
"""

from __future__ import annotations

from typing import Final

from ..regions import codec
from ..regions import constants as c
from ..regions.layouts import Pmcw

ENABLED: Final = c.PMCW_FLAGS_MASK_ENA
CONCURRENT_SENSE: Final = c.PMCW_CHARS_MASK_CSENSE
CHARS_MODIFIABLE: Final = CONCURRENT_SENSE
FLAGS_MODIFIABLE: Final = (
    c.PMCW_FLAGS_MASK_ISC | ENABLED | c.PMCW_FLAGS_MASK_LM | c.PMCW_FLAGS_MASK_MME
)
LIMIT_LOW: Final = 0x0020
"""Limit mode 1: data lies at or above the address limit."""
LIMIT_HIGH: Final = 0x0040
"""Limit mode 2: data lies below the address limit."""

_pack = codec.PMCW.struct.pack


def modifiable(new: Pmcw) -> bool:
    """Whether MSCH may set this: limit mode 3 and reserved bits are operand exceptions."""
    limit_mode = new.flags & c.PMCW_FLAGS_MASK_LM
    return (
        limit_mode != c.PMCW_FLAGS_MASK_LM
        and not new.flags & c.PMCW_FLAGS_MASK_INVALID
        and not new.chars & c.PMCW_CHARS_MASK_INVALID
    )


class PathManagementControlWord:
    """The PMCW of one subchannel, field by field (bit 0x80 of a path mask is the first path)."""

    __slots__ = (
        "chars", "chpid", "devno", "flags", "intparm", "lpm", "lpum", "mbi", "pam", "pim", "pnom",
        "pom",
    )  # fmt: skip

    def __init__(self, devno: int, chpids: bytes) -> None:
        """*devno* is the device number, *chpids* the ids of the one to eight installed paths."""
        paths = 0xFF00 >> len(chpids) & 0xFF
        self.intparm = 0
        """Interruption parameter."""
        self.flags = c.PMCW_FLAGS_MASK_DNV
        """Interruption subclass, enabled, limit mode, ... (`PMCW_FLAGS_MASK_*`)."""
        self.devno = devno
        """Device number."""
        self.lpm = paths
        """Logical-path mask: what the last START allowed."""
        self.pnom = 0
        """Path-not-operational mask: what selection found wanting."""
        self.lpum = 0
        """Last-path-used mask."""
        self.pim = paths
        """Path-installed mask."""
        self.mbi = 0
        """Measurement-block index."""
        self.pom = 0xFF
        """Path-operational mask: what selection did not find wanting."""
        self.pam = paths
        """Path-available mask."""
        self.chpid = chpids.ljust(8, b"\0")
        """The chpids of paths 0 to 7."""
        self.chars = 0
        """Concurrent sense (`PMCW_CHARS_MASK_*`)."""

    @property
    def enabled(self) -> bool:
        """Bit E."""
        return self.flags & ENABLED != 0

    @property
    def concurrent_sense(self) -> bool:
        """Bit S: sense data comes with the unit check."""
        return self.chars & CONCURRENT_SENSE != 0

    def pack(self) -> bytes:
        """The 28 bytes, big endian."""
        return _pack(
            self.intparm, self.flags, self.devno, self.lpm, self.pnom, self.lpum, self.pim,
            self.mbi, self.pom, self.pam, self.chpid, self.chars,
        )  # fmt: skip

    def modify(self, new: Pmcw) -> None:
        """Set what MSCH sets."""
        self.intparm = new.intparm
        self.flags = self.flags & ~FLAGS_MODIFIABLE | new.flags & FLAGS_MODIFIABLE
        self.lpm = new.lpm
        self.pom = new.pom
        self.mbi = new.mbi
        self.chars = new.chars & CHARS_MODIFIABLE
