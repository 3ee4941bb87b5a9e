"""`vfioccw fsm`: the state machine of a vfio-ccw device, drawn from its tables.

Nothing here knows a transition: states, events and actions are those of `vfio.fsm`, and what is
drawn is what the driver looks up for every request.
"""

import errno
import subprocess
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import click

from ..errors import UserError
from ..vfio.fsm import ACCEPTED, AFTER, REFUSED, TABLE, Action, Event, Function, State

if TYPE_CHECKING:
    import graphviz

_COLOURS = {
    State.NOT_OPER: "#f4d6d2",
    State.STANDBY: "#e7e7e7",
    State.IDLE: "#d7ecd9",
    State.CP_PROCESSING: "#fdf0cc",
    State.CP_PENDING: "#d5e5f7",
}
"""What fills the circle of a state."""


class Edge(NamedTuple):
    """One arrow: from a state to the next, and why."""

    source: State
    """The state before."""
    target: State
    """The state after; the same one for what changes nothing."""
    label: str
    """Event and action, or function and condition code."""


def edges() -> Iterator[Edge]:
    """Every transition of the tables, in their order; an event that does nothing is none."""
    for state, row in TABLE.items():
        for event, action in row.items():
            if action is not Action.NOP:
                yield Edge(state, AFTER.get(action, state), f"{event.name}: {_short(action)}")
    for (state, function), after in ACCEPTED.items():
        yield Edge(state, after, _accepted(function))


def _short(action: Action) -> str:
    return errno.errorcode[REFUSED[action]] if action in REFUSED else action.name


def _accepted(function: Function) -> str:
    """What an accepted request is called at its arrow."""
    if function is Function.CONCLUDE:
        return "the concluding IRB is shown"
    return f"{function.value}: cc 0"


@click.command(name="fsm")
@click.option("--text", "form", flag_value="text", default="text", help="A table.  [default]")
@click.option("--dot", "form", flag_value="dot", help="The source of the diagram, for Graphviz.")
@click.option("--svg", "form", flag_value="svg", help="The diagram as SVG, drawn by Graphviz.")
def fsm_command(form: str) -> None:
    """Show the state machine of a subchannel's driver on stdout.

    It is drawn from the tables that the driver itself uses: five states, six events, as in Linux's
    vfio_ccw_fsm.c.

    \b
    Examples:
      vfioccw fsm
      vfioccw fsm --svg > fsm.svg
    """
    if form == "text":
        for line in as_text():
            click.echo(line)
    elif form == "dot":
        click.echo(as_graph().source, nl=False)
    else:
        click.echo(as_svg(), nl=False)


def as_text() -> Iterator[str]:
    """The tables as lines: actions by state and event, then what is accepted, then the actions."""
    from .text import columns

    rows = [("state", *(event.name for event in Event))]
    rows += [(state.name, *(TABLE[state][event].name for event in Event)) for state in State]
    yield from columns(rows)
    yield ""
    yield from columns(
        [
            (source.name, "->", target.name, f"after {_accepted(function)}")
            for (source, function), target in ACCEPTED.items()
        ]
    )
    yield ""
    yield from columns(
        [
            (action.name, f"{action.value}{_leads(action)}")
            for action in Action
            if any(action in row.values() for row in TABLE.values())
        ]
    )


def _leads(action: Action) -> str:
    return f" -> {AFTER[action].name}" if action in AFTER else ""


def as_graph() -> "graphviz.Digraph":
    """The diagram: a circle for each state, one arrow for each pair of states, labels in lines."""
    import graphviz

    graph = graphviz.Digraph(
        "fsm",
        graph_attr={
            "rankdir": "LR",
            "fontname": "Helvetica",
            "nodesep": "0.7",
            "ranksep": "1.1",
            "label": "A vfio-ccw device. Events and actions have Linux's names; an event that does "
            "nothing is not drawn.\n"
            "ssch, hsch, csch ... are requests of the io_region or the cmd_region that got "
            "condition code 0; any other leaves the state as it is.\n"
            "Dashed: nothing leads there, because a request is done in one piece.",
            "fontsize": "11",
        },
        node_attr={
            "shape": "box",
            "fontname": "Helvetica",
            "fontsize": "14",
            "margin": "0.25,0.15",
        },
        edge_attr={"fontname": "Helvetica", "fontsize": "10", "color": "#444444"},
    )
    reached = {edge.target for edge in edges() if edge.source is not edge.target}
    for state in State:
        style = "rounded,filled" if state in reached else "rounded,filled,dashed"
        graph.node(state.name, fillcolor=_COLOURS[state], style=style)
    together: dict[tuple[State, State], list[str]] = {}
    for edge in edges():
        together.setdefault((edge.source, edge.target), []).append(edge.label)
    for (source, target), labels in together.items():
        # \l ends a line that is aligned to the left.
        graph.edge(source.name, target.name, label="".join(f"{line}\\l" for line in labels))
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
