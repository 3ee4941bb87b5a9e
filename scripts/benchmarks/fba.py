"""What a read of 96 blocks by 98 CCWs, Linux's largest FBA request, costs the server; and a write.

The program is Linux's: Define Extent, Locate, then one Read whose data chain has a CCW a block, so
63/40/16, 43/40/8, 95 x 42/80/512, 42/00/512; or one Write. Each 4-KiB page of the buffer lies
elsewhere in storage, as a page cache's pages do. What was read is compared with the image each
time, and what was written at the end.

The target is for an image where temporary files lie. Whether the server reads at once or by a
thread depends on the file system, so the other figures are for one of each kind: memory, a disk,
and one that a program serves.
"""

import random
from pathlib import Path

from benchmarks import servers
from benchmarks.programs import Client, report_cost, server_cost
from benchmarks.report import Report
from benchmarks.servers import BenchError, Options
from lab.mounts import SCHID
from lab.programs import CD, READ, READING, WRITE, WRITING, ccws, extent, locate, located
from lab.slowfs import slow_files

BLOCK = 512
BLOCKS = 96
IMAGE_BLOCKS = 64 * BLOCKS
PAGE = 4096
REQUESTS = 100  # a round
PARAMETERS, BUFFER = 0x20000, 0x100000
TARGET_US = 300
IN_MEMORY, ON_DISK = Path("/dev/shm"), Path("/var/tmp")


def _pages() -> list[int]:
    """Where the buffer's pages lie, in the order of the data: every other page, backwards."""
    return [BUFFER + page * 2 * PAGE for page in reversed(range(BLOCKS * BLOCK // PAGE))]


def _program(code: int) -> bytes:
    """The 98 CCWs; *code* is Read or Write."""
    blocks = [page + offset for page in _pages() for offset in range(0, PAGE, BLOCK)]
    chain = ((code, CD, BLOCK, block) for block in blocks[:-1])
    return ccws(*located(PARAMETERS), *chain, (code, 0, BLOCK, blocks[-1]))


def _parameters(operation: int, first: int) -> bytes:
    """Define Extent (writes if they are wanted; first block, first and last of extent), Locate."""
    mask = 0x40 if operation == READING else 0xC0
    return extent(BLOCKS, first, mask) + locate(operation, BLOCKS)


def _reads(server: servers.Server, content: bytes, options: Options) -> tuple[float, float]:
    """What a read costs, as `server_cost` says; the image has this *content*."""
    client = Client(server, _program(READ))

    def read(index: int) -> None:
        first = index * BLOCKS % IMAGE_BLOCKS
        client.store(PARAMETERS, _parameters(READING, first))
        client.run_again()
        data = b"".join(client.load(page, PAGE) for page in _pages())
        if data != content[first * BLOCK :][: BLOCKS * BLOCK]:
            raise BenchError(f"wrong data from block {first} on")

    try:
        return server_cost(server, read, REQUESTS, options)
    finally:
        client.close()


def _writes(server: servers.Server, image: Path, options: Options) -> tuple[float, float]:
    """What a write costs, as `server_cost` says; *image* is where its data can be found."""
    client = Client(server, _program(WRITE))
    data = random.Random(97).randbytes(BLOCKS * BLOCK)
    for place, page in enumerate(_pages()):
        client.store(page, data[place * PAGE :][:PAGE])

    def write(index: int) -> None:
        client.store(PARAMETERS, _parameters(WRITING, index * BLOCKS % IMAGE_BLOCKS))
        client.run_again()

    try:
        cost = server_cost(server, write, REQUESTS, options)
    finally:
        client.close()
    if image.read_bytes() != data * (IMAGE_BLOCKS // BLOCKS):
        raise BenchError("wrong data on the image")
    return cost


def _measure(report: Report, options: Options, image: Path, seen_at: Path, name: str) -> None:
    """Report reads and writes of *image*, which the server has by the path *seen_at*."""
    content = random.Random(96).randbytes(IMAGE_BLOCKS * BLOCK)
    image.write_bytes(content)
    with (
        servers.directory() as place,
        servers.mounted(place / "ours", "--device", f"fba@{SCHID}:{seen_at}") as server,
    ):
        report_cost(report, f"a read, {name}", _reads(server, content, options))
        report_cost(report, f"a write, {name}", _writes(server, image, options), until="end")


def run(report: Report, options: Options) -> None:
    """Measure and report the server's CPU time a read and a write of 96 blocks."""
    report.heading(f"fba: {BLOCKS} blocks by 98 CCWs, medians of {options.rounds} rounds")
    content = random.Random(96).randbytes(IMAGE_BLOCKS * BLOCK)
    with servers.directory() as place:
        image = place / "disk.img"
        image.write_bytes(content)
        with servers.mounted(place / "ours", "--device", f"fba@{SCHID}:{image}") as server:
            report_cost(report, "a read", _reads(server, content, options), TARGET_US)
    for where in (IN_MEMORY, ON_DISK):
        with servers.directory(where) as place:
            image = place / "disk.img"
            _measure(report, options, image, image, servers.file_system(place))
    with (
        servers.directory(IN_MEMORY) as behind,
        servers.directory() as place,
        slow_files(place / "fuse", behind) as files,
    ):
        _measure(report, options, behind / "disk.img", files.path / "disk.img", "FUSE")
