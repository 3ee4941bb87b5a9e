"""The diagram of the state machine is drawn from its tables, and so is the committed picture."""

import html
import re
import shutil

import pytest

from lab.mounts import PROJECT, vfioccw
from vfioccw_fuse.cli.fsm import LIFE, NOTHING, as_graph, as_svg, edges, methods_of
from vfioccw_fuse.errors import UserError
from vfioccw_fuse.vfio.fsm import LEADS, TABLE, UNREACHED, State

PICTURE = PROJECT / ".github" / "fsm.svg"
Arrows = dict[tuple[str, str], set[str]]


def drawn(svg: str) -> tuple[set[str], Arrows]:
    """The states and the arrows with their labels that an SVG of Graphviz shows."""
    states: set[str] = set()
    arrows: Arrows = {}
    for kind, body in re.findall(r'<g id="\w+" class="(node|edge)">(.*?)</g>', svg, re.DOTALL):
        [title] = re.findall(r"<title>(.*?)</title>", body)
        texts = {html.unescape(text) for text in re.findall(r"<text.*?>(.*?)</text>", body)}
        if kind == "node":
            assert texts == {title}
            states.add(title)
        else:
            source, _, target = html.unescape(title).partition("->")
            arrows[source, target] = texts
    return states, arrows


def in_the_tables() -> Arrows:
    found: Arrows = {}
    for edge in edges():
        found.setdefault((edge.source.name, edge.target.name), set()).add(edge.label)
    return found


def test_the_committed_picture_equals_the_tables() -> None:
    states, arrows = drawn(PICTURE.read_text())
    assert states == {state.name for state in State}
    assert arrows == in_the_tables(), "run: vfioccw fsm --svg > .github/fsm.svg"


def test_what_is_drawn_now_equals_the_tables() -> None:
    states, arrows = drawn(as_svg())
    assert states == {state.name for state in State}
    assert arrows == in_the_tables()


def test_every_transition_is_an_edge_and_every_request_and_interruption_a_loop() -> None:
    found = list(edges())
    assert len(found) == len(set(found))
    leads = [(s, after, done.value) for s, row in LEADS.items() for done, after in row.items()]
    assert [tuple(edge) for edge in found if edge.source is not edge.target] == leads
    loops = {(edge.source.name, edge.label.partition(":")[0]) for edge in found[len(leads) :]}
    assert loops == {
        (state.name, event.name)
        for state, row in TABLE.items()
        for event, cell in row.items()
        if cell != NOTHING and event not in LIFE and (state, event) not in UNREACHED
    }


def test_nothing_leads_out_of_not_oper() -> None:
    assert {e.target for e in edges() if e.source is State.NOT_OPER} == {State.NOT_OPER}
    assert not LEADS[State.NOT_OPER]


def test_the_text_is_the_whole_table() -> None:
    done = vfioccw("fsm", "--text")
    assert done.returncode == 0
    assert done.stdout == vfioccw("fsm").stdout
    rows = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()[1:6]}
    assert set(rows) == {state.name for state in State}
    events = done.stdout.splitlines()[0].split()[1:]
    for state in State:
        for event, word in zip(events, rows[state.name], strict=True):
            [cell] = [cell for e, cell in TABLE[state].items() if e.name == event]
            assert word == "/".join(methods_of(cell))


def test_dot_and_svg_go_to_stdout() -> None:
    dot = vfioccw("fsm", "--dot").stdout
    assert dot == as_graph().source
    assert dot.startswith("digraph")
    assert drawn(vfioccw("fsm", "--svg").stdout)[0] == {state.name for state in State}


def test_without_graphviz_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    assert shutil.which("dot")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="install the package graphviz"):
        as_svg()
