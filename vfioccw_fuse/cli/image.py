"""`vfioccw image`: make media, say what a file is, check it. Needs no mount.

An FBA image has no header: block n is the 512 bytes at offset 512 * n. A CKD image begins with
CKD_P370. An AWS tape is known by its headers; a blank one is an empty file. What else a file may
be, and what helps then, says `devices.identify`.
"""

import contextlib
import os
import stat
from typing import TYPE_CHECKING, cast

import click

from ..devices.fba.codes import BLOCK
from ..errors import UserError
from . import EXIT_FAILURE, EXIT_OK, Subcommands
from .asjson import json_option, show_json
from .convert import convert_command, refuse_dangling
from .signals import end_on_signals
from .sizes import SIZE

if TYPE_CHECKING:
    from ..devices.eckd import volume

MOST_BLOCKS = (1 << 32) - 1
"""The most blocks of an FBA disk: Read Device Characteristics has four bytes for the number."""


@click.group(name="image", cls=Subcommands)
def image_command() -> None:
    """Make and inspect media: the files behind --device.

    \b
    Examples:
      vfioccw image create fba disk.img --size 64MiB
      vfioccw image create 3390 vol.ckd --cylinders 100 --format cdl --volser LINUX1
      vfioccw image info disk.img
      vfioccw image check vol.ckd
      vfioccw image fill vol.ckd
      vfioccw image convert ext4.img vol.ckd
    """
    end_on_signals()


image_command.add_command(convert_command)


@image_command.group(name="create", cls=Subcommands)
def create_group() -> None:
    """Make an empty medium."""


@create_group.command(name="fba")
@click.argument("file", type=click.Path())
@click.option("--blocks", type=click.IntRange(1, MOST_BLOCKS), help="Size in blocks of 512 bytes.")
@click.option("--size", type=SIZE, help="Size in bytes, a multiple of 512: 64MiB, 1G, 5120.")
@click.option("--force", is_flag=True, help="Replace FILE if it exists; its content is lost.")
def create_fba(file: str, blocks: int | None, size: int | None, force: bool) -> None:
    """Make FILE, an FBA disk (9336) full of zeros.

    The file is sparse: blocks that nobody wrote take no room.

    \b
    Examples:
      vfioccw image create fba disk.img --size 64MiB
      vfioccw image create fba small.img --blocks 1024
    """
    if (blocks is None) == (size is None):
        raise click.UsageError("Say how large: either --size or --blocks.")
    if blocks is None:
        assert size is not None
        blocks, rest = divmod(size, BLOCK)
        if rest or not 1 <= blocks <= MOST_BLOCKS:
            raise UserError(
                f"--size {size}: an FBA disk is a multiple of {BLOCK} bytes, "
                f"from {BLOCK} to {MOST_BLOCKS * BLOCK}"
            )
    _make_sparse(file, blocks * BLOCK, force)
    click.echo(f"{file}: FBA disk, {blocks} blocks of {BLOCK} bytes")


@create_group.command(name="3390")
@click.argument("file", type=click.Path())
@click.option("--cylinders", type=int, required=True, help="Size; 15 tracks a cylinder.")
@click.option("--volser", help="Volume serial of the label, up to 6 characters.")
@click.option(
    "--format",
    "layout",
    type=click.Choice(["ldl", "cdl", "none"]),
    default="ldl",
    show_default=True,
    help="What is on it: Linux disk layout, compatible disk layout, or empty tracks.",
)
@click.option(
    "--full/--sparse",
    default=None,
    help="Write every track, as up to 3339 cylinders unless said, or those that have data.",
)
@click.option("--force", is_flag=True, help="Replace FILE if it exists; its content is lost.")
def create_3390(
    file: str, cylinders: int, volser: str | None, layout: str, full: bool | None, force: bool
) -> None:
    """Make FILE, an ECKD disk (3390) in the uncompressed CKD format of Hercules.

    In a sparse file a track takes no room before it is written. The Hercules tools take such a
    track for a damaged one; with --full, or after `vfioccw image fill`, they read all of them.

    \b
    Examples:
      vfioccw image create 3390 vol.ckd --cylinders 100
      vfioccw image create 3390 vol.ckd --cylinders 1113 --format cdl --volser LINUX1
    """
    from ..devices.eckd import volume
    from .output import progress

    refuse_dangling(file)
    with progress(file) as told:
        volume.create(
            file, cylinders, volser, cast("volume.Format", layout),
            full=full, replace=force, progress=told,
        )  # fmt: skip
    click.echo(f"{file}: 3390, {cylinders} cylinders of 15 tracks, format {layout}")


