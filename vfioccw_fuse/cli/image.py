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

from ..errors import UserError
from . import EXIT_FAILURE, EXIT_OK
from .convert import convert_command, refuse_dangling
from .sizes import SIZE
from .vtoc import show_contents

if TYPE_CHECKING:
    from ..devices.eckd import volume
    from ..devices.identify import Identity

BLOCK = 512
"""Bytes of a block of an FBA disk."""
MOST_BLOCKS = (1 << 32) - 1
"""The most blocks of an FBA disk: Read Device Characteristics has four bytes for the number."""
_LABEL_BLOCK = 1  # where a Linux or CMS FBA volume has its label: block/partitions/ibm.c
_LABELS = {"VOL1": "a standard label", "LNX1": "a Linux label", "CMS1": "a CMS label"}
_PC_TABLE = slice(510, 512), b"\x55\xaa"


@click.group(name="image")
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


image_command.add_command(convert_command)


@image_command.group(name="create")
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
def info(file: str, vtoc: bool) -> None:
    """Say what FILE is: its kind, its size, the label that its system wrote.

    It goes by the content. What is no medium is an error that says what it is and what converts it.

    \b
    Examples:
      vfioccw image info disk.img
      vfioccw image info vol.ckd --vtoc
    """
    from ..devices.identify import Kind, identify_file

    found = identify_file(file)
    if vtoc and found.kind is not Kind.CKD:
        raise UserError(f"{file}: {found.what}; only a CKD image has a VTOC")
    match found.kind:
        case Kind.CKD:
            _show(_ckd_rows(file))
            if vtoc:
                show_contents(file)
        case Kind.TAPE | Kind.EMPTY:
            _show(_tape_rows(file))
        case Kind.RAW:
            _show(_raw_rows(found))
        case _:
            raise found.refusal()


def _show(rows: list[tuple[str, str]]) -> None:
    """Print what is known of an image."""
    width = max(len(name) for name, _ in rows) + 1
    for name, value in rows:
        click.echo(f"{name + ':':{width}} {value}")


def _locked(file: str) -> list[tuple[str, str]]:
    """A row that says who uses an image; none if nobody does."""
    from ..devices.locks import users

    who = users(file)
    return [("locked", f"in use by {who}")] if who else []


def _ckd_rows(file: str) -> list[tuple[str, str]]:
    """What a CKD image is, and what is on it."""
    from ..devices.eckd import volume

    found = volume.info(file)
    rows = [
        ("kind", f"ECKD disk (3390-{found.model}), CKD image"),
        ("size", f"{found.size} bytes"),
        ("cylinders", f"{found.cylinders} of {found.heads} tracks"),
        ("in use", f"{found.allocated} bytes on its file system"),
        ("serial", found.serial),
        ("layout", found.layout),
        ("volume", found.volser or "(no label)"),
    ]
    if found.block_size:
        rows.append(("blocks", f"{found.block_size} bytes, {found.blocks_per_track} a track"))
    if found.unwritten:
        rows.append(("unwritten", f"{found.unwritten}; for Hercules: vfioccw image fill"))
    if len(found.paths) > 1:
        rows.insert(1, ("files", ", ".join(found.paths)))
    return rows + _locked(file)


def _raw_rows(found: "Identity") -> list[tuple[str, str]]:
    """What is on a raw disk."""
    with open(found.path, "rb", buffering=0) as image:
        head = image.read(2 * BLOCK)
        allocated = os.fstat(image.fileno()).st_blocks * 512
    return [
        ("kind", "FBA disk (9336), raw"),
        ("size", f"{found.size} bytes"),
        ("blocks", f"{found.size // BLOCK} of {BLOCK} bytes"),
        ("in use", f"{allocated} bytes on its file system"),
        ("label", _label(head)),
        *_locked(found.path),
    ]


def _tape_rows(file: str) -> list[tuple[str, str]]:
    """What is on a tape."""
    from ..devices.tape.aws import AwsTape

    tape = AwsTape.open(file, readonly=True)
    try:
        found = tape.survey()
    finally:
        tape.close()
    rows = [
        ("kind", "tape, AWS image" if tape.medium.size_at_open else "blank tape, an empty file"),
        ("blocks", " + ".join(str(blocks) for blocks in found.blocks) + " (file by file)"),
        ("marks", str(found.marks)),
        ("longest", f"{found.longest} bytes"),
    ]
    if found.trouble is not None:
        rows.append(("damage", f"{found.trouble.value} at offset {found.offset}"))
    return rows + _locked(file)


@image_command.command(name="check")
@click.argument("file", type=click.Path())
def check(file: str) -> int:
    """Check FILE, a CKD image or an AWS tape; exit status 1 if something is wrong with it.

    Of a CKD image every track: its home address, the chain of its count fields, their order, the
    end, and the blocks that the volume's label promises. A track that was torn while it was
    written is found. An FBA image has nothing that could be wrong but its size.

    \b
    Example:
      vfioccw image check vol.ckd
    """
    from ..devices.identify import Kind, identify_file

    found = identify_file(file)
    for _, used in _locked(file):
        click.echo(f"{file}: {used}; what is written meanwhile may look damaged")
    match found.kind:
        case Kind.CKD:
            from ..devices.eckd import volume
            from .output import progress

            with progress(file) as told:
                problems = volume.check(file, told)
            for problem in problems:
                click.echo(str(problem))
            wrong = any(problem.severity is volume.Severity.ERROR for problem in problems)
            click.echo(f"{file}: {'damaged' if wrong else 'all tracks are well'}")
            return EXIT_FAILURE if wrong else EXIT_OK
        case Kind.TAPE | Kind.EMPTY:
            rows = dict(_tape_rows(file))
            click.echo(f"{file}: {rows.get('damage', 'all blocks are well')}")
            return EXIT_FAILURE if "damage" in rows else EXIT_OK
        case Kind.RAW:
            blocks = found.size // BLOCK
            click.echo(f"{file}: {blocks} blocks; an FBA image has nothing else to check")
            return EXIT_OK
        case _:
            raise found.refusal()


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


def _label(head: bytes) -> str:
    """Say which volume label or partition table the first two blocks *head* show."""
    label = head[_LABEL_BLOCK * BLOCK : _LABEL_BLOCK * BLOCK + 10].decode("cp037")
    if label[:4] in _LABELS:
        return f"{label[:4]}, {_LABELS[label[:4]]}, volume {label[4:].strip() or '(no name)'}"
    where, mark = _PC_TABLE
    if head[where] == mark:
        return "none; block 0 holds a PC boot record or partition table"
    return "none"
