"""The regions' contents: what a read gives and what a write sets off, byte for byte.

Every region cuts nothing and checks nothing that the table knows: offset and size are inside the
region when these are called (`access` sees to that). A failing write raises OSError with the errno
of the contract, and `ret_code` holds it negated.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from typing import Final, Protocol

from ..memory.space import AddressSpace, Range
from ..regions import codec
from ..regions import constants as c
from ..regions.layouts import Orb
from ..regions.layouts import ProgramRegionHeader as ProgramHeader
from ..regions.layouts import StatusRegion as StatusLayout
from ..regions.table import Interface
from ..regions.table import Region as Row
from .device import CcwDevice

ORB_END: Final = c.ORB_SIZE
SCSW_END: Final = ORB_END + c.SCSW_SIZE
IRB_END: Final = SCSW_END + c.IRB_SIZE
FCTL_AT: Final = {"big": ORB_END + 2, "host": ORB_END + (3 if sys.byteorder == "little" else 2)}
"""Where the byte of the SCSW with fctl lies in the io region, by the client's byte order."""
PARSE_ORB: Final = {"big": codec.ORB.struct.unpack_from, "host": codec.ORB_HOST.struct.unpack_from}
"""Takes the ORB from the front of the io region, by the client's byte order."""
_SUCCESS: Final = bytes(4)


class Region(Protocol):
    """One region's contents."""

    def read(self, offset: int, size: int) -> bytes:
        """The *size* bytes from *offset*."""
        ...

    def write(self, offset: int, data: bytes) -> None:
        """Let *data* land at *offset* and do what it asks for; OSError says what failed."""
        ...


def _ret_code(result: int) -> bytes:
    return _SUCCESS if not result else (-result & 0xFFFFFFFF).to_bytes(4, sys.byteorder)


class IoRegion:
    """124 bytes: a command region while written, a status region at interrupts ("way 1")."""

    __slots__ = ("_device", "_failed", "_lands_only", "data")

    def __init__(self, device: CcwDevice) -> None:
        self.data = bytearray(c.IO_REGION_SIZE)
        """ORB, SCSW, IRB, ret_code."""
        self._device = device
        # Whether ret_code says that the last request failed.
        self._failed = False
        self._lands_only = device.interface is Interface.FULL
        device.show_irb = self._show

    def _show(self, irb: bytes) -> None:
        self.data[SCSW_END:IRB_END] = irb

    def read(self, offset: int, size: int) -> bytes:
        """Reading byte 24, the first of the IRB, takes the shown IRB."""
        data = bytes(self.data[offset : offset + size])
        if offset <= SCSW_END < offset + size:
            self._device.irb_read()
        return data

    def orb(self) -> Orb:
        """The ORB that is in the region, in the client's byte order."""
        return tuple.__new__(Orb, PARSE_ORB[self._device.order](self.data))

    def write(self, offset: int, data: bytes) -> None:
        """ORB and SCSW land; then the function that fctl asks for is done."""
        area = self.data
        end = offset + len(data)
        if offset < SCSW_END:
            last = end if end < SCSW_END else SCSW_END
            area[offset:last] = data[: last - offset]
        if end <= ORB_END and self._lands_only:
            return
        device = self._device
        fctl = area[FCTL_AT[device.order]] << 8 & c.SCSW_CTRL_MASK_FCTL
        result = device.io_request(self.orb(), fctl)
        if result:
            area[IRB_END:] = _ret_code(result)
            self._failed = True
            raise OSError(result, "io_region request refused")
        if self._failed:
            area[IRB_END:] = _SUCCESS
            self._failed = False


class CmdRegion:
    """8 bytes: command, ret_code, both in host order."""

    __slots__ = ("_data", "_device", "_io")

    def __init__(self, device: CcwDevice, io: IoRegion) -> None:
        self._data = bytearray(c.CMD_REGION_SIZE)
        self._device = device
        self._io = io

    def read(self, offset: int, size: int) -> bytes:
        """The last command and its ret_code."""
        return bytes(self._data[offset : offset + size])

    def write(self, offset: int, data: bytes) -> None:
        """A write that covers bytes 0 to 3 is a command; another only changes bytes."""
        self._data[offset : offset + len(data)] = data
        if offset or len(data) < 4:
            return
        command = int.from_bytes(self._data[:4], sys.byteorder)
        result = self._device.command(command, self._io.orb())
        self._data[4:] = _ret_code(result)
        if result:
            raise OSError(result, "cmd_region command refused")


class SchibRegion:
    """52 bytes: a read is a STSCH, on `full` a write of all of them an MSCH."""

    __slots__ = ("_device",)

    def __init__(self, device: CcwDevice) -> None:
        self._device = device

    def read(self, offset: int, size: int) -> bytes:
        """STSCH. For a client of order "host" the SCSW's flags halfword is in host order."""
        schib = self._device.sch.stsch()
        if self._device.order != "big" and sys.byteorder == "little":
            schib = schib[:28] + schib[29:27:-1] + schib[30:]
        return schib[offset : offset + size]

    def write(self, offset: int, data: bytes) -> None:
        """MSCH; EINVAL unless it is exactly the whole SCHIB."""
        result = errno.EINVAL
        if offset == 0 and len(data) == c.SCHIB_SIZE:
            result = self._device.modify(data)
        if result:
            raise OSError(result, "MSCH refused")


class CrwRegion:
    """8 bytes: a read takes one channel report."""

    __slots__ = ("_data", "_device")

    def __init__(self, device: CcwDevice) -> None:
        self._device = device
        self._data = bytes(c.CRW_REGION_SIZE)

    def read(self, offset: int, size: int) -> bytes:
        """Flags and rsid, two host-order halfwords; zeros when there is none. Byte 0 takes it."""
        if offset == 0 and size:
            flags, rsid = self._device.take_report()
            self._data = codec.CRW_REGION.struct.pack(flags, rsid, 0)
        return self._data[offset : offset + size]

    def write(self, offset: int, data: bytes) -> None:
        """Not writable: the table refuses it before."""
        raise OSError(errno.EINVAL, "crw_region is read-only")


