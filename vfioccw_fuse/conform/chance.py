"""Requests by chance, and the shortest that still shows a difference.

What is asked is such that one answer alone is right: who asks waits for what was accepted, of early
interruptions (program-controlled, initial status) only the ending is looked at, no program runs for
ever, and nothing is asked for that is on the list, such as a reset while a start runs. The cases
have that.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

from .script import Case, script_of

_T = TypeVar("_T")
WAITS: Final = ("event", "wait", "final", "ending", "told", "quiet")
"""Requests that wait for what the one before has set off."""
NOT_ASKED: Final = ("store ", "case ")
"""Lines of a script that ask nothing."""
FIRST: Final = Case("the first path", "1000: 03/20/1; run lpm=80", "Where a guest has been before.")
"""What is asked before all others, so that both ends have used the same path last."""
_CODES: Final = (
    "03", "03", "03", "e4", "e4", "e4", "64", "04", "02", "07", "12", "16", "1a", "ff", "01", "0c",
    "1c", "10", "7f", "14", "18", "00", "f0",
)  # fmt: skip
_COUNTS: Final = (0, 1, 4, 7, 8, 20, 64, 255, 256, 4096, 5000, 32768, 65535)
_IDA_COUNTS: Final = (0, 1, 8, 64, 255, 2048, 4096, 4097, 9000)
_ADDRESSES: Final = (0, 0x7FF, 0xFF000, 0xFFFFF, 0x100000, 0x7FFFFFF8, 0x80002000, 0xFFFFFFFF)
_LPMS: Final = ("ff", "ff", "ff", "ff", "c0", "80", "40", "00", "20", "3f", "7f", "bf")
_FCTLS: Final = (
    *(5 * ("4000",)), "6000", "5000", "7000", "0000", "2000", "1000", "3000",
)  # fmt: skip
_BUSY: Final = (
    "start", "start lpm=20", "start cpa=100000", "start ctrl0=00c4", "start ctrl1=02",
    "start fctl=0000", "start fctl=2000", "start fctl=1000", "command 0", "command 3", "command 4",
    "write io 4: 00", "write io 24: 00", "write io 124: 00", "read io 0 24", "read cmd 0 8",
    "write cmd 8: 00", "read crw 0 8", "read io 24 96",
)  # fmt: skip
_SENSE_ID: Final = "1000: e4/20/64@2000"


class Chance:
    """Makes cases from a seed."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._random = random.Random(seed)
        self._number = 0
        # Whether the SCSW area asks for a start, and whether sense data may wait.
        self._asks = self._sense = False
        self._steps = (
            *(6 * (self._run,)), *(3 * (self._again,)), *(3 * (self._part,)), self._early,
            *(3 * (self._access,)), *(2 * (self._halt_or_clear,)), *(2 * (self._pending,)),
            self._active, self._ending, self._command, self._reset, self._storage,
            self._attention, self._trigger,
        )  # fmt: skip

    def cases(self, requests: int) -> Iterator[Case]:
        """Cases until they have *requests*."""
        while requests > 0:
            case = self._case()
            requests -= asked(case)
            yield case

    def _case(self) -> Case:
        self._number += 1
        self._asks = self._sense = False
        steps = [self._one(self._steps)() for _ in range(self._random.randint(3, 12))]
        # Some steps have nothing to ask.
        do = "; ".join(request for step in steps for request in step) or "quiet"
        return Case(f"seed {self._seed}, {self._number}", do, "By chance.")

    def _one(self, choices: Sequence[_T]) -> _T:
        return self._random.choice(choices)

    def _seldom(self, one_in: int) -> bool:
        return self._random.randrange(one_in) == 0

    # --- programs -----------------------------------------------------------------------------

    def _address(self) -> int:
        if self._seldom(8):
            return self._one(_ADDRESSES)
        return self._random.randrange(0x8000, 0xC000)

    def _program(self, format1: bool, cpa: int, control: int) -> Iterator[str]:
        """Segments, each of which leads to later ones alone: it ends."""
        heads = [cpa, *(0x4000 + 0x400 * number for number in range(self._random.randrange(3)))]
        word = "" if format1 else "format0 "
        lists = 0
        for number, head in enumerate(heads):
            ccws: list[str] = []
            most = self._random.randint(1, 5)
            for _ in range(most):
                before = ccws[-1] if ccws else ""
                ccw, idal = self._ccw(format1, control, 0x3000 + 0x100 * lists, before)
                if len(ccws) == most - 1:
                    ccw = _without_data_chaining(ccw)
                lists += bool(idal)
                ccws.append(ccw)
                if idal:
                    yield idal
            following = heads[number + 1 :]
            if following or self._seldom(12):
                target = self._one(following) if following else self._address()
                if self._seldom(10):
                    target = head + 8 * len(ccws) + 8
                if not format1:
                    target &= 0xFFFFFF
                ccws.append(f"{self._one(('08', '08', '08', '18'))}/00/0@{target:x}")
            ccws.append("03/20/1")
            yield f"{word}{head:x}: {' '.join(ccws)}"

    def _ccw(self, format1: bool, control: int, at: int, before: str) -> tuple[str, str]:
        """A CCW, mostly chained to the next, and its list if it has one.

        A chain of data has one code: by another one Linux takes no page for what the device moves.
        """
        code = before[:2] if _chains_data(before) else self._one(_CODES)
        self._sense |= code not in ("03", "e4", "64")
        flags = self._one((0x60, 0x60, 0x60, 0x60, 0x40, 0x20, 0x00, 0xA0, 0x80, 0xE0))
        flags |= self._one((0, 0, 0, 0, 0, 0x10)) | (0x02 if self._seldom(40) else 0)
        flags |= 0x01 if self._seldom(60) else 0
        if control & 0x0020:
            flags |= self._one((0, 0x08))
        if control & 0x0800:
            flags &= ~0x02
        address, idal, count = self._address(), "", self._one(_COUNTS)
        if self._seldom(5):
            flags |= 0x04
            count = self._one(_IDA_COUNTS)
            address, idal = self._list(control, at)
        if not format1:
            address &= 0xFFFFFF
        return f"{code}/{flags:02x}/{count}@{address:x}", idal

    def _list(self, control: int, at: int) -> tuple[int, str]:
        word, block = ("idal", 0x1000) if control & 0x2 else ("idal31", 0x800)
        if control & 0x1:
            block = 0x800
        blocks = [self._address()]
        blocks += [
            self._random.randrange(0x8000 // block, 0xC000 // block) * block
            if not self._seldom(8)
            else self._address()
            for _ in range(7)
        ]
        address = at + self._one((0, 0, 4))
        if self._seldom(20):
            return self._one((0x100000, 0xFFFFC, 0xFFFF8)), ""
        return address, f"{word} {address:x}: {' '.join(f'{one:x}' for one in blocks)}"

    def _started(self, early: int = 0) -> Iterator[str]:
        """A program, and a request to start it, good or bad.

        *early*: the ORB's bit for initial status, if it may interrupt before its end.
        """
        format1 = not self._seldom(5)
        control = 0x80 if format1 else 0
        control |= self._one((0x40, 0x40, 0x40, 0)) | self._one((0x2, 0x2, 0x3, 0, 0x1))
        control |= self._one((0, 0, 0, 0x0800, 0x0400, 0x0200, 0x0100, 0x0010, 0x0008))
        control |= self._one((0, 0, 0x3000, 0xF000))
        control |= early
        cpa = self._one((0x1000, 0x1000, 0x1000, 0x1004, 0x1001, 0x1FF8, 0xFF800, 0x0))
        yield from self._program(format1, cpa, control)
        if self._seldom(25):
            control |= 0x4
        if self._seldom(15):
            cpa = self._one((0x100000, 0xFF801, 0xFFFF8, 0x80001000, 0xFFFFFFFF, 0x2000))
        fctl = self._one(_FCTLS)
        words = f"ctrl0={control:04x} cpa={cpa:x} lpm={self._one(_LPMS)} fctl={fctl}"
        words += f" ctrl1={self._one(('00', '00', '00', '00', '80', '01', '02', '20'))}"
        self._asks = int(fctl, 16) & 0x4000 != 0
        if self._asks and self._seldom(4):
            words += f" size={self._random.randint(16, 123)}"
        yield f"start {words}"

    # --- steps --------------------------------------------------------------------------------

    def _run(self) -> Iterator[str]:
        yield from self._started()
        if self._asks:
            yield self._one(("final", "final", "told"))
            if self._seldom(3):
                yield self._one(("load 8000 64", "load 3000 32", "load ffff0 16", "read io 24 96"))

    def _early(self) -> Iterator[str]:
        yield from self._started(0x0020)
        if self._asks:
            yield from ("ending", "load 8000 32")
            # What is there would interrupt early again.
            self._asks = False

    def _again(self) -> Iterator[str]:
        yield _SENSE_ID
        yield self._one(("start", "start lpm=80", "start lpm=40", "start lpm=00"))
        yield self._one(("final", "told"))
        self._asks = True

    def _part(self) -> Iterator[str]:
        if not self._asks:
            return
        yield self._one((
            "write io 0: 12345678", "write io 3: 00", "write io 6: 80", "write io 6: ff",
            "write io 8: 00001000", "write io 8: 00100000", "write io 9: 00", "write io 16: 00*8",
            "write io 12: 0000", "write io 23: ff", "write io 24: 00", "write io 100: 11*20",
            "write io 120: =0", "write io 123: 00", "write io 0: 0000abcd00c0ff0000001000",
        ))  # fmt: skip
        yield "final"

    def _access(self) -> Iterator[str]:
        region = self._one(("io", "cmd", "crw", "schib", "4", "9", "255"))
        size = {"io": 124, "cmd": 8, "crw": 8, "schib": 52}.get(region, 0)
        past = self._random.randint(1, 40)
        offset = self._random.randint(0, size + 10)
        if self._seldom(2):
            yield f"read {region} {offset} {size - min(offset, size) + past}"
        elif region in ("io", "cmd"):
            yield f"write {region} {offset}: 00*{size - min(offset, size) + past}"
        else:
            yield f"write {region} {offset}: 00*{past}"
        if self._seldom(3):
            yield self._one(("read io 0 24", "read cmd 0 8", "read crw 0 8", "read io 120 4"))

    def _halt_or_clear(self) -> Iterator[str]:
        yield self._one(("hsch", "csch", "write cmd 0: =1", "write cmd 0: =2.00"))
        yield self._one(("wait", "wait", "event"))

    def _pending(self) -> Iterator[str]:
        yield "control delay=3600s"
        yield from self._started()
        for _ in range(self._random.randint(1, 6)):
            yield self._one(_BUSY)
        if self._seldom(3):
            yield from ("hsch", "wait")
        yield from ("csch", "wait", "control delay=0s")
        self._asks = False

    def _active(self) -> Iterator[str]:
        yield from ("control fault=hang", _SENSE_ID, "start")
        for _ in range(self._random.randint(1, 4)):
            yield self._one(_BUSY)
        yield from ("csch", "wait", "control fault=none")
        self._asks = False

    def _ending(self) -> Iterator[str]:
        self._sense = self._asks = True
        fault = self._one(("unit-check sense=80", "unit-check sense=1000", "busy"))
        yield from (f"control fault={fault} count=1", _SENSE_ID, "start", "final")
        if self._seldom(2):
            yield from ("1000: 04/20/32@2000", "start", "final", "load 2000 32")

    def _command(self) -> Iterator[str]:
        yield f"command {self._one(('0', '3', '4', '8', '10', '7', '80000000', 'ffffffff'))}"
        yield "read cmd 0 8"

    def _reset(self) -> Iterator[str]:
        # Sense data and the subchannel's status outlive Linux's, which is on the list.
        if not self._sense:
            yield self._one(("reset", "reset", "reopen"))
            yield "read io 0 24"
            yield from self._again()

    def _storage(self) -> Iterator[str]:
        yield from ("unmap", "map")

    def _attention(self) -> Iterator[str]:
        # Behind an IRB that nobody has read it would wait here, and take its place in Linux.
        yield "read io 24 96"
        self._sense = True
        yield f"control unsolicited={self._one(('80', '84', '04', '82'))}"
        yield "wait"

    def _trigger(self) -> Iterator[str]:
        yield from self._one((("irq 0 none", "event"), ("irq 0 bool1", "event"), ("irq 0 bool0",)))


def _chains_data(ccw: str) -> bool:
    return ccw != "" and int(ccw[3:5], 16) & 0x80 != 0


def _without_data_chaining(ccw: str) -> str:
    return f"{ccw[:3]}{int(ccw[3:5], 16) & 0x7F | 0x40:02x}{ccw[5:]}" if _chains_data(ccw) else ccw


def asked(case: Case) -> int:
    """How many requests a case has."""
    return sum(not line.startswith(NOT_ASKED) for line in script_of([case]).splitlines())


def _with_waits(do: str) -> list[str]:
    """The requests of a case, each with what waits for it: without, who is faster would count."""
    found: list[str] = []
    for request in do.split("; "):
        if request in WAITS and found:
            found[-1] += f"; {request}"
        else:
            found.append(request)
    return found


def shrink(
    case: Case, differ: Callable[[Sequence[Case]], Sequence[bool]], rounds: int = 12
) -> Case:
    """The shortest case found that still differs, by leaving out ever less of it.

    *differ* says of many cases at once which of them show a difference.
    """
    requests = _with_waits(case.do)
    piece = max(len(requests) // 2, 1)
    for _ in range(rounds):
        shorter = [
            [*requests[:at], *requests[at + piece :]] for at in range(0, len(requests), piece)
        ]
        tried = [
            Case(f"{case.name}, {number}", "; ".join(one), case.why)
            for number, one in enumerate(shorter) if one
        ]  # fmt: skip
        verdicts = zip(tried, differ(tried), strict=True)
        left = [_with_waits(one.do) for one, still in verdicts if still]
        if left:
            requests = min(left, key=len)
        elif piece == 1:
            break
        piece = max(min(piece, len(requests)) // (1 if left else 2), 1)
    return Case(case.name, "; ".join(requests), case.why)
