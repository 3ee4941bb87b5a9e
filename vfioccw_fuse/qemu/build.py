"""The library that is loaded into QEMU: compiled once, when the project is set up.

`python -m vfioccw_fuse.qemu.build` compiles it if it is not there or older than its sources. Where
nobody has done that (a package installed without set-up) the first use does it, into the user's
cache directory if the package's is not writable.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from ..errors import UserError

SOURCES: Final = Path(__file__).with_name("preload")
"""The directory of the library's source files; preload.h there says what each C file is for."""
_COMPILE: Final = ("-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-pthread", "-fvisibility=hidden")


def library() -> Path:
    """The compiled library, up to date; UserError if it has to be compiled and cannot be."""
    places = (SOURCES.with_suffix(".so"), _cache() / "preload.so")
    newest = max(path.stat().st_mtime_ns for path in SOURCES.glob("*.[ch]"))
    for place in places:
        if place.exists() and place.stat().st_mtime_ns >= newest:
            return place
    for place in places:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            _compile(place)
        except PermissionError:
            continue
        except OSError as error:
            if place is places[-1]:
                raise UserError(f"{place}: cannot be written: {error.strerror}") from None
        else:
            return place
    raise UserError(f"{places[-1]}: cannot be written; make the directory writable")


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
