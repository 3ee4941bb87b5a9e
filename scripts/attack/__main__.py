"""The command line of `scripts/soak`."""

import argparse
import random
import shutil
import sys
import tempfile
from pathlib import Path

from attack.plan import PARTS, Plan
from attack.rounds import Run
from lab.ends import ended

_TMPFS = Path("/dev/shm")


def _parse(arguments: list[str] | None) -> Plan:
    parser = argparse.ArgumentParser(
        prog="scripts/soak",
        description="Attack a mount of its own, kill clients and server, and check that every "
        "acknowledged write is there; exit status 1 if something bad happened.",
        epilog="Parts of the attack: "
        + "; ".join(f"{part}: {what}" for part, what in PARTS.items()),
    )
    parser.add_argument("--minutes", type=float, default=5, help="how long (default: 5)")
    parser.add_argument("--kills", type=int, default=0, metavar="N",
                        help="until so many clients and servers were killed instead")  # fmt: skip
    parser.add_argument("--seed", type=int, help="what all chance is made from (default: new)")
    parser.add_argument("--clients", type=int, default=6, help="processes at a time (default: 6)")
    parser.add_argument("--without", action="append", default=[], choices=PARTS, metavar="PART",
                        help="leave a part of the attack out; may be given often")  # fmt: skip
    parser.add_argument("--only", action="append", default=[], choices=PARTS, metavar="PART",
                        help="leave all others out; may be given often")  # fmt: skip
    parser.add_argument("--answer-within", type=float, default=10.0, metavar="SECONDS",
                        help="how late a NOP may be answered meanwhile (default: 10)")  # fmt: skip
    parser.add_argument("--keep", action="store_true", help="keep images, ledgers and logs")
    told = parser.parse_args(arguments)
    if told.clients < 2 or told.kills < 0 or told.minutes <= 0:
        parser.error("--clients must be at least 2, --minutes and --kills more than nothing")
    seed = told.seed if told.seed is not None else random.SystemRandom().randrange(1 << 31)
    without = set(told.without) | (set(PARTS) - set(told.only) if told.only else set())
    return Plan(
        seed=seed, minutes=told.minutes, kills=told.kills, clients=told.clients,
        without=frozenset(without), answer_within=told.answer_within, keep=told.keep,
    )  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Run as *arguments* say; 0 if nothing bad happened, else 1."""
    plan = _parse(arguments)
    print(f"seed {plan.seed}", flush=True)
    disk = Path(tempfile.mkdtemp(prefix="soak."))
    tmpfs = Path(tempfile.mkdtemp(prefix="soak.", dir=_TMPFS))
    try:
        return Run(plan, disk, tmpfs).go()
    finally:
        if plan.keep:
            print(f"kept: {disk} and {tmpfs}")
        else:
            shutil.rmtree(disk, ignore_errors=True)
            shutil.rmtree(tmpfs, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(ended("scripts/soak", main))
