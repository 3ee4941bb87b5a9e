"""One vfio-ccw device: requests into instructions, condition codes into errnos, status into IRBs.

All state changes happen in plain calls from one thread, none of which waits: that is the lock of
the thread's mutex discussion. The regions' bytes are in `regions.py`, the state machine in
`fsm.py`.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ..css.status import INTERMEDIATE_ONLY, START, STATUS_PEND, STCTL
from ..css.subchannel import OperandException, Subchannel
from ..memory.space import AddressSpace
from ..regions import constants as c
from ..regions.layouts import Orb
from ..regions.table import Interface, irqs_of, regions_of
from .fsm import (
    AFTER,
    AFTER_REQUEST,
    ASYNC_REFUSAL,
    CC_ERRNO,
    DISABLED,
    IO_REFUSAL,
    TABLE,
    Action,
    Event,
    Function,
    State,
)
from .irq import Irq
from .prefetch import prefetch_program

if TYPE_CHECKING:
    from ..css.trace import Trace

COMMANDS: Final[dict[int, Function]] = {
    c.VFIO_CCW_ASYNC_CMD_HSCH: Function.HALT,
    c.VFIO_CCW_ASYNC_CMD_CSCH: Function.CLEAR,
    c.VFIO_CCW_ASYNC_CMD_XSCH: Function.CANCEL,
    c.VFIO_CCW_ASYNC_CMD_RSCH: Function.RESUME,
    c.VFIO_CCW_ASYNC_CMD_SSCH: Function.START,
    c.VFIO_CCW_ASYNC_CMD_SSCH_A: Function.START,
    c.VFIO_CCW_ASYNC_CMD_SSCH_B: Function.START,
}
"""The cmd_region's commands."""
HALVES: Final = {
    c.VFIO_CCW_ASYNC_CMD_SSCH_A: c.PROGRAM_HALF_A,
    c.VFIO_CCW_ASYNC_CMD_SSCH_B: c.PROGRAM_HALF_B,
}
"""Commands that start a half of the program region."""
LINUX_COMMANDS: Final = frozenset({c.VFIO_CCW_ASYNC_CMD_HSCH, c.VFIO_CCW_ASYNC_CMD_CSCH})
"""Those that the interface `async` has."""
HALT_OR_CLEAR: Final = c.SCSW_FCTL_CLEAR_FUNC | c.SCSW_FCTL_HALT_FUNC
# A member of an enum costs as much as two calls each time that it is looked up by its name.
_START: Final = Function.START
_CONCLUDE: Final = Function.CONCLUDE
_CP_PENDING: Final = State.CP_PENDING


@dataclass(slots=True)
class RequestCounters:
    """Requests that did not end with condition code 0, by why."""

    ebusy_status_pending: int = 0
    """EBUSY with condition code 1."""
    ebusy_busy: int = 0
    """EBUSY with condition code 2."""
    resets: int = 0
    """VFIO_DEVICE_RESET and what acts like it."""


