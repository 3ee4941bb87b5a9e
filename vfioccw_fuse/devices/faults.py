"""Timing and faults of a device: what goes wrong, and when.

`fault=unit-check:sense=0800:command=read:rate=1%+delay:for=3ms:command=write`: faults apart by `+`,
each with the qualifiers behind it that say when it hits. They are asked in their order. A fault
that says of which commands it is (`command=`, `nth=`, `blocks=`, `tracks=`) is asked at each
command, any other at the first command of each start function; the first that ends the command ends
the asking. Chance comes from a seed, so that the same programs meet the same faults.

What a fault looks like to a program is the channel's matter (`css.channel`), refusals are the
subchannel's and the driver's: here is decided only whether it hits.
"""

from __future__ import annotations

import enum
import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from ..errors import UserError, shortened
from ..sizes import parse_number
from .options import DeviceSpec, Option, Options, Owner, Switch, Switches, parse_time, show_time

if TYPE_CHECKING:
    from .base import Device

T = TypeVar("T")
D = TypeVar("D")

MOST_FAULTS: Final = 32
"""Faults that may be in force at a time: each is asked at every command."""
_MOST: Final = 999_999_999
"""The highest number in a qualifier, and what an open range ends with."""
_RATE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(%?)")
_CODE = re.compile("[0-9a-fA-F]{2}")


class Fault(enum.Enum):
    """What a device or a channel does wrong. The values are the words of `fault=`."""

    effect: str
    """What happens, for people."""

    def __new__(cls, word: str, effect: str = "") -> Fault:
        """A fault of that value and effect."""
        fault = object.__new__(cls)
        fault._value_ = word
        fault.effect = effect
        return fault

    NONE = "none", "nothing wrong"
    HANG = "hang", "the device takes the command and never ends it; halt or clear ends it"
    UNIT_CHECK = "unit-check", "the command ends with unit check and the sense data of sense="
    BUSY = "busy", "the device answers the command with busy"
    LOST_INTERRUPTION = "lost-interruption", "the program runs, its interruption is lost"
    NOT_OPERATIONAL = "not-operational", "instructions get condition code 3: ENODEV"
    PROCESSING = (
        "processing",
        "an accepted start stays in CP_PROCESSING for the time of for= before SSCH; "
        "other requests meanwhile get EAGAIN",
    )
    DELAY = "delay", "the device works at the command for the time of for=, then does it"
    PROGRAM_CHECK = "program-check", "the command moves no data and ends with program check"
    PROTECTION_CHECK = "protection-check", "the same, with protection check"
    CHAINING_CHECK = "chaining-check", "the same, with chaining check"
    CHANNEL_DATA_CHECK = "channel-data-check", "the same, with channel-data check"
    CHANNEL_CONTROL_CHECK = (
        "channel-control-check",
        "the program ends at the command with channel-control check, without device status",
    )
    INTERFACE_CONTROL_CHECK = "interface-control-check", "the same, with interface-control check"


_EARLIEST: Final = {Fault.PROCESSING: 0, Fault.NOT_OPERATIONAL: 1}
BEFORE_COMMANDS: Final = frozenset(_EARLIEST)
"""Faults that hit before a channel program begins."""
PASSING: Final = frozenset({Fault.DELAY, Fault.LOST_INTERRUPTION, Fault.PROCESSING})
"""Faults behind which the command is done all the same, unless another one hits it too."""


# --- qualifiers -----------------------------------------------------------------------------------


class Span(NamedTuple):
    """Numbers from the first to the last, both included."""

    first: int
    last: int

    def __str__(self) -> str:
        if self.last == self.first:
            return str(self.first)
        return f"{self.first}-" if self.last == _MOST else f"{self.first}-{self.last}"


@dataclass(frozen=True, eq=False, kw_only=True)
class Qualifier(Option[T]):
    """What can be said of a fault, behind it: `:word=value`."""

    show: Callable[[T], str]
    """The value as it can be written again."""
    faults: frozenset[Fault] = frozenset(Fault) - {Fault.NONE}
    """The faults of which it can be said."""


