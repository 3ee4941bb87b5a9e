"""Programs that are stopped CCW by CCW: where, what is seen there, and what others see."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator

import pytest
import trio
import trio.testing

from lab.programs import (
    CC,
    CD,
    CE,
    DE,
    ENDED,
    FORMAT1,
    HALT,
    IDA,
    IDAW64,
    NOP,
    PENDING,
    PREFETCH,
    PROGRAM_CHECK,
    SENSE_ID,
    SKIP,
    SLI,
    SPND,
    START,
    SUSPEND,
    TIC,
    UC,
    Ccw,
    ccw,
)
from tests.css.machine import ProbeMachine
from tests.machine import DATA, LISTS, PROGRAM
from vfioccw_fuse.css.ida import SKIPPED
from vfioccw_fuse.css.stepper import Goal, Stepper, Until
from vfioccw_fuse.devices.faults import parse_faults
from vfioccw_fuse.errors import UserError
from vfioccw_fuse.regions import constants as c

READ, WRITE, FAILS = 0x02, 0x01, 0x47
"""Commands of a `Probe`: 100 bytes in, 100 out, unit check."""
ACTIVE = c.SCSW_ACTL_SUBCH_ACTIVE | c.SCSW_ACTL_DEVICE_ACTIVE


class Stepped:
    """A probe whose programs are tasks, and somebody who steps them and notes what he is told."""

    def __init__(self, machine: ProbeMachine, nursery: trio.Nursery) -> None:
        machine.live(nursery)
        self.machine = machine
        self.sch = machine.sch
        self.told: list[str] = []
        self.stepper: Stepper

    def attach(self) -> None:
        self.stepper = Stepper(self.sch, self)

    # --- the listener -------------------------------------------------------------------------

    def stop(self, why: Until) -> None:
        self.told.append(why.value)

    def suspend(self) -> None:
        self.told.append("suspended")

    def interruption(self, irb: bytes, *, joined: bool) -> None:
        self.told.append("interruption")

    def cancel(self) -> None:
        self.told.append("cancelled")

    # --- what a test does ---------------------------------------------------------------------

    async def start(self, *program: Ccw, ctrl0: int = FORMAT1) -> None:
        """Start *program* and wait until it has stopped or ended."""
        self.machine.program(*program)
        assert self.sch.ssch(self.machine.orb(ctrl0)) == 0
        await trio.testing.wait_all_tasks_blocked()

    async def go(self, until: Until = Until.END, value: int = 0) -> None:
        """Let it go on up to there, and wait until it has stopped or ended."""
        self.stepper.go(Goal(until, value))
        await trio.testing.wait_all_tasks_blocked()

    def place(self) -> int:
        """Which CCW of the program is next, from 0."""
        assert self.stepper.next is not None
        return (self.stepper.next.place - PROGRAM) // 8

    def ended(self) -> tuple[int, int]:
        """Unit and subchannel status that a TSCH takes."""
        irb = self.machine.take()
        return irb.dstat, irb.cstat


@pytest.fixture
def stepped(probe: ProbeMachine, nursery: trio.Nursery) -> Iterator[Stepped]:
    stepped = Stepped(probe, nursery)
    stepped.attach()
    yield stepped
    probe.sch.quiesce()


NOPS = [(NOP, CC | SLI, 1, 0)] * 3 + [(NOP, SLI, 1, 0)]


async def test_a_program_stops_before_its_first_ccw_and_is_start_pending(stepped: Stepped) -> None:
    await stepped.start(*NOPS)
    assert stepped.told == ["start"]
    assert (stepped.place(), stepped.stepper.last) == (0, None)
    assert stepped.sch.scsw.ctrl == START | c.SCSW_ACTL_START_PEND


async def test_a_step_is_one_ccw_and_the_subchannel_is_active_then(stepped: Stepped) -> None:
    await stepped.start(*NOPS)
    await stepped.go(Until.STEP, 1)
    assert stepped.told == ["start", "step"]
    assert stepped.place() == 1
    last = stepped.stepper.last
    assert last is not None
    assert (last.look.code, last.status, last.moved) == (NOP, ENDED, 0)
    assert stepped.sch.scsw.ctrl == START | ACTIVE


async def test_several_steps_are_several_ccws(stepped: Stepped) -> None:
    await stepped.start(*NOPS)
    await stepped.go(Until.STEP, 3)
    assert (stepped.place(), stepped.stepper.executed) == (3, 3)


async def test_a_step_over_the_last_ccw_ends_the_program(stepped: Stepped) -> None:
    await stepped.start(*NOPS[3:])
    await stepped.go(Until.STEP, 1)
    assert stepped.told == ["start", "interruption"]
    assert stepped.ended() == (ENDED, 0)


async def test_steps_that_are_left_end_with_the_program(stepped: Stepped) -> None:
    await stepped.start(*NOPS)
    await stepped.go(Until.STEP, 100)
    assert stepped.ended() == (ENDED, 0)
    await stepped.start(*NOPS)
    assert stepped.told == ["start", "interruption", "start"]


async def test_to_its_end_a_program_stops_nowhere_and_the_next_does(stepped: Stepped) -> None:
    await stepped.start(*NOPS)
    await stepped.go(Until.END)
    assert stepped.ended() == (ENDED, 0)
    await stepped.start(*NOPS)
    assert stepped.told == ["start", "interruption", "start"]


async def test_who_waits_for_a_start_keeps_the_program_that_has_come_so_far(
    stepped: Stepped,
) -> None:
    await stepped.start(*NOPS)
    await stepped.go(Until.START)
    assert stepped.told == ["start"]
    await stepped.go(Until.STEP, 1)
    await stepped.go(Until.START)
    assert stepped.told == ["start", "step", "interruption"]


@pytest.mark.parametrize("value", [PROGRAM + 8, PROGRAM + 24])
async def test_an_address_is_that_of_a_ccw_or_of_the_tic_that_leads_to_it(
    stepped: Stepped, value: int
) -> None:
    await stepped.start(NOPS[0], (TIC, 0, 0, PROGRAM + 24), NOPS[3], NOPS[3])
    await stepped.go(Until.ADDRESS, value)
    assert stepped.told == ["start", "address"]
    look = stepped.stepper.next
    assert look is not None
    assert (look.place, look.address, look.code) == (PROGRAM + 8, PROGRAM + 24, NOP)


async def test_a_command_code_is_looked_for_in_every_program(stepped: Stepped) -> None:
    await stepped.start(*NOPS)
    await stepped.go(Until.COMMAND, READ)
    assert stepped.ended() == (ENDED, 0)
    await stepped.start(NOPS[0], (READ, 0, 100, DATA))
    assert stepped.told == ["start", "interruption", "command"]
    assert stepped.place() == 1


async def test_a_unit_check_stops_before_anybody_is_told_of_it(stepped: Stepped) -> None:
    await stepped.start(NOPS[0], (FAILS, CC | SLI, 1, 0), NOPS[3])
    await stepped.go(Until.UNIT_CHECK)
    assert stepped.told == ["start", "unit check"]
    assert stepped.stepper.last is not None
    assert stepped.stepper.last.status == CE | DE | UC
    assert stepped.machine.device.sense == b"\x40\x07"
    assert stepped.sch.scsw.ctrl == START | ACTIVE
    await stepped.go()
    assert stepped.told[2:] == ["interruption"]
    assert stepped.ended() == (CE | DE | UC, 0)


@pytest.mark.parametrize("nth", [1, 2])
async def test_a_unit_check_that_is_a_fault_stops_like_any_other(
    stepped: Stepped, nth: int
) -> None:
    behaviour = stepped.sch.behaviour
    behaviour.switch(parse_faults(f"unit-check:nth={nth}:sense=0800"))
    await stepped.start(*NOPS)
    await stepped.go(Until.UNIT_CHECK)
    assert stepped.told == ["start", "unit check"]
    assert stepped.stepper.last is not None
    assert stepped.stepper.last.look.place == PROGRAM + 8 * (nth - 1)
    assert stepped.stepper.last.status == CE | DE | UC
    assert stepped.machine.device.sense[:2] == b"\x08\x00"
    assert stepped.sch.scsw.ctrl == START | ACTIVE
    await stepped.go()
    assert stepped.told[2:] == ["interruption"]
    assert stepped.ended() == (CE | DE | UC, 0)


@pytest.mark.parametrize("function", ["hsch", "csch", "quiesce"])
async def test_what_is_stopped_at_a_fault_can_be_ended(stepped: Stepped, function: str) -> None:
    stepped.sch.behaviour.switch(parse_faults("unit-check:nth=1"))
    await stepped.start(*NOPS)
    await stepped.go(Until.UNIT_CHECK)
    getattr(stepped.sch, function)()
    await trio.testing.wait_all_tasks_blocked()
    assert stepped.sch.program is None
    assert "cancelled" in stepped.told


async def test_every_ccw_of_a_data_chain_is_a_step(stepped: Stepped) -> None:
    await stepped.start((READ, CD, 10, DATA), (0, CD | SKIP, 20, 0), (0, 0, 70, DATA + 100))
    seen = []
    for _ in range(2):
        await stepped.go(Until.STEP, 1)
        assert stepped.stepper.last is not None
        assert stepped.stepper.next is not None
        last, following = stepped.stepper.last, stepped.stepper.next
        seen.append((last.status, last.moved, following.code, following.pieces))
    assert seen == [(0, 10, READ, [(SKIPPED, 20)]), (0, 20, READ, [(DATA + 100, 70)])]
    await stepped.go()
    assert stepped.ended() == (ENDED, 0)
    assert stepped.machine.load(DATA + 100, 70) == bytes(range(31, 101))


async def test_a_command_is_not_looked_for_where_a_data_area_goes_on(stepped: Stepped) -> None:
    await stepped.start((READ, CD, 10, DATA), (0, 0, 90, DATA + 10))
    await stepped.go(Until.COMMAND, READ)
    assert stepped.told == ["start", "interruption"]


async def test_what_storage_has_when_it_goes_on_is_executed(stepped: Stepped) -> None:
    await stepped.start(*NOPS)
    await stepped.go(Until.STEP, 1)
    stepped.machine.store(PROGRAM + 8, ccw(SENSE_ID, SLI, 7, DATA))
    stepped.stepper.look_again()
    assert stepped.stepper.next is not None
    assert stepped.stepper.next.code == SENSE_ID
    await stepped.go(Until.STEP, 1)
    assert stepped.told == ["start", "step", "interruption"]
    assert stepped.machine.load(DATA, 7) == stepped.machine.device.sense_id


@pytest.mark.parametrize(
    ("ctrl0", "words", "pieces"),
    [
        (FORMAT1, ">2I", [(0x20100, 0x700), (0x21000, 0x100)]),
        (FORMAT1 | IDAW64, ">2Q", [(0x20900, 0x700), (0x21000, 0x100)]),
        (FORMAT1 | PREFETCH, ">2I", [(0x20100, 0x700), (0x21000, 0x100)]),
    ],
)
async def test_idaws_are_resolved_one_by_one(
    stepped: Stepped, ctrl0: int, words: str, pieces: list[tuple[int, int]]
) -> None:
    stepped.machine.store(LISTS, struct.pack(words, *(address for address, _ in pieces)))
    await stepped.start((WRITE, IDA | SLI, 0x800, LISTS), ctrl0=ctrl0)
    assert stepped.stepper.next is not None
    assert (stepped.stepper.next.pieces, stepped.stepper.next.check) == (pieces, 0)


async def test_a_list_that_is_wrong_says_with_which_check_it_ends(stepped: Stepped) -> None:
    stepped.machine.store(LISTS, struct.pack(">2I", 0x20100, 0x21004))
    await stepped.start((WRITE, IDA | SLI, 0x800, LISTS))
    assert stepped.stepper.next is not None
    assert stepped.stepper.next.pieces == [(0x20100, 0x700)]
    assert stepped.stepper.next.check == PROGRAM_CHECK


async def test_a_ccw_that_cannot_be_fetched_says_with_which_check_it_ends(
    stepped: Stepped,
) -> None:
    await stepped.start(NOPS[0], (TIC, 0, 0, PROGRAM + 4))
    await stepped.go(Until.STEP, 1)
    assert stepped.stepper.next is not None
    assert (stepped.stepper.next.code, stepped.stepper.next.check) == (0, PROGRAM_CHECK)
    await stepped.go()
    assert stepped.ended() == (0, PROGRAM_CHECK)


async def test_to_look_changes_nothing(stepped: Stepped) -> None:
    await stepped.start((WRITE, CC, 100, DATA), (READ, CD, 10, DATA), (0, 0, 90, DATA + 10))
    for _ in range(3):
        for _ in range(3):
            stepped.stepper.look_again()
        await stepped.go(Until.STEP, 1)
    assert stepped.ended() == (ENDED, 0)
    assert stepped.machine.load(DATA, 100) == bytes(range(1, 101))


@pytest.mark.parametrize("end", ["hsch", "csch", "quiesce"])
@pytest.mark.parametrize("steps", [0, 1, 2], ids=["first", "second", "data chain"])
async def test_halt_clear_and_reset_end_what_is_stopped(
    stepped: Stepped, steps: int, end: str
) -> None:
    await stepped.start(NOPS[0], (READ, CD, 10, DATA), (0, 0, 90, DATA + 10))
    if steps:
        await stepped.go(Until.STEP, steps)
    before = trio.lowlevel.current_statistics().tasks_living
    getattr(stepped.sch, end)()
    await trio.testing.wait_all_tasks_blocked()
    ends = ["cancelled"] if end == "quiesce" else ["cancelled", "interruption"]
    assert stepped.told[-len(ends) :] == ends
    assert (stepped.stepper.stopped, stepped.stepper.next) == (None, None)
    assert trio.lowlevel.current_statistics().tasks_living == before - 1
    if end == "hsch":
        assert stepped.machine.take().ctrl == START | HALT | PENDING


async def test_cancel_ends_what_is_stopped_before_its_first_ccw_and_nothing_later(
    stepped: Stepped,
) -> None:
    await stepped.start(*NOPS)
    assert stepped.sch.xsch() == 0
    assert stepped.told == ["start", "cancelled"]
    await stepped.start(*NOPS)
    await stepped.go(Until.STEP, 1)
    assert stepped.sch.xsch() == 2


async def test_who_detaches_lets_go_on_and_nothing_stops_any_more(stepped: Stepped) -> None:
    await stepped.start(*NOPS)
    stepped.stepper.detach()
    await trio.testing.wait_all_tasks_blocked()
    assert stepped.ended() == (ENDED, 0)
    await stepped.start(*NOPS)
    assert stepped.ended() == (ENDED, 0)
    assert stepped.told == ["start"]


async def test_another_may_attach_before_what_was_stopped_goes_on(stepped: Stepped) -> None:
    await stepped.start(*NOPS)
    stepped.stepper.detach()
    stepped.attach()
    await trio.testing.wait_all_tasks_blocked()
    assert stepped.ended() == (ENDED, 0)
    await stepped.start(*NOPS)
    assert stepped.told == ["start", "interruption", "start"]


async def test_one_at_a_time_is_attached(stepped: Stepped) -> None:
    with pytest.raises(UserError, match="one at a time"):
        Stepper(stepped.sch, stepped)
    stepped.stepper.detach()
    Stepper(stepped.sch, stepped).detach()


async def test_who_comes_while_a_program_runs_stops_it_at_a_step(
    probe: ProbeMachine, nursery: trio.Nursery
) -> None:
    stepped = Stepped(probe, nursery)
    await stepped.start(NOPS[0], (0x37, CC | SLI, 1, 0), NOPS[3])
    stepped.attach()
    stepped.stepper.go(Goal(Until.STEP, 1))
    probe.probe.event.set()
    await trio.testing.wait_all_tasks_blocked()
    assert stepped.told == ["step"]
    assert stepped.place() == 2
    probe.sch.quiesce()


async def test_a_suspension_is_told_and_the_ccw_is_looked_at_anew_after_it(
    stepped: Stepped,
) -> None:
    await stepped.start(NOPS[0], (SENSE_ID, SUSPEND, 7, DATA), ctrl0=FORMAT1 | SPND)
    await stepped.go(Until.STEP, 1)
    await stepped.go(Until.STEP, 1)
    assert stepped.told == ["start", "step", "interruption", "suspended"]
    stepped.sch.tsch()
    stepped.machine.store(PROGRAM + 8, ccw(SENSE_ID, 0, 7, DATA))
    assert stepped.sch.rsch() == 0
    await trio.testing.wait_all_tasks_blocked()
    assert stepped.told[4:] == ["step"]
    assert stepped.place() == 1
    await stepped.go()
    assert stepped.ended() == (ENDED, 0)


async def test_the_time_of_a_stop_is_no_time_of_the_channel(
    stepped: Stepped, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stepped.start(*NOPS)
    await stepped.go(Until.STEP, 1)
    measured = stepped.sch.measurement
    connected, disconnected = measured.device_connect_ns, measured.device_disconnect_ns
    later = time.perf_counter_ns() + 10**12
    monkeypatch.setattr("vfioccw_fuse.css.channel.perf_counter_ns", lambda: later)
    await stepped.go(Until.STEP, 1)
    assert measured.device_connect_ns == connected
    assert measured.device_disconnect_ns > disconnected + 10**11


class Count:
    """An observer that counts."""

    def __init__(self) -> None:
        self.ccws = self.interruptions = 0

    def ccw(self, address: int, code: int, flags: int, count: int, cda: int, status: int) -> None:
        self.ccws += 1

    def interruption(self, irb: bytes, *, joined: bool) -> None:
        self.interruptions += 1


async def test_others_follow_beside_a_stepper(stepped: Stepped) -> None:
    one, two = Count(), Count()
    for observer in (one, two):
        stepped.sch.follow(observer)
    await stepped.start(*NOPS)
    stepped.sch.unfollow(one)
    await stepped.go()
    stepped.sch.tsch()
    stepped.stepper.detach()
    await stepped.start(*NOPS)
    assert (one.ccws, one.interruptions) == (0, 0)
    assert (two.ccws, two.interruptions) == (8, 2)
    stepped.sch.unfollow(two)
    assert stepped.sch.pending.observer is None
