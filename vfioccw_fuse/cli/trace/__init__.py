"""`vfioccw trace`: what subchannels do, as it happens or as it was kept; as lines and pictures."""

import contextlib
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from ...regions.schid import whole_schid
from .. import EXIT_INTERRUPTED, EXIT_OK
from ..asjson import json_option
from ..places import SUBCHANNEL
from ..sizes import SECONDS

if TYPE_CHECKING:
    from .choice import Choice
    from .live import Stop
    from .seen import Seen
    from .sinks import Sink

_DATA_MAX = 1 << 16  # bytes; css.trace.DATA_MAX, which help must not import


@click.command(name="trace")
@click.argument("places", nargs=-1, required=True, metavar="MNT|MNT/0.0.0313...", type=SUBCHANNEL)
@click.option("--seconds", type=SECONDS, help="End after so long.  [default: never]")
@click.option(
    "--data",
    type=click.IntRange(0, _DATA_MAX),
    default=0,
    metavar="BYTES",
    help="Show the first bytes that each CCW moves, at most so many: in hexadecimal, as ASCII, as "
    "EBCDIC.",
)
@click.option(
    "--command",
    "commands",
    multiple=True,
    metavar="CODE|NAME",
    help="Only CCWs of this command, e4 or sense-id, and the starts and interruptions of their "
    "programs; may be given many times.",
)
@click.option(
    "--device",
    "devices",
    multiple=True,
    metavar="TYPE",
    help="Only subchannels with a device of this type: 3390, fba ...; may be given many times.",
)
@click.option(
    "--subchannel",
    "subchannels",
    multiple=True,
    metavar="0.0.0313",
    help="Only this subchannel; may be given many times.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Write the lines into FILE, too.",
)
@click.option(
    "--perfetto",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Write FILE for https://ui.perfetto.dev, instead of lines on stdout.",
)
@click.option(
    "--svg",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Draw a timeline into FILE at the end, instead of lines on stdout.",
)
@json_option
def trace_command(
    places: tuple[str, ...],
    seconds: float | None,
    data: int,
    commands: tuple[str, ...],
    devices: tuple[str, ...],
    subchannels: tuple[str, ...],
    output: str | None,
    perfetto: str | None,
    svg: str | None,
    as_json: bool,
) -> int:
    """Follow what subchannels do from now on, like tail -f.

    Each is MNT/0.0.0313, or MNT for all subchannels of a mount, also those that are added later.
    Every instruction, CCW and interruption is one line. Ctrl-C or SIGTERM ends it, and so does the
    end of all that is followed; files then have what was seen until then. In place of subchannels
    there may be one file of lines that were kept, or - for stdin.

    \b
    Examples:
      vfioccw trace /tmp/m/0.0.0313
      vfioccw trace /tmp/m --command write --data 64
      vfioccw trace /tmp/m --json --seconds 10 > what-happened
      vfioccw trace what-happened --svg what-happened.svg
      vfioccw trace /tmp/m --perfetto what-happens.json
    """
    from .choice import Choice, chooser
    from .live import Stop

    choice = Choice(commands, devices, tuple(map(whole_schid, subchannels)))
    choice.check()
    choose = chooser(choice)
    stop = Stop()
    with contextlib.closing(stop), contextlib.ExitStack() as opened:
        shown = not (perfetto or svg)
        events = opened.enter_context(_events(places, data, choice, seconds, stop, shown=shown))
        sinks = list(_sinks(opened, places, output, perfetto, svg, as_json=as_json))
        for some in events:
            chosen = choose(some)
            for sink in sinks:
                sink.see(chosen)
    if stop.signal and not (output or perfetto or svg):
        return EXIT_INTERRUPTED if stop.signal == 2 else 128 + stop.signal
    return EXIT_OK


@contextlib.contextmanager
def _events(
    places: Sequence[str],
    data: int,
    choice: "Choice",
    seconds: float | None,
    stop: "Stop",
    *,
    shown: bool,
) -> Iterator[Iterator[list["Seen"]]]:
    """What happens, if it is *shown* until nobody reads stdout any more; or what was kept."""
    from .live import Live, kept

    if not any(_is_kept(place) for place in places):
        live = Live(places, data, choice.wants)
        with contextlib.closing(live):
            yield live.events(seconds, stop, sys.stdout.fileno() if shown else None)
        return
    if len(places) > 1:
        raise click.UsageError("A trace that was kept is read alone; name that file only.")
    if data:
        raise click.UsageError("--data: a trace that was kept has the data that it has.")
    [place] = places
    fd = sys.stdin.fileno() if place == "-" else os.open(place, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield kept(fd, seconds, stop)
    finally:
        if place != "-":
            os.close(fd)


def _is_kept(place: str) -> bool:
    """Whether *place* is a trace that was kept: stdin, a file or a pipe."""
    if place == "-":
        return True
    try:
        mode = os.stat(place).st_mode
    except OSError:
        return False
    return stat.S_ISREG(mode) or stat.S_ISFIFO(mode)


def _sinks(
    opened: contextlib.ExitStack,
    places: Sequence[str],
    output: str | None,
    perfetto: str | None,
    svg: str | None,
    *,
    as_json: bool,
) -> "Iterator[Sink]":
    """What takes the events; *opened* closes it at the end."""
    from . import sinks

    title = " ".join(os.path.basename(os.path.abspath(place)) for place in places)
    if not (perfetto or svg):
        yield opened.enter_context(sinks.lines(None, as_json=as_json))
    if output is not None:
        yield opened.enter_context(sinks.lines(output, as_json=as_json))
    if perfetto is not None:
        yield opened.enter_context(sinks.picture(sinks.Perfetto, perfetto, title))
    if svg is not None:
        yield opened.enter_context(sinks.picture(sinks.Drawing, svg, title))
