"""Which regions and interrupts each interface has: one table, and the structs made from it.

An interface never shows a region that it does not have, neither as a file nor by index nor in a
capability chain; so everything that lists regions asks here.  A further region is one row.

It must not know what a region does.  Sources: the contract's interfaces; `linux/vfio.h` for the
structs; indexes in the order in which Linux registers its regions (`vfio_ccw_ops.c`).
"""

import enum
import functools
from typing import NamedTuple

from . import codec
from . import constants as c
from .layouts import DeviceInfo, IrqInfo, RegionInfo, RegionInfoCapType


class Interface(enum.StrEnum):
    """What a subchannel offers its client, from the oldest to the newest."""

    START_ONLY = "start-only"
    """2017: START alone; halt and clear are EOPNOTSUPP."""
    SCSW = "scsw"
    """The patch: halt and clear through the io region's fctl."""
    ASYNC = "async"
    """Linux today: cmd, schib and crw regions."""
    FULL = "full"
    """Everything here, the patch's fctl requests too."""


class RegionRow(NamedTuple):
    """One region of one interface."""

    name: str
    """The file's name in the subchannel's directory."""
    index: int  # type: ignore[assignment]  # hides tuple.index, as layouts says
    """The vfio region index."""
    size: int
    """In bytes, exact, at most 1024."""
    writable: bool
    """False: every write is EINVAL.  Every region can be read."""
    type: int
    """`VFIO_REGION_TYPE_CCW`, or 0 for the region that has no type capability."""
    subtype: int
    """`VFIO_REGION_SUBTYPE_CCW_*`, or 0 for the region that has no type capability."""

    @property
    def offset(self) -> int:
        """Where the region begins in the `device` file, in bytes."""
        return self.index << c.REGION_OFFSET_SHIFT

    @property
    def access(self) -> str:
        """`rw` or `ro`."""
        return "rw" if self.writable else "ro"


class IrqRow(NamedTuple):
    """One interrupt of one interface."""

    name: str
    """The file's name in the subchannel's directory."""
    index: int  # type: ignore[assignment]  # hides tuple.index, as layouts says
    """The vfio interrupt index."""


class _Row(NamedTuple):
    """A region, and from when on it exists and can be written."""

    name: str
    size: int
    subtype: int
    since: Interface
    writable_since: Interface | None


_AGE = {interface: age for age, interface in enumerate(Interface)}

# In the order of the indexes.
_REGIONS = (
    _Row("io_region", c.IO_REGION_SIZE, 0, Interface.START_ONLY, Interface.START_ONLY),
    _Row(
        "cmd_region",
        c.CMD_REGION_SIZE,
        c.VFIO_REGION_SUBTYPE_CCW_ASYNC_CMD,
        Interface.ASYNC,
        Interface.ASYNC,
    ),
    # A write is a MODIFY SUBCHANNEL, which Linux does not let through.
    _Row(
        "schib_region",
        c.SCHIB_REGION_SIZE,
        c.VFIO_REGION_SUBTYPE_CCW_SCHIB,
        Interface.ASYNC,
        Interface.FULL,
    ),
    _Row(
        "crw_region",
        c.CRW_REGION_SIZE,
        c.VFIO_REGION_SUBTYPE_CCW_CRW,
        Interface.ASYNC,
        None,
    ),
    _Row(
        "status_region",
        c.STATUS_REGION_SIZE,
        c.VFIO_REGION_SUBTYPE_CCW_STATUS,
        Interface.FULL,
        None,
    ),
    _Row(
        "program_region",
        c.PROGRAM_REGION_SIZE,
        c.VFIO_REGION_SUBTYPE_CCW_PROGRAM,
        Interface.FULL,
        Interface.FULL,
    ),
    _Row(
        "measurement_region",
        c.MEASUREMENT_REGION_SIZE,
        c.VFIO_REGION_SUBTYPE_CCW_MEASUREMENT,
        Interface.FULL,
        None,
    ),
)

