"""`vfioccw mount` and `vfioccw umount`.

`mount` hands everything to `vfioccw_fuse.fuse.mount.serve`; what is here is the life of the
process around it, with `background`.
"""

import contextlib
import os
import pwd
import select
import shutil
import subprocess
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import click
from click.core import ParameterSource

from .. import compiled
from ..errors import UserError
from . import EXIT_OK
from .mounts import Holder, end_of, holders, mounted_at, server_of
from .offers import offering
from .places import MOUNT
from .sizes import SIZE

if TYPE_CHECKING:
    from ..devices.options import DeviceSpec
    from ..fuse.ending import EndReader
    from ..fuse.mount import MountOptions
    from ..mountinfo import Mounted
    from ..regions.table import Interface
    from .config import Config

DEFAULT_MEMORY = 16 << 20
"""Bytes of the built-in guest storage unless `--memory` says otherwise."""
GONE_WITHIN = 40.0
"""Seconds that `umount` waits for the daemon's end after the mount is detached.

More than the 30 that the daemon may take to bring to the disk what was written.
"""
_NAMED_HOLDERS = 5  # more processes than these are only counted


def _devices(
    context: click.Context, _option: click.Parameter, texts: tuple[str, ...]
) -> tuple[str, ...]:
    """Give *texts* back; `help` among them lists what can be said, and the command ends."""
    if "help" in texts and not context.resilient_parsing:
        from .devices import device_help

        for line in device_help():
            click.echo(line)
        context.exit()
    return texts


def _interface(_context: click.Context, _option: click.Parameter, name: str) -> "Interface":
    """Give the interface called *name*; BadParameter lists those that there are."""
    from ..regions import table

    try:
        return table.interface_of(name)
    except ValueError as unknown:
        raise click.BadParameter(str(unknown)) from None


@click.command(name="mount")
@click.argument("mnt", type=click.Path())
@click.option(
    "--device",
    "devices",
    metavar="SPEC",
    multiple=True,
    is_eager=True,
    callback=_devices,
    shell_complete=offering("devices"),
    help="A device, TYPE@SUBCHANNEL:IMAGE[,OPTION]...; may be given many times. A comma in a path "
    "is written twice. `--device help` lists types and options.",
)
@click.option(
    "--config",
    metavar="FILE",
    type=click.Path(),
    help="A channel subsystem in TOML: [[device]] tables, [chpid.40] tables, interface, memory. "
    "What the command line says comes on top.",
)
@click.option(
    "--interface",
    default="full",
    show_default=True,
    metavar="NAME",
    callback=_interface,
    shell_complete=offering("interfaces"),
    help="Which generation of the vfio-ccw interface the subchannels show.",
)
@click.option(
    "--memory",
    type=SIZE,
    default=DEFAULT_MEMORY,
    show_default="16MiB",
    help="Size of the built-in guest storage, at most 2GiB. Untouched storage costs nothing.",
)
@click.option(
    "--allow-other",
    is_flag=True,
    help="Let every user do what the owner may. A user other than root needs user_allow_other in "
    "/etc/fuse.conf.",
)
@click.option(
    "--log",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    help="Add what the daemon has to say to FILE, too.",
)
@click.option("--verbose", is_flag=True, help="Say there what comes and goes, too.")
@click.option("-f", "--foreground", is_flag=True, help="Stay in the foreground; Ctrl-C unmounts.")
@click.pass_context
def mount_command(
    context: click.Context,
    mnt: str,
    devices: tuple[str, ...],
    config: str | None,
    interface: "Interface",
    memory: int,
    allow_other: bool,
    log: str | None,
    verbose: bool,
    foreground: bool,
) -> int:
    """Show devices as s390 subchannels below the directory MNT.

    Comes back as soon as the mount is usable; a daemon then serves it until vfioccw umount (or
    fusermount3 -u) ends it.

    \b
    Examples:
      vfioccw image create fba disk.img --size 64MiB
      vfioccw mount /tmp/m --device fba@0.0.0313:disk.img
      vfioccw mount /tmp/m --device fba@0.0.0313:a.img,readonly \\
                           --device fba@0.0.0314:b.img,delay=3s --memory 256MiB
      vfioccw mount /tmp/m --config css.toml
      vfioccw mount /tmp/m --config css.toml --log /tmp/m.log --verbose
      vfioccw mount --device help
    """
    from ..fuse.mount import MountOptions
    from .background import Log, serve_in_background, serve_in_foreground
    from .config import Config, read_config

    options = MountOptions(
        devices=tuple(map(_device, devices)),
        interface=interface,
        memory=memory,
        allow_other=allow_other,
    )
    read = Config()
    if config is not None:
        read = read_config(config)
        options = _on_top_of(read, options, context)
    # The daemon's working directory is / : paths become absolute here.
    point, kept = os.path.abspath(mnt), Log(log and os.path.abspath(log), verbose)
    if reason := compiled.trouble():
        click.echo(f"vfioccw: runs from source, which is slower: {reason}", err=True)
    try:
        if foreground:
            return serve_in_foreground(point, options, kept)
        return serve_in_background(point, options, kept)
    except UserError as wrong:
        raise read.placed(wrong) from None


