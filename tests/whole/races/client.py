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
import struct
import sys
import time
from collections import Counter

from vfioccw_fuse.regions import codec
from vfioccw_fuse.regions import constants as c

START, HALT, CLEAR = 0x4000, 0x2000, 0x1000
PROGRAMS = {
    "nop": (0x2000, 0x0080),
    "chain with pci": (0x2100, 0x0080),
    "suspends": (0x2200, 0x0880),
    "loop": (0x2300, 0x0080),
    "program check": (0x2400, 0x0080),
    "prefetched": (0x2000, 0x00C0),
}
"""Address and ORB flags; the test has put them there."""
BITS = {"hsch": 1, "csch": 2, "xsch": 4, "rsch": 8, "ssch": 16, "ssch_a": 32, "ssch_b": 64}
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


class Client:
    """Its open files, what it did, and the last status that it saw."""

    def __init__(self, path: str, seed: int) -> None:
        self.random = random.Random(seed)
        self.path = path
        self.done: Counter[str] = Counter()
        self.events = 0
        self.sequence = -1
        self.wrong: list[str] = []
        self.fds = {
            name: os.open(os.path.join(path, name), flags)
            for name, flags in {
                "io_region": os.O_RDWR,
                "cmd_region": os.O_RDWR,
                "schib_region": os.O_RDWR,
                "program_region": os.O_RDWR,
                "status_region": os.O_RDONLY,
                "io_irq": os.O_RDONLY | os.O_NONBLOCK,
                "reset": os.O_WRONLY,
                "control": os.O_WRONLY,
            }.items()
        }

    def step(self) -> None:
        [what] = self.random.choices(list(WEIGHTS), weights=list(WEIGHTS.values()))
        match what:
            case "start":
                cpa, ctrl0 = PROGRAMS[self.random.choice(list(PROGRAMS))]
                self.request("start", START, cpa, ctrl0)
            case "halt by fctl":
                self.request("halt", HALT)
            case "clear by fctl":
                self.request("clear", CLEAR)
            case "reset":
                self.write("reset", "reset", b"1")
            case "read irb":
                os.pread(self.fds["io_region"], 96, 24)
            case "irq":
                self.take_events()
            case "status":
                self.look()
            case "stsch":
                os.pread(self.fds["schib_region"], 52, 0)
            case "msch":
                schib = os.pread(self.fds["schib_region"], 52, 0)
                self.write("msch", "schib_region", schib)
            case "control":
                words = self.random.choice(CONTROLS)
                self.write("control", "control", words.encode())
            case "half":
                half = self.random.choice((16, 512))
                program = struct.pack(">BBHI", 0x03, 0x20, 1, 0)
                self.write("half", "program_region", program, half)
            case command:
                name = {"hsch": "halt", "csch": "clear"}.get(command, command)
                name = "start" if name.startswith("ssch") else name
                self.write(name, "cmd_region", struct.pack("=I", BITS[command]))

    def request(self, name: str, fctl: int, cpa: int = 0x2000, ctrl0: int = 0x0080) -> None:
        orb = struct.pack(">IHBBI", 0, ctrl0, 0xFF, 0, cpa)
        self.write(name, "io_region", (orb + struct.pack(">HH", 0, fctl)).ljust(124, b"\0"))

    def write(self, name: str, region: str, data: bytes, at: int = 0) -> None:
        try:
            os.pwrite(self.fds[region], data, at)
        except OSError as refused:
            number = refused.errno or 0
            if number in UNMOUNTED:
                raise
            self.done[f"{name}: {errno.errorcode[number]}"] += 1
            if number != errno.EBUSY or name in ("clear", "reset", "control"):
                self.wrong.append(f"{name}: {errno.errorcode[number]}")
        else:
            self.done[name] += 1

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
    path, seconds, seed = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
    client = Client(path, seed)
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
