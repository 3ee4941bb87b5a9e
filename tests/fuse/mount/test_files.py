"""The files of a mount: names, sizes, modes, bytes, and the errno of every wrong access."""

from __future__ import annotations

import errno
import mmap
import os
import stat
import struct
from functools import partial
from pathlib import Path

import pytest

from lab.client import Client, errno_of
from lab.mounts import SCHID, MountedSystem, make_image, mounted_at, vfioccw
from lab.waits import until
from vfioccw_fuse.regions.table import regions_of

REGIONS = regions_of("full")
SIZES = {row.name: row.size for row in REGIONS}
BY_LINUX = {"io_region": 124, "cmd_region": 8, "schib_region": 52, "crw_region": 8}
MODES = {
    "io_region": 0o600, "cmd_region": 0o600, "schib_region": 0o600, "crw_region": 0o400,
    "status_region": 0o400, "program_region": 0o600, "measurement_region": 0o400,
    "device": 0o600, "device_info": 0o400, "region_info": 0o400, "irq_info": 0o400,
    "io_irq": 0o600, "crw_irq": 0o600, "req_irq": 0o600, "reset": 0o200, "control": 0o600,
    "state": 0o400, "trace": 0o600,
}  # fmt: skip


def test_the_mount_shows_subchannels_and_the_socket(shared: MountedSystem) -> None:
    names = set(os.listdir(shared.path))
    assert {SCHID, "irqfd"} <= names
    assert stat.S_ISSOCK(os.stat(shared.path / "irqfd").st_mode)
    assert stat.S_IMODE(os.stat(shared.path).st_mode) == 0o700


def test_a_subchannel_has_exactly_the_files_of_the_contract(shared: MountedSystem) -> None:
    assert set(os.listdir(shared.subchannel)) == {*MODES, "memory"}


def test_what_debuggers_use_is_there_by_its_name_alone(shared: MountedSystem) -> None:
    assert "debug" not in os.listdir(shared.subchannel)
    assert stat.S_IMODE(os.stat(shared.subchannel / "debug").st_mode) == 0o600


@pytest.mark.parametrize("name", sorted(MODES))
def test_a_file_has_the_mode_of_its_access_and_is_its_owners(
    shared: MountedSystem, name: str
) -> None:
    found = os.stat(shared.subchannel / name)
    assert stat.S_ISREG(found.st_mode)
    assert stat.S_IMODE(found.st_mode) == MODES[name]
    assert (found.st_uid, found.st_gid) == (os.getuid(), os.getgid())


@pytest.mark.parametrize("name", sorted(SIZES))
def test_a_region_file_has_the_regions_size(shared: MountedSystem, name: str) -> None:
    assert os.stat(shared.subchannel / name).st_size == SIZES[name]


@pytest.mark.parametrize(("name", "size"), BY_LINUX.items())
def test_linuxs_regions_have_linuxs_sizes(shared: MountedSystem, name: str, size: int) -> None:
    assert os.stat(shared.subchannel / name).st_size == size


def test_device_is_as_long_as_all_regions(shared: MountedSystem) -> None:
    assert os.stat(shared.subchannel / "device").st_size == len(REGIONS) << 10


def test_device_info_is_the_struct_of_vfio(shared: MountedSystem) -> None:
    data = (shared.subchannel / "device_info").read_bytes()
    assert struct.unpack("=IIIII", data) == (20, 0x11, len(REGIONS), 3, 0)


def test_region_info_is_one_struct_after_the_other_with_its_capability(
    shared: MountedSystem,
) -> None:
    data = (shared.subchannel / "region_info").read_bytes()
    place = 0
    for index, row in enumerate(REGIONS):
        argsz, flags, number, cap, size, offset = struct.unpack_from("=IIIIQQ", data, place)
        assert (number, size, offset) == (index, row.size, index << 10)
        assert flags & 1
        assert bool(flags & 2) == row.writable
        assert not flags & 4, "no region can be mapped"
        assert argsz == (48 if index else 32)
        assert bool(flags & 8) == bool(index)
        if index:
            assert cap == 32
            kind = struct.unpack_from("=HHIII", data, place + cap)
            assert kind[:4] == (2, 1, 0, 2)
            assert kind[4] in ((index,) if index < 4 else (0x100, 0x101, 0x102))
        place += argsz
    assert place == len(data) == os.stat(shared.subchannel / "region_info").st_size


def test_irq_info_is_one_struct_after_the_other(shared: MountedSystem) -> None:
    data = (shared.subchannel / "irq_info").read_bytes()
    assert [struct.unpack_from("=IIII", data, 16 * n) for n in range(3)] == [
        (16, 1, n, 1) for n in range(3)
    ]
    assert len(data) == 48


# --- accesses beyond the end ----------------------------------------------------------------------


@pytest.mark.parametrize("row", [row for row in REGIONS if row.name != "crw_region"],
                         ids=lambda row: row.name)  # fmt: skip