@create_group.command(name="tape")
@click.argument("file", type=click.Path())
@click.option("--force", is_flag=True, help="Replace FILE if it exists; its content is lost.")
def create_tape(file: str, force: bool) -> None:
    """Make FILE, a blank tape in the AWS format, for a 3420, 3480 or 3490.

    \b
    Example:
      vfioccw image create tape scratch.aws
    """
    _make_sparse(file, 0, force)
    click.echo(f"{file}: blank tape")


def _make_sparse(path: str, size: int, force: bool) -> None:
    """Make *path* a file of *size* zero bytes.

    Without *force* an existing file stays as it is and UserError says so; with it, too, if
    somebody uses it. A file that cannot be made that large is removed again.
    """
    from ..devices.locks import replacing

    refuse_dangling(path)
    with replacing(path) if force else contextlib.nullcontext():
        _make_empty(path, size, force)


def _make_empty(path: str, size: int, force: bool) -> None:
    """What `_make_sparse` does, with a file that nobody uses."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_EXCL, 0o666)
        made = True
    except FileExistsError:
        if not force:
            raise UserError(f"{path}: exists already; --force replaces it") from None
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise UserError(f"{path}: not an ordinary file; name another") from None
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        made = False
    try:
        os.ftruncate(fd, 0)
        os.ftruncate(fd, size)
    except OSError as failed:
        if made:
            os.unlink(path)
        raise UserError(f"{path}: cannot be {size} bytes long: {failed.strerror}") from None
    finally:
        os.close(fd)


@image_command.command(name="info")
@click.argument("file", type=click.Path())
@click.option("--vtoc", is_flag=True, help="Of a 3390: data sets, and the partitions of Linux.")
@json_option
def info(file: str, vtoc: bool, as_json: bool) -> None:
    """Say what FILE is: its kind, its size, the label that its system wrote.

    It goes by the content. What is no medium is an error that says what it is and what converts it.

    \b
    Examples:
      vfioccw image info disk.img
      vfioccw image info vol.ckd --vtoc
    """
    from .imageinfo import look
    from .vtoc import listing

    found = look(file)
    listed = None
    if vtoc:
        if found.data["kind"] != "ckd":
            raise UserError(f"{file}: {found.rows[0][1]}; only a CKD image has a VTOC")
        listed = listing(file)
    if as_json:
        show_json(found.data | (listed.data if listed else {}))
        return
    width = max(len(name) for name, _ in found.rows) + 1
    for name, value in found.rows:
        click.echo(f"{name + ':':{width}} {value}")
    if listed:
        listed.show()


@image_command.command(name="check")
@click.argument("file", type=click.Path())
@json_option
def check(file: str, as_json: bool) -> int:
    """Check FILE, a CKD image or an AWS tape; exit status 1 if something is wrong with it.

    Of a CKD image every track: its home address, the chain of its count fields, their order, the
    end, and the blocks that the volume's label promises. A track that was torn while it was
    written is found. An FBA image has nothing that could be wrong but its size.

    \b
    Example:
      vfioccw image check vol.ckd
    """
    from .imageinfo import examine, in_use

    used = in_use(file)
    if used and not as_json:
        click.echo(f"{file}: {used}; what is written meanwhile may look damaged")
    found = examine(file)
    if as_json:
        show_json({**found.data, "in_use": used})
    else:
        for line in found.lines:
            click.echo(line)
    return EXIT_FAILURE if found.damaged else EXIT_OK


@image_command.command(name="fill")
@click.argument("file", type=click.Path())
def fill(file: str) -> None:
    """Write the tracks of FILE, a CKD image, that nobody has written yet.

    Then the Hercules tools read all of it. It takes the room of the whole disk.

    \b
    Example:
      vfioccw image fill vol.ckd
    """
    from ..devices.eckd import volume
    from .output import progress

    with progress(file) as told:
        filled = volume.fill(file, told)
    click.echo(f"{file}: every track is written" + ("" if filled else " already"))
