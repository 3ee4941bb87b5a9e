"""`MNT/irqfd`: a socket through which a client hands over eventfds and its memory.

Stands for the ioctls that FUSE cannot carry: VFIO_DEVICE_SET_IRQS, VFIO_IOMMU_MAP_DMA and
VFIO_IOMMU_UNMAP_DMA. A unix socket of type SOCK_SEQPACKET in a private directory; `irqfd` is a
symlink to it. Every message is one JSON object, descriptors travel beside it (SCM_RIGHTS), and
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

What a connection has attached and mapped ends with it.
"""

from __future__ import annotations

import array
import contextlib
import errno
import fcntl
import json
import logging
import os
import select
import socket
import struct
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import trio

from ..errors import UserError
from ..mountinfo import file_system_of
from ..vfio.irq import Irq

log = logging.getLogger(__name__)

MESSAGE_MAX: Final = 4096
"""Longest message, in bytes."""

_PREFIX: Final = "vfioccw-irqfd-"
_SOCKET: Final = "socket"
_YOUNG: Final = "new"
_PATH_MAX: Final = 107  # sun_path without its final zero (unix(7))
_FDS_MAX: Final = 253  # SCM_MAX_FD: more cannot be sent
_UCRED: Final = struct.Struct("iII")  # struct ucred: pid, uid, gid
_NO_ROOM: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
_RETRY_S: Final = 0.1


class MapTarget(Protocol):
    """Who keeps the address spaces of the subchannels.

    All addresses and sizes are in bytes, 0 to 2^64-1, and checked for nothing else. `owner` stands
    for the connection: compare it by identity. A method that cannot do its work raises `UserError`
    or `OSError` and has then changed nothing.
    """

    def map_file(
        self, subchannel: str, iova: int, size: int, offset: int, fd: int, owner: object
    ) -> None:
        """Map *size* bytes of the file *fd* from *offset* at *iova*; dup *fd* to keep it."""

    def map_process(
        self, subchannel: str, iova: int, size: int, vaddr: int, pid: int, owner: object
    ) -> None:
        """Map *size* bytes of the memory of process *pid* from its address *vaddr* at *iova*."""

    def unmap(self, subchannel: str, iova: int, size: int, owner: object) -> None:
        """Take away what was mapped from *iova* to *iova* + *size*."""

    def connection_closed(self, owner: object) -> None:
        """Take away all that *owner* has mapped."""


Command = Callable[[Mapping[str, object]], dict[str, object]]
"""Does what a message with "do" asks for; gives what the answer says beyond "ok"."""


