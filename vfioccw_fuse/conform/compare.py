"""What differs between two ends, and which of it may: the list in `differences.toml`.

What older Linuxes answer otherwise than later ones is in `changes.toml`, of the same form.

The list has kinds of difference, each with a reason that whoever uses the mount instead of the
driver would accept, and the cases that it covers:

- `ours`: what a mount answers there instead, which must then differ from Linux;
- `either`: answers that depend on who is faster: each end may give any of them;
- `sets`: answers of which any may stand for another of the same set, in any case: to requests
  that `race`;
- `rule`: one of `RULES`, which says of any two answers whether they are explained, in random
  requests, too; `cases` are where it is known to count;
- `cases` with `before`: what Linuxes before that one do otherwise. The later ones' answers hold.
"""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from . import ConformError
from .answers import HOST, Answers, in_words, shown_address


def _host_address(linux: str, ours: str) -> bool:
    """Linux shows where its copy lay, in an IRB that is the same otherwise."""
    address = shown_address(ours)
    return address != "" and linux == ours.replace(f" {address}", f" {HOST}", 1)


RULES: Final[Mapping[str, Callable[[str, str], bool]]] = {"an address of the host's": _host_address}
"""Rules by name; each takes an answer of Linux and ours, which differ."""


@dataclass(frozen=True)
class Kind:
    """A rule that is not Linux's here, or that neither end has."""

    name: str
    reason: str
    before: str = ""
    """It is said of Linuxes before that one, such as 6.12; of all if it is empty."""
    ours: Mapping[str, list[str]] = field(default_factory=dict)
    either: Mapping[str, list[list[str]]] = field(default_factory=dict)
    cases: Sequence[str] = ()
    rule: str = ""
    sets: Sequence[Sequence[str]] = ()

    def counts_for(self, series: str) -> bool:
        """Whether it is said of Linux *series*, such as 6.1; of all if that is empty."""
        return not (self.before and series) or version(series) < version(self.before)

    def explains(self, linux: str, ours: str) -> bool:
        """Whether two answers that differ may do so in any case."""
        if self.rule and RULES[self.rule](linux, ours):
            return True
        return any(linux in allowed and ours in allowed for allowed in self.sets)

    def covered(self) -> set[str]:
        """The cases that it is about."""
        return {*self.ours, *self.either, *self.cases}


def read_kinds(path: Path, series: str = "") -> list[Kind]:
    """The kinds of a list that count for Linux *series*; all if it is empty.

    ConformError if a case is in two of them that count for the same Linuxes.
    """
    kinds = [Kind(**table) for table in tomllib.loads(path.read_text())["kind"]]
    for one, two in itertools.combinations(kinds, 2):
        twice = one.covered() & two.covered()
        if twice and one.before == two.before:
            raise ConformError(f"{path.name}: {min(twice)!r} is in {one.name!r} and {two.name!r}")
    return [kind for kind in kinds if kind.counts_for(series)]


def version(series: str) -> tuple[int, ...]:
    """What tells which of two Linuxes, such as 6.1 and 6.12, is the newer one."""
    return tuple(map(int, series.split(".")))


@dataclass(frozen=True)
class Verdict:
    """What the comparison of one case says."""

    case: str
    kind: str = ""
    """The kind that explains the difference."""
    problem: str = ""
    """What is wrong, in words; empty if nothing is."""

    @property
    def equal(self) -> bool:
        """Whether both ends gave the same answers, as they should."""
        return not self.kind and not self.problem


def compare(linux: Answers, ours: Answers, kinds: Sequence[Kind]) -> list[Verdict]:
    """A verdict for each case that Linux answered."""
    by_case = {case: kind for kind in kinds for case in kind.covered()}
    rules = [kind for kind in kinds if kind.rule or kind.sets]
    return [
        _verdict(case, lines, ours.get(case, []), by_case.get(case), rules)
        for case, lines in linux.items()
    ]


def _verdict(
    case: str, linux: list[str], ours: list[str], kind: Kind | None, rules: Sequence[Kind]
) -> Verdict:
    if kind is None or (kind.rule and case in kind.cases):
        if kind and linux == ours:
            return Verdict(case, kind.name, "it is on the list and does not differ")
        return _by_rules(case, linux, ours, [kind] if kind else rules)
    if case in kind.either:
        for whose, answer in (("Linux", linux), ("ours", ours)):
            if answer not in kind.either[case]:
                return Verdict(case, kind.name, f"{whose} is none of the listed: {answer}")
    elif linux == ours:
        return Verdict(case, kind.name, "it is on the list and does not differ")
    elif case in kind.ours and ours != kind.ours[case]:
        listed = first_difference(kind.ours[case], ours).replace("Linux", "the list")
        return Verdict(case, kind.name, f"it differs otherwise than listed: {listed}")
    return Verdict(case, kind.name)


def _by_rules(case: str, linux: list[str], ours: list[str], kinds: Sequence[Kind]) -> Verdict:
    """The first difference that none of the *kinds* explains, or the kind that does the first."""
    name = ""
    for number, one, two in _differing(linux, ours):
        explain = (kind.name for kind in kinds if one and two and kind.explains(one, two))
        found = next(explain, "")
        if not found:
            return Verdict(case, problem=f"answer {number}: {in_words(one, two)}")
        name = name or found
    return Verdict(case, name)


def first_difference(linux: list[str], ours: list[str]) -> str:
    """The first answer that differs, in words; empty if none does."""
    return next(differences(linux, ours), "")


def as_data(verdict: Verdict, linux: Answers, ours: Answers) -> dict[str, Any]:
    """A verdict for programs: the case, what it is, both ends' answers, differences in words."""
    one, two = linux[verdict.case], ours.get(verdict.case, [])
    return {
        "case": verdict.case,
        "verdict": "problem" if verdict.problem else "listed" if verdict.kind else "equal",
        "kind": verdict.kind,
        "problem": verdict.problem,
        "linux": one,
        "ours": two,
        "differences": list(differences(one, two)),
    }


def differences(linux: Sequence[str], ours: Sequence[str]) -> Iterator[str]:
    """Each answer that differs, in words."""
    for number, one, two in _differing(linux, ours):
        yield f"answer {number}: {in_words(one, two)}"


def _differing(
    linux: Sequence[str], ours: Sequence[str]
) -> Iterator[tuple[int, str | None, str | None]]:
    """The answers that differ, and their numbers from 1; None where one end has no more."""
    for number, (one, two) in enumerate(itertools.zip_longest(linux, ours), 1):
        if one != two:
            yield number, one, two


def table(verdicts: Sequence[Verdict]) -> Iterator[str]:
    """How many cases are equal, on the list by kind, and wrong."""
    yield f"{len(verdicts):5} cases"
    yield f"{sum(verdict.equal for verdict in verdicts):5} equal"
    listed = [verdict.kind for verdict in verdicts if verdict.kind and not verdict.problem]
    for kind in dict.fromkeys(listed):
        yield f"{listed.count(kind):5} on the list: {kind}"
    yield f"{sum(bool(verdict.problem) for verdict in verdicts):5} not explained"
