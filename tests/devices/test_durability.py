"""From the page cache to stable storage: what is begun by itself, and how a file ends."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from lab.slowfs import SlowFiles, slow_files
from lab.waits import until
from tests.devices.test_medium import finished
from vfioccw_fuse.devices import durability
from vfioccw_fuse.devices.catalog import attach
from vfioccw_fuse.devices.medium import Medium
from vfioccw_fuse.devices.options import SYNC, DeviceSpec, Sync

FIRST = "image"
SIZE = 8192


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "files").mkdir()
    for name in (FIRST, "other"):
        (tmp_path / "files" / name).write_bytes(bytes(SIZE))
    return tmp_path / "files"


@pytest.fixture
def slow(tmp_path: Path, files: Path) -> Iterator[SlowFiles]:
    """A file system that loses what was not synced."""
    with slow_files(tmp_path / "slow", files, volatile=True) as made:
        yield made
        made.release()
        durability.wait_for_all()
    durability.failures.clear()


def opened(slow: SlowFiles, name: str = FIRST) -> Medium:
    return Medium.open(str(slow.path / name), os.O_RDWR)


def at_work() -> list[str]:
    """Threads that bring something to stable storage."""
    return [t.name for t in threading.enumerate() if t.name in ("write-back", "end of files")]


def test_what_was_written_is_on_its_way_soon_and_then_all_is_at_rest(slow: SlowFiles) -> None:
    medium = opened(slow)
    medium.write(b"new", 100)
    # By itself the kernel would begin after half a minute.
    until(lambda: slow.seen("write"), "it is written out", 20)
    until(lambda: not at_work(), "nothing is left to do")
    assert slow.seen("fsync") == 0
    medium.write(b"more", 5000)
    until(lambda: slow.seen("write") > 1, "it is written out again", 20)
    medium.close()
    durability.wait_for_all()


@pytest.mark.parametrize("sync", [Sync.NEVER, Sync.ALWAYS])
def test_only_with_end_is_it_begun_by_itself(slow: SlowFiles, sync: Sync) -> None:
    until(lambda: not at_work(), "what tests before have written is on its way")
    medium = opened(slow)
    medium.keep(sync)
    medium.write(b"new", 100)
    assert not at_work()
    assert medium.unsynced is (sync is Sync.ALWAYS)
    medium.close()


def test_a_closed_file_is_on_stable_storage_when_its_end_is_over(
    slow: SlowFiles, files: Path
) -> None:
    medium = opened(slow)
    medium.write(b"new", 100)
    slow.hold("fsync")
    medium.close()
    slow.until_held("fsync")
    assert durability.going() == [medium.path]
    assert (files / FIRST).read_bytes() == bytes(SIZE)
    slow.release()
    durability.wait_for_all()
    assert (files / FIRST).read_bytes()[100:103] == b"new"
    assert not durability.failures


def test_a_file_that_was_not_written_just_ends(slow: SlowFiles) -> None:
    medium = opened(slow)
    medium.read(10, 0)
    medium.close()
    assert medium.ending is None


def test_what_fails_is_a_line_in_the_log_once(
    slow: SlowFiles, caplog: pytest.LogCaptureFixture
) -> None:
    medium = opened(slow)
    slow.fail(errno.EIO, "fsync")
    for _ in range(2):
        medium.write(b"new", 100)
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            medium.secure()
    medium.write(b"new", 100)
    medium.close()
    durability.wait_for_all()
    [said] = caplog.messages
    assert said.startswith(f"{medium.path}: what was written may not be on stable storage")
    assert durability.failures == {medium.path: os.strerror(errno.EIO)}


def test_what_does_not_end_is_not_waited_for_longer(slow: SlowFiles) -> None:
    medium, other = opened(slow), opened(slow, "other")
    medium.write(b"new", 100)
    slow.hold("fsync")
    medium.close()
    slow.until_held("fsync")
    durability.wait_for_all(0.1)
    assert durability.failures == {medium.path: "no answer for 0.1 s"}
    other.close()


async def test_what_is_written_while_it_is_synced_is_synced_again(
    slow: SlowFiles, files: Path
) -> None:
    medium = opened(slow)
    await finished(partial(medium.write, b"one", 100))
    slow.hold("fsync")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(finished, medium.secure)
        await trio.to_thread.run_sync(slow.until_held, "fsync")
        assert not medium.unsynced
        medium._note()  # the kernel holds a write to a file that is being synced
        for _ in range(3):
            nursery.start_soon(medium.secured)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert slow.held("fsync") == 1
        slow.release()
    assert slow.seen("fsync") == 2
    assert not medium.unsynced
    medium.close()


async def test_all_who_wait_for_a_sync_that_fails_are_told(slow: SlowFiles) -> None:
    medium = opened(slow)
    await finished(partial(medium.write, b"one", 100))
    slow.hold("fsync")
    told: list[int] = []

    async def secure(wait: Callable[[], Awaitable[object]]) -> None:
        try:
            await wait()
        except OSError as error:
            told.append(error.errno or 0)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(secure, partial(finished, medium.secure))
        await trio.to_thread.run_sync(slow.until_held, "fsync")
        for _ in range(2):
            nursery.start_soon(secure, partial(finished, medium.secure))
            nursery.start_soon(secure, medium.secured)
        await trio.testing.wait_all_tasks_blocked(0.05)
        slow.fail(errno.EIO, "fsync")
    assert told == [errno.EIO] * 5
    assert slow.seen("fsync") == 1
    medium.close()


async def test_an_end_does_not_wait_for_a_job_that_never_ends(slow: SlowFiles) -> None:
    medium = opened(slow)
    await finished(partial(medium.write, b"one", 100))
    slow.hold("read")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(finished, partial(medium.read, 10, 4096))
        await trio.to_thread.run_sync(slow.until_held, "read")
        medium.close()
        assert medium.ending is not None
        with trio.fail_after(60):
            await medium.ending.wait()
        assert slow.seen("fsync") == 1
        slow.release()


def test_a_file_in_memory_is_never_synced(tmp_path: Path) -> None:
    fd = os.memfd_create("image")
    medium = Medium("image", fd, in_memory=True)
    medium.write(b"abc", 0)
    medium.truncate(2)
    assert not medium.unsynced
    medium.close()
    assert medium.ending is None


@pytest.mark.parametrize("sync", Sync)
@pytest.mark.parametrize("kind", ["3420", "3525", "1403"])
def test_sync_is_an_option_of_every_type_that_writes(kind: str, sync: Sync, tmp_path: Path) -> None:
    path = tmp_path / "medium"
    path.touch()
    device = attach(DeviceSpec(kind, "0.0.0313", str(path), {SYNC.word: sync}))
    assert [medium.sync for medium in device.media] == [sync]
    assert device.secures is (sync is Sync.ALWAYS)
    device.close()
