"""The driver that Linux has, and a mount that shows a subchannel as it does: the same answers.

What it answered formerly is recorded beside this and judges the mount in any case; with `--slow` a
guest asks the driver itself, if what it is made of can be had.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lab.mounts import IMPORTS, PROJECT
from vfioccw_fuse.conform import HERE
from vfioccw_fuse.conform.__main__ import CHANGES, NOT_HERE, changes, recorded
from vfioccw_fuse.conform.answers import Answers, read_answers
from vfioccw_fuse.conform.compare import Kind, compare, read_kinds
from vfioccw_fuse.conform.ends import ask_driver, ask_mount
from vfioccw_fuse.conform.kernel import KERNEL_SERIES, MODULES_SERIES, debian_modules
from vfioccw_fuse.conform.script import read_cases, script_of
from vfioccw_fuse.guest.parts import Parts

CASES = read_cases(HERE / "cases.toml")
LIST = HERE / "differences.toml"
SERIES = (MODULES_SERIES, KERNEL_SERIES)
BUILD_SECONDS = 120
"""How long to try for what the driver is made of."""
FROM_THE_START = {
    "a return code that the client wrote or left there", "accesses of no byte",
    "modified indirect addressing", "the address of a driver's copy", "who is faster",
    "the halt of what has ended",
}  # fmt: skip
"""The kinds that were on the list before anybody compared."""


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """What a mount answers."""
    return ask_mount(script_of(CASES), tmp_path_factory.mktemp("mount"))


def problems(linux: Answers, ours: Answers, kinds: list[Kind]) -> list[str]:
    return [f"{one.case}: {one.problem}" for one in compare(linux, ours, kinds) if one.problem]


def built() -> bool:
    """Whether the guest's modules are there or can be made here in time; fails if they break."""
    process = subprocess.Popen(
        [sys.executable, "-m", "vfioccw_fuse.conform", "--build"],
        env={**os.environ, "PYTHONPATH": IMPORTS}, start_new_session=True, text=True,
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        _, said = process.communicate(timeout=BUILD_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGTERM)
        process.communicate()
        return False
    assert process.returncode in (0, NOT_HERE), said
    return process.returncode == 0


@pytest.mark.parametrize("series", SERIES)
def test_a_mount_answers_as_the_driver_did_when_it_was_asked(ours: Answers, series: str) -> None:
    assert problems(read_answers(recorded(series)), ours, read_kinds(LIST, series)) == []


@pytest.mark.slow
def test_a_mount_answers_as_the_driver_does(
    ours: Answers, capsys: pytest.CaptureFixture[str]
) -> None:
    kinds = read_kinds(LIST, MODULES_SERIES)
    linux = read_answers(recorded(MODULES_SERIES))
    by = f"what Linux {MODULES_SERIES} answered formerly: its parts cannot be had here"
    if built():
        release, linux = ask_driver(script_of(CASES), debian_modules(Parts()))
        by = f"vfio_ccw of Linux {release} in a guest"
    with capsys.disabled():
        print(f"\n{len(linux)} cases judged by {by}")
    assert list(linux) == [case.name for case in CASES]
    assert problems(linux, ours, kinds) == []
    assert changed(linux, read_answers(recorded(MODULES_SERIES)), kinds) == []


def changed(now: Answers, formerly: Answers, kinds: list[Kind]) -> list[str]:
    """The cases that the driver answers in another way than it did; who is faster may change."""
    either = {case for kind in kinds for case in kind.either}
    return [case for case in now if case not in either and now[case] != formerly[case]]


@pytest.mark.parametrize("series", SERIES)
def test_what_is_recorded_are_the_cases(series: str) -> None:
    assert list(read_answers(recorded(series))) == [case.name for case in CASES]


def test_the_list_is_of_cases_and_has_reasons() -> None:
    kinds = read_kinds(LIST)
    assert {case for kind in kinds for case in kind.covered()} <= {case.name for case in CASES}
    assert all(len(kind.reason.split()) > 5 and kind.covered() for kind in kinds)


def test_the_list_is_short() -> None:
    names = [kind.name for kind in read_kinds(LIST)]
    assert len(names) == len(set(names))
    assert set(names) >= FROM_THE_START
    assert len(set(names) - FROM_THE_START) <= 10


def test_there_are_many_cases_and_each_says_why() -> None:
    assert len(CASES) >= 600
    assert all(case.why.endswith(".") for case in CASES)


def test_the_readme_says_how_many() -> None:
    assert f"{len(CASES)} cases" in (PROJECT / "README.md").read_text()


def test_no_case_is_another_one_again() -> None:
    asked = [case.do for case in CASES]
    assert len(asked) == len(set(asked))


def test_the_table_of_what_changed_is_that_of_the_recorded_answers() -> None:
    assert CHANGES.read_text() == changes(), "scripts/judge-driver --changes writes it"


@pytest.mark.parametrize("name", ["answers-6.1.txt", "answers-6.12.txt"])
def test_a_recording_says_whose_answers_it_has(name: str) -> None:
    first = Path(HERE / name).read_text().splitlines()[0]
    assert first.startswith(f"# What vfio_ccw of Linux {name.split('-')[1].removesuffix('.txt')}.")
