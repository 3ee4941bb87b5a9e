"""Tests that run in a process with the library loaded, as QEMU does: one function each.

`python -m tests.qemu.inside NAME MNT` runs one; `test_preload.py` does that.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import select
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from regions import constants as c
from regions import table
from regions.table import Interface

TYPE, BASE = 0x3B64, 100  # linux/vfio.h: VFIO_TYPE ';', VFIO_BASE
(
    GET_API_VERSION, CHECK_EXTENSION, SET_IOMMU, GROUP_GET_STATUS, GROUP_SET_CONTAINER,
    GROUP_UNSET_CONTAINER, GROUP_GET_DEVICE_FD, DEVICE_GET_INFO, DEVICE_GET_REGION_INFO,
    DEVICE_GET_IRQ_INFO, DEVICE_SET_IRQS, DEVICE_RESET, IOMMU_GET_INFO, MAP_DMA, UNMAP_DMA,
) = (TYPE - BASE + BASE + number for number in (*range(12), 12, 13, 14))  # fmt: skip
TYPE1, TYPE1V2, NO_IOMMU = 1, 3, 8
VIABLE, CONTAINER_SET = 1, 2
TRIGGER_EVENTFD, TRIGGER_NONE = 0x24, 0x21
SCHID = "0.0.0313"
LIBC = ctypes.CDLL(None, use_errno=True)


def device_of(group: int, name: str = SCHID) -> int:
    """The descriptor of a device of the group."""
    # Of a buffer that may be changed ioctl() gives the call's result.
    return int(fcntl.ioctl(group, GROUP_GET_DEVICE_FD, bytearray(name.encode() + b"\0"), True))


class Vfio:
    """What QEMU holds: a container, a group in it, a device out of it."""

    def __init__(self, mount: Path, schid: str = SCHID, group: int = 0) -> None:
        self.mount = mount
        self.container = os.open("/dev/vfio/vfio", os.O_RDWR)
        self.group = os.open(f"/dev/vfio/{group}", os.O_RDWR)
        self.schid = schid

    def attach(self) -> int:
        """Put the group into the container; gives the device's descriptor."""
        fcntl.ioctl(self.group, GROUP_SET_CONTAINER, struct.pack("i", self.container))
        fcntl.ioctl(self.container, SET_IOMMU, TYPE1V2)
        self.device = device_of(self.group, self.schid)
        return self.device

    def map(self, vaddr: int, size: int, iova: int = 0) -> None:
        fcntl.ioctl(self.container, MAP_DMA, struct.pack("IIQQQ", 32, 3, vaddr, iova, size))

    def unmap(self, iova: int, size: int) -> int:
        answer = fcntl.ioctl(self.container, UNMAP_DMA, struct.pack("IIQQ", 24, 0, iova, size))
        return int(struct.unpack("IIQQ", answer)[3])

    def set_irq(self, index: int, fd: int) -> None:
        set_ = struct.pack("IIIIIi", 24, TRIGGER_EVENTFD, index, 0, 1, fd)
        fcntl.ioctl(self.device, DEVICE_SET_IRQS, set_)

    def close(self) -> None:
        for fd in (self.device, self.group, self.container):
            os.close(fd)


def fails(number: int):
    """A context in which a call must fail with that errno."""
    return pytest.raises(OSError, match=os.strerror(number))


def text_of(path: str) -> str:
    """What fopen64 gives to read of *path*."""
    LIBC.fopen64.restype = ctypes.c_void_p
    LIBC.fgets.restype = ctypes.c_char_p
    file = LIBC.fopen64(path.encode(), b"r")
    assert file, os.strerror(ctypes.get_errno())
    buffer = ctypes.create_string_buffer(256)
    LIBC.fgets(buffer, 256, ctypes.c_void_p(file))
    LIBC.fclose(ctypes.c_void_p(file))
    return buffer.value.decode()


