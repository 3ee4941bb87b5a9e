"""Who is at the other end of a connection to the mount's socket, and whether still."""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
from functools import cache
from pathlib import Path
from typing import Final

import trio

from ..errors import UserError

_UCRED: Final = struct.Struct("iII")  # struct ucred: pid, uid, gid
_SO_PEERPIDFD: Final = 77  # asm-generic/socket.h, Linux 6.5


class Peer:
    """One connection, and the process that made it (SO_PEERCRED); whoever uses it now.

    A `memory.mapping.Process`.
    """

    def __init__(self, connection: trio.socket.SocketType) -> None:
        """OSError if the other end of *connection* cannot be asked for."""
        self.connection = connection
        """Its socket, which whoever made this closes."""
        option = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        self.pid, self.uid, _ = _UCRED.unpack(option)
        # Without pidfds of peers the time of its start tells it from the next of that number.
        self._started = "" if pidfds_of_peers() else _start_of(self.pid)

    def check(self) -> None:
        """UserError if the process has ended: the memory of its number may be another's."""
        if pidfds_of_peers():
            try:
                alive = _is_alive(self.connection)
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    raise
                alive = False
        else:
            alive = bool(self._started) and _start_of(self.pid) == self._started
        if not alive:
            raise UserError(f"process {self.pid}, which made the connection, has ended")

    def gone(self) -> bool:
        """Whether nobody is at the other end any more; what it sent may still be unread."""
        return self._polled(0)

    def hung_up(self) -> bool:
        """Whether an empty message is the end of the connection; one may also be sent."""
        return self._polled(select.POLLRDHUP)

    def _polled(self, events: int) -> bool:
        """Whether one of *events* is there, or the end in both directions."""
        poll = select.poll()
        poll.register(self.connection.fileno(), events)
        return bool(poll.poll(0))


@cache
def pidfds_of_peers() -> bool:
    """Whether this kernel gives a pidfd of the process at the other end; OSError as socket(2).

    It is found out once, and needs three descriptors then.
    """
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with one, other:
        try:
            os.close(one.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD))
        except OSError as error:
            if error.errno == errno.ENOPROTOOPT:
                return False
            raise
    return True


def _is_alive(connection: trio.socket.SocketType) -> bool:
    """Whether the process that made the connection has not ended; OSError as getsockopt(2)."""
    pidfd = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD)
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        return not poll.poll(0)
    finally:
        os.close(pidfd)


def _start_of(pid: int) -> str:
    """When process *pid* started, in ticks since the boot (proc_pid_stat(5)); "" without one."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(errors="surrogateescape")
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return status.rpartition(")")[2].split()[19]
