"""`vfioccw debug` and `vfioccw run --debug`: by a script, by keys, and how they begin and end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.client import Client, errno_of
from lab.mounts import PROJECT, SCHID, MountedSystem, command
from lab.processes import files_of
from lab.programs import CC, CLEAR, ENDED, HALT, NOP, SENSE_ID, SLI, START, UC, orb
from lab.terminal import Terminal
from lab.typed import blocks, sections
from lab.waits import SOON, until
from tests.cli.commands import complaint, vfioccw
from vfioccw_fuse.cli.debug.commands import NAMES

ATTACHED = f"{SCHID}: programs stop at their first CCW\n"
PAGE = PROJECT / "vfioccw_fuse" / "docs" / "debug.md"
PROGRAM, DATA = 0x1000, 0x10000
F8, F9, CTRL_D = "\x1b[19~", "\x1b[20~", "\x04"


class Debugger:
    """`vfioccw debug` that gets its lines one by one."""

    def __init__(self, subchannel: Path, *options: str) -> None:
        self.process = subprocess.Popen(
            command("debug", subchannel, *options),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(PROJECT)},
        )  # fmt: skip
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == ATTACHED

    def ask(self, *lines: str) -> list[str]:
        """Send *lines*, gives what is printed until the last of them has ended."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        # A line that is printed by nothing but the echo of it.
        self.process.stdin.write("".join(f"{line}\n" for line in (*lines, "sense")))
        self.process.stdin.flush()
        said: list[str] = []
        while (line := self.process.stdout.readline().rstrip("\n")) != "> sense":
            assert line or self.process.poll() is None, said
            said.append(line)
        self.process.stdout.readline()
        return said

    def end(self, *lines: str) -> tuple[int, str, str]:
        """Send the last *lines*; gives exit status, stdout and stderr."""
        out, error = self.process.communicate("".join(f"{line}\n" for line in lines), SOON)
        return self.process.returncode, out, error


@pytest.fixture
def client(mnt: MountedSystem) -> Iterator[Client]:
    with Client(mnt.subchannel) as client:
        yield client


@pytest.fixture
def debugger(mnt: MountedSystem) -> Iterator[Debugger]:
    debugger = Debugger(mnt.subchannel)
    yield debugger
    if debugger.process.poll() is None:
        debugger.process.kill()
    debugger.process.communicate()


TWO = ((SENSE_ID, CC | SLI, 20, DATA), (NOP, SLI, 1, 0))
"""A program of two commands."""


def test_a_script_steps_and_prints_what_happened(client: Client, debugger: Debugger) -> None:
    assert client.start(*TWO) == 0
    assert debugger.ask("start", "orb", "step", "data", "step") == [
        "> start",
        "stopped at the first CCW of a start function",
        "  orb   program at 00001000, parm 0000abcd, lpm ff, format-1 CCWs, no prefetch, "
        "format-1 IDAWs",
        "  scsw  start function; start pending",
        "  next  00001000 e4/60/20 at 00010000: sense id, CC SLI",
        "> orb",
        "  intparm  0000abcd  interruption parameter",
        "  ctrl0    0080      format-1 CCWs, no prefetch, format-1 IDAWs",
        "  lpm      ff        paths 0 1 2 3 4 5 6 7",
        "  ctrl1    00",
        "  cpa      00001000  address of the channel program",
        "> step",
        "stopped at the next CCW",
        "  ccw   00001000 e4/60/20 at 00010000: sense id, CC SLI  unit status 0c, 7 bytes in",
        "  scsw  start function; subchannel active, device active",
        "  next  00001008 03/20/1 at 00000000: no-operation, SLI",
        "> data",
        "last  00001000 e4/60/20 at 00010000: sense id, CC SLI",
        "7 bytes in",
        "00010000: ff631001 933600                      .c...6.          ....l..",
        "next  00001008 03/20/1 at 00000000: no-operation, SLI",
        "in storage now",
        "00000000: 00                                   .                .",
        "> step",
        "interruption",
        "  ccw   00001008 03/20/1 at 00000000: no-operation, SLI  unit status 0c",
        "  irb   start function; primary status, secondary status, status pending; channel end, "
        "device end; cpa 00001010 count 1; path 80",
    ]
    assert client.wait()
    assert client.irb().dstat == ENDED
    assert debugger.end("quit")[0] == 0


