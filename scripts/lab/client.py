"""A client that has nothing but system calls, because it judges all that is above them.

`Client` drives one subchannel through its files; `Connection` talks to the mount's socket. What a
user of theirs needs besides, it adds in a subclass of its own.
"""

import ctypes
import errno
import json
import mmap
import os
import select
import socket
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

from lab import programs
from lab.mounts import BLOCK, SCHID
from lab.programs import ENDED, FORMAT1, IRB_AT, RDC, READ, READING, START, WRITE, WRITING, Ccw, Irb
from lab.waits import SOON

PROGRAM, PARAMETERS, DATA = 0x1000, 0x2000, 0x10000
"""Where `Client` puts programs, their parameters and the data of blocks."""


def errno_of(call: Callable[[], object]) -> int:
    """The errno with which *call* fails; 0 if it does not."""
    try:
        call()
    except OSError as error:
        return error.errno or -1
    return 0


def name_of(number: int) -> str:
    """The name of an errno; one of the two that Linux has for 95."""
    return "EOPNOTSUPP" if number == errno.EOPNOTSUPP else errno.errorcode[number]


def write_file(path: Path, data: bytes | str) -> int:
    """Write *data* into a file of the mount by one call: 0 or the errno."""

    def write() -> None:
        fd = os.open(path, os.O_WRONLY)
        try:
            os.write(fd, data.encode() if isinstance(data, str) else data)
        finally:
            os.close(fd)

    return errno_of(write)


