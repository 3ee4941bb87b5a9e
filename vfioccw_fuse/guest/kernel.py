"""A small Linux with vfio_ccw for guests, from a source tree: everything built in, no modules.

Debian's kernels for s390x are built without it. A build takes some minutes, less where ccache is,
and what it made is kept by what it was made from: the source, the configuration, the compiler.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from ..children import ending_with_us, lines, wait
from . import GuestError
from .apt import Apt, first_that_has, own_architecture

FRAGMENT: Final = Path(__file__).resolve().with_name("kernel.fragment")
"""What the configuration has besides tinyconfig."""
DEBUG: Final = FRAGMENT.with_name("kernel-debug.fragment")
"""What it has for tests of a driver that do not end well."""
SERIES: Final = "6.12"
"""The Linux of Debian that is built: Debian 12 and 13 have its source."""
COMPILER: Final = "s390x-linux-gnu-gcc"
CROSS: Final = ("ARCH=s390", "CROSS_COMPILE=s390x-linux-gnu-")
NEEDED: Final = {
    COMPILER: "gcc-s390x-linux-gnu", "make": "make", "xz": "xz-utils", "bc": "bc",
    "bison": "bison libelf-dev libssl-dev", "flex": "flex",
}  # fmt: skip
"""Programs that a build needs, and Debian's packages that have them.

Whoever has no bison has none of the libraries either.
"""
IMAGE: Final = "arch/s390/boot/bzImage"
DRIVER: Final = "CONFIG_VFIO_CCW=y"
OTHERWISE: Final = "name a tree of Linux's source: vfioccw guest kernel --source DIR"
LAST_LINES: Final = 20
"""How much of what a build said is shown when it fails."""


class BuildError(GuestError):
    """What is there cannot be built; one line for people."""


def build(cache: Path, tree: Path | None = None, configs: Sequence[Path] = ()) -> Path:
    """The bzImage of a kernel with vfio_ccw, in *cache*; built if it is not there.

    The source is *tree*, which is left as it is, or Debian's linux-source of `SERIES`, fetched.
    *configs* are files with lines of a configuration that are added, later ones before earlier
    ones. GuestError if something that it needs is not here, BuildError if it cannot be built;
    OSError.
    """
    want(NEEDED)
    fragments = [FRAGMENT, *(path.resolve() for path in configs)]
    made_by = [*(path.read_bytes() for path in fragments), _version_of(COMPILER)]
    if tree is None:
        name = f"linux-{SERIES}-{digest(*made_by)}"
        what = f"Linux {SERIES} of Debian"

        def from_debian(work: Path, made: Path) -> None:
            source, output = work / "source", work / "output"
            for directory in (source, output):
                directory.mkdir()
            _fetch_source(work)
            unpack_source(work, source)
            _build(source, output, fragments)
            (output / IMAGE).replace(made / "bzImage")

        return kept(cache, name, from_debian, what) / "bzImage"

    tree = tree.resolve()
    if not (tree / "arch/s390/Makefile").exists():
        raise GuestError(f"{tree}: no tree of Linux's source; name the one that has arch/s390")

    def from_tree(work: Path, made: Path) -> None:
        # Objects stay, so that make has little to do after a change.
        output = cache / f"tree-{digest(os.fsencode(tree), *made_by)}"
        output.mkdir(exist_ok=True)
        with _locked(cache / f".{output.name}.lock"):
            _build(tree, output, fragments)
            shutil.copyfile(output / IMAGE, made / "bzImage")

    name = f"linux-{digest(_identity(tree), *made_by)}"
    return kept(cache, name, from_tree, f"the kernel of {tree}") / "bzImage"


def _build(source: Path, output: Path, fragments: Sequence[Path]) -> None:
    ccache = shutil.which("ccache")
    words = (*CROSS, f"CC={'ccache ' if ccache else ''}{COMPILER}", f"O={output}")
    make(source, *words, "tinyconfig")
    merge = source / "scripts/kconfig/merge_config.sh"
    run_tool(merge, "-m", "-O", output, output / ".config", *fragments, cwd=output)
    make(source, *words, "olddefconfig")
    if DRIVER not in (output / ".config").read_text().splitlines():
        raise BuildError(
            f"{source}: {DRIVER} is not what its configuration comes to; name what it needs in a "
            "file and give that by --config"
        )
    make(source, *words, "bzImage")


def _identity(tree: Path) -> bytes:
    """What tells the content of a source *tree* from another: commit and changes, or all of it."""

    def git(*words: str) -> bytes:
        done = subprocess.run(["git", "-C", tree, *words], capture_output=True, check=True)
        return done.stdout

    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        # A tree may as well lie in a repository that knows nothing of it.
        if Path(os.fsdecode(git("rev-parse", "--show-toplevel")).rstrip("\n")) == tree:
            added = git("ls-files", "--others", "--exclude-standard", "-z").split(b"\0")
            files = sorted(tree / os.fsdecode(name) for name in added if name)
            changes = git("diff", "HEAD", "--binary")
            return b"%s%s%s" % (git("rev-parse", "HEAD"), changes, _content(tree, files))
    return _content(tree, sorted(path for path in tree.rglob("*") if not path.is_dir()))


def _content(tree: Path, files: Sequence[Path]) -> bytes:
    """What tells these *files* of a *tree* from others: names, and what is in them."""
    sums = hashlib.sha256()
    for path in files:
        if path.is_symlink():
            found = os.fsencode(os.readlink(path))
        else:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").digest()
        sums.update(b"%s\0%s\0" % (os.fsencode(path.relative_to(tree)), found))
    return sums.digest()


def _version_of(compiler: str) -> bytes:
    done = subprocess.run([compiler, "--version"], capture_output=True, check=True)
    return done.stdout.partition(b"\n")[0]


def _fetch_source(tree: Path) -> None:
    """Unpack Debian's package of the source into *tree*."""
    package = f"linux-source-{SERIES}"
    with tempfile.TemporaryDirectory(dir=tree) as name:
        work = Path(name)
        if shutil.which("apt-get") is not None:
            with contextlib.suppress(GuestError):
                # Sources are for every architecture, and this system's archives may have more.
                Apt(work / "all", architecture=own_architecture()).fetch(tree, package)
                return
        first_that_has(work, (), lambda apt: apt.fetch(tree, package), OTHERWISE, mirror="")


