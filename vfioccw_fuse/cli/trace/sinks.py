"""Where the events of a trace go: lines on stdout and into a file, pictures into files."""

import contextlib
import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TextIO

from ...errors import UserError
from .. import in_words
from ..asjson import json_line
from ..text import folded, row_within
from .perfetto import PerfettoFile
from .seen import INDENT, Seen
from .timeline import Timeline


class Sink(Protocol):
    """Takes events."""

    def see(self, events: Iterable[Seen]) -> None:
        """These have happened."""


class Output:
    """A file that is written; its errors are UserErrors that say what became of it."""

    def __init__(self, path: str, left: str) -> None:
        """Open *path*, and leave what it has until something is written; *left*: see `_fail`."""
        self._made = not os.path.exists(path)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self._file = os.fdopen(fd, "w", encoding="utf-8", errors="backslashreplace")
        self._path = path
        self._left = left
        self._empty = True

    def isatty(self) -> bool:
        """It is a terminal."""
        return self._file.isatty()

    def write(self, text: str) -> None:
        """Write *text*, in place of what the file had."""
        try:
            if self._empty:
                self._empty = False
                if stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):
                    os.ftruncate(self._file.fileno(), 0)
            self._file.write(text)
        except OSError as failed:
            self._fail(failed)

    def flush(self) -> None:
        """Let others see what was written."""
        try:
            self._file.flush()
        except OSError as failed:
            self._fail(failed)

    def _fail(self, failed: OSError) -> None:
        failed.filename = self._path
        raise UserError(f"{in_words(failed)}; {self._left}") from None

    def close(self) -> None:
        """Close it; one that was made and not written is removed."""
        try:
            self._file.close()
        except OSError as failed:
            self._fail(failed)
        finally:
            if self._made and self._empty:
                os.unlink(self._path)


class Lines:
    """Events as lines, for people or as JSON."""

    def __init__(self, file: TextIO | Output, *, as_json: bool) -> None:
        self._file = file
        self._as_json = as_json
        self._terminal = file.isatty()

    def _lines(self, event: Seen) -> Iterator[str]:
        """The lines for people; at a terminal they are folded to it as it is now."""
        if not self._terminal:
            yield event.line()
            yield from event.data_lines(row_within(80))
            return
        columns = shutil.get_terminal_size().columns
        yield from folded(event.line(), max(40, columns))
        yield from event.data_lines(row_within(columns - len(INDENT)))

    def see(self, events: Iterable[Seen]) -> None:
        """Write them, and let them be seen at once."""
        for event in events:
            if self._as_json:
                self._file.write(json_line(event.as_json()))
                continue
            for line in self._lines(event):
                self._file.write(f"{line}\n")
        self._file.flush()


class Perfetto:
    """Events for Perfetto, each when it is there."""

    def __init__(self, file: Output, title: str) -> None:
        self._file = file
        self._trace = PerfettoFile(file.write, title)

    def see(self, events: Iterable[Seen]) -> None:
        """Write them."""
        for event in events:
            self._trace.see(event)
        self._file.flush()

    def close(self) -> None:
        """End the file."""
        self._trace.close()


class Drawing:
    """A timeline, which is drawn when the trace has ended."""

    def __init__(self, file: Output, title: str) -> None:
        self._file = file
        self._title = title
        self._timeline = Timeline()

    def see(self, events: Iterable[Seen]) -> None:
        """Keep what may be drawn of them."""
        for event in events:
            self._timeline.see(event)

    def close(self) -> None:
        """Draw it; UserError if there is nothing."""
        self._file.write(self._timeline.draw(self._title))


@contextlib.contextmanager
def lines(path: str | None, *, as_json: bool) -> Iterator[Sink]:
    """Lines into the file *path*, or on stdout."""
    if path is None:
        yield Lines(sys.stdout, as_json=as_json)
        return
    file = Output(path, "what was traced until then is in it")
    with contextlib.closing(file):
        yield Lines(file, as_json=as_json)


@contextlib.contextmanager
def picture(
    make: Callable[[Output, str], Perfetto | Drawing], path: str, title: str
) -> Iterator[Sink]:
    """What *make* makes of the file *path*; it is ended in any case, also after an error."""
    file = Output(path, "what is in it is not complete")
    with contextlib.closing(file), contextlib.closing(make(file, title)) as sink:
        yield sink
