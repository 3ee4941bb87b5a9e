"""Tests that run in a process with the library loaded, as QEMU does: one function each.

`python -m tests.qemu.inside NAME MNT WAY` runs one; `test_preload.py` does that. WAY is how the
device is come by: "group" or "iommufd".
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import select
import shutil
import stat
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from lab import programs
from lab.programs import FORMAT1, IO_REGION, IRB_AT, NOP, PREFETCH, SLI, START, Irb
from vfioccw_fuse.regions import constants as c
from vfioccw_fuse.regions import table
from vfioccw_fuse.regions.state import parse_state
from vfioccw_fuse.regions.table import Interface

TYPE, BASE = 0x3B64, 100  # linux/vfio.h: VFIO_TYPE ';', VFIO_BASE
(
    GET_API_VERSION, CHECK_EXTENSION, SET_IOMMU, GROUP_GET_STATUS, GROUP_SET_CONTAINER,
    GROUP_UNSET_CONTAINER, GROUP_GET_DEVICE_FD, DEVICE_GET_INFO, DEVICE_GET_REGION_INFO,
    DEVICE_GET_IRQ_INFO, DEVICE_SET_IRQS, DEVICE_RESET, IOMMU_GET_INFO, MAP_DMA, UNMAP_DMA,
) = (TYPE - BASE + BASE + number for number in (*range(12), 12, 13, 14))  # fmt: skip
BIND_IOMMUFD, ATTACH_IOAS, DETACH_IOAS = (TYPE + number for number in (18, 19, 20))
# linux/iommufd.h: IOMMUFD_TYPE ';', IOMMUFD_CMD_BASE
IOMMU_DESTROY, IOAS_ALLOC, IOAS_IOVA_RANGES, IOAS_MAP, IOAS_UNMAP, IOAS_MAP_FILE = (
    0x3B80 + number for number in (0, 1, 4, 5, 6, 15)
)
FIXED, WRITEABLE, READABLE = 1, 2, 4
MOST = (1 << 64) - 1
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
    """What QEMU holds of a device, whichever way it came to it."""

    device: int

    def set_irq(self, index: int, fd: int) -> None:
        set_ = struct.pack("IIIIIi", 24, TRIGGER_EVENTFD, index, 0, 1, fd)
        fcntl.ioctl(self.device, DEVICE_SET_IRQS, set_)


class ByGroup(Vfio):
    """A container, a group in it, a device out of it."""

    PART = errno.EINVAL
    """What unmapping a part of a map gives."""

    def __init__(self, mount: Path, schid: str = SCHID, group: int = 0) -> None:
        self.mount = mount
        self.container = os.open("/dev/vfio/vfio", os.O_RDWR)
        self.group = os.open(f"/dev/vfio/{group}", os.O_RDWR)
        self.schid = schid
        self.put()

    def put(self) -> None:
        """Put the group into the container."""
        fcntl.ioctl(self.group, GROUP_SET_CONTAINER, struct.pack("i", self.container))
        fcntl.ioctl(self.container, SET_IOMMU, TYPE1V2)

    def attach(self) -> int:
        """Get the device's descriptor."""
        self.device = device_of(self.group, self.schid)
        return self.device

    def map(self, vaddr: int, size: int, iova: int = 0) -> None:
        fcntl.ioctl(self.container, MAP_DMA, struct.pack("IIQQQ", 32, 3, vaddr, iova, size))

    def unmap(self, iova: int, size: int) -> int:
        answer = fcntl.ioctl(self.container, UNMAP_DMA, struct.pack("IIQQ", 24, 0, iova, size))
        return int(struct.unpack("IIQQ", answer)[3])

    def close(self) -> None:
        for fd in (self.device, self.group, self.container):
            os.close(fd)


