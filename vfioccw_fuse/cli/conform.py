"""`vfioccw conform`: a mount is asked what Linux's own vfio_ccw is asked, and compared with it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import EXIT_FAILURE, EXIT_OK
from .asjson import json_option, show_json
from .places import SUBCHANNEL
from .signals import end_on_signals

if TYPE_CHECKING:
    from ..conform.judge import Ask
    from ..conform.mounts import Subchannel
    from ..conform.script import Case


@click.command(name="conform")
@click.argument("subchannel", metavar="[MNT/0.0.0313]", required=False, type=SUBCHANNEL)
@click.option(
    "--driver",
    is_flag=True,
    help="Ask the driver now, in an s390x guest, instead of taking what it answered formerly.",
)
@click.option(
    "--kernel",
    metavar="6.12|6.1|BZIMAGE",
    help="Which Linux: 6.12, which is the default, or 6.1; with --driver also a kernel of yours, "
    "such as vfioccw guest kernel builds.",
)
@click.option(
    "--answers",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Compare with what a driver elsewhere answered; see --write-script.",
)
@click.option(
    "--iommufd",
    is_flag=True,
    help="Ask the driver by /dev/iommu and its own node instead of group and container.",
)
@click.option(
    "--busybox",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="With --driver: your busybox (for s390x, static) instead of Debian's.",
)
@click.option(
    "--interface",
    type=click.Choice(("async", "scsw", "start-only")),
    default="async",
    show_default=True,
    help="Of the mount that is made where none is named.",
)
@click.option(
    "--case",
    "names",
    metavar="NAME",
    multiple=True,
    help="Only cases that have NAME in their names; may be given many times.",
)
@click.option("--list", "listing", is_flag=True, help="List the cases: name, why, requests.")
@click.option("--all", "listed", is_flag=True, help="Also say which cases the list explains.")
@json_option
@click.option(
    "--random",
    metavar="N",
    type=click.IntRange(1),
    help="Ask the driver N requests by chance instead of the cases, up to a difference, which is "
    "printed as a short case. Made by Hypothesis: pip install 'vfioccw[conform]'.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Which requests those are.")
@click.option(
    "--write-script",
    "kit",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Write what asks the driver of a mainframe: a C program, a script, and how.",
)
@click.option(
    "--record",
    is_flag=True,
    help="For this project: keep in the package what --driver answers, and LINUX.md.",
)
def conform_command(**words: Any) -> int:
    """Compare a mount with Linux's own vfio_ccw.

    Both are asked the same: storage, regions, interruptions, ioctls; hundreds of cases, while
    faults and paths of the device are switched. What differs is said in words, unless the list of
    differences has it, with the reason (differences.toml in the package).

    MNT/0.0.0313 is --device 3390@0.0.0313:IMAGE,cu=3990-6 of a mount with --interface async, which
    nobody uses. IMAGE is made by vfioccw image create 3390 IMAGE --cylinders 5 --volser VFC001;
    nothing is written to it. On start-only and scsw the cases are left out that ask for more than
    those have. Without it a mount is made for the purpose. The driver runs in a guest, on a mount
    of its own.

    Exit status: 0, nothing differs that is not on the list; 1, something does, or one of both could
    not be asked; 2, wrong use.

    \b
    Examples:
      vfioccw conform
      vfioccw conform /tmp/m/0.0.0313 --kernel 6.1
      vfioccw conform --driver --case TIC --case IDAW
      vfioccw conform --driver --kernel bzImage --json >conform.json
      vfioccw conform --driver --random 20000 --seed 7
      vfioccw conform --write-script kit
      vfioccw conform --answers answers
    """
    from ..conform import judge
    from ..conform.kit import write_kit
    from ..conform.script import for_interface

    _check(words)
    end_on_signals()
    cases = [
        case
        for case in judge.all_cases()
        if not words["names"] or any(name in case.name for name in words["names"])
    ]
    if not cases:
        raise click.UsageError(f"--case {words['names'][0]}: no case has that in its name")
    if words["listing"]:
        _list(cases, as_json=words["as_json"])
        return EXIT_OK
    if words["kit"] is not None:
        click.echo(f"{words['kit']}: {write_kit(words['kit'], cases)} cases; see README in it")
        return EXIT_OK
    if words["record"]:
        click.echo(judge.record(_linux(words) if words["driver"] else None))
        return EXIT_OK
    ours = _ours(words)
    if words["random"] is not None:
        return _by_chance(words, ours)
    cases, mount = for_interface(cases, ours[1]), judge.by_mount(*ours)
    judgement = judge.judge(cases, _linux(words), mount)
    if words["as_json"]:
        show_json(judgement.data())
    else:
        for line in judgement.lines(listed=words["listed"]):
            click.echo(line)
    return EXIT_FAILURE if judgement.differs else EXIT_OK


def _by_chance(words: dict[str, Any], ours: "tuple[Subchannel | None, str]") -> int:
    """Ask both ends by chance, and say what came of it; the exit status."""
    from ..conform import judge
    from ..conform.kernel import driver_of

    driver = driver_of(words["kernel"])
    with (
        judge.guest_kept(driver, iommufd=words["iommufd"]) as linux,
        judge.mount_kept(*ours) as mount,
    ):
        found = judge.judge_by_chance(words["seed"], words["random"], linux, mount)
    if words["as_json"]:
        show_json(found.data())
    else:
        for line in found.lines():
            click.echo(line)
    return EXIT_FAILURE if found.differs else EXIT_OK


def _check(words: dict[str, Any]) -> None:
    """UsageError if options do not go together."""
    driver, answers, kernel = words["driver"], words["answers"], words["kernel"]
    if answers is not None and (driver or kernel):
        raise click.UsageError("--answers takes the place of --driver and --kernel")
    for name in ("iommufd", "busybox"):
        if words[name] and not driver:
            raise click.UsageError(f"--{name} is about the driver's guest; add --driver")
    if words["random"] is not None:
        if not driver:
            raise click.UsageError("--random is asked of a driver in a guest; add --driver")
        if words["names"]:
            raise click.UsageError("requests of --random have no names for --case")
    if words["record"] and (answers or words["names"] or words["subchannel"]):
        raise click.UsageError("--record keeps all answers of --driver alone")


def _linux(words: dict[str, Any]) -> "Ask":
    """The end that is Linux's."""
    from ..conform import judge
    from ..conform.kernel import KERNEL_SERIES, driver_of

    if words["answers"] is not None:
        return judge.by_file(words["answers"])
    if words["driver"]:
        driver = driver_of(words["kernel"], words["busybox"])
        return judge.by_guest(driver, iommufd=words["iommufd"])
    series = words["kernel"] or KERNEL_SERIES
    if series not in judge.SERIES:
        raise click.UsageError(
            f"--kernel {series}: what {' and '.join(judge.SERIES)} answer is recorded; add "
            "--driver to ask a kernel of yours"
        )
    return judge.by_record(series)


def _ours(words: dict[str, Any]) -> "tuple[Subchannel | None, str]":
    """The subchannel that is asked, None for one of a mount made for that, and its interface."""
    from ..conform.mounts import Subchannel
    from . import asking_the_mount

    if words["subchannel"] is None:
        return None, words["interface"]
    directory = Path(words["subchannel"])
    subchannel = Subchannel(directory.parent, directory.name)
    with asking_the_mount():
        return subchannel, subchannel.check()


def _list(cases: "list[Case]", *, as_json: bool) -> None:
    if as_json:
        show_json([case._asdict() for case in cases])
        return
    for case in cases:
        click.echo(f"{case.name}\n  {case.why}\n  {case.do}")
