"""HyperPAV in a Linux guest: it finds base and aliases, uses all, and loses no data with one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from lab.mounts import vfioccw
from lab.waits import until
from tests.qemu.conftest import Lab, laboratory, make_eckd
from vfioccw_fuse.guest.machine import Guest

BASE = "0.0.0313"
ALIASES = tuple(f"0.0.03f{number}" for number in range(4))
PATH = "50"
"""The channel path that one of the aliases has for itself."""
SPARE = "0.0.03ff"
SYSFS = "/sys/bus/ccw/devices"
FIO = (
    "fio --thread --eta=never --output-format=json --name=load --filename=/dev/{0}1 --direct=1 "
    "--ioengine=libaio --iodepth=8 --rw=randrw --bsrange=4k-48k --size=12m --randseed={1} "
    "--verify=crc32c --verify_fatal=1 --output=/tmp/out"
)
"""It reads and writes with eight requests at a time, and reads all back that it wrote."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with laboratory(tmp_path_factory.mktemp("aliases")) as made:
        volume = make_eckd(made.directory / "vol.ckd", 40)
        aliases = [f"3390@{schid}:-,alias-of={BASE},delay=1ms" for schid in ALIASES]
        aliases[-1] += f",chpids={PATH}"
        spare = f"3390@{SPARE}:-,alias-of={BASE}"
        made.mount(*aliases, spare, f"3390@{BASE}:{volume},cu=2107,pav=base,delay=1ms")
        yield made


@pytest.fixture(scope="module")
def guest(lab: Lab) -> Iterator[Guest]:
    devices = [lab.device(schid, schid[4:]) for schid in (BASE, *ALIASES)]
    spares = [str(lab.path / SPARE)]
    with lab.guest(*devices, spares=spares, memory="512M", tools=True) as running:
        for schid in ALIASES:
            running.check(f"echo 1 >{SYSFS}/{schid}/online")
        yield running
        assert running.power_off() == 0


@pytest.fixture(scope="module")
def name(guest: Guest) -> str:
    """The block device of the base."""
    return guest.check(f"online {BASE}")


def starts(lab: Lab) -> list[int]:
    """How many programs each of them has run."""
    return [int(lab.state(schid)["starts"]) for schid in (BASE, *ALIASES)]


def ended_well(guest: Guest) -> None:
    """What fio read is what it wrote, and the kernel has told nobody of an error."""
    report = guest.check("cat /tmp/out")
    [job] = json.loads(report[report.index("{") :])["jobs"]
    assert job["error"] == 0
    assert job["read"]["total_ios"] > job["write"]["total_ios"] > 0
    assert "I/O error" not in guest.check("dmesg -c")


def test_linux_finds_base_and_aliases(guest: Guest, name: str) -> None:
    whole = guest.check(f"cat {SYSFS}/{BASE}/uid")
    box, unit = whole.rsplit(".", 1)
    assert unit == "13"
    assert guest.check("ls /sys/block | grep dasd") == name, "an alias is no disk"
    for schid in ALIASES:
        assert guest.check(f"cd {SYSFS}/{schid}; cat alias status") == "1\nonline"
        assert guest.check(f"cat {SYSFS}/{schid}/uid") == f"{box}.xx", "an alias of HyperPAV"


def test_all_share_the_work_and_what_is_read_is_what_was_written(
    guest: Guest, lab: Lab, name: str
) -> None:
    before = starts(lab)
    guest.check(FIO.format(name, 1), 600)
    ended_well(guest)
    done = [now - then for now, then in zip(starts(lab), before, strict=True)]
    assert min(done) > sum(done) / 20


def set_offline(guest: Guest, lab: Lab) -> None:
    guest.check(f"echo 0 >{SYSFS}/{ALIASES[0]}/online")


def lose_the_path(guest: Guest, lab: Lab) -> None:
    assert vfioccw("chp", "off", lab.path, PATH).returncode == 0


def check_units(guest: Guest, lab: Lab) -> None:
    lab.control(ALIASES[1], "fault=unit-check sense=1000 count=5")


def hang(guest: Guest, lab: Lab) -> None:
    guest.check(f"for device in {SYSFS}/0.0.03*; do echo 2 >$device/expires; done")
    lab.control(ALIASES[1], "fault=hang count=1")


def become_inoperational(guest: Guest, lab: Lab) -> None:
    lab.control(ALIASES[2], "fault=not-operational")


@pytest.mark.parametrize(
    "end",
    [set_offline, hang, check_units, lose_the_path, become_inoperational],
    ids=lambda end: end.__name__,
)
def test_what_an_alias_did_not_finish_the_base_does(
    guest: Guest, lab: Lab, name: str, end: Callable[[Guest, Lab], None]
) -> None:
    before = starts(lab)
    guest.check(f"({FIO.format(name, 2)} >/dev/null 2>&1; echo $? >/tmp/status) &")
    until(lambda: starts(lab)[0] > before[0] + 20, "fio is at work")
    end(guest, lab)
    guest.check("until [ -e /tmp/status ]; do sleep 0.2; done; rm /tmp/status", 600)
    ended_well(guest)
    assert lab.state(ALIASES[1])["fault"] == "none", "it was met as often as it should be"


def test_an_alias_that_comes_later_is_used(guest: Guest, lab: Lab, name: str) -> None:
    guest.monitor(
        "device_add", driver="vfio-ccw", sysfsdev=str(lab.path / SPARE), devno="fe.0.03ff"
    )
    guest.check(f"until [ -e {SYSFS}/{SPARE}/online ]; do sleep 0.1; done")
    guest.check(f"echo 1 >{SYSFS}/{SPARE}/online")
    before = int(lab.state(SPARE)["starts"])
    guest.check(FIO.format(name, 3), 600)
    ended_well(guest)
    assert int(lab.state(SPARE)["starts"]) > before + 50
