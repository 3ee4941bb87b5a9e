"""`vfioccw debug`: channel programs CCW by CCW, at a terminal or by a script."""

import sys

import click

from .. import EXIT_OK
from ..asjson import json_option
from ..places import SUBCHANNEL
from ..sizes import SECONDS
from .link import Link, attach

within_option = click.option(
    "--within",
    type=SECONDS,
    default=60.0,
    show_default=True,
    help="How long a script waits for a stop or an end, in seconds.",
)
"""The option of every command that debugs."""


@click.command(name="debug")
@click.argument("subchannel", type=SUBCHANNEL)
@within_option
@json_option
def debug_command(subchannel: str, within: float, as_json: bool) -> int:
    """Stop the channel programs of SUBCHANNEL (MNT/0.0.0313), execute them CCW by CCW.

    Whoever starts a program sees a slow device meanwhile: halt and clear work. At a terminal
    commands are typed, and keys step; else stdin has one command a line, and what comes is printed
    as plain lines. The first command that fails ends a script with exit status 1. At the end, and
    however the debugger ends, programs go on. One debugger at a time can be at a subchannel.

    With --json commands come from stdin, and each event is an object in a line, as the file debug
    of the subchannel has it.

    \b
    Commands (help explains them):
      start; step [N]; continue; run to ADDRESS | command CODE | unit check
      orb, ccw, area, data, sense, path, scsw; storage ADDRESS [COUNT]
      store ADDRESS HEX; halt; clear; help; quit
    \b
    Examples:
      vfioccw debug /tmp/m/0.0.0313
      printf '%s\\n' start 'run to unit check' sense | vfioccw debug /tmp/m/0.0.0313
    """
    converse(attach(subchannel), within, as_json=as_json)
    return EXIT_OK


def converse(link: Link, within: float, *, as_json: bool) -> None:
    """Debug what is at the other end of *link* until somebody quits; the link is closed then."""
    try:
        if sys.stdin.isatty() and sys.stdout.isatty() and not as_json:
            from .terminal import converse_at_terminal

            converse_at_terminal(link)
        else:
            from .script import Script

            Script(link, within, as_json=as_json).run(sys.stdin)
    finally:
        link.close()
