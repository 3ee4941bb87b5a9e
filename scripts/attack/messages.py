"""Attacks through the socket: messages, eventfds, maps, descriptors, connections without end."""

import contextlib
import json
import mmap
import os
import resource
import select
import socket
import time
from collections.abc import Callable
from typing import Any

from attack.attacker import Attacker
from attack.media import Medium
from lab import programs
from lab.client import Connection
from lab.programs import CC, CD, FORMAT1, PREFETCH, READ, READING, SENSE_ID, SLI, Ccw

_PAGE = 4096
_NUMBERS: tuple[object, ...] = (0, 1, -1, 4096, 4097, 1 << 31, 1 << 63, (1 << 64) - 4096,
                                (1 << 64) - 1, 1 << 64, 1e300, True, None, "0", [], {})  # fmt: skip
_MANY = 1100
"""Maps of one page: more than Python calls itself."""
_OWN = 1 << 20
"""Bytes of this process's memory that is mapped."""


def _medium(a: Attacker) -> Medium:
    return a.medium("fba", "3390", "3480", "3505", "3215")


def _valid(a: Attacker) -> dict[str, Any]:
    chance = a.chance
    area = {"iova": chance.randrange(64) * _PAGE, "size": chance.choice((1, 4, 256)) * _PAGE}
    return chance.choice((
        {"subchannel": a.medium().schid, "irq": chance.randrange(4)},
        {"subchannel": a.medium().schid, "map": {**area, "offset": 0}},
        {"subchannel": a.medium().schid, "map": {**area, "vaddr": chance.randrange(1 << 48)}},
        {"subchannel": a.medium().schid, "unmap": area},
        {"do": "chp"},
        {"do": "remove", "subchannel": "0.0.0fff"},
    ))  # fmt: skip


def message(a: Attacker) -> None:
    """A message with something wrong in it, or nothing."""
    chance = a.chance
    connection = a.connection()
    if connection is None:
        return
    one = _valid(a)
    inner = next((value for value in one.values() if isinstance(value, dict)), one)
    match chance.randrange(5):
        case 0:
            inner[chance.choice(list(inner))] = chance.choice(_NUMBERS)
        case 1:
            one[chance.choice(("x", "do", "map", "irq", "unmap"))] = chance.choice(_NUMBERS)
        case 2:
            del one[chance.choice(list(one))]
    data = bytearray(json.dumps(one).encode())
    if not chance.randrange(3):
        data[chance.randrange(len(data))] = chance.randrange(256)
    a.say(connection, bytes(data), what=f"message {bytes(data)!r:.90}")


def garbage(a: Attacker) -> None:
    """What is no message at all."""
    chance = a.chance
    connection = a.connection()
    if connection is None:
        return
    data = chance.choice((
        chance.randbytes(chance.choice((1, 100, 4096, 4097, 60000))), b"[" * 4000, b'{"a":' * 800,
        b"\0", b"null", b"[]", b'"x"', b"1" * 4090, b"-", b"NaN", b'{"do": {}}', b'{"do": "add"}',
        b'{"irq": 0, "irq": 1}', b'{"subchannel": "\\ud800", "irq": 0}', b"\xff\xfe{}",
        b'{"subchannel": "0.0.0100", "irq": 1' + b"0" * 3000 + b"}",
    ))  # fmt: skip
    a.say(connection, data, what=f"message of {len(data)} bytes {data[:40]!r}")


def empty(a: Attacker) -> None:
    """An empty message, and an end without reading the answer."""
    connection = a.connect()
    if connection is not None:
        a.tried("empty message", lambda: connection.socket.send(b""))
        for _ in range(a.chance.randrange(4)):
            a.tried("unread", lambda: connection.socket.send(b'{"do": "chp"}', socket.MSG_DONTWAIT))
        connection.close()


