"""What a file is, known by its content: a medium of ours, or a foreign one and what converts it.

Everybody asks here who takes a file for a medium: the devices that are attached, `image info` and
`image check`, `write`. A few reads tell: the beginning, the last 512 bytes, and the headers of what
may be a tape, from one to the next.

A raw disk has no mark of its own: it is what is nothing else and has whole blocks. What a guest
writes on it may look like anything, so a match must be strong: a magic of at least four bytes with
what stands beside it, or a chain of headers. A guest that wants to can make its disk look foreign;
the next attach is refused then, and `format=raw` says that it is a disk all the same.

Sources: Hercules (`dasdblks.h`, `dasdtab.c`, `hetlib.h`, `ftlib.h`, `omatape.c`), SIMH's *Magtape
Representation and Handling*, QEMU's block drivers, and the formats' own specifications.
"""

from __future__ import annotations

import codecs
import enum
import os
import re
import shlex
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from ..errors import UserError, reason
from .tape.header import FLAG_END, FLAG_MARK, FLAG_START, FLAGS2_HET, FLAGS_HET, FLAGS_KNOWN, HEADER

BLOCK: Final = 512
"""Bytes of a block of a raw disk."""
CKD_MAGIC: Final = b"CKD_P370"
"""How a CKD image begins."""
CKD_HEADER: Final = 512
"""Bytes of its header."""

_CKD_TYPE = 16  # where the header has the low byte of the device type
_CKD_SEQUENCE = 17  # and the number of this file among several
_HEAD = 4096  # bytes of the beginning that are looked at
_SEVERAL = 4  # headers in a chain that no chance makes
_MOST_HEADERS = 1024  # of a tape are followed at most: a tape may be long

_CKD_TYPES = {
    0x05: "2305", 0x11: "2311", 0x14: "2314", 0x30: "3330", 0x40: "3340", 0x45: "9345",
    0x50: "3350", 0x75: "3375", 0x80: "3380", 0x90: "3390",
}  # fmt: skip
_HERCULES = re.compile(rb"(CKD|FBA)_([PCS])(370|064)")
_FAKE = re.compile(rb"([0-9A-Fa-f]{4})([0-9A-Fa-f]{4})([0-9A-Fa-f]{4})")
_INMR01 = "INMR01".encode("cp037")
_VPC_VERSION = slice(12, 16), b"\0\1\0\0"
_TEXT_CONTROLS = "\t\n\r\f"


class Kind(enum.Enum):
    """What a file is to us. The values are what a device that takes it says it wants."""

    RAW = "a raw disk"
    CKD = "a CKD image"
    TAPE = "a tape image in AWS format"
    EMPTY = "an empty file"
    """As a tape it is blank."""
    FOREIGN = "a known format that is not ours"
    UNKNOWN = "nothing known"
    """And no whole blocks."""


_REMEDIES: Final[Mapping[tuple[Kind, Kind | None], str]] = {
    (Kind.EMPTY, Kind.RAW): "make a disk with vfioccw image create fba",
    (Kind.RAW, Kind.CKD): "{}, or make one with vfioccw image create 3390",
    (Kind.EMPTY, Kind.CKD): "make one with vfioccw image create 3390",
    (Kind.UNKNOWN, Kind.CKD): "make one with vfioccw image create 3390",
    (Kind.RAW, Kind.TAPE): "{}; an empty file is a blank tape",
    (Kind.UNKNOWN, Kind.TAPE): "an empty file is a blank tape",
}
"""What helps by what the file is and what is wanted, where it is not the remedy alone."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a file is."""

    path: str
    """The file, as it was given."""
    size: int
    """Its bytes."""
    kind: Kind
    what: str
    """What it is, for people: "a raw disk", "a compressed tape (HET)"."""
    remedy: str
    """What helps who wants to attach it and cannot."""
    begins_as_tape: bool = False
    """The first header is that of an AWS tape; with kind RAW too little follows to be sure."""

    def refusal(self, wanted: Kind | None = None) -> UserError:
        """Why it is not taken by a device that takes *wanted*, and what helps."""
        remedy = _REMEDIES.get((self.kind, wanted), "{}").format(self.remedy)
        if wanted is Kind.RAW and not self.size % BLOCK and self.kind is not Kind.EMPTY:
            remedy += ", or format=raw takes it as it is"
        what = self.what
        if not (
            wanted is None
            or self.kind is Kind.FOREIGN
            or (self.kind is Kind.UNKNOWN and wanted is Kind.RAW)
        ):
            what += f", not {wanted.value}"
        return UserError(f"{self.path}: {what}; {remedy}")


