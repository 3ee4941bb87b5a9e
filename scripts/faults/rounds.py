"""Rounds of random faults on a running guest, and what is judged after each.

A round: fio works at all disks, a number of things go wrong, all faults end. Then the guest must
come back by itself: fio ends, the disks can be read, the data of the last writes is right, the file
systems are whole, every path is used again, and the kernel has complained of nothing that is ours.
"""

from __future__ import annotations

import contextlib
import random
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from faults import FaultsError, load
from faults.inject import Injector
from lab.mounts import Mount, mounted_at, vfioccw
from vfioccw_fuse.guest import GuestError
from vfioccw_fuse.guest.machine import Guest, Options, booted

FBA, ECKD = "0.0.0313", "0.0.0314"
BUSES: Final = {FBA: "0.0.1234", ECKD: "0.0.1235"}
"""The subchannels, and where the guest sees them."""
FAULTS: Final = 12
"""Things that go wrong in a round."""
BACK_WITHIN: Final = 300.0
"""Seconds after the last fault in which a guest must have come back: Linux tries a path again for
10 seconds at a time, and a device that asked it to wait after a minute."""
ASKED_EVERY: Final = 0.5
"""Seconds between two questions to the guest whether fio still runs."""
WRONG: Final = re.compile(
    r"Kernel panic|Oops|BUG|Call Trace|Unable to handle|blocked for more than|WARNING:|stall"
    r"|soft lockup|EXT4-fs error|EXT4-fs warning|Remounting"
)
"""What a kernel says that has lost its way."""
ERROR: Final = re.compile(r"I/O error")
TIMED_OUT: Final = re.compile(r"timed out")


@dataclass
class Figures:
    """What happened in a round, or in many."""

    rounds: int = 0
    seconds: float = 0.0
    data: load.Outcome = field(default_factory=load.Outcome)
    """What fio did and found."""
    hits: Counter[str] = field(default_factory=Counter)
    """What went wrong, and how often."""
    messages: list[str] = field(default_factory=list)
    """Lines of the kernel's log that it must not have."""
    timeouts: int = 0
    """Requests whose interruption Linux took for lost."""

    def __iadd__(self, other: Figures) -> Figures:
        """Both together."""
        self.rounds += other.rounds
        self.seconds += other.seconds
        self.data += other.data
        self.hits += other.hits
        self.messages += other.messages
        self.timeouts += other.timeouts
        return self

    @property
    def good(self) -> bool:
        """No data was wrong or missing, and the kernel is well."""
        return not (self.data.miscompares or self.data.errors or self.messages)

    def __str__(self) -> str:
        """One line."""
        data = self.data
        return (
            f"{sum(self.hits.values())} faults, {data.writes} writes, {data.reads} reads, "
            f"{self.timeouts} time-outs, {data.miscompares} miscompares, "
            f"{data.errors} I/O errors, {len(self.messages)} bad messages, {self.seconds:.0f} s"
        )


@dataclass(frozen=True)
class Plan:
    """What shall be done."""

    rounds: int = 1
    seed: int = 1
    """What goes wrong, in which order, and how the disks are used."""
    faults: int = FAULTS
    """Things that go wrong in a round."""
    interface: str = "full"
    """The subchannels' interface."""
    iommufd: bool = False
    """`--iommufd` of `vfioccw qemu`."""


