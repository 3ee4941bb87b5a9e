"""The address spaces of all subchannels as clients change them: VFIO_IOMMU_MAP_DMA and UNMAP_DMA.

Rules: linux/vfio.h (type 1, version 2) and, for what an unmap does to a device, vfio_ccw_dma_unmap
of Linux. A subchannel has the built-in storage until a client maps; then it has what clients
have mapped, and when the last of that is gone the built-in storage again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol

import trio

from ..css.ccw import CcwFetcher
from ..css.ida import IdaMode
from ..errors import UserError
from ..memory.mapping import MappedRange, Process, check_area, file_range, process_range
from ..memory.space import AddressSpace, Range
from ..regions.constants import CCW_CMD_TIC, CCW_FLAG_MIDA, CCW_SIZE
from .device import CcwDevice
from .translation import moves

MAPS_MAX: Final = 65535
"""Maps of one subchannel: the dma_entry_limit of VFIO."""
RELEASED_AT_ONCE: Final = 64
"""Maps that are given back to the system in one go (10 us each); more are a thread's."""


class Mapping(Protocol):
    """A map that is being made, in a thread."""

    async def wait(self) -> MappedRange:
        """The range, or why there is none."""
        ...


class Mappers(Protocol):
    """Threads that make maps: to look at a file or a process may take long."""

    def start(
        self, call: Callable[[], MappedRange], give_back: Callable[[MappedRange], object], /
    ) -> Mapping:
        """Begin *call*; its result goes to *give_back* if nobody waits for it any more.

        UserError if nothing has begun, because too many have not ended.
        """
        ...


@dataclass(slots=True)
class _Container:
    """What one subchannel's address space is made of while clients map."""

    built_in: tuple[Range, ...]
    """The ranges that the first map replaced."""
    maps: dict[Range, object] = field(default_factory=dict)
    """All ranges of the address space since then, and who mapped each."""


