"""What goes wrong with a device, and what Linux makes of it: each test has a disk of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.mounts import vfioccw
from lab.waits import until
from tests.qemu.conftest import MIB, Lab, Traced, digest, laboratory, make_eckd, make_fba
from vfioccw_fuse.guest.machine import Guest

LOST, CHECKED, SENSED, PATHS, DEAD, REMOVED, RATED = (f"0.0.031{n}" for n in range(7))
ECKD = "0.0.0400"
FBAS = (LOST, CHECKED, SENSED, PATHS, DEAD, REMOVED, RATED)
DATA_CHECK = bytes([0x08, *bytes(26), 0x80, *bytes(4)]).hex()
"""Sense data that dasd_3990_erp_inspect_24 of Linux retries."""
HITS = 100_000
AT_A_RATE = (
    f"unit-check:command=read/write:rate={{}}:seed=7:sense={DATA_CHECK}:count={HITS}",
    f"interface-control-check:start=5-:rate=10%:seed=8:count={HITS}",
    f"delay:command=write:rate=10%:seed=10:for=3ms:count={HITS}",
)
READ = "echo 3 > /proc/sys/vm/drop_caches; dd if=/dev/{0} bs=4096 skip={1} count=8 2>&1"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with laboratory(tmp_path_factory.mktemp("faults")) as made:
        images = [make_fba(made.directory / schid, MIB) for schid in FBAS]
        disk = make_eckd(made.directory / "vol.ckd", 2)
        devices = [f"fba@{schid}:{path}" for schid, path in zip(FBAS, images, strict=True)]
        made.mount(*devices, f"3390@{ECKD}:{disk}")
        yield made


@pytest.fixture(scope="module")
def guest(lab: Lab) -> Iterator[Guest]:
    devices = [lab.device(schid, schid[4:]) for schid in (*FBAS, ECKD)]
    with lab.guest(*devices) as running:
        yield running
        assert running.power_off() == 0


def test_a_lost_interruption_is_recovered_by_clear(guest: Guest, lab: Lab) -> None:
    name = guest.check("online 0.0.0310")
    guest.check("echo 2 > /sys/bus/ccw/devices/0.0.0310/expires")
    lab.control(LOST, "fault=lost-interruption count=1")
    guest.check(READ.format(name, 40))
    assert lab.state(LOST)["clears"] == "1"
    assert "timed out (2s)" in guest.check("dmesg | grep 0.0.0310")


@pytest.mark.parametrize(("schid", "concurrent"), [(CHECKED, False), (SENSED, True)])
def test_a_unit_check_is_recovered(guest: Guest, lab: Lab, schid: str, concurrent: bool) -> None:
    name = guest.check(f"online {schid}")
    lab.control(schid, f"csense={'on' if concurrent else 'off'} fault=unit-check count=1 sense=08")
    with Traced(lab, schid) as traced:
        guest.check(READ.format(name, 40))
        lines = traced.lines()
    checks = [line for line in lines if " irb " in line and "unit check" in line]
    assert len(checks) == 1
    # Basic Sense, command 04, asks for what the IRB did not say.
    asked = [line for line in lines if " ccw " in line and "sense" in line.lower()]
    assert len(asked) == (0 if concurrent else 1)


def test_a_path_goes_and_comes_back(guest: Guest, lab: Lab) -> None:
    def masks() -> str:
        return guest.check(f"cat /sys/bus/ccw/devices/{ECKD}/../pimpampom")

    name, eckd = guest.check(f"online {PATHS}; online {ECKD}").split()
    assert masks() == "c0 c0 ff"
    assert vfioccw("chp", "off", lab.path, "40").returncode == 0
    until(lambda: masks() == "c0 40 ff", "the guest learns that a path is gone")
    guest.check(READ.format(name, 40))
    guest.check(READ.format(eckd, 40))
    assert lab.state(ECKD)["pmcw.lpum"].startswith("40")
    assert vfioccw("chp", "on", lab.path, "40").returncode == 0
    until(lambda: masks() == "c0 c0 ff", "the guest learns that it is back")
    guest.check(READ.format(name, 80))
    guest.check(READ.format(eckd, 80))
    assert lab.state(ECKD)["pmcw.lpum"].startswith("80")


def test_a_device_that_is_not_operational_waits_for_its_return(guest: Guest, lab: Lab) -> None:
    name = guest.check(f"online {DEAD}")
    guest.check("dmesg -c > /dev/null")
    lab.control(DEAD, "fault=not-operational")
    guest.check(f"({READ.format(name, 40)} | tail -n 1 > /tmp/read) > /dev/null 2>&1 &")
    until(lambda: "No operational channel path" in guest.check("dmesg"), "the driver sees it")
    assert guest.check("cat /tmp/read") == ""
    lab.control(DEAD, "fault=none")
    until(lambda: guest.run("[ -s /tmp/read ]")[0] == 0, "the read goes on")
    assert "8+0 records out" in guest.check("cat /tmp/read")
    assert "has become operational" in guest.check("dmesg")


def test_a_subchannel_that_is_removed_gives_errors_and_no_flood(guest: Guest, lab: Lab) -> None:
    name = guest.check(f"online {REMOVED}")
    before = guest.errors()
    assert vfioccw("remove", lab.file(REMOVED, "")).returncode == 0
    status, said = guest.run(READ.format(name, 40))
    assert status != 0
    assert "Input/output error" in said
    after = guest.errors().removeprefix(before)
    assert len(after.splitlines()) == 1
    assert "it is gone from the mount" in after


# A request is one command for an FBA disk, and one for each of up to 190 blocks for a 3390.
@pytest.mark.parametrize(("schid", "rate"), [(RATED, "10%"), (ECKD, "0.3%")])
def test_faults_at_a_rate_cost_no_data(guest: Guest, lab: Lab, schid: str, rate: str) -> None:
    name = guest.check(f"online {schid}")
    guest.check(f"echo 255 > /sys/bus/ccw/devices/{schid}/retries")
    lab.control(schid, f"fault={'+'.join(AT_A_RATE).format(rate)}")
    guest.check("head -c 786432 /dev/urandom > /tmp/data")
    written = guest.check("md5sum < /tmp/data")
    for _ in range(6):
        guest.check(f"dd if=/tmp/data of=/dev/{name} bs=4096 seek=24 conv=notrunc,fsync 2>&1", 120)
        guest.check("echo 3 > /proc/sys/vm/drop_caches")
        read = guest.check(f"dd if=/dev/{name} bs=4096 skip=24 count=192 2>/dev/null | md5sum", 120)
        assert read == written
    left = lab.file(schid, "control").read_text()
    assert left.count(":count=") == len(AT_A_RATE)
    assert f"count={HITS}" not in left, "each of them has hit"
    lab.control(schid, "fault=none")
    guest.check("echo 3 > /proc/sys/vm/drop_caches")
    read = guest.check(f"dd if=/dev/{name} bs=4096 skip=24 count=192 2>/dev/null | md5sum", 120)
    assert read == written


def test_what_is_read_is_right_after_all_of_it(guest: Guest, lab: Lab) -> None:
    for schid in (LOST, CHECKED, SENSED, PATHS, DEAD, RATED):
        name = guest.check(f"online {schid}")
        guest.check("echo 3 > /proc/sys/vm/drop_caches")
        assert guest.check(f"md5sum < /dev/{name}").split()[0] == digest(lab.directory / schid)
