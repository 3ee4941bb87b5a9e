"""Requests and return codes: each cell of the contract's table, through both regions."""

from __future__ import annotations

import errno
import itertools
import os
import struct
import sys
from pathlib import Path

import pytest

from lab import programs
from lab.programs import (
    CC,
    CD,
    CLEAR,
    ENDED,
    FORMAT1,
    HALT,
    IDA,
    INTERMEDIATE,
    IRB_AT,
    NOP,
    PCI,
    PENDING,
    PREFETCH,
    PROGRAM_CHECK,
    PROTECTION_CHECK,
    SENSE_ID,
    SKIP,
    SLI,
    SPND,
    START,
    STCTL,
    SUSPEND,
    TIC,
    Ccw,
)
from tests.machine import DATA, LISTS, MEMORY, PROGRAM
from tests.vfio.driver import CSCH, HSCH, RSCH, SSCH, XSCH, Driver
from vfioccw_fuse.devices.faults import Fault
from vfioccw_fuse.regions import constants as c
from vfioccw_fuse.vfio.fsm import Event, State
from vfioccw_fuse.vfio.reports import LONGEST_QUEUE

SITUATIONS = {
    #                  ssch          hsch          csch          xsch          rsch
    "idle":            (0,            0,            0,            errno.EBUSY,  errno.EBUSY),
    "start pending":   (errno.EBUSY,  0,            0,            0,            errno.EBUSY),
    "active":          (errno.EBUSY,  0,            0,            errno.EBUSY,  errno.EBUSY),
    "suspended":       (errno.EBUSY,  0,            0,            0,            0),
    "halt pending":    (errno.EBUSY,  errno.EBUSY,  0,            errno.EBUSY,  errno.EBUSY),
    "clear pending":   (errno.EBUSY,  errno.EBUSY,  0,            errno.EBUSY,  errno.EBUSY),
    "status pending":  (errno.EBUSY,  errno.EBUSY,  0,            errno.EBUSY,  errno.EBUSY),
    "not operational": (errno.ENODEV,) * 5,
    "cp processing":   (errno.EAGAIN,) * 5,
    "not oper":        (errno.EIO,) * 5,
    "standby":         (errno.EIO,) * 5,
}  # fmt: skip
COMMANDS = (SSCH, HSCH, CSCH, XSCH, RSCH)
NAMES = ("ssch", "hsch", "csch", "xsch", "rsch")
CELLS = [
    pytest.param(situation, command, errors[number], id=f"{NAMES[number]} {situation}")
    for situation, errors in SITUATIONS.items()
    for number, command in enumerate(COMMANDS)
]
FCTL = {SSCH: START, HSCH: HALT, CSCH: CLEAR}


@pytest.mark.parametrize(("situation", "command", "error"), CELLS)
def test_a_command_in_the_cmd_region_has_its_errno_and_ret_code(
    driver: Driver, situation: str, command: int, error: int
) -> None:
    driver.machine.program((NOP, SLI, 1, 0))
    assert driver.write("io_region", 0, driver.orb()) == 0
    driver.prepare(situation)
    before, scsw = driver.state(), driver.sch.scsw.pack()
    assert driver.command(command) == error
    assert driver.ret_code("cmd_region") == -error
    if error:
        assert driver.state() is before, "a refused request returns to the state before"
        assert driver.sch.scsw.pack() == scsw


@pytest.mark.parametrize(
    ("situation", "command", "error"), [p for p in CELLS if p.values[1] in FCTL]
)
def test_the_same_request_in_the_io_region_takes_the_same_cell(
    driver: Driver, situation: str, command: int, error: int
) -> None:
    driver.prepare(situation)
    before, scsw = driver.state(), driver.sch.scsw.pack()
    driver.machine.program((NOP, SLI, 1, 0))
    assert driver.request(FCTL[command]) == error
    assert driver.ret_code() == -error
    if error:
        assert driver.state() is before
        assert driver.sch.scsw.pack() == scsw


@pytest.mark.parametrize(
    ("situation", "error"),
    [("idle", 0), ("start pending", errno.EBUSY), ("active", errno.EBUSY),
     ("suspended", errno.EBUSY), ("status pending", errno.EBUSY), ("cp processing", errno.EAGAIN),
     ("not oper", errno.EIO), ("standby", errno.EIO)],
)  # fmt: skip
def test_msch_by_a_write_of_the_schib_region_takes_hschs_cells(
    driver: Driver, situation: str, error: int
) -> None:
    driver.prepare(situation)
    schib = bytearray(driver.sch.stsch())
    schib[:4] = b"abcd"
    before = driver.sch.stsch()
    assert driver.write("schib_region", 0, bytes(schib)) == error
    assert driver.sch.stsch() == (bytes(schib) if not error else before)


@pytest.mark.parametrize(
    ("situation", "cc"), [("active", 2), ("start pending", 2), ("suspended", 2)]
)
def test_a_refused_start_leaves_the_condition_code_it_would_have_had(
    driver: Driver, situation: str, cc: int
) -> None:
    driver.prepare(situation)
    assert driver.request(START) == errno.EBUSY
    assert driver.ccw.driver.last_cc == cc
    assert driver.ccw.driver.counters.ebusy_busy == 1


