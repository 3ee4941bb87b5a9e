"""The numbers: each is used, and none is a device's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lab.mounts import PROJECT

CONSTANTS = PROJECT / "regions" / "constants.py"
NAMES = re.findall(r"^([A-Z]\w+) = ", CONSTANTS.read_text(), re.MULTILINE)


def sources() -> str:
    """All that may use a number: the product and what is drawn from its headers, tests, scripts."""
    files: list[Path] = []
    for folder in ("regions", "vfioccw_fuse", "tests", "scripts"):
        for suffix in ("py", "c", "h"):
            files += (PROJECT / folder).rglob(f"*.{suffix}")
    return "\n".join(path.read_text() for path in files)


def test_no_number_is_kept_that_nobody_uses() -> None:
    used = set(re.findall(r"\w+", sources().replace(CONSTANTS.read_text(), "")))
    within = re.findall(r"\w+", CONSTANTS.read_text())
    assert not [name for name in NAMES if name not in used and within.count(name) == 1]


@pytest.mark.parametrize("prefix", ["DASD_", "TAPE_", "UREC_", "CONS_"])
def test_no_number_is_a_devices(prefix: str) -> None:
    assert not [name for name in NAMES if name.startswith(prefix)]


def test_no_number_has_two_values() -> None:
    assert len(NAMES) == len(set(NAMES))
