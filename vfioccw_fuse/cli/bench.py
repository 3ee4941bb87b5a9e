"""`vfioccw bench`: what one subchannel of a mount costs, from a client's side.

The figures are medians of single requests, without warm-up, made of bare system calls, so that they
are the mount's and not the client's. Server and client pinned to one processor (taskset) give the
steadiest: across processors the wake-up of an idle one, tens of microseconds, hides the rest.
"""

import os
import select
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import click

from ..client import FbaDisk, Program, Subchannel, Unsupported
from ..client.fba import MOST_BLOCKS
from ..client.irq import IrqEventfd, IrqFile
from ..devices.fba.codes import BLOCK
from ..errors import UserError
from ..regions import codec
from ..regions.constants import (
    CCW_CMD_NOOP,
    CCW_FLAG_SLI,
    IO_REGION_SIZE,
    IRB_AREA_OFFSET,
    SCSW_FCTL_START_FUNC,
    SCSW_STCTL_STATUS_PEND,
    VFIO_CCW_IO_IRQ_INDEX,
)
from ..regions.layouts import IoRegion, Scsw
from .asjson import json_option, show_json
from .places import SUBCHANNEL
from .subchannels import opened
from .text import columns

_WARM_UP = 50  # rounds that do not count
_PATIENCE = 5.0  # seconds for one interruption
_US = 1e6


class Figure(NamedTuple):
    """One line of the result."""

    what: str
    """What was measured."""
    p50_us: float
    """The median, in microseconds."""
    p99_us: float
    """What 99 of 100 do not exceed, in microseconds."""


@click.command(name="bench")
@click.argument("subchannel", type=SUBCHANNEL)
@click.option(
    "--rounds",
    type=click.IntRange(10, 1_000_000),
    default=2000,
    show_default=True,
    help="Channel programs a line of the result.",
)
@json_option
def bench_command(subchannel: str, rounds: int, as_json: bool) -> None:
    """Measure the requests of SUBCHANNEL (MNT/0.0.0313), an otherwise idle one.

    A round trip is what a guest waits for: write the io region (START of a program of one NOP),
    learn of the interruption, read the IRB. p50 and p99 in microseconds. An FBA disk is read, too,
    nothing is written.

    \b
    Examples, the second with client and server on one processor:
      vfioccw bench /tmp/m/0.0.0313
      taskset -c 0 vfioccw mount /tmp/m --device fba@0.0.0313:disk.img
      taskset -c 0 vfioccw bench /tmp/m/0.0.0313
    """
    with opened(subchannel) as sub:
        with Program(sub.storage) as program:
            program.ccw(CCW_CMD_NOOP, CCW_FLAG_SLI, 1)
            program.lay_out()
            sub.execute(program)  # a device that does not work shows it here, in words
            request = _request(program)
        found: list[Figure] = []
        io_region = os.open(os.path.join(sub.path, "io_region"), os.O_RDWR | os.O_CLOEXEC)
        try:
            found += _by_poll(sub, io_region, request, rounds)
            found += _by_eventfd(sub, io_region, request, rounds)
        finally:
            os.close(io_region)
        found += _read_blocks(sub, rounds)
    if as_json:
        show_json([figure._asdict() for figure in found])
        return
    rows = [(figure.what, f"{figure.p50_us:.1f}", f"{figure.p99_us:.1f}") for figure in found]
    for line in columns([("", "p50 us", "p99 us"), *rows]):
        click.echo(line)


def _request(program: Program) -> bytes:
    """Build the io region that starts *program*, big endian."""
    return codec.IO_REGION.pack(
        IoRegion(
            orb_area=codec.ORB.pack(program.orb()),
            scsw_area=codec.SCSW.pack(Scsw(ctrl=SCSW_FCTL_START_FUNC)),
        )
    )


def _by_poll(sub: Subchannel, fd: int, request: bytes, rounds: int) -> list[Figure]:
    """Time round trips that poll the file `io_irq`, and the write and read in them."""
    irq = IrqFile(os.path.join(sub.path, "io_irq"))
    try:
        irq.take()
        return _round_trips("poll of io_irq", fd, request, irq.fd, irq.take, rounds)
    finally:
        irq.close()


def _by_eventfd(sub: Subchannel, fd: int, request: bytes, rounds: int) -> list[Figure]:
    """Time round trips by an eventfd of our own; empty if the mount takes none."""
    try:
        irq = IrqEventfd(sub.path, "io_irq", VFIO_CCW_IO_IRQ_INDEX)
    except Unsupported:
        return []
    try:
        return _round_trips("eventfd", fd, request, irq.fd, irq.take, rounds)[-1:]
    finally:
        irq.close()


def _round_trips(
    name: str, fd: int, request: bytes, irq_fd: int, take: Callable[[], int], rounds: int
) -> list[Figure]:
    """Time *rounds* round trips; give the lines of the write, the read and the whole."""
    poll = select.poll()
    poll.register(irq_fd, select.POLLIN)
    clock = time.perf_counter
    writes, reads, trips = [], [], []
    status = IRB_AREA_OFFSET + codec.IRB.offset_of("scsw_ctrl") + 1
    for number in range(_WARM_UP + rounds):
        begin = clock()
        os.pwrite(fd, request, 0)
        written = clock()
        if not poll.poll(_PATIENCE * 1000):
            raise UserError(f"no interruption within {_PATIENCE:g} s; vfioccw csch clears it")
        take()
        noticed = clock()
        region = os.pread(fd, IO_REGION_SIZE, 0)
        end = clock()
        if not region[status] & SCSW_STCTL_STATUS_PEND:
            raise UserError("an interruption without status; does another client use it?")
        if number >= _WARM_UP:
            writes.append(written - begin)
            reads.append(end - noticed)
            trips.append(end - begin)
    return [
        _figure("pwrite of io_region", writes),
        _figure("pread of io_region", reads),
        _figure(f"round trip, {name}", trips),
    ]


def _read_blocks(sub: Subchannel, rounds: int) -> list[Figure]:
    """Time reads of 96 blocks by one program of 98 CCWs, from an FBA disk that has them."""
    try:
        disk = FbaDisk(sub)
    except Unsupported:
        return []
    with disk:
        blocks = min(disk.blocks, MOST_BLOCKS)
        times = []
        for _ in range(max(10, rounds // 10)):
            begin = time.perf_counter()
            for _ in disk.read_blocks(0, blocks):
                pass
            times.append(time.perf_counter() - begin)
    return [_figure(f"read of {blocks} blocks ({blocks * BLOCK} bytes), poll", times)]


def _figure(what: str, seconds: list[float]) -> Figure:
    """Give what comes of *seconds*, the times of single requests."""
    p99 = statistics.quantiles(seconds, n=100)[98]
    return Figure(what, statistics.median(seconds) * _US, p99 * _US)
