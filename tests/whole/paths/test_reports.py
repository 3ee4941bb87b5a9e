"""Channel reports, unsolicited status, req_irq, and subchannels that come and go."""

import errno
import os
import re
import threading
from pathlib import Path

import pytest

from lab.mounts import MountedSystem, make_image, vfioccw
from lab.processes import ASLEEP_IN_THE_MOUNT, files_of, sleeps_in
from lab.programs import BITS, ENDED, NOP, SLI, START, command, request
from lab.waits import SOON, until
from tests.rig import Rig, rigged
from tests.whole.paths.test_masks import chp
from vfioccw_fuse.cli.asking import ask
from vfioccw_fuse.regions import constants as c
from vfioccw_fuse.regions.layouts import Crw

PATH = c.CRW_RSC_CHP << c.CRW_RSC_SHIFT
GONE, FAILED, BACK = (PATH | erc for erc in (c.CRW_ERC_PERRN, c.CRW_ERC_TERROR, c.CRW_ERC_INIT))
ATTENTION = 0x80


def test_reports_queue_in_order_and_are_read_one_by_one(rig: Rig) -> None:
    chp(rig, "off")
    chp(rig, "on")
    chp(rig, "fail", "41")
    chp(rig, "on", "41")
    assert rig.signals("crw_irq") >= 1
    assert rig.full.take_report() == Crw(GONE, 0x40)
    assert rig.signals("crw_irq") >= 1, "more of them signal again"
    assert rig.reports() == [Crw(BACK, 0x40), Crw(FAILED, 0x41), Crw(BACK, 0x41)]
    assert rig.full.take_report() is None
    rig.signals("crw_irq")
    assert rig.signals("crw_irq") == 0


def test_vary_off_and_what_changes_nothing_are_not_reported(rig: Rig) -> None:
    for state in ("vary-off", "on", "on", "vary-off", "vary-off", "on"):
        chp(rig, state)
    assert rig.signals("crw_irq") == 0
    assert rig.reports() == []
    chp(rig, "off")
    chp(rig, "off")
    assert rig.reports() == [Crw(GONE, 0x40)]


def test_every_subchannel_behind_a_path_hears_of_it_and_no_other(mount, tmp_path: Path) -> None:
    system = mount("chpids=40+41")
    for number, chpids in ((0x400, "41+42"), (0x401, "43")):
        image = make_image(tmp_path / f"{number:x}.img")
        done = vfioccw("add", system.path, f"fba@0.0.{number:04x}:{image},chpids={chpids}")
        assert done.returncode == 0, done.stderr
    with (
        rigged(system) as first,
        rigged(system, "0.0.0400") as second,
        rigged(system, "0.0.0401") as third,
    ):
        for rig in (second, third):
            rig.reports()
        chp(first, "off", "41")
        assert first.reports() == second.reports() == [Crw(GONE, 0x41)]
        assert third.reports() == []
        assert (first.masks()["pam"], second.masks()["pam"]) == ("80", "40")


@pytest.mark.parametrize(
    ("schid", "where"),
    [("0.0.0400", 0), ("0.1.0400", 0x10), ("0.3.0400", 0x30), ("fe.2.0400", 0xFE20)],
)
def test_a_report_of_two_words_is_chained(rig: Rig, tmp_path: Path, schid: str, where: int) -> None:
    add(rig.system, tmp_path, schid=schid)
    with rigged(rig.system, schid) as new:
        assert new.signals("crw_irq") >= 1
        first, second = new.reports()
    source = c.CRW_RSC_SUBCH << c.CRW_RSC_SHIFT | c.CRW_ERC_IPI
    assert first == Crw(source | c.CRW_FLAGS_MASK_C, 0x0400)
    assert second == Crw(source, where)


def test_unsolicited_status_interrupts_with_alert_and_no_function(rig: Rig) -> None:
    rig.control(f"unsolicited={ATTENTION:02x}")
    irb = rig.take()
    assert irb.scsw_ctrl == c.SCSW_STCTL_ALERT | c.SCSW_STCTL_STATUS_PEND
    assert irb.scsw_dstat == ATTENTION
    assert rig.full.status().fsm_state == 2


def test_unsolicited_status_never_comes_while_a_start_is_active(rig: Rig) -> None:
    rig.control("delay=150ms")
    assert rig.start((NOP, SLI, 1, 0)) == 0
    rig.control(f"unsolicited={ATTENTION:02x}")
    first, second = rig.take(), rig.take()
    assert first.scsw_dstat == ENDED
    assert second.scsw_dstat == ATTENTION
    assert rig.full.status().pending == 0


def test_req_irq_asks_the_client_to_let_the_device_go(rig: Rig) -> None:
    assert rig.signals("req_irq") == 0
    rig.control("request=unplug")
    rig.control("request=unplug")
    assert rig.signals("req_irq") == 2
    assert rig.start((NOP, SLI, 1, 0)) == 0, "it is a request, nothing more"
    rig.take()


def test_an_interface_without_req_irq_cannot_be_asked(mount) -> None:
    system = mount("--interface=scsw")
    with pytest.raises(OSError, match="Invalid argument"):
        (system.subchannel / "control").write_text("request=unplug")


# --- subchannels that come and go -----------------------------------------------------------------


def add(system: MountedSystem, directory: Path, options: str = "", schid: str = "0.0.0400") -> Path:
    image = make_image(directory / "new.img", 64)
    done = vfioccw("add", system.path, f"fba@{schid}:{image}{options}")
    assert done.returncode == 0, done.stderr
    return image