KINDS: Final[Mapping[str, frozenset[int]]] = {
    "write": frozenset(code for code in range(256) if code & 0x03 == 0x01),
    "read": frozenset(code for code in range(256) if code & 0x03 == 0x02),
    "control": frozenset(code for code in range(256) if code & 0x03 == 0x03),
    "sense": frozenset(code for code in range(256) if code & 0x0F == 0x04),
    "read-backward": frozenset(code for code in range(256) if code & 0x0F == 0x0C),
}
"""The kinds of commands by what their codes end with (PoP 15, Command Code), TIC left out."""


def codes_of(words: Iterable[str]) -> frozenset[int]:
    """The command codes that *words*, kinds of commands or codes in hex, name."""
    return frozenset[int]().union(*(KINDS.get(word) or {int(word, 16)} for word in words))


def _parse_commands(text: str) -> tuple[str, ...]:
    words = tuple(text.lower().split("/"))
    for word in words:
        if word not in KINDS and not _CODE.fullmatch(word):
            raise UserError(f"codes of two hex digits or {', '.join(KINDS)}, apart by /")
    return words


def _span(least: int) -> Callable[[str], Span]:
    """Reads a number or a range of numbers, *least* or higher."""

    def parse(text: str) -> Span:
        first, dash, last = text.partition("-")
        try:
            low = parse_number(first)
            span = Span(low, parse_number(last) if last else _MOST if dash else low)
        except UserError:
            span = Span(_MOST, 0)
        if not least <= span.first <= span.last <= _MOST:
            raise UserError(f"a number or a range from {least} to {_MOST}, such as 7, 5-9 or 5-")
        return span

    return parse


def _parse_rate(text: str) -> float:
    match = _RATE.fullmatch(text)
    rate = float(match[1]) / (100 if match[2] else 1) if match else 0.0
    if not 1e-9 <= rate <= 1:
        raise UserError("more than 0 and at most 1, such as 0.01 or 1%")
    return round(rate, 9)


def _parse_seed(text: str) -> int:
    try:
        return parse_number(text)
    except UserError:
        raise UserError("a number, such as 7") from None


def _parse_sense(text: str) -> bytes:
    try:
        data = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        data = b""
    if not 1 <= len(data) <= 32:
        raise UserError("1 to 32 bytes in hex, such as sense=1000")
    return data


def _parse_count(text: str) -> int:
    try:
        count = parse_number(text)
    except UserError:
        count = 0
    if not 1 <= count <= _MOST:
        raise UserError(f"a number of hits, 1 to {_MOST}")
    return count


_AT_COMMANDS: Final = frozenset(Fault) - BEFORE_COMMANDS - {Fault.NONE}

COMMAND: Final = Qualifier(
    word="command",
    owner=Owner.BEHAVIOUR,
    metavar="CODE[/CODE...]",
    help=f"commands of these codes in hex, or of these kinds: {', '.join(KINDS)}",
    parse=_parse_commands,
    show="/".join,
    faults=_AT_COMMANDS,
)
NTH: Final = Qualifier(
    word="nth",
    owner=Owner.BEHAVIOUR,
    metavar="N[-[M]]",
    help="the Nth to Mth command of each start function, from 1, TIC not counted",
    parse=_span(1),
    show=str,
    faults=_AT_COMMANDS,
)
START: Final = Qualifier(
    word="start",
    owner=Owner.BEHAVIOUR,
    metavar="N[-[M]]",
    help="the Nth to Mth start function since the fault was switched on, from 1",
    parse=_span(1),
    show=str,
)
BLOCKS: Final = Qualifier(
    word="blocks",
    owner=Owner.BEHAVIOUR,
    metavar="N[-[M]]",
    help="commands for these blocks of a fixed-block disk, from 0",
    parse=_span(0),
    show=str,
    faults=_AT_COMMANDS,
)
TRACKS: Final = Qualifier(
    word="tracks",
    owner=Owner.BEHAVIOUR,
    metavar="N[-[M]]",
    help="commands on these tracks of a 3390, cylinder * 15 + head, from 0",
    parse=_span(0),
    show=str,
    faults=_AT_COMMANDS,
)
RATE: Final = Qualifier(
    word="rate",
    owner=Owner.BEHAVIOUR,
    metavar="RATE",
    help="by chance so many of those that the other qualifiers mean: 0.01 or 1%",
    parse=_parse_rate,
    show=lambda rate: f"{rate:.9f}".rstrip("0").rstrip("."),
)
SEED: Final = Qualifier(
    word="seed",
    owner=Owner.BEHAVIOUR,
    metavar="N",
    help="what the chance comes from; 1 unless said",
    parse=_parse_seed,
    show=str,
)
SENSE: Final = Qualifier(
    word="sense",
    owner=Owner.BEHAVIOUR,
    metavar="HEX",
    help="sense data, as the option",
    parse=_parse_sense,
    show=bytes.hex,
    faults=frozenset({Fault.UNIT_CHECK}),
)
FOR: Final = Qualifier(
    word="for",
    owner=Owner.BEHAVIOUR,
    metavar="TIME",
    help="how long, as the option",
    parse=parse_time,
    show=show_time,
    faults=frozenset({Fault.PROCESSING, Fault.DELAY}),
)
COUNT: Final = Qualifier(
    word="count",
    owner=Owner.BEHAVIOUR,
    metavar="N",
    help="this fault is over after it has hit N times",
    parse=_parse_count,
    show=str,
)
QUALIFIERS: Final[Options[Qualifier[Any]]] = Options(
    COMMAND, NTH, START, BLOCKS, TRACKS, RATE, SEED, SENSE, FOR, COUNT
)
"""All that can be said of a fault."""
WHICH: Final = tuple(which.word for which in (COMMAND, NTH, START, BLOCKS, TRACKS))
"""What says where a fault hits, chance and number apart."""
_EACH_COMMAND: Final = frozenset({COMMAND.word, NTH.word, BLOCKS.word, TRACKS.word})


