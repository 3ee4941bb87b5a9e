"""What somebody takes along who asks the driver of a mainframe: client, script, and how."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from . import HERE
from .script import Case, script_of

SWITCHED: Final = ("control ", "chp ")
"""Lines of a script that a host does, who has our faults and paths in his hands."""


def of_the_driver_alone(case: Case) -> bool:
    """Whether a driver answers a *case* without a host that switches something meanwhile."""
    return not any(line.startswith(SWITCHED) for line in script_of([case]).splitlines())


def write_kit(directory: Path, cases: Sequence[Case]) -> int:
    """Write client.c, script and README.md into *directory*, made if need be; how many cases.

    Those of the *cases* are left out that a host has to switch something for. OSError.
    """
    taken = [case for case in cases if of_the_driver_alone(case)]
    directory.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(HERE / "client.c", directory / "client.c")
    (directory / "script").write_text(script_of(taken))
    shutil.copyfile(HERE / "MAINFRAME.md", directory / "README.md")
    return len(taken)
