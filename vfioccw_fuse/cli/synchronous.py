"""`vfioccw xsch`, `rsch` and `msch`: instructions that end with their condition code.

No interruption belongs to them; the interface `full` has them as commands and as a write of the
SCHIB.
"""

import contextlib
from collections.abc import Iterator

import click

from ..client.full import FullSubchannel
from ..regions import codec
from ..regions.constants import (
    PMCW_CHARS_MASK_CSENSE,
    PMCW_FLAGS_MASK_ENA,
    PMCW_FLAGS_MASK_ISC,
    PMCW_ISC_SHIFT,
    SCHIB_SCSW_OFFSET,
)
from . import EXIT_FAILURE, EXIT_OK
from .asjson import json_option
from .places import SUBCHANNEL
from .reports import Report, reporting
from .sizes import ADDRESS
from .subchannels import opened

_MEANINGS = {
    "xsch": (
        "the start function is gone, no interruption follows",
        "status pending; vfioccw tsch takes it",
        "nothing to cancel, or too late: the device is at work",
        "not operational",
    ),
    "rsch": (
        "resumed",
        "status pending; vfioccw tsch takes it",
        "no program that could be resumed",
        "not operational",
    ),
    "msch": (
        "modified",
        "status pending; vfioccw tsch takes it",
        "busy: a function is in progress",
        "not operational",
    ),
}
"""What the condition codes of an instruction mean."""


@contextlib.contextmanager
def _opened(path: str, *, as_json: bool) -> Iterator[tuple[FullSubchannel, Report]]:
    """Open the subchannel *path*; errors become a UserError in one line."""
    with (
        opened(path),
        FullSubchannel(path) as full,
        reporting(path, as_json=as_json) as report,
    ):
        yield full, report


def _say(report: Report, instruction: str, cc: int, full: FullSubchannel) -> int:
    """Tell the condition code and, unless it is 0, how the subchannel is; the exit status."""
    report.cc(instruction, cc, _MEANINGS[instruction][cc])
    if cc == 0:
        return EXIT_OK
    report.status(codec.SCSW.parse(codec.SCHIB.pack(full.store()), SCHIB_SCSW_OFFSET))
    return EXIT_FAILURE


@click.command(name="xsch")
@click.argument("subchannel", type=SUBCHANNEL)
@json_option
def xsch_command(subchannel: str, as_json: bool) -> int:
    """CANCEL SUBCHANNEL: take back a start that has not reached the device.

    Works while the start is pending, resume pending or suspended. Shows the exact condition code.

    \b
    Example:
      echo delay=30s > /tmp/m/0.0.0313/control
      vfioccw ssch /tmp/m/0.0.0313 --ccw nop --no-wait
      vfioccw xsch /tmp/m/0.0.0313
    """
    with _opened(subchannel, as_json=as_json) as (full, report):
        return _say(report, "xsch", full.cancel(), full)


@click.command(name="rsch")
@click.argument("subchannel", type=SUBCHANNEL)
@json_option
def rsch_command(subchannel: str, as_json: bool) -> int:
    """RESUME SUBCHANNEL: let a suspended program go on.

    The CCW with the suspend flag is fetched anew: take its flag away in storage first, or it
    suspends again. Shows the exact condition code.

    \b
    Example:
      vfioccw rsch /tmp/m/0.0.0313
    """
    with _opened(subchannel, as_json=as_json) as (full, report):
        return _say(report, "rsch", full.resume(), full)


@click.command(name="msch")
@click.argument("subchannel", type=SUBCHANNEL)
@click.option("--intparm", type=ADDRESS, help="Interruption parameter, 32 bits.")
@click.option("--isc", type=click.IntRange(0, 7), help="Interruption subclass.")
@click.option("--lpm", type=ADDRESS, help="Logical-path mask, 8 bits, such as 0x80.")
@click.option("--pom", type=ADDRESS, help="Path-operational mask, 8 bits.")
@click.option("--enable/--disable", default=None, help="Enable the subchannel, or disable it.")
@click.option("--csense/--no-csense", default=None, help="Concurrent sense, or none.")
@json_option
def msch_command(
    subchannel: str,
    intparm: int | None,
    isc: int | None,
    lpm: int | None,
    pom: int | None,
    enable: bool | None,
    csense: bool | None,
    as_json: bool,
) -> int:
    """MODIFY SUBCHANNEL: change fields of the path-management-control word.

    Reads the SCHIB, changes what options name, writes it back, and shows the exact condition code
    and the word as it is then. A subchannel that is disabled here refuses everything with condition
    code 3 until it is enabled again.

    \b
    Examples:
      vfioccw msch /tmp/m/0.0.0313 --lpm 0x80
      vfioccw msch /tmp/m/0.0.0313 --intparm 0x1234 --isc 3
    """
    for name, value, bits in (("intparm", intparm, 32), ("lpm", lpm, 8), ("pom", pom, 8)):
        if value is not None and value >> bits:
            raise click.UsageError(f"--{name} has {bits} bits.")
    with _opened(subchannel, as_json=as_json) as (full, report):
        before = full.store()
        flags, chars = before.pmcw_flags, before.pmcw_chars
        if isc is not None:
            flags = flags & ~PMCW_FLAGS_MASK_ISC | isc << PMCW_ISC_SHIFT
        if enable is not None:
            flags = flags & ~PMCW_FLAGS_MASK_ENA | (PMCW_FLAGS_MASK_ENA if enable else 0)
        if csense is not None:
            chars = chars & ~PMCW_CHARS_MASK_CSENSE | (PMCW_CHARS_MASK_CSENSE if csense else 0)
        wanted = before._replace(
            pmcw_intparm=before.pmcw_intparm if intparm is None else intparm,
            pmcw_lpm=before.pmcw_lpm if lpm is None else lpm,
            pmcw_pom=before.pmcw_pom if pom is None else pom,
            pmcw_flags=flags,
            pmcw_chars=chars,
        )
        status = _say(report, "msch", full.modify(wanted), full)
        report.pmcw(codec.SCHIB.pack(full.store())[:SCHIB_SCSW_OFFSET])
        return status
