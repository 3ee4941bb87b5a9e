"""`vfioccw ls` and `decode`: look, change nothing."""

import gc
import os
import struct
import sys
from threading import Thread
from typing import TYPE_CHECKING, Any

import click

from ..errors import UserError
from ..regions import codec
from ..regions.constants import PMCW_FLAGS_MASK_DNV, PMCW_FLAGS_MASK_ENA, SCHIB_REGION_SIZE
from ..regions.layouts import Pmcw
from ..regions.schid import is_schid
from ..regions.state import parse_state
from . import asking_the_mount
from .asjson import json_option, show_json
from .places import MOUNT

if TYPE_CHECKING:
    from ..regions.descriptions import Row

STRUCTURES = ("orb", "ccw", "scsw", "irb", "schib", "pmcw", "crw", "sense")
"""What `decode` knows."""
_UNKNOWN = "-"
_HEADER = (
    *("Device", "Subchan.", "DevType", "CU Type", "Use"),
    *("PIM", "PAM", "POM", "CHPIDs", "FSM", "Medium"),
)
_HELPERS = 5
"""Threads that ask for subchannels beside the main one, if there are enough for them."""
_FOR_EACH = 100
"""Subchannels from which on one thread more is worth its start."""
_STATE_MAX = 1 << 16  # bytes; more than any `state` has


@click.command(name="ls")
@click.argument("mnt", type=MOUNT)
@json_option
def ls_command(mnt: str, as_json: bool) -> None:
    """List the subchannels of the mount MNT, like lscss.

    Type of device and control unit, whether the subchannel is enabled (Use), its path masks and
    channel paths, the state of its FSM, and the medium. "-" is what the interface does not tell.

    \b
    Example:
      vfioccw ls /tmp/m
    """
    from .text import table

    with asking_the_mount():
        names = sorted(name for name in os.listdir(mnt) if is_schid(name))
        if not names and not os.path.lexists(os.path.join(mnt, "irqfd")):
            raise UserError(f"{mnt}: no mount of vfioccw; vfioccw mount makes one")
        found = _subchannels(mnt, names)
    if as_json:
        show_json(found)
        return
    click.echo("\n".join(table([_HEADER, *map(_row, found)])))


def _row(found: dict[str, Any]) -> list[str]:
    """Give the columns of one subchannel."""
    words = {True: "yes", False: "no", None: _UNKNOWN}
    shown = {**found, "enabled": words[found["enabled"]]}
    if found["chpids"] is not None:
        paths = "".join(found["chpids"])
        shown["chpids"] = f"{paths[:8]} {paths[8:]}"
    return [_UNKNOWN if value is None else str(value) for value in shown.values()]


