"""The devices of a run and their media: those whose writes are checked, and those that are not.

Every unit of a checked disk (a block, a record) holds what `content` gives for it and the number of
the write that put it there; 0 is how it was at the beginning.
"""

import hashlib
import os
import random
import shutil
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lab.mounts import BLOCK, vfioccw

PROBED = "0.0.0001"
"""The subchannel that nobody touches but the prober."""
RECORD, RECORDS, HEADS = 4096, 12, 15
"""Bytes of a record of a checked 3390, records of a track, tracks of a cylinder."""
_CYLINDERS = 2
_CKD_HEADER, _HOME_ADDRESS, _COUNT_FIELD = 512, 5, struct.Struct(">HHBBH")
_STAMP = struct.Struct(">4sIQ")
_SEGMENT = struct.Struct("<HHBB")


@dataclass(frozen=True)
class Medium:
    """A device of the mount and what is behind it."""

    schid: str
    kind: str
    """The type of the device."""
    path: Path
    interface: str
    words: str = "chpids=40+41"
    """Options of the device."""
    long: bool = False
    """It is a disk of 32 MiB, so that reads of as much are possible."""
    units: int = 0
    """Blocks or records whose content is checked; 0 for a tape, which has no fixed number."""

    @property
    def spec(self) -> str:
        """What `--device` takes."""
        return f"{self.kind}@{self.schid}:{self.path},interface={self.interface},{self.words}"

    @property
    def size(self) -> int:
        """Bytes of a unit."""
        return RECORD if self.kind == "3390" else BLOCK

    @property
    def key(self) -> str:
        """What tells its content from that of all others."""
        return self.path.name


class Media:
    """All media of a run, in a directory on a disk and one on tmpfs."""

    def __init__(self, disk: Path, tmpfs: Path) -> None:
        """Nothing is made before `make`."""
        self.disk = disk
        """Below it are the images that a disk holds, logs and ledgers."""
        self.tmpfs = tmpfs
        """Below it are the images in storage."""
        fba, eckd = 1024, (_CYLINDERS * HEADS - 1) * RECORDS
        apart = "chpids=e0+e1"
        self.probed = Medium(PROBED, "fba", tmpfs / "probed.img", "full", "chpids=f0")
        """The prober's."""
        self.checked = (
            Medium("0.0.0010", "fba", disk / "checked-full.img", "full", apart, units=fba),
            Medium("0.0.0011", "3390", disk / "checked-full.ckd", "full", apart, units=eckd),
            Medium("0.0.0012", "3490", disk / "checked.aws", "full", apart),
            Medium("0.0.0013", "fba", tmpfs / "checked-async.img", "async", apart, units=fba),
            Medium(
                "0.0.0014", "3390", tmpfs / "checked-start.ckd", "start-only", apart, units=eckd
            ),
            Medium("0.0.0015", "fba", disk / "checked-scsw.img", "scsw", apart, units=fba),
        )
        """Those that have a writer."""
        self.attacked = (
            Medium("0.0.0100", "fba", disk / "a.img", "full", long=True),
            Medium("0.0.0101", "fba", tmpfs / "b.img", "async", long=True),
            Medium("0.0.0102", "fba", tmpfs / "c.img", "scsw", "chpids=42,readonly"),
            Medium("0.0.0103", "fba", disk / "d.img", "start-only"),
            Medium("0.0.0104", "3390", disk / "e.ckd", "full"),
            Medium("0.0.0105", "3390", tmpfs / "f.ckd", "async", "chpids=40+42,cu=2107"),
            Medium("0.0.0106", "3480", disk / "g.aws", "full", "chpids=41,length=4MiB"),
            Medium("0.0.0107", "3505", disk / "cards.ebc", "full"),
            Medium("0.0.0108", "3525", disk / "punched.ebc", "full"),
            Medium("0.0.0109", "1403", tmpfs / "printed.txt", "async"),
            Medium("0.0.010a", "3215", tmpfs / "console", "full"),
        )
        """Those that everybody may do everything to."""

    @property
    def all(self) -> tuple[Medium, ...]:
        """Every device that a mount begins with."""
        return (self.probed, *self.checked, *self.attacked)

    @property
    def bases(self) -> tuple[Medium, ...]:
        """What mutants are made from: small and whole media."""
        return (
            Medium("", "fba", self.disk / "base.img", "full"),
            Medium("", "3390", self.disk / "base.ckd", "full"),
            Medium("", "3490", self.disk / "base.aws", "full"),
            Medium("", "3505", self.disk / "base.ebc", "full"),
        )

    def make(self) -> None:
        """Make every image as it is at the beginning."""
        for medium in (self.probed, *self.attacked, *self.bases):
            _make(medium)
        for medium in self.checked:
            _make(medium, cylinders=_CYLINDERS)
            data = {
                "fba": lambda m: b"".join(content(m.key, 0, n, BLOCK) for n in range(m.units)),
                "3390": _filled,
            }.get(medium.kind)
            if data is not None:
                medium.path.write_bytes(data(medium))

    def tidy(self) -> None:
        """Between two mounts: what only grows is cut."""
        for medium in self.attacked:
            if medium.kind in ("3525", "1403"):
                medium.path.write_bytes(b"")

    def leftovers(self) -> list[str]:
        """What a mount made beside the media and should have taken away."""
        made = {medium.path for medium in (*self.all, *self.bases)}
        return [str(p) for p in self.tmpfs.iterdir() if p not in made and not p.is_dir()]


