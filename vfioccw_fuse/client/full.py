"""What the interface `full` adds, from the side of its client.

XSCH, RSCH and MSCH are synchronous: they have a condition code and no interruption. Their exact
condition code is in the status region, which tells status pending (1) from busy (2), where the
errno of the write is EBUSY for both. The program region runs CCWs without guest storage.

Sources: `regions/README.md`; the thread, "way 2".
"""

import os
from typing import Final, NamedTuple, Self

from ..regions import codec
from ..regions.constants import (
    CRW_REGION_SIZE,
    MEASUREMENT_REGION_SIZE,
    PROGRAM_HALF_A,
    PROGRAM_HALF_A_OFFSET,
    PROGRAM_HALF_B,
    PROGRAM_HALF_B_OFFSET,
    PROGRAM_HALF_SIZE,
    SCHIB_REGION_SIZE,
    STATUS_REGION_SIZE,
    VFIO_CCW_ASYNC_CMD_RSCH,
    VFIO_CCW_ASYNC_CMD_SSCH_A,
    VFIO_CCW_ASYNC_CMD_SSCH_B,
    VFIO_CCW_ASYNC_CMD_XSCH,
)
from ..regions.layouts import (
    CmdRegion,
    Crw,
    MeasurementRegion,
    ProgramRegionHeader,
    Schib,
    StatusRegion,
)
from .faults import RequestFailed, Unsupported
from .regionfiles import close
from .subchannel import condition_code


class _Half(NamedTuple):
    offset: int
    command: int


HALVES: Final = {
    PROGRAM_HALF_A: _Half(PROGRAM_HALF_A_OFFSET, VFIO_CCW_ASYNC_CMD_SSCH_A),
    PROGRAM_HALF_B: _Half(PROGRAM_HALF_B_OFFSET, VFIO_CCW_ASYNC_CMD_SSCH_B),
}
"""Where a half begins in the program region, and the command that starts it."""


class FullSubchannel:
    """The regions of one subchannel that only `full` has, and its cmd and schib regions.

    A context manager. Use it beside a `Subchannel`, which has START, HALT, CLEAR and the
    interruptions; both may be open on one subchannel.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open the directory *path* (`MNT/0.0.0313`).

        OSError if there is no such subchannel, Unsupported if its interface is an older one.
        """
        self.path = os.path.abspath(path)
        """The subchannel's directory, absolute."""
        self._fds: dict[str, int] = {}
        if not os.path.isdir(self.path):
            os.stat(self.path)
        try:
            for name, flags in _FILES.items():
                self._fds[name] = self._open(name, flags)
        except BaseException:
            self.close()
            raise

    def _open(self, name: str, flags: int) -> int:
        try:
            return os.open(os.path.join(self.path, name), flags | os.O_CLOEXEC)
        except FileNotFoundError:
            raise Unsupported(f"the interface of this subchannel has no {name}") from None

    def close(self) -> None:
        """Close all files."""
        while self._fds:
            close(self._fds.popitem()[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ------------------------------------------------------------------------------- instructions

    def cancel(self) -> int:
        """CANCEL SUBCHANNEL: the exact condition code, 0 to 3. No interruption follows."""
        return self.command("xsch", VFIO_CCW_ASYNC_CMD_XSCH)

    def resume(self) -> int:
        """RESUME SUBCHANNEL: the exact condition code, 0 to 3."""
        return self.command("rsch", VFIO_CCW_ASYNC_CMD_RSCH)

    def modify(self, schib: Schib) -> int:
        """MODIFY SUBCHANNEL: the exact condition code, 0 to 3.

        RequestFailed with EINVAL for limit mode 3 and for reserved bits.
        """
        return self._request("msch", "schib_region", codec.SCHIB.pack(schib))

    def start_half(self, half: int) -> int:
        """START SUBCHANNEL of the program in *half* (`PROGRAM_HALF_A` or `_B`): 0 to 3."""
        return self.command("ssch", HALVES[half].command)

    def command(self, name: str, bit: int) -> int:
        """Send the command *bit*, which errors call *name*; its exact condition code.

        RequestFailed for an errno that is no condition code.
        """
        return self._request(name, "cmd_region", codec.CMD_REGION.pack(CmdRegion(bit, 0)))

    def _request(self, name: str, region: str, data: bytes) -> int:
        try:
            os.pwrite(self._fds[region], data, 0)
        except OSError as failed:
            number = failed.errno or 0
            cc = condition_code(number)
            if not cc:
                raise RequestFailed(name, number, os.strerror(number)) from None
            # Another client's command in between would have left its own code there.
            return self.status().cc if cc == 2 else cc
        return 0

    # ------------------------------------------------------------------------------- what it shows

    def store(self) -> Schib:
        """STORE SUBCHANNEL."""
        return codec.SCHIB.parse(self._read("schib_region", SCHIB_REGION_SIZE))

    def status(self) -> StatusRegion:
        """The status region, in one read: all of it belongs together."""
        return codec.STATUS_REGION.parse(self._read("status_region", STATUS_REGION_SIZE))

    def measurement(self) -> MeasurementRegion:
        """The measurement region, in one read."""
        data = self._read("measurement_region", MEASUREMENT_REGION_SIZE)
        return codec.MEASUREMENT_REGION.parse(data)

    def take_report(self) -> Crw | None:
        """The oldest channel-report word, which is taken; None if there is none."""
        data = self._read("crw_region", CRW_REGION_SIZE)
        word = codec.CRW_REGION.parse(data)
        return Crw(word.flags, word.rsid) if word.flags or word.rsid else None

    def header(self) -> ProgramRegionHeader:
        """The header of the program region: where the halves are, and which one runs."""
        data = self._read("program_region", PROGRAM_HALF_A_OFFSET)
        return codec.PROGRAM_REGION_HEADER.parse(data)

    def write_half(self, half: int, data: bytes, at: int = 0) -> None:
        """Put *data* at byte *at* of *half*; OSError EBUSY while its program runs."""
        if at + len(data) > PROGRAM_HALF_SIZE:
            raise ValueError(f"a half has {PROGRAM_HALF_SIZE} bytes")
        os.pwrite(self._fds["program_region"], data, HALVES[half].offset + at)

    def read_half(self, half: int, size: int, at: int = 0) -> bytes:
        """*size* bytes from byte *at* of *half*."""
        return os.pread(self._fds["program_region"], size, HALVES[half].offset + at)

    def _read(self, region: str, size: int) -> bytes:
        return os.pread(self._fds[region], size, 0)


_FILES: Final = {
    "cmd_region": os.O_RDWR,
    "status_region": os.O_RDONLY,
    "program_region": os.O_RDWR,
    "measurement_region": os.O_RDONLY,
    "schib_region": os.O_RDWR,
    "crw_region": os.O_RDONLY,
}
"""The regions used here, and how they are opened. On `async` the schib region cannot be written."""
