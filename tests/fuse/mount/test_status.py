"""Intermediate status as clients of a mount meet it: one event for what nobody has read."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import pytest

from lab.client import Client, Connection
from lab.mounts import SCHID, Mount, mounted_at
from lab.programs import (
    CC,
    ENDED,
    INTERMEDIATE,
    IRB_AT,
    NOP,
    PCI,
    PENDING,
    PRIMARY,
    SECONDARY,
    SLI,
    STCTL,
    Irb,
)
from lab.waits import SOON, until

READ_INQUIRY = 0x0A
ASKS = ((NOP, CC | SLI | PCI, 1, 0), (READ_INQUIRY, SLI, 80, 0x3000))
"""A PCI, then the program waits until the operator has typed a line."""
FINAL = PRIMARY | SECONDARY | PENDING
QUIET = 50
"""Milliseconds for which nothing comes, where nothing shall."""


class IoClient(Client):
    """Has what every interface has."""

    FILES: ClassVar[Mapping[str, int]] = {
        "io_region": os.O_RDWR,
        "io_irq": os.O_RDONLY | os.O_NONBLOCK,
        "memory": os.O_RDWR,
    }


class Console(IoClient):
    """A console's subchannel, and its operator."""

    def __init__(self, system: Mount, terminal: Path) -> None:
        super().__init__(system.path / SCHID)
        self.system = system
        self.operator = os.open(terminal, os.O_RDWR | os.O_NOCTTY)

    def close(self) -> None:
        super().close()
        os.close(self.operator)

    def ask(self) -> None:
        """Start; the PCI is shown, and the program waits for the operator."""
        assert self.start(*ASKS) == 0
        until(lambda: self.system.state()["interruptions_shown"] == "1", "the PCI is shown")
        until(lambda: self.system.state()["fsm"] == "CP_PENDING", "the program waits")

    def answer(self) -> None:
        """The operator types a line: the program ends."""
        os.write(self.operator, b"yes\n")
        until(lambda: self.system.state()["fsm"] == "IDLE", "the program has ended")

    def events(self) -> int:
        """What the file io_irq counts; it is taken."""
        try:
            return int.from_bytes(os.read(self.fds["io_irq"], 8), sys.byteorder)
        except BlockingIOError:
            return 0


@pytest.fixture(params=["start-only", "scsw", "async", "full"])
def console(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Console]:
    """A mount of each interface, with a console."""
    terminal = tmp_path / "terminal"
    spec = f"3215@{SCHID}:{terminal}"
    with (
        mounted_at(tmp_path / "mnt", "--device", spec, "--interface", request.param) as system,
        Console(system, terminal) as made,
    ):
        yield made


def is_joined(irb: Irb) -> bool:
    return irb.ctrl & STCTL == INTERMEDIATE | FINAL and (irb.dstat, irb.cstat) == (ENDED, 0x80)


def test_io_irq_counts_once_what_nobody_has_read(console: Console) -> None:
    console.ask()
    console.answer()
    assert console.events() == 1
    assert is_joined(console.irb())
    assert console.events() == 0


def test_a_read_between_is_two_events(console: Console) -> None:
    console.ask()
    first = console.take()
    assert (first.ctrl & STCTL, first.cstat) == (INTERMEDIATE | PENDING, 0x80)
    console.answer()
    last = console.take()
    assert (last.ctrl & STCTL, last.dstat, last.cstat) == (FINAL, ENDED, 0)


def test_the_clients_eventfd_is_signalled_once_too(console: Console) -> None:
    connection = Connection(console.system.path)
    eventfd = os.eventfd(0, os.EFD_CLOEXEC)
    try:
        assert connection.send({"subchannel": SCHID, "irq": 0}, eventfd) == {"ok": True}
        console.ask()
        console.answer()
        assert os.eventfd_read(eventfd) == 1
        assert is_joined(console.irb())
        console.ask()
        assert console.irb().cstat == 0x80
        console.answer()
        assert os.eventfd_read(eventfd) == 2
        assert console.irb().cstat == 0
    finally:
        os.close(eventfd)
        connection.socket.close()


def test_edge_triggered_epoll_sees_one_edge(console: Console) -> None:
    with select.epoll() as epoll:
        epoll.register(console.fds["io_irq"], select.EPOLLIN | select.EPOLLET)
        console.ask()
        assert epoll.poll(SOON) == [(console.fds["io_irq"], select.EPOLLIN)]
        console.answer()
        assert epoll.poll(QUIET / 1000) == []
        assert is_joined(console.irb())
        assert console.events() == 1
        console.ask()
        assert epoll.poll(SOON) == [(console.fds["io_irq"], select.EPOLLIN)]
        assert console.irb().cstat == 0x80
        console.answer()
        assert epoll.poll(SOON) == [(console.fds["io_irq"], select.EPOLLIN)]
        assert console.irb().dstat == ENDED


def test_what_one_opener_reads_is_read_for_all(console: Console) -> None:
    with (
        IoClient(console.directory) as other,
        (console.directory / "device").open("rb", 0) as device,
    ):
        console.ask()
        assert other.irb().cstat == 0x80
        console.answer()
        console.events()
        irb = Irb.of(os.pread(device.fileno(), 96, IRB_AT))
        assert (irb.dstat, irb.cstat) == (ENDED, 0), "the PCI was taken"
        assert console.events() == 0
        console.ask()
        console.answer()
        assert is_joined(other.irb())
        assert is_joined(console.irb()), "the bytes stay"
        assert console.events() == 1
