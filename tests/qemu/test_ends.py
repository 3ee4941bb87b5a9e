"""One side dies under the other: the server under its guest, the guest in mid-write."""

from __future__ import annotations

import os
import signal
import time

from lab.mounts import servers_of, vfioccw
from lab.waits import until
from tests.qemu.conftest import MIB, Lab, by_each_way, make_eckd, make_fba

FBA, ECKD = "0.0.0313", "0.0.0314"


@by_each_way
def test_the_guest_of_a_dead_server_gets_errors(lab: Lab) -> None:
    fba = make_fba(lab.directory / "disk.img", 8 * MIB)
    eckd = make_eckd(lab.directory / "vol.ckd", 10)
    lab.mount(f"fba@{FBA}:{fba}", f"3390@{ECKD}:{eckd}")
    with lab.guest(lab.device(FBA, "1234"), lab.device(ECKD, "1235"), processors=2) as guest:
        one, two = guest.check("online 0.0.1234; online 0.0.1235").split()
        guest.send(
            f"(while dd if=/dev/zero of=/dev/{one} bs=4096 oflag=direct; do :; done) 2>/tmp/1 & "
            f"(while dd if=/dev/{two} of=/dev/null bs=64k iflag=direct; do :; done) 2>/tmp/2 & "
            "sleep 1; echo both run; wait; cat /tmp/1 /tmp/2"
        )
        guest.expect("both run")
        [server] = servers_of(lab.path)
        os.kill(server, signal.SIGKILL)
        died = time.monotonic()
        _, said = guest.result(30)
        assert time.monotonic() - died < 10
        assert said.count("Input/output error") == 2
        # And whoever comes later, too.
        status, said = guest.run(f"dd if=/dev/{one} of=/dev/null bs=4096 iflag=direct 2>&1")
        assert status == 1
        assert "Input/output error" in said
        lines = guest.errors().splitlines()
        assert len(lines) == 2
        assert {line.split(": ")[1] for line in lines} == {
            str(lab.path / FBA),
            str(lab.path / ECKD),
        }
        guest.check("offline 0.0.1234; offline 0.0.1235")
        assert guest.power_off() == 0


def test_a_guest_killed_in_mid_write_leaves_a_sound_image(lab: Lab) -> None:
    fba = make_fba(lab.directory / "disk.img", 8 * MIB)
    eckd = make_eckd(lab.directory / "vol.ckd", 10)
    lab.mount(f"fba@{FBA}:{fba}", f"3390@{ECKD}:{eckd}")
    devices = (lab.device(FBA, "1234"), lab.device(ECKD, "1235"))
    with lab.guest(*devices) as guest:
        one, two = guest.check("online 0.0.1234; online 0.0.1235").split()
        written = int(lab.state(ECKD)["starts"])
        guest.send(
            "tr '\\0' x < /dev/zero | head -c 65536 > /tmp/data; "
            f"(while dd if=/tmp/data of=/dev/{one} bs=4096 oflag=direct; do :; done) 2>/dev/null & "
            f"(while dd if=/tmp/data of=/dev/{two} bs=4096 oflag=direct; do :; done) 2>/dev/null & "
            "wait"
        )
        until(lambda: int(lab.state(ECKD)["starts"]) > written + 50, "the guest writes")
        # QEMU itself, which is the command's child.
        with open(f"/proc/{guest.process.pid}/task/{guest.process.pid}/children") as children:
            qemu = int(children.read())
        os.kill(qemu, signal.SIGKILL)
        assert guest.process.wait(30) == 128 + signal.SIGKILL
    until(lambda: lab.state(ECKD)["io_irq.attached"] == "0", "its connection has ended")
    for schid in (FBA, ECKD):
        state = lab.state(schid)
        assert state["order"] == "big"
        assert state["fsm"] == "IDLE"
        assert state["interruptions_shown"] == state["interruptions_queued"] == "0"
    done = vfioccw("image", "check", eckd)
    assert done.returncode == 0, done.stdout + done.stderr
    # The devices are as good as new.
    assert vfioccw("stsch", lab.path / FBA).returncode == 0
    with lab.guest(*devices) as guest:
        one, two = guest.check("online 0.0.1234; online 0.0.1235").split()
        guest.check(f"cat /dev/{one} /dev/{two} > /dev/null")
