"""A client that means harm: what all kinds of attack need of it."""

import errno
import os
import select
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from attack.media import Medium
from attack.seat import Gone, Seat
from lab import programs
from lab.client import Connection
from lab.mounts import is_mounted
from lab.programs import IRB_AT, PENDING, Ccw, Irb

T = TypeVar("T")

MEMORY = 8 << 20
"""Bytes of the built-in storage that attackers use; it has more."""
_COMMON = bytes.fromhex("03 04 e4 64 08 01 02 41 42 43 63 47 06 86 05 07 1f 0c 37 27 0a 09 de e7")
_CHILDREN = 12
"""Children that may wait in the mount at a time."""
_FILES = 60
"""Files that are kept open at a time."""


class Attacker:
    """Its chance, its open files and connections, its children."""

    def __init__(self, seat: Seat) -> None:
        self.seat = seat
        self.board = seat.board
        self.chance = seat.chance
        self.mount = seat.mount
        self._fds: dict[tuple[Path, int], int] = {}
        self._children: list[int] = []
        self.connections: list[Connection] = []
        """Connections that are open, with what was mapped and attached by them."""

    # --- requests -----------------------------------------------------------------------------

    def tried(self, what: str, call: Callable[[], T]) -> T | None:
        """Do *call*, which has to come back, whatever it answers; None if it fails."""
        self.board.act(what)
        try:
            with self.board.doing(what):
                return call()
        except OSError as error:
            if error.errno in (errno.ENOTCONN, errno.ECONNABORTED):
                raise Gone from None
            if error.errno in (errno.ECONNREFUSED, errno.ENOENT) and not is_mounted(self.mount):
                raise Gone from None
            return None
        except (OverflowError, ValueError):
            return None  # Python will not even ask

    def file(self, path: Path, flags: int = os.O_RDWR) -> int:
        """A file of the mount, open; -1 if it cannot be opened."""
        key = (path, flags)
        if key not in self._fds:
            if len(self._fds) >= _FILES:
                self.forget(self.chance.choice(list(self._fds)))
            fd = self.tried(f"open {path.parent.name}/{path.name}", lambda: os.open(path, flags))
            if fd is None:
                return -1
            self._fds[key] = fd
        return self._fds[key]

    def put(self, path: Path, data: bytes) -> None:
        """Write *data* at the beginning of a file of the mount."""
        fd = self.file(path, os.O_WRONLY)
        if fd >= 0:
            what = f"{path.parent.name}/{path.name} < {data[:24]!r}"
            self.tried(what, lambda: os.pwrite(fd, data, 0))
            self.board.count("writes")

    def forget(self, key: tuple[Path, int]) -> None:
        """Close one of the files that are kept open."""
        fd = self._fds.pop(key)
        self.tried(f"close {key[0].name}", lambda: os.close(fd))

    def drop(self, path: Path, flags: int) -> None:
        """Close a file if it is kept open."""
        if (path, flags) in self._fds:
            self.forget((path, flags))

    # --- subchannels --------------------------------------------------------------------------

    def medium(self, *kinds: str) -> Medium:
        """One of those that everybody may attack, of one of *kinds*."""
        found = [m for m in self.seat.media.attacked if not kinds or m.kind in kinds]
        return self.chance.choice(found)

    def directory(self, medium: Medium | None = None) -> Path:
        """A subchannel's directory."""
        return self.mount / (medium or self.medium()).schid

    def store(self, address: int, data: bytes) -> None:
        """Write into the built-in storage."""
        path = self.mount / self.seat.media.attacked[0].schid / "memory"
        fd = self.file(path)
        if fd >= 0:
            self.tried(f"store {len(data)} bytes", lambda: os.pwrite(fd, data, address))

    def start(
        self,
        directory: Path,
        program: bytes,
        *,
        cpa: int,
        ctrl0: int,
        ctrl1: int = 0,
        lpm: int = 0xFF,
        wait: float = 0.01,
    ) -> Irb | None:
        """Start what lies at *cpa*, perhaps after *program* was stored there; wait a little."""
        if program:
            self.store(cpa, program)
        orb = programs.orb(cpa & 0xFFFFFFFF, ctrl0, ctrl1=ctrl1, lpm=lpm)
        return self.request(directory, programs.request(programs.START, orb), wait)

    def request(self, directory: Path, request: bytes, wait: float) -> Irb | None:
        """Write a request into the io region and look for an IRB for *wait* seconds."""
        fd = self.file(directory / "io_region")
        if fd < 0:
            return None
        what = f"{directory.name} request {request[:16].hex()}"
        done = self.tried(what, lambda: os.pwrite(fd, request, 0))
        self.board.count("programs started" if done else "programs refused")
        if wait:
            irq = self.file(directory / "io_irq", os.O_RDONLY | os.O_NONBLOCK)
            if irq >= 0:
                poll = select.poll()
                poll.register(irq, select.POLLIN)
                self.tried("poll io_irq", lambda: poll.poll(wait * 1000))
                self.tried("read io_irq", lambda: os.read(irq, 8))
        data = self.tried("read the IRB", lambda: os.pread(fd, 96, IRB_AT))
        if data is None or len(data) < 96:
            return None
        irb = Irb.of(data)
        if irb.ctrl & PENDING:
            self.board.count("IRBs")
        return irb

    def random_ccw(self, code: int | None = None) -> Ccw:
        """A CCW of which anything may be wrong."""
        chance = self.chance
        if code is None:
            code = chance.choice(_COMMON) if chance.randrange(4) else chance.randrange(256)
        flags = chance.choice((0, 0x20, 0x40, 0x60, 0x60, 0x80, 0xA0, 0x04, 0x24, 0x64, 0x01,
                               0x02, 0x68, 0x10, 0x30, chance.randrange(256)))  # fmt: skip
        count = chance.choice((0, 1, 8, 16, 512, 4096, 65535, chance.randrange(65536)))
        return (code, flags, count, self.random_address())

    def random_address(self) -> int:
        """An address that may be in storage or not."""
        chance = self.chance
        return chance.choice((
            chance.randrange(0, MEMORY, 8), chance.randrange(0, MEMORY, 4096),
            chance.randrange(MEMORY), 0, MEMORY * 2 - chance.randrange(4096),
            chance.randrange(1 << 31), chance.randrange(1 << 32),
        ))  # fmt: skip

    # --- connections --------------------------------------------------------------------------

    def connect(self) -> Connection | None:
        """A new connection to the socket."""
        return self.tried("connect to irqfd", lambda: Connection(self.mount))

    def connection(self) -> Connection | None:
        """A connection that may have been used before."""
        if not self.connections or not self.chance.randrange(8):
            if len(self.connections) > 4:
                old = self.connections.pop(0)
                self.tried("close a connection", old.close)
            made = self.connect()
            if made is None:
                return None
            self.connections.append(made)
        return self.chance.choice(self.connections)

    def say(
        self, connection: Connection, message: object, *fds: int, what: str = ""
    ) -> dict[str, Any] | None:
        """Send a message and take its answer; None, and it is closed, if there is none."""
        self.board.count("messages")

        def send() -> dict[str, Any]:
            answer = connection.send(message, *fds)
            assert isinstance(answer, dict)
            return answer

        answer = self.tried(what or f"message {message!r:.90}", send)
        if answer is None:
            connection.close()
            if connection in self.connections:
                self.connections.remove(connection)
        return answer

    def command(self, **message: object) -> dict[str, Any] | None:
        """Ask for `add`, `remove` or `chp` over a connection."""
        connection = self.connection()
        if connection is None:
            return None
        return self.say(connection, message)

    # --- children -----------------------------------------------------------------------------

    def child(self, what: str, call: Callable[[], object], seconds: float) -> None:
        """Let a child do *call*, which may wait for ever; kill it after *seconds*, or leave it."""
        self.board.act(what)
        self.board.count("clients blocked")
        child = os.fork()
        if child == 0:
            try:
                call()
            finally:
                os._exit(0)
        if seconds < 0 and len(self._children) < _CHILDREN:
            self._children.append(child)
            return
        time.sleep(max(seconds, 0.0))
        self._end(child, what)

    def end_children(self) -> None:
        """Kill those that were left."""
        while self._children:
            self._end(self._children.pop(), "left to wait")

    def _end(self, child: int, what: str) -> None:
        os.kill(child, signal.SIGKILL)
        with self.board.doing(f"SIGKILL of a child: {what}"):
            os.waitpid(child, 0)
