"""What an idle mount costs: memory, wake-ups, time to be ready; the same with 1,000 subchannels."""

import os
import re
import time
from pathlib import Path
from statistics import median

from benchmarks import servers
from benchmarks.report import Report
from benchmarks.servers import BenchError, Options
from lab.processes import memory_of, switches_of

IDLE_S = 10
SETTLE_S = 2
MANY = 1000
RUNS = 5


def _image(path: Path) -> str:
    path.touch()
    os.truncate(path, 512 * 64)
    return str(path)


def _ready_s(place: Path) -> float:
    """How long ``vfioccw mount`` takes to return; it does so when the mount can be used."""
    mount = place / "ready"
    mount.mkdir(exist_ok=True)
    image = _image(place / "ready.img")
    began = time.monotonic()
    servers.vfioccw("mount", str(mount), "--device", f"fba@0.0.0313:{image}")
    took = time.monotonic() - began
    usable = (mount / "0.0.0313" / "io_region").exists()
    servers.vfioccw("umount", str(mount))
    if not usable:
        raise BenchError("vfioccw mount returned before the mount could be used")
    return took


def _idle(report: Report, place: Path) -> None:
    arguments = ("--device", f"fba@0.0.0313:{_image(place / 'idle.img')}")
    with servers.mounted(place / "idle", *arguments) as server:
        time.sleep(SETTLE_S)
        before = switches_of(server.pid)
        time.sleep(IDLE_S)
        report.figure(
            f"wake-ups in {IDLE_S} s, idle", switches_of(server.pid) - before, "", 0, digits=0
        )
        report.figure("resident memory, idle", memory_of(server.pid), "MiB", 60)


def _many(report: Report, place: Path) -> None:
    images = place / "images"
    images.mkdir()
    arguments: list[str] = []
    for number in range(MANY):
        schid = f"0.0.{number:04x}"
        arguments += ["--device", f"fba@{schid}:{_image(images / schid)}"]
    with servers.mounted(place / "many", *arguments) as server:
        times = []
        for _ in range(RUNS):
            began = time.monotonic()
            listed = servers.vfioccw("ls", str(server.mount))
            times.append(time.monotonic() - began)
            found = len(set(re.findall(r"\b0\.0\.[0-9a-f]{4}\b", listed)))
            if found < MANY:
                raise BenchError(f"vfioccw ls shows {found} of {MANY} subchannels")
        report.figure(f"vfioccw ls, {MANY} subchannels", median(times), "s", 1, digits=2)
        report.figure(f"resident memory, {MANY}", memory_of(server.pid), "MiB", 150)


def run(report: Report, options: Options) -> None:
    """Measure and report them; *options* do not matter."""
    del options
    report.heading("size")
    with servers.directory() as place:
        ready = median(_ready_s(place) for _ in range(RUNS))
        report.figure("vfioccw mount, until ready", ready, "s", 1, digits=2)
        _idle(report, place)
        _many(report, place)
