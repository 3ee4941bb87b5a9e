"""One of many clients on one subchannel: does what it likes for a while, then tells what it did.

    python -m tests.whole.races.client MNT/0.0.0313 SECONDS SEED

It ends earlier, and tells by which errno, when its mount does. The result is JSON on stdout.
Nothing here waits for an interruption: others may have taken it.
"""

import contextlib
import errno
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from lab import programs
from lab.client import Client
from lab.programs import BITS, CLEAR, FORMAT1, HALT, IO_REGION, NOP, SLI, START
from vfioccw_fuse.regions import codec
from vfioccw_fuse.regions import constants as c

PROGRAMS = {
    "nop": (0x2000, 0x0080),
    "chain with pci": (0x2100, 0x0080),
    "suspends": (0x2200, 0x0880),
    "loop": (0x2300, 0x0080),
    "program check": (0x2400, 0x0080),
    "prefetched": (0x2000, 0x00C0),
}
"""Address and ORB flags; the test has put them there."""
WEIGHTS = {
    "start": 30, "halt by fctl": 4, "clear by fctl": 4, "hsch": 6, "csch": 6, "xsch": 10,
    "rsch": 8, "ssch": 6, "ssch_a": 3, "ssch_b": 3, "reset": 1, "read irb": 40, "irq": 15,
    "status": 25, "stsch": 6, "control": 3, "half": 3, "msch": 3,
}  # fmt: skip
UNMOUNTED = {errno.ENODEV, errno.ENOTCONN, errno.ECONNABORTED}
"""What requests get when the mount ends."""
CONTROLS = (
    "delay=0s",
    "delay=1ms",
    "fault=none",
    "fault=hang,count=1",
    "fault=lost-interruption,count=1",
    "fault=busy,count=1",
    "fault=unit-check,count=1",
    "unsolicited=80",
)


class Racer(Client):
    """Its open files, what it did, and the last status that it saw."""

    FILES: ClassVar[Mapping[str, int]] = {
        "io_region": os.O_RDWR,
        "cmd_region": os.O_RDWR,
        "schib_region": os.O_RDWR,
        "program_region": os.O_RDWR,
        "status_region": os.O_RDONLY,
        "io_irq": os.O_RDONLY | os.O_NONBLOCK,
        "reset": os.O_WRONLY,
        "control": os.O_WRONLY,
    }

    def __init__(self, path: Path, seed: int) -> None:
        super().__init__(path)
        self.random = random.Random(seed)
        self.done: Counter[str] = Counter()
        self.events = 0
        self.sequence = -1
        self.wrong: list[str] = []

    def step(self) -> None:
        [what] = self.random.choices(list(WEIGHTS), weights=list(WEIGHTS.values()))
        match what:
            case "start":
                cpa, ctrl0 = PROGRAMS[self.random.choice(list(PROGRAMS))]
                self.ask("start", START, cpa, ctrl0)
            case "halt by fctl":
                self.ask("halt", HALT)
            case "clear by fctl":
                self.ask("clear", CLEAR)
            case "reset":
                self.send("reset", "reset", b"1")
            case "read irb":
                self.irb()
            case "irq":
                self.take_events()
            case "status":
                self.look()
            case "stsch":
                self.schib()
            case "msch":
                self.send("msch", "schib_region", self.schib())
            case "control":
                words = self.random.choice(CONTROLS)
                self.send("control", "control", words.encode())
            case "half":
                half = self.random.choice((16, 512))
                program = programs.ccw(NOP, SLI, 1, 0)
                self.send("half", "program_region", program, half)
            case command:
                name = {"hsch": "halt", "csch": "clear"}.get(command, command)
                name = "start" if name.startswith("ssch") else name
                self.send(name, "cmd_region", programs.command(BITS[command]))

    def ask(self, name: str, fctl: int, cpa: int = 0x2000, ctrl0: int = FORMAT1) -> None:
        """A request in the io region; its ORB stays there, for SSCH by the cmd region."""
        orb = programs.orb(cpa, ctrl0)
        self.send(name, "io_region", programs.request(fctl, orb, IO_REGION))

    def send(self, name: str, region: str, data: bytes, at: int = 0) -> None:
        """Write, and put down what came of it; OSError when the mount has ended."""
        number = self.write(region, data, at)
        if number in UNMOUNTED:
            raise OSError(number, os.strerror(number))
        self.done[f"{name}: {errno.errorcode[number]}" if number else name] += 1
        if number and (number != errno.EBUSY or name in ("clear", "reset", "control")):
            self.wrong.append(f"{name}: {errno.errorcode[number]}")

    def take_events(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self.events += int.from_bytes(os.pread(self.fds["io_irq"], 8, 0), sys.byteorder)

    def look(self) -> None:
        status = codec.STATUS_REGION.parse(os.pread(self.fds["status_region"], 128, 0))
        ctrl = int.from_bytes(status.scsw_area[2:4])
        if status.sequence % 2 or status.sequence < self.sequence:
            self.wrong.append(f"sequence {self.sequence} then {status.sequence}")
        if status.fsm_state not in (2, 4):
            self.wrong.append(f"state {status.fsm_state}")
        if ctrl & c.SCSW_STCTL_STATUS_PEND and not status.pending:
            self.wrong.append(f"pending {status.pending}, scsw {ctrl:04x}")
        self.sequence = status.sequence
        self.done["status"] += 1


def main() -> None:
    path, seconds, seed = Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    client = Racer(path, seed)
    print("open", flush=True)
    end = time.monotonic() + seconds
    ended = None
    try:
        while time.monotonic() < end and len(client.wrong) < 10:
            client.step()
    except OSError as error:
        if error.errno not in UNMOUNTED:
            raise
        ended = errno.errorcode[error.errno]
    told = {"done": client.done, "events": client.events, "wrong": client.wrong, "ended": ended}
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main()
