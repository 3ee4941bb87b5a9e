"""Waits for what was started: a signal that comes right before one ends it."""

from __future__ import annotations

import collections
import ctypes
import functools
import operator
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from lab.waits import SOON
from vfioccw_fuse import children

LIBC = ctypes.CDLL(None)
SELECT = select.select


class Came(Exception):
    """What a handler raises, as one does that ends a command."""


@pytest.fixture
def heard() -> Iterator[list[int]]:
    """Which signals a handler of SIGUSR2 notes; SIGUSR1 raises `Came`."""
    numbers: list[int] = []

    def raises(number: int, frame: object) -> None:
        raise Came

    before = [
        (signal.SIGUSR1, signal.signal(signal.SIGUSR1, raises)),
        (signal.SIGUSR2, signal.signal(signal.SIGUSR2, lambda number, _: numbers.append(number))),
    ]
    yield numbers
    for number, handler in before:
        signal.signal(number, handler)


def coming_right_before_the_wait(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a signal come once, where Python looks no more: C calls C, no instruction between."""
    left = [functools.partial(LIBC["raise"], number)]

    def late(*words: Any) -> Any:
        calls = [*left, functools.partial(SELECT, *words)]
        left.clear()
        [found] = collections.deque(map(operator.call, calls), maxlen=1)
        return found

    monkeypatch.setattr(select, "select", late)


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", str(SOON)]) as process:
        yield process
        process.kill()


@pytest.mark.usefixtures("heard")
def test_a_handler_that_raises_right_before_a_wait_ends_it(
    sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    coming_right_before_the_wait(signal.SIGUSR1, monkeypatch)
    begun = time.monotonic()
    with pytest.raises(Came):
        children.wait(sleeper)
    assert time.monotonic() - begun < SOON / 2


def test_a_handler_that_returns_has_its_turn_and_the_wait_goes_on(
    sleeper: subprocess.Popen[bytes], heard: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def ends(number: int, frame: object) -> None:
        heard.append(number)
        sleeper.kill()

    signal.signal(signal.SIGUSR2, ends)
    coming_right_before_the_wait(signal.SIGUSR2, monkeypatch)
    assert children.wait(sleeper) == -signal.SIGKILL
    assert heard == [signal.SIGUSR2]


def test_what_can_be_read_is_told_from_what_cannot() -> None:
    reader, writer = os.pipe()
    assert not children.ready(reader, 0)
    os.write(writer, b"x")
    assert children.ready(reader)
    os.close(reader)
    os.close(writer)


def test_a_wait_gives_the_exit_status() -> None:
    with subprocess.Popen([sys.executable, "-c", "raise SystemExit(7)"]) as process:
        assert children.wait(process) == 7


def test_nothing_is_left_of_a_wait() -> None:
    with subprocess.Popen(["true"]) as process:
        before = os.listdir("/proc/self/fd")
        children.wait(process)
        assert os.listdir("/proc/self/fd") == before
    assert signal.set_wakeup_fd(-1) == -1


def test_another_thread_waits_as_well() -> None:
    found: list[int] = []
    with subprocess.Popen(["true"]) as process:
        thread = threading.Thread(target=lambda: found.append(children.wait(process)))
        thread.start()
        thread.join(SOON)
    assert found == [0]
