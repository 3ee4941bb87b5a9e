"""How a device is named on a command line or in a file, and what can be switched while it runs.

`fba@0.0.0313:disk.img,readonly,delay=3s,fault=hang`: device type, subchannel id, medium, options.
The same option words are written into `control`.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field

from ..errors import UserError

_SPEC = re.compile(r"(?P<type>[A-Za-z0-9-]+)@(?P<schid>[^:]+):(?P<rest>.*)", re.DOTALL)
_SCHID = re.compile(r"[0-9a-f]{1,2}\.[0-3]\.[0-9a-f]{4}")
_SECONDS = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s)?")
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, None: 1.0}
_LONGEST_DELAY = 3600.0


class Fault(enum.Enum):
    """What a device does wrong. The values are the words of `fault=`."""

    NONE = "none"
    HANG = "hang"
    """The device accepts the first command and never ends it."""
    UNIT_CHECK = "unit-check"
    """The first command ends with unit check and the sense data of `sense=`."""
    BUSY = "busy"
    """The device answers the first command with busy."""
    LOST_INTERRUPTION = "lost-interruption"
    """The program runs, but its ending status never reaches the subchannel."""
    PROCESSING = "processing"
    """An accepted start stays in CP_PROCESSING for the time of `for=` before SSCH."""
    NOT_OPERATIONAL = "not-operational"
    """Instructions that need the device get condition code 3."""


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

    def take_fault(self) -> Fault:
        """The fault that hits the start function that begins now; counts it."""
        fault = self.fault
        if self.count is not None and fault is not Fault.NONE:
            self.count -= 1
            if self.count <= 0:
                self.fault, self.count = Fault.NONE, None
        return fault

    def take_processing(self) -> float:
        """Seconds that a start stays in CP_PROCESSING by the fault; counts it as `take_fault`."""
        self.take_fault()
        return 0.2

    def apply(self, words: dict[str, str]) -> None:
        """Set what *words* name (option: value); UserError changes nothing."""
        new = Behaviour(self.delay, self.fault, self.sense, self.count)
        for name, value in words.items():
            if name == "delay":
                new.delay = parse_delay(value)
            elif name == "fault":
                new.fault = _parse_fault(value)
                new.count = None
            elif name == "sense":
                new.sense = _parse_sense(value)
        if "count" in words:
            if not words["count"].isdigit() or int(words["count"]) < 1:
                raise UserError(f"count={words['count']}: a number of starts, 1 or more")
            new.count = int(words["count"])
        self.delay, self.fault, self.sense, self.count = new.delay, new.fault, new.sense, new.count

    def words(self) -> dict[str, str]:
        """The same as option words, as `control` shows them."""
        shown = {"delay": f"{self.delay:g}s", "fault": self.fault.value, "sense": self.sense.hex()}
        if self.count is not None:
            shown["count"] = str(self.count)
        return shown


BEHAVIOUR_WORDS = frozenset({"delay", "fault", "sense", "count"})
"""Options that belong to `Behaviour`."""


def parse_delay(text: str) -> float:
    """Seconds of `3s`, `250ms`, `100us` or a bare number of seconds; UserError otherwise."""
    match = _SECONDS.fullmatch(text.strip())
    if match is None or float(match[1]) * _UNITS[match[2]] > _LONGEST_DELAY:
        raise UserError(f"delay={text}: a time such as 3s, 250ms or 100us, at most 3600s")
    return float(match[1]) * _UNITS[match[2]]


def _parse_fault(text: str) -> Fault:
    word = text.strip().lower().replace("_", "-").replace(" ", "-")
    word = {"off": "none", "lost-interrupt": "lost-interruption"}.get(word, word)
    try:
        return Fault(word)
    except ValueError:
        known = ", ".join(f.value for f in Fault)
        raise UserError(f"fault={text}: unknown; one of {known}") from None


def _parse_sense(text: str) -> bytes:
    try:
        data = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        data = b""
    if not 1 <= len(data) <= 32:
        raise UserError(f"sense={text}: 1 to 32 bytes in hex, such as sense=1000")
    return data


def parse_schid(text: str) -> str:
    """A subchannel id cssid.ssid.schno such as 0.0.0313, in lower case; UserError otherwise."""
    schid = text.strip().lower()
    if _SCHID.fullmatch(schid) is None:
        raise UserError(
            f"{text}: not a subchannel id; write cssid.ssid.schno in hex, such as 0.0.0313"
        )
    return schid


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """One device as it is to be attached."""

    type: str
    """Device type, e.g. "fba" or "3390"."""
    schid: str
    """Subchannel id, e.g. "0.0.0313"."""
    path: str
    """The medium: an image file."""
    readonly: bool = False
    """The medium is not written."""
    options: dict[str, str] = field(default_factory=dict)
    """The other options, word to value (an option without a value has "")."""

    @classmethod
    def parse(cls, text: str) -> DeviceSpec:
        """Read `type@c.s.dddd:path[,option[=value]]...`; UserError names what is wrong."""
        match = _SPEC.fullmatch(text)
        if match is None:
            raise UserError(
                f"--device {text}: write TYPE@SUBCHANNEL:IMAGE, such as fba@0.0.0313:disk.img"
            )
        path, *words = match["rest"].split(",")
        if not path:
            raise UserError(f"--device {text}: the image is missing after the colon")
        options: dict[str, str] = {}
        for word in words:
            name, _, value = word.partition("=")
            if name in options:
                raise UserError(f"--device {text}: option {name} is given twice")
            options[name] = value
        readonly = options.pop("readonly", None)
        if readonly not in (None, ""):
            raise UserError(f"--device {text}: readonly takes no value")
        Behaviour().apply(options)
        return cls(
            match["type"].lower(), parse_schid(match["schid"]), path, readonly == "", options
        )

    def behaviour(self) -> Behaviour:
        """The timing and faults that the options ask for."""
        behaviour = Behaviour()
        behaviour.apply(self.options)
        return behaviour
