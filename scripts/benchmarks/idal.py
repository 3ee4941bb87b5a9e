"""How fast 1 MiB goes from a warm page cache to guest storage by IDALs.

One FBA read of 2,048 blocks: CCWs of 60 KiB in a data chain, each with an IDAL of format-2 IDAWs,
whose 4-KiB pages lie in no order. The rate is 1 MiB by the time from start to interruption.
"""

import random
import struct

from benchmarks import servers
from benchmarks.programs import Client, server_cost
from benchmarks.report import Report
from benchmarks.servers import BenchError, Options
from lab.mounts import SCHID
from lab.programs import CD, IDA, READ, READING, ccws, extent, locate, located

BLOCK = 512
SIZE = 1 << 20
PAGE = 4096
PAGES_A_CCW = 15
READS = 100  # a round
PARAMETERS, IDALS, BUFFER = 0x20000, 0x30000, 0x200000
TARGET_GIB = 2.0


def _program(client_pages: list[int]) -> tuple[bytes, bytes]:
    """The CCWs, and the IDALs that they point to."""
    chain, idals = [], b""
    for start in range(0, len(client_pages), PAGES_A_CCW):
        pages = client_pages[start : start + PAGES_A_CCW]
        last = start + PAGES_A_CCW >= len(client_pages)
        flags = IDA if last else IDA | CD
        chain.append((READ, flags, len(pages) * PAGE, IDALS + len(idals)))
        idals += struct.pack(f">{len(pages)}Q", *pages)
    return ccws(*located(PARAMETERS), *chain), idals


def run(report: Report, options: Options) -> None:
    """Measure and report the rate."""
    report.heading(f"idal: 1 MiB by IDALs, medians of {options.rounds} rounds")
    content = random.Random(1).randbytes(SIZE)
    pages = [BUFFER + page * 2 * PAGE for page in range(SIZE // PAGE)]
    random.Random(2).shuffle(pages)
    with servers.directory() as place:
        image = place / "disk.img"
        image.write_bytes(content)
        with servers.mounted(place / "ours", "--device", f"fba@{SCHID}:{image}") as server:
            program, idals = _program(pages)
            client = Client(server, program)
            blocks = SIZE // BLOCK
            client.store(IDALS, idals)
            parameters = extent(blocks, mask=0x40) + locate(READING, blocks)
            client.store(PARAMETERS, parameters)

            def read(_: int) -> None:
                client.run_again()

            try:
                cpu, wall = server_cost(server, read, READS, options)
                if b"".join(client.load(page, PAGE) for page in pages) != content:
                    raise BenchError("wrong data")
            finally:
                client.close()
    report.at_least("rate, by the server's CPU time", _rate(cpu), "GiB/s", TARGET_GIB)
    report.figure("rate, start to interruption", _rate(wall), "GiB/s")


def _rate(microseconds: float) -> float:
    """GiB/s of 1 MiB in that time."""
    return SIZE / (1 << 30) / (microseconds / 1e6)
