"""How long a program takes while others of the same mount work: nobody waits for another.

One subchannel's client does a no-operation again and again, from the write of the ORB to the IRB it
polled for, and sleeps between two of them, so that they meet whatever goes on beside them. That is,
one after the other: nothing; reads of 32 MiB in a loop, the image in memory; four loops of
no-operations; reads of an image each of which takes 2 s; starts of a program of 8,000 segments,
which are refused; starts of the dearest program that is prefetched; and connections to `irqfd`,
open, and opened and closed all the time.

Server and clients have all cores that there are. On one they would wait for their share of it, and
the kernel's scheduler would be measured instead.
"""

import contextlib
import errno
import os
import resource
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from threading import Event

from benchmarks import servers
from benchmarks.report import Report
from benchmarks.servers import BenchError, Options, Server
from lab.client import Client, Connection, name_of
from lab.mounts import SCHID
from lab.processes import connections
from lab.programs import (
    BITS,
    CC,
    CD,
    FORMAT1,
    IDA,
    IDAW64,
    NOP,
    PREFETCH,
    READ,
    READING,
    SLI,
    START,
    TIC,
    Ccw,
    ccws,
    extent,
    locate,
    located,
)
from lab.slowfs import SlowFiles, slow_files
from lab.waits import until

SAMPLES = 200
PAUSE_US = 20_000
MEDIAN_MS, WORST_MS = 5, 50
TRANSLATION_MS = 15
"""What the translation of the longest program may cost others."""
BLOCK = 512
MOST_BLOCKS = 0xFFFF
"""What one Locate can ask for: 32 MiB but for a block."""
A_CCW = 120
"""Blocks of a READ's CCW: 61,440 bytes."""
SLEEP_S = 2.0
SEGMENTS = 8000
LONGEST, MOST_SEGMENTS = 256, 16
"""CCWs of a segment, and segments of a program, that are prefetched at most."""
PAGE, IDAWS = 4096, 16
"""What an IDAW points to, and how many a CCW can have."""
CONNECTIONS = 3000
READER, SLOW, STARTS = "0.0.0400", "0.0.0401", "0.0.0402"
LOOPS = ("0.0.0500", "0.0.0501", "0.0.0502", "0.0.0503")
PROGRAM, PARAMETERS, IDALS, BUFFER = 0x200000, 0x2F0000, 0x300000, 0x400000
"""All subchannels have one storage; the no-operation that is measured lies below."""
IN_MEMORY = Path("/dev/shm")


def _reads(blocks: int) -> list[Ccw]:
    """Reads of *blocks* from the extent's first on, into one buffer, without an end."""
    define_extent, locate_blocks = located(PARAMETERS)
    counts = [min(A_CCW, blocks - first) * BLOCK for first in range(0, blocks, A_CCW)]
    chain = [(READ, CD, count, BUFFER) for count in counts[:-1]]
    again = (TIC, 0, 0, PROGRAM + 8)
    return [define_extent, locate_blocks, *chain, (READ, CC, counts[-1], BUFFER), again]


def _too_many_segments() -> list[Ccw]:
    """Segments of a no-operation and a TIC to the next one; the last has no TIC."""
    pairs = (
        ((NOP, CC | SLI, 1, 0), (TIC, 0, 0, PROGRAM + (number + 1) * 16))
        for number in range(SEGMENTS - 1)
    )
    return [*(ccw for pair in pairs for ccw in pair), (NOP, SLI, 1, 0)]


def _dearest() -> list[Ccw]:
    """As many CCWs as are prefetched, each with an IDAL of its own.

    Their device ends it at the first of them, a Read without a Locate: nothing but starts happens.
    """
    program: list[Ccw] = []
    for number in range(LONGEST * MOST_SEGMENTS):
        last = number % LONGEST == LONGEST - 1
        read = (READ, IDA | SLI | CC, IDAWS * PAGE - 1, IDALS + number * IDAWS * 8)
        program.append((TIC, 0, 0, PROGRAM + (number + 1) * 8) if last else read)
    program[-1] = (NOP, SLI, 1, 0)
    return program


@contextlib.contextmanager
def _running(server: Server, schid: str, program: list[Ccw]) -> Iterator[None]:
    """*program*, which has no end, runs on a subchannel; the channel fetches it from storage."""
    with Client(server.mount / schid) as client:
        client.store(PROGRAM, ccws(*program))
        error = client.request(START, cpa=PROGRAM)
        if error:
            raise BenchError(f"{schid}: the load did not start: {name_of(error)}")
        yield
        if client.wait(0):
            raise BenchError(f"{schid}: the load ended: {client.irb()}")
        client.command(BITS["csch"])
        client.take()


@contextlib.contextmanager
def _again_and_again(once: Callable[[], float]) -> Iterator[list[float]]:
    """A thread does *once* all the time; yields the numbers that it gave so far."""
    done = Event()
    numbers: list[float] = []

    def loop() -> None:
        while not done.is_set():
            numbers.append(once())

    with ThreadPoolExecutor(1) as threads:
        thread = threads.submit(loop)
        try:
            yield numbers
        finally:
            done.set()
        thread.result()


