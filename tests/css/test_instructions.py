"""The I/O instructions and their condition codes in every state: PoP chapter 14."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from lab.programs import (
    ACTL,
    CC,
    CLEAR,
    ENDED,
    FCTL,
    FORMAT1,
    HALT,
    INTERMEDIATE,
    NOP,
    PCI,
    PENDING,
    SENSE_ID,
    SLI,
    START,
    STCTL,
    SUSPEND,
    SUSPENDED,
    TIC,
)
from tests.css.machine import DiskMachine, ProbeMachine
from tests.machine import DATA, PROGRAM, Machine
from vfioccw_fuse.css.subchannel import OperandException
from vfioccw_fuse.devices.faults import Fault
from vfioccw_fuse.regions import constants as c

SPND = c.ORB_CTRL0_MASK_SPND
START_PENDING = c.SCSW_ACTL_START_PEND


def idle(m: Machine) -> None:
    """No function, no status."""


def start_pending(m: Machine) -> None:
    m.sch.behaviour.delay = 1.0
    m.start((NOP, SLI, 1, 0))


def active(m: Machine) -> None:
    m.sch.behaviour.switch(Fault.HANG)
    m.start((NOP, SLI, 1, 0), ctrl0=FORMAT1 | SPND)
    m.sch.behaviour.switch(Fault.NONE)


def suspended(m: Machine) -> None:
    m.start((NOP, SUSPEND | SLI, 1, 0), ctrl0=FORMAT1 | SPND)
    m.take()
    assert m.sch.scsw.ctrl & ACTL == SUSPENDED


def ended(m: Machine) -> None:
    m.start((NOP, SLI, 1, 0))


def intermediate(m: Machine) -> None:
    m.sch.behaviour.switch(Fault.HANG)
    m.start((NOP, PCI | SLI, 1, 0), ctrl0=FORMAT1 | SPND)
    m.sch.behaviour.switch(Fault.NONE)


def halt_pending(m: Machine) -> None:
    active(m)
    assert m.sch.hsch() == 0


def clear_pending(m: Machine) -> None:
    active(m)
    assert m.sch.csch() == 0


def disabled(m: Machine) -> None:
    m.sch.disable()


def not_operational(m: Machine) -> None:
    m.sch.behaviour.switch(Fault.NOT_OPERATIONAL)


STATES = [
    idle, start_pending, active, suspended, ended, intermediate, halt_pending, clear_pending,
    disabled, not_operational,
]  # fmt: skip
CODES = {
    #         idle sp ac su en in hp cp di no
    "ssch": (0, 2, 2, 2, 1, 1, 2, 2, 3, 3),
    "hsch": (0, 0, 0, 0, 1, 0, 2, 2, 3, 3),
    "csch": (0, 0, 0, 0, 0, 0, 0, 0, 3, 3),
    "rsch": (2, 2, 0, 0, 1, 1, 2, 2, 3, 3),
    "xsch": (2, 0, 2, 0, 1, 1, 2, 2, 3, 3),
    "msch": (0, 2, 2, 2, 1, 1, 2, 2, 0, 0),
}
CELLS = [
    pytest.param(name, state, cc, id=f"{name} {state.__name__}")
    for name, codes in CODES.items()
    for state, cc in zip(STATES, codes, strict=True)
]


def instruct(m: Machine, name: str) -> int:
    sch = m.sch
    calls: dict[str, Callable[[], int]] = {
        "ssch": lambda: sch.ssch(m.orb()),
        "hsch": sch.hsch,
        "csch": sch.csch,
        "rsch": sch.rsch,
        "xsch": sch.xsch,
        "msch": lambda: sch.msch(sch.stsch()),
    }
    return calls[name]()


@pytest.mark.parametrize(("name", "state", "cc"), CELLS)
def test_the_condition_code_of_an_instruction_in_a_state(
    disk: DiskMachine, name: str, state: Callable[[Machine], None], cc: int
) -> None:
    state(disk)
    before = disk.sch.stsch()
    assert instruct(disk, name) == cc
    if cc:
        assert disk.sch.stsch() == before, "a refused instruction changes nothing"


def test_ssch_makes_start_pending_with_the_orbs_parameter_and_mask(disk: DiskMachine) -> None:
    orb = disk.orb(lpm=0x40)
    disk.program((NOP, SLI, 1, 0))
    assert disk.sch.ssch(orb) == 0
    assert disk.sch.scsw.ctrl == START | START_PENDING
    assert disk.sch.stsch()[:4] == orb.intparm.to_bytes(4, "big")
    assert disk.sch.stsch()[8] == 0x40
    disk.executor.settle()
    assert disk.take().lpum == 0x40


@pytest.mark.parametrize(
    ("ctrl0", "ctrl1", "cpa"),
    [(FORMAT1, 0, 1 << 31), (FORMAT1 | 0x0004, 0, PROGRAM), (FORMAT1, 0x02, PROGRAM),
     (FORMAT1, 0x20, PROGRAM)],
    ids=["bit 0 of the address", "transport mode", "reserved", "reserved"],
)  # fmt: skip
def test_an_invalid_orb_is_an_operand_exception_before_any_condition_code(
    disk: DiskMachine, ctrl0: int, ctrl1: int, cpa: int
) -> None:
    before = disk.sch.stsch()
    with pytest.raises(OperandException):
        disk.sch.ssch(disk.orb(ctrl0, cpa, ctrl1=ctrl1))
    disk.sch.disable()
    with pytest.raises(OperandException):
        disk.sch.ssch(disk.orb(ctrl0, cpa, ctrl1=ctrl1))
    disk.sch.enable()
    assert disk.sch.stsch() == before


def test_ssch_without_a_path_that_is_left_is_not_operational(disk: DiskMachine) -> None:
    assert disk.sch.ssch(disk.orb(lpm=0x3F)) == 3


def test_halt_ends_with_status_pending_alone_and_both_functions(disk: DiskMachine) -> None:
    active(disk)
    assert disk.sch.hsch() == 0
    assert disk.sch.scsw.ctrl & (FCTL | ACTL) & ~0x00C0 == START | HALT | c.SCSW_ACTL_HALT_PEND
    disk.executor.settle()
    status = disk.take()
    assert status.ctrl & (FCTL | STCTL) == START | HALT | PENDING
    assert (status.dstat, status.cstat) == (0, 0)
    assert disk.sch.scsw.ctrl == 0


def test_halt_of_an_idle_subchannel_has_the_halt_function_alone(disk: DiskMachine) -> None:
    assert disk.sch.hsch() == 0
    disk.executor.settle()
    assert disk.take().ctrl == HALT | PENDING


def test_clear_takes_start_and_halt_away_and_ends_with_clear_alone(disk: DiskMachine) -> None:
    halt_pending(disk)
    assert disk.sch.csch() == 0
    assert disk.sch.scsw.ctrl == CLEAR | c.SCSW_ACTL_CLEAR_PEND
    disk.executor.settle()
    status = disk.take()
    assert status.ctrl == CLEAR | PENDING
    assert not disk.sch.scsw.status_pending
    assert not disk.executor.waiting


def test_clear_resets_the_device(probe: ProbeMachine) -> None:
    probe.run((0x47, SLI, 1, 0))
    assert probe.device.sense
    assert probe.sch.csch() == 0
    probe.executor.settle()
    assert probe.probe.resets == 1
    assert not probe.device.sense


def test_a_cleared_program_transfers_nothing_more(disk: DiskMachine) -> None:
    disk.sch.behaviour.delay = 1.0
    disk.start((SENSE_ID, 0, 7, DATA))
    assert disk.sch.csch() == 0
    disk.executor.elapse()
    assert disk.load(DATA, 7) == bytes(7)
    disk.take()


def test_cancel_leaves_an_idle_subchannel_without_an_interruption(disk: DiskMachine) -> None:
    start_pending(disk)
    assert disk.sch.xsch() == 0
    assert disk.sch.scsw.ctrl == 0
    disk.executor.elapse()
    assert not disk.sch.scsw.status_pending


def test_after_halt_clear_or_cancel_the_next_start_runs(disk: DiskMachine) -> None:
    for name in ("hsch", "csch", "xsch"):
        start_pending(disk)
        assert instruct(disk, name) == 0
        disk.executor.settle()
        if name != "xsch":
            disk.take()
        disk.sch.behaviour.delay = 0
        assert disk.run((SENSE_ID, 0, 7, DATA)).dstat == ENDED


# --- MSCH and STSCH -------------------------------------------------------------------------------


def test_msch_changes_what_may_be_changed_and_nothing_else(disk: DiskMachine) -> None:
    wanted = bytearray(b"\xff" * 4 + bytes.fromhex("3891") + b"\xff" * 46)
    wanted[24:28] = b"\0\0\0\x01"
    assert disk.sch.msch(bytes(wanted)) == 0
    pmcw = struct.unpack(">IHHBBBBHBB8sI", disk.sch.stsch()[:28])
    intparm, flags, devno, lpm, pnom, _lpum, pim, mbi, pom, pam, chpid, chars = pmcw
    assert (intparm, lpm, mbi, pom) == (0xFFFFFFFF, 0xFF, 0xFFFF, 0xFF)
    assert flags == 0x3891
    assert (devno, pnom, pim, pam) == (0x0313, 0, 0xC0, 0xC0)
    assert chpid == b"\x40\x41" + bytes(6)
    assert chars == c.PMCW_CHARS_MASK_CSENSE


def test_msch_with_limit_mode_3_is_an_operand_exception(disk: DiskMachine) -> None:
    schib = bytearray(disk.sch.stsch())
    schib[5] |= 0x60
    with pytest.raises(OperandException):
        disk.sch.msch(bytes(schib))


def test_msch_disables_and_a_disabled_subchannel_is_not_operational(disk: DiskMachine) -> None:
    schib = bytearray(disk.sch.stsch())
    schib[5] &= ~0x80
    assert disk.sch.msch(bytes(schib)) == 0
    assert disk.sch.ssch(disk.orb()) == 3
    assert disk.sch.tsch()[0] == 3


def test_stsch_shows_the_status_and_takes_nothing(disk: DiskMachine) -> None:
    ended(disk)
    schib = disk.sch.stsch()
    assert schib[28:40] == disk.sch.scsw.pack()
    assert disk.sch.stsch() == schib
    assert disk.take().dstat == ENDED


# --- suspend and resume ---------------------------------------------------------------------------


def test_a_suspended_interruption_is_intermediate_status(disk: DiskMachine) -> None:
    disk.start((NOP, CC | SLI, 1, 0), (SENSE_ID, SUSPEND, 7, DATA), ctrl0=FORMAT1 | SPND)
    status = disk.take()
    assert status.ctrl == START | SUSPENDED | INTERMEDIATE | PENDING
    assert (status.dstat, status.cstat, status.cpa) == (0, 0, PROGRAM + 16)
    assert disk.sch.scsw.ctrl == START | SUSPENDED
    assert disk.load(DATA, 7) == bytes(7)


def test_the_orbs_bit_u_suppresses_the_suspended_interruption(disk: DiskMachine) -> None:
    disk.start((NOP, SUSPEND | SLI, 1, 0), ctrl0=FORMAT1 | SPND | c.ORB_CTRL0_MASK_SSIC)
    assert not disk.sch.scsw.status_pending
    assert disk.sch.scsw.ctrl == START | SUSPENDED


def test_resume_fetches_the_ccw_anew_and_goes_on(disk: DiskMachine) -> None:
    disk.start((SENSE_ID, SUSPEND, 7, DATA), ctrl0=FORMAT1 | SPND)
    disk.take()
    disk.program((SENSE_ID, 0, 7, DATA))
    assert disk.sch.rsch() == 0
    disk.executor.settle()
    assert disk.take().dstat == ENDED
    assert disk.load(DATA, 7) == disk.device.sense_id


def test_resume_of_a_ccw_that_still_has_the_flag_suspends_again(disk: DiskMachine) -> None:
    suspended(disk)
    assert disk.sch.rsch() == 0
    disk.executor.settle()
    assert disk.take().ctrl == START | SUSPENDED | INTERMEDIATE | PENDING


def test_pci_with_suspend_is_one_status_with_both(disk: DiskMachine) -> None:
    disk.start((NOP, SUSPEND | PCI | SLI, 1, 0), ctrl0=FORMAT1 | SPND)
    status = disk.take()
    assert status.cstat == 0x80
    assert status.ctrl & ACTL == SUSPENDED
    assert not disk.sch.scsw.status_pending


def test_halt_of_a_suspended_program_leaves_nothing_behind(disk: DiskMachine) -> None:
    suspended(disk)
    assert disk.sch.hsch() == 0
    disk.executor.settle()
    status = disk.take()
    assert status.ctrl & (FCTL | STCTL) == START | HALT | PENDING
    assert disk.sch.scsw.ctrl == 0
    assert disk.sch.rsch() == 2


def test_cancel_of_a_suspended_program_is_condition_code_0(disk: DiskMachine) -> None:
    suspended(disk)
    assert disk.sch.xsch() == 0
    assert disk.sch.scsw.ctrl == 0
    assert disk.run((SENSE_ID, 0, 7, DATA)).dstat == ENDED


def test_rsch_without_suspend_control_is_condition_code_2(disk: DiskMachine) -> None:
    disk.sch.behaviour.switch(Fault.HANG)
    disk.start((NOP, SLI, 1, 0))
    assert disk.sch.rsch() == 2


def test_a_loop_that_suspends_each_time_round_is_driven_by_resume(disk: DiskMachine) -> None:
    disk.start(
        (NOP, CC | SLI, 1, 0), (NOP, CC | SLI | SUSPEND, 1, 0), (TIC, 0, 0, PROGRAM),
        ctrl0=FORMAT1 | SPND,
    )  # fmt: skip
    disk.take()
    for _ in range(5):
        disk.program((NOP, CC | SLI, 1, 0), at=PROGRAM + 8)
        disk.program((NOP, CC | SLI | SUSPEND, 1, 0))
        assert disk.sch.rsch() == 0
        disk.executor.settle()
        assert disk.take().ctrl & ACTL == SUSPENDED
        disk.program((NOP, CC | SLI, 1, 0), (NOP, CC | SLI | SUSPEND, 1, 0))
        assert disk.sch.rsch() == 0
        disk.executor.settle()
        assert disk.take().ctrl & ACTL == SUSPENDED
