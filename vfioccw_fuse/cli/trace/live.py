"""Where a trace comes from: subchannels that are followed, all at once, or lines that were kept."""

import contextlib
import errno
import json
import os
import resource
import select
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from ...errors import UserError
from ...regions.schid import is_schid
from ...regions.state import parse_state
from .. import asking_the_mount, complain
from ..commandcodes import device_type
from ..follow import follow
from .seen import Seen, reader, seen

_PIECE: Final = 1 << 16  # bytes read at a time
_NAP: Final = 0.02
"""Seconds from one look to the next: what comes meanwhile is read at once, and costs less."""
_SLACK_NS: Final = 1_000_000
"""Events of several subchannels are put in order when they are that old."""
_LIST_S: Final = 1.0
"""Seconds between two looks for new subchannels of a mount that is traced."""
_GONE: Final = frozenset({errno.ENODEV, errno.ENOTCONN, errno.ECONNABORTED, errno.ENOENT})
_STATE_MAX: Final = 1 << 16  # bytes; more than any `state` has


class Stop:
    """Whether somebody said that it is enough: SIGINT, SIGTERM, SIGHUP.

    The second signal ends the process as it always does. A descriptor tells of the first: an
    exception could take what was read with it.
    """

    def __init__(self) -> None:
        self.signal = 0
        """The signal's number, 0 before it comes."""
        self.fd, self._tells = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._before = signal.set_wakeup_fd(self._tells, warn_on_full_buffer=False)
        self._handlers: dict[int, Any] = {}
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            handler = signal.getsignal(number)
            if handler is not signal.SIG_IGN:
                self._handlers[number] = handler
                signal.signal(number, self._told)

    def _told(self, number: int, _frame: object) -> None:
        self.signal = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def close(self) -> None:
        """Let signals be what they were."""
        self._restore()
        signal.set_wakeup_fd(self._before)
        os.close(self.fd)
        os.close(self._tells)


class _Followed:
    """One subchannel."""

    def __init__(self, path: str, name: str, most: int) -> None:
        """Follow the directory *path* from now on; *name*: what it is called."""
        self.path = path
        self.name = name
        with asking_the_mount():
            self.fd = os.open(
                os.path.join(path, "trace"), os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC
            )
        try:
            self._ask(most)
            self.device = _device_of(path)
        except BaseException:
            self.close()
            raise
        self._text = b""

    def _ask(self, most: int) -> None:
        try:
            os.write(self.fd, json.dumps({"data": most}).encode())
        except OSError as failed:
            if failed.errno != errno.EINVAL:
                raise
            raise UserError(
                f"{self.path}: its server is of an older vfioccw; unmount it and mount it again"
            ) from None

    def take(self, begin: int, horizon: int) -> Iterator[Seen]:
        """What has happened: all that comes before *horizon*, and perhaps more."""
        while True:
            try:
                piece = os.read(self.fd, _PIECE)
            except BlockingIOError:
                return
            *lines, self._text = (self._text + piece).split(b"\n")
            last = None
            for line in lines:
                last = seen(json.loads(line), begin, self.name, self.device)
                yield last
            if last is not None and last.ns > horizon:
                return

    def close(self) -> None:
        # close(2) of a file whose mount is gone says so, and has closed it.
        with contextlib.suppress(OSError):
            os.close(self.fd)


def _device_of(path: str) -> str:
    """The type of the device of a subchannel, by its `state`."""
    fd = os.open(os.path.join(path, "state"), os.O_RDONLY | os.O_CLOEXEC)
    try:
        state = parse_state(os.pread(fd, _STATE_MAX, 0).decode(errors="replace"))
    finally:
        os.close(fd)
    return device_type(state.get("device", ""))


