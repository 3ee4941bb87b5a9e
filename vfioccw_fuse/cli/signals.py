"""How commands end at a signal that leave something: other programs, a file, a start."""

import signal
import sys
from typing import NoReturn


def end_on_signals() -> None:
    """Let SIGTERM and SIGHUP end this process as Ctrl-C does: with what it started or made."""

    def end(number: int, frame: object) -> NoReturn:
        sys.exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)
