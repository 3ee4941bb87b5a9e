"""Linux's vfio_ccw for the guest: modules for Debian's kernel, or a whole kernel that has it.

Debian's kernels for s390x are built without. Modules take Debian's source of the same version, the
kernel's headers and a minute; a whole kernel takes any source tree and some minutes. Both need a
cross compiler, and what they made is kept beside the guest's other parts.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from judge import JudgeError, NotHereError
from vfioccw_fuse.guest import GuestError
from vfioccw_fuse.guest.apt import Apt, first_that_has, own_architecture
from vfioccw_fuse.guest.given import GuestFile
from vfioccw_fuse.guest.machine import Options
from vfioccw_fuse.guest.parts import Parts

HERE: Final = Path(__file__).resolve().parent
COMPILER: Final = "s390x-linux-gnu-gcc"
CROSS: Final = ("ARCH=s390", "CROSS_COMPILE=s390x-linux-gnu-", f"CC={COMPILER}")
MODULES: Final = ("vfio", "vfio_iommu_type1", "mdev", "vfio_ccw")
"""In the order in which they are loaded."""
MODULES_SERIES: Final = "6.1"
"""The Linux whose files `modules.mk` names."""
MODULES_SUITE: Final = "bookworm"
"""The Debian whose kernel that is."""
KERNEL_SERIES: Final = "6.12"
"""The Linux whose whole kernel is built."""
CLIENT_IN_GUEST: Final = "/bin/client"
FOR_MODULES: Final = {
    COMPILER: "gcc-s390x-linux-gnu libc6-dev-s390x-cross", "make": "make",
    "xz": "xz-utils",
}  # fmt: skip
"""Programs that a build of modules needs, and Debian's packages that have them."""
FOR_A_KERNEL: Final = {
    **FOR_MODULES, "bc": "bc", "bison": "bison libelf-dev libssl-dev", "flex": "flex",
}  # fmt: skip
"""The same of a whole kernel; whoever has no bison has none of the libraries either."""
IMAGE: Final = "arch/s390/boot/bzImage"


class Driver(NamedTuple):
    """A kernel for the guest, and the modules that bring it vfio_ccw."""

    series: str
    """6.1, 6.12: whose answers these are."""
    kernel: Path
    modules: Sequence[Path] = ()


def guest_of(driver: Driver, device: str, directory: Path, script: str) -> tuple[Options, Parts]:
    """A guest that asks *driver* what *script* says of a *device*; made of files in *directory*."""
    path = directory / "script"
    path.write_text(script)
    client = build_client(directory, COMPILER, "-static")
    files = [(client, CLIENT_IN_GUEST[1:]), (HERE / "create-mdev.sh", "bin/create-mdev"), (path, "script")]
    options = Options(
        devices=[device], modules=driver.modules, files=[GuestFile(*file) for file in files]
    )
    # As a kernel of one's own it is without the modules that it has otherwise: nothing else may
    # take the device.
    return options, Parts(kernel=driver.kernel)


def build_client(directory: Path, compiler: str = "gcc", *options: str) -> Path:
    """Compile `client.c` into *directory*; the program."""
    program = directory / f"client-{compiler}"
    _run(compiler, "-O2", "-Wall", "-Wextra", *options, HERE / "client.c", "-o", program)
    return program


def debian_modules(parts: Parts) -> Driver:
    """Modules for a kernel of Debian, from its source of the same version.

    The kernel is that of *parts* if it is of `MODULES_SERIES`, else the one of `MODULES_SUITE`.
    GuestError or NotHereError if they cannot be had here; JudgeError if they cannot be built.
    """
    parts, sources = _of_the_series(parts)
    # "Linux RELEASE of Debian CODENAME"
    _, release, _, _, codename = parts.kernel_name().split()

    def build(work: Path, made: Path) -> None:
        headers = f"linux-headers-{release}"
        common = headers.removesuffix("-s390x") + "-common"
        _fetch(work, headers, common, f"linux-source-{MODULES_SERIES}", sources=sources)
        _programs_of_the_build(work, codename)
        source = work / "modules"
        source.mkdir()
        _unpack_source(work, source, "drivers/vfio", "drivers/s390/cio")
        tree = work / "usr/src" / headers
        makefile = tree / "Makefile"
        makefile.write_text(f"include {tree.parent / common / 'Makefile'}\n")
        for folder in ("drivers/vfio", "drivers/vfio/mdev", "drivers/s390/cio"):
            for file in (source / folder).glob("*.[ch]"):
                file.replace(source / file.name)
        shutil.copyfile(HERE / "modules.mk", source / "Makefile")
        _make(tree, *CROSS, f"M={source}", "modules")
        for module in MODULES:
            (source / f"{module}.ko").replace(made / f"{module}.ko")

    _want(FOR_MODULES)
    place = _kept(parts, f"modules-{release}-{_digest('modules.mk')}", build, "vfio_ccw's modules")
    return Driver(MODULES_SERIES, parts.kernel(), [place / f"{name}.ko" for name in MODULES])


