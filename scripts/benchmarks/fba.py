"""What a read of 96 blocks by 98 CCWs, Linux's largest FBA request, costs the server.

The program is Linux's: Define Extent, Locate, then one Read whose data chain has a CCW a block, so
63/40/16, 43/40/8, 95 x 42/80/512, 42/00/512. Each 4-KiB page of the buffer lies elsewhere in
storage, as a page cache's pages do. What was read is compared with the image each time.
"""

import random

from benchmarks import servers
from benchmarks.programs import Client, report_cost, server_cost
from benchmarks.report import Report
from benchmarks.servers import BenchError, Options
from lab.mounts import SCHID
from lab.programs import CD, READ, READING, ccws, extent, locate, located

BLOCK = 512
BLOCKS = 96
IMAGE_BLOCKS = 64 * BLOCKS
PAGE = 4096
READS = 100  # a round
PARAMETERS, BUFFER = 0x20000, 0x100000
TARGET_US = 300


def _pages() -> list[int]:
    """Where the buffer's pages lie, in the order of the data: every other page, backwards."""
    return [BUFFER + page * 2 * PAGE for page in reversed(range(BLOCKS * BLOCK // PAGE))]


def _program() -> bytes:
    """The 98 CCWs."""
    blocks = [page + offset for page in _pages() for offset in range(0, PAGE, BLOCK)]
    chain = ((READ, CD, BLOCK, block) for block in blocks[:-1])
    return ccws(*located(PARAMETERS), *chain, (READ, 0, BLOCK, blocks[-1]))


def _parameters(first: int) -> bytes:
    """Define Extent (no writes; first block on the volume, first and last of extent), Locate."""
    return extent(BLOCKS, first, mask=0x40) + locate(READING, BLOCKS)


def run(report: Report, options: Options) -> None:
    """Measure and report the server's CPU time a read of 96 blocks."""
    report.heading(f"fba: {BLOCKS} blocks by 98 CCWs, medians of {options.rounds} rounds")
    content = random.Random(96).randbytes(IMAGE_BLOCKS * BLOCK)
    with servers.directory() as place:
        image = place / "disk.img"
        image.write_bytes(content)
        with servers.mounted(place / "ours", "--device", f"fba@{SCHID}:{image}") as server:
            client = Client(server, _program())

            def read(index: int) -> None:
                first = index * BLOCKS % IMAGE_BLOCKS
                client.store(PARAMETERS, _parameters(first))
                client.run_again()
                data = b"".join(client.load(page, PAGE) for page in _pages())
                if data != content[first * BLOCK :][: BLOCKS * BLOCK]:
                    raise BenchError(f"wrong data from block {first} on")

            try:
                report_cost(report, "a read", server_cost(server, read, READS, options), TARGET_US)
            finally:
                client.close()
