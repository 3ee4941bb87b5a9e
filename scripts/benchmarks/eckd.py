"""What a read of 12 records of 4 KiB, a whole track, costs the server on an ECKD disk.

The program is Linux's without track data: Define Extent, Locate Record, then a Read Data with
multi-track bit for each record. What was read is compared with what was written before.
"""

import random

from benchmarks import servers
from benchmarks.programs import Client, report_cost, server_cost
from benchmarks.report import Report
from benchmarks.servers import BenchError, Options
from lab import programs
from lab.mounts import SCHID
from lab.programs import ccw

RECORD = 4096
RECORDS = 12
TRACKS = 30
READS = 100  # a round
PARAMETERS, BUFFER = 0x20000, 0x100000
TARGET_US = 300


def _program(command: int) -> bytes:
    """Define Extent, Locate Record, and *command* for each record, into pages apart."""
    chain = [
        ccw(command, 0x40 if record < RECORDS - 1 else 0, RECORD, BUFFER + record * 2 * RECORD)
        for record in range(RECORDS)
    ]
    return b"".join([ccw(0x63, 0x40, 16, PARAMETERS), ccw(0x47, 0x40, 16, PARAMETERS + 16), *chain])


def _parameters(track: int, write: bool) -> bytes:
    """Define Extent of one track, and Locate Record for its 12 records."""
    place = divmod(track, 15)
    return programs.track_extent(place, RECORD, write=write) + programs.track_locate(
        place, 1, RECORDS, RECORD, write=write
    )


def run(report: Report, options: Options) -> None:
    """Measure and report the server's CPU time a read of a track's 12 records."""
    report.heading(f"eckd: {RECORDS} records of 4 KiB, medians of {options.rounds} rounds")
    content = random.Random(12).randbytes(TRACKS * RECORDS * RECORD)
    with servers.directory() as place:
        image = place / "vol.ckd"
        volume = ("3390", image, "--cylinders", 3, "--format", "ldl")
        servers.vfioccw("image", "create", *volume)
        with servers.mounted(place / "ours", "--device", f"3390@{SCHID}:{image}") as server:
            client = Client(server, _program(0x85))

            def track_data(track: int) -> bytes:
                return content[track * RECORDS * RECORD :][: RECORDS * RECORD]

            try:
                for track in range(TRACKS):
                    client.store(PARAMETERS, _parameters(track + 1, write=True))
                    data = track_data(track)
                    for record in range(RECORDS):
                        piece = data[record * RECORD :][:RECORD]
                        client.store(BUFFER + record * 2 * RECORD, piece)
                    client.run_again()
                client.store(0x10000, _program(0x86))

                def read(index: int) -> None:
                    track = index % TRACKS
                    client.store(PARAMETERS, _parameters(track + 1, write=False))
                    client.run_again()
                    pages = (client.load(BUFFER + r * 2 * RECORD, RECORD) for r in range(RECORDS))
                    if b"".join(pages) != track_data(track):
                        raise BenchError(f"wrong data on track {track + 1}")

                report_cost(report, "a track", server_cost(server, read, READS, options), TARGET_US)
            finally:
                client.close()
