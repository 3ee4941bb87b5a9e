"""What lies behind the regions that are written: bytes that the driver reads and puts there.

Nothing here knows what a request is; offsets come from the layouts alone.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import Final

from ..memory.space import AddressSpace, Range
from ..regions import codec
from ..regions import constants as c
from ..regions.layouts import Orb

SCSW_AT: Final = codec.IO_REGION.offset_of("scsw_area")
"""Where the SCSW begins in the io region: the end of the ORB."""
IRB_AT: Final = codec.IO_REGION.offset_of("irb_area")
RET_CODE_AT: Final = codec.IO_REGION.offset_of("ret_code")
_CTRL_AT: Final = SCSW_AT + codec.SCSW.offset_of("ctrl")
_FCTL_AT: Final = {"big": _CTRL_AT, "host": _CTRL_AT + (sys.byteorder == "little")}
_PARSE_ORB: Final = {"big": codec.ORB.struct.unpack_from, "host": codec.ORB_HOST.struct.unpack_from}
ORDERS: Final = tuple(_FCTL_AT)
"""Byte orders of a client's ORB and SCSW: "big", or "host" as QEMU keeps them."""
SUCCESS: Final = bytes(4)


def ret_code(result: int) -> bytes:
    """The four bytes of `ret_code`: *result*, 0 or an errno, negated and in host order."""
    return (-result & 0xFFFFFFFF).to_bytes(4, sys.byteorder) if result else SUCCESS


class IoArea:
    """The 124 bytes of the io region: ORB, SCSW, IRB, ret_code."""

    __slots__ = ("_fctl_at", "_order", "_parse_orb", "data", "failed")

    def __init__(self) -> None:
        self.data = bytearray(c.IO_REGION_SIZE)
        """The bytes."""
        self.failed = False
        """Whether ret_code says that the last request failed."""
        self.order = "big"

    @property
    def order(self) -> str:
        """Byte order of the client's ORB and SCSW, one of `ORDERS`."""
        return self._order

    @order.setter
    def order(self, order: str) -> None:
        self._order = order
        self._fctl_at = _FCTL_AT[order]
        self._parse_orb = _PARSE_ORB[order]

    def orb(self) -> Orb:
        """The ORB, in the client's byte order."""
        return tuple.__new__(Orb, self._parse_orb(self.data))

    def fctl(self) -> int:
        """The function control of the SCSW, `SCSW_FCTL_*`."""
        return self.data[self._fctl_at] << 8 & c.SCSW_CTRL_MASK_FCTL

    def show(self, irb: bytes) -> None:
        """Put an IRB, or the beginning of one, into its area; what lies behind it stays."""
        self.data[IRB_AT : IRB_AT + len(irb)] = irb

    def answer(self, result: int) -> None:
        """Put *result*, 0 or an errno, into ret_code."""
        self.data[RET_CODE_AT:] = ret_code(result)
        self.failed = result != 0


class ProgramHalves:
    """The bytes of the program region: a header's room and two halves, each a channel program.

    They lie in a file of no name, so that the channel treats them as it treats storage.
    """

    __slots__ = ("_closed", "_fd", "running")

    AT: Final = {
        c.PROGRAM_HALF_A: c.PROGRAM_HALF_A_OFFSET,
        c.PROGRAM_HALF_B: c.PROGRAM_HALF_B_OFFSET,
    }
    """Where each half begins in the region, in bytes."""

    def __init__(self) -> None:
        self._fd = -1
        self._closed = False
        self.running = c.PROGRAM_HALF_NONE
        """The half whose program runs; it is locked meanwhile."""

    @property
    def fd(self) -> int:
        """The file, made when it is first used; OSError (EIO) after `close`."""
        if self._closed:
            raise OSError(errno.EIO, "the subchannel is removed")
        if self._fd < 0:
            self._fd = os.memfd_create("vfioccw-program", os.MFD_CLOEXEC)
            os.truncate(self._fd, c.PROGRAM_REGION_SIZE)
        return self._fd

    def space(self, half: int) -> AddressSpace:
        """What the program of *half* may address: the half, from address 0."""
        at = self.AT[half]
        return AddressSpace([Range(0, c.PROGRAM_HALF_SIZE, self.fd, at, None, in_file=False)])

    def close(self) -> None:
        """Let the file go, for good."""
        self._closed = True
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
