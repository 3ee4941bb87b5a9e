"""Both ends asked the same, and what comes of it: by the cases, or by chance.

What Linux answers is recorded, read from a file that somebody with a mainframe sends, or asked of a
driver in a guest; ours is what a subchannel of a mount answers.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from . import HERE, ConformError
from .answers import Answers, Told, heard, read_answers, write_answers
from .chance import FIRST, Chance, asked, shrink
from .changes import written
from .compare import Verdict, as_data, compare, read_kinds, table
from .ends import ask_driver, ask_mount, ask_subchannel
from .kernel import KERNEL_SERIES, MODULES_SERIES, Driver
from .mounts import Subchannel
from .script import Case, read_cases, script_of

SERIES: Final = (KERNEL_SERIES, MODULES_SERIES)
"""The Linuxes whose answers are recorded, the newest first."""
CHANGES: Final = HERE / "LINUX.md"
"""Where the table of what changed in Linux is."""
MOST_SHRUNK: Final = 3
"""Differences by chance that are made short; each takes some boots of the guest."""
BATCH: Final = 4000
"""Requests by chance that are asked in one boot of the guest."""
Ask = Callable[[Sequence[Case]], Told]
"""One end: it is asked cases. What it was asked may be more than it answers."""


def all_cases() -> list[Case]:
    """The cases of the package."""
    return read_cases(HERE / "cases.toml")


def recorded(series: str) -> Path:
    """The file with the recorded answers of a Linux of `SERIES`."""
    return HERE / f"answers-{series}.txt"


def series_of(release: str) -> str:
    """The Linux of `SERIES` as which a *release* is judged: itself, else the newest."""
    return next((one for one in SERIES if f"{release}.".startswith(f"{one}.")), SERIES[0])


# --- ends -----------------------------------------------------------------------------------------


def by_record(series: str) -> Ask:
    """Linux *series* as it answered formerly."""
    answers = read_answers(recorded(series))
    return lambda cases: Told(series, _only(answers, cases))


def by_file(path: Path) -> Ask:
    """A driver that somebody else asked; ConformError if that is not what the client prints."""
    try:
        told = heard(path.read_text(errors="replace").splitlines())
    except ConformError as error:
        raise ConformError(f"{path}: {error.message}") from None
    return lambda cases: Told(told.release, _only(told.answers, cases))


def by_guest(driver: Driver, *, iommufd: bool = False) -> Ask:
    """A *driver* that runs in a guest."""
    return lambda cases: ask_driver(script_of(cases), driver, iommufd=iommufd)


def by_mount(subchannel: Subchannel | None, interface: str = "async") -> Ask:
    """A *subchannel*, or one of a mount with this *interface* that is made for that."""

    def ask(cases: Sequence[Case]) -> Told:
        script = script_of(cases)
        with tempfile.TemporaryDirectory(prefix="conform-") as name:
            if subchannel is None:
                return Told("", ask_mount(script, Path(name), interface))
            return Told("", ask_subchannel(script, subchannel, Path(name)))

    return ask


def _only(answers: Answers, cases: Sequence[Case]) -> Answers:
    return {case.name: answers[case.name] for case in cases if case.name in answers}


# --- judgements -----------------------------------------------------------------------------------


class Judgement(NamedTuple):
    """What both ends answered, and what is to be said of it."""

    release: str
    """Which Linux it is."""
    linux: Answers
    ours: Answers
    verdicts: Sequence[Verdict]

    @property
    def differs(self) -> bool:
        """Whether something is not explained."""
        return any(verdict.problem for verdict in self.verdicts)

    def data(self) -> dict[str, Any]:
        """It for programs."""
        cases = [as_data(verdict, self.linux, self.ours) for verdict in self.verdicts]
        return {"linux": self.release, "differs": self.differs, "cases": cases}

    def lines(self, *, listed: bool = False) -> Iterator[str]:
        """It for people: what is not explained, with *listed* also what is, and a summary."""
        for verdict in self.verdicts:
            if verdict.problem:
                yield f"{verdict.case}: {verdict.problem}"
            elif verdict.kind and listed:
                yield f"{verdict.case}: on the list: {verdict.kind}"
        yield f"Linux {self.release}"
        yield from table(self.verdicts)


def judge(cases: Sequence[Case], linux: Ask, ours: Ask) -> Judgement:
    """Ask both ends *cases*; those that Linux has answered are compared."""
    theirs = linux(cases)
    mine = ours([case for case in cases if case.name in theirs.answers]).answers
    return _judged(theirs, mine)


def _judged(theirs: Told, mine: Answers) -> Judgement:
    kinds = read_kinds(HERE / "differences.toml", series_of(theirs.release))
    return Judgement(theirs.release, theirs.answers, mine, compare(theirs.answers, mine, kinds))


def judge_by_chance(cases: Sequence[Case], linux: Ask, ours: Ask) -> Judgement:
    """Ask both ends *cases* by chance, some thousand requests at a time."""
    release, theirs, mine = "", Answers(), Answers()
    batch: list[Case] = []
    for number, case in enumerate(cases, 1):
        batch.append(case)
        if number == len(cases) or sum(map(asked, batch)) >= BATCH:
            one = judge([FIRST, *batch], linux, ours)
            release = one.release
            theirs |= one.linux
            mine |= one.ours
            batch = []
    return _judged(Told(release, theirs), mine)


def shortest(
    cases: Sequence[Case], judgement: Judgement, linux: Ask, ours: Ask
) -> Iterator[Case]:
    """Some of the *cases* that a *judgement* finds to differ, as short as they can be made."""

    def differ(tried: Sequence[Case]) -> list[bool]:
        if not tried:
            return []
        verdicts = judge([FIRST, *tried], linux, ours).verdicts
        return [verdict.problem != "" for verdict in verdicts][1:]

    wrong = {verdict.case for verdict in judgement.verdicts if verdict.problem}
    for case in [case for case in cases if case.name in wrong][:MOST_SHRUNK]:
        yield shrink(case, differ)


def by_chance(seed: int, requests: int) -> list[Case]:
    """Cases by chance that have at least so many *requests*."""
    return list(Chance(seed).cases(requests))


# --- what is kept ---------------------------------------------------------------------------------


def record(linux: Ask | None) -> Path:
    """Keep what a driver answers to all cases, if one is given; `CHANGES`, written anew."""
    if linux is not None:
        told = linux(all_cases())
        path = recorded(series_of(told.release))
        write_answers(path, told.answers, f"What vfio_ccw of Linux {told.release} answers.")
    CHANGES.write_text(changes())
    return CHANGES


def changes() -> str:
    """The text of `CHANGES`, from the cases and the recorded answers."""
    newer, older = (read_answers(recorded(series)) for series in SERIES)
    kinds = read_kinds(HERE / "differences.toml", MODULES_SERIES)
    return written(all_cases(), older, newer, kinds, (MODULES_SERIES, KERNEL_SERIES))
