"""A vfio-ccw device without a mount: its regions as a client sees them, errnos as numbers."""

from __future__ import annotations

import sys
from pathlib import Path

from lab import programs
from lab.programs import (
    BITS,
    CC,
    CLEAR,
    FORMAT1,
    HALT,
    IRB_AT,
    NOP,
    SENSE_ID,
    SLI,
    SPND,
    START,
    SUSPEND,
    Ccw,
    Irb,
)
from tests.css.machine import DiskMachine
from tests.machine import DATA, PROGRAM, Machine
from vfioccw_fuse.devices.base import Device
from vfioccw_fuse.devices.faults import Fault
from vfioccw_fuse.regions.table import Interface
from vfioccw_fuse.vfio.device import CcwDevice
from vfioccw_fuse.vfio.driver import Processing
from vfioccw_fuse.vfio.fsm import Event, State
from vfioccw_fuse.vfio.regions import check_write

SSCH, HSCH, CSCH, XSCH, RSCH = (BITS[name] for name in ("ssch", "hsch", "csch", "xsch", "rsch"))


class Driver:
    """A machine, its vfio-ccw device, and the accesses of a client."""

    def __init__(
        self, directory: Path, interface: str = "full", device: Device | None = None
    ) -> None:
        self.machine = DiskMachine(directory) if device is None else Machine(device, directory)
        self.sch = self.machine.sch
        self.sch.disable()
        self.ccw = CcwDevice(self.sch, Interface(interface))
        self.rows = {row.name: row for row in self.ccw.rows}
        self.held: Processing | None = None
        self.ccw.driver.event(Event.OPEN)
        self.settle = self.machine.executor.settle
        self.behaviour = self.sch.behaviour

    def close(self) -> None:
        self.ccw.driver.halves.close()
        self.machine.close()

    # --- accesses -----------------------------------------------------------------------------

    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
        row = self.rows[name]
        return self.ccw.regions[row.index].read(offset, row.size - offset if size is None else size)

    def write(self, name: str, offset: int, data: bytes) -> int:
        """0 or the errno; one that stays in CP_PROCESSING is `held` and counts as 0."""
        row = self.rows[name]
        try:
            check_write(row, offset, len(data))
            self.ccw.regions[row.index].write(offset, data)
        except OSError as error:
            return error.errno or -1
        except Processing as held:
            self.held = held
        return 0

    # --- requests -----------------------------------------------------------------------------

    def orb(self, ctrl0: int = FORMAT1, cpa: int = PROGRAM, lpm: int = 0xFF) -> bytes:
        return programs.orb(cpa, ctrl0, lpm=lpm, intparm=0x12345678)

    def request(self, fctl: int, orb: bytes | None = None) -> int:
        """A request in the io region."""
        orb = self.orb() if orb is None else orb
        return self.write("io_region", 0, programs.request(fctl, orb))

    def start(self, *ccws: Ccw, ctrl0: int = FORMAT1) -> int:
        self.machine.program(*ccws, format1=bool(ctrl0 & FORMAT1))
        return self.request(START, self.orb(ctrl0))

    def command(self, command: int) -> int:
        """A command in the cmd region."""
        return self.write("cmd_region", 0, programs.command(command))

    def ret_code(self, name: str = "io_region") -> int:
        at = 120 if name == "io_region" else 4
        return int.from_bytes(self.read(name, at, 4), sys.byteorder, signed=True)

    def take(self) -> Irb:
        """Read the IRB, which takes the interruption."""
        return Irb.of(self.read("io_region", IRB_AT, 96))

    def signals(self) -> int:
        """How often io_irq was signalled since it was asked last."""
        return self.ccw.irqs[0].take()

    def state(self) -> State:
        """The FSM's state. A method, as every access may change it."""
        return self.ccw.driver.state

    # --- situations ---------------------------------------------------------------------------

    def prepare(self, name: str) -> None:
        """Bring the device into a situation of the contract's table."""
        if name == "idle":
            return
        if name in ("not oper", "standby"):
            self.ccw.driver.event(Event.NOT_OPER if name == "not oper" else Event.CLOSE)
        elif name == "cp processing":
            self.behaviour.switch(Fault.PROCESSING)
            assert self.start((NOP, SLI, 1, 0)) == 0
            assert self.held is not None
            self.behaviour.switch(Fault.NONE)
        elif name == "not operational":
            self.behaviour.switch(Fault.NOT_OPERATIONAL)
        elif name == "status pending":
            assert self.start((NOP, SLI, 1, 0)) == 0
            self.settle()
        elif name == "suspended":
            assert self.start((NOP, CC | SLI, 1, 0), (NOP, SLI | SUSPEND, 1, 0),
                              ctrl0=FORMAT1 | SPND) == 0  # fmt: skip
            self.settle()
            self.take()
        elif name == "start pending":
            self.behaviour.delay = 1.0
            assert self.start((SENSE_ID, 0, 7, DATA)) == 0
            self.settle()
            self.behaviour.delay = 0.0
        elif name in ("active", "halt pending", "clear pending"):
            self.behaviour.switch(Fault.HANG)
            assert self.start((NOP, SLI, 1, 0)) == 0
            self.settle()
            self.behaviour.switch(Fault.NONE)
            if name != "active":
                assert self.request(HALT if name == "halt pending" else CLEAR) == 0
        else:
            raise AssertionError(name)
