"""The stacker of a punch and the paper of a printer: a file that is only ever added to.

What a file holds already stays: attaching a printer to yesterday's listing goes on behind it.
"""

from __future__ import annotations

import os
import stat

from ...errors import UserError
from ...regions import constants as c
from ..base import UnitCheck


class Output:
    """A file open for appending; it is made when there is none."""

    def __init__(self, path: str, *, record: int = 1) -> None:
        """Open *path*, which must hold whole records of *record* bytes; UserError otherwise."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            self._fd = os.open(path, flags, 0o644)
        except FileNotFoundError:
            raise UserError(f"{path}: no such directory; make it first") from None
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            raise UserError(f"{path}: {reason}; name a file that can be written") from None
        status = os.fstat(self._fd)
        if not stat.S_ISREG(status.st_mode):
            self.close()
            raise UserError(f"{path}: not a file; name a file that can be written")
        if status.st_size % record:
            self.close()
            raise UserError(
                f"{path}: {status.st_size} bytes are not whole records of {record} bytes; "
                "name another file, or a new one"
            )

    def write(self, data: bytes) -> None:
        """Add *data*; equipment check when the file does not take all of it."""
        start = self._size()
        try:
            written = os.write(self._fd, data) if data else 0
        except OSError:
            written = -1
        if written != len(data):
            self._cut(start)
            raise UnitCheck(bytes([c.SNS0_EQUIPMENT_CHECK]))

    def close(self) -> None:
        """Let the file go. What was written is with the operating system."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _size(self) -> int:
        try:
            return os.fstat(self._fd).st_size
        except OSError:
            raise UnitCheck(bytes([c.SNS0_EQUIPMENT_CHECK])) from None

    def _cut(self, size: int) -> None:
        """A full disk took a part of a record: take that back, so that the records stay whole."""
        try:
            os.ftruncate(self._fd, size)
        except OSError:
            raise UnitCheck(bytes([c.SNS0_EQUIPMENT_CHECK])) from None
