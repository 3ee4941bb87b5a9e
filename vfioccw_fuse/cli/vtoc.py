"""What `vfioccw image info --vtoc` shows: data sets as z/OS lists them, partitions as Linux."""

from typing import TYPE_CHECKING

import click

from ..errors import UserError, printable

if TYPE_CHECKING:
    from ..devices.eckd.vtoc import Contents


def show_contents(file: str) -> None:
    """Show the data sets and the partitions of *file*, a CKD image."""
    from rich.table import Table

    from .output import show_table

    found = _contents(file)
    data_sets = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("data set", "org", "recfm", "blksize", "lrecl", "created"):
        data_sets.add_column(heading)
    for heading in ("first", "last", "tracks"):
        data_sets.add_column(heading, justify="right")
    for one in found.data_sets:
        words = [
            *(_shown(one.name), one.organization, one.record_format, str(one.block_size)),
            *(str(one.record_length), one.created),
        ]
        for extent in one.extents or ((0, -1),):
            first, last = extent
            tracks = (_track(first), _track(last), str(last - first + 1))
            data_sets.add_row(*words, *(tracks if last >= first else ("-", "-", "0")))
            words = [""] * len(words)
    partitions = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("partition", "first block", "blocks", "bytes"):
        partitions.add_column(heading, justify="right")
    partitions.add_column("data set")
    for part in found.partitions:
        numbers = (part.number, part.first, part.blocks)
        size = part.blocks * (found.label.block_size or 0)
        partitions.add_row(*map(str, numbers), str(size), _shown(part.data_set))
    for table, name in ((data_sets, "data sets"), (partitions, "partitions")):
        click.echo()
        if table.row_count:
            show_table(table)
        else:
            click.echo(f"no {name}")


def _shown(name: str) -> str:
    """A name as a table takes it: on a damaged volume it may be anything."""
    from rich.markup import escape

    return escape(printable(name))


def _track(number: int) -> str:
    from ..devices.eckd.geometry import HEADS

    cylinder, head = divmod(number, HEADS)
    return f"{cylinder}/{head}"


def _contents(file: str) -> "Contents":
    from ..devices.eckd.image import CkdImage
    from ..devices.eckd.vtoc import contents_of

    image = CkdImage.open(file, readonly=True)
    try:
        return contents_of(image)
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from None
    finally:
        image.close()