def test_status_pending_and_busy_are_told_apart(driver: Driver) -> None:
    driver.prepare("status pending")
    assert driver.request(START) == errno.EBUSY
    assert driver.ccw.driver.last_cc == 1
    assert driver.ccw.driver.counters.ebusy_status_pending == 1


def test_a_start_while_an_intermediate_status_waits_is_condition_code_1(driver: Driver) -> None:
    assert driver.start((NOP, SLI | SUSPEND, 1, 0), ctrl0=FORMAT1 | SPND) == 0
    driver.settle()
    assert driver.request(START) == errno.EBUSY
    assert driver.ccw.driver.last_cc == 1


@pytest.mark.parametrize("bits", range(0x10))
def test_the_functions_of_one_write_are_one_clear_before_halt_before_start(
    driver: Driver, bits: int
) -> None:
    fctl = bits << 12
    driver.machine.program((NOP, SLI, 1, 0))
    assert driver.request(fctl) == 0
    driver.settle()
    if not fctl & 0x7000:
        assert driver.signals() == 0
        assert driver.state() is State.IDLE
        return
    want = CLEAR if fctl & CLEAR else HALT if fctl & HALT else START
    assert driver.take().ctrl & 0x7000 == want
    assert driver.signals() == 1


def test_a_path_that_is_gone_is_eacces_while_another_is_left(driver: Driver) -> None:
    assert driver.request(START, driver.orb(lpm=0x3F)) == errno.EACCES
    assert driver.ret_code() == -errno.EACCES
    assert driver.state() is State.IDLE


def test_a_transport_mode_orb_is_eopnotsupp(driver: Driver) -> None:
    assert driver.request(START, driver.orb(FORMAT1 | 0x0004)) == errno.EOPNOTSUPP
    assert driver.state() is State.IDLE


@pytest.mark.parametrize("ctrl1", [0x02, 0x3E])
def test_an_orb_that_is_an_operand_exception_is_eio(each: Driver, ctrl1: int) -> None:
    driver = each
    driver.machine.program((NOP, SLI, 1, 0))
    orb = bytearray(driver.orb())
    orb[7] = ctrl1
    assert driver.request(START, bytes(orb)) == errno.EIO
    assert driver.ret_code() == -errno.EIO
    assert driver.state() is State.IDLE
    assert driver.signals() == 0
    assert driver.start((NOP, SLI, 1, 0)) == 0


@pytest.mark.parametrize("command", [0, 3, 1 << 7, 1 << 31, 0xFFFFFFFF, HSCH | SSCH])
def test_an_unknown_command_or_two_at_once_is_einval(driver: Driver, command: int) -> None:
    assert driver.command(command) == errno.EINVAL
    assert driver.ret_code("cmd_region") == -errno.EINVAL
    assert driver.state() is State.IDLE


def test_an_interface_does_only_what_it_has(each: Driver) -> None:
    interface = str(each.ccw.interface)
    fctl = 0 if interface in ("scsw", "full") else errno.EOPNOTSUPP
    assert each.request(HALT) == fctl
    each.settle()
    if not fctl:
        each.take()
    assert each.request(CLEAR) == fctl
    each.settle()
    if not fctl:
        each.take()
    assert ("cmd_region" in each.rows) == (interface in ("async", "full"))
    if interface == "async":
        assert each.command(HSCH) == 0
        for beyond in (SSCH, XSCH, RSCH, 1 << 5, 1 << 6):
            assert each.command(beyond) == errno.EINVAL
        assert each.write("schib_region", 0, each.sch.stsch()) == errno.EINVAL


def test_bit_0_of_the_cpa_is_an_operand_exception_where_the_orb_is_the_clients(
    driver: Driver,
) -> None:
    assert driver.request(START, driver.orb(cpa=1 << 31 | PROGRAM)) == errno.EIO
    assert driver.request(START, driver.orb(PREFETCH, 1 << 31 | PROGRAM)) == errno.EINVAL


PATCHED = ("scsw", "full")
"""Interfaces whose fctl may ask for halt and clear."""


@pytest.mark.parametrize("situation", ["idle", "active", "standby", "not oper"])
def test_fctl_without_a_function_does_nothing_and_is_busy_while_a_start_is_pending(
    each: Driver, situation: str
) -> None:
    each.prepare(situation)
    before, state = each.sch.scsw.pack(), each.state()
    error = {"idle": 0, "active": errno.EBUSY}.get(situation, errno.EIO)
    assert each.request(0) == error
    assert each.ret_code() == -error
    assert (each.sch.scsw.pack(), each.state()) == (before, state)
    assert each.signals() == 0


@pytest.mark.parametrize("fctl", [START | HALT, START | CLEAR, START | HALT | CLEAR])
def test_start_wins_on_the_interfaces_without_the_patch(each: Driver, fctl: int) -> None:
    each.machine.program((NOP, SLI, 1, 0))
    assert each.request(fctl) == 0
    each.settle()
    wins = START if str(each.ccw.interface) not in PATCHED else CLEAR if fctl & CLEAR else HALT
    assert each.take().ctrl & 0x7000 == wins


