"""`MNT/irqfd`: a socket through which a client hands over eventfds and its memory.

Stands for the ioctls that FUSE cannot carry: VFIO_DEVICE_SET_IRQS, VFIO_IOMMU_MAP_DMA and
VFIO_IOMMU_UNMAP_DMA. A unix socket of type SOCK_SEQPACKET in a private directory (`place`); `irqfd`
is a symlink to it. Every message is one JSON object, descriptors travel beside it (SCM_RIGHTS), and
every message gets one answer, `{"ok": true}` or `{"error": "..."}`. After an error nothing has
changed. The messages, and the descriptors that belong to them:

`{"subchannel": "0.0.0313", "irq": 0}`
    An eventfd: signal it from now on. None: signal the file again.
`{"subchannel": "0.0.0313", "map": {"iova": 0, "size": N, "offset": 0}}`
    A file: its bytes are the guest's memory.
`{"subchannel": "0.0.0313", "map": {"iova": 0, "size": N, "vaddr": A}}`
    None: the memory of the process at the other end is the guest's.
`{"subchannel": "0.0.0313", "unmap": {"iova": 0, "size": N}}`
    None.
`{"do": "add", ...}`, `{"do": "remove", ...}`, `{"do": "chp", ...}`
    None: what the commands `vfioccw add`, `remove` and `chp` ask of the mount.

What a connection has attached and mapped ends with it, and no other may change it. What may take
long (a file system or a process that does not answer) is done by threads, and the other connections
go on meanwhile; whatever is wrong with a message, it costs its sender an error answer.
"""

from __future__ import annotations

import array
import contextlib
import errno
import json
import logging
import os
import select
import socket
import stat
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import trio

from ..errors import UserError, reason
from ..memory.mapping import Process
from ..mountinfo import IN_MEMORY, file_system_of
from ..vfio.irq import Irq
from .peer import Peer, pidfds_of_peers
from .place import SocketPlace

log = logging.getLogger(__name__)

T = TypeVar("T")

MESSAGE_MAX: Final = 4096
"""Longest message, in bytes."""
CONNECTIONS_MAX: Final = 4096
"""Connections at a time."""
HEARD_AT_ONCE: Final = 8
"""Connections of which something came that are served before the mount's requests have a turn."""
CLOSING_MAX: Final = 64
"""Threads that close what came with messages; what is left waits for one of them."""
GONE_S: Final = 0.2
"""How often to ask whether a client still waits, while something takes long, in seconds."""

_FDS_MAX: Final = 253  # SCM_MAX_FD: more cannot be sent
_RETRY_S: Final = 0.1
_EVENTFD: Final = "anon_inode:[eventfd]"


class MapTarget(Protocol):
    """Who keeps the address spaces of the subchannels.

    All addresses and sizes are in bytes, 0 to 2^64-1, and checked for nothing else. `owner` stands
    for the connection: compare it by identity. A method that cannot do its work raises `UserError`
    or `OSError` and has then changed nothing. One that is cancelled has changed nothing either.
    """

    async def map_file(
        self, subchannel: str, iova: int, size: int, offset: int, fds: list[int], owner: object
    ) -> None:
        """Map *size* bytes of the one file in *fds* from *offset* at *iova*.

        Who takes the descriptor off the list closes it.
        """

    async def map_process(
        self, subchannel: str, iova: int, size: int, vaddr: int, process: Process, owner: object
    ) -> None:
        """Map *size* bytes of the memory of *process* from its address *vaddr* at *iova*."""

    def unmap(self, subchannel: str, iova: int, size: int, owner: object) -> None:
        """Take away what was mapped from *iova* to *iova* + *size*."""

    def connection_closed(self, owner: object) -> None:
        """Take away all that *owner* has mapped."""


Command = Callable[[Mapping[str, object]], Awaitable[dict[str, object]]]
"""Does what a message with "do" asks for; gives what the answer says beyond "ok".

It is cancelled if the client does not wait for it any more, and has then changed nothing.
"""


class _Refused(Exception):
    """The message asks for something that cannot be; the text is the answer."""


