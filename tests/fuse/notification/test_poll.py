"""poll, select and epoll on the irq files, beside a real eventfd where that says what is right."""

import os
import select
import threading
import time

import pytest

from lab.processes import ASLEEP_IN_POLL, sleeps_in
from lab.waits import SOON

from .conftest import number

FULL = 2**64 - 2
QUIET = 0.1
"""Long enough to see that nothing comes, in seconds."""


@pytest.fixture
def io_irq(mount):
    fd = os.open(mount.io_irq, os.O_RDWR | os.O_NONBLOCK)
    yield fd
    os.close(fd)


def waits(function, for_what, *arguments) -> tuple[object, bool]:
    """What the call gives, and whether it waited: only when it does, what it waits for is done."""
    pid, tid = os.getpid(), threading.get_native_id()
    over = threading.Event()
    waited = False

    def act():
        nonlocal waited
        while not over.is_set():
            if sleeps_in(ASLEEP_IN_POLL, pid, tid):
                waited = True
                for_what(*arguments)
                return
            time.sleep(0.001)

    thread = threading.Thread(target=act)
    thread.start()
    try:
        return function(), waited
    finally:
        over.set()
        thread.join()


def test_poll_shows_what_is_ready(io_irq):
    poll = select.poll()
    poll.register(io_irq, select.POLLIN | select.POLLOUT)
    assert poll.poll(0) == [(io_irq, select.POLLOUT)]
    os.write(io_irq, number(1))
    assert poll.poll(0) == [(io_irq, select.POLLIN | select.POLLOUT)]
    os.write(io_irq, number(FULL - 1))
    assert poll.poll(0) == [(io_irq, select.POLLIN)]
    os.read(io_irq, 8)
    assert poll.poll(0) == [(io_irq, select.POLLOUT)]


def test_poll_waits_for_an_event_again_and_again(mount, io_irq):
    poll = select.poll()
    poll.register(io_irq, select.POLLIN)
    for _ in range(3):
        got = waits(lambda: poll.poll(SOON * 1000), mount.signal)
        assert got == ([(io_irq, select.POLLIN)], True)
        assert poll.poll(SOON * 1000) == [(io_irq, select.POLLIN)]
        os.read(io_irq, 8)
        assert poll.poll(0) == []


def test_poll_gives_up_at_its_timeout(io_irq):
    poll = select.poll()
    poll.register(io_irq, select.POLLIN)
    assert poll.poll(50) == []


def test_poll_waits_for_room(io_irq):
    os.write(io_irq, number(FULL))
    poll = select.poll()
    poll.register(io_irq, select.POLLOUT)
    got = waits(lambda: poll.poll(SOON * 1000), os.read, io_irq, 8)
    assert got == ([(io_irq, select.POLLOUT)], True)


def test_select_waits_for_an_event(mount, io_irq):
    got = waits(lambda: select.select([io_irq], [], [], SOON), mount.signal)
    assert got == (([io_irq], [], []), True)
    assert select.select([io_irq], [io_irq], [], 0) == ([io_irq], [io_irq], [])


def test_level_triggered_epoll_reports_until_the_counter_is_read(mount, io_irq):
    with select.epoll() as epoll:
        epoll.register(io_irq, select.EPOLLIN)
        got = waits(lambda: epoll.poll(SOON), mount.signal)
        assert got == ([(io_irq, select.EPOLLIN)], True)
        assert epoll.poll(SOON) == [(io_irq, select.EPOLLIN)]
        os.read(io_irq, 8)
        assert epoll.poll(QUIET) == []
        mount.signal()
        assert epoll.poll(SOON) == [(io_irq, select.EPOLLIN)]


def test_edge_triggered_epoll_reports_each_event_once(mount, io_irq):
    with select.epoll() as epoll:
        epoll.register(io_irq, select.EPOLLIN | select.EPOLLET)
        for _ in range(4):
            # The counter is never read: each event is an edge all the same, as with an eventfd.
            got = waits(lambda: epoll.poll(SOON), mount.signal)
            assert got == ([(io_irq, select.EPOLLIN)], True)
            assert epoll.poll(QUIET) == []
        os.read(io_irq, 8)
        assert epoll.poll(QUIET) == []
        mount.signal()
        assert epoll.poll(SOON) == [(io_irq, select.EPOLLIN)]


