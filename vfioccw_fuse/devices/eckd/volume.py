"""Volumes as a whole: make an image, say what is on it, check every track of it.

This is what `vfioccw image create|info|check` calls; nothing here knows channel programs.
"""

from __future__ import annotations

import enum
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from ...errors import UserError
from ..making import new_file, write_at, writing
from ..options import Option, Owner
from . import labels, unwritten, vtoc
from .geometry import HEADS, MOST_CYLINDERS, fits, model_of, records_per_track
from .image import HEADER_LENGTH, SERIAL_LENGTH, CkdImage, new_header
from .track import COUNT, HOME_ADDRESS, SLOT, Layout, survey

Format = Literal["ldl", "cdl", "none"]
FORMATS: Final[tuple[Format, ...]] = ("cdl", "ldl", "none")
"""What `create` can put on a volume: the compatible or the Linux disk layout, or empty tracks."""
Progress = Callable[[int, int], None]
"""Called now and then with (cylinders done, cylinders in all)."""

CYLINDER_LENGTH: Final = HEADS * SLOT
FULL_UP_TO: Final = 3339
"""Cylinders of the largest volume (a 3390-3) of which every track is written unless said."""


def _parse_serial(text: str) -> str:
    if len(text) != SERIAL_LENGTH or not (text.isascii() and text.isalnum()):
        raise UserError(f"{SERIAL_LENGTH} letters or digits")
    return text.upper()


SERIAL: Final = Option(
    word="serial",
    owner=Owner.DEVICE,
    metavar="SERIAL",
    help=f"serial number, {SERIAL_LENGTH} letters or digits; the image's unless said",
    parse=_parse_serial,
)


# ------------------------------------------------------------------------------------------ create


def create(
    path: str | os.PathLike[str],
    cylinders: int,
    volser: str | None = None,
    format: Format = "ldl",
    serial: str | None = None,
    *,
    full: bool | None = None,
    replace: bool = False,
    progress: Progress | None = None,
) -> None:
    """Make *path* a 3390 of *cylinders* (1 to MOST_CYLINDERS), formatted as dasdfmt would.

    *format* `none` leaves every track with nothing but its home address and R0, as `dasdinit -r`.
    Unless *full*, tracks without data are left to `unwritten`, and the file is sparse; without a
    word, so is one of more than FULL_UP_TO cylinders. *volser* is the volume serial for the label
    (default 0X0000), *serial* the device's serial number of 12 letters and digits (default: random
    digits). An existing file is replaced, as one step, only if *replace* and if nobody uses it.
    UserError for values that are wrong and files that cannot be made; nothing is left then.
    """
    path = os.fspath(path)
    if not 1 <= cylinders <= MOST_CYLINDERS:
        raise UserError(f"{cylinders} cylinders: a 3390 has 1 to {MOST_CYLINDERS}")
    if format not in FORMATS:
        raise UserError(f"format {format}: one of {', '.join(FORMATS)}")
    if format == "none" and volser is not None:
        raise UserError("a volume of format none has no label for a serial; choose ldl or cdl")
    volser = labels.check_volser(volser if volser is not None else labels.DEFAULT_VOLSER)
    serial = SERIAL.read(serial) if serial is not None else random_serial()
    if full is None:
        full = cylinders <= FULL_UP_TO
    left = unwritten.NONE if full else unwritten.EMPTY if format == "none" else unwritten.BLOCKS
    header = new_header(serial, left).pack()
    with new_file(path, replace=replace) as fd, writing(path):
        os.ftruncate(fd, HEADER_LENGTH + cylinders * CYLINDER_LENGTH)
        write_at(fd, header, 0)
        _write_tracks(fd, cylinders, volser, format, full, progress)


def random_serial() -> str:
    """A serial number of a device, 12 digits."""
    return f"{secrets.randbelow(10**SERIAL_LENGTH):0{SERIAL_LENGTH}d}"


