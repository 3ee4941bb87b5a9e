"""Path groups and assignment: which channel paths belong together, and who may use the drive.

Set Path Group ID, Sense Path Group ID, Assign, Unassign and Control Access of the 3480 and 3490
(GA32-0127). There is one host here, so that all of it is book-keeping: nobody is kept away.
"""

from __future__ import annotations

from typing import Final

from ...regions import constants as c

ID_SIZE: Final = c.PGID_SIZE - 1
"""Bytes of a path-group id and of a password."""
NO_ID: Final = bytes(ID_SIZE)

PARTITION_EXPLICIT: Final = 0x30
"""Byte 0 of the path state: the host has assigned the drive to itself."""

SPID_FUNCTION: Final = 0x60
"""Byte 0 of Set Path Group ID: the bits that say what to do."""

ACCESS_SET_PASSWORD: Final = 0x00
ACCESS_CONDITIONAL_DISABLE: Final = 0x40
ACCESS_CONDITIONAL_ENABLE: Final = 0x80


class PathGroup:
    """The path group of a drive. The methods give False for what the drive rejects."""

    def __init__(self) -> None:
        self._id = NO_ID
        self._grouped: set[int] = set()
        self._assigned = False
        self._password = NO_ID

    def sense(self, path: int) -> bytes:
        """The 12 bytes of Sense Path Group ID on *path* (an LPM bit): state byte and id."""
        state = c.SNID_STATE1_GROUPED if path in self._grouped else c.SNID_STATE1_RESET
        first = state << c.SNID_STATE1_SHIFT
        return bytes([first | (PARTITION_EXPLICIT if self._assigned else 0)]) + self._id

    def set(self, path: int, data: bytes) -> bool:
        """Set Path Group ID: *data* is the function byte and the id."""
        if len(data) < 1 + ID_SIZE:
            return False
        function, group = data[0] & SPID_FUNCTION, data[1 : 1 + ID_SIZE]
        if function == c.SPID_FUNC_ESTABLISH:
            if self._id not in (NO_ID, group):
                return False
            self._id = group
            self._grouped.add(path)
            return True
        if function == c.SPID_FUNC_DISBAND:
            self._grouped.clear()
        else:
            self._grouped.discard(path)
        if not self._grouped:
            self._id = NO_ID
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