# --- faults as they are written -------------------------------------------------------------------


@dataclass(frozen=True)
class FaultRule:
    """A fault with what is said of it."""

    fault: Fault
    said: Mapping[str, Any] = field(default_factory=dict)
    """The values of the qualifiers by word, as they were read."""

    def get(self, qualifier: Qualifier[T], default: D) -> T | D:
        """The value of *qualifier*, or *default* where nothing was said."""
        value: T | D = self.said.get(qualifier.word, default)
        return value

    def __str__(self) -> str:
        words = (f":{word}={QUALIFIERS[word].show(value)}" for word, value in self.said.items())
        return f"{self.fault.value}{''.join(words)}"

    def hides(self, later: FaultRule) -> bool:
        """It hits, for good and first, all that *later* means, so that nothing is left for that."""
        return (
            self.fault not in PASSING
            and not {RATE.word, COUNT.word} & self.said.keys()
            and all(
                self.said.get(word) in (None, later.said.get(word)) for word in WHICH
            )
        )


def _parse_fault(text: str) -> Fault:
    word = text.strip().lower().replace("_", "-").replace(" ", "-")
    word = {"off": "none", "lost-interrupt": "lost-interruption"}.get(word, word)
    for fault in Fault:
        if fault.value == word:
            return fault
    raise UserError(f"unknown; one of {', '.join(fault.value for fault in Fault)}")


def _parse_rule(text: str) -> FaultRule:
    name, *qualifiers = text.split(":")
    fault = _parse_fault(name)
    words: dict[str, str] = {}
    for qualifier in qualifiers:
        word, _, value = qualifier.partition("=")
        if word in words:
            raise UserError(f"{shortened(word)} is said twice of {fault.value}")
        words[word] = value
    said = QUALIFIERS.read(words)
    for word in said:
        if fault not in QUALIFIERS[word].faults:
            raise UserError(f"{word} cannot be said of {fault.value}; leave it out")
    if SEED.word in said and RATE.word not in said:
        raise UserError("seed without a rate; say rate, too")
    if BLOCKS.word in said and TRACKS.word in said:
        raise UserError("no device has both blocks and tracks; say one of them")
    return FaultRule(fault, said)


def parse_faults(text: str) -> tuple[FaultRule, ...]:
    """The faults that *text* writes, apart by `+`; none for the word `none`.

    UserError for what is unknown or contradicts itself, and for a fault that could never hit.
    """
    texts = text.split("+")
    if len(texts) > MOST_FAULTS:
        raise UserError(f"{len(texts)} faults; at most {MOST_FAULTS} at a time")
    rules = tuple(map(_parse_rule, texts))
    if len(rules) == 1 and rules[0].fault is Fault.NONE:
        return ()
    if any(rule.fault is Fault.NONE for rule in rules):
        raise UserError("none stands alone; leave it or the others out")
    asked = sorted(rules, key=lambda rule: _EARLIEST.get(rule.fault, len(_EARLIEST)))
    for place, rule in enumerate(asked):
        for before in asked[:place]:
            if before.hides(rule):
                raise UserError(
                    f"{rule} never hits, as {before} comes before it; say when it does, "
                    "such as by start=, rate= or count="
                )
    return rules


