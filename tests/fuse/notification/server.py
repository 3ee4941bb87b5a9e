"""A small file system around the code under test: ``python server.py MNT`` in a child process.

    MNT/irqfd                    the socket
    MNT/0.0.0313/io_irq crw_irq  two lines
    MNT/0.0.0313/io_region       124 bytes; a write of all completes at once and signals io_irq
    MNT/0.0.0313/control         commands, one a write; a read gives the statistics as JSON
    MNT/0.0.0313/control1 2 3    the same: the kernel lets only one write at a time into a file

Not the product's mount: the irq files, their socket and the workers are all that is real here, so
that a test can hold, fail and count what `lab.mounts` could never ask a daemon for. There is no
device, no FSM and no command line; `conftest` is to this server what `lab.mounts` is to the other.

It prints "ready" when mounted and "gone" when it has ended by itself.
"""

import contextlib
import dataclasses
import errno
import json
import os
import signal
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyfuse3
import trio

from lab.mounts import SCHID
from lab.processes import ASLEEP_IN_THE_MOUNT, sleeps_in
from lab.waits import SOON
from vfioccw_fuse.errors import UserError
from vfioccw_fuse.fuse.blocked import BlockedRequests, Opener
from vfioccw_fuse.fuse.irqfd import IrqfdServer
from vfioccw_fuse.fuse.irqfiles import IrqFile
from vfioccw_fuse.fuse.workers import Workers
from vfioccw_fuse.vfio.irq import Irq

SIZE = 124
DONE = 24  # in the region: shows that the program has run (an IRB in the product)
ROOT, DIRECTORY, IRQFD, IO_IRQ, CRW_IRQ, REGION, *CONTROLS = range(1, 11)
NAMES = {
    (ROOT, b"irqfd"): IRQFD,
    (ROOT, SCHID.encode()): DIRECTORY,
    (DIRECTORY, b"io_irq"): IO_IRQ,
    (DIRECTORY, b"crw_irq"): CRW_IRQ,
    (DIRECTORY, b"io_region"): REGION,
    (DIRECTORY, b"control"): CONTROLS[0],
    **{(DIRECTORY, b"control%d" % i): CONTROLS[i] for i in range(1, 4)},
}
KINDS = {ROOT: stat.S_IFDIR, DIRECTORY: stat.S_IFDIR, IRQFD: stat.S_IFLNK}
SIZES = {IO_IRQ: 8, CRW_IRQ: 8, REGION: SIZE}