def _device(text: str) -> "DeviceSpec":
    """What `--device text` asks for; its UserError names the option."""
    from ..vfio.control import parse_device
    from .chp import absolute

    try:
        spec = parse_device(text)
    except UserError as wrong:
        raise UserError(f"--device {wrong.message}") from None
    # The daemon's working directory is / : paths of images become absolute here.
    return replace(spec, path=absolute(spec.path))


def _on_top_of(read: "Config", options: "MountOptions", context: click.Context) -> "MountOptions":
    """What the configuration file says, and on top of it the command line, in *options*."""

    def default(name: str) -> bool:
        return context.get_parameter_source(name) is ParameterSource.DEFAULT

    return replace(
        options,
        devices=read.devices + options.devices,
        interface=read.interface if read.interface and default("interface") else options.interface,
        memory=read.memory if read.memory is not None and default("memory") else options.memory,
        paths=read.paths,
        source=read.path,
    )


@click.command(name="umount")
@click.argument("mnt", type=MOUNT)
def umount_command(mnt: str) -> int:
    """End the mount at the directory MNT.

    The mount point is gone at once. Comes back when the daemon has ended and what was written is on
    stable storage, after 30 s at the latest; if that takes a while it says which image it is about,
    and it ends with status 1 if some of it may not be there. Devices with sync=never are not waited
    for. While somebody has files of the mount open it says who, changes nothing and ends with
    status 1.

    \b
    Example:
      vfioccw umount /tmp/m
    """
    mounted = mounted_at(mnt)
    if mounted is None:
        raise UserError(f"{mnt}: not mounted")
    if not mounted.fstype.startswith("fuse"):
        raise UserError(f"{mnt}: this is a mounted {mounted.fstype}, not a mount of vfioccw")
    _need_owner(mounted)
    # It may have been started inside, and would keep the mount busy itself.
    os.chdir("/")
    with contextlib.ExitStack() as opened:
        server, end = server_of(mounted.point), end_of(mounted.point)
        if server is not None:
            opened.callback(os.close, server)
        if end is not None:
            opened.enter_context(end)
        _detach(mounted.point)
        _await_end(mounted.point, server, end)
        told = end.ask() if end is not None else None
    if told is not None and (told.failed or not told.over):
        raise UserError(
            f"{mounted.point}: unmounted, but what was written may not be on stable storage: "
            f"{told.failed or 'the daemon was killed'}; check it"
        )
    return EXIT_OK


