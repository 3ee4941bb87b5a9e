"""How vfio_ccw changed from one Linux to the next: tables made of what they answered."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from .answers import Answers, read_answers
from .compare import Kind, first_difference, version
from .kernel import KERNEL_SERIES
from .script import Case

HEAD: Final = """# How vfio-ccw changed: Linux {series}

Each Linux was asked the same {cases} cases; what depends on who is faster is left out. The requests
are those of [cases.toml](cases.toml), whose language [script.py](script.py) describes. What changed
has its name in [changes.toml](changes.toml). A mount answers as Linux {ours} does; where it does
not, [differences.toml](differences.toml) says why. `vfioccw conform --record` makes this of the
recorded answers.

| Linux | asked | cases that it answers otherwise than the one before |
|---|---|---|
"""
"""What is in front of the tables."""
SECTION: Final = """
## {older} to {newer}: {name}

{reason}

| case | requests | {older}, then {newer} |
|---|---|---|
"""
"""What is in front of a table's rows."""
OTHERS: Final = Kind("what no kind explains", "Linux changed here in a way that nobody has named.")
_RELEASE: Final = re.compile(r"# What vfio_ccw of Linux (\S+) answers\.")


class Recording(NamedTuple):
    """What a Linux answered formerly."""

    series: str
    release: str
    answers: Answers

    @classmethod
    def read(cls, series: str, path: Path) -> Recording:
        """Of Linux *series*, from its file."""
        found = _RELEASE.match(path.read_text())
        assert found is not None, f"{path.name} does not say whose answers it has"
        return cls(series, found[1], read_answers(path))


class Change(NamedTuple):
    """A case that two drivers answer in two ways."""

    case: Case
    words: str
    """What differs first, in words."""


def changed(
    cases: Sequence[Case], older: Recording, newer: Recording, kinds: Sequence[Kind]
) -> dict[str, list[Change]]:
    """What changed, by the name of the kind that explains it, in the order of the *kinds*."""
    either = {name for kind in kinds for name in kind.either}
    named = [kind for kind in kinds if kind.before and _between(kind, older, newer)]
    known = {name: kind.name for kind in named for name in kind.cases}
    changes: dict[str, list[Change]] = {kind.name: [] for kind in named}
    for case in cases:
        one, two = older.answers[case.name], newer.answers[case.name]
        if one != two and case.name not in either:
            change = Change(case, first_difference(one, two))
            changes.setdefault(known.get(case.name, OTHERS.name), []).append(change)
    return changes


def _between(kind: Kind, older: Recording, newer: Recording) -> bool:
    return version(older.series) < version(kind.before) <= version(newer.series)


def written(cases: Sequence[Case], recordings: Sequence[Recording], kinds: Sequence[Kind]) -> str:
    """A document of what changed from each of the *recordings*, the oldest first, to the next."""
    *most, last = (one.series for one in recordings)
    rows = [f"| {recordings[0].series} | {recordings[0].release} | |\n"]
    sections: list[str] = []
    for older, newer in itertools.pairwise(recordings):
        changes = changed(cases, older, newer, kinds)
        rows.append(f"| {newer.series} | {newer.release} | {sum(map(len, changes.values()))} |\n")
        sections += _sections(changes, kinds, older.series, newer.series)
    head = HEAD.format(series=f"{', '.join(most)} and {last}", cases=len(cases), ours=KERNEL_SERIES)
    return "".join([head, *rows, *sections])


def _sections(
    changes: dict[str, list[Change]], kinds: Sequence[Kind], older: str, newer: str
) -> Iterator[str]:
    for kind in (*kinds, OTHERS):
        found = changes.get(kind.name)
        if found:
            reason = kind.reason.strip()
            yield SECTION.format(name=kind.name, reason=reason, older=older, newer=newer)
            for case, words in found:
                said = words.replace("Linux", older).replace("ours", newer).replace("|", "\\|")
                yield f"| {case.name} | `{case.do}` | {said} |\n"