def _subchannels(mnt: str, names: list[str]) -> list[dict[str, Any]]:
    """Give what is shown of all subchannels *names*.

    Threads ask for very many of them, so that the server has the next request at hand. They end
    with the process, also while the server does not answer.
    """
    found: dict[str, dict[str, Any]] = {}
    failed: list[OSError] = []
    names_left = iter(names)

    def ask() -> None:
        try:
            for name in names_left:
                found[name] = _subchannel(mnt, name)
        except OSError as error:
            failed.append(error)

    wanted = min(_HELPERS, len(names) // _FOR_EACH)
    helpers = [Thread(target=ask, daemon=True) for _ in range(wanted)]
    gc.disable()  # it would look for garbage in what is found so far, again and again
    try:
        for helper in helpers:
            helper.start()
        ask()
        for helper in helpers:
            helper.join()
    finally:
        gc.enable()
    if failed:
        raise failed[0]
    return [found[name] for name in names]


def _subchannel(mnt: str, name: str) -> dict[str, Any]:
    """Give what is shown of one subchannel; None is what its interface does not tell.

    Its file `state` has them all, so that this is no STSCH in the trace and one file less for
    each of perhaps thousands; the schib region is read if `state` does not show the PMCW.
    """
    cssid, ssid, _ = name.split(".")
    state = _read_state(mnt, name)
    device = state.get("device")
    kind = (device or "").split()
    found: dict[str, Any] = {
        "device": None,
        "subchannel": name,
        "devtype": state.get("devtype", kind[1] if len(kind) > 1 else None),
        "cutype": state.get("cutype"),
        "enabled": None,
        **dict.fromkeys(("pim", "pam", "pom", "chpids")),
        "fsm": state.get("fsm"),
        "medium": state.get("medium", device),
    }
    try:
        pmcw = _pmcw(mnt, name, state)
    except (FileNotFoundError, ValueError, struct.error):  # no such region; a subchannel that goes
        return found
    if pmcw.flags & PMCW_FLAGS_MASK_DNV:
        found["device"] = f"{cssid}.{ssid}.{pmcw.devno:04x}"
    found["enabled"] = bool(pmcw.flags & PMCW_FLAGS_MASK_ENA)
    found |= {mask: f"{getattr(pmcw, mask):02x}" for mask in ("pim", "pam", "pom")}
    found["chpids"] = [f"{chpid:02x}" for chpid in pmcw.chpid]
    return found


def _pmcw(mnt: str, name: str, state: dict[str, str]) -> Pmcw:
    """Give the path-management-control word of a subchannel."""
    if "pmcw" in state:
        return codec.PMCW.parse(bytes.fromhex(state["pmcw"]))
    path = os.path.join(mnt, name, "schib_region")
    return codec.PMCW.parse(_content(path, SCHIB_REGION_SIZE))


def _read_state(mnt: str, name: str) -> dict[str, str]:
    """Give the lines `key: value` of the file `state`, empty if there is none."""
    try:
        text = _content(os.path.join(mnt, name, "state"), _STATE_MAX).decode(errors="replace")
    except FileNotFoundError:
        return {}
    return parse_state(text)


def _content(path: str, size: int) -> bytes:
    """Read up to *size* bytes of *path* at once: each system call is a request to the mount."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(fd, size, 0)
    finally:
        os.close(fd)


@click.command(name="decode")
@click.argument("structure", type=click.Choice(STRUCTURES), metavar="STRUCTURE")
@click.argument("digits", nargs=-1, required=True, metavar="HEX...")
@click.option(
    "--order",
    type=click.Choice(["big", "host"]),
    default="big",
    show_default=True,
    help="Byte order of an orb or scsw: host is what a client of order=host writes.",
)
@click.option(
    "--format",
    "fmt",
    type=click.IntRange(0, 1),
    default=1,
    show_default=True,
    help="Format of a ccw.",
)
@click.option(
    "--device",
    default="",
    metavar="TYPE",
    help="Name commands and sense bits as this device type does: 9336, 3390, fba, eckd ...",
)
@json_option
def decode_command(
    structure: str, digits: tuple[str, ...], order: str, fmt: int, device: str, as_json: bool
) -> None:
    """Say in words what the bytes of a structure mean.

    STRUCTURE is one of orb, ccw, scsw, irb, schib, pmcw, crw, sense. HEX are its bytes in
    hexadecimal, with or without blanks and 0x, or - to take them from stdin. Several CCWs one after
    the other are decoded one by one.

    \b
    Examples:
      vfioccw decode orb 00c0ffee 00c0ff00 00001000
      vfioccw decode ccw 42 40 0200 00002000 --device fba
      vfioccw decode sense 8000 --device 3390
      head -c 120 /tmp/m/0.0.0313/io_region | tail -c 96 | xxd -p | vfioccw decode irb -
    """
    from ..regions.descriptions import from_hex
    from .output import show_rows
    from .reports import fields

    try:
        texts = (sys.stdin.read(),) if digits == ("-",) else digits
        data = b"".join(map(from_hex, texts))
        pieces = _one_by_one(structure, data)
        decoded = [_describe(structure, piece, order, fmt, device) for piece in pieces]
    except ValueError as wrong:
        raise click.UsageError(str(wrong)) from None
    if as_json:
        show_json(
            [
                {"structure": structure, "data": piece.hex(), "fields": fields(rows)}
                for piece, rows in zip(pieces, decoded, strict=True)
            ]
        )
        return
    for number, rows in enumerate(decoded):
        if number:
            click.echo()
        show_rows(rows)


def _one_by_one(structure: str, data: bytes) -> list[bytes]:
    """Cut a channel program into CCWs; everything else is one piece."""
    size = codec.CCW1.size
    if structure != "ccw" or not data or len(data) % size:
        return [data]
    return [data[at : at + size] for at in range(0, len(data), size)]


def _describe(structure: str, data: bytes, order: str, fmt: int, device: str) -> "list[Row]":
    """Describe *data* with the options that go with *structure*; ValueError if it is wrong."""
    from ..devices.catalog import words_of
    from ..regions import descriptions

    match structure:
        case "orb":
            return descriptions.describe_orb(data, order)
        case "scsw":
            return descriptions.describe_scsw(data, order)
        case "ccw":
            return descriptions.describe_ccw(data, fmt, words_of(device))
        case "irb":
            return descriptions.describe_irb(data, words_of(device))
        case "sense":
            return descriptions.describe_sense(data, words_of(device))
        case _:
            return descriptions.DESCRIBERS[structure](data)
