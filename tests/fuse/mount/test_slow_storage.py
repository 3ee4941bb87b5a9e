"""Guest storage on a disk that sleeps or fails: its pages come by a thread, and nobody else waits.

A client maps a file of an ext4 whose disk is a loop device on the file system that holds requests
(`lab.slowfs`). The page cache is dropped first, so that each page has to be read from that disk.
"""

from __future__ import annotations

import errno
import mmap
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.client import DATA, PARAMETERS, PROGRAM, Client, Connection, address_of
from lab.mounts import BLOCK, OTHER, SCHID, Mount, make_image, mounted_at
from lab.processes import files_of
from lab.programs import (
    BITS,
    ENDED,
    FORMAT1,
    IDA,
    NOP,
    PREFETCH,
    READ,
    READING,
    SLI,
    START,
    WRITE,
    WRITING,
    Ccw,
    ccws,
    extent,
    locate,
    located,
    orb,
    request,
)
from lab.slowfs import SlowFiles
from lab.waits import until
from vfioccw_fuse.memory.paging import MOST_JOBS, PAGE

BLOCKS = 64
COUNT = 16
"""Blocks that a program moves: two pages."""
LENGTH = COUNT * BLOCK
STORAGE = 1 << 20
DISK = 16 << 20
FAR = 0x80000
"""Data that is in no page of a program."""
PREFETCHED = FORMAT1 | PREFETCH
BLANK = b"\xee" * LENGTH


class Ram:
    """A file of the ext4, as a guest has it for its storage."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT)
        self.store(0, bytes(STORAGE))

    def store(self, address: int, data: bytes) -> None:
        assert os.pwrite(self.fd, data, address) == len(data)

    def load(self, address: int, length: int) -> bytes:
        return os.pread(self.fd, length, address)

    def forget(self) -> None:
        """Have it on the disk alone."""
        os.fsync(self.fd)
        os.posix_fadvise(self.fd, 0, STORAGE, os.POSIX_FADV_DONTNEED)


@pytest.fixture
def slow_image(tmp_path: Path) -> Path:
    """The disk."""
    (tmp_path / "files").mkdir()
    image = tmp_path / "files" / "disk"
    with image.open("wb") as file:
        file.truncate(DISK)
    subprocess.run(["mkfs.ext4", "-q", "-O", "^has_journal", image], check=True)
    return image


@pytest.fixture
def ram(slow: SlowFiles, tmp_path: Path) -> Iterator[Ram]:
    """Guest storage on it."""
    point = tmp_path / "ext4"
    point.mkdir()
    loop = subprocess.run(
        ["losetup", "--find", "--show", slow.path / "disk"],
        check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    try:
        subprocess.run(["mount", "-t", "ext4", loop, point], check=True)
        try:
            ram = Ram(point / "ram")
            yield ram
            slow.release()
            os.close(ram.fd)
        finally:
            slow.release()
            # Its last user may be a server that has yet to end.
            subprocess.run(["umount", "-l", point], check=True)
    finally:
        subprocess.run(["losetup", "--detach", loop], check=True)


@pytest.fixture
def system(ram: Ram, tmp_path: Path) -> Iterator[Mount]:
    """Two disks on a file system that does not sleep."""
    words = []
    for schid in (SCHID, OTHER):
        words += ["--device", f"fba@{schid}:{make_image(tmp_path / f'{schid}.img', BLOCKS)}"]
    with mounted_at(tmp_path / "mnt", *words) as made:
        yield made


@pytest.fixture
def guest(system: Mount, ram: Ram) -> Iterator[Connection]:
    """Who has mapped it for the first disk."""
    with Connection(system.path) as connection:
        assert connection.map_file(os.dup(ram.fd), STORAGE) == ""
        yield connection


@pytest.fixture
def disk(system: Mount, guest: Connection) -> Iterator[Client]:
    with Client(system.path / SCHID) as client:
        yield client


@pytest.fixture
def other(system: Mount) -> Iterator[Client]:
    with Client(system.path / OTHER) as client:
        yield client


def prepare(ram: Ram, *program: Ccw, operation: int = READING) -> None:
    """Put a program into storage, and its parameters, that the page cache has."""
    ram.store(PARAMETERS, extent(BLOCKS) + locate(operation, COUNT, 0))
    ram.store(PROGRAM, ccws(*program))


def reading(ram: Ram, slow: SlowFiles) -> tuple[Ccw, ...]:
    """The program that reads into storage; the data's pages are on the disk alone."""
    program = (*located(PARAMETERS), (READ, 0, LENGTH, FAR))
    ram.store(FAR, BLANK)
    prepare(ram, *program)
    fetched_but_data(ram, slow)
    return program


