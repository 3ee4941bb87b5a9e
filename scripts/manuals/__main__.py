"""Write the man pages into a directory: `scripts/man [DIR]`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import click
from click_man.man import ManPage

from vfioccw_fuse import __version__
from vfioccw_fuse.cli import guarded, main


def roff(text: str) -> str:
    """*text* so that roff shows it as it is: no line is a request, and no letter an escape."""
    lines = text.replace("\\", "\\e").replace("-", "\\-").splitlines()
    return "\n".join(f"\\&{line}" if line.startswith((".", "'")) else line for line in lines)


def description(help_text: str) -> str:
    r"""The help of a command; lines of a paragraph that begins with `\b` stay lines."""
    paragraphs = inspect.cleandoc(help_text).replace("\b\n", "\n\n\b").split("\n\n")
    pieces = []
    for paragraph in filter(str.strip, paragraphs):
        kept = paragraph.strip("\n").startswith("\b")
        text = roff(paragraph.strip("\n").removeprefix("\b"))
        pieces.append(f".nf\n{text}\n.fi" if kept else text)
    return "\n\n".join(pieces)


def commands(context: click.Context) -> Iterator[tuple[click.Context, click.Command]]:
    """The command of *context* and all below it, each with its own."""
    command = context.command
    yield context, command
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None and not below.hidden:
                yield from commands(click.Context(below, info_name=name, parent=context))


def page(context: click.Context, command: click.Command) -> str:
    """The man page of *command*."""
    made = ManPage(context.command_path)
    made.version = __version__
    made.short_help = roff(command.get_short_help_str(80))
    made.synopsis = " ".join(command.collect_usage_pieces(context))
    made.description = description(command.help or "")
    options = [one for one in command.get_params(context) if isinstance(one, click.Option)]
    records = filter(None, (option.get_help_record(context) for option in options))
    made.options = [(name, roff(text)) for name, text in records]
    if isinstance(command, click.Group):
        made.commands = [
            (name, roff(below.get_short_help_str(80)))
            for name in command.list_commands(context)
            if (below := command.get_command(context, name)) is not None
        ]
    return str(made)


@click.command()
@click.argument("directory", default="build/man/man1", type=click.Path(file_okay=False))
def write(directory: str) -> None:
    """Write the man pages of vfioccw into DIRECTORY (build/man/man1): vfioccw.1, vfioccw-ls.1 ...

    \b
    Examples:
      scripts/man
      MANPATH=$PWD/build/man man vfioccw-mount
      scripts/man ~/.local/share/man/man1
    """
    place = Path(directory)
    place.mkdir(parents=True, exist_ok=True)
    count = 0
    for context, command in commands(click.Context(main, info_name="vfioccw")):
        name = context.command_path.replace(" ", "-")
        (place / f"{name}.1").write_text(page(context, command))
        count += 1
    click.echo(f"{place}: {count} man pages")


if __name__ == "__main__":
    raise SystemExit(guarded(lambda: write.main(prog_name="scripts/man", standalone_mode=False)))
