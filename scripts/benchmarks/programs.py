"""A client that runs one channel program over and over, and what it costs the server."""

import os
import socket
import struct
import time
from collections.abc import Callable
from statistics import median

from benchmarks import servers
from benchmarks.report import Report
from benchmarks.servers import BenchError, Options

SCHID = "0.0.0313"
PROGRAM = 0x10000
IRB = 24  # its offset in the io region
IO_REGION = 124
ENDED = b"\x0c\x00"  # channel end and device end, subchannel status 0


def ccw(command: int, flags: int, count: int, address: int) -> bytes:
    """A format-1 CCW."""
    return struct.pack(">BBHI", command, flags, count, address)


class Client:
    """A client with an eventfd of its own: two requests to the server for each program."""

    def __init__(self, server: servers.Server, program: bytes) -> None:
        """Open the subchannel of *server* and put *program* into storage."""
        subchannel = server.mount / SCHID
        self._io = os.open(subchannel / "io_region", os.O_RDWR)
        self._memory = os.open(subchannel / "memory", os.O_RDWR)
        self._event = os.eventfd(0)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.connect(str(server.mount / "irqfd"))
        message = f'{{"subchannel": "{SCHID}", "irq": 0}}'.encode()
        socket.send_fds(self._socket, [message], [self._event])
        answer = self._socket.recv(4096)
        if b'"ok"' not in answer:
            raise BenchError(f"irqfd: {answer.decode()}")
        self.put(PROGRAM, program)
        orb = struct.pack(">IHBBI", 1, 0x00C2, 0xFF, 0, PROGRAM)
        self._start = (orb + struct.pack(">HH", 0, 0x4000)).ljust(IO_REGION, b"\0")

    def put(self, address: int, data: bytes) -> None:
        """Write guest storage."""
        os.pwrite(self._memory, data, address)

    def get(self, address: int, size: int) -> bytes:
        """Read guest storage."""
        return os.pread(self._memory, size, address)

    def run(self) -> None:
        """Run the program to its end; BenchError unless it ended well."""
        os.pwrite(self._io, self._start, 0)
        os.eventfd_read(self._event)
        irb = os.pread(self._io, IO_REGION, 0)[IRB:]
        if irb[8:10] != ENDED:
            raise BenchError(f"the program ended with SCSW {irb[:12].hex()}")

    def close(self) -> None:
        """Give the eventfd back and close the files, so that the mount can end."""
        self._socket.close()
        for fd in (self._event, self._memory, self._io):
            os.close(fd)


def server_cost(
    server: servers.Server, once: Callable[[int], None], runs: int, options: Options
) -> tuple[float, float]:
    """Medians over the rounds of one run's CPU time in the server and of its whole time, in us.

    *once* gets the run's number. A first round warms up.
    """
    cpu, wall = [], []
    for turn in range(options.rounds + 1):
        before = server.cpu_ns()
        began = time.monotonic_ns()
        for index in range(runs):
            once(index)
        if turn:
            cpu.append((server.cpu_ns() - before) / runs / 1000)
            wall.append((time.monotonic_ns() - began) / runs / 1000)
    return median(cpu), median(wall)


def report_cost(report: Report, what: str, cost: tuple[float, float], target: float) -> None:
    """Report what `server_cost` measured of *what*."""
    report.figure(f"server's CPU time, {what}", cost[0], "us", target)
    report.figure("start to data, with the client", cost[1], "us")
