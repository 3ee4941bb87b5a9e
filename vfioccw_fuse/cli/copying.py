"""What goes between a disk and a file or a pipe: where from, where to, how far, what was done."""

import contextlib
import os
import stat
import sys
from collections.abc import Callable, Iterator
from typing import BinaryIO

import click

from ..errors import UserError

_MANY = 2 << 20  # bytes from which on progress is shown

Advance = Callable[[int], None]
"""Takes how many bytes were moved."""


@contextlib.contextmanager
def source(name: str) -> Iterator[BinaryIO]:
    """Give the file *name* to read from; `-` is stdin."""
    with contextlib.ExitStack() as stack:
        yield sys.stdin.buffer if name == "-" else stack.enter_context(open(name, "rb"))


def size_of(file: BinaryIO) -> int | None:
    """Give the bytes that are left in *file* if it is an ordinary file, None for a pipe."""
    status = os.fstat(file.fileno())
    return max(0, status.st_size - file.tell()) if stat.S_ISREG(status.st_mode) else None


def whole_units(name: str, file: BinaryIO, size: int, unit: int) -> int:
    """Give how many pieces of *unit* bytes *size* are, what is left in *file*; UserError if odd."""
    pieces, rest = divmod(size, unit)
    if rest:
        from ..devices.identify import Kind, identify

        found = identify(name, file.fileno(), os.fstat(file.fileno()).st_size)
        said = f"{name}: {size} bytes are not a multiple of {unit}"
        if found.kind is not Kind.UNKNOWN:
            raise UserError(f"{said}: {found.what}; {found.remedy}")
        raise UserError(f"{said}; truncate -s %{unit} pads it")
    return pieces


@contextlib.contextmanager
def target(name: str) -> Iterator[int]:
    """Give a descriptor to write to; an ordinary file has all of it in the end, or is as it was.

    `-` is stdout; UserError rather than binary data on a terminal.
    """
    if name == "-":
        if sys.stdout.isatty():
            raise UserError("blocks would upset the terminal; use --output FILE or a pipe to xxd")
        yield sys.stdout.fileno()
    elif os.path.exists(name) and not os.path.isfile(name):
        fd = os.open(name, os.O_WRONLY | os.O_CLOEXEC)
        try:
            yield fd
        finally:
            os.close(fd)
    else:
        from ..devices.making import new_file

        with new_file(os.path.realpath(name), replace=True) as fd:
            yield fd


def write_all(fd: int, name: str, data: bytes | memoryview) -> None:
    """Write all of *data* to *fd*, which is what `target` gave for *name*; UserError if full."""
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(fd, view) :]
    except BrokenPipeError:
        raise
    except OSError as failed:
        where = "stdout" if name == "-" else name
        raise UserError(f"{where}: cannot be written: {failed.strerror}") from None


@contextlib.contextmanager
def progress(doing: str, size: int | None) -> Iterator[Advance]:
    """Show how far it is, on stderr, if that is a terminal and there is much to do.

    *size*: how many bytes there are, None if nobody knows.
    """
    if not sys.stderr.isatty() or (size is not None and size < _MANY):
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

    shown = Progress(
        "{task.description}",
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with shown:
        task = shown.add_task(doing, total=size)
        yield lambda done: shown.advance(task, done)


class Written:
    """What a command has written by now: nobody shall have to guess after it has failed."""

    def __init__(self, unit: str, first: int) -> None:
        """*unit*: `block` or `track`; *first*: number of the first that is written."""
        self._unit = unit
        self._first = first
        self.done = 0
        """How many are written."""

    def __str__(self) -> str:
        if not self.done:
            return "nothing is written"
        last = self._first + self.done - 1
        if last == self._first:
            return f"{self._unit} {last} is written"
        return f"{self._unit}s {self._first} to {last} are written"

    @contextlib.contextmanager
    def told(self) -> Iterator[None]:
        """Let a failure, Ctrl-C and SIGTERM say so."""
        try:
            yield
        except UserError as failed:
            if not self.done:
                raise
            raise UserError(f"{failed.message}; {self}") from None
        except (KeyboardInterrupt, SystemExit):
            if self.done:
                click.echo(f"vfioccw: interrupted; {self}", err=True)
            raise
