"""Where channel programs stop for somebody who looks at them CCW by CCW.

A `Stepper` that is attached to a subchannel is asked before each CCW is fetched, also one that
continues a data area, and is told when it was executed. Where a program is to stop it is parked
(`strand`) before the fetch, so that what storage has when it goes on is what counts. To everybody
else a program that is stopped is one of a slow device: halt, clear, cancel and reset end it, and
the subchannel shows active once a command was accepted. `debugger` tells people of it.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import trio

from ..errors import UserError
from ..regions import constants as c
from ..strand import park
from .ccw import ChannelCheck
from .transfer import INPUT, Pieces

if TYPE_CHECKING:
    from .channel import ChannelProgram
    from .subchannel import Subchannel

UC: Final = c.SCSW_DSTAT_UNIT_CHECK


class Until(enum.Enum):
    """What lets a program stop; the value is the word for it."""

    START = "start"
    """The first CCW of a start function; a program that is stopped there stays."""
    END = "end"
    """The end of the program; also the first CCW of the next start function."""
    STEP = "step"
    """So many CCWs were executed; also the first CCW of the next start function."""
    ADDRESS = "address"
    """The CCW at an absolute address, or the TIC there."""
    COMMAND = "command"
    """A CCW with a command code."""
    UNIT_CHECK = "unit check"
    """A command ended with unit check; its status has not been shown to anybody yet."""


class Goal(NamedTuple):
    """Up to where programs go."""

    until: Until = Until.START
    """What to stop at."""
    value: int = 0
    """How many CCWs, which address, which command code."""


class Look(NamedTuple):
    """A CCW that is about to be executed, as storage or what was prefetched has it now."""

    place: int
    """Absolute address from which it is fetched; there is a TIC if `address` is another one."""
    address: int
    """Its own absolute address."""
    code: int
    """Command code; that of the command where a data area goes on; 0: nothing could be fetched."""
    flags: int
    """`CCW_FLAG_*` bits."""
    count: int  # type: ignore[assignment]  # hides tuple.count
    """Byte count."""
    cda: int
    """Data address."""
    prefetched: bool
    """What storage has counts no more."""
    input: bool
    """It moves data to storage."""
    pieces: Pieces
    """Where its data lies, one (address, length) for each IDAW or MIDAW; SKIPPED: nowhere."""
    check: int
    """Subchannel status with which its fetch or the rest of its data area ends; 0: none."""


class Executed(NamedTuple):
    """A CCW that was executed."""

    look: Look
    """The CCW."""
    status: int
    """Unit status; 0: its data area is continued by the next CCW."""
    moved: int
    """Bytes that were moved."""


class Listener(Protocol):
    """Learns what the programs of a subchannel do."""

    def stop(self, why: Until) -> None:
        """A program has stopped."""

    def suspend(self) -> None:
        """A program was suspended; it goes on when RSCH says so."""

    def interruption(self, irb: bytes, *, joined: bool) -> None:
        """See `observer.Observer.interruption`."""

    def cancel(self) -> None:
        """A program ended without a status of its own: halt, clear, cancel or reset."""


class Stepper:
    """Lets the programs of one subchannel go from CCW to CCW; an `Observer`, and a reason to wait.

    The first goal is the next start.
    """

    def __init__(self, sch: Subchannel, listener: Listener) -> None:
        """Attach to *sch*; UserError if another one is."""
        if sch.stepper is not None:
            raise UserError(f"{sch.schid}: somebody debugs it already; one at a time can")
        self._sch = sch
        self._listener = listener
        self._attached = True
        self._go = trio.Event()
        self._program: ChannelProgram | None = None
        self._chained_data = False
        self.goal = Goal()
        """Up to where programs go."""
        self.stopped: Until | None = None
        """Why a program is stopped; None: none is."""
        self.next: Look | None = None
        """The CCW that is executed next, or is being executed."""
        self.last: Executed | None = None
        """The CCW that was executed last, of the program in progress or of the one before."""
        self.executed = 0
        """CCWs that were executed since it was attached."""
        sch.stepper = self
        sch.follow(self)

    def detach(self) -> None:
        """Programs go on from where they are and stop no more."""
        self._attached = False
        self._sch.unfollow(self)
        self._sch.stepper = None
        self._go.set()

    def go(self, goal: Goal) -> bool:
        """Let programs go on up to *goal*; False if one has come there already, and stays."""
        self.goal = goal
        if goal.until is Until.START and self.stopped is Until.START:
            return False
        self._go.set()
        return True

    async def wait(self) -> None:
        """Return when the program that is stopped may go on."""
        await self._go.wait()

    # --- what programs ask and tell -----------------------------------------------------------

    def before(self, program: ChannelProgram, address: int, *, chained_data: bool = False) -> None:
        """*program* is about to fetch the CCW at *address*: stop it here if that is the goal."""
        if not self._attached:
            return
        first = program.io.first and program is not self._program
        if first:
            self.last = None
        self._program = program
        self._chained_data = chained_data
        self.next = look = self._look(program, address)
        until, value = self.goal
        if first and until in (Until.START, Until.END, Until.STEP):
            until = Until.START
        elif until is Until.STEP:
            self.goal = Goal(until, value - 1)
            if value > 1:
                return
        elif not (
            (until is Until.ADDRESS and value in (look.place, look.address))
            or (until is Until.COMMAND and value == look.code and not chained_data)
        ):
            return
        self._stop(program, until)

    def ccw(self, address: int, code: int, flags: int, count: int, cda: int, status: int) -> None:
        """See `observer.Observer.ccw`: also before the next CCW of a data chain."""
        program = self._sch.program
        if program is None or self.next is None or self.next.address != address:
            return
        moved = count - program.io.left if program.io.used else 0
        self.last = Executed(self.next, status, moved)
        self.next = None
        self.executed += 1
        if not status:
            self.before(program, address + c.CCW_SIZE, chained_data=True)
        elif status & UC and self.goal.until is Until.UNIT_CHECK:
            self._stop(program, Until.UNIT_CHECK)

    def interruption(self, irb: bytes, *, joined: bool) -> None:
        """See `observer.Observer.interruption`."""
        if self._sch.program is None:
            self._program = None
        self._listener.interruption(irb, joined=joined)

    def suspended(self) -> None:
        """The suspend flag of the next CCW took effect."""
        self._listener.suspend()

    def cancelled(self, program: ChannelProgram) -> None:
        """*program* ends without a status of its own."""
        if program is self._program:
            self._program = self.stopped = self.next = None
            self._listener.cancel()

    # --- the stop -----------------------------------------------------------------------------

    def _stop(self, program: ChannelProgram, why: Until) -> None:
        program.note_accepted()
        self.stopped = why
        self._go = trio.Event()
        self._listener.stop(why)
        park(self)
        self.look_again()
        self.stopped = None

    def look_again(self) -> None:
        """Storage may have changed: what is executed next is what it has now."""
        if self.stopped and self._program is not None and self.next is not None:
            self.next = self._look(self._program, self.next.place)

    def _look(self, program: ChannelProgram, address: int) -> Look:
        """What *program* will find at *address*; nothing is moved, and nothing changes by it."""
        current = program.ccws
        ccws = type(current)(current.space, program.orb, current.segments, current.idals)
        chained_data = self._chained_data
        if chained_data:
            ccws.code = current.code
        pieces: Pieces = []
        try:
            ccws.fetch(address, chained_data=chained_data, first=program.io.first)
            pieces, check = program.io.look(ccws)
        except ChannelCheck as failed:
            check = failed.cstat
        return Look(
            address, ccws.address, ccws.code, ccws.flags, ccws.count, ccws.cda,
            ccws.prefetched, INPUT[ccws.code], pieces, check,
        )  # fmt: skip
