"""What runs in the guest: disks that recover quickly, and fio on them, again and again.

A disk is used in four ways, each on blocks of its own: past the page cache and through it, the
device itself and files on ext4. fio writes blocks that it knows again, and reads them all back.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from vfioccw_fuse.guest import GuestError
from vfioccw_fuse.guest.machine import Guest

EXPIRES: Final = 2
"""Seconds after which Linux takes a request's interruption for lost; 300 unless it is told."""
RETRIES: Final = 255
"""How often Linux tries a request again; 32 on FBA disks unless it is told."""
FILE_SYSTEM: Final = "12m"
"""The part of a disk that ext4 has; what is behind it belongs to the jobs on the device itself."""
MISCOMPARE: Final = 84
"""EILSEQ, with which fio ends a job that read something else than it wrote."""
DEVICE = "/sys/bus/ccw/devices"
PLACES: Final = {
    "device, direct": "--filename=/dev/{0}1 --offset=14m --direct=1 --ioengine=libaio --iodepth=4",
    "device, cached": "--filename=/dev/{0}1 --offset=22m --fsync=16",
    "file, direct": "--filename=/mnt/{0}/direct --direct=1",
    "file, cached": "--filename=/mnt/{0}/cached --fsync=16",
}
"""The ways in which a disk is used, as options of fio."""
# Each turn of it has other data, so that a write that never came is seen. It ends when it is told
# to, or with the first error.
LOOP: Final = """\
cat >/tmp/load <<'END'
turn=0
rm -f /tmp/stop /tmp/ended /tmp/out.* /tmp/said.*
while [ ! -e /tmp/stop ]; do
    turn=$((turn + 1))
    fio $(cat /tmp/jobs) --randseed=$turn --output=/tmp/out.$turn >/tmp/said.$turn 2>&1 || break
done
echo $turn >/tmp/ended
END
"""


@dataclass(frozen=True)
class Disk:
    """A disk in the guest."""

    bus: str
    """Its bus id: 0.0.1234."""
    name: str
    """Its block device: dasda."""


@dataclass
class Outcome:
    """What fio said."""

    reads: int = 0
    writes: int = 0
    miscompares: int = 0
    """Jobs that read something else than was written."""
    errors: int = 0
    """Jobs that got an error from the kernel instead of their data."""

    def __iadd__(self, other: Outcome) -> Outcome:
        """Both together."""
        self.reads += other.reads
        self.writes += other.writes
        self.miscompares += other.miscompares
        self.errors += other.errors
        return self


def prepare(guest: Guest, buses: Iterable[str]) -> list[Disk]:
    """Set the disks online, make them recover quickly, and make their file systems."""
    disks = [Disk(bus, guest.check(f"online {bus}")) for bus in buses]
    guest.check(LOOP)
    for disk in disks:
        guest.check(f"echo {EXPIRES} >{DEVICE}/{disk.bus}/expires")
        guest.check(f"echo {RETRIES} >{DEVICE}/{disk.bus}/retries")
        guest.check(f"mkfs.ext4 -q /dev/{disk.name}1 {FILE_SYSTEM}", 120)
        guest.check(f"mkdir -p /mnt/{disk.name}")
    return disks


def jobs(disks: Sequence[Disk], rng: random.Random) -> str:
    """fio's command line for a round: two of the ways for each disk."""
    words = ["--thread --eta=never --output-format=json --gtod_reduce=1 --allrandrepeat=1"]
    words += ["--allow_mounted_write=1"]
    for disk in disks:
        for place in rng.sample(sorted(PLACES), 2):
            mix = rng.choice(("--rw=randwrite --verify_backlog=32", "--rw=randrw"))
            words += [
                f"--name={disk.name}-{place.replace(', ', '-')} {PLACES[place].format(disk.name)}",
                f"--size=2m --bs={rng.choice(('4k', '8k', '16k'))} {mix}",
                f"--verify={rng.choice(('crc32c', 'xxhash', 'sha1'))} --verify_fatal=1",
            ]
    return "\n".join(words)


def start(guest: Guest, disks: Sequence[Disk], line: str) -> None:
    """Let fio work at the disks until `stop`."""
    for disk in disks:
        guest.check(f"mount /dev/{disk.name}1 /mnt/{disk.name}")
    guest.check(f"cat >/tmp/jobs <<'END'\n{line}\nEND\nrm -f /tmp/ended")
    guest.check("(setsid sh /tmp/load >/dev/null 2>&1 &)")


def has_ended(guest: Guest) -> bool:
    """Whether fio works no more."""
    return guest.run("[ -e /tmp/ended ]")[0] == 0


def outcome(guest: Guest) -> Outcome:
    """What became of all that fio did since `start`, after its end."""
    total = Outcome()
    for turn in range(1, int(guest.check("cat /tmp/ended")) + 1):
        found = parse(guest.check(f"cat /tmp/out.{turn}"))
        if not found.writes:
            raise GuestError(f"fio did nothing: {guest.check(f'cat /tmp/said.{turn}')}")
        total += found
    return total


def parse(text: str) -> Outcome:
    """fio's report, in JSON; what it may say before that is no part of it."""
    found = Outcome()
    report: dict[str, Any] = json.loads(text[text.index("{") :])
    for job in report["jobs"]:
        found.reads += job["read"]["total_ios"]
        found.writes += job["write"]["total_ios"]
        found.miscompares += job["error"] == MISCOMPARE
        found.errors += job["error"] not in (0, MISCOMPARE)
    return found


def verify(guest: Guest) -> Outcome:
    """Read all that the last turn wrote once more, from the disks."""
    guest.check("sync; echo 3 >/proc/sys/vm/drop_caches")
    guest.run(
        "fio $(cat /tmp/jobs) --randseed=$(cat /tmp/ended) --verify_only --output=/tmp/again", 300
    )
    return parse(guest.check("cat /tmp/again"))


def finish(guest: Guest, disks: Sequence[Disk]) -> None:
    """Read the disks plainly, and check their file systems; GuestError if that does not work."""
    for disk in disks:
        guest.check(f"umount /mnt/{disk.name}", 120)
    guest.check("echo 3 >/proc/sys/vm/drop_caches")
    for disk in disks:
        guest.check(f"dd if=/dev/{disk.name} of=/dev/null bs=64k count=64", 120)
        guest.check(f"e2fsck -f -n /dev/{disk.name}1", 120)
