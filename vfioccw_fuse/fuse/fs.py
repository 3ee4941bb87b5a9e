"""The mount as pyfuse3 sees it: inodes, names, open files.

Inode 1 is the mount, 2 `irqfd`; subchannel n of the mount has 64 inodes from 64 (n + 1), the first
of them its directory. A request goes from here to the file in one step.
"""

from __future__ import annotations

import errno
import functools
import logging
import os
import stat
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from typing import Any, Final, NoReturn, ParamSpec, TypeVar

import pyfuse3
import trio

from ..errors import UserError, printable
from ..memory.paging import StorageAway
from ..regions.table import Interface
from ..vfio.device import CcwDevice
from ..vfio.driver import Processing
from ..vfio.loading import Loading
from .blocked import BlockedRequests, Line, Opener
from .file import File
from .files import UNLISTED, kinds_of

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

ROOT: Final = int(pyfuse3.ROOT_INODE)
IRQFD: Final = 2
STRIDE: Final = 64
"""Inodes that belong to one subchannel."""
OF_THE_ROOT: Final = 1 << 63
"""What the handles of the open root directory have, and no inode."""
FOREVER: Final = 3600.0
"""Seconds for which the kernel may keep names and attributes: what they say does not change."""


@functools.cache
def _places(interface: Interface) -> dict[str, int]:
    """The names in a subchannel's directory, with how far behind its own their inodes are."""
    return {"memory": 1} | {name: place for place, name in enumerate(kinds_of(interface), start=2)}


class SubchannelDirectory:
    """One subchannel's directory: its names, and its files as somebody looks for them."""

    __slots__ = ("_blocked", "_gone", "device", "files", "inode")

    def __init__(self, inode: int, device: CcwDevice, blocked: BlockedRequests) -> None:
        self.inode = inode
        """The directory's inode; its files follow it."""
        self.device = device
        """What it shows."""
        self.files: dict[int, File] = {}
        """Its files by inode, those that somebody has looked for."""
        self._blocked = blocked
        self._gone = False

    def names(self) -> dict[str, int]:
        """All names that it lists, and their inodes."""
        places = _places(self.device.interface)
        return {name: self.inode + place for name, place in places.items() if name not in UNLISTED}

    def find(self, name: str) -> int | None:
        """The inode of *name*, listed or not; None if there is none."""
        place = _places(self.device.interface).get(name)
        return None if place is None else self.inode + place

    def name(self, inode: int) -> str:
        """The name of a file by its inode."""
        return list(_places(self.device.interface))[inode - self.inode - 1]

    def file(self, inode: int) -> File:
        """A file by its inode; KeyError for the symlink `memory`, and where none is."""
        file = self.files.get(inode)
        if file is None:
            make = kinds_of(self.device.interface)[self.name(inode)]
            self.files[inode] = file = make(self.device, self._blocked)
            if self._gone:
                file.shutdown()
        return file

    def shutdown(self) -> None:
        """Nobody may wait in one of its files any longer."""
        self._gone = True
        for file in self.files.values():
            file.shutdown()


def _failed(error: Exception) -> pyfuse3.FUSEError:
    """What a request is answered with that ended by *error*: EIO if nobody foresaw that.

    This is the boundary around each request: nothing else that happens in one ends the mount.
    """
    if isinstance(error, pyfuse3.FUSEError):
        return error
    if isinstance(error, OSError) and error.errno:
        return pyfuse3.FUSEError(error.errno)
    log.error("a request failed", exc_info=error)
    return pyfuse3.FUSEError(errno.EIO)


