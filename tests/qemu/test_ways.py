"""Several groups in one machine, or several iommufds, as the user's own options say.

Not both: QEMU 11 takes the one for the other and aborts (hw/vfio/vfio-iommufd.h).
"""

from __future__ import annotations

from lab.waits import until
from tests.qemu.conftest import MIB, Lab, by_each_way, digest, make_fba, sees
from vfioccw_fuse.guest.machine import Guest

NUMBERS = {"0.0.0313": "1000", "0.0.0314": "1001", "0.0.0315": "1002"}
LAST = "0.0.0315"


def read(guest: Guest, lab: Lab, schid: str) -> None:
    name = guest.check(f"online 0.0.{NUMBERS[schid]}")
    assert guest.check(f"md5sum < /dev/{name}").split()[0] == digest(lab.directory / schid)


@by_each_way
def test_groups_or_iommufds_as_the_user_says(lab: Lab) -> None:
    lab.mount(*(f"fba@{schid}:{make_fba(lab.directory / schid, MIB)}" for schid in NUMBERS))
    names = dict.fromkeys(NUMBERS, "one") | {LAST: "two"} if lab.way == "iommufd" else {}
    objects = [word for name in set(names.values()) for word in ("-object", f"iommufd,id={name}")]
    # Without --iommufd, which would add its own.
    lab.way = "group"
    devices = [
        lab.device(schid, number, f",id=d{number}")
        + (f",iommufd={names[schid]}" if schid in names else "")
        for schid, number in NUMBERS.items()
    ]
    with lab.guest(*devices, qemu=objects) as guest:
        for schid in NUMBERS:
            read(guest, lab, schid)
        # The only one of its iommufd goes and comes back; the others stay.
        guest.check(f"offline 0.0.{NUMBERS[LAST]}")
        guest.monitor("device_del", id=f"d{NUMBERS[LAST]}")
        guest.await_event("DEVICE_DELETED")
        until(lambda: lab.state(LAST)["io_irq.attached"] == "0", "QEMU has given it back")
        guest.monitor(
            "device_add", driver="vfio-ccw", sysfsdev=str(lab.path / LAST), devno="fe.0.1002",
            **({"iommufd": names[LAST]} if names else {}),
        )  # fmt: skip
        until(lambda: sees(guest, "0.0.1002"), "the guest sees it again")
        for schid in NUMBERS:
            read(guest, lab, schid)
        assert guest.power_off() == 0