class IrqfdServer:
    """The socket behind `MNT/irqfd`: made by `open`, served by `serve`, removed by `close`."""

    def __init__(
        self,
        irqs: Callable[[str], Mapping[int, Irq]],
        target: MapTarget | None = None,
        command: Command | None = None,
    ) -> None:
        """Serve the lines that *irqs* gives for a subchannel ("0.0.0313"; LookupError: unknown).

        Without *target* there is no guest memory to map, and the messages for it are refused.
        *command* does what messages with "do" ask for, and gives what is added to the answer.
        """
        self._command = command
        self._irqs = irqs
        self._target = target
        self._place: SocketPlace | None = None
        # Which connection attached the eventfd that a line has now.
        self._owners: dict[Irq, Peer] = {}
        self._clients: dict[int, Peer] = {}  # by the connection's descriptor
        self._ends = select.poll()  # on all of them
        # Of the loop's own epoll thousands that hang up at once would all be told of at once.
        self._incoming = select.epoll()
        self._listening: dict[int, trio.Event] = {}  # by the connection's descriptor
        self._closing = trio.CapacityLimiter(CLOSING_MAX)
        self.path = Path()
        """The socket's absolute path: what the symlink `irqfd` says. Set by `open`."""

    def open(self) -> None:
        """Make the socket, so that clients can connect; OSError if it cannot be made."""
        pidfds_of_peers()  # asked now, while there are descriptors
        self._place = SocketPlace()
        self.path = self._place.path

    def close(self) -> None:
        """Remove the socket and its directory; nothing if there is none."""
        if self._place is not None:
            self._place.close()
            self._place = None

    async def serve(self) -> None:
        """Accept connections and serve them until cancelled; then they are all closed."""
        if self._place is None:
            raise RuntimeError("serve() needs open() before it")
        listener = trio.socket.from_stdlib_socket(self._place.listener.dup())
        refused = False
        with listener, self._incoming:
            async with trio.open_nursery() as self._nursery:
                self._nursery.start_soon(self._hear)
                while True:
                    try:
                        connection, _ = await listener.accept()
                    except OSError as error:
                        # No descriptor, no memory; or a client that was gone at once.
                        if not refused:
                            log.warning("a connection to irqfd has to wait: %s", reason(error))
                        refused = True
                        await trio.sleep(_RETRY_S)
                    else:
                        refused = False
                        self._nursery.start_soon(self._converse, connection)

    async def _hear(self) -> None:
        """Let those go on of whom something came, a few at a time."""
        while True:
            await trio.lowlevel.wait_readable(self._incoming)
            for fd, _ in self._incoming.poll(0, HEARD_AT_ONCE):
                event = self._listening.pop(fd, None)
                if event is not None:
                    event.set()

    async def _listen(self, client: Peer) -> None:
        """Wait until *client* has sent something, or has gone."""
        fd = client.connection.fileno()
        self._listening[fd] = event = trio.Event()
        self._incoming.modify(fd, select.EPOLLIN | select.EPOLLONESHOT)
        try:
            await event.wait()
        finally:
            self._listening.pop(fd, None)

    async def _converse(self, connection: trio.socket.SocketType) -> None:
        """Answer the messages of one connection until it is closed."""
        # A client that goes away without reading its answers is no trouble of ours.
        with connection, contextlib.suppress(ConnectionError):
            try:
                client = Peer(connection)
                if client.uid not in (0, os.geteuid()):
                    await _answer(connection, "only the mount's owner and root may use irqfd")
                    return
                if len(self._clients) >= CONNECTIONS_MAX:
                    await _answer(connection, f"{CONNECTIONS_MAX} connections are open; end some")
                    return
                self._clients[connection.fileno()] = client
                self._ends.register(connection.fileno(), 0)
                self._incoming.register(connection.fileno(), select.EPOLLONESHOT)
                try:
                    while await self._exchange(client):
                        pass
                finally:
                    self._ends.unregister(connection.fileno())
                    self._incoming.unregister(connection.fileno())
                    del self._clients[connection.fileno()]
                    self._connection_closed(client)
            except ConnectionError:
                raise
            except Exception:
                log.exception("a connection to irqfd failed; it is closed")

    async def _exchange(self, client: Peer) -> bool:
        """Take one message and answer it; False at the end of the connection."""
        await self._listen(client)
        connection = client.connection
        data, ancillary, flags, _ = await connection.recvmsg(
            MESSAGE_MAX, socket.CMSG_SPACE(_FDS_MAX * 4), socket.MSG_CMSG_CLOEXEC
        )
        fds = _descriptors(ancillary)
        told: dict[str, object] = {}
        try:
            if not data and not fds and client.hung_up():
                return False
            try:
                if flags & socket.MSG_TRUNC:
                    raise _Refused(f"the message is longer than {MESSAGE_MAX} bytes")
                if flags & socket.MSG_CTRUNC:
                    full = reason(OSError(errno.EMFILE, os.strerror(errno.EMFILE)))
                    raise _Refused(f"the descriptors cannot be taken: {full}")
                told = await self._obey(data, fds, client)
            except _Refused as refused:
                problem = str(refused)
            except UserError as error:
                problem = error.message
            except OSError as error:
                problem = reason(error)
            except Exception as error:
                # The boundary around each message: nobody foresaw it, and the mount goes on.
                log.exception("a message to irqfd failed")
                problem = f"failed, see the log of the server: {type(error).__name__}: {error}"
            else:
                problem = ""
        finally:
            for fd in fds:
                self._close(fd)
        await _answer(connection, problem, told)
        return True

    def _close(self, fd: int) -> None:
        """Close what came with a message, without waiting for it.

        A close may take as long as a file system or a driver likes: a file of a FUSE mount has to
        ask for it, and that may be our own mount; a socket may linger.
        """
        if _closes_at_once(fd):
            os.close(fd)
        else:
            close = partial(os.close, fd)
            run = partial(trio.to_thread.run_sync, abandon_on_cancel=True, limiter=self._closing)
            self._nursery.start_soon(_quietly, partial(run, close))

    async def _obey(self, data: bytes, fds: list[int], client: Peer) -> dict[str, object]:
        """Do what the message says. What is kept of *fds* is taken off the list.

        Gives what the answer says beyond "ok".
        """
        message = _object(_parse(data), "the message")
        match sorted(message):
            case names if "do" in names and self._command is not None:
                return await _while_wanted(client, self._command(message))
            case ["irq", "subchannel"]:
                self._set_irq(message, fds, client)
            case ["map", "subchannel"] | ["subchannel", "unmap"]:
                await self._map(message, fds, client)
            case names:
                raise _Refused(
                    'the message must have "subchannel" and one of "irq", "map" and "unmap", '
                    f"and has {_list(names)}"
                )
        return {}

    def _set_irq(self, message: Mapping[str, object], fds: list[int], client: Peer) -> None:
        subchannel, irqs = self._subchannel(message)
        number = _integer(message, "irq")
        irq = irqs.get(number)
        if irq is None:
            raise _Refused(f"{subchannel} has no irq {number}; it has {_list(sorted(irqs))}")
        if len(fds) > 1:
            raise _Refused(f"one eventfd belongs to an irq, and {len(fds)} descriptors came")
        self._forget_who_is_gone()
        if self._owners.get(irq, client) is not client:
            raise _Refused(f"{subchannel} irq {number} was attached by another connection")
        if not fds:
            irq.detach()
            self._owners.pop(irq, None)
            return
        kind = os.readlink(f"/proc/self/fd/{fds[0]}")
        if kind != _EVENTFD:
            raise _Refused(f"the descriptor is not an eventfd but {kind}")
        irq.attach(fds.pop())
        self._owners[irq] = client

    async def _map(self, message: Mapping[str, object], fds: list[int], client: Peer) -> None:
        subchannel, _ = self._subchannel(message)
        if self._target is None:
            raise _Refused(f"{subchannel}: guest memory cannot be mapped here")
        what = "map" if "map" in message else "unmap"
        area = _object(message[what], f'"{what}"')
        match what, sorted(area):
            case "map", ["iova", "offset", "size"]:
                _expect(fds, 1, "a map with an offset needs the file's descriptor")
            case "map", ["iova", "size", "vaddr"]:
                _expect(fds, 0, "a map with a vaddr is of the sender's own memory")
            case "unmap", ["iova", "size"]:
                _expect(fds, 0, "an unmap needs no descriptor")
            case "unmap", names:
                raise _Refused(f'"unmap" must have "iova" and "size", and has {_list(names)}')
            case _, names:
                raise _Refused(
                    '"map" must have "iova", "size" and one of "offset" and "vaddr", '
                    f"and has {_list(names)}"
                )
        iova, size = _integer(area, "iova"), _integer(area, "size")
        self._forget_who_is_gone()
        if "offset" in area:
            offset = _integer(area, "offset")
            mapping = self._target.map_file(subchannel, iova, size, offset, fds, client)
            await _while_wanted(client, mapping)
        elif "vaddr" in area:
            vaddr = _integer(area, "vaddr")
            if not client.pid:
                raise _Refused("the sender's memory is out of reach: it is in a PID namespace")
            mapping = self._target.map_process(subchannel, iova, size, vaddr, client, client)
            await _while_wanted(client, mapping)
        else:
            self._target.unmap(subchannel, iova, size, client)

    def _subchannel(self, message: Mapping[str, object]) -> tuple[str, Mapping[int, Irq]]:
        """The subchannel that the message names, and its lines."""
        name = message["subchannel"]
        if not isinstance(name, str):
            raise _Refused('"subchannel" must be a string such as "0.0.0313"')
        try:
            return name, self._irqs(name)
        except LookupError:
            raise _Refused(f"there is no subchannel {json.dumps(name)}") from None

    def _forget_who_is_gone(self) -> None:
        """End what those have who closed their connections: we may not have read that far."""
        for fd, _ in self._ends.poll(0):
            self._connection_closed(self._clients[fd])

    def _connection_closed(self, client: Peer) -> None:
        """Detach and unmap what the connection leaves behind."""
        for irq in [irq for irq, holder in self._owners.items() if holder is client]:
            irq.detach()
            del self._owners[irq]
        if self._target is not None:
            self._target.connection_closed(client)


