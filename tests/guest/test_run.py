"""`vfioccw guest run` from its options to its end, with a QEMU that only shows a console.

What happens in a real guest is in `tests/qemu/test_guest_command.py`.
"""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.mounts import PROJECT, MountedSystem, command, mounted
from lab.processes import command_of
from lab.waits import SOON, until
from tests.guest.cpio import entries
from vfioccw_fuse.guest.archive import Archive
from vfioccw_fuse.guest.machine import Options, write_initramfs
from vfioccw_fuse.guest.parts import Parts

QEMU = f"""#!{sys.executable}
import os, re, sys, time
if "-initrd" not in sys.argv:
    sys.exit(0)
initramfs = open(sys.argv[sys.argv.index("-initrd") + 1], "rb").read()
mark = re.search(rb"mark='(.*?)'", initramfs)[1].decode()
place = os.path.dirname(sys.argv[0])
with open(os.path.join(place, "started"), "w") as file:
    file.write(repr(sys.argv))
sys.stdout.write(open(os.path.join(place, "console")).read().replace("MARK ", mark))
sys.stdout.flush()
while os.path.exists(os.path.join(place, "flood")):
    print("more", flush=True)
if os.path.exists(os.path.join(place, "hang")):
    time.sleep(600)
"""
KERNEL = bytes(0x10008) + b"S390EP"
PROGRAM = b"\x7fELF\x02\x02\x01" + bytes(9) + b"\0\x02\0\x16" + bytes(44)
Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MountedSystem]:
    with mounted(tmp_path_factory.mktemp("guest")) as system:
        yield system


class Stage:
    """A host on which QEMU shows what the test says, and the files of a guest."""

    def __init__(self, place: Path, system: MountedSystem) -> None:
        self.place = place
        self.system = system
        self.kernel = place / "bzImage"
        self.kernel.write_bytes(KERNEL)
        self.busybox = place / "busybox"
        self.busybox.write_bytes(PROGRAM)
        qemu = place / "bin" / "qemu-system-s390x"
        qemu.parent.mkdir()
        qemu.write_text(QEMU)
        qemu.chmod(0o755)
        self.console("@@MARK begins@@\nhello\n@@MARK ended 0@@\n")
        self.started = qemu.parent / "started"
        self.env = {
            **os.environ, "PATH": f"{qemu.parent}:{os.environ['PATH']}", "PYTHONPATH": str(PROJECT),
            "XDG_CACHE_HOME": str(place / "cache"), "TMPDIR": str(place / "tmp"),
        }  # fmt: skip
        (place / "tmp").mkdir()

    def console(self, text: str, *, hang: bool = False) -> None:
        """What the guest shows; then it ends or hangs."""
        (self.place / "bin" / "console").write_text(text)
        if hang:
            (self.place / "bin" / "hang").touch()

    def words(self, *more: object, what: str = "run") -> list[str]:
        own = ("--kernel", self.kernel, "--busybox", self.busybox)
        return command("guest", what, "--device", self.system.subchannel, *own, *more)

    def run(self, *more: object, what: str = "run", script: str = "true\n") -> Done:
        return subprocess.run(
            self.words(*more, what=what), input=script, env=self.env, capture_output=True,
            text=True, timeout=SOON, check=False,
        )  # fmt: skip

    def processes(self) -> list[int]:
        """What runs with the name of the stage in its command."""
        found = (int(name) for name in os.listdir("/proc") if name.isdigit())
        own = str(self.place)
        return [pid for pid in found if any(own in word for word in command_of(pid))]

    def assert_nothing_is_left(self) -> None:
        until(lambda: not self.processes(), "nothing runs any more")
        assert list((self.place / "tmp").iterdir()) == []
        assert self.system.state()["order"] == "big"


@pytest.fixture
def stage(tmp_path: Path, system: MountedSystem) -> Iterator[Stage]:
    made = Stage(tmp_path, system)
    yield made
    made.assert_nothing_is_left()


def complaint(done: Done) -> str:
    """The line on stderr that says why it failed."""
    assert done.returncode in (1, 2)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("vfioccw: ")
    return last


def test_what_the_script_prints_and_its_exit_status_are_the_commands(stage: Stage) -> None:
    stage.console("early\n@@MARK begins@@\r\none\r\ntwo@@MARK ended 7@@\r\nlate\n")
    done = stage.run()
    assert (done.returncode, done.stdout, done.stderr) == (7, "one\ntwo", "")


def test_all_that_the_kernel_says_is_shown_if_it_is_asked_for(stage: Stage) -> None:
    stage.console("early\n@@MARK begins@@\none\n@@MARK ended 0@@\nlate\n")
    assert stage.run("--verbose").stdout == "early\none\n"


def test_the_script_cannot_say_that_it_has_ended(stage: Stage) -> None:
    stage.console("@@MARK begins@@\n@@ended 0@@\n@@0123456789abcdef ended 0@@\n@@MARK ended 5@@\n")
    assert stage.run().returncode == 5


