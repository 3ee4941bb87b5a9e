"""Linux's own vfio_ccw under fire: whatever fails below it and however its clients end, it is well.

A client in the guest asks the driver; below the driver faults are switched on the mount. The kernel
must neither complain nor hang, keep no page of a client that is gone, and the device must work
again. Each fault has a disk of its own.

What is in flight when a client lets go of the device is a program that hangs, never one that ends
a moment later: the QEMU between answers the driver's CANCEL SUBCHANNEL with condition code 0 and
lets the program run on (css_do_xsch of hw/s390x/css.c), and status that comes when the driver has
disabled the subchannel makes it unusable for good. That is not the driver's doing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest

from faults.rounds import WRONG
from lab.mounts import vfioccw
from tests.qemu.conftest import Lab, laboratory, make_fba
from vfioccw_fuse.conform.kernel import KERNEL_SERIES, MODULES_SERIES, driver_of, guest_of
from vfioccw_fuse.conform.script import Case, script_of
from vfioccw_fuse.devices.faults import Fault
from vfioccw_fuse.guest.machine import Guest, booted

pytestmark = pytest.mark.slow

FAULTS: list[Fault] = [fault for fault in Fault if fault is not Fault.NONE]
SCHIDS = [f"0.0.{0x0300 + number:04x}" for number in range(len(FAULTS) + 3)]
"""A subchannel for each fault, and those of the other tests."""
PATHS, UNPLUGGED, MANY = SCHIDS[len(FAULTS) :]
FOREVER = {Fault.HANG, Fault.LOST_INTERRUPTION}
"""Behind these no interruption comes."""
TIMED = {Fault.PROCESSING, Fault.DELAY}
ENDINGS = ("reset", "reopen", "unmap; map", "quiet")
"""What a client does to the device while a program runs; after the last one it closes it."""
COUNT = 1000
"""More hits than a fault has here."""
STAY = "control nothing"
"""What a client waits for that `begin` lets run: nobody answers."""
ROUNDS = 40
GROWTH = 250
"""KiB that the kernel may have more after so many rounds: less than a page for each client. It
keeps what it had allocated once, and the driver a little for each eventfd that nobody detached."""
HELPERS = r"""
driver=/sys/bus/css/drivers/vfio_ccw
subchannel_of() { (cd /sys/bus/css/devices && grep -lxF "$1" */dev_busid | cut -d/ -f1); }
create() { # give the device of $subchannel its name, and $group its number
    echo $uuid >$driver/$subchannel/mdev_supported_types/vfio_ccw-io/create &&
        group=$(readlink $driver/$subchannel/$uuid/iommu_group) && group=${group##*/}
}
bind_again() { echo $subchannel >$driver/bind && create; }
until_true() { # for a minute
    for turn in $(seq 1200); do eval "$1" && return; sleep 0.05; done
    echo "never: $1"; return 1
}
begin() { # let a client run that will not end by itself, until it has said something $1 times
    client container $group $uuid /script >/tmp/said 2>&1 <&9 & pid=$!
    until_true "[ \$(grep -c ^write /tmp/said) -ge $1 ]"
}
end() { kill -9 $pid; wait $pid; [ $? = 137 ]; }
unbind() { # while a client has the device
    dmesg -c >>/tmp/dmesg
    echo $subchannel >$driver/unbind & unbinder=$!
    until_true "dmesg | grep -q 'blocked until released'" && end && wait $unbinder
    [ ! -e $driver/$subchannel ]
}
rounds() { # of clients that let go of the device while a program hangs
    for round in $(seq $1); do
        begin 9 && end && begin 9 && unbind && bind_again || return
    done
}
pinned() { # pages
    echo 1 >/proc/sys/vm/stat_refresh
    awk '/nr_foll_pin/ { n = $2 - n; lines++ } END { if (lines == 2) print n }' /proc/vmstat
}
unreclaimed() { echo 3 >/proc/sys/vm/drop_caches; awk '/SUnreclaim/ { print $2 }' /proc/meminfo; }
mkfifo /tmp/silence; exec 9<>/tmp/silence
hung=/proc/sys/kernel/hung_task_timeout_secs
[ ! -e $hung ] || echo 10 >$hung
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with laboratory(tmp_path_factory.mktemp("fire")) as made:
        images = [make_fba(made.directory / schid, 1 << 16) for schid in SCHIDS]
        made.mount(*(f"fba@{name}:{path}" for name, path in zip(SCHIDS, images, strict=True)))
        yield made


@pytest.fixture(scope="module", params=[MODULES_SERIES, KERNEL_SERIES])
def guest(request: pytest.FixtureRequest, lab: Lab) -> Iterator[Guest]:
    for schid in SCHIDS:
        lab.control(schid, "fault=none")
    options, parts = guest_of(driver_of(request.param), "", lab.directory, "")
    devices = [lab.device(schid, schid[4:], f",id=d{schid[4:]}") for schid in SCHIDS]
    with booted(replace(options, devices=devices, bound=SCHIDS), parts) as running:
        running.check(HELPERS)
        yield running
        assert running.power_off() == 0


class Target:
    """A device that the driver has, the client, and the faults below both."""

    def __init__(self, guest: Guest, lab: Lab, schid: str) -> None:
        self.guest = guest
        self._lab = lab
        self._schid = schid
        guest.check(
            f"subchannel=$(subchannel_of {schid}); "
            f"uuid=00000000-0000-4000-8000-00000000{schid[4:]}; create"
        )

    def switch(self, faults: str) -> None:
        self._lab.control(self._schid, f"fault={faults}")

    def hits(self) -> int:
        """How often the fault that was switched first has hit."""
        said = self._lab.file(self._schid, "control").read_text()
        left = re.search(r":count=(\d+)", said)
        assert left is not None, said
        return COUNT - int(left[1])

    def script(self, do: str) -> None:
        """Requests for the client; what they start moves data to three pages."""
        case = Case("fire", f"1000: 03/60/1 e4/20/8192@2800; {do}", "")
        self.guest.check(f"cat >/script <<'@@'\n{script_of([case])}@@")

    def ask(self, do: str) -> str:
        """Let a client do all of it, and close the device; what it says."""
        self.script(do)
        return self.guest.check("client container $group $uuid /script")

    def assert_nothing_is_kept(self) -> None:
        assert self.guest.check("pinned") == "0"

    def assert_well(self) -> None:
        """Without faults the device works, and the kernel is well."""
        self.switch("none")
        said = self.ask("run; load 2800 3")
        assert "events 1 irb 00c04007" in said
        assert said.endswith("storage ff6310")
        self.assert_kernel_is_well()

    def assert_kernel_is_well(self) -> None:
        """No page is pinned, nothing hangs, and the kernel has nothing to say."""
        self.assert_nothing_is_kept()
        assert self.guest.run("grep -l '^State:.D' /proc/[0-9]*/status")[1] == ""
        log = self.guest.check("cat /tmp/dmesg; dmesg -c; rm -f /tmp/dmesg")
        assert not [line for line in log.splitlines() if WRONG.search(line)]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.value)
