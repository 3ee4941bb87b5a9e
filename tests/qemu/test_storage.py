"""Disks whose images are on an NBD server, by nbdfuse: slow, failing, silent, gone; and what Linux
makes of it. Each test has disks of its own."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.mounts import vfioccw
from lab.nbd import NbdFile, nbd_file
from lab.waits import until
from tests.qemu.conftest import MIB, Lab, digest, laboratory, make_eckd, make_fba
from vfioccw_fuse.guest.machine import Guest

HERE = "0.0.0300"
SLOW, PASSING, FAILING, SILENT, GONE, COPY = (f"0.0.031{n}" for n in range(6))
OTHER_COPY = "0.0.0320"
COPIES = COPY, OTHER_COPY
SLOW_ECKD, PASSING_ECKD, FAILING_ECKD, GONE_ECKD = (f"0.0.040{n}" for n in range(4))
FBAS = (SLOW, PASSING, FAILING, SILENT, GONE)
ECKDS = (SLOW_ECKD, PASSING_ECKD, FAILING_ECKD, GONE_ECKD)
DROP = "echo 3 > /proc/sys/vm/drop_caches"
READ = f"{DROP}; dd if=/dev/{{0}} bs=4096 skip={{1}} count=8 2>&1 >/dev/null"
WRITE = "dd if=/dev/zero of=/dev/{0} bs=4096 seek={1} count=8 conv=notrunc,fsync 2>&1"
ALARMS = "BUG|WARNING|Call Trace|Oops|hung|stuck|lockup"


@dataclass
class Stored:
    """The lab, and where the bytes of its disks are."""

    lab: Lab
    golden: Path
    nbd: dict[str, NbdFile]

    def image(self, schid: str) -> Path:
        """The file that the server of a disk has."""
        return self.lab.directory / f"{schid}.server"

    def error_file(self, schid: str) -> Path:
        """While it is there the server of a disk gives errors."""
        return self.lab.directory / f"{schid}.fails"

    def served(self, schid: str) -> tuple[object, ...]:
        """What nbdkit is told of a disk; the parameters of a filter follow those of the plugin."""
        file = "file", self.image(schid)
        if schid in (SLOW, SLOW_ECKD):
            return "--filter=delay", *file, "rdelay=20ms", "wdelay=20ms"
        errors = "error-rate=100%", f"error-file={self.error_file(schid)}"
        if schid in (FAILING, FAILING_ECKD):
            return "--filter=error", *file, *errors
        if schid in (PASSING, PASSING_ECKD):
            # An error that takes its time: the driver has not done with it before it passes.
            return "--filter=delay", "--filter=error", *file, "rdelay=100ms", *errors
        return ("--filter=cow", "file", self.golden) if schid in COPIES else file

    def starts(self, schid: str) -> int:
        """How many programs a disk was given."""
        return int(self.lab.state(schid)["starts"])


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stored]:
    place = tmp_path_factory.mktemp("storage")
    with contextlib.ExitStack() as servers, laboratory(place) as lab:
        here = make_fba(place / "here.img", MIB)
        made = Stored(lab, make_fba(place / "golden.img", 2 * MIB), {})
        for schid in FBAS:
            make_fba(made.image(schid), 2 * MIB)
        for schid in ECKDS:
            make_eckd(made.image(schid), 3)
        for schid in (*FBAS, *ECKDS, *COPIES):
            made.nbd[schid] = servers.enter_context(nbd_file(place / schid, *made.served(schid)))
        lab.mount(
            f"fba@{HERE}:{here}",
            *(f"fba@{schid}:{place / schid}" for schid in (*FBAS, *COPIES)),
            *(f"3390@{schid}:{place / schid}" for schid in ECKDS),
        )
        yield made
        done = vfioccw("umount", lab.path)
        # What was written to a server that a test has killed is not there.
        assert done.returncode == 0 or "may not be on stable storage" in done.stderr


@pytest.fixture(scope="module")
def guest(stored: Stored) -> Iterator[Guest]:
    schids = (HERE, *FBAS, COPY, *ECKDS)
    with stored.lab.guest(*(stored.lab.device(schid, schid[4:]) for schid in schids)) as running:
        yield running
        assert running.power_off() == 0
        assert running.errors() == ""


@pytest.fixture(autouse=True)
def calm(guest: Guest) -> Iterator[None]:
    """The guest's kernel complains of its disks at most."""
    yield
    assert not re.findall(f"(?:{ALARMS}).*", guest.check("dmesg -c"))


def attribute(schid: str, name: str, value: int) -> str:
    """The command that sets an attribute of the guest's device."""
    return f"echo {value} > /sys/bus/ccw/devices/{schid}/{name}"


def begin_reading(guest: Guest, name: str, block: int) -> None:
    """A read in the background; its last line will be in /tmp/read."""
    guest.check("rm -f /tmp/read")
    guest.check(f"({READ.format(name, block)} | tail -n 1 > /tmp/read) > /dev/null 2>&1 &")