class Iommufd:
    """/dev/iommu."""

    def __init__(self) -> None:
        self.fd = os.open("/dev/iommu", os.O_RDWR)

    def alloc(self) -> int:
        """A new IOAS; its id."""
        return int(struct.unpack("III", self.call(IOAS_ALLOC, "III", 0, 0))[2])

    def destroy(self, number: int) -> None:
        self.call(IOMMU_DESTROY, "II", number)

    def map(
        self, ioas: int, vaddr: int, size: int, iova: int = 0, flags: int = FIXED | READABLE
    ) -> None:
        self.call(IOAS_MAP, "IIIIQQQ", flags | WRITEABLE, ioas, 0, vaddr, size, iova)

    def map_file(self, ioas: int, fd: int, start: int, size: int, iova: int = 0) -> None:
        self.call(IOAS_MAP_FILE, "IIIiQQQ", FIXED | WRITEABLE, ioas, fd, start, size, iova)

    def unmap(self, ioas: int, iova: int, size: int) -> int:
        """Remove the maps of a range; how many bytes they had."""
        return int(struct.unpack("IIQQ", self.call(IOAS_UNMAP, "IIQQ", ioas, iova, size))[3])

    def call(self, request: int, form: str, *words: int, size: int | None = None) -> bytes:
        """A call with a struct of *form*, whose first word is its size."""
        size = struct.calcsize(form) if size is None else size
        return fcntl.ioctl(self.fd, request, struct.pack(form, size, *words))


class Cdev:
    """A device's own character device."""

    def __init__(self, name: str = "vfio0") -> None:
        self.fd = os.open(f"/dev/vfio/devices/{name}", os.O_RDWR)

    def bind(self, iommufd: int, argsz: int = 16, flags: int = 0) -> int:
        """Bind it; its id."""
        asked = struct.pack("IIiI", argsz, flags, iommufd, 0)
        return int(struct.unpack("IIiI", fcntl.ioctl(self.fd, BIND_IOMMUFD, asked))[3])

    def attach(self, ioas: int, argsz: int = 12, flags: int = 0) -> None:
        fcntl.ioctl(self.fd, ATTACH_IOAS, struct.pack("III", argsz, flags, ioas))

    def detach(self, argsz: int = 8, flags: int = 0) -> None:
        fcntl.ioctl(self.fd, DETACH_IOAS, struct.pack("II", argsz, flags))


class ByIommufd(Vfio):
    """An iommufd with one IOAS, and a device that is bound to it."""

    PART = errno.ENOENT

    def __init__(self, mount: Path, schid: str = SCHID) -> None:
        self.iommufd = Iommufd()
        self.ioas = self.iommufd.alloc()
        [name] = os.listdir(mount / schid / "vfio-dev")
        self.cdev = Cdev(name)

    def attach(self) -> int:
        """Bind the device and attach it; gives its descriptor."""
        self.cdev.bind(self.iommufd.fd)
        self.cdev.attach(self.ioas)
        self.device = self.cdev.fd
        return self.device

    def map(self, vaddr: int, size: int, iova: int = 0) -> None:
        self.iommufd.map(self.ioas, vaddr, size, iova)

    def unmap(self, iova: int, size: int) -> int:
        return self.iommufd.unmap(self.ioas, iova, size)

    def close(self) -> None:
        for fd in (self.device, self.iommufd.fd):
            os.close(fd)


def vfio_of(mount: Path) -> ByGroup | ByIommufd:
    """The device, come by in this process's way."""
    return ByGroup(mount) if sys.argv[3] == "group" else ByIommufd(mount)


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
    container = os.open("/dev/vfio/vfio", os.O_RDWR)
    group = os.open("/dev/vfio/0", os.O_RDWR)
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
    # What is in use stays where it is.
    for request in (GROUP_SET_CONTAINER, GROUP_UNSET_CONTAINER):
        with fails(errno.EBUSY):
            fcntl.ioctl(group, request, struct.pack("i", container))
    for fd in (device, group, container):
        os.close(fd)
    vfio = ByGroup(mount)
    vfio.attach()
    assert vfio.unmap(0, 1 << 20) == 0


