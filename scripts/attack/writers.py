"""Clients whose writes are checked: each has a medium, its ledger, and guest storage of its own.

A write counts as acknowledged when its own IRB says channel end, device end and nothing else. All
else, and no IRB in time, is a write without an answer: it may be on the medium, and nothing later.
Around what a program was told to fill lies a pattern that must stay.
"""

import errno
import mmap
import os
import random
import select
import time
from abc import ABC, abstractmethod

from attack.ledger import Ledger, TapeLedger, ledger_of
from attack.media import HEADS, RECORDS, Medium, content
from attack.seat import Gone, Seat
from lab import programs
from lab.client import Connection, errno_of, write_file
from lab.mounts import BLOCK, is_mounted
from lab.programs import (
    CC,
    CD,
    CE,
    DE,
    ENDED,
    FORMAT1,
    IDA,
    IDAW64,
    IO_REGION,
    IRB_AT,
    PREFETCH,
    PRIMARY,
    READ,
    READING,
    SECONDARY,
    SLI,
    START,
    WRITE,
    WRITING,
    Ccw,
    Irb,
)

_SIZE = 4 << 20
_SLOTS, _PROGRAM, _PARAMETERS, _LISTS = 32, 0x0, 0x10000, 0x14000
_PROGRAM_ROOM, _PARAMETERS_ROOM, _LIST_ROOM = 0x800, 0x100, 0x200
_OUT, _OUT_ROOM = 0x100000, 0x10000
_IN, _IN_ROOM = 0x200000, 0x24000
_GUARD = bytes([0xA5]) * _IN_ROOM
_TRY_AGAIN = 20.0
"""Seconds after which a program that has not ended is taken for one that never will."""
_PATIENCE = 2.0
"""Seconds of EBUSY after which what is in the way is reset."""
_ENDED = {errno.ENOTCONN, errno.ECONNABORTED}
_NO_PATH = {errno.ENODEV, errno.EACCES}
_REWIND, _TAPE_WRITE, _TAPE_READ = 0x07, 0x01, 0x02
_TAPE_LENGTH = 60
"""Blocks of a tape before it is written from its beginning again."""


