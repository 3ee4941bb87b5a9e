"""Reservation of a disk by one of two systems that share it: each a machine with a file of its own.

What two mounts, and two guests, see of each other is in `tests/whole/test_reservation.py` and
`tests/qemu/test_reservation.py`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import trio

from lab import programs
from lab.nolocks import nolocks
from lab.programs import CC, ENDED, FORMAT1, SLI, UC
from lab.slowfs import slow_files
from tests.devices.eckd.drive import extent, locate, make_volume
from tests.devices.unit import Unit, attached, ccw, spec
from tests.machine import DATA, PARAMETERS, PROGRAM
from vfioccw_fuse import ofd
from vfioccw_fuse.devices.catalog import attach
from vfioccw_fuse.devices.reservation import IN_USE, WAITED_FOR, WANTED

NOP, SENSE, SENSE_ID, SNID, SPID, RSTA = 0x03, 0x04, 0xE4, 0x34, 0xAF, 0x44
RESERVE, RELEASE, STEAL = 0xB4, 0x94, 0x14
TIC = 0x08
SUSPEND, SPND = 0x02, 0x0800
START_PEND, ACTIVE = 0x0400, 0x00C0
GROUP = bytes.fromhex("0102030405060708090a0b")
A_WHILE = 0.15
"""Seconds in which what must not happen would."""


@pytest.fixture(params=["3390", "fba"])
def kind(request: pytest.FixtureRequest) -> str:
    """The device type; a test may ask for one of them alone."""
    return str(request.param)


@pytest.fixture
def disk(kind: str, tmp_path: Path) -> Path:
    """A disk of that type."""
    path = tmp_path / "disk"
    if kind == "3390":
        return make_volume(path)
    path.write_bytes(bytes(64 << 10))
    return path


@asynccontextmanager
async def systems(kind: str, disk: Path, count: int = 2) -> AsyncIterator[list[Unit]]:
    """*count* systems that share *disk*, each with a subchannel of its own."""
    async with AsyncExitStack() as stack:
        units = []
        for _ in range(count):
            directory = stack.enter_context(TemporaryDirectory())
            device = attach(spec(kind, disk, shared=""))
            units.append(await stack.enter_async_context(attached(device, Path(directory))))
        yield units


def reserve(code: int) -> bytes:
    return ccw(code, 32)


async def stays_pending(unit: Unit) -> None:
    """The start function waits at its first command: it was not accepted."""
    await trio.sleep(A_WHILE)
    assert unit.sch.scsw.ctrl & (START_PEND | ACTIVE) == START_PEND
    assert not unit.sch.scsw.status_pending


async def reserved(unit: Unit) -> int:
    """Bits 2 and 3 of Sense Path Group ID: 0 nobody, 2 another system, 3 this one."""
    assert (await unit.run(ccw(SNID, 12))).dstat == ENDED
    return unit.load(DATA, 1)[0] >> 4 & 3


def locked(disk: Path, byte: int, *, shared: bool = False) -> bool:
    """Whether somebody has a lock on *byte*, or, if *shared*, one that is not shared."""
    fd = os.open(disk, os.O_RDWR)
    try:
        return ofd.hindrance(fd, byte, shared=shared) is not None
    finally:
        os.close(fd)


async def test_a_program_waits_while_another_system_has_reserved(kind: str, disk: Path) -> None:
    async with systems(kind, disk) as (one, two):
        assert (await one.run(reserve(RESERVE))).dstat == ENDED
        two.start(ccw(NOP))
        await stays_pending(two)
        assert (await one.run(ccw(NOP))).dstat == ENDED
        assert (await one.run(reserve(RELEASE))).dstat == ENDED
        assert (await two.ending()).dstat == ENDED


async def test_time_in_which_the_device_is_busy_is_measured(kind: str, disk: Path) -> None:
    async with systems(kind, disk) as (one, two):
        await one.run(reserve(RESERVE))
        two.start(ccw(NOP))
        await stays_pending(two)
        await one.run(reserve(RELEASE))
        await two.ending()
        measured = two.sch.measurement
        assert measured.device_busy_ns >= A_WHILE * 0.5e9
        assert measured.function_pending_ns >= measured.device_busy_ns
        assert not measured.device_disconnect_ns
        assert not one.sch.measurement.device_busy_ns


@pytest.mark.parametrize("code", [RESERVE, RELEASE])
async def test_reserve_and_release_wait_as_all_do(kind: str, disk: Path, code: int) -> None:
    async with systems(kind, disk) as (one, two):
        await one.run(reserve(RESERVE))
        two.start(reserve(code))
        await stays_pending(two)
        await one.run(reserve(RELEASE))
        assert (await two.ending()).dstat == ENDED
        assert two.sch.device.reserved == ("here" if code == RESERVE else "none")


async def test_what_waits_can_be_cancelled_halted_and_cleared(kind: str, disk: Path) -> None:
    other = os.open(disk, os.O_RDWR)
    assert ofd.take(other, IN_USE)
    async with systems(kind, disk, 1) as (one,):
        for code in (NOP, RESERVE, STEAL):
            for end in (one.sch.xsch, one.sch.hsch, one.sch.csch):
                one.start(ccw(code, 32))
                with trio.fail_after(60):
                    while code == STEAL and not locked(disk, WANTED):
                        await trio.sleep(0.001)
                assert end() == 0
                if end != one.sch.xsch:
                    ending = await one.ending()
                    assert (ending.dstat, ending.cstat) == (0, 0)
                assert not locked(disk, WANTED)
                assert not locked(disk, WAITED_FOR)
        ofd.give_back(other, IN_USE)
        assert not locked(disk, IN_USE)
        assert (await one.run(ccw(NOP))).dstat == ENDED
    os.close(other)


async def test_state_says_who_has_reserved(kind: str, disk: Path) -> None:
    async with systems(kind, disk) as (one, two):
        assert (one.sch.device.reserved, two.sch.device.reserved) == ("none", "none")
        await one.run(reserve(RESERVE))
        assert (one.sch.device.reserved, two.sch.device.reserved) == ("here", "elsewhere")


@pytest.mark.parametrize("kind", ["3390"])
async def test_sense_path_group_id_says_who_has_reserved(kind: str, disk: Path) -> None:
    async with systems(kind, disk) as (one, two):
        assert (await reserved(one), await reserved(two)) == (0, 0)
        await one.run(reserve(RESERVE))
        assert (await reserved(one), await reserved(two)) == (3, 2)
        await two.run(reserve(STEAL))
        assert (await reserved(one), await reserved(two)) == (2, 3)
        await two.run(reserve(RELEASE))
        assert (await reserved(one), await reserved(two)) == (0, 0)


@pytest.mark.parametrize(
    ("kind", "codes"),
    [("3390", (SENSE, SENSE_ID, SNID, SPID, RSTA)), ("fba", (SENSE, SENSE_ID))],
)
async def test_a_system_that_is_kept_off_finds_out_about_the_device(
    kind: str, disk: Path, codes: tuple[int, ...]
) -> None:
    async with systems(kind, disk) as (one, two):
        await one.run(reserve(RESERVE))
        for code in codes:
            two.store(DATA, b"\x80" + GROUP)
            assert (await two.run(ccw(code, 12))).dstat == ENDED
            assert not locked(disk, WANTED)


async def test_reserve_waits_for_the_programs_of_others(kind: str, disk: Path) -> None:
    """Of another process, here: what runs has a shared lock on the byte."""
    other = os.open(disk, os.O_RDWR)
    async with systems(kind, disk, 1) as (one,):
        for code in (RESERVE, STEAL):
            assert ofd.take(other, IN_USE, shared=True)
            one.start(reserve(code))
            await stays_pending(one)
            ofd.give_back(other, IN_USE)
            assert (await one.ending()).dstat == ENDED
            await one.run(reserve(RELEASE))
        assert ofd.take(other, IN_USE)
    os.close(other)


async def test_who_waits_to_have_the_disk_alone_is_next(kind: str, disk: Path) -> None:
    """Programs of others that follow each other, or overlap, would keep it off for ever."""
    other = os.open(disk, os.O_RDWR)
    async with systems(kind, disk) as (one, two):
        assert ofd.take(other, IN_USE, shared=True)
        assert (await two.run(ccw(NOP))).dstat == ENDED
        one.start(reserve(RESERVE))
        await stays_pending(one)
        two.start(ccw(NOP))
        await stays_pending(two)
        ofd.give_back(other, IN_USE)
        assert (await one.ending()).dstat == ENDED
        await stays_pending(two)
        assert not locked(disk, WAITED_FOR)
        await one.run(reserve(RELEASE))
        assert (await two.ending()).dstat == ENDED
    os.close(other)


async def test_a_program_that_runs_says_so_until_it_has_ended(kind: str, disk: Path) -> None:
    async with systems(kind, disk, 1) as (one,):
        for end in (one.sch.hsch, one.sch.csch):
            one.start(ccw(NOP), ccw(TIC, 0, PROGRAM, 0))
            with trio.fail_after(60):
                while not locked(disk, IN_USE):
                    await trio.sleep(0.001)
            assert not locked(disk, IN_USE, shared=True)
            assert end() == 0
            await one.ending()
            assert not locked(disk, IN_USE)
        assert (await one.run(ccw(0xFF))).dstat & UC
        assert not locked(disk, IN_USE)
        assert (await one.run(ccw(NOP, 1, 1 << 30))).dstat == ENDED
        assert (await one.run(ccw(SENSE_ID, 7, 1 << 30, flags=0))).cstat
        assert not locked(disk, IN_USE)


async def test_a_program_that_is_suspended_keeps_nobody_off(kind: str, disk: Path) -> None:
    async with systems(kind, disk) as (one, two):
        one.store(
            PROGRAM,
            programs.ccw(NOP, SLI | CC, 1, DATA) + programs.ccw(NOP, SLI | SUSPEND, 1, DATA),
        )
        assert one.sch.ssch(one._orb(FORMAT1 | SPND)) == 0
        with trio.fail_after(60):
            while not one.sch.scsw.status_pending:
                await trio.sleep(0.001)
        assert one.sch.tsch()[0] == 0
        assert (await two.run(reserve(RESERVE))).dstat == ENDED
        one.store(PROGRAM + 8, programs.ccw(NOP, SLI, 1, DATA))
        assert one.sch.rsch() == 0
        await trio.sleep(A_WHILE)
        assert one.sch.tsch()[0] == 1
        await two.run(reserve(RELEASE))
        assert (await one.ending()).dstat == ENDED


async def test_unconditional_reserve_takes_the_disk_away(kind: str, disk: Path) -> None:
    async with systems(kind, disk) as (one, two):
        await one.run(reserve(RESERVE))
        assert (await two.run(reserve(STEAL))).dstat == ENDED
        assert (one.sch.device.reserved, two.sch.device.reserved) == ("elsewhere", "here")
        # Who lost it is told so at once, and waits then.
        assert (await one.run(ccw(NOP))).dstat == UC
        sense = await one.sense()
        assert sense[0] == 0x10
        if kind == "3390":
            assert (sense[2], sense[7], sense[27]) == (0x10, 0x3F, 0x80)
        one.start(ccw(NOP))
        await stays_pending(one)
        assert (await two.run(ccw(NOP))).dstat == ENDED
        await two.run(reserve(RELEASE))
        assert (await one.ending()).dstat == ENDED
        assert (await one.run(ccw(NOP))).dstat == ENDED


async def test_unconditional_reserve_of_a_disk_that_nobody_has(kind: str, disk: Path) -> None:
    async with systems(kind, disk) as (one, two):
        for _ in range(2):
            assert (await one.run(reserve(STEAL))).dstat == ENDED
        assert (await two.run(reserve(STEAL))).dstat == ENDED
        assert (await one.run(reserve(STEAL))).dstat == ENDED
        assert (one.sch.device.reserved, two.sch.device.reserved) == ("here", "elsewhere")
        assert not locked(disk, WANTED)


@pytest.mark.parametrize("code", [RESERVE, RELEASE])
async def test_a_lost_reservation_is_told_once(kind: str, disk: Path, code: int) -> None:
    async with systems(kind, disk) as (one, two):
        await one.run(reserve(RESERVE))
        await two.run(reserve(STEAL), reserve(RELEASE))
        assert two.sch.device.reserved == "none"
        assert (await one.run(ccw(SENSE_ID, 7))).dstat == ENDED
        assert (await one.run(reserve(code))).dstat == UC
        assert (await one.run(reserve(code))).dstat == ENDED
        assert (await one.run(ccw(NOP))).dstat == ENDED


async def test_a_program_in_progress_ends_when_its_reservation_is_lost(
    kind: str, disk: Path
) -> None:
    async with systems(kind, disk) as (one, two):
        await one.run(reserve(RESERVE))
        one.start(ccw(NOP), ccw(TIC, 0, PROGRAM, 0))
        ended = await two.run(reserve(STEAL))
        assert ended.dstat == ENDED
        assert (await one.ending()).dstat == UC
        assert two.sch.device.reserved == "here"


async def test_of_many_who_take_it_away_each_gets_it(kind: str, disk: Path) -> None:
    async with systems(kind, disk, 4) as units:
        for unit in units:
            unit.start(reserve(STEAL))
        for unit in units:
            assert (await unit.ending()).dstat == ENDED
        assert sorted(unit.sch.device.reserved for unit in units) == [*["elsewhere"] * 3, "here"]


async def test_the_system_of_force_online_takes_it_away_and_releases_it(
    kind: str, disk: Path
) -> None:
    """As Linux does with a device that is boxed: two commands in one chain."""
    async with systems(kind, disk) as (one, two):
        await one.run(reserve(RESERVE))
        assert (await two.run(reserve(STEAL), reserve(RELEASE))).dstat == ENDED
        assert (await two.run(ccw(NOP))).dstat == ENDED
        assert not locked(disk, IN_USE)


async def test_clear_keeps_the_reservation_and_a_system_reset_ends_it(
    kind: str, disk: Path
) -> None:
    async with systems(kind, disk) as (one, two):
        await one.run(reserve(RESERVE))
        assert one.sch.csch() == 0
        await one.ending()
        assert two.sch.device.reserved == "elsewhere"
        one.sch.quiesce()
        assert (one.sch.device.reserved, two.sch.device.reserved) == ("none", "none")
        await one.run(reserve(RESERVE))
        await two.run(reserve(STEAL))
        one.sch.quiesce()
        await two.run(reserve(RELEASE))
        assert (await one.run(ccw(NOP))).dstat == ENDED, "who was reset knows of no reservation"


async def test_a_device_that_is_closed_has_reserved_nothing(kind: str, disk: Path) -> None:
    async with systems(kind, disk) as (one, two):
        await one.run(reserve(RESERVE))
        one.sch.quiesce()
        one.sch.device.close()
        assert (await two.run(ccw(NOP))).dstat == ENDED
        assert not locked(disk, IN_USE)


async def test_other_files_of_a_process_end_no_reservation(kind: str, disk: Path) -> None:
    """As locks of processes would: any close of the file would end them."""
    async with systems(kind, disk) as (one, two):
        await one.run(reserve(RESERVE))
        os.close(os.open(disk, os.O_RDWR))
        assert two.sch.device.reserved == "elsewhere"


@pytest.mark.parametrize("readonly", [False, True])
async def test_a_disk_that_others_do_not_write_has_no_such_locks(
    kind: str, disk: Path, readonly: bool
) -> None:
    words = {"shared": ""} if readonly else {}
    device = attach(spec(kind, disk, readonly=readonly, **words))
    async with attached(device, disk.parent) as unit:
        assert not device.shared
        assert device.reserved == ""
        assert (await unit.run(reserve(RESERVE))).dstat == ENDED
        assert not locked(disk, IN_USE)
        if kind == "3390":
            assert await reserved(unit) == 3


@pytest.mark.parametrize("kind", ["3390"])
async def test_what_one_system_has_written_the_other_reads(kind: str, disk: Path) -> None:
    """One record, each time with other data; nothing of it is kept."""
    async with systems(kind, disk) as units:
        for turn in range(6):
            writer, reader = units[turn % 2], units[1 - turn % 2]
            data = bytes([turn + 1]) * 512
            await transfer(reader, 0x06)
            writer.store(DATA, data)
            await transfer(writer, 0x85)
            reader.store(DATA, bytes(512))
            await transfer(reader, 0x06)
            assert reader.load(DATA, 512) == data


async def transfer(unit: Unit, code: int) -> None:
    """Read or update record 2 of cylinder 0, head 4, whose data is at DATA in storage."""
    parameters = extent(mask=0x80), locate(0x06 if code == 0x06 else 0x01, 0, 4, 2, 1, 512)
    program = []
    for at, (command, data, *_) in zip((0x4000, 0x4100), parameters, strict=True):
        assert isinstance(data, bytes)
        unit.store(at, data)
        program.append(ccw(command, len(data), at, 0))
    ending = await unit.run(*program, ccw(code, 512, DATA, 0))
    assert (ending.dstat, ending.cstat) == (ENDED, 0), await unit.sense()


async def test_without_locks_it_holds_within_the_mount(
    kind: str, disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with nolocks(disk.parent / "mnt", disk.parent) as place:
        caplog.set_level(logging.WARNING)
        async with systems(kind, place / disk.name) as (one, two):
            lines = [line for line in caplog.messages if "reservation holds among" in line]
            assert len(lines) == 1, caplog.messages
            await one.run(reserve(RESERVE))
            two.start(ccw(NOP))
            await stays_pending(two)
            assert (one.sch.device.reserved, two.sch.device.reserved) == ("here", "elsewhere")
            await one.run(reserve(RELEASE))
            assert (await two.ending()).dstat == ENDED
            await one.run(reserve(RESERVE))
            await two.run(reserve(STEAL))
            assert (await one.run(ccw(NOP))).dstat == UC


@pytest.mark.parametrize("kind", ["fba"])
async def test_a_write_that_was_halted_keeps_others_off_until_it_has_ended(
    kind: str, tmp_path: Path
) -> None:
    """It cannot be called back: what was reserved meanwhile would be changed by it."""
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "disk").write_bytes(bytes(64 << 10))
    with slow_files(tmp_path / "slow", tmp_path / "files") as slow:
        async with systems(kind, slow.path / "disk") as (one, two):
            slow.hold("write")
            one.store(PARAMETERS, programs.extent(1) + programs.locate(programs.WRITING, 1))
            chained = [ccw(code, size, at, 0) for code, _, size, at in programs.located(PARAMETERS)]
            one.start(*chained, ccw(0x41, 512, DATA, 0))
            await trio.to_thread.run_sync(slow.until_held, "write")
            assert one.sch.hsch() == 0
            await one.ending()
            two.start(reserve(RESERVE))
            await stays_pending(two)
            slow.release("write")
            assert (await two.ending()).dstat == ENDED
