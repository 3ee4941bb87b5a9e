"""The library that is loaded into QEMU: compiled once, when the project is set up.

`python -m vfioccw_fuse.qemu.build` compiles it if it is not there or older than its sources. Where
nobody has done that (a package installed without set-up) the first use does it, into the user's
cache directory if the package's is not writable.

Who can change the library runs code in the user's QEMU. Beside the package it is trusted as the
package is. In the cache it lies in a directory that only the user can change, under a name made of
its sources: what somebody else put there before is not loaded.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from ..errors import UserError

SOURCES: Final = Path(__file__).with_name("preload")
"""The directory of the library's source files; preload.h there says what each C file is for."""
_COMPILE: Final = ("-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-pthread", "-fvisibility=hidden")
_REMEDY: Final = "set XDG_CACHE_HOME to a directory that only you can change"


def library() -> Path:
    """The compiled library, up to date.

    UserError if it has to be compiled and cannot be, or if others could change it where it would
    have to lie.
    """
    place = SOURCES.with_suffix(".so")
    newest = max(path.stat().st_mtime_ns for path in SOURCES.glob("*.[ch]"))
    if place.exists() and place.stat().st_mtime_ns >= newest:
        return place
    try:
        _compile(place)
    except OSError:
        return _cached()
    return place


def _cached() -> Path:
    """As `library`, in the cache directory."""
    place = _cache()
    try:
        os.makedirs(place.parent, 0o700, exist_ok=True)
        # Resolved first: a symbolic link of somebody else could be turned later.
        place = place.parent.resolve() / place.name
        place.mkdir(mode=0o700, exist_ok=True)
        directory = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            _check_place(place, os.fstat(directory))
            made = place / f"preload-{_digest()}.so"
            if not _is_sound(made.name, directory):
                _compile(made)
                if not _is_sound(made.name, directory):
                    raise UserError(f"{made}: others can change it; {_REMEDY}")
            return made
        finally:
            os.close(directory)
    except OSError as error:
        raise UserError(f"{place}: cannot be used: {error.strerror}; {_REMEDY}") from None


def _check_place(place: Path, status: os.stat_result) -> None:
    """UserError if another user but root can change what lies in *place*, or put another there.

    *status* is that of the directory *place* itself, which is open, its path without links. From
    then on no name below it can be made to mean another file.
    """
    if not _is_own(status):
        raise UserError(
            f"{place}: others can change it, or it is not yours; remove it, or {_REMEDY}"
        )
    for parent in place.parents:
        found = parent.stat()
        # A sticky directory lets nobody rename what is another's (unlink(2)). Who is in the group
        # of a home directory has better ways.
        anybody = found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX
        if anybody or found.st_uid not in (0, os.geteuid()):
            raise UserError(f"{parent}: others can rename what is in it; {_REMEDY}")


def _is_own(status: os.stat_result) -> bool:
    """Whether only the user and root can write what has this *status*."""
    others = stat.S_IWGRP | stat.S_IWOTH
    return status.st_uid in (0, os.geteuid()) and not status.st_mode & others


def _is_sound(name: str, directory: int) -> bool:
    """Whether the file *name* in *directory* is there, a file and no link, and the user's own."""
    try:
        # Not waiting, should it be a FIFO.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        fd = os.open(name, flags, dir_fd=directory)
    except OSError:
        return False
    try:
        status = os.fstat(fd)
    finally:
        os.close(fd)
    return stat.S_ISREG(status.st_mode) and _is_own(status)


def _digest() -> str:
    """What a library of these sources is called: another for other sources, options, machines."""
    digest = hashlib.sha256(repr((platform.machine(), _COMPILE)).encode())
    for path in sorted(SOURCES.glob("*.[ch]")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:32]


def _cache() -> Path:
    root = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(root) if root.startswith("/") else Path.home() / ".cache") / "vfioccw"


def _compile(target: Path) -> None:
    """Make *target*, whole or not at all.

    OSError if it cannot be written there, UserError without a compiler or if that refuses.
    """
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise UserError("gcc: not found; install the packages gcc and libc6-dev")
    with tempfile.TemporaryDirectory(prefix=".preload-", dir=target.parent) as directory:
        made = Path(directory) / target.name
        done = subprocess.run(
            [compiler, *_COMPILE, "-o", str(made), *map(str, sorted(SOURCES.glob("*.c")))],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if "error" in line]
            reason = lines[0] if lines else f"exit status {done.returncode}"
            raise UserError(f"{SOURCES}: cannot be compiled: {reason}; is libc6-dev installed?")
        made.chmod(0o755)  # whatever the umask
        made.replace(target)


def main() -> int:
    """Compile where it is needed; gives the exit status."""
    try:
        library()
    except UserError as error:
        print(f"vfioccw: {error.message}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
