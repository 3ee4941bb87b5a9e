"""Who has a disk that several systems share: reservation, and who is held off meanwhile.

The systems are the subchannels that have the file with `shared`, of one mount or of several. While
one has reserved the disk a program of another waits at its first command: the device is busy, and
the subchannel stays start pending until it is no longer, as the channel subsystem takes the device
end that tells of that. A few commands are taken all the same (`Reservable.unreserved`). Reserve and
Unconditional Reserve wait for the programs of others in turn, and no others begin meanwhile.

All of that is said by open-file-description locks on three bytes of the file, which end with the
process that has them, however that ends: a program has a read lock on `IN_USE` while it runs, and
who has reserved the disk a write lock. Who waits for that one says so on `WAITED_FOR`, where who
begins a program looks, and Unconditional Reserve on `WANTED`: there whoever has reserved the disk
looks now and then, and gives it up. So a reservation is lost only when nothing of its program is
under way any more. Who waits looks again by a clock; nobody else does.

Where locks cannot be had, or may have to be waited for, a memfd stands in for the file: then it
holds among the devices of this mount alone.

Rules: 3990 reference and IBM's Internal Disk Subsystem reference, *Device Reserve*, *Unconditional
Reserve*, *Device Release*; sense data of what was lost: Linux `dasd_eckd.c`, `dasd_3990_erp.c`.
"""

from __future__ import annotations

import logging
import os
import threading
from typing import ClassVar, Final
from weakref import WeakValueDictionary

import trio

from .. import ofd
from ..errors import printable
from ..strand import Moment
from .base import EQUIPMENT_CHECK, UC, Busy, DataTransfer, Device, UnitCheck
from .dasd import RESERVE
from .locks import identity
from .medium import Medium

log = logging.getLogger(__name__)

IN_USE: Final = 300
"""Byte of the file: a read lock of who runs a program, a write lock of who has reserved it."""
WANTED: Final = 301
"""Byte of the file: a write lock of who waits in Unconditional Reserve."""
WAITED_FOR: Final = 302
"""Byte of the file: a read lock of who waits to have the disk alone."""
FIRST_LOOK: Final = 0.001
LAST_LOOK: Final = 0.02
"""Seconds from one look of who waits to the next: they double from the first to the last."""
OWNERS_LOOK: Final = 0.05
"""Seconds from one look of who has reserved a disk to the next."""


class Reservation:
    """Of a disk that no other system has: nobody is held off."""

    def __init__(self) -> None:
        self.owned = False
        """This system has reserved the disk."""
        self.lost = False
        """Another one took it away; what does so is told once."""

    @property
    def elsewhere(self) -> bool:
        """Another system has reserved the disk."""
        return False

    def enter(self) -> None:
        """A program begins to use the disk; Busy while another system has reserved it."""

    def leave(self) -> None:
        """The program that entered has ended, or waits."""

    def reserve(self) -> None:
        """Device Reserve; Busy while another system uses the disk."""
        self.owned = True

    def steal(self) -> None:
        """Unconditional Reserve; Busy until whoever uses the disk has left it."""
        self.owned = True

    def withdraw(self) -> None:
        """The program whose Reserve was busy does not go on."""

    def release(self) -> None:
        """Device Release, or a system reset. Without a reservation: nothing."""
        self.owned = self.lost = False

    def close(self) -> None:
        """The disk goes away."""

    async def watch(self) -> None:
        """Give the disk up when another system takes it. Returns, or runs until it is cancelled."""


