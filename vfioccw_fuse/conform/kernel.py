"""Linux's vfio_ccw for the guest: modules for Debian's kernel, or a whole kernel that has it.

Debian's kernels for s390x are built without. Modules take Debian's source of the same version, the
kernel's headers and a minute; a whole kernel takes any source tree and some minutes. Both need a
cross compiler, and what they made is kept beside the guest's other parts.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from ..guest.apt import Apt, first_that_has, own_architecture
from ..guest.given import GuestFile, check_kernel, check_program
from ..guest.kernel import (
    COMPILER,
    CROSS,
    SERIES,
    build,
    digest,
    kept,
    make,
    run_tool,
    unpack_source,
    want,
)
from ..guest.machine import Options
from ..guest.parts import Parts
from . import HERE, NotHereError

MODULES: Final = ("vfio", "vfio_iommu_type1", "mdev", "vfio_ccw")
"""In the order in which they are loaded."""
MODULES_SERIES: Final = "6.1"
"""The Linux whose files `modules.mk` names."""
MODULES_SUITE: Final = "bookworm"
"""The Debian whose kernel that is."""
KERNEL_SERIES: Final = SERIES
"""The Linux whose whole kernel is built."""
CLIENT_IN_GUEST: Final = "/bin/client"
DEVICE: Final = "0.0.0313"
"""The guest's bus id of the device: as on the mount, so that the subchannels say the same of it."""
FOR_MODULES: Final = {
    COMPILER: "gcc-s390x-linux-gnu libc6-dev-s390x-cross", "make": "make",
    "xz": "xz-utils",
}  # fmt: skip
"""Programs that a build of modules needs, and Debian's packages that have them."""


class Driver(NamedTuple):
    """A kernel for the guest, and the modules that bring it vfio_ccw."""

    kernel: Path
    modules: Sequence[Path] = ()
    busybox: Path | None = None
    """The user's, if it is not Debian's."""


def guest_of(driver: Driver, device: str, directory: Path, script: str) -> tuple[Options, Parts]:
    """A guest that asks *driver* what *script* says of a *device*; made of files in *directory*."""
    path = directory / "script"
    path.write_text(script)
    client = build_client(directory, COMPILER, "-static")
    files = [
        GuestFile(client, CLIENT_IN_GUEST[1:]),
        GuestFile(HERE / "create-mdev.sh", "bin/create-mdev"),
        GuestFile(path, "script"),
    ]
    options = Options(
        devices=[device], modules=driver.modules, files=files, bind="vfio_ccw", bound=[DEVICE]
    )
    # As a kernel of one's own it is without the modules that it has otherwise: nothing else may
    # take the device.
    return options, Parts(kernel=driver.kernel, busybox=driver.busybox)


def build_client(directory: Path, compiler: str = "gcc", *options: str) -> Path:
    """Compile `client.c` into *directory*, once; the program."""
    program = directory / f"client-{compiler}"
    if program.exists():
        return program
    if shutil.which(compiler) is None:
        package = FOR_MODULES.get(compiler, "gcc libc6-dev")
        raise NotHereError(f"{compiler}: not found; apt-get install {package}")
    run_tool(compiler, "-O2", "-Wall", "-Wextra", *options, HERE / "client.c", "-o", program)
    return program


def debian_modules(parts: Parts) -> Driver:
    """Modules for a kernel of Debian, from its source of the same version.

    The kernel is that of *parts* if it is of `MODULES_SERIES`, else the one of `MODULES_SUITE`.
    GuestError if they cannot be had here; BuildError if they cannot be built.
    """
    parts, sources = _of_the_series(parts)
    # "Linux RELEASE of Debian CODENAME"
    _, release, _, _, codename = parts.kernel_name().split()

    def make_modules(work: Path, made: Path) -> None:
        headers = f"linux-headers-{release}"
        common = headers.removesuffix("-s390x") + "-common"
        _fetch(work, headers, common, f"linux-source-{MODULES_SERIES}", sources=sources)
        _programs_of_the_build(work, codename)
        source = work / "modules"
        source.mkdir()
        unpack_source(work, source, "drivers/vfio", "drivers/s390/cio")
        tree = work / "usr/src" / headers
        makefile = tree / "Makefile"
        makefile.write_text(f"include {tree.parent / common / 'Makefile'}\n")
        for folder in ("drivers/vfio", "drivers/vfio/mdev", "drivers/s390/cio"):
            for file in (source / folder).glob("*.[ch]"):
                file.replace(source / file.name)
        shutil.copyfile(HERE / "modules.mk", source / "Makefile")
        make(tree, *CROSS, f"CC={COMPILER}", f"M={source}", "modules")
        for module in MODULES:
            (source / f"{module}.ko").replace(made / f"{module}.ko")

    want(FOR_MODULES)
    name = f"modules-{release}-{digest((HERE / 'modules.mk').read_bytes())}"
    place = kept(parts.cache, name, make_modules, "vfio_ccw's modules")
    return Driver(parts.kernel(), [place / f"{name}.ko" for name in MODULES])


def whole_kernel(parts: Parts) -> Driver:
    """A kernel of `KERNEL_SERIES` from Debian's source.

    GuestError if it cannot be had here; BuildError if it cannot be built.
    """
    return Driver(build(parts.cache))


def driver_of(kernel: str | None, busybox: Path | None = None) -> Driver:
    """The driver of a Linux: `KERNEL_SERIES` (None, too), `MODULES_SERIES`, or a file's bzImage.

    What has to be built for the first two is. *busybox* is a file of the user's. GuestError if it
    cannot be had; OSError.
    """
    busybox = busybox and check_program(busybox)
    if kernel is None or kernel == KERNEL_SERIES:
        driver = whole_kernel(Parts())
    elif kernel == MODULES_SERIES:
        driver = debian_modules(Parts())
    else:
        driver = Driver(check_kernel(Path(kernel)))
    return driver._replace(busybox=busybox)


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
            "run this on Debian, where they are", mirror="",
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
