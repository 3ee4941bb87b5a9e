"""Attacks through the files of the mount: regions, `control`, irq files, and names."""

import fcntl
import mmap
import os
import select
import struct
from collections.abc import Callable
from pathlib import Path

from attack.attacker import MEMORY, Attacker
from lab import programs
from lab.programs import BITS, FORMAT1, IO_REGION

REGIONS = (
    "io_region", "cmd_region", "schib_region", "crw_region", "status_region", "program_region",
    "measurement_region", "device", "device_info", "region_info", "irq_info",
)  # fmt: skip
NAMES = (*REGIONS, "io_irq", "crw_irq", "req_irq", "memory", "reset", "control", "state", "trace")
_MODES = (os.O_RDWR, os.O_RDONLY, os.O_WRONLY)
_VALUES = ("0s", "1ms", "3s", "on", "off", "none", "hang", "unit-check", "busy", "processing",
           "lost-interruption", "not-operational", "big", "host", "0x1000", "80", "40", "1", "2",
           "-1", "", "3 days", "1e9s", "0x", "ff" * 33, "unplug", "inf", "nan", "٣s")  # fmt: skip
_WORDS = ("delay", "fault", "sense", "count", "for", "csense", "order", "address-limit",
          "unsolicited", "request", "help", "interface", "chpids", "readonly", "x")  # fmt: skip
MILD = ("fault=unit-check,count=1", "fault=busy,count=1", "fault=lost-interruption,count=1",
        "fault=hang,count=1", "fault=processing,for=20ms,count=1", "delay=1ms", "delay=0s",
        "fault=not-operational,count=1", "unsolicited=80", "fault=none", "csense=on",
        "csense=off")  # fmt: skip
"""What may be done to those whose writes are checked."""


def _offset(a: Attacker) -> int:
    chance = a.chance
    edges = (0, 1, 12, 24, 96, 120, 123, 124, 127, 128, 1007, 1008, 1024)
    return chance.choice((
        chance.choice(edges), chance.randrange(200), chance.randrange(8) << 10,
        (chance.randrange(8) << 10) + chance.choice(edges), chance.randrange(1 << 20),
        (1 << 63) - 1 - chance.randrange(2000), 1 << chance.randrange(63),
    ))  # fmt: skip


def _size(a: Attacker) -> int:
    return a.chance.choice((1, 4, 8, 12, 24, 52, 96, 124, 1008, a.chance.randrange(300), 4096,
                            65536, 1 << 20))  # fmt: skip


