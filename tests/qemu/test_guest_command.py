"""`vfioccw guest` as people use it: a script in the guest, and a shell on a terminal.

The rules that need no Linux are in `tests/guest/test_run.py`.
"""

from __future__ import annotations

import contextlib
import json
import lzma
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from lab.mounts import PROJECT, command, vfioccw
from lab.typed import blocks
from tests.guest.cpio import entries
from tests.qemu.conftest import MIB, Lab, digest, make_fba
from vfioccw_fuse.guest.parts import Parts

VENV = Path(sys.executable).parent
SCHID = "0.0.0313"


def guest(*words: object, script: str) -> subprocess.CompletedProcess[str]:
    """vfioccw guest run."""
    return subprocess.run(
        command("guest", "run", *words),
        input=script, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip


def module(archive: Path, name: str, place: Path) -> Path:
    """A module of an archive as a file of its own, compressed."""
    path = place / f"{name}.ko.xz"
    path.write_bytes(lzma.compress(entries(archive)[f"modules/{name}.ko"]))
    return path


def test_a_guest_of_files_that_are_given(lab: Lab) -> None:
    """A kernel of one's own has only the modules that are given, and its devices to be bound."""
    image = make_fba(lab.directory / "disk.img", MIB)
    lab.mount(f"fba@{SCHID}:{image}")
    parts = Parts()
    kernel, archive = shutil.copy(parts.kernel(), lab.directory / "bzImage"), parts.modules()
    assert archive is not None
    modules = [module(archive, name, lab.directory) for name in ("dasd_mod", "dasd_fba_mod")]
    (lab.directory / "note").write_text("a note")
    done = guest(
        *("--device", lab.device(SCHID, "1234"), "--bind", "io_subchannel"),
        *("--kernel", kernel, "--busybox", parts.busybox()),
        *(word for path in modules for word in ("--module", path)),
        *("--file", lab.directory / "note", "--file", f"{image}:/a/b"),
        script="cat /sys/bus/css/devices/0.0.0000/driver_override /note\n"
        "md5sum /a/b /dev/$(online 0.0.1234)\nlsmod | wc -l\nread line || exit 3\n",
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    same = digest(image)
    assert done.stdout == f"io_subchannel\na note{same}  /a/b\n{same}  /dev/dasda\n3\n"
    assert done.stderr == ""


def test_a_kernel_that_panics_is_said(lab: Lab) -> None:
    done = guest(script="echo before\necho c >/proc/sysrq-trigger\n")
    assert done.returncode == 1
    assert done.stdout.startswith("before\n")
    assert "Kernel panic - not syncing: sysrq triggered crash" in done.stdout
    last = done.stderr.splitlines()[-1]
    assert last.startswith("vfioccw: the guest's kernel panicked: sysrq triggered crash; ")


def test_a_driver_that_the_kernel_has_not_is_said(lab: Lab) -> None:
    lab.mount(f"fba@{SCHID}:{make_fba(lab.directory / 'disk.img', MIB)}")
    done = guest("--device", lab.device(SCHID, "1234"), "--bind", "vfio_ccw", script="echo here\n")
    assert (done.returncode, done.stdout) == (1, "")
    last = done.stderr.splitlines()[-1]
    assert last.startswith("vfioccw: bind: no driver vfio_ccw in this kernel; build one with ")


class Terminal:
    """A program on a terminal of its own, and who types at it."""

    def __init__(self, *command: object, cwd: Path | None = None) -> None:
        self.shown = ""
        self._fd, theirs = pty.openpty()
        self.process = subprocess.Popen(
            list(map(str, command)), stdin=theirs, stdout=theirs, stderr=theirs, cwd=cwd
        )
        os.close(theirs)

    def expect(self, text: str, seconds: float = 200.0) -> str:
        """Wait for *text*; what came before it, after what was expected last."""
        deadline = time.monotonic() + seconds
        while text not in self.shown:
            assert time.monotonic() < deadline, self.shown
            if select.select([self._fd], [], [], 1)[0]:
                self.shown += os.read(self._fd, 65536).decode(errors="replace").replace("\r", "")
        before, _, self.shown = self.shown.partition(text)
        return before

    def type(self, line: str) -> None:
        os.write(self._fd, f"{line}\r".encode())
        # The terminal shows it first, in pieces if it is wider than the screen.
        self.expect(line)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait()
        os.close(self._fd)


def test_a_shell_on_the_terminal(lab: Lab) -> None:
    image = make_fba(lab.directory / "disk.img", MIB)
    lab.mount(f"fba@{SCHID}:{image}")
    words = command("guest", "shell", "--device", lab.device(SCHID, "1234"))
    with contextlib.closing(Terminal(*words)) as terminal:
        terminal.expect("devices: 0.0.1234")
        terminal.expect("# ")
        terminal.type("online 0.0.1234")
        terminal.expect("dasda\n")
        terminal.type("md5sum /dev/dasda")
        terminal.expect(digest(image))
        terminal.type("exit")
        assert terminal.process.wait(60) == 0


def blocks_of_the_page(name: str) -> list[list[str]]:
    """The indented blocks of a page of the manual, line by line."""
    return blocks((PROJECT / "vfioccw_fuse" / "docs" / name).read_text())


def test_the_page_typed_as_it_is(lab: Lab) -> None:
    outside, inside = blocks_of_the_page("guest.md")[:2]
    *commands, guest, online = (line.partition(" #")[0].rstrip() for line in outside)
    assert guest.startswith("vfioccw guest shell ")
    place = lab.directory / "typed"
    place.mkdir()
    path = f"{VENV}:{os.environ['PATH']}"
    subprocess.run(
        ["bash", "-e"], input="\n".join(commands), text=True, cwd=place,
        env={**os.environ, "PATH": path}, check=True,
    )  # fmt: skip
    try:
        with contextlib.closing(Terminal(*f"{VENV}/{guest}".split(), cwd=place)) as terminal:
            terminal.expect("# ")
            assert inside[0] == f"# {online}"
            for line in inside:
                if line.startswith("# "):
                    terminal.type(line[2:])
                else:
                    # The time that dd took is left out.
                    terminal.expect(f"{line}\n")
            terminal.type("poweroff -f")
            assert terminal.process.wait(60) == 0
    finally:
        assert vfioccw("umount", place / "m").returncode == 0


def type_literally(lines: Iterable[str], place: Path, *mounts: str) -> list[str]:
    """What the shell prints that gets *lines* in the directory *place*; *mounts* are ended."""
    try:
        done = subprocess.run(
            ["bash", "-e"], input="\n".join(lines), text=True, cwd=place,
            env={**os.environ, "PATH": f"{VENV}:{os.environ['PATH']}"},
            capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.splitlines()
    finally:
        assert all(vfioccw("umount", place / mnt).returncode == 0 for mnt in mounts)


@pytest.mark.slow
def test_the_page_compares_a_mount_with_linux(tmp_path: Path) -> None:
    _, block = blocks_of_the_page("kernel.md")
    shown = type_literally([line for line in block if "--driver" not in line], tmp_path, "m")
    assert shown.count("    0 not explained") == 2


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_the_page_builds_a_kernel_and_tests_its_driver(tmp_path: Path) -> None:
    tests, judges = blocks_of_the_page("kernel.md")
    shown = type_literally(tests, tmp_path, "own")
    assert re.fullmatch("[0-9a-f]{32}  /dev/dasda", shown[-2])
    assert shown[-1].split() == ["0", "devices", "vfio"]
    type_literally(judges, tmp_path, "m")
    assert json.loads((tmp_path / "out.json").read_text())["differs"] is False
