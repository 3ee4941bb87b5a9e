"""IPL: QEMU's firmware starts a Linux that zipl put on our disk, in a machine without a kernel."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from lab.mounts import vfioccw
from tests.qemu.conftest import Lab, make_fba
from vfioccw_fuse.devices.eckd.volume import create
from vfioccw_fuse.guest import GuestError
from vfioccw_fuse.guest.machine import Guest, Options, booted, write_initramfs
from vfioccw_fuse.guest.parts import Parts

PARTS, CDL, LDL = "0.0.0313", "0.0.0314", "0.0.0315"
CYLINDERS = 40
PARAMETERS = "console=ttysclp0 panic=1 quiet loglevel=1"


def make_parts(directory: Path) -> tuple[Path, list[int]]:
    """A disk with kernel and initramfs, one behind the other, and their sizes."""
    parts = Parts()
    initramfs = directory / "initramfs"
    with initramfs.open("wb") as file:
        write_initramfs(file, parts, "driven", Options())
    files = [parts.kernel().read_bytes(), initramfs.read_bytes()]
    image = directory / "parts"
    whole = b"".join(files)
    image.write_bytes(whole.ljust(-len(whole) % 512 + len(whole), b"\0"))
    return image, [len(data) for data in files]


def ipl(lab: Lab, schid: str, number: str) -> AbstractContextManager[Guest]:
    """A machine without a kernel that starts from the disk."""
    device = lab.device(schid, number, ",bootindex=1")
    return booted(Options(devices=[device], kernel=False))


def test_linux_is_ipled_from_a_cdl_disk(lab: Lab) -> None:
    image, (kernel, initramfs) = make_parts(lab.directory)
    disk = lab.directory / "vol.ckd"
    create(disk, CYLINDERS, volser="VFC001", format="cdl")
    lab.mount(f"fba@{PARTS}:{image}", f"3390@{CDL}:{disk}")
    with lab.guest(
        lab.device(PARTS, "1000"), lab.device(CDL, "1001"), memory="1G", tools=True
    ) as guest:
        parts, name = guest.check("online 0.0.1000; online 0.0.1001").split()
        guest.check(f"fdasd -a /dev/{name} && mkfs.ext4 -q /dev/{name}1")
        guest.check(f"mount /dev/{name}1 /mnt")
        # zipl looks for devices as udev would have them.
        guest.check(
            "for d in /sys/class/block/dasd*; do ln -sf ../${d##*/} /dev/block/$(cat $d/dev); done"
        )
        guest.check(
            f"head -c {kernel} /dev/{parts} > /mnt/kernel; "
            f"tail -c +{kernel + 1} /dev/{parts} | head -c {initramfs} > /mnt/initramfs; "
            f"zipl -t /mnt -i /mnt/kernel -r /mnt/initramfs -P '{PARAMETERS} from=disk'"
        )
        guest.check("umount /mnt; offline 0.0.1001")
        assert guest.power_off() == 0
    with ipl(lab, CDL, "1001") as guest:
        assert "from=disk" in guest.check("cat /proc/cmdline")
        assert guest.check("cat /sys/firmware/ipl/ipl_type") == "ccw"
        assert guest.check("cat /sys/firmware/ipl/device") == "0.0.1001"
        assert guest.check("online 0.0.1001") == "dasda"
        assert guest.power_off() == 0
        assert guest.errors() == ""
    done = vfioccw("image", "check", disk)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_firmware_takes_a_long_ipl_record_for_an_error(lab: Lab) -> None:
    """LDL: record 1 is a whole block, of which the firmware reads 24 bytes without SLI."""
    create(lab.directory / "ldl", 5, volser="VFC001", format="ldl")
    lab.mount(f"3390@{LDL}:{lab.directory / 'ldl'}")
    with pytest.raises(GuestError, match=r"\[Incorrect-Length\].*Failed to run Read IPL"):
        ipl(lab, LDL, "1002").__enter__()


def test_the_firmware_knows_no_fba_disk(lab: Lab) -> None:
    lab.mount(f"fba@{PARTS}:{make_fba(lab.directory / 'disk')}")
    with pytest.raises(
        GuestError, match=r"unexpected device type|Cannot boot CCW device with cu type 0x6310"
    ):
        ipl(lab, PARTS, "1000").__enter__()
