"""A Linux guest that uses our disks, beside the same guest using virtio.

One guest has three disks: FBA and, on the same image, virtio-blk-ccw, and an ECKD disk whose
control unit has track data commands, as large. Each is read whole through the page cache, with
nothing cached, in turn. Then fio reads and writes blocks of 4 KiB at random on disks of their own,
one and eight at a time; eight at a time on the ECKD disk with aliases, too.

And the start's pwrite, during which a whole QEMU stands still, beside the C null device: client and
server on two cores, as QEMU and the mount are when there are two. (On one core the time of what the
server does after its answer is in it, too.)
"""

import random
import re
from collections import defaultdict
from pathlib import Path
from statistics import median

from benchmarks import fio, pav, servers
from benchmarks.report import Report
from benchmarks.servers import BenchError, Options
from vfioccw_fuse.guest import GuestError
from vfioccw_fuse.guest.machine import Guest, booted
from vfioccw_fuse.guest.machine import Options as GuestOptions

SIZE = 32 << 20
CYLINDER = 15 * 12 * 4096  # bytes of data, formatted in blocks of 4 KiB
FBA, ECKD, FBA_ALONE = "0.0.0313", "0.0.0314", "0.0.0315"
PASSES = 4  # of a disk, in one measurement
FBA_SHARE, ECKD_SHARE = 0.25, 0.6
RANDOM_SHARE = 0.4
"""Two thirds of the time of such a request are the guest's own: 0.8 is what there is to be had."""
PWRITE_RATIO = 1 / 1.5


def _read(guest: Guest, name: str) -> float:
    """Read a disk whole, *PASSES* times; MiB a second by the guest's clock."""
    shown = guest.check(
        f"time sh -c 'for pass in $(seq {PASSES}); do echo 3 > /proc/sys/vm/drop_caches; "
        f"dd if=/dev/{name} of=/dev/null bs=1M count={SIZE >> 20} 2>/dev/null; done'",
        300,
    )
    found = re.search(r"real\s+(\d+)m\s*([\d.]+)s", shown)
    if found is None:
        raise BenchError(f"the guest did not say how long it read: {shown!r}")
    return PASSES * (SIZE >> 20) / (60 * int(found[1]) + float(found[2]))


