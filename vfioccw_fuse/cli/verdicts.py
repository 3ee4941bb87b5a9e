"""What `vfioccw run --check` says of scenarios that were compared with their recordings."""

import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from rich.table import Table

from ..errors import shortened
from ..scenario.check import failed
from ..scenario.schema import CONFIDENCE
from . import EXIT_FAILURE, EXIT_OK
from .asjson import show_json
from .output import show_table

Json = dict[str, Any]
Checked = Sequence[tuple[Json, list[str]]]
"""Scenarios, and what differs from what they have recorded."""


def _outcome(checked: Checked) -> tuple[int, int]:
    """How many failed, and how many differ whose recordings are suspect."""
    wrong = [failed(source) for source, found in checked if found]
    return sum(wrong), len(wrong) - sum(wrong)


def tell_verdicts(checked: Checked) -> int:
    """Print all that differs, for programs; the exit status."""
    wrong, suspects = _outcome(checked)
    scenarios = [
        {
            **{key: source.get(key) for key in ("name", "group", "confidence")},
            "differences": found,
        }
        for source, found in checked
    ]
    show_json({"scenarios": scenarios, "failed": wrong, "suspects_that_differ": suspects})
    return EXIT_FAILURE if wrong else EXIT_OK


def show_verdicts(checked: Checked, *, verbose: bool) -> int:
    """Print how many of each group came out as recorded, and what differs; the exit status.

    That is the first difference of each that failed; with *verbose* every one, of suspects too.
    """
    total: Counter[tuple[str, str]] = Counter()
    passed: Counter[tuple[str, str]] = Counter()
    for source, found in checked:
        key = (source.get("group", "-"), source.get("confidence", "-"))
        total[key] += 1
        passed[key] += not found
    columns = [c for c in (*CONFIDENCE, "-") if any(key[1] == c for key in total)]
    table = Table(box=None, pad_edge=False)
    table.add_column("group")
    for column in columns:
        table.add_column(column, justify="right")
    for group in dict.fromkeys(key[0] for key in total):
        table.add_row(group, *(_share(passed, total, (group, column)) for column in columns))
    show_table(table)
    for column in columns:
        if column in CONFIDENCE:
            print(f"{column}: {CONFIDENCE[column]}")
    for source, found in checked:
        if found and (verbose or failed(source)):
            _show(source, found if verbose else found[:1], len(found))
    wrong, suspects = _outcome(checked)
    more = "" if verbose or not wrong + suspects else "; --verbose shows all that differs"
    print(f"{len(checked)} scenarios, {wrong} failed, {suspects} suspects differ{more}")
    return EXIT_FAILURE if wrong else EXIT_OK


def _show(source: Json, found: Iterable[str], count: int) -> None:
    """Print the name of a scenario, and below it what differs."""
    shown = list(found)
    confidence = f" ({source['confidence']})" if "confidence" in source else ""
    rest = f", the first of {count} differences" if len(shown) < count else ""
    print(f"{shortened(source.get('name', '?'))}{confidence}{rest}:")
    for line in shown:
        for piece in _folded(line):
            print(f"  {piece}")


def _folded(line: str) -> list[str]:
    """*line* as wide as the terminal; in one piece where there is none."""
    if not sys.stdout.isatty():
        return [line]
    width = max(20, shutil.get_terminal_size().columns - 3)
    return textwrap.wrap(line, width, subsequent_indent="  ")


def _share(passed: "Counter[Any]", total: "Counter[Any]", key: tuple[str, str]) -> str:
    return f"{passed[key]}/{total[key]}" if total[key] else ""
