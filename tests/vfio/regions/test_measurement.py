"""measurement_region: counts and times against programs whose timing is known."""

import time

import pytest

from lab.programs import CC, ENDED, FORMAT1, NOP, SLI, SPND, SUSPEND
from lab.waits import until
from tests.rig import Rig
from vfioccw_fuse.regions import constants as c

MS = 1_000_000
AT_WORK = c.SCSW_ACTL_SUBCH_ACTIVE | c.SCSW_ACTL_DEVICE_ACTIVE
TIMES = (
    "device_connect",
    "function_pending",
    "device_disconnect",
    "control_unit_queuing",
    "device_active_only",
    "device_busy",
    "initial_command_response",
)


def run(rig: Rig) -> None:
    assert rig.start((NOP, SLI, 1, 0)) == 0
    assert rig.take().scsw_dstat == ENDED


def test_a_delay_is_function_pending_time_once_for_each_start(rig: Rig) -> None:
    run(rig)
    before = rig.full.measurement()
    rig.control("delay=120ms")
    began = time.monotonic_ns()
    for _ in range(3):
        run(rig)
    took = time.monotonic_ns() - began
    after = rig.full.measurement()
    assert after.ssch_rsch_count - before.ssch_rsch_count == 3
    assert after.sample_count - before.sample_count == 3
    pending = after.function_pending_ns - before.function_pending_ns
    connected = after.device_connect_ns - before.device_connect_ns
    assert pending >= 360 * MS
    assert connected > 0
    # A machine that is busy lengthens all of it: no time may be counted twice.
    assert pending + connected <= took
    assert after.device_disconnect_ns == before.device_disconnect_ns


def test_a_hang_is_disconnect_time_until_its_halt(rig: Rig) -> None:
    rig.control("fault=hang,count=1")
    began = time.monotonic_ns()
    assert rig.start((NOP, SLI, 1, 0)) == 0
    until(lambda: rig.full.store().scsw_ctrl & AT_WORK, "the device is at work")
    time.sleep(0.2)
    assert rig.sub.halt() == 0
    rig.take()
    took = time.monotonic_ns() - began
    measured = rig.full.measurement()
    assert 190 * MS <= measured.device_disconnect_ns <= took
    assert measured.sample_count == 0, "a halted start did not end"


def test_time_in_which_a_program_is_suspended_does_not_count(rig: Rig) -> None:
    program = ((NOP, CC | SLI, 1, 0), (NOP, SLI | SUSPEND, 1, 0))
    began = time.monotonic_ns()
    assert rig.start(*program, ctrl0=FORMAT1 | SPND) == 0
    assert rig.take().scsw_ctrl & c.SCSW_ACTL_SUSP
    stopped = time.monotonic_ns()
    time.sleep(0.2)
    stopped = time.monotonic_ns() - stopped
    rig.sub.storage.view[0x2009] = SLI
    assert rig.full.resume() == 0
    assert rig.take().scsw_dstat == ENDED
    took = time.monotonic_ns() - began
    measured = rig.full.measurement()
    assert (measured.ssch_rsch_count, measured.sample_count) == (2, 1)
    total = sum(getattr(measured, f"{name}_ns") for name in TIMES)
    assert total <= took - stopped


@pytest.mark.parametrize("name", TIMES)
def test_units_are_those_of_the_architecture(rig: Rig, name: str) -> None:
    rig.control("delay=10ms")
    run(rig)
    measured = rig.full.measurement()
    ns = getattr(measured, f"{name}_ns")
    assert getattr(measured, f"{name}_time") == ns // 128_000


def test_a_refused_start_counts_nothing_and_reset_keeps_the_counts(rig: Rig) -> None:
    run(rig)
    rig.control("delay=60s")
    assert rig.start((NOP, SLI, 1, 0)) == 0
    assert rig.start((NOP, SLI, 1, 0)) == 2
    assert rig.full.cancel() == 0
    measured = rig.full.measurement()
    assert (measured.ssch_rsch_count, measured.sample_count) == (2, 1)
    rig.reset()
    assert rig.full.measurement().ssch_rsch_count == 2
