"""``vfioccw mount`` and ``umount``: the daemon's life, and what can be wrong with a mount point."""

import getpass
import os
import re
import resource
import signal
import subprocess

import pytest

from lab.mounts import GONE_WITHIN, MountedSystem, command, is_mounted, make_image, mount
from lab.processes import cpu_time, files_of
from lab.waits import SOON, until
from tests.cli.commands import complaint, vfioccw
from vfioccw_fuse.devices.catalog import TYPES
from vfioccw_fuse.devices.faults import QUALIFIERS, Fault
from vfioccw_fuse.vfio.control import options_of

QCOW2 = b"QFI\xfb\0\0\0\3".ljust(512, b"\0")


def test_mount_returns_when_the_mount_is_usable(mnt):
    assert sorted(os.listdir(mnt.path)) == ["0.0.0313", "irqfd"]
    assert len((mnt.subchannel / "io_region").read_bytes()) == 124


def test_the_daemon_holds_nothing_of_the_caller(tmp_path):
    image = make_image(tmp_path / "disk.img")
    (tmp_path / "mnt").mkdir()
    theirs, ours = os.pipe()
    with open(tmp_path / "held", "w") as held:
        done = subprocess.run(
            command("mount", tmp_path / "mnt", "--device", "fba@0.0.0313:disk.img"),
            cwd=tmp_path,  # a relative path: the daemon's own directory is another
            pass_fds=[ours, held.fileno()],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SOON,
            check=False,
            env={**os.environ, "PYTHONPATH": os.getcwd()},
        )
    os.close(ours)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert os.read(theirs, 1) == b"", "the daemon keeps a descriptor of the caller"
    os.close(theirs)
    system = MountedSystem(tmp_path / "mnt", image)
    try:
        process = f"/proc/{system.pid}"
        assert os.readlink(f"{process}/cwd") == "/"
        assert os.getsid(system.pid) != os.getsid(0)
        for fd in range(3):
            assert os.readlink(f"{process}/fd/{fd}") == "/dev/null"
        links = set(files_of(system.pid))
        assert str(tmp_path / "held") not in links
        assert vfioccw("umount", "mnt", cwd=tmp_path).returncode == 0
        system.assert_nothing_is_left()
    finally:
        system.give_up()


def test_the_caller_may_have_closed_its_standard_streams(tmp_path):
    image = make_image(tmp_path / "disk.img")
    (tmp_path / "mnt").mkdir()
    words = [*command("mount", tmp_path / "mnt", "--device", f"fba@0.0.0313:{image}")]
    closed = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *words]
    assert subprocess.run(closed, timeout=SOON, check=False).returncode == 0
    system = MountedSystem(tmp_path / "mnt", image)
    try:
        assert system.unmount().returncode == 0
        system.assert_nothing_is_left()
    finally:
        system.give_up()


