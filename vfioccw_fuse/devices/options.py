"""What can be said of a device: options, each declared once, and how a device is written.

`fba@0.0.0313:disk.img,readonly,delay=3s,fault=hang`: device type, subchannel id, medium, options;
a comma that belongs to a path or a value is written twice.
An option's declaration holds all there is to know of it: its word, what its value looks like, a
sentence of help, how the value is read, whose it is and, if it can be switched while the device is
in use, how it is set and shown. Command line, configuration file, `control` and the lists of help
all go by the declarations. What every device has, timing and faults, is declared in `faults`, what
its type has in the type's own module, what its subchannel has in `vfio.control`.
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
from ..regions.schid import is_schid, whole_schid
from ..sizes import DIGITS

T = TypeVar("T")
D = TypeVar("D")
On = TypeVar("On")
"""What a switch acts on."""

_WORD = re.compile(r"[a-z]+(-[a-z]+)*")
_SPEC = re.compile(r"(?P<type>[A-Za-z0-9-]+)@(?P<schid>[^:]+):(?P<rest>.*)", re.DOTALL)
_PIECE = re.compile("[^,]+|,,|,")
_TIME = re.compile(rf"([0-9]{{1,{DIGITS}}}(?:\.[0-9]{{1,{DIGITS}}})?)(us|ms|s)?")
_NO_NAME = ("Cc", "Zl", "Zp")  # control characters, and what else ends a line
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
    """Seconds of `3s`, `250ms`, `100us` or a bare number of seconds, to a nanosecond.

    UserError for other text.
    """
    match = _TIME.fullmatch(text.strip())
    if match is None or float(match[1]) * _UNITS[match[2]] > _LONGEST_TIME:
        raise UserError("a time such as 3s, 250ms or 100us, at most 3600s")
    return round(float(match[1]) * _UNITS[match[2]], 9)


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


# --- how a device is written ----------------------------------------------------------------------


def parse_schid(text: str) -> str:
    """A subchannel id cssid.ssid.schno such as 0.0.0313, in lower case; UserError otherwise.

    0313 is 0.0.0313.
    """
    schid = whole_schid(text.strip())
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
        """Read `type@c.s.dddd:path[,option[=value]]...`; UserError names *text* and the error.

        A comma in a path or a value is written twice, as in QEMU's options.
        """
        said = shortened(text)
        match = _SPEC.fullmatch(text)
        if match is None:
            raise UserError(f"{said}: write TYPE@SUBCHANNEL:IMAGE, such as fba@0.0.0313:disk.img")
        path, *options = _split(match["rest"])
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
        words = (f"{word}={text}" if text else word for word, text in self.words.items())
        said = ",".join(part.replace(",", ",,") for part in (self.path, *words))
        return f"{self.type}@{self.schid}:{said}"


def _split(text: str) -> list[str]:
    """The parts of *text* between commas; two commas are one that belongs to its part."""
    parts = [""]
    for piece in _PIECE.findall(text):
        if piece == ",":
            parts.append("")
        else:
            parts[-1] += "," if piece == ",," else piece
    return parts


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
