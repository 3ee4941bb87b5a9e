"""Status as clients of a mount meet it: what joins what nobody has read, and what a device says."""

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
    ALERT,
    BITS,
    CC,
    CLEAR,
    ENDED,
    HALT,
    INTERMEDIATE,
    IRB_AT,
    NOP,
    PCI,
    PENDING,
    PRIMARY,
    SECONDARY,
    SLI,
    START,
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


class Disk(IoClient):
    """A disk's subchannel of one interface."""

    def __init__(self, system: Mount, interface: str) -> None:
        super().__init__(system.path / SCHID)
        self.interface = interface

    def end(self, function: str) -> None:
        """End the start in progress; clear and halt are where the interface has them."""
        if function == "reset":
            (self.directory / "reset").write_text("1")
        elif self.interface == "async":
            path = self.directory / "cmd_region"
            path.write_bytes(BITS[function].to_bytes(4, sys.byteorder) + bytes(4))
        else:
            assert self.request({"hsch": HALT, "csch": CLEAR}[function]) == 0

    def endings(self) -> Mapping[str, int]:
        """How a start can be ended, and the ctrl halfword of what it brings: 0 for nothing."""
        functions = {"hsch": START | HALT | PENDING, "csch": CLEAR | PENDING}
        return {"reset": 0} | (functions if self.interface != "start-only" else {})


@pytest.fixture(params=["start-only", "scsw", "async", "full"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    """A mount of each interface, with a disk."""
    image = tmp_path / "disk.img"
    image.write_bytes(bytes(64 * 512))
    words = ("--device", f"fba@{SCHID}:{image}", "--interface", request.param)
    with mounted_at(tmp_path / "mnt", *words) as system, Disk(system, request.param) as made:
        yield made


@pytest.mark.parametrize("fault", ["hang", "lost-interruption"])
def test_no_device_end_is_owed_by_a_start_that_never_ended(disk: Disk, fault: str) -> None:
    control = disk.directory / "control"
    for function, ctrl in disk.endings().items():
        for dstat in (0x04, 0x80, 0x84, 0x85):
            assert disk.control(f"fault={fault} count=1") == 0
            assert disk.start((NOP, SLI, 1, 0)) == 0
            until(lambda: "fault=none" in control.read_text(), "the fault has hit")
            assert disk.control(f"unsolicited={dstat:02x}") == 0
            disk.end(function)
            if ctrl:
                assert disk.take()[1:5:2] == (ctrl, 0)
                status = disk.take()
                assert (status.ctrl, status.dstat) == (ALERT | PENDING, dstat)
            # What comes next is of the next: nothing was left.
            assert disk.control("unsolicited=04") == 0
            status = disk.take()
            assert (status.ctrl, status.dstat) == (ALERT | PENDING, 0x04)
            status = disk.run((NOP, SLI, 1, 0))
            assert (status.ctrl, status.dstat) == (START | FINAL, ENDED)
