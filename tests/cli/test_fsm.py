"""The diagram of the state machine is drawn from its tables, and so is the committed picture."""

import html
import re
import shutil
from collections.abc import Iterator
from itertools import pairwise

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
        texts = {
            html.unescape(text).replace("\xa0", " ").strip()
            for text in re.findall(r"<text.*?>(.*?)</text>", body)
        } - {""}
        if kind == "node":
            states.add(title)
            arrows[title, title] = texts - {title}
            assert arrows[title, title] < texts
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


def curves(svg: str) -> Iterator[tuple[float, float]]:
    """Points of all arrows, close to each other."""
    for path in re.findall(r'<path fill="none" stroke="#444444" d="M(.*?)"', svg):
        numbers = [complex(*map(float, pair.split(","))) for pair in re.findall(r"[^C ]+", path)]
        for at in range(0, len(numbers) - 3, 3):
            a, b, c, d = numbers[at : at + 4]
            for step in range(100):
                t = step / 100
                z = (1 - t) ** 3 * a + 3 * (1 - t) ** 2 * t * b + 3 * (1 - t) * t**2 * c + t**3 * d
                yield z.real, z.imag


def test_no_arrow_runs_over_words_and_the_page_behind_may_be_dark() -> None:
    svg = PICTURE.read_text()
    assert re.search(r'<polygon fill="white"', svg)
    points = list(curves(svg))
    assert len(points) > 800
    words = re.findall(
        r'<text text-anchor="(\w+)" x="(.*?)" y="(.*?)".*?font-size="(.*?)".*?>(.*?)</text>', svg
    )
    assert len(words) > 20
    for anchor, x, y, size, text in words:
        text = html.unescape(text).strip()
        width = len(text) * float(size) * 0.45
        left = float(x) - (width / 2 if anchor == "middle" else 0)
        for px, py in points:
            over = left < px < left + width and float(y) - float(size) * 0.7 < py < float(y)
            assert not over, text


def test_an_underscore_keeps_clear_of_the_line_below_it() -> None:
    svg = PICTURE.read_text()
    inside = re.findall(
        r'<text text-anchor="start" x="(.*?)" y="(.*?)".*?>(\w+: \w+.*?)</text>', svg
    )
    rows: dict[str, list[float]] = {}
    for x, y, _ in inside:
        rows.setdefault(x, []).append(float(y))
    assert len(rows) == len(State)
    for places in rows.values():
        assert min(after - before for before, after in pairwise(sorted(places))) >= 13


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
