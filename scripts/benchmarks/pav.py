"""A 3390 with and without aliases (HyperPAV), each start of which takes 1 ms.

One s390x Linux has the base and four aliases. fio moves blocks of 4 KiB, eight requests at a time,
on the base with its aliases offline and online in turn: what Linux queues on a base alone it then
starts on five subchannels, whose delays overlap.
"""

import json
from collections import defaultdict
from pathlib import Path
from statistics import median

from benchmarks import servers
from benchmarks.report import Report
from benchmarks.servers import BenchError, Options
from vfioccw_fuse.guest import GuestError
from vfioccw_fuse.guest.machine import Guest, booted
from vfioccw_fuse.guest.machine import Options as GuestOptions

BASE = "0.0.0313"
ALIASES = tuple(f"0.0.03f{number}" for number in range(4))
CYLINDERS = 50
SECONDS = 5
RATIO = 2.0


def _iops(guest: Guest, name: str, mix: str) -> float:
    """Let fio work for `SECONDS`: its requests a second."""
    shown = guest.check(
        "fio --thread --eta=never --output-format=json --gtod_reduce=1 --name=load "
        f"--filename=/dev/{name}1 --direct=1 --ioengine=libaio --iodepth=8 --bs=4k "
        f"--rw={mix} --norandommap --time_based --runtime={SECONDS}",
        60 + 10 * SECONDS,
    )
    [job] = json.loads(shown[shown.index("{") :])["jobs"]
    if job["error"]:
        raise BenchError(f"fio had an error on {name}: {shown}")
    return float(job["read"]["iops"] + job["write"]["iops"])


def _switch(guest: Guest, online: int) -> None:
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
    for mix in ("randread", "randwrite"):
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
        devices = [f"3390@{BASE}:{volume},cu=2107,pav=base,delay=1ms"]
        devices += [f"3390@{schid}:-,alias-of={BASE},delay=1ms" for schid in ALIASES]
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
                        _switch(guest, online)
                        for mix in ("randread", "randwrite"):
                            found[mix, online].append(_iops(guest, name, mix))
    return found
