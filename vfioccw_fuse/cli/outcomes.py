"""What came of a request, as people are shown it: condition code, interruption, data, sense."""

import time
from collections.abc import Iterator

import click

from ..client import Step, Subchannel
from ..client.subchannel import concludes, transferred
from ..errors import UserError
from ..regions import codec, descriptions
from ..regions.constants import (
    CCW_FLAG_SKIP,
    CCW_SIZE,
    SCHIB_SCSW_OFFSET,
    SCSW_STCTL_STATUS_PEND,
)
from ..regions.descriptions import DeviceWords
from ..regions.layouts import Irb
from .output import show_rows

_MEANING = {0: "accepted", 2: "status pending or busy", 3: "not operational"}
_SLICE = 1.0  # seconds between looks whether another client took the interruption


def say_cc(sub: Subchannel, instruction: str, cc: int) -> bool:
    """Print the condition code; whether it is 0.

    EBUSY means 1 or 2; what the subchannel says of itself, a moment later, tells which.
    """
    click.echo(f"{instruction}: cc {cc}, {_MEANING[cc]}")
    if cc == 2 and sub.has("schib_region"):
        schib = sub.store()
        status = descriptions.line_scsw(
            codec.SCSW.parse(codec.SCHIB.pack(schib), SCHIB_SCSW_OFFSET)
        )
        remedy = "tsch takes it" if schib.scsw_ctrl & SCSW_STCTL_STATUS_PEND else "csch ends it"
        click.echo(f"the subchannel says: {status} (vfioccw {remedy})")
    return cc == 0


def show_interruptions(
    sub: Subchannel, function: int, timeout: float, device: DeviceWords
) -> Irb | None:
    """Take and show interruptions up to the one that concludes *function*, and give its IRB.

    None, and a line that says so, if another client took it. UserError after *timeout* seconds.
    """
    began = time.monotonic()
    while True:
        left = began + timeout - time.monotonic()
        if sub.wait(max(0.0, min(_SLICE, left))):
            irb = sub.result()
            show_irb(f"interruption after {(time.monotonic() - began) * 1e3:.1f} ms", irb, device)
            if concludes(irb, function):
                return irb
        elif left <= 0:
            raise UserError(
                f"{sub.path}: no interruption within {timeout:g} s; it goes on: "
                "vfioccw tsch waits again, vfioccw csch ends it"
            )
        elif _taken_by_another(sub, function):
            click.echo("another client took the interruption")
            return None


def _taken_by_another(sub: Subchannel, function: int) -> bool:
    """Whether *function* has ended, and its status is not pending any more either."""
    if not sub.has("schib_region"):
        return False
    ctrl = sub.store().scsw_ctrl
    return not ctrl & (function | SCSW_STCTL_STATUS_PEND)


def show_irb(heading: str, irb: Irb, device: DeviceWords) -> None:
    """Print an IRB: in one line, then the fields that say something."""
    click.echo(f"{heading}: {descriptions.line_irb(irb, device)}")
    show_rows(descriptions.describe_irb(codec.IRB.pack(irb), device), all_rows=False)


def received(irb: Irb, steps: list[Step]) -> Iterator[tuple[int, Step, bytes]]:
    """Give number, CCW and bytes of every input CCW up to the one that *irb* says was the last.

    A program that was built with --ccw lies in one piece: an earlier CCW was executed earlier
    unless a TIC went back.
    """
    for number, step in enumerate(steps, 1):
        if irb.scsw_cpa and step.address + CCW_SIZE > irb.scsw_cpa:
            return
        data = transferred(irb, step)
        if data and _is_input(step.cmd) and not step.flags & CCW_FLAG_SKIP:
            yield number, step, data


def _is_input(code: int) -> bool:
    """Whether a command moves data into storage: read, read backward, sense (PoP 15)."""
    return code & 0x03 == 0x02 or code & 0x0F in (0x04, 0x0C)


def show_sense(sub: Subchannel, irb: Irb, device: DeviceWords) -> None:
    """Print the sense data that explains a unit check, by a Basic Sense if *irb* has none."""
    if descriptions.sense_of(irb):
        return  # the table of the IRB shows it
    sense = sub.sense()
    click.echo(f"sense, by a Basic Sense that followed: {descriptions.line_sense(sense, device)}")
    if sense:
        show_rows(descriptions.describe_sense(sense, device))
