"""`vfioccw ssch`, `hsch`, `csch`, `stsch`, `tsch`: a subchannel driven by hand.

These show what a client sees and do nothing behind its back: a channel program that does not end
is left running, for `vfioccw csch` to end.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import click

from ..client import Program, Step, Subchannel
from ..client.program import ALL_PATHS, Room
from ..client.subchannel import concludes, ended_well, received
from ..errors import UserError
from ..regions import codec, descriptions
from ..regions.constants import (
    CCW_SIZE,
    ORB_SIZE,
    SCHIB_SCSW_OFFSET,
    SCSW_DSTAT_UNIT_CHECK,
    SCSW_FCTL_CLEAR_FUNC,
    SCSW_FCTL_HALT_FUNC,
    SCSW_FCTL_START_FUNC,
    SCSW_STCTL_STATUS_PEND,
)
from ..regions.descriptions import DeviceWords
from ..regions.layouts import Irb
from . import EXIT_FAILURE, EXIT_OK, complain
from .asjson import json_option, show_json
from .ccwtext import BadCcw, build
from .commandcodes import commands_of
from .offers import offering
from .output import show_rows
from .places import SUBCHANNEL
from .reports import Report, fields, reporting
from .signals import end_on_signals
from .sizes import ADDRESS, SECONDS
from .subchannels import opened, read_state

_MEANING = {0: "accepted", 2: "status pending or busy", 3: "not operational"}
_FUNCTIONS = SCSW_FCTL_START_FUNC | SCSW_FCTL_HALT_FUNC | SCSW_FCTL_CLEAR_FUNC
_SLICE = 1.0  # seconds between looks whether another client took the interruption
Decorated = TypeVar("Decorated", bound=Callable[..., Any])
"""The function of a command while its options are added."""


def _common(command: "Decorated") -> "Decorated":
    """Add the options of every instruction that an interruption concludes."""
    for option in (
        click.option(
            "--timeout",
            type=SECONDS,
            default=5.0,
            show_default=True,
            help="Seconds to wait for the interruption.",
        ),
        click.option("--no-wait", is_flag=True, help="End when the condition code is known."),
        json_option,
    ):
        command = option(command)
    return command


@click.command(name="ssch")
@click.argument("subchannel", type=SUBCHANNEL)
@click.option(
    "--ccw",
    "ccws",
    multiple=True,
    metavar="COMMAND[,FLAG]...[,COUNT][,DATA]",
    shell_complete=offering("commands"),
    help="A CCW; give it once for each, they are chained in this order. `--ccw help` lists the "
    "commands of the device.",
)
@click.option("--program", metavar="HEX", help="The CCWs as they are in storage, 8 bytes each.")
@click.option("--cpa", type=ADDRESS, help="A program that is in storage already, by its address.")
@click.option("--orb", metavar="HEX", help="A complete ORB, 12 bytes, big endian.")
@click.option(
    "--format",
    "fmt",
    type=click.IntRange(0, 1),
    default=1,
    show_default=True,
    help="Format of the CCWs.",
)
@click.option(
    "--prefetch/--no-prefetch",
    default=True,
    show_default=True,
    help="Let the channel fetch CCWs before they are due.",
)
@click.option(
    "--idaw",
    type=click.IntRange(1, 2),
    default=2,
    show_default=True,
    help="Format of the IDAWs of a CCW with the flag ida.",
)
@click.option("--lpm", type=ADDRESS, default=ALL_PATHS, show_default="0xff", help="Paths allowed.")
@click.option("--key", type=click.IntRange(0, 15), default=0, help="Storage key.  [default: 0]")
@click.option("--intparm", type=ADDRESS, default=0, help="Interruption parameter.  [default: 0]")
@click.option("--no-sense", is_flag=True, help="After a unit check, send no Basic Sense.")
@_common
def ssch_command(
    subchannel: str,
    ccws: tuple[str, ...],
    program: str | None,
    cpa: int | None,
    orb: str | None,
    fmt: int,
    prefetch: bool,
    idaw: int,
    lpm: int,
    key: int,
    intparm: int,
    no_sense: bool,
    no_wait: bool,
    timeout: float,
    as_json: bool,
) -> int:
    """START SUBCHANNEL: start a channel program on SUBCHANNEL (MNT/0.0.0313).

    Shows the condition code, the interruption in words, and what was read. The exit status is 0 if
    the program was accepted and ended with channel end and device end alone. A program that is not
    waited for stays in storage while it runs, but its room is no longer reserved.

    \b
    A CCW is written COMMAND[,FLAG]...[,COUNT][,DATA]:
      COMMAND   hexadecimal (e4), or a name: nop, sense, sense-id, rdc, tic, read, write, locate,
                define-extent ... as vfioccw decode ccw shows them
      FLAG      sli, cd (chain data), cc (chain command), skip, pci, ida, suspend, mida; all but the
                last CCW get cc by themselves unless they say cd
      COUNT     decimal; without it the length of DATA
      DATA      =HEX      these bytes, placed in storage
                @ADDRESS  data that is in storage (with ida, mida: the list)
                #N        for tic: the Nth --ccw, counted from 1
                nothing   room is found for COUNT bytes, and shown afterwards

    \b
    Examples:
      vfioccw ssch /tmp/m/0.0.0313 --ccw nop
      vfioccw ssch /tmp/m/0.0.0313 --ccw sense-id,sli,20
      vfioccw ssch /tmp/m/0.0.0313 --ccw define-extent,=40000200000000000000000000000000 \\
          --ccw locate,=0600000100000000 --ccw read,512
      vfioccw ssch /tmp/m/0.0.0313 --program e4200014_00002000
      vfioccw ssch /tmp/m/0.0.0313 --orb 00000000_00c2ff00_00001000 --no-wait
    """
    given = [bool(ccws), program is not None, cpa is not None, orb is not None]
    if sum(given) != 1:
        raise click.UsageError("Say what to start: one of --ccw, --program, --cpa, --orb.")
    if lpm > 0xFF or intparm > 0xFFFFFFFF or (cpa or 0) > 0xFFFFFFFF:
        raise click.UsageError("--lpm has 8 bits, --intparm and --cpa have 32.")
    with (
        opened(subchannel) as sub,
        reporting(subchannel, as_json=as_json) as report,
        Program(sub.storage, fmt=fmt, prefetch=prefetch, idaw=idaw) as built,
    ):
        if "help" in ccws:
            commands = commands_of(report.device)
            report.commands([(code, [n for n in names if n]) for code, *names in commands])
            return EXIT_OK
        steps: list[Step] = []
        if orb is not None:
            block = codec.ORB.parse(_hex(orb, "--orb", ORB_SIZE))
        else:
            if cpa is None:
                if program is not None:
                    # A room alone, without CCWs of the builder's own, is the program.
                    first: Room | Step = built.room(*_ccws(program))
                else:
                    steps = _build(built, ccws, report.device)
                    first = steps[0]
                built.reserve()
                if _holds_a_program(subchannel):
                    # It may lie where this one would: nothing is written, and cc 2 is certain.
                    _say_cc(report, sub, "ssch", 2)
                    return EXIT_FAILURE
                _lay_out(built)
                cpa = first.address
            block = built.orb(intparm, lpm, key=key, cpa=cpa)
        with _saying_what_goes_on(sub, "start function"):
            if not _say_cc(report, sub, "ssch", sub.start(block)):
                return EXIT_FAILURE
            if no_wait:
                return EXIT_OK
            irb = _take_interruptions(report, sub, SCSW_FCTL_START_FUNC, timeout)
        if irb is None:
            return EXIT_FAILURE
        for number, step, data in received(irb, steps):
            report.received(number, step.data_address, data)
        # If the IRB has the sense data, its fields show it.
        check = irb.scsw_dstat & SCSW_DSTAT_UNIT_CHECK and not descriptions.sense_of(irb)
        if check and not no_sense:
            report.sense(sub.sense())
        return EXIT_OK if ended_well(irb) else EXIT_FAILURE


@click.command(name="hsch")
@click.argument("subchannel", type=SUBCHANNEL)
@_common
def hsch_command(subchannel: str, no_wait: bool, timeout: float, as_json: bool) -> int:
    """HALT SUBCHANNEL: halt what runs on SUBCHANNEL (MNT/0.0.0313).

    Shows the condition code and the interruption that concludes the halt function.

    \b
    Example:
      vfioccw hsch /tmp/m/0.0.0313
    """
    with opened(subchannel) as sub, reporting(subchannel, as_json=as_json) as report:
        return _end(report, sub, SCSW_FCTL_HALT_FUNC, no_wait, timeout)


@click.command(name="csch")
@click.argument("subchannel", type=SUBCHANNEL)
@_common
def csch_command(subchannel: str, no_wait: bool, timeout: float, as_json: bool) -> int:
    """CLEAR SUBCHANNEL: end all that goes on at SUBCHANNEL (MNT/0.0.0313).

    Works always, also while a program hangs or an interruption is pending, which is discarded.

    \b
    Example:
      vfioccw csch /tmp/m/0.0.0313
    """
    with opened(subchannel) as sub, reporting(subchannel, as_json=as_json) as report:
        return _end(report, sub, SCSW_FCTL_CLEAR_FUNC, no_wait, timeout)


@click.command(name="stsch")
@click.argument("subchannel", type=SUBCHANNEL)
@json_option
def stsch_command(subchannel: str, as_json: bool) -> int:
    """STORE SUBCHANNEL: show the SCHIB of SUBCHANNEL (MNT/0.0.0313) in words.

    \b
    Example:
      vfioccw stsch /tmp/m/0.0.0313
    """
    with opened(subchannel) as sub:
        schib = codec.SCHIB.pack(sub.store())
    rows = descriptions.describe_schib(schib)
    if as_json:
        show_json({"schib": schib.hex(), "fields": fields(rows)})
    else:
        show_rows(rows)
    return EXIT_OK


@click.command(name="tsch")
@click.argument("subchannel", type=SUBCHANNEL)
@click.option(
    "--timeout",
    type=SECONDS,
    default=5.0,
    show_default=True,
    help="Seconds to wait for the interruption.",
)
@json_option
def tsch_command(subchannel: str, timeout: float, as_json: bool) -> int:
    """TEST SUBCHANNEL: wait for the next interruption of SUBCHANNEL and take it.

    \b
    Example:
      vfioccw ssch /tmp/m/0.0.0313 --ccw nop --no-wait
      vfioccw tsch /tmp/m/0.0.0313
    """
    with opened(subchannel) as sub, reporting(subchannel, as_json=as_json) as report:
        if not sub.wait(timeout):
            raise UserError(f"{subchannel}: no interruption within {timeout:g} s")
        report.interruption(sub.result())
    return EXIT_OK


def _end(report: Report, sub: Subchannel, function: int, no_wait: bool, timeout: float) -> int:
    """Halt or clear, and tell how that went on; give the exit status."""
    clears = function == SCSW_FCTL_CLEAR_FUNC
    with _saying_what_goes_on(sub, "clear function" if clears else "halt function"):
        cc = sub.clear() if clears else sub.halt()
        if not _say_cc(report, sub, "csch" if clears else "hsch", cc):
            return EXIT_FAILURE
        if no_wait:
            return EXIT_OK
        irb = _take_interruptions(report, sub, function, timeout)
    return EXIT_OK if irb is not None else EXIT_FAILURE


def _say_cc(report: Report, sub: Subchannel, instruction: str, cc: int) -> bool:
    """Tell the condition code; whether it is 0.

    EBUSY means 1 or 2; what the subchannel says of itself, a moment later, tells which.
    """
    report.cc(instruction, cc, _MEANING[cc])
    if cc == 2 and sub.has("schib_region"):
        schib = sub.store()
        remedy = "tsch takes it" if schib.scsw_ctrl & SCSW_STCTL_STATUS_PEND else "csch ends it"
        scsw = codec.SCSW.parse(codec.SCHIB.pack(schib), SCHIB_SCSW_OFFSET)
        report.status(scsw, f"vfioccw {remedy}")
    return cc == 0


def _hex(text: str, option: str, size: int | None = None) -> bytes:
    """Give the bytes of hexadecimal *text*, which must be *size* many; UsageError if not."""
    try:
        data = descriptions.from_hex(text)
    except ValueError as wrong:
        raise click.UsageError(f"{option}: {wrong}") from None
    if size is not None and len(data) != size:
        raise click.UsageError(f"{option} takes {size} bytes, these are {len(data)}.")
    return data


def _ccws(text: str) -> tuple[int, bytes]:
    """Give length and bytes of `--program`; UsageError for what are no whole CCWs."""
    data = _hex(text, "--program")
    if not data or len(data) % CCW_SIZE:
        raise click.UsageError(f"--program takes CCWs of {CCW_SIZE} bytes, these are {len(data)}.")
    return len(data), data


def _holds_a_program(path: str) -> bool:
    """Whether the subchannel *path* has a function or status, and would refuse another start."""
    scsw = codec.SCSW.parse(bytes.fromhex(read_state(path)["scsw"]))
    return bool(scsw.ctrl & (_FUNCTIONS | SCSW_STCTL_STATUS_PEND))


def _lay_out(built: Program) -> None:
    try:
        built.lay_out()
    except ValueError as wrong:
        raise UserError(f"--ccw: {wrong}") from None


def _build(built: Program, specs: tuple[str, ...], device: DeviceWords) -> list[Step]:
    """Build the program that `--ccw` describes; UsageError for a bad description."""
    try:
        return build(built, specs, device)
    except BadCcw as wrong:
        raise click.UsageError(f"--ccw {wrong.message}") from None


def _take_interruptions(
    report: Report, sub: Subchannel, function: int, timeout: float
) -> Irb | None:
    """Take and tell interruptions up to the one that concludes *function*, and give its IRB.

    None if another client took it. UserError after *timeout* seconds.
    """
    began = time.monotonic()
    while True:
        left = began + timeout - time.monotonic()
        if sub.wait(max(0.0, min(_SLICE, left))):
            irb = sub.result()
            report.interruption(irb, time.monotonic() - began)
            if concludes(irb, function):
                return irb
        elif left <= 0:
            raise UserError(
                f"{sub.path}: no interruption within {timeout:g} s; it goes on: "
                "vfioccw tsch waits again, vfioccw csch ends it"
            )
        elif _taken_by_another(sub, function):
            report.taken()
            return None


@contextlib.contextmanager
def _saying_what_goes_on(sub: Subchannel, function: str) -> Iterator[None]:
    """At a signal say that *function* goes on, or that its interruption is left, if that is so."""
    end_on_signals()
    before = sub.scsw
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        if sub.scsw is before:
            raise  # the request was not accepted
        ctrl = sub.store().scsw_ctrl if sub.has("schib_region") else _FUNCTIONS
        if ctrl & SCSW_STCTL_STATUS_PEND:
            complain(f"{sub.path}: the {function} has ended; vfioccw tsch takes its interruption")
        elif ctrl & _FUNCTIONS:
            what = f"{sub.path}: the {function} goes on"
            complain(f"{what}; vfioccw tsch waits for it, vfioccw csch ends it")
        raise


def _taken_by_another(sub: Subchannel, function: int) -> bool:
    """Whether *function* has ended, and its status is not pending any more either."""
    if not sub.has("schib_region"):
        return False
    ctrl = sub.store().scsw_ctrl
    return not ctrl & (function | SCSW_STCTL_STATUS_PEND)
