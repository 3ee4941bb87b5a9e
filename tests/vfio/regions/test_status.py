"""status_region: in one piece, whatever goes on meanwhile, and its sequence never goes back."""

import errno
import os
import sys
import threading

import pytest

from lab.programs import NOP, SLI
from lab.waits import SOON
from tests.rig import Rig
from vfioccw_fuse.regions import codec
from vfioccw_fuse.regions import constants as c
from vfioccw_fuse.regions.layouts import StatusRegion

PENDING = c.SCSW_STCTL_STATUS_PEND


def check(before: StatusRegion | None, data: bytes) -> StatusRegion:
    """One reading, and how it follows the one before."""
    status = codec.STATUS_REGION.parse(data)
    assert (status.version, status.size, len(data)) == (1, 128, 128)
    assert status.sequence % 2 == 0
    assert status.fsm_state in (2, 4)
    ctrl = int.from_bytes(status.scsw_area[2:4])
    # What belongs together: all starts but the one in progress were taken.
    assert bool(ctrl & PENDING) == bool(status.pending)
    assert status.starts - status.interruptions in (0, 1)
    assert bool(ctrl & 0x4000) == (status.starts != status.interruptions)
    assert (status.fsm_state == 4) <= (status.starts != status.interruptions)
    if before is not None:
        assert status.sequence >= before.sequence
        for name in ("starts", "interruptions", "ebusy_busy", "ebusy_status_pending"):
            assert getattr(status, name) >= getattr(before, name)
        if status.sequence == before.sequence:
            assert status == before
    return status


class Reader(threading.Thread):
    """Reads in a loop until it is told to end."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.fd = os.open(path, os.O_RDONLY)
        self.ended = False
        self.reads = 0
        self.sequences: set[int] = set()
        self.error: BaseException | None = None

    def run(self) -> None:
        before = None
        try:
            while not self.ended:
                before = check(before, os.pread(self.fd, 128, 0))
                self.reads += 1
                self.sequences.add(before.sequence)
        except BaseException as error:
            self.error = error
        finally:
            os.close(self.fd)


def read_during(rig: Rig, requests: int) -> Reader:
    reader = Reader(str(rig.path / "status_region"))
    reader.start()
    try:
        assert rig.start((NOP, SLI, 1, 0)) == 0
        rig.take()
        io = os.open(rig.path / "io_region", os.O_RDWR)
        request = (rig.path / "io_region").read_bytes()[:24].ljust(124, b"\0")
        left = requests - 1
        while left:
            try:
                os.pwrite(io, request, 0)
                left -= 1
            except OSError as refused:
                # The IRB of the start before was not there yet when it was read.
                if refused.errno != errno.EBUSY:
                    raise
            os.pread(io, 124, 0)
        os.close(io)
    finally:
        reader.ended = True
        reader.join(SOON)
    if reader.error is not None:
        raise reader.error
    return reader


def test_a_reader_sees_no_torn_and_no_backward_status_during_5000_requests(rig: Rig) -> None:
    reader = read_during(rig, 5_000)
    assert reader.reads > 100
    assert len(reader.sequences) > 100
    assert rig.full.status().starts == 5_000


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_reader_sees_no_torn_and_no_backward_status_during_100000_requests(rig: Rig) -> None:
    reader = read_during(rig, 100_000)
    assert reader.reads > 10_000
    assert rig.full.status().starts == 100_000


def test_a_reading_changes_nothing_and_gives_the_same_again(rig: Rig) -> None:
    first = rig.full.status()
    assert all(rig.full.status() == first for _ in range(5))
    assert rig.start((NOP, SLI, 1, 0)) == 0
    rig.take()
    assert rig.full.status().sequence > first.sequence


def test_every_change_grows_the_sequence(rig: Rig) -> None:
    seen = [rig.full.status().sequence]

    def changed() -> None:
        seen.append(rig.full.status().sequence)
        assert seen[-1] > seen[-2]

    rig.control("delay=60s")
    assert rig.start((NOP, SLI, 1, 0)) == 0
    changed()
    assert rig.start((NOP, SLI, 1, 0)) == 2
    changed()
    assert rig.full.cancel() == 0
    changed()
    assert rig.sub.clear() == 0
    assert rig.sub.wait(SOON)
    changed()
    rig.sub.result()
    changed()


def test_reset_and_partial_reads_keep_it_even_and_growing(rig: Rig) -> None:
    before = rig.full.status().sequence
    for _ in range(10):
        assert rig.start((NOP, SLI, 1, 0)) == 0
        rig.reset()
        with (rig.path / "status_region").open("rb", buffering=0) as file:
            file.seek(8)
            sequence = int.from_bytes(file.read(8), sys.byteorder)
        assert sequence % 2 == 0
        assert sequence > before
        before = sequence


def test_deferred_condition_code_and_return_code_are_there(rig: Rig) -> None:
    rig.control("fault=busy,count=1")
    assert rig.start((NOP, SLI, 1, 0)) == 0
    assert rig.sub.wait(SOON)
    status = rig.full.status()
    assert (status.cc, status.deferred_cc, status.pending) == (0, 1, 1)
    assert rig.start((NOP, SLI, 1, 0)) == 2
    status = rig.full.status()
    assert (status.cc, status.ret_code) == (1, -16 & 0xFFFFFFFF)
    rig.sub.result()
