"""Blocks of an FBA disk, moved by the channel programs that Linux uses.

Define Extent, Locate, then one data-chained Read or Write CCW a block: 63/40/16, 43/40/8,
42/80/512 ..., 42/00/512 (operation/flags/count), at most 96 blocks a program (`dasd_fba.c`). The
program and its buffer are laid out once; a request changes the extent and what differs in length.
"""

from collections.abc import Iterator
from typing import Self

from ..devices import dasd
from ..devices.fba import codes
from ..devices.fba.codes import BLOCK, DefineExtent, Locate
from ..regions.codec import Buffer
from ..regions.constants import (
    CCW_CMD_RDC,
    CCW_FLAG_CC,
    CCW_FLAG_DC,
)
from .faults import Unsupported
from .program import Program
from .subchannel import PROGRAM_WITHIN, Subchannel

MOST_BLOCKS = 96
"""The most blocks of one channel program, as Linux limits them."""


class FbaDisk:
    """The blocks of the FBA disk behind a subchannel.

    A context manager: leaving it gives the buffer's room in guest storage back. Methods raise what
    `Subchannel.execute` raises; after an exception the disk can be used again.
    """

    block_size = BLOCK
    """Bytes of a block."""

    def __init__(self, subchannel: Subchannel, *, timeout: float = PROGRAM_WITHIN) -> None:
        """Ask the device what it is; *timeout*: seconds for one channel program.

        Unsupported if it is no FBA disk with blocks of 512 bytes.
        """
        self._subchannel = subchannel
        self._timeout = timeout
        data = subchannel.rdc()
        told = codes.CHARACTERISTICS.parse(data.ljust(codes.CHARACTERISTICS.size, b"\0"))
        if told.device_class != codes.CLASS or told.block_size != BLOCK:
            raise Unsupported(
                f"not an FBA disk with blocks of {BLOCK} bytes "
                f"(command {CCW_CMD_RDC:02x} says {data[:8].hex()})"
            )
        subchannel.words = codes.WORDS
        self.blocks = told.blocks
        """Blocks of the disk."""
        self._program = Program(subchannel.storage)
        self._extent = self._program.ccw(
            dasd.DEFINE_EXTENT, CCW_FLAG_CC, codes.DEFINE_EXTENT_DATA.size
        )
        self._locate = self._program.ccw(codes.LOCATE, CCW_FLAG_CC, codes.LOCATE_DATA.size)
        # One area for all blocks, so that a request's data is one piece.
        self._data = self._program.room(MOST_BLOCKS * BLOCK)
        self._chain = [
            self._program.ccw(codes.READ, CCW_FLAG_DC, BLOCK, self._data, at=number * BLOCK)
            for number in range(MOST_BLOCKS)
        ]
        self._program.lay_out()
        self._length = 0  # of the chain as it is in storage; 0: nothing ends it

    def release(self) -> None:
        """Give the buffer's room in guest storage back; views of it end."""
        self._program.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def read_blocks(self, first: int, count: int) -> Iterator[memoryview]:
        """Read *count* blocks from *first* on: views of guest storage, up to 96 blocks each.

        A view is overwritten when the next is asked for. ValueError for blocks that the disk does
        not have.
        """
        self._check(first, count)
        while count:
            blocks = min(count, MOST_BLOCKS)
            self._execute(codes.READ_DATA, first, blocks)
            yield self._data.view[: blocks * BLOCK]
            first += blocks
            count -= blocks

    def write_blocks(self, first: int, data: Buffer) -> None:
        """Write *data*, a multiple of 512 bytes, to the blocks from *first* on.

        ValueError for another length and for blocks that the disk does not have.
        """
        rest = memoryview(data).cast("B")
        count, odd = divmod(len(rest), BLOCK)
        if odd:
            raise ValueError(f"{len(rest)} bytes are not a multiple of {BLOCK}")
        self._check(first, count)
        while rest:
            blocks = min(len(rest) // BLOCK, MOST_BLOCKS)
            self._data.view[: blocks * BLOCK] = rest[: blocks * BLOCK]
            self._execute(codes.WRITE_AND_VERIFY, first, blocks)
            first += blocks
            rest = rest[blocks * BLOCK :]

    def read(self, first: int, count: int) -> bytes:
        """Read *count* blocks from *first* on into one piece."""
        return b"".join(bytes(view) for view in self.read_blocks(first, count))

    def _check(self, first: int, count: int) -> None:
        if first < 0 or count < 0 or first + count > self.blocks:
            raise ValueError(
                f"blocks {first} to {first + count - 1} are not all on a disk of {self.blocks}"
            )

    def _execute(self, operation: int, first: int, blocks: int) -> None:
        """Move *blocks* blocks, at most 96, from *first* on between the buffer and the disk."""
        reading = operation == codes.READ_DATA
        codes.DEFINE_EXTENT_DATA.pack_into(
            self._extent.view,
            0,
            DefineExtent(
                mask=codes.MASK_INHIBIT_WRITES if reading else codes.MASK_INHIBIT_FORMAT,
                zero=0,
                block_size=BLOCK,
                location=first,
                begin=0,
                end=blocks - 1,
            ),
        )
        codes.LOCATE_DATA.pack_into(self._locate.view, 0, Locate(operation, 0, blocks, 0))
        # The command of a data chain is its first CCW's; the last one ends the chain.
        self._set(0, cmd=codes.READ if reading else codes.WRITE)
        if blocks != self._length:
            if self._length:
                self._set(self._length - 1, flags=CCW_FLAG_DC)
            self._set(blocks - 1, flags=0)
            self._length = blocks
        self._subchannel.execute(self._program, self._timeout)

    def _set(self, number: int, *, cmd: int | None = None, flags: int | None = None) -> None:
        """Change CCW *number* of the chain where it differs."""
        step = self._chain[number]
        wanted = step.cmd if cmd is None else cmd, step.flags if flags is None else flags
        if (step.cmd, step.flags) != wanted:
            step.cmd, step.flags = wanted
            self._program.rewrite(step)
