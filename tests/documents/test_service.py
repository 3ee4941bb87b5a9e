"""The unit for systemd, the helper of mount(8), and what both need of the command."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.mounts import PROJECT, command, end_servers, is_mounted, make_image
from lab.typed import blocks, files, sections
from lab.waits import SOON
from vfioccw_fuse.docs import TOPICS

PAGE = (PROJECT / "vfioccw_fuse" / "docs" / "service.md").read_text()
COMMANDS = Path(sys.executable).parent
OURS = {**os.environ, "PATH": f"{COMMANDS}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder with the file of devices of the page, its image, and `lab` to mount it at."""
    (tmp_path / "lab.toml").write_text(files(PAGE)["lab.toml"])
    make_image(tmp_path / "disk.img")
    (tmp_path / "lab").mkdir()
    yield tmp_path
    end_servers(tmp_path / "lab")


def run(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in words], cwd=cwd, env=OURS, capture_output=True, text=True,
        timeout=SOON, check=False,
    )  # fmt: skip


def test_the_unit_is_one_that_systemd_takes(tmp_path: Path) -> None:
    unit = run(*command("help", "unit"), cwd=PROJECT).stdout
    assert unit == TOPICS["unit"].path.read_text()
    installed = tmp_path / "vfioccw@lab.service"
    installed.write_text(unit.replace("ExecStart=vfioccw ", f"ExecStart={COMMANDS}/vfioccw "))
    done = run("systemd-analyze", "verify", "--recursive-errors=no", "--man=no", installed,
               cwd=tmp_path)  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_the_unit_starts_says_when_it_is_ready_and_ends_at_its_signal(place: Path) -> None:
    [start] = re.findall("^ExecStart=vfioccw (.*)$", TOPICS["unit"].path.read_text(), re.M)
    words = start.replace("$OPTIONS", "--interface=async")
    words = words.replace("/etc/vfioccw/%i.toml", f"{place}/lab.toml")
    words = words.replace("/run/vfioccw/%i", f"{place}/lab")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0vfioccw-test-{os.getpid()}")
        manager.settimeout(SOON)
        serving = subprocess.Popen(
            command(*words.split()), cwd=PROJECT, stdout=subprocess.DEVNULL,
            env={**OURS, "NOTIFY_SOCKET": f"@vfioccw-test-{os.getpid()}"},
        )  # fmt: skip
        assert manager.recv(100) == b"READY=1"
    assert (place / "lab" / "0.0.0313").is_dir()
    serving.terminate()
    assert serving.wait(SOON) == 0
    assert not is_mounted(place / "lab")


def test_mount_and_umount_take_the_line_of_fstab(place: Path) -> None:
    """In a mount namespace of its own, in which the helper is all that is in /sbin."""
    [[line]] = [block for block in blocks(sections(PAGE)["fstab, and mount(8)"])
                if block[0].startswith("/etc")]  # fmt: skip
    source, _, kind, options, *_ = line.split()
    assert (source, kind) == ("/etc/vfioccw/lab.toml", "vfioccw")
    (place / "fstab").write_text(f"{place}/lab.toml {place}/lab {kind} {options} 0 0\n")
    (place / "sbin").mkdir()
    (place / "sbin" / "mount.vfioccw").symlink_to(COMMANDS / "mount.vfioccw")
    script = """
        mount --bind sbin /usr/sbin
        mount -a -T fstab
        mount -a -T fstab    # it is there: nothing is to do
        ls lab
        grep -c "$PWD/lab.toml $PWD/lab fuse.vfioccw" /proc/self/mounts
        umount lab
        mount -t vfioccw lab.toml lab -o interface=async
        ls lab
        mount -t vfioccw lab.toml lab -o ro || echo status $?
        umount lab
        mount -t vfioccw missing.toml lab || echo status $?
    """
    private = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    done = run(*private, "bash", "-e", "-c", script, cwd=place)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.split("\n") == [
        "0.0.0313", "irqfd", "1", "0.0.0313", "irqfd", "status 1", "status 32", "",
    ]  # fmt: skip
    refused, missing = done.stderr.strip().splitlines()[-2:]
    assert refused.startswith("vfioccw: -o ro: no option of a mount")
    assert "missing.toml" in missing


def test_the_links_of_the_page_are_to_commands_of_the_package() -> None:
    [links] = blocks(sections(PAGE)[""])[-1:]
    for line in links:
        assert (COMMANDS / Path(line.split()[2]).name).exists()
        assert shutil.which(Path(line.split()[2]).name, path=OURS["PATH"])