def _write_tracks(
    fd: int, cylinders: int, volser: str, format: Format, full: bool, progress: Progress | None
) -> None:
    """Write the tracks that have data or, if *full*, all of them."""
    special: dict[int, list[labels.Record]] = {0: []}
    if format == "ldl":
        special = labels.ldl_tracks(volser, cylinders)
    elif format == "cdl":
        special = labels.cdl_tracks(volser, cylinders)
    for track, records in special.items():
        data = labels.pack_track(*divmod(track, HEADS), records)
        write_at(fd, data, HEADER_LENGTH + track * SLOT)
    if not full:
        return
    plain = unwritten.Unwritten(unwritten.EMPTY if format == "none" else unwritten.BLOCKS)
    for track in range(len(special), cylinders * HEADS):
        write_at(fd, plain.content(track), HEADER_LENGTH + track * SLOT)
        if progress is not None and track % HEADS == HEADS - 1:
            progress(track // HEADS + 1, cylinders)


def fill(path: str | os.PathLike[str], progress: Progress | None = None) -> bool:
    """Write all tracks of *path* that nobody has written, so that the Hercules tools read them.

    False if there was none. UserError if it is no 3390 image, if somebody uses it, and if there is
    no room for it; what has been written by then stays.
    """
    image = CkdImage.open(path)
    try:
        if image.unwritten not in unwritten.KINDS:
            return False
        for track in image.write_all():
            if progress is not None and track % HEADS == HEADS - 1:
                progress(track // HEADS + 1, image.cylinders)
        return True
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from None
    finally:
        image.close()


# -------------------------------------------------------------------------------------------- info


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What an image is and what is on it."""

    paths: tuple[str, ...]
    """Its file, or its files in order."""
    cylinders: int
    heads: int
    tracks: int
    slot: int
    """Bytes of the image for each track."""
    model: int
    """The number after the dash: 3390-1, -2, -3, -9, -27, -54."""
    serial: str
    """Serial number of the device, 12 characters."""
    size: int
    """Bytes of all files."""
    allocated: int
    """Bytes that they take on their file system."""
    layout: str
    """`cdl`, `ldl`, `cms`, `os` (a standard label but no Linux layout), `none` (no label)."""
    volser: str | None
    """Volume serial of the label."""
    block_size: int | None
    """Bytes of a block, if the volume has blocks."""
    blocks_per_track: int | None
    """Blocks that fit on a track, if the volume has blocks."""
    unwritten: str | None
    """What tracks hold that were never written, in words; None if all were."""


def info(path: str | os.PathLike[str]) -> ImageInfo:
    """Look at the header and the first tracks of *path*; UserError if it is no 3390 image."""
    image = CkdImage.open(path, readonly=True)
    try:
        status = [os.stat(name) for name in image.paths]
        layout, volser, block = vtoc.label_of(image)
        return ImageInfo(
            paths=tuple(image.paths),
            cylinders=image.cylinders,
            heads=HEADS,
            tracks=image.tracks,
            slot=SLOT,
            model=model_of(image.cylinders).number,
            serial=image.serial,
            size=sum(entry.st_size for entry in status),
            allocated=sum(entry.st_blocks * 512 for entry in status),
            layout=layout,
            volser=volser,
            block_size=block,
            blocks_per_track=records_per_track(block) if block else None,
            unwritten=unwritten.KINDS.get(image.unwritten),
        )
    finally:
        image.close()


# ------------------------------------------------------------------------------------------- check


class Severity(enum.Enum):
    """How bad a problem is."""

    ERROR = "error"
    """The track is not well formed: reading it ends with invalid track format, data may be lost."""
    WARNING = "warning"
    """The track can be read, but is not as a system would have written it."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with one track."""

    cylinder: int
    head: int
    severity: Severity
    what: str
    """One line for people."""

    def __str__(self) -> str:
        return f"cylinder {self.cylinder} head {self.head}: {self.severity.value}: {self.what}"


def check(path: str | os.PathLike[str], progress: Progress | None = None) -> list[Problem]:
    """Check every track of *path*; an empty list means that all is well.

    Looked at are: the home address, record 0, the chain of count fields up to the end marker, the
    capacity of a track, the addresses and the order of the count fields, and on volumes of blocks
    (LDL, CDL) that every track has the blocks that the label promises. A track that was torn while
    it was formatted breaks at least one of these; one that was never written is well. A block whose
    new data replaced only part of the old cannot be told, as the format has no checksums. UserError
    if it is no 3390 image at all.
    """
    image = CkdImage.open(path, readonly=True)
    try:
        return list(_check_tracks(image, progress))
    finally:
        image.close()


def _check_tracks(image: CkdImage, progress: Progress | None) -> Iterator[Problem]:
    layout, _, block = vtoc.label_of(image)
    first_plain = {"cdl": labels.FIRST_DATA_TRACK, "ldl": 0}.get(layout, image.tracks)
    plain: tuple[list[int], list[int]] | None = None
    if block and first_plain < image.tracks:
        number = records_per_track(block)
        plain = [0] * (number + 1), [8] + [block] * number
    slot = bytearray(SLOT)
    following = image.next_written(0)
    while (track := following) < image.tracks:
        cylinder, head = divmod(track, HEADS)
        problems: Iterator[tuple[Severity, str]]
        try:
            whole = image.read_track(track, slot)
        except OSError as error:
            problems = iter([(Severity.ERROR, f"cannot be read: {error.strerror}")])
        else:
            if whole:
                expected = plain if track >= first_plain else None
                problems = _check_track(slot, cylinder, head, expected)
            else:
                problems = iter([(Severity.ERROR, "the file ends before the end of the track")])
        for severity, what in problems:
            yield Problem(cylinder, head, severity, what)
        following = image.next_written(track + 1)
        if progress is not None and following // HEADS > cylinder:
            progress(following // HEADS, image.cylinders)


def _check_track(
    slot: bytearray, cylinder: int, head: int, plain: tuple[list[int], list[int]] | None
) -> Iterator[tuple[Severity, str]]:
    """What is wrong with one track; *plain*: the key and data lengths of a track of blocks."""
    flag, its_cylinder, its_head = HOME_ADDRESS.unpack_from(slot)
    if (flag, its_cylinder, its_head) != (0, cylinder, head):
        yield (
            Severity.ERROR,
            f"the home address is {bytes(slot[:5]).hex(' ')}, not that of this track",
        )
        return
    layout = survey(slot)
    if not layout.whole:
        yield (
            Severity.ERROR,
            f"no end marker: behind record {_last_number(slot, layout)}, at byte {layout.end}, "
            "is no record that fits; the track was torn or overwritten",
        )
    if not layout.starts:
        if layout.whole:
            yield Severity.ERROR, "record 0 is missing"
        return
    yield from _check_counts(slot, layout, cylinder, head)
    if layout.whole and not fits(list(zip(layout.keys, layout.datas, strict=True))):
        yield Severity.WARNING, "more than fits on a track of a 3390"
    if plain is not None and layout.whole and (layout.keys, layout.datas) != plain:
        yield (
            Severity.WARNING,
            f"{len(layout.starts) - 1} records, not {len(plain[0]) - 1} blocks of {plain[1][1]} "
            "bytes as on the rest of the volume",
        )


def _check_counts(
    slot: bytearray, layout: Layout, cylinder: int, head: int
) -> Iterator[tuple[Severity, str]]:
    """What is wrong with the count fields: the first of each kind only."""
    previous = -1
    strange = out_of_order = False
    for index, start in enumerate(layout.starts):
        its_cylinder, its_head, number, key, _ = COUNT.unpack_from(slot, start)
        if index == 0 and (number or key):
            yield Severity.ERROR, f"the first record is record {number}, not record 0"
        if (its_cylinder, its_head) != (cylinder, head) and not strange:
            strange = True
            yield (
                Severity.WARNING,
                f"record {number} bears the address of cylinder {its_cylinder} head {its_head}",
            )
        if number <= previous and not out_of_order:
            out_of_order = True
            yield Severity.WARNING, f"record {number} follows record {previous}"
        previous = number


def _last_number(slot: bytearray, layout: Layout) -> str:
    if not layout.starts:
        return "none"
    return str(slot[layout.starts[-1] + 4])