_IRQS = (
    (IrqRow("io_irq", c.VFIO_CCW_IO_IRQ_INDEX), Interface.START_ONLY),
    (IrqRow("crw_irq", c.VFIO_CCW_CRW_IRQ_INDEX), Interface.ASYNC),
    (IrqRow("req_irq", c.VFIO_CCW_REQ_IRQ_INDEX), Interface.ASYNC),
)


def interface_of(name: str) -> Interface:
    """The interface of that name; ValueError, in one line that lists the names, if none has it."""
    try:
        return Interface(name)
    except ValueError:
        names = ", ".join(Interface)
        raise ValueError(f"interface {name!r} is not one of {names}") from None


def _has(interface: Interface, since: Interface | None) -> bool:
    return since is not None and _AGE[interface] >= _AGE[since]


@functools.cache
def regions_of(interface: str) -> tuple[RegionRow, ...]:
    """The regions of an interface, by index from 0 without a gap; ValueError if unknown."""
    which = interface_of(interface)
    rows = [row for row in _REGIONS if _has(which, row.since)]
    return tuple(
        RegionRow(
            name=row.name,
            index=index,
            size=row.size,
            writable=_has(which, row.writable_since),
            type=c.VFIO_REGION_TYPE_CCW if row.subtype else 0,
            subtype=row.subtype,
        )
        for index, row in enumerate(rows)
    )


@functools.cache
def irqs_of(interface: str) -> tuple[IrqRow, ...]:
    """The interrupts of an interface, by index from 0 without a gap; ValueError if unknown."""
    which = interface_of(interface)
    return tuple(irq for irq, since in _IRQS if _has(which, since))


def device_info(interface: str) -> bytes:
    """`struct vfio_device_info` of an interface: 20 bytes, host order, no capabilities."""
    return codec.DEVICE_INFO.pack(
        DeviceInfo(
            argsz=codec.DEVICE_INFO.size,
            flags=c.VFIO_DEVICE_FLAGS_CCW | c.VFIO_DEVICE_FLAGS_RESET,
            num_regions=len(regions_of(interface)),
            num_irqs=len(irqs_of(interface)),
            cap_offset=0,
        )
    )


def region_info(interface: str) -> bytes:
    """Every region's `struct vfio_region_info` in index order, each argsz long, host order.

    32 bytes for the io region, 48 with the type capability for every other.
    """
    return b"".join(_one_region_info(region) for region in regions_of(interface))


def _one_region_info(region: RegionRow) -> bytes:
    """The struct and, if the region has a type, the capability right behind it."""
    flags = c.VFIO_REGION_INFO_FLAG_READ
    if region.writable:
        flags |= c.VFIO_REGION_INFO_FLAG_WRITE
    capability = b""
    if region.type:
        flags |= c.VFIO_REGION_INFO_FLAG_CAPS
        capability = codec.REGION_INFO_CAP_TYPE.pack(
            RegionInfoCapType(
                id=c.VFIO_REGION_INFO_CAP_TYPE,
                version=c.VFIO_REGION_INFO_CAP_TYPE_VERSION,
                next=0,
                type=region.type,
                subtype=region.subtype,
            )
        )
    info = RegionInfo(
        argsz=codec.REGION_INFO.size + len(capability),
        flags=flags,
        index=region.index,
        cap_offset=codec.REGION_INFO.size if capability else 0,
        size=region.size,
        offset=region.offset,
    )
    return codec.REGION_INFO.pack(info) + capability


def irq_info(interface: str) -> bytes:
    """Every interrupt's `struct vfio_irq_info` in index order: 16 bytes each, host order."""
    return b"".join(
        codec.IRQ_INFO.pack(
            IrqInfo(
                argsz=codec.IRQ_INFO.size,
                flags=c.VFIO_IRQ_INFO_EVENTFD,
                index=irq.index,
                count=1,
            )
        )
        for irq in irqs_of(interface)
    )
