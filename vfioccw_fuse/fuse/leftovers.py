"""Directories that shall not outlive their server: each is held by a lock, and swept by the next.

A server removes its directory at its end; one that is killed cannot. A lock by flock(2) on the
directory ends with the process that holds it, however that dies, so a directory without one is
nobody's any more. Only the user's own are looked at, and only those with the prefix.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path


class HeldDirectory:
    """A directory of this process alone, mode 0700, with a name that nobody had before."""

    def __init__(self, prefix: str, place: str | os.PathLike[str]) -> None:
        """Make it in *place*, its name *prefix* and some letters; remove what the dead left there.

        OSError if it cannot be made or held.
        """
        _sweep(prefix, Path(place))
        self._fd = -1
        while self._fd < 0:
            # Once more if somebody's sweep has come between the making and the lock.
            self.path = Path(tempfile.mkdtemp(prefix=prefix, dir=place))
            """Its absolute path."""
            try:
                self._fd = _hold(self.path)
            except BaseException:
                _remove(self.path)
                raise

    def close(self) -> None:
        """Remove it and all that is in it; a second time nothing."""
        if self._fd >= 0:
            _remove(self.path)
            os.close(self._fd)
            self._fd = -1


def _sweep(prefix: str, place: Path) -> None:
    """Remove the user's directories in *place* that begin with *prefix* and that nobody holds."""
    for path in place.glob(f"{prefix}*"):
        with contextlib.suppress(OSError):
            # Looked at before it is opened: another's may not even be that.
            if path.lstat().st_uid != os.geteuid():
                continue
            fd = _hold(path)
            if fd >= 0:
                try:
                    if os.fstat(fd).st_uid == os.geteuid():
                        _remove(path)
                finally:
                    os.close(fd)


def _hold(path: Path) -> int:
    """Lock the directory *path*, no link, until the descriptor that it gives is closed.

    -1 if another process holds it, or if it is not there any more; OSError for anything else.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return -1
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        held = os.path.samestat(os.fstat(fd), os.lstat(path))
    except (BlockingIOError, FileNotFoundError):
        held = False
    except BaseException:
        os.close(fd)
        raise
    if not held:
        os.close(fd)
        return -1
    return fd


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
