"""One mount from its devices to its end: what `vfioccw mount` runs.

Crash-only: all that outlives a killed server (its storage on tmpfs, its socket, the dead mount
point) is removed by a small process that waits for the server's end. If that is killed too, the
user's next mount removes storage and socket (`leftovers`).
"""

from __future__ import annotations

import contextlib
import errno
import gc
import logging
import os
import re
import resource
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import pyfuse3
import trio

from ..css.executor import TrioExecutor
from ..css.paths import PathState
from ..devices import durability
from ..devices.base import Device
from ..devices.catalog import attach, device_class
from ..devices.options import DeviceSpec
from ..errors import UserError, printable, reason
from ..memory.backing import BuiltInStorage
from ..memory.space import AddressSpace
from ..mountinfo import mounted
from ..regions.table import Interface
from ..vfio import loading
from ..vfio.control import EVENTS, PATH_STATE, parse_device
from ..vfio.device import CcwDevice
from ..vfio.iommu import Iommu
from ..vfio.system import System
from .blocked import BlockedRequests
from .ending import Ending, EndWriter
from .fs import FileSystem
from .irqfd import IrqfdServer
from .leftovers import HeldDirectory
from .threads import Job, Threads
from .workers import Workers

log = logging.getLogger(__name__)

TMPFS: Final = "/dev/shm"
"""Where guest storage lies."""
_PREFIX: Final = "vfioccw-memory-"
ATTACHING_MAX: Final = 64
"""Media that are being opened at a time."""
MAPPING_MAX: Final = 64
"""Maps that are being made at a time."""
_OWN_FILES: Final = 64
"""Descriptors of a mount that has no device: 20, and some for clients."""
_CLEANER: Final = """
read -r clean
rm -rf -- "$1" "$3"
[ "$clean" = clean ] || exec fusermount3 -u -z -q -- "$2"
"""
"""Waits for the server's end, which closes its standard input; "clean" says all is in order."""


@dataclass(frozen=True, slots=True)
class MountOptions:
    """What to mount."""

    devices: tuple[DeviceSpec, ...] = ()
    """The devices; each has its subchannel id."""
    interface: Interface = Interface.FULL
    """The interface of every subchannel that does not name its own."""
    memory: int = 16 << 20
    """Size of the built-in guest storage in bytes."""
    paths: Mapping[int, PathState] = field(default_factory=dict)
    """Channel paths that are not online at first: chpid to state."""
    allow_other: bool = False
    """Whether every user may do what the owner may (mount.fuse(8), allow_other)."""
    source: str = "vfioccw"
    """What the mount table names as mounted."""


def serve(mountpoint: str, options: MountOptions, ready: Callable[[], None]) -> int:
    """Mount at *mountpoint* and serve until it is unmounted or SIGTERM or SIGINT comes.

    *ready* is called when the mount is usable. Before that UserError says what is wrong: the mount
    point, /dev/fuse, an image, an option. Nothing is left behind then.

    When the mount point and all that belongs to it are gone, what was written goes to stable
    storage, for at most 30 s. Gives 0, or 1 if some of it may not be there, which is in the log.
    """
    check_mountpoint(mountpoint)
    _raise_file_limit(options.devices)
    with contextlib.ExitStack() as last, contextlib.ExitStack() as stack:
        media: list[tuple[DeviceSpec, Device]] = []
        stack.callback(_close_all, media)
        place = os.path.realpath(mountpoint)
        with _lasting():
            for spec in _distinct(options.devices):
                media.append((spec, _attach(spec, place, "")))
        media.sort(key=lambda one: one[1].needs_another)
        directory, storage = _storage(stack, options)
        mount = Mount(mountpoint, options, media, storage)
        last.callback(_bring_to_stable_storage, mount.end)
        with _cleaner(directory, mountpoint, mount.runtime_directory):
            mount.init()
            try:
                trio.run(mount.run, ready)
            except BaseExceptionGroup as group:
                wrong, _ = group.split(UserError)
                if wrong is None:
                    raise
                raise next(_leaves(wrong)) from None
            finally:
                mount.close()
    return int(bool(durability.failures))


