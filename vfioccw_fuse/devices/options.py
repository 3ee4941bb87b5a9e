"""What can be said of a device: options, each declared once, and how a device is written.

`fba@0.0.0313:disk.img,readonly,delay=3s,fault=hang`: device type, subchannel id, medium, options.
An option's declaration holds all there is to know of it: its word, what its value looks like, a
sentence of help, how the value is read, whose it is and, if it can be switched while the device is
in use, how it is set and shown. Command line, configuration file, `control` and the lists of help
all go by the declarations. Here are those that every device has, in each device type's module its
own, in `vfio.control` the subchannel's.
"""

from __future__ import annotations

import enum
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar
from unicodedata import category

from ..errors import UserError, shortened
from ..regions.table import is_schid
from ..sizes import DIGITS, parse_number

T = TypeVar("T")
D = TypeVar("D")
On = TypeVar("On")
"""What a switch acts on."""

_WORD = re.compile(r"[a-z]+(-[a-z]+)*")
_SPEC = re.compile(r"(?P<type>[A-Za-z0-9-]+)@(?P<schid>[^:]+):(?P<rest>.*)", re.DOTALL)
_TIME = re.compile(rf"([0-9]{{1,{DIGITS}}}(?:\.[0-9]{{1,{DIGITS}}})?)(us|ms|s)?")
_NO_NAME = ("Cc", "Zl", "Zp")  # control characters, and what else ends a line
_MOST_STARTS = 999_999_999
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, None: 1.0}
_LONGEST_TIME = 3600.0
NO_MEDIUM: Final = ("", "-", "*")
"""Words instead of a file for a device without a medium (`*` is Hercules' word)."""


# --- declarations ---------------------------------------------------------------------------------


class Owner(enum.Enum):
    """Whose an option is. The values are the headings in lists of help."""

    DEVICE = "the device type"
    BEHAVIOUR = "timing and faults"
    SUBCHANNEL = "the subchannel"
    PATH = "the channel path"


@dataclass(frozen=True, eq=False, kw_only=True)
class Option(Generic[T]):
    """One option: `word=value`, or the word alone. ValueError for a declaration without help."""

    word: str
    """How it is called, in small letters."""
    owner: Owner
    """Whose it is."""
    metavar: str = ""
    """What stands for the value in help, such as TIME; empty if it has none."""
    help: str
    """What it does: a phrase for people, with the default, without a full stop."""
    parse: Callable[[str], T]
    """Makes the value of its text; UserError says what it should have been, but not of what."""
    alone: str | None = None
    """The text that the word alone stands for; None if the value must be said."""

    def __post_init__(self) -> None:
        if not _WORD.fullmatch(self.word) or not self.help or not isinstance(self.owner, Owner):
            raise ValueError(f"option {self.word!r}: needs a word, an owner and help")

    @property
    def usage(self) -> str:
        """How it is written, such as `delay=TIME`."""
        if not self.metavar:
            return self.word
        value = f"={self.metavar}"
        return self.word + (value if self.alone is None else f"[{value}]")

    def read(self, text: str) -> T:
        """The value of *text*, "" for the word alone; UserError names word, value and remedy."""
        try:
            return self.parse(text if text or self.alone is None else self.alone)
        except UserError as wrong:
            said = f"{self.word}={shortened(text)}" if text or self.metavar else self.word
            raise UserError(f"{said}: {wrong.message}") from None


@dataclass(frozen=True, eq=False, kw_only=True)
class Switch(Option[T], Generic[T, On]):
    """An option that can be switched while the device is in use, through `control`."""

    put: Callable[[On, T], None]
    """Sets the value."""
    show: Callable[[On], str | None]
    """The value as it can be written again; None if there is nothing to show."""


O_co = TypeVar("O_co", bound=Option[Any], covariant=True)