@contextlib.contextmanager
def _starting(server: Server, program: list[Ccw], answer: int) -> Iterator[list[float]]:
    """*program* is started all the time, with prefetch; yields how long the writes took, in ms.

    *answer* is the errno that each has to get, or 0.
    """
    with Client(server.mount / STARTS) as client:
        client.store(PROGRAM, ccws(*program))

        def once() -> float:
            began = time.monotonic_ns()
            error = client.request(START, FORMAT1 | PREFETCH | IDAW64, PROGRAM)
            took = time.monotonic_ns() - began
            if error != answer:
                what = f"refused by {name_of(error)}" if error else "accepted"
                raise BenchError(f"{STARTS}: a start of {len(program)} CCWs is {what}")
            if not error:
                client.take()
            return took / 1e6

        with _again_and_again(once) as times:
            yield times


def _connect(server: Server) -> Connection:
    """A connection to `irqfd`, once there is room in the server's queue."""
    while True:
        try:
            return Connection(server.mount)
        except BlockingIOError:
            time.sleep(0.001)


@contextlib.contextmanager
def _connected(server: Server) -> Iterator[None]:
    """So many connections are open, and the server has accepted them."""
    socket = Path(os.readlink(server.mount / "irqfd"))
    with contextlib.ExitStack() as opened:
        for _ in range(CONNECTIONS):
            opened.enter_context(_connect(server))
        until(lambda: connections(socket) == CONNECTIONS, "all connections are accepted")
        yield
    until(lambda: not connections(socket), "all connections are closed")


def _connecting(server: Server) -> float:
    """Open so many connections and close them; how many they were."""
    with _connected(server):
        return CONNECTIONS


class _Probe:
    """Measures and reports the no-operation, beside whatever load there is."""

    def __init__(self, report: Report, server: Server, samples: int) -> None:
        self._report = report
        self._server = server
        self._samples = samples

    def beside(self, load: str, median_ms: float = MEDIAN_MS) -> None:
        """Measure it now; *load* is the name of the row."""
        found = servers.drive(self._server, "poll", self._samples, PAUSE_US)
        self.row(load, found["round"] / 1000, found["worst"] / 1000, median_ms)

    def row(self, name: str, middle: float, worst: float, median_ms: float = MEDIAN_MS) -> None:
        """Report median and worst, in ms; nearly all rows have the same targets."""
        self._report.figure(f"{name}, median", middle, "ms", median_ms, 2)
        self._report.figure(f"{name}, worst", worst, "ms", WORST_MS, 2)


def _loads(report: Report, server: Server, slow: SlowFiles, samples: int) -> None:
    probe = _Probe(report, server, samples)
    probe.beside("alone")
    with Client(server.mount / READER) as client:
        client.store(PARAMETERS, extent(MOST_BLOCKS) + locate(READING, MOST_BLOCKS))
        idaws = (BUFFER + number * PAGE for number in range(IDAWS))
        client.store(IDALS, struct.pack(f">{IDAWS}Q", *idaws) * LONGEST * MOST_SEGMENTS)
    with _running(server, READER, _reads(MOST_BLOCKS)):
        probe.beside("reads of 32 MiB")
    with contextlib.ExitStack() as loops:
        for schid in LOOPS:
            loop = [(NOP, CC | SLI, 1, 0), (TIC, 0, 0, PROGRAM)]
            loops.enter_context(_running(server, schid, loop))
        probe.beside(f"{len(LOOPS)} loops")
    with Client(server.mount / SLOW) as client:
        client.store(PARAMETERS, extent(1) + locate(READING, 1))
    slow.sleep(SLEEP_S, "read")
    with _running(server, SLOW, _reads(1)):
        probe.beside(f"an image of {SLEEP_S:g} s a read")
    slow.release()
    with _starting(server, _too_many_segments(), errno.EINVAL) as times:
        probe.beside("starts that are refused")
    probe.row("the write that is refused", median(times), max(times))
    with _starting(server, _dearest(), 0) as times:
        # As in Linux a program is translated in the write that starts it, in one go.
        probe.beside("the dearest starts", TRANSLATION_MS)
    report.figure("the write of such a start, median", median(times), "ms", digits=2)
    report.figure("the write of such a start, worst", max(times), "ms", digits=2)
    with _connected(server):
        probe.beside(f"{CONNECTIONS} connections")
    with _again_and_again(lambda: _connecting(server)) as numbers:
        probe.beside("connections come and go")
    if not numbers:
        raise BenchError("no connections came and went")


def run(report: Report, options: Options) -> None:
    """Measure and report the no-operation beside each load; *options* can only want fewer."""
    samples = min(SAMPLES, options.count)
    report.heading(f"isolation: a no-operation beside others, {samples} times, on all cores")
    # Each connection is a descriptor of ours.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with (
        servers.on_cores(servers.cores()),
        servers.directory(IN_MEMORY) as memory,
        servers.directory() as place,
        slow_files(place / "slow", memory) as slow,
    ):
        images = {SCHID: memory, READER: memory, SLOW: slow.path, STARTS: memory}
        images |= dict.fromkeys(LOOPS, memory)
        words: list[str] = []
        for schid, directory in images.items():
            size = BLOCK * (MOST_BLOCKS if schid == READER else 64)
            (memory / schid).write_bytes(bytes(size))
            words += ["--device", f"fba@{schid}:{directory / schid}"]
        with servers.mounted(place / "ours", *words) as server:
            _loads(report, server, slow, samples)
