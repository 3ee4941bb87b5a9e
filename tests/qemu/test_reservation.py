"""Two Linux guests on one 3390: reserve, release and steal lock by Debian's own tunedasd."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from lab.waits import until
from tests.qemu.conftest import Lab, laboratory, make_eckd
from vfioccw_fuse.guest.machine import Guest

SCHIDS = "0.0.0313", "0.0.0314"
BUS = "/sys/bus/ccw/devices/0.0.1234"
READ = "dd if=/dev/dasda bs=4k skip=20 count=1 iflag=direct"


@pytest.fixture(params=["one mount", "two mounts"])
def labs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[Lab]]:
    """For each guest the mount that has its subchannel: the volume is the same."""
    image = make_eckd(tmp_path / "vol.ckd")
    devices = [f"3390@{schid}:{image},shared" for schid in SCHIDS]
    with ExitStack() as stack:
        if request.param == "one mount":
            lab = stack.enter_context(laboratory(tmp_path))
            lab.mount(*devices)
            labs = [lab, lab]
        else:
            labs = []
            for device in devices:
                directory = tmp_path / str(len(labs))
                directory.mkdir()
                labs.append(stack.enter_context(laboratory(directory)))
                labs[-1].mount(device)
        yield labs


def asked(guest: Guest) -> str:
    """What the device says (SNID), and what the driver remembers."""
    return guest.check(
        f"tunedasd -Q /dev/dasda; cat {BUS}/last_known_reservation_state"
    ).replace("\n", " ")


def write(letter: str) -> str:
    """A command that writes a block of one letter."""
    block = f"yes {letter} | tr -d '\\n' | dd bs=4k count=1 iflag=fullblock 2>/dev/null"
    return f"{block} | dd of=/dev/dasda bs=4k seek=20 oflag=direct 2>&1"


def written(guest: Guest) -> str:
    """The letter of that block."""
    return guest.check(f"{READ} 2>/dev/null | dd bs=1 count=1 2>/dev/null")


def test_two_linux_guests_reserve_release_and_steal_one_volume(labs: list[Lab]) -> None:
    with ExitStack() as stack:
        one, two = (
            stack.enter_context(lab.guest(lab.device(schid, "1234"), tools=True))
            for lab, schid in zip(labs, SCHIDS, strict=True)
        )
        for guest in (one, two):
            assert guest.check("online 0.0.1234") == "dasda"
            assert asked(guest) == "none none"

        # Who has reserved works on; the other's Reserve fails, and what it writes waits.
        one.check(write("a"))
        assert written(two) == "a"
        one.check("tunedasd -S /dev/dasda")
        assert asked(one) == "reserved reserved"
        assert asked(two) == "other none"
        assert two.run("tunedasd -S /dev/dasda")[0] != 0
        assert asked(two) == "other none"
        two.check(f"({write('b')}; echo ended) >/tmp/written &")
        until(
            lambda: labs[1].state(SCHIDS[1])["scsw.actl"].endswith("start pending"),
            "the second guest's start is pending",
        )
        one.check(write("c"))
        assert written(one) == "c"
        assert "ended" not in two.check("cat /tmp/written")
        one.check("tunedasd -L /dev/dasda")
        until(lambda: "ended" in two.check("cat /tmp/written"), "the second guest has written")
        assert (written(one), written(two)) == ("b", "b")
        assert (asked(one), asked(two)) == ("none none", "none none")

        # Unconditional Reserve: who lost the disk is told, and waits, as its policy has it.
        one.check("tunedasd -S /dev/dasda")
        two.check("tunedasd -O /dev/dasda")
        assert asked(two) == "reserved reserved"
        assert asked(one) == "other reserved"
        one.check(f"({READ} of=/dev/null; echo ended) >/tmp/read 2>&1 &")
        until(lambda: asked(one) == "other none", "the first guest knows that it has lost it")
        assert "The device reservation was lost" in one.check("dmesg")
        assert "FORMAT 3 - Allegiance terminated" in one.check("dmesg")
        assert "ended" not in one.check("cat /tmp/read")
        two.check("tunedasd -L /dev/dasda")
        until(lambda: "ended" in one.check("cat /tmp/read"), "the first guest has read")
        assert "1+0 records in" in one.check("cat /tmp/read")

        # The same where a lost reservation shall be an error, until somebody has seen to it.
        one.check(f"echo fail >{BUS}/reservation_policy; tunedasd -S /dev/dasda")
        two.check("tunedasd -O /dev/dasda")
        assert one.run(f"{READ} of=/dev/null")[0] != 0
        assert asked(one) == "other lost"
        two.check("tunedasd -L /dev/dasda")
        assert one.run(f"{READ} of=/dev/null")[0] != 0
        one.check(f"echo reset >{BUS}/last_known_reservation_state; {READ} of=/dev/null")
        assert asked(one) == "none none"

        # A device that another system has reserved is boxed; it goes online by force.
        one.check("tunedasd -S /dev/dasda")
        two.check("offline 0.0.1234")
        assert two.run(f"echo 1 >{BUS}/online")[0] != 0
        assert two.check(f"cat {BUS}/availability") == "boxed"
        two.check(f"echo force >{BUS}/online")
        assert two.check(f"cat {BUS}/availability") == "good"
        until(lambda: two.run("[ -b /dev/dasda ]")[0] == 0, "the second guest has its disk")
        assert (written(two), asked(two)) == ("b", "none none")
        assert one.run(f"{READ} of=/dev/null")[0] != 0
        assert asked(one) == "none lost"
        for guest in (one, two):
            assert guest.power_off() == 0
            assert guest.errors() == ""
