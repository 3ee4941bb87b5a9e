"""`vfioccw guest`: an s390x Linux in QEMU on subchannels of a mount, for tests of its drivers."""

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import Subcommands
from .asjson import json_option, show_json
from .offers import offering
from .signals import end_on_signals
from .sizes import SECONDS

if TYPE_CHECKING:
    from ..guest.machine import Options
    from ..guest.parts import Parts

_DRIVER = re.compile(r"[\w-]+", re.ASCII)
_SOURCES = click.option(
    "--source",
    "sources",
    metavar="LINE",
    multiple=True,
    help="Fetch from this archive of Debian, a line as in sources.list, instead of from where this "
    "system's packages come; may be given many times.",
)
_OPTIONS = (
    click.option(
        "--device",
        "devices",
        metavar="SPEC",
        multiple=True,
        shell_complete=offering("guest_devices"),
        help="A device of the guest: MNT/0.0.0313[,devno=fe.0.1234]..., as vfioccw qemu has it; "
        "may be given many times.",
    ),
    click.option(
        "--bind",
        metavar="DRIVER",
        help="Give the subchannels of all --device to this driver in the guest, such as vfio_ccw, "
        "instead of to io_subchannel.",
    ),
    click.option(
        "--kernel",
        metavar="BZIMAGE",
        type=click.Path(),
        help="Your kernel, such as vfioccw guest kernel builds, instead of Debian's and its "
        "modules.",
    ),
    click.option(
        "--module",
        "modules",
        metavar="FILE",
        multiple=True,
        type=click.Path(),
        help="Load this module (.ko, .ko.xz) after the kernel's own, in the order given.",
    ),
    click.option(
        "--file",
        "files",
        metavar="FILE[:PLACE]",
        multiple=True,
        help="Put a file into the guest, as /NAME or as PLACE, executable.",
    ),
    click.option("--append", metavar="WORDS", default="", help="Further words for the kernel."),
    click.option(
        "--busybox",
        metavar="FILE",
        type=click.Path(),
        help="Your busybox (for s390x, static) instead of Debian's.",
    ),
    click.option("--tools", is_flag=True, help="With dasdfmt, fdasd, mkfs.ext4, e2fsck, fio."),
    click.option(
        "--nested",
        is_flag=True,
        help="With QEMU in the guest: nested 0.0.1234 boots a second guest there, on a device that "
        "vfio_ccw has.",
    ),
    click.option("--memory", default="512M", show_default=True, help="QEMU's -m."),
    click.option("--smp", type=click.IntRange(1), default=1, show_default=True, help="Processors."),
    click.option("--iommufd", is_flag=True, help="As vfioccw qemu --iommufd."),
    click.option("--verbose", is_flag=True, help="Show all messages of the kernel."),
    _SOURCES,
    click.argument("qemu", nargs=-1, metavar="[-- QEMU OPTIONS...]"),
)


def _boots(command: Callable[..., int]) -> Callable[..., int]:
    """Give *command* the options of a guest; it gets `Options` and `Parts` made of them."""

    @functools.wraps(command)
    def boot(**words: Any) -> int:
        made = {name: words.pop(name) for name in (*_GUEST, *_PARTS)}
        end_on_signals()
        return command(_options(made), _parts(made), **words)

    for option in reversed(_OPTIONS):
        boot = option(boot)
    return boot


_GUEST = (
    *("devices", "bind", "modules", "files", "append", "tools", "nested", "memory", "smp"),
    *("iommufd", "verbose", "qemu"),
)
_PARTS = ("kernel", "busybox", "sources")


def _options(words: dict[str, Any]) -> "Options":
    from ..guest.given import GuestFile, check_module
    from ..guest.machine import Options
    from ..qemu.options import GuestDevice

    devices = [GuestDevice.parse(text) for text in words["devices"]]
    if words["bind"] is not None and not _DRIVER.fullmatch(words["bind"]):
        raise click.UsageError(f"--bind {words['bind']}: no name of a driver, such as vfio_ccw.")
    return Options(
        devices=words["devices"],
        iommufd=words["iommufd"],
        memory=words["memory"],
        processors=words["smp"],
        tools=words["tools"],
        nested=words["nested"],
        qemu=words["qemu"],
        append=words["append"],
        modules=[check_module(Path(name)) for name in words["modules"]],
        files=[GuestFile.parse(text) for text in words["files"]],
        bind=words["bind"] or "",
        # The guest sees css fe as its css 0.
        bound=[f"0{device.devno[2:]}" for device in devices] if words["bind"] else (),
        quiet=not words["verbose"],
    )


def _parts(words: dict[str, Any]) -> "Parts":
    from ..guest.parts import Parts

    given = {name: Path(words[name]) for name in ("kernel", "busybox") if words[name] is not None}
    return Parts(sources=words["sources"], **given)


