"""Cases: requests as people write them, and as `client.c` takes them.

A case's `do` is requests with a semicolon between them. Addresses and codes are hexadecimal, counts
and lengths decimal. What is laid down in storage:

| request | what |
|---|---|
| `ADDRESS: CODE/FLAGS/COUNT@DATA*TIMES ...` | CCWs of format 1; @DATA and *TIMES may be missing |
| `format0 ADDRESS: ...` | the same in format 0 |
| `idal ADDRESS: WORD ...`, `idal31 ...` | words of 64 bits, of 32 bits |
| `bytes ADDRESS: DATA*TIMES` | hexadecimal bytes |
| `chain N` | N segments from 1000 on, each a no-operation and a TIC to the next |

What is asked of the device:

| request | what |
|---|---|
| `start NAME=VALUE ...` | a write to the io region from offset 0: `cpa` (1000 unless said), `ctrl0` (00c0: format 1, prefetch), `lpm` (ff), `ctrl1` (00), `parm`, `fctl` (4000), `ret` (0), decimal `size` (124) |
| `run NAME=VALUE ...` | the same, then `final` |
| `hsch`, `csch`, `command N` | eight bytes to the command region |
| `write REGION OFFSET: DATA*TIMES`, `read REGION OFFSET LENGTH` | a region is `io`, `cmd`, `schib`, `crw` or an index |
| `race REQUEST` | one whose answer depends on who is faster: it is marked as such |
| `event`, `wait`, `final`, `ending`, `cleared`, `told`, `poll`, `quiet`, `report`, `reset`, `reopen`, `unmap`, `map`, `info`, `ioctl NUMBER WORD ...`, `irq INDEX WHAT`, `load ADDRESS LENGTH`, `control WORDS`, `chp ID STATE` | as in `client.c` |
"""  # noqa: E501  # rows of a table are one line

from __future__ import annotations

import re
import struct
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from ..regions import constants as c
from . import ConformError

REGIONS: Final = {"io": 0, "cmd": 1, "schib": 2, "crw": 3}
"""Indexes of the regions on `async`."""
DEFAULTS: Final = {
    "cpa": "1000", "ctrl0": "00c0", "lpm": "ff", "ctrl1": "00", "parm": "0000abcd",
    "fctl": "4000", "ret": "0", "size": "124",
}  # fmt: skip
"""What a `start` says unless told otherwise."""
AS_THEY_ARE: Final = frozenset(
    {
        *("event", "wait", "final", "ending", "cleared", "told", "poll", "quiet", "report"),
        *("reset", "reopen", "unmap", "map", "info", "ioctl", "irq", "control", "chp"),
    }
)
"""Requests that `client.c` takes as they are written."""
GOOD: Final = "fault=none delay=0s csense=off"
"""What `control` says before a case, unless the one before has left it so."""
_BEYOND: Final = re.compile(r"(?m)^(?:(?:read|write) [123] |irq [12] |info|report|ioctl )")
"""A line of a script that asks for more than a region and an interrupt."""
_HALT_OR_CLEAR: Final = re.compile(r"fctl=[1-35-7]000")
_CCW: Final = re.compile(
    r"([0-9a-f]{2})/([0-9a-f]{2})/(\d+)(?:@([0-9a-f]+))?(?:\*(\d+))?", re.IGNORECASE
)


class Case(NamedTuple):
    """Requests from a known state, and what they are asked for."""

    name: str
    do: str
    why: str

    def text(self) -> str:
        """As a file of cases has it."""
        return f'[[case]]\nname = "{self.name}"\nwhy = "{self.why}"\ndo = "{self.do}"\n'


def read_cases(path: Path) -> list[Case]:
    """The cases of a file; ConformError if it has two of one name."""
    cases = [Case(**table) for table in tomllib.loads(path.read_text())["case"]]
    names = [case.name for case in cases]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConformError(f"{path.name}: two cases are named {', '.join(twice)}")
    return cases


def for_interface(cases: Iterable[Case], interface: str) -> list[Case]:
    """Those of the *cases* in which an *interface* shall answer as Linux does.

    `start-only` and `scsw` have the io region and its interrupt alone, and on `scsw` fctl may ask
    for halt and clear.
    """
    cases = list(cases)
    if interface != "async":
        cases = [case for case in cases if not _BEYOND.search(script_of([case]))]
    if interface == "scsw":
        cases = [case for case in cases if not _HALT_OR_CLEAR.search(case.do)]
    return cases


