"""The command line of scripts/judge-driver."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from pathlib import Path
from typing import Final

from judge import JudgeError, NotHereError
from judge.answers import Answers, read_answers, write_answers
from judge.compare import compare, read_kinds, table
from judge.ends import ask_driver, ask_mount
from judge.kernel import KERNEL_SERIES, MODULES_SERIES, Driver, debian_modules, whole_kernel
from judge.script import read_cases, script_of
from lab.mounts import PROJECT
from vfioccw_fuse.guest import GuestError
from vfioccw_fuse.guest.kernel import BuildError
from vfioccw_fuse.guest.parts import Parts

DATA: Final = PROJECT / "tests" / "linux"
"""Where cases, recorded answers and the list of differences are."""
NOT_HERE: Final = 3
"""The exit status if what the driver is made of cannot be had."""
_EXAMPLES: Final = f"""
examples:
  scripts/judge-driver                   Linux {MODULES_SERIES} in a guest, and a mount
  scripts/judge-driver --linux {KERNEL_SERIES}      a kernel, built first: some minutes, once
  scripts/judge-driver --tree ~/linux    the vfio_ccw of your source tree
  scripts/judge-driver --recorded {KERNEL_SERIES}   what Linux answered formerly; no guest
  scripts/judge-driver TIC               only cases with TIC in their names
"""


def recorded(series: str) -> Path:
    """The file with the recorded answers of a Linux."""
    return DATA / f"answers-{series}.txt"


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
                        help="keep what Linux answers in tests/linux")  # fmt: skip
    parser.add_argument("--interface", default="async", choices=("start-only", "scsw", "async"),
                        help="what is asked of the mount (default: %(default)s)")  # fmt: skip
    parser.add_argument("--all", action="store_true", help="say what is on the list, too")
    parser.add_argument("name", nargs="*", help="only cases whose names have one of these in them")
    return parser


def main() -> int:
    """Do what the command line says; gives the exit status: 1 if something is not explained."""
    words = _parser().parse_args()
    # So that what was started ends, too.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    cases = [
        case for case in read_cases(DATA / "cases.toml")
        if not words.name or any(part in case.name for part in words.name)
    ]  # fmt: skip
    script = script_of(cases)
    try:
        if words.build:
            print(_driver(words).kernel)
            return 0
        release, linux = _answers_of_linux(words, script, [case.name for case in cases])
        if words.record:
            write_answers(
                recorded(words.linux), linux, f"What vfio_ccw of Linux {release} answers."
            )
            return 0
        with tempfile.TemporaryDirectory(prefix="judge-") as directory:
            ours = ask_mount(script, Path(directory), words.interface)
    except (JudgeError, GuestError, OSError) as error:
        print(f"scripts/judge-driver: {error}", file=sys.stderr)
        if isinstance(error, BuildError):
            return 2
        return NOT_HERE if isinstance(error, NotHereError | GuestError) else 2
    whose = KERNEL_SERIES if words.tree is not None else words.recorded or words.linux
    verdicts = compare(linux, ours, read_kinds(DATA / "differences.toml", whose))
    for verdict in verdicts:
        if verdict.problem:
            print(f"{verdict.case}: {verdict.problem}")
        elif verdict.kind and words.all:
            print(f"{verdict.case}: on the list: {verdict.kind}")
    print("\n".join(table(verdicts)))
    return int(any(verdict.problem for verdict in verdicts))


if __name__ == "__main__":
    sys.exit(main())
