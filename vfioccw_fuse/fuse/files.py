"""The files in a subchannel's directory: each kind, and which there are."""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Final

from ..errors import UserError
from ..regions import constants as c
from ..regions import table
from ..regions.table import RegionRow
from ..vfio.control import Control
from ..vfio.device import CcwDevice
from ..vfio.irq import Irq
from ..vfio.regions import Region, check_write
from ..vfio.text import state_text
from .blocked import BlockedRequests, Opener
from .debugfile import DebugFile
from .file import File
from .irqfiles import IrqFile
from .tracefile import TraceFile


class StableStorage:
    """The media of one subchannel: who asks waits until what was written is on stable storage."""

    def __init__(self, device: CcwDevice, blocked: BlockedRequests) -> None:
        self._device = device
        self._blocked = blocked

    async def wait(self, opener: Opener) -> None:
        """Wait; OSError if that failed, FUSEError for a signal and at the mount's end."""
        await self._blocked.wait_for(opener, self._secured)

    async def _secured(self) -> None:
        for medium in self._device.sch.device.media:
            await medium.secured()


class RegionFile(File):
    """One region as a file of exactly its size: reads are cut at the end, writes are not."""

    def __init__(self, row: RegionRow, region: Region, storage: StableStorage) -> None:
        self._storage = storage
        self._row = row
        self.size = row.size
        self.mode = stat.S_IFREG | (0o600 if row.writable else 0o400)
        # Bound here once: this is the hot path.
        self._read = region.read
        self._write = region.write
        self._writable = row.size if row.writable else -1

    def read(self, opener: Opener, offset: int, size: int) -> bytes:
        """See `File.read`."""
        left = self.size - offset
        if left <= 0 or not size:
            return b""
        return self._read(offset, size if size < left else left)

    def write(self, opener: Opener, offset: int, data: bytes) -> int:
        """See `File.write`; EINVAL past the end, and on a read-only region."""
        size = len(data)
        if offset + size > self._writable:
            check_write(self._row, offset, size)
        if size:
            self._write(offset, data)
        return size

    async def sync(self, opener: Opener) -> None:
        """What programs have written is on stable storage then."""
        await self._storage.wait(opener)


class DeviceFile(File):
    """All regions behind one file, as a vfio device fd: the position has the index in it."""

    def __init__(self, device: CcwDevice, storage: StableStorage) -> None:
        self._device = device
        self._storage = storage
        self._openers = 0
        self.size = len(device.rows) << c.REGION_OFFSET_SHIFT

    def opened(self, opener: Opener) -> None:
        """Count: the last close is a RESET."""
        self._openers += 1

    def read(self, opener: Opener, offset: int, size: int) -> bytes:
        """EINVAL for an access that passes the region's end, as in the kernel."""
        row, region, place = self._device.find(offset)
        if place + size > row.size:
            raise OSError(errno.EINVAL, f"read past the end of {row.name}")
        return region.read(place, size) if size else b""

    def write(self, opener: Opener, offset: int, data: bytes) -> int:
        """See `RegionFile.write`."""
        row, region, place = self._device.find(offset)
        check_write(row, place, len(data))
        if data:
            region.write(place, data)
        return len(data)

    async def sync(self, opener: Opener) -> None:
        """See `RegionFile.sync`."""
        await self._storage.wait(opener)

    def release(self, opener: Opener) -> None:
        """The last close acts as VFIO_DEVICE_RESET."""
        self._openers -= 1
        if not self._openers:
            self._device.driver.reset()


class BytesFile(File):
    """Bytes that never change: the info structs."""

    mode = stat.S_IFREG | 0o400

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)

    def read(self, opener: Opener, offset: int, size: int) -> bytes:
        """See `File.read`."""
        return self._data[offset : offset + size]