class _Foreign(NamedTuple):
    """A format that is not ours."""

    what: str
    remedy: str


def identify_file(path: str) -> Identity:
    """What the file or block device *path* is; UserError if it cannot be opened or read."""
    try:
        # Without O_NONBLOCK a pipe would hold us up until somebody writes.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; vfioccw image create makes one") from None
    except PermissionError:
        raise UserError(f"{path}: permission denied; make it readable (chmod)") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be opened: {reason(error)}; name a file") from None
    try:
        mode = os.fstat(fd).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
            raise UserError(f"{path}: not an ordinary file; name a file, or a block device")
        return identify(path, fd, os.lseek(fd, 0, os.SEEK_END))
    finally:
        os.close(fd)


def identify(path: str, fd: int, size: int) -> Identity:
    """What the open file *fd* of *size* bytes is; *path* is for what is said of it.

    Reads and changes nothing. It may wait for its file system. UserError if it cannot be read.
    """
    try:
        return _identify(path, fd, size)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read: {reason(error)}; look at the disk that it is on, use a copy"
        ) from None


def _identify(path: str, fd: int, size: int) -> Identity:
    if not size:
        remedy = "vfioccw image create makes a disk"
        return Identity(path, size, Kind.EMPTY, "an empty file", remedy)
    head = os.pread(fd, _HEAD, 0)
    if head.startswith(CKD_MAGIC) and len(head) >= CKD_HEADER:
        device = _ckd_type(head)
        if device == "3390":
            what, remedy = "a CKD image of a 3390", "attach it as 3390"
            if (part := head[_CKD_SEQUENCE]) > 1:
                what, remedy = f"file {part} of {what}", "attach the first file as 3390"
            return Identity(path, size, Kind.CKD, what, remedy)
    file = shlex.quote(path)
    foreign = _by_beginning(head, size, file) or _by_end(fd, size, file)
    if foreign is not None:
        return Identity(path, size, Kind.FOREIGN, *foreign)
    tape = _Chain.of(fd, size)
    if tape.certain or (tape.headers and size % BLOCK):
        if tape.compressed:
            return Identity(path, size, Kind.FOREIGN, *_het(tape.compressed, file))
        what, remedy = "a tape in AWS format", "attach it as 3490 (or 3480, 3420)"
        return Identity(path, size, Kind.TAPE, what, remedy, begins_as_tape=True)
    foreign = _other_tape(fd, size) or _text(fd, size, head)
    if foreign is not None:
        return Identity(path, size, Kind.FOREIGN, *foreign)
    begins = bool(tape.headers) and not tape.compressed
    if size % BLOCK:
        what = f"no known format, and its {size} bytes are no multiple of {BLOCK}"
        remedy = f"if it is a raw disk: truncate -s %{BLOCK} {file} pads it"
        return Identity(path, size, Kind.UNKNOWN, what, remedy, begins)
    return Identity(path, size, Kind.RAW, "a raw disk", "attach it as fba", begins)


# --------------------------------------------------------------------------------- magic numbers


def _ckd_type(head: bytes) -> str:
    """The device type in the header of a CKD image."""
    low = head[_CKD_TYPE]
    return _CKD_TYPES.get(low, f"device of type xx{low:02x}")


def _hercules(head: bytes, size: int, file: str) -> _Foreign | None:
    """What begins as the disks of Hercules do, but for CKD images of a 3390."""
    match = _HERCULES.match(head)
    if match is None or match[0] in (b"FBA_P370", b"FBA_P064"):  # no file begins so
        return None
    family, use, width = (part.decode() for part in match.groups())
    if len(head) < CKD_HEADER:
        return _Foreign(
            f"a {family} image cut short: {size} bytes of a header of {CKD_HEADER}",
            "use a complete copy",
        )
    device = _ckd_type(head) if family == "CKD" else ""
    kind = {"P": f"{family} image", "C": f"compressed {family} image"}.get(
        use, f"shadow file of a compressed {family} image"
    )
    bits = "64-bit " if width == "064" else ""
    name = {"CKD": "CCKD", "FBA": "CFBA"}[family] + ("64" if bits else "")
    what = f"a {bits}{kind}" + (f" of a {device}" if device else "")
    if use != "P":
        what += f" ({name})"
    if device and device != "3390":
        return _Foreign(
            what,
            "only a 3390 can be attached: copy its data sets to one (vfioccw image create 3390) "
            "in a system that has both",
        )
    new = f"NEW.{'ckd' if family == 'CKD' else 'img'}"
    files = f"BASE sf={file} {new}" if use == "S" else f"{file} {new}"
    if bits:
        remedy = f"convert it with dasdcopy64 -lfs -o {family} {files} (Hercules 4)"
    else:
        program = {"CKD": "cckd2ckd", "FBA": "cfba2fba"}[family]
        remedy = f"convert it with {program} -lfs {files} (package hercules)"
    return _Foreign(what, f"{remedy} and attach that as {'3390' if device else 'fba'}")


