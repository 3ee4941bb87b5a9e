"""A client that has both sides of `full` open: START, HALT, CLEAR and what the interface adds."""

from __future__ import annotations

import contextlib
import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

from lab.mounts import MountedSystem
from lab.waits import SOON, until
from vfioccw_fuse.client import Subchannel
from vfioccw_fuse.client.full import FullSubchannel
from vfioccw_fuse.regions import constants as c
from vfioccw_fuse.regions.layouts import Crw, Irb

PROGRAM, DATA = 0x2000, 0x3000
CC, SLI, SUSPEND, PCI = c.CCW_FLAG_CC, c.CCW_FLAG_SLI, c.CCW_FLAG_SUSPEND, c.CCW_FLAG_PCI
NOP, SENSE_ID = 0x03, 0xE4
FORMAT1 = c.ORB_CTRL0_MASK_FMT
SPND = c.ORB_CTRL0_MASK_SPND
ENDED = 0x0C
Ccw = tuple[int, int, int, int]


def ccws(*program: Ccw) -> bytes:
    """Format-1 CCWs: command, flags, count, address."""
    return b"".join(struct.pack(">BBHI", *ccw) for ccw in program)


class Rig:
    """A subchannel of a mount, and what a test does with it."""

    def __init__(self, system: MountedSystem, sub: Subchannel, full: FullSubchannel) -> None:
        self.system = system
        self.sub = sub
        self.full = full
        self.path = Path(sub.path)

    def control(self, words: str) -> None:
        (self.path / "control").write_text(words)

    def reset(self) -> None:
        (self.path / "reset").write_text("1")

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
        fd = os.open(self.path / name, os.O_RDONLY | os.O_NONBLOCK)
        try:
            return int.from_bytes(os.read(fd, 8), sys.byteorder)
        except BlockingIOError:
            return 0
        finally:
            os.close(fd)

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
def rigged(system: MountedSystem, schid: str = "0.0.0313") -> Iterator[Rig]:
    path = system.path / schid
    with Subchannel(path) as sub, FullSubchannel(path) as full:
        yield Rig(system, sub, full)
