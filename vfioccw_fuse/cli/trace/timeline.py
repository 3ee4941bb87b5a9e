"""A trace as a picture, drawn by svg.py: events if they are few, else programs.

Few events are a row each, from the top down; time goes to the right. A CCW is a bar from the event
before it to its unit status, because the channel is at work in between; its data is a bar of its
own below. After an instruction it is not known when the channel began: that bar is pale. Where
nothing happens for long the axis is broken and says how long.

Of more events the programs are drawn, a row each that begins at the left: what took how long. Of
too many those that took longest are left, and the picture says so.
"""

import heapq
import itertools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final, Literal, NamedTuple
from xml.sax.saxutils import escape

import svg

from ...css.transfer import INPUT
from ...errors import UserError
from .programs import Programs, SeenProgram
from .seen import Seen

LANES: Final = {
    "instruction": "#2b6cb0",
    "CCW": "#2f855a",
    "data": "#b7791f",
    "interruption": "#c53030",
}
"""What is drawn, and in which colour."""
MOST_EVENTS: Final = 40
"""Events that are drawn one by one; of more their programs are."""
MOST_PROGRAMS: Final = 60
"""Programs that are drawn."""
_LEFT = 210  # pixels for time and lane, or time and subchannel
_ROW = 24
_LINE = 15  # pixels from line to line of a label
_TOP = 64
_TEXT = 12
_FONT = "Helvetica, Arial, sans-serif"
_GREY = "#666666"
_LETTER = 6.2  # pixels of a letter, about
_TYPICAL = 40.0  # pixels of a gap as they are inside a program
_NARROWEST, _WIDEST = 12.0, 110.0
_ACROSS = 700.0  # pixels of the time axis at most
_PARTS = re.compile(r"(?<=[,;+]) ")  # between the parts of a label
_MOST_WORDS = 84  # letters of a line of a label
_LONGER: Final = 4
"""A program that takes so many times what most take is drawn cut."""


class Mark(NamedTuple):
    """One row of the picture of few events."""

    lane: str
    """One of `LANES`."""
    begin: int
    """When it began, in ns: at the event before, for what takes time."""
    end: int
    """When it was traced."""
    label: str
    """What it was."""
    waited: bool = False
    """It began some time after `begin`: the function was pending at first."""


class Timeline:
    """Keeps what may be drawn of a trace."""

    def __init__(self) -> None:
        self._programs = Programs()
        self._first: list[Seen] = []
        self._slowest: list[tuple[int, int, SeenProgram]] = []
        self._left_out: list[int] = []
        self._ended = 0
        self._several: set[str] = set()

    def see(self, event: Seen) -> None:
        """*event* belongs to the trace."""
        if len(self._first) <= MOST_EVENTS:
            self._first.append(event)
        self._several.add(event.subchannel)
        program = self._programs.see(event)
        if program is not None:
            self._keep(program)

    def _keep(self, program: SeenProgram) -> None:
        self._ended += 1
        entry = (program.took, -self._ended, program)
        if len(self._slowest) < MOST_PROGRAMS:
            heapq.heappush(self._slowest, entry)
            return
        took, _, _ = heapq.heappushpop(self._slowest, entry)
        if not self._left_out:
            self._left_out = [took, took]
        self._left_out = [min(took, self._left_out[0]), max(took, self._left_out[1])]

    def draw(self, title: str) -> str:
        """The SVG document; *title* stands at the top. UserError if no event was seen."""
        if not self._first:
            raise UserError("there is nothing to draw: no line of a trace was seen")
        if len(self._first) <= MOST_EVENTS:
            return _draw_events(self.marks(), title)
        for program in self._programs.rest():
            self._keep(program)
        programs = sorted(
            (program for _, _, program in self._slowest), key=lambda program: program.begin
        )
        left_out = ""
        if count := self._ended - len(programs):
            shortest, longest = map(_duration, self._left_out)
            left_out = (
                f"the {len(programs)} programs of {self._ended} that took longest; {count} are "
                f"left out, which took {shortest} to {longest}"
            )
        several = len(self._several) > 1
        return _draw_programs(programs, title, left_out, several=several)

    def marks(self) -> list[Mark]:
        """The rows for few events."""
        return list(_marks(self._first))