def sysfs_is_as_qemu_reads_it(mount: Path) -> None:
    LIBC.realpath.restype = ctypes.c_char_p
    found = LIBC.realpath(str(mount / SCHID).encode(), ctypes.create_string_buffer(4096)).decode()
    assert found == f"/sys/bus/css/devices/{SCHID}/{SCHID}"
    assert LIBC.realpath(b"/dev/../etc", None) == b"/etc"
    above = found.rpartition("/")[0]
    assert text_of(f"{above}/pimpampom").split() == ["c0", "c0", "ff"]
    assert text_of(f"{above}/chpids").split() == ["40", "41", *["00"] * 6]
    assert text_of("/sys/devices/css0/chp0.40/type") == "1b\n"
    assert os.readlink(f"{found}/iommu_group").endswith("/0")
    other = above.replace(SCHID, "0.0.0314")
    assert os.readlink(f"{other}/0.0.0314/iommu_group").endswith("/9")
    # QEMU 9 and later ask below the path that they were given.
    assert os.readlink(mount / "0.0.0314" / "iommu_group").endswith("/9")
    assert os.readlink(mount / SCHID / "memory").startswith("/dev/shm/")
    assert text_of("/proc/self/comm").startswith("python")
    with fails(errno.ENOENT):
        os.readlink(f"/sys/bus/css/devices/0.0.0999/{SCHID}/iommu_group")


def container_and_group_are_as_linux_has_them(mount: Path) -> None:
    with fails(errno.ENOENT):
        os.open("/dev/vfio/5", os.O_RDWR)
    vfio = Vfio(mount)
    container, group = vfio.container, vfio.group
    with fails(errno.EBUSY):
        os.open("/dev/vfio/0", os.O_RDWR)
    assert fcntl.ioctl(container, GET_API_VERSION) == 0
    extensions = [number for number in range(16) if fcntl.ioctl(container, CHECK_EXTENSION, number)]
    assert extensions == [TYPE1V2]
    with fails(errno.EINVAL):
        device_of(group)
    status = struct.pack("II", 8, 0)
    assert struct.unpack("II", fcntl.ioctl(group, GROUP_GET_STATUS, status))[1] == VIABLE
    with fails(errno.EINVAL):
        fcntl.ioctl(group, GROUP_SET_CONTAINER, struct.pack("i", 0))
    fcntl.ioctl(group, GROUP_SET_CONTAINER, struct.pack("i", container))
    assert struct.unpack("II", fcntl.ioctl(group, GROUP_GET_STATUS, status))[1] == 3
    with fails(errno.ENODEV):
        fcntl.ioctl(container, SET_IOMMU, TYPE1)
    fcntl.ioctl(container, SET_IOMMU, TYPE1V2)
    info = struct.unpack("IIQI4x", fcntl.ioctl(container, IOMMU_GET_INFO, struct.pack("I20x", 24)))
    assert info == (24, 1, 0xFFFFFFFFFFFFF000, 0)
    with fails(errno.ENODEV):
        device_of(group, "0.0.0314")  # of another group
    device = device_of(group)
    with fails(errno.EBUSY):
        device_of(group)
    for fd in (container, group, device):
        with fails(errno.ENOTTY):
            fcntl.ioctl(fd, TYPE + 60)
    for _ in range(3):
        os.close(device)
        device = device_of(group)
    for fd in (device, group, container):
        os.close(fd)
    Vfio(mount).attach()


def infos_are_those_of_the_mount(mount: Path) -> None:
    vfio = Vfio(mount)
    device = vfio.attach()
    interface = Interface.FULL
    known = table.device_info(interface)
    assert fcntl.ioctl(device, DEVICE_GET_INFO, struct.pack("I", 20) + bytes(16)) == known
    shortest = fcntl.ioctl(device, DEVICE_GET_INFO, struct.pack("I", 16) + bytes(16))
    assert shortest == struct.pack("I", 20) + known[4:16] + bytes(4)
    with fails(errno.EINVAL):
        fcntl.ioctl(device, DEVICE_GET_INFO, struct.pack("I", 12) + bytes(16))
    rest = table.region_info(interface)
    for region in table.regions_of(interface):
        size = struct.unpack_from("I", rest)[0]
        asked = struct.pack("IIIIQQ", 32, 0, region.index, 0, 0, 0)
        short = struct.unpack("IIIIQQ", fcntl.ioctl(device, DEVICE_GET_REGION_INFO, asked))
        assert short[0] == size
        assert short[3] == 0  # cap_offset: it did not fit
        assert short[4:] == (region.size, region.offset)
        asked = struct.pack("IIIIQQ", size, 0, region.index, 0, 0, 0) + bytes(size - 32)
        assert fcntl.ioctl(device, DEVICE_GET_REGION_INFO, asked) == rest[:size]
        rest = rest[size:]
    assert not rest
    for index in (len(table.regions_of(interface)), 1000):
        with fails(errno.EINVAL):
            asked = struct.pack("IIIIQQ", 32, 0, index, 0, 0, 0)
            fcntl.ioctl(device, DEVICE_GET_REGION_INFO, asked)
    for irq in table.irqs_of(interface):
        asked = struct.pack("IIII", 16, 0, irq.index, 0)
        found = fcntl.ioctl(device, DEVICE_GET_IRQ_INFO, asked)
        assert found == table.irq_info(interface)[irq.index * 16 :][:16]
    with fails(errno.EINVAL):
        fcntl.ioctl(device, DEVICE_GET_IRQ_INFO, struct.pack("IIII", 16, 0, 9, 0))