def remove(system: MountedSystem, schid: str) -> None:
    done = vfioccw("remove", system.path / schid)
    assert done.returncode == 0, done.stderr


def test_a_subchannel_that_is_added_works_like_any_other(rig: Rig, tmp_path: Path) -> None:
    assert not (rig.system.path / "0.0.0400").exists(), "the kernel may keep that it is not there"
    add(rig.system, tmp_path, ",delay=10ms")
    assert sorted(os.listdir(rig.system.path)) == ["0.0.0313", "0.0.0400", "irqfd"]
    with rigged(rig.system, "0.0.0400") as new:
        assert new.start((NOP, SLI, 1, 0)) == 0
        assert new.take().scsw_dstat == ENDED


def test_a_relative_image_is_seen_from_where_add_was_typed(rig: Rig, tmp_path: Path) -> None:
    make_image(tmp_path / "here.img", 64)
    done = vfioccw("add", rig.system.path, "fba@0.0.0400:here.img", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (rig.system.path / "0.0.0400").is_dir()


def test_removal_wakes_who_waits_and_refuses_open_files(rig: Rig) -> None:
    rig.control("delay=60s")
    assert rig.start((NOP, SLI, 1, 0)) == 0
    seen: list[int] = []
    opened = threading.Event()

    def wait() -> None:
        fd = os.open(rig.path / "io_irq", os.O_RDONLY)
        opened.set()
        try:
            os.read(fd, 8)
        except OSError as woken:
            seen.append(woken.errno or -1)
        finally:
            os.close(fd)

    io = os.open(rig.path / "io_region", os.O_RDWR)
    cmd = os.open(rig.path / "cmd_region", os.O_RDWR)
    waiting = threading.Thread(target=wait)
    waiting.start()
    assert opened.wait(SOON)
    until(lambda: sleeps_in(ASLEEP_IN_THE_MOUNT, os.getpid(), waiting.native_id), "it waits")
    remove(rig.system, "0.0.0313")
    waiting.join(SOON)
    assert seen == [errno.ENODEV]
    assert not rig.path.exists()
    for fd, data in ((io, request(START, size=16)), (cmd, command(BITS["csch"]))):
        with pytest.raises(OSError, match="Input/output error") as refused:
            os.pwrite(fd, data, 0)
        assert refused.value.errno == errno.EIO
        os.close(fd)
    assert vfioccw("ls", rig.system.path).returncode == 0


def test_a_name_leads_to_what_has_it_now_from_the_moment_it_is_there(
    rig: Rig, tmp_path: Path
) -> None:
    image = make_image(tmp_path / "new.img", 64)
    mnt = str(rig.system.path)
    path = rig.system.path / "0.0.0400"
    seen: set[int] = set()
    for _ in range(200):
        ask(mnt, {"do": "add", "device": f"fba@0.0.0400:{image}"})
        number = path.stat().st_ino
        assert number not in seen, "this is one that was removed"
        seen.add(number)
        assert (path / "io_region").read_bytes() == bytes(124)
        ask(mnt, {"do": "remove", "subchannel": "0.0.0400"})
        assert not path.exists()


def test_what_was_removed_takes_neither_memory_nor_descriptors_once_its_files_are_closed(
    rig: Rig, tmp_path: Path
) -> None:
    image = make_image(tmp_path / "new.img", 64)
    mnt = str(rig.system.path)

    def rounds(count: int) -> int:
        for _ in range(count):
            ask(mnt, {"do": "add", "device": f"fba@0.0.0400:{image}"})
            fds = [
                os.open(rig.system.path / "0.0.0400" / name, os.O_RDONLY)
                for name in ("io_region", "program_region")
            ]
            assert [len(os.pread(fd, 4096, 0)) for fd in fds] == [124, 1008]
            ask(mnt, {"do": "remove", "subchannel": "0.0.0400"})
            assert len(os.pread(fds[0], 4096, 0)) == 124
            with pytest.raises(OSError, match="Input/output error"):
                os.pread(fds[1], 4096, 0)
            for fd in fds:
                os.close(fd)
        rig.system.until_nobody_is_connected()
        status = Path(f"/proc/{rig.system.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0])

    before = rounds(30)
    descriptors = len(files_of(rig.system.pid))
    assert rounds(300) - before < 2000, "kilobytes; one that is kept takes fifteen"
    assert len(files_of(rig.system.pid)) <= descriptors


def test_a_hundred_times_added_and_removed_leaves_nothing(rig: Rig, tmp_path: Path) -> None:
    image = make_image(tmp_path / "new.img", 64)
    mnt = str(rig.system.path)

    def round_trip() -> None:
        ask(mnt, {"do": "add", "device": f"fba@0.0.0400:{image},delay=60s"})
        with rigged(rig.system, "0.0.0400") as new:
            assert new.start((NOP, SLI, 1, 0)) == 0
            ask(mnt, {"do": "remove", "subchannel": "0.0.0400"})

    round_trip()
    rig.system.until_nobody_is_connected()
    descriptors = len(os.listdir(f"/proc/{rig.system.pid}/fd"))
    for _ in range(100):
        round_trip()
    until(
        lambda: len(os.listdir(f"/proc/{rig.system.pid}/fd")) <= descriptors + 2,
        "its descriptors are closed",
    )
    rig.control("delay=0s")
    assert rig.start((NOP, SLI, 1, 0)) == 0
    rig.take()


def test_the_medium_is_free_after_removal(rig: Rig, tmp_path: Path) -> None:
    image = str(add(rig.system, tmp_path))

    def holds() -> bool:
        return image in files_of(rig.system.pid)

    assert holds()
    remove(rig.system, "0.0.0400")
    assert not holds()
