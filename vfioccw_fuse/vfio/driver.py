"""The vfio-ccw driver of one subchannel: requests into instructions, status into IRBs.

The methods that the cells of `fsm.TABLE` name are here; which of them runs is the table's matter
alone. All state changes happen in plain calls from one thread, none of which waits: that is the
lock of the thread's mutex discussion. Rules: Linux drivers/s390/cio/vfio_ccw_fsm.c, and where this
driver offers more, the thread.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Final

from ..css.ccw import CcwFetcher
from ..css.scsw import START, STATUS_PEND
from ..css.subchannel import OperandException, Subchannel
from ..memory.paging import StorageLost
from ..memory.space import AddressingError
from ..regions import constants as c
from ..regions.layouts import Orb
from ..regions.table import Interface, irqs_of
from .areas import IoArea, ProgramHalves
from .fsm import LEADS, TABLE, Cell, Done, Event, State
from .irq import Irq
from .pathmask import PathMask, PmcwMask, WornMask
from .reports import ChannelReports
from .status import DriverTakes, ReaderTakes, Taker
from .translation import Untranslatable, client_program, driver_copy

if TYPE_CHECKING:
    from ..css.trace import Trace

HALT_OR_CLEAR: Final = c.SCSW_FCTL_CLEAR_FUNC | c.SCSW_FCTL_HALT_FUNC
SSCH: Final = c.VFIO_CCW_ASYNC_CMD_SSCH
START_COMMANDS: Final = {
    SSCH: c.PROGRAM_HALF_NONE,
    c.VFIO_CCW_ASYNC_CMD_SSCH_A: c.PROGRAM_HALF_A,
    c.VFIO_CCW_ASYNC_CMD_SSCH_B: c.PROGRAM_HALF_B,
}
"""Commands of the cmd region that start: the half of the program region that each starts."""
START_COMMAND_OF: Final = {half: command for command, half in START_COMMANDS.items()}
HALF_ORB: Final = Orb(ctrl0=c.ORB_CTRL0_MASK_FMT, lpm=0xFF)
"""The ORB of a start from a half: format 1, any path, the program at offset 0."""
LINUX_COMMANDS: Final = frozenset({c.VFIO_CCW_ASYNC_CMD_HSCH, c.VFIO_CCW_ASYNC_CMD_CSCH})
"""The commands that the interface `async` has; `full` has all of them."""
CC_ERRNO: Final = (0, errno.EBUSY, errno.EBUSY, errno.ENODEV)
"""By condition code; a START with 3 is EACCES while the path mask has a path left."""

# A member of an enum costs as much as two calls each time that it is looked up by its name.
_PROCESSING: Final = Done.PROCESSING
_STARTED: Final = Done.STARTED
_NOT_STARTED: Final = Done.NOT_STARTED
_CONCLUDED: Final = Done.CONCLUDED
_HALTED: Final = Done.HALTED
_CLEARED: Final = Done.CLEARED


@dataclass(slots=True)
class RequestCounters:
    """Requests that did not end with condition code 0, by why."""

    ebusy_status_pending: int = 0
    """EBUSY with condition code 1."""
    ebusy_busy: int = 0
    """EBUSY with condition code 2."""
    resets: int = 0
    """VFIO_DEVICE_RESET and what acts like it."""


class Processing(Exception):
    """An accepted start stays in CP_PROCESSING for some time (the fault `processing`).

    Raised through the region that was written to whoever carries requests. That one lets *seconds*
    pass, calls `finish`, and only then answers the request; or `withdraw`, if it cannot wait.
    """

    def __init__(self, seconds: float, go_on: Callable[[bool], int]) -> None:
        """*go_on* does the start (True) or gives it up (False), and gives 0 or an errno."""
        super().__init__(f"in CP_PROCESSING for {seconds:g} s")
        self.seconds = seconds
        """How long to wait."""
        self.on_drop: Callable[[], None] = lambda: None
        """Called when a reset, a close or the removal has ended the start: the wait is over."""
        self._go_on = go_on
        self._answer: Callable[[int], None] = lambda result: None

    def then(self, answer: Callable[[int], None]) -> None:
        """Let *answer* have the result: the region, which says it in ret_code, raises OSError."""
        self._answer = answer

    def finish(self) -> None:
        """Do the start; OSError with the errno of the contract."""
        self._answer(self._go_on(True))

    def withdraw(self) -> None:
        """Give the start up: the request ends with EINTR, as OSError."""
        self._answer(self._go_on(False))


class Row:
    """One state of the table for one interface, its cells the methods of `Driver`."""

    __slots__ = ("async_req", "close", "interrupt", "io_req", "leads", "not_oper", "open", "state")

    io_req: Callable[[Driver, Orb, int, int], int]
    """Takes ORB, fctl, half; gives 0 or an errno."""
    async_req: Callable[[Driver, Callable[[], int]], int]
    """Takes what does the command; gives 0 or an errno."""
    not_oper: Callable[[Driver], None]
    interrupt: Callable[[Driver], None]
    open: Callable[[Driver], None]
    close: Callable[[Driver], None]

    def __init__(self, state: State, interface: Interface) -> None:
        self.state = state
        self.leads: dict[Done, Row] = {}
        """The rows that something done leads to; filled when all rows are there."""
        for event in Event:
            cell: Cell = TABLE[state][event]
            name = cell if isinstance(cell, str) else cell[interface]
            setattr(self, event.name.lower(), getattr(Driver, name))


@cache
def first_row(interface: Interface) -> Row:
    """The row of a device that is closed; it leads to the others, which all devices share."""
    rows = {state: Row(state, interface) for state in State}
    for state, leads in LEADS.items():
        rows[state].leads = {done: rows[after] for done, after in leads.items()}
    return rows[State.STANDBY]


class Driver:
    """What Linux keeps in struct vfio_ccw_private: the state, and all that a request may touch."""

    def __init__(self, sch: Subchannel, interface: Interface) -> None:
        self.sch = sch
        """The subchannel: scsw(h) is there."""
        self.irqs = {irq.index: Irq() for irq in irqs_of(interface)}
        """The interrupts by index."""
        self.io = IoArea()
        """The io region's bytes."""
        self.halves = ProgramHalves()
        """The program region's bytes."""
        self.reports = ChannelReports(self.irqs.get(c.VFIO_CCW_CRW_IRQ_INDEX))
        """Channel reports that wait to be read."""
        self.counters = RequestCounters()
        """Requests that failed, and resets."""
        self.trace: Trace | None = None
        """Who is told of instructions and their condition codes."""
        self.last_command = 0
        """The last command as its cmd_region bit; SSCH through the io_region counts as SSCH."""
        self.last_cc = 0
        """Its condition code."""
        self.last_errno = 0
        """Its errno, 0 if it was accepted."""
        every = interface is Interface.FULL
        io_irq = self.irqs[c.VFIO_CCW_IO_IRQ_INDEX]
        self.status: Taker = (ReaderTakes if every else DriverTakes)(
            sch, self.io, io_irq, self._conclude
        )
        """Who takes the subchannel's status, and what is shown of it."""
        self.mask: PathMask = PmcwMask(sch) if every else WornMask(sch)
        """The paths that the driver takes the subchannel to have."""
        self._translate = client_program if every else driver_copy
        instructions = {
            c.VFIO_CCW_ASYNC_CMD_HSCH: ("hsch", Done.HALTED, sch.hsch),
            c.VFIO_CCW_ASYNC_CMD_CSCH: ("csch", Done.CLEARED, sch.csch),
            c.VFIO_CCW_ASYNC_CMD_XSCH: ("xsch", Done.CANCELLED, sch.xsch),
            c.VFIO_CCW_ASYNC_CMD_RSCH: ("rsch", Done.RESUMED, sch.rsch),
        }
        self._instructions = {
            command: instruction
            for command, instruction in instructions.items()
            if every or command in LINUX_COMMANDS
        }
        self._starts = START_COMMANDS if every else {}
        # The start that waits in CP_PROCESSING; another one, or None, if it was dropped.
        self._held: Processing | None = None
        self.at = first_row(interface)
        """The row of the table that counts now; who calls a cell of it dispatches the event."""
        sch.pending.on_status_pending = self.status_pending

    @property
    def state(self) -> State:
        """The FSM's state."""
        return self.at.state

    def _lead(self, done: Done) -> None:
        """Go to the state that *done* leads to, if it leads anywhere."""
        after = self.at.leads.get(done)
        if after is not None:
            self.at = after
            self.halves.running = c.PROGRAM_HALF_NONE

    # --- events -------------------------------------------------------------------------------

    def command(self, command: int, orb: Orb) -> int:
        """ASYNC_REQ: a command of the cmd region; gives 0 or an errno.

        *orb* is the io region's, for SSCH: a start is an IO_REQ.
        """
        return self.at.async_req(self, partial(self._command, command, orb))

    def modify(self, schib: bytes) -> int:
        """ASYNC_REQ: MSCH with 52 bytes; gives 0 or an errno."""
        return self.at.async_req(self, partial(self._modify, schib))

    def status_pending(self) -> None:
        """INTERRUPT: the subchannel is status pending, or status joined what is pending."""
        self.at.interrupt(self)

    def event(self, event: Event) -> None:
        """OPEN, CLOSE or NOT_OPER."""
        at = self.at
        {Event.OPEN: at.open, Event.CLOSE: at.close, Event.NOT_OPER: at.not_oper}[event](self)

    def reset(self) -> None:
        """VFIO_DEVICE_RESET: CLOSE, then OPEN. What was shown or queued is gone."""
        self.counters.resets += 1
        self.at.close(self)
        self.at.open(self)

    # --- the cells: life ----------------------------------------------------------------------

    def nop(self) -> None:
        """Nothing."""

    def open(self) -> None:
        """Enable the subchannel (MSCH with E)."""
        self.sch.enable()
        self.mask.opened()
        self._lead(Done.OPENED)

    def close(self) -> None:
        """Drop what is in progress, disable the subchannel."""
        self._drop_held()
        self.sch.disable()
        self.status.dropped()
        self._lead(Done.CLOSED)

    def notoper(self) -> None:
        """The subchannel is gone: drop everything."""
        self._drop_held()
        self.sch.disable()
        self.status.dropped()
        self.halves.close()
        self._lead(Done.REMOVED)

    # --- the cells: requests ------------------------------------------------------------------

    def io_error(self, orb: Orb, fctl: int, half: int) -> int:
        """The request is EIO."""
        return errno.EIO

    def io_retry(self, orb: Orb, fctl: int, half: int) -> int:
        """The request is EAGAIN."""
        return errno.EAGAIN

    def io_start(self, orb: Orb, fctl: int, half: int) -> int:
        """START whatever else fctl asks for; halt and clear are not done here (EOPNOTSUPP)."""
        if fctl & START:
            return self._start(orb, half)
        return errno.EOPNOTSUPP if fctl else 0

    def io_busy(self, orb: Orb, fctl: int, half: int) -> int:
        """The request is EBUSY."""
        return self._not_executed(half) if fctl & START else errno.EBUSY

    def io_request(self, orb: Orb, fctl: int, half: int) -> int:
        """Do one function of fctl: clear before halt before start, as the thread settled."""
        if fctl & HALT_OR_CLEAR:
            return self._halt_or_clear(fctl)
        return self._start(orb, half) if fctl else 0

    def io_overtake(self, orb: Orb, fctl: int, half: int) -> int:
        """Halt and clear overtake the running start; anything else is EBUSY."""
        if fctl & HALT_OR_CLEAR:
            return self._halt_or_clear(fctl)
        return self._not_executed(half) if fctl else errno.EBUSY

    def async_error(self, do: Callable[[], int]) -> int:
        """The command is EIO."""
        return errno.EIO

    def async_retry(self, do: Callable[[], int]) -> int:
        """The command is EAGAIN."""
        return errno.EAGAIN

    def async_request(self, do: Callable[[], int]) -> int:
        """Do the command."""
        return do()

    # --- the cells: interruptions -------------------------------------------------------------

    def irq(self) -> None:
        """Show the IRB, signal io_irq."""
        self.status.come()

    def _conclude(self) -> None:
        self._lead(_CONCLUDED)

    def disabled_irq(self) -> None:
        """Disable the subchannel: nobody waits for its status."""
        self.sch.disable()

    # --- instructions -------------------------------------------------------------------------

    def _halt_or_clear(self, fctl: int) -> int:
        if fctl & c.SCSW_FCTL_CLEAR_FUNC:
            return self._instruct(c.VFIO_CCW_ASYNC_CMD_CSCH, "csch", Done.CLEARED, self.sch.csch)
        return self._instruct(c.VFIO_CCW_ASYNC_CMD_HSCH, "hsch", Done.HALTED, self.sch.hsch)

    def _command(self, command: int, orb: Orb) -> int:
        instruction = self._instructions.get(command)
        if instruction is not None:
            return self._instruct(command, *instruction)
        half = self._starts.get(command)
        return errno.EINVAL if half is None else self.at.io_req(self, orb, START, half)

    def _modify(self, schib: bytes) -> int:
        msch = partial(self.sch.msch, schib)
        try:
            return self._instruct(self.last_command, "msch", Done.MODIFIED, msch)
        except OperandException:
            return errno.EIO

    def _instruct(self, command: int, name: str, done: Done, instruction: Callable[[], int]) -> int:
        """Do an I/O instruction and let its condition code decide the state and the errno."""
        cc = instruction()
        if not cc:
            self._lead(done)
            if done is _HALTED:
                self.status.accepted()
            elif done is _CLEARED:
                self.status.cleared()
        return self._told(command, name, cc)

    def _told(self, command: int, name: str, cc: int, orb: Orb | None = None) -> int:
        """Keep what became of a command, for the status region and the trace; gives its errno."""
        self.last_command = command
        self.last_cc = cc
        self.last_errno = CC_ERRNO[cc]
        if cc == 1:
            self.counters.ebusy_status_pending += 1
            self.status.hurry()
        elif cc == 2:
            self.counters.ebusy_busy += 1
        if self.trace is not None:
            self.trace.instruction(name, cc, orb)
        return self.last_errno

    def _not_executed(self, half: int) -> int:
        """A start while one is pending: what SSCH would have given is told all the same."""
        cc = 1 if self.sch.scsw.ctrl & STATUS_PEND else 2
        return self._told(START_COMMAND_OF[half], "ssch", cc)

    def _start(self, orb: Orb, half: int) -> int:
        """Translate the program as Linux does, go through CP_PROCESSING, SSCH."""
        if half:
            orb = HALF_ORB
            ccws = CcwFetcher(self.halves.space(half), orb)
        else:
            if orb.ctrl0 & c.ORB_CTRL0_MASK_TRANSPORT:
                return errno.EOPNOTSUPP
            try:
                orb, ccws = self._translate(self.sch.space, orb)
            except (Untranslatable, AddressingError):
                return errno.EINVAL
            except StorageLost:
                return errno.EFAULT
            if not orb.lpm:
                orb = orb._replace(lpm=self.mask.lpm)
        self.at = self.at.leads.get(_PROCESSING, self.at)
        if self.sch.behaviour.armed:
            seconds = self.sch.behaviour.processing()
            if seconds is not None:
                self._hold(seconds, orb, half, ccws)
        return self._ssch(orb, half, ccws)

    def _hold(self, seconds: float, orb: Orb, half: int, ccws: CcwFetcher) -> None:
        """Stay in CP_PROCESSING as the fault `processing` says."""

        def go_on(wanted: bool) -> int:
            if self._held is not held:
                return errno.EIO  # reset, closed or removed meanwhile
            self._held = None
            if wanted:
                return self._ssch(orb, half, ccws)
            self._lead(_NOT_STARTED)
            return errno.EINTR

        self._held = held = Processing(seconds, go_on)
        raise held

    def _drop_held(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            held.on_drop()

    def _ssch(self, orb: Orb, half: int, ccws: CcwFetcher) -> int:
        try:
            cc = self.sch.ssch(orb, ccws)
        except OperandException:
            self._lead(_NOT_STARTED)
            return errno.EIO
        if cc:
            self._lead(_NOT_STARTED)
            result = self._told(START_COMMAND_OF[half], "ssch", cc)
            if cc == 3 and self.mask.lost(orb.lpm):
                self.last_errno = result = errno.EACCES
            return result
        self.at = self.at.leads.get(_STARTED, self.at)
        self.halves.running = half
        self.status.accepted()
        return self._told(START_COMMAND_OF[half], "ssch", cc, orb)
