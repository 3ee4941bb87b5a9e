"""``vfioccw trace``: what it follows and leaves out, how it ends, and what it leaves behind."""

import contextlib
import json
import os
import re
import signal
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.mounts import PROJECT, Mount, command, detach, is_mounted, mount_at, mounted_for_now
from lab.processes import ASLEEP_IN_POLL, files_of, sleeps_in, stop
from lab.terminal import Terminal
from lab.typed import blocks, sections
from lab.waits import SOON, until
from tests.cli.commands import Done, complaint, here, vfioccw

PAGE = PROJECT / "vfioccw_fuse" / "docs" / "trace.md"
FBA, TAPE = "0.0.0313", "0.0.0181"


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Mount]:
    """A mount of a disk and a tape."""
    disk = tmp_path / "disk.img"
    disk.write_bytes(bytes(512 * 512))
    (tmp_path / "tape.aws").touch()
    devices = (f"fba@{FBA}:{disk}", f"3490@{TAPE}:{tmp_path}/tape.aws")
    words = [word for device in devices for word in ("--device", device)]
    with mounted_for_now(tmp_path / "mnt", *words) as made:
        yield made


@contextlib.contextmanager
def tracing(*words: object, opens: int = 1, **more) -> Iterator[subprocess.Popen[bytes]]:
    """`vfioccw trace words` that follows so many subchannels by now."""
    process = subprocess.Popen(
        command("trace", *words), stderr=subprocess.PIPE,
        **{"stdout": subprocess.PIPE, "env": {**os.environ, "PYTHONPATH": str(PROJECT)}, **more},
    )  # fmt: skip
    try:
        follows(process, opens)
        yield process
    finally:
        process.kill()
        process.communicate()


def follows(process: subprocess.Popen[bytes], opens: int) -> None:
    def opened() -> int:
        return sum(name.endswith("/trace") for name in files_of(process.pid))

    until(lambda: process.poll() is not None or opened() == opens, "it has opened the traces")
    until(lambda: sleeps_in(ASLEEP_IN_POLL, process.pid), "it follows them")


