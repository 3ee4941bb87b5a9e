"""`vfioccw ssch`, `hsch`, `csch`, `stsch`, `tsch`: a subchannel driven by hand.

These show what a client sees and do nothing behind its back: a channel program that does not end
is left running, for `vfioccw csch` to end.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import click

from ..client import Program, Step, Subchannel
from ..client.program import ALL_PATHS, Room
from ..client.subchannel import concludes, ended_well, transferred
from ..devices.catalog import words_of
from ..errors import UserError, shortened
from ..regions import codec, descriptions
from ..regions.constants import (
    CCW_CMD_TIC,
    CCW_FLAG_CC,
    CCW_FLAG_DC,
    CCW_FLAG_IDA,
    CCW_FLAG_MIDA,
    CCW_FLAG_PCI,
    CCW_FLAG_SKIP,
    CCW_FLAG_SLI,
    CCW_FLAG_SUSPEND,
    CCW_SIZE,
    ORB_CTRL0_MASK_KEY,
    ORB_SIZE,
    SCHIB_SCSW_OFFSET,
    SCSW_DSTAT_UNIT_CHECK,
    SCSW_FCTL_CLEAR_FUNC,
    SCSW_FCTL_HALT_FUNC,
    SCSW_FCTL_START_FUNC,
    SCSW_STCTL_STATUS_PEND,
)
from ..regions.descriptions import EVERY_DEVICE, DeviceWords
from ..regions.layouts import Irb, Orb
from ..sizes import parse_address, parse_number
from . import EXIT_FAILURE, EXIT_OK
from .commandcodes import ALIASES, command_code
from .output import show_rows
from .sizes import ADDRESS, SECONDS
from .subchannels import opened, read_state
from .text import dump

FLAGS = {
    "cd": CCW_FLAG_DC,
    "dc": CCW_FLAG_DC,
    "cc": CCW_FLAG_CC,
    "sli": CCW_FLAG_SLI,
    "skip": CCW_FLAG_SKIP,
    "pci": CCW_FLAG_PCI,
    "ida": CCW_FLAG_IDA,
    "suspend": CCW_FLAG_SUSPEND,
    "mida": CCW_FLAG_MIDA,
}
"""What a flag of a CCW is called in `--ccw`."""
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
                block = codec.ORB.parse(_hex(orb, "--orb", ORB_SIZE))
            else:
                if cpa is None:
                    if program is not None:
                        # A room alone, without CCWs of the builder's own, is the program.
                        first: Room | Step = built.room(*_ccws(program))
                    else:
                        steps = _build(built, ccws, device)
                        first = steps[0]
                    built.reserve()
                    if _holds_a_program(subchannel):
                        # It may lie where this one would: nothing is written, and cc 2 is certain.
                        _say_cc(sub, "ssch", 2)
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
            if not _say_cc(sub, "ssch", sub.start(block)):
                return EXIT_FAILURE
            if no_wait:
                return EXIT_OK
            irb = _show_interruptions(sub, SCSW_FCTL_START_FUNC, timeout, device)
            if irb is None:
                return EXIT_FAILURE
            for number, step, data in _received(irb, steps):
                click.echo(f"CCW {number} read {len(data)} bytes at {step.data_address:#x}:")
                for line in dump(data):
                    click.echo(line)
            if irb.scsw_dstat & SCSW_DSTAT_UNIT_CHECK and not no_sense:
                _show_sense(sub, irb, device)
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
        _show_irb("interruption", sub.result(), _words(subchannel))
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
    if not _say_cc(sub, instruction, cc):
        return EXIT_FAILURE
    if no_wait:
        return EXIT_OK
    irb = _show_interruptions(sub, function, timeout, _words(path))
    return EXIT_OK if irb is not None else EXIT_FAILURE


def _say_cc(sub: Subchannel, instruction: str, cc: int) -> bool:
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


def _words(path: str) -> DeviceWords:
    """Give what the commands and sense bits of the device behind the subchannel *path* are called.

    `state` says what it is: "fba 9336 disk.img".
    """
    said = read_state(path).get("device", "").split()
    found = (words_of(word) for word in said[:2])
    return next((words for words in found if words is not EVERY_DEVICE), EVERY_DEVICE)


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
    steps: list[Step] = []
    jumps: list[tuple[Step, int]] = []
    for number, spec in enumerate(specs, 1):
        try:
            step, jump = _append(built, spec, device, last=number == len(specs))
        except (ValueError, UserError) as wrong:
            raise click.UsageError(f"--ccw {shortened(spec)}: {wrong}") from None
        steps.append(step)
        if jump is not None:
            if not 1 <= jump <= len(specs):
                raise click.UsageError(f"--ccw {shortened(spec)}: there is no CCW #{jump}")
            jumps.append((step, jump))
    for step, jump in jumps:
        step.target = steps[jump - 1]
    return steps


def _append(
    built: Program, spec: str, device: DeviceWords, *, last: bool
) -> tuple[Step, int | None]:
    """Append the CCW *spec*; give it and the number of the CCW that a TIC goes to, if it does.

    ValueError says what is wrong with *spec*.
    """
    name, *words = (word.strip() for word in spec.split(","))
    code = command_code(name, device)
    flags = 0
    count: int | None = None
    data: bytes | int | None = None
    jump: int | None = None
    for word in words:
        if word.lower() in FLAGS:
            flags |= FLAGS[word.lower()]
        elif word.isdigit() and count is None:
            count = parse_number(word)
        elif word.startswith("="):
            data = descriptions.from_hex(word[1:])
        elif word.startswith("@"):
            data = parse_address(word[1:])
        elif word.startswith("#") and word[1:].isdigit():
            jump = parse_number(word[1:])
        else:
            said = shortened(word)
            raise ValueError(f"{said!r} is no flag, no decimal count, no =HEX, no @ADDRESS")
    if code == CCW_CMD_TIC:
        if jump is None and not isinstance(data, int):
            raise ValueError("say where to, with #N or @ADDRESS")
        return built.tic(data if isinstance(data, int) else 0), jump
    if jump is not None:
        raise ValueError("#N is for tic")
    if flags & CCW_FLAG_MIDA and not isinstance(data, int):
        raise ValueError("mida takes @ADDRESS of a list that is in storage")
    if not last and not flags & (CCW_FLAG_CC | CCW_FLAG_DC):
        flags |= CCW_FLAG_CC
    if code == ALIASES["nop"] and count is None and data is None:
        # An immediate command with a count of zero is good in format 1 only, and with SLI always.
        flags, count = flags | CCW_FLAG_SLI, 1
    return built.ccw(code, flags, count, data), None


def _show_interruptions(
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
            _show_irb(f"interruption after {(time.monotonic() - began) * 1e3:.1f} ms", irb, device)
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


def _show_irb(heading: str, irb: Irb, device: DeviceWords) -> None:
    """Print an IRB: in one line, then the fields that say something."""
    click.echo(f"{heading}: {descriptions.line_irb(irb, device)}")
    show_rows(descriptions.describe_irb(codec.IRB.pack(irb), device), all_rows=False)


def _received(irb: Irb, steps: list[Step]) -> Iterator[tuple[int, Step, bytes]]:
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


def _show_sense(sub: Subchannel, irb: Irb, device: DeviceWords) -> None:
    """Print the sense data that explains a unit check, by a Basic Sense if *irb* has none."""
    if descriptions.sense_of(irb):
        return  # the table of the IRB shows it
    sense = sub.sense()
    click.echo(f"sense, by a Basic Sense that followed: {descriptions.line_sense(sense, device)}")
    if sense:
        show_rows(descriptions.describe_sense(sense, device))
