"""Attacks by channel programs in the built-in storage."""

import os
import struct

from attack.attacker import MEMORY, Attacker
from lab import programs
from lab.programs import (
    BITS,
    CC,
    CD,
    FORMAT1,
    IDA,
    IDAW64,
    MIDA,
    NOP,
    PREFETCH,
    READ,
    READING,
    SENSE,
    SENSE_ID,
    SLI,
    SPND,
    TIC,
    WRITE,
    WRITING,
    Ccw,
)

_MIDAWS = 0x40
"""The control bit of an ORB, in its byte 7, that permits MIDAWs."""
_BUFFER = 4 << 20
_CHUNK = 0xFE00
_HALVES = (16, 512)


def _control(a: Attacker) -> int:
    """The control bits of an ORB: most of the time such as make sense."""
    if not a.chance.randrange(5):
        return a.chance.randrange(1 << 16)
    return FORMAT1 | a.chance.choice((0, PREFETCH, IDAW64, PREFETCH | IDAW64, SPND, 0x0020))


def _somewhere(a: Attacker) -> int:
    return a.chance.randrange(0x1000, _BUFFER - 0x10000, 8)


def _run(a: Attacker, *ccws: Ccw, ctrl0: int | None = None, wait: float = 0.01) -> None:
    ctrl0 = _control(a) if ctrl0 is None else ctrl0
    data = programs.ccws(*ccws, format1=bool(ctrl0 & FORMAT1))
    a.start(
        a.directory(),
        data,
        cpa=_somewhere(a),
        ctrl0=ctrl0,
        ctrl1=a.chance.choice((0, 0, _MIDAWS, a.chance.randrange(256))),
        lpm=a.chance.choice((0xFF, 0xFF, 0x80, 0, a.chance.randrange(256))),
        wait=wait,
    )


def _small(a: Attacker, *ccws: Ccw) -> tuple[Ccw, ...]:
    """The same with addresses that fit into 24 bits, for either format."""
    return tuple((code, flags, count, at & 0xFFFFFF) for code, flags, count, at in ccws)


def valid(a: Attacker) -> None:
    """Programs that every device has."""
    at = a.chance.randrange(_BUFFER, MEMORY - 0x20000, 8)
    _run(a, *a.chance.choice((
        ((NOP, SLI, 1, 0),),
        ((SENSE_ID, SLI, 20, at),),
        ((SENSE, SLI, 32, at),),
        ((NOP, SLI | CC, 1, 0), (SENSE_ID, SLI | 0x08, 7, at)),
        ((NOP, SLI | CC, 1, 0), (NOP, SLI | 0x02, 1, 0)),
    )), ctrl0=FORMAT1 | a.chance.choice((0, PREFETCH, SPND)))  # fmt: skip


def blocks(a: Attacker) -> None:
    """Reads and writes of FBA blocks, and what nearly is one."""
    chance = a.chance
    medium = a.medium("fba")
    write = bool(chance.randrange(2))
    count = chance.choice((1, 8, 64, 127, 200))
    parameters = _somewhere(a)
    locate = programs.locate(WRITING if write else READING, count, chance.randrange(100))
    a.store(parameters, programs.extent(128) + locate)
    at = a.random_address()
    code = WRITE if write else READ
    moves: list[Ccw] = [(code, 0, count * 512 & 0xFFFF, at)]
    if chance.randrange(2):
        moves = [(code, CD, 512, at + 512 * n & 0x7FFFFFFF) for n in range(count)]
        moves[-1] = (code, 0, 512, at & 0x7FFFFFFF)
    data = programs.ccws(*programs.located(parameters), *moves)
    a.start(a.directory(medium), data, cpa=_somewhere(a),
            ctrl0=FORMAT1 | chance.choice((0, PREFETCH)), wait=0.01)  # fmt: skip


def anything(a: Attacker) -> None:
    """Random CCWs."""
    ccws = _small(a, *(a.random_ccw() for _ in range(a.chance.choice((1, 2, 5, 20, 300)))))
    _run(a, *ccws)


