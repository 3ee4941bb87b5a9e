"""How decoded structures look: tables, by rich.

On a terminal tables fit its width and have colour; into a pipe or a file every row is one plain
line, whatever its width.
"""

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator

import click
from rich.console import Console
from rich.table import Table

from ..regions.descriptions import Row

_WIDE = 1000  # columns, where nobody looks: no row is broken


def console() -> Console:
    """Give a console on stdout as it is now."""
    if sys.stdout.isatty():
        return Console(highlight=False)
    return Console(width=_WIDE, highlight=False, no_color=True)


@contextlib.contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None] | None]:
    """Show on stderr how far work is that takes long: give what takes (done, in all).

    None where stderr is no terminal: nobody looks.
    """
    if not sys.stderr.isatty():
        yield None
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TimeRemainingColumn

    columns = ("{task.description}", BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(what, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)


def show_rows(rows: Iterable[Row], *, all_rows: bool = True) -> None:
    """Print a decoded structure: field, value, meaning.

    Without *all_rows* the fields that are zero and mean nothing are left out.
    """
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    for row in rows:
        if all_rows or row.value.strip("0"):
            table.add_row(row.field, row.value, row.meaning)
    show_table(table)


def show_table(table: Table) -> None:
    """Print *table* on stdout, without blanks at the ends of lines."""
    out = console()
    if out.is_terminal:
        out.print(table)
        return
    with out.capture() as captured:
        out.print(table)
    for line in captured.get().splitlines():
        click.echo(line.rstrip())
