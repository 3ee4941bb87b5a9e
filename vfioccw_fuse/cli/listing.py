"""`vfioccw mounts`: the mounts of this user, whether their servers answer or not."""

import errno
import os
import time
from collections.abc import Sequence
from datetime import datetime
from threading import Thread
from typing import Any, Final

import click

from ..mountinfo import mounted
from ..regions.schid import is_schid
from .asjson import json_option, show_json
from .commandcodes import device_type
from .mounts import pid_of
from .places import FSTYPE
from .subchannels import read_state
from .text import table

_PATIENCE: Final = 3.0
"""Seconds that all servers together have for their answers."""
_GONE: Final = (errno.ENOTCONN, errno.ECONNABORTED)
_UNKNOWN: Final = "-"
_HEADER: Final = ("Mount", "PID", "Subchannels", "Devices", "Interface", "Since", "State")


@click.command(name="mounts")
@json_option
def mounts_command(as_json: bool) -> None:
    """List your mounts; root sees those of all users.

    The directory, the process that serves it, how many subchannels with which types of devices and
    of which interface it shows, since when, and whether it answers: "served", "does not answer"
    (within 3 s), "only its user sees it" (root does not), or "its server is gone", which vfioccw
    umount clears away.

    \b
    Example:
      vfioccw mounts
    """
    found = _all()
    if as_json:
        show_json(found)
    elif found:
        for line in table([_HEADER, *map(_row, found)]):
            click.echo(line)
    else:
        click.echo("no mount of yours; vfioccw mount makes one")


def _row(found: dict[str, Any]) -> Sequence[str]:
    words = {
        **found,
        "devices": ", ".join(found["devices"] or ()) or None,
        "interfaces": ", ".join(found["interfaces"] or ()) or None,
        "since": found["since"] and found["since"][:19].replace("T", " "),
    }
    return [_UNKNOWN if value is None else str(value) for value in words.values()]


def _all() -> list[dict[str, Any]]:
    """All mounts; each is asked by a thread of its own: one that hangs holds up nobody."""
    wanted = "" if os.geteuid() == 0 else f"user_id={os.geteuid()}"
    points = [
        mount.point
        for mount in mounted()
        if mount.fstype == FSTYPE and (not wanted or wanted in mount.options.split(","))
    ]
    found = [_nothing_known_of(point) for point in points]
    threads = [Thread(target=_ask, args=(one,), daemon=True) for one in found]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + _PATIENCE
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    # What a thread finds out later is not told.
    return [dict(one) for one in found]


def _nothing_known_of(point: str) -> dict[str, Any]:
    unknown = ("pid", "subchannels", "devices", "interfaces", "since")
    return {"mount": point, **dict.fromkeys(unknown), "state": "does not answer"}


def _ask(found: dict[str, Any]) -> None:
    """Complete *found* by what the mount says."""
    point = found["mount"]
    try:
        pid = pid_of(point)
        found |= {"pid": pid, "since": _since(pid)}
        names = sorted(name for name in os.listdir(point) if is_schid(name))
        # Very many take longer than anybody waits: then this is all that is told.
        found |= {"subchannels": len(names), "state": "served"}
        states = [read_state(os.path.join(point, name)) for name in names]
    except OSError as failed:
        if failed.errno in _GONE:
            found["state"] = "its server is gone"
        elif failed.errno == errno.EACCES:
            found["state"] = "only its user sees it"
        return
    kinds = {device_type(state.get("device", "")) for state in states}
    found |= {
        "devices": sorted(kinds - {""}),
        "interfaces": sorted({state["interface"] for state in states if "interface" in state}),
    }


def _since(pid: int) -> str:
    """When the process *pid* was started (proc(5)), in ISO 8601 with the offset from UTC."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        ticks = int(file.read().rpartition(") ")[2].split()[19])
    with open("/proc/stat", encoding="ascii") as file:
        booted = next(int(line.split()[1]) for line in file if line.startswith("btime "))
    seconds = booted + ticks / os.sysconf("SC_CLK_TCK")
    return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="seconds")
