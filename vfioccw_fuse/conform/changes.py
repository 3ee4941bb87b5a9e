"""How vfio_ccw changed from one Linux to another: tables made of what both answered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from .answers import Answers
from .compare import Kind, first_difference
from .script import Case

HEAD: Final = """# How vfio-ccw changed: Linux {0} and {1}

Of {2} cases these are the {3} that the drivers of the two answer in two ways, by what changed; what
depends on who is faster is left out. The requests are those of [cases.toml](cases.toml), whose
language [script.py](script.py) describes. A mount answers as Linux {1} does;
where it does not, [differences.toml](differences.toml) says why. `vfioccw conform --record` makes
this of the recorded answers.
"""
"""What is in front of the tables."""
SECTION: Final = """
## {0}

{1}

| case | requests | {2}, then {3} |
|---|---|---|
"""
"""What is in front of a table's rows."""
OTHERS: Final = Kind("what no kind explains", "Linux changed here in a way that nobody has named.")


class Change(NamedTuple):
    """A case that two drivers answer in two ways."""

    case: Case
    words: str
    """What differs first, in words."""


def changed(
    cases: Sequence[Case], older: Answers, newer: Answers, kinds: Sequence[Kind]
) -> dict[str, list[Change]]:
    """What changed, by the name of the kind that explains it; those of the list come first."""
    either = {name for kind in kinds for name in kind.either}
    known = {name: kind.name for kind in kinds if kind.only for name in kind.cases}
    changes: dict[str, list[Change]] = {kind.name: [] for kind in kinds if kind.only}
    for case in cases:
        one, two = older[case.name], newer[case.name]
        if one != two and case.name not in either:
            change = Change(case, first_difference(one, two))
            changes.setdefault(known.get(case.name, OTHERS.name), []).append(change)
    return changes


def written(
    cases: Sequence[Case],
    older: Answers,
    newer: Answers,
    kinds: Sequence[Kind],
    series: tuple[str, str],
) -> str:
    """A document of what changed between the two Linuxes of *series*."""
    changes = changed(cases, older, newer, kinds)
    number = sum(map(len, changes.values()))
    return "".join([HEAD.format(*series, len(cases), number), *_sections(changes, kinds, series)])


def _sections(
    changes: dict[str, list[Change]], kinds: Sequence[Kind], series: tuple[str, str]
) -> Iterator[str]:
    older, newer = series
    for kind in (*kinds, OTHERS):
        found = changes.get(kind.name)
        if found:
            yield SECTION.format(kind.name.capitalize(), kind.reason.strip(), *series)
            for case, words in found:
                said = words.replace("Linux", older).replace("ours", newer).replace("|", "\\|")
                yield f"| {case.name} | `{case.do}` | {said} |\n"
