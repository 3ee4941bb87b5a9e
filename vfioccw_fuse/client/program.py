"""Channel programs: CCWs, their indirect-data-address lists and their data, laid out in storage.

A `Program` collects the CCWs; `lay_out` gives every part its address and writes it. From then on
the data areas are views of guest storage: what the channel puts there is seen without a copy.

Sources: Principles of Operation chapter 15, "Channel-Command Word" and "Channel Indirect Data
Addressing".
"""

from typing import Self

from ..regions import codec
from ..regions.codec import Buffer
from ..regions.constants import (
    CCW0_ADDRESS_MASK,
    CCW1_ADDRESS_MASK,
    CCW_CMD_TIC,
    CCW_FLAG_IDA,
    CCW_SIZE,
    IDAW_BLOCK_2K,
    IDAW_BLOCK_4K,
    ORB_CTRL0_MASK_C64,
    ORB_CTRL0_MASK_FMT,
    ORB_CTRL0_MASK_I2K,
    ORB_CTRL0_MASK_KEY,
    ORB_CTRL0_MASK_PFCH,
)
from ..regions.layouts import Ccw0, Ccw1, Idaw1, Idaw2, Orb
from .storage import Area, GuestStorage

ALL_PATHS = 0xFF
"""Logical-path mask that allows all eight paths."""


class Room:
    """A piece of the program's data in storage; several CCWs may share one. Made by `Program`."""

    def __init__(self, size: int, content: Buffer | None, alignment: int, beyond: int) -> None:
        """*size* bytes that begin *beyond* bytes behind a multiple of *alignment*."""
        self.size = size
        """Bytes."""
        self.content = content
        """What is written there when the program is laid out; None leaves what there is."""
        self.alignment = alignment
        """A power of two."""
        self.beyond = beyond
        """Bytes behind a multiple of it, less than `alignment`."""
        self.address = -1
        """Guest absolute address of the first byte; -1 before the program is laid out."""
        self.view = memoryview(b"")
        """The bytes, shared with the channel."""


class Step:
    """One CCW of a program; made by `Program.ccw` and `Program.tic`."""

    def __init__(self, cmd: int, flags: int, count: int, target: "Room | Step | int", at: int):
        """*target*: its data, the step to go to, or an address; *at*: bytes into the data."""
        self.cmd = cmd
        """Command code."""
        self.flags = flags
        """`CCW_FLAG_*` bits."""
        self.count = count
        """Byte count."""
        self.target = target
        """What it designates."""
        self.at = at
        """Where in the room `target` its data begins."""
        self.address = -1
        """Address of the CCW itself; -1 before the program is laid out."""
        self.idal = -1
        """Address of its indirect-data-address list; -1 if it has none."""

    @property
    def view(self) -> memoryview:
        """The data it designates, shared with the channel; empty if that is not the program's."""
        if not isinstance(self.target, Room):
            return memoryview(b"")
        return self.target.view[self.at : self.at + self.count]

    @property
    def data_address(self) -> int:
        """Address of its first data byte, or of the CCW that a TIC goes to; -1 before lay-out."""
        if isinstance(self.target, Room):
            return self.target.address + self.at if self.target.address >= 0 else -1
        return self.target.address if isinstance(self.target, Step) else self.target

    @property
    def listed(self) -> bool:
        """Whether the program has to build an indirect-data-address list for it."""
        return bool(self.flags & CCW_FLAG_IDA) and isinstance(self.target, Room) and self.count > 0