def _by_beginning(head: bytes, size: int, file: str) -> _Foreign | None:
    """What has a magic number at its beginning."""
    hercules = _hercules(head, size, file)
    if hercules is not None:
        return hercules
    for name, program, marks in _COMPRESSED:
        if any(head.startswith(mark) for mark in marks):
            return _Foreign(
                f"a file compressed by {name}",
                f"unpack it with {program.format(file=file)} and attach that",
            )
    for driver, offset, marks in _QEMU:
        if any(head.startswith(mark, offset) for mark in marks):
            return _qemu(driver, file)
    if head.startswith(b"LUKS\xba\xbe\0\1"):
        return _Foreign(
            "a disk encrypted by LUKS",
            "convert it with qemu-img convert --object secret,id=key,file=KEYFILE --image-opts "
            f"driver=luks,key-secret=key,file.filename={file} -O raw NEW.img (package qemu-utils) "
            "and attach that as fba",
        )
    if head.startswith(b"LUKS\xba\xbe\0\2"):
        return _Foreign(
            "a disk encrypted by LUKS, version 2",
            f"open it with cryptsetup open {file} NAME and attach /dev/mapper/NAME as fba",
        )
    if head.startswith(b"@TDF"):
        return _Foreign(
            "the description of an OMA tape (TDF)",
            "no tool converts it: read the tape in Hercules and write an AWS tape there",
        )
    if head.startswith(_INMR01, 2) and head[1] & 0xE0 == 0xE0:
        return _Foreign(
            "a TSO TRANSMIT file (XMIT)",
            "dasdload (package hercules) makes a 3390 with it",
        )
    return None


_COMPRESSED: Final = (
    ("gzip", "gunzip -c {file} > NEW", [b"\x1f\x8b\x08%c" % flags for flags in range(32)]),
    ("xz", "xz -dc {file} > NEW", [b"\xfd7zXZ\0"]),
    (
        "bzip2",
        "bzip2 -dc {file} > NEW",
        [
            b"BZh%d" % level + mark
            for level in range(1, 10)
            for mark in (b"1AY&SY", b"\x17rE8P\x90")  # a block, or the end at once
        ],
    ),
    ("zstd", "zstd -dc {file} > NEW", [b"\x28\xb5\x2f\xfd"]),
    ("zip", "unzip {file}", [b"PK\3\4", b"PK\5\6"]),
)
"""Who made it, what unpacks it, how it begins."""

_QEMU: Final = (
    ("qcow", 0, [b"QFI\xfb\0\0\0\1"]),
    ("qcow2", 0, [b"QFI\xfb\0\0\0\2", b"QFI\xfb\0\0\0\3"]),
    ("vmdk", 0, [b"KDMV", b"COWD", b"# Disk DescriptorFile"]),
    ("vdi", 64, [b"\x7f\x10\xda\xbe"]),
    ("vhdx", 0, [b"vhdxfile"]),
    ("vpc", 0, [b"conectix"]),
)
"""QEMU's name of the format, where its mark is, and the marks."""


def _qemu(driver: str, file: str) -> _Foreign:
    """A disk image that QEMU's *driver* knows."""
    return _Foreign(
        f"a disk image in {driver} format",
        f"convert it with qemu-img convert -f {driver} -O raw {file} NEW.img (package qemu-utils) "
        "and attach that as fba",
    )


def _by_end(fd: int, size: int, file: str) -> _Foreign | None:
    """What has its mark in the last 512 bytes: a disk of Virtual PC of fixed size."""
    if size <= BLOCK:
        return None
    footer = os.pread(fd, BLOCK, size - BLOCK)
    where, version = _VPC_VERSION
    if footer.startswith(b"conectix") and footer[where] == version:
        return _qemu("vpc", file)
    return None


# ----------------------------------------------------------------------------------------- tapes


