"""The geometry of a 3390: cylinders, heads, and how much fits on a track.

A 3390 has 15 heads; its models differ in the number of cylinders. The capacity of a track is
counted in cells of 34 bytes (*3390 reference*, GC26-4574; formula 2 of Read Device
Characteristics).
"""

from __future__ import annotations

from typing import Final, NamedTuple

DEVICE_TYPE: Final = 0x3390
HEADS: Final = 15
"""Tracks of a cylinder."""
SECTORS: Final = 224
"""Angular positions of a track; a sector number is smaller, or NO_SECTOR."""
NO_SECTOR: Final = 0xFF
TRACK_LENGTH: Final = 58786
"""Bytes of a track as the device counts them, gaps included: 1729 cells."""
LONGEST_R0: Final = 57326
"""Data bytes of the longest record 0, when nothing else is on the track."""
LONGEST_BLOCK: Final = LONGEST_R0 + 8
"""The largest block size that Define Extent accepts, and what 0 stands for."""
MOST_CYLINDERS: Final = 65520
"""Cylinders of the largest 3390 whose addresses fit into 16 bits (model 54)."""

_CELL = 34
_TRACK_CELLS = 1749  # 1729 for the user's records, 20 for a standard record 0
_GAP_COUNT = 10 + 9  # cells before the data of every record, its count field included
_GAP_KEY = 9
_SEGMENT = 232  # an area is checked in segments, each with 6 bytes of its own
_SEGMENT_EXTRA = 6


class Model(NamedTuple):
    """What the control unit says of a 3390 by its size."""

    number: int
    """The number after the dash: 3390-1, -2, -3, -9."""
    cylinders: int
    """It has at most so many."""
    byte: int
    """Device model in Sense ID and Read Device Characteristics."""
    unit_type: int
    """Device type code in Read Device Characteristics."""


MODELS: Final = (
    Model(1, 1113, 0x02, 0x26),
    Model(2, 2226, 0x06, 0x27),
    Model(3, 3339, 0x0A, 0x24),
    Model(9, 10017, 0x0C, 0x32),
    Model(27, 32760, 0x0C, 0x32),
    Model(54, MOST_CYLINDERS, 0x0C, 0x32),
)


def model_of(cylinders: int) -> Model:
    """The smallest model with at least *cylinders* (1 to MOST_CYLINDERS)."""
    return next(model for model in MODELS if cylinders <= model.cylinders)


def _area(length: int) -> int:
    """Cells of a key or data area of *length* bytes, its gap apart."""
    segments = -(-(length + _SEGMENT_EXTRA) // _SEGMENT)
    return -(-(length + _SEGMENT_EXTRA * (segments + 1)) // _CELL)


def record_cells(key: int, data: int) -> int:
    """Cells that a record takes with *key* (0: none) and *data* bytes."""
    cells = _GAP_COUNT + _area(data)
    if key:
        cells += _GAP_KEY + _area(key)
    return cells


def fits(lengths: list[tuple[int, int]]) -> bool:
    """Whether records of these (key, data) lengths, record 0 included, fit on one track."""
    return sum(record_cells(key, data) for key, data in lengths) <= _TRACK_CELLS


def records_per_track(data: int, key: int = 0) -> int:
    """How many equal records fit on a track beside a standard record 0."""
    return (_TRACK_CELLS - record_cells(0, 8)) // record_cells(key, data)
