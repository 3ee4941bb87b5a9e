"""`vfioccw control`: the file `control` of a subchannel, with the reason when it refuses."""

import errno
import os

import click

from ..errors import UserError
from ..regions.control import parse_control
from . import EXIT_OK, asking_the_mount, in_words
from .asjson import json_option, show_json
from .chp import absolute
from .offers import offering
from .places import SUBCHANNEL

_LOAD = "load="
_MOST = 1 << 20  # bytes; more than `control` ever has


@click.command(name="control")
@click.argument("subchannel", type=SUBCHANNEL)
@click.argument("words", nargs=-1, shell_complete=offering("words_of_control"))
@json_option
def control_command(subchannel: str, words: tuple[str, ...], as_json: bool) -> int:
    """Switch faults and timing of SUBCHANNEL (MNT/0.0.0313), and show what holds then.

    WORDS are those of the file control: delay=250ms, fault=hang, csense=on ...; the word help lists
    them all. Either all are taken or none; if they are refused the reason is said. Without WORDS
    nothing changes.

    \b
    Examples:
      vfioccw control /tmp/m/0.0.0313
      vfioccw control /tmp/m/0.0.0313 fault=unit-check sense=1000 count=1
      vfioccw control /tmp/m/0.0.0313 help
    """
    path = os.path.join(subchannel, "control")
    with asking_the_mount():
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        if words:
            _write(fd, path, "".join(f"{_absolute(word)}\n" for word in words))
        text = _read(fd)
    finally:
        os.close(fd)
    if as_json:
        show_json(parse_control(text)[0])
    else:
        click.echo(text, nl=False)
    return EXIT_OK


def _read(fd: int) -> str:
    return os.pread(fd, _MOST, 0).decode(errors="replace")


def _write(fd: int, path: str, text: str) -> None:
    """Write *text* into `control`; UserError with what it says against it."""
    try:
        os.write(fd, os.fsencode(text))
    except OSError as failed:
        _, refused = parse_control(_read(fd)) if failed.errno == errno.EINVAL else ({}, "")
        if refused:
            raise UserError(f"{os.path.dirname(path)}: {refused}") from None
        failed.filename = path
        raise UserError(in_words(failed)) from None


def _absolute(word: str) -> str:
    """*word*, with the absolute path of the file that is to be loaded."""
    if not word.startswith(_LOAD):
        return word
    return _LOAD + absolute(word.removeprefix(_LOAD))