def writing(ram: Ram, slow: SlowFiles, data: bytes) -> None:
    """The same for one that writes."""
    ram.store(FAR, data)
    prepare(ram, *located(PARAMETERS), (WRITE, 0, LENGTH, FAR), operation=WRITING)
    fetched_but_data(ram, slow)


def fetched_but_data(ram: Ram, slow: SlowFiles) -> None:
    """Only the pages of the program and its parameters are in the page cache; the disk holds."""
    ram.forget()
    os.posix_fadvise(ram.fd, 0, 0, os.POSIX_FADV_RANDOM)
    ram.load(PROGRAM, 8)
    ram.load(PARAMETERS, 8)
    slow.hold("read")


def others_are_served(other: Client) -> None:
    for _ in range(20):
        assert other.run((NOP, SLI, 1, 0)).dstat == ENDED


def test_what_goes_through_such_storage_is_right(
    ram: Ram, slow: SlowFiles, disk: Client, tmp_path: Path
) -> None:
    image = tmp_path / f"{SCHID}.img"
    reading(ram, slow)
    slow.release("read")
    assert disk.request(START) == 0
    assert disk.take().dstat == ENDED
    assert ram.load(FAR, LENGTH) == image.read_bytes()[:LENGTH]
    data = os.urandom(LENGTH)
    writing(ram, slow, data)
    slow.release("read")
    assert disk.request(START) == 0
    assert disk.take().dstat == ENDED
    assert image.read_bytes()[:LENGTH] == data


@pytest.mark.parametrize("what", [reading, writing])
def test_others_are_served_while_data_comes_from_a_disk(
    ram: Ram, slow: SlowFiles, disk: Client, other: Client, tmp_path: Path, what: object
) -> None:
    data = os.urandom(LENGTH)
    reading(ram, slow) if what is reading else writing(ram, slow, data)
    assert disk.request(START) == 0
    slow.until_held("read")
    others_are_served(other)
    assert not disk.wait(0)
    slow.release("read")
    irb = disk.take()
    assert (irb.dstat, irb.cstat, irb.count) == (ENDED, 0, 0)
    image = (tmp_path / f"{SCHID}.img").read_bytes()[:LENGTH]
    assert (ram.load(FAR, LENGTH) if what is reading else data) == image


@pytest.mark.parametrize("how", ["hsch", "csch", "reset", "unmap"])
def test_a_program_that_waits_for_its_storage_is_ended_at_once_and_stores_nothing(
    ram: Ram, slow: SlowFiles, system: Mount, guest: Connection, disk: Client, how: str
) -> None:
    reading(ram, slow)
    assert disk.request(START) == 0
    slow.until_held("read")
    if how == "reset":
        (disk.directory / "reset").write_text("1")
    elif how == "unmap":
        assert guest.unmap(0, STORAGE) == ""
    else:
        assert disk.command(BITS[how]) == 0
        disk.take()
    assert system.state()["fsm"] == "IDLE"
    slow.release("read")
    until(lambda: not slow.held("read"), "the thread has read")
    assert disk.request(0) == 0
    assert ram.load(FAR, LENGTH) == BLANK


def test_programs_that_are_ended_leave_a_bounded_number_of_threads(
    ram: Ram, slow: SlowFiles, system: Mount, disk: Client, other: Client
) -> None:
    reading(ram, slow)
    for page in range(MOST_JOBS + 4):
        ram.store(PROGRAM, ccws(*located(PARAMETERS), (READ, 0, LENGTH, FAR + 2 * page * PAGE)))
        assert disk.request(START) == 0
        assert disk.command(BITS["csch"]) == 0
        disk.take()
    assert len(os.listdir(f"/proc/{system.pid}/task")) < 2 * MOST_JOBS
    others_are_served(other)
    slow.release("read")
    assert disk.request(START) == 0
    assert disk.take().dstat == ENDED


def test_the_descriptor_of_a_map_lives_until_its_thread_has_ended(
    ram: Ram, slow: SlowFiles, system: Mount, guest: Connection, disk: Client
) -> None:
    reading(ram, slow)
    assert disk.request(START) == 0
    slow.until_held("read")
    assert guest.unmap(0, STORAGE) == ""
    assert str(ram.path) in files_of(system.pid)
    slow.release("read")
    until(lambda: str(ram.path) not in files_of(system.pid), "it is closed")