def _make(medium: Medium, cylinders: int = 1) -> None:
    match medium.kind:
        case "fba":
            medium.path.write_bytes(random.Random(medium.key).randbytes(128 * BLOCK))
            if medium.long:
                os.truncate(medium.path, 32 << 20)
        case "3390":
            done = vfioccw("image", "create", "3390", medium.path, "--cylinders", cylinders)
            assert done.returncode == 0, done.stderr
        case "3480" | "3490":
            data = random.Random(medium.key)
            blocks = [data.randbytes(data.choice((1, 80, 4096, 20000))) for _ in range(8)]
            checked = medium.key == "checked.aws"
            medium.path.write_bytes(b"" if checked else tape_of([*blocks[:5], b"", *blocks[5:]]))
        case "3505":
            medium.path.write_bytes(random.Random(medium.key).randbytes(80 * 100))
        case "3525" | "1403":
            medium.path.write_bytes(b"")


def tape_of(blocks: list[bytes]) -> bytes:
    """An AWS file of *blocks*; an empty one is a tape mark."""
    data, previous = b"", 0
    for block in blocks:
        data += _SEGMENT.pack(len(block), previous, 0xA0 if block else 0x40, 0) + block
        previous = len(block)
    return data


def blocks_of(image: bytes) -> tuple[list[bytes], bool]:
    """The blocks of an AWS file that have one segment, and whether the last one is whole."""
    blocks: list[bytes] = []
    at = 0
    while at + _SEGMENT.size <= len(image):
        length = _SEGMENT.unpack_from(image, at)[0]
        at += _SEGMENT.size
        if at + length > len(image):
            return blocks, False
        blocks.append(image[at : at + length])
        at += length
    return blocks, at == len(image)


def records_of(image: bytes) -> Iterator[tuple[int, int]]:
    """Unit and offset of each record of a checked 3390, by the count fields of its tracks."""
    slot = int.from_bytes(image[12:16], "little")
    for track in range(1, _CYLINDERS * HEADS):
        start = _CKD_HEADER + track * slot
        at = start + _HOME_ADDRESS
        while at + _COUNT_FIELD.size <= start + slot:
            cylinder, head, record, key, data = _COUNT_FIELD.unpack_from(image, at)
            if cylinder == head == data == 0xFFFF:
                break
            if record and (data, cylinder * HEADS + head) == (RECORD, track):
                yield (track - 1) * RECORDS + record - 1, at + _COUNT_FIELD.size + key
            at += _COUNT_FIELD.size + key + data


def _filled(medium: Medium) -> bytes:
    image = bytearray(medium.path.read_bytes())
    found = 0
    for unit, at in records_of(bytes(image)):
        image[at : at + RECORD] = content(medium.key, 0, unit, RECORD)
        found += 1
    assert found == medium.units, f"{medium.path}: {found} records"
    return bytes(image)


def content(key: str, write: int, unit: int, size: int) -> bytes:
    """What write number *write* puts into *unit* of the medium *key*."""
    head = _STAMP.pack(b"SOAK", unit, write)[:size]
    return head + hashlib.shake_128(f"{key}/{write}/{unit}".encode()).digest(size - len(head))


def stamp_of(data: bytes) -> str:
    """For people: which write to which unit *data* looks like."""
    if len(data) < _STAMP.size or not data.startswith(b"SOAK"):
        return f"foreign bytes {data[:16].hex()}"
    _, unit, write = _STAMP.unpack_from(data)
    return f"write {write} of unit {unit}"


def mutated(image: bytes, chance: random.Random) -> bytes:
    """*image* with some bytes changed, most of them where headers and lengths are."""
    data = bytearray(image)
    for _ in range(chance.choice((1, 1, 2, 5, 50))):
        if not data:
            break
        near = chance.choice((32, 32, 520, 700, len(data)))
        at = chance.randrange(min(near, len(data)))
        match chance.randrange(4):
            case 0:
                data[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF))
            case 1:
                data[at] ^= 1 << chance.randrange(8)
            case 2:
                piece = chance.randbytes(chance.choice((2, 4, 8)))
                data[at : at + len(piece)] = piece
            case _:
                data[at : at + 4] = chance.choice((b"\xff" * 4, bytes(4), b"\0\0\0\1"))
    match chance.randrange(8):
        case 0:
            del data[chance.randrange(len(data) + 1) :]
        case 1:
            data += chance.randbytes(chance.choice((1, 511, 512, 4096)))
        case 2 if len(data) > 512:
            del data[len(data) // 512 * 512 - 512 :]
    return bytes(data)


def copy_of(medium: Medium, path: Path, change: Callable[[bytes], bytes]) -> None:
    """Put what *change* makes of *medium* into *path*."""
    if path.is_symlink():
        path.unlink()  # to a console's terminal, which who opens it would get SIGHUP from
    shutil.copyfile(medium.path, path)
    path.write_bytes(change(path.read_bytes()))
