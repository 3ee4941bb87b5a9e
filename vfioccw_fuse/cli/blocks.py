"""`vfioccw read` and `vfioccw write`: blocks, tracks and records, by real channel programs."""

import contextlib
from typing import Any

import click

from ..client import EckdDisk, FbaDisk, LinuxBlocks, Subchannel
from ..client.eckd import DEVICE
from ..client.fba import MOST_BLOCKS
from ..errors import UserError
from ..sizes import parse_number
from .copying import Written, progress, size_of, source, target, whole_units, write_all
from .places import SUBCHANNEL
from .signals import end_on_signals
from .subchannels import opened
from .tracks import list_records, read_record, read_tracks, write_record, write_tracks


class TrackType(click.ParamType[tuple[int, int | None]]):
    """The click type of a track: its number, or CYLINDER/HEAD; gives both numbers or (N, None)."""

    name = "track"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int | None]:
        """Turn text into the numbers; a tuple passes as it is."""
        if isinstance(value, tuple):
            return value
        words = str(value).split("/")
        if len(words) > 2 or not all(word.isascii() and word.isdigit() for word in words):
            self.fail(f"{value!r} is no track: a number, or CYLINDER/HEAD", param, ctx)
        numbers = [parse_number(word) for word in words]
        return numbers[0], numbers[1] if len(numbers) > 1 else None


_OPTIONS = (
    click.option("--block", type=click.IntRange(0), help="The first block.  [default: 0]"),
    click.option(
        "--track",
        type=TrackType(),
        metavar="N|CYL/HEAD",
        help="The first track of a 3390, instead of blocks.",
    ),
    click.option(
        "--record", type=click.IntRange(0, 255), help="This record of the track, instead of all."
    ),
    click.option("--key", is_flag=True, help="The record's key and data, instead of its data."),
)


