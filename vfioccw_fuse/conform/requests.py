"""Requests by chance: what may be asked, as strategies of Hypothesis.

What is asked is such that one answer alone is right: who asks waits for what was accepted, of early
interruptions (program-controlled, initial status) only the ending is looked at, no program runs for
ever, and nothing is asked for that is on the list, such as a reset while a start runs. The cases of
`cases.toml` have that. What is asked while a program runs is the exception: requests that `race`
with it, whose answers are compared as sets of allowed ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, TypeVar

from hypothesis import strategies as st

from ..regions import constants as c
from .script import DEFAULTS

_T = TypeVar("_T")
Draw = st.DrawFn
Strategy = st.SearchStrategy

MOST_STEPS: Final = 12
"""Steps of a case; each is some requests."""
EARLY: Final = c.ORB_CTRL0_MASK_ISIC
"""The bit of an ORB with which a program may interrupt before its end."""
IDAWS: Final = c.ORB_CTRL0_MASK_C64 | c.ORB_CTRL0_MASK_I2K
"""Bits of an ORB that say of what kind its IDAWs are."""
IDAWS_OF_4K: Final = c.ORB_CTRL0_MASK_C64
SMALL_BLOCK: Final = 0x800
LARGE_BLOCK: Final = 0x1000
# In each of these comes first what a case shall have that is made short.
_CODES: Final = (
    "03", "03", "03", "e4", "e4", "e4", "64", "04", "02", "07", "12", "16", "1a", "ff", "01", "0c",
    "1c", "10", "7f", "14", "18", "00", "f0",
)  # fmt: skip
_FLAGS: Final = (0x20, 0x60, 0x60, 0x60, 0x60, 0x40, 0x00, 0xA0, 0x80, 0xE0)
_COUNTS: Final = (1, 0, 4, 7, 8, 20, 64, 255, 256, 4096, 5000, 32768, 65535)
_IDA_COUNTS: Final = (1, 0, 8, 64, 255, 2048, 4096, 4097, 9000)
_ADDRESSES: Final = (0, 0x7FF, 0xFF000, 0xFFFFF, 0x100000, 0x7FFFFFF8, 0x80002000, 0xFFFFFFFF)
_LISTS_AT_THE_END: Final = (0xFFFF8, 0xFFFFC, 0x100000)
_CPAS: Final = (0x1000, 0x1000, 0x1000, 0x1004, 0x1001, 0x1FF8, 0xFF800, 0x0)
_OTHER_CPAS: Final = (0x2000, 0xFFFF8, 0xFF801, 0x100000, 0x80001000, 0xFFFFFFFF)
_ORB_BITS: Final = (
    *(3 * (0,)), c.ORB_CTRL0_MASK_SPND, c.ORB_CTRL0_MASK_STR, c.ORB_CTRL0_MASK_MOD,
    c.ORB_CTRL0_MASK_SYNC, c.ORB_CTRL0_MASK_ALCC, c.ORB_CTRL0_MASK_SSIC,
)  # fmt: skip
_LPMS: Final = ("ff", "ff", "ff", "ff", "c0", "80", "40", "00", "20", "3f", "7f", "bf")
_FCTLS: Final = (*(5 * ("4000",)), "6000", "5000", "7000", "0000", "2000", "1000", "3000")
_CODE: Final = re.compile(r"([0-9a-f]{2})/")
_WITHOUT_SENSE: Final = frozenset({"03", "e4", "64", "08", "18"})
"""Codes of CCWs that leave no sense data, or are of the channel."""
_SENSE_ID: Final = "1000: e4/20/64@2000"
_BUSY: Final = (
    "start ctrl0=00c2", "start ctrl0=00c2 lpm=20", "start cpa=100000", "start ctrl0=00c4",
    "start ctrl0=00c2 ctrl1=02", "start fctl=0000", "start fctl=2000", "start fctl=1000",
    "command 0", "command 3", "command 4", "write io 4: 00", "write io 24: 00", "write io 124: 00",
    "write cmd 8: 00", "read io 0 24", "read io 24 96", "read cmd 0 8", "read crw 0 8",
)  # fmt: skip
_PARTS: Final = (
    "write io 0: 12345678", "write io 3: 00", "write io 6: 80", "write io 6: ff",
    "write io 8: 00001000", "write io 8: 00100000", "write io 9: 00", "write io 16: 00*8",
    "write io 12: 0000", "write io 23: ff", "write io 24: 00", "write io 100: 11*20",
    "write io 120: =0", "write io 123: 00", "write io 0: 0000abcd00c2ff0000001000",
)  # fmt: skip


class Step(NamedTuple):
    """Requests that belong together."""

    requests: Sequence[str]
    asks: bool | None = None
    """Whether the SCSW area asks for a start afterwards; None: as before."""
    sense: bool = False
    """Whether sense data, or status of the subchannel's, may have come to stay."""
    if_asks: bool = False
    """Whether it is only for an SCSW area that asks for a start."""
    if_no_sense: bool = False
    """Whether it is only for a device without sense data: a reset, which in Linux leaves them."""

    def and_then(self, *requests: str, asks: bool | None = True) -> Step:
        """The same with more requests."""
        return self._replace(requests=(*self.requests, *requests), asks=asks)