def loop(a: Attacker) -> None:
    """Programs that never end by themselves; a clear, a reset or a kill ends them."""
    cpa = _somewhere(a)
    code = a.chance.choice((NOP, SENSE_ID, SENSE, 0x01, 0x42))
    ccws: list[Ccw] = [(code, CC | SLI, 8, _BUFFER)] * a.chance.choice((1, 2, 50))
    ccws.append((TIC, 0, 0, cpa))
    directory = a.directory()
    a.start(directory, programs.ccws(*ccws), cpa=cpa, ctrl0=FORMAT1, wait=0.02)
    if a.chance.randrange(4):
        _clear(a)


def _clear(a: Attacker) -> None:
    a.put(a.directory() / "cmd_region", programs.command(BITS["csch"]))


def clear_all(a: Attacker) -> None:
    """Clear every subchannel, so that others get something to do."""
    for medium in a.seat.media.attacked:
        directory = a.mount / medium.schid
        a.put(directory / "io_region", programs.request(programs.CLEAR))
        if not a.chance.randrange(3):
            a.put(directory / "reset", b"1")


def _bulk(a: Attacker, *, again: bool) -> None:
    chance = a.chance
    medium = chance.choice([m for m in a.seat.media.attacked if m.long])
    parameters = _somewhere(a)
    size = 32 << 20
    a.store(parameters, programs.extent(65536) + programs.locate(READING, 65535))
    number = size // _CHUNK if medium.interface == "full" else 240
    moves: list[Ccw] = [(READ, CD | SLI, _CHUNK, _BUFFER + n % 4 * 0x10000) for n in range(number)]
    cpa = _somewhere(a)
    moves[-1] = (READ, (CC if again else 0) | SLI, _CHUNK, _BUFFER)
    ccws = [*programs.located(parameters), *moves]
    if again:
        ccws.append((TIC, 0, 0, cpa + 8))  # to Locate: an extent is defined once
    a.start(a.directory(medium), programs.ccws(*ccws), cpa=cpa, ctrl0=FORMAT1, wait=0.5)
    if again and chance.randrange(4):
        clear_all(a)


def bulk(a: Attacker) -> None:
    """A read of 32 MiB."""
    _bulk(a, again=False)


def tic_reads(a: Attacker) -> None:
    """A read of 32 MiB, again and again."""
    _bulk(a, again=True)


def indirect(a: Attacker) -> None:
    """IDAW and MIDAW lists, right and wrong."""
    chance = a.chance
    lists, count = _somewhere(a), chance.choice((1, 512, 4096, 60000))
    number = chance.choice((1, 3, 17, 40))
    kind = chance.choice((4, 8, 16))
    data = b""
    for n in range(number):
        at = chance.choice((_BUFFER + n * 4096, _BUFFER + n * 2048, a.random_address()))
        if kind == 16:
            flags = chance.choice((0, 0, 0x40, 0x80 if n == number - 1 else 0,
                                   chance.randrange(256)))  # fmt: skip
            data += struct.pack(">5xBHQ", flags, chance.choice((512, 4096, count & 0xFFFF)), at)
        else:
            data += at.to_bytes(8, "big")[-kind:]
    a.store(lists, data)
    flag = MIDA if kind == 16 else IDA
    code = chance.choice((SENSE_ID, READ, 0x02, 0x06, SENSE, 0x0C, 0x01))
    ctrl0 = FORMAT1 | chance.choice((0, PREFETCH)) | (IDAW64 if kind == 8 else 0)
    ctrl0 |= chance.choice((0, 0, 0x0001))
    at = lists | chance.choice((0, 0, 1))
    a.start(
        a.directory(),
        programs.ccws((code, flag | SLI, count, at)),
        cpa=_somewhere(a),
        ctrl0=ctrl0,
        ctrl1=_MIDAWS,
        wait=0.01,
    )


