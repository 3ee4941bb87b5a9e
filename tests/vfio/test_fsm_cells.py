"""The table is what runs: a cell changed is a behaviour changed, and what is unreached stays so.

For each cell that something reaches there is one behaviour below, as a client or the mount would
see it. It holds; and it fails as soon as the cell names any other method of its kind.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis.stateful import run_state_machine_as_test

from lab.programs import CLEAR, FORMAT1, HALT, NOP, PENDING, SENSE_ID, SLI, START
from tests.machine import DATA
from tests.vfio.driver import CSCH, HSCH, Driver
from tests.vfio.test_any_order import AnyOrder
from vfioccw_fuse.devices.faults import Fault
from vfioccw_fuse.regions import constants as c
from vfioccw_fuse.vfio import driver as driver_module
from vfioccw_fuse.vfio.fsm import TABLE, UNREACHED, Event, State

CellOf = tuple[State, Event]
Behaviour = Callable[[Driver], None]
TRANSPORT = c.ORB_CTRL0_MASK_TRANSPORT
PROGRAM = ((NOP, SLI, 1, 0),)

KINDS: dict[Event, tuple[str, ...]] = {
    Event.NOT_OPER: ("nop", "open", "close", "notoper"),
    Event.IO_REQ: ("io_error", "io_retry", "io_start", "io_busy", "io_request", "io_overtake"),
    Event.INTERRUPT: ("nop", "irq", "disabled_irq"),
    Event.ASYNC_REQ: ("async_error", "async_retry", "async_request"),
    Event.OPEN: ("nop", "open", "close", "notoper"),
    Event.CLOSE: ("nop", "open", "close", "notoper"),
}
"""What a cell of each event might name."""
EQUIVALENT = {
    (State.STANDBY, Event.CLOSE, "close"): "to close what is closed changes nothing",
    (State.NOT_OPER, Event.CLOSE, "close"): "what is gone is disabled and leads nowhere",
    (State.NOT_OPER, Event.CLOSE, "notoper"): "the same",
    (State.NOT_OPER, Event.OPEN, "close"): "the same",
    (State.NOT_OPER, Event.OPEN, "notoper"): "the same",
}
"""Changes that nobody could see, and why."""

BEHAVIOURS: dict[CellOf, Behaviour] = {}


def behaviour(state: State, event: Event) -> Callable[[Behaviour], Behaviour]:
    def keep(function: Behaviour) -> Behaviour:
        BEHAVIOURS[state, event] = function
        return function

    return keep


def has_patch(d: Driver) -> bool:
    return d.ccw.interface in ("scsw", "full")


def event(d: Driver, which: Event) -> State:
    d.ccw.driver.event(which)
    return d.state()


def held(d: Driver) -> None:
    """A start stays in CP_PROCESSING."""
    d.behaviour.switch(Fault.PROCESSING)
    assert d.start(*PROGRAM) == 0
    d.behaviour.switch(Fault.NONE)
    assert d.state() is State.CP_PROCESSING


def finish(d: Driver) -> int:
    assert d.held is not None
    try:
        d.held.finish()
    except OSError as error:
        return error.errno or -1
    return 0


def running(d: Driver) -> None:
    """A start function is pending."""
    assert d.start((SENSE_ID, 0, 7, DATA)) == 0
    assert d.state() is State.CP_PENDING


def assert_refuses(d: Driver, error: int) -> None:
    for fctl in (START, HALT, CLEAR, 0):
        assert d.request(fctl) == error


# --- requests in the io region --------------------------------------------------------------------


@behaviour(State.NOT_OPER, Event.IO_REQ)
def no_request_to_what_is_gone(d: Driver) -> None:
    event(d, Event.NOT_OPER)
    assert_refuses(d, errno.EIO)


@behaviour(State.STANDBY, Event.IO_REQ)
def no_request_to_what_is_closed(d: Driver) -> None:
    event(d, Event.CLOSE)
    assert_refuses(d, errno.EIO)


@behaviour(State.IDLE, Event.IO_REQ)
def an_idle_device_starts_and_with_the_patch_halts(d: Driver) -> None:
    assert d.request(HALT) == (0 if has_patch(d) else errno.EOPNOTSUPP)
    d.settle()
    if has_patch(d):
        d.take()
    assert d.start(*PROGRAM) == 0
    assert d.state() is State.CP_PENDING


@behaviour(State.CP_PROCESSING, Event.IO_REQ)
def a_request_while_another_is_processed_is_to_be_tried_again(d: Driver) -> None:
    held(d)
    assert_refuses(d, errno.EAGAIN)
    assert finish(d) == 0
    assert d.state() is State.CP_PENDING


@behaviour(State.CP_PENDING, Event.IO_REQ)
def a_second_start_is_busy_whatever_its_orb_and_clear_overtakes(d: Driver) -> None:
    running(d)
    assert d.request(START, d.orb(FORMAT1 | TRANSPORT)) == errno.EBUSY
    assert d.ccw.driver.last_cc == 2
    assert d.request(CLEAR) == (0 if has_patch(d) else errno.EBUSY)
    assert d.state() is (State.IDLE if has_patch(d) else State.CP_PENDING)


# --- commands -------------------------------------------------------------------------------------


@behaviour(State.NOT_OPER, Event.ASYNC_REQ)
def no_command_to_what_is_gone(d: Driver) -> None:
    event(d, Event.NOT_OPER)
    assert d.command(HSCH) == errno.EIO


@behaviour(State.STANDBY, Event.ASYNC_REQ)
def no_command_to_what_is_closed(d: Driver) -> None:
    event(d, Event.CLOSE)
    assert d.command(HSCH) == errno.EIO


@behaviour(State.IDLE, Event.ASYNC_REQ)
def an_idle_device_halts(d: Driver) -> None:
    assert d.command(HSCH) == 0
    d.settle()
    assert d.take().ctrl & 0x7000 == HALT


@behaviour(State.CP_PROCESSING, Event.ASYNC_REQ)
def a_command_while_a_start_is_processed_is_to_be_tried_again(d: Driver) -> None:
    held(d)
    assert d.command(CSCH) == errno.EAGAIN
    assert finish(d) == 0


@behaviour(State.CP_PENDING, Event.ASYNC_REQ)
def a_clear_overtakes_the_start(d: Driver) -> None:
    running(d)
    assert d.command(CSCH) == 0
    assert d.state() is State.IDLE


# --- interruptions --------------------------------------------------------------------------------


@behaviour(State.IDLE, Event.INTERRUPT)
def attention_is_shown_and_signalled(d: Driver) -> None:
    d.machine.device.attention(0x80)
    assert d.signals() == 1
    assert d.take().dstat == 0x80


@behaviour(State.CP_PROCESSING, Event.INTERRUPT)
def attention_while_a_start_is_processed_is_shown_and_signalled(d: Driver) -> None:
    held(d)
    d.machine.device.attention(0x80)
    assert d.signals() == 1
    assert d.state() is State.CP_PROCESSING
    assert d.take().dstat == 0x80
    assert finish(d) == 0


@behaviour(State.CP_PENDING, Event.INTERRUPT)
def the_ending_is_shown_and_signalled_and_concludes(d: Driver) -> None:
    running(d)
    d.settle()
    assert d.signals() == 1
    assert d.state() is State.IDLE
    assert d.take().ctrl & PENDING


# --- life -----------------------------------------------------------------------------------------


def gone(d: Driver) -> None:
    assert event(d, Event.NOT_OPER) is State.NOT_OPER
    assert not d.sch.pmcw.enabled
    assert d.request(START) == errno.EIO


@behaviour(State.STANDBY, Event.NOT_OPER)
def what_is_closed_can_be_removed(d: Driver) -> None:
    event(d, Event.CLOSE)
    gone(d)


@behaviour(State.IDLE, Event.NOT_OPER)
def what_is_idle_can_be_removed(d: Driver) -> None:
    gone(d)


@behaviour(State.CP_PROCESSING, Event.NOT_OPER)
def a_start_that_is_processed_ends_with_the_removal(d: Driver) -> None:
    held(d)
    gone(d)
    assert finish(d) == errno.EIO


@behaviour(State.CP_PENDING, Event.NOT_OPER)
def what_runs_can_be_removed(d: Driver) -> None:
    running(d)
    gone(d)
    d.settle()
    assert not d.signals()


@behaviour(State.STANDBY, Event.OPEN)
def what_is_closed_can_be_opened(d: Driver) -> None:
    event(d, Event.CLOSE)
    assert event(d, Event.OPEN) is State.IDLE
    assert d.sch.pmcw.enabled


@behaviour(State.NOT_OPER, Event.OPEN)
def a_reset_does_not_open_what_is_gone(d: Driver) -> None:
    event(d, Event.NOT_OPER)
    d.ccw.driver.reset()
    assert d.state() is State.NOT_OPER
    assert not d.sch.pmcw.enabled


@behaviour(State.NOT_OPER, Event.CLOSE)
def a_reset_does_not_close_what_is_gone(d: Driver) -> None:
    a_reset_does_not_open_what_is_gone(d)


def closes(d: Driver) -> None:
    assert event(d, Event.CLOSE) is State.STANDBY
    assert not d.sch.pmcw.enabled
    assert d.sch.scsw.pack() == bytes(12)


@behaviour(State.STANDBY, Event.CLOSE)
def what_is_closed_stays_closed(d: Driver) -> None:
    event(d, Event.CLOSE)
    closes(d)


@behaviour(State.IDLE, Event.CLOSE)
def what_is_idle_closes(d: Driver) -> None:
    closes(d)


@behaviour(State.CP_PROCESSING, Event.CLOSE)
def a_start_that_is_processed_ends_with_the_close(d: Driver) -> None:
    held(d)
    closes(d)
    assert event(d, Event.OPEN) is State.IDLE
    assert finish(d) == errno.EIO
    assert d.state() is State.IDLE


@behaviour(State.CP_PENDING, Event.CLOSE)
def what_runs_closes(d: Driver) -> None:
    running(d)
    closes(d)


# --- the table ------------------------------------------------------------------------------------

CELLS = [
    (state, event, interface)
    for state, event in BEHAVIOURS
    for interface in ("start-only", "scsw", "async", "full")
    # Only these have regions by which a command comes.
    if event is not Event.ASYNC_REQ or interface in ("async", "full")
]
REACHED = pytest.mark.parametrize(
    ("state", "event", "interface"),
    CELLS,
    ids=[f"{state.name}-{event.name}-{interface}" for state, event, interface in CELLS],
)


@pytest.fixture
def directory(tmp_path: Path) -> Callable[[], Path]:
    """Gives a fresh directory each time."""
    numbers = iter(range(100))

    def fresh() -> Path:
        path = tmp_path / str(next(numbers))
        path.mkdir()
        return path

    return fresh


@pytest.fixture(autouse=True)
def rows_that_others_use() -> Iterator[None]:
    """What a test makes of the table is its own."""
    yield
    driver_module.first_row.cache_clear()


def test_every_cell_has_its_behaviour_or_its_reason() -> None:
    everything = {(state, event) for state in State for event in Event}
    assert set(BEHAVIOURS) | set(UNREACHED) == everything
    assert not set(BEHAVIOURS) & set(UNREACHED)


@REACHED
def test_a_cell_does_what_the_contract_says(
    state: State, event: Event, interface: str, tmp_path: Path
) -> None:
    d = Driver(tmp_path, interface)
    try:
        BEHAVIOURS[state, event](d)
    finally:
        d.close()


@REACHED
def test_a_cell_that_names_another_method_shows(
    state: State,
    event: Event,
    interface: str,
    directory: Callable[[], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cell = TABLE[state][event]
    named = cell if isinstance(cell, str) else cell[interface]
    survivors = set()
    for other in KINDS[event]:
        if other == named:
            continue
        monkeypatch.setitem(TABLE[state], event, other)
        driver_module.first_row.cache_clear()
        d = Driver(directory(), interface)
        try:
            BEHAVIOURS[state, event](d)
            survivors.add((state, event, other))
        except AssertionError:
            pass
        finally:
            d.close()
    assert survivors == {change for change in EQUIVALENT if change[:2] == (state, event)}


def test_nothing_dispatches_the_cells_that_are_said_to_be_unreached(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unreached(*_: object) -> None:
        raise AssertionError("a cell that is said to be unreached was dispatched")

    monkeypatch.setattr(driver_module.Driver, "unreached", unreached, raising=False)
    for state, event in UNREACHED:
        monkeypatch.setitem(TABLE[state], event, "unreached")
    driver_module.first_row.cache_clear()
    run_state_machine_as_test(AnyOrder)
