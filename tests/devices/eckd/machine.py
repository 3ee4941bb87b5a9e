"""A 3390 behind a real subchannel, with storage: what a test runs channel programs on."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from vfioccw_fuse.css.channel import ChannelProgram
from vfioccw_fuse.css.subchannel import Subchannel
from vfioccw_fuse.devices.eckd.control_unit import CONTROL_UNITS
from vfioccw_fuse.devices.eckd.device import Eckd3390
from vfioccw_fuse.devices.eckd.geometry import HEADS
from vfioccw_fuse.devices.eckd.image import CkdImage
from vfioccw_fuse.devices.eckd.track import COUNT, END_MARKER, HOME_ADDRESS, SLOT
from vfioccw_fuse.devices.eckd.volume import create
from vfioccw_fuse.memory.backing import BuiltInStorage
from vfioccw_fuse.memory.space import AddressSpace
from vfioccw_fuse.regions import codec
from vfioccw_fuse.regions import constants as c

CC, SLI, IDA = c.CCW_FLAG_CC, c.CCW_FLAG_SLI, c.CCW_FLAG_IDA
CE_DE, UC, UE, SM = 0x0C, 0x02, 0x01, 0x40
INCORRECT_LENGTH = c.SCSW_CSTAT_INCORR_LEN

PROGRAM = 0x2000
SENSE = 0x1000
DATA = 0x10000
STORAGE = 4 << 20

Command = tuple[int, bytes | int] | tuple[int, bytes | int, int]
"""Command code; what is written, or how many bytes are read; CCW flags besides command chaining."""


class Inline:
    """Runs programs when told to, without a loop."""

    def __init__(self) -> None:
        self._waiting: list[Callable[[], object]] = []

    def launch(self, program: ChannelProgram, delay: float) -> None:
        self._waiting.append(program.run)

    def soon(self, function: Callable[[], None]) -> None:
        self._waiting.append(function)

    def drain(self) -> None:
        while self._waiting:
            self._waiting.pop(0)()


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
        return self.dstat == CE_DE and self.cstat == 0

    def failed(self, byte0: int, byte1: int, message: int | None = None) -> bool:
        """Unit check with these sense bytes (and byte 7)."""
        return (
            self.dstat & UC != 0
            and (self.sense[0], self.sense[1]) == (byte0, byte1)
            and (message is None or self.sense[7] == message)
            and self.sense[27] == 0x80
        )


class Machine:
    """A subchannel with a 3390; `run` makes a program of commands and gives its ending."""

    def __init__(self, device: Eckd3390, directory: Path) -> None:
        self.device = device
        self.storage = BuiltInStorage(str(directory), STORAGE)
        self.space = AddressSpace([self.storage.range()])
        self._executor = Inline()
        self.subchannel = Subchannel("0.0.0313", device, self.space, self._executor)
        self.subchannel.enable()

    def close(self) -> None:
        self.device.close()
        self.storage.close()

    def start(self, address: int, lpm: int = 0xFF, prefetch: bool = True) -> Ending:
        """Run the program at *address* to its end."""
        ctrl0 = c.ORB_CTRL0_MASK_FMT | (c.ORB_CTRL0_MASK_PFCH if prefetch else 0)
        orb = codec.ORB.parse(struct.pack(">IHBBI", 1, ctrl0, lpm, 0, address))
        assert self.subchannel.ssch(orb) == 0
        self._executor.drain()
        if not self.subchannel.scsw.status_pending:  # an endless loop: it has had its turn
            assert self.subchannel.csch() == 0
            self._executor.drain()
        cc, irb = self.subchannel.tsch()
        assert cc == 0
        cpa, dstat, cstat, count = struct.unpack_from(">IBBH", irb, 4)
        return Ending(dstat, cstat, count, (cpa - address) // 8)

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
            program += struct.pack(">BBHI", code, flags | chain, length, address)
            areas.append((address, length))
            address += (length + 7) // 8 * 8
        self.space.write(PROGRAM, program)
        ending = self.start(PROGRAM, lpm)
        ending.data = [self.space.read(*area) for area in areas]
        if ending.dstat & UC:
            self.space.write(PROGRAM, struct.pack(">BBHI", 0x04, SLI, 32, SENSE))
            assert self.start(PROGRAM).ok
            ending.sense = self.space.read(SENSE, 32)
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


def prefix(define: Command, located: Command | None = None) -> Command:
    """Prefix out of a Define Extent and a Locate Record Extended."""
    data = struct.pack(">BBBB8x", 1 if located else 0, 0x80, 0, 0)
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


def attach(path: Path, directory: Path, *, cu: str = "3990-6", readonly: bool = False) -> Machine:
    """The volume in *path* behind a subchannel."""
    return Machine(Eckd3390(CkdImage.open(path, readonly), CONTROL_UNITS[cu]), directory)
