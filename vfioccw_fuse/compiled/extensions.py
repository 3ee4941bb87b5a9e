"""What setuptools runs to make the extensions; `build` starts it, in a process of its own.

`python -m vfioccw_fuse.compiled.extensions DIRECTORY build_ext ...`, from the directory that has
the package: C files go to DIRECTORY, the rest are words of setuptools. What the compilers say is
printed; what they refuse is the exit status.
"""

from __future__ import annotations

import sys
from typing import Final

from mypyc.build import mypycify
from setuptools import setup

from . import LIBRARY, MODULES, PACKAGE

OPTIONS: Final = (
    # Nothing of the user's, and nothing that happens to be installed, decides about what is made.
    "--config-file=", "--cache-dir=/dev/null", "--no-site-packages", "--ignore-missing-imports",
    "--no-color-output", "--hide-error-context", "--no-error-summary",
)  # fmt: skip
"""How mypy reads the sources (mypy(1)): what it says of types is the business of other runs."""


def main(directory: str, *words: str) -> None:
    """Write C files to *directory* and do what *words* tell setuptools."""
    paths = [f"{PACKAGE.name}/{module.replace('.', '/')}.py" for module in MODULES]
    setup(
        name=PACKAGE.name,
        script_args=list(words),
        # -O1: the time is spent in the interpreter's own functions and in fetching instructions;
        # what -O2 makes is larger, no faster, and takes half as long again to compile.
        ext_modules=mypycify(  # type: ignore[arg-type]
            [*OPTIONS, *paths],
            target_dir=directory,
            group_name=f"{PACKAGE.name}.{LIBRARY.removesuffix('__mypyc')}",
            multi_file=False, opt_level="1", debug_level="0",
        ),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
