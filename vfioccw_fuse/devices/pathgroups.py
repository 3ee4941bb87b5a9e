"""Path groups: which channel paths of a device a host has put together, under an id of its own.

Set Path Group ID and Sense Path Group ID are the same on disks and on tapes; what a control unit
rejects, and what it shows beside the group, stands with its commands. All paths of a subchannel
lead to one host, so that the groups are book-keeping: they keep nobody away. Rules: kernel `cio.h`
(`struct pgid`) and `device_pgid.c`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ..regions import constants as c
from ..regions.layouts import PathGroupId

ID_SIZE: Final = c.PGID_SIZE - 1
"""Bytes of a group's id."""
NO_ID: Final = bytes(ID_SIZE)

FUNCTION: Final = 0x60
"""Byte 0 of Set Path Group ID: establish or disband (`SPID_FUNC_`); what is neither is resign."""
MULTIPATH: Final = c.SPID_FUNC_MULTI_PATH
"""Byte 0 of Set Path Group ID: programs may go on on another path of the group."""

# Byte 0 of Sense Path Group ID: the path's state
RESET: Final = c.SNID_STATE1_RESET << c.SNID_STATE1_SHIFT
UNGROUPED: Final = c.SNID_STATE1_UNGROUPED << c.SNID_STATE1_SHIFT
GROUPED: Final = c.SNID_STATE1_GROUPED << c.SNID_STATE1_SHIFT
RESERVED_HERE: Final = c.SNID_STATE2_RESVD_SELF << c.SNID_STATE2_SHIFT
"""The host has reserved the device, or assigned it to itself."""
RESERVED_ELSEWHERE: Final = c.SNID_STATE2_RESVD_ELSE << c.SNID_STATE2_SHIFT
"""Another host has reserved the device."""
MULTIPATH_MODE: Final = c.SNID_STATE3_MULTI_PATH << c.SNID_STATE3_SHIFT


@dataclass(slots=True)
class GroupedPath:
    """What the control unit knows of one channel path."""

    state: int = RESET
    """`RESET`, `UNGROUPED`, or `GROUPED` with or without `MULTIPATH_MODE`."""
    group: bytes = NO_ID


class PathGroups:
    """The channel paths of a device, by LPM bit. It refuses nothing: that is the device's."""

    def __init__(self) -> None:
        self._paths: dict[int, GroupedPath] = {}

    def path(self, lpm: int) -> GroupedPath:
        """What is known of path *lpm*; a path not seen before is `RESET`."""
        return self._paths.setdefault(lpm, GroupedPath())

    def grouped(self) -> list[int]:
        """The paths that are in a group."""
        return [lpm for lpm, path in self._paths.items() if path.state & GROUPED == GROUPED]

    def ids(self) -> list[bytes]:
        """The groups that there are, in the order of their ids."""
        return sorted({path.group for path in self._paths.values()} - {NO_ID})

    def set(self, lpm: int, asked: PathGroupId) -> None:
        """Set Path Group ID on path *lpm*: put it into the group, take it out, or disband it."""
        this = self.path(lpm)
        function = asked.first & FUNCTION
        if function == c.SPID_FUNC_ESTABLISH:
            this.state = GROUPED | (MULTIPATH_MODE if asked.first & MULTIPATH else 0)
            this.group = asked.group
            return
        leaving = [this]
        if function == c.SPID_FUNC_DISBAND:
            leaving += [member for member in self._paths.values() if member.group == asked.group]
        for member in leaving:
            member.state, member.group = UNGROUPED, NO_ID
