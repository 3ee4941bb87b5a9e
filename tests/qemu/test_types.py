"""One of each device type in one guest: all are found, and a protected volume says that it is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.qemu.conftest import MIB, Lab, laboratory, make_eckd, make_fba
from vfioccw_fuse.devices.catalog import TYPES
from vfioccw_fuse.guest.machine import Guest

IDENTITIES = {
    "fba": "6310/01 9336/00",
    "9336": "6310/01 9336/00",
    "3370": "3880/01 3370/00",
    "3390": "2107/e8 3390/02",
    "3420": "3803/02 3420/06",
    "3480": "3480/31 3480/31",
    "3490": "3490/50 3490/50",
    "3505": "3505/01 3505/01",
    "3525": "3505/01 3525/01",
    "1403": "2821/01 1403/01",
    "3215": "3215/00 3215/00",
}
"""What /sys has in cutype and devtype."""
SCHIDS = {kind: f"0.0.03{number:02}" for number, kind in enumerate(IDENTITIES)}
DRIVERS = {"fba": "dasd-fba", "9336": "dasd-fba", "3370": "dasd-fba", "3390": "dasd-eckd"}
"""Those that the guest has."""
OLD = "0.0.0400"
"""A printer that rejects Sense ID."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with laboratory(tmp_path_factory.mktemp("types")) as made:
        devices = []
        for kind, schid in SCHIDS.items():
            path = made.directory / kind
            if kind == "3390":
                make_eckd(path, 2)
            elif kind in DRIVERS:
                make_fba(path, MIB)
            elif kind != "3215":
                path.touch()
            readonly = ",readonly" if kind == "3390" else ""
            devices.append(f"{kind}@{schid}:{path}{readonly}")
        made.mount(*devices, f"1403@{OLD}:{made.directory / 'old'},sense-id=legacy")
        yield made


@pytest.fixture(scope="module")
def guest(lab: Lab) -> Iterator[Guest]:
    schids = [*SCHIDS.values(), OLD]
    with lab.guest(*(lab.device(schid, schid[4:]) for schid in schids)) as running:
        yield running
        assert running.power_off() == 0


def test_the_table_has_every_type() -> None:
    assert set(IDENTITIES) == set(TYPES)


def test_linux_lists_every_type_and_no_device_that_rejects_sense_id(guest: Guest) -> None:
    said = guest.check("cd /sys/bus/ccw/devices; for d in *; do echo $d $(cat $d/?*type); done")
    assert dict(line.split(" ", 1) for line in said.splitlines()) == {
        SCHIDS[kind]: identity for kind, identity in IDENTITIES.items()
    }


@pytest.mark.parametrize("kind", DRIVERS)
def test_linux_gives_every_disk_to_its_driver(guest: Guest, kind: str) -> None:
    driver = guest.check(f"readlink /sys/bus/ccw/devices/{SCHIDS[kind]}/driver")
    assert driver.rpartition("/")[2] == DRIVERS[kind]


def test_a_write_to_a_protected_volume_is_refused_and_reads_go_on(guest: Guest) -> None:
    name = guest.check(f"online {SCHIDS['3390']}")
    before = guest.check(f"md5sum </dev/{name}", 120)
    write = f"dd if=/dev/zero of=/dev/{name} bs=4096 seek=30 count=1 oflag=direct 2>&1"
    status, said = guest.run(f"dmesg -c >/dev/null; {write}")
    assert status == 1
    assert "Input/output error" in said or "I/O error" in said
    log = guest.check("dmesg")
    assert "writing is inhibited" in log
    for wrong in ("cannot be reached", "ERP failed", "reason="):
        assert wrong not in log
    assert guest.check(f"echo 3 >/proc/sys/vm/drop_caches; md5sum </dev/{name}", 120) == before
    guest.check(f"offline {SCHIDS['3390']}")
