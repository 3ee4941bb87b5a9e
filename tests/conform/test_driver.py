"""The driver that Linux has, and a mount that shows a subchannel as it does: the same answers.

What it answered formerly is recorded in the package and judges the mount in any case. A guest asks
the driver itself some cases, with `--slow` all of them and others by chance.
"""

from __future__ import annotations

import pytest

from lab.mounts import PROJECT
from vfioccw_fuse.conform import HERE, judge
from vfioccw_fuse.conform.answers import Answers, Told, read_answers
from vfioccw_fuse.conform.changes import Recording
from vfioccw_fuse.conform.compare import Kind, read_kinds
from vfioccw_fuse.conform.ends import ask_mount
from vfioccw_fuse.conform.judge import SERIES, recorded, series_of
from vfioccw_fuse.conform.kernel import KERNEL_SERIES, MODULES_SERIES, driver_of
from vfioccw_fuse.conform.script import script_of

CASES = judge.all_cases()
LIST = HERE / "differences.toml"
FEW = 17
"""Of so many cases one is asked each time: some dozens, of all kinds, in a few seconds."""
FROM_THE_START = {
    "a return code that the client wrote or left there", "accesses of no byte",
    "modified indirect addressing", "the address of a driver's copy", "who is faster",
    "the halt of what has ended",
}  # fmt: skip
"""The kinds that were on the list before anybody compared."""


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> judge.Ask:
    """What a mount answers; it is asked once."""
    answers = ask_mount(script_of(CASES), tmp_path_factory.mktemp("mount"))
    return lambda cases: Told("", {case.name: answers[case.name] for case in cases})


def problems(judgement: judge.Judgement) -> list[str]:
    return [f"{one.case}: {one.problem}" for one in judgement.verdicts if one.problem]


@pytest.mark.parametrize("series", SERIES)
def test_a_mount_answers_as_the_driver_did_when_it_was_asked(ours: judge.Ask, series: str) -> None:
    assert problems(judge.judge(CASES, judge.by_record(series), ours)) == []


def test_a_mount_answers_some_cases_as_the_driver_does(ours: judge.Ask) -> None:
    some = CASES[::FEW]
    found = judge.judge(some, judge.by_guest(driver_of(MODULES_SERIES)), ours)
    assert series_of(found.release) == MODULES_SERIES
    assert list(found.linux) == [case.name for case in some]
    assert problems(found) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("series", "iommufd"), [(MODULES_SERIES, False), (KERNEL_SERIES, False), (KERNEL_SERIES, True)]
)
def test_a_mount_answers_all_cases_as_the_driver_does(
    ours: judge.Ask, series: str, iommufd: bool
) -> None:
    found = judge.judge(CASES, judge.by_guest(driver_of(series), iommufd=iommufd), ours)
    assert list(found.linux) == [case.name for case in CASES]
    assert problems(found) == []
    kinds = read_kinds(LIST, series)
    assert changed(found.linux, read_answers(recorded(series)), kinds) == []


@pytest.mark.slow
@pytest.mark.random
@pytest.mark.parametrize("series", [MODULES_SERIES, KERNEL_SERIES])
def test_a_mount_answers_requests_by_chance_as_the_driver_does(seed: int, series: str) -> None:
    driver = driver_of(series)
    with judge.guest_kept(driver) as linux, judge.mount_kept(None) as ours:
        found = judge.judge_by_chance(seed, 4000, linux, ours)
    assert not found.differs, "\n".join(found.lines())
    assert found.asked >= 4000


def changed(now: Answers, formerly: Answers, kinds: list[Kind]) -> list[str]:
    """The cases that the driver answers in another way than it did; who is faster may change."""
    either = {case for kind in kinds for case in kind.either}
    return [case for case in now if case not in either and now[case] != formerly[case]]


@pytest.mark.parametrize("series", SERIES)
def test_what_is_recorded_are_the_cases(series: str) -> None:
    assert list(read_answers(recorded(series))) == [case.name for case in CASES]


@pytest.mark.parametrize(
    ("release", "series"),
    [("6.1", "6.1"), ("6.1.0-50-s390x", "6.1"), ("6.12.95", "6.12"), ("6.18.2", "6.18")],
)
def test_a_driver_is_judged_as_the_linux_that_its_release_says(release: str, series: str) -> None:
    assert series_of(release) == series


def test_the_list_is_of_cases_and_has_reasons() -> None:
    kinds = [kind for path in judge.LISTS for kind in read_kinds(path)]
    assert {case for kind in kinds for case in kind.covered()} <= {case.name for case in CASES}
    assert all(len(kind.reason.split()) > 5 and kind.covered() for kind in kinds)
    assert not {case for kind in read_kinds(LIST) for case in kind.covered()} & {
        case for kind in read_kinds(judge.LISTS[1]) for case in kind.covered()
    }
    assert all(bool(kind.before) == (path != LIST) for path in judge.LISTS
               for kind in read_kinds(path))  # fmt: skip


def test_the_list_is_short() -> None:
    names = [kind.name for kind in read_kinds(LIST)]
    assert len(names) == len(set(names))
    assert set(names) >= FROM_THE_START
    assert len(set(names) - FROM_THE_START) <= 10


def test_there_are_many_cases_and_each_says_why() -> None:
    assert len(CASES) >= 600
    assert all(case.why.endswith(".") for case in CASES)


def test_the_page_says_how_many() -> None:
    assert f"{len(CASES)} cases" in (PROJECT / "vfioccw_fuse" / "docs" / "kernel.md").read_text()


def test_no_case_is_another_one_again() -> None:
    asked = [case.do for case in CASES]
    assert len(asked) == len(set(asked))


def test_the_table_of_what_changed_is_that_of_the_recorded_answers() -> None:
    assert judge.CHANGES.read_text() == judge.changes(), "vfioccw conform --record writes it"


@pytest.mark.parametrize("series", SERIES)
def test_a_recording_says_whose_answers_it_has(series: str) -> None:
    assert series_of(Recording.read(series, recorded(series)).release) == series