def test_what_is_stopped_is_a_slow_device_to_its_client(
    mnt: MountedSystem, client: Client, debugger: Debugger
) -> None:
    assert client.start(*TWO) == 0
    debugger.ask("start")
    assert mnt.state()["fsm"] == "CP_PENDING"
    assert errno_of(lambda: os.pwrite(client.fds["io_region"], START.to_bytes(124, "big"), 0))
    assert not client.wait(0.2)
    debugger.ask("continue")
    assert client.wait()


@pytest.mark.parametrize(("command", "function"), [(1, HALT), (2, CLEAR)], ids=["hsch", "csch"])
def test_halt_and_clear_of_the_client_end_what_is_stopped(
    client: Client, debugger: Debugger, command: int, function: int
) -> None:
    assert client.start(*TWO) == 0
    debugger.ask("start", "step")
    assert client.command(command) == 0
    assert client.wait()
    assert client.irb().ctrl & function
    said = debugger.ask("path")
    assert "the program is gone: halted, cleared, cancelled or reset" in said
    assert client.start(*TWO) == 0
    assert "stopped at the first CCW of a start function" in debugger.ask("start")


@pytest.mark.parametrize(("name", "function"), [("halt", HALT), ("clear", CLEAR)])
def test_the_debugger_halts_and_clears(
    client: Client, debugger: Debugger, name: str, function: int
) -> None:
    assert client.start(*TWO) == 0
    said = debugger.ask("start", "step", name)
    said = said[said.index(f"> {name}") :]
    assert said[1:4] == [
        "the program is gone: halted, cleared, cancelled or reset",
        f"{'hsch' if name == 'halt' else 'csch'}: cc 0",
        "interruption",
    ]
    assert client.wait()
    assert client.irb().ctrl & function


def test_it_runs_to_a_unit_check_and_shows_the_sense(client: Client, debugger: Debugger) -> None:
    assert client.start((NOP, CC | SLI, 1, 0), (0x99, SLI, 4, DATA)) == 0
    said = debugger.ask("start", "run to unit check")
    assert said[-4:] == [
        "  2 CCWs were executed, the last of them:",
        "  ccw   00001008 99/20/4 at 00010000: write, SLI  unit status 0e",
        "  sense 80: command reject",
        "  scsw  start function; subchannel active, device active",
    ]
    assert not client.wait(0.2)
    debugger.ask("continue")
    assert client.wait()
    assert client.irb().dstat == ENDED | UC


def test_it_runs_to_an_address_and_to_a_command(client: Client, debugger: Debugger) -> None:
    program = ((NOP, CC | SLI, 1, 0), (NOP, CC | SLI, 1, 0), *TWO)
    assert client.start(*program) == 0
    assert debugger.ask("start", "run to 1008")[-1].startswith("  next  00001008 03")
    assert debugger.ask("run to command e4")[-1].startswith("  next  00001010 e4")


def test_storage_is_shown_and_changed_and_the_program_goes_on_with_it(
    client: Client, debugger: Debugger
) -> None:
    assert client.start(*TWO) == 0
    said = debugger.ask("start", "step", "store 1008 e4200004 00011000", "ccw", "continue")
    assert "8 bytes stored at 00001008" in said
    assert "next  00001008 e4/20/4 at 00011000: sense id, SLI" in said
    assert client.load(0x11000, 4) == bytes.fromhex("ff631001")
    assert debugger.ask("storage 11000 4")[1:] == [
        "00011000: ff631001                             .c..             ...."
    ]


def test_what_was_prefetched_stays_and_it_says_so(client: Client, debugger: Debugger) -> None:
    assert client.start(*TWO, ctrl0=0x00C0) == 0
    said = debugger.ask("start", "store 1000 03")
    assert said[-2:] == [
        "1 bytes stored at 00001000",
        "the CCW at 00001000 was prefetched: it stays as it was",
    ]


def test_idaws_are_resolved(client: Client, debugger: Debugger) -> None:
    client.store(0x3000, bytes.fromhex("0001010000011000"))
    assert client.start((SENSE_ID, 0x04 | SLI, 0x800, 0x3000)) == 0
    assert debugger.ask("start", "area")[-3:] == [
        "list of format-1 IDAWs at 00003000",
        "  00010100   1792 bytes",
        "  00011000    256 bytes",
    ]


def test_the_path_and_the_scsw(client: Client, debugger: Debugger) -> None:
    assert client.start(*TWO) == 0
    said = debugger.ask("start", "path", "scsw")
    assert "path 0, chpid 40" in said
    assert "  actl   0400      start pending" in said


def test_a_script_does_not_wait_for_ever(mnt: MountedSystem) -> None:
    debugger = Debugger(mnt.subchannel, "--within", "0.3")
    status, _, error = debugger.end("start")
    assert (status, error) == (
        1,
        "vfioccw: line 1: nothing happened within 0.3 s; see --within\n",
    )