@pytest.mark.parametrize("fctl", [HALT, CLEAR, HALT | CLEAR])
def test_halt_or_clear_without_the_patch_is_eopnotsupp_and_ebusy_while_a_start_is_pending(
    each: Driver, fctl: int
) -> None:
    patched = str(each.ccw.interface) in PATCHED
    assert each.request(fctl) == (0 if patched else errno.EOPNOTSUPP)
    each.settle()
    each.take()
    each.prepare("active")
    before = each.sch.scsw.pack()
    assert each.request(fctl) == (0 if patched else errno.EBUSY)
    if not patched:
        assert each.sch.scsw.pack() == before
        assert each.state() is State.CP_PENDING
        assert each.request(START) == errno.EBUSY


# --- the translation of an ORB with prefetch on `full` --------------------------------------------

BOTH = pytest.mark.parametrize("format1", [0, FORMAT1], ids=["format 0", "format 1"])


@BOTH
@pytest.mark.parametrize("cpa", [MEMORY, MEMORY + 0x1000, 0xFFFFF8])
def test_a_program_that_is_not_mapped_is_einval(driver: Driver, format1: int, cpa: int) -> None:
    assert driver.request(START, driver.orb(format1 | PREFETCH, cpa)) == errno.EINVAL
    assert driver.state() is State.IDLE
    assert driver.signals() == 0


@BOTH
def test_a_chain_that_runs_off_storage_is_einval(driver: Driver, format1: int) -> None:
    at = MEMORY - 16
    driver.machine.program((NOP, CC, 1, 0), (NOP, CC, 1, 0), at=at, format1=bool(format1))
    assert driver.request(START, driver.orb(format1 | PREFETCH, at)) == errno.EINVAL


@BOTH
def test_a_tic_to_what_is_not_mapped_is_einval(driver: Driver, format1: int) -> None:
    ctrl0 = format1 | PREFETCH
    assert driver.start((NOP, CC | SLI, 1, 0), (TIC, 0, 0, MEMORY), ctrl0=ctrl0) == errno.EINVAL


@BOTH
@pytest.mark.parametrize("flag", [CC, CD], ids=["command chaining", "data chaining"])
@pytest.mark.parametrize(("length", "error"), [(255, 0), (256, 0), (257, errno.EINVAL)])
def test_a_segment_has_at_most_256_ccws(
    driver: Driver, format1: int, flag: int, length: int, error: int
) -> None:
    ccws = [(NOP, flag | SLI, 1, DATA)] * (length - 1) + [(NOP, SLI, 1, DATA)]
    assert driver.start(*ccws, ctrl0=format1 | PREFETCH) == error


@BOTH
def test_a_segment_behind_a_tic_has_its_own_256(driver: Driver, format1: int) -> None:
    for length, error in ((256, 0), (257, errno.EINVAL)):
        second = [(NOP, CC | SLI, 1, 0)] * (length - 1) + [(NOP, SLI, 1, 0)]
        driver.machine.program(*second, at=0x8000, format1=bool(format1))
        first = [(NOP, CC | SLI, 1, 0)] * 200 + [(TIC, 0, 0, 0x8000)]
        assert driver.start(*first, ctrl0=format1 | PREFETCH) == error
        if not error:
            driver.settle()
            assert driver.take().dstat == ENDED


@BOTH
def test_a_program_has_at_most_16_segments(driver: Driver, format1: int) -> None:
    for segments, error in ((16, 0), (17, errno.EINVAL)):
        for number in range(segments):
            at = PROGRAM + number * 0x100
            following = (TIC, 0, 0, at + 0x100) if number < segments - 1 else (NOP, SLI, 1, 0)
            driver.machine.program((NOP, CC | SLI, 1, 0), following, at=at, format1=bool(format1))
        assert driver.request(START, driver.orb(format1 | PREFETCH)) == error
        if not error:
            driver.settle()
            assert driver.take().dstat == ENDED


def test_a_tic_back_into_the_program_is_scanned_once(driver: Driver) -> None:
    ccws = ((NOP, CC | SLI, 1, 0), (NOP, CC | SLI, 1, 0), (TIC, 0, 0, PROGRAM + 8))
    assert driver.start(*ccws, ctrl0=FORMAT1 | PREFETCH) == 0
    assert driver.request(CLEAR) == 0


def test_two_segments_that_tic_to_each_other_are_scanned_once(driver: Driver) -> None:
    driver.machine.program((NOP, CC | SLI, 1, 0), (TIC, 0, 0, PROGRAM), at=0x8000)
    ccws = ((NOP, CC | SLI, 1, 0), (TIC, 0, 0, 0x8000))
    assert driver.start(*ccws, ctrl0=FORMAT1 | PREFETCH) == 0
    assert driver.request(CLEAR) == 0


@pytest.mark.parametrize(("ctrl0", "size"), [(0, 4), (c.ORB_CTRL0_MASK_C64, 8)])
def test_an_idal_that_is_not_mapped_is_einval(driver: Driver, ctrl0: int, size: int) -> None:
    ctrl0 |= FORMAT1 | PREFETCH
    assert driver.start((SENSE_ID, IDA, 7, MEMORY), ctrl0=ctrl0) == errno.EINVAL
    assert driver.start((SENSE_ID, IDA | SLI, 9000, MEMORY - size), ctrl0=ctrl0) == errno.EINVAL
    assert driver.start((SENSE_ID, IDA | SLI, 7, MEMORY - size), ctrl0=ctrl0) == 0


