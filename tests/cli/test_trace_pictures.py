"""Pictures of a trace, as SVG and for Perfetto: what is in them, and where it stands."""

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from lab.mounts import PROJECT, vfioccw
from lab.waits import SOON
from vfioccw_fuse.cli.trace.perfetto import PerfettoFile
from vfioccw_fuse.cli.trace.seen import reader
from vfioccw_fuse.cli.trace.timeline import LANES, MOST_EVENTS, MOST_PROGRAMS, Timeline
from vfioccw_fuse.errors import UserError

TRACE = """\
    0.500000 0.0.0313 ssch  cc 0  program at 00002000, parm 00001234, lpm ff, format-1 CCWs
    2.500000 0.0.0313 ccw   00002000 63/40/16 at 00003000: define extent, CC  unit status 0c
    2.500100 0.0.0313 ccw   00002008 42/80/100 at 00004000: read, CD  data chained
    2.500200 0.0.0313 ccw   00002010 00/00/412 at 00005000: read  unit status 0e
... 3 lines lost
    2.500300 0.0.0313 irb   start function; alert status, status pending; unit check
    2.600000 0.0.0313 hsch  cc 1
"""
SVG = "{http://www.w3.org/2000/svg}"


def timeline(text: str) -> Timeline:
    made, read = Timeline(), reader()
    for line in text.splitlines():
        event = read(line)
        if event is not None:
            made.see(event)
    return made


def picture(text: str) -> ET.Element:
    return ET.fromstring(timeline(text).draw("a title"))


def texts(root: ET.Element) -> list[str]:
    return [element.text or "" for element in root.iter(f"{SVG}text")]


def test_every_line_is_a_mark_of_its_lane_and_data_has_its_own() -> None:
    lanes = [mark.lane for mark in timeline(TRACE).marks()]
    assert lanes == [
        "instruction", "CCW", "data", "CCW", "data", "CCW", "data", "interruption", "instruction",
    ]  # fmt: skip


def test_a_ccw_lasts_from_the_event_before_it() -> None:
    marks = [mark for mark in timeline(TRACE).marks() if mark.lane == "CCW"]
    assert [(mark.begin, mark.end) for mark in marks] == [
        (500_000_000, 2_500_000_000),
        (2_500_000_000, 2_500_100_000),
        (2_500_100_000, 2_500_200_000),
    ]
    assert [mark.waited for mark in marks] == [True, False, False]


def test_data_has_its_length_address_and_direction() -> None:
    labels = [mark.label for mark in timeline(TRACE).marks() if mark.lane == "data"]
    assert labels[0] == "up to 16 bytes at 00003000, storage → device"
    assert labels[1] == "up to 100 bytes at 00004000, device → storage"


def test_time_goes_to_the_right_and_rows_down() -> None:
    root = picture(TRACE)
    marks = [e for e in root.iter() if e.tag in (f"{SVG}circle", f"{SVG}path")]
    across = [float(e.get("cx") or (e.get("d") or "").split()[1].split(",")[0]) for e in marks]
    assert len(marks) == 3
    assert across == sorted(across)


def test_a_long_wait_breaks_the_axis_and_says_how_long_it_was() -> None:
    said = texts(picture(TRACE))
    assert "2.00 s" in said
    assert "99.7 ms" in said
    assert "a title" in said
    assert set(LANES) <= set(said)


def test_what_follows_soon_after_a_long_time_has_a_time_of_its_own() -> None:
    text = "".join(f"{at:12.6f} 0.0.0313 csch  cc 0\n" for at in (0.1, 0.1004, 1.513821, 1.513897))
    assert [said for said in texts(picture(text)) if said.startswith("+")] == [
        "+0 µs", "+400 µs", "+1.413821 s", "+1.413897 s",
    ]  # fmt: skip


def test_a_long_label_is_broken_between_its_parts_and_has_no_columns() -> None:
    orb = "program at 00001000, parm 00001234, lpm ff, format-1 CCWs, prefetch, format-2 IDAWs"
    said = texts(picture(f"    0.000001 0.0.0313 ssch  cc 0  {orb}\n"))
    assert said[-2:] == [f"ssch: cc 0, {orb[:-15]}", "format-2 IDAWs"]


