"""The command line of scripts/guest-faults."""

from __future__ import annotations

import argparse
import signal
import sys
from typing import Final

from faults import FaultsError
from faults.rounds import FAULTS, Figures, Plan, run
from lab.ends import ended
from vfioccw_fuse.guest import GuestError

_EXAMPLES: Final = """
examples:
  scripts/guest-faults                       one round
  scripts/guest-faults --rounds 20 --seed 7  twenty, with other faults than by --seed 1
  scripts/guest-faults --interface async     where the driver does the TSCH
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/guest-faults",
        description="Boots an s390x Linux on an FBA disk and a 3390 and lets fio write and verify "
        "there, while lost interruptions, unit checks, hangs, busy, delays, unsolicited status and "
        "lost paths come at random. After each round all faults end, and the guest must recover "
        "by itself. The exit status is 0 if it did, every block was right and no I/O error was "
        "left; 1 if not.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=1, metavar="N", help="how many (default: 1)")
    parser.add_argument("--seed", type=int, default=1, metavar="S",
                        help="what goes wrong, and in which order (default: 1)")  # fmt: skip
    parser.add_argument("--faults", type=int, default=FAULTS, metavar="N",
                        help=f"things that go wrong in a round (default: {FAULTS})")  # fmt: skip
    parser.add_argument("--interface", default="full", metavar="NAME",
                        help="the subchannels' interface (default: full)")  # fmt: skip
    parser.add_argument("--iommufd", action="store_true",
                        help="by iommufd, as vfioccw qemu --iommufd has it")  # fmt: skip
    return parser


def _tell(line: str) -> None:
    print(line, flush=True)


def _sum(total: Figures) -> None:
    _tell(f"{total.rounds} rounds: {total}")
    for name, count in sorted(total.hits.items()):
        _tell(f"  {name:18} {count:6}")
    for line in total.messages:
        _tell(f"  {line}")


def main() -> int:
    """Do what the command line says; gives the exit status."""
    words = _parser().parse_args()
    # So that what was started ends, too.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    plan = Plan(words.rounds, words.seed, words.faults, words.interface, words.iommufd)
    try:
        total = run(plan, _tell)
    except (FaultsError, GuestError, OSError) as error:
        print(f"scripts/guest-faults: {error}", file=sys.stderr)
        return 1
    _sum(total)
    return 0 if total.good else 1


if __name__ == "__main__":
    sys.exit(ended("scripts/guest-faults", main))
