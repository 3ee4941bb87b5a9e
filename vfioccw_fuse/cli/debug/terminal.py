"""A debugger at a terminal: a line to type into, keys to step by, events above it as they come."""

import asyncio
import shutil
from collections.abc import Iterable
from functools import partial
from typing import Final

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import WordCompleter
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.patch_stdout import patch_stdout

from ...errors import UserError
from ..text import folded, row_within
from .commands import ANSWERS, NAMES, Quit, Sent, help_lines, send
from .link import Event, Link
from .words import Words

KEYS: Final = {"f8": "step", "f9": "continue", "f2": "data", "f3": "scsw", "f1": "help"}
"""Key to the command that it stands for."""
_KEYS_SAID: Final = "F8 or Enter alone: step. F9: continue. F2: data. F3: scsw. Ctrl-D: quit."


class Terminal:
    """A conversation at a terminal: what is typed does not wait for what it began."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._words = Words()
        self._sent: list[Sent] = []
        self._problem: Exception | None = None
        self._session: PromptSession[str] = PromptSession(
            self._prompt,
            completer=WordCompleter(list(NAMES)),
            complete_while_typing=False,
            key_bindings=self._keys(),
            bottom_toolbar=self._toolbar,
        )

    def _prompt(self) -> str:
        following = self._words.now.get("next")
        place = f" {following['place']:08x}" if following else ""
        return f"{self._words.now['state']}{place}> "

    def _toolbar(self) -> str:
        width = shutil.get_terminal_size().columns
        shown = ""
        for key, command in KEYS.items():
            one = f" {key.upper()} {command} "
            if len(shown) + len(one) > width:
                break
            shown += one
        return shown

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()

        def press(command: str, event: KeyPressEvent) -> None:
            buffer = event.app.current_buffer
            buffer.text = command
            buffer.validate_and_handle()

        def interrupt(event: KeyPressEvent) -> None:
            event.app.current_buffer.reset()
            self._print(["quit detaches; halt and clear end the program"])

        for key, command in KEYS.items():
            keys.add(key)(partial(press, command))
        # Without leaving the prompt: what is typed right after it would be lost.
        keys.add("c-c")(interrupt)
        return keys

    def _print(self, lines: Iterable[str]) -> None:
        """Print *lines*, folded to the terminal as it is now."""
        width = max(20, shutil.get_terminal_size().columns)
        for line in lines:
            print("\n".join(folded(line, width)))

    # --- what comes ---------------------------------------------------------------------------

    def attached(self) -> bool:
        """Wait for the first event, before anything is typed; False: there is nothing to debug."""
        while not self._link.over:
            for event in self._link.take():
                self._say(event)
            if "schib" in self._words.now:
                return True
        return False

    def _come(self) -> None:
        """Something can be read."""
        try:
            for event in self._link.take():
                self._say(event)
        except (UserError, OSError) as problem:
            self._problem = problem
        if self._link.over or self._problem is not None:
            asyncio.get_running_loop().remove_reader(self._link.events)
            if self._session.app.is_running:
                self._session.app.exit(exception=EOFError)

    def _say(self, event: Event) -> None:
        self._words.row = row_within(shutil.get_terminal_size().columns)
        self._print(self._words.event(event))
        if event["event"] not in ANSWERS:
            return
        sent = self._sent.pop(0)
        if event["event"] == "refused":
            self._print([event["error"]])
        elif sent.show:
            self._print(self._words.show(sent.show, sent.limit))

    # --- what is typed ------------------------------------------------------------------------

    async def run(self) -> None:
        """Until somebody quits or nothing can come any more; UserError if that was unexpected."""
        loop = asyncio.get_running_loop()
        with patch_stdout():
            loop.add_reader(self._link.events, self._come)
            try:
                while not self._link.over and self._problem is None:
                    try:
                        line = await self._session.prompt_async()
                    except EOFError:
                        break
                    else:
                        self._do(line)
            except Quit:
                pass
            finally:
                loop.remove_reader(self._link.events)
        if self._problem is not None:
            raise self._problem

    def _do(self, line: str) -> None:
        """One line; an empty one is a step where a program is stopped."""
        command = line.strip()
        if not command and self._words.now["state"] == "stopped":
            command = "step"
        if command == "help":
            self._print(help_lines())
            self._print([_KEYS_SAID])
        elif command:
            try:
                self._sent.append(send(command, self._link, self._words))
            except UserError as wrong:
                self._print([wrong.message])


def converse_at_terminal(link: Link) -> None:
    """Debug at the terminal until somebody quits; UserError if the subchannel goes."""
    terminal = Terminal(link)
    if terminal.attached():
        asyncio.run(terminal.run())