def _storage(stack: contextlib.ExitStack, options: MountOptions) -> tuple[str, BuiltInStorage]:
    """The directory of guest storage, until *stack* is left, and the storage.

    UserError if nothing more goes onto the tmpfs where it lies.
    """
    try:
        if os.statvfs(TMPFS).f_bavail == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        held = stack.enter_context(contextlib.closing(HeldDirectory(_PREFIX, TMPFS)))
        directory = os.fspath(held.path)
        storage = BuiltInStorage(directory, options.memory, everyone=options.allow_other)
        if options.allow_other:
            os.chmod(directory, 0o711)
    except OSError as failed:
        if failed.errno not in (errno.ENOSPC, errno.ENOENT, errno.EACCES, errno.EROFS):
            raise
        raise UserError(
            f"{TMPFS}: {reason(failed)}: guest storage lies there; it must be a tmpfs with room "
            f"that this user may write (df {TMPFS}; mount -o remount,size=1G {TMPFS})"
        ) from None
    return directory, storage


def _bring_to_stable_storage(end: EndWriter) -> None:
    """Wait until the files of media have ended, and tell *end*."""
    writing = durability.going()
    if writing:
        # A second request to end changes nothing; Ctrl-C gives up.
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        end.say(Ending(writing=durability.named(writing)))
        durability.wait_for_all()
    failures = [f"{path}: {why}" for path, why in durability.failures.items()]
    end.say(Ending(failed=durability.named(failures), over=True))
    end.close()