class _Channel:
    """A writer's subchannel: programs and data in storage that nobody else has."""

    def __init__(self, seat: Seat, medium: Medium, chance: random.Random) -> None:
        self._seat = seat
        self._chance = chance
        self.medium = medium
        directory = seat.mount / medium.schid
        self._io = os.open(directory / "io_region", os.O_RDWR)
        self._reset, self._control = directory / "reset", directory / "control"
        memory = os.memfd_create("writer")
        os.truncate(memory, _SIZE)
        self.storage = mmap.mmap(memory, _SIZE)
        self._event = os.eventfd(0, os.EFD_NONBLOCK)
        self._connection: Connection | None = None
        self._memory = memory
        self._slot = chance.randrange(_SLOTS)
        self._connect()

    def _connect(self) -> None:
        """Map the storage and attach the eventfd, however long others are in the way."""
        while True:
            try:
                with self._seat.board.doing("map storage of a writer"):
                    connection = Connection(self._seat.mount)
                    wrong = connection.say(self._names(map=_AREA), self._memory)
                    wrong = wrong or connection.say(self._names(irq=0), self._event)
            except (OSError, ValueError) as error:
                wrong = str(error)
            if not wrong:
                self._connection = connection
                return
            if not is_mounted(self._seat.mount):
                raise Gone
            time.sleep(0.1)

    def _names(self, **more: object) -> dict[str, object]:
        return {"subchannel": self.medium.schid, **more}

    def room(self) -> int:
        """The number of a slot for a program, its parameters and its data; the oldest one."""
        self._slot = (self._slot + 1) % _SLOTS
        return self._slot

    def out(self, data: bytes) -> int:
        """Put *data* where a program may take it from; its address."""
        # Another place each time: what was reset may still be on its way to the medium.
        at = _OUT + self._slot % 16 * _OUT_ROOM + self._chance.randrange(64) * 8
        assert len(data) <= _OUT_ROOM - 512
        self.storage[at : at + len(data)] = data
        return at

    def parameters(self, data: bytes) -> int:
        """Put the parameters of this slot's program; their address."""
        at = _PARAMETERS + self._slot * _PARAMETERS_ROOM
        self.storage[at : at + len(data)] = data
        return at

    def moves(self, code: int, address: int, size: int, *, flags: int = 0) -> list[Ccw]:
        """CCWs that move *size* bytes at *address* by *code*, in one of the ways that there are."""
        match self._chance.randrange(3):
            case 0 if size >= 2:
                cut = self._chance.randrange(1, size)
                more = (code, flags, size - cut, address + cut)
                return [(code, CD, cut, address), more]
            case 1:
                at = _LISTS + self._slot * _LIST_ROOM
                pages = [address, *range((address | 0xFFF) + 1, address + size, 0x1000)]
                idaws = b"".join(page.to_bytes(8, "big") for page in pages)
                self.storage[at : at + len(idaws)] = idaws
                return [(code, flags | IDA, size, at)]
            case _:
                return [(code, flags, size, address)]

    def guard(self) -> None:
        """Lay out the pattern where data will be read to."""
        self.storage[_IN : _IN + _IN_ROOM] = _GUARD

    def guarded(self, at: int, size: int) -> bool:
        """Whether the pattern stands but for *size* bytes at *at*."""
        area = self.storage[_IN : _IN + _IN_ROOM]
        front, behind = at - _IN, at - _IN + size
        return area[:front] == _GUARD[:front] and area[behind:] == _GUARD[behind:]

    def place(self, size: int) -> int:
        """An address to read *size* bytes to, with the pattern before and behind it."""
        return _IN + self._chance.randrange(8, _IN_ROOM - size - 8, 8)

    def run(self, *ccws: Ccw) -> Irb | None:
        """Run a program: the IRB that ended it, or None if nobody knows how it ended."""
        cpa = _PROGRAM + self._slot * _PROGRAM_ROOM
        data = programs.ccws(*ccws)
        self.storage[cpa : cpa + len(data)] = data
        control = FORMAT1 | IDAW64 | self._chance.choice((0, PREFETCH))
        request = programs.request(START, programs.orb(cpa, control), IO_REGION)
        began = time.monotonic()
        reset_at = began + _PATIENCE
        while number := self._write(request):
            now = time.monotonic()
            if number in _ENDED or not is_mounted(self._seat.mount):
                raise Gone
            if number in _NO_PATH:
                self._paths_on()
            if number == errno.EBUSY:
                self._irb()
            if now > reset_at:
                self.recover()
                reset_at = now + _PATIENCE
            if now > began + _TRY_AGAIN:
                self._seat.board.count("programs refused")
                return None
            time.sleep(0.002)
        self._seat.board.count("programs started")
        irb = self._ending(range(cpa + 8, cpa + len(data) + 1))
        if irb is None:
            self.recover()
        else:
            self._seat.board.count("IRBs")
        return irb

    def _write(self, request: bytes) -> int:
        with self._seat.board.doing("a start of a writer"):
            return errno_of(lambda: os.pwrite(self._io, request, 0))

    def _irb(self) -> Irb:
        with self._seat.board.doing("the IRB of a writer"):
            return Irb.of(os.pread(self._io, 96, IRB_AT))

    def _ending(self, places: range) -> Irb | None:
        """The ending status of the program whose last CCW ends at one of *places*."""
        poll = select.poll()
        poll.register(self._event, select.POLLIN)
        deadline = time.monotonic() + _TRY_AGAIN
        half = 0
        while time.monotonic() < deadline:
            # Others may have taken the interruption: the region shows the IRB to the next.
            if poll.poll(100):
                errno_of(lambda: os.eventfd_read(self._event))
            irb = self._irb()
            if not irb.ctrl & START:
                continue
            if half and irb.ctrl & SECONDARY and irb.dstat & DE:
                return irb._replace(dstat=irb.dstat | half)
            if irb.ctrl & PRIMARY and irb.cpa in places:
                if irb.dstat & (CE | DE) == CE and not irb.cstat:
                    half = irb.dstat
                else:
                    return irb
            elif irb.ctrl & PRIMARY and irb.flags & 0x0300:
                return irb  # a deferred condition code has no address of a CCW
        return None

    def recover(self) -> None:
        """Bring the subchannel to rest, whatever others have done to it."""
        with self._seat.board.doing("reset by a writer"):
            write_file(self._control, "fault=none,delay=0s")
            if write_file(self._reset, "1") in _ENDED:
                raise Gone
        errno_of(lambda: os.eventfd_read(self._event))

    def _paths_on(self) -> None:
        for chpid in ("e0", "e1"):
            assert self._connection is not None
            try:
                self._connection.send({"do": "chp", "chpid": chpid, "state": "on"})
            except (OSError, ValueError):  # no answer is none in JSON
                self._connect()


