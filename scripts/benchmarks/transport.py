"""The round trip of a one-CCW program, start to IRB, beside the C null device.

Both servers are mounted all the time and take turns, so that a bad phase of the machine meets both.
Both targets are measured against the C device's round trip by poll: it is what a program that knows
only files has to pay there.
"""

from collections import defaultdict
from statistics import median

from benchmarks import servers
from benchmarks.report import Report
from benchmarks.servers import Options

MODES = ("poll", "read", "eventfd", "pread")
POLL_RATIO = 0.40
EVENTFD_RATIO = 0.80


def run(report: Report, options: Options) -> None:
    """Measure and report pwrite, pread and the round trip by poll, blocking read and eventfd."""
    report.heading(f"transport: p50 in us, medians of {options.rounds} alternating rounds")
    times: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    with servers.directory() as place:
        image = place / "disk.img"
        image.write_bytes(bytes(512 * 1024))
        with (
            servers.null_device(place / "c") as peer,
            servers.mounted(place / "ours", "--device", f"fba@0.0.0313:{image}") as ours,
        ):
            for turn in range(options.rounds):
                for mode in MODES:
                    for server in (peer, ours) if turn % 2 == 0 else (ours, peer):
                        for what, time in servers.drive(server, mode, options.count).items():
                            times[server.name, mode, what].append(time)

    def both(mode: str, what: str) -> tuple[float, float]:
        return median(times[peer.name, mode, what]), median(times[ours.name, mode, what])

    report.columns(peer.name, ours.name)
    report.row("pwrite that starts a program", *both("eventfd", "pwrite"))
    report.row("pread that takes the IRB", *both("eventfd", "pread"))
    report.row("pread, nothing pending", *both("pread", "pread"))
    by_poll, our_poll = both("poll", "round")
    report.row("round trip by poll", by_poll, our_poll, POLL_RATIO)
    report.row("round trip by blocking read", *both("read", "round"))
    by_eventfd, our_eventfd = both("eventfd", "round")
    report.row("round trip by eventfd", by_eventfd, our_eventfd)
    report.row("eventfd, against C by poll", by_poll, our_eventfd, EVENTFD_RATIO)
