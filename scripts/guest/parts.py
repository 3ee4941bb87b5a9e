"""What a guest is made of, from Debian's archive for s390x: kernel, busybox, tools.

Fetched once, by apt-get with lists and state of its own, from where this system's packages come;
kept in the user's cache directory as the kernel and two archives. Nothing is installed.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from guest import GuestError
from guest.archive import Archive

ARCHITECTURE: Final = "s390x"
GENERATION: Final = 1
"""Part of the cache's name: one more when what is kept here changes."""
KERNEL_PACKAGE: Final = "linux-image-s390x"
"""The package that depends on the current kernel's."""
MODULES: Final = (
    *("dasd_mod", "dasd_fba_mod", "dasd_eckd_mod", "virtio_blk"),
    *("crc16", "mbcache", "jbd2", "crc32c_generic", "ext4"),
)
"""In the order in which they are loaded."""
TOOL_PACKAGES: Final = ("s390-tools", "e2fsprogs", "fio")
TOOLS: Final = (
    *("sbin/dasdfmt", "sbin/fdasd", "sbin/dasdview", "sbin/zipl"),
    *("sbin/mke2fs", "sbin/e2fsck", "usr/bin/fio"),
)
LOADER: Final = "lib/ld64.so.1"
_LIBRARY_PLACES: Final = ("lib/s390x-linux-gnu", "usr/lib/s390x-linux-gnu", "usr/lib", "lib")


class Parts:
    """The files of the cache; each is fetched when it is first asked for."""

    def __init__(self, cache: Path | None = None) -> None:
        """Use *cache*, by default a directory in the user's cache."""
        root = os.environ.get("XDG_CACHE_HOME", "")
        user = Path(root) if root.startswith("/") else Path.home() / ".cache"
        self.cache = cache or user / "vfioccw" / f"guest-{ARCHITECTURE}-{GENERATION}"
        """Where the files lie."""

    def kernel(self) -> Path:
        """The kernel image, for QEMU's -kernel."""
        return self._part("kernel", "kernel and busybox", _build_base)

    def base(self) -> Path:
        """An archive of busybox and kernel modules."""
        return self._part("base.cpio", "kernel and busybox", _build_base)

    def tools(self) -> Path:
        """An archive of `TOOLS` and the libraries that they need."""
        return self._part("tools.cpio", "disk tools", _build_tools)

    def _part(self, name: str, what: str, build: Callable[[Path, Path], None]) -> Path:
        path = self.cache / name
        if path.exists():
            return path
        self.cache.mkdir(parents=True, exist_ok=True)
        with open(self.cache / ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists():
                print(f"fetching {what} from Debian's archive, once", file=sys.stderr, flush=True)
                with tempfile.TemporaryDirectory(dir=self.cache, prefix=".fetch-") as work:
                    made = Path(work) / "made"
                    made.mkdir()
                    build(Path(work), made)
                    for file in made.iterdir():
                        file.replace(self.cache / file.name)
        return path


class _Apt:
    """apt-get for another architecture, in a directory of its own."""

    def __init__(self, work: Path) -> None:
        for name in ("lists/partial", "cache/archives/partial"):
            (work / name).mkdir(parents=True)
        (work / "status").touch()
        self.archives = work / "cache" / "archives"
        options = {
            "APT::Architecture": ARCHITECTURE,
            "APT::Architectures": ARCHITECTURE,
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
            "Dir::State::Lists": work / "lists",
            "Dir::State::status": work / "status",
            "Dir::Cache": work / "cache",
            "Debug::NoLocking": "1",
        }
        self._options = [f"-o{name}={value}" for name, value in options.items()]
        # Lists of other suppliers that have nothing for this architecture fail, and do not matter.
        self._run("apt-get", "update", check=False)

    def _run(self, tool: str, *words: str, check: bool = True) -> str:
        try:
            done = subprocess.run(
                [tool, *self._options, *words],
                stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                cwd=self.archives, env={**os.environ, "LC_ALL": "C"},
            )  # fmt: skip
        except FileNotFoundError:
            raise GuestError(f"{tool}: not found; the guest is made of Debian packages") from None
        if check and done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.startswith("E:")]
            raise GuestError(
                f"{tool} {' '.join(words)}: {lines[0] if lines else 'failed'}; "
                "can it reach its archive, and is that Debian's?"
            )
        return done.stdout

    def kernel(self) -> str:
        """The package of the current kernel."""
        shown = self._run("apt-cache", "depends", KERNEL_PACKAGE)
        found = re.search(r"Depends: (linux-image-\d\S*)", shown)
        if found is None:
            raise GuestError(f"{KERNEL_PACKAGE}: names no kernel; is the archive Debian's?")
        return found[1]

    def download(self, *packages: str) -> None:
        """Fetch these packages."""
        self._run("apt-get", "download", *packages)

    def download_with_dependencies(self, *packages: str) -> None:
        """Fetch these packages and all that they need."""
        words = ("-y", "--download-only", "--no-install-recommends")
        self._run("apt-get", "install", *words, *packages)

    def unpack(self, tree: Path) -> None:
        """Unpack all that was fetched."""
        for package in sorted(self.archives.glob("*.deb")):
            subprocess.run(["dpkg-deb", "-x", package, tree], check=True)