def test_what_the_guest_is_made_of_is_given_and_nothing_is_fetched(stage: Stage) -> None:
    done = stage.run("--append", "slub_debug", "--smp", 2, "--", "-name", "mine")
    assert done.returncode == 0, done.stderr
    said = stage.started.read_text()
    assert str(stage.kernel) in said
    assert "panic=1 slub_debug'" in said
    assert "'-smp', '2'" in said
    assert "'-name', 'mine'" in said
    assert not (stage.place / "cache").exists()


def test_without_qemu_nothing_is_fetched(stage: Stage) -> None:
    stage.env["PATH"] = str(stage.place / "nothing")
    words = ("--device", stage.system.subchannel, "--source", "deb nowhere x y")
    done = subprocess.run(
        command("guest", "run", *words), input="true", env=stage.env, capture_output=True,
        text=True, timeout=SOON, check=False,
    )  # fmt: skip
    assert done.stderr.startswith("vfioccw: qemu-system-s390x: not found; install QEMU for s390x")
    assert len(done.stderr.splitlines()) == 1


def test_a_guest_in_the_guest_has_the_same_kernel_and_an_init_of_its_own(stage: Stage) -> None:
    cache = stage.place / "cache/vfioccw"
    cache.mkdir(parents=True)
    parts = Parts(cache, kernel=stage.kernel, busybox=stage.busybox)
    with (cache / "emulator.cpio").open("wb") as file, Archive(file) as archive:
        archive.file("usr/bin/qemu-system-s390x", PROGRAM)
    made = stage.place / "initramfs"
    with made.open("wb") as file:
        write_initramfs(file, parts, "script", Options(nested=True), b"true\n", "outer ")
    emulator = (cache / "emulator.cpio").read_bytes()
    assert made.read_bytes().startswith(emulator)
    made.write_bytes(made.read_bytes().removeprefix(emulator))
    outer = entries(made)
    assert outer["nested/kernel"] == KERNEL
    assert outer["bin/nested"].startswith(b"#!/bin/busybox sh\n")
    (stage.place / "inner").write_bytes(outer["nested/initramfs"])
    inner = entries(stage.place / "inner")
    assert inner["init"] == outer["init"]
    assert b"mark='nested '" in inner["guest"]
    assert b"mode=script" in inner["guest"]
    assert not inner.keys() & {"bin/nested", "nested/kernel"}


def test_a_panic_is_said_after_the_consoles_last_lines(stage: Stage) -> None:
    lines = "".join(f"line {number}\n" for number in range(100))
    stage.console(f"{lines}Kernel panic - not syncing: VFS: no root\n")
    done = stage.run()
    *shown, last = done.stderr.splitlines()
    assert shown == [*(f"line {number}" for number in range(81, 100)),
                     "Kernel panic - not syncing: VFS: no root"]  # fmt: skip
    assert last.startswith("vfioccw: the guest's kernel panicked: VFS: no root; ")
    assert (done.returncode, done.stdout) == (1, "")


def test_a_panic_of_the_script_is_shown_where_its_output_is(stage: Stage) -> None:
    stage.console("@@MARK begins@@\none\n[ 9.1] Kernel panic - not syncing: sysrq\n")
    done = stage.run()
    assert done.stdout == "one\n[ 9.1] Kernel panic - not syncing: sysrq\n"
    assert complaint(done) == done.stderr.strip()
    assert "panicked: sysrq" in done.stderr


@pytest.mark.parametrize(
    ("console", "what"), [("early\n", "did not even begin"), ("@@MARK begins@@\n", "did not end")]
)
def test_a_guest_that_takes_too_long_is_ended(stage: Stage, console: str, what: str) -> None:
    stage.console(console, hang=True)
    done = stage.run("--timeout", 2)
    line = complaint(done)
    assert f"the guest's script {what} within 2 s" in line
    assert "--timeout" in line
    assert ("early" in done.stderr) == ("early" in console)


def test_a_guest_that_never_stops_to_say_something_is_ended_too(stage: Stage) -> None:
    stage.console("@@MARK begins@@\n")
    (stage.place / "bin" / "flood").touch()
    done = stage.run("--timeout", 1)
    assert "did not end within 1 s" in complaint(done)
    assert set(done.stdout.splitlines()[:-1]) == {"more"}


def test_a_line_that_the_guest_did_not_end_is_shown_too(stage: Stage) -> None:
    stage.console("early\nhalf a li", hang=True)
    done = stage.run("--timeout", 2)
    assert done.stderr.splitlines()[:2] == ["early", "half a li"]


def test_a_guest_that_ends_before_its_script_says_so(stage: Stage) -> None:
    stage.console("@@MARK begins@@\nbye\n")
    done = stage.run()
    assert done.stdout == "bye\n"
    assert "the guest ended before its script did" in complaint(done)


