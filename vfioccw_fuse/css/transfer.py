"""The data movement of one command: from CCW counts and data addresses to storage and back.

The device says how much it gives or takes; the channel walks the data chain, collects the pieces
of storage and moves them in as few calls as it can. Rules: PoP 15, Data Chaining, Skipping,
Incorrect Length, Program Check. With prefetch allowed (ORB bit P) the whole chain is collected
first and moved at once; without it each CCW's data has moved before the next CCW is fetched, as a
program that changes itself needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter_ns
from typing import Final, Protocol

from ..devices.medium import Medium
from ..memory.paging import StorageLost
from ..memory.space import AddressingError
from ..regions import constants as c
from ..strand import TURN, on_strand, park
from .ccw import CHAINS, PREFETCH, CcwFetcher, ChannelCheck
from .ida import SKIPPED, IdaMode, fabricated, idaw_areas, idaw_pieces, idaws, midaw_areas
from .observer import Observer

Pieces = list[tuple[int, int]]
"""(address, length) of parts of storage, in the order of use; address SKIPPED moves nothing."""

BLOCK_4K = 4096
"""The largest block that an IDAW covers, in bytes."""
LONG_CHAIN: Final = 64
"""Data-chained CCWs between two looks at the clock."""
CHUNK: Final = 1 << 20
"""Most bytes that are moved between two looks at the clock."""
HEAVY: Final = 64 << 10
"""A command that moved so many bytes is followed by a look at the clock."""
INDIRECT = c.CCW_FLAG_IDA | c.CCW_FLAG_MIDA
INPUT: Final = tuple(code & 3 == 2 or code & 7 == 4 for code in range(256))
"""By command code: it moves data to storage (read, read backward, sense)."""
BACKWARD: Final = tuple(code & 0x0F == 0x0C for code in range(256))
"""By command code: read backward."""


class Observed(Protocol):
    """What somebody may follow."""

    observer: Observer | None
    """Who follows every CCW."""


class Initiator(Protocol):
    """Who started the program and learns what it meets: the subchannel."""

    @property
    def pending(self) -> Observed:
        """Its pending status, which knows who follows every CCW."""
        ...

    def note_pci(self) -> None:
        """A CCW with the PCI flag became current."""
        ...


class Transfer:
    """The channel's side of the current command; a `devices.base.DataTransfer`."""

    turn_ends: int = 0
    """When others shall have their turn, by `perf_counter_ns`."""
    heavy: bool = False
    """Much was moved since somebody asked."""
    _chained: int = 0
    input: bool = False
    """The command moves data to storage."""
    first: bool = True
    """This is the first command of the channel program."""
    used: bool = False
    """The device moved data, or asked to: the command is not immediate."""
    path: int = 0
    """The path in use as an LPM bit; 0 until one was selected."""
    left: int = 0
    """Residual count of the current CCW, in bytes."""

    def __init__(
        self, ccws: CcwFetcher, initiator: Initiator, limits: tuple[int, int] | None
    ) -> None:
        """*ccws* has the program; *initiator* is told of its data-chained CCWs with PCI.

        *limits*: data lies at and above the first, below the second address; None: anywhere.
        """
        self._ccws = ccws
        self._space = ccws.space
        self._initiator = initiator
        self._observed = initiator.pending
        self._limits = limits

    def turn(self, ends: int) -> None:
        """The program has its turn, until *ends* by `perf_counter_ns`."""
        self.turn_ends = ends
        self._space.new_turn()

    def begin(self) -> None:
        """The current CCW starts a command."""
        code = self._ccws.code
        self.input = INPUT[code]
        """The command moves data to storage: read, read backward or sense."""
        self.backward = BACKWARD[code]
        self.check = 0
        """Subchannel status of an error that the channel met while it moved data."""
        self.over = False
        """The device wanted to move more than the CCW counts allow."""
        self.used = False
        self._load()

    def _load(self) -> None:
        """Make the current CCW's data area the one in use."""
        ccws = self._ccws
        flags = ccws.flags
        self.left = count = ccws.count
        self._areas: Iterator[tuple[int, int]] | None = None
        self._whole: list[tuple[int, int]] | None = None
        if flags & c.CCW_FLAG_SKIP and self.input:
            self._piece = (SKIPPED, count)
        elif flags & INDIRECT:
            self._piece = (0, 0)
            if flags & c.CCW_FLAG_IDA:
                mode = IdaMode.of(ccws.ctrl0)
                words = ccws.idaws(backward=self.backward)
                # At once only where no piece needs a look by itself.
                checked = self._limits is not None or self._space.keys is not None
                if words and not self.backward and ccws.ctrl0 & PREFETCH and not checked:
                    self._whole = idaw_pieces(words, mode, count)
                self._areas = idaw_areas(
                    words or idaws(self._space, mode, ccws.key, ccws.cda, count),
                    mode, count, backward=self.backward,
                )  # fmt: skip
            else:
                self._areas = midaw_areas(
                    self._space, ccws.key, ccws.cda, count, backward=self.backward
                )
        elif not self.backward:
            self._piece = (ccws.cda, count)
        elif ccws.copied:
            # What the driver made of it goes forward from block to block all the same.
            mode = IdaMode.of(ccws.ctrl0)
            self._piece = (0, 0)
            self._areas = idaw_areas(
                fabricated(ccws.cda, count, mode.block), mode, count, backward=True
            )
        else:
            self._piece = (ccws.cda - count + 1, count)

    @property
    def chaining(self) -> bool:
        """The CCW fetched last has command chaining."""
        return self._ccws.flags & CHAINS == c.CCW_FLAG_CC

    def _next_ccw(self) -> bool:
        """Data chaining: fetch the next CCW; False when there is none or it is wrong."""
        ccws = self._ccws
        if not ccws.flags & c.CCW_FLAG_DC:
            return False
        self._chained += 1
        if not self._chained % LONG_CHAIN:
            self.breathe()
        if self._observed.observer is not None:
            ccws.tell(self._observed.observer, 0)
        try:
            ccws.fetch(ccws.address + 8, chained_data=True)
            if ccws.flags & c.CCW_FLAG_SUSPEND:
                raise ChannelCheck(c.SCSW_CSTAT_PROG_CHECK)
        except ChannelCheck as error:
            self.check = error.cstat
            return False
        self._load()
        if ccws.flags & c.CCW_FLAG_PCI:
            self._initiator.note_pci()
        return True

    def breathe(self) -> None:
        """Let others have their turn, if it is time; see `devices.base.DataTransfer.breathe`."""
        if perf_counter_ns() >= self.turn_ends and on_strand():
            park(TURN)

    def _gather(self, limit: int) -> tuple[Pieces, int]:
        """Take the next pieces of storage for at most *limit* bytes; gives them and their sum.

        Stops early where the counts end (`over`), where the channel finds an error (`check`), and
        without prefetch at the end of a CCW.
        """
        self.used = True
        gathers = self._ccws.ctrl0 & PREFETCH
        pieces: Pieces = []
        total = 0
        while total < limit and not self.check:
            if not self.left:
                if pieces and not gathers:
                    break
                if not self._next_ccw():
                    self.over = not self.check
                    break
            address, length = self._piece
            if self._whole is not None:
                taken = self._take_whole(limit - total)
                if taken:
                    pieces += taken
                    total += self.left
                    self.left = 0
                    continue
            if not length:
                try:
                    assert self._areas is not None
                    address, length = next(self._areas)
                except ChannelCheck as error:
                    self.check = error.cstat
                    break
            size = min(length, limit - total)
            rest = length - size
            if self.backward and address != SKIPPED:
                self._piece = (address, rest)
                address += rest
            else:
                self._piece = (address + size if address != SKIPPED else SKIPPED, rest)
            if address != SKIPPED:
                size = self._permitted(address, size)
            if size:
                if (
                    pieces
                    and not self.backward
                    and pieces[-1][0] >= 0
                    and (sum(pieces[-1]) == address)
                ):
                    pieces[-1] = (pieces[-1][0], pieces[-1][1] + size)
                else:
                    pieces.append((address, size))
                total += size
                self.left -= size
        return pieces, total

    def _take_whole(self, limit: int) -> list[tuple[int, int]] | None:
        """All pieces of a CCW's IDAL at once, if they are wanted and lie in one mapped range."""
        whole, self._whole = self._whole, None
        if whole is None or self.left > limit:
            return None
        low = min(whole)[0]
        found = self._space.find(low)
        # No piece is longer than a block, so this may only be too careful.
        if found is None or max(whole)[0] + BLOCK_4K > found.end:
            return None
        return whole

    def _permitted(self, address: int, size: int) -> int:
        """How much of a piece may be used; sets `check` when not all of it."""
        space = self._space
        last = space.find(address)
        if last is None or address + size > last.end:
            permitted = space.valid(address, size) if address >= 0 else 0
            if self.backward and permitted < size:
                permitted = 0
            if permitted < size:
                self.check = c.SCSW_CSTAT_PROG_CHECK
                size = permitted
        if self._limits is not None:
            low, high = self._limits
            permitted = min(size, high - address) if low <= address < high else 0
            if permitted < size:
                self.check = c.SCSW_CSTAT_PROG_CHECK
                size = permitted
        if space.keys is not None:
            permitted = space.keys.permitted(address, size, self._ccws.key, store=self.input)
            if permitted < size:
                self.check = c.SCSW_CSTAT_PROT_CHECK
                size = permitted
        return size

    def _lost(self) -> None:
        """Mapped storage turned out to be gone (its file was cut): channel data check."""
        self.check = c.SCSW_CSTAT_DATA_CHECK

    def look(self, ccws: CcwFetcher) -> tuple[Pieces, int]:
        """Where the data area of the current CCW of *ccws* lies; nothing is moved.

        Gives one piece for each IDAW or MIDAW, and the check that ends them (0: none).
        """
        other = Transfer(ccws, self._initiator, self._limits)
        other.begin()
        pieces: Pieces = []
        try:
            for address, length in [other._piece] if other._areas is None else other._areas:
                size = length if address == SKIPPED else other._permitted(address, length)
                if size:
                    pieces.append((address, size))
                if other.check:
                    break
        except ChannelCheck as error:
            other.check = error.cstat
        return pieces, other.check

    def give(self, data: bytes | bytearray | memoryview, *, backward: bool = False) -> int:
        """Device to storage; see `devices.base.DataTransfer.give`."""
        self.backward = backward
        size = len(data)
        moved = 0
        self.used = True
        while moved < size and not self.check and not self.over:
            pieces, _ = self._gather(size - moved)
            for address, length in pieces:
                if address != SKIPPED:
                    start = size - moved - length if backward else moved
                    part = data if length == size else data[start : start + length]
                    if not self._put(address, part):
                        return moved
                moved += length
        if moved >= HEAVY:
            self.heavy = True
        return moved

    def _put(self, address: int, data: bytes | bytearray | memoryview) -> bool:
        """Store a piece; False if its storage is gone."""
        try:
            self._space.store(address, data)
        except (AddressingError, StorageLost):
            self._lost()
            return False
        return True

    def give_file(self, medium: Medium, offset: int, length: int) -> int:
        """Medium to storage; see `devices.base.DataTransfer.give_file`."""
        moved = 0
        self.used = True
        while moved < length and not self.check and not self.over:
            pieces, total = self._gather(min(length - moved, CHUNK))
            try:
                at_once = medium.reads_at_once()
                done = self._space.fill(pieces, medium.preadv, offset + moved) if at_once else 0
            except (AddressingError, StorageLost):
                self._lost()
                return moved
            if done < total:
                done = self._put_all(pieces, done, medium.read(total - done, offset + moved + done))
            moved += done
            if done < total:
                break
            if moved >= HEAVY:
                self.heavy = True
                if moved < length:
                    self.breathe()
        return moved

    def _put_all(self, pieces: Pieces, done: int, data: bytes) -> int:
        """Store *data* in what lies behind the first *done* bytes of *pieces*; gives their sum."""
        view = memoryview(data)
        place = -done
        try:
            self._space.bring(pieces)
        except (AddressingError, StorageLost):
            self._lost()
            return done
        for address, length in pieces:
            start = max(-place, 0)
            if start < length:
                part = view[place + start : place + length]
                if address != SKIPPED and not self._put(address + start, part):
                    break
                done += len(part)
                if len(part) < length - start:
                    break
            place += length
        return done

    def take(self, length: int, *, variable: bool = False) -> bytes:
        """Storage to device; see `devices.base.DataTransfer.take`."""
        self.used = True
        parts: list[bytes] = []
        moved = 0
        while moved < length and not self.over:
            pieces, total = self._gather(length - moved)
            if self.check:
                raise ChannelCheck(self.check)
            parts += self._fetch(pieces)
            moved += total
        if moved >= HEAVY:
            self.heavy = True
        if variable:
            self.over = False
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _fetch(self, pieces: Pieces) -> list[bytes]:
        """What *pieces* hold; channel data check if their storage is gone."""
        try:
            if len(pieces) > 1:
                self._space.bring(pieces)
            return [self._space.read(*piece) for piece in pieces]
        except (AddressingError, StorageLost):
            raise ChannelCheck(c.SCSW_CSTAT_DATA_CHECK) from None

    def take_file(self, medium: Medium, offset: int, length: int) -> int:
        """Storage to medium; see `devices.base.DataTransfer.take_file`."""
        moved = 0
        self.used = True
        while moved < length and not self.over:
            pieces, total = self._gather(min(length - moved, CHUNK))
            if self.check:
                raise ChannelCheck(self.check)
            if medium.writes_at_once(total):
                try:
                    self._space.drain(pieces, medium.pwritev, offset + moved)
                except (AddressingError, StorageLost):
                    raise ChannelCheck(c.SCSW_CSTAT_DATA_CHECK) from None
            else:
                medium.write(b"".join(self._fetch(pieces)), offset + moved)
            moved += total
            if moved >= HEAVY:
                self.heavy = True
                if moved < length:
                    self.breathe()
        return moved

    def end(self) -> None:
        """The operation ended: a count used up with data chaining fetches the next CCW."""
        while self.used and not self.left and not self.check and self._next_ccw():
            pass
