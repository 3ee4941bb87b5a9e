"""All attacks together: what one attacker does until its mount has ended."""

import os
import time
from collections.abc import Callable

from attack import files, messages, mutants, programs
from attack.attacker import Attacker
from attack.seat import Seat

ATTACKS = (*files.ATTACKS, *programs.ATTACKS, *messages.ATTACKS, *mutants.ATTACKS)
"""Part of the plan, weight, and what is done."""


def attack(seat: Seat) -> None:
    """Attack at random, in the order that the seat's random numbers say."""
    attacker = Attacker(seat)
    found: list[tuple[float, Callable[[Attacker], None]]]
    found = [(weight, what) for part, weight, what in ATTACKS if seat.plan.has(part)]
    if not found:
        found = [(1.0, lambda _: time.sleep(0.1))]
    weights, kinds = zip(*found, strict=True)
    parent = os.getppid()
    while os.getppid() == parent:
        [what] = attacker.chance.choices(kinds, weights)
        what(attacker)
