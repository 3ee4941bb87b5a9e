"""The 3215 on a pseudo-terminal: printing, reading, attention."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import trio

from lab.mounts import IMPORTS
from lab.programs import ATTENTION, ENDED, INCORRECT_LENGTH, UC, UE
from lab.waits import SOON
from tests.devices.unit import Unit, attached, ccw, spec
from tests.machine import DATA, Machine
from vfioccw_fuse.devices.console.device import OUTPUT_KEPT, Console3215, Keyboard
from vfioccw_fuse.errors import UserError

WRITE, WRITE_RETURN, READ, ALARM, NOP, SENSE_ID = 0x01, 0x09, 0x0A, 0x0B, 0x03, 0xE4

ELSEWHERE = """
import sys
from tests.devices.unit import spec
from vfioccw_fuse.devices.console.device import Console3215
devices = [Console3215.open(spec("3215", link)) for link in sys.argv[1:]]
print(*(device.terminal.name for device in devices), flush=True)
sys.stdin.read()
"""


class Operator:
    """Somebody at the other end of the terminal."""

    def __init__(self, path: str) -> None:
        self.fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        self.seen = b""

    def type(self, keys: str) -> None:
        os.write(self.fd, keys.encode())

    async def sees(self, text: str) -> None:
        """Wait until *text* is the next that is printed."""
        wanted = text.encode()
        with trio.fail_after(60):
            while len(self.seen) < len(wanted):
                await trio.lowlevel.wait_readable(self.fd)
                self.seen += os.read(self.fd, 4096)
        assert self.seen[: len(wanted)] == wanted
        self.seen = self.seen[len(wanted) :]


@asynccontextmanager
async def console(directory: Path, path: Path | str = "-"):
    device = Console3215.open(spec("3215", path))
    async with attached(device, directory) as unit:
        operator = Operator(device.terminal.name)
        try:
            yield unit, operator
        finally:
            os.close(operator.fd)


async def unsolicited(unit: Unit) -> int:
    ending = await unit.ending()
    return ending.dstat


def put(unit: Unit, text: str) -> int:
    data = text.encode("cp037")
    unit.store(DATA, data)
    return len(data)


async def settle() -> None:
    for _ in range(20):
        await trio.sleep(0.002)


# -------------------------------------------------------------------------------------- printing
async def test_what_is_written_is_printed(tmp_path):
    async with console(tmp_path) as (unit, operator):
        size = put(unit, "HELLO world [1]")
        ending = await unit.run(ccw(WRITE_RETURN, size, flags=0), ccw(WRITE, 5, flags=0))
        assert (ending.dstat, ending.cstat, ending.count) == (ENDED, 0, 0)
        await operator.sees("HELLO world [1]\r\nHELLO")


async def test_new_lines_begin_lines_and_controls_are_blanks(tmp_path):
    async with console(tmp_path) as (unit, operator):
        unit.store(DATA, bytes.fromhex("c1 15 c2 25 c3 00 c4 2f"))
        await unit.run(ccw(WRITE, 8, flags=0))
        await operator.sees("A\r\nB\r\nC D\a")


async def test_the_alarm_rings(tmp_path):
    async with console(tmp_path) as (unit, operator):
        assert (await unit.run(ccw(ALARM))).dstat == ENDED
        await operator.sees("\a")


async def test_printing_never_waits_for_an_operator_and_keeps_the_newest(tmp_path):
    async with console(tmp_path) as (unit, operator):
        for number in range(4000):
            size = put(unit, f"line {number:5} ".ljust(60, "."))
            assert (await unit.run(ccw(WRITE_RETURN, size))).dstat == ENDED
        with trio.fail_after(60):
            while not operator.seen.endswith(f"line {3999:5} ".ljust(60, ".").encode() + b"\r\n"):
                await trio.lowlevel.wait_readable(operator.fd)
                operator.seen += os.read(operator.fd, 65536)
        lines = operator.seen.decode().split("\r\n")
        assert OUTPUT_KEPT - 100 < len(operator.seen) < OUTPUT_KEPT + 60000
        # What is left out is whole lines, except where the terminal itself was full.
        assert sum(not line.startswith("line ") for line in lines[:-1]) <= 1


async def test_a_long_write_is_printed_whole(tmp_path):
    async with console(tmp_path) as (unit, operator):
        size = put(unit, "abcdefgh" * 2500)
        unit.start(ccw(WRITE, size, flags=0))
        await operator.sees("abcdefgh" * 2500)
        assert (await unit.ending()).dstat == ENDED


# --------------------------------------------------------------------------------------- reading
async def test_a_read_waits_for_the_operator_s_line(tmp_path):
    async with console(tmp_path) as (unit, operator):
        unit.start(ccw(READ, 80))
        await settle()
        assert not unit.sch.scsw.status_pending
        operator.type("logon\r")
        ending = await unit.ending()
        assert (ending.dstat, ending.count) == (ENDED, 75)
        assert unit.load(DATA, 5) == "logon".encode("cp037")
        await operator.sees("logon\r\n")
        await settle()
        assert not unit.sch.scsw.status_pending  # and no attention for a line that was asked for


def test_a_line_that_comes_before_anybody_is_seen_to_wait_is_read_all_the_same(tmp_path):
    device = Console3215.open(spec("3215", "-"))
    machine = Machine(device, tmp_path)
    terminal = os.open(device.terminal.name, os.O_RDWR | os.O_NOCTTY)
    try:
        machine.start((READ, 0x20, 80, DATA))
        os.write(terminal, b"quick\r")
        device.hear()
        machine.executor.settle()
        irb = machine.take()
        assert (irb.dstat, irb.count) == (ENDED, 75)
        assert not machine.sch.scsw.status_pending
    finally:
        os.close(terminal)
        machine.close()


async def test_a_line_that_is_longer_than_the_count_is_cut(tmp_path):
    async with console(tmp_path) as (unit, operator):
        unit.start(ccw(READ, 3, flags=0))
        operator.type("four\n")
        ending = await unit.ending()
        assert (ending.dstat, ending.cstat) == (ENDED, INCORRECT_LENGTH)
        assert unit.load(DATA, 4) == "fou".encode("cp037") + b"\0"


async def test_an_empty_line_ends_a_read(tmp_path):
    async with console(tmp_path) as (unit, operator):
        unit.start(ccw(READ, 80))
        await settle()
        operator.type("\r")
        ending = await unit.ending()
        assert (ending.dstat, ending.count) == (ENDED, 80)


async def test_enter_alone_is_the_request_key(tmp_path):
    async with console(tmp_path) as (unit, operator):
        operator.type("\r")
        assert await unsolicited(unit) == ATTENTION
        unit.start(ccw(READ, 80))
        await settle()
        assert not unit.sch.scsw.status_pending
        operator.type("x\r")
        assert (await unit.ending()).count == 79


async def test_a_line_that_nobody_asked_for_is_kept_and_announced(tmp_path):
    async with console(tmp_path) as (unit, operator):
        operator.type("first\rsecond\r")
        assert await unsolicited(unit) == ATTENTION
        ending = await unit.run(ccw(READ, 80))
        assert unit.load(DATA, 80 - ending.count) == "first".encode("cp037")
        assert await unsolicited(unit) == ATTENTION
        ending = await unit.run(ccw(READ, 80))
        assert unit.load(DATA, 80 - ending.count) == "second".encode("cp037")
        await settle()
        assert not unit.sch.scsw.status_pending


async def test_cancel_ends_a_read_with_unit_exception(tmp_path):
    async with console(tmp_path) as (unit, operator):
        unit.start(ccw(READ, 80))
        await settle()
        operator.type("never mind\x03")
        ending = await unit.ending()
        assert (ending.dstat, ending.count) == (ENDED | UE, 80)
        operator.type("lost\x03")
        await settle()
        assert not unit.sch.scsw.status_pending


async def test_after_a_halt_a_line_is_announced_again(tmp_path):
    async with console(tmp_path) as (unit, operator):
        unit.start(ccw(READ, 80))
        await settle()
        assert unit.sch.hsch() == 0
        await unit.ending()
        operator.type("later\r")
        assert await unsolicited(unit) == ATTENTION
        ending = await unit.run(ccw(READ, 80))
        assert unit.load(DATA, 80 - ending.count) == "later".encode("cp037")


async def test_a_clear_drops_a_read_that_waits(tmp_path):
    async with console(tmp_path) as (unit, operator):
        unit.start(ccw(READ, 80))
        await settle()
        assert unit.sch.csch() == 0
        await unit.ending()
        operator.type("\r")
        assert await unsolicited(unit) == ATTENTION


async def test_shell_tools_are_operators_too(tmp_path):
    link = tmp_path / "console"
    async with console(tmp_path, link) as (unit, _operator):
        unit.start(ccw(READ, 80))
        await settle()
        await trio.run_process(["sh", "-c", f'echo "from a shell" > {link}'])
        ending = await unit.ending()
        assert unit.load(DATA, 80 - ending.count) == "from a shell".encode("cp037")


# ---------------------------------------------------------------------------------- the keyboard
def typed(keys: str) -> tuple[list[str | None], str]:
    keyboard = Keyboard()
    echo = "".join(keyboard.press(key)[0] for key in keys)
    return list(keyboard.lines), echo


@pytest.mark.parametrize(
    ("keys", "lines"),
    [
        ("abc\r", ["abc"]),
        ("abc\r\ndef\n", ["abc", "def"]),
        ("abx\x7fc\r", ["abc"]),
        ("\b\babc\r", ["abc"]),
        ("wrong\x15right\r", ["right"]),
        ("a\x1b[Ab\x1bOPc\x1b[15~d\r", ["abcd"]),
        ("a\x1b\rb\r", ["a", "b"]),
        ("a\x1bxb\r", ["ab"]),
        ("a\0\tb\x04\r", ["ab"]),
        ("x\x03y\r", [None, "y"]),
        ("\r\r", ["", ""]),
        ("é~\r", ["é~"]),
    ],
)
def test_a_line_can_be_edited(keys, lines):
    assert typed(keys)[0] == lines


def test_what_is_typed_is_echoed():
    assert typed("ab\x7fc\r")[1] == "ab\b \bc\r\n"
    assert typed("ab\x15c\x03")[1] == "ab\b \b\b \bc^C\r\n"


def test_lines_and_characters_too_many_ring_the_bell():
    lines, echo = typed("x" * 151 + "\r")
    assert lines == ["x" * 150]
    assert echo.endswith("x\a\r\n")
    lines, echo = typed("x\r" * 65)
    assert len(lines) == 64
    assert echo.endswith("x\a")


def test_an_escape_that_does_not_end_is_given_up():
    assert typed("\x1b[" + "1" * 20 + "ok\r")[0] == ["11111" + "ok"]


# --------------------------------------------------------------------------- identity and its end
async def test_a_console_tells_what_it_is(tmp_path):
    async with console(tmp_path) as (unit, _operator):
        ending = await unit.run(ccw(NOP), ccw(SENSE_ID, 256))
        assert (ending.dstat, ending.count) == (ENDED, 249)
        assert unit.load(DATA, 7).hex() == "ff321500321500"
        assert (await unit.run(ccw(0x02, 80))).dstat & UC
        assert await unit.sense() == b"\x80"
        assert await unit.sense() == b"\0"


async def test_a_terminal_that_is_gone_needs_intervention(tmp_path):
    async with console(tmp_path) as (unit, _operator):
        unit.sch.device.close()
        for code in (WRITE, WRITE_RETURN, READ, ALARM):
            assert (await unit.run(ccw(code, 5))).dstat == UC
            assert await unit.sense() == b"\x40"


async def test_closing_ends_the_service_by_itself(tmp_path):
    device = Console3215.open(spec("3215", "-"))
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(device.service)
            await trio.testing.wait_all_tasks_blocked()
            device.close()
    device.close()


async def test_the_link_lives_as_long_as_the_console(tmp_path):
    link = tmp_path / "console"
    async with console(tmp_path, link) as (unit, _operator):
        name = os.readlink(link)
        assert name.startswith("/dev/pts/")
        assert unit.sch.device.name == f"console 3215 {name}"
    assert not os.path.lexists(link)


async def test_a_link_that_others_have_made_since_stays(tmp_path):
    link = tmp_path / "console"
    async with console(tmp_path, link):
        link.unlink()
        link.symlink_to("/dev/null")
    assert os.readlink(link) == "/dev/null"


def test_a_link_left_behind_is_replaced(tmp_path):
    link = tmp_path / "console"
    link.symlink_to("/dev/pts/4000000")
    device = Console3215.open(spec("3215", link))
    assert os.readlink(link) == device.terminal.name
    device.close()


@contextmanager
def consoles_elsewhere(*links: Path) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """A process with a console at each link: it, and its terminals; killed at the end."""
    process = subprocess.Popen(
        [sys.executable, "-c", ELSEWHERE, *map(str, links)],
        env={**os.environ, "PYTHONPATH": IMPORTS},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().split()
    finally:
        process.kill()
        process.communicate(timeout=SOON)


def test_the_link_of_a_killed_console_is_replaced_when_its_terminal_is_another_s_by_now(tmp_path):
    link = tmp_path / "console"
    with consoles_elsewhere(link) as (_, [name]):
        pass
    assert os.readlink(link) == name
    opened: list[int] = []
    while not os.path.exists(name):
        opened += os.openpty()
    device = Console3215.open(spec("3215", link))
    assert os.readlink(link) == device.terminal.name
    device.close()
    for fd in opened:
        os.close(fd)


def test_links_of_killed_consoles_are_replaced_in_any_order(tmp_path):
    links = [tmp_path / "one", tmp_path / "two", tmp_path / "three"]
    with consoles_elsewhere(*links):
        pass
    devices = [Console3215.open(spec("3215", link)) for link in reversed(links)]
    names = [device.terminal.name for device in devices]
    assert [os.readlink(link) for link in reversed(links)] == names
    for device in devices:
        device.close()
    assert not os.listdir(tmp_path)


def test_the_link_of_a_living_console_stays(tmp_path):
    link = tmp_path / "console"
    with consoles_elsewhere(link) as (_, [name]):
        with pytest.raises(UserError, match="exists; remove it"):
            Console3215.open(spec("3215", link))
        (tmp_path / "way").symlink_to(tmp_path)
        with pytest.raises(UserError, match="exists; remove it"):
            Console3215.open(spec("3215", tmp_path / "way" / "console"))
        assert os.readlink(link) == name
    device = Console3215.open(spec("3215", link))
    with pytest.raises(UserError, match="exists; remove it"):
        Console3215.open(spec("3215", link))
    assert os.readlink(link) == device.terminal.name
    device.close()


def test_a_link_to_what_is_no_terminal_stays(tmp_path):
    link = tmp_path / "console"
    link.symlink_to("/dev/null")
    with pytest.raises(UserError, match="exists; remove it"):
        Console3215.open(spec("3215", link))
    assert os.readlink(link) == "/dev/null"


def test_a_place_that_is_taken_is_refused(tmp_path):
    (tmp_path / "file").write_text("keep me")
    with pytest.raises(UserError, match="exists; remove it"):
        Console3215.open(spec("3215", tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "keep me"
    with pytest.raises(UserError, match="no link to the console"):
        Console3215.open(spec("3215", tmp_path / "none" / "x"))
    with pytest.raises(UserError, match="readonly"):
        Console3215.open(spec("3215", "-", readonly=True))


def test_nothing_is_left_open(tmp_path):
    before = sorted(os.listdir("/proc/self/fd"))
    for _ in range(3):
        Console3215.open(spec("3215", tmp_path / "x")).close()
        with pytest.raises(UserError):
            Console3215.open(spec("3215", tmp_path))
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_the_terminal_is_raw():
    device = Console3215.open(spec("3215", "-"))
    try:
        done = subprocess.run(
            ["stty", "-a", "-F", device.terminal.name], capture_output=True, text=True, check=True
        )
    finally:
        device.close()
    assert "-icanon" in done.stdout
    assert "-echo " in done.stdout