def _where(command: Any) -> Any:
    """Add the options that say what is copied."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def _check_use(**words: Any) -> None:
    """UsageError for options that do not go together."""
    given = {name for name, value in words.items() if value is not None and value is not False}
    for one, other in (
        ("block", "track"), ("record", "count"), ("list", "count"), ("list", "record"),
        ("list", "output"),
    ):  # fmt: skip
        if {one, other} <= given:
            raise click.UsageError(f"--{one} and --{other} do not go together.")
    for one, other in (("record", "track"), ("key", "record"), ("list", "track")):
        if one in given and other not in given:
            raise click.UsageError(f"--{one} needs --{other}.")


@click.command(name="read")
@click.argument("subchannel", type=SUBCHANNEL)
@_where
@click.option("--list", "listed", is_flag=True, help="Show which records the track has.")
@click.option(
    "--count", type=click.IntRange(0), help="How many blocks or tracks.  [default: up to the end]"
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, allow_dash=True),
    default="-",
    show_default="stdout",
    help="Where to; a file is replaced when all of it is there.",
)
def read_command(
    subchannel: str,
    block: int | None,
    track: tuple[int, int | None] | None,
    record: int | None,
    key: bool,
    listed: bool,
    count: int | None,
    output: str,
) -> None:
    """Copy blocks, tracks or a record of the disk at SUBCHANNEL (MNT/0.0.0313) to a file or stdout.

    Blocks are those of an FBA disk, 512 bytes, or of a 3390 that Linux has formatted, as it sees
    them in /dev/dasda. A track is 64 KiB, as Linux has it with raw_track_access: record 0 and all
    others, each with its count field, then ff and zeros.

    Each channel program reads up to 96 blocks (Define Extent, Locate, Read; Prefix where the
    control unit has it) or 16 tracks (Read Track).

    \b
    Examples:
      vfioccw read /tmp/m/0.0.0313 --output copy.img
      vfioccw read /tmp/m/0.0.0313 --block 1 --count 1 | xxd
      vfioccw read /tmp/m/0.0.0314 --track 0/1 --list
      vfioccw read /tmp/m/0.0.0314 --track 0/0 --record 3 --key | xxd
      vfioccw read /tmp/m/0.0.0314 --track 0 --output volume.tracks
    """
    to_file = None if output == "-" else output
    _check_use(
        block=block, track=track, record=record, key=key, list=listed, count=count, output=to_file
    )
    end_on_signals()
    with opened(subchannel) as sub, contextlib.ExitStack() as stack:
        if track is not None:
            disk = _tracks_of(sub, subchannel)
            number = _number(disk, subchannel, track)
            if listed:
                list_records(disk, number)
            elif record is not None:
                read_record(disk, subchannel, number, record, key, output)
            else:
                read_tracks(disk, subchannel, number, count, output)
            return
        volume = _blocks_of(sub, stack)
        first = block or 0
        count = volume.blocks - first if count is None else count
        _check(subchannel, volume, first, count)
        with (
            target(output) as file,
            progress("reading", count * volume.block_size) as advance,
        ):
            for piece in volume.read_blocks(first, count):
                write_all(file, output, piece)
                advance(len(piece))


@click.command(name="write")
@click.argument("subchannel", type=SUBCHANNEL)
@_where
@click.option(
    "--count", type=click.IntRange(0), help="At most so many.  [default: all of the input]"
)
@click.option(
    "--input",
    "name",
    type=click.Path(dir_okay=False, allow_dash=True),
    default="-",
    show_default="stdin",
    help="Where from: whole blocks, whole tracks of 64 KiB, or one record.",
)
def write_command(
    subchannel: str,
    block: int | None,
    track: tuple[int, int | None] | None,
    record: int | None,
    key: bool,
    count: int | None,
    name: str,
) -> None:
    """Copy a file or stdin to blocks, tracks or a record of the disk at SUBCHANNEL (MNT/0.0.0313).

    What blocks and tracks are says vfioccw read --help. A track is formatted anew, with the records
    that the input has; a record keeps its lengths. Each channel program writes up to 96 blocks
    (Define Extent, Locate, Write; Prefix where the control unit has it) or a track. A failure says
    what is written by then.

    \b
    Examples:
      vfioccw write /tmp/m/0.0.0313 --input copy.img
      head -c 512 /dev/urandom | vfioccw write /tmp/m/0.0.0313 --block 7
      vfioccw write /tmp/m/0.0.0314 --track 0 --input volume.tracks
    """
    _check_use(block=block, track=track, record=record, key=key, count=count)
    end_on_signals()
    written = Written("block", block or 0)
    with written.told(), opened(subchannel) as sub, contextlib.ExitStack() as stack:
        if track is not None:
            disk = _tracks_of(sub, subchannel)
            number = _number(disk, subchannel, track)
            if record is not None:
                write_record(disk, subchannel, number, record, key, name)
            else:
                write_tracks(disk, subchannel, number, count, name)
            return
        volume = _blocks_of(sub, stack)
        _write_blocks(volume, subchannel, name, count, block or 0, written)


def _write_blocks(
    volume: FbaDisk | LinuxBlocks,
    path: str,
    name: str,
    count: int | None,
    first: int,
    written: Written,
) -> None:
    """Copy the file *name* to the blocks from *first* on, at most *count*."""
    size = volume.block_size
    with source(name) as file:
        left = size_of(file)
        if left is not None:
            blocks = whole_units(name, file, left, size)
            count = blocks if count is None else min(count, blocks)
            _check(path, volume, first, count)
        most = volume.blocks - first if count is None else count
        _check(path, volume, first, most)
        with progress("writing", None if count is None else count * size) as advance:
            while written.done < most and (
                piece := file.read(min(MOST_BLOCKS, most - written.done) * size)
            ):
                blocks, odd = divmod(len(piece), size)
                volume.write_blocks(first + written.done, piece[: blocks * size])
                written.done += blocks
                if odd:
                    raise UserError(f"{name}: the last {odd} bytes are no block of {size}")
                advance(len(piece))
        if count is None and file.read(1):
            raise UserError(f"{path}: the disk ends after {written.done} blocks; the rest is lost")


def _blocks_of(sub: Subchannel, stack: contextlib.ExitStack) -> FbaDisk | LinuxBlocks:
    """Give the blocks of the disk at *sub*; Unsupported if it has none."""
    if sub.sense_id().dev_type == DEVICE:
        return LinuxBlocks(EckdDisk(sub))
    return stack.enter_context(FbaDisk(sub))


def _tracks_of(sub: Subchannel, path: str) -> EckdDisk:
    """Give the tracks of the 3390 at *sub*; UserError if it is no 3390."""
    told = sub.sense_id()
    if told.dev_type != DEVICE:
        raise UserError(f"{path}: a {told.dev_type:04x} has no tracks; --block names its blocks")
    return EckdDisk(sub)


def _number(disk: EckdDisk, path: str, track: tuple[int, int | None]) -> int:
    """Give the number of a track; UserError if the disk does not have it."""
    first, head = track
    number = first if head is None else first * disk.heads + head
    if number >= disk.tracks or (head or 0) >= disk.heads:
        raise UserError(
            f"{path}: the disk has {disk.cylinders} cylinders of {disk.heads} tracks, "
            f"0 to {disk.tracks - 1}; there is no {first if head is None else f'{first}/{head}'}"
        )
    return number


def _check(path: str, volume: FbaDisk | LinuxBlocks, block: int, count: int) -> None:
    """Raise UserError unless the disk has *count* blocks from *block* on."""
    if count < 0 or block + count > volume.blocks:
        raise UserError(
            f"{path}: the disk has blocks 0 to {volume.blocks - 1}; "
            f"there are no {max(count, 1)} from {block} on"
        )
