"""The client on every interface, through files and through ``device``, in both byte orders."""

import os
import select
import signal

import pytest

from lab.waits import SOON
from vfioccw_fuse.client import Program, Subchannel, Unsupported
from vfioccw_fuse.regions.constants import CCW_FLAG_SLI


def works(sub: Subchannel) -> None:
    with Program(sub.storage) as program:
        step = program.ccw(0xE4, CCW_FLAG_SLI, 20)
        program.lay_out()
        for _ in range(3):
            assert sub.execute(program).scsw_count == 13
            assert bytes(step.view[:2]) == b"\xff\x63"


@pytest.mark.parametrize("interface", ["start-only", "scsw", "async", "full"])
@pytest.mark.parametrize("through_device", [False, True], ids=["files", "device"])
def test_start_works_on_every_interface(mount, interface, through_device):
    system = mount(f"--interface={interface}")
    with Subchannel(system.subchannel, through_device=through_device) as sub:
        works(sub)
        assert sub.has("cmd_region") is (interface in ("async", "full"))


@pytest.mark.parametrize("interface", ["scsw", "async", "full"])
def test_halt_and_clear_where_there_are_any(mount, interface):
    system = mount("fault=hang", f"--interface={interface}")
    with Subchannel(system.subchannel) as sub, Program(sub.storage) as program:
        program.ccw(0x03, CCW_FLAG_SLI, 1)
        program.lay_out()
        assert sub.start(program.orb()) == 0
        assert sub.halt() == 0
        assert sub.wait(SOON)
        assert sub.result().scsw_ctrl == 0x6001
        assert sub.start(program.orb()) == 0
        assert sub.clear() == 0
        assert sub.wait(SOON)
        assert sub.result().scsw_ctrl == 0x1001


def test_halt_and_clear_on_the_oldest_are_unsupported(mount):
    system = mount("--interface=start-only")
    with Subchannel(system.subchannel) as sub:
        for instruction in (sub.halt, sub.clear):
            before = sub.scsw
            with pytest.raises(Unsupported):
                instruction()
            assert sub.scsw == before
        with pytest.raises(Unsupported, match="schib_region"):
            sub.store()
        works(sub)


def test_a_client_in_host_order(mount):
    system = mount("order=host")
    with Subchannel(system.subchannel, order="host") as sub:
        works(sub)
        assert sub.store().pmcw_devno == 0x0313
        assert sub.clear_and_wait().scsw_ctrl == 0x1001


def test_an_eventfd_of_ones_own(mnt):
    with Subchannel(mnt.subchannel, use_eventfd=True) as sub:
        works(sub)
        assert sub.clear_and_wait().scsw_ctrl == 0x1001
        works(sub)
    with Subchannel(mnt.subchannel) as sub:
        works(sub)


def test_events_move_to_the_eventfd_and_back(mnt):
    with Subchannel(mnt.subchannel) as first, Program(first.storage) as program:
        program.ccw(0x03, CCW_FLAG_SLI, 1)
        program.lay_out()
        assert first.start(program.orb()) == 0
        with Subchannel(mnt.subchannel, use_eventfd=True) as second:
            assert second.wait(SOON)
            second.result()
            assert second.start(program.orb()) == 0
        assert first.wait(SOON)
        assert first.result().scsw_cpa == program.cpa + 8


def test_the_descriptor_is_good_for_an_event_loop(mnt):
    for use_eventfd in (False, True):
        with (
            Subchannel(mnt.subchannel, use_eventfd=use_eventfd) as sub,
            Program(sub.storage) as program,
        ):
            program.ccw(0x03, CCW_FLAG_SLI, 1)
            program.lay_out()
            sub.start(program.orb())
            assert select.select([sub.irq_fd], [], [], SOON)[0] == [sub.irq_fd]
            assert sub.wait(0)
            sub.result()


@pytest.mark.parametrize("use_eventfd", [False, True])
def test_the_end_of_the_mount_ends_a_wait(mount, use_eventfd):
    system = mount()
    with Subchannel(system.subchannel, use_eventfd=use_eventfd) as sub:
        os.kill(system.pid, signal.SIGTERM)
        with pytest.raises(OSError, match=r"."):
            sub.wait(SOON)
    assert system.ended()


def test_what_is_no_subchannel_is_not_opened(tmp_path):
    with pytest.raises(FileNotFoundError):
        Subchannel(tmp_path)