def sequences(older: bool = False) -> Strategy[str]:
    """What a case does.

    *older*: only what Linux 6.1 answers as later ones do; the others are in `changes.toml`.
    """
    return st.lists(_steps(older), min_size=1, max_size=MOST_STEPS).map(_joined)


def _joined(steps: Sequence[Step]) -> str:
    asks = sense = False
    requests: list[str] = []
    for step in steps:
        if (asks or not step.if_asks) and not (sense and step.if_no_sense):
            requests += step.requests
            asks = asks if step.asks is None else step.asks
            sense |= step.sense
    # Some steps have nothing to ask.
    return "; ".join(requests) or "quiet"


def _steps(older: bool) -> Strategy[Step]:
    weighted = (
        (3, _again()), (2, _halt_or_clear()), (6, _run(older)), (3, _part()), (3, _access()),
        (1, _early(older)), (2, _pending(older)), (1, _active()), (1, _ending()), (1, _command()),
        (1, _reset()), (1, st.just(Step(("unmap", "map")))), (1, _attention()), (1, _trigger()),
        (1, _race()),
    )  # fmt: skip
    each = [step for weight, step in weighted for _ in range(weight)]
    return st.sampled_from(each).flatmap(lambda step: step)


def _one(draw: Draw, choices: Sequence[_T]) -> _T:
    return draw(st.sampled_from(choices))


def _seldom(draw: Draw, one_in: int) -> bool:
    return draw(st.integers(1, one_in)) == one_in


# --- programs -------------------------------------------------------------------------------------


def _started(draw: Draw, older: bool, early: int = 0) -> Step:
    """A program, and a request to start it, good or bad. *early*: `EARLY` or 0."""
    control = _one(draw, (*(4 * (c.ORB_CTRL0_MASK_FMT,)), 0)) | early | _one(draw, _ORB_BITS)
    control |= _one(draw, (*(3 * (c.ORB_CTRL0_MASK_PFCH,)), 0))
    if older:
        control |= IDAWS_OF_4K
    else:
        control |= _one(draw, (IDAWS_OF_4K, IDAWS_OF_4K, IDAWS, 0, c.ORB_CTRL0_MASK_I2K))
        control |= _one(draw, (0, 0, 0x3000, 0xF000))
    cpa = _one(draw, _CPAS)
    program = [*_program(draw, cpa, control, older)]
    if _seldom(draw, 25):
        control |= c.ORB_CTRL0_MASK_TRANSPORT
    words = {
        "ctrl0": f"{control:04x}",
        "cpa": f"{_one(draw, _OTHER_CPAS) if _seldom(draw, 15) else cpa:x}",
        "lpm": _one(draw, _LPMS),
        "fctl": _one(draw, _FCTLS),
        "ctrl1": _one(draw, ("00", "00", "00", "00", "80", "01", "02", "20")),
    }
    asks = int(words["fctl"], 16) & c.SCSW_FCTL_START_FUNC != 0
    if asks and _seldom(draw, 4):
        words["size"] = f"{draw(st.integers(16, 123))}"
    said = (f" {name}={value}" for name, value in words.items() if value != DEFAULTS[name])
    codes = {code for line in program for code in _CODE.findall(line)}
    return Step((*program, f"start{''.join(said)}"), asks, not codes <= _WITHOUT_SENSE)