@click.group(name="guest", cls=Subcommands)
def guest_command() -> None:
    """Boot an s390x Linux on subchannels of a mount.

    Without a mainframe, and without an installation: a kernel and an initramfs with busybox. The
    kernel is Debian's, with its dasd drivers, or yours. In the guest, online 0.0.1234 sets a DASD
    online and says its name; bind DRIVER 0.0.1234 gives its subchannel to another driver.

    \b
    Examples:
      vfioccw guest shell --device /tmp/m/0.0.0313,devno=fe.0.1234
      vfioccw guest run --device /tmp/m/0.0.0313 --script test.sh
      vfioccw guest kernel --source ~/linux --out bzImage
      vfioccw guest fetch
    """


@guest_command.command(name="run")
@_boots
@click.option(
    "--script",
    metavar="FILE",
    type=click.File("rb"),
    default="-",
    help="The shell script to run in the guest; - is stdin, which is the default.",
)
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=SECONDS,
    help="End a guest that takes longer, its boot included. Without it a script may take for ever, "
    "if it has begun within 300 s.",
)
def run_command(options: "Options", parts: "Parts", script: Any, timeout: float | None) -> int:
    """Run a script in the guest.

    What it prints is printed, stdout and stderr together, and its exit status is the command's. Its
    stdin is empty. If the kernel panics, or the guest takes too long, the last lines of its console
    are shown and the exit status is 1.

    \b
    Example:
      vfioccw guest run --device /tmp/m/0.0.0313 <<<'online 0.0.0313 && md5sum /dev/dasda'
    """
    from ..guest.run import run_script

    return run_script(options, script.read(), parts, timeout)


@guest_command.command(name="shell")
@_boots
def shell_command(options: "Options", parts: "Parts") -> int:
    """Boot with a shell on this terminal.

    exit ends the guest, and Ctrl-A X at any time.

    \b
    Example:
      vfioccw guest shell --device /tmp/m/0.0.0313,devno=fe.0.1234 --tools
    """
    from ..guest.run import run_shell

    return run_shell(options, parts)


@guest_command.command(name="fetch")
@_SOURCES
@json_option
def fetch_command(sources: tuple[str, ...], as_json: bool) -> None:
    """Fetch what guests are made of.

    That is Debian's kernel, busybox and tools; run and shell need no network then. What is there
    already is not fetched again. Prints the files, and which kernel it is.

    \b
    Examples:
      vfioccw guest fetch
      vfioccw guest fetch --source 'deb http://MIRROR/debian bookworm main'
    """
    from ..guest.parts import Parts

    end_on_signals()
    parts = Parts(sources=sources)
    files = list(parts.fetch())
    if as_json:
        show_json({"files": [str(path) for path in files], "kernel": parts.kernel_name()})
        return
    for path in files:
        click.echo(path)
    click.echo(parts.kernel_name())


@guest_command.command(name="kernel")
@click.option(
    "--source",
    metavar="TREE",
    type=click.Path(path_type=Path),
    help="A tree of Linux's source, which is left as it is; without it Debian's, fetched.",
)
@click.option(
    "--config",
    "configs",
    metavar="FILE",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Lines of a configuration to add, such as CONFIG_PROVE_LOCKING=y.",
)
@click.option(
    "--debug",
    is_flag=True,
    help="With what finds use after free (KASAN), leaks (kmemleak), wrong locking and tasks that "
    "hang, and says so in dmesg; it is several times slower.",
)
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Copy the kernel there; without it the file in the cache is named.",
)
@json_option
def kernel_command(
    source: Path | None, configs: tuple[Path, ...], debug: bool, out: Path | None, as_json: bool
) -> None:
    """Build a small s390x kernel with vfio_ccw.

    It has dasd, too, and no modules: all is built in. The file's name is printed. A build takes
    some minutes, less if ccache is installed, and needs a cross compiler. What was built is kept:
    the same source (a commit and what is changed in it, or the content of all files), configuration
    and compiler are not built again, and in a tree only what was changed is compiled.

    \b
    Examples:
      vfioccw guest kernel --source ~/linux --out bzImage
      vfioccw guest run --kernel bzImage --bind vfio_ccw --device /tmp/m/0.0.0313 --script test.sh
    """
    import shutil

    from ..guest.kernel import DEBUG, build
    from ..guest.parts import Parts

    end_on_signals()
    kernel = build(Parts().cache, source, (DEBUG, *configs) if debug else configs)
    if out is not None:
        shutil.copyfile(kernel, out)
    made = kernel if out is None else out
    if as_json:
        show_json({"file": str(made)})
    else:
        click.echo(made)
