"""What a device type is called by stands once, with the type, and nothing is forgotten."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

from lab.mounts import PROJECT
from vfioccw_fuse.devices.catalog import DECODED, TYPES, device_class, words_of
from vfioccw_fuse.regions.descriptions import COMMANDS, EVERY_DEVICE, command_name

DEVICES = PROJECT / "vfioccw_fuse" / "devices"
CODES = sorted(DEVICES.rglob("codes.py"))
ECKD_ONLY_DECODED = {
    0x0F: "space count: rejected, as control units without the feature do",
    0xEA: "prefix with read: not emulated",
    0xF7: "define subsystem operation: rejected",
    0xF9: "reset allegiance by Linux's number: rejected",
}
"""Names that only `decode` and `trace` need: commands that the model rejects."""
NOT_HANDLED: dict[str, set[int]] = {"3390": set(ECKD_ONLY_DECODED)}


@pytest.mark.parametrize("name", TYPES)
def test_every_command_that_a_model_does_has_a_name(name: str) -> None:
    known = {**COMMANDS, **words_of(name).commands}
    nameless = sorted(set(device_class(name).commands) - set(known))
    assert not [f"{code:02x}" for code in nameless]


@pytest.mark.parametrize("name", TYPES)
def test_a_type_says_what_it_is_and_has_its_words(name: str) -> None:
    cls = device_class(name)
    assert cls.words is words_of(name)
    assert cls.description
    assert cls.takes
    assert cls.words is not EVERY_DEVICE


def test_a_type_that_is_only_decoded_has_words_too() -> None:
    assert all(words_of(name) is not EVERY_DEVICE for name in DECODED)
    assert not set(DECODED) & set(TYPES)


@pytest.mark.parametrize("path", CODES, ids=lambda p: p.parent.name)
def test_a_code_has_one_name_in_its_family(path: Path) -> None:
    """Numbers are given to names once; where devices of a family differ their tables do."""
    tree = ast.parse(path.read_text())
    targets = [
        node.target.id
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    ]
    assert not [name for name, times in Counter(targets).items() if times > 1]


@pytest.mark.parametrize("path", CODES, ids=lambda p: p.parent.name)
def test_codes_stand_on_the_ground_floor_so_that_a_client_may_use_them(path: Path) -> None:
    found = re.findall(r"^from (\.+\w*[\w.]*) import", path.read_text(), re.MULTILINE)
    assert all(name.startswith("...regions") or name in ("..", "..dasd") for name in found)


def test_the_packages_of_families_import_nothing() -> None:
    for path in DEVICES.rglob("__init__.py"):
        tree = ast.parse(path.read_text())
        assert not [n for n in ast.walk(tree) if isinstance(n, (ast.Import, ast.ImportFrom))], path


def test_regions_name_no_device() -> None:
    types = "|".join(sorted(name for name in {*TYPES, *DECODED} if name.isdigit()))
    for path in (PROJECT / "regions").glob("*.py"):
        text = re.sub(r'""".*?"""', "", path.read_text(), flags=re.DOTALL)
        assert not re.search(rf"\b({types})\b", text), path


@pytest.mark.parametrize("name", TYPES)
def test_every_name_is_of_a_command_that_the_model_does_or_rejects_for_a_reason(name: str) -> None:
    cls = device_class(name)
    surplus = set(words_of(name).commands) - set(cls.commands) - NOT_HANDLED.get(name, set())
    assert not [f"{code:02x} {command_name(code, cls.words)}" for code in sorted(surplus)]
