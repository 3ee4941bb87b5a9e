"""Requests as people write them, and as the client takes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import programs
from vfioccw_fuse.conform import ConformError
from vfioccw_fuse.conform.script import GOOD, Case, for_interface, read_cases, script_of


def script(do: str) -> list[str]:
    return script_of([Case("c", do, "why")]).splitlines()[1:]


def test_a_start_is_the_bytes_of_the_lab() -> None:
    orb = programs.orb(0x1000, 0x00C0, lpm=0x80)
    request = programs.request(programs.START, orb, 120).hex()
    assert script("start lpm=80") == [f"write 0 0 {request}.=0"]


def test_run_waits_for_the_end() -> None:
    assert script("run")[1:] == ["final"]


def test_a_short_start_is_cut() -> None:
    assert script("start size=12") == [f"write 0 0 {programs.orb(0x1000, 0x00C0).hex()}"]


@pytest.mark.parametrize(
    ("do", "line"),
    [
        ("1000: 03/60/1*2 08/00/0@20", "store 1000 " + "0360000100000000" * 2 + "0800000000000020"),
        ("format0 1000: e4/20/64@2000", "store 1000 e400200020000040"),
        ("idal 3000: 2000", "store 3000 0000000000002000"),
        ("idal31 3000: 2000 2800", "store 3000 0000200000002800"),
        ("write schib 4: 00*3", "write 2 4 000000"),
        ("write io 0: ", "write 0 0 "),
        ("read crw 0 8", "read 3 0 8"),
        ("read 63 1 16", "read 3f 1 10"),
        ("hsch", "write 1 0 =1.=0"),
        ("csch", "write 1 0 =2.=0"),
        ("command 40", "write 1 0 =40.=0"),
        ("load 2000 20", "load 2000 14"),
        ("reset", "reset"),
        ("bytes 2000: 0a0b*2", "store 2000 0a0b0a0b"),
        ("irq 0 bool1", "irq 0 bool1"),
        ("chp 41 off", "chp 41 off"),
    ],
)  # fmt: skip
def test_requests_as_the_client_takes_them(do: str, line: str) -> None:
    assert script(do) == [line]


def test_segments_are_chained_by_tics() -> None:
    assert [line.split()[1] for line in script("chain 3")] == ["1000", "4000", "4100"]


def test_faults_are_switched_off_before_the_next_case() -> None:
    two = [Case("a", "control fault=hang", "x"), Case("b", "reset", "x"), Case("c", "reset", "x")]
    lines = script_of(two).splitlines()
    assert [line for line in lines if line.startswith("control")] == [
        "control fault=hang", f"control {GOOD}"
    ]  # fmt: skip


@pytest.mark.parametrize("do", ["nonsense", "1000: 03", "start speed=1", "read nowhere 0 1", ""])
def test_what_is_no_request_is_refused_by_the_name_of_its_case(do: str) -> None:
    with pytest.raises(ConformError, match="'c'"):
        script(do)


def test_two_cases_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "cases.toml"
    path.write_text('[[case]]\nname = "a"\ndo = "reset"\nwhy = "x"\n' * 2)
    with pytest.raises(ConformError, match="two cases are named a"):
        read_cases(path)


def test_a_case_is_printed_as_a_file_has_it(tmp_path: Path) -> None:
    path = tmp_path / "cases.toml"
    case = Case("a name", "1000: 03/20/1; run", "What it says.")
    path.write_text(case.text())
    assert read_cases(path) == [case]


@pytest.mark.parametrize(
    ("do", "interfaces"),
    [
        ("1000: 03/20/1; run", "start-only scsw async"),
        ("start fctl=2000; quiet", "start-only async"),
        ("start fctl=7000; quiet", "start-only async"),
        ("start fctl=0000; quiet", "start-only scsw async"),
        ("hsch; wait", "async"),
        ("read schib 0 52", "async"),
        ("read 9 0 4", "start-only scsw async"),
        ("chp 41 off; report", "async"),
        ("irq 0 none; event", "start-only scsw async"),
        ("irq 1 none; quiet", "async"),
        ("info", "async"),
        ("ioctl 7 14 0", "async"),
    ],
)
def test_an_interface_is_asked_what_it_answers_as_linux_does(do: str, interfaces: str) -> None:
    case = Case("c", do, "why")
    asked = [one for one in ("start-only", "scsw", "async") if for_interface([case], one)]
    assert asked == interfaces.split()
