"""What a guest is made of: a kernel, its modules, busybox, tools.

What the user does not give comes from Debian's packages for s390x: fetched once, and kept in the
user's cache directory. Packages of Debian 12, of 13 and of later releases serve: their modules are
compressed or not, and the kernel is one package or several.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from . import GuestError
from .apt import ARCHITECTURE, Apt, first_that_has
from .archive import Archive
from .given import check_kernel, check_program, read_module

GENERATION: Final = 5
"""Part of the cache's name: one more when what is kept here changes."""
KERNEL_PACKAGE: Final = "linux-image-s390x"
"""The package that depends on the current kernel's."""
BUSYBOX_PACKAGE: Final = "busybox-static"
BUSYBOX: Final = "usr/bin/busybox"
"""In that package."""
MODULES: Final = ("dasd_fba_mod", "dasd_eckd_mod", "virtio_blk", "ext4")
"""What is loaded, after what each depends on, unless the kernel has it built in."""
FORMERLY: Final = ("crc32c_generic",)
"""Loaded first by kernels that have it: ext4 asked for it by another name (until 6.13)."""
TOOL_PACKAGES: Final = ("s390-tools", "e2fsprogs", "fio")
TOOLS: Final = (
    *("sbin/dasdfmt", "sbin/fdasd", "sbin/dasdview", "sbin/tunedasd", "sbin/zipl"),
    *("sbin/mke2fs", "sbin/e2fsck", "bin/fio"),
)
"""Below /usr, where all of it is since Debian 13."""
EMULATOR_PACKAGES: Final = ("qemu-system-s390x", "qemu-system-misc")
"""The package of QEMU is the first of them that there is: Debian 12 has it with others in one."""
EMULATOR: Final = "bin/qemu-system-s390x"
FIRMWARE: Final = "share/qemu/s390-ccw.img"
"""Both below /usr. QEMU wants its firmware also where it is not used."""
LOADER: Final = "lib/ld64.so.1"
OTHERWISE: Final = (
    "give --kernel and --busybox, or copy {cache} from a Debian system after vfioccw guest fetch"
)
"""What helps a user who cannot fetch."""
Builder = Callable[[Apt, Path, Path], str]
"""Makes files in the second directory of packages unpacked in the first; says of what."""
_LIBRARY_PLACES: Final = (f"usr/lib/{ARCHITECTURE}-linux-gnu", "usr/lib")