class Live:
    """Subchannels of one or more mounts, followed at once."""

    def __init__(self, places: Sequence[str], most: int, wanted: Callable[[str], bool]) -> None:
        """*places*: subchannels, MNT/0.0.0313, or mounts, with all subchannels that *wanted* takes.

        *most*: bytes of data of each CCW. UserError or OSError if one cannot be followed.
        """
        self._most = most
        self._wanted = wanted
        self._begin = time.monotonic_ns()
        self._epoll = select.epoll()
        self._followed: dict[int, _Followed] = {}
        self._paths: set[str] = set()
        self._mounts = [place for place in places if _is_mount(place)]
        directories = {
            os.path.realpath(place if place in self._mounts else os.path.dirname(_absolute(place)))
            for place in places
        }
        self._several = len(directories) > 1
        try:
            for place in places:
                if place not in self._mounts:
                    self._follow(place)
            self._look_for_new(first=True)
        except BaseException:
            self.close()
            raise
        if not self._followed and not self._mounts:
            raise UserError("no subchannel to trace")

    def close(self) -> None:
        """Follow nothing more."""
        for followed in self._followed.values():
            followed.close()
        self._epoll.close()

    def _follow(self, path: str) -> None:
        path = _absolute(path)
        if path in self._paths:
            return
        directory, schid = os.path.split(path)
        name = os.path.join(os.path.basename(directory), schid) if self._several else schid
        _room_for_one()
        try:
            followed = _Followed(path, name, self._most)
        except OSError as failed:
            if failed.errno == errno.EBUSY:
                raise UserError(f"{path}: 64 have its trace open; end one of them") from None
            raise
        self._paths.add(path)
        self._followed[followed.fd] = followed
        self._epoll.register(followed.fd, select.EPOLLIN)

    def _look_for_new(self, *, first: bool = False) -> None:
        """Follow the subchannels of the mounts that are not followed yet."""
        for mount in list(self._mounts):
            if not first and not _is_mount(mount):
                # What was below it is seen now, which has no subchannels.
                self._mounts.remove(mount)
                continue
            try:
                with asking_the_mount():
                    names = sorted(name for name in os.listdir(mount) if is_schid(name))
                for name in filter(self._wanted, names):
                    self._follow(os.path.join(mount, name))
            except (OSError, UserError):
                if first:
                    raise
                self._mounts.remove(mount)

    def _forget(self, followed: _Followed) -> None:
        self._epoll.unregister(followed.fd)
        followed.close()
        del self._followed[followed.fd]
        self._paths.discard(followed.path)
        complain(f"{followed.path}: the subchannel is gone, or its mount has ended")

    def events(
        self, seconds: float | None, stop: Stop, output: int | None = None
    ) -> Iterator[list[Seen]]:
        """What happens, in its order, for so many seconds, until *stop*, or until all is gone.

        Each list is what was read at once; all of it is there once the iterator has ended.
        BrokenPipeError as soon as nobody reads the descriptor *output* any more.
        """
        end = None if seconds is None else time.monotonic() + seconds
        listing = time.monotonic() + _LIST_S
        held: list[Seen] = []
        self._epoll.register(stop.fd, select.EPOLLIN)
        if output is not None:
            # Only that it is closed is told; an ordinary file cannot be asked.
            with contextlib.suppress(PermissionError):
                self._epoll.register(output, 0)
        over = False
        while not over:
            now = time.monotonic()
            if self._mounts and now >= listing:
                self._look_for_new()
                listing = time.monotonic() + _LIST_S
            due = [at for at in (end, listing if self._mounts else None) if at is not None]
            nothing = not (self._followed or self._mounts)
            wait = 0.0 if held or nothing else max(0.0, min(due) - now) if due else None
            ready = [fd for fd, _ in self._epoll.poll(wait)]
            if output in ready:
                raise BrokenPipeError
            over = (
                stop.fd in ready
                or nothing
                or (end is not None and time.monotonic() >= end)
            )
            if len(self._followed) > 1 and ready and not over:
                # What others had to tell before is told now.
                ready = [fd for fd, _ in self._epoll.poll(0)]
            horizon = time.monotonic_ns() - self._begin - _SLACK_NS
            held += self._take(list(self._followed) if over else ready, horizon)
            if over or len(self._followed) < 2:
                given, held = held, []
            else:
                given = [event for event in held if event.ns <= horizon]
                held = [event for event in held if event.ns > horizon]
            if given:
                yield sorted(given, key=lambda event: event.ns)
            over = over or not (self._followed or self._mounts)
            if not over:
                stopping = select.poll()
                stopping.register(stop.fd, select.POLLIN)
                stopping.poll(_NAP * 1000)

    def _take(self, ready: Sequence[int], horizon: int) -> Iterator[Seen]:
        for fd in ready:
            followed = self._followed.get(fd)
            if followed is None:
                continue
            try:
                yield from followed.take(self._begin, horizon)
            except OSError as failed:
                if failed.errno not in _GONE:
                    raise
                self._forget(followed)


def kept(fd: int, seconds: float | None, stop: Stop) -> Iterator[list[Seen]]:
    """What a file or a pipe has of a trace; what is no line of one is passed over."""
    read = reader()
    text = b""
    for piece in follow(fd, seconds, stop.fd):
        *lines, text = (text + piece).split(b"\n")
        found = [read(line.decode(errors="replace")) for line in lines]
        yield [one for one in found if one is not None]
    last = read(text.decode(errors="replace"))
    if last is not None:
        yield [last]


def _is_mount(place: str) -> bool:
    return os.path.lexists(os.path.join(place, "irqfd"))


def _absolute(place: str) -> str:
    return os.path.abspath(place)


def _room_for_one() -> None:
    """Let more files be open than usual: a mount may have thousands of subchannels."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
