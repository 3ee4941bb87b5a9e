"""Channel programs through a real mount: storage, requests, interruptions, faults, blocks."""

from __future__ import annotations

import errno
import mmap
import os
import re
import stat
import sys
import time
from pathlib import Path

import pytest

from lab import programs
from lab.client import DATA, PROGRAM, Client, write_file
from lab.mounts import BLOCK, BLOCKS, MountedSystem, mount
from lab.programs import (
    BITS,
    CC,
    CLEAR,
    ENDED,
    FBA_ID,
    HALT,
    NOP,
    READ,
    SENSE,
    SENSE_ID,
    SLI,
    START,
    WRITE,
    Irb,
    orb,
)
from lab.waits import SOON, until
from vfioccw_fuse.devices.faults import QUALIFIERS
from vfioccw_fuse.vfio.control import CONTROL

PENDING = 0x01
CHAIN_LOOP = ((NOP, CC | SLI, 1, 0), (0x08, 0, 0, 0x1000))


def read_nonblocking(path: Path) -> bytes:
    """Everything that can be read now."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return os.read(fd, 1 << 16)
    finally:
        os.close(fd)


# --- memory ---------------------------------------------------------------------------------------


def test_memory_is_a_symlink_to_a_private_file_on_tmpfs(shared: MountedSystem) -> None:
    assert (shared.subchannel / "memory").is_symlink()
    found = os.stat(shared.subchannel / "memory")
    assert stat.S_ISREG(found.st_mode)
    assert stat.S_IMODE(found.st_mode) == 0o600
    assert found.st_size == 16 << 20
    assert found.st_dev == os.stat("/dev/shm").st_dev


def test_untouched_memory_costs_nothing(shared: MountedSystem) -> None:
    assert os.stat(shared.storage).st_blocks * 512 < 4 << 20


def test_memory_mapped_shared_is_what_the_channel_uses_without_a_copy(client: Client) -> None:
    with mmap.mmap(client.fds["memory"], 0, mmap.MAP_SHARED) as memory:
        memory[0x1000:0x1008] = bytes([SENSE_ID, 0, 0, 7]) + DATA.to_bytes(4, "big")
        memory[DATA : DATA + 8] = b"\xee" * 8
        assert client.request(START) == 0
        assert client.wait()
        assert client.irb().dstat == ENDED
        assert memory[DATA : DATA + 8] == FBA_ID + b"\xee"


def test_memory_that_is_cut_is_an_error_for_the_program_and_writing_again_mends_it(
    client: Client,
) -> None:
    size = os.fstat(client.fds["memory"]).st_size
    original = client.read_blocks(9, 1)
    try:
        os.ftruncate(client.fds["memory"], DATA)
        assert client.blocks_io(0x06, READ, 9, 1).cstat & 0x2C
        os.ftruncate(client.fds["memory"], DATA)
        assert client.blocks_io(0x01, WRITE, 9, 1).cstat & 0x2C
        os.ftruncate(client.fds["memory"], 0)
        assert client.request(START) == 0
        assert client.wait()
        assert client.irb().cstat
    finally:
        os.ftruncate(client.fds["memory"], size)
    assert client.read_blocks(9, 1) == original
    assert client.run((SENSE_ID, 0, 7, DATA)).dstat == ENDED
    assert client.load(DATA, 7) == FBA_ID


# --- round trips ----------------------------------------------------------------------------------


def test_a_request_is_answered_interrupts_and_leaves_its_irb(client: Client) -> None:
    irb = client.run((SENSE_ID, 0, 7, DATA))
    assert irb[:6] == (0x0080, 0x4007, 0x1008, ENDED, 0, 0)
    assert client.load(DATA, 7) == FBA_ID
    assert os.pread(client.fds["io_region"], 4, 120) == bytes(4)


def test_the_same_through_device_at_the_regions_offsets(client: Client) -> None:
    client.program((SENSE_ID, 0, 7, DATA))
    fd = os.open(client.directory / "device", os.O_RDWR)
    request = programs.request(START, orb(PROGRAM))
    try:
        assert os.pwrite(fd, request, 0) == 24
        assert client.wait()
        assert os.pread(fd, 52, 2 << 10)[30:32] == b"\x40\x07"
        assert Irb.of(os.pread(fd, 96, 24)).dstat == ENDED
        assert os.pwrite(fd, BITS["hsch"].to_bytes(4, sys.byteorder), 1 << 10) == 4
        assert client.wait()
        assert Irb.of(os.pread(fd, 96, 24)).ctrl == 0x2001
    finally:
        os.close(fd)


def test_any_opener_that_reads_byte_24_takes_the_status_for_all(client: Client) -> None:
    assert client.start((NOP, SLI, 1, 0)) == 0
    assert client.wait()
    assert client.start((NOP, SLI, 1, 0)) == errno.EBUSY
    (client.directory / "io_region").read_bytes()
    assert client.run((NOP, SLI, 1, 0)).dstat == ENDED


def test_the_whole_disk_read_through_the_regions_equals_the_image(
    shared: MountedSystem, client: Client
) -> None:
    got = b"".join(client.read_blocks(block, 64) for block in range(0, BLOCKS, 64))
    assert got == shared.image.read_bytes()


def test_what_is_written_is_in_the_image(shared: MountedSystem, client: Client) -> None:
    before = shared.image.read_bytes()
    new = os.urandom(3 * BLOCK)
    client.write_blocks(100, new)
    after = shared.image.read_bytes()
    assert after[100 * BLOCK : 103 * BLOCK] == new
    assert after[: 100 * BLOCK] + after[103 * BLOCK :] == (
        before[: 100 * BLOCK] + before[103 * BLOCK :]
    )
    assert client.read_blocks(99, 5)[BLOCK : 4 * BLOCK] == new


def test_a_thousand_round_trips_each_have_one_interruption(client: Client) -> None:
    client.program((SENSE_ID, 0, 7, DATA))
    for _ in range(1000):
        assert client.request(START) == 0
        assert client.wait()
        assert client.irb().dstat == ENDED
    assert not client.wait(0)


def test_programs_outside_memory_are_an_irb_and_with_prefetch_einval(client: Client) -> None:
    assert client.request(START, cpa=0x7FFFFFF8) == 0
    assert client.wait()
    assert client.irb().cstat == 0x20
    assert client.request(START, ctrl0=0x00C0, cpa=0x7FFFFFF8) == errno.EINVAL
    assert not client.wait(0.02)
    ret_code = os.pread(client.fds["io_region"], 4, 120)
    assert ret_code == (-errno.EINVAL & 0xFFFFFFFF).to_bytes(4, sys.byteorder)


# --- faults and timing by control -----------------------------------------------------------------


def test_control_shows_what_it_takes(client: Client) -> None:
    assert client.control("delay=250ms fault=unit-check,sense=4001\ncount=2") == 0
    shown = dict(
        line.split("=") for line in (client.directory / "control").read_text().splitlines()
    )
    assert shown["delay"] == "0.25s"
    assert (shown["fault"], shown["sense"], shown["count"]) == ("unit-check", "4001", "2")


def test_control_lists_its_words_once_for_each_help(client: Client) -> None:
    control = client.directory / "control"
    before = control.read_text()
    assert client.control("help") == 0
    listed = control.read_text()
    assert listed.startswith(before)
    comments = listed.removeprefix(before).splitlines()
    assert all(line.startswith("# ") for line in comments)
    words = [re.split(r"[=\[ ]", line)[1] for line in comments if not line.startswith("#   :")]
    assert words == list(CONTROL)
    assert len(comments) - len(words) == len(QUALIFIERS), "what can be said of a fault"
    assert client.control(listed) == 0, "what is read can be written"
    assert control.read_text() == before


def test_fault_unit_check_has_the_given_sense(client: Client) -> None:
    assert client.control("fault=unit-check sense=1007 count=1") == 0
    assert client.run((SENSE_ID, 0, 7, DATA)).dstat == ENDED | 2
    assert client.run((SENSE, SLI, 24, DATA)).dstat == ENDED
    assert client.load(DATA, 3) == b"\x10\x07\0"


def test_fault_busy_is_a_deferred_condition_code_1(client: Client) -> None:
    assert client.control("fault=busy count=1") == 0
    irb = client.run((NOP, SLI, 1, 0))
    assert (irb.flags & 0x0300, irb.dstat) == (0x0100, 0x10)


def test_fault_not_operational_is_enodev_and_the_device_stays_idle(client: Client) -> None:
    assert client.control("fault=not-operational") == 0
    for fctl in (START, HALT, CLEAR):
        assert client.request(fctl) == errno.ENODEV
    assert client.command(BITS["csch"]) == errno.ENODEV
    assert "fsm: IDLE" in (client.directory / "state").read_text()
    assert client.control("fault=none") == 0
    assert client.run((NOP, SLI, 1, 0)).dstat == ENDED


@pytest.mark.parametrize("fault", ["hang", "lost-interruption"])
@pytest.mark.parametrize("way", ["fctl", "command"])
def test_what_never_ends_is_halted_or_cleared(client: Client, fault: str, way: str) -> None:
    for fctl, command, ctrl in ((HALT, BITS["hsch"], 0x6001), (CLEAR, BITS["csch"], 0x1001)):
        assert client.control(f"fault={fault} count=1") == 0
        assert client.start((SENSE_ID, 0, 7, DATA)) == 0
        assert not client.wait(0.05)
        assert client.start((NOP, SLI, 1, 0)) == errno.EBUSY
        assert (client.request(fctl) if way == "fctl" else client.command(command)) == 0
        assert client.wait()
        assert client.irb().ctrl & ~0x0FE0 == ctrl
        assert client.run((SENSE_ID, 0, 7, DATA)).dstat == ENDED


def test_a_delay_holds_the_ending_back_and_not_the_write(client: Client) -> None:
    assert client.control("delay=2s") == 0
    began = time.monotonic()
    assert client.start((NOP, CC | SLI, 1, 0), (SENSE_ID, 0, 7, DATA)) == 0
    assert client.schib()[30] & 0x04, "start pending"
    assert client.wait()
    assert time.monotonic() - began > 1.99
    assert client.irb().dstat == ENDED


def test_a_halt_overtakes_a_delayed_start_and_ends_it_alone(client: Client) -> None:
    assert client.control("delay=600s") == 0
    assert client.start((SENSE_ID, 0, 7, DATA)) == 0
    assert client.command(BITS["hsch"]) == 0
    assert client.wait()
    assert client.irb().ctrl & 0x701F == 0x6001
    assert client.control("delay=0") == 0
    assert client.run((NOP, SLI, 1, 0)).dstat == ENDED


def test_busy_and_status_pending_are_both_ebusy_and_told_apart(client: Client) -> None:
    assert client.control("fault=hang count=1") == 0
    assert client.start((NOP, SLI, 1, 0)) == 0
    assert client.request(START) == errno.EBUSY
    status = os.open(client.directory / "status_region", os.O_RDONLY)
    assert os.pread(status, 6, 0)[5] == 2
    assert client.request(CLEAR) == 0
    assert client.wait()
    assert client.request(START) == errno.EBUSY
    assert os.pread(status, 6, 0)[5] == 1
    os.close(status)
    client.irb()


def test_an_endless_loop_leaves_the_mount_alive_and_can_be_cleared(client: Client) -> None:
    assert client.start(*CHAIN_LOOP) == 0
    for _ in range(5):
        began = time.monotonic()
        client.schib()
        assert time.monotonic() - began < SOON / 2
    assert client.request(CLEAR) == 0
    assert client.wait()
    assert client.irb().ctrl == 0x1001


def test_control_switches_byte_order(client: Client) -> None:
    assert client.control("order=host") == 0
    assert "order: host" in (client.directory / "state").read_text()
    client.program((SENSE_ID, 0, 7, DATA))
    order = "=" if sys.byteorder == "little" else ">"
    request = programs.request(START, orb(PROGRAM, order=order), order=order)
    assert os.pwrite(client.fds["io_region"], request, 0) == 24
    assert client.wait()
    assert client.irb().dstat == ENDED


# --- reset, state ---------------------------------------------------------------------------------


def test_reset_ends_everything_without_an_interruption(client: Client) -> None:
    assert client.control("fault=hang count=1") == 0
    assert client.start((NOP, SLI, 1, 0)) == 0
    assert write_file(client.directory / "reset", "1\n") == 0
    assert not client.wait(0.05)
    assert client.schib()[28:40] == bytes(12)
    assert client.run((NOP, SLI, 1, 0)).dstat == ENDED


def test_the_last_close_of_device_is_a_reset(client: Client) -> None:
    first = os.open(client.directory / "device", os.O_RDWR)
    second = os.open(client.directory / "device", os.O_RDONLY)
    assert client.control("fault=hang count=1") == 0
    assert client.start((NOP, SLI, 1, 0)) == 0
    os.close(first)
    assert client.schib()[30] & 0x40, "one opener is left: the start goes on"
    os.close(second)
    until(lambda: client.schib()[28:40] == bytes(12), "the subchannel was reset")
    assert client.run((NOP, SLI, 1, 0)).dstat == ENDED


def test_opening_and_closing_other_files_is_no_event(client: Client) -> None:
    assert client.control("fault=hang count=1") == 0
    assert client.start((NOP, SLI, 1, 0)) == 0
    for name in ("io_region", "cmd_region", "io_irq", "state"):
        os.close(os.open(client.directory / name, os.O_RDONLY))
    assert client.schib()[30] & 0x40
    assert client.request(CLEAR) == 0
    assert client.wait()


def test_state_decodes_what_is_going_on(client: Client) -> None:
    assert client.control("fault=hang count=1") == 0
    assert client.start((NOP, SLI, 1, 0)) == 0
    state = (client.directory / "state").read_text()
    assert "fsm: CP_PENDING" in state
    assert "start function" in state
    client.request(HALT)
    client.wait()
    client.irb()
    assert "fsm: IDLE" in (client.directory / "state").read_text()


def test_a_read_of_state_in_pieces_is_one_picture(client: Client) -> None:
    fd = os.open(client.directory / "state", os.O_RDONLY)
    first = os.read(fd, 40)
    client.run((NOP, SLI, 1, 0))
    rest = b""
    while part := os.read(fd, 40):
        rest += part
    os.close(fd)
    assert b"starts: " in first + rest
    assert (first + rest).decode() != (client.directory / "state").read_text()


# --- options of a device --------------------------------------------------------------------------


def test_options_of_the_device_hold_from_the_start(tmp_path: Path) -> None:
    system = mount(tmp_path, "readonly", "delay=1ms", "fault=unit-check", "sense=08", "count=1")
    try:
        before = system.image.read_bytes()
        with Client(system.subchannel) as client:
            assert client.run((NOP, SLI, 1, 0)).dstat == ENDED | 2
            with pytest.raises(AssertionError):
                client.write_blocks(3, bytes(BLOCK))
            assert client.read_blocks(3, 1) == before[3 * BLOCK : 4 * BLOCK]
        assert system.image.read_bytes() == before
        assert system.unmount().returncode == 0
        system.assert_nothing_is_left()
    finally:
        system.give_up()
