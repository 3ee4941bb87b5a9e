"""How a wheel gets its extensions: the build backend, and its commands that pyproject.toml names.

With them the wheel is for one kind of Python and machine. Without a compiler, or with the
environment variable `VFIOCCW_PURE=1`, it is the one for all (py3-none-any). The sdist gives either.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from setuptools.build_meta import *  # noqa: F403 (a build backend is its hooks: PEP 517, 660)
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

from . import PACKAGE, is_switched_off, place, pure
from .build import Failed, compile_into


class BuildPy(build_py):
    """Copies the package, and beside it what is compiled: what is there already, or made now."""

    def run(self) -> None:
        """Do so; nothing is compiled for an editable installation, which finds its sources."""
        super().run()
        if self.editable_mode or is_switched_off():
            return
        target = extensions_in(self.build_lib)
        shutil.rmtree(target, ignore_errors=True)
        try:
            if pure() is None:
                shutil.copytree(place(), target)
            else:
                compile_into(target)
        except Failed as failure:
            print(f"vfioccw: not compiled: {failure}; all will run from source", file=sys.stderr)


class BdistWheel(bdist_wheel):
    """Makes a wheel that says for whom it is."""

    def run(self) -> None:
        """Build, look at what came of it, and pack that."""
        self.run_command("build")
        built = self.get_finalized_command("build").build_lib
        if extensions_in(built).exists():
            self.root_is_pure = False
            # It decides where in the wheel the package lies: there is no extension in the list.
            self.distribution.has_ext_modules = lambda: True  # type: ignore[method-assign]
        super().run()


def extensions_in(build_lib: str) -> Path:
    """Where extensions lie in a package built in *build_lib*."""
    return Path(build_lib, PACKAGE.name, place().relative_to(PACKAGE))
