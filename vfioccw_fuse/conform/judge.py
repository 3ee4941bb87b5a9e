"""Both ends asked the same, and what comes of it: by the cases, or by chance.

What Linux answers is recorded, read from a file that somebody with a mainframe sends, or asked of a
driver in a guest; ours is what a subchannel of a mount answers.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Final, NamedTuple

from . import HERE, ConformError
from .answers import Answers, Told, heard, read_answers, write_answers
from .changes import Recording, written
from .compare import Verdict, as_data, compare, read_kinds, table, version
from .ends import ask_driver, ask_subchannel, driver_end
from .kernel import MODULES_SERIES, Driver
from .mounts import Subchannel, volume
from .script import Case, read_cases, script_of

CHANGES: Final = HERE / "LINUX.md"
"""Where the table of what changed in Linux is."""
LISTS: Final = (HERE / "differences.toml", HERE / "changes.toml")
"""Where a mount differs from Linux, and older Linuxes from later ones."""
Ask = Callable[[Sequence[Case]], Told]
"""One end: it is asked cases. What it was asked may be more than it answers."""


def all_cases() -> list[Case]:
    """The cases of the package."""
    return read_cases(HERE / "cases.toml")


def recorded(series: str) -> Path:
    """The file with the recorded answers of a Linux."""
    return HERE / f"answers-{series}.txt"


def series_of(release: str) -> str:
    """The Linux that a *release* such as 6.1.0-50-s390x is of: 6.1."""
    return ".".join(release.split(".")[:2])


SERIES: Final = tuple(
    sorted(
        (path.stem.removeprefix("answers-") for path in HERE.glob("answers-*.txt")),
        key=version, reverse=True,
    )
)  # fmt: skip
"""The Linuxes whose answers are recorded, the newest first."""


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


@contextmanager
def guest_kept(driver: Driver, *, iommufd: bool = False) -> Iterator[Ask]:
    """A *driver* that runs in a guest, which is booted once."""
    with driver_end(driver, iommufd=iommufd) as ask:
        yield lambda cases: ask(script_of(cases))


def by_mount(subchannel: Subchannel | None, interface: str = "async") -> Ask:
    """A *subchannel*, or one of a mount with this *interface* that is made each time."""

    def ask(cases: Sequence[Case]) -> Told:
        with mount_kept(subchannel, interface) as ask_once:
            return ask_once(cases)

    return ask


@contextmanager
def mount_kept(subchannel: Subchannel | None, interface: str = "async") -> Iterator[Ask]:
    """A *subchannel*, or one of a mount with this *interface* that is made for that."""
    with tempfile.TemporaryDirectory(prefix="conform-") as name:
        directory = Path(name)
        made = nullcontext(subchannel) if subchannel else volume(directory, interface)
        with made as asked:
            yield lambda cases: Told("", ask_subchannel(script_of(cases), asked, directory))


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
    series = series_of(theirs.release)
    kinds = [kind for path in LISTS for kind in read_kinds(path, series)]
    return Judgement(theirs.release, theirs.answers, mine, compare(theirs.answers, mine, kinds))


class ByChance(NamedTuple):
    """What came of requests by chance."""

    release: str
    """Which Linux it is."""
    seed: int
    asked: int
    """How many requests there were, up to a difference."""
    case: Case | None
    """The shortest case found in which something is not explained."""
    problem: str
    """What that is, in words."""

    @property
    def differs(self) -> bool:
        """Whether something is not explained."""
        return self.case is not None

    def data(self) -> dict[str, Any]:
        """It for programs."""
        return {
            "linux": self.release, "differs": self.differs, "seed": self.seed,
            "requests": self.asked, "case": self.case and self.case._asdict(),
            "problem": self.problem,
        }  # fmt: skip

    def lines(self) -> Iterator[str]:
        """It for people."""
        yield f"Linux {self.release}"
        yield f"{self.asked} requests by chance, seed {self.seed}"
        if self.case is None:
            yield "nothing is not explained"
        else:
            yield f"{self.problem}\n\n{self.case.text()}"


def judge_by_chance(seed: int, requests: int, linux: Ask, ours: Ask) -> ByChance:
    """Ask both ends *requests* by chance, until something is not explained."""
    try:
        from .chance import FIRST, by_chance
    except ImportError:
        raise ConformError(
            "requests by chance are made by Hypothesis: pip install 'vfioccw[conform]'"
        ) from None

    def problem(case: Case) -> str:
        verdicts = judge([FIRST, case], linux, ours).verdicts
        return next((verdict.problem for verdict in verdicts if verdict.problem), "")

    release = linux([FIRST]).release
    older = series_of(release) == MODULES_SERIES
    return ByChance(release, seed, *by_chance(seed, requests, problem, older=older))


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
    recordings = [Recording.read(series, recorded(series)) for series in reversed(SERIES)]
    return written(all_cases(), recordings, [kind for path in LISTS for kind in read_kinds(path)])
