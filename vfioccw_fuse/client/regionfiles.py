"""Where a subchannel's regions are: one file each, or all behind `device` as a vfio device fd.

Through `device` a client learns of the regions as QEMU does: the device and region infos, whose
type capabilities say which index is which (`linux/vfio.h`, VFIO_DEVICE_GET_REGION_INFO).
"""

import contextlib
import os
from typing import NamedTuple

from ..regions import codec
from ..regions.constants import (
    VFIO_DEVICE_FLAGS_CCW,
    VFIO_REGION_INFO_CAP_TYPE,
    VFIO_REGION_SUBTYPE_CCW_ASYNC_CMD,
    VFIO_REGION_SUBTYPE_CCW_CRW,
    VFIO_REGION_SUBTYPE_CCW_SCHIB,
    VFIO_REGION_TYPE_CCW,
)
from .faults import Unsupported

_NAMES = {
    VFIO_REGION_SUBTYPE_CCW_ASYNC_CMD: "cmd_region",
    VFIO_REGION_SUBTYPE_CCW_SCHIB: "schib_region",
    VFIO_REGION_SUBTYPE_CCW_CRW: "crw_region",
}


class OpenRegion(NamedTuple):
    """An open region."""

    fd: int
    """The descriptor it is reached through."""
    offset: int
    """Where it begins there, in bytes."""


class RegionFiles:
    """The open regions of one subchannel."""

    def __init__(self, directory: str, through_device: bool) -> None:
        """Open what there is in *directory* (`MNT/0.0.0313`).

        *through_device*: use `device` and the infos instead of one file a region. OSError if
        the directory or its io region cannot be opened, Unsupported if `device` is no vfio-ccw.
        """
        self._fds: list[int] = []
        self._regions: dict[str, OpenRegion] = {}
        try:
            if through_device:
                self._open_device(directory)
            else:
                self._open_files(directory)
        except BaseException:
            self.close()
            raise

    def __contains__(self, name: str) -> bool:
        """Whether the interface has the region *name* (`"cmd_region"`...)."""
        return name in self._regions

    def __getitem__(self, name: str) -> OpenRegion:
        """Give the region *name*; Unsupported if the interface has none of that name."""
        try:
            return self._regions[name]
        except KeyError:
            raise Unsupported(f"the interface of this subchannel has no {name}") from None

    def close(self) -> None:
        """Close all of them. The last close of `device` resets the subchannel."""
        while self._fds:
            close(self._fds.pop())

    def _open(self, path: str, flags: int) -> int:
        fd = os.open(path, flags | os.O_CLOEXEC)
        self._fds.append(fd)
        return fd

    def _open_files(self, directory: str) -> None:
        """Find the regions by the names of their files; only the io region must be there."""
        io_region = os.path.join(directory, "io_region")
        self._regions["io_region"] = OpenRegion(self._open(io_region, os.O_RDWR), 0)
        for name in _NAMES.values():
            path = os.path.join(directory, name)
            # Which regions an interface lets one write is none of this client's business: it
            # writes only the cmd region.
            flags = os.O_RDWR if name == "cmd_region" else os.O_RDONLY
            try:
                self._regions[name] = OpenRegion(self._open(path, flags), 0)
            except FileNotFoundError:
                continue

    def _open_device(self, directory: str) -> None:
        """Find the regions by index and capability, as QEMU's vfio_ccw_get_region does."""
        device = codec.DEVICE_INFO.parse(_content(os.path.join(directory, "device_info")))
        if not device.flags & VFIO_DEVICE_FLAGS_CCW or device.num_regions < 1:
            raise Unsupported(f"{directory}: not a vfio-ccw device")
        fd = self._open(os.path.join(directory, "device"), os.O_RDWR)
        infos = _content(os.path.join(directory, "region_info"))
        at = 0
        while at < len(infos):
            info = codec.REGION_INFO.parse(infos, at)
            name = "io_region" if info.index == 0 else _NAMES.get(_subtype(infos, at))
            if name is not None:
                self._regions[name] = OpenRegion(fd, info.offset)
            at += info.argsz


def close(fd: int) -> None:
    """Close *fd*, a file of the mount.

    When the mount has ended, close(2) may say so (ENOTCONN, ECONNABORTED); it closes all the same.
    """
    with contextlib.suppress(OSError):
        os.close(fd)


def _subtype(infos: bytes, at: int) -> int:
    """Walk the capability chain of the region info at *at*; give the vfio-ccw subtype, or 0."""
    link = codec.REGION_INFO.parse(infos, at).cap_offset
    while link:
        capability = codec.REGION_INFO_CAP_TYPE.parse(infos, at + link)
        if (capability.id, capability.type) == (VFIO_REGION_INFO_CAP_TYPE, VFIO_REGION_TYPE_CCW):
            return capability.subtype
        link = capability.next
    return 0


def _content(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.readall() or b""