def start(device: int, cpa: int = 0x1000) -> None:
    """SSCH of the program at *cpa*, in host order as QEMU does."""
    orb = struct.pack("=IHBBI", 7, 0x00C0, 0xFF, 0, cpa)
    scsw = struct.pack("=HHIBBH", 0, 0x4000, 0, 0, 0, 0)
    assert os.pwrite(device, (orb + scsw).ljust(124, b"\0"), 0) == 124


def irb(device: int) -> tuple[int, int, int]:
    """Ctrl, device status, subchannel status."""
    region = os.pread(device, 124, 0)
    _, ctrl, _, dstat, cstat, _ = struct.unpack_from(">HHIBBH", region, 24)
    return ctrl, dstat, cstat


def comes(event: int, seconds: float = 5.0) -> bool:
    """Whether an eventfd is signalled soon; takes it."""
    if not select.select([event], [], [], seconds)[0]:
        return False
    os.eventfd_read(event)
    return True


def put_noop(storage: mmap.mmap) -> None:
    storage[0x1000:0x1008] = struct.pack(">BBHI", 0x03, 0x20, 1, 0)


def vaddr_of(storage: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(storage))


def a_request_goes_through(mount: Path) -> None:
    (mount / SCHID / "control").write_text("order=host")
    vfio = Vfio(mount)
    device = vfio.attach()
    memory = os.memfd_create("guest")
    os.truncate(memory, 1 << 20)
    shared = mmap.mmap(memory, 1 << 20)
    private = mmap.mmap(-1, 1 << 20, mmap.MAP_PRIVATE)
    event = os.eventfd(0)
    vfio.set_irq(0, event)
    for storage in (shared, private):
        put_noop(storage)
        vfio.map(vaddr_of(storage), 1 << 20)
        with fails(errno.EEXIST):
            vfio.map(vaddr_of(storage), 4096, 0x1000)
        start(device)
        assert comes(event)
        assert irb(device) == (0x4007, 0x0C, 0)
        # A part of a map: an error, and all stays as it is.
        with fails(errno.EINVAL):
            vfio.unmap(0, 4096)
        assert vfio.unmap(0, 1 << 20) == 1 << 20
        assert vfio.unmap(0, 1 << 20) == 0
    vfio.map(vaddr_of(shared), 1 << 20)
    resets = state(mount)["resets"]
    fcntl.ioctl(device, DEVICE_RESET)
    assert int(state(mount)["resets"]) == int(resets) + 1
    vfio.set_irq(0, -1)
    assert "eventfd" not in state(mount)["io_irq"]
    vfio.set_irq(0, event)
    assert "eventfd" in state(mount)["io_irq"]
    fcntl.ioctl(device, DEVICE_SET_IRQS, struct.pack("IIIII", 20, TRIGGER_NONE, 0, 0, 0))
    assert "eventfd" not in state(mount)["io_irq"]
    for bad in ((9, event), (0, 0)):
        with fails(errno.EINVAL):
            vfio.set_irq(*bad)
    vfio.close()


def state(mount: Path) -> dict[str, str]:
    lines = (mount / SCHID / "state").read_text().splitlines()
    return dict(line.split(": ", 1) for line in lines if ": " in line)