def whole_kernel(parts: Parts, tree: Path | None = None) -> Driver:
    """A kernel of `KERNEL_SERIES` from Debian's source, or of a source *tree* as it is now.

    A tree is built outside of it, and built again each time. Errors as `debian_modules`.
    """
    _want(FOR_A_KERNEL)
    digest = _digest("kernel.fragment")
    if tree is not None:
        key = hashlib.sha256(f"{tree.resolve()}".encode()).hexdigest()[:12]
        output = parts.cache / f"tree-{key}-{digest}"
        output.mkdir(parents=True, exist_ok=True)
        _build_kernel(tree.resolve(), output)
        return Driver(tree.name, output / IMAGE)

    def build(work: Path, made: Path) -> None:
        package = f"linux-source-{KERNEL_SERIES}"
        try:
            # Sources are for every architecture, and this system's archives may have more of them.
            Apt(work / "own", architecture=own_architecture()).fetch(work, package)
        except GuestError:
            _fetch(work, package)
        source, output = work / "source", work / "output"
        source.mkdir()
        output.mkdir()
        _unpack_source(work, source)
        _build_kernel(source, output)
        (output / IMAGE).replace(made / "bzImage")

    place = _kept(parts, f"linux-{KERNEL_SERIES}-{digest}", build, f"Linux {KERNEL_SERIES}")
    return Driver(KERNEL_SERIES, place / "bzImage")


def _build_kernel(source: Path, output: Path) -> None:
    words = (*CROSS, f"O={output}")
    if not (output / ".config").exists():
        _make(source, *words, "tinyconfig")
        merge = source / "scripts/kconfig/merge_config.sh"
        _run(merge, "-m", "-O", output, output / ".config", HERE / "kernel.fragment", cwd=output)
    _make(source, *words, "olddefconfig")
    _make(source, *words, "bzImage")


def _kept(parts: Parts, name: str, build: Callable[[Path, Path], None], what: str) -> Path:
    """The directory *name* of the cache; if it is missing *build* makes it.

    *build* gets a directory to work in and the one for what shall be kept.
    """
    place = parts.cache / name
    if place.exists():
        return place
    parts.cache.mkdir(parents=True, exist_ok=True)
    with open(parts.cache / ".driver-lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            print(f"building {what}, once", file=sys.stderr, flush=True)
            with tempfile.TemporaryDirectory(dir=parts.cache, prefix=".build-") as directory:
                work, made = Path(directory) / "work", Path(directory) / "made"
                work.mkdir()
                made.mkdir()
                build(work, made)
                made.replace(place)
    return place


def _of_the_series(parts: Parts) -> tuple[Parts, Sequence[str]]:
    """Parts of a guest whose kernel is of `MODULES_SERIES`, and where they come from."""

    def fits(candidate: Parts) -> bool:
        return candidate.kernel_name().split()[1].startswith(f"{MODULES_SERIES}.")

    if fits(parts):
        return parts, ()
    cache = parts.cache.with_name(f"{parts.cache.name}-{MODULES_SUITE}")
    with tempfile.TemporaryDirectory() as work:
        mirror = Apt(Path(work) / "own", architecture=own_architecture()).debian_mirror()
    sources = [f"deb {mirror} {MODULES_SUITE} main"]
    older = Parts(cache, sources)
    if mirror is None or not fits(older):
        raise NotHereError(f"modules are built for Linux {MODULES_SERIES}, which is not here")
    return older, sources


def _fetch(tree: Path, *packages: str, sources: Sequence[str] = ()) -> None:
    """Unpack the guest's *packages* into *tree*."""
    with tempfile.TemporaryDirectory(dir=tree) as work:
        first_that_has(
            Path(work), sources, lambda apt: apt.fetch(tree, *packages),
            "run this on Debian, where they are",
        )  # fmt: skip


def _programs_of_the_build(tree: Path, codename: str) -> None:
    """Fetch what compiles modules on this machine: linux-kbuild of the kernel's release.

    Programs of another release run here, too.
    """
    with tempfile.TemporaryDirectory(dir=tree) as name:
        work, own = Path(name), own_architecture()
        mirror = Apt(work / "own", architecture=own).debian_mirror()
        if mirror is None:
            raise NotHereError("this system's packages are not Debian's")
        apt = Apt(work / codename, [f"deb {mirror} {codename} main"], own)
        apt.fetch(tree, f"linux-kbuild-{MODULES_SERIES}")


def _unpack_source(tree: Path, into: Path, *folders: str) -> None:
    """Unpack the source package in *tree*: all of it, or only some *folders*."""
    [archive] = tree.glob("usr/src/linux-source-*.tar.xz")
    name = archive.name.removesuffix(".tar.xz")
    wanted = [f"{name}/{folder}" for folder in folders]
    _run("tar", "-xJf", archive, "-C", into, "--strip-components=1", *wanted)
    archive.unlink()


def _digest(*names: str) -> str:
    data = b"".join((HERE / name).read_bytes() for name in names)
    return hashlib.sha256(data).hexdigest()[:12]


def _want(programs: Mapping[str, str]) -> None:
    """JudgeError that names the packages of all *programs* that are missing."""
    missing = [package for program, package in programs.items() if shutil.which(program) is None]
    if missing:
        raise NotHereError(f"what compiles Linux is missing: apt-get install {' '.join(missing)}")


def _make(tree: Path, *words: str) -> None:
    _run("make", "-s", "-C", tree, f"-j{os.cpu_count() or 1}", *words)


def _run(*words: str | Path, cwd: Path | None = None) -> None:
    done = subprocess.run(
        words, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["it says nothing"]
        errors = [line for line in lines if "error:" in line] or lines
        raise JudgeError(f"{Path(words[0]).name}: {errors[0]}")
