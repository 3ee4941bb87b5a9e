"""Media whose file system sleeps, never answers or fails: nobody else waits, nothing old comes.

The image lies on a file system that holds requests until the test lets them go (`lab.slowfs`), so
that each test stops the world at the moment that its rule is about.
"""

from __future__ import annotations

import errno
import mmap
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.client import DATA, Client, Connection, address_of
from lab.mounts import (
    BLOCK,
    OTHER,
    SCHID,
    Mount,
    is_mounted,
    make_image,
    mount_at,
    mounted_at,
    vfioccw,
)
from lab.processes import files_of
from lab.programs import (
    ENDED,
    NOP,
    PENDING,
    PRIMARY,
    READ,
    READING,
    SLI,
    START,
    UC,
    WRITE,
    WRITING,
    Ccw,
    extent,
    locate,
    located,
)
from lab.slowfs import SlowFiles
from lab.waits import SOON, until
from tests.fuse.mount.endings import clear, ending

TWIN = "0.0.0315"
COUNT = 4
BLOCKS = 64
PARAMETERS = 0x2000
OLD, NEW = b"\xaa", b"\x55"
MARK = b"\xee" * (COUNT * BLOCK)


@pytest.fixture
def image(slow_image: Path) -> Path:
    """The image's own file, behind the file system that sleeps."""
    return slow_image


@pytest.fixture
def system(slow: SlowFiles, tmp_path: Path) -> Iterator[Mount]:
    """A disk on the slow file system, one elsewhere."""
    quick = make_image(tmp_path / "quick.img", BLOCKS)
    image = f"{slow.path}/slow.img"
    words = "--device", f"fba@{SCHID}:{image},shared", "--device", f"fba@{OTHER}:{quick}"
    with mounted_at(tmp_path / "mnt", *words) as made:
        yield made
        slow.release()


def moving(client: Client, operation: int, code: int, block: int = 0) -> tuple[Ccw, ...]:
    """The program that moves `COUNT` blocks from *block* on, from or to `DATA`."""
    client.store(PARAMETERS, extent(BLOCKS) + locate(operation, COUNT, block))
    return (*located(PARAMETERS), (code, 0, COUNT * BLOCK, DATA))


def read(client: Client, block: int = 0) -> None:
    client.store(DATA, MARK)
    assert client.start(*moving(client, READING, READ, block)) == 0


def write(client: Client, data: bytes, block: int = 0) -> None:
    client.store(DATA, data * (COUNT * BLOCK))
    assert client.start(*moving(client, WRITING, WRITE, block)) == 0


def ended(client: Client) -> None:
    irb = client.take()
    assert (irb.dstat, irb.cstat, irb.count) == (ENDED, 0, 0)



def is_at_work(client: Client) -> bool:
    """A start function is in progress, and no status is pending."""
    ctrl = int.from_bytes(client.schib()[28 + 2 : 28 + 4], "big")
    return bool(ctrl & START) and not ctrl & PENDING


# --- nobody waits for another ---------------------------------------------------------------------


def test_what_a_thread_reads_and_writes_is_what_the_image_has(
    slow: SlowFiles, disk: Client, image: Path
) -> None:
    assert disk.read_blocks(0, BLOCKS) == image.read_bytes()
    for block in (0, 7, BLOCKS - COUNT):
        data = os.urandom(COUNT * BLOCK)
        disk.write_blocks(block, data)
        assert image.read_bytes()[block * BLOCK :][: len(data)] == data
        assert disk.read_blocks(0, BLOCKS) == image.read_bytes()
    assert slow.seen("read") > 0
    assert slow.seen("write") > 0


def test_state_says_how_a_medium_is_reached(system: Mount, tmp_path: Path) -> None:
    state = system.state()
    assert (state["medium.reads"], state["medium.writes"]) == ("thread", "thread")


@pytest.mark.parametrize("kind", ["read", "write"])
def test_others_are_served_while_an_image_sleeps(
    slow: SlowFiles, system: Mount, disk: Client, other: Client, kind: str
) -> None:
    slow.hold(kind)
    read(disk) if kind == "read" else write(disk, OLD)
    slow.until_held(kind)
    for _ in range(20):
        assert other.run((NOP, SLI, 1, 0)).dstat == ENDED
    assert other.read_blocks(3, 2)
    assert system.state()["fsm"] == "CP_PENDING"
    assert is_at_work(disk)
    with Connection(system.path) as connection:
        assert connection.send({"do": "chp"})["ok"]
    slow.release(kind)
    ended(disk)


