"""Files that the user gives for a guest: what they have to be, before anything is started."""

from __future__ import annotations

import lzma
import re
from pathlib import Path
from typing import Final, NamedTuple

from . import GuestError

_ELF_S390: Final = re.compile(rb"\x7fELF\x02\x02.{12}\x00\x16", re.DOTALL)
"""How an ELF file for s390x begins: 64 bits, big endian, EM_S390."""
_LOADER: Final = b"/lib/ld64.so.1\0"
"""What a program names that needs libraries; near its beginning."""
_KERNEL_MARK: Final = (0x10008, b"S390EP")
"""Where a kernel says that it is one: arch/s390/boot/head.S of Linux."""


class GuestFile(NamedTuple):
    """A file that is added to a guest."""

    source: Path
    place: str
    """Its name in the guest, from the root on, without a slash before it."""

    @classmethod
    def parse(cls, text: str) -> GuestFile:
        """Read `FILE[:PLACE]`; PLACE is absolute, and the root directory without it."""
        name, _, place = text.rpartition(":/")
        source = Path(name if name else text)
        place = place if name else source.name
        if not source.is_file():
            problem = "a directory; pack it with tar" if source.is_dir() else "no such file"
            raise GuestError(f"--file {text}: {source}: {problem}")
        if not place or place.endswith("/") or ".." in place.split("/"):
            raise GuestError(f"--file {text}: name the file in the guest, such as {source}:/bin/x")
        return cls(source, place)


def check_kernel(path: Path) -> Path:
    """The *path* of a Linux for s390x as QEMU boots it; GuestError if it is none, or OSError."""
    at, mark = _KERNEL_MARK
    with path.open("rb") as file:
        file.seek(at)
        if file.read(len(mark)) == mark:
            return path
    raise GuestError(f"{path}: no Linux for s390x; name a tree's arch/s390/boot/bzImage")


def check_program(path: Path) -> Path:
    """The *path* of a program for s390x that runs alone; GuestError if it is none, or OSError."""
    with path.open("rb") as file:
        head = file.read(4096)
    if _ELF_S390.match(head) and _LOADER not in head:
        return path
    what = "needs libraries" if _LOADER in head else "no program for s390x"
    raise GuestError(f"{path}: {what}; Debian's package busybox-static has one that runs alone")


def check_module(path: Path) -> Path:
    """The *path* of a module of a kernel for s390x; GuestError if it is none, or OSError."""
    if _ELF_S390.match(read_module(path)):
        return path
    raise GuestError(f"{path}: no module for s390x")


def read_module(path: Path) -> bytes:
    """A module as the kernel takes it: not compressed. GuestError if it cannot be read, OSError."""
    data = path.read_bytes()
    if path.suffix == ".ko":
        return data
    if path.suffix == ".xz":
        try:
            return lzma.decompress(data)
        except lzma.LZMAError as error:
            raise GuestError(f"{path}: cannot be unpacked: {error}") from None
    raise GuestError(f"{path}: compressed in a way that is not known here; name a .ko or .ko.xz")