class TextFile(File):
    """Text made when a reader begins at offset 0, so that what it reads on belongs together."""

    def __init__(
        self,
        make: Callable[[], str],
        apply: Callable[[str], None] | None = None,
        mode: int = stat.S_IFREG | 0o600,
    ) -> None:
        """*make* gives the text; *apply* takes what is written, and raises UserError if wrong."""
        self._make = make
        self._apply = apply
        self._texts: dict[Opener, bytes] = {}
        self.mode = mode

    def read(self, opener: Opener, offset: int, size: int) -> bytes:
        """See `File.read`."""
        if offset == 0 or opener not in self._texts:
            self._texts[opener] = self._make().encode()
        return self._texts[opener][offset : offset + size]

    def write(self, opener: Opener, offset: int, data: bytes) -> int:
        """EINVAL for what cannot be understood; nothing has changed then."""
        if self._apply is None:
            raise OSError(errno.EINVAL, "read-only")
        try:
            self._apply(data.decode(errors="surrogateescape"))
        except UserError as error:
            raise OSError(errno.EINVAL, str(error)) from None
        return len(data)

    def release(self, opener: Opener) -> None:
        """Forget the opener's text."""
        self._texts.pop(opener, None)


class ResetFile(File):
    """Write "1": VFIO_DEVICE_RESET."""

    mode = stat.S_IFREG | 0o200

    def __init__(self, device: CcwDevice) -> None:
        self._device = device

    def write(self, opener: Opener, offset: int, data: bytes) -> int:
        """EINVAL for anything but "1"."""
        if data.strip(b"\0\n ") != b"1":
            raise OSError(errno.EINVAL, 'write "1"')
        self._device.driver.reset()
        return len(data)


class InterruptFile(File):
    """An irq as a file with eventfd semantics; see `irqfiles.IrqFile`."""

    waits = True

    def __init__(self, irq: Irq, blocked: BlockedRequests) -> None:
        self._file = IrqFile(irq, blocked)
        self.poll = self._file.poll  # type: ignore[method-assign]  # one call less per poll

    async def read_waiting(self, opener: Opener, size: int) -> bytes:
        """8 bytes in host order."""
        return await self._file.read(opener, size)

    async def write_waiting(self, opener: Opener, data: bytes) -> int:
        """8 bytes in host order."""
        return await self._file.write(opener, data)

    def release(self, opener: Opener) -> None:
        """Forget the opener's poll handle."""
        self._file.release(opener)

    def shutdown(self) -> None:
        """ENODEV to all who wait."""
        self._file.shutdown()


Kind = Callable[[CcwDevice, BlockedRequests], File]
"""Makes one file of the directory of a subchannel."""
UNLISTED: Final = frozenset({"debug"})
"""Files that a directory does not list: they are there for who knows the name."""


@cache
def kinds_of(interface: table.Interface) -> Mapping[str, Kind]:
    """What makes each file of a subchannel's directory, by its name; not its symlink `memory`.

    A file is made when somebody looks for it: of most subchannels nobody looks at most.
    """
    kinds: dict[str, Kind] = {"device": _device}
    kinds |= {row.name: partial(_region, row) for row in table.regions_of(interface)}
    kinds["device_info"] = partial(_info, table.device_info(interface))
    kinds["region_info"] = partial(_info, table.region_info(interface))
    kinds["irq_info"] = partial(_info, table.irq_info(interface))
    kinds |= {irq.name: partial(_interrupt, irq.index) for irq in table.irqs_of(interface)}
    return kinds | {
        "reset": _reset, "control": _control, "state": _state, "trace": TraceFile,
        "debug": DebugFile,
    }  # fmt: skip


def _device(device: CcwDevice, blocked: BlockedRequests) -> File:
    return DeviceFile(device, StableStorage(device, blocked))


def _region(row: RegionRow, device: CcwDevice, blocked: BlockedRequests) -> File:
    return RegionFile(row, device.regions[row.index], StableStorage(device, blocked))


def _info(data: bytes, _device: CcwDevice, _blocked: BlockedRequests) -> File:
    return BytesFile(data)


def _interrupt(index: int, device: CcwDevice, blocked: BlockedRequests) -> File:
    return InterruptFile(device.irqs[index], blocked)


def _reset(device: CcwDevice, _blocked: BlockedRequests) -> File:
    return ResetFile(device)


def _control(device: CcwDevice, _blocked: BlockedRequests) -> File:
    control = Control(device)
    return TextFile(control.text, control.write)


def _state(device: CcwDevice, _blocked: BlockedRequests) -> File:
    return TextFile(partial(state_text, device), mode=stat.S_IFREG | 0o400)
