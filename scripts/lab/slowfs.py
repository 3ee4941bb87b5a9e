"""A file system that sleeps, waits for ever or fails where it is told to: what images may lie on.

`slow_files` mounts a directory's files a second time. What becomes of each kind of request is said
meanwhile: `hold` keeps all that come from then on until `release`, `sleep` lets each take its time,
`fail` gives an errno. `python -m lab.slowfs MNT DIRECTORY` serves it; `.control` takes the words.

With a third word, `volatile`, it loses what was not synced: the kernel keeps writes in its cache
until it writes them out, the server in its memory until fsync, and only then the directory's file
has them. `cut` copies those files, as a power cut would leave them, to `NAME.cut`.
"""

import contextlib
import errno
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyfuse3
import trio

from lab.waits import until

CONTROL = ".control"
KINDS = ("open", "getattr", "read", "write", "setattr", "fsync", "flush")
"""Requests whose course can be said."""
_PROJECT = Path(__file__).resolve().parents[2]


class SlowFiles:
    """The mounted files, and what they are to do."""

    def __init__(self, path: Path, process: subprocess.Popen[bytes]) -> None:
        self.path = path
        """The mount point."""
        self.pid = process.pid
        """Who serves it."""
        self._control = os.open(path / CONTROL, os.O_RDWR)

    def hold(self, *kinds: str) -> None:
        """Requests of these kinds wait from now on."""
        self._say("hold", *kinds)

    def release(self, *kinds: str) -> None:
        """Those that wait go on, and those that come pass at once; without *kinds* all of them."""
        self._say("pass", *(kinds or KINDS))

    def sleep(self, seconds: float, *kinds: str) -> None:
        """Each request of these kinds takes so long from now on."""
        self._say(f"sleep={seconds}", *kinds)

    def fail(self, number: int, *kinds: str) -> None:
        """Requests of these kinds fail with the errno *number* from now on, held ones too."""
        self._say(f"fail={number}", *kinds)

    def held(self, kind: str) -> int:
        """How many requests of this kind wait now."""
        return self._counts()[f"held {kind}"]

    def until_open(self, number: int) -> None:
        """Wait until the files are open so many times in all, and nobody waits to open one."""
        until(
            lambda: self._counts()["open"] == number and not self.held("open"),
            f"the files are open {number} times",
        )

    def seen(self, kind: str) -> int:
        """How many requests of this kind came so far."""
        return self._counts()[f"seen {kind}"]

    def until_held(self, kind: str, number: int = 1) -> None:
        """Wait until so many requests of this kind wait, or more."""
        until(lambda: self.held(kind) >= number, f"{number} requests to {kind} are held")

    def cut(self) -> None:
        """Let there be a `.cut` of each file that was written: what a power cut now would leave."""
        self._say("cut")

    def close(self) -> None:
        """Let all go on and let go of the file system; it may be unmounted then."""
        with contextlib.suppress(OSError):  # somebody has killed its server
            self.release()
        with contextlib.suppress(OSError):
            os.close(self._control)

    def _say(self, *words: str) -> None:
        os.pwrite(self._control, " ".join(words).encode(), 0)

    def _counts(self) -> Counter[str]:
        text = os.pread(self._control, 65536, 0).decode()
        pairs = (line.rpartition(" ") for line in text.splitlines())
        return Counter({name: int(number) for name, _, number in pairs})


@contextlib.contextmanager
def slow_files(path: Path, directory: Path, *, volatile: bool = False) -> Iterator[SlowFiles]:
    """Show the files of *directory* at *path*, which is made; unmounted at the end.

    *volatile*: what was not synced is lost.
    """
    path.mkdir(exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "lab.slowfs", path, directory, *(["volatile"] if volatile else [])],
        env={**os.environ, "PYTHONPATH": f"{_PROJECT}:{_PROJECT / 'scripts'}"},
        stdin=subprocess.DEVNULL,
        process_group=0,  # Ctrl-C is for us, who end it
    )  # fmt: skip
    try:
        until(lambda: process.poll() is not None or (path / CONTROL).exists(), "it is mounted")
        files = SlowFiles(path, process)
        try:
            yield files
        finally:
            files.close()
    finally:
        subprocess.run(["fusermount3", "-u", "-z", str(path)], check=False, capture_output=True)
        process.terminate()
        process.wait()


