"""Calls in threads: bounded, and what nobody waits for any more is given back."""

from __future__ import annotations

import threading

import pytest
import trio

from vfioccw_fuse.errors import UserError
from vfioccw_fuse.fuse.threads import Threads


async def test_a_call_too_many_is_an_error_and_others_have_their_own() -> None:
    gate = threading.Event()
    few, others = Threads("calls", 2), Threads("others", 1)
    jobs = [few.start(gate.wait, print) for _ in range(2)]
    with pytest.raises(UserError, match="2 calls have not ended"):
        few.start(gate.wait, print)
    assert await others.start(lambda: 7, print).wait() == 7
    gate.set()
    assert [await job.wait() for job in jobs] == [True, True]
    assert (few.busy, others.busy) == (0, 0)


async def test_what_nobody_waits_for_is_given_back() -> None:
    gate, given = threading.Event(), threading.Event()
    back: list[bool] = []

    def give_back(value: bool) -> None:
        back.append(value)
        given.set()

    job = Threads("calls", 1).start(gate.wait, give_back)
    with trio.CancelScope() as scope:
        scope.cancel()
        await job.wait()
    gate.set()
    assert await trio.to_thread.run_sync(given.wait, 60)
    assert back == [True]


async def test_an_exception_is_the_waiters() -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await Threads("calls", 1).start(fail, print).wait()
