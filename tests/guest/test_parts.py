"""What a guest is made of, from packages as Debian 12, 13 and later ones have them.

Real apt-get and dpkg-deb read archives made here: as large as needed, and not signed.
"""

from __future__ import annotations

import lzma
import os
import subprocess
from pathlib import Path

import pytest

from lab.mounts import PROJECT, command
from tests.guest.cpio import entries
from tests.guest.mirror import Mirror
from vfioccw_fuse.guest import GuestError
from vfioccw_fuse.guest.archive import Archive
from vfioccw_fuse.guest.parts import EMULATOR_PACKAGES, FORMERLY, MODULES, Modules, Parts

RELEASE = {"bookworm": "6.1.0-9-s390x", "trixie": "6.12.3+deb13-s390x", "sid": "7.2.1+deb14-s390x"}
NEEDS = {
    "dasd_fba_mod": "dasd_mod", "dasd_eckd_mod": "dasd_mod", "dasd_mod": "", "virtio_blk": "",
    "ext4": "jbd2,mbcache,crc16", "jbd2": "", "mbcache": "", "crc16": "",
}  # fmt: skip
"""What modules depend on."""
EMULATOR_PATH = "usr/bin/qemu-system-s390x"


def module(name: str, needs: str) -> bytes:
    return b"\x7fELF" + f"\0license=GPL\0depends={needs}\0name={name}\0".encode()


def kernel_packages(codename: str) -> dict[str, tuple[str, dict[str, bytes]]]:
    """Kernel and busybox as that Debian has them."""
    release = RELEASE[codename]
    modules = {f"kernel/{name}": module(name, needs) for name, needs in NEEDS.items()}
    if codename == "bookworm":
        modules |= {f"kernel/{name}": module(name, "") for name in FORMERLY}
        where, ending = "lib/modules", ".ko"
    else:
        modules = {name: lzma.compress(data) for name, data in modules.items()}
        where, ending = "usr/lib/modules", ".ko.xz"
    files = {f"{where}/{release}/{name}{ending}": data for name, data in modules.items()}
    files[f"{where}/{release}/modules.builtin"] = b"kernel/drivers/virtio/virtio.ko\n"
    image = f"linux-image-{release}"
    if codename == "sid":
        split = {
            image: (f"linux-binary-{release}, linux-modules-{release}", {}),
            f"linux-binary-{release}": ("", {f"{where}/{release}/vmlinuz": b"kernel of sid"}),
            f"linux-modules-{release}": ("", files),
        }
    else:
        files[f"boot/vmlinuz-{release}"] = f"kernel of {codename}".encode()
        split = {image: ("", files)}
    busybox = "bin/busybox" if codename == "bookworm" else "usr/bin/busybox"
    return {
        "linux-image-s390x": (f"linux-image-{release}", {}),
        **split,
        "busybox-static": ("", {busybox: f"busybox of {codename}".encode()}),
    }


@pytest.fixture
def mirror(tmp_path: Path) -> Mirror:
    made = Mirror(tmp_path / "mirror")
    for codename in RELEASE:
        made.add(codename, kernel_packages(codename))
    return made


