"""One unit of data on each kind of medium: written by a program, and found in the image."""

from __future__ import annotations

from lab.client import DATA, Client
from lab.mounts import BLOCK
from lab.programs import (
    CC,
    WRITE,
    WRITING,
    Ccw,
    Irb,
    extent,
    locate,
    located,
    track_extent,
    track_locate,
)
from vfioccw_fuse.devices.eckd.geometry import HEADS
from vfioccw_fuse.devices.eckd.image import HEADER_LENGTH
from vfioccw_fuse.devices.eckd.track import COUNT_LENGTH, SLOT, survey

BLOCKS = 64
PARAMETERS = 0x2000
RECORDS = 4
"""Records of 512 bytes that each of the first sixteen tracks of `make_volume` has."""


def of_fba(client: Client, block: int, count: int = 1) -> tuple[Ccw, ...]:
    """The program that writes *count* blocks from *block* on."""
    client.store(PARAMETERS, extent(BLOCKS) + locate(WRITING, count, block))
    return (*located(PARAMETERS), (WRITE, 0, count * BLOCK, DATA))


def of_3390(client: Client, record: int) -> tuple[Ccw, ...]:
    """The program that writes record 1 + *record* % RECORDS of track *record* // RECORDS."""
    track = divmod(record // RECORDS, HEADS)
    client.store(
        PARAMETERS,
        track_extent(track, BLOCK, write=True)
        + track_locate(track, 1 + record % RECORDS, 1, BLOCK, write=True),
    )
    return (
        (0x63, CC, 16, PARAMETERS),
        (0x47, CC, 16, PARAMETERS + 16),
        (0x05, 0, BLOCK, DATA),
    )


def of_tape(client: Client, block: int) -> tuple[Ccw, ...]:
    """The program that writes the next block."""
    return ((0x01, 0, BLOCK, DATA),)


def write(client: Client, program: tuple[Ccw, ...], data: bytes) -> Irb:
    """Run a *program* of those above with *data*: the IRB that ends it."""
    client.store(DATA, data)
    return client.run(*program)


def in_fba(image: bytes, block: int) -> bytes:
    """What the image has there."""
    return image[block * BLOCK : (block + 1) * BLOCK]


def in_3390(image: bytes, record: int) -> bytes:
    """The data of a record, as `of_3390` numbers them."""
    start = HEADER_LENGTH + record // RECORDS * SLOT
    slot = image[start : start + SLOT]
    layout = survey(slot)
    at = layout.starts[1 + record % RECORDS] + COUNT_LENGTH
    return slot[at : at + layout.datas[1 + record % RECORDS]]


def in_tape(image: bytes, block: int) -> bytes:
    """A data block of a tape that has nothing but blocks of this length."""
    start = block * (6 + BLOCK)
    return image[start + 6 : start + 6 + BLOCK]
