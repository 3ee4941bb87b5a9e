"""Channel paths: which subchannels they lead to, and what happens when one goes or comes back.

A path is what its chpid names; many subchannels share it. Rules: PoP 13 and 17 (path management,
channel-report words), Linux drivers/s390/cio/chp.c and vfio_ccw_drv.c (vfio_ccw_chp_event).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from ..errors import UserError
from ..regions import constants as c
from .paths import PathState
from .subchannel import Subchannel

Report = Callable[[Subchannel, int, int], None]
"""Takes a channel report for a subchannel: flags (reporting source, error recovery), rsid."""


class ChannelPaths:
    """All channel paths of a channel subsystem."""

    def __init__(self, subchannels: Callable[[], Iterable[Subchannel]], report: Report) -> None:
        """*subchannels* gives those that there are, in the order in which they came.

        *report* gets every channel report, once for each subchannel that it concerns.
        """
        self._subchannels = subchannels
        self._report = report
        self._states: dict[int, PathState] = {}

    def begin(self, chpid: int, state: PathState) -> None:
        """Let a path be in *state* before any subchannel has it; nothing is reported."""
        self._states[chpid] = state

    def lead_to(self, sch: Subchannel) -> None:
        """Let the paths of *sch*, a new subchannel, be in the state in which they are."""
        for chpid in sch.paths.installed():
            state = self._states.setdefault(chpid, PathState.ONLINE)
            sch.paths.set(sch.paths.of(chpid), state)

    def known(self) -> Iterator[tuple[int, PathState, list[str]]]:
        """Every chpid in ascending order, its state, and the ids of the subchannels behind it."""
        for chpid, state in sorted(self._states.items()):
            yield chpid, state, [sch.schid for sch in self._behind(chpid)]

    def _behind(self, chpid: int) -> list[Subchannel]:
        return [sch for sch in self._subchannels() if sch.paths.of(chpid)]

    def change(self, chpid: int, state: PathState) -> None:
        """Bring a path into *state* and report it; UserError for a chpid that nobody has."""
        before = self._states.get(chpid)
        if before is None:
            raise UserError(f"chpid {chpid:02x}: no subchannel has it")
        if before is state:
            return
        self._states[chpid] = state
        recovery = _RECOVERY.get(state)
        if recovery is None and before in _RECOVERY:
            recovery = c.CRW_ERC_INIT
        for sch in self._behind(chpid):
            path = sch.paths.of(chpid)
            sch.paths.set(path, state)
            if state in _RECOVERY:
                sch.lose_path(path)
            if recovery is not None:
                self._report(sch, c.CRW_RSC_CHP << c.CRW_RSC_SHIFT | recovery, chpid)


_RECOVERY = {PathState.OFFLINE: c.CRW_ERC_PERRN, PathState.FAILED: c.CRW_ERC_TERROR}
"""Losses that are reported, and with which error-recovery code."""
