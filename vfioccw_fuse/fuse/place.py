"""Where the mount's socket lies: in a private directory of the user's, while the server lives."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path
from typing import Final

from .leftovers import HeldDirectory

_PREFIX: Final = "vfioccw-irqfd-"
_SOCKET: Final = "socket"
_PATH_MAX: Final = 107  # sun_path without its final zero (unix(7))


class SocketPlace:
    """A listening unix socket of type SOCK_SEQPACKET, and the directory that it is in."""

    def __init__(self) -> None:
        """Make it, so that clients can connect; OSError if it cannot be made.

        It lies in a directory of its own with mode 0700, below XDG_RUNTIME_DIR or else /tmp.
        Those that a killed server left there are removed.
        """
        with contextlib.ExitStack() as made:
            directory = HeldDirectory(_PREFIX, _runtime_directory())
            made.callback(directory.close)
            self.path = directory.path / _SOCKET
            """The socket's absolute path."""
            self.listener = made.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
            """It accepts the connections."""
            self.listener.bind(os.fspath(self.path))
            self.listener.listen(socket.SOMAXCONN)
            self._made = made.pop_all()

    def close(self) -> None:
        """Remove the socket and its directory; a second time nothing."""
        self._made.close()


def _runtime_directory() -> Path:
    """Where the private directory shall lie: XDG_RUNTIME_DIR if it will do, else /tmp."""
    place = Path(os.environ.get("XDG_RUNTIME_DIR", ""))
    length = len(os.fsencode(place / (_PREFIX + "12345678") / _SOCKET))
    if place.is_absolute() and length <= _PATH_MAX and os.access(place, os.W_OK | os.X_OK):
        return place
    return Path("/tmp")
