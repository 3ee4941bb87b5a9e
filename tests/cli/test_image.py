"""``vfioccw image``: FBA media."""

import os
import resource
import signal
import subprocess
from pathlib import Path

import pytest

from lab.mounts import PROJECT, command
from lab.waits import SOON, until
from tests.cli.commands import complaint, vfioccw


@pytest.mark.parametrize(
    ("option", "value", "size"),
    [("--blocks", "1", 512), ("--size", "1MiB", 1 << 20), ("--size", "512", 512)],
)
def test_create_makes_a_sparse_disk_of_zeros(tmp_path, option, value, size):
    path = tmp_path / "disk.img"
    done = vfioccw("image", "create", "fba", path, option, value)
    assert (done.returncode, done.stderr) == (0, b"")
    assert path.read_bytes() == bytes(size)
    assert path.stat().st_blocks == 0


@pytest.mark.parametrize("size", ["0", "513", "100KB", "-5", "3T"])
def test_a_size_that_no_disk_has_is_refused_and_nothing_made(tmp_path, size):
    path = tmp_path / "disk.img"
    done = vfioccw("image", "create", "fba", path, f"--size={size}")
    assert done.returncode in (1, 2)
    complaint(done)
    assert not path.exists()


def test_the_size_is_said_once(tmp_path):
    for options in ([], ["--blocks", "1", "--size", "512"]):
        done = vfioccw("image", "create", "fba", tmp_path / "x", *options)
        assert done.returncode == 2
        assert "either --size or --blocks" in complaint(done)


@pytest.mark.parametrize("force", [(), ("--force",)])
@pytest.mark.parametrize("words", [("fba", "--size=512"), ("3390", "--cylinders=1"), ("tape",)])
def test_a_link_to_nothing_is_named_with_its_target(tmp_path, words, force):
    link = tmp_path / "disk.img"
    link.symlink_to("no where")
    done = vfioccw("image", "create", words[0], link, *words[1:], *force)
    assert done.returncode == 1
    assert complaint(done).endswith(
        f"{link}: a link to no where, which is not there; name that, or remove the link"
    )
    assert (os.readlink(link), os.listdir(tmp_path)) == ("no where", ["disk.img"])


def test_an_existing_file_is_kept_without_force(tmp_path):
    path = tmp_path / "disk.img"
    path.write_bytes(b"precious")
    done = vfioccw("image", "create", "fba", path, "--blocks", "2")
    assert done.returncode == 1
    assert "--force" in complaint(done)
    assert path.read_bytes() == b"precious"
    assert vfioccw("image", "create", "fba", path, "--blocks", "2", "--force").returncode == 0
    assert path.read_bytes() == bytes(1024)


@pytest.mark.parametrize("what", [("fba", "--blocks", "2"), ("3390", "--cylinders", "1")])
def test_force_replaces_ordinary_files_only(tmp_path, what):
    kind, *size = what
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        before = path.lstat()
        done = vfioccw("image", "create", kind, path, *size, "--force")
        assert done.returncode == 1
        assert (path.lstat().st_ino, path.lstat().st_mode) == (before.st_ino, before.st_mode)
        assert "not an ordinary file" in complaint(done)


def test_a_disk_that_cannot_be_so_large_leaves_nothing(tmp_path):
    from vfioccw_fuse.cli.image import _make_sparse
    from vfioccw_fuse.errors import UserError

    path = tmp_path / "disk.img"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    import signal

    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(UserError, match="cannot be 8192 bytes long"):
            _make_sparse(str(path), 8192, force=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert not path.exists()


def info(path) -> dict[str, str]:
    done = vfioccw("image", "info", path)
    assert done.returncode == 0, done.stderr
    pairs = (line.split(":", 1) for line in done.stdout.decode().splitlines())
    return {key: value.strip() for key, value in pairs}


def test_info_tells_size_and_label(tmp_path):
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(2048))
    assert info(path)["blocks"] == "4 of 512 bytes"
    assert info(path)["label"] == "none"
    for mark in ("VOL1", "LNX1", "CMS1"):
        path.write_bytes(bytes(512) + f"{mark}0X0313".encode("cp037") + bytes(502))
        assert info(path)["label"].startswith(mark)
        assert info(path)["label"].endswith("volume 0X0313")
    path.write_bytes(bytes(510) + b"\x55\xaa" + bytes(512))
    assert "partition table" in info(path)["label"]


@pytest.mark.parametrize(
    ("content", "words"),
    [(bytes(513), "truncate -s %512"), (b"QFI\xfb\0\0\0\3" + bytes(505), "qcow2")],
)
def test_info_says_what_is_no_fba_disk(tmp_path, content, words):
    path = tmp_path / "disk.img"
    path.write_bytes(content)
    done = vfioccw("image", "info", path)
    assert done.returncode == 1
    assert words in complaint(done)


def test_info_of_nothing(tmp_path):
    assert "no such file" in complaint(vfioccw("image", "info", tmp_path / "none.img"))
    assert vfioccw("image", "info", tmp_path).returncode == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_ended_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    volume = tmp_path / "vol.ckd"
    with subprocess.Popen(
        command("image", "create", "3390", volume, "--cylinders", 60000, "--full"),
        env={**os.environ, "PYTHONPATH": str(PROJECT)}, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        until((tmp_path / "vol.ckd.new").exists, "it has begun")
        process.send_signal(number)
        assert process.wait(SOON) == 128 + number
    assert os.listdir(tmp_path) == []
