"""One writer for each medium: mounts, QEMU and `vfioccw image` keep out of each other's way."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.mounts import OTHER, SCHID, Mount, make_image, mount_at, mounted_at
from lab.nolocks import nolocks
from lab.processes import files_of
from tests.cli.commands import Done, complaint, vfioccw
from vfioccw_fuse.devices.eckd.volume import create
from vfioccw_fuse.guest.machine import QEMU

KINDS = ("fba", "3390", "3490")


def make(kind: str, path: Path) -> Path:
    """An image for a device of this kind."""
    if kind == "fba":
        return make_image(path)
    if kind == "3390":
        create(path, 1, volser="VOL001")
    else:
        path.touch()
    return path


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def image(kind: str, tmp_path: Path) -> Path:
    return make(kind, tmp_path / ("tape.aws" if kind == "3490" else "disk.img"))


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    return make_image(tmp_path / "disk.img")


def device(kind: str, path: Path, *options: str, schid: str = SCHID) -> tuple[str, str]:
    return "--device", ",".join([f"{kind}@{schid}:{path}", *options])


def refused(point: Path, *words: str) -> str:
    """The line by which a mount is refused; nothing is mounted then."""
    point.mkdir(exist_ok=True)
    done = vfioccw("mount", point, *words)
    assert done.returncode == 1
    assert not point.is_mount()
    assert os.listdir(point) == []
    return complaint(done)


@contextlib.contextmanager
def qemu(image: Path, drive: str = "", disk: str = "") -> Iterator[int]:
    """A QEMU that has *image* as a disk and is up; its process. RuntimeError says why it is not."""
    command = [
        QEMU, "-S", "-nodefaults", "-display", "none", "-m", "128", "-qmp", "stdio",
        "-drive", f"file={image},if=none,id=disk,format=raw{drive}",
        "-device", f"virtio-blk-ccw,drive=disk{disk}",
    ]  # fmt: skip
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdin is not None
            # It greets before it opens its disks, if there is time, and answers behind that.
            greeting = process.stdout.readline()
            assert not greeting or "QMP" in json.loads(greeting)
            with contextlib.suppress(BrokenPipeError):
                # Not through a buffer: what stays in it fails again at its end.
                os.write(process.stdin.fileno(), b'{"execute": "qmp_capabilities"}\n')
            if not process.stdout.readline():
                raise RuntimeError(process.stderr.read().decode())
            yield process.pid
        finally:
            process.kill()


# --- mounts -------------------------------------------------------------------------------------


def test_a_second_mount_is_refused_and_a_third_that_reads_is_not(
    kind: str, image: Path, tmp_path: Path
) -> None:
    before = image.read_bytes()
    with mounted_at(tmp_path / "a", *device(kind, image)) as first:
        assert re.fullmatch(
            rf"{image}: in use by PID {first.pid} \([^)]+\); end that first, "
            "or attach it with readonly",
            refused(tmp_path / "b", *device(kind, image)),
        )
        with mounted_at(tmp_path / "c", *device(kind, image, "readonly")) as third:
            assert vfioccw("stsch", third.path / SCHID).returncode == 0
    assert image.read_bytes() == before
    with mounted_at(tmp_path / "b", *device(kind, image)):
        pass


def test_a_writer_comes_beside_readers(kind: str, image: Path, tmp_path: Path) -> None:
    reader = device(kind, image, "readonly")
    with (
        mounted_at(tmp_path / "a", *reader),
        mounted_at(tmp_path / "b", *reader, *device(kind, image, "readonly", schid=OTHER)),
        mounted_at(tmp_path / "c", *device(kind, image)),
    ):
        pass


@pytest.mark.parametrize("link", [None, os.link, os.symlink])
def test_a_mount_has_an_image_once_by_whatever_name(
    kind: str, image: Path, tmp_path: Path, link: Callable[[Path, Path], None] | None
) -> None:
    name = image
    if link is not None:
        name = tmp_path / "other.img"
        link(image, name)
    words = device(kind, image), device(kind, name, schid=OTHER)
    said = f"{name}: in use by another device{f', as {image}' if link else ''}; "
    assert refused(tmp_path / "a", *words[0], *words[1]).startswith(said)
    with mounted_at(tmp_path / "a", *words[0]) as mount:
        done = vfioccw("add", mount.path, words[1][1])
        assert done.returncode == 1
        assert complaint(done).startswith(said)
        assert not (mount.path / OTHER).exists()
        assert len([file for file in files_of(mount.pid) if str(tmp_path) in file]) == 1
        assert vfioccw("add", mount.path, f"{words[1][1]},readonly").returncode == 0
        # What was removed lets it go.
        assert vfioccw("remove", mount.path / SCHID).returncode == 0
        assert vfioccw("add", mount.path, words[0][1]).returncode == 0


def test_an_image_of_another_mount_is_not_added(disk: Path, mount: Callable[..., Mount]) -> None:
    first, second = mount(), mount()
    done = vfioccw("add", second.path, f"fba@{OTHER}:{first.path.parent}/disk.img")
    assert done.returncode == 1
    assert f"disk.img: in use by PID {first.pid} (" in complaint(done)
    assert not (second.path / OTHER).exists()


@pytest.mark.parametrize("kind", ["fba", "3390"])
def test_shared_is_for_those_who_all_say_so(kind: str, image: Path, tmp_path: Path) -> None:
    shared, alone = device(kind, image, "shared"), device(kind, image)
    twin = device(kind, image, "shared", schid=OTHER)
    with mounted_at(tmp_path / "a", *shared, *twin), mounted_at(tmp_path / "b", *shared):
        assert "in use by PID" in refused(tmp_path / "c", *alone)
        with mounted_at(tmp_path / "c", *device(kind, image, "readonly", "shared")):
            pass
    with mounted_at(tmp_path / "a", *alone):
        assert "in use by PID" in refused(tmp_path / "b", *shared)
        with mounted_at(tmp_path / "b", *device(kind, image, "readonly", "shared")):
            pass


def test_a_tape_is_not_shared(tmp_path: Path) -> None:
    path = make("3490", tmp_path / "tape.aws")
    assert "shared: no such option" in refused(tmp_path / "a", *device("3490", path, "shared"))


def test_what_is_printed_and_punched_is_not_locked(tmp_path: Path) -> None:
    words = device("1403", tmp_path / "list"), device("3525", tmp_path / "cards", schid=OTHER)
    with (
        mounted_at(tmp_path / "a", *words[0], *words[1]),
        mounted_at(tmp_path / "b", *words[0], *words[1]),
    ):
        pass


def test_a_server_that_is_killed_has_let_its_image_go(disk: Path, tmp_path: Path) -> None:
    for number in range(5):
        mount = mount_at(tmp_path / f"{number}", *device("fba", disk))
        try:
            os.kill(mount.pid, signal.SIGKILL)
        finally:
            mount.give_up()
    with mounted_at(tmp_path / "last", *device("fba", disk)):
        pass


def test_the_server_alone_has_the_image_open(disk: Path, tmp_path: Path) -> None:
    with mounted_at(tmp_path / "a", *device("fba", disk)) as mount:
        having = [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and _has(int(pid), disk)]
        assert having == [mount.pid]
        [fd] = [
            fd
            for fd in os.listdir(f"/proc/{mount.pid}/fd")
            if os.readlink(f"/proc/{mount.pid}/fd/{fd}") == str(disk)
        ]
        flags = re.search(r"flags:\t(\d+)", Path(f"/proc/{mount.pid}/fdinfo/{fd}").read_text())
        assert flags is not None
        assert int(flags[1], 8) & os.O_CLOEXEC


def _has(pid: int, path: Path) -> bool:
    with contextlib.suppress(OSError):
        return str(path) in files_of(pid)
    return False


def test_without_locks_it_is_attached_with_a_warning(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    make_image(tmp_path / "files" / "disk.img")
    with nolocks(tmp_path / "nolocks", tmp_path / "files") as directory:
        path = directory / "disk.img"
        point = tmp_path / "a"
        point.mkdir()
        done = vfioccw("mount", point, *device("fba", path))
        try:
            assert done.returncode == 0
            assert complaint(done) == (
                f"{path}: its file system has no locks, and nothing keeps other programs away; "
                "let none of them write it"
            )
            # Within the mount it is known all the same.
            twin = vfioccw("add", point, device("fba", path, schid=OTHER)[1])
            assert complaint(twin).startswith(f"{path}: in use by another device; ")
            assert vfioccw("image", "info", path).stderr == b""
        finally:
            assert vfioccw("umount", point).returncode == 0


# --- QEMU ---------------------------------------------------------------------------------------


def test_qemu_does_not_write_what_is_mounted(disk: Path, tmp_path: Path) -> None:
    with mounted_at(tmp_path / "a", *device("fba", disk)):
        for drive in ("", ",readonly=on"):
            with pytest.raises(RuntimeError, match='"write" lock'), qemu(disk, drive):
                pass
        # As qemu-img -U does.
        with qemu(disk, ",readonly=on,force-share=on"):
            pass
    with qemu(disk):
        pass


def test_qemu_writes_beside_a_mount_that_reads(disk: Path, tmp_path: Path) -> None:
    with mounted_at(tmp_path / "a", *device("fba", disk, "readonly")), qemu(disk):
        pass


def test_what_qemu_writes_is_only_read_by_a_mount(disk: Path, tmp_path: Path) -> None:
    with qemu(disk) as pid:
        assert refused(tmp_path / "a", *device("fba", disk)).startswith(
            f"{disk}: in use by PID {pid} (qemu-system-s39"
        )
        with mounted_at(tmp_path / "a", *device("fba", disk, "readonly")):
            pass
    with mounted_at(tmp_path / "a", *device("fba", disk)):
        pass


def test_qemu_shares_as_a_mount_does(disk: Path, tmp_path: Path) -> None:
    shared = device("fba", disk, "shared")
    with mounted_at(tmp_path / "a", *shared), qemu(disk, disk=",share-rw=on"):
        assert "in use by PID" in refused(tmp_path / "b", *device("fba", disk))
        with mounted_at(tmp_path / "b", *shared):
            pass
    with (
        mounted_at(tmp_path / "a", *shared),
        pytest.raises(RuntimeError, match='"write" lock'),
        qemu(disk),
    ):
        pass


# --- vfioccw image ------------------------------------------------------------------------------


def created(kind: str, path: Path) -> Done:
    """Make the image anew."""
    size = {"fba": ["--blocks", "2"], "3390": ["--cylinders", "1"], "3490": []}[kind]
    word = "tape" if kind == "3490" else kind
    return vfioccw("image", "create", word, path, *size, "--force")


@pytest.mark.parametrize("option", [(), ("readonly",)])
def test_what_is_mounted_is_not_made_anew(
    kind: str, image: Path, tmp_path: Path, option: tuple[str, ...]
) -> None:
    before = image.read_bytes(), image.stat().st_ino
    with mounted_at(tmp_path / "a", *device(kind, image, *option)) as mount:
        for made in KINDS:
            done = created(made, image)
            assert done.returncode == 1
            said = complaint(done)
            assert said.startswith(f"{image}: in use by PID {mount.pid} (")
            assert said.endswith("; end that first, or name another file")
        assert (image.read_bytes(), image.stat().st_ino) == before
        assert sorted(os.listdir(tmp_path)) == ["a", image.name]
    assert created(kind, image).returncode == 0


def test_what_qemu_has_is_not_made_anew(disk: Path) -> None:
    before = disk.read_bytes()
    with qemu(disk) as pid:
        assert f"in use by PID {pid} (qemu" in complaint(created("fba", disk))
    assert disk.read_bytes() == before


def test_info_and_check_say_who_uses_an_image(kind: str, image: Path, tmp_path: Path) -> None:
    free = vfioccw("image", "info", image), vfioccw("image", "check", image)
    assert [done.returncode for done in free] == [0, 0]
    assert not [done for done in free if b"in use by" in done.stdout]
    with mounted_at(tmp_path / "a", *device(kind, image)) as mount:
        info, check = vfioccw("image", "info", image), vfioccw("image", "check", image)
        assert [done.returncode for done in (info, check)] == [0, 0]
        locked = re.search(r"^locked: +(.*)$", info.stdout.decode(), re.M)
        assert locked is not None
        assert re.fullmatch(rf"in use by PID {mount.pid} \([^)]+\)", locked[1])
        assert check.stdout.decode().startswith(f"{image}: in use by PID {mount.pid} (")
