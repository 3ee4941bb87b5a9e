"""`vfioccw help`: the manual in the terminal."""

import shutil
import sys

import click
from rich.console import Console
from rich.markdown import Markdown

from ..docs import TOPICS, page
from . import EXIT_OK, EXIT_USAGE, complain, did_you_mean
from .offers import offering

_WIDEST = 110
"""Columns of a page at a terminal; longer lines are hard to read."""


@click.command(name="help")
@click.argument("topic", required=False, shell_complete=offering("topics"))
@click.pass_context
def help_command(ctx: click.Context, topic: str | None) -> int:
    """Show the page TOPIC of the manual; without TOPIC, list all.

    At a terminal it is set for reading, by a pager if it is longer than the screen. Into a file or
    a pipe it goes as it is, in Markdown.

    \b
    Examples:
      vfioccw help
      vfioccw help faults
      vfioccw help regions | grep EBUSY
    """
    if topic is None:
        listed = ctx.make_formatter()
        with listed.indentation():
            listed.write_dl([(name, entry.title) for name, entry in TOPICS.items()])
        click.echo(listed.getvalue(), nl=False)
        return EXIT_OK
    if topic not in TOPICS:
        hint = did_you_mean(topic, TOPICS)
        complain(f"{topic}: no such topic.{hint} vfioccw help lists them")
        return EXIT_USAGE
    text = page(topic)
    if not sys.stdout.isatty() or TOPICS[topic].path.suffix != ".md":
        click.echo(text, nl=False)
        return EXIT_OK
    size = shutil.get_terminal_size()
    console = Console(width=min(size.columns, _WIDEST))
    with console.capture() as captured:
        console.print(Markdown(text))
    shown = captured.get()
    if shown.count("\n") >= size.lines:
        # Without a word about color click asks less for it, and spares a pager that knows none.
        click.echo_via_pager(shown)
    else:
        click.echo(shown, nl=False, color=True)
    return EXIT_OK
