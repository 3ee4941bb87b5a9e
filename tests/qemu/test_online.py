"""Disks of both kinds in a guest: online, read whole, written, read back, offline."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.mounts import vfioccw
from tests.qemu.conftest import MIB, Lab, digest, laboratory, make_eckd, make_fba
from vfioccw_fuse.guest.machine import Guest

FBA, LDL, CDL = "0.0.0313", "0.0.0314", "0.0.0315"
NUMBERS = {FBA: "1234", LDL: "1235", CDL: "1236"}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory, way: str) -> dict[str, Path]:
    # New ones for each way: the tests write on them.
    directory = tmp_path_factory.mktemp("images")
    return {
        FBA: make_fba(directory / "disk.img"),
        LDL: make_eckd(directory / "ldl.ckd"),
        CDL: make_eckd(directory / "cdl.ckd", layout="cdl"),
    }


@pytest.fixture(scope="module")
def lab(
    tmp_path_factory: pytest.TempPathFactory, images: dict[str, Path], way: str
) -> Iterator[Lab]:
    with laboratory(tmp_path_factory.mktemp("lab"), way) as made:
        made.mount(
            f"fba@{FBA}:{images[FBA]}", f"3390@{LDL}:{images[LDL]}", f"3390@{CDL}:{images[CDL]}"
        )
        yield made


@pytest.fixture(scope="module")
def guest(lab: Lab) -> Iterator[Guest]:
    devices = [lab.device(schid, number) for schid, number in NUMBERS.items()]
    with lab.guest(*devices, processors=2) as running:
        yield running
        assert running.power_off() == 0
        assert running.errors() == ""
    for schid in NUMBERS:
        assert lab.file(schid, "control").read_text().splitlines().count("order=big") == 1


def test_the_guest_sees_what_the_devices_say_of_themselves(guest: Guest) -> None:
    seen = guest.check("cd /sys/bus/ccw/devices; cat */devtype */cutype").split()
    types = [kind.partition("/")[0] for kind in seen]
    assert types == ["9336", "3390", "3390", "6310", "2107", "2107"]


def test_fba_whole_disk(guest: Guest, images: dict[str, Path]) -> None:
    name = guest.check("online 0.0.1234")
    size = images[FBA].stat().st_size
    assert guest.check(f"blockdev --getsize64 /dev/{name}") == str(size)
    assert guest.check(f"md5sum < /dev/{name}").split()[0] == digest(images[FBA])
    pattern = "od -An -v -tx1 < /bin/busybox | head -c 1000000"
    written = guest.check(
        f"{pattern} > /tmp/data; dd if=/tmp/data of=/dev/{name} bs=4096 seek=100 2>/dev/null; "
        "sync; echo 3 > /proc/sys/vm/drop_caches; "
        f"dd if=/dev/{name} bs=4096 skip=100 2>/dev/null | head -c 1000000 | cmp - /tmp/data; "
        "md5sum < /tmp/data"
    )
    guest.check("offline 0.0.1234; [ ! -b /dev/dasda ]")
    on_image = images[FBA].read_bytes()[100 * 4096 :][:1000000]
    assert written.split()[0] == hashlib.md5(on_image).hexdigest()


@pytest.mark.parametrize("schid", [LDL, CDL])
def test_eckd_whole_disk(guest: Guest, lab: Lab, images: dict[str, Path], schid: str) -> None:
    bus = f"0.0.{NUMBERS[schid]}"
    name = guest.check(f"online {bus}")
    size = int(guest.check(f"blockdev --getsize64 /dev/{name}"))
    assert size == 5 * 15 * 12 * 4096
    first = guest.check(f"md5sum < /dev/{name}", 120)
    guest.check(
        f"tr '\\0' x < /dev/zero | head -c {2 * MIB} > /tmp/data; "
        f"dd if=/tmp/data of=/dev/{name} bs=4096 seek=100 2>/dev/null; sync; "
        "echo 3 > /proc/sys/vm/drop_caches; "
        f"dd if=/dev/{name} bs=4096 skip=100 count=512 2>/dev/null | cmp - /tmp/data"
    )
    assert guest.check(f"md5sum < /dev/{name}", 120) != first
    guest.check(f"offline {bus}")
    assert images[schid].read_bytes().count(b"x" * 4096) == 2 * MIB // 4096
    done = vfioccw("image", "check", images[schid])
    assert done.returncode == 0, done.stdout + done.stderr


def test_two_at_once_on_two_processors(guest: Guest, images: dict[str, Path]) -> None:
    one, two = guest.check("online 0.0.1234; online 0.0.1235").split()
    expected = digest(images[FBA])
    output = guest.check(
        "echo 3 > /proc/sys/vm/drop_caches; "
        "for turn in 1 2 3; do "
        f"dd if=/dev/{one} iflag=direct bs=48k 2>/dev/null | md5sum > /tmp/one & "
        f"dd if=/dev/{two} iflag=direct bs=48k 2>/dev/null | md5sum > /tmp/two; "
        "wait; cat /tmp/one /tmp/two; done",
        120,
    ).split()
    assert output[0] == output[4] == output[8] == expected
    assert output[2] == output[6] == output[10]
    guest.check("offline 0.0.1234; offline 0.0.1235")