def _build_base(work: Path, made: Path) -> None:
    apt = _Apt(work)
    apt.download(apt.kernel(), "busybox-static")
    tree = work / "tree"
    apt.unpack(tree)
    [kernel] = tree.glob("boot/vmlinuz-*")
    modules = {path.stem.replace("-", "_"): path for path in tree.glob("lib/modules/**/*.ko")}
    with open(made / "base.cpio", "wb") as file, Archive(file) as archive:
        archive.device("dev/console", 5, 1)
        for name in ("proc", "sys", "tmp", "mnt", "etc"):
            archive.directory(name)
        archive.copy(tree / "bin/busybox", "bin/busybox")
        for name in MODULES:
            archive.copy(modules[name], f"modules/{name}.ko")
        archive.file("modules/order", "".join(f"{name}\n" for name in MODULES).encode(), 0o644)
    shutil.move(kernel, made / "kernel")


def _build_tools(work: Path, made: Path) -> None:
    apt = _Apt(work)
    apt.download_with_dependencies(*TOOL_PACKAGES)
    tree = work / "tree"
    apt.unpack(tree)
    with open(made / "tools.cpio", "wb") as file, Archive(file) as archive:
        for name in TOOLS:
            archive.copy(tree / name, name)
        archive.copy(tree / "sbin/mke2fs", "sbin/mkfs.ext4")
        archive.copy(_library(tree, Path(LOADER).name), LOADER)
        for library in _libraries(tree, [tree / name for name in TOOLS]):
            archive.copy(library, f"usr/lib/{library.name}")
        for path in sorted((tree / "lib/s390-tools").rglob("*")):
            if path.is_file():
                archive.copy(path, str(path.relative_to(tree)))


def _library(tree: Path, name: str) -> Path:
    for place in _LIBRARY_PLACES:
        if (tree / place / name).exists():
            return tree / place / name
    # Some keep theirs in directories of their own.
    for path in tree.glob(f"usr/lib/{ARCHITECTURE}-linux-gnu/*/{name}"):
        return path
    raise GuestError(f"{name}: in none of the packages that were fetched")


def _libraries(tree: Path, programs: list[Path]) -> Iterator[Path]:
    """Every library that the *programs* need, directly or not."""
    seen = {Path(LOADER).name}
    todo = list(programs)
    while todo:
        shown = subprocess.run(
            ["readelf", "-d", todo.pop()], capture_output=True, text=True, check=True
        ).stdout
        for name in re.findall(r"\(NEEDED\).*\[(.*)\]", shown):
            if name not in seen:
                seen.add(name)
                library = _library(tree, name)
                yield library.with_name(name)
                todo.append(library)
