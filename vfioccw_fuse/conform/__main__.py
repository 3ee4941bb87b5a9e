"""The command line of scripts/judge-driver."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from vfioccw_fuse.conform import HERE, ConformError, NotHereError
from vfioccw_fuse.conform.answers import Answers, read_answers, write_answers
from vfioccw_fuse.conform.chance import FIRST, Chance, asked, shrink
from vfioccw_fuse.conform.changes import written
from vfioccw_fuse.conform.compare import Kind, Verdict, as_data, compare, read_kinds, table
from vfioccw_fuse.conform.ends import ask_driver, ask_mount
from vfioccw_fuse.conform.kernel import (
    KERNEL_SERIES,
    MODULES_SERIES,
    Driver,
    debian_modules,
    whole_kernel,
)
from vfioccw_fuse.conform.script import Case, read_cases, script_of
from vfioccw_fuse.guest import GuestError
from vfioccw_fuse.guest.kernel import BuildError
from vfioccw_fuse.guest.parts import Parts

CHANGES: Final = HERE / "LINUX.md"
"""Where the table of what changed in Linux is."""
MOST_SHRUNK: Final = 3
"""Differences by chance that are made short; each takes some boots of the guest."""
BATCH: Final = 4000
"""Requests by chance that are asked in one boot of the guest."""
NOT_HERE: Final = 3
"""The exit status if what the driver is made of cannot be had."""
_EXAMPLES: Final = f"""
examples:
  scripts/judge-driver                   Linux {MODULES_SERIES} in a guest, and a mount
  scripts/judge-driver --linux {KERNEL_SERIES}      a kernel, built first: some minutes, once
  scripts/judge-driver --tree ~/linux    the vfio_ccw of your source tree
  scripts/judge-driver --recorded {KERNEL_SERIES}   what Linux answered formerly; no guest
  scripts/judge-driver TIC               only cases with TIC in their names
  scripts/judge-driver --linux {KERNEL_SERIES} --random 20000 --seed 7    requests by chance
