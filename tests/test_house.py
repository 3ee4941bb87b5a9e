"""The house: what may import what, and what lies at the top of the repository."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
PACKAGE = "vfioccw_fuse"
REGIONS = f"{PACKAGE}.regions"
OFD = f"{PACKAGE}.ofd"
FLOORS = (
    (REGIONS, f"{PACKAGE}.compiled", f"{PACKAGE}.docs"),
    (f"{PACKAGE}.children", f"{PACKAGE}.errors", f"{PACKAGE}.mountinfo", OFD, f"{PACKAGE}.strand"),
    (f"{PACKAGE}.sizes",),
    (f"{PACKAGE}.memory", f"{PACKAGE}.devices"),
    (f"{PACKAGE}.css",),
    (f"{PACKAGE}.vfio", f"{PACKAGE}.scenario"),
    (f"{PACKAGE}.fuse", f"{PACKAGE}.qemu", f"{PACKAGE}.guest"),
    (f"{PACKAGE}.conform",),
    (f"{PACKAGE}.cli",),
    (f"{PACKAGE}.__main__", f"{PACKAGE}.testing"),
)
"""From the ground up. Rooms on one floor do not know each other."""
BESIDE = f"{PACKAGE}.client"
"""The client stands on `regions`, `ofd` and the devices' codes."""
USERS = (f"{PACKAGE}.cli", f"{PACKAGE}.testing")
"""Who uses the client."""
CATALOG = f"{PACKAGE}.devices.catalog"
CODES = re.compile(rf"{PACKAGE}\.devices\.(dasd|\w+\.codes)")
"""Where device types have their command codes and the layouts of their parameters."""
TOP_LEVEL = {"pyproject.toml", PACKAGE, "regions", "tests", "scripts", "README.md", "LICENSE"}

FILES = sorted(
    path
    for name in ("regions", PACKAGE)
    for path in (PROJECT / name).rglob("*.py")
    if not path.is_relative_to(PROJECT / PACKAGE / "regions")  # the link to the first of them
)


def module_of(path: Path) -> str:
    parts = list(path.relative_to(PROJECT).with_suffix("").parts)
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts if parts[0] == PACKAGE else [PACKAGE, *parts])


MODULES = {module_of(path) for path in FILES}


def imports_of(source: str, module: str, *, is_package: bool) -> set[str]:
    """The modules that *source* imports, wherever in it: absolute, as deep as the name is known."""
    found: set[str] = set()
    package = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            for alias in node.names:
                name = f"{origin}.{alias.name}"
                found.add(name if name in MODULES else origin)
    return found


def imports_in(path: Path) -> set[str]:
    return imports_of(path.read_text(), module_of(path), is_package=path.name == "__init__.py")


def floor_of(module: str) -> int | None:
    for number, rooms in enumerate(FLOORS):
        for room in rooms:
            if module == room or module.startswith(f"{room}."):
                return number
    return None


def room_of(module: str) -> str:
    return ".".join(module.split(".")[:2])


def ours(modules: set[str]) -> set[str]:
    return {name for name in modules if name.split(".")[0] in (PACKAGE, "regions")}


def named(path: Path) -> str:
    return str(path.relative_to(PROJECT))


def test_every_module_has_its_place_in_the_house() -> None:
    homeless = {
        name for name in MODULES - {PACKAGE} if floor_of(name) is None and room_of(name) != BESIDE
    }
    assert not homeless


@pytest.mark.parametrize(
    "path", [p for p in FILES if floor_of(module_of(p)) is not None], ids=named
)
def test_no_import_runs_upwards_or_into_the_next_room(path: Path) -> None:
    here = module_of(path)
    floor = floor_of(here)
    assert floor is not None
    for there in ours(imports_in(path)) - {PACKAGE}:
        if room_of(there) == BESIDE:
            assert room_of(here) in USERS, f"{here} imports the client"
            continue
        below = floor_of(there)
        assert below is not None, f"{here} imports {there}, which is nowhere in the house"
        assert below < floor or room_of(there) == room_of(here), f"{here} imports {there}"


def test_the_package_is_the_only_name_of_regions() -> None:
    link = PROJECT / PACKAGE / "regions"
    assert link.is_symlink()
    assert link.resolve() == PROJECT / "regions"
    everywhere = [*FILES, *(p for n in ("tests", "scripts") for p in (PROJECT / n).rglob("*.py"))]
    for path in everywhere:
        assert not {n for n in imports_in(path) if n.split(".")[0] == "regions"}, path


