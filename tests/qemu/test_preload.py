"""The library that is loaded into QEMU, loaded into Python instead."""

from __future__ import annotations

import ctypes
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.mounts import IMPORTS, PROJECT, MountedSystem, make_image, mount
from tests.qemu import inside
from vfioccw_fuse.errors import UserError
from vfioccw_fuse.qemu import build


@pytest.fixture
def system(tmp_path: Path) -> Iterator[MountedSystem]:
    more = make_image(tmp_path / "more.img", 64)
    mounted = mount(tmp_path, f"--device=fba@0.0.0314:{more}")
    try:
        yield mounted
    finally:
        mounted.unmount("-z")
        mounted.give_up()


def run_inside(name: str, system: MountedSystem, way: str = "group") -> str:
    """Run a function of `inside` in a process that has the library; what it wrote to stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.qemu.inside", name, str(system.path), way],
        env={
            **os.environ, "LD_PRELOAD": str(build.library()), "PYTHONPATH": IMPORTS,
            "VFIOCCW_DEVICES": f"{system.subchannel}\t0\n{system.path / '0.0.0314'}\t9",
        },
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
        cwd=PROJECT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stderr


by_both_ways = pytest.mark.parametrize("way", ["group", "iommufd"])


@pytest.mark.parametrize(
    "function",
    [
        inside.sysfs_is_as_qemu_reads_it,
        inside.container_and_group_are_as_linux_has_them,
        inside.the_character_device_is_found_as_qemu_finds_it,
        inside.an_iommufd_is_as_linux_has_it,
        inside.maps_of_an_ioas_are_as_linux_has_them,
        inside.a_device_is_bound_and_attached_as_linux_does_it,
    ],
    ids=lambda function: function.__name__,
)
def test(function, system: MountedSystem) -> None:
    assert run_inside(function.__name__, system) == ""


def test_a_device_sees_the_maps_of_its_ioas_and_no_others(system: MountedSystem) -> None:
    [line] = run_inside("a_device_sees_the_maps_of_its_ioas_and_no_others", system).splitlines()
    assert "not an ordinary file" in line or "cannot be guest storage" in line


@by_both_ways
@pytest.mark.parametrize(
    "function",
    [
        inside.infos_are_those_of_the_mount,
        inside.a_request_goes_through,
        inside.a_child_that_closes_everything_is_no_end,
        inside.maps_made_before_the_device_are_its_too,
        inside.a_device_that_another_has_is_busy,
    ],
    ids=lambda function: function.__name__,
)
def test_a_device(function, system: MountedSystem, way: str) -> None:
    run_inside(function.__name__, system, way)


@by_both_ways
def test_memory_that_cannot_be_mapped_is_said_in_one_line(system: MountedSystem, way: str) -> None:
    said = run_inside("memory_that_is_not_there_cannot_be_mapped", system, way)
    [line] = said.splitlines()
    assert line.startswith(f"vfioccw: {system.subchannel}: ")
    assert "no memory" in line


@by_both_ways
def test_the_servers_end_is_said_once(system: MountedSystem, way: str) -> None:
    said = run_inside("requests_after_the_servers_end_are_errors_of_the_device", system, way)
    [line] = said.splitlines()
    assert line.startswith(f"vfioccw: {system.subchannel}: ")


def test_without_devices_everything_is_passed_on(tmp_path: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", "cat /proc/self/comm; readlink -f /dev/../etc; cat /dev/vfio/vfio"],
        env={"PATH": os.environ["PATH"], "LD_PRELOAD": str(build.library()), "LC_ALL": "C"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == "cat\n/etc\n"
    assert "/dev/vfio/vfio" in done.stderr


def test_what_the_parts_share_is_not_visible_outside() -> None:
    # A function of QEMU's of the same name would be taken for ours.
    library = ctypes.CDLL(str(build.library()))
    assert library.ioctl
    for name in ("ask", "start", "refuse", "devices"):
        assert not hasattr(library, name)


def test_it_is_compiled_without_a_warning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(build, "_COMPILE", (*build._COMPILE, "-Werror"))
    build._compile(tmp_path / "preload.so")


def test_the_library_is_compiled_anew_when_a_source_is_newer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = tmp_path / "preload"
    shutil.copytree(build.SOURCES, sources)
    monkeypatch.setattr(build, "SOURCES", sources)
    first = build.library()
    assert first == tmp_path / "preload.so"
    for name in ("symbols.c", "preload.h"):
        made = first.stat()
        assert build.library().stat().st_mtime_ns == made.st_mtime_ns
        os.utime(sources / name, ns=(made.st_mtime_ns + 1, made.st_mtime_ns + 1))
        assert build.library().stat().st_ino != made.st_ino
    assert sorted(path.name for path in tmp_path.iterdir()) == ["preload", "preload.so"]


def test_a_compiler_that_is_missing_or_fails_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = tmp_path / "preload"
    sources.mkdir()
    (sources / "symbols.c").write_text("this is not C\n")
    monkeypatch.setattr(build, "SOURCES", sources)
    with pytest.raises(UserError, match="cannot be compiled"):
        build.library()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="gcc: not found"):
        build.library()
    assert not (tmp_path / "preload.so").exists()


def put_a_fifo_there(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """XDG_CACHE_HOME, which is not there yet, of who cannot write into the package."""
    package, directory = tmp_path / "package", tmp_path / "home" / "cache"
    (package / "preload").mkdir(parents=True)
    (package / "preload" / "symbols.c").write_text("int nothing_that_takes_long;\n")
    monkeypatch.setattr(build, "SOURCES", package / "preload")
    (package / "preload.so").mkdir()  # nothing can take its place, not even by root
    os.utime(package / "preload.so", (0, 0))
    directory.parent.mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(directory))
    return directory


def test_it_goes_into_the_cache_where_the_package_cannot_be_written(cache: Path) -> None:
    umask = os.umask(0)
    try:
        made = build.library()
    finally:
        os.umask(umask)
    assert made.parent == cache / "vfioccw"
    assert made.parent.stat().st_mode & 0o777 == 0o700
    assert not made.stat().st_mode & 0o022
    assert (build.library(), build.library().stat().st_ino) == (made, made.stat().st_ino)
    assert list(made.parent.iterdir()) == [made]
    with (build.SOURCES / "symbols.c").open("a") as source:
        source.write("/* another */\n")
    assert build.library() != made


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.chmod(0o775),
        lambda path: path.chmod(0o757),
        lambda path: (path.unlink(), path.symlink_to("/dev/null")),
        put_a_fifo_there,
        *([lambda path: os.chown(path, 4711, 4711)] if os.geteuid() == 0 else []),
    ],
)
def test_what_others_could_have_written_is_not_loaded_but_made_anew(
    cache: Path, spoil: Callable[[Path], object]
) -> None:
    made = build.library()
    content = made.read_bytes()
    spoil(made)
    before = made.lstat()
    assert build.library() == made
    assert made.lstat().st_ino != before.st_ino
    assert stat.S_ISREG(made.lstat().st_mode)
    assert not made.stat().st_mode & 0o022
    assert made.read_bytes() == content


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.chmod(0o770),
        lambda path: path.chmod(0o707),
        lambda path: (path.rename(path.with_name("other")), path.symlink_to("other")),
        lambda path: path.parent.chmod(0o777),
        lambda path: path.parent.parent.chmod(0o757),
        *(
            [lambda path: os.chown(path, 4711, 4711), lambda path: os.chown(path.parent, 4711, -1)]
            if os.geteuid() == 0
            else []
        ),
    ],
)
def test_a_cache_that_others_can_change_is_refused_with_the_remedy(
    cache: Path, spoil: Callable[[Path], object]
) -> None:
    place = build.library().parent
    before = sorted(place.iterdir())
    spoil(place)
    with pytest.raises(UserError, match="set XDG_CACHE_HOME to a directory that only you can"):
        build.library()
    assert sorted(place.iterdir()) == before


def test_a_sticky_directory_of_everybody_is_a_place_for_the_cache(cache: Path) -> None:
    cache.mkdir()
    cache.chmod(0o1777)
    made = build.library()
    assert made.parent.stat().st_mode & 0o777 == 0o700


def test_a_link_to_the_cache_is_resolved_before_it_is_used(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = cache.with_name("link")
    cache.mkdir()
    link.symlink_to(cache)
    monkeypatch.setenv("XDG_CACHE_HOME", str(link))
    assert build.library().parent == cache / "vfioccw"
