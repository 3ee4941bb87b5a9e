"""What a run was told: how long, from which seed, how many clients, and without which parts."""

import random
from collections.abc import Collection
from dataclasses import dataclass, field

PARTS = {
    "regions": "reads and writes of region files and `device`, at random offsets and sizes",
    "programs": "channel programs, valid, random and half-valid, and requests for them",
    "bulk": "reads of 32 MiB by data chains",
    "tic-reads": "reads of 32 MiB, again and again by a TIC",
    "files": "reset, trace, state, names, locks and all else that system calls can ask of a file",
    "control": "words in `control`, valid, random and mutated",
    "long-numbers": "words in `control` with numbers of thousands of digits",
    "irqs": "reads of irq files, blocked or not, poll, and their ends by SIGKILL",
    "messages": "messages of the socket, valid, random and mutated",
    "irqfds": "eventfds handed over",
    "maps": "maps of files and of processes, and files that are cut while they are mapped",
    "many-pages": "more than a thousand maps of one page, and a data chain over them",
    "descriptors": "descriptors of all kinds in messages",
    "connections": "hundreds of connections that stay",
    "full-table": "so many connections and descriptors that the server may have no more",
    "devices": "`add` and `remove` of devices, `chp`",
    "odd-paths": "paths in `add` with NUL, surrogates and the like",
    "odd-files": "directories, devices and links as media",
    "fifos": "FIFOs as media",
    "own-files": "files of the mount itself as media",
    "mutants": "media that were changed byte by byte, attached and used",
    "harass": "resets, faults and stolen interruptions for those whose writes are checked",
    "client-kills": "SIGKILL of clients at random moments",
    "server-kills": "SIGKILL of the server at random moments",
    "lazy-unmounts": "`fusermount3 -u -z` with clients at work",
    "unmounts": "ends of the mount in other ways than by SIGKILL",
}
"""What the attack is made of; each may be left out."""


@dataclass(frozen=True)
class Plan:
    """One run."""

    seed: int
    """What everything random is made from."""
    minutes: float = 5.0
    """How long it takes, unless *kills* says when it ends."""
    kills: int = 0
    """How many kills of clients and server end it; 0: *minutes* does."""
    clients: int = 6
    """Client processes at a time, the prober not counted."""
    without: Collection[str] = field(default_factory=frozenset)
    """Parts that are left out."""
    answer_within: float = 10.0
    """Seconds in which the NOP of an untouched subchannel must have ended."""
    hang: float = 60.0
    """Seconds after which what should end at once hangs."""
    keep: bool = False
    """Images and logs stay."""

    def has(self, part: str) -> bool:
        """Whether *part* is in this run."""
        assert part in PARTS, part
        return part not in self.without

    def chance(self, *names: object) -> random.Random:
        """The random numbers of what *names* say, in this run: the same each time."""
        return random.Random("/".join(map(str, (self.seed, *names))))

    def again(self) -> str:
        """The command that does the same once more."""
        words = ["scripts/soak", f"--seed {self.seed}", f"--clients {self.clients}"]
        words.append(f"--kills {self.kills}" if self.kills else f"--minutes {self.minutes:g}")
        left = [part for part in PARTS if part not in self.without]
        if len(left) < len(self.without):
            words += [f"--only {part}" for part in left]
        else:
            words += [f"--without {part}" for part in PARTS if part in self.without]
        return " ".join(words)
