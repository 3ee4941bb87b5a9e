"""What the Python client keeps right: ``python -m evidence.client MNT/0.0.0313``."""

import errno
import os
import sys
from pathlib import Path
from typing import Any
from unittest import mock

from vfioccw_fuse.client import Program, Subchannel
from vfioccw_fuse.regions import constants as c
from vfioccw_fuse.regions import descriptions


def main() -> None:
    """Each line is one thing that was tried, and what scsw(q) says then."""
    path = Path(sys.argv[1])
    with Subchannel(path) as sub, Program(sub.storage) as program:
        program.ccw(0x03, c.CCW_FLAG_SLI, 1)
        program.lay_out()
        (path / "control").write_text("delay=600s")
        print(f"ssch: cc {sub.start(program.orb())}, scsw(q) {descriptions.line_scsw(sub.scsw)}")
        before = sub.scsw
        cc = sub.start(program.orb())
        print(f"second ssch: EBUSY is cc {cc}, scsw(q) {_compare(before, sub.scsw)}")
        sub.clear_and_wait()
        (path / "control").write_text("delay=0s,fault=not-operational")
        before = sub.scsw
        cc = sub.start(program.orb())
        print(f"not operational: ENODEV is cc {cc}, scsw(q) {_compare(before, sub.scsw)}")
        (path / "control").write_text("fault=none")
        print(f"EAGAIN twice, made up here: {_busy_server(sub, program)}")


def _compare(before: object, now: object) -> str:
    return "is as before" if before == now else f"HAS CHANGED: {before} -> {now}"


def _busy_server(sub: Subchannel, program: Program) -> str:
    """Start while the first two writes find the subchannel's lock held."""
    writes = 0
    real = os.pwrite

    def pwrite(*arguments: Any) -> int:
        nonlocal writes
        writes += 1
        if writes < 3:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return real(*arguments)

    with mock.patch("os.pwrite", pwrite):
        cc = sub.start(program.orb())
    sub.wait(60)
    sub.result()
    return f"sent {writes} times, cc {cc}"


if __name__ == "__main__":
    main()