def show_faults(rules: Sequence[FaultRule]) -> str:
    """*rules* as `parse_faults` reads them."""
    return "+".join(map(str, rules)) or Fault.NONE.value


def need_fit(rules: tuple[FaultRule, ...], device: Device) -> None:
    """UserError if one of *rules* means blocks or tracks that *device* does not have."""
    for rule in rules:
        for qualifier in (BLOCKS, TRACKS):
            span = rule.get(qualifier, None)
            if span is None:
                continue
            if device.places != qualifier.word:
                has = f"; it has {device.places}" if device.places else ""
                raise UserError(f"fault={rule}: {device.name} has no {qualifier.word}{has}")
            if span.first >= device.capacity or device.capacity <= span.last < _MOST:
                raise UserError(
                    f"fault={rule}: {device.name} has {qualifier.word} 0 to {device.capacity - 1}"
                )


# --- faults in force ------------------------------------------------------------------------------


class Hit(NamedTuple):
    """A fault that hits now."""

    fault: Fault
    sense: bytes
    """Sense data of a unit check."""
    seconds: float
    """How long a delay is."""


class Armed:
    """A fault in force: how often it still hits, and how far its chance and its counting are."""

    def __init__(self, rule: FaultRule) -> None:
        self.rule = rule
        """What was said."""
        self.left = rule.get(COUNT, None)
        """How often it still hits; None: nothing was said of it."""
        words = rule.get(COMMAND, None)
        self._codes = None if words is None else codes_of(words)
        self._nth = rule.get(NTH, None)
        self._start = rule.get(START, None)
        self._units = rule.get(BLOCKS, None) or rule.get(TRACKS, None)
        self._each = not _EACH_COMMAND.isdisjoint(rule.said)
        self._rate = rule.get(RATE, None)
        self._chance = random.Random(rule.get(SEED, 1))
        self._starts = 0

    @property
    def now(self) -> FaultRule:
        """What is left of it, as it can be written."""
        if self.left is None:
            return self.rule
        return FaultRule(self.rule.fault, {**self.rule.said, COUNT.word: self.left})

    def starts(self) -> bool:
        """A start function begins; whether it is one that is meant."""
        self._starts += 1
        return self._start is None or self._start.first <= self._starts <= self._start.last

    def refuses(self, *, start: bool) -> bool:
        """Whether it hits this instruction; *start*: it is a START."""
        return (self.starts() if start else self._start is None) and self._by_chance()

    def meets(self, nth: int, code: int, place: range) -> bool:
        """Whether it hits command *code*, the *nth* of its start function, for blocks *place*."""
        if not self._each:
            return nth == 1 and self._by_chance()
        span, units = self._nth, self._units
        return (
            (self._codes is None or code in self._codes)
            and (span is None or span.first <= nth <= span.last)
            and (
                units is None
                or (len(place) > 0 and units.first < place.stop and place.start <= units.last)
            )
            and self._by_chance()
        )

    def _by_chance(self) -> bool:
        return self._rate is None or self._chance.random() < self._rate