def _program(draw: Draw, cpa: int, control: int, older: bool) -> Iterator[str]:
    """Segments, each of which leads to later ones alone: it ends."""
    format1 = control & c.ORB_CTRL0_MASK_FMT
    heads = (cpa, 0x4000, 0x4400)[: draw(st.integers(1, 3))]
    lists = 0
    for number, head in enumerate(heads):
        ccws: list[str] = []
        for left in reversed(range(draw(st.integers(1, 5)))):
            before = ccws[-1] if ccws else ""
            ccw, idal = _ccw(draw, control, 0x3000 + 0x100 * lists, before, older)
            ccws.append(ccw if left else _without_data_chaining(ccw))
            if idal:
                lists += 1
                yield idal
        following = heads[number + 1 :]
        if following or _seldom(draw, 12):
            target = _one(draw, following) if following else _address(draw)
            if _seldom(draw, 10):
                target = head + 8 * len(ccws) + 8
            code = _one(draw, ("08", "08", "08", "18"))
            ccws.append(f"{code}/00/0@{_fitting(target, control):x}")
        ccws.append("03/20/1")
        yield f"{'' if format1 else 'format0 '}{head:x}: {' '.join(ccws)}"


def _ccw(draw: Draw, control: int, at: int, before: str, older: bool) -> tuple[str, str]:
    """A CCW, mostly chained to the next, and its list if it has one.

    A chain of data has one code: by another one Linux takes no page for what the device moves.
    """
    code = before[:2] if _chains_data(before) else _one(draw, _CODES)
    flags = _one(draw, _FLAGS) | _one(draw, (*(5 * (0,)), c.CCW_FLAG_SKIP))
    if _seldom(draw, 40) and not control & c.ORB_CTRL0_MASK_SPND:
        flags |= c.CCW_FLAG_SUSPEND
    if _seldom(draw, 60):
        flags |= c.CCW_FLAG_MIDA
    if control & EARLY:
        flags |= _one(draw, (0, c.CCW_FLAG_PCI))
    address, idal, count = _address(draw), "", _one(draw, _COUNTS)
    if _seldom(draw, 5):
        flags |= c.CCW_FLAG_IDA
        count = _one(draw, _IDA_COUNTS)
        address, idal = _list(draw, control, at, older)
    return f"{code}/{flags:02x}/{count}@{_fitting(address, control):x}", idal


