"""The 3215: a console printer with a keyboard, on a pseudo-terminal.

The device holds the master end; the operator opens the other end with any terminal program
(`screen PATH`), or with `cat PATH` and `echo text > PATH`. The image's place in `--device` is a
symbolic link that is made to that end, or `-` for none; its name is in `state` too. A link to a
pseudo-terminal may stand there already: unless a living console has made it, it is replaced.

What the operator types is echoed and edited here (Backspace, ^U), as on the 3215's own paper.
Enter ends a line: a Read Inquiry that waits gets it. When none waits, the line is kept for the next
and attention is presented; so Enter alone is the REQUEST key. ^C is CANCEL: it gives up the line,
and a Read Inquiry that waits ends with unit exception. What is printed while nobody looks is kept,
the newest 64 KiB of it.

Commands: the 3215's (GA24-3550) as Linux's con3215 and Hercules use them.
"""

from __future__ import annotations

import contextlib
import os
import re
import tty
import zlib
from codecs import getincrementaldecoder
from collections import deque
from typing import Final

import trio

from ... import ofd
from ...errors import UserError
from ...regions import constants as c
from ..base import (
    ATTENTION,
    ENDED,
    UC,
    UE,
    DataTransfer,
    Device,
    NotReady,
    UnitCheck,
    command,
)
from ..options import DeviceSpec
from . import codes

NO_LINK: Final = "-"
"""Instead of a path: no symbolic link is made."""
LINE_LIMIT: Final = 150
"""Characters of an input line; the bell rings for more."""
LINES_KEPT: Final = 64
"""Input lines that wait for a Read Inquiry."""
OUTPUT_KEPT: Final = 64 * 1024
"""Bytes of output that wait for an operator."""
WRITE_LIMIT: Final = 1 << 20
"""Bytes of one write; more than any CCW counts."""

BELL: Final = "\a"
ERASE: Final = ("\b", "\x7f")
KILL: Final = "\x15"
CANCEL: Final = "\x03"
ESCAPE: Final = "\x1b"


class Keyboard:
    """What the operator types: an editor for one line, and the lines that are finished."""

    def __init__(self) -> None:
        self.lines: deque[str | None] = deque()
        """Finished lines in order; None for CANCEL."""
        self._line = ""
        self._escape = ""
        self._after_return = False

    def press(self, key: str) -> tuple[str, bool]:
        """One character; gives its echo and whether Enter or CANCEL was pressed.

        Escape sequences, as cursor keys send them, are ignored.
        """
        if key in "\r\n":
            self._escape = ""
        if self._escape or key == ESCAPE:
            self._in_escape(key)
            return "", False
        paired = key == "\n" and self._after_return
        self._after_return = key == "\r"
        if paired:
            return "", False
        if key in "\r\n":
            return self._finish(self._line)
        if key == CANCEL:
            return self._finish(None)
        if key in ERASE:
            echo = "\b \b" if self._line else ""
            self._line = self._line[:-1]
            return echo, False
        if key == KILL:
            echo = "\b \b" * len(self._line)
            self._line = ""
            return echo, False
        if not key.isprintable():
            return "", False
        if len(self._line) == LINE_LIMIT:
            return BELL, False
        self._line += key
        return key, False

    def _finish(self, line: str | None) -> tuple[str, bool]:
        self._line = ""
        if len(self.lines) == LINES_KEPT:
            return BELL, False
        self.lines.append(line)
        return "^C\r\n" if line is None else "\r\n", True

    def _in_escape(self, key: str) -> None:
        """ESC and one character, or ESC [ (or O) up to a letter or a tilde."""
        sequence = self._escape + key
        introducer = len(sequence) == 2 and key in "[O"
        ended = len(sequence) >= 2 and not introducer and (key.isalpha() or key == "~")
        self._escape = "" if ended or (len(sequence) == 2 and not introducer) else sequence
        if len(sequence) > 16:
            self._escape = ""