class _FileSystem(pyfuse3.Operations):
    """The server: inode 1 is the directory, 2 the control file, files follow as they are named."""

    enable_writeback_cache = False
    supports_dot_lookup = False

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._directory = directory
        self._names = {2: CONTROL}
        self._what = dict.fromkeys(KINDS, "pass")
        self._changed = trio.Event()
        self.counts: Counter[str] = Counter()

    async def _comes(self, kind: str, inode: int) -> None:
        """A request of this *kind* for a file came: what was said of them happens."""
        if inode <= 2:
            return
        self.counts[f"seen {kind}"] += 1
        what = self._what[kind]
        self.counts[f"held {kind}"] += 1
        try:
            while self._what[kind] == "hold":
                await self._changed.wait()
                what = self._what[kind]
            if what.startswith("sleep="):
                await trio.sleep(float(what[6:]))
        finally:
            self.counts[f"held {kind}"] -= 1
        if what.startswith("fail="):
            raise pyfuse3.FUSEError(int(what[5:]))

    def _attributes(self, inode: int) -> pyfuse3.EntryAttributes:
        entry = pyfuse3.EntryAttributes()
        place = self._directory if inode == 1 else self._directory / self._names[inode]
        status = os.stat(self._directory if inode == 2 else place)
        entry.st_ino = pyfuse3.InodeT(inode)
        entry.st_mode = status.st_mode if inode != 2 else 0o100600
        entry.st_size = status.st_size if inode != 2 else 65536
        entry.st_uid, entry.st_gid = status.st_uid, status.st_gid
        entry.st_nlink = 1
        return entry

    async def getattr(self, inode: Any, ctx: Any) -> pyfuse3.EntryAttributes:
        await self._comes("getattr", inode)
        return self._attributes(inode)

    async def lookup(self, parent_inode: Any, name: Any, ctx: Any) -> pyfuse3.EntryAttributes:
        word = os.fsdecode(name)
        if word != CONTROL and not (self._directory / word).exists():
            raise pyfuse3.FUSEError(errno.ENOENT)
        inode = next((i for i, known in self._names.items() if known == word), 0)
        if not inode:
            inode = len(self._names) + 2
            self._names[inode] = word
        return self._attributes(inode)

    async def open(self, inode: Any, flags: int, ctx: Any) -> pyfuse3.FileInfo:
        await self._comes("open", inode)
        self.counts["open"] += inode > 2
        # An image is read through, so that each read is a request.
        return pyfuse3.FileInfo(fh=inode, direct_io=True)

    def _file(self, inode: int) -> int:
        return os.open(self._directory / self._names[inode], os.O_RDWR)

    async def read(self, fh: Any, off: int, size: int) -> bytes:
        if fh == 2:
            lines = [f"{name} {number}" for name, number in self.counts.items()]
            return "\n".join(lines).encode()[off : off + size]
        await self._comes("read", fh)
        fd = self._file(fh)
        try:
            return os.pread(fd, size, off)
        finally:
            os.close(fd)

    async def write(self, fh: Any, off: int, buf: bytes) -> int:
        if fh == 2:
            what, *kinds = buf.decode().split()
            self._what.update(dict.fromkeys(kinds, what))
            self._changed.set()
            self._changed = trio.Event()
            return len(buf)
        await self._comes("write", fh)
        fd = self._file(fh)
        try:
            return os.pwrite(fd, buf, off)
        finally:
            os.close(fd)

    async def setattr(
        self, inode: Any, attr: Any, fields: Any, fh: Any, ctx: Any
    ) -> pyfuse3.EntryAttributes:
        await self._comes("setattr", inode)
        if fields.update_size:
            os.truncate(self._directory / self._names[inode], attr.st_size)
        return self._attributes(inode)

    async def fsync(self, fh: Any, datasync: bool) -> None:
        await self._comes("fsync", fh)

    async def flush(self, fh: Any) -> None:
        await self._comes("flush", fh)

    async def release(self, fh: Any) -> None:
        self.counts["open"] -= fh > 2

    async def statfs(self, ctx: Any) -> pyfuse3.StatvfsData:
        return pyfuse3.StatvfsData()


class _Volatile(_FileSystem):
    """The server that loses what was not synced."""

    enable_writeback_cache = True

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._contents: dict[int, bytearray] = {}
        self._unsynced: dict[int, list[tuple[int, int]]] = {}

    def _content(self, inode: int) -> bytearray:
        """What the file has, in memory."""
        if inode not in self._contents:
            self._contents[inode] = bytearray((self._directory / self._names[inode]).read_bytes())
            self._unsynced[inode] = []
        return self._contents[inode]

    def _attributes(self, inode: int) -> pyfuse3.EntryAttributes:
        entry = super()._attributes(inode)
        if inode in self._contents:
            entry.st_size = len(self._contents[inode])
        return entry

    async def open(self, inode: Any, flags: int, ctx: Any) -> pyfuse3.FileInfo:
        opened = await super().open(inode, flags, ctx)
        return opened if inode == 2 else pyfuse3.FileInfo(fh=inode)

    async def read(self, fh: Any, off: int, size: int) -> bytes:
        if fh == 2:
            return await super().read(fh, off, size)
        await self._comes("read", fh)
        return bytes(self._content(fh)[off : off + size])

    async def write(self, fh: Any, off: int, buf: bytes) -> int:
        if fh == 2 and buf == b"cut":
            for inode in self._contents:
                name = self._names[inode]
                shutil.copyfile(self._directory / name, self._directory / f"{name}.cut")
            return len(buf)
        if fh == 2:
            return await super().write(fh, off, buf)
        await self._comes("write", fh)
        content = self._content(fh)
        content.extend(bytes(max(off - len(content), 0)))
        content[off : off + len(buf)] = buf
        self._unsynced[fh].append((off, len(buf)))
        return len(buf)

    async def setattr(
        self, inode: Any, attr: Any, fields: Any, fh: Any, ctx: Any
    ) -> pyfuse3.EntryAttributes:
        await self._comes("setattr", inode)
        if fields.update_size:
            content = self._content(inode)
            del content[attr.st_size :]
            content.extend(bytes(attr.st_size - len(content)))
            self._unsynced[inode].append((0, 0))
        return self._attributes(inode)

    async def fsync(self, fh: Any, datasync: bool) -> None:
        await self._comes("fsync", fh)
        content = self._content(fh)
        unsynced, self._unsynced[fh] = self._unsynced[fh], []
        fd = self._file(fh)
        try:
            for offset, length in unsynced:
                os.pwrite(fd, content[offset : offset + length], offset)
            os.ftruncate(fd, len(content))
        finally:
            os.close(fd)


def _serve(path: str, directory: str, *words: str) -> None:
    options = set(pyfuse3.default_options) | {"fsname=slow"}
    kind = _Volatile if "volatile" in words else _FileSystem
    pyfuse3.init(kind(Path(directory)), path, options)
    try:
        trio.run(pyfuse3.main)
    finally:
        pyfuse3.close(unmount=False)


if __name__ == "__main__":
    _serve(*sys.argv[1:])
