"""`vfioccw guest kernel`: what is built, what is not built again, and what it says if it cannot.

The tree is as small as a tree can be: its Makefile makes a "kernel" of what it has been told. A
slow test of `tests/qemu/test_guest_command.py` builds Linux.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.mounts import PROJECT, command
from lab.processes import command_of
from lab.waits import SOON, until
from tests.guest.mirror import Mirror
from vfioccw_fuse.guest.kernel import FRAGMENT, NEEDED, SERIES

TREE = {
    "Makefile": """
tinyconfig:
	echo CONFIG_TINY=y >$(O)/.config
olddefconfig:
	@if [ -e strange ]; then sed -i /VFIO_CCW/d $(O)/.config; fi
bzImage:
	@if [ -e broken ]; then echo one.c:1: error: broken; echo two; exit 1; fi
	@if [ -e endless ]; then tail -f $(O)/.config; fi
	mkdir -p $(O)/arch/s390/boot
	echo "$(CC)" | cat - driver.c $(O)/.config >$(O)/arch/s390/boot/bzImage
	echo built >>$(BUILDS)
""",
    "arch/s390/Makefile": "",
    "driver.c": "a driver\n",
    "scripts/kconfig/merge_config.sh": (
        '#!/bin/sh\n[ "$1 $2" = "-m -O" ] && cd "$3" && shift 3 && cat "$@" >merged && '
        "mv merged .config\n"
    ),
}
Done = subprocess.CompletedProcess[str]


def write_tree(tree: Path) -> Path:
    """The smallest tree that can be built."""
    for name, text in TREE.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
        (tree / name).chmod(0o755)
    return tree


def git(tree: Path, *words: str) -> None:
    who = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    subprocess.run(["git", *who, *words], cwd=tree, check=True, capture_output=True)


class Builder:
    """Someone who builds kernels, and how often it was really done."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.tools = place / "tools"
        self.tools.mkdir()
        for name in ("bc", "bison", "flex", "ccache"):
            # The tree has no need of them.
            self.tool(name, "exit 1")
        self.path = f"{self.tools}:{os.environ['PATH']}"

    @property
    def env(self) -> dict[str, str]:
        return {
            **os.environ, "PATH": self.path, "PYTHONPATH": str(PROJECT),
            "XDG_CACHE_HOME": str(self.place / "cache"), "BUILDS": str(self.place / "builds"),
        }  # fmt: skip

    def tool(self, name: str, text: str) -> None:
        (self.tools / name).write_text(f"#!/bin/sh\n{text}\n")
        (self.tools / name).chmod(0o755)

    def build(self, *words: object) -> Done:
        return subprocess.run(
            command("guest", "kernel", *words), env=self.env, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=SOON, check=False,
        )  # fmt: skip

    def built(self, *words: object) -> Path:
        """Build it; the kernel."""
        done = self.build(*words)
        assert done.returncode == 0, done.stderr
        [line] = done.stdout.splitlines()
        return Path(line)

    def running(self, program: str = "") -> list[int]:
        """What runs with the name of the place in its command."""
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
        found = ((pid, command_of(pid)) for pid in pids)
        return [
            pid
            for pid, words in found
            if program in ("", *words[:1]) and any(str(self.place) in word for word in words)
        ]

    @property
    def builds(self) -> int:
        path = self.place / "builds"
        return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.fixture
def builder(tmp_path: Path) -> Iterator[Builder]:
    made = Builder(tmp_path)
    yield made
    assert not list(tmp_path.glob("cache/vfioccw/*/.build-*"))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "linux")


def complaint(done: Done) -> str:
    """The line that says why it failed."""
    assert (done.returncode, done.stdout) == (1, "")
    last = done.stderr.splitlines()[-1]
    assert last.startswith("vfioccw: ")
    return last.removeprefix("vfioccw: ")