class Options(Mapping[str, O_co]):
    """Options by word, in the order of their declaration; ValueError if a word comes twice."""

    def __init__(self, *options: O_co) -> None:
        self._options = {option.word: option for option in options}
        if len(self._options) != len(options):
            words = [option.word for option in options]
            twice = sorted({word for word in words if words.count(word) > 1})
            raise ValueError(f"declared twice: {', '.join(twice)}")

    def __getitem__(self, word: str) -> O_co:
        return self._options[word]

    def __iter__(self) -> Iterator[str]:
        return iter(self._options)

    def __len__(self) -> int:
        return len(self._options)

    def __or__(self, others: Options[Any]) -> Options[Option[Any]]:
        return Options(*self.values(), *others.values())

    def read(self, words: Mapping[str, str]) -> dict[str, Any]:
        """The values of *words* (word to text) by word; UserError for what is unknown or wrong."""
        values = {}
        for word, text in words.items():
            if word not in self._options:
                raise UserError(
                    f"{shortened(word)}: no such option; one of {', '.join(sorted(self))}"
                )
            values[word] = self._options[word].read(text)
        return values


class Switches(Options[Switch[Any, On]], Generic[On]):
    """Options of one thing that can be switched while it is in use."""

    def put(self, on: On, values: Mapping[str, Any]) -> None:
        """Set those of *values* (as `read` gives them) that are options here."""
        for word, switch in self.items():
            if word in values:
                switch.put(on, values[word])

    def show(self, on: On) -> dict[str, str]:
        """Word and value of all, in the form in which they can be written."""
        shown = {word: switch.show(on) for word, switch in self.items()}
        return {word: text for word, text in shown.items() if text is not None}


def parse_flag(text: str) -> bool:
    """True, for the word alone; UserError if it has a value."""
    if text:
        raise UserError("takes no value; write the word alone, or leave it out")
    return True


def parse_time(text: str) -> float:
    """Seconds of `3s`, `250ms`, `100us` or a bare number of seconds; UserError otherwise."""
    match = _TIME.fullmatch(text.strip())
    if match is None or float(match[1]) * _UNITS[match[2]] > _LONGEST_TIME:
        raise UserError("a time such as 3s, 250ms or 100us, at most 3600s")
    return float(match[1]) * _UNITS[match[2]]


def show_time(seconds: float) -> str:
    """*seconds* as `parse_time` reads them, to a nanosecond."""
    return f"{seconds:.9f}".rstrip("0").rstrip(".") + "s"


READONLY: Final = Option(
    word="readonly",
    owner=Owner.DEVICE,
    help="the medium is not written",
    parse=parse_flag,
)
"""For every device type whose medium can be protected."""
SHARED: Final = Option(
    word="shared",
    owner=Owner.DEVICE,
    help="the medium is written together with others that say so, too (QEMU: share-rw=on)",
    parse=parse_flag,
)
"""For disks, which systems that know of each other may write together."""


class Sync(enum.StrEnum):
    """When what was written is brought to stable storage. The values are the words of `sync=`."""

    END = "end"
    """From the first second on in the background; all of it at the end, and by fsync(2)."""
    ALWAYS = "always"
    """A command that writes ends when its data is there."""
    NEVER = "never"
    """Whenever the system does it."""


def _parse_sync(text: str) -> Sync:
    try:
        return Sync(text)
    except ValueError:
        raise UserError(f"one of {', '.join(Sync)}") from None


SYNC: Final = Option(
    word="sync",
    owner=Owner.DEVICE,
    metavar="|".join(Sync),
    help="when written data is on stable storage: when umount or remove have ended (end), when the "
    "write has ended (always), when the system likes (never); end unless said",
    parse=_parse_sync,
)
"""For every device type whose medium is written."""


class SenseId(enum.StrEnum):
    """Whether a device that is older than Sense ID knows it. The values are what one writes."""

    YES = "yes"
    """It says what it is, so that systems which ask every device (Linux) find it."""
    LEGACY = "legacy"
    """Command reject, as of the first such devices."""


