"""Attacks by devices and media: `add`, `remove`, `chp`, media that are not what they should be."""

import os
import select
import time
from pathlib import Path
from typing import Any

from attack.attacker import Attacker
from attack.media import copy_of, mutated
from attack.programs import COMMANDS
from lab import programs
from lab.programs import CC, FORMAT1, SENSE_ID, SLI, START

_TYPES = ("fba", "9336", "3370", "3390", "3420", "3480", "3490", "3505", "3525", "1403", "3215")
_OPTIONS = ("readonly", "delay=1ms", "fault=hang", "cu=2107", "interface=async", "interface=x",
            "chpids=00+ff", "chpids=1+2+3+4+5+6+7+8+9", "length=1MiB", "ascii", "eof", "order=host",
            "csense", "serial=ABC", "sense=zz", "nonsense", "=", "delay=")  # fmt: skip
_CALM = 60.0
"""Seconds in which a program on a mutant must have ended."""


def _answer(a: Attacker, told: dict[str, Any] | None, what: str) -> bool:
    """Whether it was done; a refusal is to be one line."""
    if told is None:
        return False
    error = told.get("error", "")
    if error and ("\n" in error or "Traceback" in error):
        a.seat.bad("a refusal of more than one line", f"{what}: {error!r}")
    return not error


def _strange(a: Attacker) -> str:
    """A subchannel that may be there, or of which others know nothing."""
    return a.chance.choice((
        f"0.0.04{a.chance.randrange(16):02x}", "0.0.0100", "0.0.0400", "3.3.ffff", "0.4.0000", "",
        "0.0", "x", "0.0.10000", "fe.0.1234", "0.0.0" + "0" * 300,
    ))  # fmt: skip


def add(a: Attacker) -> None:
    """Add a device of a whole medium, with options right and wrong."""
    chance = a.chance
    base = chance.choice(a.seat.media.bases)
    kind = chance.choice((base.kind, base.kind, chance.choice(_TYPES)))
    path = a.seat.place / f"added{chance.randrange(3)}"
    if not chance.randrange(2):
        copy_of(base, path, lambda data: data)
    options = "".join(f",{chance.choice(_OPTIONS)}" for _ in range(chance.choice((0, 0, 1, 2))))
    told = a.command(do="add", device=f"{kind}@{_strange(a)}:{path}{options}")
    if _answer(a, told, f"add {kind}"):
        a.board.count("devices added")


def remove(a: Attacker) -> None:
    """Remove a device, with whatever runs on it."""
    _answer(a, a.command(do="remove", subchannel=_strange(a)), "remove")


def paths(a: Attacker) -> None:
    """Take a path away and give it back."""
    chance = a.chance
    chpid = chance.choice(("40", "41", "42", "e0", "e1", "7f", "x", ""))
    word = chance.choice(("off", "vary-off", "fail", "x"))
    _answer(a, a.command(do="chp", chpid=chpid, state=word), "chp")
    if chance.randrange(3):
        time.sleep(chance.random() * 0.02)
    _answer(a, a.command(do="chp", chpid=chpid, state="on"), "chp")


def odd_path(a: Attacker) -> None:
    """A path that no file can have."""
    chance = a.chance
    path = chance.choice((
        "\0", "/tmp/\0x", "\ud800", "/tmp/\udcff\ud800", "x" * 3000, "/" + "y/" * 1500, "..", "",
        "a\nb", ",,,", ":", "@", "/tmp/" + "z" * 256, "\u202e", "/tmp/x,readonly,readonly",
    ))  # fmt: skip
    kind = chance.choice(("fba", "3390", "3490", "3505"))
    told = a.command(do="add", device=f"{kind}@0.0.04f0:{path}")
    if _answer(a, told, f"add of {path!r:.40}"):
        a.command(do="remove", subchannel="0.0.04f0")


def _attach_and_remove(a: Attacker, kind: str, path: Path) -> None:
    told = a.command(do="add", device=f"{kind}@0.0.04f1:{path},readonly")
    if _answer(a, told, f"add of {path}"):
        a.board.count("devices added")
        _use(a, "0.0.04f1", kind, judge=False)
        _answer(a, a.command(do="remove", subchannel="0.0.04f1"), "remove")


def odd_file(a: Attacker) -> None:
    """A directory, a device or a link as a medium, only to read from."""
    chance = a.chance
    loop = a.seat.place / "loop"
    if not loop.is_symlink():
        loop.symlink_to(loop)
    found = ("/", "/dev/null", "/dev/zero", "/dev/full", "/proc/version", "/proc/self/environ",
             loop, a.seat.place, "/sys/kernel/uevent_seqnum")  # fmt: skip
    kind = chance.choice(("fba", "3370", "3390", "3420", "3490", "3505"))
    _attach_and_remove(a, kind, Path(chance.choice(found)))


def fifo(a: Attacker) -> None:
    """A FIFO as a medium: who opens it waits for the other end."""
    path = a.seat.place / "fifo"
    if not path.exists():
        os.mkfifo(path)
    kind = a.chance.choice(("fba", "3390", "3490", "3505", "3525", "1403"))
    told = a.command(do="add", device=f"{kind}@0.0.04f2:{path}")
    if _answer(a, told, "add of a FIFO"):
        a.command(do="remove", subchannel="0.0.04f2")