def infos_are_those_of_the_mount(mount: Path) -> None:
    device = vfio_of(mount).attach()
    interface = Interface.FULL
    known = table.device_info(interface)
    assert fcntl.ioctl(device, DEVICE_GET_INFO, struct.pack("I", 20) + bytes(16)) == known
    shortest = fcntl.ioctl(device, DEVICE_GET_INFO, struct.pack("I", 16) + bytes(16))
    assert shortest == struct.pack("I", 16) + known[4:16] + bytes(4)
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
    orb = programs.orb(cpa, FORMAT1 | PREFETCH, order="=")
    data = programs.request(START, orb, IO_REGION, order="=")
    assert os.pwrite(device, data, 0) == len(data)


def irb(device: int) -> tuple[int, int, int]:
    """Ctrl, device status, subchannel status."""
    irb = Irb.of(os.pread(device, IO_REGION, 0)[IRB_AT : IRB_AT + 96])
    return irb.ctrl, irb.dstat, irb.cstat


def comes(event: int, seconds: float = 5.0) -> bool:
    """Whether an eventfd is signalled soon; takes it."""
    if not select.select([event], [], [], seconds)[0]:
        return False
    os.eventfd_read(event)
    return True


def put_noop(storage: mmap.mmap) -> None:
    storage[0x1000:0x1008] = programs.ccw(NOP, SLI, 1, 0)


def vaddr_of(storage: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(storage))


def a_request_goes_through(mount: Path) -> None:
    (mount / SCHID / "control").write_text("order=host")
    vfio = vfio_of(mount)
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
        with fails(vfio.PART):
            vfio.unmap(0, 4096)
        # By halves of all there is, as QEMU does when it goes.
        assert vfio.unmap(0, 1 << 63) == 1 << 20
    vfio.map(vaddr_of(shared), 1 << 20)
    resets = state(mount)["resets"]
    fcntl.ioctl(device, DEVICE_RESET)
    assert int(state(mount)["resets"]) == int(resets) + 1
    vfio.set_irq(0, -1)
    assert state(mount)["io_irq.attached"] == "0"
    vfio.set_irq(0, event)
    assert state(mount)["io_irq.attached"] == "1"
    fcntl.ioctl(device, DEVICE_SET_IRQS, struct.pack("IIIII", 20, TRIGGER_NONE, 0, 0, 1))
    assert comes(event), "triggered by hand"
    assert state(mount)["io_irq.attached"] == "1"
    for bad in ((9, event), (0, 0)):
        with fails(errno.EINVAL):
            vfio.set_irq(*bad)
    vfio.close()


def state(mount: Path) -> dict[str, str]:
    return parse_state((mount / SCHID / "state").read_text())


def ready(mount: Path, controls: str) -> tuple[ByGroup | ByIommufd, int, int, mmap.mmap]:
    """A device, its eventfd, and the storage that it has, with a program in it."""
    (mount / SCHID / "control").write_text(controls)
    vfio = vfio_of(mount)
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
    # And as the C library does to run a program: a child that shares our memory.
    subprocess.run(["true"], close_fds=True, check=True)
    start(device)
    assert comes(event)
    assert irb(device) == (0x4007, 0x0C, 0)


def memory_that_is_not_there_cannot_be_mapped(mount: Path) -> None:
    vfio = vfio_of(mount)
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
    vfio = vfio_of(mount)
    storage = mmap.mmap(-1, 1 << 20, mmap.MAP_PRIVATE)
    put_noop(storage)
    vfio.map(vaddr_of(storage), 1 << 20)
    device = vfio.attach()
    event = os.eventfd(0)
    vfio.set_irq(0, event)
    start(device)
    assert comes(event)
    assert irb(device) == (0x4007, 0x0C, 0)


