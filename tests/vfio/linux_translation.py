"""What Linux's vfio_ccw answers to a START, said a second time: slowly, a function for each rule.

Tests hold the driver to it, so it imports nothing of the product. The rules are those of Linux
6.12, drivers/s390/cio/vfio_ccw_cp.c and vfio_ccw_fsm.c, whose functions are named; the interface
`full` takes a part of them and only for programs that may be prefetched. Left out is what wraps at
4 GiB, and that vfio_pin_pages takes an address inside a page that is not mapped for mapped if the
next page is: what Linux pins then is not the client's.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Mapping
from typing import NamedTuple

from lab.programs import CC, CD, FORMAT1, IDA, IDAW64, NOP, PREFETCH, SKIP, SLI, TIC, Ccw

PAGE = 4096
CCWS = 256
"""CCWCHAIN_LEN_MAX: the most CCWs of a segment."""
SEGMENTS = 16
"""CCWCHAIN_COUNT_MAX: the most segments of a program."""
TRANSPORT, IDAW_2K = 0x0004, 0x0001
"""More control bits of an ORB, its halfword at byte 4."""
RESERVED = 0x3E
"""Bits of an ORB's byte 7 that must be zero (PoP 15): SSCH is an operand exception otherwise."""


class Refused(Exception):
    """The write gets the errno that this is made with."""

    def __init__(self, number: int) -> None:
        super().__init__(errno.errorcode[number])
        self.errno = number


class Storage:
    """What the client has mapped: by address, the bytes from there on. Ranges are whole pages."""

    def __init__(self, ranges: Mapping[int, bytes]) -> None:
        self.ranges = ranges

    def mapped(self, address: int) -> bool:
        """vfio_find_dma: whether there is a byte at *address*."""
        return any(start <= address < start + len(held) for start, held in self.ranges.items())

    def read(self, address: int, length: int) -> bytes:
        """vfio_dma_rw: all *length* bytes are mapped, in one range or in several, or EINVAL."""
        found = b""
        while len(found) < length:
            at = address + len(found)
            if not self.mapped(at):
                raise Refused(errno.EINVAL)
            start = max(start for start in self.ranges if start <= at)
            found += self.ranges[start][at - start : at - start + length - len(found)]
        return found


class Orb(NamedTuple):
    """An ORB's 12 bytes in the region."""

    intparm: int
    ctrl0: int
    lpm: int
    ctrl1: int
    cpa: int

    @classmethod
    def of(cls, data: bytes) -> Orb:
        return cls(*struct.unpack(">IHBBI", data))

    @property
    def word(self) -> int:
        """get_idaw_size: the bytes of an IDAW, 8 of format 2 (c64), 4 of format 1."""
        return 8 if self.ctrl0 & IDAW64 else 4

    @property
    def block(self) -> int:
        """idal_is_2k: the bytes of storage that an IDAW stands for."""
        return PAGE if self.ctrl0 & IDAW64 and not self.ctrl0 & IDAW_2K else 2048


class Segment(NamedTuple):
    """struct ccwchain: CCWs that follow each other in storage, and the address of the first."""

    address: int
    ccws: list[Ccw]


# --- one CCW --------------------------------------------------------------------------------------


def as_format1(data: bytes, format1: bool) -> Ccw:
    """convert_ccw0_to_ccw1: a format-0 TIC is any code x8, and loses its flags and its count."""
    if format1:
        code, flags, count, address = struct.unpack(">BBHI", data)
        return code, flags, count, address
    code, high, low, flags, count = struct.unpack(">BBHBxH", data)
    address = high << 16 | low
    return (TIC, 0, 0, address) if code & 0x0F == TIC else (code, flags, count, address)


def chains(ccw: Ccw) -> bool:
    """ccw_is_chain: a chaining flag counts in any CCW, also in a TIC of format 1."""
    return bool(ccw[1] & (CC | CD))


def moves_data(ccw: Ccw) -> bool:
    """ccw_does_data_transfer: not with count 0, not a NOP, not what is read or sensed and skipped.

    With the skip flag any other code moves data: the flag means nothing there.
    """
    code, flags, count, _ = ccw
    if count == 0 or code == NOP:
        return False
    read, backward, sense = code & 3 == 2, code & 0x0F == 0x0C, code & 0x0F == 4
    return not (flags & SKIP and (read or backward or sense))


def lies_in(address: int, head: int, ccws: int) -> bool:
    """is_cpa_within_range: from the first CCW's first byte to the last one's first, any byte."""
    return head <= address <= head + 8 * (ccws - 1)


# --- the program ----------------------------------------------------------------------------------


