"""An event of a trace as the command line has it: whose, when, and in words.

It comes from a mount, as an event of `css.trace`; from a line of JSON that `--json` has written; or
from a line for people, which a trace file or this command has. The last does not have everything.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from ...css.trace import Executed, from_json
from ...css.tracewords import words_for
from ...errors import printable
from ...regions.descriptions import command_name
from ..commandcodes import device_words
from ..text import dump_pieces

_LINE = re.compile(r"\s*([0-9]{1,9})\.([0-9]{1,9}) (\S+) (\S+) +(.*)")
_LOST = re.compile(r"\.\.\. ([0-9]{1,9} (?:CCWs|lines) lost(?:, [0-9]{1,9} lines lost)?)")
_CCW = re.compile(
    r"(?P<address>[0-9a-f]{8}) (?P<code>[0-9a-f]{2})/(?P<flags>[0-9a-f]{2})/(?P<count>[0-9]{1,5})"
    r" at (?P<cda>[0-9a-f]{8}): (?P<name>.*?)"
    r"  (?:unit status (?P<status>[0-9a-f]{2})|data chained)(?:, (?P<moved>[0-9]{1,5}) bytes .*)?"
)
_INSTRUCTION = re.compile(r"cc ([0-3])\b")
_FLAGS = re.compile(r", [A-Z ]+$")  # what a line shows behind the name of a command
_DISORDER_NS = 10_000_000
"""Lines of several subchannels may be so much out of order."""
INDENT = "    "
"""Before each line of data."""


class Seen(NamedTuple):
    """What happened."""

    ns: int
    """When, in ns since the trace began."""
    subchannel: str
    """Whose; with the directory of its mount if several are traced."""
    device: str
    """The type of its device, such as 9336; empty if that is not known."""
    what: str
    """An instruction's name, `ccw`, `irb` or `lost`."""
    words: str
    """It in one line."""
    fields: Mapping[str, Any]
    """The keys of its JSON object, those of this tuple apart."""

    @property
    def command(self) -> int:
        """The command code of a CCW; -1 if it is none."""
        return int(self.fields["code"]) if self.what == "ccw" and "code" in self.fields else -1

    def line(self) -> str:
        """The line for people."""
        if self.what == "lost":
            return f"... {self.words}"
        return printable(f"{self.ns / 1e9:12.6f} {self.subchannel} {self.what:5} {self.words}")

    def data_lines(self, row: int) -> Iterator[str]:
        """The data of a CCW, if it has some, *row* bytes in a line."""
        for line in dump_pieces(self.fields.get("pieces", ()), row):
            yield f"{INDENT}{line}"

    def as_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        return {
            "seconds": self.ns / 1e9,
            "subchannel": self.subchannel,
            "device": self.device,
            **self.fields,
            "words": self.words,
        }


def seen(found: dict[str, Any], begin: int, subchannel: str, device: str) -> Seen:
    """What the JSON object *found* of *subchannel* was (`css.trace.to_json`).

    *begin*: when the trace began, as its `ns`. ValueError, KeyError or TypeError if it is none.
    """
    words = device_words(device)
    event = from_json(found)
    what, text = words_for(event, words)
    if isinstance(event, Executed):
        found["name"] = command_name(event.code, words)
    return Seen(event.ns - begin, subchannel, device, what, text, found)


def ends_a_start(event: Seen) -> bool:
    """Whether an interruption ends a start function: all but intermediate status alone."""
    return "intermediate status" not in event.words or "primary status" in event.words


def reader() -> Callable[[str], Seen | None]:
    """Give what makes a `Seen` of each line of a trace that was kept, None of any other.

    Where the clock begins anew, as that of a trace file does with its first reader, another trace
    follows the one before at once.
    """
    last = Seen(0, "", "", "lost", "", {})
    later = 0

    def read(line: str) -> Seen | None:
        nonlocal last, later
        found = _from_json(line) if line.lstrip().startswith("{") else _from_words(line, last)
        if found is None:
            return None
        if found.what != "lost":
            found = found._replace(ns=found.ns + later)
        if found.ns < last.ns - _DISORDER_NS:
            later += last.ns - found.ns
            found = found._replace(ns=last.ns)
        last = found
        return found

    return read


def _from_json(line: str) -> Seen | None:
    try:
        found = json.loads(line)
        begin = int(found["ns"]) - round(float(found.pop("seconds")) * 1e9)
        return seen(found, begin, str(found.pop("subchannel")), str(found.pop("device")))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError, AttributeError):
        return None


def _from_words(line: str, last: Seen) -> Seen | None:
    line = line.rstrip("\n")
    if lost := _LOST.fullmatch(line):
        counts = {part.split()[1]: int(part.split()[0]) for part in lost[1].split(", ")}
        told = {"event": "lost", "ccws": counts.get("CCWs", 0), "others": counts.get("lines", 0)}
        return Seen(last.ns, last.subchannel, "", "lost", lost[1], told)
    found = _LINE.fullmatch(line)
    if found is None:
        return None
    seconds, fraction, subchannel, what, words = found.groups()
    ns = int(seconds) * 1_000_000_000 + int(fraction.ljust(9, "0"))
    fields = _fields(what, words)
    return None if fields is None else Seen(ns, subchannel, "", what, words, fields)


def _fields(what: str, words: str) -> dict[str, Any] | None:
    """The keys that such a line has; None: it is not of a trace."""
    if what == "irb":
        return {"event": "interruption", "joined": words.endswith("  joined")}
    if what != "ccw":
        cc = _INSTRUCTION.match(words)
        return {"event": "instruction", "name": what, **({"cc": int(cc[1])} if cc else {})}
    ccw = _CCW.fullmatch(words)
    if ccw is None:
        return None
    fields: dict[str, Any] = {"event": "ccw"}
    fields |= {name: int(ccw[name], 16) for name in ("address", "code", "flags")}
    fields |= {"count": int(ccw["count"]), "cda": int(ccw["cda"], 16)}
    fields["status"] = int(ccw["status"] or "0", 16)
    if ccw["moved"]:
        fields["moved"] = int(ccw["moved"])
    fields["name"] = _FLAGS.sub("", ccw["name"])
    return fields