class Terminal:
    """The master end of a pseudo-terminal, and the symbolic link to its other end."""

    def __init__(self, link: str) -> None:
        """Make the pseudo-terminal, and *link* to it unless that is `-`; UserError if taken."""
        try:
            self.fd, self._slave = os.openpty()
        except OSError as error:
            raise UserError(
                f"3215: no pseudo-terminal: {os.strerror(error.errno or 0)}; is /dev/pts mounted?"
            ) from None
        self.name = os.ttyname(self._slave)
        """Path of the operator's end."""
        # Our own hold on the other end keeps the terminal when an operator leaves. Raw, as
        # otherwise the terminal would echo what we print back to us.
        tty.setraw(self._slave)
        os.set_blocking(self.fd, False)
        self._output = bytearray()
        self._unsent = trio.Event()
        self._link: str | None = None
        if link != NO_LINK:
            try:
                self._make_link(os.path.abspath(link))
            except BaseException:
                self.close()
                raise

    def _make_link(self, path: str) -> None:
        if _left_behind(path):
            os.unlink(path)
        # It ends with the process that holds it, also with one that is killed.
        ofd.take(self._slave, _claim(path))
        try:
            os.symlink(self.name, path)
        except FileExistsError:
            raise UserError(
                f"{path}: exists; remove it, or name another place for the link to the console"
            ) from None
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            raise UserError(f"{path}: no link to the console: {reason}; name another") from None
        self._link = path

    @property
    def closed(self) -> bool:
        """It was closed."""
        return self.fd < 0

    def close(self) -> None:
        """Give the terminal back and remove the link, if it is still ours."""
        if self.closed:
            return
        if self._link is not None:
            with contextlib.suppress(OSError):
                if os.readlink(self._link) == self.name:
                    os.unlink(self._link)
        if trio.lowlevel.in_trio_run():
            trio.lowlevel.notify_closing(self.fd)
        os.close(self.fd)
        os.close(self._slave)
        self.fd = self._slave = -1
        self._unsent.set()

    def receive(self) -> bytes:
        """What was typed since; b"" when nothing was. OSError when the terminal is gone."""
        try:
            return os.read(self.fd, 4096)
        except BlockingIOError:
            return b""

    def send(self, text: str) -> None:
        """Show *text*, now or when there is somebody to read it. OSError: the terminal is gone."""
        self._output += text.encode()
        self._write()
        if len(self._output) > OUTPUT_KEPT:
            surplus = len(self._output) - OUTPUT_KEPT
            end_of_line = self._output.find(b"\n", surplus)
            del self._output[: end_of_line + 1 or surplus]
        if self._output:
            self._unsent.set()

    def _write(self) -> None:
        while self._output:
            try:
                written = os.write(self.fd, self._output)
            except BlockingIOError:
                return
            del self._output[:written]

    async def send_rest(self) -> None:
        """Go on showing what could not be shown at once, for ever; returns when it is closed."""
        while not self.closed:
            await self._unsent.wait()
            self._unsent = trio.Event()
            while self._output and not self.closed:
                await trio.lowlevel.wait_writable(self.fd)
                self._write()


def _claim(path: str) -> int:
    """The byte by whose lock a console's terminal says that the link at *path* is its own.

    It follows from the name of the link: two consoles claim different ones.
    """
    place = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
    return zlib.crc32(os.fsencode(place))


def _left_behind(path: str) -> bool:
    """Whether *path* is the link of a console that is no more, or a link to nothing.

    The number of its terminal may be that of another by now.
    """
    if not os.path.islink(path):
        return False
    try:
        if not re.fullmatch(r"/dev/pts/\d+", os.readlink(path)):
            return not os.path.exists(path)
        fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    except OSError:
        return False  # another user's
    try:
        return ofd.hindrance(fd, _claim(path)) is None
    finally:
        os.close(fd)


