"""`vfioccw chp`, `add`, `remove`, `load`, `unload`: what changes while a mount is in use."""

import os
from dataclasses import replace

import click

from ..errors import UserError
from . import Subcommands
from .asjson import json_option, show_json
from .asking import ask
from .offers import offering
from .places import MOUNT, SUBCHANNEL


@click.group(name="chp", cls=Subcommands)
def chp_command() -> None:
    """Channel paths: list them, take them away, bring them back.

    A chpid is two hexadecimal digits; every subchannel behind it notices. Without a word of its own
    a device has the paths 40 and 41; chpids=42+43 among its options gives it others.

    \b
    Examples:
      vfioccw chp list /tmp/m
      vfioccw chp vary-off /tmp/m 40
      vfioccw chp on /tmp/m 40
    """


@chp_command.command(name="list")
@click.argument("mnt", type=MOUNT)
@json_option
def list_command(mnt: str, as_json: bool) -> None:
    """List the channel paths of the mount MNT: id, state, subchannels behind it.

    \b
    Example:
      vfioccw chp list /tmp/m
    """
    from .text import table

    paths = ask(mnt, {"do": "chp"})["chps"]
    if as_json:
        show_json(paths)
        return
    rows = [("CHPID", "State", "Subchannels")]
    for path in paths:
        rows.append((path["chpid"], path["state"], " ".join(path["subchannels"]) or "-"))
    for line in table(rows):
        click.echo(line)


def _change(state: str, words: str, masks: str) -> None:
    """Make the command `vfioccw chp STATE MNT CHPID`; *words* and *masks* are its help."""

    def change(mnt: str, chpid: str) -> None:
        text = chpid.removeprefix("0x")
        try:
            ask(mnt, {"do": "chp", "chpid": text, "state": state})
        except UserError as failed:
            known = {path["chpid"] for path in ask(mnt, {"do": "chp"})["chps"]}
            if text.lower().zfill(2) in known:
                raise
            raise UserError(f"{failed.message}; see vfioccw chp list {mnt}") from None

    change.__doc__ = (
        f"{words}\n\n{masks}\n\n\b\nExample:\n  vfioccw chp {state} /tmp/m 40\n"  # as the others
    )
    for argument in (
        click.argument("chpid", shell_complete=offering("paths")),
        click.argument("mnt", type=MOUNT),
    ):
        change = argument(change)
    chp_command.command(name=state)(change)


_change(
    "on",
    "Bring the channel path CHPID back.",
    "Its bit is in LPM, PAM and POM again and gone from PNOM. After off or fail a channel-report "
    "word says so (initialized).",
)
_change(
    "vary-off",
    "Use the channel path CHPID no longer, as chccwdev and chchp -v 0 do.",
    "Its bit goes from LPM; PAM keeps it, and there is no channel report. A start that names only "
    "this path is EACCES while another is left, else ENODEV.",
)
_change(
    "off",
    "Take the channel path CHPID away for good, as chchp -c 0 or a defect does.",
    "Its bit goes from PAM; the channel-report word says permanent error. What runs on it ends "
    "with interface-control check.",
)
_change(
    "fail",
    "Let the channel path CHPID fail for a while.",
    "The channel-report word says temporary error. PAM keeps the path, but a start finds it not "
    "operational: its bit comes into PNOM and goes from POM, and the next path is tried; with none "
    "left the interruption has deferred condition code 3.",
)


@click.command(name="add")
@click.argument("mnt", type=MOUNT)
@click.argument("spec", shell_complete=offering("devices"))
def add_command(mnt: str, spec: str) -> None:
    """Attach the device SPEC to the mount MNT, which is in use.

    SPEC is what mount --device takes: TYPE@SUBCHANNEL:IMAGE[,OPTION]...; mount --device help lists
    types and options.

    \b
    Example:
      vfioccw add /tmp/m fba@0.0.0314:other.img,delay=1s
    """
    from ..devices.options import DeviceText

    # The server's working directory is / : the path of the image becomes absolute here.
    device = DeviceText.parse(spec)
    device = replace(device, path=absolute(device.path))
    ask(mnt, {"do": "add", "device": str(device)})


@click.command(name="remove")
@click.argument("subchannel", type=SUBCHANNEL)
def remove_command(subchannel: str) -> None:
    """Take SUBCHANNEL (MNT/0.0.0313) away while the mount is in use.

    What runs is dropped, who waits for an interruption gets ENODEV, requests through files that are
    still open EIO. Its medium is closed.

    \b
    Example:
      vfioccw remove /tmp/m/0.0.0314
    """
    _ask_about(subchannel, {"do": "remove"})


@click.command(name="load")
@click.argument("subchannel", type=SUBCHANNEL)
@click.argument("file", type=click.Path())
def load_command(subchannel: str, file: str) -> None:
    """Put FILE into the device at SUBCHANNEL (MNT/0.0.0181): a tape, cards, paper.

    It comes in place of the medium that is there; the options of the device hold for it, too. The
    device tells its guest that it is ready. While a channel program runs that is refused.

    \b
    Example:
      vfioccw load /tmp/m/0.0.0181 next.aws
    """
    _ask_about(subchannel, {"do": "load", "file": absolute(file)})


@click.command(name="unload")
@click.argument("subchannel", type=SUBCHANNEL)
def unload_command(subchannel: str) -> None:
    """Take the medium out of the device at SUBCHANNEL (MNT/0.0.0181).

    Programs then end with intervention required.

    \b
    Example:
      vfioccw unload /tmp/m/0.0.0181
    """
    _ask_about(subchannel, {"do": "unload"})


def _ask_about(subchannel: str, message: dict[str, str]) -> None:
    """Send *message* about MNT/SUBCHANNEL; UserError if there is no such subchannel."""
    mnt, schid = os.path.split(os.path.abspath(subchannel))
    if not os.path.lexists(os.path.join(mnt, "irqfd")):
        raise UserError(f"{subchannel}: no subchannel; name its directory, such as MNT/0.0.0313")
    if not os.path.isdir(subchannel):
        raise UserError(f"{schid}: no such subchannel; see vfioccw ls {mnt}")
    ask(mnt, {**message, "subchannel": schid})


def absolute(image: str, directory: str | None = None) -> str:
    """The absolute path of *image*, which is seen from *directory* (default: the current one).

    A word that says that there is no medium stays as it is.
    """
    from ..devices.options import NO_MEDIUM

    if image in NO_MEDIUM:
        return image
    return os.path.abspath(os.path.join(directory or "", image))