def test_a_tree_is_built_with_the_driver_and_left_as_it_is(builder: Builder, tree: Path) -> None:
    before = sorted(tree.rglob("*"))
    kernel = builder.built("--source", tree)
    lines = kernel.read_text().splitlines()
    assert lines[:2] == ["ccache s390x-linux-gnu-gcc", "a driver"]
    assert {"CONFIG_TINY=y", "CONFIG_VFIO_CCW=y", "CONFIG_DASD=y"} <= set(lines)
    assert sorted(tree.rglob("*")) == before
    told = json.loads(builder.build("--source", tree, "--json").stdout)
    assert told == {"file": str(kernel)}, "as cli/JSON.md has it"


def test_a_copy_goes_where_it_is_wanted(builder: Builder, tree: Path) -> None:
    out = builder.place / "bzImage"
    assert builder.built("--source", tree, "--out", out) == out
    assert out.read_bytes() == builder.built("--source", tree).read_bytes()
    assert builder.builds == 1


@pytest.mark.parametrize("by_git", [True, False])
def test_the_same_source_is_built_once_wherever_it_lies(
    builder: Builder, tree: Path, by_git: bool
) -> None:
    other = builder.place / "other"
    if by_git:
        git(tree, "init", "--quiet")
        git(tree, "add", ".")
        git(tree, "commit", "--quiet", "--message=All")
        git(builder.place, "clone", "--quiet", str(tree), str(other))
    else:
        shutil.copytree(tree, other)
    kernel = builder.built("--source", tree)
    assert builder.built("--source", other) == kernel
    assert builder.builds == 1


@pytest.mark.parametrize("by_git", [True, False])
@pytest.mark.parametrize("name", ["driver.c", "new.c"])
def test_a_change_in_the_source_is_built(
    builder: Builder, tree: Path, by_git: bool, name: str
) -> None:
    if by_git:
        git(tree, "init", "--quiet")
        git(tree, "add", ".")
        git(tree, "commit", "--quiet", "--message=All")
    kernel = builder.built("--source", tree)
    with (tree / name).open("a") as file:
        file.write("a change\n")
    changed = builder.built("--source", tree)
    assert changed != kernel
    assert ("a change" in changed.read_text()) == (name == "driver.c")
    assert builder.builds == 2


def test_a_tree_in_a_repository_that_knows_nothing_of_it_is_told_by_its_content(
    builder: Builder, tree: Path
) -> None:
    git(builder.place, "init", "--quiet")
    (builder.place / ".gitignore").write_text("*\n")
    git(builder.place, "commit", "--quiet", "--allow-empty", "--message=None")
    kernel = builder.built("--source", tree)
    (tree / "driver.c").write_text("another driver\n")
    assert builder.built("--source", tree) != kernel


def test_configuration_and_compiler_make_another_kernel(builder: Builder, tree: Path) -> None:
    plain = builder.built("--source", tree)
    (builder.place / "more").write_text("CONFIG_PROVE_LOCKING=y\n")
    more = builder.built("--source", tree, "--config", builder.place / "more")
    assert "CONFIG_PROVE_LOCKING=y" in more.read_text()
    builder.tool("s390x-linux-gnu-gcc", "echo another compiler")
    assert len({plain, more, builder.built("--source", tree)}) == 3
    assert builder.builds == 3


def test_a_kernel_for_debugging_says_what_it_finds(builder: Builder, tree: Path) -> None:
    (builder.place / "more").write_text("CONFIG_DEFAULT_HUNG_TASK_TIMEOUT=5\n")
    plain = builder.built("--source", tree).read_text()
    found = builder.built("--source", tree, "--debug", "--config", builder.place / "more")
    for option in ("BUG", "KASAN", "DEBUG_KMEMLEAK", "PROVE_LOCKING", "DETECT_HUNG_TASK"):
        assert f"CONFIG_{option}=y" in found.read_text()
        assert f"CONFIG_{option}=y" not in plain
    assert "CONFIG_DEFAULT_HUNG_TASK_TIMEOUT=5" in found.read_text()


