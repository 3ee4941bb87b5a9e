"""What the commands share that talk to a subchannel: opening it, its `state`, its errors."""

import contextlib
import errno
import os
from collections.abc import Iterator

from ..client import ClientError, Refused, RequestFailed, Subchannel
from ..errors import UserError
from ..regions.state import parse_state
from . import asking_the_mount, in_words

_MEANINGS = {
    errno.EINVAL: "a CCW, an IDAL or data lies outside guest storage, or the program has more than"
    " 256 CCWs in a row or 16 segments; on full, --no-prefetch lets the channel find it",
    errno.EFAULT: "the file behind guest storage was cut",
    errno.EIO: "the ORB is invalid, or the subchannel is in no state for it; see its file state",
    errno.EAGAIN: "another request has held the subchannel all the time",
    errno.EBUSY: "another request is in the way",
    errno.EOPNOTSUPP: "the interface of this mount does not offer it",
}
"""errno of a request -> why, by the table of return codes."""
_GONE = (errno.ENODEV, errno.ENOTCONN, errno.ECONNABORTED)
"""errno of who waits for an interruption of a subchannel that is removed, or whose mount ends."""
_REFUSALS = {
    2: "; vfioccw stsch says which, vfioccw csch ends it",
    3: "; vfioccw stsch shows its paths",
}
"""Condition code of a request -> what to do."""


def read_state(path: str) -> dict[str, str]:
    """Give the lines `key: value` of the text file `state` of the subchannel *path*.

    Empty if there is no such file.
    """
    try:
        with open(os.path.join(path, "state"), encoding="utf-8", errors="replace") as file:
            return parse_state(file.read())
    except FileNotFoundError:
        return {}


@contextlib.contextmanager
def opened(path: str, *, use_eventfd: bool = False) -> Iterator[Subchannel]:
    """Open the subchannel *path*; what goes wrong with it becomes a UserError in one line.

    The byte order is the one that the server expects, by its `state`.
    """
    with asking_the_mount():
        try:
            os.lstat(os.path.join(path, "io_region"))
        except (FileNotFoundError, NotADirectoryError):
            raise UserError(
                f"{path}: no subchannel; name its directory, such as MNT/0.0.0313, "
                "as vfioccw ls does"
            ) from None
        order = read_state(path).get("order", "big")
        subchannel = Subchannel(
            path, order="host" if order.startswith("host") else "big", use_eventfd=use_eventfd
        )
    try:
        with subchannel:
            yield subchannel
    except RequestFailed as failed:
        raise UserError(f"{path}: {_why(failed)}") from None
    except Refused as refused:
        raise UserError(f"{path}: {refused}{_REFUSALS.get(refused.cc, '')}") from None
    except (ClientError, MemoryError) as failed:
        raise UserError(f"{path}: {failed}") from None
    except OSError as failed:
        if failed.errno not in _GONE or failed.filename is not None:
            raise
        raise UserError(f"{path}: {in_words(failed)}") from None


def _why(failed: RequestFailed) -> str:
    """Say what *failed* and what its errno means for a request."""
    meaning = _MEANINGS.get(failed.errno or 0)
    return f"{failed.strerror}; {meaning}" if meaning else in_words(failed)