def _marks(events: Sequence[Seen]) -> Iterator[Mark]:
    several = len({event.subchannel for event in events}) > 1
    before: int | None = None
    pending: dict[str, bool] = {}
    for event in events:
        # The clock of a trace file begins anew with its first reader.
        begin = event.ns if before is None or before > event.ns else before
        before = event.ns
        whose = f"{event.subchannel} " if several else ""
        if event.what == "irb":
            yield Mark("interruption", event.ns, event.ns, whose + _in_one(event.words))
        elif event.what == "ccw":
            waited = pending.get(event.subchannel, False)
            ccw = event.fields
            status = ccw["status"]
            ending = f", unit status {status:02x}" if status & ~0x0C else ""
            command = event.words.partition(": ")[2].partition("  ")[0]
            label = f"{whose}{ccw['address']:08x} {command}{ending}"
            yield Mark("CCW", begin, event.ns, label, waited)
            if said := _data(event):
                yield Mark("data", begin, event.ns, said, waited)
            pending[event.subchannel] = False
        elif event.what != "lost":
            pending[event.subchannel] = True
            label = f"{whose}{event.what}: {_in_one(event.words)}"
            yield Mark("instruction", event.ns, event.ns, label)


def _in_one(words: str) -> str:
    """The words of a line, without the columns that it has there."""
    return words.replace("  ", ", ")


def _data(event: Seen) -> str:
    """What a CCW moved, or may have moved: a trace that was kept need not say how much."""
    ccw = event.fields
    code, count = event.command, ccw["count"]
    moved = ccw.get("moved")
    # All but control commands without any, and TIC (PoP 15), may.
    if moved == 0 or not count or code & 0x0F == 0x08 or code == 0x03:
        return ""
    direction = "device → storage" if INPUT[code] else "storage → device"
    how_much = f"up to {count}" if moved is None else f"{moved}"
    return f"{how_much} bytes at {ccw['cda']:08x}, {direction}"


# --- few events -----------------------------------------------------------------------------------


