"""A program on a terminal of its own, and who types at it."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Sequence
from typing import Self

from lab.mounts import PROJECT
from lab.waits import SOON

_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07]*\x07|[=>78])|\r")
"""What moves the cursor or changes colours: nothing that is said."""


class Terminal:
    """Runs a command on a pseudo terminal; a context manager that ends it."""

    def __init__(self, command: Sequence[str], columns: int = 100, lines: int = 40) -> None:
        self._fd, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        inherited = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
        # Nobody answers here where the cursor is.
        more = {"TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1", "PYTHONPATH": str(PROJECT)}
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env={**inherited, **more},
            start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        self._shown = ""

    def expect(self, text: str, seconds: float = SOON) -> str:
        """Wait until *text* is shown; gives what came before it, behind what was expected last."""
        deadline = time.monotonic() + seconds
        while text not in self._shown:
            assert time.monotonic() < deadline, f"{text!r} is not in {self._shown!r}"
            if select.select([self._fd], [], [], 1)[0]:
                try:
                    piece = os.read(self._fd, 1 << 16)
                except OSError:  # EIO: nobody has the terminal any more
                    raise AssertionError(f"{text!r} is not in {self._shown!r}; it ended") from None
                self._shown += _ESCAPES.sub("", piece.decode(errors="replace"))
        before, _, self._shown = self._shown.partition(text)
        return before

    def press(self, keys: str) -> None:
        """Send *keys*, such as `"\\r"` or `"\\x1b[19~"` (F8)."""
        os.write(self._fd, keys.encode())

    def type(self, line: str) -> None:
        """Type a line and Enter."""
        self.press(f"{line}\r")

    def ended(self) -> int:
        """Wait for the end; gives the exit status."""
        deadline = time.monotonic() + SOON
        while self.process.poll() is None:
            assert time.monotonic() < deadline, self._shown
            # What is not read keeps a program from ending.
            if select.select([self._fd], [], [], 0.1)[0]:
                try:
                    os.read(self._fd, 1 << 16)
                except OSError:
                    self.process.wait(SOON)
        return self.process.returncode

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *what: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._fd)
