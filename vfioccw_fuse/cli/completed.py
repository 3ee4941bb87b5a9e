"""What values options and arguments can have, for the shell that completes them.

Each function takes what is typed of a value and gives what it can become. They are asked only when
a shell completes, so what they import may take its time.
"""

import os

import click
from click.shell_completion import CompletionItem

from ..devices.catalog import TYPES
from ..errors import UserError
from ..mountinfo import whole_path

_SCHID = "0.0."


def interfaces(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The generations of the interface."""
    from ..regions.table import Interface

    return [CompletionItem(name) for name in Interface if name.startswith(incomplete)]


def devices(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Devices as `--device` takes them: type, id, file, options, one after the other."""
    kind, at, rest = incomplete.partition("@")
    if not at:
        return [CompletionItem(f"{name}@{_SCHID}") for name in TYPES if name.startswith(kind)]
    schid, colon, image = rest.partition(":")
    if not colon:
        return []
    path, comma, options = image.partition(",")
    if not comma:
        return [CompletionItem(f"{kind}@{schid}:{file}") for file in _files(path)]
    before, comma, word = options.rpartition(",")
    start = f"{kind}@{schid}:{path},{before}{comma}"
    return [CompletionItem(start + said) for said in _options(kind, word)]


def words_of_control(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The words of `control`, and the faults."""
    from ..vfio.control import CONTROL

    return [
        CompletionItem(said, help=option.help)
        for word, option in CONTROL.items()
        for said in _said(word, takes=bool(option.metavar), incomplete=incomplete)
    ]


def topics(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The pages of the manual."""
    from ..docs import TOPICS

    return [
        CompletionItem(name, help=topic.title)
        for name, topic in TOPICS.items()
        if name.startswith(incomplete)
    ]


def guest_devices(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Subchannels as devices of a guest."""
    from .places import subchannels

    return [] if "," in incomplete else subchannels(incomplete)


def commands(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of the commands of the device at the subchannel that is named; then flags of a CCW."""
    from .ccwtext import FLAGS
    from .commandcodes import commands_of, device_words
    from .subchannels import read_state

    before, comma, word = incomplete.rpartition(",")
    if comma:
        return [CompletionItem(f"{before},{flag}") for flag in FLAGS if flag.startswith(word)]
    subchannel = whole_path(_named(ctx, "subchannel"))
    device = device_words(read_state(subchannel).get("device", ""))
    names = {name for _, long, short in commands_of(device) for name in (long, short) if name}
    return [CompletionItem(name) for name in sorted(names) if name.startswith(incomplete)]


def paths(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The channel paths of the mount that is named."""
    from .asking import ask

    try:
        known = ask(_named(ctx, "mnt"), {"do": "chp"})["chps"]
    except (OSError, UserError):
        return []
    return [
        CompletionItem(path["chpid"], help=path["state"])
        for path in known
        if path["chpid"].startswith(incomplete)
    ]


def _named(ctx: click.Context, argument: str) -> str:
    """The first argument of the command; click leaves it over where an option lacks its value."""
    return str(ctx.params.get(argument) or next(iter(ctx.args), ""))


def _options(kind: str, incomplete: str) -> list[str]:
    """The options of the device type *kind* that begin with *incomplete*."""
    from ..vfio.control import options_of

    try:
        known = options_of(kind)
    except UserError:
        return []
    return [
        said
        for word, option in known.items()
        for said in _said(word, takes=bool(option.metavar), incomplete=incomplete)
    ]


def _said(word: str, *, takes: bool, incomplete: str) -> list[str]:
    """How *word* can be said, of which *incomplete* is typed; with a value if it *takes* one."""
    from ..devices.faults import FAULT, Fault

    if word == FAULT.word and incomplete.startswith(f"{word}="):
        before, plus, _ = incomplete.rpartition("+")
        start = f"{before}{plus}" or f"{word}="
        return [said for fault in Fault if (said := f"{start}{fault.value}").startswith(incomplete)]
    said = f"{word}=" if takes else word
    return [said] if said.startswith(incomplete) else []


def _files(incomplete: str) -> list[str]:
    """The files and directories whose paths begin with *incomplete*; a directory ends with /."""
    folder, name = os.path.split(incomplete)
    try:
        with os.scandir(os.path.expanduser(folder) or ".") as entries:
            return sorted(
                os.path.join(folder, entry.name) + ("/" if entry.is_dir() else "")
                for entry in entries
                if entry.name.startswith(name) and (name or not entry.name.startswith("."))
            )
    except OSError:
        return []