def _disks(report: Report, options: Options) -> None:
    with servers.directory() as place:
        image = place / "disk.img"
        # The first pages stay empty: no kernel shall take them for a label.
        image.write_bytes(bytes(4096) + random.Random(32).randbytes(SIZE - 4096))
        volume = place / "vol.ckd"
        cylinders = -(-SIZE // CYLINDER)
        servers.vfioccw("image", "create", "3390", str(volume), "--cylinders", str(cylinders))
        devices = [f"fba@{FBA}:{image},readonly", f"3390@{ECKD}:{volume},cu=2107"]
        words = [word for device in devices for word in ("--device", device)]
        with servers.mounted(place / "ours", *words) as server:
            wanted = GuestOptions(
                devices=[f"{server.mount}/{FBA},devno=fe.0.1000", f"{server.mount}/{ECKD}"],
                qemu=(
                    *("-drive", f"file={image},if=none,id=same,format=raw,readonly=on"),
                    *("-device", "virtio-blk-ccw,drive=same"),
                ),
            )
            with booted(wanted) as guest:
                fba = guest.check("online 0.0.1000")
                eckd = guest.check(f"online {ECKD}")
                same = guest.check(f"md5sum < /dev/vda; md5sum < /dev/{fba}").split()
                if same[0] != same[2]:
                    raise BenchError("the disks do not read the same")
                speeds: dict[str, list[float]] = defaultdict(list)
                for _ in range(options.rounds):
                    for name in ("vda", fba, eckd):
                        speeds[name].append(_read(guest, name))
    virtio = median(speeds["vda"])
    report.note(f"{'virtio-blk-ccw':<34}{virtio:>7.1f} MiB/s")
    for name, kind, share in ((fba, "FBA", FBA_SHARE), (eckd, "ECKD, track data", ECKD_SHARE)):
        speed = median(speeds[name])
        report.note(f"{kind:<34}{speed:>7.1f} MiB/s")
        report.at_least(f"{kind}, of virtio's speed", speed / virtio, "", share)


def _random(report: Report, options: Options) -> None:
    """fio on virtio, FBA, and ECKD with its aliases offline and online."""
    found: dict[tuple[str, str, int], list[float]] = defaultdict(list)
    with servers.directory(Path("/dev/shm")) as place:  # no disk shall be measured
        raw, fba_image, volume = (place / name for name in ("raw.img", "fba.img", "vol.ckd"))
        for image in (raw, fba_image):
            image.write_bytes(bytes(SIZE))
        cylinders = -(-SIZE // CYLINDER)
        servers.vfioccw("image", "create", "3390", str(volume), "--cylinders", str(cylinders))
        devices = [f"fba@{FBA_ALONE}:{fba_image}", *pav.with_aliases(volume)]
        words = [word for device in devices for word in ("--device", device)]
        with servers.mounted(place / "ours", *words) as server:
            schids = (FBA_ALONE, pav.BASE, *pav.ALIASES)
            wanted = GuestOptions(
                devices=[f"{server.mount}/{schid}" for schid in schids],
                memory="512M",
                tools=True,
                qemu=(
                    *("-drive", f"file={raw},if=none,id=raw,format=raw"),
                    *("-device", "virtio-blk-ccw,drive=raw"),
                ),
            )
            with booted(wanted) as guest:
                fba = guest.check(f"online {FBA_ALONE}")
                eckd = guest.check(f"online {pav.BASE}")
                disks = {"virtio-blk-ccw": "vda", "FBA": fba, "ECKD": f"{eckd}1"}
                for _ in range(options.rounds):
                    for name, disk in disks.items():
                        for mix in fio.MIXES:
                            for depth in (1, 8):
                                figure = fio.iops(guest, disk, mix, depth)
                                found[name, mix, depth].append(figure)
                    pav.switch(guest, 1)
                    for mix in fio.MIXES:
                        figure = fio.iops(guest, disks["ECKD"], mix, 8)
                        found["ECKD, 4 aliases", mix, 8].append(figure)
                    pav.switch(guest, 0)
    for (name, mix, depth), figures in sorted(found.items(), key=lambda item: item[0][1:]):
        ours, virtio = median(figures), median(found["virtio-blk-ccw", mix, depth])
        label = f"{name}, {mix}, {depth} at a time"
        report.note(f"{label:<44}{ours:>7.0f} IOPS{1e6 * depth / ours:>7.0f} us")
        if (depth == 1 and name != "virtio-blk-ccw") or "aliases" in name:
            report.at_least(f"{name}, {mix}, of virtio's", ours / virtio, "", RANDOM_SHARE)


def _pwrite(report: Report, options: Options, cores: list[int]) -> None:
    """Both servers are mounted all the time and take turns; the target is for the last line."""
    placements = {"one core": (cores[-1], cores[-1])}
    if len(cores) > 1:
        placements["two cores"] = (cores[0], cores[-1])
    report.columns("C", "vfioccw")
    for name, (server_core, client_core) in placements.items():
        times: dict[str, list[float]] = defaultdict(list)
        with servers.directory() as place:
            image = place / "disk.img"
            image.write_bytes(bytes(512 * 1024))
            with (
                servers.on_cores({server_core}),
                servers.null_device(place / "c") as peer,
                servers.mounted(place / "ours", "--device", f"fba@{FBA}:{image}") as ours,
                servers.on_cores({client_core}),
            ):
                for turn in range(options.rounds):
                    for server in (peer, ours) if turn % 2 == 0 else (ours, peer):
                        found = servers.drive(server, "eventfd", options.count)
                        times[server.name].append(found["pwrite"])
        by_peer, by_us = median(times[peer.name]), median(times[ours.name])
        target = PWRITE_RATIO if name == [*placements][-1] else None
        report.row(f"pwrite that starts, {name}", by_peer, by_us, target)


def run(report: Report, options: Options) -> None:
    """Measure and report reads in a guest, and the pwrite for which it stands still."""
    report.heading(
        f"guest: {SIZE >> 20} MiB in an s390x Linux, medians of {options.rounds} rounds"
    )
    cores = servers.cores()
    try:
        with servers.on_cores(cores):
            _disks(report, options)
            _random(report, options)
    except GuestError as error:
        raise BenchError(str(error)) from None
    _pwrite(report, options, cores)