async def _while_wanted(client: Peer, work: Awaitable[T]) -> T:
    """Wait for *work*; if the client goes away meanwhile it is cancelled. ConnectionError then."""
    results: list[T] = []
    errors: list[Exception] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_cancel_when_gone, client, nursery.cancel_scope)
        try:
            results.append(await work)
        except Exception as error:
            errors.append(error)
        nursery.cancel_scope.cancel()
    if errors:
        raise errors[0]
    if not results:
        raise ConnectionResetError("the client has gone")
    return results[0]


async def _cancel_when_gone(client: Peer, scope: trio.CancelScope) -> None:
    while not client.gone():
        await trio.sleep(GONE_S)
    scope.cancel()


async def _quietly(close: Callable[[], Awaitable[None]]) -> None:
    """Close a descriptor; what it complains of is not for us."""
    try:
        await close()
    except Exception as error:
        log.warning("a descriptor that came with a message could not be closed: %s", error)


async def _answer(
    connection: trio.socket.SocketType, problem: str, told: Mapping[str, object] | None = None
) -> None:
    answer: dict[str, object] = {"error": problem} if problem else {"ok": True, **(told or {})}
    try:
        await connection.send(json.dumps(answer).encode())
    except OSError as error:
        if error.errno != errno.EMSGSIZE:
            raise
        too_long = {"error": "done, but the answer is longer than the socket takes (net.core.wmem)"}
        await connection.send(json.dumps(too_long).encode())


