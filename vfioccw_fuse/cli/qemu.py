"""`vfioccw qemu`: an unmodified QEMU with subchannels of a mount as its vfio-ccw devices."""

from collections.abc import Sequence

import click

from . import asking_the_mount
from .mounts import holders
from .offers import offering


@click.command(
    name="qemu",
    context_settings={"allow_interspersed_args": False},
)
@click.option(
    "--device",
    "devices",
    metavar="SPEC",
    multiple=True,
    shell_complete=offering("guest_devices"),
    help="A device of the guest: MNT/0.0.0313[,devno=fe.0.1234][,PROPERTY=VALUE]...; may be given "
    "many times. devno is its device number, in channel subsystem fe; the guest sees 0.0.1234. "
    "Properties are QEMU's: bootindex=1 to boot from it, id=NAME ...; group=N puts it into an "
    "IOMMU group with others.",
)
@click.option(
    "--spare",
    "spares",
    metavar="SPEC",
    multiple=True,
    shell_complete=offering("guest_devices"),
    help="A device that QEMU may plug later: device_add vfio-ccw,sysfsdev=MNT/0.0.0314,devno=...",
)
@click.option(
    "--iommufd",
    is_flag=True,
    help="Let QEMU (9 or newer) open the devices by iommufd and their character devices instead of "
    "group and container. Adds -object iommufd,id=vfioccw-iommufd, and iommufd=vfioccw-iommufd to "
    "each device; plug a spare with the same property.",
)
@click.argument("command", nargs=-1, required=True, metavar="-- QEMU ARGS...")
def qemu_command(
    devices: tuple[str, ...], spares: tuple[str, ...], iommufd: bool, command: Sequence[str]
) -> int:
    """Run QEMU with subchannels of a mount as DASDs of its guest.

    QEMU is the distribution's, as it is. Its options are yours; added are -device vfio-ccw for each
    --device and, unless you say how memory is made, memory that the mount can map. While it runs
    the devices keep ORB and SCSW in the host's byte order (order=host in control). The exit status
    is QEMU's.

    \b
    Example:
      vfioccw mount /tmp/m --device fba@0.0.0313:disk.img
      vfioccw qemu --device /tmp/m/0.0.0313,devno=fe.0.1234 -- \\
        qemu-system-s390x -m 512 -nographic -no-reboot -kernel vmlinuz -initrd initrd
    """
    from ..qemu.options import GuestDevice
    from ..qemu.run import run_qemu

    with asking_the_mount():
        return run_qemu(
            [GuestDevice.parse(text) for text in devices],
            [GuestDevice.parse(text) for text in spares],
            command,
            lambda path: [holder.pid for holder in holders(path)],
            iommufd=iommufd,
        )