def test_devices_come_and_go_while_an_image_sleeps(
    slow: SlowFiles, system: Mount, disk: Client, tmp_path: Path
) -> None:
    slow.hold("read")
    read(disk)
    slow.until_held("read")
    third = make_image(tmp_path / "third.img", 8)
    assert vfioccw("add", system.path, f"fba@{TWIN}:{third}").returncode == 0
    with Client(system.path / TWIN) as client:
        assert client.read_blocks(0, 8) == third.read_bytes()
    assert vfioccw("remove", system.path / TWIN).returncode == 0
    slow.release("read")
    ended(disk)


# --- what halt, clear, RESET, an unmap and remove find --------------------------------------------


@ending
def test_a_read_that_was_ended_stores_nothing(
    slow: SlowFiles, disk: Client, end: Callable[[Client], None]
) -> None:
    slow.hold("read")
    read(disk)
    slow.until_held("read")
    end(disk)
    disk.store(DATA, MARK)
    slow.release("read")
    until(lambda: not slow.held("read"), "the old read is over")
    assert disk.run((NOP, SLI, 1, 0)).dstat == ENDED
    assert disk.load(DATA, len(MARK)) == MARK
    # And the disk is there again.
    read(disk, 8)
    ended(disk)
    assert disk.load(DATA, len(MARK)) != MARK


@ending
def test_a_write_that_was_ended_comes_before_the_next(
    slow: SlowFiles, disk: Client, image: Path, end: Callable[[Client], None]
) -> None:
    slow.hold("write")
    write(disk, OLD)
    slow.until_held("write")
    end(disk)
    # The same buffer, the same blocks; the medium is busy with what was.
    write(disk, NEW)
    assert not disk.wait(0.2)
    assert is_at_work(disk)
    assert slow.held("write") == 1
    slow.release("write")
    ended(disk)
    assert image.read_bytes()[: COUNT * BLOCK] == NEW * (COUNT * BLOCK)
    assert disk.load(DATA, COUNT * BLOCK) == NEW * (COUNT * BLOCK)


@ending
def test_a_read_behind_a_write_that_was_ended_waits_for_it(
    slow: SlowFiles, disk: Client, end: Callable[[Client], None]
) -> None:
    slow.hold("write")
    write(disk, OLD)
    slow.until_held("write")
    end(disk)
    read(disk)
    assert not disk.wait(0.2)
    slow.release("write")
    ended(disk)
    assert disk.load(DATA, COUNT * BLOCK) == OLD * (COUNT * BLOCK)


@ending
def test_who_waits_for_an_old_write_can_be_ended_too(
    slow: SlowFiles, disk: Client, other: Client, image: Path, end: Callable[[Client], None]
) -> None:
    before = image.read_bytes()
    slow.hold("write")
    write(disk, OLD)
    slow.until_held("write")
    for _ in range(12):
        end(disk)
        write(disk, NEW, 8)
        assert not disk.wait(0.01)
    end(disk)
    assert other.run((NOP, SLI, 1, 0)).dstat == ENDED
    slow.release("write")
    until(lambda: not slow.held("write"), "the old write is over")
    read(disk, 8)
    ended(disk)
    assert disk.load(DATA, COUNT * BLOCK) == before[8 * BLOCK :][: COUNT * BLOCK]


def test_an_old_write_holds_up_the_other_subchannel_of_its_image(
    slow: SlowFiles, system: Mount, disk: Client, image: Path
) -> None:
    words = f"fba@{TWIN}:{slow.path}/slow.img,shared"
    assert vfioccw("add", system.path, words).returncode == 0
    with Client(system.path / TWIN) as twin:
        slow.hold("write")
        write(disk, OLD)
        slow.until_held("write")
        clear(disk)
        write(twin, NEW)
        assert not twin.wait(0.2)
        slow.release("write")
        ended(twin)
    assert image.read_bytes()[: COUNT * BLOCK] == NEW * (COUNT * BLOCK)


def test_a_disk_that_was_removed_and_added_waits_for_its_old_write(
    slow: SlowFiles, system: Mount, disk: Client, image: Path
) -> None:
    slow.hold("write")
    write(disk, OLD)
    slow.until_held("write")
    assert vfioccw("remove", system.path / SCHID).returncode == 0
    until(lambda: not (system.path / SCHID).exists(), "it is gone")
    assert vfioccw("add", system.path, f"fba@{SCHID}:{slow.path}/slow.img").returncode == 0
    with Client(system.path / SCHID) as again:
        write(again, NEW)
        assert not again.wait(0.2)
        slow.release("write")
        ended(again)
    assert image.read_bytes()[: COUNT * BLOCK] == NEW * (COUNT * BLOCK)
    # The old descriptor lived until its job ended, and no longer.
    name = str(slow.path / "slow.img")
    until(lambda: files_of(system.pid).count(name) == 1, "only the new disk has the image open")