def irqfd(a: Attacker) -> None:
    """An eventfd for an irq; closed by us before or after; signalled or not."""
    connection = a.connection()
    if connection is None:
        return
    schid = a.medium().schid
    index = a.chance.randrange(3)
    if not a.chance.randrange(3):
        a.say(connection, {"subchannel": schid, "irq": index})
        return
    event = os.eventfd(a.chance.choice((0, 0, (1 << 32) - 1)),
                       a.chance.choice((0, os.EFD_NONBLOCK, os.EFD_SEMAPHORE)))  # fmt: skip
    if not a.chance.randrange(6):
        # Full: who adds to it and may not wait fails, and who may wait waits for ever.
        with contextlib.suppress(OSError):
            os.eventfd_write(event, (1 << 64) - 2 - ((1 << 32) - 1))
    a.say(connection, {"subchannel": schid, "irq": index}, event)
    os.close(event)


def _program_on(a: Attacker, medium: Medium, memory: int, base: int, size: int) -> None:
    """Start something whose program and data lie in what was mapped."""
    cpa, at = base, base + min(size, 2 * _PAGE) - 8
    ccws: list[Ccw] = [(SENSE_ID, SLI | CC, 7, base + 0x800), (SENSE_ID, SLI, 7, at)]
    if memory >= 0:
        with contextlib.suppress(OSError):
            os.pwrite(memory, programs.ccws(*ccws), 0)
    a.start(a.directory(medium), b"", cpa=cpa, ctrl0=FORMAT1 | a.chance.choice((0, PREFETCH)),
            wait=0.02)  # fmt: skip


