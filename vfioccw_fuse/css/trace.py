"""What a subchannel does, as events: a `css.observer.Observer` that makes them.

An event is numbers, at the time at which it happened; JSON is made of it, and words
(`tracewords`), when somebody reads it. With data an event of a CCW has the bytes that were moved,
too, as storage had them when its command ended.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..regions import codec
from ..regions import constants as c
from ..regions.layouts import Orb
from .pieces import Piece, cut, first_of, peek
from .transfer import BACKWARD, INDIRECT

if TYPE_CHECKING:
    from .subchannel import Subchannel

DATA_MAX: Final = 1 << 16
"""Most bytes of data with a CCW."""
NOT_PLAIN: Final = INDIRECT | c.CCW_FLAG_SKIP
"""Flags of a CCW without which its data address is where its data lies."""
_new = tuple.__new__
_CCW: Final = (
    '{"ns": %d, "event": "ccw", "address": %d, "code": %d, "flags": %d, "count": %d, "cda": %d,'
    ' "status": %d, "moved": %d'
)


class Instruction(NamedTuple):
    """An I/O instruction got its condition code."""

    ns: int
    """When, in ns of CLOCK_MONOTONIC."""
    name: str
    """`ssch`, `hsch`, `csch`, `rsch`, `xsch`."""
    cc: int
    """The condition code."""
    orb: Orb | None
    """The ORB of a START."""


class Executed(NamedTuple):
    """A CCW was executed."""

    ns: int
    """When, in ns of CLOCK_MONOTONIC."""
    address: int
    """Its absolute address."""
    code: int
    """The command code; that of the command where a data area goes on."""
    flags: int
    """`CCW_FLAG_*` bits."""
    count: int  # type: ignore[assignment]  # hides tuple.count
    """Byte count."""
    cda: int
    """Data address."""
    status: int
    """Unit status; 0: its data area is continued by the next CCW."""
    moved: int
    """Bytes that were moved."""
    pieces: tuple[Piece, ...] = ()
    """The first bytes that were moved, if they were asked for."""


class Interruption(NamedTuple):
    """The subchannel became status pending."""

    ns: int
    """When, in ns of CLOCK_MONOTONIC."""
    irb: bytes
    """The IRB, 96 bytes."""
    joined: bool
    """What is pending became it."""


class Lost(NamedTuple):
    """Events that somebody did not read in time."""

    ns: int
    """When the next one happened, in ns of CLOCK_MONOTONIC."""
    ccws: int
    """So many CCWs."""
    others: int
    """So many instructions and interruptions."""


Event = Instruction | Executed | Interruption | Lost
"""What happened."""


class Trace:
    """Makes an event of each instruction, CCW and interruption of a subchannel."""

    def __init__(self, sch: Subchannel, tell: Callable[[Event], None], most: int = 0) -> None:
        """*tell* gets the events of *sch*; those of CCWs with at most *most* bytes of data."""
        self._sch = sch
        self._tell = tell
        self.most = most
        """Bytes of data that events of CCWs have at most."""
        # CCWs of a data chain whose command has not ended: when it has, their data is there.
        self._chained: list[tuple[Executed, list[tuple[int, int]]]] = []

    def instruction(self, name: str, cc: int, orb: Orb | None = None) -> None:
        """An I/O instruction got its condition code; *orb* is that of a START."""
        self._end_chain()
        self._tell(Instruction(monotonic_ns(), name, cc, orb))

    def ccw(self, address: int, code: int, flags: int, count: int, cda: int, status: int) -> None:
        """A CCW was executed, or fetched for its data area (*status* 0)."""
        ns = monotonic_ns()
        program = self._sch.program
        io = program.io if program is not None else None
        moved = count - io.left if io is not None and io.used else 0
        # By tuple's own call, which does not sort arguments: a chain of CCWs is many of these.
        executed = _new(Executed, (ns, address, code, flags, count, cda, status, moved, ()))
        if not self.most:
            self._tell(executed)
            return
        pieces: list[tuple[int, int]] = []
        if program is not None and io is not None and moved:
            most = min(moved, self.most)
            if flags & NOT_PLAIN or BACKWARD[code]:
                area, _ = io.look(program.ccws)
                pieces = list(first_of(area, most, backward=BACKWARD[code]))
            else:
                pieces = [(cda, most)]
        self._chained.append((executed, pieces))
        if status:
            self._end_chain()

    def interruption(self, irb: bytes, *, joined: bool) -> None:
        """The subchannel became status pending with this IRB, or what is pending became it."""
        self._end_chain()
        self._tell(Interruption(monotonic_ns(), irb, joined))

    def _end_chain(self) -> None:
        """A command has ended, or is ended: the data of its CCWs is where it will be."""
        chained, self._chained = self._chained, []
        for executed, pieces in chained:
            found = tuple(peek(self._sch.space, *piece) for piece in pieces)
            self._tell(executed._replace(pieces=found))


def to_json(event: Event, most: int = DATA_MAX) -> str:
    """*event* as a JSON object in one line without its end (`regions/README.md`, "trace").

    An event of a CCW has at most *most* bytes of its data.
    """
    if isinstance(event, Executed):
        # By a template, for the same reason.
        line = _CCW % event[:8]
        if not event.pieces or not most:
            return f"{line}}}"
        pieces = json.dumps([piece.shown() for piece in cut(event.pieces, most)])
        return f'{line}, "pieces": {pieces}}}'
    found: dict[str, Any] = {"ns": event.ns}
    if isinstance(event, Instruction):
        found |= {"event": "instruction", "name": event.name, "cc": event.cc}
        if event.orb is not None:
            found["orb"] = codec.ORB.pack(event.orb).hex()
    elif isinstance(event, Interruption):
        found |= {"event": "interruption", "irb": event.irb.hex(), "joined": event.joined}
    else:
        found |= {"event": "lost", "ccws": event.ccws, "others": event.others}
    return json.dumps(found)


def from_json(found: Mapping[str, Any]) -> Event:
    """The event that `to_json` made *found* of; ValueError, KeyError or TypeError if it is none."""
    ns = int(found["ns"])
    match found["event"]:
        case "ccw":
            pieces = tuple(Piece(a, n, bytes.fromhex(d)) for a, n, d in found.get("pieces", ()))
            numbers = [int(found[name]) for name in Executed._fields[1:8]]
            return Executed._make([ns, *numbers, pieces])
        case "instruction":
            orb = codec.ORB.parse(bytes.fromhex(found["orb"])) if "orb" in found else None
            return Instruction(ns, str(found["name"]), int(found["cc"]), orb)
        case "interruption":
            return Interruption(ns, bytes.fromhex(found["irb"]), bool(found["joined"]))
        case "lost":
            return Lost(ns, int(found["ccws"]), int(found["others"]))
        case other:
            raise ValueError(f"no event of a trace is {other!r}")