_AREA = {"iova": 0, "size": _SIZE, "offset": 0}


def _well(irb: Irb | None) -> bool:
    """Whether it is an acknowledgement."""
    return irb is not None and (irb.dstat, irb.cstat, irb.count) == (ENDED, 0, 0)


class _Writer:
    """Who writes one medium, and puts down in its ledger what he writes."""

    def __init__(self, seat: Seat, medium: Medium, ledger: Ledger | TapeLedger) -> None:
        """Become the writer of *ledger*."""
        self._seat = seat
        self._chance = seat.chance
        self._medium = medium
        ledger.open()
        self._channel = _Channel(seat, medium, self._chance)


class _Disk(_Writer, ABC):
    """The writer of a disk; what a program for its units looks like is its type's."""

    most = 1
    """Units of one program at most."""

    def __init__(self, seat: Seat, medium: Medium, ledger: Ledger) -> None:
        super().__init__(seat, medium, ledger)
        self._ledger = ledger

    @abstractmethod
    def run(self, unit: int, count: int, at: int, *, write: bool) -> Irb | None:
        """Move *count* units between the medium from *unit* on and storage at *at*."""

    @abstractmethod
    def count(self, unit: int) -> int:
        """A random number of units from *unit* on that one program can move."""

    def verify(self) -> None:
        """Read every unit by programs."""
        unit = 0
        while unit < self._medium.units:
            for _ in range(5):
                if count := self.read(unit):
                    break
            unit += count or self.count(unit)

    def work(self) -> None:
        """Write and read until the mount has ended."""
        while True:
            unit = self._chance.randrange(self._medium.units)
            if self._chance.randrange(3):
                self.write(unit)
            else:
                self.read(unit)

    def write(self, unit: int) -> None:
        count = self.count(unit)
        self._seat.board.act(f"write {count} of {self._medium.key} from {unit}")
        self._channel.room()
        write = self._ledger.intend(unit, count)
        key, size = self._medium.key, self._medium.size
        data = b"".join(content(key, write, n, size) for n in range(unit, unit + count))
        if _well(self.run(unit, count, self._channel.out(data), write=True)):
            self._ledger.acknowledged()
            self._seat.board.count("acknowledged writes")
        else:
            self._seat.board.count("writes without an answer")

    def read(self, unit: int) -> int:
        """Read some units from *unit* on and judge them; how many, 0 if the program failed."""
        count = self.count(unit)
        size = self._medium.size
        self._channel.room()
        self._channel.guard()
        at = self._channel.place(count * size)
        irb = self.run(unit, count, at, write=False)
        if not self._channel.guarded(at, count * size):
            self._seat.bad("foreign bytes in storage", f"read of {count} of {self._medium.key}")
        if not _well(irb):
            return 0
        for number in range(count):
            place = at + number * size
            data = self._channel.storage[place : place + size]
            if wrong := self._ledger.judge(unit + number, data):
                self._seat.bad("a program reads something else than was written", wrong)
            self._ledger.seen(unit + number, data)
        self._seat.board.count("blocks checked by programs", count)
        return count


class _Fba(_Disk):
    def count(self, unit: int) -> int:
        return min(self._chance.choice((1, 1, 2, 8, 64, 100)), self._medium.units - unit)

    def run(self, unit: int, count: int, at: int, *, write: bool) -> Irb | None:
        operation, code = (WRITING, WRITE) if write else (READING, READ)
        parameters = programs.extent(self._medium.units) + programs.locate(operation, count, unit)
        located = programs.located(self._channel.parameters(parameters))
        return self._channel.run(*located, *self._channel.moves(code, at, count * BLOCK))