def test_prefetched_idaws_obey_storage_keys(each: Driver) -> None:
    each.machine.store(LISTS, struct.pack(">QQ", DATA + 4094, DATA + 4096))
    each.machine.set_key(DATA + 4096, 0x50)
    ctrl0 = 0x3000 | FORMAT1 | PREFETCH | c.ORB_CTRL0_MASK_C64
    for block in (LISTS, PROGRAM, DATA):
        each.machine.set_key(block, 0x30)
    assert each.start((SENSE_ID, IDA, 7, LISTS), ctrl0=ctrl0) == 0
    each.settle()
    irb = each.take()
    assert (irb.cstat, irb.count) == (PROTECTION_CHECK, 5)
    assert each.machine.load(DATA + 4096, 5) == bytes(5)


@pytest.mark.parametrize("code", [0x02, 0x01, 0x0C, SENSE_ID])
def test_data_that_moves_must_be_mapped(driver: Driver, code: int) -> None:
    for address, count in ((MEMORY, 1), (MEMORY - 7, 8), (1 << 31 | DATA, 1)):
        ccw = (code, SLI, count, address)
        assert driver.start(ccw, ctrl0=FORMAT1 | PREFETCH) == errno.EINVAL
        assert driver.start((NOP, CC | SLI, 1, 0), ccw, ctrl0=FORMAT1 | PREFETCH) == errno.EINVAL
    assert driver.signals() == 0


@pytest.mark.parametrize(
    "ccw", [(NOP, SLI, 8, MEMORY), (SENSE_ID, SLI | SKIP, 8, MEMORY), (SENSE_ID, SLI, 0, MEMORY)]
)
def test_data_that_does_not_move_need_not_be(driver: Driver, ccw: Ccw) -> None:
    assert driver.start(ccw, ctrl0=FORMAT1 | PREFETCH) == 0
    driver.settle()
    assert driver.take().dstat == ENDED


def test_storage_that_is_gone_is_efault(driver: Driver) -> None:
    os.truncate(driver.machine.storage.fd, PROGRAM)
    assert driver.request(START, driver.orb(FORMAT1 | PREFETCH)) == errno.EFAULT
    assert driver.state() is State.IDLE


def test_without_prefetch_the_same_program_is_condition_code_0_and_an_irb(driver: Driver) -> None:
    for ccws in (
        [(NOP, CC | SLI, 1, 0), (TIC, 0, 0, MEMORY)],
        [(SENSE_ID, IDA, 7, MEMORY)],
        [(SENSE_ID, 0, 7, MEMORY)],
    ):
        assert driver.start(*ccws) == 0
        driver.settle()
        assert driver.take().cstat == PROGRAM_CHECK
    assert driver.request(START, driver.orb(cpa=MEMORY)) == 0
    driver.settle()
    assert driver.take().cstat == PROGRAM_CHECK


def test_without_prefetch_a_segment_may_be_longer_than_256(driver: Driver) -> None:
    ccws = [(NOP, CC | SLI, 1, 0)] * 300 + [(SENSE_ID, 0, 7, DATA)]
    assert driver.start(*ccws) == 0
    driver.settle()
    assert driver.take().dstat == ENDED


def test_alignment_and_tic_to_tic_are_not_the_drivers(driver: Driver) -> None:
    driver.machine.program((TIC, 0, 0, PROGRAM), at=0x8000)
    for ccws in (
        [(NOP, CC | SLI, 1, 0), (TIC, 0, 0, 0x8000)],
        [(0x00, 0, 1, 0)],
        [(NOP, SUSPEND, 1, 0)],
    ):
        assert driver.start(*ccws, ctrl0=FORMAT1 | PREFETCH) == 0
        driver.settle()
        assert driver.take().cstat == PROGRAM_CHECK
    assert driver.request(START, driver.orb(FORMAT1 | PREFETCH, PROGRAM + 4)) == 0
    driver.settle()
    assert driver.take().cstat == PROGRAM_CHECK


def test_only_what_belongs_to_the_program_need_be_mapped(driver: Driver) -> None:
    at = MEMORY - 16
    driver.machine.program((NOP, CC | SLI, 1, 0), (SENSE_ID, 0, 7, DATA), at=at)
    assert driver.request(START, driver.orb(FORMAT1 | PREFETCH, at)) == 0
    driver.settle()
    assert driver.take().dstat == ENDED


# --- writes into the regions ----------------------------------------------------------------------


def test_a_write_into_the_orb_area_alone_only_lands(driver: Driver) -> None:
    for offset, data in ((0, driver.orb()), (3, b"x"), (8, b"abcd"), (11, b"z")):
        assert driver.write("io_region", offset, data) == 0
        assert driver.read("io_region", offset, len(data)) == data
    driver.settle()
    assert driver.signals() == 0


