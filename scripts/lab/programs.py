"""Channel programs and requests as bytes, by struct alone, in the words of the manuals.

Independent of the layouts in `regions`, which it helps to judge. Whatever lies in guest storage is
big endian; an ORB and a SCSW are so in a request unless the client keeps them in host order.

Sources: SA22-7832, "Basic I/O Functions" (ORB, CCW, SCSW, IRB); linux/vfio_ccw.h (regions);
Linux drivers/s390/block/dasd_fba.c (FBA commands).
"""

import struct
from typing import NamedTuple

Ccw = tuple[int, int, int, int]
"""Command code, flags, count, data address."""

CD, CC, SLI, SKIP, PCI, IDA, SUSPEND, MIDA = (0x80 >> bit for bit in range(8))
"""Flags of a CCW."""
NOP, SENSE, TIC, SENSE_ID, RDC = 0x03, 0x04, 0x08, 0xE4, 0x64
"""Command codes that most devices have."""
WRITE, READ, LOCATE, DEFINE_EXTENT = 0x41, 0x42, 0x43, 0x63
"""Command codes of an FBA disk."""
READING, WRITING = 0x06, 0x01
"""Operations that Locate names."""
FBA_ID = bytes.fromhex("ff631001933600")
"""What Sense ID reads from an FBA 9336."""

FORMAT1, PREFETCH, IDAW64, SPND = 0x0080, 0x0040, 0x0002, 0x0800
"""Control bits of an ORB, its halfword at byte 4: CCW format, prefetch, IDAW format, suspend."""
START, HALT, CLEAR = 0x4000, 0x2000, 0x1000
"""Function-control bits, in the ctrl halfword of a SCSW."""
BITS = {"hsch": 1, "csch": 2, "xsch": 4, "rsch": 8, "ssch": 16, "ssch_a": 32, "ssch_b": 64}
"""Commands of the cmd region."""

ATTENTION, SM, CE, DE, UC, UE = 0x80, 0x40, 0x08, 0x04, 0x02, 0x01
"""Device status."""
ENDED = CE | DE
INCORRECT_LENGTH, PROGRAM_CHECK, PROTECTION_CHECK, DATA_CHECK = 0x40, 0x20, 0x10, 0x08
"""Subchannel status."""
FCTL, ACTL, STCTL = 0x7000, 0x0FE0, 0x001F
"""The fields of a SCSW's ctrl halfword."""
SUSPENDED = 0x0020
"""An activity-control bit."""
ALERT, INTERMEDIATE, PRIMARY, SECONDARY, PENDING = 0x10, 0x08, 0x04, 0x02, 0x01
"""Status-control bits."""

IO_REGION = 124
"""Bytes of the io region."""
IRB_AT = 24
"""Where its IRB begins."""
REQUEST = 24
"""Bytes of an ORB and a SCSW, which are in front of it."""


class Irb(NamedTuple):
    """An IRB: the SCSW, the path that was last used, and what belongs to a unit check."""

    flags: int
    ctrl: int
    cpa: int
    dstat: int
    cstat: int
    count: int  # type: ignore[assignment]  # hides tuple.count
    lpum: int
    erw: int
    ecw: bytes

    @classmethod
    def of(cls, data: bytes) -> "Irb":
        """From the 96 bytes of an IRB."""
        assert len(data) == 96
        return cls(*struct.unpack_from(">HHIBBHxBxxI12x32s", data))


def ccw(code: int, flags: int, count: int, address: int, *, format1: bool = True) -> bytes:
    """The 8 bytes of a CCW."""
    if format1:
        return struct.pack(">BBHI", code, flags, count, address)
    return struct.pack(">BBHBxH", code, address >> 16, address & 0xFFFF, flags, count)


def ccws(*program: Ccw, format1: bool = True) -> bytes:
    """A channel program."""
    return b"".join(ccw(*one, format1=format1) for one in program)


def orb(
    cpa: int,
    ctrl0: int = FORMAT1,
    *,
    lpm: int = 0xFF,
    ctrl1: int = 0,
    intparm: int = 0xABCD,
    order: str = ">",
) -> bytes:
    """The first 12 bytes of an ORB, all that vfio-ccw takes; *order* `=` is the host's."""
    return struct.pack(f"{order}IHBBI", intparm, ctrl0, lpm, ctrl1, cpa)


def request(fctl: int, orb: bytes = bytes(12), size: int = REQUEST, order: str = ">") -> bytes:
    """What a client writes into the io region: *orb*, a SCSW with *fctl*, zeros up to *size*."""
    return (orb + struct.pack(f"{order}HH", 0, fctl)).ljust(size, b"\0")


def command(bits: int, size: int = 4) -> bytes:
    """What a client writes into the cmd region, with its ret_code if *size* is 8."""
    return struct.pack("=II", bits, 0)[:size]


def extent(blocks: int, first: int = 0, mask: int = 0xC0) -> bytes:
    """Parameters of Define Extent: *blocks* from *first* of the volume on; by default all works."""
    return struct.pack(">B3xIII", mask, first, 0, blocks - 1)


def locate(operation: int, count: int, block: int = 0) -> bytes:
    """Parameters of Locate: *count* blocks from *block* of the extent on."""
    return struct.pack(">BBHI", operation, 0, count, block)


def located(parameters: int) -> tuple[Ccw, Ccw]:
    """Define Extent and Locate, chained to what follows; `extent` and `locate` lie there."""
    return (DEFINE_EXTENT, CC, 16, parameters), (LOCATE, CC, 8, parameters + 16)


def track_extent(track: tuple[int, int], size: int, *, write: bool) -> bytes:
    """Parameters of a 3390's Define Extent: the one *track* (cylinder, head), blocks of *size*."""
    return struct.pack(">BBHHHHHHH", 0x80 if write else 0x40, 0xC0, size, 0, 0, *track, *track)


def track_locate(
    track: tuple[int, int], record: int, count: int, size: int, *, write: bool
) -> bytes:
    """Parameters of its Locate Record: *count* records of *size* bytes from *record* on."""
    operation = 0x01 if write else 0x06
    return struct.pack(
        ">BBBBHHHHBBH", operation, 0x80, 0, count, *track, *track, record, 0xFF, size
    )
