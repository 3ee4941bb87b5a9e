"""The PMCW of a subchannel: what MSCH sets, and which of its channel paths can be used.

Rules: PoP 15 (path-management control word) and 16 (path management); the names of the masks are
those of the manual and of Linux's schib.h.
"""

from __future__ import annotations

from typing import Final

from ..regions import codec
from ..regions import constants as c
from ..regions.layouts import Pmcw
from .paths import PathState

PMCW_CHARS_MODIFIABLE: Final = c.PMCW_CHARS_MASK_CSENSE
PMCW_FLAGS_MODIFIABLE: Final = (
    c.PMCW_FLAGS_MASK_ISC | c.PMCW_FLAGS_MASK_ENA | c.PMCW_FLAGS_MASK_LM | c.PMCW_FLAGS_MASK_MME
)
LIMIT_LOW: Final = 0x0020
"""Limit mode 1: data lies at or above the address limit."""
LIMIT_HIGH: Final = 0x0040
"""Limit mode 2: data lies below the address limit."""


FIRST: Final = tuple(1 << mask.bit_length() >> 1 for mask in range(256))
"""By mask of paths: the first of them."""


def modifiable(new: Pmcw) -> bool:
    """Whether MSCH may set this: limit mode 3 and reserved bits are operand exceptions."""
    limit_mode = new.flags & c.PMCW_FLAGS_MASK_LM
    return (
        limit_mode != c.PMCW_FLAGS_MASK_LM
        and not new.flags & c.PMCW_FLAGS_MASK_INVALID
        and not new.chars & c.PMCW_CHARS_MASK_INVALID
    )


class PathManagement:
    """The PMCW, and the paths behind its masks (LPM bits: 0x80 is the first path)."""

    def __init__(self, devno: int, chpids: bytes) -> None:
        """*devno* is the device number, *chpids* the ids of the one to eight installed paths."""
        paths = 0xFF00 >> len(chpids) & 0xFF
        self.intparm = 0
        """Interruption parameter."""
        self.pmcw_flags = c.PMCW_FLAGS_MASK_DNV
        """Interruption subclass, enabled, limit mode, ... (`PMCW_FLAGS_MASK_*`)."""
        self.devno = devno
        """Device number."""
        self.lpm = paths
        """Logical-path mask: what the last START allowed."""
        self.pim = paths
        """Path-installed mask."""
        self.pam = paths
        """Path-available mask."""
        self.pom = 0xFF
        """Path-operational mask: what selection did not find wanting."""
        self.pnom = 0
        """Path-not-operational mask: what selection found wanting."""
        self.lpum = 0
        """Last-path-used mask."""
        self.mbi = 0
        """Measurement-block index."""
        self.chpid = chpids.ljust(8, b"\0")
        """The chpids of paths 0 to 7."""
        self.chars = 0
        """Concurrent sense (`PMCW_CHARS_MASK_*`)."""
        self.varied_off = 0
        """Paths that the operating system does not use, as LPM bits."""
        self.failed = 0
        """Paths that do not answer, as LPM bits: selection finds them not operational."""
        self.address_limit = 0
        """What SET ADDRESS LIMIT sets: the absolute address that limit modes 1 and 2 mean."""

    @property
    def enabled(self) -> bool:
        """PMCW bit E."""
        return self.pmcw_flags & c.PMCW_FLAGS_MASK_ENA != 0

    def pmcw(self) -> bytes:
        """The 28 bytes of the PMCW."""
        return codec.PMCW.struct.pack(
            self.intparm, self.pmcw_flags, self.devno, self.lpm, self.pnom, self.lpum, self.pim,
            self.mbi, self.pom, self.pam, self.chpid, self.chars,
        )  # fmt: skip

    def modify(self, new: Pmcw) -> None:
        """Set what MSCH sets."""
        self.intparm = new.intparm
        self.pmcw_flags = (
            self.pmcw_flags & ~PMCW_FLAGS_MODIFIABLE | new.flags & PMCW_FLAGS_MODIFIABLE
        )
        self.lpm = new.lpm
        self.pom = new.pom
        self.mbi = new.mbi
        self.chars = new.chars & PMCW_CHARS_MODIFIABLE

    def address_limits(self) -> tuple[int, int] | None:
        """Between which addresses data must lie by the PMCW's limit mode; None: anywhere."""
        mode = self.pmcw_flags & c.PMCW_FLAGS_MASK_LM
        if mode == LIMIT_LOW:
            return self.address_limit, 1 << 64
        return (0, self.address_limit) if mode == LIMIT_HIGH else None

    def installed_chpids(self) -> list[int]:
        """The chpids of the installed paths, in the order of the paths."""
        return [chpid for place, chpid in enumerate(self.chpid) if self.pim & 0x80 >> place]

    def path_of(self, chpid: int) -> int:
        """The LPM bit of the path with *chpid*; 0 if it does not lead here."""
        for place, known in enumerate(self.chpid):
            if known == chpid and self.pim & 0x80 >> place:
                return 0x80 >> place
        return 0

    def set_path(self, path: int, state: PathState) -> None:
        """Let the masks say that *path* (an LPM bit) is in *state*."""
        self.varied_off &= ~path
        self.failed &= ~path
        if state is PathState.OFFLINE:
            self.pam &= ~path
            return
        self.pam |= path
        if state is PathState.VARIED_OFF:
            self.varied_off |= path
            self.lpm &= ~path
        elif state is PathState.FAILED:
            self.failed |= path
        else:
            self.lpm |= path
            self.pom |= path
            self.pnom &= ~path

    def select_path(self, lpm: int) -> int:
        """The path that a start function uses, as an LPM bit; 0 if none is operational.

        What does not answer goes into PNOM and out of POM, and the next path is tried.
        """
        usable = lpm & self.pam & ~self.varied_off
        if not self.failed:
            return FIRST[usable]
        while usable:
            path = 1 << (usable.bit_length() - 1)
            if not path & self.failed:
                return path
            self.pnom |= path
            self.pom &= ~path
            usable &= ~path
        return 0
