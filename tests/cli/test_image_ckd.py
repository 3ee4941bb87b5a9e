"""``vfioccw image``: ECKD media, sparse and full."""

import os
import pty
import subprocess

from lab.mounts import PROJECT, command
from lab.waits import SOON
from tests.cli.commands import complaint, vfioccw
from vfioccw_fuse.devices.eckd.image import CkdImage

TRACKS_9 = 10_000 * 15
SLOT = 56832


def on_a_terminal(*words):
    """Run ``vfioccw words`` with a terminal for stderr; what it wrote there."""
    ours, theirs = pty.openpty()
    try:
        with subprocess.Popen(
            command(*words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=theirs,
            env={**os.environ, "PYTHONPATH": str(PROJECT), "TERM": "xterm", "COLUMNS": "100"},
        ) as process:  # fmt: skip
            os.close(theirs)
            seen = b""
            try:
                while part := os.read(ours, 65536):
                    seen += part
            except OSError:  # EIO: the last one has closed it
                pass
            process.communicate(timeout=SOON)
            assert process.returncode == 0
            return seen.decode()
    finally:
        os.close(ours)


def test_a_large_disk_is_sparse_and_every_track_is_well(tmp_path):
    path = tmp_path / "vol.ckd"
    done = vfioccw("image", "create", "3390", path, "--cylinders", 10_000, "--volser", "LARGE1")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode() == f"{path}: 3390, 10000 cylinders of 15 tracks, format ldl\n"
    assert path.stat().st_size == 512 + TRACKS_9 * SLOT
    assert path.stat().st_blocks * 512 < 100 << 20
    said = vfioccw("image", "info", path).stdout.decode()
    assert "volume:    LARGE1\n" in said
    assert "unwritten: 12 blocks of 4096 bytes a track; for Hercules: vfioccw image fill\n" in said
    done = vfioccw("image", "check", path)
    assert (done.returncode, done.stdout.decode()) == (0, f"{path}: all tracks are well\n")


def test_a_sparse_disk_that_is_filled_is_one_that_was_made_full(tmp_path):
    sparse, full = tmp_path / "sparse.ckd", tmp_path / "full.ckd"
    for path, option in ((sparse, ["--sparse"]), (full, [])):
        words = ["--cylinders", 2, "--format", "cdl", *option]
        assert vfioccw("image", "create", "3390", path, *words).returncode == 0
    assert b"unwritten" not in vfioccw("image", "info", full).stdout
    done = vfioccw("image", "fill", sparse)
    assert (done.returncode, done.stdout.decode()) == (0, f"{sparse}: every track is written\n")
    assert sparse.read_bytes()[512:] == full.read_bytes()[512:]
    assert b"unwritten" not in vfioccw("image", "info", sparse).stdout
    done = vfioccw("image", "fill", sparse)
    assert done.stdout.decode() == f"{sparse}: every track is written already\n"


def test_what_cannot_be_filled_is_named(tmp_path):
    (tmp_path / "disk.img").write_bytes(bytes(512))
    done = vfioccw("image", "fill", tmp_path / "disk.img")
    assert done.returncode == 1
    assert complaint(done).startswith(f"{tmp_path / 'disk.img'}: ")
    path = tmp_path / "vol.ckd"
    assert vfioccw("image", "create", "3390", path, "--cylinders", 1, "--sparse").returncode == 0
    image = CkdImage.open(path)
    done = vfioccw("image", "fill", path)
    assert done.returncode == 1
    assert "in use by" in complaint(done)
    image.close()


def test_work_that_takes_long_shows_how_far_it_is_on_a_terminal_only(tmp_path):
    path = tmp_path / "vol.ckd"
    words = ("image", "create", "3390", path, "--cylinders", 20)
    assert "100%" in on_a_terminal(*words)
    assert "100%" in on_a_terminal("image", "check", path)
    assert vfioccw(*words, "--force").stderr == b""
    assert vfioccw("image", "check", path).stderr == b""