class Behaviour:
    """Timing and faults of one device, switched while it runs through `control`."""

    __slots__ = ("armed", "count", "delay", "sense", "time")

    def __init__(self, delay: float = 0.0) -> None:
        self.delay = delay
        """Seconds from condition code 0 to the ending status, once per start function."""
        self.armed: tuple[Armed, ...] = ()
        """The faults in force, in the order in which they are asked."""
        self.sense = b"\x10"
        """Sense data of unit checks that say none; the rest is zeros. First: equipment check."""
        self.count: int | None = None
        """How often faults that say no number still hit; None: until they are switched off."""
        self.time = 0.2
        """Seconds that faults mean that say no time."""

    def switch(self, faults: Fault | Sequence[FaultRule], count: int | None = None) -> None:
        """Let *faults* hit from now on, and no others; those that say no number *count* times.

        A `Fault` alone hits the first command of every start function.
        """
        if isinstance(faults, Fault):
            faults = () if faults is Fault.NONE else (FaultRule(faults),)
        self.armed = tuple(map(Armed, faults))
        self.count = count

    @property
    def faults(self) -> tuple[FaultRule, ...]:
        """What is in force, as it can be written."""
        return tuple(armed.now for armed in self.armed)

    def refuses(self, *, start: bool = False) -> bool:
        """Whether the device is not operational for this instruction, a START or another."""
        return self._hit_before(Fault.NOT_OPERATIONAL, start=start) is not None

    def processing(self) -> float | None:
        """Seconds for which the request to start that is accepted now stays in CP_PROCESSING."""
        hit = self._hit_before(Fault.PROCESSING, start=True)
        return None if hit is None else hit.seconds

    def _hit_before(self, fault: Fault, *, start: bool) -> Hit | None:
        for armed in self.armed:
            if armed.rule.fault is fault and armed.refuses(start=start):
                return self._hit(armed)
        return None

    def begin(self) -> tuple[Armed, ...]:
        """A channel program begins: the faults that may hit its commands."""
        return tuple(
            armed
            for armed in self.armed
            if armed.rule.fault not in BEFORE_COMMANDS and armed.starts()
        )

    def meet(self, begun: Sequence[Armed], nth: int, code: int, place: range) -> list[Hit]:
        """What hits command *code*, the *nth* from 1 of its start function; counts it.

        *begun* is what `begin` gave, *place* the blocks or tracks that the command is for. At most
        the last of them ends the command.
        """
        hits = []
        for armed in begun:
            # It may be over since the program began.
            if armed in self.armed and armed.meets(nth, code, place):
                hits.append(self._hit(armed))
                if armed.rule.fault not in PASSING:
                    break
        return hits

    def _hit(self, armed: Armed) -> Hit:
        rule = armed.rule
        if armed.left is not None:
            armed.left -= 1
            if not armed.left:
                self.armed = tuple(other for other in self.armed if other is not armed)
        elif self.count is not None:
            self.count -= 1
            if not self.count:
                self.armed = tuple(other for other in self.armed if other.left is not None)
                self.count = None
        return Hit(rule.fault, rule.get(SENSE, self.sense), rule.get(FOR, self.time))


# --- the options ----------------------------------------------------------------------------------


def _sets(name: str) -> Callable[[Behaviour, Any], None]:
    """Sets the field *name*."""
    return lambda behaviour, value: setattr(behaviour, name, value)


FAULT: Final = Switch(
    word="fault",
    owner=Owner.BEHAVIOUR,
    metavar="FAULT[:WHEN...][+...]",
    help=f"what goes wrong: {', '.join(fault.value for fault in Fault)}",
    parse=parse_faults,
    put=Behaviour.switch,
    show=lambda behaviour: show_faults(behaviour.faults),
)
BEHAVIOUR: Final = Switches(
    Switch(
        word="delay",
        owner=Owner.BEHAVIOUR,
        metavar="TIME",
        help="every start function takes so long: 3s, 250ms, 100us",
        parse=parse_time,
        put=_sets("delay"),
        show=lambda behaviour: show_time(behaviour.delay),
    ),
    FAULT,
    Switch(
        word="sense",
        owner=Owner.BEHAVIOUR,
        metavar="HEX",
        help="sense data of the unit check that is a fault, 1 to 32 bytes; 10 unless said",
        parse=_parse_sense,
        put=_sets("sense"),
        show=lambda behaviour: behaviour.sense.hex(),
    ),
    Switch(  # behind the fault, whose switch forgets it
        word="count",
        owner=Owner.BEHAVIOUR,
        metavar="N",
        help="a fault that says no number of its own is switched off after it has hit N times",
        parse=_parse_count,
        put=_sets("count"),
        show=lambda behaviour: None if behaviour.count is None else str(behaviour.count),
    ),
    Switch(
        word="for",
        owner=Owner.BEHAVIOUR,
        metavar="TIME",
        help="how long processing keeps a start, and delay a command; 200ms unless said",
        parse=parse_time,
        put=_sets("time"),
        show=lambda behaviour: show_time(behaviour.time),
    ),
)
"""The options of `Behaviour`, in the order in which they are set."""


def behaviour_of(spec: DeviceSpec) -> Behaviour:
    """The timing and faults that the options of *spec* ask for."""
    behaviour = Behaviour()
    BEHAVIOUR.put(behaviour, spec.options)
    return behaviour
