"""START, HALT, CLEAR and STORE as a guest sees them, and scsw(q) around them."""

import errno
import os
import signal

import pytest

from lab.waits import SOON
from vfioccw_fuse.client import (
    NoInterruption,
    Program,
    ProgramFailed,
    Refused,
    RequestFailed,
    Subchannel,
    condition_code,
)
from vfioccw_fuse.regions.constants import (
    CCW_FLAG_SLI,
    SCSW_ACTL_START_PEND,
    SCSW_CSTAT_PROG_CHECK,
    SCSW_CTRL_MASK_FCTL,
    SCSW_DSTAT_CHANNEL_END,
    SCSW_DSTAT_DEVICE_END,
    SCSW_FCTL_CLEAR_FUNC,
    SCSW_FCTL_HALT_FUNC,
    SCSW_FCTL_START_FUNC,
)
from vfioccw_fuse.regions.layouts import Orb, Scsw

GOOD = SCSW_DSTAT_CHANNEL_END | SCSW_DSTAT_DEVICE_END


@pytest.fixture
def sub(mnt):
    with Subchannel(mnt.subchannel) as sub:
        yield sub


@pytest.fixture
def nop(sub):
    with Program(sub.storage) as program:
        program.ccw(0x03, CCW_FLAG_SLI, 1)
        program.lay_out()
        yield program


@pytest.mark.parametrize(
    ("number", "cc"),
    [
        (0, 0),
        (errno.EBUSY, 2),
        (errno.ENODEV, 3),
        (errno.EACCES, 3),
        (errno.EINVAL, None),
        (errno.EFAULT, None),
        (errno.EIO, None),
        (errno.EAGAIN, None),
        (errno.EOPNOTSUPP, None),
    ],
)
def test_errno_becomes_a_condition_code_as_in_qemu(number, cc):
    assert condition_code(number) == cc


def test_start_wait_result(sub, nop):
    assert sub.start(nop.orb()) == 0
    assert sub.scsw.ctrl == SCSW_FCTL_START_FUNC | SCSW_ACTL_START_PEND
    assert sub.wait(SOON)
    irb = sub.result()
    assert (irb.scsw_dstat, irb.scsw_cstat, irb.scsw_cpa) == (GOOD, 0, nop.cpa + 8)
    assert sub.scsw.ctrl == 0
    assert not sub.wait(0)


def test_start_takes_the_address_of_a_program(sub, nop):
    assert sub.start(nop.cpa) == 0
    assert sub.wait(SOON)
    assert sub.result().scsw_dstat == GOOD


def test_a_second_start_is_busy_and_leaves_scsw_as_it_was(mnt, sub, nop):
    mnt.control("fault=hang")
    assert sub.start(nop.orb()) == 0
    before = sub.scsw
    assert sub.start(nop.orb()) == 2
    assert sub.scsw == before
    assert sub.clear_and_wait().scsw_ctrl & SCSW_FCTL_CLEAR_FUNC


def test_a_refused_start_loses_no_interruption(mnt, sub, nop):
    assert sub.start(nop.orb()) == 0
    with Subchannel(mnt.subchannel) as other:
        assert other.start(nop.orb()) == 2
        assert other.scsw == Scsw()
    assert sub.wait(SOON)
    assert sub.result().scsw_dstat == GOOD


def test_halt_ends_a_start_that_hangs(mnt, sub, nop):
    mnt.control("fault=hang")
    assert sub.start(nop.orb()) == 0
    assert sub.halt() == 0
    assert sub.scsw.ctrl & (SCSW_FCTL_START_FUNC | SCSW_FCTL_HALT_FUNC) == 0x6000
    assert sub.wait(SOON)
    assert sub.result().scsw_ctrl == 0x6001
    assert sub.scsw.ctrl == 0


def test_clear_wipes_start_and_halt(mnt, sub, nop):
    mnt.control("fault=hang")
    sub.start(nop.orb())
    assert sub.clear() == 0
    assert sub.wait(SOON)
    assert sub.result().scsw_ctrl == 0x1001


def test_after_a_clear_old_events_are_no_conclusion(sub, nop):
    assert sub.start(nop.orb()) == 0  # its interruption is signalled, and never taken
    assert sub.clear_and_wait().scsw_ctrl == 0x1001
    assert sub.execute(nop).scsw_cpa == nop.cpa + 8


def test_not_operational_is_cc_3_and_leaves_scsw_as_it_was(mnt, sub, nop):
    mnt.control("fault=not-operational")
    assert (sub.start(nop.orb()), sub.halt(), sub.clear()) == (3, 3, 3)
    assert sub.scsw == Scsw()
    mnt.control("fault=none")
    assert sub.execute(nop).scsw_dstat == GOOD


