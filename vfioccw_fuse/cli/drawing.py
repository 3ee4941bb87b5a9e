"""``vfioccw trace --svg``: where the lines come from, and where the picture goes."""

import contextlib
import os
import sys

from vfioccw_fuse.cli import asking_the_mount
from vfioccw_fuse.cli.show import follow
from vfioccw_fuse.cli.timeline import draw, read_trace


def draw_trace(source: str, seconds: float | None, target: str) -> None:
    """Draw the trace of ``source`` into the file ``target``.

    ``source``: the directory of a subchannel, followed for ``seconds`` or until Ctrl-C; a file of
    trace lines; or ``-`` for stdin. UserError if it has no such line.
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


def _followed(subchannel: str, seconds: float | None) -> list[str]:
    with asking_the_mount():
        fd = os.open(os.path.join(subchannel, "trace"), os.O_RDONLY | os.O_CLOEXEC)
    pieces = []
    try:
        # Here Ctrl-C is how one says that this was all.
        with contextlib.suppress(KeyboardInterrupt):
            for piece in follow(fd, seconds):
                pieces.append(piece)
    finally:
        with contextlib.suppress(OSError):  # the mount may have ended
            os.close(fd)
    return b"".join(pieces).decode(errors="replace").splitlines()
