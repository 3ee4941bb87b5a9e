"""`vfioccw ssch`, `hsch`, `csch`, `stsch`, `tsch`: a subchannel driven by hand.

These show what a client sees and do nothing behind its back: a channel program that does not end
is left running, for `vfioccw csch` to end.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from ..client import Program, Step, Subchannel
from ..client.program import ALL_PATHS, Room
from ..client.subchannel import ended_well
from ..devices.catalog import words_of
from ..errors import UserError
from ..regions import codec, descriptions
from ..regions.constants import (
    ORB_CTRL0_MASK_KEY,
    ORB_SIZE,
    SCSW_DSTAT_UNIT_CHECK,
    SCSW_FCTL_CLEAR_FUNC,
    SCSW_FCTL_HALT_FUNC,
    SCSW_FCTL_START_FUNC,
    SCSW_STCTL_STATUS_PEND,
)
from ..regions.descriptions import EVERY_DEVICE, DeviceWords
from ..regions.layouts import Orb
from . import EXIT_FAILURE, EXIT_OK
from .outcomes import received, say_cc, show_interruptions, show_irb, show_sense
from .output import show_rows
from .programs import append_all, ccws_of, hex_of
from .sizes import ADDRESS, SECONDS
from .subchannels import opened, read_state
from .text import dump

_FUNCTIONS = SCSW_FCTL_START_FUNC | SCSW_FCTL_HALT_FUNC | SCSW_FCTL_CLEAR_FUNC
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
    ):
        command = option(command)
    return command


@click.command(name="ssch")
@click.argument("subchannel", type=click.Path())
@click.option(
    "--ccw",
    "ccws",
    multiple=True,
    metavar="COMMAND[,FLAG]...[,COUNT][,DATA]",
    help="A CCW; give it once for each, they are chained in this order.",
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
    with opened(subchannel) as sub:
        device = _words(subchannel)
        with Program(sub.storage, fmt=fmt, prefetch=prefetch, idaw=idaw) as built:
            steps: list[Step] = []
            if orb is not None:
                block = codec.ORB.parse(hex_of(orb, "--orb", ORB_SIZE))
            else:
                if cpa is None:
                    if program is not None:
                        # A room alone, without CCWs of the builder's own, is the program.
                        first: Room | Step = built.room(*ccws_of(program))
                    else:
                        steps = append_all(built, ccws, device)
                        first = steps[0]
                    built.reserve()
                    if _holds_a_program(subchannel):
                        # It may lie where this one would: nothing is written, and cc 2 is certain.
                        say_cc(sub, "ssch", 2)
                        return EXIT_FAILURE
                    _lay_out(built)
                    cpa = first.address
                block = Orb(
                    intparm=intparm,
                    ctrl0=built.ctrl0 | (key << 12 & ORB_CTRL0_MASK_KEY),
                    lpm=lpm,
                    ctrl1=0,
                    cpa=cpa,
                )
            if not say_cc(sub, "ssch", sub.start(block)):
                return EXIT_FAILURE
            if no_wait:
                return EXIT_OK
            irb = show_interruptions(sub, SCSW_FCTL_START_FUNC, timeout, device)
            if irb is None:
                return EXIT_FAILURE
            for number, step, data in received(irb, steps):
                click.echo(f"CCW {number} read {len(data)} bytes at {step.data_address:#x}:")
                for line in dump(data):
                    click.echo(line)
            if irb.scsw_dstat & SCSW_DSTAT_UNIT_CHECK and not no_sense:
                show_sense(sub, irb, device)
            return EXIT_OK if ended_well(irb) else EXIT_FAILURE


@click.command(name="hsch")
@click.argument("subchannel", type=click.Path())
@_common
def hsch_command(subchannel: str, no_wait: bool, timeout: float) -> int:
    """HALT SUBCHANNEL: halt what runs on SUBCHANNEL (MNT/0.0.0313).

    Shows the condition code and the interruption that concludes the halt function.

    \b
    Example:
      vfioccw hsch /tmp/m/0.0.0313
    """
    with opened(subchannel) as sub:
        return _ending(sub, "hsch", sub.halt(), SCSW_FCTL_HALT_FUNC, no_wait, timeout, subchannel)


@click.command(name="csch")
@click.argument("subchannel", type=click.Path())
@_common
def csch_command(subchannel: str, no_wait: bool, timeout: float) -> int:
    """CLEAR SUBCHANNEL: end all that goes on at SUBCHANNEL (MNT/0.0.0313).

    Works always, also while a program hangs or an interruption is pending, which is discarded.

    \b
    Example:
      vfioccw csch /tmp/m/0.0.0313
    """
    with opened(subchannel) as sub:
        return _ending(sub, "csch", sub.clear(), SCSW_FCTL_CLEAR_FUNC, no_wait, timeout, subchannel)


@click.command(name="stsch")
@click.argument("subchannel", type=click.Path())
def stsch_command(subchannel: str) -> int:
    """STORE SUBCHANNEL: show the SCHIB of SUBCHANNEL (MNT/0.0.0313) in words.

    \b
    Example:
      vfioccw stsch /tmp/m/0.0.0313
    """
    with opened(subchannel) as sub:
        show_rows(descriptions.describe_schib(codec.SCHIB.pack(sub.store())))
    return EXIT_OK


@click.command(name="tsch")
@click.argument("subchannel", type=click.Path())
@click.option(
    "--timeout",
    type=SECONDS,
    default=5.0,
    show_default=True,
    help="Seconds to wait for the interruption.",
)
def tsch_command(subchannel: str, timeout: float) -> int:
    """TEST SUBCHANNEL: wait for the next interruption of SUBCHANNEL and take it.

    \b
    Example:
      vfioccw ssch /tmp/m/0.0.0313 --ccw nop --no-wait
      vfioccw tsch /tmp/m/0.0.0313
    """
    with opened(subchannel) as sub:
        if not sub.wait(timeout):
            raise UserError(f"{subchannel}: no interruption within {timeout:g} s")
        show_irb("interruption", sub.result(), _words(subchannel))
    return EXIT_OK


def _ending(
    sub: Subchannel,
    instruction: str,
    cc: int,
    function: int,
    no_wait: bool,
    timeout: float,
    path: str,
) -> int:
    """Show how a halt or clear went on; give the exit status."""
    if not say_cc(sub, instruction, cc):
        return EXIT_FAILURE
    if no_wait:
        return EXIT_OK
    irb = show_interruptions(sub, function, timeout, _words(path))
    return EXIT_OK if irb is not None else EXIT_FAILURE


def _words(path: str) -> DeviceWords:
    """Give what the commands and sense bits of the device behind the subchannel *path* are called.

    `state` says what it is: "fba 9336 disk.img".
    """
    said = read_state(path).get("device", "").split()
    found = (words_of(word) for word in said[:2])
    return next((words for words in found if words is not EVERY_DEVICE), EVERY_DEVICE)


def _holds_a_program(path: str) -> bool:
    """Whether the subchannel *path* has a function or status, and would refuse another start."""
    scsw = codec.SCSW.parse(bytes.fromhex(read_state(path)["scsw"]))
    return bool(scsw.ctrl & (_FUNCTIONS | SCSW_STCTL_STATUS_PEND))


def _lay_out(built: Program) -> None:
    try:
        built.lay_out()
    except ValueError as wrong:
        raise UserError(f"--ccw: {wrong}") from None