COMMANDS = {
    "3480": (0x01, 0x02, 0x07, 0x0C, 0x0F, 0x17, 0x1F, 0x27, 0x2F, 0x37, 0x3F, 0x97, 0x12, 0x22,
             0x24, 0x43, 0x4F, 0x77, 0x9F, 0xB7, 0xC3, 0xC7, 0xDB, 0xE3, 0x34),
    "3390": (0x06, 0x86, 0x05, 0x85, 0x0E, 0x8E, 0x12, 0x92, 0x1E, 0x16, 0x1A, 0x31, 0xB1, 0x51,
             0x71, 0x07, 0x0B, 0x1B, 0x47, 0x4B, 0x63, 0xE7, 0x64, 0xFA, 0xDE, 0x27, 0x3E, 0x54,
             0xA4, 0x94, 0x14, 0xB4, 0x34, 0x1D, 0x9D, 0x11, 0x15, 0x19, 0x0D, 0x8D, 0x01, 0x5E),
    "3505": (0x02, 0xC2, 0x23, 0x42, 0x82, 0x12, 0x22, 0x63),
    "3525": (0x01, 0x41, 0x81, 0x0D, 0x09, 0x3B),
    "1403": (0x01, 0x09, 0x11, 0x19, 0x89, 0x0B, 0x13, 0x8B, 0x73, 0x7B, 0xEB, 0xF3, 0xFB, 0x06),
    "3215": (0x01, 0x09, 0x0A, 0x0B),
}  # fmt: skip
"""Command codes of each type of device that has not those of a disk of blocks."""


def of_the_device(a: Attacker) -> None:
    """Chains of the commands that a device has, with parameters that look right."""
    chance = a.chance
    medium = a.medium(*COMMANDS)
    parameters = _somewhere(a)
    place = (chance.randrange(2), chance.randrange(16))
    a.store(
        parameters,
        chance.choice((
            programs.track_extent(place, chance.choice((0, 4096)), write=True)
            + programs.track_locate(place, chance.randrange(14), chance.randrange(15), 4096,
                                    write=bool(chance.randrange(2))),
            struct.pack(">HHH", 0, *place) + bytes(26),
            chance.randbytes(64),
        )),
    )  # fmt: skip
    ccws = []
    for number in range(chance.choice((1, 2, 3, 8))):
        code = chance.choice(COMMANDS[medium.kind])
        count = chance.choice((1, 5, 8, 16, 64, 80, 133, 4096, 65535))
        at = chance.choice((parameters + 16 * number, _BUFFER, a.random_address())) & 0x7FFFFFFF
        ccws.append((code, chance.choice((SLI | CC, SLI | CC, CC, SLI)), count, at))
    a.start(a.directory(medium), programs.ccws(*ccws), cpa=_somewhere(a),
            ctrl0=FORMAT1 | chance.choice((0, PREFETCH)), wait=0.01)  # fmt: skip


def half(a: Attacker) -> None:
    """A program in the program region."""
    directory = a.directory()
    fd = a.file(directory / "program_region")
    if fd < 0:
        return
    which = a.chance.randrange(2)
    data = programs.ccws(*(
        a.chance.choice(((NOP, SLI | CC, 1, 0), (TIC, 0, 0, 0), a.random_ccw()))
        for _ in range(a.chance.choice((1, 3, 62)))
    ))  # fmt: skip
    a.tried("write half", lambda: os.pwrite(fd, data, _HALVES[which]))
    fd = a.file(directory / "cmd_region")
    if fd >= 0:
        bits = BITS["ssch_b" if which else "ssch_a"]
        done = a.tried("start half", lambda: os.pwrite(fd, programs.command(bits), 0))
        a.board.count("programs started" if done else "programs refused")


def scribble(a: Attacker) -> None:
    """Change storage while programs run in it."""
    a.store(a.random_address() % MEMORY, a.chance.randbytes(a.chance.choice((1, 8, 64, 5000))))


ATTACKS = (
    ("programs", 20, valid),
    ("programs", 15, blocks),
    ("programs", 20, anything),
    ("programs", 3, loop),
    ("programs", 5, clear_all),
    ("programs", 15, indirect),
    ("programs", 25, of_the_device),
    ("programs", 6, half),
    ("programs", 8, scribble),
    ("bulk", 1, bulk),
    ("tic-reads", 1, tic_reads),
)
"""Part, weight, and what is done."""
