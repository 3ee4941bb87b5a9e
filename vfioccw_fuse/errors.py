"""The one error that is meant for a person, and text as people can be shown it.

Every layer may raise it, so it stands below all of them and imports nothing of ours. The command
line prints its message as one line and ends with status 1; the socket of a mount answers with it.
"""

from __future__ import annotations

import codecs
import errno
from typing import Final

ESCAPING: Final = "vfioccw.escaping"
"""Name of the handler of encoding errors that writes what cannot be encoded as `printable` does."""
_LONGEST: Final = 200

_REMEDIES: Final = {
    errno.EMFILE: "raise the limit of the process (ulimit -n; hard: ulimit -Hn)",
    errno.ENFILE: "raise the limit of the system (sysctl fs.file-max)",
}


def reason(error: OSError) -> str:
    """Why a system call failed, in words; with the remedy where no file can be opened any more."""
    words = error.strerror or str(error) or type(error).__name__
    remedy = _REMEDIES.get(error.errno or 0)
    return f"{words}: {remedy}" if remedy else words


def printable(text: str) -> str:
    r"""*text* as any output takes it, in one line.

    A byte of a file name that is not UTF-8, which Python keeps as a surrogate, becomes `\xff`; what
    cannot be printed otherwise (a control character, the end of a line) as Python writes it: `\n`.
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in text)


def shortened(text: str) -> str:
    """*text*, which a person gave, or its beginning if it is too long to be said again."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _escaped(letter: str) -> str:
    if "\udc80" <= letter <= "\udcff":  # os.fsdecode
        return f"\\x{ord(letter) - 0xDC00:02x}"
    return letter.encode("unicode_escape").decode("ascii")


def _escape_unencodable(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_escaped, error.object[error.start : error.end])), error.end


codecs.register_error(ESCAPING, _escape_unencodable)


class UserError(Exception):
    """Something that the user can put right.

    *message* is one line that names the thing and the remedy, for example
    `disk.img: 1000 bytes is not a multiple of 512; pad it with truncate -s %512`. It does not
    begin with the program's name and does not end with a full stop.
    """

    def __init__(self, message: str) -> None:
        """Keep *message*, folded into one line if it has several, as `printable` makes it."""
        self.message = printable(" ".join(message.split("\n")))
        """What `vfioccw: ...` shows: one line, no trailing newline."""
        super().__init__(self.message)
