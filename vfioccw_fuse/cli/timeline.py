"""A trace as a picture: instructions, CCWs, data and interruptions on a time axis.

It reads the lines that a subchannel's file `trace` gives and draws one row for each, from the top
down; time goes to the right. A CCW is a bar from the event before it to its unit status, because
the channel is at work in between; its data is a bar of its own below. After an instruction it is
not known when the channel began: that bar is pale. Where nothing happens for long the axis is
broken and says how long. The drawing is by svg.py.
"""

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal, NamedTuple
from xml.sax.saxutils import escape

import svg

from ..errors import UserError

_LINE = re.compile(r"\s*([0-9]{1,9}\.[0-9]{1,9}) (\S+) (\S+) +(.*)")
_CCW = re.compile(
    r"(?P<at>[0-9a-f]{8}) (?P<code>[0-9a-f]{2})/(?P<flags>[0-9a-f]{2})/(?P<count>[0-9]{1,5})"
    r" at (?P<cda>[0-9a-f]{8}): (?P<name>.*?)  (?P<ending>.*)"
)

LANES: Final = {
    "instruction": "#2b6cb0",
    "CCW": "#2f855a",
    "data": "#b7791f",
    "interruption": "#c53030",
}
"""What is drawn, and in which colour."""
_LEFT = 170  # pixels for time and lane
_ROW = 24
_TOP = 64
_TEXT = 12
_FONT = "Helvetica, Arial, sans-serif"
_GREY = "#777777"
_LETTER = 6.7  # pixels of a letter, about
_TYPICAL = 40.0  # pixels of a gap as they are inside a program
_NARROWEST, _WIDEST = 12.0, 140.0
_MOST_WORDS = 96  # letters of a label


class Mark(NamedTuple):
    """One row of the picture."""

    lane: str
    """One of `LANES`."""
    begin: float
    """Seconds at which it began: the time of the event before, for what takes time."""
    end: float
    """Seconds at which it was traced."""
    label: str
    """What it was."""
    waited: bool = False
    """It began some time after `begin`: the function was pending at first."""


def read_trace(lines: Iterable[str]) -> list[Mark]:
    """The marks of trace lines; what is no trace line is passed over.

    UserError if there is none at all.
    """
    marks = list(_marks(lines))
    if not marks:
        raise UserError("there is nothing to draw: no line of a trace was seen")
    return marks


def _marks(lines: Iterable[str]) -> Iterator[Mark]:
    before: float | None = None
    pending = False
    for line in lines:
        found = _LINE.fullmatch(line.rstrip("\n"))
        if found is None:
            continue
        now = float(found[1])
        # The clock of a trace begins anew with its first reader.
        begin = now if before is None or before > now else before
        before = now
        what, text = found[3], found[4]
        if what == "irb":
            yield Mark("interruption", now, now, text)
        elif what == "ccw" and (ccw := _CCW.fullmatch(text)):
            ending = "" if ccw["ending"] == "unit status 0c" else f", {ccw['ending']}"
            yield Mark("CCW", begin, now, f"{ccw['at']} {ccw['name']}{ending}", pending)
            if _moves_data(int(ccw["code"], 16), int(ccw["count"])):
                yield Mark("data", begin, now, _data(ccw), pending)
            pending = False
        else:
            pending = True
            yield Mark("instruction", now, now, f"{what}: {text}")


def _moves_data(code: int, count: int) -> bool:
    """Whether a command moves data: all but control commands without any, and TIC (PoP 15)."""
    return count > 0 and code & 0x0F != 0x08 and code != 0x03


def _data(ccw: re.Match[str]) -> str:
    code = int(ccw["code"], 16)
    into_storage = code & 0x03 == 0x02 or code & 0x0F in (0x04, 0x0C)
    direction = "device → storage" if into_storage else "storage → device"
    return f"up to {ccw['count']} bytes at {ccw['cda']}, {direction}"