def test_it_is_no_wider_than_it_must_be() -> None:
    lines = "".join(f"{n * 100:12.6f} 0.0.0313 csch  cc 0\n" for n in range(MOST_EVENTS))
    assert float(picture(lines).get("width") or 0) < 1200


def test_what_a_trace_says_is_text_and_no_markup() -> None:
    root = picture("    0.000001 0.0.0313 ssch  <script>alert(1)</script> & more\n")
    assert "ssch: <script>alert(1)</script> & more" in texts(root)


def test_one_event_alone_is_drawn() -> None:
    assert "csch: cc 0" in texts(picture("    0.000001 0.0.0313 csch  cc 0\n"))


@pytest.mark.parametrize(
    "line",
    [
        f"{'9' * 5000}.0 0.0.0313 ssch  cc 0",
        f"0.1 0.0.0313 ccw   00001000 02/20/{'9' * 5000} at 00002000: read  unit status 0c",
        "٣.٤ 0.0.0313 ssch  cc 0",
    ],
)
def test_a_number_that_no_trace_has_makes_no_picture_of_its_own(line: str) -> None:
    made = timeline(f"0.1 0.0.0313 ssch  cc 0\n{line}")
    assert [mark.lane for mark in made.marks() if mark.lane in ("CCW", "data")] == []
    made.draw("t")


def test_what_is_no_trace_is_an_error() -> None:
    with pytest.raises(UserError, match="no line of a trace"):
        timeline("hello\n\n").draw("t")


