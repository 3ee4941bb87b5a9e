"""A subchannel with storage and a device of any type, without a driver and without a mount.

Its programs run when a test says so (`ManualExecutor`, the default), or as tasks of a nursery
(`Machine.live`). What a room needs besides, a subclass there adds: `tests.css.machine` disks and a
device that shows what a disk cannot, `tests.devices` endings and sense data.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path

import trio

from lab.mounts import SCHID
from lab.programs import FORMAT1, Ccw, Irb, ccws
from vfioccw_fuse.css.channel import ChannelProgram, Pause
from vfioccw_fuse.css.executor import TrioExecutor
from vfioccw_fuse.css.subchannel import Subchannel
from vfioccw_fuse.devices.base import Device
from vfioccw_fuse.devices.faults import Behaviour
from vfioccw_fuse.memory.backing import BuiltInStorage
from vfioccw_fuse.memory.space import AddressSpace, StorageKeys
from vfioccw_fuse.regions.layouts import Orb
from vfioccw_fuse.strand import TURN, Waits

SENSE_DATA = 0x1000
PROGRAM = 0x2000
PARAMETERS = 0x3000
LISTS = 0x4000
DATA = 0x10000
"""Where things lie in storage, unless a test says otherwise."""
MEMORY = 1 << 20
"""Bytes of storage."""


class ManualExecutor:
    """An executor without time: what it was given runs, in order, when `settle` is called."""

    def __init__(self) -> None:
        self.jobs: deque[Callable[[], None]] = deque()
        self.delayed: list[ChannelProgram] = []
        self.later_jobs: list[Callable[[], None]] = []
        self.waiting: list[tuple[ChannelProgram, Pause | Waits]] = []

    def launch(self, program: ChannelProgram, delay: float) -> None:
        """See `css.subchannel.Executor.launch`."""
        if delay:
            self.delayed.append(program)
        else:
            self.jobs.append(partial(self._go, program))

    def soon(self, function: Callable[[], None]) -> None:
        """See `css.subchannel.Executor.soon`."""
        self.jobs.append(function)

    def later(self, function: Callable[[], None], delay: float) -> Callable[[], None]:
        """See `css.subchannel.Executor.later`; `elapse` calls it."""
        job = partial(function)
        self.later_jobs.append(job)
        return partial(self._forget, job)

    def _forget(self, job: Callable[[], None]) -> None:
        if job in self.later_jobs:
            self.later_jobs.remove(job)

    def _go(self, program: ChannelProgram) -> None:
        if program.cancelled:
            return
        pause = program.run()
        if pause is not None and not program.cancelled:
            self.waiting.append((program, pause))

    def settle(self, turns: int = 50) -> None:
        """Run what can run; a program that only lets others have their turn gets *turns* more."""
        while True:
            while self.jobs:
                self.jobs.popleft()()
            waiting, self.waiting = self.waiting, []
            for program, pause in waiting:
                if program.cancelled:
                    continue
                if pause is TURN and turns:
                    turns -= 1
                elif pause is Pause.EVENT and program.woken:
                    program.woken = False
                elif not (isinstance(pause, trio.Event) and pause.is_set()):
                    self.waiting.append((program, pause))
                    continue
                self.jobs.append(partial(self._go, program))
            if not self.jobs:
                return

    def elapse(self) -> None:
        """All delays are over."""
        delayed, self.delayed = self.delayed, []
        self.jobs.extend(partial(self._go, program) for program in delayed)
        later, self.later_jobs = self.later_jobs, []
        self.jobs.extend(later)
        self.settle()


class Machine:
    """Storage, a device, an enabled subchannel, and what a program can do with them."""

    def __init__(
        self,
        device: Device,
        directory: Path,
        *,
        behaviour: Behaviour | None = None,
        memory: int = MEMORY,
    ) -> None:
        """*directory* gets the file of the storage, *memory* bytes."""
        self.memory = memory
        self.storage = BuiltInStorage(str(directory), memory)
        self.space = AddressSpace([self.storage.range()])
        self.executor = ManualExecutor()
        self.sch = Subchannel(SCHID, device, self.space, self.executor, behaviour)
        self.sch.enable()
        self.intparm = 0

    @property
    def device(self) -> Device:
        """What is behind the subchannel."""
        return self.sch.device

    def live(self, nursery: trio.Nursery) -> None:
        """From now on programs are tasks of *nursery*."""
        self.sch.executor = TrioExecutor(nursery)

    def close(self) -> None:
        self.sch.quiesce()
        self.device.close()
        for mapped in self.space.ranges:
            mapped.release()
        self.storage.close()

    # --- storage ------------------------------------------------------------------------------

    def store(self, address: int, data: bytes) -> None:
        self.space.write(address, data)

    def load(self, address: int, length: int) -> bytes:
        return self.space.read(address, length)

    def picture(self) -> bytes:
        """All of storage."""
        return os.pread(self.storage.fd, self.memory, 0)

    def program(self, *program: Ccw, at: int = PROGRAM, format1: bool = True) -> None:
        """Put a channel program into storage."""
        if program:
            self.store(at, ccws(*program, format1=format1))

    def set_key(self, address: int, key: int) -> None:
        if self.space.keys is None:
            self.space.keys = StorageKeys()
        self.space.keys.set(address, key)

    # --- instructions -------------------------------------------------------------------------

    def orb(self, ctrl0: int = FORMAT1, cpa: int = PROGRAM, lpm: int = 0xFF, ctrl1: int = 0) -> Orb:
        self.intparm += 1
        return Orb(self.intparm, ctrl0, lpm, ctrl1, cpa)

    def start(self, *program: Ccw, ctrl0: int = FORMAT1, ctrl1: int = 0) -> None:
        """Store the program if one is given, start it, let it run as far as it can."""
        self.program(*program, format1=bool(ctrl0 & FORMAT1))
        assert self.sch.ssch(self.orb(ctrl0, ctrl1=ctrl1)) == 0
        self.executor.settle()

    def take(self) -> Irb:
        """TSCH of a subchannel that is status pending."""
        cc, irb = self.sch.tsch()
        assert cc == 0, "no status is pending"
        return Irb.of(irb)

    def run(self, *program: Ccw, ctrl0: int = FORMAT1, ctrl1: int = 0) -> Irb:
        """A whole start function: the IRB that ends it, which is the only one."""
        self.start(*program, ctrl0=ctrl0, ctrl1=ctrl1)
        irb = self.take()
        assert not self.sch.scsw.status_pending
        return irb
