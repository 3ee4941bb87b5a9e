"""`vfioccw image convert`: Linux's disks from raw images to 3390s and back."""

import os

import click

from ..errors import UserError


@click.command(name="convert")
@click.argument("source", type=click.Path())
@click.argument("target", type=click.Path())
@click.option("--cylinders", type=click.IntRange(1), help="Size of the 3390.  [default: as needed]")
@click.option("--volser", help="Volume serial of the 3390's label, up to 6 characters.")
@click.option("--full", is_flag=True, help="Write every track, for the Hercules tools.")
@click.option(
    "--partition", type=click.IntRange(1), help="Of a 3390: this one.  [default: the only one]"
)
@click.option("--force", is_flag=True, help="Replace TARGET if it exists; its content is lost.")
def convert_command(
    source: str,
    target: str,
    cylinders: int | None,
    volser: str | None,
    full: bool,
    partition: int | None,
    force: bool,
) -> None:
    """Make TARGET, a 3390 for Linux, of SOURCE, a raw image; or a raw image of a 3390's partition.

    A raw image, such as that of a file system, becomes the one partition of a volume with the
    compatible disk layout and blocks of 4096 bytes: /dev/dasda1. The partition goes up to the end
    of the disk, so it may be longer than the image. What is zero takes no room in TARGET, which
    is there when all of it is.

    \b
    Examples:
      vfioccw image convert ext4.img vol.ckd --volser LINUX1
      vfioccw image convert vol.ckd partition.img
      vfioccw image convert vol.ckd swap.img --partition 2
    """
    from ..devices.eckd.convert import to_3390, to_raw
    from ..devices.identify import Kind, identify_file
    from .output import progress

    refuse_dangling(target)
    from_3390 = identify_file(source).kind is Kind.CKD
    given = {"--cylinders": cylinders, "--volser": volser, "--full": full or None}
    given = given if from_3390 else {"--partition": partition}
    for option, value in given.items():
        if value is not None:
            kind = "a 3390" if from_3390 else "a raw image"
            raise click.UsageError(f"{option} is not for {kind}, which {source} is.")
    with progress(target) as told:
        if from_3390:
            part = to_raw(source, target, partition=partition, replace=force, progress=told)
            size = os.path.getsize(target)
            name = f" ({part.data_set})" if part.data_set else ""
            said = f"raw image, {size} bytes, partition {part.number}{name} of {source}"
        else:
            cylinders = to_3390(
                source, target, cylinders=cylinders, volser=volser, full=full,
                replace=force, progress=told,
            )  # fmt: skip
            said = f"3390, {cylinders} cylinders of 15 tracks, partition 1 is {source}"
    click.echo(f"{target}: {said}")


def refuse_dangling(path: str) -> None:
    """UserError if *path* is a link to a file that is not there."""
    if os.path.islink(path) and not os.path.exists(path):
        raise UserError(
            f"{path}: a link to {os.readlink(path)}, which is not there; name that, or remove the "
            "link"
        )