def _parse_sense_id(text: str) -> SenseId:
    try:
        return SenseId(text)
    except ValueError:
        raise UserError(f"one of {', '.join(SenseId)}") from None


SENSE_ID: Final = Option(
    word="sense-id",
    owner=Owner.DEVICE,
    metavar="|".join(SenseId),
    help="Sense ID is answered (yes) or a command reject, as of old hardware (legacy); yes unless "
    "said",
    parse=_parse_sense_id,
)
"""For every device type that is older than Sense ID."""


# --- what every device has ------------------------------------------------------------------------


class Fault(enum.Enum):
    """What a device does wrong. The values are the words of `fault=`."""

    effect: str
    """What happens, for people."""

    def __new__(cls, word: str, effect: str = "") -> Fault:
        """A fault of that value and effect."""
        fault = object.__new__(cls)
        fault._value_ = word
        fault.effect = effect
        return fault

    NONE = "none", "nothing wrong"
    HANG = "hang", "the device takes the first command and never ends it; halt or clear ends it"
    UNIT_CHECK = (
        "unit-check",
        "the first command ends with unit check and the sense data of sense=",
    )
    BUSY = "busy", "the device answers the first command with busy"
    LOST_INTERRUPTION = "lost-interruption", "the program runs, its interruption is lost"
    NOT_OPERATIONAL = "not-operational", "instructions get condition code 3: ENODEV"
    PROCESSING = (
        "processing",
        "an accepted start stays in CP_PROCESSING for the time of for= before SSCH; "
        "other requests meanwhile get EAGAIN",
    )


@dataclass(slots=True)
class Behaviour:
    """Timing and faults of one device, switched while it runs through `control`."""

    delay: float = 0.0
    """Seconds from condition code 0 to the ending status, once per start function."""
    fault: Fault = Fault.NONE
    """What goes wrong."""
    sense: bytes = b"\x10"
    """Sense data of an injected unit check; the rest is zeros. Default: equipment check."""
    count: int | None = None
    """How many start functions the fault still hits; None: all until it is switched off."""
    processing_time: float = 0.2
    """Seconds for which the fault PROCESSING keeps a start request in CP_PROCESSING."""

    def take_fault(self) -> Fault:
        """The fault that hits the start function that begins now; counts it.

        PROCESSING is over before a start function begins: the driver asks `take_processing`.
        """
        return Fault.NONE if self.fault is Fault.PROCESSING else self._take()

    def take_processing(self) -> float:
        """Seconds for which the start request that is accepted now stays in CP_PROCESSING.

        Counts the fault PROCESSING; without it 0, and nothing is counted.
        """
        if self.fault is not Fault.PROCESSING:
            return 0.0
        self._take()
        return self.processing_time

    def _take(self) -> Fault:
        fault = self.fault
        if self.count is not None and fault is not Fault.NONE:
            self.count -= 1
            if self.count <= 0:
                self.switch(Fault.NONE)
        return fault

    def switch(self, fault: Fault, count: int | None = None) -> None:
        """Let *fault* hit the next *count* start functions, or all from now on."""
        self.fault, self.count = fault, count


def _parse_fault(text: str) -> Fault:
    word = text.strip().lower().replace("_", "-").replace(" ", "-")
    word = {"off": "none", "lost-interrupt": "lost-interruption"}.get(word, word)
    for fault in Fault:
        if fault.value == word:
            return fault
    raise UserError(f"unknown; one of {', '.join(fault.value for fault in Fault)}")


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
    if not 1 <= count <= _MOST_STARTS:
        raise UserError(f"a number of starts, 1 to {_MOST_STARTS}")
    return count