def test_the_foreground_says_when_it_is_ready_and_ends_at_ctrl_c(tmp_path):
    image = make_image(tmp_path / "disk.img")
    point = tmp_path / "mnt"
    point.mkdir()
    with subprocess.Popen(
        command("mount", "-f", point, "--device", f"fba@0.0.0313:{image}"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        assert server.stderr is not None
        assert server.stdout.readline().startswith(f"{point}: mounted")
        assert is_mounted(point)
        server.send_signal(signal.SIGINT)
        assert server.wait(SOON) == 0
        assert server.stderr.read() == ""
    assert not is_mounted(point)


def test_umount_is_back_when_the_daemon_has_ended(mount):
    system = mount()
    done = vfioccw("umount", system.path)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    system.assert_nothing_is_left(within=0)


def test_umount_of_a_busy_mount_says_who_and_changes_nothing(mnt):
    with open(mnt.subchannel / "state") as held:
        done = vfioccw("umount", mnt.path)
        assert done.returncode == 1
        with open("/proc/self/comm") as comm:
            me = f"{os.getpid()} ({comm.read().strip()})"
        assert complaint(done) == f"{mnt.path}: busy: in use by {me}; end it and try again"
        assert held.read()
    assert (mnt.subchannel / "state").read_text()


def test_umount_may_be_started_inside(mount):
    system = mount()
    done = vfioccw("umount", ".", cwd=system.path)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_umount_names_working_directories_too(mnt):
    with subprocess.Popen(["sleep", "60"], cwd=mnt.subchannel) as holder:
        done = vfioccw("umount", mnt.path)
        assert done.returncode == 1
        assert f"{holder.pid} (sleep, working directory)" in complaint(done)
        holder.kill()


OTHER_USER = 65534


def be_other():
    os.setgid(OTHER_USER)
    os.setuid(OTHER_USER)


def test_another_user_is_told_whose_a_subchannel_is(mnt):
    done = vfioccw("ssch", mnt.subchannel, "--ccw", "nop", preexec_fn=be_other)
    assert done.returncode == 1
    assert "permission denied; a mount belongs to the user who made it" in complaint(done)


def test_umount_of_another_users_mount_says_whose_it_is(mnt):
    done = vfioccw("umount", mnt.path, preexec_fn=be_other)
    assert done.returncode == 1
    assert complaint(done) == (
        f"{mnt.path}: mounted by {getpass.getuser()}; run vfioccw umount as that user, or as root"
    )
    assert is_mounted(mnt.path)


def test_a_full_tmpfs_is_one_line_with_the_remedy(tmp_path):
    image = make_image(tmp_path / "disk.img")
    (tmp_path / "mnt").mkdir()
    full = "mount -t tmpfs -o size=4k tmpfs /dev/shm && head -c 4096 /dev/zero >/dev/shm/full"
    words = command("mount", tmp_path / "mnt", "--device", f"fba@0.0.0313:{image}")
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", f'{full} && exec "$@"', "sh", *words],
        capture_output=True, timeout=SOON, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 1
    assert complaint(done).startswith("/dev/shm: No space left on device: guest storage lies there")
    assert "mount -o remount,size=" in complaint(done)
    assert not is_mounted(tmp_path / "mnt")


def test_umount_of_what_is_not_mounted(tmp_path):
    assert complaint(vfioccw("umount", tmp_path)) == f"{tmp_path}: not mounted"
    assert complaint(vfioccw("umount", tmp_path / "none")) == f"{tmp_path / 'none'}: not mounted"
    assert "not a mount of vfioccw" in complaint(vfioccw("umount", "/proc"))


def test_umount_works_while_a_program_runs(mount):
    system = mount("fault=hang")
    assert vfioccw("ssch", system.subchannel, "--ccw", "nop", "--no-wait").returncode == 0
    assert vfioccw("umount", system.path).returncode == 0
    system.assert_nothing_is_left(GONE_WITHIN)


def test_umount_follows_a_symlink_and_takes_odd_names(tmp_path):
    odd = tmp_path / "a b\\c\tü"
    odd.mkdir()
    system = mount(odd)
    (tmp_path / "link").symlink_to(system.path)
    assert vfioccw("umount", tmp_path / "link").returncode == 0
    until(lambda: system.ended(0), "the daemon has ended")
    system.give_up()


def test_after_a_killed_server_the_mount_point_can_be_used_again(tmp_path):
    system = mount(tmp_path)
    try:
        os.kill(system.pid, signal.SIGKILL)
        assert system.ended()
        until(lambda: not is_mounted(system.path), "the mount is detached")
        assert "not mounted" in complaint(vfioccw("umount", system.path))
    finally:
        system.give_up()
    again = mount(tmp_path)
    assert vfioccw("umount", again.path).returncode == 0
    again.give_up()


@pytest.mark.parametrize(
    ("args", "status", "words"),
    [
        (["nowhere"], 1, "nowhere: no such directory"),
        (["disk.img"], 1, "disk.img: not a directory"),
        (["mnt", "--device", "fba@0.0.0313:none.img"], 1, "none.img: no such"),
        (["mnt", "--device", "fba@0.0.0313:odd.img"], 1, "multiple of 512"),
        (["mnt", "--device", "fba@0.0.0313:foreign.img"], 1, "qcow2 format; convert it with qemu"),
        (["mnt", "--device", "3390@0.0.0313:foreign.img"], 1, "qcow2 format; convert it with qemu"),
        (["mnt", "--device", "3490@0.0.0313:disk.img"], 1, "a raw disk, not a tape image"),
        (["mnt", "--device", "fba@0.0.0313"], 1, "write TYPE@SUBCHANNEL:IMAGE"),
        (["mnt", "--device", "fba@0.0.0313:disk.img,delay=soon"], 1, "delay=soon"),
        (["mnt", "--device", "fba@0.0.0313:disk.img,order=foo"], 1, "order=foo: big or host"),
        (["mnt", "--device", "fba@0.0.0313:disk.img,csense=x"], 1, "csense=x: on or off"),
        (["mnt", "--device", "fba@0.0.0313:disk.img,address-limit=9g"], 1, "address-limit=9g: an"),
        (["mnt", "--device", "fba@0.0.0313:disk.img,interface=none"], 1, "interface=none: not one"),
        (["mnt", "--device", "fba@0.0.0313:disk.img,chpids=zz"], 1, "chpids=zz: one to eight"),
        (["mnt", "--device", "fba@0.0.0313:disk.img,speed=9"], 1, "fba@0.0.0313: speed: no such"),
        (["mnt", "--device", "floppy@0.0.0313:disk.img"], 1, "floppy"),
        (["mnt", "--memory", "16MB"], 2, "16MB"),
        (["mnt", "--memory", "3GiB"], 1, "2 GiB"),
        (["mnt", "--memory", f"{'9' * 5000}T"], 2, "5000 digits; at most"),
        (["mnt", "--device", "fba@0.0.0313:disk\n.img"], 1, "control character"),
        (["mnt", "--interface", "newest"], 2, "start-only, scsw, async, full"),
        (["mnt", "--quiet"], 2, "--quiet"),
        (["mnt", "mnt"], 2, "mnt"),
    ],
)
@pytest.mark.parametrize("foreground", [False, True], ids=["daemon", "-f"])
def test_what_is_wrong_is_one_line_and_nothing_is_mounted(
    tmp_path, args, status, words, foreground
):
    make_image(tmp_path / "disk.img")
    (tmp_path / "odd.img").write_bytes(bytes(700))
    (tmp_path / "foreign.img").write_bytes(QCOW2)
    (tmp_path / "mnt").mkdir()
    done = vfioccw("mount", *args, *(["-f"] if foreground else []), cwd=tmp_path)
    assert done.returncode == status
    assert words in complaint(done)
    assert done.stdout == b""
    assert not is_mounted(tmp_path / "mnt")


def test_what_is_attached_with_a_warning_is_said_to_who_mounts(tmp_path):
    disk = tmp_path / "disk.img"
    disk.write_bytes(QCOW2)
    (tmp_path / "mnt").mkdir()
    done = vfioccw("mount", tmp_path / "mnt", "--device", f"fba@0.0.0313:{disk},format=raw")
    system = MountedSystem(tmp_path / "mnt", disk)
    try:
        assert done.returncode == 0
        assert complaint(done) == (
            f"{disk}: a disk image in qcow2 format; "
            "it is attached as a raw disk, as format=raw says"
        )
        assert vfioccw("umount", system.path).returncode == 0
        system.assert_nothing_is_left()
    finally:
        system.give_up()


def test_device_help_lists_types_options_and_faults():
    done = vfioccw("mount", "--device", "help")
    assert (done.returncode, done.stderr) == (0, b"")
    said = done.stdout.decode()
    for word in (*TYPES, *(fault.value for fault in Fault)):
        assert re.search(f"^  {word}  ", said, re.MULTILINE), word
    for name in TYPES:
        for option in options_of(name).values():
            line = rf"^  {re.escape(option.usage)} +{re.escape(option.help)}$"
            assert re.search(line, said, re.MULTILINE), option.word


def test_device_help_says_when_a_fault_can_hit():
    said = vfioccw("mount", "--device", "help").stdout.decode()
    for qualifier in QUALIFIERS.values():
        assert f"  :{qualifier.usage} " in said


@pytest.mark.parametrize("text", ["hang:blocks=4-999999", "hang:tracks=0", "hang:rate=2"])
def test_a_device_with_faults_that_it_cannot_have_is_not_mounted(tmp_path, text):
    image = make_image(tmp_path / "disk.img")
    (tmp_path / "mnt").mkdir()
    done = vfioccw("mount", tmp_path / "mnt", "--device", f"fba@0.0.0313:{image},fault={text}")
    assert done.returncode == 1
    assert f"fault={text}: " in complaint(done)
    assert not is_mounted(tmp_path / "mnt")
    mount(tmp_path, image=image).unmount()


def test_a_busy_mount_point(mnt):
    done = vfioccw("mount", mnt.path)
    assert done.returncode == 1
    assert complaint(done).startswith(f"{mnt.path}: busy")


def test_it_is_quick(tmp_path):
    before = time_of_children()
    system = mount(tmp_path)
    took = time_of_children() - before + cpu_time(system.pid)
    try:
        assert vfioccw("umount", system.path).returncode == 0
    finally:
        system.give_up()
    assert took < 5  # seconds of the processor: under 1, and what a busy machine adds


def time_of_children() -> float:
    """Processor time of the processes that we have waited for, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