def test_a_program_that_is_not_prefetched_waits_for_its_ccws_itself(
    ram: Ram, slow: SlowFiles, disk: Client, other: Client
) -> None:
    prepare(ram, (NOP, SLI, 1, 0))
    ram.forget()
    slow.hold("read")
    assert disk.request(START) == 0
    slow.until_held("read")
    others_are_served(other)
    assert not disk.wait(0)
    slow.release("read")
    assert disk.take().dstat == ENDED


def test_a_request_waits_for_its_program_and_nobody_else_does(
    ram: Ram, slow: SlowFiles, disk: Client, other: Client
) -> None:
    prepare(ram, (NOP, SLI, 1, 0))
    ram.forget()
    slow.hold("read")
    answers: list[int] = []
    asking = threading.Thread(target=lambda: answers.append(disk.request(START, PREFETCHED)))
    asking.start()
    slow.until_held("read")
    others_are_served(other)
    assert not answers
    slow.release("read")
    asking.join()
    assert answers == [0]
    assert disk.take().dstat == ENDED


def test_a_request_that_waits_for_its_program_can_be_killed(
    ram: Ram, slow: SlowFiles, system: Mount, disk: Client, other: Client
) -> None:
    prepare(ram, (NOP, SLI, 1, 0))
    ram.forget()
    slow.hold("read")
    writer = subprocess.Popen(
        [sys.executable, "-c",
         "import os, sys; os.write(os.open(sys.argv[1], os.O_WRONLY), bytes.fromhex(sys.argv[2]))",
         disk.directory / "io_region", request(START, orb(PROGRAM, PREFETCHED)).hex()],
    )  # fmt: skip
    slow.until_held("read")
    writer.send_signal(signal.SIGKILL)
    assert writer.wait() == -signal.SIGKILL
    assert system.state()["fsm"] == "IDLE"
    assert system.state()["starts"] == "0"
    slow.release("read")
    others_are_served(other)
    assert disk.request(START, PREFETCHED) == 0
    assert disk.take().dstat == ENDED


def test_a_list_of_addresses_is_waited_for_as_the_program_is(
    ram: Ram, slow: SlowFiles, disk: Client
) -> None:
    blocks = b"".join((FAR + at).to_bytes(4, "big") for at in range(0, LENGTH, 2048))
    ram.store(DATA, blocks)
    ram.store(FAR, BLANK)
    prepare(ram, *located(PARAMETERS), (READ, IDA, LENGTH, DATA))
    ram.forget()
    slow.sleep(0.01, "read")
    assert disk.request(START, PREFETCHED) == 0
    assert disk.take().dstat == ENDED
    assert ram.load(FAR, LENGTH) != BLANK


def test_storage_that_cannot_be_read_is_an_error_of_the_one_who_needs_it(
    ram: Ram, slow: SlowFiles, disk: Client, other: Client
) -> None:
    reading(ram, slow)
    slow.fail(errno.EIO, "read")
    assert disk.request(START, PREFETCHED) == 0
    irb = disk.take()
    assert irb.cstat == 0x08, "channel data check"
    prepare(ram, (NOP, SLI, 1, 0))
    ram.forget()
    assert disk.request(START, PREFETCHED) == errno.EFAULT
    others_are_served(other)
    slow.release("read")
    assert disk.request(START, PREFETCHED) == 0
    assert disk.take().dstat == ENDED


def test_what_a_process_has_mapped_of_a_disk_is_waited_for_as_well(
    ram: Ram, slow: SlowFiles, system: Mount, other: Client
) -> None:
    program = reading(ram, slow)
    slow.release("read")
    own = mmap.mmap(ram.fd, STORAGE)
    own.madvise(mmap.MADV_RANDOM)
    with Connection(system.path) as connection, Client(system.path / SCHID) as disk:
        address = address_of(own)
        assert connection.map_own(address, STORAGE) == ""
        prepare(ram, *program)
        fetched_but_data(ram, slow)
        assert disk.request(START, PREFETCHED) == 0
        slow.until_held("read")
        others_are_served(other)
        slow.release("read")
        assert disk.take().dstat == ENDED
    assert own[FAR : FAR + LENGTH] != BLANK
    own.close()