class _Axis:
    """Where a time is on the picture: to scale where much happens, broken where nothing does."""

    def __init__(self, times: Sequence[float]) -> None:
        moments = sorted(set(times))
        gaps = [after - before for before, after in itertools.pairwise(moments)]
        # A quarter of the gaps is shorter: those inside a program, where something is to be seen.
        short = sorted(gaps)[len(gaps) // 4] if gaps else 1.0
        self.breaks: list[tuple[float, float, float]] = []
        """Left end, right end and seconds of each stretch that is not to scale."""
        self._places = {moments[0]: 0.0}
        x = 0.0
        for moment, gap in zip(moments[1:], gaps, strict=True):
            wanted = gap / short * _TYPICAL
            width = min(max(wanted, _NARROWEST), _WIDEST)
            if wanted > _WIDEST:
                self.breaks.append((x, x + width, gap))
            x += width
            self._places[moment] = x
        self.width = x
        """Pixels."""

    def __getitem__(self, moment: float) -> float:
        return self._places[moment]


def draw(marks: Sequence[Mark], title: str) -> str:
    """The SVG document of *marks*; *title* stands at the top."""
    axis = _Axis([time for mark in marks for time in (mark.begin, mark.end)])
    labels = [_cut(mark.label) for mark in marks]
    right = max(
        axis[mark.end] + _LETTER * len(label) for mark, label in zip(marks, labels, strict=True)
    )
    width = _LEFT + max(right, axis.width) + 40
    height = _TOP + _ROW * len(marks) + 16
    elements: list[svg.Element] = [
        svg.Title(text=escape(title)),
        svg.Rect(x=0, y=0, width=width, height=height, fill="white"),
        _words(10, 20, title, size=14),
        *_legend(),
        *_breaks(axis, height),
    ]
    start = marks[0].end
    for row, (mark, label) in enumerate(zip(marks, labels, strict=True)):
        elements += _row(mark, label, axis, _TOP + row * _ROW, mark.end - start)
    return svg.SVG(
        width=width,
        height=height,
        viewBox=svg.ViewBoxSpec(0, 0, width, height),
        elements=elements,
    ).as_str()


def _legend() -> Iterator[svg.Element]:
    x = 10
    for lane, colour in LANES.items():
        yield svg.Rect(x=x, y=32, width=10, height=10, fill=colour)
        yield _words(x + 15, 41, lane)
        x += 110


def _breaks(axis: _Axis, height: float) -> Iterator[svg.Element]:
    for left, right, seconds in axis.breaks:
        middle = _LEFT + (left + right) / 2
        yield svg.Rect(
            x=middle - 24, y=_TOP - 14, width=48, height=height - _TOP + 6, fill="#f3f3f3"
        )
        yield _words(middle, _TOP - 4, _duration(seconds), _GREY, "middle")


def _row(
    mark: Mark, label: str, axis: _Axis, y: float, since_start: float
) -> Iterator[svg.Element]:
    colour = LANES[mark.lane]
    begin, end = _LEFT + axis[mark.begin], _LEFT + axis[mark.end]
    yield svg.Line(x1=10, x2=end, y1=y + _ROW, y2=y + _ROW, stroke="#eeeeee")
    yield _words(70, y + 16, f"+{_duration(since_start)}", _GREY, "end")
    yield _words(80, y + 16, mark.lane, colour)
    if end > begin:
        thin = mark.lane == "data"
        yield svg.Rect(
            x=begin, y=y + (9 if thin else 6), width=end - begin, height=6 if thin else 12,
            rx=2, fill=colour, fill_opacity=0.15 if mark.waited else 0.6,
        )  # fmt: skip
    elif mark.lane == "interruption":
        yield svg.Path(d=[svg.M(end - 6, y + 18), svg.h(12), svg.l(-6, -12), svg.Z()], fill=colour)
    else:
        yield svg.Circle(cx=end, cy=y + 12, r=5, fill=colour)
    yield _words(end + 10, y + 16, label)


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


def _cut(label: str) -> str:
    return label if len(label) <= _MOST_WORDS else f"{label[: _MOST_WORDS - 1]}…"


def _duration(seconds: float) -> str:
    """Seconds in the unit that fits: 1.25 s, 3.1 ms, 80 µs."""
    if seconds >= 1:
        return f"{seconds:.2f} s"
    if seconds >= 0.001:
        return f"{seconds * 1e3:.1f} ms"
    return f"{seconds * 1e6:.0f} µs"
