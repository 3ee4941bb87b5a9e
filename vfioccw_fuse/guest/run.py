"""A guest from its boot to its end: with a script to run, or a shell on the terminal.

Nothing outlives this process: QEMU gets SIGTERM when it ends, however it does, and the initramfs is
a file without a name.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from ..children import ending_with_us, ready, wait
from . import GuestError
from .machine import END_SECONDS, QEMU, Mode, Options, qemu_command, write_initramfs
from .parts import Parts

UP_SECONDS: Final = 300.0
"""A guest whose script has not begun by then has failed, unless the user says how long."""
LAST_LINES: Final = 20
"""How much of the console is shown when a guest fails."""
_PANIC: Final = re.compile(rb"Kernel panic - not syncing: *(.*)")


def panic_of(console: bytes) -> str:
    """Why a kernel panicked, as it says on its *console*; empty if it did not."""
    found = _PANIC.search(console)
    return found[1].decode(errors="replace").strip() if found else ""


def run_script(
    options: Options, script: bytes, parts: Parts, seconds: float | None = None
) -> int:
    """Boot, run the shell *script* in the guest, show on stdout what it prints; its exit status.

    GuestError if the guest panics, or ends before its script, or is there after *seconds*; the last
    lines of its console are on stderr then. If it did not even start, `vfioccw qemu` has said why
    on stderr, and its status is given.
    """
    mark = f"{secrets.token_hex(8)} "
    console = ["-chardev", "stdio,id=console"]
    with _started(
        options, parts, "script", console, script, mark,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        follower = _Follower(mark.encode(), options.quiet)
        try:
            _follow(process, follower, seconds)
            return _status(process, follower)
        except GuestError:
            follower.show_last()
            raise


def run_shell(options: Options, parts: Parts) -> int:
    """Boot with the console on this terminal; QEMU's exit status. Ctrl-A X ends QEMU.

    GuestError without a terminal: nobody would end the guest.
    """
    if not sys.stdin.isatty():
        raise GuestError("no terminal; for commands from a file or a pipe take vfioccw guest run")
    console = ["-chardev", "stdio,id=console,mux=on,signal=off", "-monitor", "chardev:console"]
    with _started(options, parts, "shell", console) as process:
        return wait(process)


@contextlib.contextmanager
def _started(
    options: Options,
    parts: Parts,
    mode: Mode,
    console: Sequence[str],
    script: bytes = b"",
    mark: str = "",
    *,
    stdin: int | None = None,
    stdout: int | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """The process of `vfioccw qemu`; ended with the context."""
    if shutil.which(QEMU) is None:  # said before anything is fetched
        raise GuestError(f"{QEMU}: not found; install QEMU for s390x (Debian: qemu-system-s390x)")
    kernel = parts.kernel()
    with os.fdopen(os.memfd_create("initramfs"), "wb") as initramfs:
        write_initramfs(initramfs, parts, mode, options, script, mark)
        initramfs.flush()
        name = f"/proc/{os.getpid()}/fd/{initramfs.fileno()}"
        # If a script cannot run all that the kernel says is wanted; init switches it off before.
        said = replace(options, quiet=False) if mode == "script" else options
        process = subprocess.Popen(
            qemu_command(said, kernel, name, console),
            stdin=stdin, stdout=stdout, preexec_fn=ending_with_us(),
        )  # fmt: skip
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()


class _Follower:
    """Reads the console line by line: what is the script's, and what init and the kernel say."""

    def __init__(self, mark: bytes, quiet: bool) -> None:
        self._says = re.compile(b"@@" + re.escape(mark) + rb"(begins|ended (\d+)|failed (.*?))@@")
        self._quiet = quiet
        self._rest = b""
        self._last: deque[bytes] = deque(maxlen=LAST_LINES)
        self.begun = False
        """The script runs, or has run."""
        self.status: int | None = None
        """The script's exit status, once it has ended."""
        self.problem = ""
        """Why it cannot run, or why the guest ended, as init or the kernel said it."""
        self.silent = True
        """Nothing at all came over the console."""

    def take(self, data: bytes) -> None:
        """More from the console; empty: there is no more."""
        self.silent = self.silent and not data
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._line(line.rstrip(b"\r") + b"\n")
        if not data and self._rest:
            self._line(self._rest)
            self._rest = b""

    def _line(self, line: bytes) -> None:
        said = self._says.search(line)
        if said is None:
            if why := panic_of(line):
                self.problem = (
                    f"the guest's kernel panicked: {why}; look at its console above, or at all of "
                    "it with --verbose"
                )
        elif said[1] == b"begins":
            self.begun = True
            return
        elif said[2] is not None:
            self.status = int(said[2])
        else:
            self.problem = said[3].decode(errors="replace")
        shown = line[: said.start()] if said else line
        if not shown or (self.status is not None and said is None):
            return
        if self.begun or not self._quiet:
            sys.stdout.buffer.write(shown)
            sys.stdout.buffer.flush()
            self._last.clear()
        else:
            self._last.append(shown)

    def show_last(self) -> None:
        """Show on stderr the last lines of the console that nobody has seen yet."""
        self.take(b"\n" if self._rest else b"")
        sys.stderr.flush()
        for line in self._last:
            sys.stderr.buffer.write(line)
        sys.stderr.buffer.flush()


def _follow(process: subprocess.Popen[bytes], follower: _Follower, seconds: float | None) -> None:
    """Give *follower* the console until it is closed; GuestError after *seconds*."""
    assert process.stdout is not None
    begin = time.monotonic()
    ended: float | None = None
    while True:
        if follower.status is not None:
            ended = ended or time.monotonic()
            deadline: float | None = ended + END_SECONDS
        elif seconds is not None:
            deadline = begin + seconds
        else:
            deadline = None if follower.begun else begin + UP_SECONDS
        left = None if deadline is None else deadline - time.monotonic()
        # Also a guest that never stops to say something has its limit.
        if left is not None and left <= 0:
            if follower.status is not None:
                return
            what = "script did not end" if follower.begun else "script did not even begin"
            limit = seconds if seconds is not None else UP_SECONDS
            raise GuestError(
                follower.problem
                or f"the guest's {what} within {limit:g} s; look at its console above, or give it "
                "longer by --timeout"
            )
        if not ready(process.stdout, left):
            continue
        data = os.read(process.stdout.fileno(), 65536)
        follower.take(data)
        if not data:
            return


def _status(process: subprocess.Popen[bytes], follower: _Follower) -> int:
    """The exit status of the script; GuestError if it has none."""
    if follower.status is not None:
        return follower.status
    if follower.problem:
        raise GuestError(follower.problem)
    status = wait(process)
    if follower.silent and status:
        return status
    raise GuestError(
        f"the guest ended before its script did (QEMU's exit status: {status}); look at its "
        "console above"
    )