class Console3215(Device):
    """A console. Its operator sits at a pseudo-terminal."""

    type_name = "3215"
    description = "console"
    takes = "a pseudo-terminal; the path is a symlink to it, or - for none"
    words = codes.WORDS
    sense_length = 1
    sense_id = bytes.fromhex("ff 3215 00 3215 00")

    def __init__(self, terminal: Terminal) -> None:
        super().__init__(f"console 3215 {terminal.name}")
        self.terminal = terminal
        """The pseudo-terminal."""
        self._keyboard = Keyboard()
        self._decoder = getincrementaldecoder("utf-8")("replace")
        self._awaited: trio.Event | None = None

    @classmethod
    def open(cls, spec: DeviceSpec) -> Console3215:
        """Make the pseudo-terminal and the link that *spec* names; UserError when it is taken."""
        return cls(Terminal(spec.path))

    @classmethod
    def files(cls, spec: DeviceSpec) -> int:
        """Both ends of the pseudo-terminal."""
        return 2

    def close(self) -> None:
        """Give the pseudo-terminal back and remove the link."""
        self.terminal.close()

    def abandon(self) -> None:
        """A Read Inquiry does not wait any more; lines that were typed stay."""
        self._awaited = None

    async def service(self) -> None:
        """Watch the keyboard, and print what the terminal did not take at once."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.terminal.send_rest)
                await self._watch_keyboard()
        except* (OSError, trio.ClosedResourceError):
            pass  # the terminal is gone: commands tell it, with intervention required

    async def _watch_keyboard(self) -> None:
        while not self.terminal.closed:
            await trio.lowlevel.wait_readable(self.terminal.fd)
            self.hear()

    def hear(self) -> None:
        """Take what was typed; a line that is finished goes to the Read Inquiry that waits."""
        entered = False
        for key in self._decoder.decode(self.terminal.receive()):
            echo, finished = self._keyboard.press(key)
            if echo:
                self.terminal.send(echo)
            entered |= finished
        if entered:
            self._line_entered()

    def _line_entered(self) -> None:
        """Wake the Read Inquiry that waits, or else present attention."""
        awaited, self._awaited = self._awaited, None
        if awaited is not None:
            awaited.set()
            return
        lines = self._keyboard.lines
        cancelled = bool(lines) and lines[-1] is None
        if lines and not lines[-1]:
            lines.pop()  # nothing that a later Read Inquiry could want: REQUEST, or CANCEL
        if not cancelled:
            self.attention(ATTENTION)

    def _print(self, text: str) -> None:
        try:
            if self.terminal.closed:
                raise OSError
            self.terminal.send(text)
        except OSError:
            raise UnitCheck(bytes([c.SNS0_INTERVENTION_REQ]), UC) from None

    @command(codes.WRITE)
    def write(self, io: DataTransfer) -> int | None:
        """Write without carrier return."""
        self._print(printed(io.take(WRITE_LIMIT, variable=True)))
        return None

    @command(codes.WRITE_RETURN)
    def write_return(self, io: DataTransfer) -> int | None:
        """Write with automatic carrier return."""
        self._print(printed(io.take(WRITE_LIMIT, variable=True)) + "\r\n")
        return None

    @command(codes.READ_INQUIRY)
    def read_inquiry(self, io: DataTransfer) -> int | None:
        """Read Inquiry: a line from the operator, waited for; unit exception for CANCEL."""
        if self.terminal.closed:
            raise UnitCheck(bytes([c.SNS0_INTERVENTION_REQ]), UC)
        if not self._keyboard.lines:
            self._awaited = trio.Event()
            raise NotReady(self._awaited)
        line = self._keyboard.lines.popleft()
        if self._keyboard.lines:
            self.attention(ATTENTION)  # for the next line, when this program has ended
        io.give(b"" if line is None else line.encode("cp037", "replace"))
        return ENDED | UE if line is None else None

    @command(codes.AUDIBLE_ALARM)
    def audible_alarm(self, io: DataTransfer) -> int | None:
        """Audible Alarm: rings the terminal's bell."""
        self._print(BELL)
        return None


def printed(data: bytes) -> str:
    """What EBCDIC *data* prints: New Line and Line Feed begin a line, other controls are blanks."""
    shown = []
    for letter in data.decode("cp037"):
        if letter in "\n\x85":
            shown.append("\r\n")
        else:
            shown.append(letter if letter.isprintable() or letter in "\r\a" else " ")
    return "".join(shown)
