"""The medium of a tape drive: a file in the AWS format, positioned like a tape.

A tape is a row of data blocks and tape marks between the load point and the end of what is
recorded. In the file each stands behind a 6-byte header: length of this segment and length of the
segment before it (both little endian, 16 bits), a flag byte, and a byte that is not used. A block
is one segment or, above 65535 bytes, several. The format is that of P/390 and Hercules.

A position is the offset of a header. Moving forward follows the lengths; moving backward follows
the lengths of the segments before. Nothing in a file is believed before it is checked, so a torn
or foreign file gives a `MediumError` and never an access outside of it.

Writing first cuts the file off behind the position, as writing on a tape makes everything after it
unreadable; a power cut in the middle leaves a shorter tape or a torn last block, never old blocks
in new ones.

This module knows nothing of channel commands, sense data or unit status.
"""

from __future__ import annotations

import enum
import errno
import os
from dataclasses import dataclass
from typing import Final

from ...errors import UserError
from ..identify import Kind, identify
from ..locks import Use
from ..medium import Medium
from .header import FLAG_END, FLAG_MARK, FLAG_START, FLAGS2_HET, FLAGS_HET, FLAGS_KNOWN, HEADER

MAX_SEGMENT: Final = 0xFFFF
"""Bytes of one segment: the length field has 16 bits."""
MAX_BLOCK: Final = 2 * 1024 * 1024
"""Bytes of the longest block that is read. Hercules writes up to as many in segments."""
MAX_SEGMENTS: Final = 1024
"""Segments of the longest block that is read: a header is never far from the next."""
EARLY_WARNING: Final = 128 * 1024
"""Bytes before the end of a tape of limited length where writing begins to warn."""


class Trouble(enum.Enum):
    """Why an operation on the medium failed. A drive turns each into its sense data."""

    LOAD_POINT = "backward motion at the load point"
    VOID = "nothing is recorded here"
    TORN = "the file ends inside a block"
    DAMAGED = "not a block of the AWS format"
    COMPRESSED = "a compressed block, which only HET has; unpack the tape with hetupd -d"
    READ = "the file cannot be read"
    WRITE = "the file cannot be written"
    FULL = "the end of the tape"


class MediumError(Exception):
    """An operation on the medium failed; the position is what it was before."""

    def __init__(self, trouble: Trouble, offset: int) -> None:
        super().__init__(f"{trouble.value} (offset {offset})")
        self.trouble = trouble
        """Why."""
        self.offset = offset
        """Offset in the file of the header concerned."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One header, checked, with the place of its data."""

    offset: int
    """Where the header begins in the file."""
    length: int
    """Bytes of data behind the header; 0 for a tape mark."""
    previous: int
    """Bytes of data of the segment before this one."""
    flags: int
    """FLAG_START, FLAG_MARK, FLAG_END."""

    @property
    def data(self) -> int:
        """Offset of the data."""
        return self.offset + HEADER.size

    @property
    def end(self) -> int:
        """Offset behind the data: that of the next header."""
        return self.data + self.length

    @property
    def is_mark(self) -> bool:
        """This is a tape mark."""
        return bool(self.flags & FLAG_MARK)


@dataclass(frozen=True, slots=True)
class Survey:
    """What is on a tape, from the load point to the end of what is recorded."""

    blocks: tuple[int, ...]
    """Data blocks of each file; a file ends with a tape mark, the last one may be without."""
    marks: int
    """Tape marks."""
    longest: int
    """Bytes of the longest block."""
    trouble: Trouble | None
    """Why the survey ended before the end of the image; None when all of it is well."""
    offset: int
    """Where it ended: the offset of the header concerned, or the size of the image."""


