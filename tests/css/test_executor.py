"""Programs as cancellable tasks: delay, hang, suspension, and turns for others."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from lab.programs import (
    CC,
    CD,
    ENDED,
    FORMAT1,
    HALT,
    NOP,
    PENDING,
    READ,
    SENSE_ID,
    SLI,
    START,
    STCTL,
    SUSPEND,
    TIC,
)
from tests.css.machine import DiskMachine, ProbeMachine
from tests.machine import DATA, PROGRAM, Machine
from vfioccw_fuse.css import channel, transfer
from vfioccw_fuse.devices.faults import Fault
from vfioccw_fuse.devices.fba.device import Fba
from vfioccw_fuse.devices.options import DeviceSpec
from vfioccw_fuse.regions import constants as c


class Living:
    """A machine whose programs are tasks."""

    def __init__(self, machine: Machine, nursery: trio.Nursery, delay: float = 0.0) -> None:
        self.machine = machine
        machine.live(nursery)
        self.sch = machine.sch
        self.sch.behaviour.delay = delay
        self._news = trio.Event()
        self.sch.pending.on_status_pending = lambda: self._news.set()

    def start(self, *ccws: tuple[int, int, int, int], ctrl0: int = FORMAT1) -> None:
        self.machine.program(*ccws)
        assert self.sch.ssch(self.machine.orb(ctrl0)) == 0

    async def interrupted(self) -> None:
        with trio.fail_after(60):
            while not self.sch.scsw.status_pending:
                self._news = trio.Event()
                await self._news.wait()


@pytest.fixture
def living(disk: DiskMachine, nursery: trio.Nursery) -> Living:
    return Living(disk, nursery)


async def test_the_instruction_returns_before_the_program_runs(living: Living) -> None:
    living.start((SENSE_ID, 0, 7, DATA))
    assert living.sch.scsw.ctrl == START | c.SCSW_ACTL_START_PEND
    assert living.machine.load(DATA, 7) == bytes(7)
    await living.interrupted()
    assert living.machine.load(DATA, 7) == living.machine.device.sense_id


async def test_a_delay_runs_from_condition_code_0_to_the_ending(
    disk: DiskMachine, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    living = Living(disk, nursery, delay=3.0)
    began = trio.current_time()
    living.start((NOP, CC | SLI, 1, 0), (SENSE_ID, 0, 7, DATA))
    seen = []
    for wait in (2.9, 0.2):
        await trio.sleep(wait)
        seen.append(living.sch.scsw.status_pending)
    assert seen == [False, True]
    assert trio.current_time() - began == pytest.approx(3.1)


@pytest.mark.parametrize("end", ["hsch", "csch"])
async def test_a_hanging_program_is_ended_and_its_task_is_gone(living: Living, end: str) -> None:
    living.sch.behaviour.switch(Fault.HANG, 1)
    living.start((NOP, SLI, 1, 0))
    await trio.testing.wait_all_tasks_blocked()
    before = trio.lowlevel.current_statistics().tasks_living
    assert getattr(living.sch, end)() == 0
    await living.interrupted()
    await trio.testing.wait_all_tasks_blocked()
    assert trio.lowlevel.current_statistics().tasks_living == before - 1
    _, irb = living.sch.tsch()
    assert irb[2:4] == ((START | HALT if end == "hsch" else 0x1000) | PENDING).to_bytes(2, "big")
    living.start((SENSE_ID, 0, 7, DATA))
    await living.interrupted()


async def test_cancel_of_a_delayed_program_ends_its_task(
    disk: DiskMachine, nursery: trio.Nursery
) -> None:
    living = Living(disk, nursery, delay=60.0)
    before = trio.lowlevel.current_statistics().tasks_living
    living.start((NOP, SLI, 1, 0))
    await trio.testing.wait_all_tasks_blocked()
    assert living.sch.xsch() == 0
    await trio.testing.wait_all_tasks_blocked()
    assert trio.lowlevel.current_statistics().tasks_living == before


async def test_a_suspended_program_waits_for_resume(living: Living) -> None:
    living.start((SENSE_ID, SUSPEND, 7, DATA), ctrl0=FORMAT1 | c.ORB_CTRL0_MASK_SPND)
    await living.interrupted()
    living.sch.tsch()
    await trio.testing.wait_all_tasks_blocked()
    living.machine.program((SENSE_ID, 0, 7, DATA))
    assert living.sch.rsch() == 0
    await living.interrupted()
    assert living.sch.scsw.dstat == ENDED
    assert living.machine.load(DATA, 7) == living.machine.device.sense_id


async def test_a_console_that_waits_is_cancelled_by_clear(
    probe: ProbeMachine, nursery: trio.Nursery
) -> None:
    living = Living(probe, nursery)
    living.start((0x37, SLI, 1, 0))
    await trio.testing.wait_all_tasks_blocked()
    assert living.sch.csch() == 0
    await living.interrupted()
    probe.probe.event.set()
    await trio.testing.wait_all_tasks_blocked()
    assert living.sch.scsw.ctrl & STCTL == PENDING


@pytest.fixture
def other(tmp_path: Path) -> Iterator[ProbeMachine]:
    directory = tmp_path / "other"
    directory.mkdir()
    machine = ProbeMachine(directory)
    yield machine
    machine.close()


async def test_an_endless_tic_loop_lets_another_subchannel_work(
    living: Living, other: ProbeMachine, nursery: trio.Nursery
) -> None:
    neighbour = Living(other, nursery)
    living.start((NOP, CC | SLI, 1, 0), (TIC, 0, 0, PROGRAM))
    for _ in range(20):
        neighbour.start((0x02, 0, 100, DATA))
        await neighbour.interrupted()
        assert neighbour.sch.tsch()[0] == 0
    assert living.sch.program is not None
    assert living.sch.hsch() == 0
    await living.interrupted()


async def test_an_endless_loop_of_data_chaining_lets_another_subchannel_work(
    tmp_path: Path, other: ProbeMachine, nursery: trio.Nursery
) -> None:
    # A read of 1 MiB into one byte over and over: the chain is as long as the data.
    image = tmp_path / "big.img"
    image.touch()
    with image.open("r+b") as file:
        file.truncate(1 << 20)
    disk = Machine(Fba.open(DeviceSpec("fba", "0.0.0313", str(image))), tmp_path)
    living = Living(disk, nursery)
    neighbour = Living(other, nursery)
    count = (1 << 20) // 512
    disk.store(0x3000, bytes([0xC0]) + bytes(11) + (count - 1).to_bytes(4, "big"))
    disk.store(0x3010, bytes([6, 0]) + count.to_bytes(2, "big") + bytes(4))
    living.start(
        (0x63, CC, 16, 0x3000), (0x43, CC, 8, 0x3010),
        (READ, CD, 1, DATA), (0, CD, 1, DATA), (TIC, 0, 0, PROGRAM + 24),
    )  # fmt: skip
    # Of the processor: on a busy machine all of it takes longer.
    began = time.process_time()
    neighbour.start((0x02, 0, 100, DATA))
    await neighbour.interrupted()
    waited = time.process_time() - began
    living.sch.quiesce()
    disk.close()
    assert waited < 0.5


@pytest.mark.pure
async def test_one_command_that_moves_much_lets_others_have_their_turn(
    tmp_path: Path, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "TURN_NS", 0)
    image = tmp_path / "big.img"
    image.write_bytes(bytes(8 << 20))
    disk = Machine(Fba.open(DeviceSpec("fba", "0.0.0313", str(image))), tmp_path)
    living = Living(disk, nursery)
    count = (8 << 20) // 512
    disk.store(0x3000, bytes([0xC0]) + bytes(11) + (count - 1).to_bytes(4, "big"))
    disk.store(0x3010, bytes([6, 0]) + count.to_bytes(2, "big") + bytes(4))
    chain = [(READ if not n else 0, CD, 0xF000, DATA) for n in range((8 << 20) // 0xF000)]
    living.start((0x63, CC, 16, 0x3000), (0x43, CC, 8, 0x3010), *chain, (0, SLI, 0xF000, DATA))
    turns = 0
    while not living.sch.scsw.status_pending:
        await trio.lowlevel.checkpoint()
        turns += 1
    assert turns > (8 << 20) // transfer.CHUNK
    assert living.machine.take().dstat == ENDED
    disk.close()


async def test_a_fault_that_counts_hits_that_many_starts(living: Living) -> None:
    living.sch.behaviour.switch(Fault.UNIT_CHECK, 2)
    seen = []
    for _ in range(3):
        living.start((NOP, SLI, 1, 0))
        await living.interrupted()
        seen.append(living.sch.scsw.dstat)
        living.sch.tsch()
    assert seen == [ENDED | 2, ENDED | 2, ENDED]
    assert living.sch.behaviour.faults == ()
