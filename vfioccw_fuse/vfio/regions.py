"""The regions' contents: what a read gives and what a write sets off, byte for byte.

Every region cuts nothing and checks nothing that the table knows: offset and size are inside the
region when these are called (`access` sees to that). A failing write raises OSError with the errno
of the contract, and `ret_code` holds it negated.
"""

from __future__ import annotations

import errno
import sys
from typing import Final, Protocol

from regions import codec
from regions import constants as c
from regions.layouts import Orb
from regions.table import Interface
from regions.table import Region as Row

from .device import CcwDevice

ORB_END: Final = c.ORB_SIZE
SCSW_END: Final = ORB_END + c.SCSW_SIZE
IRB_END: Final = SCSW_END + c.IRB_SIZE
FCTL_AT: Final = {"big": ORB_END + 2, "host": ORB_END + (3 if sys.byteorder == "little" else 2)}
"""Where the byte of the SCSW with fctl lies in the io region, by the client's byte order."""

_parse_big = codec.ORB.struct.unpack_from
_parse_host = codec.ORB_HOST.struct.unpack_from
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

    __slots__ = ("_device", "_lands_only", "data")

    def __init__(self, device: CcwDevice) -> None:
        self.data = bytearray(c.IO_REGION_SIZE)
        """ORB, SCSW, IRB, ret_code."""
        self._device = device
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
        parse = _parse_big if self._device.order == "big" else _parse_host
        return Orb._make(parse(self.data))

    def write(self, offset: int, data: bytes) -> None:
        """ORB and SCSW land; then the function that fctl asks for is done."""
        area = self.data
        end = offset + len(data)
        if offset < SCSW_END:
            last = min(end, SCSW_END)
            area[offset:last] = data[: last - offset]
        if end <= ORB_END and self._lands_only:
            return
        device = self._device
        fctl = area[FCTL_AT[device.order]] << 8 & c.SCSW_CTRL_MASK_FCTL
        result = device.io_request(self.orb(), fctl)
        area[IRB_END:] = _ret_code(result)
        if result:
            raise OSError(result, "io_region request refused")


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


class Regions:
    """All regions of one device, by index."""

    __slots__ = ("_rows", "by_index")

    def __init__(self, device: CcwDevice) -> None:
        io = IoRegion(device)
        made: dict[str, Region] = {"io_region": io}
        for row in device.regions:
            if row.name == "cmd_region":
                made[row.name] = CmdRegion(device, io)
            elif row.name == "schib_region":
                made[row.name] = SchibRegion(device)
            elif row.name == "crw_region":
                made[row.name] = CrwRegion(device)
        self._rows = device.regions
        self.by_index: tuple[Region, ...] = tuple(made[row.name] for row in device.regions)
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
