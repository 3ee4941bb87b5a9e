"""A 3390 with and without aliases (HyperPAV), each start of which takes 1 ms.

One s390x Linux has the base and four aliases. fio moves blocks of 4 KiB, eight requests at a time,
on the base with its aliases offline and online in turn: what Linux queues on a base alone it then
starts on five subchannels, whose delays overlap.
"""

from collections import defaultdict
from pathlib import Path
from statistics import median

from benchmarks import fio, servers
from benchmarks.report import Report
from benchmarks.servers import BenchError, Options
from vfioccw_fuse.guest import GuestError
from vfioccw_fuse.guest.machine import Guest, booted
from vfioccw_fuse.guest.machine import Options as GuestOptions

BASE = "0.0.0313"
ALIASES = tuple(f"0.0.03f{number}" for number in range(4))
CYLINDERS = 50
RATIO = 2.0


def with_aliases(volume: Path, more: str = "") -> list[str]:
    """What `--device` takes for the base on *volume* and its aliases, each with *more* options."""
    return [
        f"3390@{BASE}:{volume},cu=2107,pav=base{more}",
        *(f"3390@{schid}:-,alias-of={BASE}{more}" for schid in ALIASES),
    ]


def switch(guest: Guest, online: int) -> None:
    """Set the aliases online (1) or offline (0)."""
    for schid in ALIASES:
        guest.check(f"echo {online} >/sys/bus/ccw/devices/{schid}/online")


def run(report: Report, options: Options) -> None:
    """Measure and report requests a second of a base alone, and of a base with four aliases."""
    report.heading(
        f"pav: 4 KiB blocks, 8 at a time, each start 1 ms, medians of {options.rounds} rounds"
    )
    try:
        with servers.on_cores(servers.cores()):
            found = _measured(options)
    except GuestError as error:
        raise BenchError(str(error)) from None
    for mix in fio.MIXES:
        alone, served = median(found[mix, 0]), median(found[mix, 1])
        report.note(f"{mix + ', base alone':<34}{alone:>7.0f} IOPS")
        report.note(f"{mix + ', with 4 aliases':<34}{served:>7.0f} IOPS")
        report.at_least(f"{mix}, of the base alone", served / alone, "", RATIO)


def _measured(options: Options) -> dict[tuple[str, int], list[float]]:
    """Requests a second of all rounds, by what fio does, and 1 if with aliases."""
    found: dict[tuple[str, int], list[float]] = defaultdict(list)
    with servers.directory(Path("/dev/shm")) as place:  # no disk shall be measured
        volume = place / "vol.ckd"
        servers.vfioccw("image", "create", "3390", str(volume), "--cylinders", str(CYLINDERS))
        devices = with_aliases(volume, ",delay=1ms")
        words = [word for device in devices for word in ("--device", device)]
        with servers.mounted(place / "ours", *words) as server:
            wanted = GuestOptions(
                devices=[f"{server.mount}/{schid}" for schid in (BASE, *ALIASES)],
                memory="512M",
                tools=True,
            )
            with booted(wanted) as guest:
                name = guest.check(f"online {BASE}")
                for _ in range(options.rounds):
                    for online in (1, 0):
                        switch(guest, online)
                        for mix in fio.MIXES:
                            found[mix, online].append(fio.iops(guest, f"{name}1", mix, 8))
    return found