def test_a_fault_whatever_the_client_does(guest: Guest, lab: Lab, fault: Fault) -> None:
    target = Target(guest, lab, SCHIDS[FAULTS.index(fault)])
    some = f"{fault.value}:count={COUNT}{':for=50ms' if fault in TIMED else ''}"
    begun = "start; quiet; csch; told" if fault in FOREVER else "start; told"
    # All starts meet it, and in between, when nothing runs, the client does what it can.
    target.switch(some)
    target.ask("; ".join(f"{begun}; hsch; told; csch; told; {ending}" for ending in ENDINGS))
    assert target.hits() >= len(ENDINGS)
    target.assert_nothing_is_kept()
    # The first start meets it, the second runs when the client does something to the device. One
    # that is refused does not count for what meets programs.
    first = f"{some}:start=1+hang{'' if fault is Fault.NOT_OPERATIONAL else ':start=2-'}"
    for ending in ENDINGS:
        target.switch(first)
        said = target.ask(f"{begun}; start; {ending}")
        assert "write 124 ret_code 0\n" in said
        target.assert_nothing_is_kept()
    for ended in ("end", "unbind"):
        target.switch(first)
        target.script(f"{begun}; start; {STAY}")
        guest.check(f"begin {3 if fault in FOREVER else 2}; {ended}")
        target.assert_nothing_is_kept()
    guest.check("bind_again")
    target.assert_well()


def test_paths_that_go_and_come_back_below_a_program(guest: Guest, lab: Lab) -> None:
    target = Target(guest, lab, PATHS)
    target.switch("hang")
    target.script(f"start; {STAY}")
    for ended in ("end", "unbind"):
        guest.check("begin 1")
        for state in ("off", "on", "off", "on"):
            for chpid in ("40", "41"):
                assert vfioccw("chp", state, lab.path, chpid).returncode == 0
        guest.check(ended)
        target.assert_nothing_is_kept()
    guest.check("bind_again")
    target.assert_well()


def test_a_device_that_is_unplugged_below_a_program(guest: Guest, lab: Lab) -> None:
    target = Target(guest, lab, UNPLUGGED)
    target.switch("hang")
    target.script(f"start; {STAY}")
    guest.check("begin 1; dmesg -c >>/tmp/dmesg")
    guest.monitor("device_del", id=f"d{UNPLUGGED[4:]}")
    guest.await_event("DEVICE_DELETED")
    guest.check("until_true \"dmesg | grep -q 'blocked until released'\" && end")
    guest.check("until_true '[ ! -e /sys/bus/css/devices/$subchannel ]'")
    target.assert_kernel_is_well()


def test_many_rounds_leave_nothing_behind(guest: Guest, lab: Lab) -> None:
    target = Target(guest, lab, MANY)
    target.switch("hang:command=04")
    target.script(
        "run; reset; run; reopen; run; unmap; map; run; "
        "1000: 03/60/1 04/20/8192@2800; start; reset; csch; told; start; unmap; map; csch; told; "
        f"start; {STAY}"
    )
    guest.check("rounds 5", 300)
    before = int(guest.check("unreclaimed"))
    guest.check(f"rounds {ROUNDS}", 1200)
    after = int(guest.check("unreclaimed"))
    assert after - before < GROWTH
    target.assert_well()
