"""The one error that is meant for a person.

Every layer may raise it, so it stands below all of them and imports nothing of ours. The command
line prints its message as one line and ends with status 1; the socket of a mount answers with it.
"""

from __future__ import annotations

import errno
from typing import Final

_REMEDIES: Final = {
    errno.EMFILE: "raise the limit of the process (ulimit -n; hard: ulimit -Hn)",
    errno.ENFILE: "raise the limit of the system (sysctl fs.file-max)",
}


def reason(error: OSError) -> str:
    """Why a system call failed, in words; with the remedy where no file can be opened any more."""
    words = error.strerror or str(error) or type(error).__name__
    remedy = _REMEDIES.get(error.errno or 0)
    return f"{words}: {remedy}" if remedy else words


class UserError(Exception):
    """Something that the user can put right.

    *message* is one line that names the thing and the remedy, for example
    `disk.img: 1000 bytes is not a multiple of 512; pad it with truncate -s %512`. It does not
    begin with the program's name and does not end with a full stop.
    """

    def __init__(self, message: str) -> None:
        """Keep *message*, folded into one line if it has several."""
        self.message = " ".join(message.split("\n"))
        """What `vfioccw: ...` shows: one line, no trailing newline."""
        super().__init__(self.message)
