"""A whole vfio-ccw device: the driver of a subchannel and the regions that a client sees of it."""

from __future__ import annotations

import errno

from ..css.subchannel import Subchannel
from ..regions import constants as c
from ..regions.table import Interface, RegionRow, regions_of
from .driver import Driver
from .regions import Region, region_of


class CcwDevice:
    """What a client has before it: the regions' contents, the interrupts, the state."""

    def __init__(self, sch: Subchannel, interface: Interface = Interface.FULL) -> None:
        self.sch = sch
        """The subchannel."""
        self.interface = interface
        """What the client is offered."""
        self.driver = Driver(sch, interface)
        """The state, and what requests do."""
        self.irqs = self.driver.irqs
        """The interrupts by index."""
        self.rows = regions_of(interface)
        """The regions as the table has them, in the order of their index."""
        self.regions: tuple[Region, ...] = tuple(
            region_of(row, self.driver, interface) for row in self.rows
        )
        """Their contents, in the same order."""
        self.refused = ""
        """Why the last write to `control` was refused; empty if it was not."""

    def find(self, position: int) -> tuple[RegionRow, Region, int]:
        """Region and offset in it for a *position* in `device`; EINVAL if there is none."""
        index = position >> c.REGION_OFFSET_SHIFT
        if index >= len(self.rows):
            raise OSError(errno.EINVAL, "no region has this index")
        return self.rows[index], self.regions[index], position & (1 << c.REGION_OFFSET_SHIFT) - 1
