"""scripts/qemu-guest as people use it: a script in the guest, and a shell on a terminal."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path

from lab.mounts import PROJECT, vfioccw
from tests.qemu.conftest import MIB, Lab, digest, make_fba

SCRIPT = PROJECT / "scripts" / "qemu-guest"
SCHID = "0.0.0313"


def test_a_script_runs_in_the_guest(lab: Lab) -> None:
    image = make_fba(lab.directory / "disk.img", MIB)
    lab.mount(f"fba@{SCHID}:{image}")
    done = subprocess.run(
        [SCRIPT, "--device", lab.device(SCHID, "1234"), "--script", "-"],
        input="name=$(online 0.0.1234)\nmd5sum /dev/$name\nexit 3\n",
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert f"{digest(image)}  /dev/dasda" in done.stdout


def test_a_guest_that_cannot_start_is_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [SCRIPT, "--device", tmp_path / SCHID, "--script", "/dev/null"],
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert str(tmp_path / SCHID) in done.stderr


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
    with contextlib.closing(Terminal(SCRIPT, "--device", lab.device(SCHID, "1234"))) as terminal:
        terminal.expect("devices: 0.0.1234")
        terminal.expect("# ")
        terminal.type("online 0.0.1234")
        terminal.expect("dasda\n")
        terminal.type("md5sum /dev/dasda")
        terminal.expect(digest(image))
        terminal.type("exit")
        assert terminal.process.wait(60) == 0


def blocks_of_the_readme(section: str) -> list[list[str]]:
    """The indented blocks of a section of the README, line by line."""
    text = (PROJECT / "README.md").read_text().partition(f"## {section}\n")[2].partition("\n## ")[0]
    found = re.findall(r"(?:^    .*\n)+", text, re.MULTILINE)
    return [block.replace("\n    ", "\n").strip().split("\n") for block in found]


def test_the_readme_typed_as_it_is(lab: Lab) -> None:
    outside, inside = blocks_of_the_readme("A Linux guest on your disks")[:2]
    *commands, guest, online = (line.partition(" #")[0].rstrip() for line in outside)
    assert guest.startswith("scripts/qemu-guest ")
    place = lab.directory / "typed"
    place.mkdir()
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    subprocess.run(
        ["bash", "-e"], input="\n".join(commands), text=True, cwd=place,
        env={**os.environ, "PATH": path}, check=True,
    )  # fmt: skip
    try:
        with contextlib.closing(Terminal(*f"{PROJECT}/{guest}".split(), cwd=place)) as terminal:
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
