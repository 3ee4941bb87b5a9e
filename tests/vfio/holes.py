"""A device whose client has mapped several ranges, and the same storage for Linux's rules."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from lab.programs import START, Irb
from tests.css.machine import Probe
from tests.vfio.driver import Driver
from tests.vfio.linux_translation import Storage
from vfioccw_fuse.memory.space import Range

LOW, NEXT, ISLAND, HIGH = 0x0, 0x3000, 0x8000, 0x80000000
RANGES = {LOW: 0x3000, NEXT: 0x3000, ISLAND: 0x1000, HIGH: 0x2000}
"""What is mapped: two ranges without a gap, one behind a gap, one whose addresses have bit 0."""
END, GAP = 0x6000, 0x7000
"""Where the first gap begins, and an address in it."""
PATHS = 0xC0
"""The paths of the device."""

Contents = list[tuple[int, bytes]]
"""What is put where, one after the other."""


class Client(Driver):
    """A `Probe` behind storage with holes, which is reached by pread and pwrite alone."""

    def __init__(self, directory: Path, interface: str) -> None:
        super().__init__(directory, interface, Probe())
        space, fd = self.machine.space, self.machine.storage.fd
        space.remove(space.ranges[0])
        offset = 0
        for start, size in RANGES.items():
            space.add(Range(start, size, fd, offset, None))
            offset += size

    def put(self, contents: Contents) -> None:
        for address, data in contents:
            if data:
                self.machine.store(address, data)

    def start_at(self, orb: bytes) -> int:
        """Start what lies in storage: 0 or the errno."""
        return self.request(START, orb)

    def ended(self) -> Irb | None:
        """The IRB that ends the program, or None if it goes on for ever."""
        self.settle()
        return self.take() if self.signals() else None

    def shows(self) -> dict[str, bytes]:
        """All regions, without what is the request's own: ORB and SCSW area, errno, sequence."""
        shown = {name: self.read(name) for name in self.rows if name != "crw_region"}
        shown["io_region"] = shown["io_region"][24:120]
        if "status_region" in shown:
            status = shown["status_region"]
            shown["status_region"] = status[:8] + status[16:]
        return shown


@contextmanager
def client(interface: str) -> Iterator[Client]:
    with TemporaryDirectory(prefix="vfioccw-", dir="/dev/shm") as directory:
        made = Client(Path(directory), interface)
        try:
            yield made
        finally:
            made.close()


def storage(contents: Contents) -> Storage:
    """The same bytes as `Client.put` gets, for the rules."""
    ranges = {start: bytearray(size) for start, size in RANGES.items()}
    for address, data in contents:
        for at, byte in enumerate(data, address):
            start = max(start for start in ranges if start <= at)
            ranges[start][at - start] = byte
    return Storage({start: bytes(held) for start, held in ranges.items()})


def mapped_part(address: int, data: bytes) -> bytes:
    """As much of *data* as there is storage for from *address* on."""
    room = 0
    while room < len(data) and any(s <= address + room < s + n for s, n in RANGES.items()):
        room += 1
    return data[:room]
