"""What goes wrong: one thing after the other, drawn from a seed, on the disks of a mount.

Which things, on which disk and in which order the seed says; when is a matter of what the guest
does, as each waits until it has hit. Linux must be able to recover from each of them: the sense
data are those that its dasd drivers retry (dasd_3990_erp_inspect_24 of dasd_3990_erp.c; an FBA
disk's requests are retried whatever the sense data say), and one of two paths always stays.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from faults import FaultsError
from lab.mounts import Mount, vfioccw

EQUIPMENT_CHECK, DATA_CHECK, OVERRUN, BUS_OUT = 0x10, 0x08, 0x04, 0x20
"""Sense byte 0."""
FORMAT_24: Final = 0x80
"""In sense byte 27: the bytes are as dasd_3990_erp_inspect_24 reads them."""
REPEATABLE: Final = (EQUIPMENT_CHECK, DATA_CHECK, OVERRUN)
"""Retried at once. After a second bus-out check Linux waits a minute for the device."""
STATUSES: Final = (0x80, 0x04, 0x84, 0x85)
"""What a device says by itself: attention, device end, both; and a state change, all three bits."""
STATUSES_OF: Final = {"fba": (0x04,)}
"""What an FBA disk may say: attention is a kernel panic, as dasd_int_handler of dasd.c then calls
its driver's check_attention, which dasd_fba.c does not have."""
CHPIDS: Final = ("40", "41")
LONGEST: Final = 60.0
"""Seconds in which a fault hits, or it is taken back: path verification takes 10 for each try."""
VERIFICATION: Final = 12
"""Starts of a disk behind which a verification of its paths is over: it takes fewer."""
MOST_STEPS: Final = 3
"""How many other things may go wrong while a path is away."""


def sense_of(check: int) -> str:
    """The 32 sense bytes of a check, in hex."""
    data = bytearray(32)
    data[0], data[27] = check, FORMAT_24
    return data.hex()


class Injector:
    """Makes things go wrong with the disks *schids* of *system*, as *rng* says."""

    def __init__(
        self, system: Mount, schids: Sequence[str], rng: random.Random, goes_on: Callable[[], bool]
    ) -> None:
        """*goes_on*: whether the guest still works at the disks; nothing hits if it does not."""
        self.hits: Counter[str] = Counter()
        """How often what hit: starts for faults and delays, else how often it was done."""
        self.done: list[str] = []
        """All that was done, in order, as it is written to `control`."""
        self._system = system
        self._schids = schids
        self._statuses = {
            schid: STATUSES_OF.get(system.state(schid)["device"].split()[0], STATUSES)
            for schid in schids
        }
        self._rng = rng
        self._goes_on = goes_on
        self._away = ""
        self._steps_away = 0
        self._kinds: dict[str, tuple[int, Callable[[str], None]]] = {
            "lost-interruption": (3, self._lose),
            "hang": (3, self._hang),
            "unit-check": (4, self._check),
            "busy": (3, self._busy),
            "delay": (2, self._delay),
            "unsolicited": (3, self._speak),
            "chp": (2, self._path),
        }

    def step(self) -> None:
        """One thing goes wrong; it is over when this comes back, but for a path that is away."""
        if self._away:
            self._steps_away -= 1
            if self._steps_away < 0:
                self._path_back()
        names = list(self._kinds)
        [name] = self._rng.choices(names, [self._kinds[name][0] for name in names])
        self._kinds[name][1](self._rng.choice(self._schids))

    def off(self) -> None:
        """Nothing goes wrong any more."""
        if self._away:
            self._path_back()
        for schid in self._schids:
            self._system.control("fault=none delay=0s", schid)

    # --- kinds --------------------------------------------------------------------------------

    def _lose(self, schid: str) -> None:
        self._fault(schid, "lost-interruption", self._rng.randint(1, 3))

    def _hang(self, schid: str) -> None:
        self._fault(schid, "hang", self._rng.randint(1, 3))

    def _busy(self, schid: str) -> None:
        self._fault(schid, "busy", self._rng.randint(1, 3))

    def _check(self, schid: str) -> None:
        if self._rng.random() < 0.25:
            check, count = BUS_OUT, 1
        else:
            check, count = self._rng.choice(REPEATABLE), self._rng.randint(1, 3)
        csense = self._rng.choice(("on", "off"))
        self._fault(schid, "unit-check", count, f" sense={sense_of(check)} csense={csense}")

    def _fault(self, schid: str, fault: str, count: int, more: str = "") -> None:
        self._control(schid, f"fault={fault} count={count}{more}")
        speaks = self._rng.random() < 0.5
        status = self._rng.choice(self._statuses[schid])
        left = count
        deadline = time.monotonic() + LONGEST
        while left and self._goes_on() and time.monotonic() < deadline:
            now = self._left(schid)
            if now < left and speaks:
                # While the start that was hit is active, or just after its end.
                self._say(schid, status)
                speaks = False
            left = now
            time.sleep(0.02)
        if left:
            self._control(schid, "fault=none")
        self.hits[fault] += count - left

    def _left(self, schid: str) -> int:
        """How many starts the fault still hits."""
        lines = self._system.file("control", schid).read_text().split()
        words = dict(line.split("=", 1) for line in lines)
        return 0 if words["fault"] == "none" else int(words["count"])

    def _delay(self, schid: str) -> None:
        self._control(schid, f"delay={self._rng.randint(1, 300)}ms")
        self.hits["delay"] += self._until_starts(schid, self._rng.randint(2, 20))
        self._control(schid, "delay=0s")

    def _speak(self, schid: str) -> None:
        for _ in range(self._rng.randint(1, 3)):
            self._say(schid, self._rng.choice(self._statuses[schid]))
            self._until_starts(schid, self._rng.randint(0, 3))

    def _say(self, schid: str, status: int) -> None:
        self._control(schid, f"unsolicited={status:02x}")
        self.hits[f"unsolicited {status:02x}"] += 1

    def _path(self, _: str) -> None:
        if self._away:
            return
        how, chpid = self._rng.choice(("vary-off", "off")), self._rng.choice(CHPIDS)
        self._chp(how, chpid)
        self.hits[f"chp {how}"] += 1
        self._away, self._steps_away = chpid, self._rng.randint(0, MOST_STEPS)
        self._until_verified()

    def _path_back(self) -> None:
        self._chp("on", self._away)
        self._away = ""
        self._until_verified()

    def _until_verified(self) -> None:
        """Wait until Linux has looked at the paths, and works with the disks again.

        A request that waits for that for too long has failed (dasd_term_IO), by rights.
        """
        for schid in self._schids:
            self._until_starts(schid, VERIFICATION)

    # --- the mount ----------------------------------------------------------------------------

    def _control(self, schid: str, words: str) -> None:
        self.done.append(f"{schid}: {words}")
        self._system.control(words, schid)

    def _chp(self, how: str, chpid: str) -> None:
        self.done.append(f"chp {how} {chpid}")
        done = vfioccw("chp", how, self._system.path, chpid)
        if done.returncode:
            raise FaultsError(done.stderr.strip())

    def _until_starts(self, schid: str, number: int) -> int:
        """Wait for *number* more starts, or until it is in vain; how many came."""
        before = came = int(self._system.state(schid)["starts"])
        deadline = time.monotonic() + LONGEST
        while came < before + number and self._goes_on() and time.monotonic() < deadline:
            time.sleep(0.02)
            came = int(self._system.state(schid)["starts"])
        return came - before
