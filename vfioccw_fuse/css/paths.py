"""Channel paths: which subchannels they lead to, and what happens when one goes or comes back.

A path is what its chpid names; many subchannels share it. Rules: PoP 13 and 17 (path management,
channel-report words), Linux drivers/s390/cio/chp.c and vfio_ccw_drv.c (vfio_ccw_chp_event).
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from ..errors import UserError
from ..regions import constants as c

if TYPE_CHECKING:
    from .subchannel import Subchannel

Report = Callable[["Subchannel", int, int], None]
"""Takes a channel report for a subchannel: flags (reporting source, error recovery), rsid."""


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


class ChannelPaths:
    """All channel paths of a channel subsystem."""

    def __init__(self, report: Report) -> None:
        """*report* gets every channel report, once for each subchannel that it concerns."""
        self._report = report
        self._states: dict[int, PathState] = {}
        self._subchannels: dict[str, Subchannel] = {}

    def begin(self, chpid: int, state: PathState) -> None:
        """Let a path be in *state* before any subchannel has it; nothing is reported."""
        self._states[chpid] = state

    def attach(self, sch: Subchannel) -> None:
        """Let the paths of *sch* lead to it, in the state in which they are."""
        self._subchannels[sch.schid] = sch
        for chpid in sch.installed_chpids():
            state = self._states.setdefault(chpid, PathState.ONLINE)
            sch.set_path(sch.path_of(chpid), state)

    def detach(self, sch: Subchannel) -> None:
        """*sch* is gone."""
        self._subchannels.pop(sch.schid, None)

    def known(self) -> Iterator[tuple[int, PathState, list[str]]]:
        """Every chpid in ascending order, its state, and the ids of the subchannels behind it."""
        for chpid, state in sorted(self._states.items()):
            yield chpid, state, [s.schid for s in self._behind(chpid)]

    def _behind(self, chpid: int) -> Iterator[Subchannel]:
        for sch in self._subchannels.values():
            if sch.path_of(chpid):
                yield sch

    def change(self, chpid: int, state: PathState) -> None:
        """Bring a path into *state* and report it; UserError for a chpid that nobody has."""
        before = self._states.get(chpid)
        if before is None:
            raise UserError(f"chpid {chpid:02x}: no subchannel has it; see vfioccw chp list")
        if before is state:
            return
        self._states[chpid] = state
        recovery = _RECOVERY.get(state)
        if recovery is None and before in _RECOVERY:
            recovery = c.CRW_ERC_INIT
        for sch in list(self._behind(chpid)):
            path = sch.path_of(chpid)
            sch.set_path(path, state)
            if state in _RECOVERY:
                sch.lose_path(path)
            if recovery is not None:
                self._report(sch, c.CRW_RSC_CHP << c.CRW_RSC_SHIFT | recovery, chpid)


_RECOVERY = {PathState.OFFLINE: c.CRW_ERC_PERRN, PathState.FAILED: c.CRW_ERC_TERROR}
"""Losses that are reported, and with which error-recovery code."""
