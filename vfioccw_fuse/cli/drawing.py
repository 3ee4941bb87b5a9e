"""`vfioccw trace --svg`: where the lines come from, and where the picture goes."""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator

from . import asking_the_mount
from .follow import follow
from .timeline import draw, read_trace


def draw_trace(source: str, seconds: float | None, target: str) -> None:
    """Draw the trace of *source* into the file *target*.

    *source*: the directory of a subchannel, followed for *seconds*, until Ctrl-C or until the
    mount ends; a file of trace lines; or `-` for stdin. UserError if it has no such line.
    """
    if source == "-":
        lines = list(sys.stdin)
    elif os.path.isfile(source):
        with open(source, encoding="utf-8", errors="replace") as file:
            lines = list(file)
    else:
        lines = _followed(source, seconds)
    picture = draw(read_trace(lines), title=os.path.basename(os.path.abspath(source)))
    with open(target, "w", encoding="utf-8") as file:
        file.write(picture)


@contextlib.contextmanager
def told_of_ctrl_c() -> Iterator[int]:
    """A descriptor that can be read once Ctrl-C was pressed; the second one ends as it always does.

    That is how one says here that it was enough: an exception could take read lines with it.
    """
    told, tells = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    handler = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, lambda *_: signal.signal(signal.SIGINT, handler))
    before = signal.set_wakeup_fd(tells)
    try:
        yield told
    finally:
        signal.set_wakeup_fd(before)
        signal.signal(signal.SIGINT, handler)
        os.close(told)
        os.close(tells)


def _followed(subchannel: str, seconds: float | None) -> list[str]:
    pieces: list[bytes] = []
    with told_of_ctrl_c() as ctrl_c:
        with asking_the_mount():
            fd = os.open(os.path.join(subchannel, "trace"), os.O_RDONLY | os.O_CLOEXEC)
        try:
            for piece in follow(fd, seconds, ctrl_c):
                pieces.append(piece)
            # What had happened by then and was not read yet.
            pieces += follow(fd, 0)
        except OSError:
            # The mount ended, and with it the trace; what was seen until then is a picture, too.
            if not pieces:
                raise
        finally:
            with contextlib.suppress(OSError):  # the mount may have ended
                os.close(fd)
    return b"".join(pieces).decode(errors="replace").splitlines()