@pytest.mark.parametrize("interface", ["start-only", "scsw", "async"])
@pytest.mark.parametrize(
    ("offset", "size"), [(0, 12), (0, 1), (24, 96), (30, 1), (120, 4), (123, 1)]
)
def test_on_older_interfaces_every_write_is_evaluated_with_what_is_there(
    tmp_path: Path, interface: str, offset: int, size: int
) -> None:
    driver = Driver(tmp_path, interface)
    there = driver.read("io_region", offset, size)
    assert driver.write("io_region", offset, there) == 0, "fctl 0"
    assert driver.start((NOP, SLI, 1, 0)) == 0
    driver.settle()
    driver.take()
    assert driver.write("io_region", offset, driver.read("io_region", offset, size)) == 0
    driver.settle()
    assert driver.take().dstat == ENDED, "fctl start"
    driver.close()


@pytest.mark.parametrize("interface", ["start-only", "scsw", "async"])
def test_on_older_interfaces_a_write_into_the_irb_area_lands_until_the_next_irb(
    tmp_path: Path, interface: str
) -> None:
    driver = Driver(tmp_path, interface)
    assert driver.write("io_region", IRB_AT, b"\xee" * 100) == 0
    assert driver.read("io_region", IRB_AT, 100) == b"\xee" * 96 + bytes(4)
    assert driver.start((NOP, SLI, 1, 0)) == 0
    driver.settle()
    assert driver.take().dstat == ENDED
    driver.close()


@pytest.mark.parametrize("interface", ["start-only", "scsw", "async"])
def test_on_older_interfaces_an_irb_ends_before_its_extended_measurement_word(
    tmp_path: Path, interface: str
) -> None:
    driver = Driver(tmp_path, interface)
    driver.machine.program((NOP, SLI, 1, 0))
    request = programs.request(START, driver.orb()) + b"\xee" * 96
    assert driver.write("io_region", 0, request) == 0
    driver.settle()
    shown = driver.read("io_region", IRB_AT, 96)
    assert b"\xee" not in shown[:64]
    assert shown[64:] == b"\xee" * 32, "as long as the client's"
    driver.close()


def test_a_partial_write_of_fctl_is_a_request_with_the_orb_that_is_there(driver: Driver) -> None:
    driver.machine.program((SENSE_ID, 0, 7, DATA))
    assert driver.write("io_region", 0, driver.orb()) == 0
    assert driver.write("io_region", 14, b"\x40") == 0
    driver.settle()
    assert driver.take().dstat == ENDED
    assert driver.machine.load(DATA, 7) == driver.machine.device.sense_id


def test_a_write_into_the_scsw_that_leaves_fctl_alone_is_evaluated_with_it(driver: Driver) -> None:
    assert driver.write("io_region", 20, b"\0") == 0
    driver.machine.program((NOP, SLI, 1, 0))
    assert driver.request(START) == 0
    driver.settle()
    driver.take()
    assert driver.write("io_region", 23, b"\0") == 0
    driver.settle()
    assert driver.take().dstat == ENDED


def test_irb_area_and_ret_code_of_a_write_are_ignored(driver: Driver) -> None:
    driver.machine.program((SENSE_ID, 0, 7, DATA))
    request = programs.request(START, driver.orb()) + b"\xee" * 100
    assert driver.write("io_region", 0, request) == 0
    assert driver.read("io_region", 25, 99) == bytes(99)
    driver.settle()
    shown = driver.read("io_region", IRB_AT, 96)
    for offset, size in ((IRB_AT, 100), (IRB_AT, 96), (60, 1), (120, 4)):
        assert driver.write("io_region", offset, b"\xee" * size) == 0, "accepted, and no request"
    driver.settle()
    assert driver.signals() == 1
    assert driver.read("io_region", 25, 99) == shown[1:] + bytes(4)


@pytest.mark.parametrize("name", ["io_region", "cmd_region", "schib_region"])
def test_a_write_that_passes_the_end_is_einval_and_changes_nothing(
    driver: Driver, name: str
) -> None:
    row = driver.rows[name]
    before = driver.read(name, 0, row.size)
    for offset in (1, row.size - 1, row.size, row.size + 100):
        size = row.size - offset + 1 if offset < row.size else 1
        assert driver.write(name, offset, b"\xff" * max(size, 1)) == errno.EINVAL
    assert driver.read(name, 0, row.size) == before


def test_read_only_regions_refuse_writes(driver: Driver) -> None:
    for name, row in driver.rows.items():
        if not row.writable:
            assert driver.write(name, 0, b"\0") == errno.EINVAL


def test_a_write_of_a_part_of_the_cmd_region_is_evaluated_with_what_is_there(
    driver: Driver,
) -> None:
    first = 0 if sys.byteorder == "little" else 3
    for offset, data in (
        (first, b"\1"),
        (1, b"\0\0"),
        (4, b"abcd"),
        (7, b"x"),
        (0, HSCH.to_bytes(4, sys.byteorder)),
    ):
        assert driver.write("cmd_region", offset, data) == 0
        assert driver.read("cmd_region", 4, 4) == bytes(4), "ret_code in a write is ignored"
        driver.settle()
        assert driver.take().ctrl & 0x7000 == HALT
        assert driver.signals() == 1
    assert driver.write("cmd_region", 2, b"\1") == errno.EINVAL
    assert driver.ret_code("cmd_region") == -errno.EINVAL


