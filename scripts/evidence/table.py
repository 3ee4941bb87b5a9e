"""``scripts/thread-table``: the 14 rows of the thread, each executed on a mount.

A row is what one may type, line by line, and what must be seen then. Lines are run by bash with
``M`` (a mount of its own), ``S`` (``$M/0.0.0313``) and two functions: ``put ADDRESS HEX`` writes
guest storage, ``request HEX`` writes the io region: ORB, then SCSW. A line that fails ends
the row, and so does one that begins with ! and does not fail.
"""

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Sequence

from evidence.mounts import COMMANDS, mounted
from evidence.rows import ROWS, Row
from lab.ends import ended
from lab.mounts import PROJECT, SCHID

_FUNCTIONS = r"""
put() { xxd -r -p <<<"${*:2}" | dd of=$S/memory bs=1 seek=$(($1)) conv=notrunc status=none; }
request() { xxd -r -p <<<"$*" | dd of=$S/io_region bs=124 conv=notrunc status=none; }
"""
_AT_MOST = 300.0  # seconds for a row


def main() -> int:
    """Run the rows that the command line names; 0 if all of them work."""
    parser = argparse.ArgumentParser(
        prog="scripts/thread-table",
        description="Execute each row of the thread's table on a mount of its own.",
    )
    parser.add_argument("row", nargs="*", type=int, help="numbers of rows; default: all")
    parser.add_argument("--brief", action="store_true", help="one line a row, no evidence")
    arguments = parser.parse_args()
    chosen: Sequence[int] = arguments.row or sorted(ROWS)
    if unknown := [number for number in chosen if number not in ROWS]:
        parser.error(f"there is no row {unknown[0]}; rows are 1 to {max(ROWS)}")
    failed = 0
    for number in chosen:
        shown, problem = execute(ROWS[number])
        verdict = "works" if not problem else f"DOES NOT WORK: {problem}"
        print(f"{number:2}  {ROWS[number].title}: {verdict}")
        if not arguments.brief or problem:
            print("".join(f"      {line}\n" for line in shown), flush=True)
        failed += bool(problem)
    return 1 if failed else 0


def execute(row: Row) -> tuple[list[str], str]:
    """Run a row; give what was typed and seen, and what is wrong with it, if anything."""
    with mounted(*row.options, interface=row.interface, eckd=row.eckd) as mount:
        script = _FUNCTIONS + "".join(
            f"printf '$ %s\\n' {_quoted(line)}\n{_guarded(line)}\n" for line in row.lines
        )
        done = subprocess.run(
            ["bash", "-e", "-u", "-c", script],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_AT_MOST,
            cwd=PROJECT,
            env={
                **os.environ,
                "M": str(mount),
                "S": str(mount / SCHID),
                "PATH": f"{COMMANDS}:{os.environ['PATH']}",
                "PYTHONPATH": str(PROJECT / "scripts"),
                "LC_ALL": "C",
            },
            check=False,
        )
        seen = done.stdout.replace(str(mount), "MNT")
    if done.returncode:
        return seen.splitlines(), f"a line failed with exit status {done.returncode}"
    at = 0
    outputs = re.sub(r"^\$ .*$", "", seen, flags=re.MULTILINE)
    for wanted in row.wanted:
        found = re.compile(wanted, re.MULTILINE).search(outputs, at)
        if found is None:
            return seen.splitlines(), f"{wanted!r} was not seen"
        at = found.end()
    return seen.splitlines(), ""


def _guarded(line: str) -> str:
    """A line that begins with ! must fail: bash -e alone would let it succeed."""
    if not line.startswith("! "):
        return line
    return f"if {line[2:]}; then echo 'this had to fail'; exit 1; fi"


def _quoted(line: str) -> str:
    return "'" + line.replace("'", "'\\''") + "'"


if __name__ == "__main__":
    sys.exit(ended("scripts/thread-table", main))