def _parse(data: bytes) -> object:
    try:
        return json.loads(data, object_pairs_hook=_named_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise _Refused(f"the message is not JSON: {error}") from None


def _named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object: each name once, and texts that can name something."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _Refused("a name stands in the message twice")
    for value in found.values():
        if isinstance(value, str):
            try:
                encoded = os.fsencode(value)
            except UnicodeEncodeError:
                encoded = b"\0"
            if b"\0" in encoded:
                raise _Refused(f"{json.dumps(value)} has characters that no name has")
    return found


def _no_constant(word: str) -> object:
    raise ValueError(f"{word} is no number of JSON")


def _object(value: object, what: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise _Refused(f"{what} must be a JSON object")
    return value


def _integer(values: Mapping[str, object], name: str) -> int:
    value = values[name]
    # In Python True is an int, in JSON it is none.
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**64:
        raise _Refused(f'"{name}" must be an integer from 0 to 2^64-1')
    return value


def _expect(fds: Sequence[int], count: int, rule: str) -> None:
    if len(fds) != count:
        raise _Refused(f"{rule}, and {len(fds)} descriptors came")


def _list(values: Sequence[object]) -> str:
    return ", ".join(json.dumps(value) for value in values) or "nothing"


def _descriptors(ancillary: Sequence[tuple[int, int, bytes]]) -> list[int]:
    """The descriptors that came with a message; they are ours to close."""
    fds = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    return fds.tolist()


def _closes_at_once(fd: int) -> bool:
    """Whether *fd* is an eventfd or an ordinary file in memory, so that its close cannot wait."""
    try:
        return os.readlink(f"/proc/self/fd/{fd}") == _EVENTFD or (
            file_system_of(fd) in IN_MEMORY and stat.S_ISREG(os.fstat(fd).st_mode)
        )
    except OSError:
        return False
