"""measurement_region: counts and times against programs whose timing is known."""

import time

import pytest

from regions import constants as c
from tests.own_regions.rig import CC, ENDED, FORMAT1, NOP, SLI, SPND, SUSPEND, Rig

MS = 1_000_000
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
    for _ in range(3):
        run(rig)
    after = rig.full.measurement()
    assert after.ssch_rsch_count - before.ssch_rsch_count == 3
    assert after.sample_count - before.sample_count == 3
    assert 360 * MS <= after.function_pending_ns - before.function_pending_ns < 900 * MS
    assert 0 < after.device_connect_ns - before.device_connect_ns < 100 * MS
    assert after.device_disconnect_ns == before.device_disconnect_ns


def test_a_hang_is_disconnect_time_until_its_halt(rig: Rig) -> None:
    rig.control("fault=hang,count=1")
    assert rig.start((NOP, SLI, 1, 0)) == 0
    time.sleep(0.2)
    assert rig.sub.halt() == 0
    rig.take()
    measured = rig.full.measurement()
    assert 190 * MS <= measured.device_disconnect_ns < 700 * MS
    assert measured.sample_count == 0, "a halted start did not end"


def test_time_in_which_a_program_is_suspended_does_not_count(rig: Rig) -> None:
    program = ((NOP, CC | SLI, 1, 0), (NOP, SLI | SUSPEND, 1, 0))
    assert rig.start(*program, ctrl0=FORMAT1 | SPND) == 0
    assert rig.take().scsw_ctrl & c.SCSW_ACTL_SUSP
    time.sleep(0.2)
    rig.sub.storage.view[0x2009] = SLI
    assert rig.full.resume() == 0
    assert rig.take().scsw_dstat == ENDED
    measured = rig.full.measurement()
    assert (measured.ssch_rsch_count, measured.sample_count) == (2, 1)
    total = sum(getattr(measured, f"{name}_ns") for name in TIMES)
    assert total < 150 * MS


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