def script_of(cases: Iterable[Case]) -> str:
    """The script for `client.c`; ConformError names the case that cannot be read."""
    lines: list[str] = []
    switched = False
    for case in cases:
        if switched:
            lines.append(f"control {GOOD}")
        lines.append(f"case {case.name}")
        try:
            asked = [line for request in case.do.split(";") for line in _lines(request.strip())]
        except (ValueError, KeyError, struct.error) as error:
            raise ConformError(f"case {case.name!r}: {error}") from None
        lines += asked
        switched = any(line.startswith("control ") for line in asked)
    return "".join(f"{line}\n" for line in lines)


def _lines(request: str) -> Iterator[str]:
    word, _, rest = request.partition(" ")
    match word.rstrip(":"):
        case "start":
            yield _start(rest)
        case "run":
            yield _start(rest)
            yield "final"
        case "race":
            [line] = _lines(rest)
            yield f"race {line}"
        case "hsch":
            yield "write 1 0 =1.=0"
        case "csch":
            yield "write 1 0 =2.=0"
        case "command":
            yield f"write 1 0 ={rest}.=0"
        case "write":
            place, _, data = rest.partition(":")
            region, offset = place.split()
            yield f"write {_region(region)} {int(offset):x} {_times(data.strip())}"
        case "read":
            region, offset, length = rest.split()
            yield f"read {_region(region)} {int(offset):x} {int(length):x}"
        case "load":
            address, length = rest.split()
            yield f"load {address} {int(length):x}"
        case "chain":
            yield from _chain(int(rest))
        case "idal" | "idal31" as name:
            address, _, words = rest.partition(":")
            layout = ">Q" if name == "idal" else ">I"
            listed = b"".join(struct.pack(layout, int(one, 16)) for one in words.split())
            yield f"store {address} {listed.hex()}"
        case "bytes":
            address, _, data = rest.partition(":")
            yield f"store {address} {_times(data.strip())}"
        case "format0":
            address, _, ccws = rest.partition(":")
            yield f"store {address} {_ccws(ccws, format1=False).hex()}"
        case as_it_is if as_it_is in AS_THEY_ARE:
            yield request
        case address:
            yield f"store {int(address, 16):x} {_ccws(rest, format1=True).hex()}"


def _region(name: str) -> str:
    return f"{REGIONS.get(name, name)}" if name in REGIONS else f"{int(name):x}"


def _times(data: str) -> str:
    one, _, times = data.partition("*")
    return one * int(times or 1)


def _start(words: str) -> str:
    given = dict(word.split("=") for word in words.split())
    if given.keys() - DEFAULTS.keys():
        raise ValueError(f"start has no {', '.join(sorted(given.keys() - DEFAULTS.keys()))}")
    values = {name: int(text, 10 if name == "size" else 16) for name, text in DEFAULTS.items()}
    values |= {name: int(text, 10 if name == "size" else 16) for name, text in given.items()}
    # An ORB, and a SCSW that has a function control alone.
    orb = (values[name] for name in ("parm", "ctrl0", "lpm", "ctrl1", "cpa"))
    request = struct.pack(">IHBBI2xH8x", *orb, values["fctl"])
    size = values["size"]
    if size == c.IO_REGION_SIZE:
        return f"write 0 0 {request.ljust(c.RET_CODE_OFFSET, bytes(1)).hex()}.={values['ret']:x}"
    return f"write 0 0 {request[:size].hex()}"


def _ccws(text: str, *, format1: bool) -> bytes:
    data = b""
    for word in text.split():
        found = _CCW.fullmatch(word)
        if found is None:
            raise ValueError(f"{word!r} is no CCW")
        code, flags, count, address, times = found.groups()
        numbers = (int(code, 16), int(flags, 16), int(count), int(address or "0", 16))
        data += _ccw(*numbers, format1=format1) * int(times or 1)
    return data


def _ccw(code: int, flags: int, count: int, address: int, *, format1: bool) -> bytes:
    if format1:
        return struct.pack(">BBHI", code, flags, count, address)
    return struct.pack(">BBHBxH", code, address >> 16, address & 0xFFFF, flags, count)


def _chain(segments: int) -> Iterator[str]:
    here = 0x1000
    for number in range(segments):
        there = 0x4000 + 0x100 * number
        last = number == segments - 1
        ccws = "03/20/1" if last else f"03/60/1 08/00/0@{there:x}"
        yield f"store {here:x} {_ccws(ccws, format1=True).hex()}"
        here = there
