"""What a file in a subchannel's directory is to the file system.

Each answers `read`, `write`, `poll`, `release` for one of its openers; errors are OSError with the
errno of the contract. Files whose requests may wait say so (`waits`) and have coroutines instead.
"""

from __future__ import annotations

import errno
import select
import stat
from typing import ClassVar, Final

import pyfuse3

from .blocked import Opener

READY: Final = select.POLLIN | select.POLLOUT


class File:
    """A file whose requests are answered at once."""

    waits: ClassVar[bool] = False
    """Requests are the coroutines `read_waiting` and `write_waiting` instead."""
    mode: int = stat.S_IFREG | 0o600
    """Type and permission bits."""
    size: int = 0
    """st_size in bytes."""

    def opened(self, opener: Opener) -> None:
        """Somebody opens it; OSError if that cannot be, and it is not opened then."""

    def read(self, opener: Opener, offset: int, size: int) -> bytes:
        """At most *size* bytes from *offset*; fewer at the end."""
        raise OSError(errno.EINVAL, "not readable")

    def write(self, opener: Opener, offset: int, data: bytes) -> int:
        """Write *data* at *offset*; gives how much was taken, which is all."""
        raise OSError(errno.EINVAL, "not writable")

    async def read_waiting(self, opener: Opener, size: int) -> bytes:
        """As `read`, where it may wait; offsets mean nothing."""
        raise pyfuse3.FUSEError(errno.EINVAL)

    async def write_waiting(self, opener: Opener, data: bytes) -> int:
        """As `write`, where it may wait."""
        raise pyfuse3.FUSEError(errno.EINVAL)

    def poll(self, opener: Opener, handle: pyfuse3.PollHandle | None) -> int:
        """POLLIN and POLLOUT as they are now; *handle* wants to be told of the next change."""
        return READY

    async def sync(self, opener: Opener) -> None:
        """fsync(2): wait until nothing is kept back; OSError, or FUSEError."""

    def release(self, opener: Opener) -> None:
        """*opener* closed it for the last time."""

    def shutdown(self) -> None:
        """The subchannel is going away: nobody may wait any longer."""