class Translation:
    """cp_init and cp_prefetch: `segments` are the copy, or the program is refused."""

    def __init__(self, orb: Orb, storage: Storage, *, whole: bool) -> None:
        """*whole*: a segment is read as 2,048 bytes; else no more than belongs to it is read."""
        self.orb = orb
        self.storage = storage
        self.whole = whole
        self.segments: list[Segment] = []
        self.add(orb.cpa)
        for segment in self.segments:
            for ccw in segment.ccws:
                self.fetch(ccw)

    def add(self, address: int) -> None:
        """ccwchain_handle_ccw and ccwchain_loop_tic: depth first, each new target of a TIC."""
        segment = self.read(address)
        if len(self.segments) == SEGMENTS:
            raise Refused(errno.EINVAL)
        self.segments.append(segment)
        for code, _, _, target in segment.ccws:
            if code == TIC and not self.exists(target):
                self.add(target)

    def read(self, address: int) -> Segment:
        """ccwchain_calc_length: up to a CCW that neither chains nor is a TIC back into the segment.

        Any address is a number: its alignment and its bit 0 are not looked at.
        """
        if self.whole:
            self.storage.read(address, 8 * CCWS)
        ccws: list[Ccw] = []
        while len(ccws) < CCWS:
            data = self.storage.read(address + 8 * len(ccws), 8)
            ccw = as_format1(data, bool(self.orb.ctrl0 & FORMAT1))
            ccws.append(ccw)
            leads_back = ccw[0] == TIC and lies_in(ccw[3], address, len(ccws))
            if not chains(ccw) and not leads_back:
                return Segment(address, ccws)
        raise Refused(errno.EINVAL)

    def exists(self, target: int) -> bool:
        """tic_target_chain_exists: it is in a segment that was found before, its own included."""
        return any(lies_in(target, s.address, len(s.ccws)) for s in self.segments)

    def fetch(self, ccw: Ccw) -> None:
        """ccwchain_fetch_one: all that *ccw* names is mapped; a TIC names a segment only."""
        if ccw[0] == TIC:
            return
        addresses = self.named(ccw)
        if moves_data(ccw) and not all(map(self.storage.mapped, addresses)):
            raise Refused(errno.EINVAL)

    def pinned(self) -> set[int]:
        """cp_iova_pinned: the pages of data that moves. Programs and lists are read, not pinned."""
        return {
            address // PAGE
            for segment in self.segments
            for ccw in segment.ccws
            if ccw[0] != TIC and moves_data(ccw)
            for address in self.named(ccw)
        }

    def named(self, ccw: Ccw) -> list[int]:
        """An address in each block that *ccw* names: by its list, or by what Linux makes of it."""
        return self.idaws(ccw) if ccw[1] & IDA else self.pages(ccw)

    def idaws(self, ccw: Ccw) -> list[int]:
        """ccw_count_idaws and get_guest_idal: the list is read whatever the command is and does.

        The first word says how many there are: an IDAW for each block that *count* bytes from
        there touch. Count 0 counts as 1. What the others are is not looked at.
        """
        _, _, count, address = ccw
        word, block = self.orb.word, self.orb.block
        first = int.from_bytes(self.storage.read(address, word))
        words = (first % block + (count or 1) + block - 1) // block
        data = self.storage.read(address, words * word)
        return [int.from_bytes(data[n : n + word]) for n in range(0, len(data), word)]

    def pages(self, ccw: Ccw) -> list[int]:
        """get_guest_idal, which makes a list: upwards from the address, also for Read Backward."""
        _, _, count, address = ccw
        last = address + (count or 1) - 1
        return [page * PAGE for page in range(address // PAGE, last // PAGE + 1)]


# --- the request ----------------------------------------------------------------------------------


def translated(interface: str, orb: Orb, storage: Storage) -> list[Segment] | None:
    """cp_init and cp_prefetch, as the interface has them; None if it leaves the program alone.

    Linux translates every program; `full` looks at those that may be prefetched and copies none.
    """
    if interface != "full":
        return Translation(orb, storage, whole=True).segments
    if orb.ctrl0 & PREFETCH:
        Translation(orb, storage, whole=False)
    return None


def start(interface: str, orb: Orb, storage: Storage, paths: int) -> list[Segment] | None:
    """fsm_io_request of a START when IDLE: what `translated` gives, or Refused.

    The order is transport mode, translation, SSCH: an operand exception before cc 3, which is
    EACCES while *paths*, the driver's path mask, has a path that the ORB does not name.
    """
    if orb.ctrl0 & TRANSPORT:
        raise Refused(errno.EOPNOTSUPP)
    segments = translated(interface, orb, storage)
    # cp_get_orb: the address that SSCH sees is the copy's, whatever the client's was.
    if orb.ctrl1 & RESERVED or (segments is None and orb.cpa >> 31):
        raise Refused(errno.EIO)
    if not (orb.lpm or paths) & paths:
        raise Refused(errno.EACCES)
    return segments


def answer(interface: str, orb: Orb, storage: Storage, paths: int) -> int:
    """0, or the errno of the write."""
    try:
        start(interface, orb, storage, paths)
    except Refused as refused:
        return refused.errno
    return 0


# --- what the channel makes of the copy -----------------------------------------------------------


def ending(segments: list[Segment]) -> tuple[int, bool] | None:
    """The IRB's CPA as cp_update_scsw gives it back, and whether the end is a program check.

    For what can be told without a device: NOPs that end as they should, and TICs. None for the
    rest, and for a program without end.
    """
    number, index = 0, 0
    transferred = True  # the ORB designates the first CCW, which must not be TIC
    seen: set[tuple[int, int, bool]] = set()
    while (number, index, transferred) not in seen:
        seen.add((number, index, transferred))
        segment = segments[number]
        code, flags, count, target = segment.ccws[index]
        cpa = segment.address + 8 * (index + 1)
        if code == TIC:
            if transferred or flags or count:
                return cpa, True
            number, offset = found(segments, target)
            if offset % 8:
                return cpa, True
            index = offset // 8
            transferred = True
        elif code == NOP and not flags & ~(CC | SLI) and (flags & SLI or not count):
            if not flags & CC:
                return cpa, False
            index += 1
            transferred = False
        else:
            return None
    return None


def found(segments: list[Segment], target: int) -> tuple[int, int]:
    """ccwchain_fetch_tic: the first segment that has *target*, and how many bytes inside it is."""
    for number, segment in enumerate(segments):
        if lies_in(target, segment.address, len(segment.ccws)):
            return number, target - segment.address
    raise AssertionError("a TIC whose target was not followed")
