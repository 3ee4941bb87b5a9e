"""Compiles the hot modules: `python -m vfioccw_fuse.compiled.build`.

It needs mypy, setuptools and a C compiler, and takes 25 s. What was there stays until all is made;
where that is up to date nothing is done.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from . import MANIFEST, PACKAGE, SWITCH, checksum, is_switched_off, place, pure, sources


class Failed(Exception):
    """The modules cannot be compiled: in a line, why. They run from source then."""


def compile_into(directory: Path) -> None:
    """Compile all modules and make *directory*, which is not there, with their extensions.

    Failed if mypy, setuptools or a C compiler is missing or refuses; nothing is left then.
    """
    for library in ("mypyc", "setuptools"):
        if find_spec(library) is None:
            raise Failed(f"{library.replace('mypyc', 'mypy')} is not installed")
    with tempfile.TemporaryDirectory(prefix=".making-", dir=directory.parent) as scratch:
        done = subprocess.run(
            [
                sys.executable, "-m", f"{__package__}.extensions", f"{scratch}/c",
                "build_ext", f"--build-lib={scratch}/lib", f"--build-temp={scratch}/objects",
                f"--parallel={os.cpu_count() or 1}",
            ],
            cwd=PACKAGE.parent, env=os.environ | {SWITCH: "1"}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise Failed(_reason(done.stdout) or f"setuptools ended with {done.returncode}")
        made = Path(scratch, "lib", PACKAGE.name)
        extensions = sorted(path for path in made.rglob("*") if path.is_file())
        lines = [f"{checksum(source)} {source}" for source in sources()]
        lines += [f"{path.stat().st_size} {path.relative_to(made)}" for path in extensions]
        made.joinpath(MANIFEST).write_text("\n".join(lines) + "\n")
        made.rename(directory)


def _reason(output: str) -> str:
    """The line of *output* that says what went wrong, without all the words of a command."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    named = [line for line in lines if re.search(r"\berror\b|not found|No such", line)]
    line = (named or lines or [""])[0 if named else -1].replace(f"{PACKAGE.parent}/", "")
    return re.sub(r"error: Command '\['([^']*)'.*\]'", r"\1", line)


def main() -> int:
    """Compile where it is needed, print what came of it; gives the exit status."""
    if not is_switched_off() and pure() is not None:
        here = place()
        print("vfioccw: compiling the hot modules", file=sys.stderr)
        try:
            with tempfile.TemporaryDirectory(prefix=".old-", dir=here.parent) as scratch:
                made = Path(scratch, "made")
                compile_into(made)
                if here.exists():
                    here.rename(Path(scratch, "old"))
                made.rename(here)
        except (Failed, OSError) as error:
            print(f"vfioccw: not compiled: {error}; all runs from source", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