def _content(a: Attacker, size: int) -> bytes:
    """Random bytes, or a request, a command or a program of which a few bits are changed."""
    chance = a.chance
    cpa = chance.randrange(0, MEMORY, 8)
    data = bytearray(
        chance.choice(
            (
                chance.randbytes(size),
                programs.request(
                    chance.choice((0x4000, 0x2000, 0x1000, 0x7000, 0)),
                    programs.orb(cpa, FORMAT1),
                    IO_REGION,
                ),
                programs.command(chance.choice(list(BITS.values())), 8),
                programs.ccws(*(a.random_ccw() for _ in range(1 + size // 16 % 60))),
            )
        )
    )
    for _ in range(chance.choice((0, 0, 1, 3))):
        if data:
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(data)


def read_region(a: Attacker) -> None:
    """Read anything anywhere; an irq file would be waited in."""
    path = a.directory() / a.chance.choice(REGIONS)
    fd = a.file(path, a.chance.choice(_MODES[:2]))
    size, at = _size(a), _offset(a)
    if fd >= 0:
        a.tried(f"read {path.name} {size} at {at}", lambda: os.pread(fd, size, at))
        a.board.count("reads")


def write_region(a: Attacker) -> None:
    """Write anything anywhere."""
    path = a.directory() / a.chance.choice(REGIONS)
    fd = a.file(path, a.chance.choice((os.O_RDWR, os.O_WRONLY)))
    data = _content(a, _size(a))
    at = a.chance.choice((0, 0, _offset(a)))
    if fd >= 0:
        a.tried(
            f"write {path.parent.name}/{path.name} {len(data)} at {at}: {data[:20].hex()}",
            lambda: os.pwrite(fd, data, at),
        )
        a.board.count("writes")


def modify(a: Attacker) -> None:
    """MSCH with some bits changed."""
    fd = a.file(a.directory() / "schib_region")
    if fd < 0:
        return
    schib = bytearray(a.tried("STSCH", lambda: os.pread(fd, 52, 0)) or bytes(52))
    for _ in range(a.chance.randrange(4)):
        schib[a.chance.randrange(28)] ^= 1 << a.chance.randrange(8)
    a.tried(f"MSCH {schib.hex()}", lambda: os.pwrite(fd, bytes(schib), 0))
    a.board.count("writes")


def command(a: Attacker) -> None:
    """One of the commands of the cmd region, or several."""
    directory = a.directory()
    fd = a.file(directory / "cmd_region")
    bits = a.chance.choice((*BITS.values(), 0, 3, 1 << a.chance.randrange(32)))
    if fd >= 0:
        a.tried(f"{directory.name} command {bits:#x}",
                lambda: os.pwrite(fd, programs.command(bits), 0))  # fmt: skip
        a.board.count("writes")


def _write_once(a: Attacker, path: Path, data: bytes) -> None:
    """Open, write by one call, close."""

    def write() -> int:
        fd = os.open(path, os.O_WRONLY)
        try:
            return os.write(fd, data)
        finally:
            os.close(fd)

    a.tried(f"{path.parent.name}/{path.name} < {data[:60]!r}", write)
    a.board.count("writes")


def control(a: Attacker) -> None:
    """Words of `control`: those that there are, with values that there are, or not."""
    chance = a.chance
    words = ",".join(
        chance.choice((f"{chance.choice(_WORDS)}={chance.choice(_VALUES)}", chance.choice(_WORDS)))
        for _ in range(chance.choice((1, 1, 2, 5)))
    )
    data = bytearray(words.encode())
    match chance.randrange(8):
        case 0:
            data = bytearray(chance.randbytes(chance.choice((1, 40, 4096, 100000))))
        case 1 if data:
            data[chance.randrange(len(data))] = chance.choice((0, 10, 32, 61, 44, 0xC3, 0xFF))
        case 2:
            data = bytearray(chance.choice(MILD).encode())
    _write_once(a, a.directory() / "control", bytes(data))


def calm(a: Attacker) -> None:
    """Switch off what others have switched on, so that programs run again."""
    _write_once(a, a.directory() / "control", b"fault=none,delay=0s,order=big")


def long_number(a: Attacker) -> None:
    """A number that Python will not make of its digits."""
    digits = a.chance.choice(("9", "1", "0")) * a.chance.choice((4301, 5000, 60000))
    words = ("delay={}s", "count={}", "for={}ms", "address-limit={}", "address-limit=0x{}",
             "fault=hang,count={}", "delay=0.{}s")  # fmt: skip
    word = a.chance.choice(words)
    _write_once(a, a.directory() / "control", word.format(digits).encode())


def reset(a: Attacker) -> None:
    """VFIO_DEVICE_RESET, or what is none."""
    _write_once(a, a.directory() / "reset", a.chance.choice((b"1", b"1\n", b"0", b"x", b"11")))


def last_close(a: Attacker) -> None:
    """Open `device` and close it, which resets."""
    path = a.directory() / "device"
    a.tried(f"open and close {path.parent.name}/device", lambda: os.close(os.open(path, os.O_RDWR)))


def text(a: Attacker) -> None:
    """Read `state`, `control` or what `trace` has now."""
    name = a.chance.choice(("state", "control", "trace"))
    fd = a.file(a.directory() / name, os.O_RDONLY | (os.O_NONBLOCK if name == "trace" else 0))
    if fd >= 0:
        at = a.chance.choice((0, 0, 100, _offset(a)))
        a.tried(f"read {name}", lambda: os.pread(fd, a.chance.choice((1, 4096, 1 << 17)), at))
        a.board.count("reads")


def system_call(a: Attacker) -> None:
    """Whatever else can be asked of a file of the mount, or of a name in it."""
    chance = a.chance
    path = a.directory() / chance.choice(NAMES)
    if chance.randrange(4) == 0:
        path = chance.choice((a.mount, a.directory(), a.mount / "irqfd", path / "x",
                              a.mount / ("n" * chance.choice((5, 255, 256)))))  # fmt: skip
    other = a.mount / "other"
    by_name: tuple[tuple[str, Callable[[], object]], ...] = (
        ("stat", lambda: os.stat(path)),
        ("list", lambda: os.listdir(path)),
        ("statvfs", lambda: os.statvfs(path)),
        ("truncate", lambda: os.truncate(path, chance.choice((0, 5, 1 << 40)))
            if path.name != "memory" else None),
        ("mkdir", lambda: os.mkdir(other)),
        ("rmdir", lambda: os.rmdir(path)),
        ("unlink", lambda: os.unlink(path)),
        ("rename", lambda: os.rename(path, other)),
        ("link", lambda: os.link(path, other)),
        ("symlink", lambda: os.symlink("/", other)),
        ("mknod", lambda: os.mknod(other, 0o600)),
        ("chmod", lambda: os.chmod(path, 0o600) if path.name != "memory" else None),
        ("chown", lambda: os.chown(path, 0, 0)),
        ("utime", lambda: os.utime(path)),
        ("setxattr", lambda: os.setxattr(path, b"user.x", b"y" * chance.choice((1, 60000)))),
        ("getxattr", lambda: os.getxattr(path, b"security.capability")),
        ("listxattr", lambda: os.listxattr(path)),
        ("create", lambda: os.close(os.open(other, os.O_CREAT | os.O_RDWR))),
        ("readlink", lambda: os.readlink(path)),
        ("access", lambda: os.access(path, os.W_OK)),
        ("open", lambda: os.close(os.open(path, chance.choice((
            os.O_RDWR | os.O_DIRECT, os.O_WRONLY | os.O_APPEND, os.O_RDONLY | os.O_DIRECTORY,
            os.O_PATH, os.O_WRONLY | os.O_TRUNC if path.name != "memory" else os.O_RDONLY))))),
    )  # fmt: skip
    name, call = chance.choice(by_name)
    a.tried(f"{name} {path.name[:40]}", call)


def call_of_descriptor(a: Attacker) -> None:
    """Whatever else can be asked of an open file."""
    chance = a.chance
    name = chance.choice([one for one in NAMES if one != "memory"])
    fd = a.file(a.directory() / name, chance.choice((*_MODES, os.O_RDWR | os.O_NONBLOCK)))
    if fd < 0:
        return
    calls: tuple[tuple[str, Callable[[], object]], ...] = (
        ("fstat", lambda: os.fstat(fd)),
        ("ftruncate", lambda: os.ftruncate(fd, chance.choice((0, 4096)))),
        ("fallocate", lambda: os.posix_fallocate(fd, 0, 4096)),
        ("fsync", lambda: os.fsync(fd)),
        ("fdatasync", lambda: os.fdatasync(fd)),
        ("seek", lambda: os.lseek(fd, _offset(a), chance.choice((0, 1, 2, 3, 4)))),
        ("mmap", lambda: mmap.mmap(fd, 4096, chance.choice((mmap.MAP_SHARED, mmap.MAP_PRIVATE)))),
        ("flock", lambda: fcntl.flock(fd, chance.choice((fcntl.LOCK_EX, fcntl.LOCK_UN))
                                      | fcntl.LOCK_NB)),
        ("lockf", lambda: fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)),
        ("ioctl", lambda: fcntl.ioctl(fd, chance.choice((0x541B, 0x5401, 0x3B6E, 0xC0104800)),
                                      bytes(64))),
        ("dup", lambda: os.close(os.dup(fd))),
        ("poll", lambda: select.select([fd], [fd], [fd], 0.01)),
        ("preadv", lambda: os.preadv(fd, [bytearray(7)] * 20, _offset(a))
            if name not in ("io_irq", "crw_irq", "req_irq", "trace") else None),
        ("pwritev", lambda: os.pwritev(fd, [b"1" * 8] * chance.choice((1, 5)), 0)),
        ("sendfile", lambda: os.sendfile(fd, fd, 0, 8)
            if "irq" not in name and name != "trace" else None),
        ("advise", lambda: os.posix_fadvise(fd, 0, 4096, os.POSIX_FADV_WILLNEED)),
    )  # fmt: skip
    what, call = chance.choice(calls)
    a.tried(f"{what} of {name}", call)


def blocked(a: Attacker) -> None:
    """A child that waits in a read, killed at a random moment or left."""
    path = a.directory() / a.chance.choice(("io_irq", "io_irq", "crw_irq", "req_irq", "trace"))
    seconds = a.chance.choice((-1.0, 0.0, 0.001, a.chance.random() * 0.3))

    def wait() -> None:
        fd = os.open(path, os.O_RDONLY)
        while True:
            os.read(fd, 4096)

    a.child(f"wait in {path.parent.name}/{path.name}", wait, seconds)


def end_waiting(a: Attacker) -> None:
    """Kill all children that wait."""
    a.end_children()


def irq_file(a: Attacker) -> None:
    """Signal, take, poll; also what is no counter."""
    path = a.directory() / a.chance.choice(("io_irq", "crw_irq", "req_irq"))
    fd = a.file(path, os.O_RDWR | os.O_NONBLOCK)
    if fd < 0:
        return
    match a.chance.randrange(4):
        case 0:
            value = a.chance.choice((0, 1, 1 << 63, (1 << 64) - 2, (1 << 64) - 1))
            data = struct.pack("=Q", value)[: a.chance.choice((8, 8, 4))]
            a.tried(f"write {path.name} {value}", lambda: os.write(fd, data))
            a.board.count("writes")
        case 1:
            a.tried(f"read {path.name}", lambda: os.read(fd, a.chance.choice((1, 8, 9, 4096))))
            a.board.count("reads")
        case 2:
            poll = select.poll()
            poll.register(fd, a.chance.choice((select.POLLIN, select.POLLOUT, 0xFFF)))
            a.tried(f"poll {path.name}", lambda: poll.poll(a.chance.choice((0, 1, 40))))
        case _:
            epoll = select.epoll()
            epoll.register(fd, select.EPOLLIN | a.chance.choice((0, select.EPOLLET)))
            a.tried(f"epoll {path.name}", lambda: epoll.poll(a.chance.choice((0.0, 0.03))))
            epoll.close()


def harass(a: Attacker) -> None:
    """Do to a subchannel whose writes are checked what its writer must bear."""
    directory = a.directory(a.chance.choice(a.seat.media.checked))
    match a.chance.randrange(8):
        case 0:
            _write_once(a, directory / "reset", b"1")
        case 1:
            fd = a.file(directory / "io_region")
            if fd >= 0:
                a.tried(f"steal an IRB of {directory.name}", lambda: os.pread(fd, 124, 0))
        case 2:
            fd = a.file(directory / "cmd_region")
            bits = a.chance.choice((BITS["hsch"], BITS["csch"], BITS["xsch"], BITS["rsch"]))
            if fd >= 0:
                a.tried(f"{directory.name} command {bits}",
                        lambda: os.pwrite(fd, programs.command(bits), 0))  # fmt: skip
        case 3:
            a.tried("last close", lambda: os.close(os.open(directory / "device", os.O_RDWR)))
        case 4 | 5:
            _write_once(a, directory / "control", a.chance.choice(MILD).encode())
        case _:
            a.tried("state", lambda: (directory / "state").read_bytes())
            a.board.count("reads")


ATTACKS = (
    ("regions", 30, read_region),
    ("regions", 30, write_region),
    ("regions", 5, modify),
    ("regions", 15, command),
    ("control", 10, control),
    ("control", 8, calm),
    ("long-numbers", 1, long_number),
    ("files", 3, reset),
    ("files", 3, last_close),
    ("files", 10, text),
    ("files", 10, system_call),
    ("files", 10, call_of_descriptor),
    ("irqs", 3, blocked),
    ("irqs", 1, end_waiting),
    ("irqs", 10, irq_file),
    ("harass", 12, harass),
)
"""Part, weight, and what is done."""
