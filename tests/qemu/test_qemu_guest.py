"""scripts/qemu-guest as people use it: a script in the guest, and a shell on a terminal."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time
from pathlib import Path

from tests.mounted import PROJECT
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


def test_a_shell_on_the_terminal(lab: Lab) -> None:
    image = make_fba(lab.directory / "disk.img", MIB)
    lab.mount(f"fba@{SCHID}:{image}")
    terminal, theirs = pty.openpty()
    process = subprocess.Popen(
        [SCRIPT, "--device", lab.device(SCHID, "1234")], stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    shown = ""

    def expect(text: str, seconds: float = 60.0) -> None:
        nonlocal shown
        deadline = time.monotonic() + seconds
        while text not in shown:
            assert time.monotonic() < deadline, shown
            if select.select([terminal], [], [], 1)[0]:
                shown += os.read(terminal, 65536).decode(errors="replace")
        shown = shown.partition(text)[2]

    try:
        expect("devices: 0.0.1234")
        expect("# ")
        os.write(terminal, b"online 0.0.1234\r")
        expect("dasda\r")
        os.write(terminal, b"md5sum /dev/dasda\r")
        expect(digest(image))
        os.write(terminal, b"exit\r")
        assert process.wait(30) == 0
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
        os.close(terminal)
