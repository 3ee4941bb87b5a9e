"""How a mount begins and ends: daemon, SIGTERM, unmount, kills, and nothing left behind."""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from lab.client import DATA, Client, Connection, errno_of
from lab.mounts import (
    BLOCK,
    IMPORTS,
    PROJECT,
    Mount,
    MountedSystem,
    abort,
    command,
    end_servers,
    is_mounted,
    make_image,
    mount,
    servers_of,
    vfioccw,
)
from lab.processes import ASLEEP_IN_THE_MOUNT, command_of, files_of, sleeps_in, stop
from lab.programs import CLEAR, ENDED, FBA_ID, NOP, SENSE_ID, SLI, START
from lab.slowfs import SlowFiles
from lab.waits import SOON, until, until_quiet

READER = "import os, sys; fd = os.open(sys.argv[1], os.O_RDONLY); print('open', flush=True); "
BLOCKED = (
    READER
    + """
try:
    os.read(fd, 8)
    print("read")
except OSError as error:
    print(error.errno)
"""
)
BUSY = """
import os, random, sys
sys.path[:0] = sys.argv[2].split(":")
from pathlib import Path
from lab.client import DATA, Client
from lab.programs import FBA_ID, SENSE_ID
directory = Path(sys.argv[1])
client = Client(directory)
print("open", flush=True)
rng = random.Random(int(sys.argv[3]))
while True:
    what = rng.randrange(6)
    if what == 0:
        client.control(rng.choice(["fault=hang count=1", "delay=1ms", "delay=0"]))
    elif what == 1:
        client.command(rng.choice([1, 2, 4, 8, 16]))
    elif what == 2:
        fd = os.open(directory / rng.choice(["device", "trace", "state"]), os.O_RDONLY)
        os.pread(fd, 8, 0) if rng.random() < 0.3 else None
        os.close(fd)
    elif what == 3 and not client.wait(0.01):
        pass
    elif what == 4:
        client.irb()
    else:
        client.start((SENSE_ID, 0, 7, DATA))
"""


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[str]]]:
    """Clients in processes of their own; killed at the end."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def run_python(
    processes: list[subprocess.Popen[str]], code: str, *words: object
) -> subprocess.Popen[str]:
    """Start *code*; gives it when it says that its file is open."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    processes.append(process)
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    return process


def waits(process: subprocess.Popen[str]) -> bool:
    """Whether the process sleeps in a system call of the mount."""
    return sleeps_in(ASLEEP_IN_THE_MOUNT, process.pid)


# --- the daemon -----------------------------------------------------------------------------------


def test_mount_returns_when_the_mount_is_usable(mnt: MountedSystem) -> None:
    with Client(mnt.subchannel) as client:
        assert client.run((SENSE_ID, 0, 7, DATA)).dstat == ENDED


def test_the_daemon_is_in_a_session_of_its_own_and_holds_nothing_of_the_caller(
    mnt: MountedSystem,
) -> None:
    assert os.getsid(mnt.pid) != os.getsid(0)
    assert os.readlink(f"/proc/{mnt.pid}/cwd") == "/"
    here = {os.readlink(f"/proc/self/fd/{fd}") for fd in (0, 1, 2)}
    for target in files_of(mnt.pid):
        assert target == "/dev/null" or target not in here


def test_the_caller_need_not_wait_for_the_daemons_output(tmp_path: Path) -> None:
    # Would the daemon hold the pipe, this would not return before the unmount.
    system = mount(tmp_path)
    assert system.unmount().returncode == 0
    system.assert_nothing_is_left()
    system.give_up()


def test_an_idle_mount_does_not_wake_up(mnt: MountedSystem) -> None:
    def switches() -> int:
        status = Path(f"/proc/{mnt.pid}/status").read_text()
        return int(status.split("\nvoluntary_ctxt_switches:")[1].split()[0])

    # It may still be at what the test before has left, or at its own beginning.
    until_quiet(switches, "a second without a wake-up")


# --- the end --------------------------------------------------------------------------------------