class _Peer(NamedTuple):
    """The process at the other end, as it was when it connected (SO_PEERCRED)."""

    pid: int
    uid: int
    gid: int


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
        self._listener: socket.socket | None = None
        self._lock = -1
        # Which connection attached the eventfd that a line has now.
        self._owners: dict[Irq, object] = {}
        self.path = Path()
        """The socket's absolute path: what the symlink `irqfd` says. Set by `open`."""

    def open(self) -> None:
        """Make the socket, so that clients can connect; OSError if it cannot be made.

        It lies in a directory of its own with mode 0700, below XDG_RUNTIME_DIR or else /tmp.
        Those that a killed server left there are removed.
        """
        place = _runtime_directory()
        _sweep(place)
        directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
        self.path = directory / _SOCKET
        self._listener = listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._lock = _lock(directory)
            # Its final name only with the lock held: a sweep must not take it for a dead one.
            young = directory / _YOUNG
            listener.bind(os.fspath(young))
            listener.listen(socket.SOMAXCONN)
            young.rename(self.path)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Remove the socket and its directory; nothing if there is none."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            _remove(self.path.parent)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    async def serve(self) -> None:
        """Accept connections and serve them until cancelled; then they are all closed."""
        if self._listener is None:
            raise RuntimeError("serve() needs open() before it")
        listener = trio.socket.from_stdlib_socket(self._listener.dup())
        with listener:
            async with trio.open_nursery() as nursery:
                while True:
                    try:
                        connection, _ = await listener.accept()
                    except OSError as error:
                        if error.errno not in _NO_ROOM:
                            raise
                        log.warning("a connection to irqfd has to wait: %s", error.strerror)
                        await trio.sleep(_RETRY_S)
                    else:
                        nursery.start_soon(self._converse, connection)

    async def _converse(self, connection: trio.socket.SocketType) -> None:
        """Answer the messages of one connection until it is closed."""
        owner = object()
        option = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        peer = _Peer(*_UCRED.unpack(option))
        # A client that goes away without reading its answers is no trouble of ours.
        with connection, contextlib.suppress(ConnectionError):
            if peer.uid not in (0, os.geteuid()):
                await _answer(connection, "only the mount's owner and root may use irqfd")
                return
            try:
                while await self._exchange(connection, peer, owner):
                    pass
            finally:
                self._connection_closed(owner)

    async def _exchange(
        self, connection: trio.socket.SocketType, peer: _Peer, owner: object
    ) -> bool:
        """Take one message and answer it; False at the end of the connection."""
        data, ancillary, flags, _ = await connection.recvmsg(
            MESSAGE_MAX, socket.CMSG_SPACE(_FDS_MAX * 4), socket.MSG_CMSG_CLOEXEC
        )
        fds = _descriptors(ancillary)
        told: dict[str, object] = {}
        try:
            if not data and not fds and _hung_up(connection):
                return False
            try:
                if flags & socket.MSG_TRUNC:
                    raise _Refused(f"the message is longer than {MESSAGE_MAX} bytes")
                if flags & socket.MSG_CTRUNC:
                    raise _Refused("the descriptors cannot be taken: too many are open here")
                told = self._obey(data, fds, peer, owner)
            except _Refused as refused:
                problem = str(refused)
            except UserError as error:
                problem = error.message
            except OSError as error:
                problem = error.strerror or str(error)
            else:
                problem = ""
        finally:
            for fd in fds:
                await _close(fd)
        await _answer(connection, problem, told)
        return True

    def _obey(self, data: bytes, fds: list[int], peer: _Peer, owner: object) -> dict[str, object]:
        """Do what the message says. What is kept of *fds* is taken off the list.

        Gives what the answer says beyond "ok".
        """
        message = _object(_parse(data), "the message")
        match sorted(message):
            case names if "do" in names and self._command is not None:
                return self._command(message)
            case ["irq", "subchannel"]:
                self._set_irq(message, fds, owner)
            case ["map", "subchannel"] | ["subchannel", "unmap"]:
                self._map(message, fds, peer, owner)
            case names:
                raise _Refused(
                    'the message must have "subchannel" and one of "irq", "map" and "unmap", '
                    f"and has {_list(names)}"
                )
        return {}

    def _set_irq(self, message: Mapping[str, object], fds: list[int], owner: object) -> None:
        subchannel, irqs = self._subchannel(message)
        number = _integer(message, "irq")
        irq = irqs.get(number)
        if irq is None:
            raise _Refused(f"{subchannel} has no irq {number}; it has {_list(sorted(irqs))}")
        if len(fds) > 1:
            raise _Refused(f"one eventfd belongs to an irq, and {len(fds)} descriptors came")
        if not fds:
            irq.detach()
            self._owners.pop(irq, None)
            return
        kind = os.readlink(f"/proc/self/fd/{fds[0]}")
        if kind != "anon_inode:[eventfd]":
            raise _Refused(f"the descriptor is not an eventfd but {kind}")
        irq.attach(fds.pop())
        self._owners[irq] = owner

    def _map(
        self, message: Mapping[str, object], fds: list[int], peer: _Peer, owner: object
    ) -> None:
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
        if "offset" in area:
            offset = _integer(area, "offset")
            self._target.map_file(subchannel, iova, size, offset, fds[0], owner)
        elif "vaddr" in area:
            vaddr = _integer(area, "vaddr")
            if not peer.pid:
                raise _Refused("the sender's memory is out of reach: it is in a PID namespace")
            self._target.map_process(subchannel, iova, size, vaddr, peer.pid, owner)
        else:
            self._target.unmap(subchannel, iova, size, owner)

    def _subchannel(self, message: Mapping[str, object]) -> tuple[str, Mapping[int, Irq]]:
        """The subchannel that the message names, and its lines."""
        name = message["subchannel"]
        if not isinstance(name, str):
            raise _Refused('"subchannel" must be a string such as "0.0.0313"')
        try:
            return name, self._irqs(name)
        except LookupError:
            raise _Refused(f"there is no subchannel {json.dumps(name)}") from None

    def _connection_closed(self, owner: object) -> None:
        """Detach and unmap what the connection leaves behind."""
        for irq in [irq for irq, holder in self._owners.items() if holder is owner]:
            irq.detach()
            del self._owners[irq]
        if self._target is not None:
            self._target.connection_closed(owner)


async def _answer(
    connection: trio.socket.SocketType, problem: str, told: Mapping[str, object] | None = None
) -> None:
    answer: dict[str, object] = {"error": problem} if problem else {"ok": True, **(told or {})}
    await connection.send(json.dumps(answer).encode())


def _parse(data: bytes) -> object:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _Refused(f"the message is not JSON: {error}") from None


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


def _hung_up(connection: trio.socket.SocketType) -> bool:
    """Whether an empty message is the end of the connection; one may also be sent."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLRDHUP)
    return bool(poll.poll(0))


def _runtime_directory() -> Path:
    """Where the private directory shall lie: XDG_RUNTIME_DIR if it will do, else /tmp."""
    place = Path(os.environ.get("XDG_RUNTIME_DIR", ""))
    length = len(os.fsencode(place / (_PREFIX + "12345678") / _SOCKET))
    if place.is_absolute() and length <= _PATH_MAX and os.access(place, os.W_OK | os.X_OK):
        return place
    return Path("/tmp")


def _sweep(place: Path) -> None:
    """Remove what killed servers of ours left: their lock on the directory is gone."""
    for directory in place.glob(_PREFIX + "*"):
        with contextlib.suppress(OSError):
            if directory.lstat().st_uid == os.geteuid() and (directory / _SOCKET).is_socket():
                lock = _lock(directory)
                try:
                    _remove(directory)
                finally:
                    os.close(lock)


async def _close(fd: int) -> None:
    """Close what came with a message.

    The close of a file of a FUSE mount is a request that waits for its answer, and this may be
    our own mount: only another thread can wait for us.
    """
    if file_system_of(fd).startswith("fuse"):
        await trio.to_thread.run_sync(os.close, fd, abandon_on_cancel=True)
    else:
        os.close(fd)


def _lock(directory: Path) -> int:
    """Lock the directory until the descriptor is closed; OSError if another process has done so."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _remove(directory: Path) -> None:
    """Remove a server's directory and the sockets in it."""
    for name in (_SOCKET, _YOUNG):
        (directory / name).unlink(missing_ok=True)
    with contextlib.suppress(FileNotFoundError):
        directory.rmdir()