def file_map(a: Attacker) -> None:
    """A map of a memfd or a file, which may be cut, or unmapped, while a program is in it."""
    chance = a.chance
    connection = a.connection()
    if connection is None:
        return
    medium = _medium(a)
    pages = chance.choice((1, 2, 16, 1024))
    size, base = pages * _PAGE, chance.choice((0, 0, chance.randrange(256) * _PAGE))
    if chance.randrange(4):
        memory = os.memfd_create("attack", os.MFD_ALLOW_SEALING)
    else:
        memory = os.open(a.seat.place / "memory", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.truncate(memory, size)
        area = {"iova": base, "size": size, "offset": 0}
        a.say(connection, {"subchannel": medium.schid, "map": area}, memory)
        a.board.count("maps")
        _program_on(a, medium, memory, base, size)
        if chance.randrange(2):
            os.truncate(memory, chance.choice((0, _PAGE, size // 2)))
            _program_on(a, medium, -1, base, size)
            if chance.randrange(2):
                os.truncate(memory, size)
                _program_on(a, medium, memory, base, size)
        if chance.randrange(3):
            del area["offset"]
            a.say(connection, {"subchannel": medium.schid, "unmap": area})
        else:
            a.connections.remove(connection) if connection in a.connections else None
            connection.close()
    finally:
        os.close(memory)


def own_map(a: Attacker) -> None:
    """A map of this process's memory, which may go away while a program is in it."""
    chance = a.chance
    connection = a.connection()
    if connection is None:
        return
    medium = _medium(a)
    memory = mmap.mmap(-1, _OWN)
    at = _address_of(memory)
    size = chance.choice((_PAGE, 64 * _PAGE, _OWN, _OWN * 2))
    memory[:16] = programs.ccws((SENSE_ID, SLI | CC, 7, 0x800), (SENSE_ID, SLI, 7, size - 8))
    area = {"iova": 0, "size": size}
    a.say(connection, {"subchannel": medium.schid, "map": {**area, "vaddr": at}})
    a.board.count("maps")
    _program_on(a, medium, -1, 0, size)
    if chance.randrange(2):
        memory.close()
        _program_on(a, medium, -1, 0, size)
    a.say(connection, {"subchannel": medium.schid, "unmap": area})


def _address_of(memory: mmap.mmap) -> int:
    import ctypes

    here = ctypes.c_char.from_buffer(memory)
    address = ctypes.addressof(here)
    del here
    return address


def _pages(a: Attacker, number: int) -> None:
    """*number* maps of one page each, and a data chain over all of them."""
    connection = a.connect()
    if connection is None:
        return
    medium = a.medium("fba")
    memory = os.memfd_create("pages")
    os.truncate(memory, number * _PAGE)
    order = list(range(number))
    a.chance.shuffle(order)
    try:
        for page in order:
            area = {"iova": page * _PAGE, "size": _PAGE, "offset": page * _PAGE}
            message = {"subchannel": medium.schid, "map": area}
            if a.say(connection, message, memory) is None:
                return
            a.board.count("maps")
        parameters = 0x2000
        data = programs.extent(128) + programs.locate(READING, 120)
        os.pwrite(memory, data, parameters)
        step = min(60000, (number - 8) * _PAGE)
        room = (number - 8) * _PAGE
        moves: list[Ccw] = [(READ, CD | SLI, step, 8 * _PAGE + n * step % (room - step + 1))
                            for n in range(40)]  # fmt: skip
        moves.append((READ, SLI, 65535 if room > 65535 else 512, 8 * _PAGE))
        # One piece of data over all pages, as far as one CCW goes, and a chain over the rest.
        os.pwrite(memory, programs.ccws(*programs.located(parameters), *moves), 0)
        a.start(a.directory(medium), b"", cpa=0, ctrl0=FORMAT1, wait=0.5)
        _long_ida(a, medium, memory, number)
    finally:
        connection.close()
        os.close(memory)


def _long_ida(a: Attacker, medium: Medium, memory: int, number: int) -> None:
    """A request of the io region whose data is in as many pages as there are."""
    words = b"".join((page * _PAGE).to_bytes(8, "big") for page in range(8, min(number, 24)))
    os.pwrite(memory, words, 0x3000)
    os.pwrite(memory, programs.ccws((0x42, 0x24, 60000, 0x3000)), 0x1000)
    a.start(a.directory(medium), b"", cpa=0x1000, ctrl0=FORMAT1 | 0x2, wait=0.1)


def some_pages(a: Attacker) -> None:
    """Some hundred maps of one page."""
    _pages(a, a.chance.choice((50, 300, 700)))


def many_pages(a: Attacker) -> None:
    """More maps of one page than Python calls itself."""
    _pages(a, _MANY)


def _kinds(a: Attacker) -> dict[str, Callable[[], list[int]]]:
    directory = a.directory()

    def pair() -> list[int]:
        one, two = socket.socketpair()
        return [one.detach(), two.detach()]

    def opened(*names: str, flags: int = os.O_RDWR) -> Callable[[], list[int]]:
        return lambda: [os.open(directory / name, flags) for name in names]

    def sealed() -> list[int]:
        import fcntl

        fd = os.memfd_create("sealed", os.MFD_ALLOW_SEALING)
        os.truncate(fd, 1 << 20)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, 0x2 | 0x4 | 0x8)
        return [fd]

    return {
        "a pipe": lambda: list(os.pipe()),
        "a socket pair": pair,
        "regions": opened("io_region", "device"),
        "an irq file": opened("io_irq"),
        "trace": opened("trace", flags=os.O_RDONLY),
        "a directory": lambda: [os.open("/", os.O_RDONLY | os.O_DIRECTORY)],
        "the mount": lambda: [os.open(a.mount, os.O_RDONLY | os.O_DIRECTORY)],
        "a path": lambda: [os.open(directory / "io_region", os.O_PATH)],
        "null": lambda: [os.open("/dev/null", os.O_RDWR)],
        "epoll": lambda: [os.dup(select.epoll().fileno())],
        "a process": lambda: [os.pidfd_open(os.getpid())],
        "a sealed memfd": sealed,
        "an empty memfd": lambda: [os.memfd_create("empty")],
        "eventfds": lambda: [os.eventfd(0) for _ in range(3)],
        "253 pipes' ends": lambda: [os.pipe()[n % 2] for n in range(253)],
        "memory": opened("memory"),
        "memory to read": opened("memory", flags=os.O_RDONLY),
        "memory to append": opened("memory", flags=os.O_RDWR | os.O_APPEND),
    }


def descriptors(a: Attacker) -> None:
    """Descriptors of some kind, with a message that wants one, or does not."""
    connection = a.connection()
    if connection is None:
        return
    kinds = _kinds(a)
    kind = a.chance.choice(list(kinds))
    before = set(os.listdir("/proc/self/fd"))
    fds = a.tried(f"make {kind}", kinds[kind]) or []
    area = {"iova": 0, "size": _PAGE, "offset": 0}
    one: Any = a.chance.choice((
        {"subchannel": a.medium().schid, "irq": 0},
        {"subchannel": a.medium().schid, "map": area},
        {"do": "chp"},
        {"subchannel": a.medium().schid, "unmap": {"iova": 0, "size": _PAGE}},
    ))  # fmt: skip
    if a.chance.randrange(10) == 0:
        fds.append(os.dup(connection.socket.fileno()))
        kind += " and its own connection"
    a.say(connection, one, *fds[:253], what=f"{kind} with {one!r:.60}")
    for name in set(os.listdir("/proc/self/fd")) - before:
        number = int(name)
        if number not in _kept(a):
            with contextlib.suppress(OSError):
                a.tried("close", lambda number=number: os.close(number))  # type: ignore[misc]


def _kept(a: Attacker) -> set[int]:
    """The descriptors of open connections."""
    return {connection.socket.fileno() for connection in a.connections}


def connections(a: Attacker) -> None:
    """Many connections at once; some of them ask, and do not read what is answered."""
    number = a.chance.choice((20, 100, 300))
    made: list[Connection] = []
    for _ in range(number):
        one = a.connect()
        if one is None:
            break
        made.append(one)
        if not a.chance.randrange(4):
            for _ in range(a.chance.choice((1, 5, 50))):
                with contextlib.suppress(BlockingIOError):
                    one.socket.send(b'{"do": "chp"}', socket.MSG_DONTWAIT)
    time.sleep(a.chance.random() * 0.3)
    for one in made:
        one.close()


def full_table(a: Attacker) -> None:
    """As many connections and eventfds as the server can have, for a moment."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    made: list[socket.socket] = []
    connection = a.connect()
    if connection is None:
        return
    memory = os.memfd_create("table")
    os.truncate(memory, 1200 * _PAGE)
    pipes = [end for _ in range(10) for end in os.pipe()]
    try:
        # A map takes a descriptor for good; each connection one while it is open.
        connection.socket.settimeout(2)
        medium = a.medium("3505", "3215")
        for page in range(a.chance.choice((0, 300, 900, 1000))):
            area = {"iova": page * _PAGE, "size": _PAGE, "offset": page * _PAGE}
            if a.say(connection, {"subchannel": medium.schid, "map": area}, memory) is None:
                break
        a.board.act("connections until no more are accepted")
        for _ in range(a.chance.choice((900, 1000, 1100))):
            # Not by `tried`: that they cannot be served is what this is for.
            one = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            one.setblocking(False)
            made.append(one)
            try:
                one.connect(str(a.mount / "irqfd"))
            except OSError:
                break
        time.sleep(0.1)
        # The table is full, or nearly: what comes with a message finds room for some.
        for one in a.chance.sample(made, min(40, len(made))):
            a.board.act("descriptors for a full table")
            with contextlib.suppress(OSError):
                socket.send_fds(one, [b'{"do": "chp"}'], pipes[: a.chance.choice((1, 2, 20))])
            if not a.chance.randrange(3):
                made.remove(one)
                one.close()
        add = {"do": "add", "device": f"fba@0.0.04f4:{a.seat.media.bases[0].path},readonly"}
        a.say(connection, add)
        a.say(connection, {"subchannel": medium.schid, "irq": 0}, memory)
        time.sleep(0.2)
    finally:
        for fd in (memory, *pipes):
            os.close(fd)
        for one in made:
            one.close()
        connection.close()


ATTACKS = (
    ("messages", 10, message),
    ("messages", 6, garbage),
    ("messages", 2, empty),
    ("irqfds", 5, irqfd),
    ("maps", 8, file_map),
    ("maps", 4, own_map),
    ("maps", 0.3, some_pages),
    ("many-pages", 0.3, many_pages),
    ("descriptors", 5, descriptors),
    ("connections", 0.5, connections),
    ("full-table", 0.2, full_table),
)
"""Part, weight, and what is done."""