def a_device_that_another_has_is_busy(mount: Path) -> None:
    first = vfio_of(mount)
    first.attach()
    first.set_irq(0, os.eventfd(0))
    # Another process, which loads the library as well.
    done = subprocess.run(
        [sys.executable, "-m", "tests.qemu.inside", "try_to_open", str(mount), sys.argv[3]],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "in use by another client" in done.stderr


def try_to_open(mount: Path) -> None:
    with fails(errno.EBUSY):
        vfio_of(mount).attach()


def requests_after_the_servers_end_are_errors_of_the_device(mount: Path) -> None:
    from lab.mounts import servers_of

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
        assert os.pwrite(device, programs.command(command, 8), cmd.offset) == 8
        assert comes(event)
        assert irb(device) == (ctrl, 0, 0)
    vfio.set_irq(0, -1)
    assert vfio.unmap(0, 1 << 20) == 1 << 20
    vfio.close()


# --- iommufd and character device ---------------------------------------------------------------


def the_character_device_is_found_as_qemu_finds_it(mount: Path) -> None:
    for number, schid in enumerate((SCHID, "0.0.0314")):
        name = f"vfio{number}"
        os.chdir(mount)
        link = Path(tempfile.mkdtemp()) / "link"
        link.symlink_to(mount / schid)
        for directory in (mount / schid, Path(schid), link):
            assert os.listdir(directory / "vfio-dev") == [name]
            major, minor = map(int, (directory / "vfio-dev" / name / "dev").read_text().split(":"))
        shutil.rmtree(link.parent)
        node = f"/dev/vfio/devices/{name}"
        for path in (node, f"/dev/char/{major}:{minor}"):
            fd = os.open(path, os.O_RDWR)
            assert stat.S_ISCHR(os.fstat(fd).st_mode)
            assert os.fstat(fd).st_rdev == os.makedev(major, minor)
            os.close(fd)
            assert os.access(path, os.R_OK | os.W_OK)
            assert not os.access(path, os.X_OK)
    assert os.access("/dev/iommu", os.F_OK)
    assert not os.access("/dev/vfio/devices/vfio2", os.F_OK)
    # What is not ours is as it was.
    assert "device" in os.listdir(mount / SCHID)
    assert "self" in os.listdir("/proc")
    plain = os.open("/dev/null", os.O_RDWR)
    assert os.fstat(plain) == os.stat("/dev/null")
    for directory in (Path("/dev/vfio-dev"), mount / "vfio-dev", mount / "0.0.0999" / "vfio-dev"):
        with fails(errno.ENOENT):
            os.listdir(directory)
    for other in ("/dev/vfio/devices/vfio2", mount / SCHID / "vfio-dev" / "vfio1" / "dev"):
        with fails(errno.ENOENT):
            os.open(other, os.O_RDWR)


def an_iommufd_is_as_linux_has_it(mount: Path) -> None:
    iommufd, other = Iommufd(), Iommufd()
    with fails(errno.ENOTTY):
        fcntl.ioctl(iommufd.fd, 0x3BFF, bytes(64))
    with fails(errno.EINVAL):
        iommufd.call(IOAS_ALLOC, "III", 0, 0, size=8)
    with fails(errno.E2BIG):
        iommufd.call(IOAS_ALLOC, "IIII", 0, 0, 1)
    iommufd.call(IOAS_ALLOC, "IIII", 0, 0, 0)
    with fails(errno.EOPNOTSUPP):
        iommufd.call(IOAS_ALLOC, "III", 1, 0)
    assert [iommufd.alloc(), iommufd.alloc(), other.alloc()] == [2, 3, 1]
    iommufd.destroy(2)
    for number in (0, 2, 4, 1 << 31):
        with fails(errno.ENOENT):
            iommufd.destroy(number)
    assert iommufd.alloc() == 2
    # All addresses, by pages; how many ranges there are is said first.
    asked = ctypes.create_string_buffer(struct.pack("IIIIQQ", 32, 1, 0, 0, 0, 0), 32)
    # Of a call that fails fcntl gives no answer back (Python 3.14).
    assert LIBC.ioctl(iommufd.fd, ctypes.c_ulong(IOAS_IOVA_RANGES), asked) == -1
    assert ctypes.get_errno() == errno.EMSGSIZE
    assert struct.unpack("IIIIQQ", asked.raw) == (32, 1, 1, 0, 0, 4096)
    ranges = (ctypes.c_uint64 * 2)(7, 7)
    iommufd.call(IOAS_IOVA_RANGES, "IIIIQQ", 1, 1, 0, ctypes.addressof(ranges), 0)
    assert list(ranges) == [0, MOST]
    for number, reserved, reason in ((9, 0, errno.ENOENT), (1, 1, errno.EOPNOTSUPP)):
        with fails(reason):
            iommufd.call(IOAS_IOVA_RANGES, "IIIIQQ", number, 0, reserved, 0, 0)


def maps_of_an_ioas_are_as_linux_has_them(mount: Path) -> None:
    iommufd = Iommufd()
    one, two = iommufd.alloc(), iommufd.alloc()
    page, low = 4096, 1 << 20
    iommufd.map(one, low, 2 * page, 4 * page)
    for iova, size in ((4, 2), (5, 1), (3, 2), (0, 9)):
        with fails(errno.EEXIST):
            iommufd.map(one, low, size * page, iova * page)
    iommufd.map(one, low, page, 3 * page)
    iommufd.map(two, low, page, 4 * page)
    for ioas, size, iova, flags, reason in (
        (9, page, 0, FIXED, errno.ENOENT),
        (one, 0, 0, FIXED, errno.EINVAL),
        (one, 100, 0, FIXED, errno.EINVAL),
        (one, page, 100, FIXED, errno.EINVAL),
        (one, page, 0, FIXED | 8, errno.EOPNOTSUPP),
        (one, page, MOST, FIXED, errno.EOVERFLOW),
        (one, MOST, 0, FIXED, errno.EOVERFLOW),
        (one, 2 * page, MOST - page + 1, FIXED, errno.EOVERFLOW),
    ):
        with fails(reason):
            iommufd.map(ioas, low, size, iova, flags)
    with fails(errno.EINVAL):
        iommufd.call(IOAS_MAP, "IIIIQQQ", FIXED, one, 0, low, page, 0)
    for ioas, iova, size, reason in (
        (9, 0, page, errno.ENOENT),
        (one, 0, page, errno.ENOENT),
        (one, 4 * page, page, errno.ENOENT),  # a part of one
        (one, 0, 5 * page, errno.ENOENT),
        (one, 0, 0, errno.EINVAL),
        (one, page, MOST, errno.EOVERFLOW),
        (one, 2 * page, MOST - page, errno.EOVERFLOW),
    ):
        with fails(reason):
            iommufd.unmap(ioas, iova, size)
    assert iommufd.unmap(one, 0, 4 * page) == page
    assert iommufd.unmap(one, 0, MOST) == 2 * page
    assert iommufd.unmap(one, 0, MOST) == 0  # of everything nothing is enough
    assert iommufd.unmap(two, 4 * page, page) == page
    with fails(errno.EBADF):
        iommufd.map_file(one, 999, 0, page)


def a_device_is_bound_and_attached_as_linux_does_it(mount: Path) -> None:
    iommufd, cdev = Iommufd(), Cdev()
    ioas = iommufd.alloc()
    # Before it is bound it is nothing.
    for request in (DEVICE_GET_INFO, ATTACH_IOAS, DEVICE_RESET):
        with fails(errno.EINVAL):
            fcntl.ioctl(cdev.fd, request, struct.pack("IIIII", 20, 0, 0, 0, 0))
    with fails(errno.EINVAL):
        os.pwrite(cdev.fd, bytes(124), 0)
    with fails(errno.EINVAL):
        os.pread(cdev.fd, 124, 0)
    for fd, argsz, flags, reason in (
        (iommufd.fd, 12, 0, errno.EINVAL),
        (iommufd.fd, 16, 1, errno.EINVAL),
        (-1, 16, 0, errno.EINVAL),
        (999, 16, 0, errno.EBADF),
        (cdev.fd, 16, 0, errno.EBADFD),
    ):
        with fails(reason):
            cdev.bind(fd, argsz, flags)
    # A device goes one of the two ways.
    group = os.open("/dev/vfio/0", os.O_RDWR)
    with fails(errno.EBUSY):
        cdev.bind(iommufd.fd)
    os.close(group)
    number = cdev.bind(iommufd.fd)
    assert number == ioas + 1
    with fails(errno.EBUSY):
        os.open("/dev/vfio/0", os.O_RDWR)
    # Once, and by one descriptor.
    second = Cdev()
    for again in (cdev, second):
        with fails(errno.EINVAL):
            again.bind(iommufd.fd)
    os.close(second.fd)
    for pt, argsz, flags, reason in (
        (ioas, 8, 0, errno.EINVAL),
        (ioas, 12, 2, errno.EINVAL),
        (number, 12, 0, errno.ENOENT),
        (99, 12, 0, errno.ENOENT),
    ):
        with fails(reason):
            cdev.attach(pt, argsz, flags)
    cdev.detach()  # of nothing
    cdev.attach(ioas)
    cdev.attach(ioas)
    for used in (ioas, number):
        with fails(errno.EBUSY):
            iommufd.destroy(used)
    with fails(errno.EINVAL):
        cdev.detach(4)
    cdev.detach()
    iommufd.destroy(ioas)
    with fails(errno.ENOTTY):
        fcntl.ioctl(cdev.fd, TYPE + 60)
    # Closed and opened again it is as new; its id is free again.
    os.close(cdev.fd)
    assert Cdev().bind(iommufd.fd) == 1


def irb_of_a_start(device: int) -> tuple[int, int, int]:
    """Start the program at 0x1000 and wait for its end."""
    event = os.eventfd(0)
    fcntl.ioctl(device, DEVICE_SET_IRQS, struct.pack("IIIIIi", 24, TRIGGER_EVENTFD, 0, 0, 1, event))
    start(device)
    assert comes(event)
    os.close(event)
    return irb(device)


GOOD, PROGRAM_CHECK = (0x4007, 0x0C, 0), 0x20


def a_device_sees_the_maps_of_its_ioas_and_no_others(mount: Path) -> None:
    for schid in (SCHID, "0.0.0314"):
        (mount / schid / "control").write_text("order=host")
    iommufd = Iommufd()
    full, empty = iommufd.alloc(), iommufd.alloc()
    first, second = Cdev("vfio0"), Cdev("vfio1")
    for cdev, ioas in ((first, full), (second, empty)):
        cdev.bind(iommufd.fd)
        cdev.attach(ioas)
    memory = os.memfd_create("guest")
    os.truncate(memory, 2 << 20)
    put_noop(storage := mmap.mmap(memory, 2 << 20))
    iommufd.map(full, vaddr_of(storage), 1 << 20)
    assert irb_of_a_start(first.fd) == GOOD
    assert irb_of_a_start(second.fd)[2] == PROGRAM_CHECK
    # Another IOAS takes the place of the one before, with what it has; then both share it.
    second.attach(full)
    assert irb_of_a_start(second.fd) == GOOD
    iommufd.unmap(full, 0, 1 << 20)
    for cdev in (first, second):
        assert irb_of_a_start(cdev.fd)[2] == PROGRAM_CHECK
    # A file, by its descriptor, which may be closed then.
    own = os.dup(memory)
    iommufd.map_file(full, own, 0, 1 << 20)
    os.close(own)
    for cdev in (first, second):
        assert irb_of_a_start(cdev.fd) == GOOD
    # A file that the server cannot use, by where it is in our memory; and one that is not there.
    iommufd.unmap(full, 0, 1 << 20)
    read_only = os.open(f"/proc/self/fd/{memory}", os.O_RDONLY)
    os.close(memory)
    iommufd.map_file(full, read_only, 0, 1 << 20)
    for cdev in (first, second):
        assert irb_of_a_start(cdev.fd) == GOOD
    with fails(errno.EINVAL):
        iommufd.map_file(full, os.open("/dev/zero", os.O_RDWR), 0, 1 << 20, 1 << 20)
    second.detach()
    assert irb_of_a_start(second.fd)[2] == PROGRAM_CHECK
    second.attach(full)
    # A second iommufd has ids of its own; the first lives on while a device is bound to it.
    other = Iommufd()
    other.alloc()
    with fails(errno.ENOENT):
        other.destroy(empty)
    os.close(iommufd.fd)
    for cdev in (first, second):
        assert irb_of_a_start(cdev.fd) == GOOD
        os.close(cdev.fd)
    assert os.open("/dev/vfio/0", os.O_RDWR) > 0


if __name__ == "__main__":
    globals()[sys.argv[1]](Path(sys.argv[2]))