def test_umount_ends_the_daemon_and_removes_everything(mnt: MountedSystem) -> None:
    done = vfioccw("umount", mnt.path)
    assert (done.returncode, done.stderr) == (0, "")
    mnt.assert_nothing_is_left()
    os.mkdir(mnt.path / "x")
    os.rmdir(mnt.path / "x")
    # The fixture unmounts again.
    again = vfioccw("mount", mnt.path, "--device", f"fba@0.0.0313:{mnt.image}")
    assert again.returncode == 0
    mnt.__init__(mnt.path, mnt.image)  # type: ignore[misc]  # the same fixture, mounted anew


def test_sigterm_with_requests_running_and_readers_blocked_is_enodev_then_detached(
    tmp_path: Path, processes: list[subprocess.Popen[str]]
) -> None:
    system = mount(tmp_path)
    try:
        client = Client(system.subchannel)
        client.control("fault=hang")
        assert client.start((NOP, SLI, 1, 0)) == 0
        readers = [
            run_python(processes, BLOCKED, system.subchannel / name)
            for name in ("io_irq", "io_irq", "crw_irq", "req_irq", "trace")
        ]
        for reader in readers:
            until(partial(waits, reader), "the reader is blocked")
        os.kill(system.pid, signal.SIGTERM)
        for reader in readers:
            out, _ = reader.communicate(timeout=SOON)
            assert out == f"{errno.ENODEV}\n"
        client.close()
        system.assert_nothing_is_left()
    finally:
        system.give_up()


def test_sigterm_with_open_files_detaches_and_their_accesses_fail(tmp_path: Path) -> None:
    system = mount(tmp_path)
    try:
        client = Client(system.subchannel)
        os.kill(system.pid, signal.SIGTERM)
        system.assert_nothing_is_left()
        assert client.request(START) in (errno.ENOTCONN, errno.ENODEV, errno.ECONNABORTED)
        client.close()
    finally:
        system.give_up()


def test_sigterm_ends_a_mount_that_nobody_has_looked_at(tmp_path: Path) -> None:
    # Nothing of it is in the kernel's caches: to ask for its root would be a request to itself.
    path = tmp_path / "mnt"
    path.mkdir()
    image = make_image(tmp_path / "disk.img", 8)
    try:
        assert vfioccw("mount", path, "--device", f"fba@0.0.0313:{image}").returncode == 0
        until(lambda: len(servers_of(path)) == 1, "one process serves the mount")
        [pid] = servers_of(path)
        os.kill(pid, signal.SIGTERM)
        until(lambda: not servers_of(path), "the daemon ends")
        assert not is_mounted(path)
    finally:
        end_servers(path)


