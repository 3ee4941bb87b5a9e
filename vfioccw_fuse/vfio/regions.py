"""The regions' contents: what a read gives and what a write sets off, byte for byte.

Nothing is cut or checked here that the table knows: offset and size lie inside the region when
these are called (whoever carries requests sees to that, by `check_write`). A failing write raises
OSError with the errno of the contract, and `ret_code` holds it negated.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from typing import ClassVar, Final, Protocol

from ..regions import codec
from ..regions import constants as c
from ..regions.layouts import ProgramRegionHeader as ProgramHeader
from ..regions.layouts import StatusRegion as StatusLayout
from ..regions.table import Interface, RegionRow
from .areas import IRB_AT, RET_CODE_AT, SCSW_AT, ret_code
from .driver import Driver, Processing

_SCHIB_FLAGS: Final = codec.SCHIB.offset_of("scsw_flags")
_SWAPS: Final = sys.byteorder == "little"


class Region(Protocol):
    """One region's contents."""

    def read(self, offset: int, size: int) -> bytes:
        """The *size* bytes from *offset*."""
        ...

    def write(self, offset: int, data: bytes) -> None:
        """Let *data* land at *offset* and do what it asks for; OSError says what failed."""
        ...


class IoRegion:
    """124 bytes: a command region while written, a status region at interrupts ("way 1").

    As Linux's: every write is evaluated with all that is there then (vfio_ccw_ops.c), whatever it
    touched, and one into irb_area lands.
    """

    __slots__ = ("_area", "_driver", "_was_read")

    LANDS: ClassVar[int] = RET_CODE_AT
    """Where what lands ends, in bytes from the front."""
    EVALUATED: ClassVar[tuple[int, int]] = (0, c.IO_REGION_SIZE)
    """From where to where a write must touch the region to be evaluated."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._area = driver.io
        self._was_read = driver.status.read

    def read(self, offset: int, size: int) -> bytes:
        """Reading byte 24, the first of the IRB, takes the shown IRB."""
        data = bytes(self._area.data[offset : offset + size])
        if offset <= IRB_AT < offset + size:
            self._was_read()
        return data

    def write(self, offset: int, data: bytes) -> None:
        """The bytes land; then the function that fctl asks for is done."""
        area = self._area
        end = offset + len(data)
        lands = self.LANDS
        if offset < lands:
            last = end if end < lands else lands
            area.data[offset:last] = data[: last - offset]
        begin, behind = self.EVALUATED
        if end <= begin or offset >= behind:
            return
        try:
            driver = self._driver
            result = driver.at.io_req(driver, area.orb(), area.fctl(), c.PROGRAM_HALF_NONE)
        except Processing as held:
            held.then(self._answer)
            raise
        if result or area.failed:
            self._answer(result)

    def _answer(self, result: int) -> None:
        self._area.answer(result)
        if result:
            raise OSError(result, "io_region request refused")


class FullIoRegion(IoRegion):
    """That of `full`: the IRB area stays, an ORB alone only lands, for SSCH by the cmd_region."""

    __slots__ = ()

    LANDS = IRB_AT
    EVALUATED = (SCSW_AT, IRB_AT)


class CmdRegion:
    """8 bytes: command, ret_code, both in host order."""

    __slots__ = ("_data", "_driver")

    def __init__(self, driver: Driver) -> None:
        self._data = bytearray(c.CMD_REGION_SIZE)
        self._driver = driver

    def read(self, offset: int, size: int) -> bytes:
        """The last command and its ret_code."""
        return bytes(self._data[offset : offset + size])

    def write(self, offset: int, data: bytes) -> None:
        """The command's bytes land; then the command that is there is done."""
        if offset < _COMMAND_SIZE:
            last = min(offset + len(data), _COMMAND_SIZE)
            self._data[offset:last] = data[: last - offset]
        command = int.from_bytes(self._data[:_COMMAND_SIZE], sys.byteorder)
        try:
            result = self._driver.command(command, self._driver.io.orb())
        except Processing as held:
            held.then(self._answer)
            raise
        self._answer(result)

    def _answer(self, result: int) -> None:
        self._data[_COMMAND_SIZE:] = ret_code(result)
        if result:
            raise OSError(result, "cmd_region command refused")


_COMMAND_SIZE: Final = codec.CMD_REGION.offset_of("ret_code")


class SchibRegion:
    """52 bytes: a read is a STSCH, on `full` a write of all of them an MSCH."""

    __slots__ = ("_driver",)

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def read(self, offset: int, size: int) -> bytes:
        """STSCH. For a client of order "host" the SCSW's flags halfword is in host order."""
        schib = self._driver.sch.stsch()
        if _SWAPS and self._driver.io.order == "host":
            at = _SCHIB_FLAGS
            schib = schib[:at] + schib[at : at + 2][::-1] + schib[at + 2 :]
        return schib[offset : offset + size]

    def write(self, offset: int, data: bytes) -> None:
        """MSCH; EINVAL unless it is exactly the whole SCHIB."""
        result = errno.EINVAL
        if offset == 0 and len(data) == c.SCHIB_SIZE:
            result = self._driver.modify(data)
        if result:
            raise OSError(result, "MSCH refused")


