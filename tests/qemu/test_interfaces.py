"""Older generations of the interface: Linux of today, and of 2017 with an I/O region alone."""

from __future__ import annotations

from tests.qemu.conftest import MIB, Lab, digest, make_fba

NOW, FIRST = "0.0.0313", "0.0.0314"


def test_a_guest_works_with_what_there_is(lab: Lab) -> None:
    one = make_fba(lab.directory / "one", MIB)
    two = make_fba(lab.directory / "two", 2 * MIB)
    lab.mount(f"fba@{NOW}:{one},interface=async", f"fba@{FIRST}:{two},interface=start-only")
    with lab.guest(lab.device(NOW, "1000"), lab.device(FIRST, "1001")) as guest:
        for bus, image in (("0.0.1000", one), ("0.0.1001", two)):
            name = guest.check(f"online {bus}")
            assert guest.check(f"md5sum < /dev/{name}").split()[0] == digest(image)
            guest.check(f"offline {bus}")
        assert guest.power_off() == 0
        # QEMU says that it misses the third interrupt of the older one, and goes on.
        [line] = guest.errors().splitlines()
        assert "IRQ 2 not available" in line