@pytest.mark.parametrize("end", ["eof", "quit", "kill"])
def test_what_is_stopped_goes_on_however_the_debugger_ends(
    client: Client, debugger: Debugger, end: str
) -> None:
    assert client.start(*TWO) == 0
    debugger.ask("start", "step")
    if end == "kill":
        debugger.process.send_signal(signal.SIGKILL)
    else:
        assert debugger.end(*(["quit"] if end == "quit" else []))[0] == 0
    assert client.wait()
    assert client.irb().dstat == ENDED
    assert client.start(*TWO) == 0
    assert client.wait()


def test_ctrl_c_ends_it_as_every_command(client: Client, debugger: Debugger) -> None:
    assert client.start(*TWO) == 0
    debugger.ask("start")
    debugger.process.send_signal(signal.SIGINT)
    assert debugger.end() == (130, "", "")
    assert client.wait()


def test_one_at_a_time_debugs_a_subchannel(mnt: MountedSystem, debugger: Debugger) -> None:
    second = vfioccw("debug", mnt.subchannel, data=b"start\n")
    assert (second.returncode, second.stdout) == (1, b"")
    assert complaint(second).endswith("somebody debugs it already; one at a time can")
    assert debugger.end()[0] == 0
    assert vfioccw("debug", mnt.subchannel, data=b"quit\n").returncode == 0


GONE = "the subchannel is gone, or its mount has ended"


@pytest.mark.parametrize("end", ["remove", "end"])
def test_a_subchannel_that_goes_ends_it_with_one_line(
    mount: Callable[[], MountedSystem], end: str
) -> None:
    system = mount()
    debugger = Debugger(system.subchannel)
    with Client(system.subchannel) as client:
        assert client.start(*TWO) == 0
        debugger.ask("start")
        if end == "remove":
            assert vfioccw("remove", system.subchannel).returncode == 0
        else:
            os.kill(system.pid, signal.SIGTERM)
        status, _, error = debugger.end("run to unit check")
    assert status == 1
    assert error.startswith("vfioccw: line 3: ")
    assert GONE in error
    assert len(error.splitlines()) == 1


def test_the_trace_shows_the_same_beside_it(client: Client, debugger: Debugger) -> None:
    with subprocess.Popen(
        command("trace", client.directory), stdout=subprocess.PIPE, text=True
    ) as trace:
        assert trace.stdout is not None
        until(lambda: str(client.directory / "trace") in files_of(trace.pid), "it is open")
        assert client.start(*TWO) == 0
        debugger.ask("start", "step", "step")
        lines = [trace.stdout.readline().split()[2] for _ in range(4)]
        assert lines == ["ssch", "ccw", "ccw", "irb"]
        trace.terminate()


# --- at a terminal ------------------------------------------------------------------------------


def test_keys_step_and_commands_are_typed(mnt: MountedSystem, client: Client) -> None:
    with Terminal(command("debug", mnt.subchannel)) as terminal:
        terminal.expect("programs stop at their first CCW")
        assert client.start(*TWO, ctrl0=0x0080) == 0
        terminal.expect("next  00001000 e4/60/20 at 00010000: sense id, CC SLI")
        terminal.expect("stopped 00001000>")
        terminal.press("\r")
        terminal.expect("next  00001008 03/20/1")
        terminal.expect("stopped 00001008>")
        terminal.type("data")
        terminal.expect("00010000: ff631001 933600                      .c...6.          ....l..")
        terminal.type("nonsense")
        terminal.expect("nonsense: no such command; help lists them")
        terminal.press(F8)
        terminal.expect("interruption")
        terminal.expect("idle>")
        terminal.press("\x03")
        terminal.expect("quit detaches; halt and clear end the program")
        terminal.expect("idle>")  # a line is printed while the terminal has its own way with keys
        terminal.press(CTRL_D)
        assert terminal.ended() == 0
    assert client.wait()


def test_a_narrow_terminal_has_shorter_lines(mnt: MountedSystem) -> None:
    with Terminal(command("debug", mnt.subchannel), columns=40) as terminal:
        terminal.expect("idle>")
        terminal.type("storage 0 8")
        terminal.expect("00000000: 00000000  .... ....")
        terminal.expect("00000004: 00000000  .... ....")
        terminal.type("quit")
        assert terminal.ended() == 0