def test_a_cmd_region_write_of_all_8_bytes_is_a_command_and_shows_its_own_ret_code(
    driver: Driver,
) -> None:
    assert driver.write("cmd_region", 0, HSCH.to_bytes(4, sys.byteorder) + b"\xff" * 4) == 0
    assert driver.read("cmd_region") == HSCH.to_bytes(4, sys.byteorder) + bytes(4)


def test_ssch_by_the_cmd_region_takes_the_orb_of_the_io_region(driver: Driver) -> None:
    driver.machine.program((SENSE_ID, 0, 7, DATA), at=0x8000)
    assert driver.write("io_region", 0, driver.orb(cpa=0x8000)) == 0
    assert driver.command(SSCH) == 0
    driver.settle()
    assert driver.take().cpa == 0x8008


def test_a_schib_write_must_be_the_whole_of_it(driver: Driver) -> None:
    schib = driver.read("schib_region")
    for offset, size in itertools.product((0, 1, 4), (1, 28, 48, 51)):
        if offset + size <= 52:
            assert driver.write("schib_region", offset, schib[:size]) == errno.EINVAL
    assert driver.read("schib_region") == schib


def test_an_msch_that_is_an_operand_exception_is_eio(driver: Driver) -> None:
    schib = bytearray(driver.read("schib_region"))
    schib[5] |= 0x60
    assert driver.write("schib_region", 0, bytes(schib)) == errno.EIO


def test_a_schib_read_is_a_stsch_whole_or_in_part(driver: Driver) -> None:
    driver.prepare("active")
    schib = driver.sch.stsch()
    assert driver.read("schib_region") == schib
    assert driver.read("schib_region", 28, 12) == driver.sch.scsw.pack()
    assert driver.read("schib_region", 51, 1) == schib[51:]


@pytest.mark.parametrize("order", ["big", "host"])
def test_the_byte_order_of_orb_and_scsw_is_what_the_client_said(driver: Driver, order: str) -> None:
    driver.ccw.driver.io.order = order
    sign = ">" if order == "big" else "="
    driver.machine.program((SENSE_ID, 0, 7, DATA))
    orb = programs.orb(PROGRAM, intparm=1, order=sign)
    assert driver.write("io_region", 0, programs.request(START, orb, order=sign)) == 0
    driver.settle()
    assert driver.take().dstat == ENDED, "the IRB is big endian for everybody"
    assert driver.sch.pmcw.intparm == 1


def test_with_order_host_only_the_flags_halfword_of_the_schibs_scsw_is_turned(
    driver: Driver,
) -> None:
    assert driver.start((NOP, SLI, 1, 0), ctrl0=FORMAT1 | PREFETCH) == 0
    schib = driver.read("schib_region")
    driver.ccw.driver.io.order = "host"
    flags = int.from_bytes(schib[28:30], "big").to_bytes(2, sys.byteorder)
    assert driver.read("schib_region") == schib[:28] + flags + schib[30:]


# --- channel reports ------------------------------------------------------------------------------


def test_a_read_of_crw_region_takes_one_report_zeros_when_none(driver: Driver) -> None:
    assert driver.read("crw_region") == bytes(8)
    driver.ccw.driver.reports.report((0x0301, 0x0313))
    driver.ccw.driver.reports.report((0x0402, 0x0040))
    assert driver.ccw.irqs[1].count == 2
    assert driver.read("crw_region") == struct.pack("=HHI", 0x0301, 0x0313, 0)
    assert driver.read("crw_region") == struct.pack("=HHI", 0x0402, 0x0040, 0)
    assert driver.read("crw_region") == bytes(8)


def test_reports_left_after_a_read_signal_again(driver: Driver) -> None:
    for number in range(3):
        driver.ccw.driver.reports.report((1, number))
    driver.ccw.irqs[1].take()
    driver.read("crw_region")
    assert driver.ccw.irqs[1].take() == 1
    driver.read("crw_region")
    driver.read("crw_region")
    assert driver.ccw.irqs[1].take() == 1


def test_reports_that_find_no_room_are_lost_and_the_last_says_so(driver: Driver) -> None:
    reports = driver.ccw.driver.reports
    for number in range(LONGEST_QUEUE - 1):
        reports.report((0x0301, number))
    for _ in range(1000):
        reports.report((0x1304, 0x0313), (0x0304, 0))
    read = [struct.unpack("=HHI", driver.read("crw_region")) for _ in range(LONGEST_QUEUE)]
    assert read[:-2] == [(0x0301, number, 0) for number in range(LONGEST_QUEUE - 2)]
    assert read[-2] == (0x2301, LONGEST_QUEUE - 2, 0), "a chained report is not halved"
    assert read[-1] == (0, 0, 0)


def test_an_interface_without_crw_drops_reports(tmp_path: Path) -> None:
    driver = Driver(tmp_path, "scsw")
    driver.ccw.driver.reports.report((1, 2))
    assert not driver.ccw.driver.reports.queue
    driver.close()


