"""Each device type's codes and words stand once, with the device; models and words agree."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from lab.mounts import PROJECT
from vfioccw_fuse.devices import base, dasd
from vfioccw_fuse.devices.catalog import DECODED, TYPES, device_class, words_of
from vfioccw_fuse.regions import constants as c
from vfioccw_fuse.regions.descriptions import COMMANDS, EVERY_DEVICE

DEVICES = Path(base.__file__).parent
MODELS = sorted(set(DEVICES.glob("*/*.py")) - set(DEVICES.glob("*/codes.py")))

NAMED_ALONE: dict[str, dict[int, str]] = {
    "3390": {
        0x0F: "Space Count: of control units before the 3990; command reject",
        0xEA: "Prefix with Read: only with a parallel access volume's features; command reject",
        0xF7: "Define Subsystem Operation: only with copy services; command reject",
        0xF9: "Reset Summary Unit Check: none is presented; changes are told by a state change",
    },
}
"""By type: codes that have a name and no handler, with the reason."""


def path_of(path: Path) -> str:
    return str(path.relative_to(DEVICES))


@pytest.mark.parametrize("name", TYPES)
def test_a_model_has_the_words_that_the_catalog_finds(name: str) -> None:
    assert device_class(name).words is words_of(name)
    assert words_of(name) is not EVERY_DEVICE


@pytest.mark.parametrize("name", DECODED)
def test_types_that_are_only_decoded_have_words(name: str) -> None:
    assert words_of(name) is not EVERY_DEVICE
    assert name not in TYPES


@pytest.mark.parametrize("name", TYPES)
def test_every_command_that_a_model_handles_has_a_name(name: str) -> None:
    named = {*words_of(name).commands, *COMMANDS}
    assert set(device_class(name).commands) <= named


@pytest.mark.parametrize("name", TYPES)
def test_every_name_has_a_handler(name: str) -> None:
    handled = set(device_class(name).commands)
    assert set(words_of(name).commands) - handled == set(NAMED_ALONE.get(name, {}))


@pytest.mark.parametrize("name", [*TYPES, *DECODED])
def test_no_command_of_a_type_is_named_twice(name: str) -> None:
    """Names are what `--ccw` takes: each means one code, and none is declared again."""
    words = words_of(name).commands
    assert not set(words) & set(COMMANDS)
    names = [*words.values(), *COMMANDS.values()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", [*TYPES, *DECODED])
def test_no_sense_bit_is_named_twice(name: str) -> None:
    words = words_of(name)
    common = [(mask, "") for mask in (0x80, 0x40, 0x20, 0x10, 0x08, 0x04)]
    for bits in ([*common, *words.sense0], words.sense1):
        masks = [mask for mask, _ in bits]
        assert sum(masks) == sum(set(masks)) <= 0xFF
        assert all(mask.bit_count() == 1 for mask in masks)


@pytest.mark.parametrize("path", MODELS, ids=path_of)
def test_models_name_the_codes_of_their_commands(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "command":
            for part in ast.walk(node):
                assert not (isinstance(part, ast.Constant) and isinstance(part.value, int)), (
                    f"line {node.lineno}: {ast.unparse(node)}"
                )


@pytest.mark.parametrize("path", sorted(DEVICES.glob("*/codes.py")), ids=path_of)
def test_a_family_takes_the_codes_that_it_shares_from_where_they_are_declared(path: Path) -> None:
    """What both disks or every device have is not given a number again under its name."""
    shared = {name: value for name, value in vars(dasd).items() if isinstance(value, int)}
    for name, value in vars(c).items():
        if name.startswith("CCW_CMD_"):
            shared[name.removeprefix("CCW_CMD_")] = value
    for node in ast.parse(path.read_text()).body:
        match node:
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Constant(value=int(value))):
                assert shared.get(name) != value, ast.unparse(node)


@pytest.mark.parametrize("path", sorted(DEVICES.glob("*/codes.py")), ids=path_of)
def test_codes_stand_on_the_ground_floor_so_that_a_client_may_use_them(path: Path) -> None:
    found = re.findall(r"^from (\.+\w*[\w.]*) import", path.read_text(), re.MULTILINE)
    assert all(name.startswith("...regions") or name in ("..", "..dasd") for name in found)


def test_the_packages_of_families_import_nothing() -> None:
    for path in DEVICES.rglob("__init__.py"):
        tree = ast.parse(path.read_text())
        assert not [n for n in ast.walk(tree) if isinstance(n, (ast.Import, ast.ImportFrom))], path


def test_regions_name_no_device_type() -> None:
    types = "|".join(sorted(name for name in {*TYPES, *DECODED} if name.isdigit()))
    for path in (PROJECT / "regions").glob("*.py"):
        text = re.sub(r'""".*?"""', "", path.read_text(), flags=re.DOTALL)
        assert not re.search(rf"\b({types})\b", text), path


@pytest.mark.parametrize("name", TYPES)
def test_a_type_says_what_it_is_and_what_its_medium_is(name: str) -> None:
    assert device_class(name).description
    assert device_class(name).takes