def test_a_narrow_terminal_breaks_lines_between_words(
    mnt: MountedSystem, client: Client
) -> None:
    with Terminal(command("debug", mnt.subchannel), columns=40) as terminal:
        terminal.expect("0.0.0313: programs stop at their first\n    CCW\n")
        assert client.start(*TWO) == 0
        terminal.expect("  scsw  start function; start pending\n")
        terminal.expect("  next  00001000 e4/60/20 at 00010000:\n        sense id, CC SLI\n")
        terminal.type("help")
        terminal.expect("run to unit check        go on, stop\n    when a command ends with")
        terminal.type("quit")
        assert terminal.ended() == 0


def test_what_it_is_attached_to_is_said_before_anything_is_typed(mnt: MountedSystem) -> None:
    with Terminal(command("debug", mnt.subchannel)) as terminal:
        assert terminal.expect("idle>") == ATTACHED
        terminal.press(CTRL_D)
        assert terminal.ended() == 0


def test_a_mount_that_ends_ends_the_terminal(mount: Callable[[], MountedSystem]) -> None:
    system = mount()
    with Terminal(command("debug", system.subchannel)) as terminal:
        terminal.expect("idle>")
        os.kill(system.pid, signal.SIGTERM)
        terminal.expect(GONE)
        assert terminal.ended() == 1


# --- a scenario ---------------------------------------------------------------------------------

SCENARIO = {
    "name": "two commands",
    "device": {"type": "3480"},
    "memory_size": 1 << 20,
    "memory": [[PROGRAM, "e4600014000100000320000100000000"]],
    "steps": [{"op": "ssch", "orb": orb(PROGRAM).hex()}, {"op": "wait"}, {"op": "tsch"}],
    "memory_after": [],
}


def debugged(tmp_path: Path, scenario: object, *lines: str) -> subprocess.CompletedProcess[bytes]:
    file = tmp_path / "scenario.json"
    file.write_text(json.dumps(scenario))
    data = "".join(f"{line}\n" for line in lines).encode()
    return vfioccw("run", "--debug", file, data=data)


def test_a_scenario_is_stepped_without_a_mount(tmp_path: Path) -> None:
    done = debugged(tmp_path, SCENARIO, "start", "step", "continue", "start")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode().splitlines() == [
        "scenario two commands",
        "0.0.0000: programs stop at their first CCW",
        "> start",
        "stopped at the first CCW of a start function",
        "  orb   program at 00001000, parm 0000abcd, lpm ff, format-1 CCWs, no prefetch, "
        "format-1 IDAWs",
        "  scsw  start function; start pending",
        "  next  00001000 e4/60/20 at 00010000: sense id, CC SLI",
        "> step",
        "stopped at the next CCW",
        "  ccw   00001000 e4/60/20 at 00010000: sense id, CC SLI  unit status 0c, 7 bytes in",
        "  scsw  start function; subchannel active, device active",
        "  next  00001008 03/20/1 at 00000000: no-operation, SLI",
        "> continue",
        "interruption",
        "  ccw   00001008 03/20/1 at 00000000: no-operation, SLI  unit status 0c",
        "  irb   start function; primary status, secondary status, status pending; channel end, "
        "device end; cpa 00001010 count 1; path 80",
        "> start",
        "the scenario has ended",
    ]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("stp", "stp: no such command; help lists them"),
        ("step 0", "step 0: a number from 1"),
        ("step x", "'x' is not a number of decimal digits"),
        ("step", "step: no program is in progress; start waits for one"),
        ("run 1000", "run 1000: write run to ADDRESS, or run to command CODE, or run to "),
        ("run to command 100", "100: at most ff"),
        ("run to 100000000", "100000000: at most ffffffff"),
        ("run to x", "'x' is not a number of hexadecimal digits"),
        ("store 10 1", "store: '1' is not pairs of hexadecimal digits"),
        ("store ffffff0 00", "0xffffff0: 1 bytes from there are not all storage"),
        ("storage 0 0", "0 bytes: 1 to 16384 are shown at a time"),
        ("storage fffffffffffffff0 64", "0xfffffffffffffff0: 64 bytes from there are not all"),
        ("halt now", "halt now: write halt"),
    ],
)
def test_the_first_line_that_is_wrong_ends_a_script(
    tmp_path: Path, line: str, problem: str
) -> None:
    done = debugged(tmp_path, SCENARIO, "# a comment", "", line, "storage 0")
    assert done.returncode == 1
    assert done.stdout.decode().splitlines()[2:] == [f"> {line}"]
    assert complaint(done).startswith(f"line 3: {problem}")