def test_without_a_tree_it_is_debians(
    builder: Builder, tree: Path, system: Path, tmp_path: Path
) -> None:
    mirror = Mirror(tmp_path / "mirror")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:xz") as archive:
        archive.add(tree, f"linux-source-{SERIES}")
    path = f"usr/src/linux-source-{SERIES}.tar.xz"
    mirror.add("bookworm", {f"linux-source-{SERIES}": ("", {path: packed.getvalue()})})
    system.write_text(mirror.source("bookworm"))
    kernel = builder.built()
    assert "a driver" in kernel.read_text()
    system.write_text("")
    assert builder.built() == kernel
    assert builder.builds == 1


def test_an_archive_without_the_source_is_one_line(
    builder: Builder, system: Path, tmp_path: Path
) -> None:
    mirror = Mirror(tmp_path / "mirror")
    for codename in ("bookworm", "trixie", "sid"):
        mirror.add(codename, {})
    system.write_text(mirror.source("bookworm"))
    line = complaint(builder.build())
    assert f"linux-source-{SERIES}" in line
    assert line.endswith("; name a tree of Linux's source: vfioccw guest kernel --source DIR")


def test_a_system_without_apt_is_told_what_else_there_is(builder: Builder, tmp_path: Path) -> None:
    for name in NEEDED:
        builder.tool(name, "echo 1")
    builder.path = str(builder.tools)
    line = complaint(builder.build())
    assert line.startswith("apt-get: not found")
    assert line.endswith("; name a tree of Linux's source: vfioccw guest kernel --source DIR")


def test_what_compiles_is_missing(builder: Builder, tree: Path) -> None:
    builder.path = str(builder.place)
    line = complaint(builder.build("--source", tree))
    assert line == (
        "what compiles Linux is missing: apt-get install gcc-s390x-linux-gnu make xz-utils bc "
        "bison libelf-dev libssl-dev flex"
    )


def test_what_is_no_tree_is_refused(builder: Builder, tmp_path: Path) -> None:
    line = complaint(builder.build("--source", tmp_path))
    assert line.startswith(f"{tmp_path}: no tree of Linux's source")
    assert "no such file" in complaint(builder.build("--source", tmp_path, "--config", "nothing"))


def test_an_error_in_the_source_is_shown(builder: Builder, tree: Path) -> None:
    (tree / "broken").touch()
    done = builder.build("--source", tree)
    assert complaint(done) == "make: one.c:1: error: broken"
    assert "\ntwo\n" in done.stderr
    (tree / "broken").unlink()
    assert "a driver" in builder.built("--source", tree).read_text()


def test_a_kernel_without_the_driver_is_refused(builder: Builder, tree: Path) -> None:
    (tree / "strange").touch()
    assert "CONFIG_VFIO_CCW=y is not what" in complaint(builder.build("--source", tree))
    assert builder.builds == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_build_that_is_ended_leaves_nothing_running(
    builder: Builder, tree: Path, number: int
) -> None:
    (tree / "endless").touch()

    with subprocess.Popen(
        command("guest", "kernel", "--source", tree), env=builder.env, stderr=subprocess.DEVNULL
    ) as process:
        until(lambda: builder.running("tail"), "the build runs")
        process.send_signal(number)
    until(lambda: not builder.running(), "nothing runs any more")
    # What was killed could not tidy up; the next one does.
    (tree / "endless").unlink()
    builder.built("--source", tree)


def test_nobody_waits_for_the_build_of_another_kernel(builder: Builder, tree: Path) -> None:
    (tree / "endless").touch()
    other = write_tree(builder.place / "other")
    with subprocess.Popen(
        command("guest", "kernel", "--source", tree), env=builder.env, stderr=subprocess.DEVNULL
    ) as process:
        until(lambda: builder.running("tail"), "the build runs")
        assert "a driver" in builder.built("--source", other).read_text()
        process.terminate()
    until(lambda: not builder.running("tail"), "nothing runs any more")


def test_the_configuration_has_what_guests_need() -> None:
    lines = FRAGMENT.read_text().splitlines()
    assert all(line.startswith(("#", "CONFIG_")) for line in lines)
    assert len(set(lines)) == len(lines)
