"""`vfioccw qemu` around QEMU: what it refuses, what it adds, and that it leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from lab.mounts import PROJECT, MountedSystem, make_image, mount, mounted, vfioccw
from lab.processes import stop
from lab.waits import until
from tests.qemu.conftest import has_iommufd

SCHID = "0.0.0313"
FAKE_QEMU = f"""#!{sys.executable}
import json, os, signal, sys, time
if sys.argv[1:] == ["-object", "help"]:
    print("List of user creatable objects:\\n  memory-backend-ram" + os.environ.get("MORE", ""))
    sys.exit(0)
control = os.environ["VFIOCCW_DEVICES"].splitlines()[0].split("\\t")[0] + "/control"
said = {{
    "arguments": sys.argv[1:],
    "devices": os.environ["VFIOCCW_DEVICES"],
    "preload": os.environ["LD_PRELOAD"],
    "control": open(control).read(),
}}
def note(number, frame):
    open(os.environ["SAID"] + ".signal", "w").write(str(number))
    sys.exit(40)
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, note)
with open(os.environ["SAID"] + ".new", "w") as file:
    json.dump(said, file)
os.rename(os.environ["SAID"] + ".new", os.environ["SAID"])
if "--wait" in sys.argv:
    time.sleep(60)
if "--kill" in sys.argv:
    os.kill(os.getpid(), signal.SIGKILL)
