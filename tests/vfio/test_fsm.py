"""The state machine as a table: complete, and cell by cell what the contract says."""

from __future__ import annotations

import errno
import itertools

import pytest

from vfioccw_fuse.regions.table import Interface
from vfioccw_fuse.vfio.driver import CC_ERRNO, Driver
from vfioccw_fuse.vfio.fsm import LEADS, TABLE, UNREACHED, Cell, Done, Event, State

S, E, D = State, Event, Done
LINUX, PATCH = ("start-only", "async"), ("scsw", "full")
"""Interfaces whose fctl means START alone, and those with the patch's halt and clear."""

ROWS: dict[State, tuple[Cell, ...]] = {
    # NOT_OPER, IO_REQ, INTERRUPT, ASYNC_REQ, OPEN, CLOSE
    S.NOT_OPER: ("nop", "io_error", "disabled_irq", "async_error", "nop", "nop"),
    S.STANDBY: ("notoper", "io_error", "disabled_irq", "async_error", "open", "nop"),
    S.IDLE: (
        "notoper",
        dict.fromkeys(LINUX, "io_start") | dict.fromkeys(PATCH, "io_request"),
        "irq", "async_request", "nop", "close",
    ),
    S.CP_PROCESSING: ("notoper", "io_retry", "irq", "async_retry", "nop", "close"),
    S.CP_PENDING: (
        "notoper",
        dict.fromkeys(LINUX, "io_busy") | dict.fromkeys(PATCH, "io_overtake"),
        "irq", "async_request", "nop", "close",
    ),
}  # fmt: skip


def methods_of(cell: Cell) -> set[str]:
    return {cell} if isinstance(cell, str) else set(cell.values())


def test_states_and_events_have_linuxs_numbers() -> None:
    assert [s.name for s in sorted(State)] == [
        "NOT_OPER", "STANDBY", "IDLE", "CP_PROCESSING", "CP_PENDING",
    ]  # fmt: skip
    assert [s.value for s in sorted(State)] == list(range(5))
    assert [e.name for e in sorted(Event)] == [
        "NOT_OPER", "IO_REQ", "INTERRUPT", "ASYNC_REQ", "OPEN", "CLOSE",
    ]  # fmt: skip
    assert [e.value for e in sorted(Event)] == list(range(6))


def test_every_state_knows_what_to_do_about_every_event_on_every_interface() -> None:
    assert set(TABLE) == set(State)
    for state, event in itertools.product(State, Event):
        cell = TABLE[state][event]
        assert isinstance(cell, str) or set(cell) == set(Interface)
        for method in methods_of(cell):
            assert callable(getattr(Driver, method))
    assert all(len(row) == len(Event) for row in TABLE.values())


@pytest.mark.parametrize(("state", "event"), list(itertools.product(State, Event)), ids=str)
def test_a_cell_is_what_the_contract_says(state: State, event: Event) -> None:
    assert TABLE[state][event] == ROWS[state][sorted(Event).index(event)]


def test_condition_codes_1_and_2_are_ebusy_and_3_is_enodev() -> None:
    assert CC_ERRNO == (0, errno.EBUSY, errno.EBUSY, errno.ENODEV)


@pytest.mark.parametrize(("state", "done"), list(itertools.product(State, Done)), ids=str)
def test_what_was_done_leads_where_the_contract_says(state: State, done: Done) -> None:
    expected = None
    if state is not S.NOT_OPER:
        if done is D.REMOVED:
            expected = S.NOT_OPER
        elif done is D.CLOSED and state is not S.STANDBY:
            expected = S.STANDBY
    if (state, done) in {(S.STANDBY, D.OPENED), (S.CP_PROCESSING, D.NOT_STARTED)}:
        expected = S.IDLE
    if state is S.CP_PENDING and done in (D.CLEARED, D.CANCELLED, D.CONCLUDED):
        expected = S.IDLE
    if (state, done) == (S.IDLE, D.PROCESSING):
        expected = S.CP_PROCESSING
    if (state, done) == (S.CP_PROCESSING, D.STARTED):
        expected = S.CP_PENDING
    assert LEADS[state].get(done) is expected


@pytest.mark.pure
def test_every_method_that_a_cell_names_is_explained_and_every_state_has_its_leads() -> None:
    used = {m for row in TABLE.values() for cell in row.values() for m in methods_of(cell)}
    assert all(getattr(Driver, method).__doc__ for method in used)
    assert set(LEADS) == set(State)


def test_at_most_six_cells_are_never_dispatched_each_for_a_reason() -> None:
    assert len(UNREACHED) <= 6
    assert all(UNREACHED.values())