class AwsTape:
    """A tape image in the AWS format, open, with a position. It begins at the load point."""

    def __init__(self, medium: Medium, *, readonly: bool, capacity: int | None = None) -> None:
        """Take over *medium*; *capacity* limits the file to so many bytes."""
        self.medium = medium
        """The file."""
        self._position = 0
        self._before: int | None = None
        self._block = 0
        self._capacity = capacity
        self.readonly = readonly
        """Writing is not allowed: the write-enable ring is out, the file-protect wheel is set."""

    @classmethod
    def open(cls, path: str, *, readonly: bool = False, capacity: int | None = None) -> AwsTape:
        """Open the image *path*; UserError says what is wrong with it and what helps.

        An empty file is a blank tape. What is damaged behind the first header is met by the program
        that reads it, as on a tape.
        """
        try:
            use = Use.of(readonly=readonly)
            medium = Medium.open(path, use.flags, use=use)
        except FileNotFoundError:
            raise UserError(
                f"{path}: no such tape image; an empty file is a blank tape: touch {path}"
            ) from None
        except IsADirectoryError:
            raise UserError(f"{path}: a directory; name a tape image in AWS format") from None
        except OSError as error:
            hint = "" if readonly else "; add `readonly` to use it write-protected"
            raise UserError(f"{path}: {os.strerror(error.errno or 0)}{hint}") from None
        try:
            cls._check_image(medium, path)
        except BaseException:
            medium.close()
            raise
        return cls(medium, readonly=readonly, capacity=capacity)

    @staticmethod
    def _check_image(medium: Medium, path: str) -> None:
        """Refuse what is not a tape image at all."""
        found = identify(path, medium.fd, medium.size_at_open)
        if found.kind not in (Kind.TAPE, Kind.EMPTY) and not found.begins_as_tape:
            raise found.refusal(Kind.TAPE)

    def close(self) -> None:
        """Let the file go; what was written goes to stable storage meanwhile."""
        self.medium.close()

    # ------------------------------------------------------------------------------- position
    @property
    def block_number(self) -> int:
        """Blocks and tape marks between the load point and the position."""
        return self._block

    @property
    def at_load_point(self) -> bool:
        """The tape is rewound."""
        return self._position == 0

    @property
    def past_early_warning(self) -> bool:
        """A tape of limited length is nearly written to its end."""
        if self._capacity is None or self._position == 0:
            return False
        return self._position + EARLY_WARNING > self._capacity

    def rewind(self) -> None:
        """Go to the load point."""
        self._position, self._before, self._block = 0, None, 0

    def space_forward(self) -> bool:
        """Pass the next block or tape mark; gives False when it was a tape mark."""
        block = self._block_at(self._position)
        self._pass(block)
        return not block[-1].is_mark

    def space_backward(self) -> bool:
        """Pass the block or tape mark before the position; gives False for a tape mark."""
        block = self._block_before()
        self._pass_back(block)
        return not block[0].is_mark

    def read(self) -> bytes | None:
        """The next block, which is passed; None when it is a tape mark, which is passed too."""
        block = self._block_at(self._position)
        data = self._data(block)
        self._pass(block)
        return data

    def read_backward(self) -> bytes | None:
        """The block before the position, first byte first, which is passed; None: a tape mark."""
        block = self._block_before()
        data = self._data(block)
        self._pass_back(block)
        return data

    def survey(self) -> Survey:
        """Look at the whole tape, and rewind. Reads every header: for tools, not for a drive."""
        self.rewind()
        blocks, marks, longest = [0], 0, 0
        trouble: Trouble | None = None
        try:
            while True:
                block = self._block_at(self._position)
                self._pass(block)
                if block[0].is_mark:
                    marks += 1
                    blocks.append(0)
                else:
                    blocks[-1] += 1
                    longest = max(longest, sum(segment.length for segment in block))
        except MediumError as error:
            trouble = None if error.trouble is Trouble.VOID else error.trouble
            offset = error.offset
        self.rewind()
        return Survey(tuple(blocks), marks, longest, trouble, offset)

    # -------------------------------------------------------------------------------- writing
    def write(self, data: bytes) -> None:
        """Write one block (1 byte or more); the tape ends behind it."""
        if not data:
            raise ValueError("a block has at least one byte")
        pieces = [data[at : at + MAX_SEGMENT] for at in range(0, len(data), MAX_SEGMENT)]
        previous = self._previous_length()
        image = bytearray()
        last = 0
        for index, piece in enumerate(pieces):
            flags = FLAG_START if index == 0 else 0
            flags |= FLAG_END if index == len(pieces) - 1 else 0
            last = len(image)
            image += HEADER.pack(len(piece), previous, flags, 0) + piece
            previous = len(piece)
        self._append(bytes(image), last)

    def write_mark(self) -> None:
        """Write a tape mark; the tape ends behind it."""
        self._append(HEADER.pack(0, self._previous_length(), FLAG_MARK, 0), 0)

    def erase(self) -> None:
        """Erase everything behind the position."""
        self._cut()

    def sync(self) -> None:
        """Wait until what was written is on the disk."""
        try:
            self.medium.secure()
        except OSError:
            raise MediumError(Trouble.WRITE, self._position) from None

    # ------------------------------------------------------------------------------- the file
    def _pass(self, block: list[Segment]) -> None:
        self._position, self._before = block[-1].end, block[-1].offset
        self._block += 1

    def _pass_back(self, block: list[Segment]) -> None:
        first = block[0]
        self._position = first.offset
        # A length that points before the file is found when the tape moves there.
        self._before = first.offset - HEADER.size - first.previous if first.offset else None
        self._block -= 1

    def _size(self) -> int:
        try:
            return self.medium.size()
        except OSError:
            raise MediumError(Trouble.READ, self._position) from None

    def _pread(self, length: int, offset: int) -> bytes:
        try:
            return self.medium.read(length, offset)
        except OSError:
            raise MediumError(Trouble.READ, offset) from None

    def _segment(self, offset: int, size: int) -> Segment:
        """The header at *offset* of a file of *size* bytes, checked."""
        header = self._pread(HEADER.size, offset)
        if not header:
            raise self._cut_short(offset) if offset > size else MediumError(Trouble.VOID, offset)
        if len(header) < HEADER.size:
            raise MediumError(Trouble.TORN, offset)
        length, previous, flags, more = HEADER.unpack(header)
        if (flags & FLAGS_HET or more == FLAGS2_HET) and not flags & ~(FLAGS_KNOWN | FLAGS_HET):
            raise MediumError(Trouble.COMPRESSED, offset)
        segment = Segment(offset, length, previous, flags)
        if flags & ~FLAGS_KNOWN or segment.is_mark == bool(length):
            raise MediumError(Trouble.DAMAGED, offset)
        if segment.end > size:
            raise MediumError(Trouble.TORN, offset)
        return segment

    def _block_at(self, offset: int) -> list[Segment]:
        """The segments of the block at *offset*; a tape mark is one segment."""
        size = self._size()
        segment = self._segment(offset, size)
        if segment.is_mark:
            return [segment]
        if not segment.flags & FLAG_START:
            raise MediumError(Trouble.DAMAGED, offset)
        block = [segment]
        total = segment.length
        while not segment.flags & FLAG_END:
            if segment.end == size:
                raise MediumError(Trouble.TORN, segment.end)
            segment = self._segment(segment.end, size)
            total += segment.length
            block.append(segment)
            if segment.flags & (FLAG_START | FLAG_MARK) or self._too_long(block, total):
                raise MediumError(Trouble.DAMAGED, segment.offset)
        return block

    def _block_before(self) -> list[Segment]:
        """The segments of the block that ends at the position."""
        if self._position == 0:
            raise MediumError(Trouble.LOAD_POINT, 0)
        size = self._size()
        block: list[Segment] = []
        total, end, offset = 0, self._position, self._before
        while True:
            if offset is None or offset < 0:
                raise MediumError(Trouble.DAMAGED, end)
            segment = self._segment(offset, size)
            total += segment.length
            if segment.end != end or self._too_long(block, total) or (segment.is_mark and block):
                raise MediumError(Trouble.DAMAGED, offset)
            if bool(segment.flags & FLAG_END) == bool(block) and not segment.is_mark:
                raise MediumError(Trouble.DAMAGED, offset)  # the last segment, and only it, ends
            block.insert(0, segment)
            if segment.is_mark or segment.flags & FLAG_START:
                return block
            end, offset = offset, offset - HEADER.size - segment.previous

    @staticmethod
    def _too_long(block: list[Segment], total: int) -> bool:
        return total > MAX_BLOCK or len(block) > MAX_SEGMENTS

    def _data(self, block: list[Segment]) -> bytes | None:
        if block[0].is_mark:
            return None
        data = b"".join([self._pread(segment.length, segment.data) for segment in block])
        if len(data) != sum(segment.length for segment in block):
            raise MediumError(Trouble.TORN, block[0].offset)  # cut off since the headers were read
        return data

    def _previous_length(self) -> int:
        """Length of the segment that ends at the position: what a new header tells."""
        if self._before is None:
            return 0
        return self._position - self._before - HEADER.size

    def _cut_short(self, offset: int) -> MediumError:
        """What the tape stands on at *offset* was cut off behind our back."""
        self.medium.tell_cut()
        return MediumError(Trouble.TORN, offset)

    def _cut(self) -> None:
        """Cut the file off at the position."""
        size = self._size()
        if size < self._position:
            raise self._cut_short(self._position)
        if size > self._position:
            try:
                self.medium.truncate(self._position)
            except OSError:
                raise MediumError(Trouble.WRITE, self._position) from None

    def _append(self, image: bytes, last: int) -> None:
        """Write *image* at the position, its last header at *last*; the tape ends behind it."""
        start = self._position
        if self._capacity is not None and start + len(image) > self._capacity:
            raise MediumError(Trouble.FULL, start)
        self._cut()
        try:
            self.medium.write(image, start)
        except OSError as error:
            self._cut()
            full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            raise MediumError(Trouble.FULL if full else Trouble.WRITE, start) from None
        self._position = start + len(image)
        self._before = start + last
        self._block += 1
