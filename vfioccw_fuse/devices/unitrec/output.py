"""The stacker of a punch and the paper of a printer: a file that is only ever added to.

What a file holds already stays: attaching a printer to yesterday's listing goes on behind it.
"""

from __future__ import annotations

import os

from ...errors import UserError
from ...regions import constants as c
from ..base import EQUIPMENT_CHECK, UC, UnitCheck
from ..medium import Medium
from ..options import NO_MEDIUM


class Output:
    """A file open for appending; it is made when there is none."""

    def __init__(self, path: str, *, record: int = 1) -> None:
        """Open *path*, which must hold whole records of *record* bytes; UserError otherwise.

        Without a file (`-`) whoever writes needs the operator.
        """
        self._medium: Medium | None = None
        if path in NO_MEDIUM:
            return
        try:
            self._medium = Medium.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        except FileNotFoundError:
            raise UserError(f"{path}: no such directory; make it first") from None
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            raise UserError(f"{path}: {reason}; name a file that can be written") from None
        size = self._medium.size_at_open
        if size % record:
            self._medium.close()
            raise UserError(
                f"{path}: {size} bytes are not whole records of {record} bytes; "
                "name another file, or a new one"
            )

    @property
    def media(self) -> tuple[Medium, ...]:
        """The file, if there is one."""
        return () if self._medium is None else (self._medium,)

    def write(self, data: bytes) -> None:
        """Add *data*; equipment check when the file does not take all of it.

        Intervention required, at once, when there is none.
        """
        medium = self._medium
        if medium is None:
            raise UnitCheck(bytes([c.SNS0_INTERVENTION_REQ]), UC)
        if not data:
            return
        try:
            start = medium.size()
            try:
                written = medium.append(data)
            except OSError:
                written = -1
            if written != len(data):
                # A full disk took a part: take that back, so that the records stay whole.
                medium.truncate(start)
                raise UnitCheck(EQUIPMENT_CHECK)
        except OSError:
            raise UnitCheck(EQUIPMENT_CHECK) from None