class _Eckd(_Disk):
    def count(self, unit: int) -> int:
        return self._chance.randint(1, RECORDS - unit % RECORDS)

    def run(self, unit: int, count: int, at: int, *, write: bool) -> Irb | None:
        track, record = unit // RECORDS + 1, unit % RECORDS + 1
        size = self._medium.size
        parameters = self._channel.parameters(
            programs.track_extent(divmod(track, HEADS), size, write=write)
            + programs.track_locate(divmod(track, HEADS), record, count, size, write=write)
        )
        code = 0x85 if write else self._chance.choice((0x06, 0x86))
        ccws: list[Ccw] = [(0x63, CC, 16, parameters), (0x47, CC, 16, parameters + 16)]
        for number in range(count):
            flags = CC if number < count - 1 else 0
            ccws.append((code, flags, size, at + number * size))
        return self._channel.run(*ccws)


class _Tape(_Writer):
    """The writer of a tape, which always begins at its load point."""

    def __init__(self, seat: Seat, medium: Medium, ledger: TapeLedger) -> None:
        super().__init__(seat, medium, ledger)
        self._ledger = ledger
        self._position = -1  # nobody knows

    def verify(self) -> None:
        """Read the tape from its beginning to its end; then it stands behind what is known."""
        for _ in range(5):
            if not (self._rewind() and self._read(len(self._ledger.held))):
                continue
            if not self._ledger.maybe:
                return
            # Where a read that fails leaves the tape, nobody knows: what follows is only looked at.
            self._read(len(self._ledger.held) + len(self._ledger.maybe))
            if self._rewind() and self._read(len(self._ledger.held)):
                return

    def work(self) -> None:
        """Write and read until the mount has ended."""
        while True:
            if self._position < 0:
                self.verify()
            if self._position >= _TAPE_LENGTH:
                self.verify()
                self._rewind()
            if self._position >= 0:
                self._write()

    def _rewind(self) -> bool:
        self._position = -1
        self._channel.room()
        irb = self._channel.run((_REWIND, SLI, 1, 0))
        if irb is not None and (irb.dstat, irb.cstat) == (ENDED, 0):
            self._position = 0
        return self._position == 0

    def _read(self, end: int) -> bool:
        """Read and judge the blocks up to *end*; whether all could be read."""
        most = 0x10000 - 8
        while 0 <= self._position < end:
            self._channel.room()
            self._channel.guard()
            at = self._channel.place(most)
            irb = self._channel.run((_TAPE_READ, SLI, most, at))
            size = most - irb.count if irb is not None else most
            if not self._channel.guarded(at, size):
                self._seat.bad("foreign bytes in storage", f"read of {self._medium.key}")
            position, self._position = self._position, -1
            if irb is None or irb.cstat or irb.dstat != ENDED:
                continue
            data = self._channel.storage[at : at + size]
            if wrong := self._ledger.judge(position, data):
                self._seat.bad("a program reads something else than was written", wrong)
                continue
            self._ledger.seen(position, data)
            self._seat.board.count("blocks checked by programs")
            self._position = position + 1
        return self._position >= end

    def _write(self) -> None:
        size = self._chance.choice((20, 80, 512, 4096, 32000))
        self._channel.room()
        write = self._ledger.intend(self._position, size)
        self._seat.board.act(f"write block {self._position} of {self._medium.key}")
        at = self._channel.out(self._ledger.content(write, self._position, size))
        if _well(self._channel.run(*self._channel.moves(_TAPE_WRITE, at, size))):
            self._ledger.acknowledged()
            self._seat.board.count("acknowledged writes")
            self._position += 1
        else:
            self._seat.board.count("writes without an answer")
            self._position = -1


def writer_of(seat: Seat, medium: Medium) -> _Disk | _Tape:
    """The writer of *medium*."""
    ledger = ledger_of(medium, seat.media.disk)
    if isinstance(ledger, TapeLedger):
        return _Tape(seat, medium, ledger)
    return (_Eckd if medium.kind == "3390" else _Fba)(seat, medium, ledger)


def check(seat: Seat, medium: Medium) -> None:
    """Read by programs whether every acknowledged write is there."""
    writer_of(seat, medium).verify()


def write(seat: Seat, medium: Medium) -> None:
    """Write until the mount has ended; one in four checks all of it first."""
    writer = writer_of(seat, medium)
    if not seat.chance.randrange(4):  # a life may be too short for more
        writer.verify()
    writer.work()