# --- life -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "situation",
    ["idle", "start pending", "active", "suspended", "halt pending", "clear pending",
     "status pending", "cp processing"],
)  # fmt: skip
def test_reset_leaves_an_idle_enabled_device_without_status(driver: Driver, situation: str) -> None:
    driver.prepare(situation)
    driver.ccw.driver.reset()
    driver.machine.executor.elapse()
    driver.settle()
    assert driver.state() is State.IDLE
    assert driver.sch.pmcw.enabled
    assert driver.sch.scsw.pack() == bytes(12)
    assert driver.read("io_region", IRB_AT, 96) == bytes(96)
    assert driver.start((NOP, SLI, 1, 0)) == 0
    driver.settle()
    assert driver.take().dstat == ENDED


def test_close_disables_and_open_enables(driver: Driver) -> None:
    driver.ccw.driver.event(Event.CLOSE)
    assert not driver.sch.pmcw.enabled
    assert driver.read("schib_region")[5] & 0x80 == 0
    driver.ccw.driver.event(Event.OPEN)
    assert driver.read("schib_region")[5] & 0x80


def test_only_removal_leads_to_not_oper_and_nothing_leads_back(driver: Driver) -> None:
    driver.ccw.driver.event(Event.NOT_OPER)
    for event in (Event.OPEN, Event.CLOSE, Event.OPEN):
        driver.ccw.driver.event(event)
        assert driver.state() is State.NOT_OPER
    driver.ccw.driver.reset()
    assert driver.state() is State.NOT_OPER


# --- interruptions --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ccw", "ctrl0"),
    [((NOP, SLI | 0x08, 1, 0), 0), ((NOP, SLI | SUSPEND, 1, 0), SPND),
     ((0x37, SLI, 1, 0), c.ORB_CTRL0_MASK_ISIC)],
    ids=["pci", "suspended", "initial status"],
)  # fmt: skip
def test_an_intermediate_interruption_leaves_cp_pending(
    probe: Driver, ccw: tuple[int, int, int, int], ctrl0: int
) -> None:
    probe.behaviour.switch(Fault.NONE if ctrl0 else Fault.HANG)
    assert probe.start(ccw, ctrl0=FORMAT1 | ctrl0) == 0
    probe.settle()
    if ctrl0 != c.ORB_CTRL0_MASK_ISIC:
        assert probe.take().ctrl & STCTL == INTERMEDIATE | PENDING
    assert probe.state() is State.CP_PENDING
    assert probe.request(START) == errno.EBUSY


def test_status_is_pending_until_byte_24_is_read(driver: Driver) -> None:
    driver.prepare("status pending")
    for offset, size in ((0, 24), (25, 99), (120, 4), (14, 2)):
        driver.read("io_region", offset, size)
        assert driver.request(START) == errno.EBUSY
    driver.read("io_region", 24, 1)
    assert driver.start((NOP, SLI, 1, 0)) == 0


def test_a_read_of_all_124_bytes_takes_it_too(driver: Driver) -> None:
    driver.prepare("status pending")
    shown = driver.read("io_region", 0, 124)
    assert shown[IRB_AT + 8] == ENDED
    assert driver.start((NOP, SLI, 1, 0)) == 0


def test_the_irb_stays_in_the_region_until_the_next_is_shown(driver: Driver) -> None:
    driver.prepare("status pending")
    first = driver.read("io_region", IRB_AT, 96)
    assert driver.read("io_region", IRB_AT, 96) == first
    assert driver.start((SENSE_ID, 0, 7, DATA)) == 0
    assert driver.read("io_region", IRB_AT, 96) == first
    driver.settle()
    assert driver.read("io_region", IRB_AT, 96) != first


def test_scsw_h_has_moved_on_where_the_io_region_shows_the_request(driver: Driver) -> None:
    driver.prepare("status pending")
    assert driver.read("io_region", 12, 12) == struct.pack(">HH8x", 0, START)
    assert driver.read("schib_region", 30, 2) == b"\x40\x07"


def test_an_accepted_clear_discards_what_is_shown_and_queued_and_delivers_one(
    driver: Driver,
) -> None:
    driver.behaviour.switch(Fault.HANG)
    assert driver.start((NOP, SLI | PCI, 1, 0)) == 0
    driver.settle()
    assert driver.command(HSCH) == 0
    driver.settle()
    assert driver.signals() == 1
    assert driver.sch.pending.queue, "the halt's, behind the PCI"
    assert driver.request(CLEAR) == 0
    driver.settle()
    assert driver.signals() == 1
    assert driver.take().ctrl == CLEAR | PENDING
    driver.settle()
    assert driver.signals() == 0
    assert not driver.sch.scsw.status_pending


def test_a_clear_ends_cp_pending_at_once(driver: Driver) -> None:
    driver.prepare("active")
    assert driver.command(CSCH) == 0
    assert driver.state() is State.IDLE
    assert driver.request(START) == errno.EBUSY


def test_a_halt_leaves_cp_pending_until_its_irb_is_shown(driver: Driver) -> None:
    driver.prepare("active")
    assert driver.command(HSCH) == 0
    assert driver.state() is State.CP_PENDING
    driver.settle()
    assert driver.state() is State.IDLE
    assert driver.take().ctrl == START | HALT | PENDING


def test_a_halt_of_a_delayed_start_ends_with_status_pending_alone(driver: Driver) -> None:
    driver.prepare("start pending")
    assert driver.request(HALT) == 0
    driver.settle()
    status = driver.take()
    assert (status.ctrl & STCTL, status.dstat, status.cstat) == (PENDING, 0, 0)
    driver.machine.executor.elapse()
    assert driver.signals() == 1
    assert driver.machine.load(DATA, 7) == bytes(7)


