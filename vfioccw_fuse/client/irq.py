"""Two ways to learn of an interruption: polling the file `io_irq`, or an eventfd of one's own.

Both count events as an eventfd does, and both are used the same way. The eventfd costs half: the
server signals it in the kernel, and neither waiting nor taking the event is a request to the mount.
"""

import contextlib
import errno
import json
import os
import select
import socket
import struct
import time
from typing import Protocol

from .faults import RequestFailed, Unsupported
from .regionfiles import close

_COUNTER = struct.Struct("=Q")  # eventfd(2): eight bytes, host order
_REPLY_SIZE = 4096
_REPLY_WITHIN = 30.0  # seconds


class Listener(Protocol):
    """One interrupt line of a subchannel."""

    def wait(self, timeout: float | None) -> bool:
        """Wait until there was an event, at most *timeout* seconds (None: for ever).

        Takes all events there are. False when the time is over. OSError when the mount ends.
        """

    def take(self) -> int:
        """Take the events there are and give their number, 0 if there are none; never waits."""

    def put_back(self, count: int) -> None:
        """Add *count* events that were taken and not used, for whoever waits next."""

    def close(self) -> None:
        """Stop listening; events that nobody took stay for the next client."""

    @property
    def fd(self) -> int:
        """What to hand to poll, select or an event loop: readable while there are events."""


class IrqFile:
    """The file `io_irq`, `crw_irq` or `req_irq` of a subchannel's directory."""

    def __init__(self, path: str) -> None:
        """Open *path*; OSError if there is none."""
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)

    @property
    def fd(self) -> int:
        """The open file, O_NONBLOCK."""
        return self._fd

    def wait(self, timeout: float | None) -> bool:
        """As `Listener.wait`. A concurrent reader may take the event first; then this waits on."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self._poll.poll(None if timeout is None else timeout * 1000):
            # POLLERR, of a mount that ended, shows its errno in the read.
            if self.take():
                return True
            if deadline is not None:
                timeout = max(0.0, deadline - time.monotonic())
        return False

    def take(self) -> int:
        """As `Listener.take`."""
        try:
            # pread: read(2) would wait for another thread's read of this open file.
            return int(_COUNTER.unpack(os.pread(self._fd, _COUNTER.size, 0))[0])
        except BlockingIOError:
            return 0

    def put_back(self, count: int) -> None:
        """As `Listener.put_back`."""
        os.pwrite(self._fd, _COUNTER.pack(count), 0)

    def close(self) -> None:
        """As `Listener.close`."""
        if self._fd >= 0:
            close(self._fd)
            self._fd = -1


class IrqEventfd:
    """An eventfd of ours, which the server signals instead of the file.

    It is handed over through the mount's socket `irqfd` (JSON and SCM_RIGHTS), as
    VFIO_DEVICE_SET_IRQS hands one to the kernel, and holds as long as the connection. Events that
    the file counted before move over, and those left at the end move back: none is lost.
    """

    def __init__(self, directory: str, name: str, index: int) -> None:
        """Attach a new eventfd to the interrupt *index* (`VFIO_CCW_*_IRQ_INDEX`).

        *directory*: the subchannel's, `MNT/0.0.0313`; *name*: the interrupt's file there,
        `io_irq`. Unsupported if the mount takes no eventfds, OSError if its socket cannot be
        reached, RequestFailed if the server says no.
        """
        mount, subchannel = os.path.split(directory)
        self._message = json.dumps({"subchannel": subchannel, "irq": index}).encode()
        self._eventfd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._file = IrqFile(os.path.join(directory, name))
        self._attached = False
        try:
            self._connection.settimeout(_REPLY_WITHIN)
            # Where the link leads: a socket's path is at most 107 bytes long (unix(7)).
            self._connection.connect(os.readlink(os.path.join(mount, "irqfd")))
            self._tell([self._eventfd])
            self._attached = True
            if before := self._file.take():
                self.put_back(before)
        except FileNotFoundError:
            self.close()
            raise Unsupported(f"{mount}: this mount takes no eventfds") from None
        except BaseException:
            self.close()
            raise
        self._poll = select.poll()
        self._poll.register(self._eventfd, select.POLLIN)
        # The connection says that the server has gone: nobody would signal the eventfd then.
        self._poll.register(self._connection, 0)

    def _tell(self, fds: list[int]) -> None:
        """Send the message with *fds*: attach that eventfd, or detach ours if there is none."""
        if fds:
            socket.send_fds(self._connection, [self._message], fds)
        else:
            self._connection.send(self._message)
        reply = json.loads(self._connection.recv(_REPLY_SIZE) or b'{"error": "no answer"}')
        if "error" in reply:
            raise RequestFailed("irqfd", errno.EINVAL, str(reply["error"]))

    @property
    def fd(self) -> int:
        """The eventfd, O_NONBLOCK."""
        return self._eventfd

    def wait(self, timeout: float | None) -> bool:
        """As `Listener.wait`; ConnectionResetError when the server closed the connection."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while events := self._poll.poll(None if timeout is None else timeout * 1000):
            if self.take():
                return True
            if any(fd != self._eventfd for fd, _ in events):
                raise ConnectionResetError("irqfd: the mount has ended")
            if deadline is not None:
                timeout = max(0.0, deadline - time.monotonic())
        return False

    def take(self) -> int:
        """As `Listener.take`."""
        try:
            return os.eventfd_read(self._eventfd)
        except BlockingIOError:
            return 0

    def put_back(self, count: int) -> None:
        """As `Listener.put_back`."""
        os.eventfd_write(self._eventfd, count)

    def close(self) -> None:
        """As `Listener.close`: the server goes back to signalling the file."""
        if self._eventfd < 0:
            return
        with contextlib.suppress(OSError):  # a server that is gone has no events to keep
            if self._attached:
                self._tell([])
                if left := self.take():
                    self._file.put_back(left)
        self._connection.close()
        self._file.close()
        os.close(self._eventfd)
        self._eventfd = -1
