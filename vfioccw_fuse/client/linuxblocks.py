"""The blocks of a 3390 as Linux numbers them, on a volume that dasdfmt made.

Two layouts have blocks. On the Linux disk layout every record of every track is one. On the
compatible disk layout tracks 0 and 1 hold an OS volume's labels as well, whose records have keys
and are shorter: such a block is key and data, then bytes of e5. Block *n* is record *n* % per track
+ 1 of track *n* // per track. Rules: `dasd_eckd.c`, dasd_eckd_end_analysis, dasd_eckd_cdl_special
and dasd_eckd_build_cp_cmd_single.
"""

from collections.abc import Iterator
from typing import Final

from ..devices import dasd
from ..devices.eckd import codes
from ..devices.eckd.codes import Count
from ..regions.codec import Buffer
from .eckd import EckdDisk, Move
from .faults import ProgramFailed, Unsupported
from .program import Program

MOST_BLOCKS: Final = 96
"""The most blocks of one channel program here; Linux allows 190."""
SHORT_FILL: Final = b"\xe5"
"""What follows key and data of a record that is shorter than a block."""
BLOCK_SIZES: Final = (512, 1024, 2048, 4096)
"""What dasdfmt formats, and Linux takes."""
_LABELS = ((4, 24), (4, 144), (4, 80))  # key and data of IPL1, IPL2 and VOL1
_PROBED_TRACK = 2  # the first without labels on either layout


class LinuxBlocks:
    """The blocks of a formatted volume. Methods raise as those of `EckdDisk`."""

    def __init__(self, disk: EckdDisk) -> None:
        """Look how *disk* is formatted; Unsupported if it is not, or not by Linux."""
        self._disk = disk
        labels, probed = self._probe()
        kinds = {(count.key, count.data) for count in labels}
        size = probed.data if probed is not None else 0
        if probed is None or probed.key or size not in BLOCK_SIZES:
            raise self._unknown()
        if tuple((count.key, count.data) for count in labels[:3]) == _LABELS:
            self.layout = "cdl"
            """`cdl` or `ldl`: compatible or Linux disk layout."""
        elif kinds == {(0, size)}:
            self.layout = "ldl"
        else:
            raise self._unknown()
        self.block_size = size
        """Bytes of a block."""
        self.per_track = len(disk.counts(_PROBED_TRACK)) - 1
        """Blocks of a track."""
        self.blocks = disk.tracks * self.per_track
        """Blocks of the volume."""
        # The first two tracks of a CDL volume are what they are; a few programs say it once.
        self._labels = [disk.counts(track)[1:] for track in (0, 1)] if self.layout == "cdl" else []

    def _probe(self) -> tuple[list[Count], Count | None]:
        """Read the first four count fields of track 0, and the first of track 2, as Linux does."""
        found: list[Count] = []
        for track, number in ((0, 4), (_PROBED_TRACK, 1)):
            with Program(self._disk.subchannel.storage) as program:
                room = program.room(number * codes.COUNT.size)
                moves = [
                    Move(codes.READ_COUNT, room, at * codes.COUNT.size, codes.COUNT.size)
                    for at in range(number)
                ]
                try:
                    self._disk.run(program, (track, track), codes.OPERATION_READ_DATA, moves)
                except ProgramFailed as failed:
                    if failed.sense[1:2] and failed.sense[1] & dasd.SENSE1_NO_RECORD_FOUND:
                        return found, None
                    raise
                found += [codes.COUNT.parse(room.view, move.at) for move in moves]
        return found[:4], found[4]

    def _unknown(self) -> Unsupported:
        return Unsupported(
            "not formatted by Linux: the records of its tracks are not those of dasdfmt; "
            "format it in a guest, or copy whole tracks with --track"
        )

    def check(self, first: int, count: int) -> None:
        """ValueError unless the volume has *count* blocks from *first* on."""
        if first < 0 or count < 0 or first + count > self.blocks:
            raise ValueError(
                f"blocks {first} to {first + count - 1} are not all on a volume of {self.blocks}"
            )

    def read_blocks(self, first: int, count: int) -> Iterator[bytes]:
        """Read *count* blocks from *first* on, in pieces of up to 96 blocks."""
        self.check(first, count)
        for start, blocks in self._pieces(first, count):
            label = self._label_at(start)
            if label is None:
                yield self._move(start, blocks)
            else:
                record = self._disk.read_record(*self._place(start))
                content = (record.key + record.data)[: self.block_size]
                yield content.ljust(self.block_size, SHORT_FILL)

    def write_blocks(self, first: int, data: Buffer) -> None:
        """Write *data*, whole blocks, to the blocks from *first* on.

        Of a block whose record is shorter the rest is left out. ValueError for another length.
        """
        view = memoryview(data).cast("B")
        count, odd = divmod(len(view), self.block_size)
        if odd:
            raise ValueError(f"{len(view)} bytes are not a multiple of {self.block_size}")
        self.check(first, count)
        for start, blocks in self._pieces(first, count):
            at = (start - first) * self.block_size
            content = bytes(view[at : at + blocks * self.block_size])
            label = self._label_at(start)
            if label is None:
                self._move(start, blocks, content)
            else:
                track, number = self._place(start)
                key, end = content[: label.key], label.key + label.data
                self._disk.write_record(track, number, content[label.key : end], key)

    def _pieces(self, first: int, count: int) -> Iterator[tuple[int, int]]:
        """Split blocks into what one program does: a label alone, or up to 96 plain blocks."""
        end = first + count
        most = self._disk.at_once(self.block_size, MOST_BLOCKS)
        while first < end:
            blocks = 1
            if self._label_at(first) is None:
                while (
                    blocks < most
                    and first + blocks < end
                    and self._label_at(first + blocks) is None
                ):
                    blocks += 1
            yield first, blocks
            first += blocks

    def _place(self, block: int) -> tuple[int, int]:
        """Give track and record number of a block."""
        track, record = divmod(block, self.per_track)
        return track, record + 1

    def _label_at(self, block: int) -> Count | None:
        """Give the count field of a block whose record is no plain block; None for all others."""
        track, number = self._place(block)
        if track >= len(self._labels) or number > len(self._labels[track]):
            return None
        count = self._labels[track][number - 1]
        return None if (count.key, count.data) == (0, self.block_size) else count

    def _move(self, first: int, blocks: int, content: bytes | None = None) -> bytes:
        """Read *blocks* plain blocks, or write *content* to them; gives them."""
        size = self.block_size
        begin, record = self._place(first)
        end, _ = self._place(first + blocks - 1)
        reads = content is None
        code = codes.READ_DATA | codes.MULTITRACK if reads else codes.WRITE_UPDATE_DATA
        with Program(self._disk.subchannel.storage) as program:
            room = program.room(blocks * size, content)
            moves = [Move(code, room, at * size, size) for at in range(blocks)]
            self._disk.run(
                program, (begin, end),
                codes.OPERATION_READ_DATA if reads else codes.OPERATION_WRITE, moves,
                record=record, length=size,
                mask=codes.MASK_WRITES_INHIBITED if reads else codes.MASK_UPDATES,
            )  # fmt: skip
            return bytes(room.view)
