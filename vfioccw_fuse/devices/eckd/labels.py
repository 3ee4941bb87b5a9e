"""What Linux's dasdfmt writes on a fresh volume: IPL records, volume label, VTOC.

The Linux disk layout (LDL) is uniform: every track has 12 records of 4096 bytes, and the first
three blocks hold the IPL records and the label LNX1. The compatible disk layout (CDL) looks like
an OS volume: keyed IPL records and label VOL1 on track 0, a VTOC of 140-byte records on track 1,
and blocks from track 2 on. Rules: Linux `dasd_eckd.c` (analysis, format), s390-tools' `dasdfmt`
and `libvtoc`; DSCB layouts: z/OS DFSMS *Advanced Services*.
"""

from __future__ import annotations

import datetime
import struct
from typing import Final, NamedTuple

from ...errors import UserError
from ...regions import constants as c
from . import codes
from .geometry import HEADS, TRACK_LENGTH, records_per_track
from .track import COUNT, COUNT_LENGTH, END_MARKER, R0_DATA_LENGTH, empty_track

EBCDIC: Final = "cp037"
BLOCK: Final = 4096
"""Bytes of a block; dasdfmt's default, and the page size of Linux."""
BLOCKS_PER_TRACK: Final = records_per_track(BLOCK)
VOLSER_LENGTH: Final = 6
DEFAULT_VOLSER: Final = "0X0000"
"""What dasdfmt names the volume on device 0000; 0X1234 on device 1234."""

VOL1: Final = "VOL1".encode(EBCDIC)
LNX1: Final = "LNX1".encode(EBCDIC)
CMS1: Final = "CMS1".encode(EBCDIC)
IPL1: Final = "IPL1".encode(EBCDIC)
IPL2: Final = "IPL2".encode(EBCDIC)

IPL1_LENGTH: Final = 24
IPL2_LENGTH: Final = 144
VOL1_LENGTH: Final = 80
DSCB_KEY: Final = 44
DSCB_DATA: Final = 96
VTOC_TRACK: Final = 1
FIRST_DATA_TRACK: Final = 2
"""The first track of a CDL volume that holds plain blocks."""
_SMALL_VOLUME = 0x10000  # tracks; the free space of a larger one is in a format-7 DSCB
_BLANK = 0x40
LDL_VERSION: Final = 0xF2
"""EBCDIC 2: the label of the Linux disk layout says how many blocks there are, in the 8 bytes
behind this one."""
LDL_VERSION_AT: Final = VOL1_LENGTH - 1
"""Where in the label it is."""
_NEVER = struct.pack(">BH", 99, 365)  # the day on which a partition expires
_IPL_ADDRESS = 0x3A98  # where record IPL2 is loaded


class Record(NamedTuple):
    """One record of a track to be written."""

    key: bytes
    data: bytes


def check_volser(text: str) -> str:
    """A volume serial as it is written, in upper case; UserError if it is none."""
    volser = text.upper()
    if not 1 <= len(volser) <= VOLSER_LENGTH or not all(
        char.isascii() and (char.isalnum() or char in "@#$") for char in volser
    ):
        raise UserError(
            f"volume serial {text!r}: 1 to {VOLSER_LENGTH} of the characters A-Z 0-9 @ # $"
        )
    return volser


def _ipl1() -> bytes:
    """Record IPL1: a PSW that waits, disabled, with code 00000f; then a No-Operation."""
    psw = struct.pack(">II", 0x000A0000, 0x0000000F)
    return psw + struct.pack(">II", c.CCW_CMD_NOOP << 24, 1) + bytes(8)


def _ipl2() -> bytes:
    """Record IPL2: format-0 CCWs that read record 4 of track 0, and their arguments."""
    program = 4 * 8
    seek = _IPL_ADDRESS + program
    search = seek + 6
    ccws = struct.pack(
        ">IIIIIIII",
        *(codes.SEEK << 24 | seek, 0x40000006),
        *(codes.SEARCH_ID_EQUAL << 24 | search, 0x40000005),
        *(c.CCW_CMD_TIC << 24 | (_IPL_ADDRESS + 8), 0),
        *(codes.READ_DATA << 24, 0x20000000),
    )
    arguments = bytes(6) + struct.pack(">HHB", 0, 0, 4)
    return (ccws + arguments).ljust(IPL2_LENGTH, b"\0")


def _vol1(volser: str) -> bytes:
    """The data of the standard label: where the VTOC is, blanks elsewhere."""
    label = VOL1 + volser.ljust(VOLSER_LENGTH).encode(EBCDIC) + bytes([_BLANK])
    label += struct.pack(">HHB", 0, VTOC_TRACK, 1)
    return label.ljust(VOL1_LENGTH, bytes([_BLANK]))


def _lnx1(volser: str, blocks: int) -> bytes:
    """The Linux label: no VTOC, but the number of formatted blocks."""
    label = LNX1 + volser.ljust(VOLSER_LENGTH).encode(EBCDIC)
    label = label.ljust(LDL_VERSION_AT, bytes([_BLANK])) + bytes([LDL_VERSION])
    return label + struct.pack(">Q", blocks)


