"""Packages of another architecture from Debian's archive: fetched and unpacked, never installed.

apt-get does it, with lists and state of its own. Sources are those of this system, then the other
suites of the same Debian mirror (one whose newest index cannot be read still has older ones); or
only what the user names.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from . import GuestError

ARCHITECTURE: Final = "s390x"
SUITES: Final = ("stable", "oldstable", "testing", "unstable")
"""What is tried after this system's sources. The names stay right when Debian is released."""
MIRROR: Final = (
    "name a Debian mirror: vfioccw guest fetch --source 'deb http://MIRROR/debian stable main' (on "
    "other systems install debian-archive-keyring and write deb "
    "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ...)"
)
"""What a user can do whose system's sources have no packages for s390x."""
_T = TypeVar("_T")
_INDEX: Final = "$(REPO_URI)|$(RELEASE)|$(ORIGIN)|$(CODENAME)"


class Index(NamedTuple):
    """A list of packages that was read."""

    uri: str
    suite: str
    """As the source names it: trixie, or stable."""
    origin: str
    codename: str


class Apt:
    """apt-get and apt-cache for an architecture, in a directory of their own."""

    def __init__(
        self, work: Path, sources: Sequence[str] = (), architecture: str = ARCHITECTURE
    ) -> None:
        """Read the lists of *sources*, lines as in sources.list(5); of this system's if empty.

        *work* is made. What could not be read is in `problem`, for it need not matter: other
        suppliers' sources have nothing for this architecture.
        """
        for name in ("lists/partial", "cache/archives/partial", "parts"):
            (work / name).mkdir(parents=True)
        (work / "status").touch()
        self._archives = work / "cache" / "archives"
        options = {
            "APT::Architecture": architecture,
            "APT::Architectures": architecture,
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
            "Dir::State::Lists": work / "lists",
            "Dir::State::status": work / "status",
            "Dir::Cache": work / "cache",
            "Debug::NoLocking": "1",
        }
        if sources:
            (work / "sources").write_text("".join(f"{line}\n" for line in sources))
            options |= {
                "Dir::Etc::sourcelist": work / "sources",
                "Dir::Etc::sourceparts": work / "parts",
            }
        self._options = [f"-o{name}={value}" for name, value in options.items()]
        updated = self._run("apt-get", "update", check=False)
        said = [
            line
            for line in updated.stderr.splitlines()
            if line.startswith("E: ") or "Failed to fetch" in line
        ]
        # The last error sums up; a warning may be of a source that does not matter.
        said.sort(key=lambda line: ("Failed to fetch" not in line, line[0]))
        self.problem = " ".join(said[0].split()[1:]) if said else ""
        """What apt-get said of sources that it could not read; empty if it read them all."""

    def _run(self, tool: str, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [tool, *self._options, *words],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            cwd=self._archives, env={**os.environ, "LC_ALL": "C"},
        )  # fmt: skip
        if check and done.returncode:
            lines = [line[3:] for line in done.stderr.splitlines() if line.startswith("E: ")]
            raise GuestError(self.problem or (lines[0] if lines else f"{tool} failed"))
        return done

    def _indexes(self) -> list[Index]:
        shown = self._run("apt-get", "indextargets", "--format", _INDEX).stdout
        return [Index(*line.split("|")) for line in shown.splitlines()]

    def origins(self) -> list[str]:
        """Whose archives these are, such as Debian."""
        return sorted({index.origin for index in self._indexes()})

    def debian_mirror(self) -> str | None:
        """Where Debian's archive is; not its security archive, which has not all packages."""
        for index in self._indexes():
            if index.origin == "Debian" and "-" not in index.suite:
                return index.uri
        return None

    def codename(self) -> str:
        """The release that the packages are of, such as bookworm."""
        names = [index.codename for index in self._indexes() if index.origin == "Debian"]
        # Its updates have a longer name.
        return min(names, key=len, default="")

    def depends(self, package: str) -> list[str]:
        """What *package* depends on; GuestError with what apt says if there is none such."""
        shown = self._run("apt-cache", "depends", "--important", package).stdout
        return re.findall(r"^ [ |](?:Pre)?Depends: ([^<\s]\S*)", shown, re.MULTILINE)

    def has(self, package: str) -> bool:
        """Whether there is a package of that name, and not only another that provides it."""
        return bool(self._run("apt-cache", "show", package, check=False).stdout)

    def fetch(self, tree: Path, *packages: str, dependencies: bool = False) -> None:
        """Unpack *packages* into the directory *tree*, and with *dependencies* all they need."""
        if dependencies:
            words = ("install", "-y", "--download-only", "--no-install-recommends")
            self._run("apt-get", *words, *packages)
        else:
            self._run("apt-get", "download", *packages)
        for package in sorted(self._archives.glob("*.deb")):
            unpack(package, tree)


def unpack(package: Path, tree: Path) -> None:
    """Unpack a package into *tree*, where /bin, /lib and /sbin are those of /usr.

    Packages came with either until Debian 12, and since then with /usr alone.
    """
    for name in ("bin", "lib", "sbin"):
        (tree / "usr" / name).mkdir(parents=True, exist_ok=True)
        if not (tree / name).is_symlink():
            (tree / name).symlink_to(f"usr/{name}")
    with subprocess.Popen(
        ["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE
    ) as contents:
        subprocess.run(
            ["tar", "-x", "--keep-directory-symlink", "--no-same-owner", "-C", tree],
            stdin=contents.stdout, check=True,
        )  # fmt: skip
    if contents.returncode:
        raise GuestError(f"{package.name}: cannot be unpacked")


def first_that_has(
    work: Path,
    sources: Sequence[str],
    use: Callable[[Apt], _T],
    otherwise: str,
    *,
    mirror: str = MIRROR,
) -> _T:
    """What *use* makes of the first archive that has all that it wants, in the directory *work*.

    *sources* as for `Apt`; if it is empty other suites are tried, too. GuestError says in one line
    what was wrong with each, and what helps: *mirror* if there is apt, or *otherwise*.
    """
    if shutil.which("apt-get") is None:
        raise GuestError(f"apt-get: not found, which fetches Debian's packages; {otherwise}")
    remedy = f"{mirror}, or {otherwise}" if mirror else otherwise
    problems: list[str] = []
    for apt in _archives(work, sources, problems):
        try:
            return use(apt)
        except GuestError as error:
            if str(error) not in problems:
                problems.append(str(error))
    raise GuestError(f"no packages for {ARCHITECTURE}: {'; '.join(problems)}; {remedy}")


def _archives(work: Path, sources: Sequence[str], problems: list[str]) -> Iterator[Apt]:
    """What to look into; if there is nothing more to try why goes to *problems*."""
    yield Apt(work / "given", sources)
    if sources:
        return
    # An archive whose index for another architecture cannot be read is known by our own's.
    own = Apt(work / "own", architecture=own_architecture())
    mirror = own.debian_mirror()
    if mirror is None:
        whose = " and ".join(own.origins()) or "nobody that apt can reach"
        problems.append(f"this system's packages are from {whose}, not from Debian")
        return
    for suite in SUITES:
        yield Apt(work / suite, [f"deb {mirror} {suite} main"])


def own_architecture() -> str:
    """This machine's, as Debian names it."""
    return subprocess.run(
        ["dpkg", "--print-architecture"], capture_output=True, text=True, check=True
    ).stdout.strip()
