"""What many cost: 10,000 and 65,000 subchannels on one mount, and eight busy guests on one.

A request to one of many is compared with a request to the only subchannel of another mount; both
are mounted all the time and take turns. The guests read disks of their own at random, all for as
long; none shall get less than half of what each would have if all had the same.
"""

import re
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median

from benchmarks import fio, servers
from benchmarks.report import Report
from benchmarks.servers import BenchError, Options
from lab.mounts import SCHID
from lab.processes import memory_of
from vfioccw_fuse.guest import GuestError
from vfioccw_fuse.guest.machine import Options as GuestOptions
from vfioccw_fuse.guest.machine import booted

AS_FAST = 1 / 1.1
IMAGE, DISK = 512 * 64, 16 << 20
GUESTS, SECONDS = 8, 20
SHARE = 0.5
IN_MEMORY = Path("/dev/shm")  # no disk shall be measured


def _disk(schid: str, image: Path, size: int) -> tuple[str, str]:
    """The words of `vfioccw mount` for an FBA disk of *size* bytes, whose *image* is made."""
    with image.open("wb") as file:
        file.truncate(size)
    return "--device", f"fba@{schid}:{image}"


@dataclass(frozen=True)
class Most:
    """What a mount of so many may cost."""

    count: int
    """Subchannels."""
    mount: float
    """Seconds until it is usable."""
    listed: float
    """Seconds of `vfioccw ls`."""
    memory: float
    """MiB of resident memory."""


DISKS = Most(10_000, mount=6, listed=4, memory=150)
"""Each with an image of its own."""
TAPES = Most(65_000, mount=40, listed=10, memory=650)
"""Nearly all a channel subsystem can have: one disk, and tapes without a medium."""


def _disks(place: Path) -> list[str]:
    """The words of `vfioccw mount` for so many disks, whose images are made in *place*."""
    schids = [f"0.0.{number:04x}" for number in range(DISKS.count)]
    return [word for schid in schids for word in _disk(schid, place / schid, IMAGE)]


def _tapes(place: Path) -> list[str]:
    """The words of `vfioccw mount` for a disk and tapes, by a file in *place*."""
    schids = [f"0.0.{number:04x}" for number in range(TAPES.count)]
    schids.remove(SCHID)
    config = place / "tapes.toml"
    form = '[[device]]\ntype = "3480"\nsubchannel = "{}"\nimage = "-"\n'
    config.write_text("".join(map(form.format, schids)))
    return ["--config", str(config), *_disk(SCHID, place / SCHID, IMAGE)]


def _many(
    report: Report, options: Options, devices: Callable[[Path], list[str]], most: Most
) -> None:
    with servers.directory(IN_MEMORY) as place, ExitStack() as stack:
        (media := place / "media").mkdir()
        words = devices(media)
        began = time.monotonic()
        many = stack.enter_context(servers.mounted(place / "many", *words))
        report.figure(f"mount of {most.count:,}", time.monotonic() - began, "s", most.mount)
        report.figure("resident memory", memory_of(many.pid), "MiB", most.memory)
        began = time.monotonic()
        with servers.on_cores(servers.cores()):  # the server stays on its one
            listed = servers.vfioccw("ls", str(many.mount))
        report.figure("vfioccw ls", time.monotonic() - began, "s", most.listed)
        if len(set(re.findall(r"\b0\.0\.[0-9a-f]{4}\b", listed))) < most.count:
            raise BenchError(f"vfioccw ls does not show all {most.count:,}")
        report.figure("resident memory then", memory_of(many.pid), "MiB", most.memory)
        one = stack.enter_context(
            servers.mounted(place / "one", *_disk(SCHID, place / "one.img", IMAGE))
        )
        times: dict[Path, list[float]] = {one.mount: [], many.mount: []}
        for turn in range(options.rounds):
            for server in (one, many) if turn % 2 == 0 else (many, one):
                times[server.mount].append(servers.drive(server, "eventfd", options.count)["round"])
        report.columns("one", "many")
        alone, among = (median(figures) for figures in times.values())
        report.row("round trip by eventfd", alone, among, AS_FAST)


def _guests(report: Report) -> None:
    with servers.directory(IN_MEMORY) as place, ExitStack() as stack:
        schids = [f"0.0.{number:04x}" for number in range(GUESTS)]
        words = [word for schid in schids for word in _disk(schid, place / schid, DISK)]
        server = stack.enter_context(servers.mounted(place / "ours", *words))
        guests = []
        for schid in schids:
            device = f"{server.mount}/{schid}"
            guest = stack.enter_context(
                booted(GuestOptions(devices=[device], memory="384M", tools=True))
            )
            guests.append((guest, guest.check(f"online {schid}")))
        for guest, disk in guests:
            fio.start(guest, disk, "randread", 1, SECONDS)
        figures = [fio.result(guest, disk, SECONDS) for guest, disk in guests]
    share = mean(figures)
    report.note(f"{'each guest':<34}{' '.join(f'{figure:.0f}' for figure in figures)} IOPS")
    report.at_least("least, of an equal share", min(figures) / share, "", SHARE)


def run(report: Report, options: Options) -> None:
    """Measure and report mounts, lists and requests of many, and what busy guests get."""
    for devices, most in ((_disks, DISKS), (_tapes, TAPES)):
        report.heading(f"scale: {most.count:,} subchannels on one mount")
        _many(report, options, devices, most)
    report.heading(f"scale: {GUESTS} guests on one mount, random reads of 4 KiB")
    try:
        with servers.on_cores(servers.cores()):
            _guests(report)
    except GuestError as error:
        raise BenchError(str(error)) from None