@pytest.mark.parametrize(
    ("orb", "number"),
    [
        (Orb(ctrl0=0x0080, lpm=0xFF, ctrl1=0x02, cpa=0x1000), errno.EIO),
        (Orb(ctrl0=0x00C0, lpm=0xFF, cpa=0x7F000000), errno.EINVAL),
    ],
)
def test_an_errno_without_cc_is_raised_and_the_next_request_works(sub, nop, orb, number):
    with pytest.raises(RequestFailed) as failed:
        sub.start(orb)
    assert failed.value.errno == number
    assert sub.scsw == Scsw()
    assert sub.execute(nop).scsw_dstat == GOOD


def test_store_reads_the_schib(sub, nop):
    schib = sub.store()
    assert (schib.pmcw_devno, schib.pmcw_flags & 0x0081) == (0x0313, 0x0081)


def test_wait_gives_up(sub):
    assert sub.wait(0.05) is False


def test_a_program_that_fails_brings_its_sense(sub):
    with Program(sub.storage) as program:
        program.ccw(0x42, 0, 512)
        program.lay_out()
        with pytest.raises(ProgramFailed, match="command reject") as failed:
            sub.execute(program)
    assert failed.value.sense[0] == 0x80
    assert sub.sense_id().dev_type == 0x9336


def test_a_program_check_is_an_irb(sub):
    with pytest.raises(ProgramFailed) as failed:
        sub.execute(Orb(ctrl0=0x0080, lpm=0xFF, cpa=0x7F000000))
    assert failed.value.irb.scsw_cstat == SCSW_CSTAT_PROG_CHECK


def test_a_program_that_hangs_is_cleared_and_the_subchannel_is_usable(mnt, sub, nop):
    mnt.control("fault=hang,count=1")
    with pytest.raises(NoInterruption):
        sub.execute(nop, timeout=0.1)
    assert sub.execute(nop).scsw_dstat == GOOD


def test_a_signal_in_the_middle_of_a_start_leaves_nothing_behind(mnt, sub, nop, monkeypatch):
    """The request is accepted, and Ctrl-C comes before the client has seen that."""

    def on_alarm(_signal, _frame):
        raise KeyboardInterrupt

    came_in_time = 0
    before = signal.signal(signal.SIGALRM, on_alarm)
    try:
        mnt.control("fault=hang")
        for turn in range(400):
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-6 * (20 + turn))
                sub.execute(nop)
            except KeyboardInterrupt:
                came_in_time += 1
            schib = sub.store()
            assert not schib.scsw_ctrl & SCSW_CTRL_MASK_FCTL, f"turn {turn}"
            assert not sub.scsw.ctrl & SCSW_CTRL_MASK_FCTL, f"turn {turn}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert came_in_time == 400
    mnt.control("fault=none")
    assert sub.execute(nop).scsw_dstat == GOOD


def test_execute_refused_says_why(mnt, sub, nop):
    mnt.control("fault=not-operational")
    with pytest.raises(Refused, match="condition code 3, not operational"):
        sub.execute(nop)


def test_sense_id_and_characteristics(sub):
    assert str(sub.sense_id()) == "9336/00 6310/01"
    assert len(sub.rdc()) == 32
    assert set(sub.sense()) == {0}


def test_again_is_repeated_but_not_for_ever(sub, nop, monkeypatch):
    answers = iter([BlockingIOError(errno.EAGAIN, "again")] * 3)
    real = os.pwrite

    def pwrite(fd: int, data: bytes, offset: int) -> int:
        for answer in answers:
            raise answer
        return real(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    assert sub.start(nop.orb()) == 0
    assert sub.statistics().again == 3
    assert sub.wait(SOON)
    sub.result()

    def never(fd: int, data: bytes, offset: int) -> int:
        raise BlockingIOError(errno.EAGAIN, "again")

    monkeypatch.setattr(os, "pwrite", never)
    monkeypatch.setattr(sub, "_again_within", 0.02)
    before = sub.scsw
    with pytest.raises(RequestFailed) as failed:
        sub.start(nop.orb())
    assert failed.value.errno == errno.EAGAIN
    assert sub.scsw == before


def test_a_short_write_is_efault(sub, nop, monkeypatch):
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: 4)
    with pytest.raises(RequestFailed) as failed:
        sub.start(nop.orb())
    assert failed.value.errno == errno.EFAULT


def test_statistics_count_what_was_done(mnt, sub, nop):
    sub.execute(nop)
    sub.clear_and_wait()
    mnt.control("fault=not-operational")
    sub.start(nop.orb())
    done = sub.statistics()
    assert (done.starts, done.clears, done.interruptions, done.refused) == (2, 1, 2, 1)