def test_help_lists_every_command_and_needs_no_program(tmp_path: Path) -> None:
    done = debugged(tmp_path, SCENARIO, "help")
    assert done.returncode == 0
    assert all(name in done.stdout.decode() for name in NAMES)


def test_a_scenario_without_a_name_is_said_once(tmp_path: Path) -> None:
    scenario = {key: value for key, value in SCENARIO.items() if key != "name"}
    said = debugged(tmp_path, scenario, "start").stdout.decode().splitlines()
    assert said[0] == "scenario"


def test_each_scenario_of_a_list_is_stepped(tmp_path: Path) -> None:
    both = [{**SCENARIO, "name": name} for name in ("first", "second")]
    done = debugged(tmp_path, both, "start", "continue", "start", "continue")
    said = done.stdout.decode().splitlines()
    assert done.returncode == 0
    assert said.count("interruption") == 2
    assert said.index("scenario first") < said.index("interruption") < said.index("scenario second")


def test_a_scenario_runs_to_its_end_when_nobody_steps_any_more(tmp_path: Path) -> None:
    done = debugged(tmp_path, SCENARIO, "start")
    assert (done.returncode, done.stderr) == (0, b"")
    done = debugged(tmp_path, SCENARIO)
    assert done.returncode == 0


def test_a_stepped_scenario_comes_out_as_recorded(tmp_path: Path) -> None:
    images = PROJECT / "tests" / "vectors" / "images"
    source = PROJECT / "tests" / "vectors" / "idaw.json.gz"
    done = vfioccw("run", "--debug", source, "--images", images, "--check", data=b"run to 1\n")
    assert done.returncode == 0, done.stderr
    assert re.search(rb"\n119 scenarios, 0 failed", done.stdout)


@pytest.mark.parametrize("steps", [[], ["step"]], ids=["first", "second"])
def test_a_scenario_that_is_halted_by_hand_goes_on(tmp_path: Path, steps: list[str]) -> None:
    done = debugged(tmp_path, SCENARIO, "start", *steps, "halt", "start")
    assert done.returncode == 0, done.stderr
    assert "start function, halt function" in done.stdout.decode()


def test_what_is_no_scenario_is_one_line(tmp_path: Path) -> None:
    done = debugged(tmp_path, {"name": "none", "steps": []}, "start")
    assert (done.returncode, done.stdout) == (1, b"")
    assert "\"none\": device is missing" in complaint(done)


def test_a_scenario_and_its_commands_do_not_both_come_from_stdin() -> None:
    done = vfioccw("run", "--debug", "-", data=b"{}")
    assert done.returncode == 2
    assert "name a file" in complaint(done)


# --- the page -----------------------------------------------------------------------------------


def test_the_session_of_the_page_typed_at_a_terminal(mnt: MountedSystem) -> None:
    section = sections(PAGE.read_text())["At a terminal"]
    first, other, session = re.findall(r"(?:^    .*\n)+", section, re.M)
    [start, *attached] = _commands(first, mnt)
    with Terminal(start.split(), columns=200) as terminal:
        for line in attached:
            terminal.expect(line)
        ssch = subprocess.Popen(_commands(other, mnt)[0].split(), stdout=subprocess.DEVNULL)
        for line in session.splitlines():
            prompt, typed, words = line[4:].partition("> ")
            terminal.expect(prompt + typed.rstrip())
            if typed:
                terminal.type(words)
        assert terminal.ended() == 0
        assert ssch.wait(SOON) == 1


def test_the_script_of_the_page_typed(mnt: MountedSystem) -> None:
    [[script]] = blocks(sections(PAGE.read_text())["By a script"])
    given, _, attached = script.rpartition(" | ")
    lines = subprocess.run(["bash", "-c", given], capture_output=True, check=True, text=True).stdout
    assert attached == "vfioccw debug m/0.0.0313"
    debugger = Debugger(mnt.subchannel)
    words = command("ssch", mnt.subchannel, "--ccw", "sense-id,cc,sli,20", "--ccw", "99,sli,1")
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as ssch:
        status, said, _ = debugger.end(*lines.splitlines())
        assert (status, ssch.wait(SOON)) == (0, 1)
    assert "sense 80: command reject" in said


def _commands(block: str, mnt: MountedSystem) -> list[str]:
    """The lines of *block* as they are to be typed and as they are shown here."""
    vfioccw = " ".join(command())
    lines = (line[4:].removeprefix("$ ") for line in block.splitlines())
    text = "\n".join(lines).replace("m/0.0.0313", str(mnt.subchannel))
    return re.sub("^vfioccw ", f"{vfioccw} ", text, flags=re.M).splitlines()
