"""The operations of Locate Record: where each may begin, and which commands its domain has.

All that depends on an operation is said here once; what opens a domain (`locate`) and what checks
its commands (`orientation`) go by it. Rules: System/390 Internal Disk Subsystem Reference Guide
(SA22-1025), tables 4-7 to 4-16, and the commands' *Chaining and Restrictions*; Read Data in a
Locate Record Extended, the index of a Format Write, and what came with the 2107: Hercules, Linux.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from . import codes
from .codes import MULTITRACK, ORIENT_COUNT, ORIENT_DATA, ORIENT_HOME, ORIENT_INDEX

NOWHERE: Final[frozenset[int]] = frozenset()
"""No orientation: the operation is not one of this command."""


def _either(*commands: int) -> frozenset[int]:
    """These, and the same as multitrack commands."""
    return frozenset(command | bit for command in commands for bit in (0, MULTITRACK))


class Operation(NamedTuple):
    """One operation."""

    commands: frozenset[int]
    """The commands that its domain may have, but for a Read Count that is a suffix."""
    basic: frozenset[int] = NOWHERE
    """The orientations with which Locate Record takes it."""
    extended: frozenset[int] = NOWHERE
    """Those with which Locate Record Extended does, and Prefix."""
    suffix: bool = False
    """A Read Count may end the domain of a Locate Record."""
    suffix_extended: bool = False
    """A Read Count may end that of a Locate Record Extended."""
    writes: bool = False
    """It is for writes."""
    shortest: int | None = None
    """Bytes of extended parameter, at least; None: the code stands in byte 0, and there is none."""
    longest: int = 0
    """Bytes of extended parameter, at most."""
    prefix: bool = False
    """It came with Prefix."""
    any_record: bool = False
    """It begins with any record, goes round the one track, and heeds no search argument."""


_COUNT = frozenset({ORIENT_COUNT})
_COUNT_HOME = _COUNT | {ORIENT_HOME}
_COUNT_DATA = _COUNT | {ORIENT_DATA}
_COUNT_HOME_DATA = _COUNT_HOME | {ORIENT_DATA}
_COUNT_HOME_INDEX = _COUNT_HOME | {ORIENT_INDEX}
_RECORDS = _either(codes.READ_DATA, codes.READ_COUNT, codes.READ_CKD)
_READS = _RECORDS | _either(codes.READ_KEY_DATA, codes.READ_R0, codes.READ_HOME_ADDRESS)

OPERATIONS: Final[Mapping[int, Operation]] = MappingProxyType(
    {
        codes.OPERATION_ORIENT: Operation(NOWHERE, basic=_COUNT_HOME_DATA),
        codes.OPERATION_WRITE: Operation(
            frozenset(
                {
                    *(codes.WRITE_DATA, codes.WRITE_KEY_DATA),
                    *(codes.WRITE_UPDATE_DATA, codes.WRITE_UPDATE_KEY_DATA),
                }
            ),
            basic=_COUNT_DATA,
            extended=_COUNT_DATA,
            suffix=True,
            suffix_extended=True,
            writes=True,
        ),
        codes.OPERATION_FORMAT_WRITE: Operation(
            frozenset(
                {
                    *(codes.WRITE_HOME_ADDRESS, codes.WRITE_R0),
                    *(codes.WRITE_CKD, codes.WRITE_CKD_NEXT_TRACK),
                }
            ),
            basic=_COUNT_HOME_INDEX,
            extended=_COUNT_HOME_INDEX,
            writes=True,
        ),
        codes.OPERATION_READ_DATA: Operation(
            _READS, basic=_COUNT_HOME_DATA, extended=_COUNT_HOME_DATA, suffix_extended=True
        ),
        codes.OPERATION_WRITE_ANY: Operation(
            frozenset({codes.WRITE_UPDATE_DATA}),
            extended=_COUNT,
            suffix_extended=True,
            writes=True,
            shortest=1,
            longest=1,
            any_record=True,
        ),
        codes.OPERATION_READ_ANY: Operation(
            _RECORDS,
            extended=_COUNT,
            suffix_extended=True,
            shortest=1,
            longest=1,
            any_record=True,
        ),
        codes.OPERATION_WRITE_TRACK: Operation(
            frozenset({codes.WRITE_DATA, codes.WRITE_KEY_DATA, codes.WRITE_CKD, codes.ERASE}),
            basic=_COUNT,
            extended=_COUNT,
            writes=True,
        ),
        codes.OPERATION_READ_TRACKS: Operation(
            frozenset({codes.READ_TRACK, codes.READ_TRACK_DATA}),
            basic=_COUNT_HOME,
            extended=_COUNT_HOME,
        ),
        codes.OPERATION_READ_TRACKSET: Operation(
            frozenset({codes.READ_TRACK}), extended=_COUNT_HOME, shortest=1, longest=2
        ),
        codes.OPERATION_WRITE_FULL_TRACK: Operation(
            frozenset({codes.WRITE_FULL_TRACK}),
            extended=_COUNT,
            writes=True,
            shortest=1,
            longest=2,
            prefix=True,
        ),
        codes.OPERATION_READ: Operation(
            _READS - {codes.READ_DATA},  # all but home address and record 0 are multitrack reads
            basic=_COUNT_HOME_DATA | {ORIENT_INDEX},
            extended=_COUNT_HOME_DATA | {ORIENT_INDEX},
            suffix=True,
            suffix_extended=True,
        ),
        codes.OPERATION_WRITE_TRACK_DATA: Operation(
            frozenset({codes.WRITE_TRACK_DATA}),
            extended=_COUNT,
            writes=True,
            shortest=0,
            prefix=True,
        ),
    }
)
"""By operation code."""
