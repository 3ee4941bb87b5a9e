"""Which events of a trace are wanted: by command, device type and subchannel."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import click

from ...devices.catalog import DECODED, TYPES
from ...errors import shortened
from ...regions.schid import is_schid
from ..commandcodes import codes_meant, device_words
from .seen import Seen


class Choice(NamedTuple):
    """What was asked for; an empty part asks for all."""

    commands: tuple[str, ...] = ()
    """Command codes, or names of commands as each device type calls them."""
    devices: tuple[str, ...] = ()
    """Device types."""
    subchannels: tuple[str, ...] = ()
    """Subchannels, as 0.0.0313."""

    def check(self) -> None:
        """UsageError for what no trace can have."""
        for command in self.commands:
            if not any(codes_meant(command, device_words(device)) for device in ("", *_TYPES)):
                raise click.UsageError(
                    f"--command {shortened(command)}: no command code in hexadecimal and no name "
                    "of a command"
                )
        for device in self.devices:
            if device.lower() not in _TYPES:
                known = ", ".join(sorted(_TYPES))
                raise click.UsageError(
                    f"--device {shortened(device)}: unknown device type; one of {known}"
                )
        for schid in self.subchannels:
            if not is_schid(schid):
                raise click.UsageError(f"--subchannel {shortened(schid)}: such as 0.0.0313")

    def wants(self, schid: str) -> bool:
        """Whether the subchannel *schid* is asked for."""
        return not self.subchannels or schid in self.subchannels


def chooser(choice: Choice) -> Callable[[Iterable[Seen]], list[Seen]]:
    """Give what takes those events out of others that *choice* asks for.

    With commands these are the CCWs of such commands, and of the programs that have one the start,
    before its first, and all instructions and interruptions after it.
    """
    programs: dict[str, Seen | None] = {}
    """By subchannel: the start of a program that has had no such command; None: it has."""
    families = {family for name in choice.devices for family in _family(name.lower())}

    def choose(events: Iterable[Seen]) -> list[Seen]:
        chosen: list[Seen] = []
        for event in events:
            if not choice.wants(event.subchannel.rpartition("/")[2]):
                continue
            if families and event.device not in families:
                continue
            chosen += by_command(event) if choice.commands else [event]
        return chosen

    def by_command(event: Seen) -> Sequence[Seen]:
        whose = event.subchannel
        if event.what == "lost":
            return [event]
        if event.what == "ccw":
            if not any(_is(event, command) for command in choice.commands):
                return []
            start = programs.get(whose)
            programs[whose] = None
            return [event] if start is None else [start, event]
        if event.what == "ssch" and event.fields.get("cc") == 0:
            programs[whose] = event
            return []
        return [event] if programs.get(whose, event) is None else []

    return choose


_TYPES = frozenset(TYPES) | frozenset(DECODED)


def _family(name: str) -> list[str]:
    """The device types that *name* means: itself, or those of a family, such as fba or tape."""
    if name[:1].isdigit():
        return [name]
    return [kind for kind in _TYPES if device_words(kind) is device_words(name)] or [name]


def _is(event: Seen, command: str) -> bool:
    """Whether the CCW *event* has a command that *command* means."""
    if event.device:
        return event.command in codes_meant(command, device_words(event.device))
    # A trace that was kept as lines says what its commands are called, not whose they are.
    return event.command in codes_meant(command) or _typed(event).startswith(command.lower())


def _typed(event: Seen) -> str:
    return str(event.fields.get("name", "")).replace(",", "").replace(" ", "-")
