"""`mount.vfioccw`: what mount(8) runs for the type vfioccw, by a line of fstab(5) too.

It is `vfioccw mount` in the words of mount(8): the source is a file for `--config`, options are
those behind `-o`.
"""

import re
from collections.abc import Iterator

import click

from . import EXIT_FAILURE, EXIT_USAGE, guarded, main

WRONG = 1
"""Exit status of mount(8) and its helpers: wrong use."""
FAILED = 32
"""The same: the mount failed."""
_OURS = re.compile("interface=.*|memory=.*|log=.*|allow_other", re.DOTALL)
_NOT_OURS = re.compile(
    "defaults|rw|(no)?(auto|user|users|owner|group|atime|diratime|relatime|strictatime|suid|dev|exec"
    "|iversion|fail|_netdev)|_netdev|a?sync|dirsync|lazytime|comment=.*|[xX]-.*",
    re.DOTALL,
)
"""What mount(8), systemd or the kernel make of an option that means nothing to a mount of ours."""


def words_of(options: str) -> Iterator[str]:
    """The words of `vfioccw mount` for *options* as they stand behind `-o`; UsageError."""
    for option in filter(None, options.split(",")):
        if _OURS.fullmatch(option):
            yield f"--{option.replace('_', '-', 1)}" if "=" not in option else f"--{option}"
        elif not _NOT_OURS.fullmatch(option):
            raise click.UsageError(
                f"-o {option}: no option of a mount; interface=, memory=, log= and allow_other are"
            )


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("source", type=click.Path())
@click.argument("mnt", type=click.Path())
@click.option("-o", "options", multiple=True, metavar="OPTION[,OPTION...]", help="As in fstab.")
@click.option("-t", "_type", help="Taken and not looked at, as the next ones.")
@click.option("-N", "_namespace", hidden=True)
@click.option("-n", "_no_mtab", is_flag=True, hidden=True)
@click.option("-s", "_sloppy", is_flag=True, hidden=True)
@click.option("-v", "_verbose", is_flag=True, hidden=True)
@click.option("-f", "fake", is_flag=True, help="Do nothing but look at the options.")
def helper(source: str, mnt: str, options: tuple[str, ...], fake: bool, **_taken: object) -> None:
    """Mount the devices of the file SOURCE below the directory MNT."""
    words = [word for given in options for word in words_of(given)]
    if not fake:
        main(["mount", mnt, "--config", source, *words])


def mount_helper() -> int:
    """Run it; gives the exit status as mount(8) has it."""
    try:
        status = guarded(lambda: helper.main(prog_name="mount.vfioccw", standalone_mode=False))
    except SystemExit as ended:
        status = int(ended.code or 0)
    return {EXIT_FAILURE: FAILED, EXIT_USAGE: WRONG}.get(status, status)
