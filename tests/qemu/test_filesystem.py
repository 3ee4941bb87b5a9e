"""A disk from blank to a file system with verified data, by Debian's own tools in the guest."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.mounts import vfioccw
from tests.qemu.conftest import Lab
from vfioccw_fuse.devices.eckd.volume import create

SCHID = "0.0.0313"
CYLINDERS = 100
FIO = (
    "fio --name=verify --directory=/mnt --size=8m --bs=4k --rw=randwrite --ioengine=psync "
    "--verify=crc32c --do_verify=1 --verify_fatal=1 --end_fsync=1 --output-format=terse"
)


def check_image(path: Path) -> None:
    done = vfioccw("image", "check", path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("control_unit", ["3990-6", "2107"])
def test_format_partition_file_system_and_second_boot(lab: Lab, control_unit: str) -> None:
    image = lab.directory / "vol.ckd"
    create(image, CYLINDERS, format="none")
    lab.mount(f"3390@{SCHID}:{image},cu={control_unit}")
    device = lab.device(SCHID, "1234")
    with lab.guest(device, memory="1G", tools=True) as guest:
        name = guest.check("online 0.0.1234")
        guest.check(f"dasdfmt -y -b 4096 -d cdl -l VFC001 /dev/{name}", 120)
        guest.check(f"fdasd -a /dev/{name}")
        guest.check(f"mkfs.ext4 -q /dev/{name}1", 120)
        guest.check(f"mount /dev/{name}1 /mnt")
        guest.check(FIO, 120)
        guest.check("cp /bin/busybox /mnt/; echo written by the first boot > /mnt/note")
        guest.check("umount /mnt")
        assert guest.check("dmesg | grep -c 'I/O error' || true") == "0"
        guest.check("offline 0.0.1234")
        assert guest.power_off() == 0
        assert guest.errors() == ""
    check_image(image)
    lab.unmount()
    # What Linux made of the disk is a raw image and a 3390 again, which it takes as its own.
    raw = lab.directory / "fs.img"
    for words in ((image, raw), (raw, image, "--force", "--volser", "AGAIN1")):
        done = vfioccw("image", "convert", *words)
        assert done.returncode == 0, done.stderr
    lab.mount(f"3390@{SCHID}:{image},cu={control_unit}")
    with lab.guest(device, memory="1G", tools=True) as guest:
        name = guest.check("online 0.0.1234")
        assert "LINUX.VAGAIN1.PART0001.NATIVE" in guest.check(f"dasdview -t info /dev/{name}")
        assert guest.check(f"fdasd -s -p /dev/{name} | grep -c native") == "1"
        guest.check(f"e2fsck -f -n /dev/{name}1", 120)
        guest.check(f"mount /dev/{name}1 /mnt")
        assert guest.check("cat /mnt/note") == "written by the first boot"
        guest.check("cmp /mnt/busybox /bin/busybox")
        guest.check(f"{FIO} --verify_only", 120)
        guest.check("umount /mnt; offline 0.0.1234")
    lab.unmount()
    check_image(image)
