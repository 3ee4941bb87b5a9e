"""What a debugger of one subchannel asks and is told: JSON objects, both ways.

`Stepper` has the rule by which programs stop; here it gets its words. Who carries the messages (a
file of a mount, a pipe) makes a `Debugger` for the time in which somebody is attached. They are
documented in `regions/README.md`, section "debug".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import trio

from ..errors import UserError, reason, shortened
from ..memory.paging import StorageLost
from ..regions import codec
from .pieces import first_of, peek
from .scsw import SUSPENDED
from .stepper import Executed, Goal, Look, Stepper, Until
from .subchannel import Subchannel
from .transfer import BACKWARD

Event = dict[str, Any]
"""What a debugger is told: `event` says of what."""
STORAGE_MAX: Final = 1 << 14
"""Most bytes of storage that are shown or stored by one request."""
DATA_MAX: Final = 1 << 16
"""More bytes than the data area of a CCW has."""
_VALUED: Final = frozenset({Until.STEP, Until.ADDRESS, Until.COMMAND})


class Debugger:
    """Somebody is attached to a subchannel; a `stepper.Listener`."""

    def __init__(
        self,
        sch: Subchannel,
        tell: Callable[[Event], None],
        instruct: Callable[[str], int] | None = None,
    ) -> None:
        """Attach to *sch*; UserError if somebody is. *tell* gets all that happens.

        *instruct* executes "hsch" or "csch" and gives the condition code, OSError if that cannot
        be; without it the subchannel does.
        """
        self._sch = sch
        self._tell = tell
        self._released = trio.Event()
        self._instruct = instruct if instruct is not None else self._at_the_subchannel
        self._stepper = Stepper(sch, self)
        identity = sch.device.sense_id
        device = identity[4:6].strip(b"\0") or identity[1:3]
        self._event("attached", subchannel=sch.schid, device=device.hex())

    def detach(self) -> None:
        """The end: what is stopped goes on."""
        self._stepper.detach()
        self._released.set()

    @property
    def goal(self) -> Goal:
        """Up to where programs go."""
        return self._stepper.goal

    def go(self, goal: Goal) -> None:
        """Let programs, and what waits in `released`, go on up to *goal*."""
        if self._stepper.go(goal):
            self._released.set()

    @property
    def holds(self) -> bool:
        """Programs have come to where they were to go, and nobody has said yet how they go on."""
        return not self._released.is_set()

    async def released(self) -> None:
        """Wait until all goes on; for programs that run beside the channel programs."""
        await self._released.wait()

    # --- what happens -------------------------------------------------------------------------

    def stop(self, why: Until) -> None:
        """See `stepper.Listener`."""
        self._hold()
        self._event("stopped", why=why.value)

    def suspend(self) -> None:
        """See `stepper.Listener`."""
        self._come_to_rest()
        self._event("suspended")

    def interruption(self, irb: bytes, *, joined: bool) -> None:
        """See `stepper.Listener`."""
        if self._sch.program is None:
            self._come_to_rest()
        self._event("interruption", irb=irb.hex(), joined=joined)

    def cancel(self) -> None:
        """See `stepper.Listener`."""
        self._come_to_rest()
        self._event("cancelled")

    def _event(self, event: str, **more: Any) -> None:
        """Tell of *event*, and how everything is now."""
        sch = self._sch
        stepper = self._stepper
        program = sch.program
        following = stepper.next if stepper.stopped else None
        self._tell(
            {
                "event": event,
                **more,
                "state": self._state(),
                "orb": codec.ORB.pack(program.orb).hex() if program is not None else "",
                "schib": sch.stsch().hex(),
                "path": program.io.path if program is not None else 0,
                "sense": sch.device.sense.hex(),
                "executed": stepper.executed,
                "next": self._look(following) if following is not None else None,
                "last": self._executed(stepper.last) if stepper.last is not None else None,
            }
        )

    def _come_to_rest(self) -> None:
        """Nothing of the program comes by itself: that is what `end` and `step` lead to, too."""
        if self._stepper.goal.until in (Until.END, Until.STEP):
            self._hold()

    def _hold(self) -> None:
        if self._released.is_set():
            self._released = trio.Event()

    def _state(self) -> str:
        if self._stepper.stopped is not None:
            return "stopped"
        if self._sch.program is None:
            return "idle"
        return "suspended" if self._sch.scsw.ctrl & SUSPENDED else "running"

    def _look(self, look: Look, most: int = DATA_MAX) -> dict[str, Any]:
        """A CCW, and at most *most* bytes of its data area."""
        pieces = first_of(look.pieces, most, backward=BACKWARD[look.code])
        return {
            **look._asdict(),
            "pieces": [peek(self._sch.space, *piece).shown() for piece in pieces],
        }

    def _executed(self, last: Executed) -> dict[str, Any]:
        look = self._look(last.look, last.moved)
        return {**look, "status": last.status, "moved": last.moved}

    # --- what is asked for --------------------------------------------------------------------

    def obey(self, text: str) -> None:
        """Do what the JSON object *text* asks for; every one is answered by one event.

        StorageAway if it has to be asked again, when that storage is there; nothing has changed.
        """
        try:
            self._obey(_object(text))
        except UserError as refused:
            self._tell({"event": "refused", "error": refused.message})
        except OSError as failed:
            self._tell({"event": "refused", "error": reason(failed)})

    def _obey(self, message: Mapping[str, Any]) -> None:
        match message:
            case {"do": "go", "until": str(word), **rest}:
                self._go(word, rest)
            case {"do": "look", **rest} if not rest:
                self._event("look")
            case {"do": "hsch" | "csch" as name, **rest} if not rest:
                self._event("instruction", name=name, cc=self._instruct(name))
            case {"do": "storage", "address": int(at), "count": int(count), **rest} if not rest:
                self._show(at, count)
            case {"do": "store", "address": int(at), "data": str(digits), **rest} if not rest:
                self._store(at, digits)
            case _:
                raise UserError('"do" is go, look, hsch, csch, storage or store, with its operands')

    def _go(self, word: str, operands: Mapping[str, Any]) -> None:
        try:
            until = Until(word)
        except ValueError:
            known = ", ".join(one.value for one in Until)
            raise UserError(f"until {shortened(word)}: one of {known}") from None
        names = ["value"] if until in _VALUED else []
        value = operands.get("value", 0)
        if sorted(operands) != names or type(value) is not int or value < 0:
            wanted = "a value, which is a number" if names else "no value"
            raise UserError(f"until {word} has {wanted}")
        self._tell({"event": "going"})
        self.go(Goal(until, value))

    def _show(self, address: int, count: int) -> None:
        if not 0 < count <= STORAGE_MAX:
            raise UserError(f"{count} bytes: 1 to {STORAGE_MAX} are shown at a time")
        data = self._reach(address, count, lambda: self._sch.space.read(address, count))
        self._tell({"event": "storage", "address": address, "data": data.hex()})

    def _store(self, address: int, digits: str) -> None:
        try:
            data = bytes.fromhex(digits)
        except ValueError:
            raise UserError("data: pairs of hexadecimal digits are stored") from None
        if not 0 < len(data) <= STORAGE_MAX:
            raise UserError(f"{len(data)} bytes: 1 to {STORAGE_MAX} are stored at a time")
        self._reach(address, len(data), lambda: self._sch.space.write(address, data))
        self._stepper.look_again()
        self._tell({"event": "stored", "address": address, "count": len(data)})

    def _reach(self, address: int, count: int, access: Callable[[], Any]) -> Any:
        """Do *access*; UserError if not all of *count* bytes at *address* are storage."""
        if address < 0 or self._sch.space.valid(address, count) < count:
            raise UserError(f"{address:#x}: {count} bytes from there are not all storage")
        try:
            return access()
        except StorageLost:
            raise UserError(f"{address:#x}: the file behind this storage was cut") from None

    def _at_the_subchannel(self, name: str) -> int:
        return self._sch.hsch() if name == "hsch" else self._sch.csch()


def _object(text: str) -> Mapping[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise UserError("a message is one JSON object")
    return value