class Parts:
    """The files of the cache; each is fetched when it is first asked for."""

    def __init__(
        self,
        cache: Path | None = None,
        sources: Sequence[str] = (),
        *,
        kernel: Path | None = None,
        busybox: Path | None = None,
    ) -> None:
        """Use *cache*, by default a directory in the user's cache.

        *sources*: where packages come from instead of from where this system's do, lines as in
        sources.list(5). *kernel* and *busybox* are the user's, and nothing is fetched in their
        place; GuestError if one of them is not for s390x.
        """
        root = os.environ.get("XDG_CACHE_HOME", "")
        user = Path(root) if root.startswith("/") else Path.home() / ".cache"
        self.cache = cache or user / "vfioccw" / f"guest-{ARCHITECTURE}-{GENERATION}"
        """Where the files lie."""
        self._sources = sources
        self._kernel = check_kernel(kernel) if kernel else None
        self._busybox = check_program(busybox) if busybox else None

    def kernel(self) -> Path:
        """The kernel image, for QEMU's -kernel."""
        return self._kernel or self._part("kernel", "kernel and busybox", build_base)

    def kernel_name(self) -> str:
        """Which kernel of Debian that is: its release, and Debian's that it is from."""
        return self._part("kernel-name", "kernel and busybox", build_base).read_text().strip()

    def modules(self) -> Path | None:
        """An archive of the kernel's modules and of their order; a user's kernel has none."""
        return None if self._kernel else self._part("modules.cpio", "kernel", build_base)

    def busybox(self) -> Path:
        """The program that is the guest's shell and commands."""
        return self._busybox or self._part("busybox", "busybox", build_busybox)

    def tools(self) -> Path:
        """An archive of `TOOLS` and the libraries that they need."""
        return self._part("tools.cpio", "disk tools", build_tools)

    def emulator(self) -> Path:
        """An archive of QEMU for s390x on s390x, and the libraries that it needs."""
        return self._part("emulator.cpio", "QEMU for the guest", build_emulator)

    def fetch(self) -> list[Path]:
        """Fetch all that is missing; the files."""
        modules = self.modules()
        base = [self.kernel(), *([modules] if modules else []), self.busybox()]
        return [*base, self.tools()]

    def _part(self, name: str, what: str, build: Builder) -> Path:
        path = self.cache / name
        if path.exists():
            return path
        self.cache.mkdir(parents=True, exist_ok=True)
        with open(self.cache / ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # Nobody else is here: what lies about is of one that was killed.
            for left in self.cache.glob(".fetch-*"):
                shutil.rmtree(left)
            if not path.exists():
                print(f"fetching {what} from Debian's archive, once", file=sys.stderr, flush=True)
                with tempfile.TemporaryDirectory(dir=self.cache, prefix=".fetch-") as work:
                    taken = self._fetch(Path(work), build)
                print(f"fetched: {taken}", file=sys.stderr, flush=True)
        return path

    def _fetch(self, work: Path, build: Builder) -> str:
        """Move into the cache what *build* makes; what it was made of."""

        def try_one(apt: Apt) -> str:
            with tempfile.TemporaryDirectory(dir=work) as name:
                tree, made = Path(name) / "tree", Path(name) / "made"
                tree.mkdir()
                made.mkdir()
                taken = build(apt, tree, made)
                for file in made.iterdir():
                    file.replace(self.cache / file.name)
            return taken

        otherwise = OTHERWISE.format(cache=self.cache)
        return first_that_has(work, self._sources, try_one, otherwise)


def build_base(apt: Apt, tree: Path, made: Path) -> str:
    """Make kernel, kernel-name, modules.cpio and busybox in *made*; which kernel it is."""
    apt.fetch(tree, *_kernel_packages(apt), BUSYBOX_PACKAGE)
    [kernel] = [*tree.glob("boot/vmlinuz-*"), *tree.glob("usr/lib/modules/*/vmlinuz")]
    [directory] = (path.parent for path in tree.glob("usr/lib/modules/*/kernel"))
    modules = Modules(directory)
    with open(made / "modules.cpio", "wb") as file, Archive(file) as archive:
        order = modules.in_order()
        for name in order:
            archive.file(f"modules/{name}.ko", modules.read(name))
        archive.file("modules/order", "".join(f"{name}\n" for name in order).encode(), 0o644)
    taken = f"Linux {directory.name} of Debian {apt.codename()}"
    (made / "kernel-name").write_text(f"{taken}\n")
    shutil.move(kernel, made / "kernel")
    shutil.move(tree / BUSYBOX, made / "busybox")
    return taken


def build_busybox(apt: Apt, tree: Path, made: Path) -> str:
    """Make busybox in *made*; whose it is."""
    apt.fetch(tree, BUSYBOX_PACKAGE)
    shutil.move(tree / BUSYBOX, made / "busybox")
    return f"busybox of Debian {apt.codename()}"


def _kernel_packages(apt: Apt) -> list[str]:
    """The packages of the current kernel: one, and since Debian 14 those it is split into."""
    images = [name for name in apt.depends(KERNEL_PACKAGE) if re.match(r"linux-image-\d", name)]
    if not images:
        raise GuestError(apt.problem or f"{KERNEL_PACKAGE} names no kernel")
    [image] = images
    release = image.removeprefix("linux-image-")
    return [image, *(name for name in apt.depends(image) if name.endswith(f"-{release}"))]


class Modules:
    """The modules of a kernel."""

    def __init__(self, directory: Path) -> None:
        """*directory* is /usr/lib/modules/RELEASE."""
        self._files = {
            path.name.partition(".")[0].replace("-", "_"): path
            for path in (directory / "kernel").rglob("*.ko*")
        }
        built_in = directory / "modules.builtin"
        self._built_in = {
            Path(line).stem.replace("-", "_")
            for line in (built_in.read_text().split() if built_in.exists() else ())
        }

    def read(self, name: str) -> bytes:
        """A module as the kernel takes it: not compressed. GuestError if it cannot be read."""
        return read_module(self._files[name])

    def in_order(self) -> list[str]:
        """`MODULES` and what they need, each after what it needs."""
        order: list[str] = []
        for name in (*(name for name in FORMERLY if name in self._files), *MODULES):
            self._add(name, order)
        return order

    def _add(self, name: str, order: list[str]) -> None:
        if name in order or name in self._built_in:
            return
        if name not in self._files:
            raise GuestError(f"{name}: not among the kernel's modules")
        # A module says itself what it depends on (modinfo -F depends).
        found = re.search(rb"\0depends=([^\0]*)\0", self.read(name))
        for other in found[1].decode().split(",") if found and found[1] else ():
            self._add(other.replace("-", "_"), order)
        order.append(name)


def build_tools(apt: Apt, tree: Path, made: Path) -> str:
    """Make tools.cpio in *made*; whose tools they are."""
    apt.fetch(tree, *TOOL_PACKAGES, dependencies=True)
    usr = tree / "usr"
    with open(made / "tools.cpio", "wb") as file, Archive(file) as archive:
        _add_programs(archive, tree, TOOLS)
        archive.copy(usr / "sbin/mke2fs", "usr/sbin/mkfs.ext4")
        for path in sorted((usr / "lib/s390-tools").rglob("*")):
            if path.is_file():
                archive.copy(path, str(path.relative_to(tree)))
        # Where zipl of Debian 12 looks for what it writes to disks.
        archive.symlink("lib/s390-tools", "/usr/lib/s390-tools")
    return f"disk tools of Debian {apt.codename()}"


def build_emulator(apt: Apt, tree: Path, made: Path) -> str:
    """Make emulator.cpio in *made*; whose QEMU it is."""
    [package, *_] = [name for name in EMULATOR_PACKAGES if apt.has(name)] or EMULATOR_PACKAGES
    apt.fetch(tree, package, dependencies=True)
    with open(made / "emulator.cpio", "wb") as file, Archive(file) as archive:
        _add_programs(archive, tree, [EMULATOR])
        archive.copy(tree / "usr" / FIRMWARE, f"usr/{FIRMWARE}")
    return f"QEMU of Debian {apt.codename()}"


def _add_programs(archive: Archive, tree: Path, names: Sequence[str]) -> None:
    """Add programs by their *names* below /usr, the loader, and every library that they need."""
    for name in names:
        archive.copy(tree / "usr" / name, f"usr/{name}")
    archive.copy(_library(tree, Path(LOADER).name), LOADER)
    for library in _libraries(tree, [tree / "usr" / name for name in names]):
        archive.copy(library, f"usr/lib/{library.name}")


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