def test_a_read_of_a_named_file_is_cut_at_the_end(shared: MountedSystem, row) -> None:
    fd = os.open(shared.subchannel / row.name, os.O_RDONLY)
    try:
        assert len(os.pread(fd, 10_000, 0)) == row.size
        assert len(os.pread(fd, 10_000, row.size - 1)) == 1
        for beyond in (row.size, row.size + 1, 1 << 20, 1 << 62):
            assert os.pread(fd, 10, beyond) == b""
        assert os.pread(fd, 0, 0) == b""
    finally:
        os.close(fd)


@pytest.mark.parametrize("name", ["io_region", "cmd_region", "schib_region", "program_region"])
def test_a_write_that_passes_the_end_is_einval_and_changes_nothing(
    shared: MountedSystem, name: str
) -> None:
    fd = os.open(shared.subchannel / name, os.O_RDWR)
    size = SIZES[name]
    try:
        before = os.pread(fd, size, 0)
        for offset, length in ((0, size + 1), (1, size), (size - 1, 2), (size, 1), (1 << 30, 4)):
            assert errno_of(partial(os.pwrite, fd, b"\xff" * length, offset)) == errno.EINVAL
        assert os.pread(fd, size, 0) == before
    finally:
        os.close(fd)


@pytest.mark.parametrize("row", REGIONS, ids=lambda row: row.name)
def test_through_device_an_access_that_passes_the_regions_end_is_einval(
    shared: MountedSystem, row
) -> None:
    fd = os.open(shared.subchannel / "device", os.O_RDWR)
    try:
        for offset, length in ((0, row.size + 1), (1, row.size), (row.size, 1), (1023, 1)):
            where = (row.index << 10) + offset
            assert errno_of(partial(os.pread, fd, length, where)) == errno.EINVAL
            assert errno_of(partial(os.pwrite, fd, bytes(length), where)) == errno.EINVAL
        where = row.index << 10
        assert len(os.pread(fd, row.size, where)) == row.size
        assert len(os.pread(fd, 1, where + row.size - 1)) == 1
    finally:
        os.close(fd)


def test_through_device_a_region_that_is_not_there_is_einval(shared: MountedSystem) -> None:
    fd = os.open(shared.subchannel / "device", os.O_RDWR)
    try:
        for index in (len(REGIONS), 100, 1 << 20):
            assert errno_of(partial(os.pread, fd, 1, index << 10)) == errno.EINVAL
            assert errno_of(partial(os.pwrite, fd, b"x", index << 10)) == errno.EINVAL
    finally:
        os.close(fd)


@pytest.mark.parametrize("row", [row for row in REGIONS if not row.writable],
                         ids=lambda row: row.name)  # fmt: skip
def test_a_write_to_a_read_only_region_is_einval_and_its_file_cannot_be_opened_by_others(
    shared: MountedSystem, row
) -> None:
    device = os.open(shared.subchannel / "device", os.O_RDWR)
    try:
        assert errno_of(lambda: os.pwrite(device, b"x", row.index << 10)) == errno.EINVAL
    finally:
        os.close(device)
    try:
        fd = os.open(shared.subchannel / row.name, os.O_WRONLY)
    except PermissionError:
        return  # not root: the mode says so already
    assert errno_of(lambda: os.pwrite(fd, b"x", 0)) == errno.EINVAL
    os.close(fd)


def what_is_set(client: Client) -> list[str]:
    """The words in `control`, without the reason of a refusal."""
    lines = (client.directory / "control").read_text().splitlines()
    return [line for line in lines if not line.startswith("#")]



@pytest.mark.parametrize(
    ("name", "data", "offset"),
    [("io_region", bytes(125), 0), ("io_region", b"\0", 124), ("cmd_region", bytes(4), 0),
     ("cmd_region", b"\0", 7), ("cmd_region", b"\xff" * 4, 0), ("schib_region", bytes(51), 0),
     ("schib_region", b"\0", 0),
     ("reset", b"2", 0), ("control", b"nonsense", 0), ("control", b"delay=x", 0),
     ("control", b"fault=none delay=-1", 0), ("control", b"\xff\xfe", 0),
     ("control", b"fault=hang count=" + b"0" * 5000 + b"1", 0),
     ("control", b"delay=1s address-limit=" + b"9" * 5000, 0)],
)  # fmt: skip
def test_a_malformed_write_is_einval_and_the_next_good_request_works(
    client: Client, name: str, data: bytes, offset: int
) -> None:
    before = client.schib(), what_is_set(client)
    fd = os.open(client.directory / name, os.O_WRONLY)
    try:
        assert errno_of(lambda: os.pwrite(fd, data, offset)) == errno.EINVAL
    finally:
        os.close(fd)
    assert (client.schib(), what_is_set(client)) == before
    assert client.run((0xE4, 0, 7, 0x10000)).dstat == 0x0C


@pytest.mark.parametrize("name", sorted(MODES))
def test_truncation_is_accepted_and_ignored(shared: MountedSystem, name: str) -> None:
    path = shared.subchannel / name
    size = os.stat(path).st_size
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_TRUNC))
        os.truncate(path, 0)
        os.truncate(path, 100_000)
    except PermissionError:
        assert os.geteuid(), "root may"
        assert not MODES[name] & 0o200
    assert os.stat(path).st_size == size


