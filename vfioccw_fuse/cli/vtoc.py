"""What `vfioccw image info --vtoc` shows: data sets as z/OS lists them, partitions as Linux."""

from typing import TYPE_CHECKING, Any, NamedTuple

import click

from ..errors import UserError, printable

if TYPE_CHECKING:
    from ..devices.eckd.vtoc import Contents


class Listing(NamedTuple):
    """What is on a 3390: for people, and for programs."""

    contents: "Contents"
    """Its label, data sets and partitions."""

    @property
    def data(self) -> dict[str, Any]:
        """The data sets and partitions for programs; extents are first and last track, from 0."""
        size = self.contents.label.block_size or 0
        return {
            "data_sets": [
                {
                    "name": one.name,
                    "organization": one.organization,
                    "record_format": one.record_format,
                    "block_size": one.block_size,
                    "record_length": one.record_length,
                    "created": one.created,
                    "extents": [list(extent) for extent in one.extents],
                }
                for one in self.contents.data_sets
            ],
            "partitions": [
                {
                    "number": part.number,
                    "first_block": part.first,
                    "blocks": part.blocks,
                    "size": part.blocks * size,
                    "data_set": part.data_set,
                }
                for part in self.contents.partitions
            ],
        }

    def show(self) -> None:
        """Print a table of the data sets and one of the partitions."""
        from rich.table import Table

        from .output import show_table

        data_sets = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for heading in ("data set", "org", "recfm", "blksize", "lrecl", "created"):
            data_sets.add_column(heading)
        for heading in ("first", "last", "tracks"):
            data_sets.add_column(heading, justify="right")
        for one in self.contents.data_sets:
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
        for part in self.contents.partitions:
            numbers = (part.number, part.first, part.blocks)
            size = part.blocks * (self.contents.label.block_size or 0)
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


def listing(file: str) -> Listing:
    """What is on *file*, a CKD image. UserError if it cannot be read."""
    from ..devices.eckd.image import CkdImage
    from ..devices.eckd.vtoc import contents_of

    image = CkdImage.open(file, readonly=True)
    try:
        return Listing(contents_of(image))
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from None
    finally:
        image.close()