def _format4(cylinders: int, partition: bool) -> Record:
    """The DSCB that describes the VTOC itself: one extent, track 1; the device's constants.

    With a *partition* there is a format-1 DSCB, behind those of formats 4, 5 and 7.
    """
    large = cylinders * HEADS > _SMALL_VOLUME
    vtoc = struct.pack(">HH", 0, VTOC_TRACK)
    data = struct.pack(
        ">B5sH4sHBBBB",
        0xF4,
        vtoc + bytes([4 if large else 3]) if partition else bytes(5),  # the last format-1 DSCB
        BLOCKS_PER_TRACK - (3 if partition else 2),  # unused DSCBs
        bytes(4),
        0,
        0xA0 if large else 0,  # free space is in format 7
        1,
        0,
        0,
    )
    data += struct.pack(">HHHBBBBHBB", cylinders, HEADS, TRACK_LENGTH, 0, 0, 0, 0x30, 0,
                        BLOCKS_PER_TRACK, 0)  # fmt: skip
    data += bytes(8 + 3 + 8 + 5 + 5)
    data += b"\x01\x00" + vtoc + vtoc
    data += bytes(10)
    data += struct.pack(">B5s", 7 if large else 0, vtoc + b"\x03" if large else bytes(5))
    data += struct.pack(">BI2sBB", 0, cylinders, bytes(2), 0x40, 0)
    return Record(b"\x04" * DSCB_KEY, data)


def _format5(cylinders: int, partition: bool) -> Record:
    """The free space of a small volume: all from track 2 on, in cylinders and tracks, or none."""
    key = b"\x05" * 4
    tracks = cylinders * HEADS
    if tracks <= _SMALL_VOLUME and not partition:
        whole, rest = divmod(tracks - FIRST_DATA_TRACK, HEADS)
        key += struct.pack(">HHB", FIRST_DATA_TRACK, whole, rest)
    return Record(key.ljust(DSCB_KEY, b"\0"), b"\xf5".ljust(DSCB_DATA, b"\0"))


def _format7(cylinders: int, partition: bool) -> Record:
    """The free space of a large volume: first track, and the track behind the last; or none."""
    key = b"\x07" * 4
    if not partition:
        key += struct.pack(">II", FIRST_DATA_TRACK, cylinders * HEADS)
    return Record(key.ljust(DSCB_KEY, b"\0"), b"\xf7".ljust(DSCB_DATA, b"\0"))


def _format1(volser: str, cylinders: int, made: datetime.date) -> Record:
    """The data set that is the first partition of Linux: all from track 2 on (`libvtoc`)."""
    day = struct.pack(">BH", made.year - 1900, made.timetuple().tm_yday)
    data = b"\xf1" + volser.ljust(VOLSER_LENGTH).encode(EBCDIC)
    data += struct.pack(">H3s3sBBB", 1, day, _NEVER, 1, 0, 0)
    data += "IBM LINUX".ljust(13).encode(EBCDIC) + day
    data += bytes(6)  # no SMS, no organization that others know
    data += struct.pack(">BBHHBHBB", 0x88, 0, BLOCK, BLOCK, 0, 0, 0x80, 0x80)
    data += bytes(10)  # no secondary extent, no last block, no balance
    last = cylinders * HEADS - 1
    data += struct.pack(">BBHHHH", 1, 0, *divmod(FIRST_DATA_TRACK, HEADS), *divmod(last, HEADS))
    name = f"LINUX.V{volser}.PART0001.NATIVE"
    return Record(name.ljust(DSCB_KEY).encode(EBCDIC), data.ljust(DSCB_DATA, b"\0"))


_ZERO_BLOCK = Record(b"", bytes(BLOCK))


def ldl_tracks(volser: str, cylinders: int) -> dict[int, list[Record]]:
    """The records after R0 of the tracks of an LDL volume that are not plain blocks."""
    blocks = cylinders * HEADS * BLOCKS_PER_TRACK
    first = [_ipl1(), _ipl2(), _lnx1(volser, blocks)]
    records = [Record(b"", data.ljust(BLOCK, b"\0")) for data in first]
    return {0: records + [_ZERO_BLOCK] * (BLOCKS_PER_TRACK - len(records))}


def cdl_tracks(
    volser: str, cylinders: int, partition: datetime.date | None = None
) -> dict[int, list[Record]]:
    """The records after R0 of the tracks of a CDL volume that are not plain blocks.

    *partition*: all the rest is one partition, which was made on that day, as by `fdasd -a`.
    """
    full = partition is not None
    first = [Record(IPL1, _ipl1()), Record(IPL2, _ipl2()), Record(VOL1, _vol1(volser))]
    vtoc = [_format4(cylinders, full), _format5(cylinders, full)]
    if cylinders * HEADS > _SMALL_VOLUME:
        vtoc.append(_format7(cylinders, full))
    if partition is not None:
        vtoc.append(_format1(volser, cylinders, partition))
    free = Record(bytes(DSCB_KEY), bytes(DSCB_DATA))
    return {
        0: first + [_ZERO_BLOCK] * (BLOCKS_PER_TRACK - len(first)),
        VTOC_TRACK: vtoc + [free] * (BLOCKS_PER_TRACK - len(vtoc)),
    }


def plain_track(cylinder: int, head: int) -> bytes:
    """The used part of a track of 12 zero blocks."""
    return pack_track(cylinder, head, [_ZERO_BLOCK] * BLOCKS_PER_TRACK)


def pack_track(cylinder: int, head: int, records: list[Record]) -> bytes:
    """The used part of a track: home address, standard R0, *records* as R1, R2, ..., end marker."""
    parts = [empty_track(cylinder, head)[: -len(END_MARKER)]]
    for number, (key, data) in enumerate(records, 1):
        parts += [COUNT.pack(cylinder, head, number, len(key), len(data)), key, data]
    return b"".join([*parts, END_MARKER])


def count_offsets() -> list[int]:
    """Offsets of the count fields, R0's included, on a track of plain blocks."""
    first = len(empty_track(0, 0)) - len(END_MARKER)
    r0 = first - COUNT_LENGTH - R0_DATA_LENGTH
    return [r0, *(first + block * (COUNT_LENGTH + BLOCK) for block in range(BLOCKS_PER_TRACK))]