# --- what every build of Linux needs --------------------------------------------------------------


def kept(cache: Path, name: str, make: Callable[[Path, Path], None], what: str) -> Path:
    """The directory *name* of *cache*; if it is missing *make* makes it.

    *make* gets a directory to work in and the one for what shall be kept; *what* that is is said on
    stderr.
    """
    place = cache / name
    if place.exists():
        return place
    cache.mkdir(parents=True, exist_ok=True)
    _tidy(cache)
    with _locked(cache / f".{name}.lock"):
        if not place.exists():
            print(f"building {what}, once", file=sys.stderr, flush=True)
            with tempfile.TemporaryDirectory(dir=cache, prefix=f".build-{name}-") as directory:
                work, made = Path(directory) / "work", Path(directory) / "made"
                work.mkdir()
                made.mkdir()
                make(work, made)
                made.replace(place)
    return place


def _tidy(cache: Path) -> None:
    """Remove what builds that were killed left in *cache*: nobody holds their locks."""
    for left in cache.glob(".build-*"):
        name = left.name.removeprefix(".build-").rpartition("-")[0]
        with open(cache / f".{name}.lock", "w") as lock, contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with open(path, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def want(programs: Mapping[str, str]) -> None:
    """GuestError that names the packages of all *programs* that are missing."""
    missing = [package for program, package in programs.items() if shutil.which(program) is None]
    if missing:
        raise GuestError(f"what compiles Linux is missing: apt-get install {' '.join(missing)}")


def unpack_source(tree: Path, into: Path, *folders: str) -> None:
    """Unpack the source package that is in *tree*: all of it, or only some *folders*."""
    [archive] = tree.glob("usr/src/linux-source-*.tar.xz")
    name = archive.name.removesuffix(".tar.xz")
    wanted = [f"{name}/{folder}" for folder in folders]
    run_tool("tar", "-xJf", archive, "-C", into, "--strip-components=1", *wanted)
    archive.unlink()


def digest(*parts: bytes) -> str:
    """A name for what is made from *parts*."""
    sums = hashlib.sha256()
    for part in parts:
        sums.update(b"%d\0%s" % (len(part), part))
    return sums.hexdigest()[:16]


def make(tree: Path, *words: str) -> None:
    """Run make in *tree*, on all processors; errors as `run_tool`."""
    run_tool("make", "-s", "-C", tree, f"-j{os.cpu_count() or 1}", *words)


def run_tool(*words: str | Path, cwd: Path | None = None) -> None:
    """Run a program of a build; it ends with us, and all that it started.

    BuildError with the first error that it says; the last lines are on stderr.
    """
    # A pipe, as a file would not tell grandchildren that we are gone.
    with subprocess.Popen(
        words, cwd=cwd, env={**os.environ, "LC_ALL": "C"}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        process_group=0, preexec_fn=ending_with_us(),
    ) as process:  # fmt: skip
        try:
            output = b"".join(lines(process))
            wait(process)
        except BaseException:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()
            raise
    said = output.decode(errors="replace")
    if process.returncode:
        shown = said.strip().splitlines() or ["it says nothing"]
        errors = [line for line in shown if "error:" in line or "***" in line] or shown
        print(*shown[-LAST_LINES:], sep="\n", file=sys.stderr, flush=True)
        raise BuildError(f"{Path(words[0]).name}: {errors[0].strip()}")
