"""The driver's path mask: what stands for an LPM of 0, and what a lost path leaves.

Linux keeps one beside the PMCW (lpm of struct subchannel); `full` has the PMCW's.
"""

from __future__ import annotations

from typing import Protocol

from ..css.paths import PathState
from ..css.subchannel import Subchannel


class PathMask(Protocol):
    """Which paths the driver takes a subchannel to have."""

    @property
    def lpm(self) -> int:
        """The LPM of a start whose ORB has none."""
        ...

    def opened(self) -> None:
        """The device was opened."""
        ...

    def lost(self, lpm: int) -> bool:
        """A start with *lpm* got condition code 3; gives whether the mask has a path left."""
        ...


class WornMask:
    """Linux's: the usable paths at OPEN, worn down by starts that got condition code 3.

    Rules: cio.c (cio_validate_io_subchannel), vfio_ccw_fsm.c (fsm_io_helper) and vfio_ccw_drv.c
    (vfio_ccw_chp_event): a path that comes back counts again, one varied off counts no more.
    """

    def __init__(self, sch: Subchannel) -> None:
        self._paths = sch.paths
        self._paths.on_change = self._changed
        self.lpm = 0
        """The mask."""

    def opened(self) -> None:
        """The usable paths count."""
        self.lpm = self._paths.usable()

    def lost(self, lpm: int) -> bool:
        """The paths of *lpm* count no more, of an LPM of 0 none does."""
        self.lpm &= ~lpm if lpm else 0
        return self.lpm != 0

    def _changed(self, path: int, state: PathState) -> None:
        if state is PathState.ONLINE:
            self.lpm |= path
        elif state is PathState.VARIED_OFF:
            self.lpm &= ~path


class PmcwMask:
    """That of `full`: the PMCW's, which starts and MSCH set and no fault wears down."""

    def __init__(self, sch: Subchannel) -> None:
        self._sch = sch

    @property
    def lpm(self) -> int:
        """The LPM of the PMCW."""
        return self._sch.pmcw.lpm

    def opened(self) -> None:
        """Nothing changes."""

    def lost(self, lpm: int) -> bool:
        """Whether a path is usable that *lpm* does not name."""
        return lpm != 0 and self._sch.paths.usable() & ~lpm != 0
