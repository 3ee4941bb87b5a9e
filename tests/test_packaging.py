"""What is built and installed: the package `vfioccw_fuse` and no other name."""

from __future__ import annotations

import email
import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.typed import files
from vfioccw_fuse import __version__, compiled
from vfioccw_fuse.docs.packaging import elsewhere

PROJECT = Path(__file__).resolve().parents[1]
NEIGHBOURS = Path(sys.prefix) / "neighbours"
"""Where scripts/setup puts the wheel of another project's top-level `regions`."""
BUILD_SDIST = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
COMPILED = "vfioccw_fuse/qemu/preload.so"
FIND = "import importlib.util; print(importlib.util.find_spec('regions').origin)"


def run(*words: str | Path, cwd: Path, pure: bool = True) -> str:
    """What the command prints; a failure shows all that it said.

    Nothing is compiled, and nothing compiled runs, unless it is not to be *pure*.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    environment[compiled.SWITCH] = str(int(pure))
    done = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def pip(
    *words: str | Path, cwd: Path, python: Path = Path(sys.executable), pure: bool = True
) -> None:
    """Run pip without an index on the environment of *python*."""
    run(sys.executable, "-m", "pip", "--python", python, "--no-input",
        "--disable-pip-version-check", *words, cwd=cwd, pure=pure)  # fmt: skip


def checkout(target: Path) -> None:
    """Copy what git knows of this tree into a repository of its own, links as links.

    A repository, since a plug-in of setuptools asks git for the files; with what is compiled by
    scripts/setup, since people build from trees that are set up.
    """
    listed = run("git", "ls-files", "-z", cwd=PROJECT).split("\0")
    for name in filter(None, listed):
        if os.path.lexists(PROJECT / name):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, target / name, follow_symlinks=False)
    run("git", "init", "--quiet", cwd=target)
    run("git", "add", "--all", cwd=target)
    run("git", "-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "--quiet",
        "--message=All", cwd=target)  # fmt: skip
    (target / COMPILED).touch()


def wheel_of(source: Path, target: Path, *, pure: bool = True) -> Path:
    pip("wheel", "--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", target, source,
        cwd=target.parent, pure=pure)  # fmt: skip
    (wheel,) = target.glob("*.whl")
    return wheel


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@dataclass(frozen=True)
class Built:
    """What was built from a checkout of its own."""

    source: Path
    sdist: Path
    wheel: Path
    wheel_of_sdist: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("packaging")
    source = folder / "source"
    checkout(source)
    run(sys.executable, "-c", BUILD_SDIST, folder / "sdist", cwd=source)
    (sdist,) = (folder / "sdist").glob("*.tar.gz")
    return Built(
        source, sdist, wheel_of(source, folder / "wheel"), wheel_of(sdist, folder / "again")
    )


@pytest.fixture(scope="module")
def theirs() -> Path:
    found = list(NEIGHBOURS.glob("regions-*.whl"))
    assert len(found) == 1, "no wheel to install beside ours: run scripts/setup"
    return found[0]


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """The Python of a new environment that has what vfioccw depends on, but not vfioccw."""
    dependencies = tmp_path / "dependencies"
    dependencies.mkdir()
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if "vfioccw" not in entry.name:
            (dependencies / entry.name).symlink_to(entry)
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    (site_packages(python) / "dependencies.pth").write_text(f"{dependencies}\n")
    return python


def site_packages(python: Path) -> Path:
    (found,) = python.parents[1].glob("lib/python*/site-packages")
    return found


def test_the_wheel_has_one_package(built: Built) -> None:
    top = {name.split("/")[0] for name in names_in(built.wheel)}
    assert {name for name in top if not name.endswith(".dist-info")} == {"vfioccw_fuse"}


@pytest.mark.parametrize("pattern", ["regions/*.py", "regions/README.md", "regions/py.typed"])
def test_the_wheel_has_regions_below_the_package(built: Built, pattern: str) -> None:
    wanted = {
        f"vfioccw_fuse/{path.relative_to(built.source)}" for path in built.source.glob(pattern)
    }
    assert wanted
    assert wanted <= names_in(built.wheel)


@pytest.mark.parametrize(
    "pattern",
    [
        *("**/*.py", "**/*.md", "docs/*.service", "py.typed", "qemu/preload/*.[ch]"),
        *("guest/*.sh", "guest/*.fragment"),
        *("conform/*.c", "conform/*.sh", "conform/*.mk", "conform/*.toml", "conform/*.txt"),
        *("client/*.c", "client/*.h"),
    ],
)
def test_the_wheel_has_every_file_of_the_package(built: Built, pattern: str) -> None:
    package = built.source / "vfioccw_fuse"
    wanted = {str(path.relative_to(built.source)) for path in package.glob(pattern)}
    assert wanted
    assert wanted <= names_in(built.wheel)


def test_a_wheel_for_every_machine_has_nothing_compiled(built: Built) -> None:
    assert built.wheel.name.endswith("-py3-none-any.whl")
    assert COMPILED not in names_in(built.wheel)


@pytest.fixture
def compiled_wheel(built: Built, tmp_path: Path) -> Path:
    """A wheel of a checkout in which scripts/setup has compiled the modules."""
    source = tmp_path / "source"
    shutil.copytree(built.source, source, symlinks=True, ignore=shutil.ignore_patterns("build"))
    place = compiled.place()
    shutil.copytree(place, source / "vfioccw_fuse" / "compiled" / place.name)
    return wheel_of(source, tmp_path / "wheel", pure=False)


def test_a_wheel_with_compiled_modules_is_for_this_machine_and_runs_them(
    compiled_wheel: Path, python: Path, tmp_path: Path
) -> None:
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    machine = sysconfig.get_platform().replace("-", "_")
    assert compiled_wheel.name.endswith(f"-{tag}-{tag}-{machine}.whl")
    pip("install", "--no-index", "--no-deps", compiled_wheel, cwd=tmp_path, python=python)
    version = run(python.parent / "vfioccw", "--version", cwd=tmp_path, pure=False)
    assert version.endswith(" (compiled)\n")
    pip("uninstall", "--yes", "vfioccw", cwd=tmp_path, python=python)
    assert not list(site_packages(python).glob("vfioccw*"))


def test_a_wheel_with_compiled_modules_has_all_that_the_other_has(
    built: Built, compiled_wheel: Path
) -> None:
    package = {name for name in names_in(built.wheel) if name.startswith("vfioccw_fuse/")}
    more = names_in(compiled_wheel) - names_in(built.wheel)
    assert package < names_in(compiled_wheel)
    assert {name for name in more if name.startswith("vfioccw_fuse/")} == {
        f"vfioccw_fuse/compiled/{compiled.place().name}/{path.relative_to(compiled.place())}"
        for path in compiled.place().rglob("*") if path.is_file()
    }  # fmt: skip


def test_a_wheel_built_from_the_sdist_is_the_same(built: Built) -> None:
    assert names_in(built.wheel_of_sdist) == names_in(built.wheel)


def test_a_wheel_built_without_git_is_the_same(built: Built, tmp_path: Path) -> None:
    made = shutil.ignore_patterns(".git", "build", "*.egg-info")
    shutil.copytree(built.source, tmp_path / "source", symlinks=True, ignore=made)
    assert names_in(wheel_of(tmp_path / "source", tmp_path / "wheel")) == names_in(built.wheel)


@pytest.mark.parametrize(
    "needed",
    [
        *("tests/vectors/README.md", "tests/vectors/basic.json.gz", "scripts/thread-table"),
        *("scripts/demo", "scripts/evidence/rows.py", ".github/CHANGELOG.md", "requirements.txt"),
    ],
)
def test_the_sdist_has_what_the_pages_name(built: Built, needed: str) -> None:
    with tarfile.open(built.sdist) as archive:
        assert [name for name in archive.getnames() if name.partition("/")[2] == needed]


def test_what_a_package_index_shows_is_the_readme_without_links_to_files(built: Built) -> None:
    [name] = [name for name in names_in(built.wheel) if name.endswith("/METADATA")]
    with zipfile.ZipFile(built.wheel) as archive:
        shown = email.message_from_bytes(archive.read(name)).get_payload()
    assert isinstance(shown, str)
    assert shown == elsewhere((PROJECT / "README.md").read_text(), None)
    assert "| faults | what can go wrong" in shown
    links = re.findall(r"\]\(([^)]*)\)", shown)
    assert len(links) >= 4
    assert all(link.startswith("https://") for link in links)


def test_with_an_address_of_the_repository_the_links_are_below_it() -> None:
    text = "[a](b/c.md), [d](https://example.com/)"
    there = "https://example.com/n/blob/main"
    assert elsewhere(text, f"{there}/") == f"[a]({there}/b/c.md), [d](https://example.com/)"


def test_the_sdist_has_no_link(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        assert not [member.name for member in archive if member.issym() or member.islnk()]


def assert_theirs_is_untouched(python: Path, theirs: Path) -> None:
    found = Path(run(python, "-c", FIND, cwd=python.parents[2]).strip())
    assert found == site_packages(python) / "regions" / "__init__.py"
    with zipfile.ZipFile(theirs) as archive:
        for name in archive.namelist():
            if name.startswith("regions/") and not name.endswith("/"):
                installed = (site_packages(python) / name).read_bytes()
                packed = archive.read(name)
                assert hashlib.sha256(installed).digest() == hashlib.sha256(packed).digest(), name


@pytest.mark.parametrize("first", ["ours", "theirs"])
@pytest.mark.parametrize("kind", ["wheel", "wheel of sdist", "editable"])
def test_it_lives_beside_another_package_named_regions(
    built: Built, theirs: Path, python: Path, tmp_path: Path, kind: str, first: str
) -> None:
    kinds: dict[str, list[str | Path]] = {
        "wheel": [built.wheel],
        "wheel of sdist": [built.wheel_of_sdist],
        "editable": ["--editable", built.source],
    }
    kinds["theirs"] = [theirs]
    for name in [kind, "theirs"] if first == "ours" else ["theirs", kind]:
        pip("install", "--no-index", "--no-deps", "--no-build-isolation", *kinds[name],
            cwd=tmp_path, python=python)  # fmt: skip

    where = "import vfioccw_fuse.regions.codec as codec; print(codec.__file__)"
    package = built.source if kind == "editable" else site_packages(python)
    found = Path(run(python, "-c", where, cwd=tmp_path).strip())
    assert found == package / "vfioccw_fuse" / "regions" / "codec.py"
    assert_theirs_is_untouched(python, theirs)

    command = python.parent / "vfioccw"
    assert __version__ in run(command, "--version", cwd=tmp_path)
    assert "count 13" in run(command, "decode", "scsw", "00c04007000100100c00000d", cwd=tmp_path)

    pip("uninstall", "--yes", "vfioccw", cwd=tmp_path, python=python)
    assert not command.exists()
    assert_theirs_is_untouched(python, theirs)


def test_the_pytest_plugin_of_the_wheel_runs_what_the_page_shows(
    built: Built, python: Path, tmp_path: Path
) -> None:
    pip("install", "--no-index", "--no-deps", built.wheel, cwd=tmp_path, python=python)
    page = (PROJECT / "vfioccw_fuse" / "docs" / "pytest.md").read_text()
    listing = files(page)["test_disks.py"]
    assert len(listing.splitlines()) <= 23
    (tmp_path / "test_mine.py").write_text(listing)
    for words in ([], ["-p", "no:trio"]):
        said = run(
            python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words, "test_mine.py",
            cwd=tmp_path,
        )  # fmt: skip
        assert "3 passed" in said
