"""Programs get their time: at once where one can run through, as a cancellable task where it waits.

A program that meets no wait costs no task: its CCWs run right after the instruction that started
it was answered. What waits (a delay, a hang, a suspended program, a medium) is a trio task in a
cancel scope of its own, which clear, halt, cancel and reset cancel. Those that have worked long
take turns: one at a time, and what clients ask is answered between any two of them.

An error that nobody foresaw ends the one program that met it, and is a line in the log.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import trio

from ..strand import TURN, Parked, Strands, Waits
from .channel import ChannelProgram, Pause

log = logging.getLogger(__name__)

T = TypeVar("T")

Soon = Callable[[Callable[[], None]], None]
"""Runs a function soon, after the caller has answered; not from within the call."""


class TrioExecutor:
    """Runs programs in *nursery*; first steps by *soon*, by default a task as well."""

    def __init__(
        self, nursery: trio.Nursery, soon: Soon | None = None, *, alone: bool = False
    ) -> None:
        """*alone*: nobody else is served, and a program may block where it waits for a medium."""
        self._nursery = nursery
        self._soon = soon
        self._run = _at_once if alone else Strands().run
        self._turns = trio.Lock()

    def launch(self, program: ChannelProgram, delay: float) -> None:
        """Run *program*, *delay* seconds from now."""
        if delay or self._soon is None:
            self._nursery.start_soon(self._drive, program, None, delay)
        else:
            self._soon(partial(self._first_step, program))

    def soon(self, function: Callable[[], None]) -> None:
        """Call *function* once the instruction that asks for it has been answered."""
        if self._soon is None:
            self._nursery.start_soon(_call, function)
        else:
            self._soon(function)

    def later(self, function: Callable[[], None], delay: float) -> Callable[[], None]:
        """Call *function*, *delay* seconds from now, unless what this gives is called before."""
        scope = trio.CancelScope()
        self._nursery.start_soon(_later, function, delay, scope)
        return scope.cancel

    def attend(self, service: Callable[[], Awaitable[None]]) -> Callable[[], None]:
        """Run *service* as a task until it ends, or until what this gives is called."""
        scope = trio.CancelScope()
        self._nursery.start_soon(_attend, service, scope)
        return scope.cancel

    def _step(self, program: ChannelProgram) -> Pause | Waits | None:
        """Let *program* go on until it has ended (None) or must wait for what this gives."""
        try:
            pause = self._run(program.run) if program.parked is None else program.reconnect()
            if type(pause) is not Parked:
                return pause
            program.disconnect(pause)
        except Exception:
            log.exception("%s: a channel program failed; it ends", program.schid)
            _fail(program)
            return None
        else:
            return pause.reason

    def _first_step(self, program: ChannelProgram) -> None:
        pause = self._step(program)
        if pause is not None and not program.cancelled:
            self._nursery.start_soon(self._drive, program, pause, 0.0)

    async def _drive(
        self, program: ChannelProgram, pause: Pause | Waits | None, delay: float
    ) -> None:
        """Wait for what *pause* says, let the program go on, and so on until it ends."""
        if program.cancelled:
            return
        with trio.CancelScope() as program.scope:
            await trio.sleep(delay)
            while True:
                if pause is TURN:
                    async with self._turns:
                        pause = self._step(program)
                else:
                    await self._wait(program, pause)
                    pause = self._step(program)
                if pause is None:
                    return

    @staticmethod
    async def _wait(program: ChannelProgram, pause: Pause | Waits | None) -> None:
        if pause is Pause.HANG:
            await trio.sleep_forever()
        elif pause is Pause.EVENT:
            if not program.woken:
                woken = trio.Event()
                program.on_wake = woken.set
                await woken.wait()
            program.woken = False
        elif pause is not None:
            await pause.wait()


def _at_once(call: Callable[[], T]) -> T | Parked:
    return call()


def _fail(program: ChannelProgram) -> None:
    try:
        program.fail()
    except Exception:
        log.exception("%s: it could not be ended; a clear drops it", program.schid)
        program.cancelled = True


async def _attend(service: Callable[[], Awaitable[None]], scope: trio.CancelScope) -> None:
    with scope:
        try:
            await service()
        except Exception:
            log.exception("what a device does by itself failed; it does so no more")


async def _later(function: Callable[[], None], delay: float, scope: trio.CancelScope) -> None:
    with scope:
        await trio.sleep(delay)
        function()


async def _call(function: Callable[[], None]) -> None:
    function()
