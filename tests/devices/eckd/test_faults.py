"""Faults of a 3390 by track: where it is when a command begins."""

from __future__ import annotations

from pathlib import Path

from tests.devices.eckd.conftest import Attach
from tests.devices.eckd.drive import Command, extent, locate
from vfioccw_fuse.devices.eckd.volume import create
from vfioccw_fuse.devices.faults import parse_faults


def test_a_3390_is_on_its_track_and_behind_the_last_record_on_the_next(
    tmp_path: Path, attached: Attach
) -> None:
    create(tmp_path / "linux.ckd", 1)
    drive = attached(tmp_path / "linux.ckd")
    reads: list[Command] = [(0x86, 4096)] * 13
    assert drive.run(extent(last=(0, 14)), locate(0x06, 0, 4, 1, 13), *reads).ok
    drive.machine.sch.behaviour.switch(parse_faults("unit-check:tracks=5"))
    ending = drive.run(extent(last=(0, 14)), locate(0x06, 0, 4, 1, 13), *reads)
    assert ending.ccws == 2 + 13, "the first block of track 5"
    ending = drive.run(extent(last=(0, 14)), locate(0x06, 0, 5, 1, 1), reads[0])
    assert ending.ccws == 3
    assert drive.run(extent(last=(0, 14)), locate(0x06, 0, 6, 1, 1), reads[0]).ok


def test_a_3390_is_on_no_track_before_the_program_has_positioned_it(
    tmp_path: Path, attached: Attach
) -> None:
    create(tmp_path / "linux.ckd", 1)
    drive = attached(tmp_path / "linux.ckd")
    assert drive.run(extent(last=(0, 14)), locate(0x06, 0, 5, 1, 1), (0x86, 4096)).ok
    drive.machine.sch.behaviour.switch(parse_faults("unit-check:tracks=5"))
    assert drive.run(extent(last=(0, 14))).ok