def ended(process: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> Done:
    process.send_signal(number)
    out, err = process.communicate(timeout=SOON)
    return Done(process.args, process.returncode, out, err)


def sense_id(mnt: Mount, schid: str) -> None:
    assert here("ssch", mnt.path / schid, "--ccw", "sense-id,sli,20")[0] == 0


def unit_check(mnt: Mount, schid: str) -> None:
    assert here("ssch", mnt.path / schid, "--ccw", "nop", "--ccw", "99,sli,1")[0] == 1


def whats(text: str) -> list[str]:
    return [" ".join(line.split()[1:3]) for line in text.splitlines()]


def test_a_whole_mount_is_followed_with_what_is_added_and_what_is_removed(
    two: Mount, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    with tracing(two.path, "--output", kept, opens=2) as process:
        sense_id(two, FBA)
        (tmp_path / "more.img").write_bytes(bytes(512))
        assert vfioccw("add", two.path, f"fba@0.0.0400:{tmp_path}/more.img").returncode == 0
        follows(process, 3)
        sense_id(two, "0.0.0400")
        assert vfioccw("remove", two.path / "0.0.0400").returncode == 0
        follows(process, 2)
        sense_id(two, TAPE)
        until(lambda: kept.read_text().count(" irb ") == 3, "it has written all of it")
        done = ended(process)
    assert done.returncode == 0
    assert complaint(done) == (
        f"{two.path}/0.0.0400: the subchannel is gone, or its mount has ended"
    )
    assert done.stdout.decode() == kept.read_text()
    rows = ("ssch", "ccw", "irb")
    assert whats(kept.read_text()) == [
        f"{schid} {row}" for schid in (FBA, "0.0.0400", TAPE) for row in rows
    ]


def test_data_is_shown_as_hexadecimal_digits_ascii_and_ebcdic(two: Mount) -> None:
    words = ("--data", 16, two.path / FBA, two.path / TAPE, two.path / FBA)
    with tracing(*words, opens=2) as process:
        hello = f"c8c5d3d3d6{'41' * 12}"
        vfioccw("ssch", two.path / FBA, "--ccw", f"define-extent,={hello}")
        sense_id(two, TAPE)
        done = ended(process, signal.SIGINT)
    assert done.returncode == 130
    lines = done.stdout.decode().splitlines()
    first, *_, second = [line for line in lines if line.startswith("    0001")]
    assert first.split(": ")[1] == (
        "c8c5d3d3 d6414141 41414141 41414141  .....AAAAAAAAAAA HELLO..........."
    )
    assert second.split(": ")[1].startswith("ff3490")
    assert any(line.endswith("16 bytes out") for line in lines)


def test_a_terminal_of_40_columns_gets_shorter_lines_of_data(two: Mount) -> None:
    with Terminal(command("trace", two.path / FBA, "--data", "64"), columns=40) as terminal:
        follows(terminal.process, 1)
        sense_id(two, FBA)
        terminal.expect("ssch  cc 0\n    program at 00010000, parm 00000000,\n    lpm ff,")
        terminal.expect("    00010010: ff631001  .c..")
        terminal.expect("    00010014: 933600    .6.")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.process.wait(SOON) == 130


def test_the_page_typed_at_a_terminal(two: Mount) -> None:
    section = sections(PAGE.read_text())["At a terminal"]
    [[first], [other], shown] = blocks(section)
    words, others = (line.removeprefix("$ vfioccw ").split() for line in (first, other))
    assert words.pop(1) == others.pop(1) == f"m/{FBA}"
    with Terminal(command(*words, two.path / FBA), columns=200) as terminal:
        follows(terminal.process, 1)
        assert here(others[0], two.path / FBA, *others[1:])[0] == 0
        for line in shown:
            terminal.expect(line.lstrip("0123456789."))
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.ended() == 130


def test_at_a_terminal_long_lines_go_on_below_their_words(two: Mount) -> None:
    with Terminal(command("trace", two.path / FBA), columns=80) as terminal:
        follows(terminal.process, 1)
        sense_id(two, FBA)
        terminal.expect(f"{FBA} ssch  cc 0  program at 00010000, parm 00000000, lpm ff,\n")
        terminal.expect(f"{' ' * 28}format-1 CCWs, prefetch, format-2 IDAWs\n")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.process.wait(SOON) == 130


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trace of two devices as JSON."""
    place = tmp_path_factory.mktemp("events")
    (place / "disk.img").write_bytes(bytes(512 * 64))
    (place / "tape.aws").touch()
    made = mount_at(
        place / "mnt", "--device", f"fba@{FBA}:{place}/disk.img",
        "--device", f"3490@{TAPE}:{place}/tape.aws",
    )  # fmt: skip
    try:
        with (place / "kept").open("wb") as kept:
            words = (made.path, "--json", "--data", 8)
            with tracing(*words, opens=2, stdout=kept) as process:
                sense_id(made, FBA)
                unit_check(made, FBA)
                sense_id(made, TAPE)
                done = ended(process)
        assert done.stderr == b""
        assert made.unmount().returncode == 0
    finally:
        made.give_up()
    return place / "kept"


def chosen(kept: Path, *words: object) -> list[str]:
    status, text = here("trace", kept, *words)
    assert status == 0
    return [
        " ".join(line.split()[1:4:2] if " ccw " in line else line.split()[1:3])
        for line in text.splitlines()
        if not line.startswith("    0001")
    ]


def test_events_are_chosen_by_subchannel_type_and_command(events: Path) -> None:
    starts = [f"{FBA} ssch", f"{FBA} 00010000", f"{FBA} irb"]
    tape = [line.replace(FBA, TAPE) for line in starts]
    assert chosen(events, "--subchannel", TAPE) == tape
    for name in ("tape", "3490"):
        assert chosen(events, "--device", name) == tape
    assert chosen(events, "--device", "9336", "--subchannel", TAPE) == []
    for name in ("sense-id", "e4", "0xE4"):
        assert chosen(events, "--command", name) == starts + tape
    # A program that has none is left out; of one that has, no other CCW.
    assert chosen(events, "--command", "99") == [f"{FBA} ssch", f"{FBA} 00010008", f"{FBA} irb"]


def test_a_trace_that_was_kept_as_json_is_printed_the_same_again(events: Path) -> None:
    assert vfioccw("trace", events, "--json").stdout.decode() == events.read_text()
    done = vfioccw("trace", "-", data=events.read_bytes())
    assert "    00010010: ff631001 933600 " in done.stdout.decode()
    assert vfioccw("trace", "-", data=done.stdout).stdout == b"".join(
        line for line in done.stdout.splitlines(keepends=True) if not line.startswith(b"    0001")
    )


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--command", "frobnicate"], "--command frobnicate: no command code in hexadecimal"),
        (["--device", "3391"], "--device 3391: unknown device type; one of "),
        (["--subchannel", "0.313"], "--subchannel 0.313: such as 0.0.0313"),
        (["--data", "9"], "--data: a trace that was kept has the data that it has"),
        (["-"], "A trace that was kept is read alone"),
    ],
)
def test_what_no_trace_can_have_is_wrong_use(events: Path, words: list[str], line: str) -> None:
    done = vfioccw("trace", events, *words)
    assert done.returncode == 2
    assert complaint(done).startswith(line)


def assert_the_program_is_drawn(svg: Path, perfetto: Path) -> None:
    said = [text.text or "" for text in ET.parse(svg).iter("{http://www.w3.org/2000/svg}text")]
    assert any(text.startswith("ssch: cc 0") for text in said)
    assert any("sense id" in text for text in said)
    assert any("7 bytes at 00010010, device → storage" in text for text in said)
    phases = [event["ph"] for event in json.loads(perfetto.read_text())]
    assert (phases.count("B"), phases.count("E"), phases.count("i")) == (3, 3, 1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_what_was_traced_is_kept_at_signals_also_if_it_was_not_read_yet(
    two: Mount, tmp_path: Path, number: signal.Signals
) -> None:
    svg, perfetto, kept = (tmp_path / name for name in ("a.svg", "a.json", "a.txt"))
    words = (two.path / FBA, "--svg", svg, "--perfetto", perfetto, "--output", kept)
    with tracing(*words) as process:
        stop(process.pid)
        sense_id(two, FBA)
        process.send_signal(number)
        done = ended(process, signal.SIGCONT)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert len(kept.read_text().splitlines()) == 3
    assert_the_program_is_drawn(svg, perfetto)


def test_a_mount_that_is_gone_at_the_next_look_ends_its_trace(two: Mount) -> None:
    with tracing(two.path, opens=2) as process:
        process.send_signal(signal.SIGSTOP)
        os.kill(two.pid, signal.SIGKILL)
        detach(two.path)
        until(lambda: not is_mounted(two.path), "what is below is seen")
        process.send_signal(signal.SIGCONT)
        process.communicate(timeout=SOON)
    assert process.returncode == 0


def test_what_was_traced_is_kept_when_the_mount_ends(two: Mount, tmp_path: Path) -> None:
    svg, perfetto, kept = (tmp_path / name for name in ("a.svg", "a.json", "a.txt"))
    words = (two.path / FBA, "--svg", svg, "--perfetto", perfetto, "--output", kept)
    with tracing(*words) as process:
        sense_id(two, FBA)
        until(lambda: " irb " in kept.read_text(), "it has read all of it")
        os.kill(two.pid, signal.SIGTERM)
        _, error = process.communicate(timeout=SOON)
    assert process.returncode == 0
    assert error.decode() == (
        f"vfioccw: {two.path}/{FBA}: the subchannel is gone, or its mount has ended\n"
    )
    assert_the_program_is_drawn(svg, perfetto)
    done = vfioccw("trace", two.path)
    assert done.returncode == 1
    assert complaint(done).startswith(str(two.path))


@pytest.mark.parametrize("option", ["--output", "--perfetto", "--svg"])
def test_a_full_disk_is_said_with_the_name_of_the_file(events: Path, option: str) -> None:
    done = vfioccw("trace", events, option, "/dev/full")
    assert done.returncode == 1
    assert re.fullmatch(
        r"/dev/full: no space left on device; free some space; what (was traced until then is in "
        r"it|is in it is not complete)",
        complaint(done),
    )


def test_a_file_that_cannot_be_written_is_said_before_anything_is_traced(
    two: Mount, tmp_path: Path
) -> None:
    done = vfioccw("trace", two.path, "--svg", tmp_path / "missing" / "a.svg")
    assert done.returncode == 1
    assert complaint(done) == f"{tmp_path}/missing/a.svg: no such file or directory"


def test_a_picture_of_nothing_is_none_and_leaves_no_file_and_an_older_one_as_it_was(
    two: Mount, tmp_path: Path
) -> None:
    new, old = tmp_path / "new.svg", tmp_path / "old.svg"
    old.write_text("older")
    for svg in (new, old):
        done = vfioccw("trace", two.path, "--seconds", "0.1", "--svg", svg)
        assert done.returncode == 1
        assert "nothing to draw" in complaint(done)
    assert not new.exists()
    assert old.read_text() == "older"


def test_a_closed_pipe_ends_it_silently_and_files_have_what_was_seen(
    two: Mount, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    with tracing(two.path, "--output", kept, opens=2) as process:
        assert process.stdout is not None
        process.stdout.close()
        sense_id(two, FBA)
        assert process.wait(SOON) == 0
        assert process.stderr is not None
        assert process.stderr.read() == b""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_that_of_a_mount_ends_with_it_however_it_ends(two: Mount, number: signal.Signals) -> None:
    with tracing(two.path, opens=2) as process:
        os.kill(two.pid, number)
        _, error = process.communicate(timeout=SOON)
    assert process.returncode == 0
    assert sorted(error.decode().splitlines()) == [
        f"vfioccw: {two.path}/{name}: the subchannel is gone, or its mount has ended"
        for name in (TAPE, FBA)
    ]


def test_it_ends_when_nobody_reads_it_any_more_though_nothing_happens(two: Mount) -> None:
    with tracing(two.path, opens=2) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(SOON) == 0


def test_it_ends_after_its_time(two: Mount) -> None:
    done = vfioccw("trace", two.path, "--seconds", "0.1")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