"""


def recorded(series: str) -> Path:
    """The file with the recorded answers of a Linux."""
    return HERE / f"answers-{series}.txt"


def changes() -> str:
    """The text of `CHANGES`, from the cases and the recorded answers."""
    older, newer = (read_answers(recorded(series)) for series in (MODULES_SERIES, KERNEL_SERIES))
    kinds = read_kinds(HERE / "differences.toml", MODULES_SERIES)
    cases = read_cases(HERE / "cases.toml")
    return written(cases, older, newer, kinds, (MODULES_SERIES, KERNEL_SERIES))


def _driver(words: argparse.Namespace) -> Driver:
    parts = Parts()
    if words.tree is not None:
        return whole_kernel(parts, words.tree)
    return whole_kernel(parts) if words.linux == KERNEL_SERIES else debian_modules(parts)


def _answers_of_linux(
    words: argparse.Namespace, script: str, cases: list[str]
) -> tuple[str, Answers]:
    if words.recorded is not None:
        answers = read_answers(recorded(words.recorded))
        return words.recorded, {name: answers[name] for name in cases if name in answers}
    return ask_driver(script, _driver(words))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/judge-driver",
        description="Asks Linux's own vfio_ccw, which runs in an s390x guest on a subchannel of a "
        "mount, and --interface async of a mount the same, and says where they differ.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    series = (MODULES_SERIES, KERNEL_SERIES)
    parser.add_argument("--linux", choices=series, default=MODULES_SERIES,
                        help="whose driver (default: %(default)s)")  # fmt: skip
    parser.add_argument("--tree", type=Path, metavar="DIR",
                        help="build the kernel of this source tree, and ask its driver; compared "
                        f"as {KERNEL_SERIES}")  # fmt: skip
    parser.add_argument("--recorded", choices=series, help="take recorded answers; no guest")
    parser.add_argument("--build", action="store_true",
                        help="only build what the guest needs, if it is missing; exit status "
                        f"{NOT_HERE}: it cannot be had")  # fmt: skip
    parser.add_argument("--record", action="store_true",
                        help="keep what Linux answers in the package")  # fmt: skip
    parser.add_argument("--random", type=int, metavar="N",
                        help="ask N requests by chance instead of the cases, and shorten what "
                        f"differs to a case; Linux {KERNEL_SERIES} or a tree")  # fmt: skip
    parser.add_argument("--seed", type=int, default=1,
                        help="which requests those are (default: %(default)s)")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="say it to programs")
    parser.add_argument("--changes", action="store_true",
                        help=f"write {CHANGES.name}: what changed from Linux "
                        f"{MODULES_SERIES} to {KERNEL_SERIES}")  # fmt: skip
    parser.add_argument("--interface", default="async", choices=("start-only", "scsw", "async"),
                        help="what is asked of the mount (default: %(default)s)")  # fmt: skip
    parser.add_argument("--all", action="store_true", help="say what is on the list, too")
    parser.add_argument("name", nargs="*", help="only cases whose names have one of these in them")
    return parser


def _series(words: argparse.Namespace) -> str:
    """The Linux as which the answers are compared."""
    if words.tree is not None:
        return KERNEL_SERIES
    series: str = words.recorded or words.linux
    return series


def _ask_both(
    words: argparse.Namespace, cases: Sequence[Case], driver: Driver | None = None
) -> tuple[str, Answers, Answers]:
    """Which Linux it is, and what both ends answer.

    *driver*: asked instead of what the command line says.
    """
    script = script_of(cases)
    if driver is None:
        release, linux = _answers_of_linux(words, script, [case.name for case in cases])
    else:
        release, linux = ask_driver(script, driver)
    with tempfile.TemporaryDirectory(prefix="judge-") as directory:
        return release, linux, ask_mount(script, Path(directory), words.interface)


def _say(
    words: argparse.Namespace,
    verdicts: Sequence[Verdict],
    release: str,
    both: tuple[Answers, Answers],
) -> int:
    """Print what the comparison says; the exit status."""
    if words.json:
        cases = [as_data(verdict, *both) for verdict in verdicts]
        print(json.dumps({"linux": release, "cases": cases}, indent=1))
    else:
        for verdict in verdicts:
            if verdict.problem:
                print(f"{verdict.case}: {verdict.problem}")
            elif verdict.kind and words.all:
                print(f"{verdict.case}: on the list: {verdict.kind}")
        print("\n".join(table(verdicts)), flush=True)
    return int(any(verdict.problem for verdict in verdicts))


def _by_chance(words: argparse.Namespace, kinds: Sequence[Kind]) -> int:
    """Ask requests by chance; what differs is made short and printed as a case."""
    driver = _driver(words)
    cases = list(Chance(words.seed).cases(words.random))
    linux: Answers = {}
    ours: Answers = {}
    release = ""
    batch: list[Case] = []
    for number, case in enumerate(cases, 1):
        batch.append(case)
        if number == len(cases) or sum(map(asked, batch)) >= BATCH:
            release, one, two = _ask_both(words, [FIRST, *batch], driver)
            linux |= one
            ours |= two
            batch = []
    verdicts = compare(linux, ours, kinds)

    def differ(tried: Sequence[Case]) -> list[bool]:
        if not tried:
            return []
        _, one, two = _ask_both(words, [FIRST, *tried], driver)
        return [verdict.problem != "" for verdict in compare(one, two, kinds)][1:]

    status = _say(words, verdicts, release, (linux, ours))
    if not words.json:
        print(f"{sum(map(asked, cases))} requests by chance, seed {words.seed}, Linux {release}")
        wrong = {verdict.case for verdict in verdicts if verdict.problem}
        for case in [case for case in cases if case.name in wrong][:MOST_SHRUNK]:
            print(shrink(case, differ).text(), flush=True)
    return status


def main() -> int:
    """Do what the command line says; gives the exit status: 1 if something is not explained."""
    words = _parser().parse_args()
    # So that what was started ends, too.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    cases = [
        case for case in read_cases(HERE / "cases.toml")
        if not words.name or any(part in case.name for part in words.name)
    ]  # fmt: skip
    kinds = read_kinds(HERE / "differences.toml", _series(words))
    try:
        if words.build:
            print(_driver(words).kernel)
            return 0
        if words.changes:
            CHANGES.write_text(changes())
            return 0
        if words.random is not None:
            if _series(words) != KERNEL_SERIES or words.recorded:
                raise ConformError(f"--random wants --linux {KERNEL_SERIES} or --tree")
            return _by_chance(words, kinds)
        if words.record:
            release, linux = ask_driver(script_of(cases), _driver(words))
            write_answers(
                recorded(words.linux), linux, f"What vfio_ccw of Linux {release} answers."
            )
            return 0
        release, linux, ours = _ask_both(words, cases)
    except (NotHereError, GuestError) as error:
        print(f"scripts/judge-driver: {error}", file=sys.stderr)
        return 2 if isinstance(error, BuildError) else NOT_HERE
    except (ConformError, OSError) as error:
        print(f"scripts/judge-driver: {error}", file=sys.stderr)
        return 2
    return _say(words, compare(linux, ours, kinds), release, (linux, ours))


if __name__ == "__main__":
    sys.exit(main())
