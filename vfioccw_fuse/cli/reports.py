"""What an instruction came to, said to people as it happens, or to programs as one JSON object.

The commands that execute I/O instructions tell a `Report` what they learn, and nothing else.
"""

import contextlib
from collections.abc import Iterator
from typing import Any, Protocol

import click

from ..regions import codec, descriptions
from ..regions.descriptions import DeviceWords, Row
from ..regions.layouts import Irb, Scsw
from .asjson import show_json
from .commandcodes import device_words
from .output import show_rows
from .subchannels import read_state
from .text import dump


class Report(Protocol):
    """Learns what an instruction came to."""

    device: DeviceWords
    """What commands and sense bits of the device are called."""

    def cc(self, instruction: str, cc: int, meaning: str) -> None:
        """*instruction* got the condition code *cc*, which means that."""

    def status(self, scsw: Scsw, remedy: str = "") -> None:
        """Why it was not 0: how the subchannel is, and what helps."""

    def interruption(self, irb: Irb, seconds: float | None = None) -> None:
        """An interruption was taken, so many seconds after the instruction."""

    def taken(self) -> None:
        """Another client took the interruption."""

    def received(self, number: int, address: int, data: bytes) -> None:
        """The CCW *number*, from 1, read *data* to *address*."""

    def sense(self, data: bytes) -> None:
        """The sense data of a unit check, by a Basic Sense that followed."""

    def pmcw(self, data: bytes) -> None:
        """The path-management-control word is that now."""

    def commands(self, found: list[tuple[int, list[str]]]) -> None:
        """The device has these commands: code and names."""


class ForPeople:
    """Says everything at once."""

    def __init__(self, device: DeviceWords) -> None:
        self.device = device
        """See `Report`."""

    def cc(self, instruction: str, cc: int, meaning: str) -> None:
        """See `Report`."""
        click.echo(f"{instruction}: cc {cc}, {meaning}")

    def status(self, scsw: Scsw, remedy: str = "") -> None:
        """See `Report`."""
        more = f" ({remedy})" if remedy else ""
        click.echo(f"the subchannel says: {descriptions.line_scsw(scsw)}{more}")

    def interruption(self, irb: Irb, seconds: float | None = None) -> None:
        """See `Report`: in one line, then the fields that say something."""
        after = "" if seconds is None else f" after {seconds * 1e3:.1f} ms"
        click.echo(f"interruption{after}: {descriptions.line_irb(irb, self.device)}")
        show_rows(descriptions.describe_irb(codec.IRB.pack(irb), self.device), all_rows=False)

    def taken(self) -> None:
        """See `Report`."""
        click.echo("another client took the interruption")

    def received(self, number: int, address: int, data: bytes) -> None:
        """See `Report`."""
        click.echo(f"CCW {number} read {len(data)} bytes at {address:#x}:")
        for line in dump(data):
            click.echo(line)

    def sense(self, data: bytes) -> None:
        """See `Report`."""
        line = descriptions.line_sense(data, self.device)
        click.echo(f"sense, by a Basic Sense that followed: {line}")
        if data:
            show_rows(descriptions.describe_sense(data, self.device))

    def pmcw(self, data: bytes) -> None:
        """See `Report`."""
        show_rows(descriptions.describe_pmcw(data))

    def commands(self, found: list[tuple[int, list[str]]]) -> None:
        """See `Report`."""
        for code, names in found:
            click.echo(f"{code:02x}  {' or '.join(names)}")


class ForPrograms:
    """Keeps everything for one object."""

    def __init__(self, device: DeviceWords) -> None:
        self.device = device
        """See `Report`."""
        self.found: dict[str, Any] = {}
        """The object."""

    def cc(self, instruction: str, cc: int, meaning: str) -> None:
        """See `Report`."""
        self.found |= {"instruction": instruction, "cc": cc, "meaning": meaning}

    def status(self, scsw: Scsw, remedy: str = "") -> None:
        """See `Report`."""
        words = descriptions.line_scsw(scsw)
        self.found["status"] = {"scsw": codec.SCSW.pack(scsw).hex(), "words": words}

    def interruption(self, irb: Irb, seconds: float | None = None) -> None:
        """See `Report`."""
        data = codec.IRB.pack(irb)
        self.found.setdefault("interruptions", []).append(
            {
                "seconds": seconds,
                "irb": data.hex(),
                "words": descriptions.line_irb(irb, self.device),
                "fields": fields(descriptions.describe_irb(data, self.device)),
            }
        )

    def taken(self) -> None:
        """See `Report`."""
        self.found["taken_by_another"] = True

    def received(self, number: int, address: int, data: bytes) -> None:
        """See `Report`."""
        self.found.setdefault("received", []).append(
            {"ccw": number, "address": address, "data": data.hex()}
        )

    def sense(self, data: bytes) -> None:
        """See `Report`."""
        rows = descriptions.describe_sense(data, self.device) if data else []
        words = descriptions.line_sense(data, self.device)
        self.found["sense"] = {"data": data.hex(), "words": words, "fields": fields(rows)}

    def pmcw(self, data: bytes) -> None:
        """See `Report`."""
        rows = descriptions.describe_pmcw(data)
        self.found["pmcw"] = {"data": data.hex(), "fields": fields(rows)}

    def commands(self, found: list[tuple[int, list[str]]]) -> None:
        """See `Report`."""
        self.found["commands"] = [{"code": code, "names": names} for code, names in found]


def fields(rows: list[Row]) -> list[dict[str, str]]:
    """Rows of a decoded structure as objects."""
    return [row._asdict() for row in rows]


@contextlib.contextmanager
def reporting(path: str, *, as_json: bool) -> Iterator[Report]:
    """Give who is told what comes of an instruction at the subchannel *path*.

    JSON is printed at the end, unless there is an error.
    """
    device = device_words(read_state(path).get("device", ""))
    if not as_json:
        yield ForPeople(device)
        return
    report = ForPrograms(device)
    yield report
    show_json(report.found)