class CcwDevice:
    """What a client has before it: the regions' contents, the interrupts, the state."""

    def __init__(self, sch: Subchannel, interface: Interface = Interface.FULL) -> None:
        self.sch = sch
        """The subchannel: scsw(h) is there."""
        self.interface = interface
        """What the client is offered."""
        self.regions = regions_of(interface)
        """The regions in the order of their index."""
        self.irqs = {irq.index: Irq() for irq in irqs_of(interface)}
        """The interrupts by index."""
        self.state = State.STANDBY
        """The FSM's state."""
        self.order = "big"
        """Byte order of the client's ORB and SCSW: "big", or "host" as QEMU keeps them."""
        self.show_irb: Callable[[bytes], None] = lambda irb: None
        """Puts an IRB into the io region; set by it."""
        self.crws: deque[tuple[int, int]] = deque()
        """Channel reports that wait to be read: flags, rsid."""
        self.counters = RequestCounters()
        self.trace: Trace | None = None
        """Who writes down instructions and their condition codes."""
        self.last_command = 0
        """The last command as its cmd_region bit; SSCH through the io_region counts as SSCH."""
        self.last_cc = 0
        """Its condition code."""
        self.last_errno = 0
        """Its errno, 0 if it was accepted."""
        self.half_space: Callable[[int], AddressSpace] | None = None
        """Gives the address space of a half of the program region; set by it."""
        self.on_removal: Callable[[], None] = lambda: None
        """Called when the subchannel is removed; set by the region that holds a descriptor."""
        self.running_half = c.PROGRAM_HALF_NONE
        """The half of the program region whose program runs."""
        self._io_irq = self.irqs[c.VFIO_CCW_IO_IRQ_INDEX]
        self._fctl_requests = interface in (Interface.SCSW, Interface.FULL)
        sch.on_status_pending = self._interrupt

    # --- life: OPEN, CLOSE, RESET -------------------------------------------------------------

    def event(self, event: Event) -> None:
        """OPEN, CLOSE or NOT_OPER, as the table says."""
        action = TABLE[self.state][event]
        if action is Action.OPEN:
            self.sch.enable()
        elif action is Action.CLOSE or action is Action.NOTOPER:
            self.sch.disable()
        if action is Action.NOTOPER:
            self.on_removal()
        self.state = AFTER.get(action, self.state)

    def reset(self) -> None:
        """VFIO_DEVICE_RESET: CLOSE, then OPEN. What was shown or queued is gone."""
        self.counters.resets += 1
        self.event(Event.CLOSE)
        self.show_irb(bytes(c.IRB_SIZE))
        self.event(Event.OPEN)

    # --- requests -----------------------------------------------------------------------------

    def io_request(self, orb: Orb, fctl: int) -> int:
        """A request in the io region; gives 0 or an errno. *fctl* has SCSW_FCTL_ bits.

        One function a write: clear before halt before start, as the thread settled.
        """
        refused = IO_REFUSAL[self.state]
        if refused:
            return refused
        if fctl & HALT_OR_CLEAR:
            if not self._fctl_requests:
                return errno.EOPNOTSUPP
            if fctl & c.SCSW_FCTL_CLEAR_FUNC:
                return self._instruct(Function.CLEAR, c.VFIO_CCW_ASYNC_CMD_CSCH, self.sch.csch)
            return self._instruct(Function.HALT, c.VFIO_CCW_ASYNC_CMD_HSCH, self.sch.hsch)
        if fctl & START:
            return self._start(orb)
        return errno.EINVAL

    def command(self, command: int, orb: Orb) -> int:
        """A command in the cmd region; gives 0 or an errno. *orb* is the io region's, for SSCH."""
        refused = ASYNC_REFUSAL[self.state]
        if refused:
            return refused
        function = COMMANDS.get(command)
        if function is None or (
            command not in LINUX_COMMANDS and self.interface is not Interface.FULL
        ):
            return errno.EINVAL
        if function is Function.START:
            half = HALVES.get(command)
            return self._start(orb) if half is None else self._start_half(command, half)
        sch = self.sch
        instruction = {
            Function.HALT: sch.hsch,
            Function.CLEAR: sch.csch,
            Function.CANCEL: sch.xsch,
            Function.RESUME: sch.rsch,
        }[function]
        return self._instruct(function, command, instruction)

    def modify(self, schib: bytes) -> int:
        """MSCH with 52 bytes; gives 0 or an errno."""
        refused = ASYNC_REFUSAL[self.state]
        if refused:
            return refused
        try:
            return self._instruct(Function.MODIFY, self.last_command, lambda: self.sch.msch(schib))
        except OperandException:
            return errno.EINVAL

    def _instruct(self, function: Function, command: int, instruction: Callable[[], int]) -> int:
        """Do an I/O instruction and let its condition code decide the state and the errno."""
        cc = instruction()
        return self._conclude(function, command, cc)

    def _conclude(self, function: Function, command: int, cc: int) -> int:
        self.last_command = command
        self.last_cc = cc
        if self.trace is not None:
            program = self.sch.program if function is _START and cc == 0 else None
            self.trace.instruction(function.value, cc, program.orb if program else None)
        if not cc:
            if function is _START:
                self.running_half = HALVES.get(command, c.PROGRAM_HALF_NONE)
            self.state = AFTER_REQUEST[function][self.state]
            self.last_errno = 0
            return 0
        self.last_errno = CC_ERRNO[cc]
        if cc == 1:
            self.counters.ebusy_status_pending += 1
        elif cc == 2:
            self.counters.ebusy_busy += 1
        return self.last_errno

    def _start_half(self, command: int, half: int) -> int:
        """SSCH of the program in a half of the program region, without guest storage."""
        sch = self.sch
        if self.state is _CP_PENDING:
            return self._conclude(_START, command, 1 if sch.status_pending else 2)
        if self.half_space is None:
            return errno.EINVAL
        orb = Orb(ctrl0=c.ORB_CTRL0_MASK_FMT, lpm=0xFF)
        cc = sch.ssch(orb, space=self.half_space(half))
        return self._conclude(_START, command, cc)

    def half_is_locked(self, half: int) -> bool:
        """Whether the program of *half* still runs."""
        return self.running_half == half and self.state is _CP_PENDING

    def _start(self, orb: Orb) -> int:
        sch = self.sch
        if self.state is _CP_PENDING:
            # The instruction is not executed: what it would have given is told all the same.
            cc = 1 if sch.status_pending else 2
            return self._conclude(_START, c.VFIO_CCW_ASYNC_CMD_SSCH, cc)
        _, ctrl0, lpm, _, cpa = orb
        if ctrl0 & c.ORB_CTRL0_MASK_TRANSPORT:
            return errno.EOPNOTSUPP
        if cpa >> 31:
            return errno.EINVAL
        fetched = b""
        if ctrl0 & c.ORB_CTRL0_MASK_PFCH:
            refused, fetched = prefetch_program(sch.space, orb)
            if refused:
                return refused
        try:
            cc = sch.ssch(orb, fetched)
        except OperandException:
            return errno.EINVAL
        result = self._conclude(_START, c.VFIO_CCW_ASYNC_CMD_SSCH, cc)
        if cc == 3 and sch.other_path(lpm):
            self.last_errno = result = errno.EACCES
        return result

    # --- interruptions ------------------------------------------------------------------------

    def _interrupt(self) -> None:
        """The subchannel is status pending: show the IRB unless one is shown, signal io_irq."""
        sch = self.sch
        if sch.shown:
            return
        if DISABLED[self.state]:
            sch.disable()
            return
        ctrl = sch.ctrl
        self.show_irb(sch.show())
        if ctrl & START and ctrl & STCTL != INTERMEDIATE_ONLY:
            self.state = AFTER_REQUEST[_CONCLUDE][self.state]
        self._io_irq.signal()

    def irb_read(self) -> None:
        """A client read the shown IRB: that is its TSCH, and the next one is shown."""
        sch = self.sch
        if sch.shown and sch.ctrl & STATUS_PEND:
            sch.take_status()

    # --- channel reports ----------------------------------------------------------------------

    def report(self, flags: int, rsid: int) -> None:
        """Queue a channel report word and signal crw_irq, where the interface has it."""
        irq = self.irqs.get(c.VFIO_CCW_CRW_IRQ_INDEX)
        if irq is not None:
            self.crws.append((flags, rsid))
            irq.signal()

    def take_report(self) -> tuple[int, int]:
        """The oldest channel report, taken; zeros if there is none. More of them signal again."""
        if not self.crws:
            return 0, 0
        report = self.crws.popleft()
        if self.crws:
            self.irqs[c.VFIO_CCW_CRW_IRQ_INDEX].signal()
        return report
