"""What a debugger says: events and parts of a program as lines, in the words of `descriptions`."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ...css.tracewords import ending
from ...devices.catalog import words_of
from ...regions import codec, descriptions
from ...regions import constants as c
from ...regions.descriptions import EVERY_DEVICE
from ...regions.layouts import Ccw0, Ccw1
from ..text import columns, dump_pieces, dump_storage
from .link import Event

Look = Mapping[str, Any]
"""A CCW as an event has it."""
_WHY = {
    "start": "at the first CCW of a start function",
    "step": "at the next CCW",
    "address": "at this address",
    "command": "at this command",
    "unit check": "after a command that ended with unit check",
}


class Words:
    """Knows what was said last, and says what is new."""

    def __init__(self) -> None:
        self.now: Event = {"event": "", "state": "idle"}
        """The last event that says how everything is."""
        self.orb = ""
        """The ORB of the program in progress, or of the last one; hexadecimal digits."""
        self._scsw = ""
        self._executed = 0
        self._device = EVERY_DEVICE
        self.row = 16
        """Bytes of storage in a line."""

    # --- events -------------------------------------------------------------------------------

    def event(self, event: Event) -> Iterator[str]:
        """The lines for *event*, which becomes how everything is now."""
        if "state" in event:
            self.now = event
            self.orb = event["orb"] or self.orb
        if lost := event.get("lost"):
            yield f"... {lost} events were lost"
        match event["event"]:
            case "attached":
                self._device = words_of(event["device"])
                self._executed = 0
                yield f"{event['subchannel']}: programs stop at their first CCW"
                if event["state"] != "idle":
                    yield "a program is in progress; it stops at step and at run to"
            case "scenario":
                # One that has no name has that of its kind.
                yield f"scenario {event['name']}".replace("scenario scenario", "scenario")
            case "stopped":
                yield f"stopped {_WHY[event['why']]}"
                if event["why"] == "start":
                    yield _label("orb", descriptions.line_orb(self._orb()))
                yield from self._progress(event)
            case "suspended":
                yield "suspended; RSCH lets it go on"
                yield from self._progress(event)
            case "interruption":
                joined = ", joined to what is pending" if event["joined"] else ""
                yield f"interruption{joined}"
                yield from self._progress(event)
                irb = codec.IRB.parse(bytes.fromhex(event["irb"]))
                yield _label("irb", descriptions.line_irb(irb, self._device))
            case "cancelled":
                yield "the program is gone: halted, cleared, cancelled or reset"
            case "instruction":
                yield f"{event['name']}: cc {event['cc']}"
            case "storage":
                yield from dump_storage(event["address"], bytes.fromhex(event["data"]), self.row)
            case "stored":
                yield f"{event['count']} bytes stored at {event['address']:08x}"
                yield from self._unheeded(event["address"], event["count"])
            case "over":
                yield "the scenario has ended"

    def _progress(self, event: Event) -> Iterator[str]:
        """What was executed, the SCSW if it has changed, and what comes next."""
        last = event["last"]
        executed, self._executed = event["executed"] - self._executed, event["executed"]
        if executed > 1:
            yield f"  {executed} CCWs were executed, the last of them:"
        if executed and last is not None:
            ended = ending(last["status"], last["moved"], last["code"])
            yield _label("ccw", f"{self._line(last)}  {ended}")
            if last["status"] & c.SCSW_DSTAT_UNIT_CHECK:
                yield _label("sense", self._sense_line().removeprefix("sense "))
        if self._scsw != self.scsw:
            self._scsw = self.scsw
            if event["event"] != "interruption":  # its IRB has it
                yield _label("scsw", self._scsw_line())
        if event["next"] is not None:
            yield _label("next", self._line(event["next"]))

    def _unheeded(self, address: int, count: int) -> Iterator[str]:
        """That a CCW was prefetched into which somebody has stored."""
        following = self.now.get("next")
        if self.now["state"] != "stopped" or following is None or not following["prefetched"]:
            return
        if following["address"] < address + count and address < following["address"] + 8:
            yield f"the CCW at {following['address']:08x} was prefetched: it stays as it was"

    # --- parts --------------------------------------------------------------------------------

    @property
    def scsw(self) -> str:
        """The SCSW, in hexadecimal digits."""
        schib = self.now["schib"]
        scsw: str = schib[2 * c.SCHIB_SCSW_OFFSET :][: 2 * c.SCSW_SIZE]
        return scsw

    @property
    def at_start(self) -> bool:
        """A program is stopped at its first CCW."""
        return (self.now["event"], self.now.get("why")) == ("stopped", "start")

    def show(self, part: str, count: int) -> Iterator[str]:
        """The lines for *part*: orb, ccw, area, data, sense, path or scsw.

        *count* is how many bytes of each data area are shown.
        """
        match part:
            case "orb":
                if not self.orb:
                    yield "no program was started"
                else:
                    yield from _table(descriptions.describe_orb(bytes.fromhex(self.orb)))
            case "scsw":
                yield from _table(descriptions.describe_scsw(bytes.fromhex(self.scsw)))
            case "sense":
                sense = bytes.fromhex(self.now["sense"])
                if sense:
                    yield from _table(descriptions.describe_sense(sense, self._device))
                else:
                    yield self._sense_line()
            case "path":
                yield from self._path()
            case "ccw":
                yield from self._each(self._ccw)
            case "area":
                yield from self._each(self._area)
            case "data":
                yield from self._each(lambda look: self._data(look, count))

    def _each(self, lines: Callable[[Look], Iterator[str]]) -> Iterator[str]:
        """The *lines* of the CCW that was executed last and of the next one."""
        for name in ("last", "next"):
            look = self.now[name]
            if look is not None:
                yield f"{name}  {self._line(look)}"
                yield from lines(look)
        if self.now["last"] is None and self.now["next"] is None:
            yield "no CCW was executed, and none comes next"

    def _orb(self) -> Any:
        return codec.ORB.parse(bytes.fromhex(self.orb))

    def _scsw_line(self) -> str:
        return descriptions.line_scsw(codec.SCSW.parse(bytes.fromhex(self.scsw)))

    def _sense_line(self) -> str:
        return descriptions.line_sense(bytes.fromhex(self.now["sense"]), self._device)

    def _line(self, look: Look) -> str:
        line = f"{look['place']:08x} "
        if look["address"] != look["place"]:
            line += f"transfer in channel to {look['address']:08x} "
        if look["code"]:
            ccw = Ccw1(look["code"], look["flags"], look["count"], look["cda"])
            line += descriptions.line_ccw(ccw, self._device)
        if look["check"]:
            line += f"; {descriptions.bits_in_words('scsw.cstat', look['check'])}"
        return line

    def _ccw(self, look: Look) -> Iterator[str]:
        fields = {"cmd": look["code"], "cda": look["cda"]}
        fields |= {name: look[name] for name in ("flags", "count")}
        if self._orb().ctrl0 & c.ORB_CTRL0_MASK_FMT:
            format, data = 1, codec.CCW1.pack(Ccw1(**fields))
        else:
            format, data = 0, codec.CCW0.pack(Ccw0(**fields))
        yield from _table(descriptions.describe_ccw(data, format, self._device))
        if look["prefetched"]:
            yield "prefetched: what storage has does not count"

    def _area(self, look: Look) -> Iterator[str]:
        """The data area, piece by piece."""
        flags = look["flags"]
        kind = ""
        if flags & c.CCW_FLAG_MIDA:
            kind = "MIDAW"
        elif flags & c.CCW_FLAG_IDA:
            wide = self._orb().ctrl0 & c.ORB_CTRL0_MASK_C64
            kind = f"format-{2 if wide else 1} IDAW"
        if kind:
            yield f"list of {kind}s at {look['cda']:08x}"
        for address, length, _ in look["pieces"]:
            yield f"  {'skipped ' if address is None else f'{address:08x}'} {length:6} bytes"
        if look["check"]:
            yield f"  then {descriptions.bits_in_words('scsw.cstat', look['check'])}"

    def _data(self, look: Look, most: int) -> Iterator[str]:
        """What was moved, or what is in the data area of the CCW that comes next."""
        if "moved" not in look:
            yield "in storage now"
        else:
            yield f"{look['moved']} bytes {'in' if look['input'] else 'out'}"
        pieces = look["pieces"]
        yield from dump_pieces(pieces, self.row, most)
        if (rest := sum(length for _, length, _ in pieces) - most) > 0:
            yield f"... {rest} more bytes"

    def _path(self) -> Iterator[str]:
        path = self.now["path"]
        pmcw = codec.PMCW.parse(bytes.fromhex(self.now["schib"])[: codec.PMCW.size])
        if path:
            chpid = pmcw.chpid[8 - path.bit_length()]
            yield f"{descriptions.paths_in_words(path)}, chpid {chpid:02x}"
        else:
            yield "no path is in use"
        rows = descriptions.describe_pmcw(codec.PMCW.pack(pmcw))
        wanted = ("lpm", "lpum", "pim", "pam", "pom", "pnom", "chpid")
        yield from _table([row for row in rows if row.field in wanted])


def _label(name: str, text: str) -> str:
    return f"  {name:5} {text}"


def _table(rows: list[descriptions.Row]) -> Iterator[str]:
    """Rows as plain lines."""
    for line in columns([(row.field, row.value, row.meaning) for row in rows]):
        yield f"  {line}"
