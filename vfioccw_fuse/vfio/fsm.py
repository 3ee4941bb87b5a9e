"""The finite state machine of a vfio-ccw device: one table, at a glance.

Two rules: nothing here does I/O, waits, or imports anything of trio, FUSE or Construct; and no
other file decides what a state allows. States and events have the names of Linux's
vfio_ccw_private.h, and the actions those of vfio_ccw_fsm.c, without their prefixes.
"""

from __future__ import annotations

import enum
import errno
from typing import Final


class State(enum.IntEnum):
    """Where a device is (enum vfio_ccw_state, the same numbers)."""

    __hash__ = int.__hash__

    NOT_OPER = 0
    """The subchannel is gone: only removal leads here."""
    STANDBY = 1
    """Closed: nobody may use it."""
    IDLE = 2
    """Open, no start function in progress."""
    CP_PROCESSING = 3
    """A start request is being worked on."""
    CP_PENDING = 4
    """A start function was accepted and has not been concluded."""


class Event(enum.IntEnum):
    """What can happen (enum vfio_ccw_event, the same numbers)."""

    __hash__ = int.__hash__

    NOT_OPER = 0
    """The subchannel is removed."""
    IO_REQ = 1
    """A request in the io region."""
    INTERRUPT = 2
    """An IRB is shown to the client."""
    ASYNC_REQ = 3
    """A command in the cmd region."""
    OPEN = 4
    """The device is opened: at mount, add, and as the second half of a reset."""
    CLOSE = 5
    """The device is closed: at umount, remove, and as the first half of a reset."""


@enum.unique
class Action(enum.Enum):
    """What the driver does about an event. The value is its explanation."""

    __hash__ = object.__hash__  # the tables are looked up for every request

    NOP = "nothing"
    NOTOPER = "the subchannel is gone: drop everything"
    OPEN = "enable the subchannel (MSCH with E)"
    CLOSE = "drop what is in progress, disable the subchannel"
    IO_REQUEST = "do the function of fctl: clear before halt before start"
    IO_OVERTAKE = "the same, but a start is EBUSY: halt and clear overtake the running one"
    IO_ERROR = "the request is EIO"
    IO_RETRY = "the request is EAGAIN"
    ASYNC_REQUEST = "do the command"
    ASYNC_ERROR = "the command is EIO"
    ASYNC_RETRY = "the command is EAGAIN"
    IRQ = "show the IRB, signal io_irq"
    DISABLED_IRQ = "disable the subchannel: nobody waits for its status"


class Function(enum.Enum):
    """What a request asks the subchannel to do, and so what an acceptance means for the state."""

    __hash__ = object.__hash__

    START = "ssch"
    HALT = "hsch"
    CLEAR = "csch"
    CANCEL = "xsch"
    RESUME = "rsch"
    MODIFY = "msch"
    CONCLUDE = "the IRB that concludes the start function is shown"


TABLE: Final[dict[State, dict[Event, Action]]] = {
    State.NOT_OPER: {
        Event.NOT_OPER: Action.NOP,
        Event.IO_REQ: Action.IO_ERROR,
        Event.ASYNC_REQ: Action.ASYNC_ERROR,
        Event.INTERRUPT: Action.DISABLED_IRQ,
        Event.OPEN: Action.NOP,
        Event.CLOSE: Action.NOP,
    },
    State.STANDBY: {
        Event.NOT_OPER: Action.NOTOPER,
        Event.IO_REQ: Action.IO_ERROR,
        Event.ASYNC_REQ: Action.ASYNC_ERROR,
        Event.INTERRUPT: Action.DISABLED_IRQ,
        Event.OPEN: Action.OPEN,
        Event.CLOSE: Action.NOP,
    },
    State.IDLE: {
        Event.NOT_OPER: Action.NOTOPER,
        Event.IO_REQ: Action.IO_REQUEST,
        Event.ASYNC_REQ: Action.ASYNC_REQUEST,
        Event.INTERRUPT: Action.IRQ,
        Event.OPEN: Action.NOP,
        Event.CLOSE: Action.CLOSE,
    },
    State.CP_PROCESSING: {
        Event.NOT_OPER: Action.NOTOPER,
        Event.IO_REQ: Action.IO_RETRY,
        Event.ASYNC_REQ: Action.ASYNC_RETRY,
        Event.INTERRUPT: Action.IRQ,
        Event.OPEN: Action.NOP,
        Event.CLOSE: Action.CLOSE,
    },
    State.CP_PENDING: {
        Event.NOT_OPER: Action.NOTOPER,
        Event.IO_REQ: Action.IO_OVERTAKE,
        Event.ASYNC_REQ: Action.ASYNC_REQUEST,
        Event.INTERRUPT: Action.IRQ,
        Event.OPEN: Action.NOP,
        Event.CLOSE: Action.CLOSE,
    },
}
"""State x event to action. Where Linux differs: CP_PENDING x IO_REQ is not just busy, as the thread
concluded that halt and clear must overtake; OPEN of an open device is no error."""

AFTER: Final[dict[Action, State]] = {
    Action.NOTOPER: State.NOT_OPER,
    Action.OPEN: State.IDLE,
    Action.CLOSE: State.STANDBY,
}
"""The state after an action that always ends in one; other actions leave the state as it is."""

ACCEPTED: Final[dict[tuple[State, Function], State]] = {
    (State.IDLE, Function.START): State.CP_PENDING,
    (State.CP_PENDING, Function.CLEAR): State.IDLE,
    (State.CP_PENDING, Function.CANCEL): State.IDLE,
    (State.CP_PENDING, Function.CONCLUDE): State.IDLE,
}
"""The state after a request was accepted with condition code 0; a pair not here changes nothing,
and so does a request that fails: it returns to the state before."""

REFUSED: Final[dict[Action, int]] = {
    Action.IO_ERROR: errno.EIO,
    Action.IO_RETRY: errno.EAGAIN,
    Action.ASYNC_ERROR: errno.EIO,
    Action.ASYNC_RETRY: errno.EAGAIN,
}
"""Actions that are only an errno."""

CC_ERRNO: Final[dict[int, int]] = {1: errno.EBUSY, 2: errno.EBUSY, 3: errno.ENODEV}
"""Condition code to errno; a START whose path is gone is EACCES while another path is left."""


# What follows is the tables above once more, in the form in which a request asks them.

IO_REFUSAL: Final = tuple(REFUSED.get(TABLE[state][Event.IO_REQ], 0) for state in State)
ASYNC_REFUSAL: Final = tuple(REFUSED.get(TABLE[state][Event.ASYNC_REQ], 0) for state in State)
"""By state: the errno that refuses a request in the io region, and one in the cmd region, or 0."""
DISABLED: Final = tuple(TABLE[state][Event.INTERRUPT] is Action.DISABLED_IRQ for state in State)
"""By state: nobody waits for a status."""
AFTER_REQUEST: Final = {
    function: tuple(ACCEPTED.get((state, function), state) for state in State)
    for function in Function
}
"""By what was done, then by state: the state after it."""
