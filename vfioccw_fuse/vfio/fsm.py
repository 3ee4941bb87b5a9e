"""The finite state machine of a vfio-ccw device: one table, at a glance, and it is what runs.

Two rules: nothing here does I/O, waits, or imports anything of trio, FUSE or Construct; and no
other file decides what a state allows. States and events have the names and numbers of Linux's
vfio_ccw_private.h. A cell of the table names a method of `driver.Driver`; these have the names of
the functions of vfio_ccw_fsm.c, without their prefixes.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final


class State(enum.IntEnum):
    """Where a device is (enum vfio_ccw_state, the same numbers)."""

    NOT_OPER = 0
    """The subchannel is gone: only removal leads here."""
    STANDBY = 1
    """Closed: nobody may use it."""
    IDLE = 2
    """Open, no start function in progress."""
    CP_PROCESSING = 3
    """A start request is being worked on: SSCH comes next."""
    CP_PENDING = 4
    """A start function was accepted and has not been concluded."""


class Event(enum.IntEnum):
    """What can happen (enum vfio_ccw_event, the same numbers)."""

    NOT_OPER = 0
    """The subchannel is removed."""
    IO_REQ = 1
    """A request in the io region, or a start by the cmd region."""
    INTERRUPT = 2
    """The subchannel has a status to tell."""
    ASYNC_REQ = 3
    """Another command in the cmd region, or an MSCH in the schib region."""
    OPEN = 4
    """The device is opened: at mount, add, and as the second half of a reset."""
    CLOSE = 5
    """The device is closed: at umount, remove, and as the first half of a reset."""


class Done(enum.StrEnum):
    """What a method has done that may lead to another state. The value says it to people."""

    OPENED = "opened"
    CLOSED = "closed"
    REMOVED = "removed"
    PROCESSING = "start taken up"
    STARTED = "ssch: cc 0"
    NOT_STARTED = "ssch refused"
    HALTED = "hsch: cc 0"
    CLEARED = "csch: cc 0"
    CANCELLED = "xsch: cc 0"
    RESUMED = "rsch: cc 0"
    MODIFIED = "msch: cc 0"
    CONCLUDED = "IRB that concludes the start"

    __hash__ = str.__hash__  # looked up for every request


Cell = str | Mapping[str, str]
"""The name of a method; where interfaces differ one for each, by the interface's name."""

# fctl asks for START alone, or, since the patch of the thread, for halt and clear, too.
_IO_REQUEST: Final = {
    "start-only": "io_start", "scsw": "io_request", "async": "io_start", "full": "io_request",
}  # fmt: skip
_IO_OVERTAKE: Final = {
    "start-only": "io_busy", "scsw": "io_overtake", "async": "io_busy", "full": "io_overtake",
}  # fmt: skip


def _row(*cells: Cell) -> dict[Event, Cell]:
    return dict(zip(Event, cells, strict=True))


TABLE: Final[dict[State, dict[Event, Cell]]] = {
    # on:  NOT_OPER   IO_REQ        INTERRUPT       ASYNC_REQ        OPEN    CLOSE
    State.NOT_OPER:
        _row("nop",     "io_error",   "disabled_irq", "async_error",   "nop",  "nop"),
    State.STANDBY:
        _row("notoper", "io_error",   "disabled_irq", "async_error",   "open", "nop"),
    State.IDLE:
        _row("notoper", _IO_REQUEST,  "irq",          "async_request", "nop",  "close"),
    State.CP_PROCESSING:
        _row("notoper", "io_retry",   "irq",          "async_retry",   "nop",  "close"),
    State.CP_PENDING:
        _row("notoper", _IO_OVERTAKE, "irq",          "async_request", "nop",  "close"),
}  # fmt: skip
"""State x event to method. Where Linux differs: CP_PENDING x IO_REQ is not just busy, as the thread
concluded that halt and clear must overtake; OPEN of an open device is no error."""

LEADS: Final[dict[State, dict[Done, State]]] = {
    State.NOT_OPER: {},
    State.STANDBY: {
        Done.OPENED: State.IDLE,
        Done.REMOVED: State.NOT_OPER,
    },
    State.IDLE: {
        Done.PROCESSING: State.CP_PROCESSING,
        Done.CLOSED: State.STANDBY,
        Done.REMOVED: State.NOT_OPER,
    },
    State.CP_PROCESSING: {
        Done.STARTED: State.CP_PENDING,
        Done.NOT_STARTED: State.IDLE,
        Done.CLOSED: State.STANDBY,
        Done.REMOVED: State.NOT_OPER,
    },
    State.CP_PENDING: {
        Done.CLEARED: State.IDLE,
        Done.CANCELLED: State.IDLE,
        Done.CONCLUDED: State.IDLE,
        Done.CLOSED: State.STANDBY,
        Done.REMOVED: State.NOT_OPER,
    },
}
"""State x what was done to the state after it. What is not here leads nowhere: a halt leaves the
start pending, and so does a request that fails."""

UNREACHED: Final[dict[tuple[State, Event], str]] = {
    (State.NOT_OPER, Event.NOT_OPER): "what is removed is not found any more",
    (State.NOT_OPER, Event.INTERRUPT): "a disabled subchannel makes no status",
    (State.STANDBY, Event.INTERRUPT): "a disabled subchannel makes no status",
    (State.IDLE, Event.OPEN): "only what is closed is opened: reset closes first",
    (State.CP_PROCESSING, Event.OPEN): "only what is closed is opened: reset closes first",
    (State.CP_PENDING, Event.OPEN): "only what is closed is opened: reset closes first",
}
"""Cells that nothing dispatches, and why; they say what would be right."""
