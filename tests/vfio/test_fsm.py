"""The state machine as a table: complete, and cell by cell what the contract says."""

from __future__ import annotations

import errno
import itertools

import pytest

from vfioccw_fuse.vfio import fsm
from vfioccw_fuse.vfio.fsm import (
    ACCEPTED,
    AFTER,
    CC_ERRNO,
    REFUSED,
    TABLE,
    Action,
    Event,
    Function,
    State,
)

S, E, A, F = State, Event, Action, Function

ROWS = {
    # NOT_OPER, IO_REQ, INTERRUPT, ASYNC_REQ, OPEN, CLOSE
    S.NOT_OPER: (A.NOP, A.IO_ERROR, A.DISABLED_IRQ, A.ASYNC_ERROR, A.NOP, A.NOP),
    S.STANDBY: (A.NOTOPER, A.IO_ERROR, A.DISABLED_IRQ, A.ASYNC_ERROR, A.OPEN, A.NOP),
    S.IDLE: (A.NOTOPER, A.IO_REQUEST, A.IRQ, A.ASYNC_REQUEST, A.NOP, A.CLOSE),
    S.CP_PROCESSING: (A.NOTOPER, A.IO_RETRY, A.IRQ, A.ASYNC_RETRY, A.NOP, A.CLOSE),
    S.CP_PENDING: (A.NOTOPER, A.IO_OVERTAKE, A.IRQ, A.ASYNC_REQUEST, A.NOP, A.CLOSE),
}


def test_states_and_events_have_linuxs_numbers() -> None:
    assert [s.name for s in sorted(State)] == [
        "NOT_OPER", "STANDBY", "IDLE", "CP_PROCESSING", "CP_PENDING",
    ]  # fmt: skip
    assert [s.value for s in sorted(State)] == list(range(5))
    assert [e.name for e in sorted(Event)] == [
        "NOT_OPER", "IO_REQ", "INTERRUPT", "ASYNC_REQ", "OPEN", "CLOSE",
    ]  # fmt: skip
    assert [e.value for e in sorted(Event)] == list(range(6))


def test_every_state_knows_what_to_do_about_every_event() -> None:
    for state, event in itertools.product(State, Event):
        assert isinstance(TABLE[state][event], Action)
    assert len(TABLE) == len(State)
    assert all(len(row) == len(Event) for row in TABLE.values())


@pytest.mark.parametrize(("state", "event"), list(itertools.product(State, Event)), ids=str)
def test_a_cell_is_what_the_contract_says(state: State, event: Event) -> None:
    assert TABLE[state][event] is ROWS[state][sorted(Event).index(event)]


@pytest.mark.parametrize(
    ("action", "error"),
    [(A.IO_ERROR, errno.EIO), (A.ASYNC_ERROR, errno.EIO), (A.IO_RETRY, errno.EAGAIN),
     (A.ASYNC_RETRY, errno.EAGAIN)],
)  # fmt: skip
def test_a_refusing_action_has_its_errno(action: Action, error: int) -> None:
    assert REFUSED[action] == error


def test_no_other_action_refuses() -> None:
    assert set(REFUSED) == {A.IO_ERROR, A.ASYNC_ERROR, A.IO_RETRY, A.ASYNC_RETRY}


def test_no_action_is_only_another_name_for_one() -> None:
    assert len(Action.__members__) == len(list(Action))


def test_condition_codes_1_and_2_are_ebusy_and_3_is_enodev() -> None:
    assert CC_ERRNO == {1: errno.EBUSY, 2: errno.EBUSY, 3: errno.ENODEV}


def test_the_life_of_a_device_leads_where_the_contract_says() -> None:
    assert AFTER == {A.NOTOPER: S.NOT_OPER, A.OPEN: S.IDLE, A.CLOSE: S.STANDBY}


@pytest.mark.parametrize(("state", "function"), list(itertools.product(State, Function)), ids=str)
def test_cp_pending_begins_with_a_start_and_ends_with_clear_cancel_or_the_concluding_irb(
    state: State, function: Function
) -> None:
    expected = state
    if state is S.IDLE and function is F.START:
        expected = S.CP_PENDING
    elif state is S.CP_PENDING and function in (F.CLEAR, F.CANCEL, F.CONCLUDE):
        expected = S.IDLE
    assert fsm.AFTER_REQUEST[function][state] is expected


def test_only_the_states_that_take_requests_accept_any() -> None:
    assert {state for state, _ in ACCEPTED} == {S.IDLE, S.CP_PENDING}


def test_every_action_and_every_state_is_used_and_explained() -> None:
    used = {action for row in TABLE.values() for action in row.values()}
    assert used == set(Action)
    assert all(action.value for action in Action)