class Mount:
    """A mount and all that belongs to it."""

    def __init__(
        self,
        mountpoint: str,
        options: MountOptions,
        media: list[tuple[DeviceSpec, Device]],
        storage: BuiltInStorage,
    ) -> None:
        """*media* are the devices that are to be there first; they are taken off the list then."""
        self._mountpoint = os.path.realpath(mountpoint)
        self._options = options
        self._media = media
        self._storage = storage
        self._devices: dict[str, CcwDevice] = {}
        # What is being attached by now: id, and what gives it up.
        self._coming: dict[str, trio.CancelScope] = {}
        self._attaching = Threads("devices that are to be added", ATTACHING_MAX)
        self._own = ""  # MAJOR:MINOR of the mount, once somebody has asked
        self.workers = Workers()
        """The session's workers."""
        self._blocked = BlockedRequests(self._mountpoint, self.workers)
        self._irqfd = IrqfdServer(
            lambda schid: self._devices[schid].irqs,
            Iommu(self._devices.__getitem__, Threads("maps", MAPPING_MAX)),
            command=self.command,
        )
        self._irqfd.open()
        self.fs = FileSystem(
            self._devices, self._blocked, os.fspath(self._irqfd.path), storage.path, self._load,
            everyone=options.allow_other,
        )  # fmt: skip
        """The file system."""
        self.runtime_directory = os.fspath(self._irqfd.path.parent)
        """Where the socket lies."""
        self.end = EndWriter(self.runtime_directory)
        """Tells how far the end of the mount is."""

    def init(self) -> None:
        """Mount; UserError if that fails. libfuse writes why to stderr, which is caught here."""
        options = set(pyfuse3.default_options)
        source = re.sub(r"[\\,]", r"\\\g<0>", self._options.source)  # as libfuse splits options
        options |= {f"fsname={source}", "subtype=vfioccw"}
        if self._options.allow_other:
            options.add("allow_other")
        with _captured_stderr() as said:
            try:
                pyfuse3.init(self.fs, self._mountpoint, options)
            except RuntimeError:
                self._irqfd.close()
                reason = said().strip().splitlines() or ["mount failed"]
                raise UserError(f"{self._mountpoint}: {reason[-1]}") from None

    async def run(self, ready: Callable[[], None]) -> None:
        """Serve until the end."""
        async with trio.open_nursery() as nursery:
            executor = TrioExecutor(
                nursery, None if self.workers.stock else self.workers.after_reply
            )
            self._system = System(executor, self._space, self._options.interface, self._devices)
            with contextlib.closing(self._system):
                for chpid, state in self._options.paths.items():
                    self._system.paths.begin(chpid, state)
                log.info("mounted at %s", self._mountpoint)
                with _lasting():
                    self._plug_first()
                self.workers.at_end(self._end_of_session)
                nursery.start_soon(self._blocked.run)
                nursery.start_soon(self._irqfd.serve)
                await nursery.start(self._obey_signals)
                nursery.start_soon(_call, ready)
                await self.workers.run_session()
                log.info("unmounted")
            nursery.cancel_scope.cancel()

    def _plug_first(self) -> None:
        while self._media:
            spec = self._media[0][0]
            self._system.add(*self._media[0])
            del self._media[0]
            log.info("%s@%s: %s", spec.type, spec.schid, spec.path)

    def _space(self) -> AddressSpace:
        """A new subchannel's storage: the built-in one at 0."""
        return AddressSpace([self._storage.range()])

    async def command(self, message: Mapping[str, object]) -> dict[str, object]:
        """Do what `vfioccw add`, `remove`, `load`, `unload`, `chp` ask for; UserError if wrong."""
        log.info("asked to %s", printable(" ".join(map(str, message.values()))))
        match message:
            case {"do": "add", "device": str(text), **rest} if not rest:
                await self._add(parse_device(text))
                return {}
            case {"do": "remove", "subchannel": str(schid), **rest} if not rest:
                if schid in self._coming:
                    self._coming.pop(schid).cancel()
                else:
                    await self._remove(schid)
                return {}
            case {"do": "load", "subchannel": str(schid), "file": str(path), **rest} if not rest:
                await self._load(self._device(schid), EVENTS["load"].read(path))
                return {}
            case {"do": "unload", "subchannel": str(schid), **rest} if not rest:
                loading.unload(self._device(schid))
                return {}
            case {"do": "chp", "chpid": str(text), "state": str(word), **rest} if not rest:
                if not re.fullmatch("[0-9a-fA-F]{1,2}", text):
                    raise UserError(f"{text}: not a chpid; write two hex digits such as 40")
                self._system.paths.change(int(text, 16), PATH_STATE.read(word))
                return {}
            case {"do": "chp", **rest} if not rest:
                known = self._system.paths.known()
                return {
                    "chps": [
                        {"chpid": f"{chpid:02x}", "state": state.value, "subchannels": behind}
                        for chpid, state, behind in known
                    ]
                }
            case _:
                raise UserError(
                    '"do" is add, remove, load, unload or chp, with what belongs to it'
                )

    def _device(self, schid: str) -> CcwDevice:
        if schid not in self._devices:
            raise UserError(f"{schid}: no such subchannel")
        return self._devices[schid]

    async def _load(self, device: CcwDevice, path: str) -> None:
        """Put the medium at *path* into *device*; UserError if that cannot be."""
        model = await self._attach(loading.spec_with(device, path)).wait()
        if self._devices.get(device.sch.schid) is not device:
            model.close()
            raise UserError(f"{device.sch.schid}: removed meanwhile")
        loading.exchange(device, model)

    def _attach(self, spec: DeviceSpec) -> Job[Device]:
        """Begin to attach the device of *spec*, in a thread; closed if nobody waits for it."""
        if not self._own:
            # The last one: it hides what is mounted there, too.
            mounts = [mount for mount in mounted() if mount.point == self._mountpoint]
            self._own = mounts[-1].device if mounts else ""
        opening = partial(_attach, spec, self._mountpoint, self._own)
        return self._attaching.start(opening, lambda unwanted: unwanted.close())

    async def _add(self, spec: DeviceSpec) -> None:
        """Attach a device while the mount is in use, its medium opened in a thread.

        Cancelled, or removed before it is there, it leaves nothing: its medium is closed again.
        """
        if spec.schid in self._devices:
            raise UserError(f"{spec.schid}: this subchannel is there already")
        if spec.schid in self._coming:
            raise UserError(f"{spec.schid}: this subchannel is being added already")
        attaching = self._attach(spec)
        model = None
        with trio.CancelScope() as scope:
            self._coming[spec.schid] = scope
            try:
                model = await attaching.wait()
            finally:
                if self._coming.get(spec.schid) is scope:
                    del self._coming[spec.schid]
        # Removed, perhaps at the very moment at which it came.
        if model is None or scope.cancel_called:
            if model is not None:
                model.close()
            raise UserError(f"{spec.schid}: removed before it was there")
        try:
            self._system.plug(spec, model)
        except BaseException:
            model.close()
            raise

    async def _remove(self, schid: str) -> None:
        """Take a subchannel away at once; then wait until what was written is on stable storage.

        UserError if there is none, or if some of that may not be there.
        """
        device = self._devices.get(schid)
        media = () if device is None else device.sch.device.media
        self.fs.withdraw(self._system.remove(schid))
        late = True
        with trio.move_on_after(durability.LONGEST_END):
            for medium in media:
                if medium.ending is not None:
                    await medium.ending.wait()
            late = False
        for medium in media:
            if medium.path in durability.failures or (late and medium.ending is not None):
                why = durability.failures.get(medium.path, "no answer yet")
                raise UserError(
                    f"{schid}: removed, but what was written into {medium.path} may not be on "
                    f"stable storage: {why}; check it"
                )

    def _end_of_session(self) -> None:
        self._blocked.shutdown()
        self.fs.shutdown()

    async def _obey_signals(self, task_status: trio.TaskStatus[None]) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            task_status.started()
            async for _ in signals:
                self.workers.stop()

    def close(self) -> None:
        """Detach the mount if it still is there, also while files are open."""
        self._irqfd.close()
        # A stat would be a request to ourselves.
        if any(mount.point == self._mountpoint for mount in mounted()):
            subprocess.run(
                ["fusermount3", "-u", "-z", "-q", "--", self._mountpoint],
                check=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )  # fmt: skip
        pyfuse3.close(unmount=False)
        self._storage.close()


