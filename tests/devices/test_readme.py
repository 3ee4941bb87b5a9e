"""The device of vfioccw_fuse/devices/README.md works as it stands there."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import pytest

from lab.mounts import PROJECT
from lab.programs import CC, SENSE, SLI
from tests.machine import DATA, Machine
from vfioccw_fuse.css.trace import Trace
from vfioccw_fuse.css.tracewords import words_for
from vfioccw_fuse.devices import catalog
from vfioccw_fuse.devices.base import ENDED, UC
from vfioccw_fuse.vfio.control import options_of, parse_device

TEXT = (PROJECT / "vfioccw_fuse" / "devices" / "README.md").read_text()
MODULE, LINE = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
WRITE, READ, ERASE = 0x01, 0x02, 0x07


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """One attached, as the two places make it."""
    name = f"{catalog.__package__}.board"
    spec = spec_from_loader(name, loader=None)
    assert spec is not None
    module = module_from_spec(spec)
    exec(compile(MODULE, name, "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, name, module)
    row = eval("{" + LINE + "}", {"DeviceType": catalog.DeviceType})
    monkeypatch.setattr(catalog, "TYPES", {**catalog.TYPES, **row})
    device = catalog.attach(parse_device(f"board@0.0.0400:{tmp_path}/notice.txt,length=40"))
    machine = Machine(device, tmp_path)
    yield machine
    machine.close()


def test_it_has_about_forty_lines() -> None:
    lines = [line for line in MODULE.splitlines() if line.strip()]
    assert len(lines) <= 50


def test_what_is_written_is_read(board: Machine) -> None:
    board.store(DATA, b"Lift out of order")
    irb = board.run((WRITE, SLI, 17, DATA))
    assert (irb.dstat, irb.cstat) == (ENDED, 0)
    irb = board.run((READ, SLI, 80, DATA + 100))
    assert irb.dstat == ENDED
    assert board.load(DATA + 100, 17) == b"Lift out of order"


def test_an_empty_board_needs_the_operator(board: Machine) -> None:
    assert board.run((ERASE, SLI, 1, 0)).dstat == ENDED
    assert board.run((READ, SLI, 80, DATA)).dstat == UC
    assert board.run((SENSE, SLI, 1, DATA)).dstat == ENDED
    assert board.load(DATA, 1) == b"\x40"


def test_a_notice_is_as_long_as_the_option_says(board: Machine) -> None:
    board.store(DATA, b"x" * 60)
    board.run((WRITE, SLI | CC, 60, DATA), (READ, SLI, 60, DATA + 100))
    assert board.load(DATA + 100, 41) == b"x" * 40 + b"\0"


def test_its_commands_are_called_by_their_names(board: Machine) -> None:
    lines: list[str] = []
    words = catalog.words_of("board")
    board.sch.follow(Trace(board.sch, lambda event: lines.append(words_for(event, words)[1])))
    board.run((ERASE, SLI, 1, 0))
    assert "erase" in lines[0]
    assert "length" in options_of("board")