def test_edge_triggered_epoll_reports_what_was_there_before(mount, io_irq):
    mount.signal()
    with select.epoll() as epoll:
        epoll.register(io_irq, select.EPOLLIN | select.EPOLLET)
        assert epoll.poll(SOON) == [(io_irq, select.EPOLLIN)]
        mount.signal()
        assert epoll.poll(SOON) == [(io_irq, select.EPOLLIN)]


def test_one_shot_epoll_is_armed_anew(mount, io_irq):
    with select.epoll() as epoll:
        epoll.register(io_irq, select.EPOLLIN | select.EPOLLONESHOT)
        for _ in range(3):
            mount.signal()
            assert epoll.poll(SOON) == [(io_irq, select.EPOLLIN)]
            os.read(io_irq, 8)
            mount.signal()
            assert epoll.poll(QUIET) == []
            epoll.modify(io_irq, select.EPOLLIN | select.EPOLLONESHOT)
            assert epoll.poll(SOON) == [(io_irq, select.EPOLLIN)]
            os.read(io_irq, 8)
            epoll.modify(io_irq, select.EPOLLIN | select.EPOLLONESHOT)


@pytest.mark.parametrize("trigger", [0, select.EPOLLET])
def test_epoll_reports_as_for_a_real_eventfd(mount, io_irq, trigger):
    """The same random steps on both; what epoll says must be the same after each."""
    real = os.eventfd(0, os.EFD_NONBLOCK)
    steps = (
        "w0",
        "w1",
        *"pp",
        "w1",
        "w1",
        *"prp",
        "w0",
        "p",
        "w1",
        *"rp",
        "w1",
        "p",
        "w1",
        *"pprp",
    )
    with select.epoll() as ours, select.epoll() as theirs:
        ours.register(io_irq, select.EPOLLIN | trigger)
        theirs.register(real, select.EPOLLIN | trigger)
        for index, step in enumerate(steps):
            if step == "p":
                expected = [events for _, events in theirs.poll(0)]
                # What comes, comes through the server: a moment after the write has returned.
                got = [events for _, events in ours.poll(SOON if expected else QUIET)]
                assert got == expected, steps[: index + 1]
            elif step == "r":
                assert os.read(io_irq, 8) == os.read(real, 8)
            else:
                for fd in (io_irq, real):
                    os.write(fd, number(int(step[1])))
    os.close(real)


def test_every_opener_that_polls_is_told(mount, python):
    program = (
        "import os, select, sys; fd = os.open(sys.argv[1], os.O_RDONLY | os.O_NONBLOCK);"
        "p = select.poll(); p.register(fd, select.POLLIN); print('polls');"
        "print(p.poll(60000)[0][1])"
    )
    pollers = [python(program, mount.io_irq) for _ in range(4)]
    for poller in pollers:
        assert poller.line() == "polls"
    time.sleep(QUIET)
    mount.signal()
    for poller in pollers:
        assert poller.line() == str(select.POLLIN)
        assert poller.output() == b""


def test_a_closed_opener_is_not_told_and_hurts_nobody(mount, io_irq, python):
    gone = python(
        "import os, select, sys; fd = os.open(sys.argv[1], os.O_RDONLY);"
        "p = select.poll(); p.register(fd, select.POLLIN); print('polls'); p.poll(60000)",
        mount.io_irq,
    )
    assert gone.line() == "polls"
    time.sleep(QUIET)
    gone.send(9)
    gone.status()
    poll = select.poll()
    poll.register(io_irq, select.POLLIN)
    mount.signal()
    assert poll.poll(SOON * 1000) == [(io_irq, select.POLLIN)]


def test_a_reader_and_a_poller_share_the_events(mount, io_irq):
    """The blocked reader takes the first event; the poller hears of the second."""
    fd = os.open(mount.io_irq, os.O_RDONLY)
    values: list[bytes] = []
    thread = threading.Thread(target=lambda: values.append(os.read(fd, 8)), daemon=True)
    thread.start()
    mount.until_waiting(1)
    with select.epoll() as epoll:
        epoll.register(io_irq, select.EPOLLIN | select.EPOLLET)
        mount.signal(3)
        thread.join(SOON)
        assert values == [number(3)]
        assert epoll.poll(QUIET) == []
        mount.signal(4)
        assert epoll.poll(SOON) == [(io_irq, select.EPOLLIN)]
    os.close(fd)