def _answered(handler: Callable[P, Awaitable[T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Whatever happens in *handler*, its request is answered; `read`, `write`, `poll` see to it."""

    @functools.wraps(handler)
    async def answered(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await handler(*args, **kwargs)
        except Exception as error:
            raise _failed(error) from None

    return answered


async def _names_are_fixed(*_: object) -> NoReturn:
    """Names come and go with subchannels, not by a client's wish: EPERM."""
    raise pyfuse3.FUSEError(errno.EPERM)


class FileSystem(pyfuse3.Operations):
    """The operations of the mount.

    Every handler answers at once but those of waiting files, and a write that has to wait for the
    fault `processing`, for guest storage or for a medium. There is none for a flush: the kernel
    asks once and then closes without asking, also what a killed server had open in its own mount,
    where nobody is left to answer.
    """

    supports_dot_lookup = False
    enable_writeback_cache = False

    def __init__(
        self,
        devices: Mapping[str, CcwDevice],
        blocked: BlockedRequests,
        irqfd: str,
        memory: str,
        load: Callable[[CcwDevice, str], Awaitable[None]],
        *,
        everyone: bool = False,
    ) -> None:
        """*devices* is the registry of what there is, by subchannel id.

        *irqfd* and *memory* are what the symlinks of these names say. *load* puts a medium into a
        device. *everyone* may do what the owner may.
        """
        super().__init__()
        self._devices = devices
        self._blocked = blocked
        self._irqfd = os.fsencode(irqfd)
        self._memory = os.fsencode(memory)
        self._everyone = everyone
        self._load = load
        # What somebody has looked at, and what is removed and still open somewhere.
        self._shown: dict[CcwDevice, SubchannelDirectory] = {}
        self._by_inode: dict[int, SubchannelDirectory] = {}
        self._removed: list[SubchannelDirectory] = []
        self._open: dict[int, tuple[File, Opener]] = {}
        # What an open root directory listed when it was read from its beginning.
        self._listings: dict[int, list[tuple[str, CcwDevice]]] = {}
        self._next_handle = 0
        self._next_block = 1
        self._uid = os.getuid()
        self._gid = os.getgid()
        self._born = time.time_ns()

    def _show(self, device: CcwDevice) -> SubchannelDirectory:
        """The directory of *device*, made when somebody asks for it first."""
        directory = self._shown.get(device)
        if directory is None:
            directory = SubchannelDirectory(STRIDE * self._next_block, device, self._blocked)
            self._next_block += 1
            self._shown[device] = directory
            self._by_inode[directory.inode] = directory
        return directory

    def withdraw(self, device: CcwDevice) -> None:
        """*device* is removed: its names are gone, who waits there gets ENODEV.

        Files that are open stay, and their requests get what the driver says (EIO).
        """
        directory = self._shown.pop(device, None)
        if directory is not None:
            directory.shutdown()
            self._removed.append(directory)
            self._drop_removed()

    def shutdown(self) -> None:
        """The session ends: nobody may wait any longer."""
        for directory in self._shown.values():
            directory.shutdown()

    def _new_handle(self) -> int:
        self._next_handle += 1
        return self._next_handle

    def _drop_removed(self) -> None:
        """Keep of what was removed only that of which somebody has a file open."""
        held = {file for file, _ in self._open.values()}
        for directory in [d for d in self._removed if held.isdisjoint(d.files.values())]:
            self._removed.remove(directory)
            del self._by_inode[directory.inode]

    # --- names and attributes -----------------------------------------------------------------

    def _attributes(self, inode: int) -> pyfuse3.EntryAttributes:
        entry = pyfuse3.EntryAttributes()
        entry.st_ino = pyfuse3.InodeT(inode)
        entry.st_uid = self._uid
        entry.st_gid = self._gid
        entry.st_atime_ns = entry.st_mtime_ns = entry.st_ctime_ns = self._born
        entry.st_nlink = 1
        entry.entry_timeout = entry.attr_timeout = FOREVER
        entry.st_blksize = 4096
        if inode == ROOT:
            entry.st_mode = stat.S_IFDIR | 0o700
            entry.st_nlink = 2 + len(self._devices)
        elif inode == IRQFD:
            entry.st_mode = stat.S_IFLNK | 0o777
            entry.st_size = len(self._irqfd)
        else:
            directory = self._directory(inode)
            place = inode % STRIDE
            if place == 0:
                # The next subchannel of this name is another one, from the moment it is there.
                entry.entry_timeout = 0
                entry.st_mode = stat.S_IFDIR | 0o700
                entry.st_nlink = 2
            elif place == 1:
                entry.st_mode = stat.S_IFLNK | 0o777
                entry.st_size = len(self._memory)
            else:
                file = directory.file(inode)
                entry.st_mode = file.mode
                entry.st_size = file.size
        if self._everyone:
            entry.st_mode |= (entry.st_mode & stat.S_IRWXU) // 0o100 * 0o011
        return entry

    def _directory(self, inode: int) -> SubchannelDirectory:
        try:
            return self._by_inode[inode - inode % STRIDE]
        except KeyError:
            raise pyfuse3.FUSEError(errno.ENOENT) from None

    @_answered
    async def getattr(
        self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        """stat(2)."""
        return self._attributes(inode)

    @_answered
    async def lookup(
        self, parent_inode: pyfuse3.InodeT, name: bytes, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        """Find a name in a directory; ENOENT."""
        return self._attributes(self._find(parent_inode, os.fsdecode(name)))

    def _find(self, parent: int, name: str) -> int:
        if parent == ROOT:
            if name == "irqfd":
                return IRQFD
            device = self._devices.get(name)
            if device is not None:
                return self._show(device).inode
        elif parent in self._by_inode:
            directory = self._by_inode[parent]
            inode = directory.find(name)
            if inode is not None:
                return inode
        raise pyfuse3.FUSEError(errno.ENOENT)

    @_answered
    async def readlink(
        self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.FileNameT:
        """The targets of `irqfd` and `memory`."""
        return pyfuse3.FileNameT(self._irqfd if inode == IRQFD else self._memory)

    @_answered
    async def setattr(
        self,
        inode: pyfuse3.InodeT,
        attr: pyfuse3.EntryAttributes,
        fields: pyfuse3.SetattrFields,
        fh: pyfuse3.FileHandleT | None,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.EntryAttributes:
        """Truncation is accepted and ignored; modes and owners are fixed (EPERM)."""
        if fields.update_mode or fields.update_uid or fields.update_gid:
            raise pyfuse3.FUSEError(errno.EPERM)
        return self._attributes(inode)

    async def access(self, inode: pyfuse3.InodeT, mode: int, ctx: pyfuse3.RequestContext) -> bool:
        """The kernel checks modes itself (default_permissions)."""
        return True

    @_answered
    async def statfs(self, ctx: pyfuse3.RequestContext) -> pyfuse3.StatvfsData:
        """There is nothing to fill up."""
        data = pyfuse3.StatvfsData()
        data.f_bsize = data.f_frsize = 4096
        data.f_namemax = 255
        return data

    create: Any = _names_are_fixed
    mknod: Any = _names_are_fixed
    mkdir: Any = _names_are_fixed
    symlink: Any = _names_are_fixed
    link: Any = _names_are_fixed
    rename: Any = _names_are_fixed
    unlink: Any = _names_are_fixed
    rmdir: Any = _names_are_fixed

    @_answered
    async def opendir(
        self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.FileHandleT:
        """A subchannel's directory has its inode for a handle, the root a new one each time."""
        if inode != ROOT:
            return pyfuse3.FileHandleT(inode)
        handle = OF_THE_ROOT | self._new_handle()
        self._listings[handle] = []
        return pyfuse3.FileHandleT(handle)

    @_answered
    async def readdir(
        self, fh: pyfuse3.FileHandleT, start_id: int, token: pyfuse3.ReaddirToken
    ) -> None:
        """The names of a directory, those after number *start_id*."""
        list_names = self._subchannels if fh >= OF_THE_ROOT else self._files
        for number, (name, inode) in list_names(fh, start_id):
            if not pyfuse3.readdir_reply(
                token, pyfuse3.FileNameT(name.encode()), self._attributes(inode), number
            ):
                break

    def _subchannels(self, handle: int, start: int) -> Iterator[tuple[int, tuple[str, int]]]:
        """What the root lists after number *start*: each with its number, name and inode.

        Whoever reads it piece by piece gets what was there at the beginning and still is.
        """
        if not start:
            self._listings[handle] = sorted(self._devices.items())
            yield 1, ("irqfd", IRQFD)
        first = max(start - 1, 0)
        for number, (name, device) in enumerate(self._listings[handle][first:], start=first + 2):
            if self._devices.get(name) is device:
                yield number, (name, self._show(device).inode)

    def _files(self, inode: int, start: int) -> Iterator[tuple[int, tuple[str, int]]]:
        """What a subchannel's directory lists after number *start*; as `_subchannels`."""
        names = list(self._directory(inode).names().items())
        return enumerate(names[start:], start=start + 1)

    async def releasedir(self, fh: pyfuse3.FileHandleT) -> None:
        """An open directory is closed."""
        self._listings.pop(fh, None)

    # --- open files ---------------------------------------------------------------------------

    @_answered
    async def open(
        self, inode: pyfuse3.InodeT, flags: int, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.FileInfo:
        """Every file is direct_io: a page cache would show an old IRB."""
        directory = self._directory(inode)
        file = directory.file(inode)
        path = f"/{directory.device.sch.schid}/{directory.name(inode)}"
        opener = Opener(path, ctx.pid, ctx.uid, bool(flags & os.O_NONBLOCK))
        handle = self._new_handle()
        file.opened(opener)
        self._open[handle] = (file, opener)
        return pyfuse3.FileInfo(fh=pyfuse3.FileHandleT(handle), direct_io=True)

    async def read(self, fh: pyfuse3.FileHandleT, off: int, size: int) -> bytes:
        """pread(2)."""
        try:
            file, opener = self._open[fh]
            if file.waits:
                return await file.read_waiting(opener, size)
            return file.read(opener, off, size)
        except Exception as error:
            raise _failed(error) from None

    async def write(self, fh: pyfuse3.FileHandleT, off: int, buf: bytes) -> int:
        """pwrite(2)."""
        try:
            file, opener = self._open[fh]
            if file.waits:
                return await file.write_waiting(opener, buf)
            return file.write(opener, off, buf)
        except Processing as held:
            await self._processed(opener, held)
            return len(buf)
        except StorageAway as away:
            return await self._again(file, opener, off, buf, away)
        except Loading as loading:
            await self._loaded(opener, loading)
            return len(buf)
        except Exception as error:
            raise _failed(error) from None

    @_answered
    async def _processed(self, opener: Opener, held: Processing) -> None:
        """Let a request wait in CP_PROCESSING, then go on; a signal or the end withdraws it.

        It waits no longer than its start is there.
        """
        go_on = held.finish
        line = Line()
        held.on_drop = line.finish_all
        try:
            with trio.move_on_after(held.seconds):
                await self._blocked.wait(opener, line)
        except pyfuse3.FUSEError:
            go_on = held.withdraw
        go_on()

    @_answered
    async def _loaded(self, opener: Opener, loading: Loading) -> None:
        """Let a request wait for a medium; EINVAL if it cannot be loaded, which is in the log."""

        async def load() -> None:
            try:
                await self._load(loading.device, loading.path)
            except UserError as wrong:
                log.warning("not loaded: %s", printable(wrong.message))
                loading.device.refused = wrong.message
                raise OSError(errno.EINVAL, wrong.message) from None

        await self._blocked.wait_for(opener, load)

    @_answered
    async def _again(
        self, file: File, opener: Opener, off: int, buf: bytes, away: StorageAway
    ) -> int:
        """Let a request wait for guest storage and begin again; a signal or the end ends it."""
        while True:
            await self._blocked.wait_for(opener, away.wait)
            try:
                return file.write(opener, off, buf)
            except Processing as held:
                await self._processed(opener, held)
                return len(buf)
            except StorageAway as more:
                away = more

    async def poll(
        self,
        inode: pyfuse3.InodeT,
        fh: pyfuse3.FileHandleT,
        handle: pyfuse3.PollHandle | None,
        ctx: pyfuse3.RequestContext,
    ) -> int:
        """poll(2), select(2), epoll_wait(2)."""
        try:
            file, opener = self._open[fh]
            return file.poll(opener, handle)
        except Exception as error:
            raise _failed(error) from None

    async def fsync(self, fh: pyfuse3.FileHandleT, datasync: bool) -> None:
        """fsync(2): what programs have written before is on stable storage then; EIO if it is not.

        Only who asks waits; a signal ends that.
        """
        try:
            file, opener = self._open[fh]
            await file.sync(opener)
        except Exception as error:
            raise _failed(error) from None

    @_answered
    async def release(self, fh: pyfuse3.FileHandleT) -> None:
        """The last descriptor of an open file is closed."""
        file, opener = self._open.pop(fh)
        file.release(opener)
        if self._removed:
            self._drop_removed()
