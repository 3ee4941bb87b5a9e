"""What a user says of devices, and what QEMU is told: `-device vfio-ccw` and shared memory.

Option names are those of QEMU (`-device vfio-ccw,help`, `-object memory-backend-file,help`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Final

from ..errors import UserError, shortened
from ..mountinfo import whole_path
from ..regions.schid import is_schid
from ..sizes import DIGITS

VIRTUAL_CSS: Final = "fe"
"""The channel subsystem that QEMU gives to its guest; a device in another is never seen there."""
IOMMUFD: Final = "vfioccw-iommufd"
"""The id of the iommufd that QEMU is given."""
TMPFS: Final = "/dev/shm"
"""Where the guest's memory lies if it fits."""
DEFAULT_MEMORY: Final = 128 << 20
"""Bytes of memory that QEMU gives a guest whose size nobody said."""
# QEMU's own words for a size (a bare number is MiB), not ours.
_SIZE = re.compile(rf"(?:size=)?([0-9]{{1,{DIGITS}}})([bkmgtpe]?)i?b?", re.IGNORECASE)
_GROUP = re.compile("[0-9]{1,9}")  # it becomes a C int
_UNITS = {"b": 0, "k": 10, "": 20, "m": 20, "g": 30, "t": 40, "p": 50, "e": 60}
_MEMORY_GIVEN = ("memory-backend", "memdev=")
_BACKEND_ID = "vfioccw-ram"


@dataclass(frozen=True, slots=True)
class GuestDevice:
    """One `--device`: a subchannel of a mount, and how the guest shall see it."""

    directory: Path
    """MNT/0.0.0313, canonical."""
    devno: str
    """The device number in QEMU's form, css fe."""
    group: int | None = None
    """The IOMMU group; None: one of its own."""
    properties: dict[str, str] = field(default_factory=dict)
    """Further properties of QEMU's device, such as bootindex."""

    @classmethod
    def parse(cls, text: str) -> GuestDevice:
        """Read `MNT/0.0.0313[,devno=fe.0.1234][,group=N][,PROPERTY=VALUE]...`.

        Without devno the device number is the subchannel's. UserError says what is wrong.
        """
        path, *words = text.split(",")
        directory = Path(os.path.realpath(whole_path(path)))
        schid = directory.name
        if not is_schid(schid):
            raise UserError(
                f"--device {path}: no subchannel; name its directory, such as MNT/0.0.0313, "
                "as vfioccw ls does"
            )
        properties: dict[str, str] = {}
        for word in words:
            name, equals, value = word.partition("=")
            if not equals or not name:
                raise UserError(f"--device {text}: {word!r} is not NAME=VALUE")
            if name in properties:
                raise UserError(f"--device {text}: {name} is given twice")
            properties[name] = value
        if "sysfsdev" in properties:
            raise UserError(f"--device {text}: sysfsdev is what {path} becomes; leave it out")
        group = properties.pop("group", None)
        if group is not None and not _GROUP.fullmatch(group):
            raise UserError(f"--device {text}: group={shortened(group)} is not a number below 10^9")
        devno = properties.pop("devno", f"{VIRTUAL_CSS}{schid[schid.index('.') :]}").lower()
        cssid, _, number = devno.partition(".")
        if not is_schid(devno):
            raise UserError(
                f"--device {text}: devno={devno} is not a device number such as fe.0.1234"
            )
        if cssid != VIRTUAL_CSS:
            raise UserError(
                f"--device {text}: devno={devno} is in channel subsystem {cssid}, which the "
                f"guest never sees; write devno={VIRTUAL_CSS}.{number}"
            )
        return cls(directory, devno, int(group) if group is not None else None, properties)

    @property
    def schid(self) -> str:
        """The subchannel id."""
        return self.directory.name

    def arguments(self, *, iommufd: bool = False) -> list[str]:
        """The options that give QEMU this device, by *iommufd* unless a property says by which."""
        way = {"iommufd": IOMMUFD} if iommufd else {}
        words = {"sysfsdev": str(self.directory), "devno": self.devno, **way, **self.properties}
        # A comma in a value is doubled: QEMU's own rule.
        said = ",".join(f"{name}={value.replace(',', ',,')}" for name, value in words.items())
        return ["-device", f"vfio-ccw,{said}"]


def check_distinct(devices: Sequence[GuestDevice]) -> None:
    """UserError if two devices are the same subchannel, or have one name or number for QEMU."""
    for number, device in enumerate(devices):
        for other in devices[:number]:
            if device.directory == other.directory:
                raise UserError(f"{device.directory}: given twice")
            if device.schid == other.schid:
                raise UserError(
                    f"{device.directory}: QEMU tells devices apart by their subchannel id, and "
                    f"{other.directory} has the same; mount one of them at another id"
                )
            if device.devno == other.devno:
                raise UserError(
                    f"{device.directory}: devno={device.devno} belongs to {other.directory}; "
                    "give each its own"
                )


def groups_of(devices: Sequence[GuestDevice]) -> list[int]:
    """The IOMMU group of each device: what it says, or a number that no other device has."""
    said = {device.group for device in devices if device.group is not None}
    free = (number for number in range(len(devices) + len(said)) if number not in said)
    return [device.group if device.group is not None else next(free) for device in devices]


def iommufd_arguments() -> list[str]:
    """The options that give QEMU an iommufd; it opens /dev/iommu with the first device."""
    return ["-object", f"iommufd,id={IOMMUFD}"]


def memory_arguments(arguments: Sequence[str]) -> list[str]:
    """The options that put the guest's memory where the server can map it as a file.

    Empty if *arguments* already say how memory is made, or its size in a form that we cannot read:
    QEMU complains of that, and the memory of the QEMU process is mapped then.
    """
    if any(word in text for text in arguments for word in _MEMORY_GIVEN):
        return []
    if "-mem-path" in arguments or "--mem-path" in arguments:
        return []
    size = DEFAULT_MEMORY
    for option, value in pairwise(arguments):
        if option in ("-m", "--m"):
            match = _SIZE.fullmatch(value.partition(",")[0])
            if match is None:
                return []
            size = int(match[1]) << _UNITS[match[2].lower()]
    if _room(TMPFS, size):
        # A directory: QEMU makes the file in it and unlinks it at once, so that none can be left.
        backend = f"memory-backend-file,mem-path={TMPFS}"
    else:
        backend = "memory-backend-memfd"
    return [
        *("-object", f"{backend},id={_BACKEND_ID},size={size},share=on"),
        *("-machine", f"memory-backend={_BACKEND_ID}"),
    ]


def _room(directory: str, size: int) -> bool:
    """Whether a file of *size* bytes fits into *directory*, should all of it be written."""
    try:
        found = os.statvfs(directory)
    except OSError:
        return False
    return os.access(directory, os.W_OK) and found.f_bavail * found.f_frsize >= size