@pytest.mark.parametrize("whose", ["file", "process"])
def test_a_read_into_what_was_unmapped_stores_nothing(
    slow: SlowFiles, system: Mount, disk: Client, whose: str
) -> None:
    size = 1 << 20
    memory = os.memfd_create("guest")
    os.truncate(memory, size)
    own = mmap.mmap(memory, size)
    with Connection(system.path) as connection:
        if whose == "file":
            assert not connection.map_file(memory, size)
        else:
            address = address_of(own)
            assert not connection.map_own(address, size)
        own[PARAMETERS : PARAMETERS + 24] = extent(BLOCKS) + locate(READING, COUNT, 0)
        own[0x1000:0x1018] = _program((*located(PARAMETERS), (READ, 0, COUNT * BLOCK, DATA)))
        own[DATA : DATA + len(MARK)] = MARK
        slow.hold("read")
        assert disk.request(START) == 0
        slow.until_held("read")
        assert not connection.unmap(0, size)
        slow.release("read")
        until(lambda: not slow.held("read"), "the old read is over")
        assert own[DATA : DATA + len(MARK)] == MARK
        # The built-in storage is there again.
        read(disk)
        ended(disk)
        assert own[DATA : DATA + len(MARK)] == MARK
    own.close()
    os.close(memory)


def _program(ccws: tuple[Ccw, ...]) -> bytes:
    from lab.programs import ccws as packed

    return packed(*ccws)


# --- what never ends ------------------------------------------------------------------------------


def test_reads_that_never_end_take_the_threads_of_their_own_image_only(
    slow: SlowFiles, system: Mount, disk: Client, other: Client
) -> None:
    from vfioccw_fuse.devices.medium import MOST_JOBS

    slow.hold("read")
    for _ in range(MOST_JOBS + 4):
        read(disk)
        until(lambda: is_at_work(disk), "it reads")
        clear(disk)
        assert other.read_blocks(1, 1)
    until(lambda: slow.held("read") == MOST_JOBS, "all its threads wait")
    assert len(os.listdir(f"/proc/{system.pid}/task")) < 3 * MOST_JOBS
    slow.release("read")
    read(disk)
    ended(disk)


def test_umount_does_not_wait_for_an_image_that_never_answers(
    slow: SlowFiles, tmp_path: Path
) -> None:
    system = mount_at(tmp_path / "m", "--device", f"fba@{SCHID}:{slow.path}/slow.img")
    try:
        client = Client(system.path / SCHID)
        slow.hold("read", "write", "flush", "getattr", "fsync")
        read(client)
        slow.until_held("read")
        client.close()
        done = vfioccw("umount", system.path)
        assert (done.returncode, done.stderr) == (0, "")
        assert not is_mounted(system.path)
        slow.release()
        system.assert_nothing_is_left()
    finally:
        slow.release()
        system.give_up()


def test_a_client_that_is_killed_leaves_nothing_but_the_read(
    slow: SlowFiles, system: Mount, disk: Client, other: Client
) -> None:
    slow.hold("read")
    read(disk)
    slow.until_held("read")
    reader = ["dd", f"if={system.path / SCHID / 'io_irq'}", "of=/dev/null", "bs=8", "count=1"]
    waiting = subprocess.Popen(reader, stderr=subprocess.DEVNULL)
    waiting.kill()
    assert waiting.wait(SOON) != 0
    assert other.run((NOP, SLI, 1, 0)).dstat == ENDED
    slow.release("read")
    ended(disk)


# --- what fails -----------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.ETIMEDOUT])
@pytest.mark.parametrize("kind", ["read", "write"])
def test_a_medium_that_fails_is_an_equipment_check(
    slow: SlowFiles, disk: Client, image: Path, kind: str, number: int
) -> None:
    slow.fail(number, kind)
    read(disk) if kind == "read" else write(disk, OLD)
    irb = disk.take()
    assert irb.dstat == ENDED | UC
    assert irb.ctrl & PRIMARY
    disk.run((0x04, 0, 24, DATA))
    assert disk.load(DATA, 1) == b"\x10"
    slow.release(kind)
    assert disk.read_blocks(0, BLOCKS) == image.read_bytes()