@pytest.mark.parametrize("codename", RELEASE)
def test_the_packages_of_each_debian(
    codename: str, tmp_path: Path, mirror: Mirror, system: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    system.write_text(mirror.source(codename))
    parts = Parts(tmp_path / "cache")
    assert parts.kernel().read_text() == f"kernel of {codename}"
    modules = parts.modules()
    assert modules is not None
    found = entries(modules)
    assert parts.busybox().read_text() == f"busybox of {codename}"
    order = found["modules/order"].decode().split()
    assert order[-1] == "ext4"
    assert set(order) == {*NEEDS, *(FORMERLY if codename == "bookworm" else ())}
    for place, name in enumerate(order):
        needs = NEEDS.get(name, "").split(",")
        assert all(other in order[:place] for other in needs if other)
        assert found[f"modules/{name}.ko"] == module(name, NEEDS.get(name, ""))
    named = f"Linux {RELEASE[codename]} of Debian {codename}"
    assert parts.kernel_name() == named
    assert f"fetched: {named}\n" in capsys.readouterr().err


def test_what_was_fetched_is_not_fetched_again(
    tmp_path: Path, mirror: Mirror, system: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    system.write_text(mirror.source("bookworm"))
    Parts(tmp_path / "cache").kernel()
    capsys.readouterr()
    system.write_text("")
    again = Parts(tmp_path / "cache")
    assert again.kernel().exists()
    assert again.busybox().exists()
    assert capsys.readouterr().err == ""
    assert sorted(path.name for path in again.cache.iterdir()) == [
        ".lock", "busybox", "kernel", "kernel-name", "modules.cpio",
    ]  # fmt: skip


def test_busybox_alone_is_fetched_for_a_kernel_of_ones_own(
    tmp_path: Path, mirror: Mirror, system: Path
) -> None:
    system.write_text(mirror.source("trixie"))
    (tmp_path / "bzImage").write_bytes(bytes(0x10008) + b"S390EP")
    parts = Parts(tmp_path / "cache", kernel=tmp_path / "bzImage")
    assert parts.kernel() == tmp_path / "bzImage"
    assert parts.modules() is None
    assert parts.busybox().read_text() == "busybox of trixie"
    assert sorted(path.name for path in parts.cache.iterdir()) == [".lock", "busybox"]


def test_what_a_killed_fetch_left_goes_with_the_next(
    tmp_path: Path, mirror: Mirror, system: Path
) -> None:
    system.write_text(mirror.source("trixie"))
    (tmp_path / "cache" / ".fetch-1" / "tree").mkdir(parents=True)
    parts = Parts(tmp_path / "cache")
    assert parts.busybox().exists()
    assert not list(parts.cache.glob(".fetch-*"))


def test_another_suite_serves_where_an_index_cannot_be_read(
    tmp_path: Path, mirror: Mirror, system: Path
) -> None:
    mirror.spoil("trixie")
    system.write_text(mirror.source("trixie"))
    parts = Parts(tmp_path / "cache")
    assert parts.kernel_name() == f"Linux {RELEASE['bookworm']} of Debian bookworm"


def test_when_all_fail_what_apt_said_is_one_line(
    tmp_path: Path, mirror: Mirror, system: Path
) -> None:
    for codename in RELEASE:
        mirror.spoil(codename)
    system.write_text(mirror.source("trixie"))
    with pytest.raises(GuestError, match="no packages for s390x: ") as caught:
        Parts(tmp_path / "cache").kernel()
    line = str(caught.value)
    assert "\n" not in line
    for suite in ("trixie", "stable", "oldstable", "testing", "unstable"):
        assert f"Failed to fetch {mirror.uri}/dists/{suite}/" in line
    assert "--source" in line
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [".lock"]


def test_a_system_that_is_not_debian_is_told_what_is_needed(tmp_path: Path, system: Path) -> None:
    other = Mirror(tmp_path / "other", "Ubuntu")
    other.add("sid", {})
    system.write_text(other.source("sid"))
    with pytest.raises(GuestError) as caught:
        Parts(tmp_path / "cache").kernel()
    line = str(caught.value)
    assert "this system's packages are from Ubuntu, not from Debian" in line
    assert "--source" in line
    assert "--kernel" in line
    assert "debian-archive-keyring" in line


def test_a_source_that_is_named_is_the_only_one(
    tmp_path: Path, mirror: Mirror, system: Path
) -> None:
    other = Mirror(tmp_path / "other", "Ubuntu")
    other.add("sid", {})
    system.write_text(other.source("sid"))
    parts = Parts(tmp_path / "cache", [mirror.source("sid")])
    assert parts.kernel_name() == f"Linux {RELEASE['sid']} of Debian sid"
    mirror.spoil("trixie")
    with pytest.raises(GuestError, match="Failed to fetch") as caught:
        Parts(tmp_path / "cache-2", [mirror.source("trixie")]).kernel()
    assert "oldstable" not in str(caught.value)


def test_an_archive_without_the_kernel_says_so(
    tmp_path: Path, mirror: Mirror, system: Path
) -> None:
    empty = Mirror(tmp_path / "empty")
    empty.add("bookworm", {})
    with pytest.raises(GuestError, match=r"no packages for s390x: .*[Nn]o packages found"):
        Parts(tmp_path / "cache", [empty.source("bookworm")]).kernel()


def test_modules_that_the_kernel_has_built_in_are_not_loaded(tmp_path: Path) -> None:
    (tmp_path / "kernel").mkdir()
    for name in MODULES[1:]:
        (tmp_path / "kernel" / f"{name}.ko").write_bytes(module(name, "dasd_mod"))
    (tmp_path / "modules.builtin").write_text(f"a/{MODULES[0]}.ko\na/dasd-mod.ko\n")
    assert Modules(tmp_path).in_order() == list(MODULES[1:])


@pytest.mark.parametrize(
    ("name", "why"), [("ext4.ko.zst", "compressed in a way"), ("other.ko", "not among")]
)
def test_modules_that_cannot_be_had_are_named(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / "kernel").mkdir()
    for other in MODULES[:-1]:
        (tmp_path / "kernel" / f"{other}.ko").write_bytes(module(other, ""))
    (tmp_path / "kernel" / name).write_bytes(b"")
    with pytest.raises(GuestError, match=f"ext4.*{why}"):
        Modules(tmp_path).in_order()


def test_an_archive_has_what_was_put_into_it(tmp_path: Path) -> None:
    with open(tmp_path / "made", "wb") as file, Archive(file) as archive:
        archive.file("a/b/c", b"12345")
        archive.symlink("a/d", "/a/b")
    assert entries(tmp_path / "made") == {"a": b"", "a/b": b"", "a/b/c": b"12345", "a/d": b"/a/b"}


def test_apt_that_is_missing_is_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        command("guest", "fetch"),
        env={
            **os.environ, "PATH": str(tmp_path), "PYTHONPATH": str(PROJECT),
            "XDG_CACHE_HOME": str(tmp_path),
        },
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("vfioccw: apt-get: not found")
    assert "give --kernel and --busybox, or copy" in last
    assert str(tmp_path / "vfioccw") in last


@pytest.mark.parametrize("package", EMULATOR_PACKAGES)
def test_qemu_for_the_guest_comes_with_its_firmware_and_its_libraries_and_no_others(
    tmp_path: Path, system: Path, package: str
) -> None:
    def compiled(*words: str) -> bytes:
        made = tmp_path / "made"
        words = ("gcc", "-nostdlib", "-x", "c", "/dev/null", "-x", "none", "-o", str(made), *words)
        subprocess.run(words, check=True, capture_output=True)
        return made.read_bytes()

    def shared(name: str, *needs: Path) -> bytes:
        options = ("-shared", f"-Wl,-soname,{name}", "-Wl,--no-as-needed")
        (tmp_path / name).write_bytes(data := compiled(*options, *map(str, needs)))
        return data

    libraries = {name: shared(name, *(tmp_path / one for one in needs)) for name, needs in {
        "libinner.so.1": (), "libouter.so.1": ("libinner.so.1",), "libother.so.1": (),
    }.items()}  # fmt: skip
    qemu = shared("qemu", tmp_path / "libouter.so.1")
    mirror = Mirror(tmp_path / "mirror")
    mirror.add("bookworm", {
        package: ("libs, qemu-system-data", {
            EMULATOR_PATH: qemu, "usr/bin/qemu-system-alpha": b"another",
        }),
        "libs": ("", {
            "lib/ld64.so.1": b"loader",
            **{f"usr/lib/s390x-linux-gnu/{name}": data for name, data in libraries.items()},
        }),
        "qemu-system-data": ("", {"usr/share/qemu/s390-ccw.img": b"firmware"}),
    })  # fmt: skip
    # Packages of a file: source stay where they are.
    system.write_text(mirror.source("bookworm").replace("file:", "copy:"))
    found = entries(Parts(tmp_path / "cache").emulator())
    assert {name: data for name, data in found.items() if data} == {
        EMULATOR_PATH: qemu, "usr/share/qemu/s390-ccw.img": b"firmware", "lib/ld64.so.1": b"loader",
        "usr/lib/libouter.so.1": libraries["libouter.so.1"],
        "usr/lib/libinner.so.1": libraries["libinner.so.1"],
    }  # fmt: skip