class SharedReservation(Reservation):
    """Of a disk whose file others have, too. OSError of all that locks."""

    def __init__(self, medium: Medium) -> None:
        """*medium* is the disk's first file, open for writing; an open file of its own."""
        super().__init__()
        self._medium = medium
        self._fd = medium.fd
        self._stand_in: StandIn | None = None
        if not medium.locks_at_once:
            self._stand_in = stand_in(medium)
            self._fd = self._stand_in.open()
        self._programs = 0
        self._wants = self._waits = False
        self._looks = 0
        self._reserved = trio.Event()

    @property
    def elsewhere(self) -> bool:
        """Another system has reserved the disk."""
        return self._fd >= 0 and ofd.hindrance(self._fd, IN_USE, shared=True) is not None

    def _busy(self) -> Busy:
        seconds = min(FIRST_LOOK * (1 << self._looks), LAST_LOOK)
        self._looks = min(self._looks + 1, 10)
        return Busy(Moment(seconds))

    def enter(self) -> None:
        """A program begins to use the disk; Busy while another system has reserved it."""
        if not self.owned:
            fd = self._fd
            waited_for = ofd.hindrance(fd, WAITED_FOR) is not None
            if waited_for or not (self._programs or ofd.take(fd, IN_USE, shared=True)):
                raise self._busy()
            self._looks = 0
        self._programs += 1

    def leave(self) -> None:
        """The program that entered has ended, or waits."""
        self._programs -= 1
        if not self._programs:
            self._medium.once_settled(self._let_go)

    def _let_go(self) -> None:
        """Give back what nobody needs: no program of ours runs, and we have reserved nothing."""
        if not self._programs and not self.owned and self._fd >= 0:
            ofd.give_back(self._fd, IN_USE)

    def reserve(self) -> None:
        """Device Reserve; Busy while another system uses the disk."""
        if not self.owned:
            # Who takes it unconditionally goes first.
            self._own(after=ofd.hindrance(self._fd, WANTED) is not None)

    def steal(self) -> None:
        """Unconditional Reserve; Busy until whoever uses the disk has left it."""
        if not self.owned:
            self._wants = self._wants or ofd.take(self._fd, WANTED)
            self._own(after=not self._wants)

    def _own(self, *, after: bool) -> None:
        """Have the disk alone; Busy while another system uses it, or if somebody goes first."""
        if after or not ofd.take(self._fd, IN_USE):
            self._waits = self._waits or ofd.take(self._fd, WAITED_FOR, shared=True)
            raise self._busy()
        self.withdraw()
        self.owned = True
        self.lost = False
        self._looks = 0
        self._reserved.set()

    def withdraw(self) -> None:
        """The program whose Reserve was busy does not go on."""
        if self._wants or self._waits:
            self._wants = self._waits = False
            ofd.give_back(self._fd, WANTED, WAITED_FOR - WANTED + 1)

    def release(self) -> None:
        """Device Release, or a system reset. Without a reservation: nothing."""
        self.lost = False
        if self.owned:
            self.owned = False
            if self._programs:
                ofd.take(self._fd, IN_USE, shared=True)
            else:
                self._medium.once_settled(self._let_go)

    def close(self) -> None:
        """The disk goes away: what a write that is under way needs stays until it has ended."""
        self.withdraw()
        self.owned = False
        self._programs = 0
        self._medium.once_settled(self._end)

    def _end(self) -> None:
        self._let_go()
        fd, self._fd = self._fd, -1
        if self._stand_in is not None:
            self._stand_in = None
            os.close(fd)

    async def watch(self) -> None:
        """Give the disk up when another system takes it; runs until it is cancelled."""
        while True:
            await self._reserved.wait()
            self._reserved = trio.Event()
            while self.owned:
                await trio.sleep(OWNERS_LOOK)
                if self.owned and ofd.hindrance(self._fd, WANTED) is not None:
                    self.owned = False
                    self.lost = True
                    self._medium.once_settled(self._let_go)


class Reservable(Device):
    """A disk, which systems can reserve."""

    unreserved: ClassVar[frozenset[int]] = frozenset()
    """Commands that are taken also while another system has reserved the disk."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.reservation = Reservation()
        """Whose the disk is."""
        self._entered = False

    @property
    def reserved(self) -> str:
        """Who has reserved it: `here`, `elsewhere` or `none`; empty unless it is `shared`."""
        if not self.shared:
            return ""
        if self.reservation.owned:
            return "here"
        return "elsewhere" if self.reservation.elsewhere else "none"

    def share(self, medium: Medium) -> None:
        """Other systems write the disk, too; *medium* is its first file."""
        self.shared = True
        self.reservation = SharedReservation(medium)

    def execute_shared(self, code: int, io: DataTransfer) -> int:
        """As `execute`; Busy while another system keeps this one off."""
        reservation = self.reservation
        try:
            if code not in self.unreserved:
                if reservation.lost:
                    reservation.lost = False
                    raise self.lost()
                if not self._entered and code != RESERVE:
                    reservation.enter()
                    self._entered = True
            return self.execute(code, io)
        except Busy:
            # Two that wait must not be in each other's way.
            self._leave()
            raise
        except UnitCheck as check:
            refused = check
        except OSError:
            refused = self.cannot_write()
        self.sense = refused.sense
        return refused.status

    def lost(self) -> UnitCheck:
        """What says that another system took the disk away; disks with richer sense override it."""
        return UnitCheck(EQUIPMENT_CHECK, UC)

    def _leave(self) -> None:
        if self._entered:
            self._entered = False
            self.reservation.leave()

    def leave(self) -> None:
        """The channel program has ended, or is suspended: others may use the disk."""
        super().leave()
        self.reservation.withdraw()
        self._leave()

    def system_reset(self) -> None:
        """A system reset ends the reservation, too."""
        super().system_reset()
        self.reservation.release()

    async def service(self) -> None:
        """Give the disk up when another system takes it."""
        await self.reservation.watch()

    def close(self) -> None:
        """Give the disk up, and detach its media as all devices do."""
        self.reservation.close()
        super().close()


class StandIn:
    """A memfd whose bytes are locked instead of a file's."""

    def __init__(self) -> None:
        self._fd = os.memfd_create("reservation", os.MFD_CLOEXEC)

    def open(self) -> int:
        """An open file of its own, to be closed by the caller."""
        return os.open(f"/proc/self/fd/{self._fd}", os.O_RDWR | os.O_CLOEXEC)

    def __del__(self) -> None:
        os.close(self._fd)


_stand_ins: WeakValueDictionary[tuple[int, int], StandIn] = WeakValueDictionary()
"""Of the files that this process has, by device and inode."""
_entering: Final = threading.Lock()
"""Held by who looks into it: media are opened in threads."""


def stand_in(medium: Medium) -> StandIn:
    """What all have in this process who share the file of *medium*. The first one is warned."""
    with _entering:
        key = identity(os.fstat(medium.fd))
        found = _stand_ins.get(key)
        if found is None:
            log.warning(
                "%s: its file system has no locks that can be had at once; a reservation holds "
                "among the devices of this mount alone",
                printable(medium.path),
            )
            found = _stand_ins[key] = StandIn()
        return found
