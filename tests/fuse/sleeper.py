"""A file system that does not answer: ``python sleeper.py MNT`` in a child process.

    MNT/image   256 KiB of zeros; who opens it waits until the gate is open
    MNT/data    4 KiB, open to everybody, may be mapped
    MNT/gate    write anything: it opens; read: how many wait, and how many have the image open

It prints "ready" when mounted, and ends at SIGTERM.
"""

from __future__ import annotations

import errno
import signal
import stat
import sys
from collections.abc import Callable

import pyfuse3
import trio

ROOT, IMAGE, DATA, GATE = range(1, 5)
NAMES = {b"image": IMAGE, b"data": DATA, b"gate": GATE}
SIZES = {IMAGE: 256 << 10, DATA: 4096, GATE: 8}


class Sleeper(pyfuse3.Operations):
    """The file system."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = trio.Event()
        self.waiting = 0
        self.opened = 0

    def attributes(self, inode: int) -> pyfuse3.EntryAttributes:
        """What stat(2) shows."""
        entry = pyfuse3.EntryAttributes()
        entry.st_ino = pyfuse3.InodeT(inode)
        entry.st_mode = stat.S_IFDIR | 0o755 if inode == ROOT else stat.S_IFREG | 0o666
        entry.st_size = SIZES.get(inode, 0)
        return entry

    async def getattr(self, inode, ctx):
        """stat(2)."""
        return self.attributes(inode)

    async def setattr(self, inode, attr, fields, fh, ctx):
        """Nothing changes."""
        return self.attributes(inode)

    async def lookup(self, parent_inode, name, ctx):
        """Find a name."""
        if name not in NAMES:
            raise pyfuse3.FUSEError(errno.ENOENT)
        return self.attributes(NAMES[name])

    async def open(self, inode, flags, ctx):
        """The image: when the gate is open."""
        if inode == IMAGE:
            self.waiting += 1
            await self.gate.wait()
            self.waiting -= 1
            self.opened += 1
        return pyfuse3.FileInfo(fh=pyfuse3.FileHandleT(inode), direct_io=inode == GATE)

    async def release(self, fh):
        """The last close."""
        self.opened -= fh == IMAGE

    async def read(self, fh, off, size):
        """Zeros, or the state."""
        data = bytes(SIZES[fh]) if fh != GATE else b"%d %d" % (self.waiting, self.opened)
        return data[off : off + size]

    async def write(self, fh, off, buf):
        """The gate opens."""
        if fh == GATE:
            self.gate.set()
        return len(buf)


async def end_at_sigterm(task_status: trio.TaskStatus[None]) -> None:
    with trio.open_signal_receiver(signal.SIGTERM) as received:
        task_status.started()
        async for _ in received:
            pyfuse3.terminate()


async def serve(ready: Callable[[], None]) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(end_at_sigterm)
        ready()
        await pyfuse3.main()
        nursery.cancel_scope.cancel()


def main() -> None:
    pyfuse3.init(Sleeper(), sys.argv[1], {"fsname=sleeper"})
    try:
        trio.run(serve, lambda: print("ready", flush=True))
    finally:
        pyfuse3.close(unmount=True)


if __name__ == "__main__":
    main()