class StatusRegion:
    """128 bytes: what became of the last command, and the subchannel as it is now, in one piece."""

    __slots__ = ("_device", "_seen", "_sequence")

    def __init__(self, device: CcwDevice) -> None:
        self._device = device
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
        device = self._device
        sch = device.sch
        counters = sch.counters
        return codec.STATUS_REGION.pack(
            StatusLayout(
                fsm_state=device.state,
                cc=device.last_cc,
                command=device.last_command,
                sequence=sequence,
                ret_code=-device.last_errno & 0xFFFFFFFF,
                deferred_cc=sch.flags >> 8 & 3,
                scsw_area=sch.scsw(),
                pmcw_area=sch.pmcw(),
                pending=len(sch.backlog) + sch.status_pending,
                starts=counters.starts,
                halts=counters.halts,
                clears=counters.clears,
                interruptions=counters.interruptions,
                ebusy_status_pending=device.counters.ebusy_status_pending,
                ebusy_busy=device.counters.ebusy_busy,
            )
        )

    def write(self, offset: int, data: bytes) -> None:
        """Not writable: the table refuses it before."""
        raise OSError(errno.EINVAL, "status_region is read-only")


class ProgramRegion:
    """1008 bytes: a header and two halves, each a channel program with its small data.

    Addresses in a half are offsets from its beginning. The half that runs is locked (EBUSY); the
    other may be written meanwhile. The bytes lie in a file of no name, so that the channel treats
    them as it treats storage.
    """

    __slots__ = ("_device", "_fd", "_removed")

    def __init__(self, device: CcwDevice) -> None:
        self._device = device
        self._fd = -1
        self._removed = False
        device.half_space = self._space
        device.on_removal = self._close

    def _close(self) -> None:
        self._removed = True
        if self._fd >= 0:
            os.close(self._fd)

    def _file(self) -> int:
        if self._removed:
            raise OSError(errno.EIO, "the subchannel is removed")
        if self._fd < 0:
            self._fd = os.memfd_create("vfioccw-program", os.MFD_CLOEXEC)
            os.truncate(self._fd, c.PROGRAM_REGION_SIZE)
        return self._fd

    def _space(self, half: int) -> AddressSpace:
        """What the program of *half* may address: the half, from address 0."""
        return AddressSpace([Range(0, c.PROGRAM_HALF_SIZE, self._file(), _HALF_AT[half], None)])

    def read(self, offset: int, size: int) -> bytes:
        """The header, made anew, and the halves."""
        running = self._device.running_half
        if not self._device.half_is_locked(running):
            running = c.PROGRAM_HALF_NONE
        header = codec.PROGRAM_REGION_HEADER.pack(ProgramHeader(running=running))
        data = header + os.pread(self._file(), c.PROGRAM_REGION_SIZE, len(header))
        return data[offset : offset + size]

    def write(self, offset: int, data: bytes) -> None:
        """EINVAL for the header; EBUSY, and nothing written, for a half that runs."""
        if offset < c.PROGRAM_HALF_A_OFFSET:
            raise OSError(errno.EINVAL, "the header of program_region is read-only")
        for half, start in _HALF_AT.items():
            touched = offset < start + c.PROGRAM_HALF_SIZE and start < offset + len(data)
            if touched and self._device.half_is_locked(half):
                raise OSError(errno.EBUSY, "this half of program_region runs")
        os.pwrite(self._file(), data, offset)


_HALF_AT: Final = {
    c.PROGRAM_HALF_A: c.PROGRAM_HALF_A_OFFSET,
    c.PROGRAM_HALF_B: c.PROGRAM_HALF_B_OFFSET,
}


class MeasurementRegion:
    """128 bytes: the counts of the channel-measurement block."""

    __slots__ = ("_device",)

    def __init__(self, device: CcwDevice) -> None:
        self._device = device

    def read(self, offset: int, size: int) -> bytes:
        """The counts as they are."""
        counts = self._device.sch.measurement
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

_KINDS: Final[dict[str, Callable[[CcwDevice], Region]]] = {
    "schib_region": SchibRegion,
    "crw_region": CrwRegion,
    "status_region": StatusRegion,
    "program_region": ProgramRegion,
    "measurement_region": MeasurementRegion,
}
"""Contents by region name, but for the two that belong together."""


class Regions:
    """All regions of one device, by index."""

    __slots__ = ("_rows", "by_index")

    def __init__(self, device: CcwDevice) -> None:
        io = IoRegion(device)
        self._rows = device.regions
        self.by_index: tuple[Region, ...] = tuple(
            io
            if row.name == "io_region"
            else CmdRegion(device, io)
            if row.name == "cmd_region"
            else _KINDS[row.name](device)
            for row in device.regions
        )
        """The contents in the order of the region table."""

    def find(self, position: int) -> tuple[Row, Region, int]:
        """Region and offset in it for a *position* in `device`; EINVAL if there is none."""
        index = position >> c.REGION_OFFSET_SHIFT
        if index >= len(self._rows):
            raise OSError(errno.EINVAL, "no region has this index")
        return self._rows[index], self.by_index[index], position & (1 << c.REGION_OFFSET_SHIFT) - 1


def check_write(row: Row, offset: int, size: int) -> None:
    """EINVAL for a write that passes the region's end or goes to a read-only region."""
    if not row.writable or offset + size > row.size:
        raise OSError(errno.EINVAL, f"write to {row.name} refused")