def is_read(guest: Guest) -> bool:
    """Whether that read has ended."""
    return guest.run("[ -s /tmp/read ]")[0] == 0


@pytest.mark.parametrize("schid", [SLOW, SLOW_ECKD])
def test_what_a_slow_server_is_given_is_in_its_file(
    guest: Guest, stored: Stored, schid: str
) -> None:
    name = guest.check(f"online {schid}")
    guest.check("dd if=/dev/urandom of=/tmp/data bs=4096 count=16")
    guest.check(f"dd if=/tmp/data of=/dev/{name} bs=4096 seek=20 conv=notrunc,fsync")
    guest.check(f"{DROP}; dd if=/dev/{name} of=/tmp/back bs=4096 skip=20 count=16")
    guest.check("cmp /tmp/data /tmp/back")
    assert digest(stored.image(schid)) == digest(stored.nbd[schid].path)
    state = stored.lab.state(schid)
    assert (state["medium.reads"], state["medium.writes"]) == ("thread", "thread")


def test_a_server_that_is_silent_is_cleared_and_others_are_read(
    guest: Guest, stored: Stored
) -> None:
    name, other = guest.check(f"online {SILENT}; online {HERE}").split()
    guest.check(attribute(SILENT, "expires", 2))
    stored.nbd[SILENT].stop()
    begin_reading(guest, name, 100)
    for block in range(0, 200, 8):
        guest.check(READ.format(other, block))
    until(lambda: "timed out (2s)" in guest.check("dmesg"), "the driver gives up waiting")
    guest.check(READ.format(other, 200))
    assert not is_read(guest)
    stored.nbd[SILENT].go_on()
    until(lambda: is_read(guest), "the driver's next try is answered")
    assert "8+0 records out" in guest.check("cat /tmp/read")
    assert int(stored.lab.state(SILENT)["clears"]) > 0
    image = stored.image(SILENT)
    assert guest.check(f"{DROP}; md5sum < /dev/{name}").split()[0] == digest(image)


@pytest.mark.parametrize("schid", [PASSING, PASSING_ECKD])
def test_an_error_that_passes_is_not_seen(guest: Guest, stored: Stored, schid: str) -> None:
    name = guest.check(f"online {schid}")
    guest.check(attribute(schid, "retries", 1000))
    stored.error_file(schid).touch()
    before = stored.starts(schid)
    begin_reading(guest, name, 100)
    until(lambda: stored.starts(schid) > before + 3, "the driver tries again")
    assert not is_read(guest)
    stored.error_file(schid).unlink()
    until(lambda: is_read(guest), "the error has passed")
    assert "8+0 records out" in guest.check("cat /tmp/read")


@pytest.mark.parametrize(("schid", "sense"), [(FAILING, "10 00"), (FAILING_ECKD, "10 80")])
def test_an_error_that_stays_is_an_equipment_check_and_the_programs(
    guest: Guest, stored: Stored, schid: str, sense: str
) -> None:
    name = guest.check(f"online {schid}")
    guest.check(attribute(schid, "retries", 2))
    stored.error_file(schid).touch()
    for command in (READ.format(name, 400), WRITE.format(name, 420)):
        status, said = guest.run(command)
        assert status != 0
        assert "Input/output error" in said
    assert f"Sense(hex)  0- 7: {sense}" in guest.check("dmesg")
    stored.error_file(schid).unlink()
    guest.check(WRITE.format(name, 420))
    guest.check(READ.format(name, 400))


@pytest.mark.parametrize("schid", [GONE, GONE_ECKD])
def test_a_server_that_dies_gives_errors_and_nobody_hangs(
    guest: Guest, stored: Stored, schid: str
) -> None:
    name, other = guest.check(f"online {schid}; online {HERE}").split()
    guest.check(attribute(schid, "retries", 2))
    guest.check(READ.format(name, 0))
    stored.nbd[schid].kill()
    for command in (READ.format(name, 400), WRITE.format(name, 420)):
        status, said = guest.run(command)
        assert status != 0
        assert "Input/output error" in said
    assert stored.lab.state(schid)["fsm"] == "IDLE"
    guest.check(READ.format(other, 0))


def test_two_guests_write_to_their_copies_of_one_image(guest: Guest, stored: Stored) -> None:
    golden = stored.golden.read_bytes()
    with stored.lab.guest(stored.lab.device(OTHER_COPY, COPY[4:])) as other:
        for running, block in ((guest, 10), (other, 20)):
            name = running.check(f"online {COPY}")
            running.check(WRITE.format(name, block))
        for running, block in ((guest, 10), (other, 20)):
            name = running.check(f"online {COPY}")
            mine = bytearray(golden)
            mine[block * 4096 : (block + 8) * 4096] = bytes(8 * 4096)
            seen = running.check(f"{DROP}; md5sum < /dev/{name}").split()[0]
            assert seen == hashlib.md5(mine).hexdigest()
        assert other.power_off() == 0
    assert stored.golden.read_bytes() == golden
