"""Control commands of the mechanism: seeks, sectors, file mask, recalibration.

Rules: 3990 reference, *Control Commands*. None of these may come within a domain.
"""

from __future__ import annotations

from .. import dasd
from ..base import DataTransfer, command
from . import codes
from .codes import (
    MASK_ALL_SEEKS,
    MASK_CYLINDER_AND_HEAD_SEEKS,
    MASK_NO_SEEKS,
    MASK_SEEK_CONTROL,
    SEEK_DATA,
    Message,
)
from .geometry import HEADS, NO_SECTOR, SECTORS
from .locate import Locate
from .orientation import INVALID_PARAMETER, INVALID_SEQUENCE


class Control(Locate):
    """Seeks and what goes with them."""

    @command(codes.NO_OPERATION)
    def no_operation(self, io: DataTransfer) -> int | None:
        """No-Operation: an immediate command."""
        return None

    @command(codes.SEEK)
    def seek(self, io: DataTransfer) -> int | None:
        """Seek: to any cylinder and head."""
        return self._seek(io, self.mask & MASK_SEEK_CONTROL == MASK_ALL_SEEKS)

    @command(codes.SEEK_CYLINDER)
    def seek_cylinder(self, io: DataTransfer) -> int | None:
        """Seek Cylinder: the same under a file mask that permits cylinder seeks."""
        return self._seek(
            io, self.mask & MASK_SEEK_CONTROL in (MASK_ALL_SEEKS, MASK_CYLINDER_AND_HEAD_SEEKS)
        )

    @command(codes.SEEK_HEAD)
    def seek_head(self, io: DataTransfer) -> int | None:
        """Seek Head: to another head of the current cylinder."""
        self.need_position()
        return self._seek(io, self.mask & MASK_SEEK_CONTROL != MASK_NO_SEEKS, this_cylinder=True)

    def _seek(self, io: DataTransfer, permitted: bool, this_cylinder: bool = False) -> int | None:
        if not permitted:
            raise self.stopped(dasd.SENSE1_FILE_PROTECTED)
        bin_number, cylinder, head = SEEK_DATA.parse(self.parameters(io, SEEK_DATA.size))
        if this_cylinder:
            cylinder = self.cylinder
        if bin_number or not self.valid_address(cylinder, head):
            raise self.rejected(INVALID_PARAMETER)
        if self.outside_extent(cylinder * HEADS + head):
            raise self.stopped(dasd.SENSE1_FILE_PROTECTED)
        self.move(cylinder, head)
        self.positioned = True
        return None

    @command(codes.RECALIBRATE)
    def recalibrate(self, io: DataTransfer) -> int | None:
        """Recalibrate: to cylinder 0, head 0. Control units after the 3990-3 do not have it."""
        self._need_recalibration()
        if self.mask & MASK_SEEK_CONTROL != MASK_ALL_SEEKS or self.outside_extent(0):
            raise self.stopped(dasd.SENSE1_FILE_PROTECTED)
        self.move(0, 0)
        self.positioned = True
        return None

    @command(codes.RESTORE)
    def restore(self, io: DataTransfer) -> int | None:
        """Restore: does nothing on a device without removable packs."""
        self._need_recalibration()
        return None

    def _need_recalibration(self) -> None:
        if not self.control_unit.recalibrates:
            raise self.rejected(Message.INVALID_COMMAND)

    @command(codes.SET_FILE_MASK)
    def set_file_mask(self, io: DataTransfer) -> int | None:
        """Set File Mask: once in a program, and not together with Define Extent."""
        if self.extent_defined or self.mask_set:
            raise self.rejected(INVALID_SEQUENCE)
        [mask] = self.parameters(io, 1)
        self.mask = self.check_mask(mask)
        self.mask_set = True
        return None

    @command(codes.SET_SECTOR)
    def set_sector(self, io: DataTransfer) -> int | None:
        """Set Sector: waits for an angular position on a real device."""
        self.need_position()
        [sector] = self.parameters(io, 1)
        if sector >= SECTORS and sector != NO_SECTOR:
            raise self.rejected(INVALID_PARAMETER)
        return None

    @command(codes.READ_SECTOR)
    def read_sector(self, io: DataTransfer) -> int | None:
        """Read Sector: the last record's position; from sector 0 every record is reached."""
        io.give(b"\0")
        return None