def test_the_foreground_says_what_did_not_reach_stable_storage(
    slow: SlowFiles, tmp_path: Path
) -> None:
    point = tmp_path / "mnt"
    point.mkdir()
    server = subprocess.Popen(
        command("mount", "-f", point, f"--device=fba@0.0.0313:{slow.path}/slow.img"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert server.stdout is not None
        assert "mounted" in server.stdout.readline()
        with Client(point / "0.0.0313") as disk:
            disk.write_blocks(0, bytes(BLOCK))
        slow.fail(errno.EIO, "fsync")
        server.send_signal(signal.SIGINT)
        _, said = server.communicate(timeout=SOON)
    finally:
        server.kill()
        server.wait()
    assert (server.returncode, len(said.splitlines())) == (1, 1)
    assert said.startswith(f"vfioccw: {slow.path}/slow.img: ")


def test_fusermount_ends_it_with_requests_running(mnt: MountedSystem) -> None:
    with Client(mnt.subchannel) as client:
        client.control("delay=60s")
        assert client.start((NOP, SLI, 1, 0)) == 0
    # What follows is the fixture's: unmount, and gone within 2 s.


def test_fusermount_ends_it_while_a_loop_runs(mnt: MountedSystem) -> None:
    with Client(mnt.subchannel) as client:
        assert client.start((NOP, 0x60, 1, 0), (0x08, 0, 0, 0x1000)) == 0


@pytest.mark.parametrize("name", ["io_region", "io_irq", "device", "state"])
def test_unmount_with_an_open_file_is_ebusy_and_the_mount_goes_on(
    mnt: MountedSystem, name: str
) -> None:
    fd = os.open(mnt.subchannel / name, os.O_RDONLY)
    done = mnt.unmount()
    assert done.returncode != 0
    assert "busy" in done.stderr
    said = vfioccw("umount", mnt.path)
    assert said.returncode == 1
    assert len(said.stderr.splitlines()) == 1
    assert str(os.getpid()) in said.stderr
    with Client(mnt.subchannel) as client:
        assert client.run((SENSE_ID, 0, 7, DATA)).dstat == ENDED
    os.close(fd)


def test_a_killed_server_leaves_no_storage_no_socket_and_no_mount(tmp_path: Path) -> None:
    system = mount(tmp_path)
    try:
        with Client(system.subchannel) as client:
            assert client.run((SENSE_ID, 0, 7, DATA)).dstat == ENDED
        os.kill(system.pid, signal.SIGKILL)
        until(lambda: not is_mounted(system.path), "the mount is detached")
        until(lambda: not system.storage.parent.exists(), "the storage is removed")
        until(lambda: not system.socket.parent.exists(), "the socket's directory is removed")
        assert os.listdir(system.path) == []
    finally:
        system.give_up()


def test_a_killed_server_ends_that_holds_a_file_of_its_own_mount(tmp_path: Path) -> None:
    """Nobody answers what the end of such a descriptor asks, if its number is below /dev/fuse's."""
    places = [tmp_path / name for name in ("own", "other")]
    for place in places:
        place.mkdir()
    early = make_image(tmp_path / "early.img")
    system = mount(places[0], f"--device=fba@0.0.0001:{early}")
    other = mount(places[1])
    file = system.subchannel / "schib_region"
    opened = os.open(file, os.O_RDONLY)
    try:
        remove = {"do": "remove", "subchannel": "0.0.0001"}
        waiting = {"do": "add", "device": f"fba@0.0.0002:{other.subchannel}/state"}
        with Connection(system.path) as connection:
            assert connection.send(remove) == {"ok": True}
            file.read_bytes()
            stop(other.pid)
            message = json.dumps(waiting).encode()
            socket.send_fds(connection.socket, [message], [opened])
            until(lambda: str(file) in files_of(system.pid), "the server has the descriptor")
            assert number_of(system, str(file)) < number_of(system, "/dev/fuse")
            os.kill(system.pid, signal.SIGKILL)
            system.assert_nothing_is_left()
    finally:
        abort(system.path)
        os.close(opened)
        os.kill(other.pid, signal.SIGCONT)
        for each in (system, other):
            each.give_up()


def number_of(system: MountedSystem, target: str) -> int:
    """Which descriptor of the server is of *target*."""
    place = Path(f"/proc/{system.pid}/fd")
    [number] = [int(name) for name in os.listdir(place) if os.readlink(place / name) == target]
    return number


def cleaner_of(system: MountedSystem) -> int:
    """The process that removes what the server leaves."""
    storage = str(system.storage.parent)
    found = (int(name) for name in os.listdir("/proc") if name.isdigit())
    [cleaner] = [pid for pid in found if {"vfioccw-cleaner", storage} <= set(command_of(pid))]
    return cleaner


def kill_with_its_cleaner(system: MountedSystem) -> None:
    """SIGKILL to both: nobody is left who could remove anything."""
    cleaner = os.pidfd_open(cleaner_of(system))
    signal.pidfd_send_signal(cleaner, signal.SIGKILL)
    assert select.select([cleaner], [], [], SOON)[0]
    os.close(cleaner)
    os.kill(system.pid, signal.SIGKILL)
    assert system.ended()


def test_what_a_killed_server_and_its_killed_cleaner_leave_is_removed_by_the_next_mount(
    tmp_path: Path,
) -> None:
    systems = []
    link = tmp_path / "console"
    console = f"--device=3215@0.0.0009:{link}"
    try:
        for name, *words in (("killed", console), ("alive",)):
            (tmp_path / name).mkdir()
            systems.append(mount(tmp_path / name, *words))
        killed, alive = systems
        kill_with_its_cleaner(killed)
        assert killed.storage.exists()
        assert killed.socket.exists()
        (tmp_path / "next").mkdir()
        systems.append(mount(tmp_path / "next", console))
        assert link.readlink().is_char_device()
        assert not killed.storage.parent.exists()
        assert not killed.socket.parent.exists()
        with Client(alive.subchannel) as client:
            assert client.run((SENSE_ID, 0, 7, DATA)).dstat == ENDED
        for system in systems[1:]:
            assert system.storage.exists()
            assert system.socket.exists()
            assert system.unmount().returncode == 0
            system.assert_nothing_is_left()
        assert not link.is_symlink()
    finally:
        for system in systems:
            system.give_up()


def test_a_killed_server_lets_its_blocked_readers_go(
    tmp_path: Path, processes: list[subprocess.Popen[str]]
) -> None:
    system = mount(tmp_path)
    try:
        reader = run_python(processes, BLOCKED, system.subchannel / "io_irq")
        until(lambda: waits(reader), "the reader is blocked")
        os.kill(system.pid, signal.SIGKILL)
        out, _ = reader.communicate(timeout=SOON)
        assert int(out) in (errno.ECONNABORTED, errno.ENOTCONN, errno.ENODEV)
        until(lambda: not is_mounted(system.path), "the mount is detached")
    finally:
        system.give_up()


# --- clients that die -----------------------------------------------------------------------------


@pytest.mark.random
def test_a_client_killed_at_any_moment_leaves_the_mount_working(
    mnt: MountedSystem, processes: list[subprocess.Popen[str]], seed: int
) -> None:
    rng = random.Random(seed)
    forker = """
import os, sys
code = sys.argv[4]
for line in sys.stdin:
    pid = os.fork()
    if not pid:
        sys.argv[3] = line.strip()
        exec(compile(code, "client", "exec"), {"__name__": "client"})
    print(pid, flush=True)
"""
    # One interpreter forks all clients: to start fifty would take longer than the test.
    parent = subprocess.Popen(
        [sys.executable, "-c", forker, str(mnt.subchannel), IMPORTS, "0",
         BUSY.replace('print("open", flush=True)', "pass")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    processes.append(parent)
    assert parent.stdin is not None
    assert parent.stdout is not None
    clients = []
    for number in range(50):
        parent.stdin.write(f"{seed + number}\n")
        parent.stdin.flush()
        clients.append(os.pidfd_open(int(parent.stdout.readline())))
        time.sleep(rng.uniform(0.005, 0.06))
        signal.pidfd_send_signal(clients[-1], signal.SIGKILL)
    parent.stdin.close()
    parent.kill()
    parent.wait()
    # Their files leave /proc before they are closed: only the end of a process says that they are.
    for pidfd in clients:
        assert select.select([pidfd], [], [], SOON)[0], "a client has not ended"
        os.close(pidfd)
    with Client(mnt.subchannel) as client:
        client.control("fault=none delay=0")
        until(lambda: client.request(CLEAR) == 0, "a clear is accepted")
        # What was discarded may have left events; the clear's interruption is the only one left.
        state = mnt.subchannel / "state"
        until(lambda: "interruptions_shown: 1\n" in state.read_text(), "the clear's interruption")
        assert client.wait()
        assert client.irb().ctrl & CLEAR
        assert client.run((SENSE_ID, 0, 7, DATA)).dstat == ENDED
        assert client.load(DATA, 7) == FBA_ID
        assert client.read_blocks(0, 8) == mnt.image.read_bytes()[: 8 * BLOCK]


def open_files(prefix: str) -> list[str]:
    """Open files whose names begin with *prefix*, of any process."""
    processes = filter(str.isdigit, os.listdir("/proc"))
    return [file for pid in processes for file in files_of(int(pid)) if file.startswith(prefix)]


def test_a_client_killed_while_it_waits_leaves_the_interruption_to_others(
    mnt: MountedSystem, processes: list[subprocess.Popen[str]]
) -> None:
    reader = run_python(processes, BLOCKED, mnt.subchannel / "io_irq")
    until(lambda: waits(reader), "the reader is blocked")
    reader.kill()
    assert reader.wait(SOON) == -signal.SIGKILL
    with Client(mnt.subchannel) as client:
        assert client.run((SENSE_ID, 0, 7, DATA)).dstat == ENDED


# --- several --------------------------------------------------------------------------------------


def test_three_mounts_at_once_know_nothing_of_each_other(tmp_path: Path) -> None:
    systems = []
    try:
        for number in range(3):
            directory = tmp_path / str(number)
            directory.mkdir()
            image = make_image(directory / "disk.img", 64 + number)
            systems.append(mount(directory, image=image))
        clients = [Client(system.subchannel) for system in systems]
        for number, client in enumerate(clients):
            client.store(DATA + 0x1000, bytes([number]) * 16)
        for number, (system, client) in enumerate(zip(systems, clients, strict=True)):
            assert client.read_blocks(0, 4) == system.image.read_bytes()[: 4 * BLOCK]
            assert client.load(DATA + 0x1000, 16) == bytes([number]) * 16
            client.close()
        assert len({system.storage for system in systems}) == 3
        for system in systems:
            assert system.unmount().returncode == 0
            system.assert_nothing_is_left()
    finally:
        for system in systems:
            system.give_up()


def test_two_subchannels_of_one_mount_share_memory_and_nothing_else(tmp_path: Path) -> None:
    other = make_image(tmp_path / "other.img", 96)
    system = mount(tmp_path, f"--device=fba@0.0.0314:{other}")
    try:
        second = system.path / "0.0.0314"
        with Client(system.subchannel) as one, Client(second) as two:
            one.store(DATA + 0x4000, b"shared")
            assert two.load(DATA + 0x4000, 6) == b"shared"
            one.control("fault=hang")
            assert one.start((NOP, SLI, 1, 0)) == 0
            assert two.read_blocks(0, 1) == other.read_bytes()[:BLOCK]
            assert not one.wait(0)
            assert one.request(CLEAR) == 0
            assert one.wait()
            assert not two.wait(0)
        assert system.unmount().returncode == 0
        system.assert_nothing_is_left()
    finally:
        system.give_up()


# --- mount errors ---------------------------------------------------------------------------------


def orphans() -> set[str]:
    """Storage on tmpfs that no process has open: what a mount forgot."""
    used = {Path(target).parent.name for target in open_files("/dev/shm/vfioccw-")}
    return {name for name in os.listdir("/dev/shm") if name.startswith("vfioccw-")} - used


@pytest.mark.parametrize(
    ("arrange", "spec", "says"),
    [
        ("file", "fba@0.0.0313:disk.img", "not a directory"),
        ("missing", "fba@0.0.0313:disk.img", "no such directory"),
        ("full", "fba@0.0.0313:disk.img", "not empty"),
        ("ok", "fba@0.0.0313:none.img", "none.img"),
        ("ok", "fba@0.0.0313:odd.img", "512"),
        ("ok", "fba@0.0.0313:empty.img", "an empty file"),
        ("ok", "fba@0.0.0313:.", "disk|directory|regular"),
        ("ok", "9999@0.0.0313:disk.img", "9999"),
        ("ok", "fba@0.0.0313:disk.img,speed=9", "speed"),
        ("ok", "fba@0.0.0313:disk.img,delay=soon", "delay"),
        ("ok", "fba@0.0.0313:disk.img,fault=fire", "fire"),
        ("ok", "fba@0.0.0313:disk.img,order=odd", "order"),
        ("ok", "fba@0.0.0313:disk.img,interface=new", "interface"),
        ("ok", "fba@31x:disk.img", "31x"),
        ("ok", "fba@0.9.0313:disk.img", "0.9.0313"),
        ("ok", "fba@0.0.0313", "0.0.0313"),
        ("ok", "fba@0.0.0313:", "0.0.0313"),
        ("ok", "disk.img", "disk.img"),
        ("ok", "fba@0.0.0313:disk.img|fba@0.0.0313:disk.img", "0.0.0313"),
    ],
)
def test_a_mount_that_cannot_be_is_one_line_and_leaves_nothing(
    tmp_path: Path, arrange: str, spec: str, says: str
) -> None:
    make_image(tmp_path / "disk.img", 8)
    (tmp_path / "odd.img").write_bytes(bytes(1000))
    (tmp_path / "empty.img").touch()
    path = tmp_path / "mnt"
    if arrange == "file":
        path.touch()
    elif arrange != "missing":
        path.mkdir()
        if arrange == "full":
            (path / "something").touch()
    before = orphans()
    words = [word for one in spec.split("|") for word in ("--device", one)]
    try:
        done = vfioccw("mount", path, *words, cwd=tmp_path)
    finally:
        end_servers(path)
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    assert any(word in done.stderr for word in says.split("|"))
    assert len([line for line in done.stderr.splitlines() if line.strip()]) == 1
    assert not done.stdout
    assert not is_mounted(path)
    # A mount of somebody else may just be beginning.
    until(lambda: not orphans() - before, "no storage is left")


def test_a_busy_mount_point_is_one_line_and_the_mount_there_goes_on(mnt: MountedSystem) -> None:
    done = vfioccw("mount", mnt.path, "--device", f"fba@0.0.0314:{mnt.image}")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "busy" in done.stderr or "mounted" in done.stderr
    with Client(mnt.subchannel) as client:
        assert client.run((SENSE_ID, 0, 7, DATA)).dstat == ENDED


def test_umount_of_what_is_not_mounted_is_one_line(tmp_path: Path) -> None:
    done = vfioccw("umount", tmp_path)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("size", ["0", "5", "3GiB", "4097", "much"])
def test_a_wrong_memory_size_is_one_line(tmp_path: Path, size: str) -> None:
    path = tmp_path / "mnt"
    path.mkdir()
    image = make_image(tmp_path / "disk.img", 8)
    done = vfioccw("mount", path, "--memory", size, "--device", f"fba@0.0.0313:{image}")
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.strip()]) == 1
    assert not is_mounted(path)


def test_memory_of_2_gib_is_sparse(tmp_path: Path) -> None:
    system = mount(tmp_path, "--memory=2GiB")
    try:
        found = os.stat(system.storage)
        assert found.st_size == 2 << 30
        assert found.st_blocks * 512 < 1 << 20
        with Client(system.subchannel) as client:
            irb = client.run((SENSE_ID, 0, 7, (2 << 30) - 8))
            assert irb.dstat == ENDED
            assert client.load((2 << 30) - 8, 7) == FBA_ID
        assert system.unmount().returncode == 0
        system.assert_nothing_is_left()
    finally:
        system.give_up()


def test_an_output_below_the_mount_point_is_refused_before_the_mount(tmp_path: Path) -> None:
    point = tmp_path / "mnt"
    point.mkdir()
    done = vfioccw("mount", point, "--device", f"1403@0.0.000e:{point}/out.txt")
    assert (done.returncode, os.listdir(point)) == (1, [])
    assert "inside the mount itself" in done.stderr


def mount_with_100_files(point: Path, *devices: str) -> subprocess.CompletedProcess[str]:
    point.mkdir()
    return subprocess.run(
        command("mount", point, *(f"--device={device}" for device in devices)),
        env={**os.environ, "PYTHONPATH": str(PROJECT)}, capture_output=True, text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100)),
        stdin=subprocess.DEVNULL, timeout=SOON, check=False,
    )  # fmt: skip


