"""The file behind a device: whatever way it is reached, it reads what was written."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.slowfs import slow_files
from vfioccw_fuse.devices.medium import Access, Medium
from vfioccw_fuse.errors import UserError
from vfioccw_fuse.strand import Parked, Strands

T = TypeVar("T")

SIZE = 4096


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "image"
    path.write_bytes(bytes(SIZE))
    return path


@pytest.fixture(params=["inline", "disk", "thread"])
def medium(request: pytest.FixtureRequest, path: Path) -> Iterator[Medium]:
    fd = os.open(path, os.O_RDWR)
    made = Medium(
        str(path), fd, on_disk=request.param == "disk", in_memory=request.param == "inline"
    )
    yield made
    made.close()


steps = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, SIZE + 50), st.binary(min_size=1, max_size=90)),
        st.tuples(st.just("read"), st.integers(0, SIZE + 50), st.integers(1, 300)),
        st.tuples(st.just("into"), st.integers(0, SIZE + 50), st.integers(1, 300)),
        st.tuples(st.just("cut"), st.integers(0, SIZE), st.just(0)),
        st.tuples(st.just("forget"), st.just(0), st.just(0)),
    ),
    max_size=20,
)


@given(steps=steps)
@settings(max_examples=150, deadline=None)
def test_it_reads_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, bytes | int]]
) -> None:
    path = tmp_path_factory.mktemp("medium") / "image"
    for kind in ("inline", "disk", "thread"):
        path.write_bytes(bytes(SIZE))
        fd = os.open(path, os.O_RDWR)
        medium = Medium(str(path), fd, on_disk=kind == "disk", in_memory=kind == "inline")
        model = bytearray(SIZE)
        for what, offset, operand in steps:
            match what, operand:
                case "write", bytes(data):
                    medium.write(data, offset)
                    model.extend(bytes(max(offset + len(data) - len(model), 0)))
                    model[offset : offset + len(data)] = data
                case "read", int(length):
                    assert medium.read(length, offset) == model[offset : offset + length]
                case "into", int(length):
                    buffer = bytearray(length)
                    done = medium.read_into(buffer, offset)
                    assert buffer[:done] == model[offset : offset + length]
                case "cut", _:
                    medium.truncate(offset)
                    del model[offset:]
                    model.extend(bytes(offset - len(model)))
                case _:
                    medium.forget()
            assert medium.size() == len(model)
        medium.close()
        assert path.read_bytes() == model


def test_a_file_system_without_rwf_nowait_is_read_by_threads_from_then_on() -> None:
    fd = os.memfd_create("image")
    os.write(fd, b"abc")
    medium = Medium("image", fd)
    assert str(medium.reads) == Access.NOWAIT
    assert medium.read(3, 0) == b"abc"
    assert str(medium.reads) == Access.THREAD
    assert medium.read(3, 0) == b"abc"
    medium.close()


def test_a_write_is_done_at_once_only_while_writes_are_quick(path: Path) -> None:
    medium = Medium(str(path), os.open(path, os.O_RDWR))
    assert not medium.writes_at_once(512)
    medium.write(b"abc", 0)
    medium._took(0)
    assert medium.writes_at_once(512)
    assert not medium.writes_at_once(1 << 20)
    medium._took(1_000_000_000)
    assert not medium.writes_at_once(512)
    medium.close()


def test_what_a_thread_has_read_ahead_is_not_older_than_a_write(medium: Medium) -> None:
    for block in range(4):
        assert medium.read(64, 64 * block) == bytes(64)
    medium.write(b"new", 64 * 4)
    assert medium.read(64, 64 * 4) == b"new".ljust(64, b"\0")


async def finished(call: Callable[[], T]) -> T:
    """What *call* gives on a strand of its own, however often it waits."""
    got = Strands().run(call)
    while type(got) is Parked:
        await got.reason.wait()
        got = got.resume()
    return got


async def test_what_was_read_ahead_during_a_write_is_not_used_after_it(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "image").write_bytes(bytes(4096))
    path = str(tmp_path / "slow" / "image")
    with slow_files(tmp_path / "slow", tmp_path / "files") as slow:
        reader, writer = Medium.open(path, os.O_RDONLY), Medium.open(path, os.O_RDWR)
        slow.hold("write")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(finished, lambda: writer.write(b"new", 256))
            await trio.to_thread.run_sync(slow.until_held, "write")
            for block in range(4):
                assert await finished(partial(reader.read, 64, 64 * block)) == bytes(64)
            slow.release("write")
        assert await finished(lambda: reader.read(64, 256)) == b"new".ljust(64, b"\0")
        reader.close()
        writer.close()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_refused_and_does_not_hold_us_up(tmp_path: Path, make: object) -> None:
    assert callable(make)
    make(tmp_path / "thing")
    with pytest.raises(UserError, match="not a file"):
        Medium.open(str(tmp_path / "thing"), os.O_RDONLY)


def test_a_closed_medium_may_be_closed_again(medium: Medium) -> None:
    medium.close()
    medium.close()
    assert medium.fd == -1