@pytest.mark.parametrize("name", [*sorted(SIZES), "device"])
def test_no_region_can_be_mapped(shared: MountedSystem, name: str) -> None:
    fd = os.open(shared.subchannel / name, os.O_RDONLY)
    try:
        size = os.stat(fd).st_size
        assert errno_of(lambda: mmap.mmap(fd, size, mmap.MAP_SHARED, mmap.PROT_READ)) in (
            errno.ENODEV,
            errno.EINVAL,
        )
    finally:
        os.close(fd)


def test_names_cannot_be_made_removed_or_renamed(shared: MountedSystem) -> None:
    new = shared.subchannel / "new"
    refused = {errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EROFS, errno.EOPNOTSUPP}
    for call in (
        lambda: os.open(new, os.O_CREAT | os.O_WRONLY, 0o600),
        lambda: os.mkdir(new),
        lambda: os.unlink(shared.subchannel / "io_region"),
        lambda: os.rename(shared.subchannel / "io_region", new),
        lambda: os.symlink("x", new),
        lambda: os.link(shared.subchannel / "io_region", new),
        lambda: os.chmod(shared.subchannel / "io_region", 0o666),
    ):
        assert errno_of(call) in refused
    assert not new.exists()
    assert stat.S_IMODE(os.stat(shared.subchannel / "io_region").st_mode) == 0o600


def test_a_name_that_is_not_there_is_enoent(shared: MountedSystem) -> None:
    for path in (shared.path / "0.0.9999", shared.subchannel / "nothing"):
        assert errno_of(partial(os.stat, path)) == errno.ENOENT


def test_the_mount_table_names_it_vfioccw(shared: MountedSystem) -> None:
    [line] = [
        line for line in Path("/proc/self/mounts").read_text().splitlines()
        if f" {shared.path} " in line
    ]  # fmt: skip
    assert line.split()[0] == "vfioccw"
    assert line.split()[2] == "fuse.vfioccw"


def test_every_access_of_any_size_and_place_leaves_the_mount_working(client: Client) -> None:
    fds = [os.open(client.directory / n, os.O_RDWR) for n in ("device", "io_region", "cmd_region")]
    for fd in fds:
        for offset in (0, 1, 12, 13, 24, 119, 123, 124, 1024, 1028, 2048, 4095, 1 << 40):
            for size in (0, 1, 3, 4, 8, 12, 96, 124, 125, 4096, 70_000):
                errno_of(partial(os.pread, fd, size, offset))
                errno_of(partial(os.pwrite, fd, bytes(size), offset))
        os.close(fd)
    while client.wait(0.05):
        client.irb()
    assert client.run((0xE4, 0, 7, 0x10000)).dstat == 0x0C


def test_a_trace_has_64_openers_at_most(shared: MountedSystem) -> None:
    path = shared.subchannel / "trace"
    opened = [os.open(path, os.O_RDONLY) for _ in range(64)]
    assert errno_of(lambda: os.open(path, os.O_RDONLY)) == errno.EBUSY
    os.close(opened.pop())
    # The kernel tells of a close after it has returned.
    until(lambda: not errno_of(lambda: opened.append(os.open(path, os.O_RDONLY))), "room for one")
    for fd in opened:
        os.close(fd)


def test_a_listing_that_is_read_in_pieces_has_what_was_there_and_still_is(tmp_path: Path) -> None:
    """It is longer than the 32 KiB that the C library reads ahead."""
    many = [f"0.0.{number:04x}" for number in range(1500)]
    (tmp_path / "images").mkdir()
    words = []
    for schid in many:
        make_image(tmp_path / "images" / schid)
        words += ["--device", f"fba@{schid}:{tmp_path}/images/{schid}"]
    with mounted_at(tmp_path / "mnt", *words) as system:
        with os.scandir(system.path) as entries:
            seen = [next(entries).name]
            assert vfioccw("remove", system.path / many[-1]).returncode == 0
            new = f"fba@0.0.1000:{tmp_path}/images/{many[-1]}"
            assert vfioccw("add", system.path, new).returncode == 0
            seen += [entry.name for entry in entries]
        assert sorted(seen) == sorted(["irqfd", *many[:-1]])
        assert sorted(os.listdir(system.path)) == sorted(["irqfd", *many[:-1], "0.0.1000"])
        with os.scandir(system.path / many[0]) as entries:
            assert {"io_region", "memory", "state"} <= {entry.name for entry in entries}


def test_a_file_that_is_looked_for_after_the_removal_lets_nobody_wait(mnt: MountedSystem) -> None:
    directory = os.open(mnt.subchannel, os.O_RDONLY | os.O_DIRECTORY)
    held = os.open("state", os.O_RDONLY, dir_fd=directory)
    try:
        assert vfioccw("remove", mnt.subchannel).returncode == 0
        late = os.open("io_irq", os.O_RDWR | os.O_NONBLOCK, dir_fd=directory)
        try:
            assert errno_of(partial(os.read, late, 8)) == errno.ENODEV
        finally:
            os.close(late)
    finally:
        os.close(held)
        os.close(directory)