def test_a_driver_that_the_kernel_has_not_is_said_as_the_guest_says_it(stage: Stage) -> None:
    stage.console("early\n@@MARK failed bind: no driver x; build one@@\n")
    done = stage.run("--bind", "x")
    assert done.stderr == "early\nvfioccw: bind: no driver x; build one\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_nothing_runs_on_when_the_command_is_ended(stage: Stage, number: int) -> None:
    stage.console("@@MARK begins@@\nhello\n", hang=True)
    with subprocess.Popen(
        stage.words("--script", "/dev/null"), env=stage.env, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "hello\n"
        assert len(stage.processes()) == 3
        process.send_signal(number)
        _, said = process.communicate(timeout=SOON)
    assert said == ""
    killed = number == signal.SIGKILL
    assert process.returncode == (-number if killed else 128 + number)


@pytest.mark.parametrize(
    ("what", "why"), [("kernel", "no Linux for s390x"), ("busybox", "no program for s390x")]
)
def test_a_file_that_is_not_for_s390x_is_refused(stage: Stage, what: str, why: str) -> None:
    program = stage.place / "native"
    program.write_bytes(Path(sys.executable).read_bytes())
    assert f"{program}: {why}; " in complaint(stage.run(f"--{what}", program))
    assert not stage.started.exists()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--module", "/bin/true"), "/bin/true: compressed in a way that is not known here"),
        (("--module", "PLACE/x.ko"), "x.ko: no module for s390x"),
        (("--module", "PLACE/x.ko.xz"), "x.ko.xz: cannot be unpacked"),
        (("--module", "PLACE/none.ko"), "none.ko: no such file"),
        (("--busybox", "PLACE/dynamic"), "dynamic: needs libraries"),
        (("--kernel", "PLACE/none"), "none: no such file"),
        (("--script", "PLACE/none"), "none"),
        (("--file", "PLACE/none:/bin/x"), "none: no such file"),
        (("--file", "PLACE/bin"), "bin: a directory"),
        (("--file", "PLACE/busybox:/bin/"), "name the file in the guest"),
        (("--file", "PLACE/busybox:/../x"), "name the file in the guest"),
        (("--bind", "a b"), "no name of a driver"),
        (("--device", "PLACE"), "no subchannel"),
        (("--smp", "0"), "--smp"),
        (("--timeout", "nan"), "--timeout"),
    ],
)
def test_what_is_wrong_is_said_before_anything_starts(
    stage: Stage, words: tuple[str, ...], why: str
) -> None:
    for name in ("x.ko", "x.ko.xz"):
        (stage.place / name).write_bytes(b"no module")
    (stage.place / "dynamic").write_bytes(PROGRAM + b"/lib/ld64.so.1\0")
    done = stage.run(*(word.replace("PLACE", str(stage.place)) for word in words))
    assert done.stderr.count("\n") == 1
    assert why in complaint(done)
    assert not stage.started.exists()


def test_a_device_that_is_in_no_mount_is_one_line(stage: Stage) -> None:
    done = stage.run("--device", stage.place / "0.0.0400")
    assert done.stderr.count("\n") == 1
    assert str(stage.place / "0.0.0400") in complaint(done)


def test_a_shell_without_a_terminal_ends_at_once(stage: Stage) -> None:
    done = stage.run(what="shell")
    assert "no terminal" in complaint(done)
    assert "vfioccw guest run" in done.stderr
    assert not stage.started.exists()


def test_a_terminal_that_goes_away_ends_the_shell(stage: Stage) -> None:
    stage.console("hello\n", hang=True)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", "import fcntl, os, sys, termios\nos.setsid()\n"
         "fcntl.ioctl(0, termios.TIOCSCTTY, 0)\nos.execv(sys.argv[1], sys.argv[1:])",
         *stage.words(what="shell")],
        env=stage.env, stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while b"hello" not in shown:
        shown += os.read(ours, 1000)
    os.close(ours)
    assert process.wait(SOON) == 128 + signal.SIGHUP


def test_a_reader_that_has_enough_ends_the_guest(stage: Stage) -> None:
    stage.console("@@MARK begins@@\n" + "hello\n" * 100000, hang=True)
    with subprocess.Popen(
        stage.words("--script", "/dev/null"), env=stage.env, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        process.stdout.read(6)
        process.stdout.close()
        assert process.wait(SOON) == 0


@pytest.mark.parametrize(
    ("words", "becomes"),
    [
        (["--fetch", "--source", "deb x"], ["fetch", "--source", "deb x"]),
        (["--device", "m", "--script", "-", "--", "-name", "--fetch"],
         ["run", "--device", "m", "--script", "-", "--", "-name", "--fetch"]),
        (["--script=f", "--tools"], ["run", "--script=f", "--tools"]),
        (["--device", "m"], ["shell", "--device", "m"]),
        ([], ["shell"]),
        (["--help"], ["--help"]),
    ],
)  # fmt: skip
def test_the_script_of_the_tree_is_the_command(
    tmp_path: Path, words: list[str], becomes: list[str]
) -> None:
    for name in ("scripts", ".venv/bin"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "scripts/qemu-guest").symlink_to(PROJECT / "scripts/qemu-guest")
    for name, text in (("scripts/setup", ""), (".venv/bin/vfioccw", 'printf "%s\\n" "$@"\n')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        [tmp_path / "scripts/qemu-guest", *words], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["guest", *becomes]
