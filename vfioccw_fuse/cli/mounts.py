"""What the kernel knows of mounts, and who holds one open.

Nothing here asks the mount itself more than it must: a `stat` into it is a request to its server,
which may be the very process that hangs. The mount table and `/proc` answer without it.
"""

import os
import socket
import sys
from typing import NamedTuple

from ..fuse.ending import EndReader
from ..mountinfo import Mounted, mounted


class Holder(NamedTuple):
    """A process that keeps a mount busy."""

    pid: int
    """Its process id."""
    command: str
    """The name of its command, as `ps -o comm` shows it."""
    how: str
    """`"file"`, `"working directory"`, `"root directory"` or `"program"`."""


def mounted_at(path: str) -> Mounted | None:
    """Give the topmost file system mounted at *path*, or None.

    *path* may be relative or a symlink to a mount point. The mount point itself is looked at
    only if the table does not name it, so that a mount whose server hangs or is gone is found.
    """
    absolute = os.path.abspath(path)
    parent, name = os.path.split(absolute)
    table = {mount.point: mount for mount in mounted()}  # the last that was mounted there
    return table.get(os.path.join(os.path.realpath(parent), name)) or table.get(
        os.path.realpath(absolute)
    )


def holders(point: str) -> list[Holder]:
    """Find the processes that have something below *point* open, one entry a process.

    Reads links in `/proc` only. Processes of other users stay unseen unless this runs as root.
    """
    found = []
    own = os.getpid()
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != own:
            how = _how_it_holds(f"/proc/{entry}", point)
            if how is not None:
                found.append(Holder(int(entry), _command(f"/proc/{entry}"), how))
    return sorted(found)


def _how_it_holds(process: str, point: str) -> str | None:
    """Say by what the process behind *process* (`/proc/PID`) holds *point*, if at all."""
    below = point.rstrip("/") + "/"

    def inside(link: str) -> bool:
        try:
            target = os.readlink(link)
        except OSError:  # ended meanwhile, or somebody else's
            return False
        return target == point or target.startswith(below)

    for name, how in (("cwd", "working directory"), ("root", "root directory"), ("exe", "program")):
        if inside(f"{process}/{name}"):
            return how
    try:
        descriptors = os.listdir(f"{process}/fd")
    except OSError:
        return None
    return "file" if any(inside(f"{process}/fd/{fd}") for fd in descriptors) else None


def _command(process: str) -> str:
    """Give the name of the command of the process behind *process* (`/proc/PID`)."""
    try:
        with open(f"{process}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return "?"


def server_of(point: str) -> int | None:
    """Open a pidfd of the process that serves the mount at *point*; None if it cannot be told.

    The kernel says who listens behind the socket `irqfd` (SO_PEERCRED, unix(7)). Only the owner
    of the mount and root may connect. The caller closes the descriptor; it becomes readable when
    the process has ended.
    """
    try:
        return os.pidfd_open(pid_of(point))
    except OSError:
        return None


def pid_of(point: str) -> int:
    """Give the process that serves the mount at *point*; OSError if that cannot be told."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.settimeout(2)
        connection.connect(os.readlink(os.path.join(point, "irqfd")))
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    # struct ucred begins with the pid, an int of the host.
    return int.from_bytes(credentials[:4], sys.byteorder)


def end_of(point: str) -> EndReader | None:
    """What says how far the end of the mount at *point* is; None if it has nothing that does.

    To be asked before the end, which takes its name away.
    """
    try:
        return EndReader(os.path.dirname(os.readlink(os.path.join(point, "irqfd"))))
    except OSError:
        return None
