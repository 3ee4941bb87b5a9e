"""Requests and events in any order, seen through status_region and the FSM's table.

The machine is that of tests/vfio; what is added is what a reader of the status may rely on.
"""

from hypothesis import HealthCheck, settings
from hypothesis.stateful import invariant

from tests.vfio.test_any_order import AnyOrder
from vfioccw_fuse.regions import codec
from vfioccw_fuse.regions import constants as c
from vfioccw_fuse.regions.layouts import StatusRegion
from vfioccw_fuse.vfio.fsm import State

GROWING = ("sequence", "starts", "halts", "clears", "interruptions",
           "ebusy_status_pending", "ebusy_busy")  # fmt: skip


class AnyOrderSeenFromOutside(AnyOrder):
    """The same, with a reader of status_region and measurement_region after every step."""

    def __init__(self) -> None:
        super().__init__()
        self.before: StatusRegion | None = None

    @invariant()
    def status_grows_and_is_of_one_piece(self) -> None:
        status = codec.STATUS_REGION.parse(self.driver.read("status_region"))
        before, self.before = self.before, status
        assert status.sequence % 2 == 0
        assert status.fsm_state in (State.IDLE, State.CP_PENDING)
        assert status.scsw_area == self.driver.sch.scsw.pack()
        assert status.pmcw_area == self.driver.sch.pmcw.pack()
        ctrl = int.from_bytes(status.scsw_area[2:4])
        # Unsolicited status that waits for the end of a function is pending behind it.
        assert status.pending or not ctrl & c.SCSW_STCTL_STATUS_PEND
        if before is None:
            return
        for name in GROWING:
            assert getattr(status, name) >= getattr(before, name), name
        if status.sequence == before.sequence:
            assert status == before
        elif status != before:
            assert status.sequence > before.sequence

    @invariant()
    def measurement_counts_starts_and_never_goes_back(self) -> None:
        measured = codec.MEASUREMENT_REGION.parse(self.driver.read("measurement_region"))
        starts = self.driver.sch.counters.starts
        assert measured.sample_count <= starts <= measured.ssch_rsch_count


TestAnyOrderSeenFromOutside = AnyOrderSeenFromOutside.TestCase
TestAnyOrderSeenFromOutside.settings = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
