"""A debugger that is driven by lines: each command is echoed, and the next waits for its end."""

import time
from collections.abc import Iterable, Iterator

import click

from ...errors import UserError
from ..asjson import json_line
from .commands import ANSWERS, Quit, Sent, help_lines, send
from .link import Event, Link
from .words import Words


class Script:
    """One run of a script; what it prints depends on nothing but the programs."""

    def __init__(self, link: Link, within: float, *, as_json: bool) -> None:
        """*within*: seconds to wait for a stop, an end or an answer.

        *as_json*: events are printed as they come, and nothing else.
        """
        self._as_json = as_json
        self._link = link
        self._within = within
        self._words = Words()
        self._events = self._all()

    def _all(self) -> Iterator[Event]:
        """Event after event; UserError if the next does not come in time."""
        while not self._link.over:
            if not self._link.wait(time.monotonic() + self._within):
                raise UserError(f"nothing happened within {self._within:g} s; see --within")
            yield from self._link.take()

    def _next(self) -> Event | None:
        """The next event, said; None: there will be none."""
        event = next(self._events, None)
        if event is not None:
            lines = list(self._words.event(event))
            if self._as_json:
                click.echo(json_line(event), nl=False)
            else:
                self._echo(lines)
        return event

    def _echo(self, lines: Iterable[str]) -> None:
        """Print *lines* for people."""
        if not self._as_json:
            for line in lines:
                click.echo(line)

    def run(self, lines: Iterable[str]) -> None:
        """Do all *lines*; UserError, with the number of the line, for the first that fails."""
        if self._until({"attached"}) is None:
            return  # there is nothing to debug; who made the link knows why
        for number, line in enumerate(lines, 1):
            command = line.partition("#")[0].strip()
            if not command:
                continue
            self._echo([f"> {command}"])
            try:
                self._do(command)
            except Quit:
                return
            except UserError as wrong:
                raise UserError(f"line {number}: {wrong.message}") from None

    def _do(self, command: str) -> None:
        if command == "help":
            self._echo(help_lines())
            return
        if self._link.over:
            raise UserError(f"{command}: the scenario has ended")
        sent = send(command, self._link, self._words)
        answer = self._until(ANSWERS)
        if answer is None:
            return
        if answer["event"] == "refused":
            raise UserError(answer["error"])
        if sent.show:
            self._echo(self._words.show(sent.show, sent.limit))
        elif answer.get("cc", 0) == 0:
            self._settle(sent, answer)

    def _settle(self, sent: Sent, answer: Event) -> None:
        event: Event | None = answer
        while event is not None and not sent.settled(event):
            event = self._next()

    def _until(self, names: Iterable[str]) -> Event | None:
        """Go on to an event of one of these *names*."""
        while (event := self._next()) is not None and event["event"] not in names:
            pass
        return event
