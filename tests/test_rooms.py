"""The rooms of the tests: each is described, and none has a mount or a machine of its own."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.mounts import PROJECT

TESTS = PROJECT / "tests"
TABLE = re.compile(r"^\| `([\w/]+)/` \|", re.M)
LISTED = subprocess.run(
    ["git", "ls-files", "--cached", "--others", "--exclude-standard", "tests"],
    cwd=PROJECT, capture_output=True, text=True, check=True,
).stdout.splitlines()  # fmt: skip
FILES = sorted(name for name in LISTED if name.endswith(".py") and (PROJECT / name).exists())
MACHINE = "tests/machine.py"
MOUNTS_BY_COMMAND = ("tests/cli/", "tests/fuse/mount/test_life.py")
"""What is about `vfioccw mount` itself."""
ITS_OWN_SERVER = "tests/fuse/notification/"
PACKS_BY_HAND = "tests/regions/"
"""The layouts' tests spell out what they compare with."""
LAYOUTS = ("BBHI", "IHBBI", "HHIBBH")
"""Formats of a CCW, an ORB and a SCSW."""
ONCE = ("mnt", "mount", "rig", "seed")


def nodes(name: str) -> Iterator[ast.AST]:
    return ast.walk(ast.parse((PROJECT / name).read_text()))


def called(node: ast.AST) -> str:
    """The last name of what a call calls."""
    match node:
        case ast.Call(func=ast.Name(id=name)) | ast.Call(func=ast.Attribute(attr=name)):
            return name
    return ""


def makes_a_subchannel(node: ast.AST) -> bool:
    match node:
        case ast.ImportFrom(module="vfioccw_fuse.css.subchannel", names=names):
            return any(alias.name == "Subchannel" for alias in names)
        case ast.Import(names=names):
            return any(alias.name == "vfioccw_fuse.css.subchannel" for alias in names)
        case ast.ImportFrom(module="vfioccw_fuse.css", names=names):
            return any(alias.name == "subchannel" for alias in names)
    return False


def mounts(node: ast.AST) -> bool:
    match node:
        case ast.Call(args=[ast.Constant(value="mount"), *_]):
            return called(node) in ("vfioccw", "command", "command_line")
    return False


def unmounts(node: ast.AST) -> bool:
    match node:
        case ast.List(elts=[ast.Constant(value="fusermount3"), *_]):
            return True
    return False


def packs(node: ast.AST) -> bool:
    if called(node) not in ("pack", "pack_into"):
        return False
    texts = (n.value for n in ast.walk(node) if isinstance(n, ast.Constant))
    return any(isinstance(t, str) and t.strip("=<>8x").endswith(f) for t in texts for f in LAYOUTS)


def fixtures(name: str) -> set[str]:
    return {
        node.name
        for node in nodes(name)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and any("fixture" in ast.unparse(one) for one in node.decorator_list)
    }


def test_every_folder_has_its_line_and_every_line_its_folder() -> None:
    lines = TABLE.findall((TESTS / "README.md").read_text())
    folders = {
        str(path.parent.relative_to("tests")) for path in map(Path, LISTED) if path.suffix == ".py"
    }
    rooms = {str(parent) for folder in folders for parent in [Path(folder), *Path(folder).parents]}
    assert len(lines) == len(set(lines))
    assert set(lines) == (rooms - {"."}) | {"vectors"}


@pytest.mark.parametrize("name", [f for f in FILES if f != MACHINE])
def test_only_the_machine_makes_a_subchannel_of_the_channel_subsystem(name: str) -> None:
    assert not [node for node in nodes(name) if makes_a_subchannel(node)]


@pytest.mark.parametrize("name", FILES)
def test_mounts_are_made_and_ended_by_the_lab(name: str) -> None:
    if not name.startswith(MOUNTS_BY_COMMAND):
        assert not [node for node in nodes(name) if mounts(node)]
    if not name.startswith(ITS_OWN_SERVER):
        assert not [node for node in nodes(name) if unmounts(node)]


@pytest.mark.parametrize("name", [f for f in FILES if not f.startswith(PACKS_BY_HAND)])
def test_ccws_orbs_and_scsws_are_packed_by_the_lab(name: str) -> None:
    assert not [node for node in nodes(name) if packs(node)]


@pytest.mark.parametrize("name", [f for f in FILES if f != "tests/conftest.py"])
def test_what_every_test_shares_is_defined_once(name: str) -> None:
    if not name.startswith(ITS_OWN_SERVER):
        assert not fixtures(name) & set(ONCE)


def test_the_shared_fixtures_are_there() -> None:
    assert set(ONCE) <= fixtures("tests/conftest.py")


@pytest.mark.parametrize(
    ("source", "search"),
    [
        ("from vfioccw_fuse.css.subchannel import Executor, Subchannel", makes_a_subchannel),
        ("import vfioccw_fuse.css.subchannel", makes_a_subchannel),
        ("from vfioccw_fuse.css import subchannel", makes_a_subchannel),
        ("lab.mounts.vfioccw('mount', path)", mounts),
        ("run(command('mount', path))", mounts),
        ("run(['fusermount3', '-u', path])", unmounts),
        ("struct.pack('>BBHI', 3, 0, 1, 0)", packs),
        ("struct.pack(f'{order}IHBBI', 1, 0, 0, 0, 0)", packs),
        ("struct.pack_into('>HHIBBH8x', data, 12, 0, 0, 0, 0, 0, 0)", packs),
    ],
)
def test_the_searches_find_what_they_look_for(source: str, search) -> None:
    assert any(search(node) for node in ast.walk(ast.parse(source)))
