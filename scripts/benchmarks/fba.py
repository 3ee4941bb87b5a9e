"""What a read of 96 blocks by 98 CCWs, Linux's largest FBA request, costs the server.

The program is Linux's: Define Extent, Locate, then one Read whose data chain has a CCW a block, so
63/40/16, 43/40/8, 95 x 42/80/512, 42/00/512. Each 4-KiB page of the buffer lies elsewhere in
storage, as a page cache's pages do. What was read is compared with the image each time.
"""

import os
import random
import socket
import struct
import time
from statistics import median

from benchmarks import servers
from benchmarks.report import Report
from benchmarks.servers import BenchError, Options

SCHID = "0.0.0313"
BLOCK = 512
BLOCKS = 96
IMAGE_BLOCKS = 64 * BLOCKS
PAGE = 4096
READS = 100  # a round
PROGRAM, PARAMETERS, BUFFER = 0x10000, 0x20000, 0x100000
IRB = 24  # its offset in the io region
IO_REGION = 124
TARGET_US = 600
GOAL_US = 300


def _ccw(command: int, flags: int, count: int, address: int) -> bytes:
    """A format-1 CCW."""
    return struct.pack(">BBHI", command, flags, count, address)


def _pages() -> list[int]:
    """Where the buffer's pages lie, in the order of the data: every other page, backwards."""
    return [BUFFER + page * 2 * PAGE for page in reversed(range(BLOCKS * BLOCK // PAGE))]


def _program() -> bytes:
    """The 98 CCWs."""
    blocks = [page + offset for page in _pages() for offset in range(0, PAGE, BLOCK)]
    chain = [_ccw(0x42, 0x80, BLOCK, block) for block in blocks[:-1]]
    return b"".join(
        [
            _ccw(0x63, 0x40, 16, PARAMETERS),
            _ccw(0x43, 0x40, 8, PARAMETERS + 16),
            *chain,
            _ccw(0x42, 0x00, BLOCK, blocks[-1]),
        ]
    )


def _parameters(first: int) -> bytes:
    """Define Extent (no writes; first block on the volume, first and last of extent), Locate."""
    extent = struct.pack(">B3xIII", 0x40, first, 0, BLOCKS - 1)
    return extent + struct.pack(">BBHI", 0x06, 0, BLOCKS, 0)


class _Reader:
    """A client with an eventfd of its own: two requests to the server for each program."""

    def __init__(self, server: servers.Server) -> None:
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
        os.pwrite(self._memory, _program(), PROGRAM)
        orb = struct.pack(">IHBBI", 1, 0x00C2, 0xFF, 0, PROGRAM)
        self._start = (orb + struct.pack(">HH", 0, 0x4000)).ljust(IO_REGION, b"\0")

    def read(self, first: int) -> bytes:
        """Read the 96 blocks from `first` on by one channel program."""
        os.pwrite(self._memory, _parameters(first), PARAMETERS)
        os.pwrite(self._io, self._start, 0)
        os.eventfd_read(self._event)
        irb = os.pread(self._io, IO_REGION, 0)[IRB:]
        if irb[8:10] != b"\x0c\x00":
            raise BenchError(f"read of block {first} ended with SCSW {irb[:12].hex()}")
        return b"".join(os.pread(self._memory, PAGE, page) for page in _pages())

    def close(self) -> None:
        """Give the eventfd back and close the files, so that the mount can end."""
        self._socket.close()
        for fd in (self._event, self._memory, self._io):
            os.close(fd)


def run(report: Report, options: Options) -> None:
    """Measure and report the server's CPU time a read of 96 blocks."""
    report.heading(f"fba: {BLOCKS} blocks by 98 CCWs, medians of {options.rounds} rounds")
    content = random.Random(96).randbytes(IMAGE_BLOCKS * BLOCK)
    cpu, wall = [], []
    with servers.directory() as place:
        image = place / "disk.img"
        image.write_bytes(content)
        with servers.mounted(place / "ours", "--device", f"fba@{SCHID}:{image}") as server:
            reader = _Reader(server)
            try:
                for turn in range(options.rounds + 1):
                    before = server.cpu_ns()
                    began = time.monotonic_ns()
                    for index in range(READS):
                        first = index * BLOCKS % IMAGE_BLOCKS
                        data = reader.read(first)
                        if data != content[first * BLOCK :][: BLOCKS * BLOCK]:
                            raise BenchError(f"wrong data from block {first} on")
                    if turn:  # the first round warms up
                        cpu.append((server.cpu_ns() - before) / READS / 1000)
                        wall.append((time.monotonic_ns() - began) / READS / 1000)
            finally:
                reader.close()
    spent = median(cpu)
    report.figure("server's CPU time a read", spent, "us", TARGET_US)
    verdict = "met" if spent <= GOAL_US else "not met"
    report.note(f"(the stricter goal of {GOAL_US} us is {verdict})")
    report.figure("start to data, with the client", median(wall), "us")
