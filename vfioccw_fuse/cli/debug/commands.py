"""The commands of a debugger: what is typed into requests and lines."""

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from ...errors import UserError, shortened
from ...regions.descriptions import from_hex
from ...sizes import parse_number
from ..text import columns
from .link import Event, Link
from .words import Words


class Command(NamedTuple):
    """A command, as `help` shows it."""

    name: str
    """Its first word."""
    operands: str
    """What follows."""
    help: str
    """One line."""


COMMANDS: Final = (
    Command("start", "", "go on, stop at the first CCW of the next start function"),
    Command("step", "[N]", "execute N CCWs, one unless said"),
    Command("continue", "", "go on to the end of the program"),
    Command("run", "to ADDRESS", "go on, stop at the CCW or the TIC at this address"),
    Command("run", "to command CODE", "go on, stop at a CCW with this command code"),
    Command("run", "to unit check", "go on, stop when a command ends with unit check"),
    Command("orb", "", "the ORB"),
    Command("ccw", "", "the CCW that was executed last, and the next"),
    Command("area", "", "their data areas: IDAWs and MIDAWs resolved"),
    Command("data", "[COUNT]", "data in and out, the first 256 bytes unless said"),
    Command("sense", "", "the sense data that the device has"),
    Command("path", "", "the channel path in use, and the path masks"),
    Command("scsw", "", "the SCSW as STSCH stores it"),
    Command("storage", "ADDRESS [COUNT]", "storage, 64 bytes unless said"),
    Command("store", "ADDRESS HEX", "change storage"),
    Command("halt", "", "HALT SUBCHANNEL"),
    Command("clear", "", "CLEAR SUBCHANNEL"),
    Command("help", "", "this"),
    Command("quit", "", "detach: what is stopped goes on"),
)
"""All of them, in the order in which `help` shows them."""
PARTS: Final = ("orb", "ccw", "area", "sense", "path", "scsw")
"""Commands that show a part of how everything is."""
_DATA_SHOWN: Final = 256  # bytes
NAMES: Final = tuple(dict.fromkeys(command.name for command in COMMANDS))
"""The first words."""
GOING: Final = frozenset({"start", "step", "continue", "run"})
"""Commands that let programs go on."""


class Quit(Exception):
    """Somebody wants to detach."""


Settled = Callable[[Event], bool]
"""Whether what a command began has come to its end with an event."""


def _at_once(event: Event) -> bool:
    return True


def _stopped(event: Event) -> bool:
    return event["event"] in ("stopped", "over")


def _at_start(words: Words) -> Settled:
    """A program is stopped at its first CCW, perhaps by now."""

    def at_start(event: Event) -> bool:
        return event["event"] == "over" or words.at_start

    return at_start


def _stopped_or_ended(event: Event) -> bool:
    """The program has stopped, or nothing of it comes any more by itself."""
    return event["event"] in ("stopped", "over", "suspended", "cancelled") or (
        event["event"] == "interruption" and event["state"] == "idle"
    )


def _interrupted(event: Event) -> bool:
    return event["event"] in ("interruption", "over")


class Sent(NamedTuple):
    """A request that was sent, and what a script waits for before its next line."""

    show: str
    """The part that is wanted of the answer, "" for the answer itself."""
    settled: Settled
    """What comes after the answer."""
    limit: int = 0
    """Most bytes to show of each data area."""


ANSWERS: Final = frozenset({"going", "look", "instruction", "storage", "stored", "refused"})
"""Events that answer a request."""


def send(line: str, link: Link, words: Words) -> Sent:
    """Ask for what *line* says, which is not `help`; UserError says what is wrong with it.

    Nothing was sent then. `Quit` for quit.
    """
    name, *operands = line.split()
    match name, operands:
        case ("start", []):
            return _go(link, "start", _at_start(words))
        case ("step", [] | [_]):
            value = parse_number(operands[0]) if operands else 1
            if not value:
                raise UserError("step 0: a number from 1")
            _in_progress(words, name)
            return _go(link, "step", _stopped_or_ended, value)
        case ("continue", []):
            _in_progress(words, name)
            return _go(link, "end", _stopped_or_ended)
        case ("run", ["to", "unit", "check"]):
            return _go(link, "unit check", _stopped)
        case ("run", ["to", "command", code]):
            return _go(link, "command", _stopped, _hexadecimal(code, 0xFF))
        case ("run", ["to", address]):
            return _go(link, "address", _stopped, _hexadecimal(address, 0xFFFFFFFF))
        case (part, []) if part in PARTS:
            link.ask("look")
            return Sent(part, _at_once)
        case ("data", [] | [_]):
            count = parse_number(operands[0]) if operands else _DATA_SHOWN
            link.ask("look")
            return Sent(name, _at_once, count)
        case ("storage", [address] | [address, _]):
            count = parse_number(operands[1]) if len(operands) > 1 else 64
            link.ask("storage", address=_hexadecimal(address), count=count)
        case ("store", [address, _, *_]):
            try:
                data = from_hex("".join(operands[1:]))
            except ValueError as wrong:
                raise UserError(f"store: {wrong}") from None
            link.ask("store", address=_hexadecimal(address), data=data.hex())
        case ("halt", []):
            link.ask("hsch")
            return Sent("", _interrupted)
        case ("clear", []):
            link.ask("csch")
            return Sent("", _interrupted)
        case ("quit", []):
            raise Quit
        case _:
            raise UserError(_usage(line, name))
    return Sent("", _at_once)


def _go(link: Link, until: str, settled: Settled, value: int | None = None) -> Sent:
    link.ask("go", until=until, **({} if value is None else {"value": value}))
    return Sent("", settled)


def _in_progress(words: Words, name: str) -> None:
    if words.now["state"] == "idle":
        raise UserError(f"{name}: no program is in progress; start waits for one")


def _hexadecimal(text: str, most: int = (1 << 64) - 1) -> int:
    """An address or a command code, as lines show them; a leading 0x is taken, too."""
    value = parse_number(text.lower().removeprefix("0x"), 16)
    if value > most:
        raise UserError(f"{shortened(text)}: at most {most:x}")
    return value


def _usage(line: str, name: str) -> str:
    forms = [f"{c.name} {c.operands}".strip() for c in COMMANDS if c.name == name]
    if forms:
        return f"{shortened(line)}: write {', or '.join(forms)}"
    return f"{shortened(name)}: no such command; help lists them"


def help_lines() -> Iterator[str]:
    """What `help` says."""
    yield from columns([(f"{c.name} {c.operands}".strip(), c.help) for c in COMMANDS])
    yield "Addresses, command codes and data are hexadecimal, counts decimal."
    yield "Storage and data are shown in hexadecimal, as ASCII, and as EBCDIC."