def ready(mount: Path, controls: str) -> tuple[Vfio, int, int, mmap.mmap]:
    """A device, its eventfd, and the storage that it has, with a program in it."""
    (mount / SCHID / "control").write_text(controls)
    vfio = Vfio(mount)
    device = vfio.attach()
    storage = mmap.mmap(-1, 1 << 20, mmap.MAP_PRIVATE)
    put_noop(storage)
    vfio.map(vaddr_of(storage), 1 << 20)
    event = os.eventfd(0)
    vfio.set_irq(0, event)
    return vfio, device, event, storage


def a_child_that_closes_everything_is_no_end(mount: Path) -> None:
    _, device, event, _storage = ready(mount, "order=host")
    # As QEMU does before it runs a script.
    child = os.fork()
    if child == 0:
        for fd in range(3, 64):
            LIBC.close(fd)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    start(device)
    assert comes(event)
    assert irb(device) == (0x4007, 0x0C, 0)


def memory_that_is_not_there_cannot_be_mapped(mount: Path) -> None:
    vfio = Vfio(mount)
    vfio.attach()
    with fails(errno.EINVAL):
        vfio.map(1 << 46, 1 << 20)
    with fails(errno.EINVAL):
        vfio.map(0x1000, 100)
    # What was refused is not remembered: it would be in the way of the next.
    storage = mmap.mmap(-1, 1 << 20, mmap.MAP_PRIVATE)
    vfio.map(vaddr_of(storage), 1 << 20)


def maps_made_before_the_device_are_its_too(mount: Path) -> None:
    (mount / SCHID / "control").write_text("order=host")
    vfio = Vfio(mount)
    storage = mmap.mmap(-1, 1 << 20, mmap.MAP_PRIVATE)
    put_noop(storage)
    fcntl.ioctl(vfio.group, GROUP_SET_CONTAINER, struct.pack("i", vfio.container))
    vfio.map(vaddr_of(storage), 1 << 20)
    device = vfio.attach()
    event = os.eventfd(0)
    vfio.set_irq(0, event)
    start(device)
    assert comes(event)
    assert irb(device) == (0x4007, 0x0C, 0)


def a_device_that_another_has_is_busy(mount: Path) -> None:
    first = Vfio(mount)
    first.attach()
    first.set_irq(0, os.eventfd(0))
    # Another process, which loads the library as well.
    done = subprocess.run(
        [sys.executable, "-m", "tests.qemu.inside", "try_to_open", str(mount)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "in use by another client" in done.stderr


def try_to_open(mount: Path) -> None:
    with fails(errno.EBUSY):
        Vfio(mount).attach()


def requests_after_the_servers_end_are_errors_of_the_device(mount: Path) -> None:
    from tests.mounted import servers_of

    vfio, device, event, _storage = ready(mount, "order=host delay=30s")
    start(device)
    assert not comes(event, 0.1)
    [server] = servers_of(mount)
    os.kill(server, 9)
    # What was started ends now, with an IRB that is not the server's.
    assert comes(event)
    assert irb(device) == (0x4017, 0x0D, 0)
    assert not comes(event, 0.1)
    began = time.monotonic()
    for _ in range(100):
        start(device)
        assert comes(event)
        assert irb(device) == (0x4017, 0x0D, 0)
    assert time.monotonic() - began < 5
    cmd = next(r for r in table.regions_of(Interface.FULL) if r.name == "cmd_region")
    for command, ctrl in ((c.VFIO_CCW_ASYNC_CMD_HSCH, 0x2001), (c.VFIO_CCW_ASYNC_CMD_CSCH, 0x1001)):
        assert os.pwrite(device, struct.pack("=II", command, 0), cmd.offset) == 8
        assert comes(event)
        assert irb(device) == (ctrl, 0, 0)
    vfio.set_irq(0, -1)
    assert vfio.unmap(0, 1 << 20) == 1 << 20
    with fails(errno.ENOTCONN):
        vfio.close()  # says the kernel; the descriptor is closed all the same


if __name__ == "__main__":
    globals()[sys.argv[1]](Path(sys.argv[2]))