def test_a_halt_behind_a_pci_that_nobody_took_comes_after_it(driver: Driver) -> None:
    driver.behaviour.switch(Fault.HANG)
    assert driver.start((NOP, SLI | 0x08, 1, 0)) == 0
    driver.settle()
    assert driver.request(HALT) == 0
    driver.settle()
    assert driver.state() is State.CP_PENDING
    assert driver.take().cstat == 0x80
    assert driver.state() is State.IDLE
    assert driver.take().ctrl == START | HALT | PENDING
    assert driver.signals() == 2


def test_a_cancel_is_synchronous_and_without_an_interruption(driver: Driver) -> None:
    driver.prepare("start pending")
    assert driver.command(XSCH) == 0
    driver.settle()
    driver.machine.executor.elapse()
    assert driver.signals() == 0
    assert driver.state() is State.IDLE
    assert driver.read("schib_region", 28, 12)[2:4] == b"\0\0"


def test_resume_goes_on_and_concludes(driver: Driver) -> None:
    driver.prepare("suspended")
    driver.machine.program((NOP, CC | SLI, 1, 0), (SENSE_ID, 0, 7, DATA))
    assert driver.command(RSCH) == 0
    driver.settle()
    assert driver.take().dstat == ENDED
    assert driver.state() is State.IDLE


def test_unsolicited_status_waits_until_no_start_is_active(probe: Driver) -> None:
    probe.prepare("active")
    probe.machine.device.attention(0x80)
    assert probe.signals() == 0
    assert probe.request(HALT) == 0
    probe.settle()
    assert probe.take().ctrl == START | HALT | PENDING
    assert probe.take().dstat == 0x80
    assert probe.signals() == 2


def test_unsolicited_status_waits_through_a_start_that_follows_at_once(probe: Driver) -> None:
    probe.machine.device.attention(0x80)
    assert probe.request(START) == errno.EBUSY
    assert probe.ccw.driver.last_cc == 1
    assert probe.take().dstat == 0x80
    assert probe.start((0x07, SLI, 1, 0)) == 0


def test_a_clear_keeps_unsolicited_status_that_waits(probe: Driver) -> None:
    probe.prepare("active")
    probe.machine.device.attention(0x80)
    assert probe.request(CLEAR) == 0
    probe.settle()
    assert probe.take().ctrl == CLEAR | PENDING
    assert probe.take().dstat == 0x80


@pytest.mark.parametrize("state", ["standby", "not oper"])
def test_status_of_a_closed_device_is_shown_to_nobody(probe: Driver, state: str) -> None:
    probe.prepare(state)
    probe.machine.device.attention(0x80)
    assert probe.signals() == 0
    assert probe.read("io_region", IRB_AT, 96) == bytes(96)


@pytest.mark.parametrize(
    ("flags", "ctrl0"),
    [(SLI | PCI, 0), (SLI, c.ORB_CTRL0_MASK_ISIC), (SLI | PCI, c.ORB_CTRL0_MASK_ISIC)],
    ids=["pci", "initial status", "both"],
)
def test_unsolicited_status_that_waits_does_not_hold_back_the_end_of_the_start(
    probe: Driver, flags: int, ctrl0: int
) -> None:
    assert probe.start((0x07, flags, 1, 0), ctrl0=FORMAT1 | ctrl0) == 0
    probe.machine.device.attention(0x80)
    probe.settle()
    assert probe.take().dstat == ENDED
    assert probe.take().dstat == 0x80
    assert probe.signals() == 2


def test_unsolicited_status_that_nobody_takes_is_one(each: Driver) -> None:
    for dstat in (0x80, 0x04, 0x80, 0x40):
        each.machine.device.attention(dstat)
    assert each.take().dstat == 0x80
    assert each.take().dstat == 0xC4
    assert each.signals() == 2
    each.behaviour.delay = 1.0
    assert each.start((NOP, SLI, 1, 0)) == 0
    for dstat in (0x80, 0x04):
        each.machine.device.attention(dstat)
    assert each.signals() == 0, "a start is active"
    each.machine.executor.elapse()
    assert each.take().dstat == ENDED
    assert each.take().dstat == 0x84
    assert each.signals() == 2


def test_a_lost_interruption_of_a_resumed_program_leaves_it_active_and_not_suspended(
    driver: Driver,
) -> None:
    driver.behaviour.switch(Fault.LOST_INTERRUPTION, 1)
    assert driver.start((NOP, SLI | SUSPEND, 1, 0), ctrl0=FORMAT1 | SPND) == 0
    driver.settle()
    driver.take()
    driver.machine.program((NOP, SLI, 1, 0))
    assert driver.command(RSCH) == 0
    driver.settle()
    assert driver.sch.scsw.ctrl & c.SCSW_CTRL_MASK_ACTL == 0x00C0


def test_status_of_a_removed_device_leads_nowhere(probe: Driver) -> None:
    probe.ccw.driver.event(Event.NOT_OPER)
    probe.sch.enable()  # behind the driver's back
    probe.machine.device.attention(0x80)
    assert probe.state() is State.NOT_OPER
