"""A client that runs one channel program over and over, and what it costs the server."""

import os
import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import ClassVar

import lab.client
from benchmarks import servers
from benchmarks.report import Report
from benchmarks.servers import BenchError, Options
from lab import programs
from lab.client import Connection
from lab.mounts import SCHID
from lab.programs import ENDED, FORMAT1, IDAW64, IO_REGION, IRB_AT, PREFETCH, START

PROGRAM = 0x10000
WELL = bytes([ENDED, 0])
"""Device and subchannel status of a program that ended well."""


class Client(lab.client.Client):
    """A client with an eventfd of its own: two requests to the server for each program."""

    FILES: ClassVar[Mapping[str, int]] = {"io_region": os.O_RDWR, "memory": os.O_RDWR}

    def __init__(self, server: servers.Server, program: bytes) -> None:
        """Open the subchannel of *server* and put *program* into storage."""
        super().__init__(server.mount / SCHID)
        self._event = os.eventfd(0)
        self._connection = Connection(server.mount)
        answer = self._connection.irq(self._event)
        if "ok" not in answer:
            raise BenchError(f"irqfd: {answer}")
        self.store(PROGRAM, program)
        orb = programs.orb(PROGRAM, FORMAT1 | PREFETCH | IDAW64)
        self._start = programs.request(START, orb, IO_REGION)

    def run_again(self) -> None:
        """Run the program to its end; BenchError unless it ended well."""
        io = self.fds["io_region"]
        os.pwrite(io, self._start, 0)
        os.eventfd_read(self._event)
        irb = os.pread(io, IO_REGION, 0)[IRB_AT:]
        if irb[8:10] != WELL:
            raise BenchError(f"the program ended with SCSW {irb[:12].hex()}")

    def close(self) -> None:
        """Give the eventfd back and close the files, so that the mount can end."""
        self._connection.close()
        os.close(self._event)
        super().close()


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


def report_cost(
    report: Report,
    what: str,
    cost: tuple[float, float],
    target: float | None = None,
    until: str = "data",
) -> None:
    """Report what `server_cost` measured of *what*, which lasts from its start *until* then."""
    report.figure(f"server's CPU time, {what}", cost[0], "us", target)
    report.figure(f"start to {until}, with the client", cost[1], "us")
