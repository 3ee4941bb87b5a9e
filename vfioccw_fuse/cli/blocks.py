"""`vfioccw read` and `vfioccw write`: blocks of a disk, by real channel programs."""

import contextlib
import os
import stat
import sys
from collections.abc import Callable, Iterator
from typing import BinaryIO

import click

from ..client import FbaDisk
from ..client.fba import MOST_BLOCKS
from ..devices.fba.codes import BLOCK
from ..errors import UserError
from .subchannels import opened

_MANY = 4096  # blocks from which on progress is shown

Advance = Callable[[int], None]


@click.command(name="read")
@click.argument("subchannel", type=click.Path())
@click.option(
    "--block", type=click.IntRange(0), default=0, show_default=True, help="The first block."
)
@click.option("--count", type=click.IntRange(0), help="How many.  [default: up to the end]")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, allow_dash=True),
    default="-",
    show_default="stdout",
    help="Where to; a file is replaced.",
)
def read_command(subchannel: str, block: int, count: int | None, output: str) -> None:
    """Copy blocks of the disk at SUBCHANNEL (MNT/0.0.0313) to a file or stdout.

    Each channel program reads up to 96 blocks of 512 bytes: Define Extent, Locate, Read.

    \b
    Examples:
      vfioccw read /tmp/m/0.0.0313 --output copy.img
      vfioccw read /tmp/m/0.0.0313 --block 1 --count 1 | xxd
    """
    with opened(subchannel) as sub, FbaDisk(sub) as disk:
        count = disk.blocks - block if count is None else count
        _check(subchannel, disk, block, count)
        with _output(output) as file, _progress("reading", count) as advance:
            for piece in disk.read_blocks(block, count):
                _write_all(file, piece)
                advance(len(piece) // BLOCK)


@click.command(name="write")
@click.argument("subchannel", type=click.Path())
@click.option(
    "--block", type=click.IntRange(0), default=0, show_default=True, help="The first block."
)
@click.option("--count", type=click.IntRange(0), help="At most so many.  [default: all of it]")
@click.option(
    "--input",
    "source",
    type=click.Path(dir_okay=False, allow_dash=True),
    default="-",
    show_default="stdin",
    help="Where from: a multiple of 512 bytes.",
)
def write_command(subchannel: str, block: int, count: int | None, source: str) -> None:
    """Copy a file or stdin to blocks of the disk at SUBCHANNEL (MNT/0.0.0313).

    Each channel program writes up to 96 blocks of 512 bytes: Define Extent, Locate, Write.

    \b
    Examples:
      vfioccw write /tmp/m/0.0.0313 --input copy.img
      head -c 512 /dev/urandom | vfioccw write /tmp/m/0.0.0313 --block 7
    """
    with (
        opened(subchannel) as sub,
        FbaDisk(sub) as disk,
        contextlib.ExitStack() as stack,
    ):
        file = sys.stdin.buffer if source == "-" else stack.enter_context(open(source, "rb"))
        size = _size(file)
        if size is not None:
            blocks = _whole_blocks(source, file, size)
            count = blocks if count is None else min(count, blocks)
            _check(subchannel, disk, block, count)
        most = disk.blocks - block if count is None else count
        _check(subchannel, disk, block, most)
        with _progress("writing", count) as advance:
            done = 0
            while done < most and (piece := file.read(min(MOST_BLOCKS, most - done) * BLOCK)):
                disk.write_blocks(block + done, piece[: len(piece) // BLOCK * BLOCK])
                done += len(piece) // BLOCK
                if len(piece) % BLOCK:
                    raise UserError(
                        f"{source}: the last {len(piece) % BLOCK} bytes are no block of {BLOCK}; "
                        f"what comes before them is written (blocks: {done})"
                    )
                advance(len(piece) // BLOCK)
        if count is None and file.read(1):
            raise UserError(f"{subchannel}: the disk ends after {done} blocks; the rest is lost")


def _check(path: str, disk: FbaDisk, block: int, count: int) -> None:
    """Raise UserError unless the disk has *count* blocks from *block* on."""
    if count < 0 or block + count > disk.blocks:
        raise UserError(
            f"{path}: the disk has blocks 0 to {disk.blocks - 1}; "
            f"there are no {max(count, 1)} from {block} on"
        )


def _size(file: BinaryIO) -> int | None:
    """Give the bytes that are left in *file* if it is an ordinary file, None for a pipe."""
    status = os.fstat(file.fileno())
    return max(0, status.st_size - file.tell()) if stat.S_ISREG(status.st_mode) else None


def _whole_blocks(name: str, file: BinaryIO, size: int) -> int:
    """Give the blocks of the *size* bytes left in *file*; UserError if they are not whole."""
    blocks, rest = divmod(size, BLOCK)
    if rest:
        from ..devices.identify import Kind, identify

        found = identify(name, file.fileno(), os.fstat(file.fileno()).st_size)
        said = f"{name}: {size} bytes are not a multiple of {BLOCK}"
        if found.kind is not Kind.UNKNOWN:
            raise UserError(f"{said}: {found.what}; {found.remedy}")
        raise UserError(f"{said}; truncate -s %{BLOCK} pads it")
    return blocks


@contextlib.contextmanager
def _output(name: str) -> Iterator[int]:
    """Give a descriptor to write to; UserError rather than binary data on a terminal."""
    if name == "-":
        if sys.stdout.isatty():
            raise UserError("blocks would upset the terminal; use --output FILE or a pipe to xxd")
        yield sys.stdout.fileno()
        return
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        yield fd
    finally:
        os.close(fd)


def _write_all(fd: int, data: memoryview) -> None:
    """Write all of *data* straight from guest storage."""
    while data:
        data = data[os.write(fd, data) :]


@contextlib.contextmanager
def _progress(doing: str, blocks: int | None) -> Iterator[Advance]:
    """Show how far it is, on stderr, if that is a terminal and there is much to do.

    *blocks*: how many there are, None if nobody knows. Gives what to call with the blocks done.
    """
    if not sys.stderr.isatty() or (blocks is not None and blocks < _MANY):
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
        task = shown.add_task(doing, total=None if blocks is None else blocks * BLOCK)
        yield lambda done: shown.advance(task, done * BLOCK)