def test_a_kept_trace_and_stdin_are_drawn_by_the_command(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_text(TRACE)
    done = vfioccw("trace", kept, "--svg", tmp_path / "a.svg")
    assert (done.returncode, done.stderr) == (0, "")
    piped = subprocess.run(
        [sys.executable, "-m", "vfioccw_fuse", "trace", "-", "--svg", tmp_path / "b.svg"],
        input=TRACE, text=True, check=True, cwd=PROJECT, timeout=SOON,
    )  # fmt: skip
    assert piped.returncode == 0
    first, second = ((tmp_path / name).read_text() for name in ("a.svg", "b.svg"))
    assert re.sub("kept", "-", first) == re.sub("kept", "-", second)


def many(count: int) -> str:
    """A trace of so many programs, each longer than the one before by a microsecond."""
    lines = []
    for n in range(count):
        start = n + 0.1
        lines += [
            f"{start:12.6f} 0.0.0313 ssch  cc 0  program at 00001000",
            f"{start + 2e-5:12.6f} 0.0.0313 ccw   00001000 63/40/16 at 00003000: define extent, CC"
            "  unit status 0c, 16 bytes out",
            f"{start + 1e-4 + n * 1e-6:12.6f} 0.0.0313 ccw   00001008 42/00/512 at 00004000: read"
            "  unit status 0c, 512 bytes in",
            f"{start + 1.1e-4 + n * 1e-6:12.6f} 0.0.0313 irb   start function; primary status, "
            "secondary status, status pending; channel end, device end; cpa 00001010 count 0",
        ]
    return "".join(f"{line}\n" for line in lines)


def test_many_events_are_drawn_as_programs_and_too_many_of_them_are_left_out() -> None:
    root = picture(many(200))
    assert float(root.get("width") or 0) < 1400
    assert float(root.get("height") or 0) < 1700
    said = texts(root)
    assert "the 60 programs of 200 that took longest; 140 are left out, which took 110 µs to " in (
        "".join(said)
    )
    rows = [text for text in said if text.endswith("; define extent + read; 528 bytes")]
    assert len(rows) == MOST_PROGRAMS
    assert rows[0].startswith("250 µs"), "the shortest of those that are drawn comes first in time"


def test_commands_with_commas_in_their_names_are_told_apart_and_not_broken() -> None:
    name = "write count, key and data next track"
    text = many(20).replace(": read ", f": {name} ").replace(": define extent,", f": {name} 2,")
    said = "\n".join(texts(picture(text)))
    assert f"{name} 2 +\n{name}; 528 bytes".replace(", ", ",\xa0") in said


def test_a_long_name_of_a_subchannel_stands_whole_and_left_of_the_bars() -> None:
    name = "of-a-directory-with-a-long-name/0.0.0314"
    root = picture(many(20) + many(20).replace("0.0.0313", name))
    assert name in texts(root)
    [legend, *bars] = sorted({float(e.get("x") or 0) for e in root.iter(f"{SVG}rect")})[4:]
    assert bars[0] > legend
    assert min(bars) > 104 + 6 * len(name)


def test_a_program_that_takes_very_long_is_cut_and_says_how_long() -> None:
    text = many(50) + (
        "  100.000000 0.0.0313 ssch  cc 0  program at 00001000\n"
        "  105.000000 0.0.0313 hsch  cc 0\n"
        "  105.000001 0.0.0313 irb   start function, halt function; status pending\n"
    )
    said = texts(picture(text))
    assert "5.00 s; hsch cc 0; halt function" in said
    assert float(picture(text).get("width") or 0) < 1400


def perfetto(text: str) -> list[dict[str, Any]]:
    pieces: list[str] = []
    file, read = PerfettoFile(pieces.append, "a title"), reader()
    for line in text.splitlines():
        event = read(line)
        if event is not None:
            file.see(event)
    cut = "".join(pieces)
    assert json.loads(f"{cut}]") == json.loads(f"{cut}\n]\n")
    file.close()
    found: list[dict[str, Any]] = json.loads("".join(pieces))
    return found


def nested(events: list[dict[str, Any]]) -> list[str]:
    """The slices and instants with what they are in; what Chrome's format asks is checked.

    Times are microseconds and never go back on a track, each B has its E, instants a scope.
    """
    stacks: dict[int, list[str]] = {}
    times: dict[int, float] = {}
    seen = []
    for event in events:
        assert event.keys() >= {"ph", "pid", "tid", "ts"}
        if event["ph"] == "M":
            assert event["args"]
            continue
        track = event["tid"]
        assert event["ts"] >= times.get(track, 0.0)
        times[track] = event["ts"]
        stack = stacks.setdefault(track, [])
        if event["ph"] == "E":
            stack.pop()
            continue
        seen.append("/".join([*stack, event["name"]]))
        if event["ph"] == "B":
            stack.append(event["name"])
        else:
            assert (event["ph"], event["s"]) == ("i", "t")
    assert not any(stacks.values())
    return seen


def test_perfetto_has_starts_commands_data_and_interruptions_inside_each_other() -> None:
    events = perfetto(many(2))
    one = [
        *("start", "start/define extent", "start/define extent/16 bytes out"),
        *("start/read", "start/read/512 bytes in", "start/interruption"),
    ]
    assert nested(events) == one * 2
    start = next(event for event in events if event.get("name") == "start")
    assert start["ts"] == pytest.approx(100_000), "microseconds"


def test_perfetto_has_a_track_for_each_subchannel() -> None:
    text = many(1) + many(1).replace("0.0.0313", "0.0.0314")
    events = perfetto(text)
    names = {e["tid"]: e["args"]["name"] for e in events if e.get("name") == "thread_name"}
    assert sorted(names.values()) == ["0.0.0313", "0.0.0314"]
    assert {e["tid"] for e in events if e["ph"] in "BEi"} == set(names)


@pytest.mark.parametrize("lines", range(1, 8))
def test_perfetto_is_balanced_wherever_a_trace_ends_or_loses_lines(lines: int) -> None:
    whole = TRACE.splitlines(keepends=True)
    nested(perfetto("".join(whole[:lines])))
    nested(perfetto("".join(whole[lines:] + whole)))


def test_a_command_of_a_data_chain_is_one_slice_with_its_areas() -> None:
    assert nested(perfetto(TRACE))[:3] == ["start", "start/define extent", "start/read"]
    chained = TRACE.replace("data chained", "data chained, 100 bytes in").replace("... 3", "")
    assert "start/read/100 bytes in" in nested(perfetto(chained))
