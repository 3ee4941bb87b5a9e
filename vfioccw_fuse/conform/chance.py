"""Both ends are asked by chance, by Hypothesis: it makes what is asked, and short what differs.

From one seed come the same requests, as long as this package and Hypothesis are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings

from .requests import sequences
from .script import Case, script_of

FIRST: Final = Case(
    "first", "1000: 04/60/32@2000 03/20/1; run lpm=80",
    "Both ends have used the same path last, and no sense data wait.",
)  # fmt: skip
"""What is asked before each case, so that it does not matter which came before."""
NOT_ASKED: Final = ("store ", "case ")
"""Lines of a script that ask nothing."""
ENDLESS: Final = 1 << 30
"""More examples than are ever wanted."""


class Outcome(NamedTuple):
    """What became of requests by chance."""

    asked: int
    """How many there were, up to a difference."""
    case: Case | None
    """The shortest case found that differs; None: none does."""
    problem: str
    """What differs there first, in words."""


class _Stop(BaseException):
    """Ends a run: an Exception would be what Hypothesis looks for. Its cause is what went wrong."""


class _Differs(Exception):
    """Both ends answer a case in two ways."""


def by_chance(
    number: int, requests: int, problem: Callable[[Case], str], *, older: bool = False
) -> Outcome:
    """Ask *requests* made from the seed *number*, until a difference is not explained.

    *problem* asks both ends a case, and says what differs, if anything; what it raises is raised.
    *older* is what `sequences` takes.
    """
    problems: dict[str, str] = {}
    asked = 0

    def case_of(do: str) -> Case:
        return Case(f"by chance, seed {number}", do, "By chance.")

    @settings(
        max_examples=ENDLESS, database=None, deadline=None, phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck), verbosity=Verbosity.quiet, derandomize=False,
        report_multiple_bugs=False, print_blob=False,
    )  # fmt: skip
    @seed(number)
    @given(sequences(older))
    def ask(do: str) -> None:
        nonlocal asked
        if do not in problems:
            if not any(problems.values()):
                if asked >= requests:
                    raise _Stop
                asked += requests_of(do)
            try:
                problems[do] = problem(case_of(do))
            except (Exception, SystemExit) as error:
                raise _Stop from error
        if problems[do]:
            raise _Differs(do)

    try:
        ask()
    except _Differs as found:
        do = str(found)
        return Outcome(asked, case_of(do), problems[do])
    except _Stop as stop:
        if stop.__cause__ is not None:
            raise stop.__cause__ from None
    return Outcome(asked, None, "")


def requests_of(do: str) -> int:
    """How many requests a case has that does that."""
    lines = script_of([Case("", do, "")]).splitlines()
    return sum(not line.startswith(NOT_ASKED) for line in lines)