class _Axis:
    """Where a time is on the picture: to scale where much happens, broken where nothing does."""

    def __init__(self, times: Sequence[int]) -> None:
        moments = sorted(set(times))
        gaps = [after - before for before, after in itertools.pairwise(moments)]
        # A quarter of the gaps is shorter: those inside a program, where something is to be seen.
        short = sorted(gaps)[len(gaps) // 4] if gaps else 1
        wanted = [gap / short * _TYPICAL for gap in gaps]
        widths = [min(max(width, _NARROWEST), _WIDEST) for width in wanted]
        narrower = min(1.0, _ACROSS / sum(widths)) if widths else 1.0
        self.breaks: list[tuple[float, float, int]] = []
        """Left end, right end and ns of each stretch that is not to scale."""
        self._places = {moments[0]: 0.0}
        x = 0.0
        for moment, gap, width, ideal in zip(moments[1:], gaps, widths, wanted, strict=True):
            if ideal > _WIDEST:
                self.breaks.append((x, x + width * narrower, gap))
            x += width * narrower
            self._places[moment] = x
        self.width = x
        """Pixels."""

    def __getitem__(self, moment: int) -> float:
        return self._places[moment]


def _draw_events(marks: Sequence[Mark], title: str) -> str:
    axis = _Axis([time for mark in marks for time in (mark.begin, mark.end)])
    labels = [_folded(mark.label) for mark in marks]
    right = max(
        axis[mark.end] + _LETTER * max(map(len, label))
        for mark, label in zip(marks, labels, strict=True)
    )
    heights = [_ROW + _LINE * (len(label) - 1) for label in labels]
    width = _LEFT + max(right, axis.width) + 40
    height = _TOP + sum(heights) + 16
    elements: list[svg.Element] = [*_legend(LANES), *_breaks(axis, height)]
    y = float(_TOP)
    for mark, label, high in zip(marks, labels, heights, strict=True):
        elements += _row(mark, label, axis, y, high, mark.end - marks[0].end)
        y += high
    return _document(title, width, height, elements)


def _breaks(axis: _Axis, height: float) -> Iterator[svg.Element]:
    for left, right, ns in axis.breaks:
        middle, half = _LEFT + (left + right) / 2, min(24.0, (right - left) / 2 - 1)
        yield svg.Rect(
            x=middle - half, y=_TOP - 14, width=2 * half, height=height - _TOP + 6, fill="#f0f0f0"
        )
        words = _duration(ns)
        if len(words) * _LETTER < right - left + 8:
            yield _words(middle, _TOP - 4, words, _GREY, "middle")


def _row(
    mark: Mark, label: list[str], axis: _Axis, y: float, high: float, since_start: int
) -> Iterator[svg.Element]:
    colour = LANES[mark.lane]
    begin, end = _LEFT + axis[mark.begin], _LEFT + axis[mark.end]
    yield svg.Line(x1=10, x2=end, y1=y + high, y2=y + high, stroke="#eeeeee")
    yield _words(90, y + 16, _since(since_start), _GREY, "end")
    yield _words(104, y + 16, mark.lane, colour)
    if end > begin:
        thin = mark.lane == "data"
        yield svg.Rect(
            x=begin, y=y + (9 if thin else 6), width=end - begin, height=6 if thin else 12,
            rx=2, fill=colour, fill_opacity=0.25 if mark.waited else 0.7,
        )  # fmt: skip
    elif mark.lane == "interruption":
        yield svg.Path(d=[svg.M(end - 6, y + 18), svg.h(12), svg.l(-6, -12), svg.Z()], fill=colour)
    else:
        yield svg.Circle(cx=end, cy=y + 12, r=5, fill=colour)
    for number, line in enumerate(label):
        yield _words(end + 10, y + 16 + number * _LINE, line)


# --- programs -------------------------------------------------------------------------------------

_PENDING: Final = "pending, and the first command"  # when that began is not known
_KINDS: Final = {_PENDING: "#90a4b8", "command": LANES["CCW"], "data": LANES["data"]}


def _draw_programs(
    programs: Sequence[SeenProgram], title: str, left_out: str, *, several: bool
) -> str:
    took = sorted(program.took for program in programs)
    most = max(1, min(took[-1], _LONGER * max(1, took[len(took) // 2])))
    labels = [_folded(_of_program(program)) for program in programs]
    scale = _ACROSS / most
    lengths = [min(program.took, most) * scale for program in programs]
    right = max(
        length + 20 + _LETTER * max(map(len, label))
        for length, label in zip(lengths, labels, strict=True)
    )
    heights = [_ROW + _LINE * (len(label) - 1) for label in labels]
    top = _TOP + (22 if left_out else 0) + 22
    longest = max(len(program.subchannel) for program in programs) if several else 0
    left = max(_LEFT, 104 + _LETTER * longest + 20)
    width = left + max(right, _ACROSS) + 40
    height = top + sum(heights) + 16
    elements: list[svg.Element] = [*_legend(_KINDS)]
    if left_out:
        elements.append(_words(10, _TOP, left_out))
    for ns in _ticks(most):
        x = left + ns * scale
        elements += [
            svg.Line(x1=x, x2=x, y1=top - 4, y2=height - 12, stroke="#e4e4e4"),
            _words(x, top - 10, _duration(ns), _GREY, "middle"),
        ]
    y = float(top)
    for program, label, high in zip(programs, labels, heights, strict=True):
        since = program.begin - programs[0].begin
        elements += [
            _words(90, y + 16, _since(since), _GREY, "end"),
            *([_words(104, y + 16, program.subchannel)] if several else ()),
            *_bar(program, most, scale, left, y),
        ]
        x = left + min(program.took, most) * scale + (16 if program.took > most else 8)
        elements += [_words(x, y + 16 + n * _LINE, line) for n, line in enumerate(label)]
        y += high
    return _document(title, width, height, elements)


def _ticks(most: int) -> range:
    """Round times from 0 to *most* ns, four to eight of them behind the first."""
    steps = (digit * 10**power for power in itertools.count() for digit in (1, 2, 5))
    return range(0, most + 1, next(step for step in steps if most <= 8 * step))


def _bar(
    program: SeenProgram, most: int, scale: float, x: float, y: float
) -> Iterator[svg.Element]:
    """The commands of a program; what would be no pixel wide is drawn together."""
    drawn: list[tuple[str, int, int]] = []

    def add(kind: str, begin: int, end: int) -> None:
        if drawn and drawn[-1][0] == kind and (end - drawn[-1][1]) * scale < 2:
            drawn[-1] = (kind, drawn[-1][1], end)
        elif begin < end:
            drawn.append((kind, begin, end))

    begin = program.begin
    for part in program.parts:
        end = part.end if part.end >= 0 else program.end
        add(_PENDING, begin, part.begin)
        add(_PENDING if part.waited else "data" if part.moved else "command", part.begin, end)
        begin = end
    add(_PENDING, begin, program.end)
    for kind, begin, end in drawn:
        left, right = ((min(at - program.begin, most)) * scale for at in (begin, end))
        if left < right:
            space = 1 if right - left > 3 else 0
            yield svg.Rect(
                x=x + left, y=y + 5, width=right - left - space, height=14,
                fill=_KINDS[kind], fill_opacity=0.85,
            )  # fmt: skip
    if program.took > most:
        x += most * scale
        yield svg.Path(d=[svg.M(x, y + 4), svg.l(8, 8), svg.l(-8, 8)], stroke=_GREY, fill="none")


def _of_program(program: SeenProgram) -> str:
    """How long it took, its commands, and what is unusual about it."""
    runs = [
        f"{name} x{count}" if count > 1 else name
        for name, count in (
            (name, len(list(parts)))
            for name, parts in itertools.groupby(part.name for part in program.parts)
        )
    ]
    if len(runs) > 6:
        runs = [
            f"{name} x{count}" if count > 1 else name
            for name, count in Counter(part.name for part in program.parts).items()
        ]
    # Names may have commas, where a label is not to be broken.
    said = [_duration(program.took), " + ".join(runs).replace(", ", ",\xa0")]
    if moved := sum(part.moved for part in program.parts):
        said.append(f"{moved} bytes")
    return "; ".join(part for part in (*said, *dict.fromkeys(program.besides)) if part)


# --- both -----------------------------------------------------------------------------------------


def _document(title: str, width: float, height: float, elements: list[svg.Element]) -> str:
    return svg.SVG(
        width=width,
        height=height,
        viewBox=svg.ViewBoxSpec(0, 0, width, height),
        elements=[
            svg.Title(text=escape(title)),
            svg.Rect(x=0, y=0, width=width, height=height, fill="white"),
            _words(10, 20, title, size=14),
            *elements,
        ],
    ).as_str()


def _legend(kinds: dict[str, str]) -> Iterator[svg.Element]:
    x = 10.0
    for name, colour in kinds.items():
        yield svg.Rect(x=x, y=32, width=10, height=10, fill=colour)
        yield _words(x + 15, 41, name)
        x += max(110, 15 + _LETTER * len(name) + 30)


def _words(
    x: float,
    y: float,
    text: str,
    colour: str = "#222222",
    anchor: Literal["start", "middle", "end"] = "start",
    size: int = _TEXT,
) -> svg.Text:
    return svg.Text(
        x=x,
        y=y,
        text=escape(text),
        fill=colour,
        text_anchor=anchor,
        font_size=size,
        font_family=_FONT,
    )


def _folded(label: str) -> list[str]:
    """*label* in lines, broken between its parts, or else at blanks."""
    parts = [
        word
        for part in _PARTS.split(label)
        for word in ([part] if len(part) <= _MOST_WORDS else part.split(" "))
    ]
    lines = [""]
    for part in parts:
        if lines[-1] and len(lines[-1]) + 1 + len(part) > _MOST_WORDS:
            lines.append(part)
        else:
            lines[-1] = f"{lines[-1]} {part}" if lines[-1] else part
    return lines


def _since(ns: int) -> str:
    """When something was, to the microsecond if there is room: +80 µs, +3.100 ms, +1.250009 s."""
    if ns >= 100_000_000_000:
        return f"+{ns / 1e9:.3f} s"
    if ns >= 1_000_000_000:
        return f"+{ns / 1e9:.6f} s"
    if ns >= 1_000_000:
        return f"+{ns / 1e6:.3f} ms"
    return f"+{ns / 1e3:.0f} µs"


def _duration(ns: int) -> str:
    """A time in the unit that fits: 1.25 s, 3.1 ms, 80 µs."""
    if ns >= 1_000_000_000:
        return f"{ns / 1e9:.2f} s"
    if ns >= 1_000_000:
        return f"{ns / 1e6:.1f} ms"
    return f"{ns / 1e3:.0f} µs"
