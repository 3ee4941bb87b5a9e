"""The other side of the mount: drives a subchannel through its files, as QEMU's vfio-ccw does.

A client knows the files of a mount, the layouts in `regions` and what each device type's commands
and sense bits are (`devices.*.codes`, and `devices.catalog` to find them), and nothing of the
server: no device model and no other package of this project is imported here. What it does is
what QEMU does with a vfio-ccw device (`hw/vfio/ccw.c`, `hw/s390x/css.c`): a subchannel that works
here works there.

    >>> from vfioccw_fuse.client import FbaDisk, Subchannel
    >>> with Subchannel("/tmp/m/0.0.0313") as subchannel:
    ...     print(subchannel.sense_id())
    ...     disk = FbaDisk(subchannel)
    ...     first = disk.read(0, 1)

From the ground up: `faults` are the exceptions, `storage` the guest memory, `program` lays channel
programs out in it, `irq` waits for interruptions, `subchannel` issues the requests, `fba` moves
blocks of a fixed-block disk, `eckd` tracks and records of a 3390, and `linuxblocks` blocks of one
that Linux has formatted. `vfioccw.h` is the same in C, for who writes a VMM.
"""

from .eckd import EckdDisk, Record
from .faults import (
    ClientError,
    NoInterruption,
    ProgramFailed,
    Refused,
    RequestFailed,
    Unsupported,
)
from .fba import FbaDisk
from .linuxblocks import LinuxBlocks
from .program import Program, Room, Step
from .storage import Area, GuestStorage
from .subchannel import SenseId, Statistics, Subchannel, condition_code

__all__ = [
    "Area",
    "ClientError",
    "EckdDisk",
    "FbaDisk",
    "GuestStorage",
    "LinuxBlocks",
    "NoInterruption",
    "Program",
    "ProgramFailed",
    "Record",
    "Refused",
    "RequestFailed",
    "Room",
    "SenseId",
    "Statistics",
    "Step",
    "Subchannel",
    "Unsupported",
    "condition_code",
]
