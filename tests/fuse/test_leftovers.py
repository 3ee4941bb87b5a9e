"""Directories that are held while their server lives, and swept by the next one."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab.mounts import IMPORTS
from lab.waits import SOON
from vfioccw_fuse.fuse.leftovers import HeldDirectory

PREFIX = "held-"
HOLD = """
import sys
from vfioccw_fuse.fuse.leftovers import HeldDirectory
held = HeldDirectory(sys.argv[1], sys.argv[2])
(held.path / "file").write_text("x")
print(held.path, flush=True)
sys.stdin.read()
"""
CHURN = """
import sys
from vfioccw_fuse.fuse.leftovers import HeldDirectory
for _ in range(300):
    held = HeldDirectory(sys.argv[1], sys.argv[2])
    (held.path / "file").write_text("x")
    assert (held.path / "file").exists()
    held.close()
    assert not held.path.exists()
"""


def python(program: str, place: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, PREFIX, str(place)],
        env={**os.environ, "PYTHONPATH": IMPORTS},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_it_is_private_and_gone_when_it_is_closed(tmp_path: Path) -> None:
    held = HeldDirectory(PREFIX, tmp_path)
    assert held.path.parent == tmp_path
    assert held.path.stat().st_mode & 0o777 == 0o700
    (held.path / "file").write_text("x")
    held.close()
    held.close()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_held_is_swept_and_what_a_live_one_holds_is_not(
    tmp_path: Path,
) -> None:
    killed, alive = python(HOLD, tmp_path), python(HOLD, tmp_path)
    try:
        dead, living = [
            Path(process.stdout.readline().strip()) for process in (killed, alive) if process.stdout
        ]
        killed.kill()
        killed.wait(SOON)
        assert dead.exists()
        with contextlib.closing(HeldDirectory(PREFIX, tmp_path)) as held:
            assert sorted(tmp_path.iterdir()) == sorted([living, held.path])
            assert (living / "file").exists()
    finally:
        for process in (killed, alive):
            process.kill()
            process.communicate()


@pytest.mark.parametrize("kind", ["link", "file", "other", "another user's"])
def test_what_is_no_directory_of_the_users_own_by_that_name_stays(
    tmp_path: Path, kind: str
) -> None:
    place, target = tmp_path / "place", tmp_path / "target"
    place.mkdir()
    target.mkdir()
    (target / "file").write_text("x")
    name = place / f"{PREFIX}x"
    if kind == "link":
        name.symlink_to(target)
    elif kind == "file":
        name.write_text("x")
    elif kind == "other":
        (place / "x-held-").mkdir()
    elif os.geteuid() == 0:
        name.mkdir()
        os.chown(name, 4711, 4711)
    before = sorted(tmp_path.rglob("*"))
    HeldDirectory(PREFIX, place).close()
    assert sorted(tmp_path.rglob("*")) == before


def test_many_that_begin_and_end_at_once_never_take_each_others(tmp_path: Path) -> None:
    running = [python(CHURN, tmp_path) for _ in range(4)]
    for process in running:
        _, errors = process.communicate(timeout=SOON)
        assert (process.returncode, errors) == (0, "")
    assert list(tmp_path.iterdir()) == []