def _sets(name: str) -> Callable[[Behaviour, Any], None]:
    """Sets the field *name*."""
    return lambda behaviour, value: setattr(behaviour, name, value)


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
    Switch(
        word="fault",
        owner=Owner.BEHAVIOUR,
        metavar="FAULT",
        help=f"what goes wrong: {', '.join(fault.value for fault in Fault)}",
        parse=_parse_fault,
        put=Behaviour.switch,
        show=lambda behaviour: behaviour.fault.value,
    ),
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
        help="the fault is switched off after N starts",
        parse=_parse_count,
        put=_sets("count"),
        show=lambda behaviour: None if behaviour.count is None else str(behaviour.count),
    ),
    Switch(
        word="for",
        owner=Owner.BEHAVIOUR,
        metavar="TIME",
        help="how long the fault processing keeps a start; 200ms unless said",
        parse=parse_time,
        put=_sets("processing_time"),
        show=lambda behaviour: show_time(behaviour.processing_time),
    ),
)
"""The options of `Behaviour`, in the order in which they are set."""


# --- how a device is written ----------------------------------------------------------------------


def parse_schid(text: str) -> str:
    """A subchannel id cssid.ssid.schno such as 0.0.0313, in lower case; UserError otherwise."""
    schid = text.strip().lower()
    if not is_schid(schid):
        raise UserError(
            f"{shortened(text)}: not a subchannel id; "
            "write cssid.ssid.schno in hex, such as 0.0.0313"
        )
    return schid


def parse_medium(text: str) -> str:
    """The path *text* of a medium, or what stands in its place; UserError for what no path is.

    Refused are control characters but the tab, and ends of lines (the zero byte, which no path can
    have, among them), and half a surrogate pair, which no text has. A byte that is not UTF-8 is
    well: `os.fsdecode` makes a surrogate of its own of it.
    """
    for letter in text:
        if category(letter) in _NO_NAME and letter != "\t":
            raise UserError(
                f"{shortened(text)}: a control character or an end of line in its name; rename it"
            )
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        raise UserError(
            f"{shortened(text)}: no file has this name: it is not Unicode; rename it"
        ) from None
    return text


@dataclass(frozen=True, slots=True)
class DeviceText:
    """A device as it is written in one word; what the options say is not looked at yet."""

    type: str
    """Device type, e.g. "fba" or "3390"."""
    schid: str
    """Subchannel id, e.g. "0.0.0313"."""
    path: str
    """The medium: an image file."""
    words: Mapping[str, str]
    """The options, word to text; an option without a value has ""."""

    @classmethod
    def parse(cls, text: str) -> DeviceText:
        """Read `type@c.s.dddd:path[,option[=value]]...`; UserError names *text* and the error."""
        said = shortened(text)
        match = _SPEC.fullmatch(text)
        if match is None:
            raise UserError(f"{said}: write TYPE@SUBCHANNEL:IMAGE, such as fba@0.0.0313:disk.img")
        path, *options = match["rest"].split(",")
        if not path:
            raise UserError(f"{said}: the image is missing after the colon")
        words: dict[str, str] = {}
        for option in options:
            word, _, value = option.partition("=")
            if word in words:
                raise UserError(f"{said}: option {shortened(word)} is given twice")
            words[word] = value
        try:
            schid = parse_schid(match["schid"])
        except UserError as wrong:
            raise UserError(f"{said}: {wrong.message}") from None
        return cls(match["type"].lower(), schid, parse_medium(path), words)

    def __str__(self) -> str:
        words = (f",{word}={text}" if text else f",{word}" for word, text in self.words.items())
        return f"{self.type}@{self.schid}:{self.path}{''.join(words)}"


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """One device as it is to be attached: nothing is left to be parsed."""

    type: str
    """Device type, e.g. "fba" or "3390"."""
    schid: str
    """Subchannel id, e.g. "0.0.0313"."""
    path: str
    """The medium: an image file."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """The values of the options by word, as `Options.read` gives them."""

    def get(self, option: Option[T], default: D) -> T | D:
        """The value of *option*, or *default* where nothing was said."""
        value: T | D = self.options.get(option.word, default)
        return value

    def behaviour(self) -> Behaviour:
        """The timing and faults that the options ask for."""
        behaviour = Behaviour()
        BEHAVIOUR.put(behaviour, self.options)
        return behaviour
