"""Processes that this one starts and that must not outlive it, however it ends."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable
from typing import Final

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