class Program:
    """A channel program under construction, then in guest storage.

    A context manager: leaving it gives its room back.
    """

    def __init__(
        self,
        storage: GuestStorage,
        *,
        fmt: int = 1,
        prefetch: bool = True,
        idaw: int = 2,
        idaw_block: int = IDAW_BLOCK_4K,
    ) -> None:
        """An empty program.

        *fmt*: CCW format, 0 or 1. *prefetch*: the channel may fetch CCWs and IDAWs early.
        *idaw*: IDAW format, 1 (31-bit addresses, 2K blocks) or 2 (64-bit); *idaw_block*: bytes
        a format-2 IDAW stands for, 2048 or 4096. ValueError for other numbers.
        """
        if fmt not in (0, 1) or idaw not in (1, 2):
            raise ValueError("CCWs have format 0 or 1, IDAWs 1 or 2")
        if idaw_block not in (IDAW_BLOCK_2K, IDAW_BLOCK_4K):
            raise ValueError("an IDAW stands for 2048 or 4096 bytes")
        self._storage = storage
        self._area: Area | None = None
        self._fmt = fmt
        self._idaw = idaw
        self._block = IDAW_BLOCK_2K if idaw == 1 else idaw_block
        self.ctrl0 = (
            (ORB_CTRL0_MASK_FMT if fmt else 0)
            | (ORB_CTRL0_MASK_PFCH if prefetch else 0)
            | (ORB_CTRL0_MASK_C64 if idaw == 2 else 0)
            | (ORB_CTRL0_MASK_I2K if idaw == 2 and idaw_block == IDAW_BLOCK_2K else 0)
        )
        """Bits 16-31 of ORB word 1 that go with how the program is built; change it at will."""
        self.steps: list[Step] = []
        """The CCWs in the order in which they lie in storage."""
        self.rooms: list[Room] = []
        """The data in the order in which it lies in storage, behind the CCWs."""
        self.view = memoryview(b"")
        """All that it takes in storage from its first CCW on; empty before it is laid out."""

    def room(
        self, size: int, content: Buffer | None = None, *, alignment: int = 16, beyond: int = 0
    ) -> Room:
        """Make a piece of data that several CCWs can share.

        *content*: its first bytes. It begins *beyond* bytes behind a multiple of *alignment*,
        which is a power of two up to `PAGE`.
        """
        made = Room(size, content, alignment, beyond % alignment)
        self.rooms.append(made)
        return made

    def ccw(
        self,
        cmd: int,
        flags: int = 0,
        count: int | None = None,
        data: Buffer | Room | int | None = None,
        *,
        at: int = 0,
    ) -> Step:
        """Append a CCW.

        *data*: bytes to be placed in storage; a `Room`, used from its byte *at* on; an absolute
        address, designated as it is; or None for room to read *count* bytes into. *count*
        defaults to the length of the bytes, else 0. With `CCW_FLAG_IDA`, and data that is no
        address, an IDAL is built; bytes and new room then begin *at* bytes behind a block
        boundary. ValueError if *cmd*, *flags* or *count* do not fit, or the data is shorter.
        """
        length = memoryview(data).nbytes if isinstance(data, Buffer) else 0
        if count is None:
            count = length
        if not (0 <= cmd <= 0xFF and 0 <= flags <= 0xFF and 0 <= count <= 0xFFFF):
            raise ValueError("a CCW has 8 bits of command, 8 of flags, 16 of count")
        if isinstance(data, Buffer) and length < count:
            raise ValueError(f"{length} bytes of data for a count of {count}")
        if isinstance(data, Room) and data.size < at + count:
            raise ValueError(f"{data.size} bytes of room for a count of {count} from {at}")
        if isinstance(data, Room | int):
            step = Step(cmd, flags, count, data, at if isinstance(data, Room) else 0)
        elif not count:
            step = Step(cmd, flags, 0, 0, 0)
        elif flags & CCW_FLAG_IDA:
            room = self.room(count, data, alignment=self._block, beyond=at)
            step = Step(cmd, flags, count, room, 0)
        else:
            step = Step(cmd, flags, count, self.room(count, data), 0)
        self.steps.append(step)
        return step

    def tic(self, to: Step | int) -> Step:
        """Append a transfer in channel to the CCW *to*, or to an absolute address."""
        step = Step(CCW_CMD_TIC, 0, 0, to, 0)
        self.steps.append(step)
        return step

    def reserve(self) -> None:
        """Reserve the room that it takes as it stands, and write nothing; MemoryError without it.

        `lay_out` writes there. Who must not write over a program that runs without a reservation
        any more asks after this call whether one does: who runs now began before it.
        """
        self._room(self._plan()[1], None)

    def lay_out(self, area: Area | None = None) -> int:
        """Give every part its address, write it, and give the address of the first CCW.

        *area*: where to; None reserves room. Called again, it writes everything anew. MemoryError
        if the room does not suffice, ValueError if an address does not fit (24 bits in format 0).
        """
        places, size = self._plan()
        base = self._room(size, area)
        self.view = base.view[:size]
        for room, place in zip(self.rooms, places, strict=True):
            room.address = base.address + place
            room.view = base.view[place : place + room.size]
            if room.content is not None:
                content = memoryview(room.content).cast("B")[: room.size]
                room.view[: len(content)] = content
        idal = CCW_SIZE * len(self.steps)
        for number, step in enumerate(self.steps):
            step.address = base.address + CCW_SIZE * number
            step.idal = base.address + idal if step.listed else -1
            if step.listed:
                idal += self._idal_size(step)
        for number, step in enumerate(self.steps):
            if step.listed:
                self._write_idal(base, step)
            self._write_ccw(base.view, CCW_SIZE * number, step)
        return base.address

    def _plan(self) -> tuple[list[int], int]:
        """Give each room its place behind CCWs and IDALs, and the size of it all."""
        at = CCW_SIZE * len(self.steps)
        at += sum(self._idal_size(step) for step in self.steps if step.listed)
        places = []
        for room in self.rooms:
            at = -(-(at - room.beyond) // room.alignment) * room.alignment + room.beyond
            places.append(at)
            at += room.size
        return places, at

    def _idal_size(self, step: Step) -> int:
        """Give an upper limit for the bytes of the list of *step*, a multiple of 8."""
        words = step.count // self._block + 2
        return -(-words * (codec.IDAW1.size if self._idaw == 1 else codec.IDAW2.size) // 8) * 8

    def rewrite(self, step: Step) -> None:
        """Write the CCW of *step* once more, after its command, flags or count were changed.

        Its data stays where it is. ValueError as `lay_out`.
        """
        self._write_ccw(self._storage.view, step.address, step)

    @property
    def cpa(self) -> int:
        """Address of the first CCW; ValueError before `lay_out`."""
        if not self.steps or self.steps[0].address < 0:
            raise ValueError("the program is not laid out")
        return self.steps[0].address

    def orb(
        self,
        intparm: int = 0,
        lpm: int = ALL_PATHS,
        ctrl1: int = 0,
        *,
        key: int = 0,
        cpa: int | None = None,
    ) -> Orb:
        """Give the operation-request block that starts the program, with the storage key *key*.

        It begins at its first CCW, or at the address *cpa*.
        """
        return Orb(
            intparm=intparm,
            ctrl0=self.ctrl0 | (key << 12 & ORB_CTRL0_MASK_KEY),
            lpm=lpm,
            ctrl1=ctrl1,
            cpa=self.cpa if cpa is None else cpa,
        )

    def release(self) -> None:
        """Give the program's room back, if it reserved it itself; its views end with it."""
        for room in self.rooms:
            room.view = memoryview(b"")
        self.view = memoryview(b"")
        if self._area is not None:
            self._area.release()
            self._area = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _room(self, size: int, area: Area | None) -> Area:
        """Find an area of at least *size* bytes: the one given, the one at hand or a new one."""
        if area is None:
            area = self._area
            if area is None or area.size < size:
                self.release()
                area = self._area = self._storage.reserve(size)
        elif area.size < size:
            raise MemoryError(f"the program takes {size} bytes, the area has {area.size}")
        return area

    def _write_idal(self, base: Area, step: Step) -> None:
        """Write the list that leads to the data of *step*: one word a block that it touches."""
        at = step.idal - base.address
        address = step.data_address
        end = address + step.count
        while address < end:
            word = (
                codec.IDAW1.pack(Idaw1(address))
                if self._idaw == 1
                else codec.IDAW2.pack(Idaw2(address))
            )
            base.view[at : at + len(word)] = word
            at += len(word)
            address = (address // self._block + 1) * self._block

    def _write_ccw(self, view: memoryview, at: int, step: Step) -> None:
        """Write the CCW of *step* to byte *at* of *view*."""
        designated = step.idal if step.listed else step.data_address
        limit = CCW1_ADDRESS_MASK if self._fmt else CCW0_ADDRESS_MASK
        if not 0 <= designated <= limit:
            raise ValueError(f"address {designated:#x} does not fit into a format-{self._fmt} CCW")
        if self._fmt:
            codec.CCW1.pack_into(view, at, Ccw1(step.cmd, step.flags, step.count, designated))
        else:
            codec.CCW0.pack_into(view, at, Ccw0(step.cmd, designated, step.flags, 0, step.count))