@dataclass(frozen=True, slots=True)
class _Chain:
    """The headers of an AWS or HET tape, as far as they follow from each other."""

    headers: int
    """How many."""
    certain: bool
    """They are several, or the file ends where the last block does."""
    compressed: int
    """All flags of HET in them; FLAGS2_HET is none of the others."""

    @classmethod
    def of(cls, fd: int, size: int) -> _Chain:
        """Follow the headers from the beginning of a file."""
        offset = previous = headers = compressed = 0
        inside = False
        while offset < size and headers < _MOST_HEADERS:
            header = os.pread(fd, HEADER.size, offset)
            if len(header) < HEADER.size:
                break
            length, before, flags, more = HEADER.unpack(header)
            mark = bool(flags & FLAG_MARK)
            if (
                before != previous
                or mark == bool(length)
                or flags & ~(FLAGS_KNOWN | FLAGS_HET)
                or (inside if mark else bool(flags & FLAG_START) == inside)
            ):
                break
            compressed |= flags & FLAGS_HET
            if more == FLAGS2_HET:
                compressed |= more
            inside = not (mark or flags & FLAG_END)
            offset, previous = offset + HEADER.size + length, length
            headers += 1
        certain = headers > 0 and (headers >= _SEVERAL or offset == size)
        return cls(headers, certain, compressed)


def _het(compressed: int, file: str) -> _Foreign:
    """A tape with blocks that are compressed as the flags *compressed* say."""
    hercules = "Hercules 4" if compressed & FLAGS2_HET else "package hercules"
    return _Foreign(
        "a compressed tape (HET)",
        f"unpack it with hetupd -d {file} NEW.aws ({hercules}) and attach that as 3490",
    )


def _other_tape(fd: int, size: int) -> _Foreign | None:
    """A tape in a format without a magic number."""
    if _is_faketape(fd, size):
        return _Foreign(
            "a FakeTape",
            "no tool converts it: read it in Hercules and write an AWS tape there",
        )
    if _is_simh(fd, size):
        return _Foreign(
            "a tape in SIMH format (.tap)",
            "no tool converts it: read it in SIMH and write an AWS tape there (attach -f)",
        )
    return None


def _is_faketape(fd: int, size: int) -> bool:
    """Whether blocks follow that begin as those of a FakeTape do.

    That is the length of the block before, that of this one, and the XOR of both, in hex.
    """
    offset = previous = blocks = 0
    while offset < size and blocks < _SEVERAL:
        match = _FAKE.fullmatch(os.pread(fd, 12, offset))
        if match is None:
            return False
        before, length, check = (int(field, 16) for field in match.groups())
        # Tape marks alone are a file of the digit zero.
        if before != previous or check != before ^ length or not (length or blocks):
            return False
        offset, previous = offset + 12 + length, length
        blocks += 1
    return blocks == _SEVERAL or offset == size


def _is_simh(fd: int, size: int) -> bool:
    """Whether records follow that are framed as SIMH does it; the first is no tape mark.

    The length before a record, of 32 bits, little endian, is said again behind it, at an even
    offset. A tape mark is a length of zero; all ones are the end.
    """
    offset = records = headers = 0
    while offset < size and records < _SEVERAL and headers < _MOST_HEADERS:
        header = os.pread(fd, 4, offset)
        if header == b"\xff" * 4:
            return records > 0
        length = int.from_bytes(header, "little")
        offset += 4
        if length:
            offset += (length & 0xFFFFFF) + (length & 1) + 4
            if length & 0x7F000000 or os.pread(fd, 4, offset - 4) != header:
                return False
            records += 1
        elif not records:
            return False
        headers += 1
    return records == _SEVERAL or (records > 0 and offset == size)


# ------------------------------------------------------------------------------------------ text


def _text(fd: int, size: int, head: bytes) -> _Foreign | None:
    """Lines of text, as far as beginning and end show."""
    if b"\n" not in head:
        return None
    tail = os.pread(fd, BLOCK, max(0, size - BLOCK))
    # Where the pieces are cut a letter may be cut, too.
    for piece in (head, tail.lstrip(bytes(range(0x80, 0xC0)))):
        try:
            text = codecs.getincrementaldecoder("utf-8")().decode(piece)
        except UnicodeDecodeError:
            return None
        if not all(letter.isprintable() or letter in _TEXT_CONTROLS for letter in text):
            return None
    return _Foreign(
        "a text file",
        "name an image (vfioccw image create makes one); a card reader takes it: 3505, ascii",
    )