def events_of(path: Path) -> int:
    """How many events wait in an interrupt's file; they are taken."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return int.from_bytes(os.read(fd, 8), sys.byteorder)
    except BlockingIOError:
        return 0
    finally:
        os.close(fd)


def address_of(area: mmap.mmap) -> int:
    """Where this process has mapped it."""
    return ctypes.addressof(ctypes.c_char.from_buffer(area))


class Client:
    """Open files of one subchannel."""

    FILES: ClassVar[Mapping[str, int]] = {
        "io_region": os.O_RDWR,
        "cmd_region": os.O_RDWR,
        "schib_region": os.O_RDWR,
        "io_irq": os.O_RDONLY,
        "memory": os.O_RDWR,
    }
    """What is opened, and how. A method that needs another file fails with KeyError."""

    def __init__(self, directory: Path) -> None:
        """*directory* is the subchannel's, `MNT/0.0.0313`."""
        self.directory = directory
        self.fds = {name: os.open(directory / name, flags) for name, flags in self.FILES.items()}

    def close(self) -> None:
        """Close all files."""
        for fd in self.fds.values():
            # close(2) of a file whose mount is gone says so, and has closed it.
            errno_of(partial(os.close, fd))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *what: object) -> None:
        self.close()

    # --- storage ------------------------------------------------------------------------------

    def store(self, address: int, data: bytes) -> None:
        """Write guest storage."""
        assert os.pwrite(self.fds["memory"], data, address) == len(data)

    def load(self, address: int, length: int) -> bytes:
        """Read guest storage."""
        return os.pread(self.fds["memory"], length, address)

    # --- requests -----------------------------------------------------------------------------

    def write(self, region: str, data: bytes, at: int = 0) -> int:
        """Write into a region: 0 or the errno."""
        return errno_of(lambda: os.pwrite(self.fds[region], data, at))

    def request(self, fctl: int, ctrl0: int = FORMAT1, cpa: int = PROGRAM) -> int:
        """A request in the io region: 0 or the errno."""
        return self.write("io_region", programs.request(fctl, programs.orb(cpa, ctrl0)))

    def program(self, *ccws: Ccw) -> None:
        """Put a program into storage."""
        self.store(PROGRAM, programs.ccws(*ccws))

    def start(self, *ccws: Ccw, ctrl0: int = FORMAT1) -> int:
        """Put a program into storage and start it: 0 or the errno."""
        self.program(*ccws)
        return self.request(START, ctrl0)

    def command(self, bits: int) -> int:
        """A command in the cmd region: 0 or the errno."""
        return self.write("cmd_region", programs.command(bits))

    def control(self, words: str) -> int:
        """Switch faults and timing: 0 or the errno."""
        return write_file(self.directory / "control", words)

    # --- status -------------------------------------------------------------------------------

    def wait(self, seconds: float = SOON) -> bool:
        """Whether io_irq became readable in time; its counter is taken."""
        irq = self.fds["io_irq"]
        poll = select.poll()
        poll.register(irq, select.POLLIN)
        if not poll.poll(seconds * 1000):
            return False
        assert int.from_bytes(os.read(irq, 8), sys.byteorder) > 0
        return True

    def irb(self) -> Irb:
        """Read the IRB, which takes the interruption."""
        return Irb.of(os.pread(self.fds["io_region"], 96, IRB_AT))

    def take(self) -> Irb:
        """Wait for the interruption and take it."""
        assert self.wait(), "no interruption"
        return self.irb()

    def run(self, *ccws: Ccw) -> Irb:
        """A whole start function: the IRB that ends it."""
        assert self.start(*ccws) == 0
        return self.take()

    def schib(self) -> bytes:
        """STSCH."""
        return os.pread(self.fds["schib_region"], 52, 0)

    # --- blocks of an FBA disk ----------------------------------------------------------------

    def blocks_io(self, operation: int, code: int, block: int, count: int) -> Irb:
        """Define extent, locate, and *code* for *count* blocks: the IRB that ends it."""
        assert self.run((RDC, 0, 32, PARAMETERS)).dstat == ENDED
        capacity = int.from_bytes(self.load(PARAMETERS + 14, 4), "big")
        parameters = programs.extent(capacity) + programs.locate(operation, count, block)
        self.store(PARAMETERS, parameters)
        return self.run(*programs.located(PARAMETERS), (code, 0, count * BLOCK, DATA))

    def read_blocks(self, block: int, count: int) -> bytes:
        """Read *count* blocks, which must work."""
        irb = self.blocks_io(READING, READ, block, count)
        assert (irb.dstat, irb.cstat, irb.count) == (ENDED, 0, 0)
        return self.load(DATA, count * BLOCK)

    def write_blocks(self, block: int, data: bytes) -> None:
        """Write *data* from *block* on, which must work."""
        self.store(DATA, data)
        irb = self.blocks_io(WRITING, WRITE, block, len(data) // BLOCK)
        assert (irb.dstat, irb.cstat, irb.count) == (ENDED, 0, 0)


class Connection:
    """A connection to a mount's socket `irqfd`."""

    def __init__(self, mount: Path) -> None:
        """*mount* is the mount point."""
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(SOON)
        self.socket.connect(str(mount / "irqfd"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *what: object) -> None:
        self.close()

    def send(self, message: bytes | object, *fds: int) -> Any:
        """Send a message, JSON unless it is bytes, with descriptors; its answer."""
        data = message if isinstance(message, bytes) else json.dumps(message).encode()
        if fds:
            socket.send_fds(self.socket, [data], fds)
        else:
            self.socket.send(data)
        return json.loads(self.socket.recv(65536))

    def say(self, message: Mapping[str, Any], *fds: int) -> str:
        """Send a message for the subchannel; "" or what the answer complains of."""
        answer = self.send({"subchannel": SCHID, **message}, *fds)
        return "" if answer == {"ok": True} else str(answer["error"])

    def irq(self, *fds: int, index: int = 0, subchannel: str = SCHID) -> Any:
        """Attach an eventfd, or detach it if there is none; the answer."""
        return self.send({"subchannel": subchannel, "irq": index}, *fds)

    def map_file(self, fd: int, size: int, iova: int = 0, offset: int = 0, **more: Any) -> str:
        """Map a file's bytes; "" or the complaint."""
        return self.say({"map": {"iova": iova, "size": size, "offset": offset}, **more}, fd)

    def map_own(self, vaddr: int, size: int, iova: int = 0) -> str:
        """Map this process's memory; "" or the complaint."""
        return self.say({"map": {"iova": iova, "size": size, "vaddr": vaddr}})

    def unmap(self, iova: int, size: int) -> str:
        """Unmap; "" or the complaint."""
        return self.say({"unmap": {"iova": iova, "size": size}})

    def close(self) -> None:
        """Close it; the server ends what it attached and mapped soon after."""
        self.socket.close()
