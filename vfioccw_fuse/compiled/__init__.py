"""The hot modules as machine code: which they are, where they lie, and whether they are used.

mypyc makes C extensions of `MODULES` from the same source that runs without it. They lie in
`place()`, one directory for each kind of Python, and `install` (called by the package itself) lets
an import find them there. Everything else, and everything where they cannot be used (`pure` says
why), runs from source; what the two give is the same.

`build` compiles them; `packaging` puts them into a wheel.
"""

from __future__ import annotations

import os
import sys
import zlib
from collections.abc import Sequence
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Final

SWITCH: Final = "VFIOCCW_PURE"
"""The environment variable that, set to anything but nothing or `0`, has all run from source."""
PACKAGE: Final = Path(__file__).parent.parent
"""The directory of the package, in which `MODULES` are named."""
MODULES: Final = (
    "css.ccw",
    "css.channel",
    "css.executor",
    "css.ida",
    "css.measurement",
    "css.paths",
    "css.pending",
    "css.pmcw",
    "css.scsw",
    "css.subchannel",
    "css.transfer",
    "memory.backing",
    "memory.mapping",
    "memory.paging",
    "memory.space",
    "vfio.areas",
    "vfio.driver",
    "vfio.fsm",
    "vfio.irq",
    "vfio.regions",
    "vfio.status",
    "vfio.translation",
)
"""What is compiled, below the package. A class that is not compiled cannot derive from one that is,
so a room's base class and all its kinds are on this list or none of them is."""
LIBRARY: Final = "hot__mypyc"
"""The extension that has the code of all; those with their names only point into it. So they call
each other directly, and a request that finds nothing of them in the caches fetches less."""
MANIFEST: Final = "manifest"
"""The file in `place()` that says what the modules there were made from: for each source its
checksum and its name below the package, then for each extension its size and its name."""
REMEDY: Final = "python -m vfioccw_fuse.compiled.build makes them anew"
"""How compiled modules are had again; in a checkout `scripts/setup` does the same."""

_SWITCHED_OFF: Final = f"{SWITCH} is set"
_NEVER_COMPILED: Final = "not compiled"
_SUFFIX: Final = EXTENSION_SUFFIXES[0]
_ROOMS: Final = ("regions", "memory", "devices", "css", "vfio")
_MAKERS: Final = ("compiled/__init__.py", "compiled/extensions.py")


def place() -> Path:
    """The directory of this Python's extensions, whether or not it is there."""
    return PACKAGE / "compiled" / _SUFFIX.split(".")[1]


def sources() -> list[str]:
    """All files on which a compiled module depends, below the package: what it is made from, and
    whose constants and types went into it."""
    found = [path for room in _ROOMS for path in (PACKAGE / room).rglob("*.py")]
    found += PACKAGE.glob("*.py")
    return sorted([*_MAKERS, *(str(path.relative_to(PACKAGE)) for path in found)])


def checksum(source: str) -> str:
    """What *source*, a file below the package, has in it, in eight digits."""
    return f"{zlib.crc32((PACKAGE / source).read_bytes()):08x}"


def is_switched_off() -> bool:
    """Whether `SWITCH` says that all runs from source."""
    return os.environ.get(SWITCH, "0") not in ("", "0")


@cache
def pure() -> str | None:
    """Why the modules run from source, in some words; None if they run compiled.

    Decided at the first import of one of them and then kept: half of each would not fit together.
    """
    if is_switched_off():
        return _SWITCHED_OFF
    here = place()
    try:
        lines = (here / MANIFEST).read_text().splitlines()
    except FileNotFoundError:
        others = sorted(path.parent.name for path in here.parent.glob(f"*/{MANIFEST}"))
        if others:
            return f"compiled for {', '.join(others)} and not for {here.name}; {REMEDY}"
        return _NEVER_COMPILED
    except (OSError, ValueError) as error:
        return f"{here} cannot be used: {error}; {REMEDY}"
    try:
        made = {name: value for value, _, name in (line.partition(" ") for line in lines)}
        for source in sources():
            if made.pop(source, None) != checksum(source):
                return f"{source} is not what was compiled; {REMEDY}"
        for name, size in made.items():
            if (here / name).stat().st_size != int(size):
                return f"{name} in {here} is damaged; {REMEDY}"
        _load(here)
    except (OSError, ValueError) as error:
        return f"{here} cannot be used: {error}; {REMEDY}"
    return None


def how() -> str:
    """How the modules run, in words: `compiled`, or `from source: ` and why."""
    reason = pure()
    return f"from source: {reason}" if reason else "compiled"


def trouble() -> str | None:
    """As `pure`, but None as well where nobody wanted them compiled: this is worth a warning."""
    reason = pure()
    return None if reason in (_SWITCHED_OFF, _NEVER_COMPILED) else reason


def _load(here: Path) -> None:
    """OSError if what lies *here* is for another machine or another C library than this one's."""
    from ctypes import CDLL

    CDLL(str(here / f"{LIBRARY}{_SUFFIX}"))


class _Finder:
    """Finds `MODULES` and `LIBRARY` in `place()`."""

    def __init__(self) -> None:
        self._names = {f"{PACKAGE.name}.{name}" for name in (*MODULES, LIBRARY)}

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """As `importlib.abc.MetaPathFinder` has it; None for all but compiled modules."""
        if name not in self._names or pure() is not None:
            return None
        rooms = name.split(".")[1:-1]
        return PathFinder.find_spec(name, [str(place().joinpath(*rooms))], target)


def install() -> None:
    """Let imports find compiled modules from now on; to be called once, before the first."""
    sys.meta_path.insert(0, _Finder())