class CrwRegion:
    """8 bytes: a read takes one channel report."""

    __slots__ = ("_data", "_reports")

    def __init__(self, driver: Driver) -> None:
        self._reports = driver.reports
        self._data = bytes(c.CRW_REGION_SIZE)

    def read(self, offset: int, size: int) -> bytes:
        """Flags and rsid, two host-order halfwords; zeros when there is none. Byte 0 takes it."""
        if offset == 0 and size:
            flags, rsid = self._reports.take()
            self._data = codec.CRW_REGION.struct.pack(flags, rsid, 0)
        return self._data[offset : offset + size]

    def write(self, offset: int, data: bytes) -> None:
        """Not writable: the table refuses it before."""
        raise OSError(errno.EINVAL, "crw_region is read-only")


class StatusRegion:
    """128 bytes: what became of the last command, and the subchannel as it is now, in one piece."""

    __slots__ = ("_driver", "_seen", "_sequence")

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._sequence = 0
        self._seen = b""

    def read(self, offset: int, size: int) -> bytes:
        """The status as it is; the sequence is even and has grown if anything changed."""
        data = self._status(self._sequence)
        if data != self._seen:
            if self._seen:
                self._sequence += 2
            data = self._seen = self._status(self._sequence)
        return data[offset : offset + size]

    def _status(self, sequence: int) -> bytes:
        driver = self._driver
        sch = driver.sch
        counters = sch.counters
        return codec.STATUS_REGION.pack(
            StatusLayout(
                fsm_state=driver.state,
                cc=driver.last_cc,
                command=driver.last_command,
                sequence=sequence,
                ret_code=-driver.last_errno & 0xFFFFFFFF,
                deferred_cc=(sch.scsw.flags & c.SCSW_FLAGS_MASK_CC) >> c.SCSW_CC_SHIFT,
                scsw_area=sch.scsw.pack(),
                pmcw_area=sch.pmcw.pack(),
                pending=len(sch.pending.queue) + sch.scsw.status_pending,
                starts=counters.starts,
                halts=counters.halts,
                clears=counters.clears,
                interruptions=sch.pending.taken,
                ebusy_status_pending=driver.counters.ebusy_status_pending,
                ebusy_busy=driver.counters.ebusy_busy,
            )
        )

    def write(self, offset: int, data: bytes) -> None:
        """Not writable: the table refuses it before."""
        raise OSError(errno.EINVAL, "status_region is read-only")


class ProgramRegion:
    """1008 bytes: a header and two halves, each a channel program with its small data.

    Addresses in a half are offsets from its beginning. The half that runs is locked (EBUSY); the
    other may be written meanwhile.
    """

    __slots__ = ("_halves",)

    def __init__(self, driver: Driver) -> None:
        self._halves = driver.halves

    def read(self, offset: int, size: int) -> bytes:
        """The header, made anew, and the halves."""
        halves = self._halves
        header = codec.PROGRAM_REGION_HEADER.pack(ProgramHeader(running=halves.running))
        data = header + os.pread(halves.fd, c.PROGRAM_REGION_SIZE, len(header))
        return data[offset : offset + size]

    def write(self, offset: int, data: bytes) -> None:
        """EINVAL for the header; EBUSY, and nothing written, for a half that runs."""
        halves = self._halves
        if offset < c.PROGRAM_HALF_A_OFFSET:
            raise OSError(errno.EINVAL, "the header of program_region is read-only")
        for half, start in halves.AT.items():
            touched = offset < start + c.PROGRAM_HALF_SIZE and start < offset + len(data)
            if touched and halves.running == half:
                raise OSError(errno.EBUSY, "this half of program_region runs")
        os.pwrite(halves.fd, data, offset)


class MeasurementRegion:
    """128 bytes: the counts of the channel-measurement block."""

    __slots__ = ("_counts",)

    def __init__(self, driver: Driver) -> None:
        self._counts = driver.sch.measurement

    def read(self, offset: int, size: int) -> bytes:
        """The counts as they are."""
        counts = self._counts
        nanoseconds = {name: getattr(counts, name) for name in _TIMES}
        units = {
            name.removesuffix("_ns") + "_time": value // c.MEASUREMENT_UNIT_NS & 0xFFFFFFFF
            for name, value in nanoseconds.items()
        }
        data = codec.MEASUREMENT_REGION.build(
            ssch_rsch_count=counts.ssch_rsch_count & 0xFFFFFFFF,
            sample_count=counts.sample_count & 0xFFFFFFFF,
            **units,
            **nanoseconds,
        )
        return data[offset : offset + size]

    def write(self, offset: int, data: bytes) -> None:
        """Not writable: the table refuses it before."""
        raise OSError(errno.EINVAL, "measurement_region is read-only")


_TIMES: Final = tuple(name for name in codec.MEASUREMENT_REGION.fields if name.endswith("_ns"))

_KINDS: Final[dict[str, Callable[[Driver], Region]]] = {
    "io_region": IoRegion,
    "cmd_region": CmdRegion,
    "schib_region": SchibRegion,
    "crw_region": CrwRegion,
    "status_region": StatusRegion,
    "program_region": ProgramRegion,
    "measurement_region": MeasurementRegion,
}
"""Contents by the name of the region."""


def region_of(row: RegionRow, driver: Driver, interface: Interface) -> Region:
    """The contents of the region that *row* of the table describes."""
    if interface is Interface.FULL and row.name == "io_region":
        return FullIoRegion(driver)
    return _KINDS[row.name](driver)


def check_write(row: RegionRow, offset: int, size: int) -> None:
    """EINVAL for a write that passes the region's end or goes to a read-only region."""
    if not row.writable or offset + size > row.size:
        raise OSError(errno.EINVAL, f"write to {row.name} refused")
