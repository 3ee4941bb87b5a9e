"""Devices that come and go while the guest runs, over QEMU's monitor and by request."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.waits import until
from tests.qemu.conftest import MIB, Lab, digest, laboratory, make_fba, sees
from vfioccw_fuse.guest import GuestError
from vfioccw_fuse.guest.machine import Guest
from vfioccw_fuse.qemu.options import IOMMUFD

STAYS, SPARE, ASKED, MATE = (f"0.0.031{n}" for n in range(4))
DISKS = (STAYS, SPARE, ASKED, MATE)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, way: str) -> Iterator[Lab]:
    with laboratory(tmp_path_factory.mktemp("plug"), way) as made:
        for schid in DISKS:
            make_fba(made.directory / schid, MIB)
        made.mount(*(f"fba@{schid}:{made.directory / schid}" for schid in DISKS))
        yield made


@pytest.fixture(scope="module")
def resets(way: str) -> dict[str, int]:
    """How often each device had been reset when the guest was up."""
    return {}


@pytest.fixture(scope="module")
def guest(lab: Lab, resets: dict[str, int]) -> Iterator[Guest]:
    # Two of them in one group: QEMU opens it once, and gets two devices out of it.
    devices = [
        lab.device(STAYS, "1000", ",group=5,id=stays"),
        lab.device(ASKED, "1002"),
        lab.device(MATE, "1003", ",group=5"),
    ]
    with lab.guest(*devices, spares=[str(lab.path / SPARE)]) as running:
        resets.update({schid: int(lab.state(schid)["resets"]) for schid in DISKS})
        yield running
        assert running.power_off() == 0
    assert "order=big" in lab.file(SPARE, "control").read_text()


def by_iommufd(lab: Lab) -> dict[str, str]:
    """The property of a device that QEMU shall open so."""
    return {"iommufd": IOMMUFD} if lab.way == "iommufd" else {}


def plug(guest: Guest, lab: Lab) -> None:
    guest.monitor(
        "device_add", driver="vfio-ccw", sysfsdev=str(lab.path / SPARE), devno="fe.0.1001",
        id="spare", **by_iommufd(lab),
    )  # fmt: skip


def unplug(guest: Guest, lab: Lab) -> None:
    """Take the spare away; guest, QEMU and server are done with it then."""
    guest.monitor("device_del", id="spare")
    guest.await_event("DEVICE_DELETED")
    until(lambda: not sees(guest, "0.0.1001"), "the guest has lost it")
    until(lambda: lab.state(SPARE)["io_irq.attached"] == "0", "QEMU has given it back")


def read(guest: Guest, lab: Lab, schid: str, bus: str) -> None:
    name = guest.check(f"online {bus}")
    assert guest.check(f"md5sum < /dev/{name}").split()[0] == digest(lab.directory / schid)


def test_the_machines_reset_resets_its_devices(guest: Guest, resets: dict[str, int]) -> None:
    # QEMU 7.2 resets the machine once before it starts, QEMU 10 a device once more.
    assert resets[STAYS] in (1, 2)
    assert resets[SPARE] == 0


def test_two_devices_of_one_group(guest: Guest, lab: Lab) -> None:
    read(guest, lab, STAYS, "0.0.1000")
    read(guest, lab, MATE, "0.0.1003")


def test_a_spare_is_plugged_read_unplugged_and_plugged_again(guest: Guest, lab: Lab) -> None:
    before = guest.errors()
    assert not sees(guest, "0.0.1001")
    for _ in range(2):
        plug(guest, lab)
        until(lambda: sees(guest, "0.0.1001"), "the guest sees the new device")
        read(guest, lab, SPARE, "0.0.1001")
        assert lab.state(SPARE)["io_irq.attached"] == "1"
        guest.check("offline 0.0.1001")
        unplug(guest, lab)
    assert guest.errors() == before


def test_a_device_cannot_be_plugged_twice(guest: Guest, lab: Lab) -> None:
    plug(guest, lab)
    with pytest.raises(GuestError, match=r"busy|already|error bind"):
        guest.monitor(
            "device_add", driver="vfio-ccw", sysfsdev=str(lab.path / SPARE), devno="fe.0.1009",
            **by_iommufd(lab),
        )  # fmt: skip
    unplug(guest, lab)


def test_a_device_of_nobody_cannot_be_plugged(guest: Guest, lab: Lab) -> None:
    with pytest.raises(GuestError, match="not found"):
        guest.monitor(
            "device_add", driver="vfio-ccw", sysfsdev=str(lab.path / "0.0.0999"), devno="fe.0.1009"
        )


def test_a_request_for_unplug_takes_the_device_from_the_guest(guest: Guest, lab: Lab) -> None:
    read(guest, lab, ASKED, "0.0.1002")
    guest.check("offline 0.0.1002")
    lab.control(ASKED, "request=unplug")
    guest.await_event("DEVICE_DELETED")
    until(lambda: not sees(guest, "0.0.1002"), "the guest has lost it")
    read(guest, lab, STAYS, "0.0.1000")
