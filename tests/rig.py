"""A subchannel of `full` as the product's own client drives it: START, HALT, CLEAR and the rest.

For tests of what `full` adds. Its client has no other tests, so they judge both sides at once; what
needs a client that does nothing by itself takes `lab.client`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from lab.client import events_of
from lab.mounts import SCHID, MountedSystem
from lab.programs import CC, FORMAT1, NOP, SLI, SPND, SUSPEND, Ccw, ccws
from lab.waits import SOON, until
from vfioccw_fuse.client import Subchannel
from vfioccw_fuse.client.full import FullSubchannel
from vfioccw_fuse.regions import constants as c
from vfioccw_fuse.regions.layouts import Crw, Irb

PROGRAM, DATA = 0x2000, 0x3000


class Rig:
    """A subchannel of a mount, and what a test does with it."""

    def __init__(self, system: MountedSystem, sub: Subchannel, full: FullSubchannel) -> None:
        self.system = system
        self.sub = sub
        self.full = full
        self.path = Path(sub.path)

    def control(self, words: str) -> None:
        self.system.control(words, self.path.name)

    def reset(self) -> None:
        self.system.reset(self.path.name)

    def start(self, *program: Ccw, ctrl0: int = FORMAT1, lpm: int = 0xFF) -> int:
        """SSCH of a program that is put into storage first; the errno, 0 if accepted."""
        from vfioccw_fuse.client import RequestFailed
        from vfioccw_fuse.regions.layouts import Orb

        data = ccws(*program)
        self.sub.storage.view[PROGRAM : PROGRAM + len(data)] = data
        try:
            return self.sub.start(Orb(0x1234, ctrl0, lpm, 0, PROGRAM))
        except RequestFailed as failed:
            return -(failed.errno or 0)

    def take(self) -> Irb:
        """Wait for the next interruption and take it."""
        assert self.sub.wait(SOON)
        return self.sub.result()

    def signals(self, name: str = "io_irq") -> int:
        """How many events wait in an interrupt's file; they are taken."""
        return events_of(self.path / name)

    def reports(self) -> list[Crw]:
        """All channel reports, read one by one."""
        found = []
        while (crw := self.full.take_report()) is not None:
            found.append(crw)
        return found

    def masks(self) -> dict[str, str]:
        """The six path masks in hex, by name."""
        schib = self.full.store()
        names = ("lpm", "pam", "pom", "pim", "lpum", "pnom")
        return {name: f"{getattr(schib, f'pmcw_{name}'):02x}" for name in names}

    def situation(self, name: str) -> None:
        """Bring the subchannel there: idle, start pending, active, suspended, status pending..."""
        self.reset()
        self.control("fault=none,delay=0s")
        self.signals()
        match name:
            case "idle":
                pass
            case "start pending":
                self.control("delay=60s")
                assert self.start((NOP, SLI, 1, 0)) == 0
                self.control("delay=0s")
            case "active":
                self.control("fault=hang")
                assert self.start((NOP, SLI, 1, 0)) == 0
                until(lambda: self.full.store().scsw_ctrl & 0x00C0, "the device is at work")
                self.control("fault=none")
            case "suspended":
                program = ((NOP, CC | SLI, 1, 0), (NOP, SLI | SUSPEND, 1, 0))
                assert self.start(*program, ctrl0=FORMAT1 | SPND) == 0
                assert self.take().scsw_ctrl & c.SCSW_ACTL_SUSP
            case "status pending":
                assert self.start((NOP, SLI, 1, 0)) == 0
                until(lambda: self.full.status().pending, "its status is pending")
            case "not operational":
                self.control("fault=not-operational")
            case _:
                raise AssertionError(name)


@contextlib.contextmanager
def rigged(system: MountedSystem, schid: str = SCHID) -> Iterator[Rig]:
    path = system.path / schid
    with Subchannel(path) as sub, FullSubchannel(path) as full:
        yield Rig(system, sub, full)
