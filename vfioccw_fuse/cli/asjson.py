"""How commands print JSON: the option, and the one way in which a value is written.

What a command prints then is documented in `JSON.md`, beside this file, and a test compares both.
Keys stay, and new ones may come. Numbers are numbers, bytes are hexadecimal digits, a file name
that is no text has the escapes of Python (`\\udcff`).
"""

import json

import click

json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print JSON, for programs; its keys: vfioccw help json.",
)
"""The option `--json` of a command, which gets it as *as_json*."""


def json_line(value: object) -> str:
    """*value* in one line, with its end: one of many."""
    return f"{json.dumps(value)}\n"


def show_json(value: object) -> None:
    """Print *value*, which is all that a command prints, on stdout."""
    click.echo(json.dumps(value, indent=1))