sys.exit(7)
"""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MountedSystem]:
    directory = tmp_path_factory.mktemp("command")
    more = make_image(directory / "more.img", 64)
    with mounted(directory, f"--device=fba@0.0.0314:{more}") as system:
        yield system


@pytest.fixture
def qemu(tmp_path: Path) -> Path:
    """A program that writes down how it was called."""
    program = tmp_path / "qemu-system-s390x"
    program.write_text(FAKE_QEMU)
    program.chmod(0o755)
    return program


class Fake:
    """A run of `vfioccw qemu` with the program that only writes down."""

    def __init__(
        self, qemu: Path, words: Sequence[object], *arguments: str, at: Path | None = None
    ) -> None:
        self.file = (at or qemu).parent / "said"
        ours = [sys.executable, "-m", "vfioccw_fuse", "qemu", *map(str, words)]
        self.process = subprocess.Popen(
            [*ours, "--", qemu, *arguments],
            env={
                **os.environ, "PYTHONPATH": str(PROJECT), "SAID": str(self.file),
                "MORE": "\n  iommufd",
            },
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def end(self) -> int:
        out, err = self.process.communicate(timeout=60)
        assert out + err == ""
        return self.process.returncode

    def said(self) -> dict[str, str]:
        until(self.file.exists, "the program was run")
        found: dict[str, str] = json.loads(self.file.read_text())
        return found

    @property
    def arguments(self) -> list[str]:
        return list(self.said()["arguments"])


def refused(*words: object, status: int = 1) -> str:
    """Run `vfioccw qemu` with *words*, which must be refused in one line; the line."""
    done = vfioccw("qemu", *words)
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.startswith("vfioccw: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


def order(system: MountedSystem, schid: str = SCHID) -> str:
    words = (system.path / schid / "control").read_text().split()
    [found] = [word for word in words if word.startswith("order=")]
    return found


# --- what is refused, before QEMU starts --------------------------------------------------------


def test_a_mount_that_is_not_there(tmp_path: Path, qemu: Path) -> None:
    line = refused("--device", tmp_path / SCHID, "--", qemu)
    assert str(tmp_path / SCHID) in line
    assert "vfioccw mount" in line


def test_a_mount_whose_server_is_gone(tmp_path: Path, qemu: Path) -> None:
    system = mount(tmp_path)
    stop(system.pid)
    # Its cleaner would detach the mount, and then it were one that is not there.
    cleaners = [
        int(pid)
        for pid in os.listdir("/proc")
        if pid.isdigit() and str(tmp_path) in _command(pid) and "cleaner" in _command(pid)
    ]
    for pid in cleaners:
        stop(pid)
    os.kill(system.pid, signal.SIGKILL)
    try:
        line = refused("--device", system.subchannel, "--", qemu)
        assert "the server of this mount is gone" in line
        assert "vfioccw umount" in line
    finally:
        for pid in cleaners:
            os.kill(pid, signal.SIGCONT)
        until(lambda: not os.path.ismount(system.path), "the cleaner has detached the mount")
        system.give_up()


def _command(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:
        return ""


def test_a_directory_that_is_no_subchannel(system: MountedSystem, qemu: Path) -> None:
    assert "no subchannel" in refused("--device", system.path, "--", qemu)
    assert "0.0.0999" in refused("--device", system.path / "0.0.0999", "--", qemu)
    directory = qemu.parent / SCHID
    directory.mkdir()
    assert "no subchannel" in refused("--device", directory, "--", qemu)


@pytest.mark.parametrize("devno", ["0.0.1234", "fe.4.1234", "1234", "fe.0.12345", "", "ff.0.1234"])
def test_a_device_number_that_the_guest_would_never_see(
    system: MountedSystem, qemu: Path, devno: str
) -> None:
    line = refused("--device", f"{system.subchannel},devno={devno}", "--", qemu)
    assert f"devno={devno}" in line
    assert "fe." in line


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ("bootindex", "NAME=VALUE"),
        ("id=a,id=b", "twice"),
        ("sysfsdev=/sys", "sysfsdev"),
        ("group=x", "group"),
        ("group=٣", "group"),
        (f"group={'9' * 5000}", "group"),
    ],
)
def test_options_that_are_wrong(system: MountedSystem, qemu: Path, more: str, why: str) -> None:
    assert why in refused("--device", f"{system.subchannel},{more}", "--", qemu)


def test_devices_that_cannot_be_told_apart(system: MountedSystem, qemu: Path) -> None:
    first, second = system.subchannel, system.path / "0.0.0314"
    assert "twice" in refused("--device", first, "--spare", first, "--", qemu)
    line = refused(
        "--device", f"{first},devno=fe.0.1000", "--device", f"{second},devno=fe.0.1000", "--", qemu
    )
    assert "devno=fe.0.1000" in line


def test_a_qemu_that_is_not_there(system: MountedSystem) -> None:
    line = refused("--device", system.subchannel, "--", "qemu-system-of-nobody")
    assert "qemu-system-of-nobody: not found" in line
    assert "Debian: qemu-system-s390x" in line


def test_no_qemu_at_all(system: MountedSystem) -> None:
    refused("--device", system.subchannel, status=2)


def test_a_qemu_that_cannot_be_waited_for(system: MountedSystem, qemu: Path) -> None:
    assert "-daemonize" in refused("--device", system.subchannel, "--", qemu, "-daemonize")


def test_a_device_that_another_process_has_open(system: MountedSystem, qemu: Path) -> None:
    with open(system.subchannel / "device", "rb"):
        line = refused("--device", system.subchannel, "--", qemu)
    assert f"in use by process {os.getpid()}" in line
    assert order(system) == "order=big"


def test_a_qemu_without_iommufd(system: MountedSystem, qemu: Path) -> None:
    line = refused("--iommufd", "--device", system.subchannel, "--", qemu)
    assert str(qemu) in line
    assert "no iommufd" in line
    assert "QEMU 9" in line
    if not has_iommufd():
        line = refused("--iommufd", "--device", system.subchannel, "--", "qemu-system-s390x")
        assert "no iommufd" in line
    assert order(system) == "order=big"


def test_a_program_that_is_no_program(system: MountedSystem, tmp_path: Path) -> None:
    program = tmp_path / "qemu-system-s390x"
    program.write_bytes(b"\x7fELF nonsense")
    program.chmod(0o755)
    assert "cannot be run" in refused("--device", system.subchannel, "--", program)
    assert order(system) == "order=big"


# --- what is added ------------------------------------------------------------------------------


def test_the_devices_as_qemu_takes_them(system: MountedSystem, qemu: Path) -> None:
    words = (
        *("--device", f"{system.subchannel},devno=FE.0.1A34,bootindex=1"),
        *("--spare", system.path / "0.0.0314"),
    )
    fake = Fake(qemu, words, "-m", "1G", "-nographic")
    assert fake.end() == 7
    assert fake.arguments[:3] == ["-m", "1G", "-nographic"]
    assert fake.arguments[-2:] == [
        "-device",
        f"vfio-ccw,sysfsdev={system.subchannel},devno=fe.0.1a34,bootindex=1",
    ]
    assert fake.said()["devices"] == f"{system.subchannel}\t0\n{system.path / '0.0.0314'}\t1"
    assert Path(fake.said()["preload"]).name == "preload.so"


def test_a_device_number_unless_one_is_given(system: MountedSystem, qemu: Path) -> None:
    fake = Fake(qemu, ("--device", system.subchannel))
    assert fake.end() == 7
    assert "devno=fe.0.0313" in fake.arguments[-1]


def test_iommufd_for_each_device(system: MountedSystem, qemu: Path) -> None:
    words = (
        *("--iommufd", "--device", f"{system.subchannel},bootindex=1"),
        *("--device", f"{system.path / '0.0.0314'},iommufd=mine"),
    )
    fake = Fake(qemu, words, "-object", "iommufd,id=mine")
    assert fake.end() == 7
    assert fake.arguments[:2] == ["-object", "iommufd,id=mine"]
    assert fake.arguments[-6:-4] == ["-object", "iommufd,id=vfioccw-iommufd"]
    one, two = fake.arguments[-3], fake.arguments[-1]
    assert one.endswith("devno=fe.0.0313,iommufd=vfioccw-iommufd,bootindex=1")
    assert two.endswith("devno=fe.0.0314,iommufd=mine")


def test_a_program_that_runs_qemu_is_not_asked_in_vain(system: MountedSystem, qemu: Path) -> None:
    fake = Fake(Path("env"), ("--iommufd", "--device", system.subchannel), str(qemu), at=qemu)
    assert fake.end() == 7
    assert "iommufd=vfioccw-iommufd" in fake.arguments[-1]


@pytest.mark.parametrize(
    ("given", "size"),
    [
        ((), 128 << 20),
        (("-m", "512"), 512 << 20),
        (("-m", "2g"), 2 << 30),
        (("-m", "size=1G,slots=2,maxmem=2G"), 1 << 30),
        (("-m", "512", "-m", "1024M"), 1 << 30),
        (("-m", "524288k"), 512 << 20),
    ],
)
def test_memory_that_can_be_shared(
    system: MountedSystem, qemu: Path, given: tuple[str, ...], size: int
) -> None:
    fake = Fake(qemu, ("--device", system.subchannel), *given)
    assert fake.end() == 7
    [backend] = [word for word in fake.arguments if word.startswith("memory-backend-")]
    assert f",size={size},share=on" in backend
    identity = backend.partition("id=")[2].partition(",")[0]
    assert fake.arguments[fake.arguments.index("-machine") + 1] == f"memory-backend={identity}"


@pytest.mark.parametrize(
    "given",
    [
        ("-M", "s390-ccw-virtio,memory-backend=ram0", "-object", "memory-backend-ram,id=ram0"),
        ("-mem-path", "/dev/shm"),
        ("-m", "much"),
    ],
)
def test_memory_stays_as_it_was_given(
    system: MountedSystem, qemu: Path, given: tuple[str, ...]
) -> None:
    fake = Fake(qemu, ("--device", system.subchannel), *given)
    assert fake.end() == 7
    assert fake.arguments[: len(given) + 1] == [*given, "-device"]


# --- while it runs, and after -------------------------------------------------------------------


def test_the_byte_order_is_the_hosts_meanwhile(system: MountedSystem, qemu: Path) -> None:
    assert order(system) == "order=big"
    fake = Fake(qemu, ("--device", system.subchannel))
    assert fake.end() == 7
    assert "order=host" in fake.said()["control"]
    assert order(system) == "order=big"
    (system.subchannel / "control").write_text("order=host")
    assert Fake(qemu, ("--device", system.subchannel)).end() == 7
    assert order(system) == "order=host"
    (system.subchannel / "control").write_text("order=big")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_are_passed_on(system: MountedSystem, qemu: Path, number: signal.Signals) -> None:
    fake = Fake(qemu, ("--device", system.subchannel), "--wait")
    fake.said()
    assert order(system) == "order=host"
    fake.process.send_signal(number)
    assert fake.end() == 40
    assert (qemu.parent / "said.signal").read_text() == str(int(number))
    assert order(system) == "order=big"


def test_a_killed_qemu_gives_its_signal(system: MountedSystem, qemu: Path) -> None:
    assert Fake(qemu, ("--device", system.subchannel), "--kill").end() == 128 + signal.SIGKILL
    assert order(system) == "order=big"


def test_qemu_does_not_outlive_a_killed_command(system: MountedSystem, qemu: Path) -> None:
    fake = Fake(qemu, ("--device", system.subchannel), "--wait")
    fake.said()
    fake.process.kill()
    fake.process.wait()
    until((qemu.parent / "said.signal").exists, "QEMU was told to end")
    (system.subchannel / "control").write_text("order=big")


def test_a_mount_that_ended_meanwhile_is_no_trouble(tmp_path: Path, qemu: Path) -> None:
    system = mount(tmp_path)
    fake = Fake(qemu, ("--device", system.subchannel), "--wait")
    try:
        fake.said()
        assert system.unmount().returncode == 0
        system.assert_nothing_is_left()
    finally:
        fake.process.terminate()
        status = fake.end()
        system.give_up()
    assert status == 40


def test_the_help_explains_it_by_example() -> None:
    done = vfioccw("qemu", "--help")
    assert done.returncode == 0
    for word in ("--device", "--spare", "--iommufd", "devno", "qemu-system-s390x", "order=host"):
        assert word in done.stdout
