"""The channel paths of one subchannel: which of them are there, and which one a start uses.

Rules: PoP 16 (path management); the masks are those of the PMCW.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Final

from .pmcw import PathManagementControlWord

FIRST: Final = tuple(1 << mask.bit_length() >> 1 for mask in range(256))
"""By mask of paths: the first of them."""


class PathState(enum.Enum):
    """How a channel path is. The values are the words that people see."""

    ONLINE = "online"
    """It works."""
    VARIED_OFF = "varied off"
    """The operating system does not use it: gone from LPM, no report."""
    OFFLINE = "offline"
    """Permanently lost or configured off: gone from PAM; CRW with permanent error."""
    FAILED = "failed"
    """Temporarily lost: still available, but selection finds it not operational (PNOM, POM)."""


class SubchannelPaths:
    """The paths that the PMCW of a subchannel names (LPM bits: 0x80 is the first path)."""

    __slots__ = ("_pmcw", "failed", "on_change", "varied_off")

    def __init__(self, pmcw: PathManagementControlWord) -> None:
        self._pmcw = pmcw
        self.varied_off = 0
        """Paths that the operating system does not use, as LPM bits."""
        self.failed = 0
        """Paths that do not answer, as LPM bits: selection finds them not operational."""
        self.on_change: Callable[[int, PathState], None] = lambda path, state: None
        """Called with a path (an LPM bit) and the state in which it is now."""

    def installed(self) -> list[int]:
        """The chpids of the installed paths, in the order of the paths."""
        pmcw = self._pmcw
        return [chpid for place, chpid in enumerate(pmcw.chpid) if pmcw.pim & 0x80 >> place]

    def of(self, chpid: int) -> int:
        """The LPM bit of the path with *chpid*; 0 if it does not lead here."""
        pmcw = self._pmcw
        for place, known in enumerate(pmcw.chpid):
            if known == chpid and pmcw.pim & 0x80 >> place:
                return 0x80 >> place
        return 0

    def set(self, path: int, state: PathState) -> None:
        """Let the masks say that *path* (an LPM bit) is in *state*."""
        pmcw = self._pmcw
        self.varied_off &= ~path
        self.failed &= ~path
        if state is PathState.OFFLINE:
            pmcw.pam &= ~path
        else:
            pmcw.pam |= path
        if state is PathState.VARIED_OFF:
            self.varied_off |= path
            pmcw.lpm &= ~path
        elif state is PathState.FAILED:
            self.failed |= path
        elif state is PathState.ONLINE:
            pmcw.lpm |= path
            pmcw.pom |= path
            pmcw.pnom &= ~path
        self.on_change(path, state)

    def usable(self) -> int:
        """The paths that are available and not varied off, as LPM bits."""
        return self._pmcw.pam & ~self.varied_off

    def select(self, lpm: int) -> int:
        """The path that a start function uses, as an LPM bit; 0 if none is operational.

        What does not answer goes into PNOM and out of POM, and the next path is tried.
        """
        pmcw = self._pmcw
        usable = lpm & pmcw.pam & ~self.varied_off
        if not self.failed:
            return FIRST[usable]
        while usable:
            path = FIRST[usable]
            if not path & self.failed:
                return path
            pmcw.pnom |= path
            pmcw.pom &= ~path
            usable &= ~path
        return 0
