"""The counter of one interruption line beside a real eventfd."""

import contextlib
import os
import select

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.fuse.notification.conftest import number
from vfioccw_fuse.vfio.irq import COUNTER_MAX, Irq, eventfd_count

# Mostly small, sometimes so large that the counter gets full.
values = st.one_of(st.integers(0, 3), st.integers(COUNTER_MAX - 3, COUNTER_MAX))


def real_add(fd: int, value: int) -> bool:
    """Write to a non-blocking eventfd; whether it had room."""
    with contextlib.suppress(BlockingIOError):
        return os.write(fd, number(value)) == 8
    return False


class BesideEventfd(RuleBasedStateMachine):
    """Whatever is done, our counter and a real eventfd hold and answer the same."""

    def __init__(self):
        super().__init__()
        self.irq = Irq()
        self.real = os.eventfd(0, os.EFD_NONBLOCK)
        self.signals = 0

    @rule(value=values)
    def add(self, value):
        assert self.irq.add(value) == real_add(self.real, value)

    @rule(value=values.filter(bool))
    def signal(self, value):
        self.signals += 1
        self.irq.signal(value)
        real_add(self.real, value)

    @rule()
    def take(self):
        expected = 0
        with contextlib.suppress(BlockingIOError):
            expected = os.eventfd_read(self.real)
        assert self.irq.take() == expected

    @invariant()
    def same_count_and_readiness(self):
        assert self.irq.count == eventfd_count(self.real)
        assert self.irq.statistics().signals == self.signals
        poll = select.poll()
        poll.register(self.real, select.POLLIN | select.POLLOUT)
        events = dict(poll.poll(0)).get(self.real, 0)
        assert bool(events & select.POLLIN) == (self.irq.count > 0)
        assert bool(events & select.POLLOUT) == (self.irq.count < COUNTER_MAX)

    def teardown(self):
        os.close(self.real)


class OnEventfd(RuleBasedStateMachine):
    """An attached eventfd holds what a real one holds after the same writes; nothing blocks."""

    flags = 0

    def __init__(self):
        super().__init__()
        self.irq = Irq()
        self.client = os.eventfd(0, self.flags)
        self.irq.attach(os.dup(self.client))
        self.real = os.eventfd(0, os.EFD_NONBLOCK)

    @rule(value=values)
    def add(self, value):
        assert self.irq.add(value) == real_add(self.real, value)

    @rule(value=values.filter(bool))
    def signal(self, value):
        self.irq.signal(value)
        real_add(self.real, value)

    @rule()
    def read(self):
        if eventfd_count(self.real):
            assert os.eventfd_read(self.client) == os.eventfd_read(self.real)

    @invariant()
    def same_count(self):
        assert eventfd_count(self.client) == eventfd_count(self.real)
        assert self.irq.count == 0

    def teardown(self):
        self.irq.detach()
        os.close(self.client)
        os.close(self.real)


class OnNonblockingEventfd(OnEventfd):
    flags = os.EFD_NONBLOCK


quick = settings(max_examples=60, stateful_step_count=20, deadline=None)
TestBesideEventfd = BesideEventfd.TestCase
TestBesideEventfd.settings = quick
TestOnEventfd = OnEventfd.TestCase
TestOnEventfd.settings = quick
TestOnNonblockingEventfd = OnNonblockingEventfd.TestCase
TestOnNonblockingEventfd.settings = quick


def test_waiters_hear_of_every_addition_and_of_room_in_a_full_counter():
    calls = []
    irq = Irq()
    irq.on_ready = lambda: calls.append(irq.count)
    irq.signal()
    irq.add(2)
    irq.add(0)
    assert calls == [1, 3, 3]
    irq.take()
    irq.add(0)
    assert calls == [1, 3, 3]
    irq.add(COUNTER_MAX)
    irq.take()
    assert calls == [1, 3, 3, COUNTER_MAX, 0]


def test_signals_that_find_a_full_counter_are_dropped_and_counted():
    irq = Irq()
    irq.add(COUNTER_MAX)
    irq.signal()
    client = os.eventfd(COUNTER_MAX >> 33, os.EFD_NONBLOCK)
    irq.attach(client)
    os.write(client, number(COUNTER_MAX - (COUNTER_MAX >> 33)))
    irq.signal()
    assert irq.statistics().dropped == 2
    irq.detach()
    assert irq.take() == COUNTER_MAX


def test_attaching_closes_what_was_attached_and_detaching_too():
    irq = Irq()
    first, second = os.eventfd(0), os.eventfd(0)
    irq.attach(first)
    irq.attach(second)
    assert not os.path.exists(f"/proc/self/fd/{first}")
    irq.signal()
    assert eventfd_count(second) == 1
    irq.detach()
    assert not os.path.exists(f"/proc/self/fd/{second}")
    irq.detach()
    irq.signal()
    assert irq.take() == 1


def test_the_clients_flags_are_never_changed():
    client = os.eventfd(0)
    irq = Irq()
    irq.attach(os.dup(client))
    irq.signal()
    assert os.get_blocking(client)
    irq.detach()
    os.close(client)
