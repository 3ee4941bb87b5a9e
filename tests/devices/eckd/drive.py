"""A 3390 behind a machine, and what a test of it says: commands, endings, volumes."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path

from lab.programs import CC, ENDED, FORMAT1, PREFETCH, SENSE, SLI, UC, ccw
from tests.machine import DATA, PROGRAM, SENSE_DATA, Machine
from vfioccw_fuse.devices.eckd.alias import Alias
from vfioccw_fuse.devices.eckd.control_unit import CONTROL_UNITS
from vfioccw_fuse.devices.eckd.device import Eckd3390
from vfioccw_fuse.devices.eckd.geometry import HEADS
from vfioccw_fuse.devices.eckd.image import CkdImage
from vfioccw_fuse.devices.eckd.track import COUNT, END_MARKER, HOME_ADDRESS, SLOT
from vfioccw_fuse.devices.eckd.volume import create

STORAGE = 4 << 20

Command = tuple[int, bytes | int] | tuple[int, bytes | int, int]
"""Command code; what is written, or how many bytes are read; CCW flags besides command chaining."""


@dataclass
class Ending:
    """How a channel program ended."""

    dstat: int
    cstat: int
    count: int
    """Residual count of the last CCW."""
    ccws: int
    """CCWs that were begun."""
    data: list[bytes] = field(default_factory=list)
    """What each CCW's area holds afterwards."""
    sense: bytes = b""
    """Sense data, after a unit check."""

    @property
    def ok(self) -> bool:
        """Normal ending, nothing special."""
        return self.dstat == ENDED and self.cstat == 0

    def failed(self, byte0: int, byte1: int, message: int | None = None) -> bool:
        """Unit check with these sense bytes (and byte 7)."""
        return (
            self.dstat & UC != 0
            and (self.sense[0], self.sense[1]) == (byte0, byte1)
            and (message is None or self.sense[7] == message)
            and self.sense[27] == 0x80
        )


