"""The whole stack: Linux on QEMU on Linux's own vfio_ccw on QEMU on a mount.

The console is the inner Linux's. What it does goes through the vfio-ccw of two QEMUs and the driver
between them before a subchannel of the mount sees it, and the way back is as long. An emulated
processor emulates another, so that a second takes a minute. There is one outside, too: where two
emulate QEMU's threads at once programs inside find that their storage is wrong, or stop.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from faults.rounds import ERROR, WRONG
from lab.mounts import vfioccw
from lab.waits import until
from tests.qemu.conftest import MIB, Lab, Traced, laboratory, make_eckd, make_fba
from vfioccw_fuse.conform.kernel import KERNEL_SERIES, driver_of
from vfioccw_fuse.devices.eckd.image import HEADER_LENGTH
from vfioccw_fuse.devices.eckd.track import SLOT
from vfioccw_fuse.guest.machine import Guest, Options, booted
from vfioccw_fuse.guest.parts import Parts

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

FBA, ECKD = "0.0.0313", "0.0.0314"
"""The subchannels; both Linuxes see them by these bus ids."""
BOOT, REQUEST = 1200, 600
"""Seconds after which it hangs: the inner boot, and what is asked then."""
BLOCK = 4096
BLOCKS = range(32, 112)
"""What is read and written; on the 3390 without the track of its label."""
TRACK_BLOCKS = 12
EXPIRES = 10
"""Seconds after which the inner driver takes an interruption for lost."""
FORGET = "echo 3 > /proc/sys/vm/drop_caches; "


def offsets(schid: str) -> Iterator[int]:
    """Where in the image of a disk its `BLOCKS` lie."""
    for block in BLOCKS:
        if schid == FBA:
            yield block * BLOCK
        else:
            track, record = divmod(block, TRACK_BLOCKS)
            # Behind home address and record 0; each record behind its count field.
            yield HEADER_LENGTH + track * SLOT + 5 + 16 + record * (8 + BLOCK) + 8


def content(image: Path, schid: str) -> bytes:
    """The `BLOCKS` of a disk, from its image."""
    data = image.read_bytes()
    return b"".join(data[offset : offset + BLOCK] for offset in offsets(schid))


def digest(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    directory = tmp_path_factory.mktemp("images")
    eckd = make_eckd(directory / "vol.ckd", 2)
    with eckd.open("r+b") as file:
        for offset in offsets(ECKD):
            file.seek(offset)
            file.write(random.Random(offset).randbytes(BLOCK))
    return {FBA: make_fba(directory / "disk.img", MIB), ECKD: eckd}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, images: dict[str, Path]) -> Iterator[Lab]:
    with laboratory(tmp_path_factory.mktemp("nested")) as made:
        made.mount(f"fba@{FBA}:{images[FBA]}", f"3390@{ECKD}:{images[ECKD]}")
        yield made


@pytest.fixture(scope="module")
def guest(lab: Lab) -> Iterator[Guest]:
    driver = driver_of(KERNEL_SERIES)
    options = Options(
        devices=[lab.device(schid, schid[4:]) for schid in (FBA, ECKD)],
        bind="vfio_ccw", bound=(FBA, ECKD), nested=True, memory="768M",
    )  # fmt: skip
    # The inner Linux is the same, with its dasd drivers: a small one, which boots soon.
    with booted(options, Parts(kernel=driver.kernel)) as running:
        running.type(f"nested {FBA} {ECKD}; echo @@over $?@@\n")
        running.expect("@@ready@@\n", BOOT)
        yield running
        log = running.check("dmesg", REQUEST)
        assert not [line for line in log.splitlines() if ERROR.search(line)]
        running.type("poweroff -f\n")
        running.expect("@@over 0@@\n", REQUEST)
        log = running.check("dmesg")
        assert not [line for line in log.splitlines() if WRONG.search(line)]
        assert running.power_off() == 0


def read(name: str) -> str:
    return f"dd if=/dev/{name} bs={BLOCK} skip={BLOCKS.start} count={len(BLOCKS)} 2>/dev/null"


@pytest.mark.parametrize("schid", [FBA, ECKD])
def test_a_disk_is_read_and_written(
    guest: Guest, images: dict[str, Path], schid: str
) -> None:
    image = images[schid]
    name = guest.check(f"online {schid}", REQUEST)
    shown = guest.check(f"{FORGET}{read(name)} | md5sum", REQUEST)
    assert shown.split()[0] == digest(content(image, schid))
    written = guest.check(
        # Nothing from /dev/urandom: an emulated processor's timers are not random enough for it.
        f"head -c {len(BLOCKS) * BLOCK} /bin/busybox > /tmp/data; "
        f"dd if=/tmp/data of=/dev/{name} bs={BLOCK} seek={BLOCKS.start} conv=fsync 2>/dev/null; "
        "md5sum < /tmp/data",
        REQUEST,
    )
    assert written.split()[0] == digest(content(image, schid))
    assert guest.check(f"{FORGET}{read(name)} | md5sum", REQUEST) == written
    assert written != shown


def test_a_lost_interruption_is_recovered_by_clear(
    guest: Guest, lab: Lab, images: dict[str, Path]
) -> None:
    name = guest.check(f"online {FBA}", REQUEST)
    guest.check(f"echo {EXPIRES} > /sys/bus/ccw/devices/{FBA}/expires; {FORGET}", REQUEST)
    lab.control(FBA, "fault=lost-interruption count=1")
    with Traced(lab, FBA) as traced:
        shown = guest.check(f"{read(name)} | md5sum", REQUEST)
        lines = traced.lines()
    assert lab.file(FBA, "control").read_text().split().count("fault=none") == 1
    assert [line for line in lines if " csch " in line]
    assert f"timed out ({EXPIRES}s)" in guest.check(f"dmesg | grep {FBA}", REQUEST)
    assert shown.split()[0] == digest(content(images[FBA], FBA))


def test_a_path_goes_and_comes_back(guest: Guest, lab: Lab, images: dict[str, Path]) -> None:
    def masks() -> str:
        return guest.check(f"cat /sys/bus/ccw/devices/{ECKD}/../pimpampom", REQUEST)

    name = guest.check(f"online {ECKD}; dmesg -c > /tmp/dmesg", REQUEST)
    for state, shown, path, code in (("off", "c0 40 ff", "40", 6), ("on", "c0 c0 ff", "80", 2)):
        assert vfioccw("chp", state, lab.path, "40").returncode == 0
        until(lambda shown=shown: masks() == shown, f"path 40 is {state}", REQUEST)  # type: ignore[misc]
        # Channel reports: the driver's, which hands on what it has from the mount.
        log = guest.check("dmesg -c | tee -a /tmp/dmesg", REQUEST)
        assert f"rsc=4, anc=0, erc={code}, rsid=40" in log
        read_now = guest.check(f"{FORGET}{read(name)} | md5sum", REQUEST)
        assert read_now.split()[0] == digest(content(images[ECKD], ECKD))
        assert lab.state(ECKD)["pmcw.lpum"].startswith(path)
