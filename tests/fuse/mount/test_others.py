"""Who else may use a mount, and what its log says."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.mounts import SCHID, MountedSystem, is_mounted, make_image, mount_at, mounted_at, vfioccw
from lab.waits import SOON

CONF = Path("/etc/fuse.conf")
NOBODY = 65534
CLIENT = """
import os, sys
directory = sys.argv[1]
os.listdir(directory)
with open(directory + "/memory", "r+b") as memory:
    memory.write(bytes.fromhex("0320000100000000"))
fd = os.open(directory + "/io_region", os.O_RDWR)
os.pwrite(fd, bytes.fromhex("00000001" "00c0ff00" "00000000" "00004000") + bytes(108), 0)
irq = os.open(directory + "/io_irq", os.O_RDONLY)
print(len(os.read(irq, 8)), os.pread(fd, 124, 0)[32])
"""
"""Starts a no-operation at 0."""


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that others may enter, for an image and a mount."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        make_image(Path(name) / "disk.img")
        (Path(name) / "m").mkdir()
        yield Path(name)


def others_may_be_let_in() -> bool:
    """FUSE's own rule: root, or by a line in /etc/fuse.conf."""
    conf = CONF.read_text() if CONF.exists() else ""
    return os.geteuid() == 0 or bool(re.search("^user_allow_other", conf, re.M))


def test_others_do_what_the_owner_may_if_they_are_let_in(place: Path) -> None:
    words = (f"--device=fba@{SCHID}:{place}/disk.img", "--allow-other")
    if not others_may_be_let_in():
        with pytest.raises(AssertionError, match="user_allow_other"):
            mount_at(place / "m", *words)
        return
    with mounted_at(place / "m", *words) as mounted:
        root, file = mounted.path, mounted.path / SCHID / "io_region"
        assert stat.filemode(root.stat().st_mode) == "drwxrwxrwx"
        assert stat.filemode(file.stat().st_mode) == "-rw-rw-rw-"
        assert stat.filemode((root / SCHID / "state").stat().st_mode) == "-r--r--r--"
        as_another: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        done = subprocess.run(
            [sys.executable, "-I", "-c", CLIENT, root / SCHID], capture_output=True, text=True,
            timeout=SOON, check=False, **(as_another if os.geteuid() == 0 else {}),
        )  # fmt: skip
        assert (done.stdout, done.stderr) == ("8 12\n", "")


def test_without_it_nobody_else_may(mnt: MountedSystem) -> None:
    assert stat.filemode(mnt.path.stat().st_mode) == "drwx------"
    assert stat.S_IMODE((mnt.subchannel / "memory").stat().st_mode) == 0o600


def test_the_log_is_added_to_and_says_what_comes_and_goes(place: Path) -> None:
    log = place / "log"
    log.write_text("before\n")
    words = (f"--device=fba@{SCHID}:{place}/disk.img", f"--log={log}", "--verbose")
    with mounted_at(place / "m", *words) as mounted:
        assert vfioccw("remove", mounted.path / SCHID).returncode == 0
        added = vfioccw("add", mounted.path, f"fba@{SCHID}:{place}/disk.img,readonly")
        assert added.returncode == 0
    first, *lines = log.read_text().splitlines()
    assert first == "before"
    said = [re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} vfioccw\[\d+\]: ", "", line)
            for line in lines]  # fmt: skip
    assert said == [
        f"mounted at {place}/m",
        f"fba@{SCHID}: {place}/disk.img",
        f"asked to remove {SCHID}",
        f"asked to add fba@{SCHID}:{place}/disk.img,readonly",
        "unmounted",
    ]


def test_a_log_that_cannot_be_added_to_is_one_line_and_no_mount(place: Path) -> None:
    with pytest.raises(AssertionError, match=r"vfioccw: .*missing/log: no such file.*\n$"):
        mount_at(place / "m", f"--log={place}/missing/log")
    assert not is_mounted(place / "m")


def test_the_mount_table_names_the_file_of_devices(place: Path) -> None:
    config = place / "a,b c.toml"
    config.write_text('[[device]]\ntype = "fba"\nsubchannel = "0.0.0313"\nimage = "disk.img"\n')
    with mounted_at(place / "m", f"--config={config}"):
        table = Path("/proc/self/mounts").read_text()
        assert f"{place}/a,b\\040c.toml {place}/m fuse.vfioccw " in table
