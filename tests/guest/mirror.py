"""An archive of packages as Debian's is: as large as a test needs, and not signed."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Mapping
from pathlib import Path

SUITE = {"bookworm": "oldstable", "trixie": "stable", "sid": "unstable"}
OWN = subprocess.run(
    ["dpkg", "--print-architecture"], capture_output=True, text=True, check=True
).stdout.strip()


class Mirror:
    """An archive with several suites."""

    def __init__(self, place: Path, origin: str = "Debian") -> None:
        self.place = place
        self.origin = origin
        self.place.mkdir()

    @property
    def uri(self) -> str:
        return f"file:{self.place}"

    def source(self, suite: str) -> str:
        return f"deb {self.uri} {suite} main"

    def add(self, codename: str, packages: Mapping[str, tuple[str, Mapping[str, bytes]]]) -> None:
        """A suite, also by its other name; a package is what it depends on, and its files."""
        lists = self.place / "dists" / codename
        index = lists / "main" / "binary-s390x"
        index.mkdir(parents=True)
        paragraphs = [
            self._package(codename, name, depends, files)
            for name, (depends, files) in packages.items()
        ]
        own = lists / "main" / f"binary-{OWN}"
        own.mkdir()
        (own / "Packages").write_text(f"Package: other\nVersion: 1\nArchitecture: {OWN}\n")
        if packages:
            (index / "Packages").write_text("\n".join(paragraphs))
        (lists / "Release").write_text(self._release(codename, lists))
        (lists.parent / SUITE[codename]).symlink_to(codename)

    def _package(self, codename: str, name: str, depends: str, files: Mapping[str, bytes]) -> str:
        tree = self.place / "made" / codename / name
        control = (
            f"Package: {name}\nVersion: 1\nArchitecture: s390x\nMaintainer: nobody\n"
            + (f"Depends: {depends}\n" if depends else "")
            + "Description: made for a test\n"
        )
        for path, data in {**files, "DEBIAN/control": control.encode()}.items():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_bytes(data)
        pool = self.place / "pool" / codename
        pool.mkdir(parents=True, exist_ok=True)
        package = pool / f"{name}_1_s390x.deb"
        subprocess.run(
            ["dpkg-deb", "--build", "--root-owner-group", tree, package],
            check=True, capture_output=True,
        )  # fmt: skip
        digest = hashlib.sha256(package.read_bytes()).hexdigest()
        return (
            f"{control}Filename: {package.relative_to(self.place)}\n"
            f"Size: {package.stat().st_size}\nSHA256: {digest}\n"
        )

    def _release(self, codename: str, lists: Path) -> str:
        indexes = sorted(lists.glob("main/*/Packages"))
        sums = [
            f" {hashlib.sha256(path.read_bytes()).hexdigest()} {path.stat().st_size} "
            f"{path.relative_to(lists)}\n"
            for path in indexes
        ]
        architectures = " ".join(path.parent.name.removeprefix("binary-") for path in indexes)
        return (
            f"Origin: {self.origin}\nSuite: {SUITE[codename]}\nCodename: {codename}\n"
            f"Architectures: {architectures}\nComponents: main\nSHA256:\n{''.join(sums)}"
        )

    def spoil(self, codename: str) -> None:
        """The suite's index is another than its Release file says, as on a mirror in mid-sync."""
        with (self.place / "dists" / codename / "main/binary-s390x/Packages").open("a") as file:
            file.write("\n")