class Iommu:
    """Maps and unmaps guest storage; a `fuse.irqfd.MapTarget`.

    Every method that cannot do its work raises UserError or OSError and has changed nothing.
    """

    def __init__(self, device_of: Callable[[str], CcwDevice], mappers: Mappers) -> None:
        """*device_of* gives the device of a subchannel id; LookupError if there is none.

        *mappers* do what may take long.
        """
        self._device_of = device_of
        self._mappers = mappers
        self._containers: dict[CcwDevice, _Container] = {}

    async def map_file(
        self, subchannel: str, iova: int, size: int, offset: int, fds: list[int], owner: object
    ) -> None:
        """Map *size* bytes of the one file in *fds* from *offset* at *iova*.

        The descriptor is taken off the list as soon as it is not the caller's any more.
        """
        device = self._free(subchannel, iova, size)
        make = partial(file_range, iova, size, offset, fds[0])
        making = self._mappers.start(make, MappedRange.release)
        fds.clear()
        self._add(subchannel, device, await making.wait(), owner)

    async def map_process(
        self, subchannel: str, iova: int, size: int, vaddr: int, process: Process, owner: object
    ) -> None:
        """Map *size* bytes of the memory of *process* from *vaddr* at *iova*."""
        device = self._free(subchannel, iova, size)
        make = partial(process_range, iova, size, vaddr, process)
        making = self._mappers.start(make, MappedRange.release)
        self._add(subchannel, device, await making.wait(), owner)

    def _free(self, subchannel: str, iova: int, size: int) -> CcwDevice:
        """The device of the subchannel; UserError unless the area can be mapped there now."""
        check_area(iova, size)
        try:
            device = self._device_of(subchannel)
        except LookupError:
            raise UserError(f"{subchannel}: no such subchannel") from None
        container = self._containers.get(device)
        if container is None:
            return device
        if len(container.maps) >= MAPS_MAX:
            raise UserError(f"{subchannel}: has {MAPS_MAX} maps, and more cannot be; unmap some")
        for other in device.sch.space.within(iova, iova + size):
            raise UserError(
                f"{subchannel}: {iova:#x}-{iova + size - 1:#x} overlaps the map of "
                f"{other.start:#x}-{other.end - 1:#x}"
            )
        return device

    def _add(self, subchannel: str, device: CcwDevice, made: MappedRange, owner: object) -> None:
        """Add the range unless things have changed since `_free`; it is released then."""
        try:
            if self._free(subchannel, made.start, made.size) is not device:
                raise UserError(f"{subchannel}: was removed meanwhile")
        except BaseException:
            made.release()
            raise
        container = self._containers.get(device)
        if container is None:
            container = _Container(device.sch.space.ranges)
            self._containers[device] = container
            for built_in in container.built_in:
                _take_away(device, built_in)
        container.maps[made] = owner
        device.sch.space.add(made)

    def unmap(self, subchannel: str, iova: int, size: int, owner: object) -> None:
        """Take away the maps from *iova* to *iova* + *size*: whole ones, and the owner's own."""
        check_area(iova, size)
        device = self._device_of(subchannel)
        container = self._containers.get(device)
        found = device.sch.space.within(iova, iova + size)
        area = f"{subchannel}: {iova:#x}-{iova + size - 1:#x}"
        if container is None or not found:
            raise UserError(f"{area} is not mapped")
        for mapped in found:
            if container.maps[mapped] is not owner:
                raise UserError(f"{area} was mapped by another connection")
            if mapped.start < iova or iova + size < mapped.end:
                raise UserError(
                    f"{area} is only a part of the map of {mapped.start:#x}-{mapped.end - 1:#x}"
                )
        self._drop(device, found)

    def connection_closed(self, owner: object) -> None:
        """Take away all that *owner* has mapped."""
        for device, container in list(self._containers.items()):
            self._drop(device, [mapped for mapped, by in container.maps.items() if by is owner])

    def _drop(self, device: CcwDevice, gone: list[Range]) -> None:
        """End the maps *gone*; with the last one the built-in storage is back."""
        if not gone:
            return
        container = self._containers[device]
        # From the end, where a list of thousands is cut quickly.
        for mapped in sorted(gone, key=lambda mapped: mapped.start, reverse=True):
            _take_away(device, mapped)
            del container.maps[mapped]
        if len(gone) <= RELEASED_AT_ONCE or not trio.lowlevel.in_trio_run():
            _release(gone)
        else:
            trio.lowlevel.start_thread_soon(partial(_release, gone), _nothing)
        if not container.maps:
            del self._containers[device]
            for built_in in container.built_in:
                device.sch.space.add(built_in)


def _release(gone: list[Range]) -> None:
    for mapped in gone:
        mapped.release()


def _nothing(_: object) -> None:
    """Nobody waits for a release."""


def _take_away(device: CcwDevice, gone: Range) -> None:
    """Unmap; a program that runs on it cannot go on, so the subchannel is reset as in Linux."""
    sch = device.sch
    if sch.program is not None and touches(sch.space, sch.program.ccws, gone):
        device.driver.reset()
    sch.space.remove(gone)


def touches(space: AddressSpace, ccws: CcwFetcher, area: Range) -> bool:
    """Whether the program of *ccws* has a CCW, an address list or data in the *area* of *space*.

    Of a driver's copy only data that moves is there (cp_iova_pinned). What was not prefetched may
    change while it runs, and nobody can say: True.
    """
    if ccws.space is not space:
        return False
    idals = ccws.idals
    if not ccws.segments:
        return True

    def meets(address: int, length: int) -> bool:
        return address < area.end and area.start < address + length

    mode = IdaMode.of(ccws.ctrl0)
    for address, code, flags, count, cda in ccws.ahead():
        if ccws.copied:
            if code == CCW_CMD_TIC or not moves(code, flags, count):
                continue
        elif meets(address, CCW_SIZE):
            return True
        elif code & 0x0F == CCW_CMD_TIC:
            continue
        if address in idals:
            words = idals[address]
            if not ccws.copied and meets(cda, len(words) * mode.size):
                return True
            if any(meets(word & ~(mode.block - 1), mode.block) for word in words):
                return True
        elif flags & CCW_FLAG_MIDA and not ccws.copied:
            # Its data is where the channel finds it.
            return True
        elif meets(cda, count):
            return True
    return False