def test_a_limit_that_is_too_low_for_the_devices_is_said_before_the_mount(tmp_path: Path) -> None:
    point = tmp_path / "mnt"
    done = mount_with_100_files(point, *(f"3215@0.0.{number:04x}:-" for number in range(70)))
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert "70 devices need 204 open files, and 100 are allowed" in line
    assert "ulimit -Hn" in line
    assert not is_mounted(point)


def test_what_has_no_medium_needs_no_files(tmp_path: Path) -> None:
    point = tmp_path / "mnt"
    done = mount_with_100_files(point, *(f"3480@0.0.{number:04x}:-" for number in range(200)))
    assert (done.returncode, done.stderr) == (0, "")
    system = Mount(point)
    try:
        assert len(list(point.glob("0.0.*"))) == 200
    finally:
        system.give_up()


def test_an_image_that_shrinks_under_the_mount_is_an_equipment_check(
    mnt: MountedSystem,
) -> None:
    os.truncate(mnt.image, 16 * BLOCK)
    with Client(mnt.subchannel) as client:
        assert client.read_blocks(0, 4) == mnt.image.read_bytes()[: 4 * BLOCK]
        with pytest.raises(AssertionError):
            client.read_blocks(20, 1)
        assert client.run((0x04, SLI, 24, DATA)).dstat == ENDED
        assert client.load(DATA, 1) == b"\x10"
        assert errno_of(lambda: client.schib()) == 0