def own_file(a: Attacker) -> None:
    """A file of the mount as a medium: who opens it waits for himself."""
    name = a.chance.choice(("io_region", "device", "io_irq", "trace", "state", "memory"))
    kind = a.chance.choice(("fba", "3390", "3490", "3505", "3525"))
    path = a.directory() / name if a.chance.randrange(4) else a.mount
    told = a.command(do="add", device=f"{kind}@0.0.04f3:{path}")
    if _answer(a, told, f"add of {name} of the mount"):
        a.command(do="remove", subchannel="0.0.04f3")


def mutant(a: Attacker) -> None:
    """A medium of which some bytes were changed: it is refused, or its programs end."""
    chance = a.chance
    schid = f"0.0.08{a.seat.number:02x}"
    base = chance.choice(a.seat.media.bases)
    path = a.seat.place / f"mutant{chance.randrange(4)}{base.path.suffix}"
    a.command(do="remove", subchannel=schid)
    path.unlink(missing_ok=True)
    copy_of(base, path, lambda data: mutated(data, chance))
    a.board.count("media mutated")
    kind = "3480" if base.kind == "3490" and chance.randrange(2) else base.kind
    interface = chance.choice(("full", "async", "scsw", "start-only"))
    device = f"{kind}@{schid}:{path},chpids=d0,interface={interface}"
    if not _answer(a, a.command(do="add", device=device), f"add of a mutant of {base.path.name}"):
        a.board.count("media refused")
        return
    a.board.count("media attached")
    _use(a, schid, kind, judge=True)
    _answer(a, a.command(do="remove", subchannel=schid), "remove")


def _use(a: Attacker, schid: str, kind: str, *, judge: bool) -> None:
    """Some programs, each of which has to end with an IRB."""
    chance = a.chance
    directory = a.mount / schid
    parameters = 0x700000 + a.seat.number * 0x1000
    data = 0x780000 + a.seat.number * 0x4000
    cpa = parameters + 0x800
    for _ in range(chance.choice((1, 3, 6))):
        place = (chance.randrange(2), chance.randrange(15))
        if kind == "fba":
            located = programs.locate(chance.choice((1, 6)), 8, chance.randrange(100))
            a.store(parameters, programs.extent(128) + located)
            ccws = [*programs.located(parameters), (chance.choice((0x41, 0x42)), SLI, 4096, data)]
        elif kind == "3390":
            write = bool(chance.randrange(2))
            track = programs.track_extent(place, 4096, write=write)
            record, count = chance.randrange(1, 13), chance.randrange(1, 4)
            located = programs.track_locate(place, record, count, 4096, write=write)
            a.store(parameters, track + located)
            code = 0x85 if write else 0x06
            ccws = [(0x63, CC, 16, parameters), (0x47, CC, 16, parameters + 16)]
            ccws += [(code, SLI | CC, 4096, data)] * (count - 1) + [(code, SLI, 4096, data)]
        elif kind in COMMANDS:
            codes = [chance.choice(COMMANDS[kind]) for _ in range(chance.choice((1, 4)))]
            ccws = [(code, SLI | CC, 80, data) for code in codes] + [(SENSE_ID, SLI, 7, data)]
        else:
            codes = [chance.choice((2, 7, 0x37, 0x27, 0x0C, 0x1F, 1)) for _ in range(4)]
            ccws = [(code, SLI | CC, 4096, data) for code in codes] + [(SENSE_ID, SLI, 7, data)]
        a.store(cpa, programs.ccws(*ccws))
        _ends(a, directory, kind, cpa, judge=judge)


def _ends(a: Attacker, directory: Path, kind: str, cpa: int, *, judge: bool) -> None:
    """Start what lies at *cpa*: an IRB must come, as nobody else uses the subchannel."""
    io = a.file(directory / "io_region")
    irq = a.file(directory / "io_irq", os.O_RDONLY | os.O_NONBLOCK)
    try:
        if io < 0 or irq < 0:
            return
        a.tried("reset a mutant", lambda: (directory / "reset").write_text("1"))
        a.tried("take what is left", lambda: os.read(irq, 8))
        orb = programs.orb(cpa, FORMAT1)
        request = programs.request(START, orb)
        if not a.tried("start on a mutant", lambda: os.pwrite(io, request, 0)):
            a.board.count("programs refused")
            return
        a.board.count("programs started")
        poll = select.poll()
        poll.register(irq, select.POLLIN)
        seconds = _CALM if judge else 0.2
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if a.tried("wait for a mutant's IRB", lambda: poll.poll(200)):
                a.tried("its IRB", lambda: os.pread(io, 96, 24))
                a.board.count("IRBs")
                return
            if not (directory / "io_irq").exists():
                return  # somebody has removed it
        if judge:
            state = a.tried("state", lambda: (directory / "state").read_text()) or ""
            a.seat.bad(
                "a program on a mutant does not end",
                f"{kind}, {seconds:g} s; " + "; ".join(state.splitlines()[:12]),
            )
    finally:
        for path, flags in ((directory / "io_region", os.O_RDWR),
                            (directory / "io_irq", os.O_RDONLY | os.O_NONBLOCK)):  # fmt: skip
            a.drop(path, flags)


ATTACKS = (
    ("devices", 5, add),
    ("devices", 5, remove),
    ("devices", 2, paths),
    ("odd-paths", 2, odd_path),
    ("odd-files", 2, odd_file),
    ("fifos", 1, fifo),
    ("own-files", 1, own_file),
    ("mutants", 6, mutant),
)
"""Part, weight, and what is done."""