@pytest.mark.parametrize("path", [p for p in FILES if p.name != "__main__.py"], ids=named)
def test_the_package_names_its_own_modules_relatively(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.ImportFrom(level=0, module=str(name)):
                assert name.split(".")[0] != PACKAGE, f"line {node.lineno}"
            case ast.Import():
                assert not [a for a in node.names if a.name.split(".")[0] == PACKAGE]


@pytest.mark.parametrize("path", FILES, ids=named)
def test_docstrings_mark_code_by_one_backtick(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            assert "``" not in node.value, f"line {node.lineno}"


@pytest.mark.parametrize("path", [p for p in FILES if room_of(module_of(p)) == BESIDE], ids=named)
def test_the_client_imports_regions_locks_codes_of_devices_and_itself_alone(path: Path) -> None:
    beside = (REGIONS, OFD, BESIDE)
    rest = {name for name in ours(imports_in(path)) if room_of(name) not in beside}
    assert all(name == CATALOG or CODES.fullmatch(name) for name in rest), rest


def test_the_fsm_is_a_table_that_knows_no_trio_no_fuse_no_construct() -> None:
    known = imports_in(PROJECT / PACKAGE / "vfio" / "fsm.py")
    assert known <= {"__future__", "collections.abc", "enum", "typing"}


@pytest.mark.parametrize(
    "path",
    [
        p
        for p in FILES
        if room_of(module_of(p)) in (f"{PACKAGE}.vfio", f"{PACKAGE}.fuse") and p.name != "fsm.py"
    ],
    ids=named,
)
def test_no_line_but_the_table_asks_for_the_state(path: Path) -> None:
    """Nothing compares a state or takes it for a key; who shows it only reads it."""
    for node in ast.walk(ast.parse(path.read_text())):
        asked: list[ast.expr] = []
        if isinstance(node, ast.Compare):
            asked = [node.left, *node.comparators]
        elif isinstance(node, ast.Subscript):
            asked = [node.slice]
        elif isinstance(node, ast.Match):
            asked = [node.subject]
        for expression in asked:
            words = {n.attr for n in ast.walk(expression) if isinstance(n, ast.Attribute)}
            names = {n.id for n in ast.walk(expression) if isinstance(n, ast.Name)}
            allowed = path.name == "driver.py" and ast.unparse(node) in STATE_KEYS
            assert allowed or not ("state" in words or "State" in names), ast.unparse(node)


STATE_KEYS = {"rows[State.STANDBY]"}
"""Where the driver builds its rows from the table: a device begins closed."""


@pytest.mark.parametrize("name", ["css", "devices", "memory", "vfio", "scenario"])
def test_nothing_below_the_presentation_knows_fuse(name: str) -> None:
    for path in (PROJECT / PACKAGE / name).rglob("*.py"):
        assert not {n for n in imports_in(path) if n.split(".")[0] == "pyfuse3"}, path


@pytest.mark.parametrize("name", ["css", "devices", "memory", "vfio", "scenario", "fuse"])
def test_only_regions_and_codes_of_devices_parse_bytes_by_construct(name: str) -> None:
    for path in (PROJECT / PACKAGE / name).rglob("*.py"):
        if CODES.fullmatch(module_of(path)):
            continue
        assert not {n for n in imports_in(path) if n.split(".")[0] == "construct"}, path


@pytest.mark.parametrize("path", [p for p in FILES if CODES.fullmatch(module_of(p))], ids=named)
def test_codes_of_devices_stand_on_regions_alone(path: Path) -> None:
    shared = f"{PACKAGE}.devices.dasd"
    assert all(room_of(name) == REGIONS or name == shared for name in ours(imports_in(path)))


@pytest.mark.parametrize(
    ("source", "module", "expected"),
    [
        ("from ..css import ccw", f"{PACKAGE}.memory.space", f"{PACKAGE}.css.ccw"),
        ("def f():\n    from ..fuse.fs import X", f"{PACKAGE}.vfio.irq", f"{PACKAGE}.fuse.fs"),
        (f"import {PACKAGE}.cli", f"{REGIONS}.codec", f"{PACKAGE}.cli"),
    ],
)
def test_the_search_for_imports_finds_them(source: str, module: str, expected: str) -> None:
    assert expected in imports_of(source, module, is_package=False)


def test_the_top_level_of_the_repository_is_what_the_layout_allows() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    top = {name.split("/")[0] for name in listed}
    pinned = {name for name in top if name.startswith("requirements") and name.endswith(".txt")}
    assert "requirements.txt" in pinned
    assert {name for name in top - pinned if not name.startswith(".")} == TOP_LEVEL


def test_no_modules_of_the_command_line_import_each_other_in_a_circle() -> None:
    """Also not when a function imports; what all commands share is in the package itself."""
    cli = {module_of(p): p for p in FILES if room_of(module_of(p)) == f"{PACKAGE}.cli"}
    left = {m: imports_in(p) & cli.keys() for m, p in cli.items() if p.name != "__init__.py"}
    while free := {module for module, others in left.items() if not others & left.keys()}:
        for module in free:
            del left[module]
    assert not left
