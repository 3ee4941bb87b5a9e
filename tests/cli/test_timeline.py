"""A trace as a picture: what is in it, where it stands, and where its lines come from."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.mounts import PROJECT, mount, vfioccw
from lab.processes import ASLEEP_IN_POLL, files_of, sleeps_in
from lab.programs import CC, NOP, SENSE_ID, SLI
from lab.waits import SOON, until
from tests.rig import Rig, rigged
from vfioccw_fuse.cli.timeline import LANES, draw, read_trace
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


def picture(text: str) -> ET.Element:
    return ET.fromstring(draw(read_trace(text.splitlines()), "a title"))


def texts(root: ET.Element) -> list[str]:
    return [element.text or "" for element in root.iter(f"{SVG}text")]


def test_every_line_is_a_mark_of_its_lane_and_data_has_its_own() -> None:
    lanes = [mark.lane for mark in read_trace(TRACE.splitlines())]
    assert lanes == [
        "instruction", "CCW", "data", "CCW", "data", "CCW", "data", "interruption", "instruction",
    ]  # fmt: skip


def test_a_ccw_lasts_from_the_event_before_it() -> None:
    marks = [mark for mark in read_trace(TRACE.splitlines()) if mark.lane == "CCW"]
    assert [(mark.begin, mark.end) for mark in marks] == [
        (0.5, 2.5),
        (2.5, 2.5001),
        (2.5001, 2.5002),
    ]
    assert [mark.waited for mark in marks] == [True, False, False]


def test_data_has_its_length_address_and_direction() -> None:
    labels = [mark.label for mark in read_trace(TRACE.splitlines()) if mark.lane == "data"]
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


def test_it_is_no_wider_than_it_must_be() -> None:
    lines = "".join(f"{n * 100:12.6f} 0.0.0313 csch  cc 0\n" for n in range(100))
    assert float(picture(lines).get("width") or 0) < 100 * 150 + 400


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
    marks = read_trace(["0.1 0.0.0313 ssch  cc 0", line])
    assert [mark.lane for mark in marks if mark.lane in ("CCW", "data")] == []
    draw(marks, "t")


def test_what_is_no_trace_is_an_error() -> None:
    with pytest.raises(UserError, match="no line of a trace"):
        read_trace(["hello", ""])


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


@contextlib.contextmanager
def following(rig: Rig, target: Path) -> Iterator[subprocess.Popen[str]]:
    """`vfioccw trace --svg` that follows the subchannel of *rig*."""
    process = subprocess.Popen(
        [sys.executable, "-m", "vfioccw_fuse", "trace", rig.path, "--svg", target],
        env={**os.environ, "PYTHONPATH": str(PROJECT)}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        until(lambda: f"{rig.path}/trace" in files_of(process.pid), "it has opened the trace")
        until(lambda: sleeps_in(ASLEEP_IN_POLL, process.pid), "it follows the trace")
        yield process
    finally:
        process.kill()
        process.communicate()


def read_by(pid: int) -> int:
    """Bytes that a process has read so far."""
    return int(re.findall(r"rchar: (\d+)", Path(f"/proc/{pid}/io").read_text())[0])


def run_a_chain(rig: Rig) -> None:
    assert rig.start((NOP, CC | SLI, 1, 0), (SENSE_ID, 0, 7, 0x3000)) == 0
    rig.take()


def assert_the_chain_is_drawn(target: Path) -> None:
    said = texts(ET.parse(target).getroot())
    assert any(text.startswith("ssch: cc 0") for text in said)
    assert any("sense id" in text for text in said)
    assert any("up to 7 bytes at 00003000, device → storage" in text for text in said)
    assert any("channel end, device end" in text for text in said)


@pytest.mark.parametrize("asleep", [False, True], ids=["reading", "not yet"])
def test_a_subchannel_is_followed_until_ctrl_c_then_drawn(
    mnt, tmp_path: Path, asleep: bool
) -> None:
    target = tmp_path / "live.svg"
    with rigged(mnt) as rig, following(rig, target) as process:
        if asleep:
            process.send_signal(signal.SIGSTOP)
        run_a_chain(rig)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGCONT)
        assert process.communicate(timeout=SOON)[1] == ""
        assert process.returncode == 0
    assert_the_chain_is_drawn(target)


def test_a_subchannel_is_followed_until_its_mount_ends_then_drawn(tmp_path: Path) -> None:
    target = tmp_path / "live.svg"
    system = mount(tmp_path)
    with contextlib.ExitStack() as stack:
        stack.callback(system.give_up)
        rig = stack.enter_context(rigged(system))
        process = stack.enter_context(following(rig, target))
        before = read_by(process.pid)
        with (rig.path / "trace").open("rb", buffering=0) as trace:
            run_a_chain(rig)
            lines = b""
            while b" irb " not in lines:
                lines += trace.read(1 << 16)
        until(lambda: read_by(process.pid) >= before + len(lines), "it has read all of it")
        os.kill(system.pid, signal.SIGTERM)
        assert process.communicate(timeout=SOON)[1] == ""
        assert process.returncode == 0
    assert_the_chain_is_drawn(target)
