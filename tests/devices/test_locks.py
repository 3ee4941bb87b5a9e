"""Locks of media: which uses bear each other, in one process and between several; who has them."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lab.mounts import IMPORTS
from vfioccw_fuse.devices.locks import Hold, Use, hold, identity, replacing, users
from vfioccw_fuse.errors import UserError

BEARS = {
    (Use.READ, Use.READ),
    (Use.READ, Use.SHARE),
    (Use.READ, Use.WRITE),
    (Use.SHARE, Use.SHARE),
    (Use.READ, Use.COPY),
    (Use.COPY, Use.COPY),
}
"""Pairs of uses that may be at a time, in either order; no others may."""
HOLDER = """
import os, sys
from vfioccw_fuse.devices.locks import Use, hold
use = Use(sys.argv[2])
hold(os.open(sys.argv[1], use.flags), sys.argv[1], use)
print(flush=True)
sys.stdin.read()
"""
Using = Callable[[Use], subprocess.Popen[bytes]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "disk.img").write_bytes(bytes(1024))
    return tmp_path / "disk.img"


@pytest.fixture
def using(path: Path) -> Iterator[Using]:
    """Starts another process that uses the file."""
    started = []

    def start(use: Use) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, path, use.value],
            env={**os.environ, "PYTHONPATH": IMPORTS},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n"
        return process

    yield start
    for process in started:
        process.communicate()


@pytest.fixture
def held(path: Path) -> Iterator[Callable[..., Hold]]:
    """Uses the file in this process, by any of its names."""
    opened: list[tuple[int, Hold]] = []

    def one(use: Use, name: Path = path) -> Hold:
        fd = os.open(name, use.flags | os.O_CLOEXEC)
        try:
            opened.append((fd, hold(fd, str(name), use)))
        except BaseException:
            os.close(fd)
            raise
        return opened[-1][1]

    yield one
    for fd, it in opened:
        it.end()
        os.close(fd)


def bears(one: Use, other: Use) -> bool:
    return (one, other) in BEARS or (other, one) in BEARS


@pytest.mark.parametrize(
    ("use", "locked"),
    [
        (Use.READ, {(100, 100)}),
        (Use.COPY, {(100, 100), (201, 201)}),
        (Use.SHARE, {(100, 101)}),
        (Use.WRITE, {(100, 101), (201, 201)}),
        (Use.REPLACE, {(100, 101), (200, 201)}),
    ],
)
def test_the_locks_are_read_locks_on_the_bytes_of_qemu(
    path: Path, use: Use, locked: set[tuple[int, int]]
) -> None:
    fd = os.open(path, use.flags)
    it = hold(fd, str(path), use)
    lines = Path(f"/proc/self/fdinfo/{fd}").read_text()
    found = re.findall(r"OFDLCK +ADVISORY +READ .* (\d+) (\d+)$", lines, re.M)
    assert {(int(first), int(last)) for first, last in found} == locked
    it.end()
    assert "lock:" not in Path(f"/proc/self/fdinfo/{fd}").read_text()
    os.close(fd)


@pytest.mark.parametrize("theirs", Use)
def test_what_another_process_bears_is_let_in_and_all_else_is_not(
    using: Using, held: Callable[..., Hold], path: Path, theirs: Use
) -> None:
    other = using(theirs)
    for ours in Use:
        if bears(ours, theirs):
            held(ours).end()
            continue
        with pytest.raises(UserError) as refused:
            held(ours)
        assert refused.value.message.startswith(f"{path}: in use by PID {other.pid} (")
        assert refused.value.message.endswith(f"; {ours.remedy}")
    other.communicate()
    for ours in Use:
        held(ours).end()


@pytest.mark.parametrize("theirs", Use)
def test_within_a_process_the_same_uses_bear_each_other(
    held: Callable[..., Hold], path: Path, theirs: Use
) -> None:
    first = held(theirs)
    for ours in Use:
        if bears(ours, theirs):
            held(ours).end()
        else:
            with pytest.raises(UserError, match=r"disk\.img: in use by another device; "):
                held(ours)
    first.end()
    held(Use.REPLACE).end()


def test_of_many_who_come_at_once_one_is_let_in(path: Path) -> None:
    def come(fd: int) -> Hold | None:
        with contextlib.suppress(UserError):
            return hold(fd, str(path), Use.WRITE)
        return None

    files = [os.open(path, os.O_RDWR) for _ in range(64)]
    with ThreadPoolExecutor(16) as threads:
        let_in = [it for it in threads.map(come, files) if it is not None]
    assert len(let_in) == 1
    let_in[0].end()
    for fd in files:
        os.close(fd)


@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_all_names_of_a_file_are_one_file(
    held: Callable[..., Hold], path: Path, link: Callable[[Path, Path], None]
) -> None:
    name = path.with_name("other.img")
    link(path, name)
    held(Use.WRITE)
    with pytest.raises(UserError) as refused:
        held(Use.WRITE, name)
    assert refused.value.message.startswith(f"{name}: in use by another device, as {path}; ")


def test_all_nodes_of_a_block_device_are_one_device() -> None:
    def node(inode: int, number: int) -> os.stat_result:
        fields = (stat.S_IFBLK | 0o600, inode, 5, 1, 0, 0, 0, 0, 0, 0)
        return os.stat_result(fields, {"st_rdev": number})

    assert identity(node(10, 0x701)) == identity(node(11, 0x701))
    assert identity(node(10, 0x701)) != identity(node(10, 0x702))


def test_a_device_that_is_going_leaves_its_place_and_no_gap(
    using: Using, held: Callable[..., Hold]
) -> None:
    old = held(Use.WRITE)
    old.will_end()
    assert using(Use.READ).poll() is None
    new = held(Use.WRITE)
    with pytest.raises(UserError, match="another device"):
        held(Use.WRITE)
    old.end()
    with pytest.raises(AssertionError):
        using(Use.WRITE)
    new.end()
    using(Use.WRITE)


def test_a_device_that_is_going_still_keeps_other_processes_away(
    using: Using, held: Callable[..., Hold]
) -> None:
    held(Use.WRITE).will_end()
    with pytest.raises(AssertionError):
        using(Use.WRITE)


def test_who_is_refused_keeps_no_lock(using: Using, path: Path) -> None:
    using(Use.WRITE)
    fd = os.open(path, os.O_RDWR)
    with pytest.raises(UserError):
        hold(fd, str(path), Use.WRITE)
    assert "lock:" not in Path(f"/proc/self/fdinfo/{fd}").read_text()
    os.close(fd)


def test_a_name_that_leads_to_another_file_by_now_is_refused(path: Path) -> None:
    fd = os.open(path, os.O_RDWR)
    new = path.with_name("new.img")
    new.write_bytes(bytes(1024))
    new.replace(path)
    with pytest.raises(UserError, match=r"disk\.img: replaced at this very moment; try again"):
        hold(fd, str(path), Use.WRITE)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        hold(fd, str(path), Use.WRITE)
    os.close(fd)


def test_users_are_told_by_their_processes(using: Using, path: Path) -> None:
    assert users(str(path)) == ""
    first, second = using(Use.READ), using(Use.WRITE)
    said = [f"PID {process.pid} (python" for process in (first, second)]
    assert re.findall(r"PID \d+ \(python", users(str(path))) == sorted(said)
    for process in (first, second):
        process.communicate()
    assert users(str(path)) == ""


def test_ones_own_use_is_not_told(held: Callable[..., Hold], path: Path) -> None:
    held(Use.READ)
    assert users(str(path)) == ""


def test_a_lock_of_another_kind_is_in_the_way_too(held: Callable[..., Hold], path: Path) -> None:
    program = (
        "import fcntl, sys; file = open(sys.argv[1], 'r+b'); fcntl.lockf(file, fcntl.LOCK_EX);"
        "print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(UserError, match=r"disk\.img: in use by "):
            held(Use.READ)
        process.communicate()
    held(Use.READ)


@pytest.mark.parametrize("use", Use)
def test_nothing_is_made_anew_that_is_in_use(using: Using, path: Path, use: Use) -> None:
    using(use)
    with pytest.raises(UserError, match="in use by PID"), replacing(str(path)):
        pytest.fail("it was let in")


def test_what_is_made_anew_nobody_may_use_meanwhile(held: Callable[..., Hold], path: Path) -> None:
    with replacing(str(path)):
        for use in Use:
            with pytest.raises(UserError, match="in use by another device"):
                held(use)
    held(Use.WRITE)
    with replacing(str(path.with_name("none"))):
        pass