def run(plan: Plan, tell: Callable[[str], None]) -> Figures:
    """Boot a guest on new disks and do all rounds; *tell* gets a line after each.

    FaultsError if the guest does not come back, or not to the end.
    """
    total = Figures()
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        place = Path(name)
        for words in (
            ("fba", place / "disk.img", "--size", "40MiB"),
            ("3390", place / "vol.ckd", "--cylinders", "50"),
        ):
            made = vfioccw("image", "create", *words)
            if made.returncode:
                raise FaultsError(made.stderr.strip())
        with mounted_at(
            place / "mnt", "--interface", plan.interface,
            "--device", f"fba@{FBA}:{place / 'disk.img'}",
            "--device", f"3390@{ECKD}:{place / 'vol.ckd'}",
        ) as system:  # fmt: skip
            options = Options(
                devices=[
                    f"{system.path / schid},devno=fe.{bus[2:]}" for schid, bus in BUSES.items()
                ],
                iommufd=plan.iommufd,
                memory="1G",
                tools=True,
            )
            with booted(options) as guest:
                disks = load.prepare(guest, BUSES.values())
                for number in range(1, plan.rounds + 1):
                    rng = random.Random(f"{plan.seed} {number}")
                    figures = Round(guest, system, disks, rng, plan.faults).run()
                    total += figures
                    tell(f"round {number}: {figures}")
                if guest.power_off():
                    raise FaultsError(f"QEMU ended badly: {guest.errors().strip()}")
    return total


class Round:
    """One round on a guest that is well."""

    def __init__(
        self, guest: Guest, system: Mount, disks: list[load.Disk], rng: random.Random, faults: int
    ) -> None:
        self._guest = guest
        self._system = system
        self._disks = disks
        self._rng = rng
        self._faults = faults
        self._injector = Injector(system, list(BUSES), rng, self._goes_on)
        self._asked = 0.0
        self._ended = False

    def run(self) -> Figures:
        """Do it; FaultsError with all that is known if the guest does not come back."""
        begin = time.monotonic()
        figures = Figures(rounds=1)
        line = load.jobs(self._disks, self._rng)
        try:
            load.start(self._guest, self._disks, line)
            for _ in range(self._faults):
                if not self._goes_on():
                    break
                self._injector.step()
            self._injector.off()
            self._guest.check("touch /tmp/stop")
            self._until(self._has_ended, "fio ends")
            figures.data = load.outcome(self._guest)
            if not figures.data.errors:
                figures.data += load.verify(self._guest)
            load.finish(self._guest, self._disks)
            self._until(self._has_all_paths, "all paths are used again")
        except (FaultsError, GuestError, OSError) as error:
            raise FaultsError(f"{error}\n{self._last_words(line)}") from error
        log = self._guest.check("dmesg -c").splitlines()
        figures.hits = self._injector.hits
        figures.messages = [text for text in log if WRONG.search(text) or ERROR.search(text)]
        figures.timeouts = sum(bool(TIMED_OUT.search(text)) for text in log)
        figures.seconds = time.monotonic() - begin
        return figures

    def _goes_on(self) -> bool:
        """Whether fio still works; it is asked now and then."""
        if time.monotonic() - self._asked > ASKED_EVERY:
            self._ended = self._has_ended()
            self._asked = time.monotonic()
        return not self._ended

    def _has_ended(self) -> bool:
        return load.has_ended(self._guest)

    def _has_all_paths(self) -> bool:
        masks = "".join(f"cat {load.DEVICE}/{disk.bus}/../pimpampom;" for disk in self._disks)
        return set(self._guest.check(masks).splitlines()) == {"c0 c0 ff"}

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + BACK_WITHIN
        while not condition():
            if time.monotonic() > deadline:
                raise GuestError(f"not within {BACK_WITHIN:.0f} s after the last fault: {what}")
            time.sleep(ASKED_EVERY)

    def _last_words(self, line: str) -> str:
        """What may explain it: what was done, the subchannels, the kernel's log."""
        said = [f"fio {line}", *self._injector.done]
        for schid in BUSES:
            said += [schid, self._system.file("state", schid).read_text()]
        try:
            self._guest.run("echo w >/proc/sysrq-trigger")
            said.append(self._guest.run("dmesg | tail -n 200; tail -n 5 /tmp/said.* 2>&1")[1])
        except (GuestError, OSError):
            # It ended; what it said then may not have been read yet.
            with contextlib.suppress(GuestError, OSError):
                self._guest.expect("$^", 1.0)
            said += [self._guest.console_text[-8000:], self._guest.errors()]
        return "\n".join(map(str, said))
