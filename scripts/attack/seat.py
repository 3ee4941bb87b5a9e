"""What a client process has: the plan, its random numbers, its board, a way to say what is bad."""

import json
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from attack.board import Board
from attack.media import Media
from attack.plan import Plan


class Gone(Exception):
    """The mount has ended, and so has the work of its clients."""


@dataclass(frozen=True)
class Seat:
    """One client process of a run."""

    plan: Plan
    media: Media
    mount: Path
    """The mount point."""
    name: str
    """Which client it is: `attacker 3`."""
    number: int
    """Its number among all clients of the run, which no other living client has."""
    life: int
    """How often a client of this name has been started."""
    board: Board
    events: Path
    """The file where bad events are put down."""

    @property
    def chance(self) -> random.Random:
        """The random numbers of this client's life from their beginning."""
        return self.plan.chance(self.name, self.life)

    @property
    def place(self) -> Path:
        """A directory of its own for files that it makes."""
        place = self.media.disk / f"client{self.number}"
        place.mkdir(exist_ok=True)
        return place

    def bad(self, kind: str, what: str) -> None:
        """Put down a bad event: *kind* in a few words that are the same each time, and details."""
        told = {"time": time.time(), "who": f"{self.name} life {self.life}", "kind": kind}
        line = json.dumps({**told, "what": what}) + "\n"
        fd = os.open(self.events, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.write(fd, line.encode())
        os.close(fd)


Role = Callable[[Seat], None]
"""What a client does until its mount has ended: it returns then, or raises `Gone`."""
