"""`vfioccw fsm`: the state machine of a vfio-ccw device, drawn from its tables.

Nothing here knows a transition: states, events and methods are those of `vfio.fsm`, and what is
drawn is what the driver runs.
"""

import ast
import html
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from ..errors import UserError
from ..vfio.fsm import LEADS, TABLE, UNREACHED, Cell, Event, State
from .asjson import show_json

if TYPE_CHECKING:
    import graphviz

_COLOURS = {
    State.NOT_OPER: "#f4d6d2",
    State.STANDBY: "#e7e7e7",
    State.IDLE: "#d7ecd9",
    State.CP_PROCESSING: "#fdf0cc",
    State.CP_PENDING: "#d5e5f7",
}
"""What fills the box of a state."""
_TALL = '<font point-size="14"> </font><br align="left"/>'
"""The end of a line in a box, which keeps underscores clear of the line below."""


class Edge(NamedTuple):
    """One arrow: from a state to the next, and why."""

    source: State
    """The state before."""
    target: State
    """The state after; the same one for what changes nothing."""
    label: str
    """Event and methods, or what was done."""


NOTHING = "nop"
"""The cell of an event that does nothing."""
LIFE = (Event.NOT_OPER, Event.OPEN, Event.CLOSE)
"""Events whose methods always lead to another state, if they do anything."""


def methods_of(cell: Cell) -> tuple[str, ...]:
    """The methods that a cell names: one, or one for each kind of interface."""
    return (cell,) if isinstance(cell, str) else tuple(dict.fromkeys(cell.values()))


def edges() -> Iterator[Edge]:
    """Every transition of the tables, in their order; an event that does nothing is none.

    Then what requests and interruptions do in each state, which stays the same.
    """
    for state, leads in LEADS.items():
        for done, after in leads.items():
            yield Edge(state, after, done.value)
    for state, row in TABLE.items():
        for event, cell in row.items():
            drawn = event not in LIFE and cell != NOTHING and (state, event) not in UNREACHED
            if drawn:
                yield Edge(state, state, f"{event.name}: {' or '.join(methods_of(cell))}")


@click.command(name="fsm")
@click.option("--text", "form", flag_value="text", default="text", help="A table.  [default]")
@click.option("--dot", "form", flag_value="dot", help="The source of the diagram, for Graphviz.")
@click.option("--svg", "form", flag_value="svg", help="The diagram as SVG, drawn by Graphviz.")
@click.option("--json", "form", flag_value="json", help="The tables as JSON, for programs.")
def fsm_command(form: str) -> None:
    """Show the state machine of a subchannel's driver on stdout.

    It is drawn from the tables that the driver itself runs: five states, six events, as in Linux's
    vfio_ccw_fsm.c.

    \b
    Examples:
      vfioccw fsm
      vfioccw fsm --svg > fsm.svg
    """
    if form == "text":
        for line in as_text():
            click.echo(line)
    elif form == "json":
        show_json(as_data())
    elif form == "dot":
        click.echo(as_graph().source, nl=False)
    else:
        click.echo(as_svg(), nl=False)


def as_text() -> Iterator[str]:
    """The tables as lines: methods by state and event, then what leads where, then the methods."""
    from .text import columns

    def words(cell: Cell) -> str:
        return "/".join(methods_of(cell))

    rows = [("state", *(event.name for event in Event))]
    rows += [(state.name, *(words(TABLE[state][event]) for event in Event)) for state in State]
    yield from columns(rows)
    yield ""
    yield from columns(
        [
            (source.name, "->", target.name, f"after {done.value}")
            for source, leads in LEADS.items()
            for done, target in leads.items()
        ]
    )
    yield ""
    cells = [cell for row in TABLE.values() for cell in row.values()]
    used = dict.fromkeys(method for cell in cells for method in methods_of(cell))
    docs = _docstrings()
    yield from columns([(name, first_line(docs[name])) for name in used])
    yield ""
    yield "never dispatched:"
    yield from columns([(f"{s.name} x {e.name}", why) for (s, e), why in UNREACHED.items()])


def as_data() -> dict[str, Any]:
    """The tables for programs."""
    return {
        "cells": [
            {"state": state.name, "event": event.name, "methods": list(methods_of(cell))}
            for state, row in TABLE.items()
            for event, cell in row.items()
        ],
        "leads": [
            {"from": source.name, "to": target.name, "after": done.value}
            for source, leads in LEADS.items()
            for done, target in leads.items()
        ],
        "never_dispatched": [
            {"state": state.name, "event": event.name, "why": why}
            for (state, event), why in UNREACHED.items()
        ],
    }


def _docstrings() -> dict[str, str]:
    """What the source says of each method of the driver: compiled it has no docstrings."""
    source = Path(__file__).parents[1] / "vfio" / "driver.py"
    return {
        node.name: ast.get_docstring(node) or ""
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    }


def first_line(doc: str) -> str:
    """The first line of a docstring, as a piece of a sentence."""
    line = doc.strip().splitlines()[0].rstrip(".")
    return line if line[1:2].isupper() else line[:1].lower() + line[1:]


def as_graph() -> "graphviz.Digraph":
    """The diagram: a box for each state with what events do there, an arrow for each pair."""
    import graphviz

    graph = graphviz.Digraph(
        "fsm",
        graph_attr={
            "rankdir": "LR",
            "bgcolor": "white",
            "pad": "0.2",
            "fontname": "Helvetica",
            "nodesep": "0.55",
            "ranksep": "0.9",
            "label": "A vfio-ccw device. Events and methods have Linux's names.\n"
            "In a state stands what an event does there, at an arrow what was done.\n"
            "Anything else leaves the state as it is.",
            "fontsize": "11",
        },
        node_attr={
            "shape": "box",
            "fontname": "Helvetica",
            "fontsize": "11",
            "margin": "0.2,0.12",
        },
        edge_attr={"fontname": "Helvetica", "fontsize": "11", "color": "#444444"},
    )
    inside: dict[State, list[str]] = {}
    together: dict[tuple[State, State], list[str]] = {}
    for edge in edges():
        if edge.source is edge.target:
            inside.setdefault(edge.source, []).append(edge.label)
        else:
            together.setdefault((edge.source, edge.target), []).append(edge.label)
    for state in State:
        lines = "".join(f"{html.escape(line)}{_TALL}" for line in inside[state])
        graph.node(
            state.name,
            label=f'<<font point-size="14">{state.name}</font><br/>{lines}>',
            fillcolor=_COLOURS[state],
            style="rounded,filled",
        )
    for (source, target), labels in together.items():
        # \l ends a line that is aligned to the left.
        graph.edge(source.name, target.name, label="".join(f" {line} \\l" for line in labels))
    return graph


def as_svg() -> str:
    """The diagram as an SVG document; UserError if Graphviz's program dot is missing or fails."""
    import graphviz

    try:
        return str(as_graph().pipe(format="svg", encoding="utf-8"))
    except graphviz.ExecutableNotFound:
        raise UserError("dot: not found; install the package graphviz, or use --dot") from None
    except subprocess.CalledProcessError as failed:
        raise UserError(f"dot: ended with status {failed.returncode}") from None
