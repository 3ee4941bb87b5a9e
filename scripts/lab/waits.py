"""Waiting for what happens. A time alone is never waited for: the next machine may be slower."""

import time
from collections.abc import Callable

SOON = 60.0
"""Longest wait for what should happen at once, in seconds: a machine may have much else to do."""


def until(
    condition: Callable[[], object], what: str = "the condition", seconds: float = SOON
) -> None:
    """Wait until *condition* holds; AssertionError names *what* did not come true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.005)


def until_quiet(count: Callable[[], object], what: str, seconds: float = 1.0) -> None:
    """Wait for *seconds* in which *count* stays as it is: what comes to rest may take a while."""
    deadline = time.monotonic() + SOON
    before = count()
    while True:
        time.sleep(seconds)
        now = count()
        if now == before:
            return
        assert time.monotonic() < deadline, f"never for {seconds:g} s: {what}"
        before = now
