"""The command line of ``scripts/bench``: which benches, how many rounds, the exit status."""

import argparse
import os
import sys
from collections.abc import Callable

from benchmarks import eckd, fba, guest, idal, isolation, pav, scale, size, transport
from benchmarks.report import Report
from benchmarks.servers import BenchError, Options
from lab.ends import ended
from vfioccw_fuse import compiled

# A new bench is a module with `run` and a line here.
BENCHES: dict[str, Callable[[Report, Options], None]] = {
    "transport": transport.run,
    "fba": fba.run,
    "eckd": eckd.run,
    "idal": idal.run,
    "guest": guest.run,
    "pav": pav.run,
    "size": size.run,
    "scale": scale.run,
    "isolation": isolation.run,
}


def main() -> int:
    """Run the benches that the command line names; 0 if every target held, else 1."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measure speed and size; exit status 1 if a target is missed.",
        epilog="Medians over the rounds; all share one core, but for guests and isolation.",
    )
    parser.add_argument(
        "bench", nargs="*", default="all", choices=[*BENCHES, "all"], help="default: all"
    )
    parser.add_argument("--rounds", type=int, default=6, help="alternating rounds (default: 6)")
    parser.add_argument("--count", type=int, default=3000, help="round trips a round (3000)")
    arguments = parser.parse_args()
    if arguments.rounds < 1 or arguments.count < 10:
        parser.error("--rounds must be at least 1 and --count at least 10")
    names = list(BENCHES) if "all" in arguments.bench else list(dict.fromkeys(arguments.bench))

    # Inherited by servers and clients: across cores wake-ups of a halted core hide everything.
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    report = Report()
    report.heading(f"vfioccw runs {compiled.how()}")
    for name in names:
        try:
            BENCHES[name](report, Options(rounds=arguments.rounds, count=arguments.count))
        # A wait of `lab` that was in vain is an AssertionError, which names what did not come true.
        except (BenchError, AssertionError, OSError) as error:
            report.failure(name, str(error))
    return report.close()


if __name__ == "__main__":
    sys.exit(ended("scripts/bench", main))
