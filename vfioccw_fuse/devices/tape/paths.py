"""Path groups and assignment: which channel paths belong together, and who may use the drive.

Set Path Group ID, Sense Path Group ID, Assign, Unassign and Control Access of the 3480 and 3490
(GA32-0127): a drive has one path group at a time, and can be assigned to it.
"""

from __future__ import annotations

from typing import Final

from ...regions import constants as c
from ...regions.codec import PATH_GROUP_ID
from ...regions.layouts import PathGroupId
from .. import pathgroups
from ..pathgroups import ID_SIZE, NO_ID, PathGroups

ACCESS_SET_PASSWORD: Final = 0x00
ACCESS_CONDITIONAL_DISABLE: Final = 0x40
ACCESS_CONDITIONAL_ENABLE: Final = 0x80


class DrivePaths:
    """The paths of a drive. The methods give False for what the drive rejects."""

    def __init__(self) -> None:
        self._groups = PathGroups()
        self._assigned = False
        self._password = NO_ID

    @property
    def _id(self) -> bytes:
        """The id of the drive's group; zeros: it has none."""
        grouped = self._groups.grouped()
        return self._groups.path(grouped[0]).group if grouped else NO_ID

    def sense(self, path: int) -> bytes:
        """The 12 bytes of Sense Path Group ID on *path* (an LPM bit): state byte and id."""
        state = pathgroups.GROUPED if path in self._groups.grouped() else pathgroups.RESET
        if self._assigned:
            state |= pathgroups.RESERVED_HERE
        return PATH_GROUP_ID.pack(PathGroupId(state, self._id))

    def set(self, path: int, data: bytes) -> bool:
        """Set Path Group ID: *data* is the function byte and the id."""
        if len(data) < PATH_GROUP_ID.size:
            return False
        asked = PATH_GROUP_ID.parse(data)
        if asked.first & pathgroups.FUNCTION != c.SPID_FUNC_ESTABLISH:
            # The drive's group is meant, whatever id is named.
            self._groups.set(path, asked._replace(group=self._id))
            return True
        if self._id not in (NO_ID, asked.group):
            return False
        for member in (path, *self._groups.grouped()):
            self._groups.set(member, asked)
        return True

    def assign(self, data: bytes) -> bool:
        """Assign to the group that *data* names; zeros mean this host."""
        if len(data) < ID_SIZE or data[:ID_SIZE] not in (NO_ID, self._id):
            return False
        self._assigned = True
        return True

    def unassign(self, data: bytes) -> bool:
        """Unassign: the drive is everybody's, and its password is gone."""
        if len(data) < ID_SIZE:
            return False
        self._assigned = False
        self._password = NO_ID
        return True

    def control_access(self, data: bytes) -> bool:
        """Control Access: set a password, or ask with one; *data* is function byte and password."""
        if len(data) < 1 + ID_SIZE:
            return False
        function, password = data[0], data[1 : 1 + ID_SIZE]
        if function == ACCESS_SET_PASSWORD:
            if password == NO_ID or not self._assigned or self._password not in (NO_ID, password):
                return False
            self._password = password
            return True
        if function == ACCESS_CONDITIONAL_ENABLE:
            return self._password != NO_ID and password == self._password
        if function == ACCESS_CONDITIONAL_DISABLE:
            return self._password in (NO_ID, password)
        return False
