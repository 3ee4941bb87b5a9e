"""Processes that this one starts and that must not outlive it, however it ends.

Who waits for them waits here: the handler of a signal has its turn at once, also if the signal
comes right before the wait.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol

_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h


def ending_with_us() -> Callable[[], None]:
    """What a child runs before its program (Popen's preexec_fn): SIGTERM when we are gone.

    The thread that calls this is the one whose end counts (PR_SET_PDEATHSIG of prctl(2)).
    """
    libc = ctypes.CDLL(None)
    parent = os.getpid()

    def end_with_us() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGTERM)

    return end_with_us


class Readable(Protocol):
    """What has a descriptor."""

    def fileno(self) -> int:
        """The descriptor."""


def ready(file: Readable | int, seconds: float | None = None) -> bool:
    """Wait until *file* can be read, a signal has come, or *seconds* are over; whether it can.

    Python runs handlers between two of its instructions: one whose signal comes after the last look
    and before the system call would wait as long as that. The byte that the signal leaves in a pipe
    (signal.set_wakeup_fd) ends it.
    """
    with _woken() as also:
        found, _, _ = select.select([file, *also], [], [], seconds)
    return file in found


def wait(process: subprocess.Popen[Any]) -> int:
    """Wait for the end of a child; its exit status, -n after signal n."""
    pidfd = os.pidfd_open(process.pid)
    try:
        while not ready(pidfd):
            pass
    finally:
        os.close(pidfd)
    return process.wait()


def lines(process: subprocess.Popen[bytes]) -> Iterator[bytes]:
    """What a child, and whatever it starts, writes to its stdout, which is a pipe, line by line.

    Each line has its end; the last may be without.
    """
    assert process.stdout is not None
    rest, part = b"", b" "
    while part:
        if ready(process.stdout):
            part = os.read(process.stdout.fileno(), 1 << 16)
            *whole, rest = (rest + part).split(b"\n")
            yield from (line + b"\n" for line in whole)
    if rest:
        yield rest


@contextmanager
def _woken() -> Iterator[list[int]]:
    """What can be read when a signal comes; nothing where none is handled: not in other threads."""
    if threading.current_thread() is not threading.main_thread():
        yield []
        return
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield [reader]
    finally:
        signal.set_wakeup_fd(before)
        os.close(reader)
        os.close(writer)
