"""How long a NOP takes on a subchannel that nobody else touches, all the time.

Its program lies in the program region, as guest storage is everybody's.
"""

import os
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import ClassVar

from attack.media import PROBED
from attack.seat import Seat
from lab import programs
from lab.client import Client
from lab.programs import BITS, ENDED, NOP, SLI

_HALF_A = 16
_SAMPLE = struct.Struct("=d")


class _Prober(Client):
    FILES: ClassVar[Mapping[str, int]] = {
        "io_region": os.O_RDWR,
        "cmd_region": os.O_RDWR,
        "program_region": os.O_RDWR,
        "io_irq": os.O_RDONLY,
    }


def samples_path(seat: Seat) -> Path:
    """Where the times lie."""
    return seat.media.disk / "probes"


def times(path: Path) -> list[float]:
    """The times that were measured, in seconds."""
    if not path.exists():
        return []
    data = path.read_bytes()
    return [one for (one,) in _SAMPLE.iter_unpack(data[: len(data) // 8 * 8])]


def worst_and_median(path: Path) -> tuple[float, float]:
    """In seconds; zeros before anything was measured."""
    found = times(path)
    return (max(found), median(found)) if found else (0.0, 0.0)


def probe(seat: Seat) -> None:
    """Measure until the mount has ended."""
    chance = seat.chance
    fd = os.open(samples_path(seat), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with _Prober(seat.mount / PROBED) as client:
        assert client.write("program_region", programs.ccw(NOP, SLI, 1, 0), _HALF_A) == 0
        while True:
            began = time.monotonic()
            with seat.board.doing("a NOP on a subchannel that nobody touches"):
                refused = client.command(BITS["ssch_a"])
                if refused:
                    # The mount may just have ended; if not, the run sees that nobody probes.
                    raise OSError(refused, os.strerror(refused))
                while not client.wait():
                    pass
                irb = client.irb()
            took = time.monotonic() - began
            seat.board.count("programs started")
            seat.board.count("IRBs")
            if (irb.dstat, irb.cstat) != (ENDED, 0):
                seat.bad("the NOP of the prober failed", f"{irb}")
            if took > seat.plan.answer_within:
                seat.bad("a NOP was answered late", f"after {took:.1f} s")
            os.write(fd, _SAMPLE.pack(took))
            time.sleep(chance.uniform(0.02, 0.1))
