"""The scenario's end of a debugger: requests come by one pipe, events go by another."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable

import trio

from ..css.debugger import Debugger, Event
from ..css.stepper import Goal
from ..css.subchannel import Subchannel

_PIECE = 1 << 16  # bytes read at a time


class DebuggerPipes:
    """Somebody at the other end of two pipes debugs one scenario after the other.

    Requests and events are those of `css.debugger`, one in a line. `scenario`, with its name, and
    `over`, after the last one, are events beside them.
    """

    def __init__(self, requests: int, events: int) -> None:
        """*requests* is read, *events* written; the caller closes them."""
        self._requests = requests
        self._events = events
        self._text = b""
        self._gone = False
        self._goal: Goal | None = None

    def tell(self, event: Event) -> None:
        """Send *event*; nothing if nobody is there any more."""
        with contextlib.suppress(BrokenPipeError):
            data = json.dumps(event).encode() + b"\n"
            while data:
                data = data[os.write(self._events, data) :]

    def attach(self, sch: Subchannel, name: str) -> Debugger | None:
        """The debugger of the scenario *name*; None: nobody is there any more."""
        if self._gone:
            return None
        self.tell({"event": "scenario", "name": name})
        debugger = Debugger(sch, self.tell)
        if self._goal is not None:
            debugger.go(self._goal)
        return debugger

    def detach(self, debugger: Debugger) -> None:
        """The scenario of *debugger* is over; the next goes on as this one would have."""
        self._goal = None if debugger.holds else debugger.goal
        debugger.detach()

    async def serve(self, debugger: Debugger, settle: Callable[[], None]) -> None:
        """Do what is asked for, until the other end is closed: then all goes on by itself.

        *settle* does what an instruction of the debugger has left to do.
        """
        while True:
            *lines, self._text = self._text.split(b"\n")
            for line in lines:
                debugger.obey(line.decode(errors="replace"))
                settle()
            await trio.lowlevel.wait_readable(self._requests)
            piece = os.read(self._requests, _PIECE)
            if not piece:
                self._gone = True
                debugger.detach()
                return
            self._text += piece
