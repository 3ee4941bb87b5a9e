"""How vfio_ccw changed from one Linux to another: a table made of what both answered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from judge.answers import Answers
from judge.compare import Kind, first_difference
from judge.script import Case

HEAD: Final = """# How vfio-ccw changed: Linux {0} and {1}

Each case that the drivers of the two answer in two ways; what they agree in is left out, and so is
what depends on who is faster. The requests are those of [cases.toml](cases.toml), whose language
[script.py](../../scripts/judge/script.py) describes; what a mount answers where it follows neither
stands in [differences.toml](differences.toml). Made by `scripts/judge-driver --changes` of the
recorded answers.

| case | what changed | requests | {0}, then {1} |
|---|---|---|---|
"""
"""What is in front of the table's rows."""


class Change(NamedTuple):
    """A case that two drivers answer in two ways."""

    case: Case
    kind: str
    """The kind of difference, if it is on the list."""
    words: str
    """What differs first, in words."""


def changed(
    cases: Sequence[Case], older: Answers, newer: Answers, kinds: Sequence[Kind]
) -> Iterator[Change]:
    """What changed, in the order of the cases; not what depends on who is faster."""
    either = {name for kind in kinds for name in kind.either}
    known = {name: kind.name for kind in kinds if kind.only for name in kind.cases}
    for case in cases:
        one, two = older[case.name], newer[case.name]
        if one != two and case.name not in either:
            yield Change(case, known.get(case.name, ""), first_difference(one, two))


def written(changes: Iterator[Change], series: tuple[str, str]) -> str:
    """A document of *changes* between the two Linuxes of *series*."""
    lines = []
    for case, kind, words in changes:
        said = words.replace("Linux", series[0]).replace("ours", series[1]).replace("|", "\\|")
        lines.append(f"| {case.name} | {kind} | `{case.do}` | {said} |\n")
    return HEAD.format(*series) + "".join(lines)