def _list(draw: Draw, control: int, at: int, older: bool) -> tuple[int, str]:
    """Where a list of IDAWs is, and the list."""
    word = "idal" if control & c.ORB_CTRL0_MASK_C64 else "idal31"
    block = LARGE_BLOCK if control & IDAWS == IDAWS_OF_4K else SMALL_BLOCK
    words = [_address(draw)]
    for _ in range(7):
        aligned = draw(st.integers(0x8000 // block, 0xC000 // block - 1)) * block
        words.append(_address(draw) if not older and _seldom(draw, 8) else aligned)
    if _seldom(draw, 20):
        return _one(draw, _LISTS_AT_THE_END), ""
    address = at + _one(draw, (0, 0, 4))
    return address, f"{word} {address:x}: {' '.join(f'{one:x}' for one in words)}"


def _address(draw: Draw) -> int:
    if _seldom(draw, 8):
        return _one(draw, _ADDRESSES)
    return draw(st.integers(0x8000, 0xBFFF))


def _fitting(address: int, control: int) -> int:
    """The address as a CCW of the format has it."""
    return address if control & c.ORB_CTRL0_MASK_FMT else address & 0xFFFFFF


def _chains_data(ccw: str) -> bool:
    return ccw != "" and int(ccw[3:5], 16) & c.CCW_FLAG_DC != 0


def _without_data_chaining(ccw: str) -> str:
    if not _chains_data(ccw):
        return ccw
    flags = int(ccw[3:5], 16) & ~c.CCW_FLAG_DC | c.CCW_FLAG_CC
    return f"{ccw[:3]}{flags:02x}{ccw[5:]}"


# --- steps ----------------------------------------------------------------------------------------


@st.composite
def _run(draw: Draw, older: bool) -> Step:
    started = _started(draw, older)
    if not started.asks:
        return started
    look: Sequence[str] = ()
    if _seldom(draw, 3):
        look = (_one(draw, ("load 8000 64", "load 3000 32", "load ffff0 16", "read io 24 96")),)
    return started.and_then(_one(draw, ("final", "final", "told")), *look)


@st.composite
def _early(draw: Draw, older: bool) -> Step:
    started = _started(draw, older, EARLY)
    # What is there would interrupt early again: nobody else shall start it.
    return started.and_then(*(("ending", "load 8000 32") if started.asks else ()), asks=False)


@st.composite
def _again(draw: Draw) -> Step:
    start = _one(draw, ("start", "start lpm=80", "start lpm=40", "start lpm=00"))
    return Step((_SENSE_ID, start, _one(draw, ("final", "told"))), True)


@st.composite
def _part(draw: Draw) -> Step:
    return Step((_one(draw, _PARTS), "final"), if_asks=True)


@st.composite
def _access(draw: Draw) -> Step:
    region = _one(draw, ("io", "cmd", "crw", "schib", "4", "9", "255"))
    size = {"io": 124, "cmd": 8, "crw": 8, "schib": 52}.get(region, 0)
    past = draw(st.integers(1, 40))
    offset = draw(st.integers(0, size + 10))
    behind = max(size - offset, 0) + past
    request = f"read {region} {offset} {behind}"
    if draw(st.booleans()):
        request = f"write {region} {offset}: 00*{behind if region in ('io', 'cmd') else past}"
    look: Sequence[str] = ()
    if _seldom(draw, 3):
        look = (_one(draw, ("read io 0 24", "read cmd 0 8", "read crw 0 8", "read io 120 4")),)
    return Step((request, *look))


@st.composite
def _halt_or_clear(draw: Draw) -> Step:
    command = _one(draw, ("hsch", "csch", "write cmd 0: =1", "write cmd 0: =2.00"))
    return Step((command, _one(draw, ("wait", "wait", "event"))))


@st.composite
def _pending(draw: Draw, older: bool) -> Step:
    started = _started(draw, older)
    busy = draw(st.lists(st.sampled_from(_BUSY), min_size=1, max_size=6))
    halt = ("hsch", "wait") if _seldom(draw, 3) else ()
    requests = ("control delay=3600s", *started.requests, *busy, *halt, "csch", "wait")
    return Step((*requests, "control delay=0s"), False, started.sense)


@st.composite
def _active(draw: Draw) -> Step:
    busy = draw(st.lists(st.sampled_from(_BUSY), min_size=1, max_size=4))
    requests = ("control fault=hang", _SENSE_ID, "start", *busy, "csch", "wait")
    return Step((*requests, "control fault=none"), False)


@st.composite
def _ending(draw: Draw) -> Step:
    fault = _one(draw, ("unit-check sense=80", "unit-check sense=1000", "busy"))
    requests = (f"control fault={fault} count=1", _SENSE_ID, "start", "final")
    sense = ("1000: 04/20/32@2000", "start", "final", "load 2000 32")
    return Step((*requests, *(sense if draw(st.booleans()) else ())), True, True)


@st.composite
def _command(draw: Draw) -> Step:
    command = _one(draw, ("0", "3", "4", "8", "10", "7", "80000000", "ffffffff"))
    return Step((f"command {command}", "read cmd 0 8"))


@st.composite
def _reset(draw: Draw) -> Step:
    # The path that was used last outlives it only if one is used afterwards.
    reset = _one(draw, ("reset", "reset", "reopen"))
    requests = (reset, "read io 0 24", *draw(_again()).requests)
    return Step(requests, True, if_no_sense=True)


@st.composite
def _attention(draw: Draw) -> Step:
    status = _one(draw, ("80", "84", "04", "82"))
    # Behind an IRB that nobody has read it would wait here, and take its place in Linux.
    return Step(("read io 24 96", f"control unsolicited={status}", "wait"), sense=True)


@st.composite
def _trigger(draw: Draw) -> Step:
    return Step(_one(draw, (("irq 0 bool0",), ("irq 0 bool1", "event"), ("irq 0 none", "event"))))


@st.composite
def _race(draw: Draw) -> Step:
    requests = draw(st.lists(st.sampled_from(("hsch", "start")), min_size=1, max_size=4))
    races = (f"race {request}" for request in requests)
    # The last start leaves a return code that does not tell who was faster.
    ended = ("cleared", "start", "final")
    return Step((_SENSE_ID, "start", "final", "start", *races, *ended), True)