class Drive:
    """A 3390 behind a machine; `run` makes a program of commands and gives its ending."""

    def __init__(self, device: Eckd3390 | Alias, directory: Path) -> None:
        self.device = device
        self.machine = Machine(device, directory, memory=STORAGE)
        self.space = self.machine.space

    def close(self) -> None:
        self.machine.close()

    def start(self, address: int, lpm: int = 0xFF, prefetch: bool = True) -> Ending:
        """Run the program at *address* to its end."""
        sch, executor = self.machine.sch, self.machine.executor
        ctrl0 = FORMAT1 | (PREFETCH if prefetch else 0)
        assert sch.ssch(self.machine.orb(ctrl0, address, lpm)) == 0
        executor.settle(turns=300)
        if not sch.scsw.status_pending:  # an endless loop: it has had its turns
            assert sch.csch() == 0
            executor.settle()
        irb = self.machine.take()
        return Ending(irb.dstat, irb.cstat, irb.count, (irb.cpa - address) // 8)

    def run(self, *commands: Command, lpm: int = 0xFF) -> Ending:
        """Run *commands* as one chain; after a unit check also read the sense data."""
        program = b""
        areas: list[tuple[int, int]] = []
        address = DATA
        for at, (code, data, *rest) in enumerate(commands):
            flags = rest[0] if rest else 0
            if isinstance(data, bytes):
                length = len(data)
                self.space.write(address, data)
            else:
                length = data
                self.space.write(address, b"\xee" * length)
            chain = CC if at < len(commands) - 1 else 0
            program += ccw(code, flags | chain, length, address)
            areas.append((address, length))
            address += (length + 7) // 8 * 8
        self.space.write(PROGRAM, program)
        ending = self.start(PROGRAM, lpm)
        ending.data = [self.space.read(*area) for area in areas]
        if ending.dstat & UC:
            self.space.write(PROGRAM, ccw(SENSE, SLI, 32, SENSE_DATA))
            assert self.start(PROGRAM).ok
            ending.sense = self.space.read(SENSE_DATA, 32)
        return ending

    def track(self, cylinder: int, head: int) -> bytes:
        """The slot of a track, from the file."""
        buffer = bytearray(SLOT)
        assert self.device.image.read_track(cylinder * HEADS + head, buffer)
        return bytes(buffer)


def extent(
    mask: int = 0x40,
    first: tuple[int, int] = (0, 0),
    last: tuple[int, int] = (2, 14),
    block: int = 0,
    attributes: int = 0xC0,
) -> Command:
    """Define Extent."""
    return (0x63, struct.pack(">BBHIHHHH", mask, attributes, block, 0, *first, *last))


def locate(
    operation: int,
    cylinder: int,
    head: int,
    record: int = 0,
    count: int = 1,
    length: int = 0,
    auxiliary: int | None = None,
    sector: int = 0xFF,
    code: int = 0x47,
) -> Command:
    """Locate Record; *length* is the transfer length factor."""
    aux = (0x80 if length else 0) if auxiliary is None else auxiliary
    data = struct.pack(
        ">BBBBHHHHBBH",
        *(operation, aux, 0, count, cylinder, head, cylinder, head, record, sector, length),
    )
    return (code, data)


def locate_extended(
    operation: int,
    cylinder: int,
    head: int,
    record: int = 0,
    count: int = 1,
    length: int = 0,
    extended: int = 0,
    parameter: bytes = b"",
) -> Command:
    """Locate Record Extended."""
    basic = locate(operation, cylinder, head, record, count, length)[1]
    assert isinstance(basic, bytes)
    return (0x4B, basic + struct.pack(">BBH", 0, extended, len(parameter)) + parameter)


def prefix(
    define: Command, located: Command | None = None, base: int = 0, validity: int = 0
) -> Command:
    """Prefix out of a Define Extent and a Locate Record Extended.

    *base*: logical subsystem and unit address of a base; *validity*: bits besides Define Extent.
    """
    subsystem, unit = divmod(base, 256)
    data = struct.pack(">BBBBB7x", 1 if located else 0, 0x80 | validity, unit, 0, subsystem)
    assert isinstance(define[1], bytes)
    data += define[1].ljust(32, b"\0")
    if located:
        assert isinstance(located[1], bytes)
        data += located[1]
    return (0xE7, data.ljust(64, b"\0"))


def seek(cylinder: int, head: int, code: int = 0x07) -> Command:
    """Seek."""
    return (code, struct.pack(">HHH", 0, cylinder, head))


def search(cylinder: int, head: int, record: int, code: int = 0x31) -> Command:
    """Search ID."""
    return (code, struct.pack(">HHB", cylinder, head, record))


def pattern(seed: int, length: int) -> bytes:
    """Bytes that differ from record to record."""
    return bytes((seed * 37 + 11 * at) & 0xFF for at in range(length))


Records = list[tuple[bytes, bytes]]


def make_track(cylinder: int, head: int, records: Records, first: int = 1) -> bytes:
    """A track with R0 and *records* (key, data), numbered from *first*."""
    parts = [HOME_ADDRESS.pack(0, cylinder, head)]
    parts.append(COUNT.pack(cylinder, head, 0, 0, 8) + bytes(8))
    for number, (key, data) in enumerate(records, first):
        parts.append(COUNT.pack(cylinder, head, number, len(key), len(data)) + key + data)
    return b"".join([*parts, END_MARKER])


def standard_records(track: int) -> Records:
    """What most tracks of the test volume hold."""
    if track == 16:  # keyed
        return [(pattern(100 + at, 8), pattern(at, 128)) for at in range(6)]
    if track == 31:  # an end-of-file record
        return [(b"", pattern(7, 256)), (b"", b""), (b"", pattern(9, 256))]
    if track in (32, 44):
        return []
    return [(b"", pattern(track * 8 + at, 512)) for at in range(4)]


def make_volume(path: Path, cylinders: int = 3) -> Path:
    """A volume of records of 512 bytes, four a track, with some special tracks."""
    create(path, cylinders, format="none", serial="ABC123456789")
    image = CkdImage.open(path)
    for track in range(image.tracks):
        image.write(track, 0, make_track(*divmod(track, HEADS), standard_records(track)))
    image.close()
    return path


def attach(path: Path, directory: Path, *, cu: str = "3990-6", readonly: bool = False) -> Drive:
    """The volume in *path* behind a subchannel."""
    return Drive(Eckd3390(CkdImage.open(path, readonly), CONTROL_UNITS[cu]), directory)