def _need_owner(mount: "Mounted") -> None:
    """UserError unless this user may end *mount*: fusermount3 would say that it is not there."""
    owner = next((o for o in mount.options.split(",") if o.startswith("user_id=")), "")
    uid = owner.removeprefix("user_id=")
    if not uid or os.geteuid() in (0, int(uid)):
        return
    try:
        name = pwd.getpwuid(int(uid)).pw_name
    except KeyError:
        name = f"user {uid}"
    raise UserError(
        f"{mount.point}: mounted by {name}; run vfioccw umount as that user, or as root"
    )


def _detach(point: str) -> None:
    """Unmount *point*; raises UserError, which names who holds it open if somebody does.

    Who only looks into it (`vfioccw mounts`, a shell that completes) has a moment to let go.
    """
    deadline = time.monotonic() + _PATIENCE
    while trouble := _tried(point):
        if "busy" not in trouble:
            raise UserError(f"{point}: {trouble}")
        if time.monotonic() > deadline:
            raise UserError(f"{point}: busy: {_who(holders(point))}")
        time.sleep(_LOOK)


def _tried(point: str) -> str:
    """Unmount *point*, once: what fusermount3 says if that fails, else nothing."""
    program = shutil.which("fusermount3")
    command = [program, "-u"] if program else ["umount"]
    try:
        done = subprocess.run(
            [*command, point],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            env={**os.environ, "LC_ALL": "C"},
            check=False,
        )
    except FileNotFoundError:
        raise UserError(f"{point}: fusermount3 is missing; install the package fuse3") from None
    if done.returncode == 0 or mounted_at(point) is None:
        return ""
    return done.stderr.strip() or "fusermount3 failed"


def _who(found: list[Holder]) -> str:
    """Say in one phrase who keeps a mount busy."""
    if not found:
        return "something has it open that only root may see; try again as root"
    named = [
        f"{holder.pid} ({holder.command}{'' if holder.how == 'file' else ', ' + holder.how})"
        for holder in found[:_NAMED_HOLDERS]
    ]
    if len(found) > _NAMED_HOLDERS:
        named.append(f"{len(found) - _NAMED_HOLDERS} more")
    return f"in use by {', '.join(named)}; end {'it' if len(found) == 1 else 'them'} and try again"


_LOOK: Final = 0.1
"""Seconds between two looks at a daemon that ends."""
_PATIENCE: Final = 0.5
"""Seconds without a word why it takes so long."""


def _await_end(point: str, server: int | None, end: "EndReader | None") -> None:
    """Wait until *point* is no mount any more and the process of the pidfd *server* has ended.

    Says on stderr what *end* gives as the reason. Raises UserError after `GONE_WITHIN` seconds.
    """
    begun = time.monotonic()
    deadline = begun + GONE_WITHIN
    while mounted_at(point) is not None:
        if time.monotonic() > deadline:
            raise UserError(f"{point}: still mounted; is another mount below it?")
        time.sleep(0.01)
    if server is not None:
        while not select.select([server], [], [], _LOOK)[0] and not _only_threads_are_left(server):
            now = time.monotonic()
            writing = end.ask().writing if end is not None and now > begun + _PATIENCE else ""
            if writing:
                click.echo(f"{writing}: being written to stable storage ...", err=True)
                end = None
            if now > deadline:
                raise UserError(f"{point}: unmounted, but its daemon has not ended; see ps")


def _only_threads_are_left(server: int) -> bool:
    """Whether the process of the pidfd *server* is over but for a thread that the kernel keeps.

    One that waits for an image whose file system never answers: nobody can end it (proc(5): the
    first thread is a zombie), and nothing of the mount is left.
    """
    with contextlib.suppress(OSError, StopIteration):
        with open(f"/proc/self/fdinfo/{server}", encoding="ascii") as info:
            pid = next(int(line.split()[1]) for line in info if line.startswith("Pid:"))
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as status:
            return status.read().rpartition(") ")[2].startswith("Z")
    return False