async def _call(function: Callable[[], None]) -> None:
    function()


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    """The exceptions in *group*, however deep."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def _distinct(specs: tuple[DeviceSpec, ...]) -> tuple[DeviceSpec, ...]:
    seen: set[str] = set()
    for spec in specs:
        if spec.schid in seen:
            raise UserError(f"{spec.type}@{spec.schid}: two devices with this subchannel id")
        seen.add(spec.schid)
    return specs


def _attach(spec: DeviceSpec, mountpoint: str, own: str) -> Device:
    """Open the device of *spec*; UserError if it cannot be, or if its medium is in this very mount.

    *mountpoint* has no symlinks in it; *own* is MAJOR:MINOR of what is mounted there, "" if nothing
    is yet. A file system may never answer.
    """
    path = os.path.realpath(spec.path)
    inside = path == mountpoint or path.startswith(mountpoint.rstrip("/") + "/")
    with contextlib.suppress(OSError):
        # Another way into the same file system: a bind mount.
        device = os.stat(path).st_dev
        inside |= own == f"{os.major(device)}:{os.minor(device)}"
    if inside:
        raise UserError(f"{spec.path}: is inside the mount itself; name a file elsewhere")
    try:
        return attach(spec)
    except OSError as error:
        raise UserError(f"{spec.path}: {reason(error)}") from None


def _close_all(media: list[tuple[DeviceSpec, Device]]) -> None:
    for _, device in media:
        device.close()


def check_mountpoint(mountpoint: str) -> None:
    """UserError unless a FUSE file system can be mounted at *mountpoint*."""
    if not os.path.exists("/dev/fuse"):
        raise UserError("/dev/fuse: not there; load the fuse module (modprobe fuse)")
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        raise UserError("/dev/fuse: no permission; be root, or let your user read and write it")
    if shutil.which("fusermount3") is None:
        raise UserError("fusermount3: not found; install the package fuse3")
    try:
        found = os.stat(mountpoint)
    except FileNotFoundError:
        raise UserError(f"{mountpoint}: no such directory; make it first (mkdir)") from None
    except OSError as error:
        remedy = f"end what is mounted there first (fusermount3 -u {mountpoint})"
        raise UserError(f"{mountpoint}: {error.strerror}; {remedy}") from None
    if not stat.S_ISDIR(found.st_mode):
        raise UserError(f"{mountpoint}: not a directory; a mount point must be one")
    if os.path.ismount(mountpoint):
        raise UserError(f"{mountpoint}: busy, something is mounted there; see vfioccw umount")
    with contextlib.suppress(PermissionError):
        if os.listdir(mountpoint):
            raise UserError(f"{mountpoint}: not empty; mount on an empty directory")


def _raise_file_limit(devices: Sequence[DeviceSpec]) -> None:
    """Media stay open: take what the system grants; UserError if that is less than they need."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    needed = _OWN_FILES + sum(device_class(spec.type).files(spec) for spec in devices)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise UserError(
            f"{len(devices)} devices need {needed} open files, and {hard} are allowed; "
            f"raise the limit (ulimit -Hn {needed}), or mount fewer devices"
        )


@contextlib.contextmanager
def _lasting() -> Iterator[None]:
    """What is made meanwhile is there for as long as the mount: garbage collection leaves it out.

    It would look at all of it again and again while there is more of it, and later stop all
    requests for a second where there are tens of thousands of subchannels.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextlib.contextmanager
def _captured_stderr() -> Iterator[Callable[[], str]]:
    """What libfuse and fusermount3 write to descriptor 2 meanwhile."""
    saved = os.dup(2)
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)

        def said() -> str:
            caught.seek(0)
            return caught.read().decode(errors="replace")

        try:
            yield said
        finally:
            os.dup2(saved, 2)
            os.close(saved)


@contextlib.contextmanager
def _cleaner(directory: str, mountpoint: str, runtime: str) -> Iterator[None]:
    """A process that cleans up should we be killed."""
    process = subprocess.Popen(
        ["/bin/sh", "-c", _CLEANER, "vfioccw-cleaner", directory, mountpoint, runtime],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True, cwd="/",
    )  # fmt: skip
    try:
        yield
        assert process.stdin is not None
        process.stdin.write(b"clean\n")
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()
