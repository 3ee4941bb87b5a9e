"""Which modules run compiled, and that whatever keeps them from it is said and does no harm."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from vfioccw_fuse import compiled

LOOK = """
from vfioccw_fuse import compiled
from vfioccw_fuse.css import channel
print(channel.__file__, compiled.pure(), sep="\\n")
"""
NAME = compiled.place().name
"""The directory for this Python, which scripts/setup has filled."""
FOREIGN = "cpython-399-s390x-linux-gnu"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with what is compiled of it."""
    folder = tmp_path_factory.mktemp("package")
    shutil.copytree(
        compiled.PACKAGE, folder / compiled.PACKAGE.name,
        ignore=shutil.ignore_patterns("__pycache__", ".making-*", ".old-*"),
    )  # fmt: skip
    return folder


@pytest.fixture
def package(whole: Path, tmp_path: Path) -> Path:
    """A copy that the test may change, named by its parent directory."""
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True, copy_function=os.link)
    return tmp_path


def python(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if k != compiled.SWITCH}
    return subprocess.run(
        [sys.executable, "-B", *words], cwd=folder, env=kept | environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def looked(folder: Path, **environment: str) -> tuple[str, str]:
    """Which file the channel came from, below *folder*, and why not from a compiled one."""
    done = python(folder, "-c", LOOK, **environment)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    file, reason = done.stdout.splitlines()
    return str(Path(file).relative_to(folder / compiled.PACKAGE.name)), reason


def rewrite(path: Path, text: str) -> None:
    """Write a new file of that name: the old one has other names."""
    path.unlink()
    path.write_text(text)


def test_what_the_setup_compiled_is_used(package: Path) -> None:
    file, reason = looked(package)
    assert reason == "None"
    assert file.startswith(f"compiled/{NAME}/css/channel.")


@pytest.mark.parametrize("value", ["1", "yes"])
def test_the_switch_has_all_run_from_source(package: Path, value: str) -> None:
    assert looked(package, VFIOCCW_PURE=value) == ("css/channel.py", "VFIOCCW_PURE is set")


@pytest.mark.parametrize("value", ["", "0"])
def test_the_switch_can_be_off(package: Path, value: str) -> None:
    assert looked(package, VFIOCCW_PURE=value)[1] == "None"


def change(name: str) -> Callable[[Path], None]:
    def do(folder: Path) -> None:
        path = folder / compiled.PACKAGE.name / name
        rewrite(path, path.read_text() + "# changed\n")

    return do


def of_another_python(folder: Path) -> None:
    place = folder / compiled.PACKAGE.name / "compiled" / NAME
    place.rename(place.with_name(FOREIGN))


def never(folder: Path) -> None:
    shutil.rmtree(folder / compiled.PACKAGE.name / "compiled" / NAME)


def extension(folder: Path, name: str) -> Path:
    (found,) = (folder / compiled.PACKAGE.name / "compiled" / NAME).glob(f"{name}.*")
    return found


def cut(folder: Path) -> None:
    path = extension(folder, compiled.LIBRARY)
    whole = path.read_bytes()
    path.unlink()
    path.write_bytes(whole[: len(whole) // 2])


def of_another_machine(folder: Path) -> None:
    path = extension(folder, compiled.LIBRARY)
    whole = bytearray(path.read_bytes())
    whole[18] ^= 0xFF  # e_machine (elf(5))
    path.unlink()
    path.write_bytes(whole)


def without(name: str) -> Callable[[Path], None]:
    return lambda folder: extension(folder, name).unlink()


def senseless(folder: Path) -> None:
    rewrite(extension(folder, compiled.LIBRARY).parent / compiled.MANIFEST, "\0\n")


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        pytest.param(change("css/channel.py"), "css/channel.py is not what", id="its source"),
        pytest.param(change("regions/constants.py"), "regions/constants.py is", id="constants"),
        pytest.param(of_another_python, f"{FOREIGN} and not for {NAME}", id="python"),
        pytest.param(never, "not compiled", id="never"),
        pytest.param(cut, "is damaged", id="cut"),
        pytest.param(without("vfio/driver"), "cannot be used: ", id="a missing one"),
        pytest.param(of_another_machine, "cannot be used: ", id="machine"),
        pytest.param(senseless, "is not what was compiled", id="manifest"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_not_used_and_the_reason_is_said(
    package: Path, harm: Callable[[Path], None], reason: str
) -> None:
    harm(package)
    file, said = looked(package)
    assert file == "css/channel.py"
    assert reason in said
    assert said == "not compiled" or said.endswith(compiled.REMEDY)


@pytest.mark.parametrize(
    ("harm", "warned"), [(change("css/channel.py"), True), (never, False), (cut, True)]
)
def test_a_mount_warns_once_of_modules_that_it_cannot_use(
    package: Path, harm: Callable[[Path], None], warned: bool
) -> None:
    harm(package)
    done = python(package, "-m", "vfioccw_fuse", "mount", str(package / "none"))
    assert done.stderr.count("runs from source, which is slower: ") == warned, done.stderr
    assert done.stderr.endswith("none: no such directory; make it first (mkdir)\n")


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"CC": "false"}, ": false returned non-zero exit status 1"),
        ({"CC": "no-such-compiler"}, "no-such-compiler"),
    ],
    ids=["refuses", "is not there"],
)
def test_without_a_compiler_that_works_all_runs_from_source_as_before(
    package: Path, environment: dict[str, str], reason: str
) -> None:
    change("css/ccw.py")(package)
    done = python(package, "-m", "vfioccw_fuse.compiled.build", **environment)
    assert done.returncode == 1
    first, last = done.stderr.splitlines()
    assert first == "vfioccw: compiling the hot modules"
    assert last.startswith("vfioccw: not compiled: ")
    assert reason in last
    assert last.endswith("; all runs from source")
    assert looked(package)[0] == "css/channel.py"
    assert not list((package / compiled.PACKAGE.name / "compiled").glob(".*"))


@pytest.mark.parametrize("environment", [{}, {compiled.SWITCH: "1"}], ids=["up to date", "off"])
def test_nothing_is_compiled_where_nothing_is_to_do(
    package: Path, environment: dict[str, str]
) -> None:
    done = python(package, "-m", "vfioccw_fuse.compiled.build", **environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