class Memory:
    """A target for maps that only writes down what it was asked."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.owners: dict[int, str] = {}

    async def map_file(self, subchannel, iova, size, offset, fds, owner) -> None:
        [fd] = fds
        if size % 4096:
            raise UserError(f"size {size} is not a multiple of 4096")
        name = Path(os.readlink(f"/proc/self/fd/{fd}")).name
        self._call(owner, f"file {subchannel} {iova} {size} {offset} {name}")

    async def map_process(self, subchannel, iova, size, vaddr, process, owner) -> None:
        if not vaddr:
            raise OSError(errno.EFAULT, "nothing there")
        self._call(owner, f"process {subchannel} {iova} {size} {vaddr} {process.pid}")

    def unmap(self, subchannel, iova, size, owner) -> None:
        self._call(owner, f"unmap {subchannel} {iova} {size}")

    def connection_closed(self, owner) -> None:
        self._call(owner, "closed")

    def _call(self, owner: object, what: str) -> None:
        # An owner stays the same for its connection; another has another number.
        number = self.owners.setdefault(id(owner), f"#{len(self.owners) + 1}")
        self.calls.append(f"{number} {what}")


class Files(pyfuse3.Operations):
    """The file system."""

    nursery: trio.Nursery

    def __init__(self, mountpoint: str) -> None:
        super().__init__()
        self.workers = Workers()
        self.blocked = BlockedRequests(mountpoint, self.workers)
        self.workers.at_end(self.blocked.shutdown)
        self.irqs = {0: Irq(), 1: Irq()}
        self.files = {
            IO_IRQ: IrqFile(self.irqs[0], self.blocked),
            CRW_IRQ: IrqFile(self.irqs[1], self.blocked),
        }
        self.memory = Memory()
        self.irqfd = IrqfdServer({SCHID: self.irqs}.__getitem__, self.memory)
        self.region = bytearray(SIZE)
        self.openers: dict[int, tuple[int, Opener]] = {}
        self.texts: dict[int, bytes] = {}
        self.last = 0
        self.log: list[str] = []
        self.gates: dict[str, trio.Event] = {}
        self.victim: int | None = None
        self.watch_reads()

    def attributes(self, inode: int) -> pyfuse3.EntryAttributes:
        entry = pyfuse3.EntryAttributes()
        entry.st_ino = inode
        kind = KINDS.get(inode, stat.S_IFREG)
        entry.st_mode = kind | (0o755 if kind == stat.S_IFDIR else 0o666)
        entry.st_size = SIZES.get(inode, 0)
        return entry

    async def getattr(self, inode, ctx):
        return self.attributes(inode)

    async def setattr(self, inode, attr, fields, fh, ctx):
        return self.attributes(inode)

    async def lookup(self, parent_inode, name, ctx):
        if (inode := NAMES.get((parent_inode, name))) is None:
            raise pyfuse3.FUSEError(errno.ENOENT)
        return self.attributes(inode)

    async def readlink(self, inode, ctx):
        return os.fsencode(self.irqfd.path)

    async def open(self, inode, flags, ctx):
        name = next(name for (_, name), number in NAMES.items() if number == inode)
        self.last += 1
        opener = Opener(f"/{SCHID}/{name.decode()}", ctx.pid, ctx.uid, bool(flags & os.O_NONBLOCK))
        self.openers[self.last] = inode, opener
        return pyfuse3.FileInfo(fh=self.last, direct_io=True)

    async def release(self, fh):
        inode, opener = self.openers.pop(fh)
        self.texts.pop(fh, None)
        if inode in self.files:
            self.files[inode].release(opener)

    async def poll(self, inode, fh, poll_handle, ctx):
        inode, opener = self.openers[fh]
        if inode not in self.files:
            raise pyfuse3.FUSEError(errno.EPERM)
        return self.files[inode].poll(opener, poll_handle)

    async def read(self, fh, off, size):
        inode, opener = self.openers[fh]
        if inode in CONTROLS:
            if off == 0:
                self.texts[fh] = json.dumps(self.statistics()).encode()
            return self.texts[fh][off : off + size]
        if inode == REGION:
            return self.region[off : off + size]
        return await self.files[inode].read(opener, size)

    async def write(self, fh, off, buf):
        inode, opener = self.openers[fh]
        if inode in CONTROLS:
            await self.command(*buf.decode().split())
        elif inode == REGION:
            self.region[off : off + len(buf)] = buf
            if off == 0 and len(buf) == SIZE:
                self.workers.after_reply(self.complete)
        else:
            return await self.files[inode].write(opener, buf)
        return len(buf)

    def nest(self) -> None:
        self.log.append("first")
        self.workers.after_reply(lambda: self.log.append("nested"))

    def complete(self) -> None:
        """End a program as a null device does: channel end and device end, status pending."""
        self.region[DONE + 2 : DONE + 10] = b"\x40\x01\x00\x00\x00\x00\x0c\x00"
        self.irqs[0].signal()

    async def command(self, name: str, *words: str) -> None:
        """Obey a command; it is answered when it was obeyed."""
        after = self.workers.after_reply
        if name == "signal":
            self.irqs[int(words[0])].signal(int(words[1]))
        elif name == "later":  # signal io_irq that many milliseconds after the answer
            after(lambda: self.nursery.start_soon(self.later, int(words[0])))
        elif name == "after":  # what runs after a reply, in which order
            after(self.nest)
            after(lambda: self.log.append("second"))
            self.log.append("handler")
        elif name == "hold":  # a handler that waits for "go" of the same name
            after(lambda: self.log.append(f"went {words[0]}"))
            self.log.append(f"holds {words[0]}")
            self.gates[words[0]] = trio.Event()
            await self.gates[words[0]].wait()
            self.log.append(f"handler went {words[0]}")
        elif name == "go":
            self.gates[words[0]].set()
        elif name == "fail":  # a bug in what runs after a reply
            after(lambda: 1 // 0)
        elif name == "escape":  # a bug in a handler that looks like a vanished request
            raise BlockingIOError(errno.EAGAIN, "from a handler")
        elif name == "vanish":  # the next request's client is killed before the request is read
            self.victim = int(words[0])
        elif name == "shutdown":
            self.files[IO_IRQ].shutdown()
        else:
            raise pyfuse3.FUSEError(errno.EINVAL)

    async def later(self, milliseconds: int) -> None:
        await trio.sleep(milliseconds / 1000)
        self.irqs[0].signal()

    def watch_reads(self) -> None:
        """Kill the victim, if any, between the poll that shows a request and the read of it.

        Not by `Workers.on_request`: that is for `BlockedRequests`, which sets it when it likes.
        """
        facade = self.workers._facade
        shown = facade.wait_readable

        async def wait_readable(fd: int) -> None:
            await shown(fd)
            if self.victim is not None:
                self.kill(self.victim)

        facade.wait_readable = wait_readable  # type: ignore[method-assign]

    def kill(self, pid: int) -> None:
        # Its request is queued a moment before it sleeps, however long that is on a busy machine.
        deadline = time.monotonic() + SOON
        while not sleeps_in(ASLEEP_IN_THE_MOUNT, pid):
            if time.monotonic() > deadline:
                return
        self.victim = None
        os.kill(pid, signal.SIGKILL)
        # Its parent may take its exit status at any moment.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            while "Z (zombie)" not in Path(f"/proc/{pid}/status").read_text():
                pass

    def statistics(self) -> dict[str, object]:
        open_fds = os.listdir("/proc/self/fd")
        return {
            "workers": dataclasses.asdict(self.workers.statistics()),
            "blocked": dataclasses.asdict(self.blocked.statistics()),
            "irqs": [dataclasses.asdict(irq.statistics()) for irq in self.irqs.values()],
            "calls": self.memory.calls,
            "log": self.log,
            "openers": len(self.openers),
            "fds": len(open_fds),
            "tasks": trio.lowlevel.current_statistics().tasks_living,
        }


async def serve(files: Files) -> None:
    async with trio.open_nursery() as nursery:
        files.nursery = nursery
        await nursery.start(on_sigterm, files.workers.stop)
        print("ready", flush=True)
        nursery.start_soon(files.blocked.run)
        nursery.start_soon(files.irqfd.serve)
        await files.workers.run_session()
        nursery.cancel_scope.cancel()


async def on_sigterm(stop: Callable[[], None], task_status: trio.TaskStatus[None]) -> None:
    with trio.open_signal_receiver(signal.SIGTERM) as received:
        task_status.started()
        async for _ in received:
            stop()


def main() -> None:
    mountpoint = os.path.realpath(sys.argv[1])
    files = Files(mountpoint)
    files.irqfd.open()
    try:
        pyfuse3.init(files, mountpoint, {"fsname=notification"})
        try:
            trio.run(serve, files)
        finally:
            pyfuse3.close(unmount=True)
    finally:
        files.irqfd.close()
    print("gone", flush=True)


if __name__ == "__main__":
    main()
