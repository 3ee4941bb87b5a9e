"""How the scripts end: help, wrong use, Ctrl-C and a reader that goes are no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.ends import ended
from lab.mounts import PROJECT
from lab.waits import SOON
from vfioccw_fuse.errors import UserError

MODULES = {
    "bench": "benchmarks",
    "guest-faults": "faults",
    "interfaces": "evidence.interfaces",
    "man": "manuals",
    "soak": "attack",
    "thread-table": "evidence.table",
}
"""The scripts that are a set-up and then a module, which runs here without it."""


def module(name: str, *words: str, stdout: int = subprocess.PIPE) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", MODULES[name], *words],
        env={**os.environ, "PYTHONPATH": f"{PROJECT}:{PROJECT / 'scripts'}"},
        stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def script(name: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROJECT / "scripts" / name, *words],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SOON, check=False,
    )  # fmt: skip


def test_every_script_is_known_here() -> None:
    names = {path.name for path in (PROJECT / "scripts").iterdir() if path.is_file()}
    assert names == {*MODULES, "demo", "lock", "qemu-guest", "setup", "test"}


@pytest.mark.parametrize("name", MODULES)
def test_help_is_help_also_for_a_reader_that_goes(name: str) -> None:
    with module(name, "--help") as asked:
        said, wrong = asked.communicate(timeout=SOON)
    assert (asked.returncode, wrong) == (0, "")
    assert f"scripts/{name}" in said
    theirs, ours = os.pipe()
    os.close(theirs)
    with module(name, "--help", stdout=ours) as asked:
        os.close(ours)
        assert asked.communicate(timeout=SOON)[1] == ""


@pytest.mark.parametrize("name", MODULES)
def test_an_unknown_option_is_wrong_use(name: str) -> None:
    with module(name, "--frobnicate") as asked:
        said, wrong = asked.communicate(timeout=SOON)
    assert (asked.returncode, said) == (2, "")
    assert "--frobnicate" in wrong
    assert "Traceback" not in wrong


def test_what_is_no_subchannel_is_wrong_use(tmp_path: Path) -> None:
    with module("interfaces", str(tmp_path)) as asked:
        wrong = asked.communicate(timeout=SOON)[1]
    assert asked.returncode == 2
    assert f"{tmp_path}: no subchannel" in wrong


@pytest.mark.parametrize("name", ["demo", "lock", "setup", "test"])
def test_the_shell_scripts_have_help(name: str) -> None:
    done = script(name, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout) > 100


@pytest.mark.parametrize("name", ["demo", "setup"])
def test_an_unknown_option_of_a_shell_script_is_one_line(name: str) -> None:
    done = script(name, "--frobnicate")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"scripts/{name}: --frobnicate: no such option")


def raising(error: BaseException) -> Callable[[], int]:
    def main() -> int:
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (KeyboardInterrupt(), 130, ""),
        (UserError("a\nb"), 1, "scripts/x: a b\n"),
        (AssertionError("it never came"), 1, "scripts/x: it never came\n"),
        (FileNotFoundError(2, "No such file", "disk"), 1, "scripts/x: disk: No such file\n"),
    ],
)
def test_what_ends_a_script_is_one_line(
    capsys: pytest.CaptureFixture[str], error: BaseException, status: int, line: str
) -> None:
    assert ended("scripts/x", raising(error)) == status
    assert capsys.readouterr().err == line


def test_a_shell_of_a_guest_without_a_terminal_does_not_hang() -> None:
    """That is what scripts/qemu-guest runs."""
    done = subprocess.run(
        [sys.executable, "-m", "vfioccw_fuse", "guest", "shell"], cwd=PROJECT,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SOON, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "no terminal" in done.stderr


def test_the_man_pages_say_what_the_help_says(tmp_path: Path) -> None:
    with module("man", str(tmp_path / "man1")) as asked:
        said, wrong = asked.communicate(timeout=SOON)
    assert (asked.returncode, wrong) == (0, "")
    pages = sorted(path.name for path in (tmp_path / "man1").iterdir())
    assert f"{len(pages)} man pages" in said
    assert {"vfioccw.1", "vfioccw-ssch.1", "vfioccw-image-create-fba.1"} <= set(pages)
    page = (tmp_path / "man1" / "vfioccw-ssch.1").read_text()
    assert r"\fB\-\-ccw\fP COMMAND[,FLAG]...[,COUNT][,DATA]" in page
    assert "\n.nf\nExamples:\n  vfioccw ssch /tmp/m/0.0.0313 \\-\\-ccw nop\n" in page
    assert "\\e\n" in page, "a line that goes on ends as it is typed"
    assert "\b" not in page
