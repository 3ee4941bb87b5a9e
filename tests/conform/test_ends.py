"""The two ends: every way in to a mount says the same, and guests that do not do as they should."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.mounts import PROJECT, command
from lab.processes import command_of
from lab.waits import until
from vfioccw_fuse.conform import ConformError, ends
from vfioccw_fuse.conform.judge import all_cases
from vfioccw_fuse.conform.kernel import driver_of
from vfioccw_fuse.conform.mounts import volume
from vfioccw_fuse.conform.script import Case, script_of
from vfioccw_fuse.guest.parts import Parts

NODE = "/dev/vfio/devices/vfio0"
"""The library's only device by iommufd."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory for all temporary files; nothing that has one of them runs on."""

    def ours() -> list[int]:
        found = (int(name) for name in os.listdir("/proc") if name.isdigit())
        return [pid for pid in found if str(tmp_path) in " ".join(command_of(pid))]

    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    yield tmp_path
    monkeypatch.setattr("tempfile.tempdir", None)
    until(lambda: not ours(), "nothing runs any more")


def test_files_container_and_iommufd_are_ways_to_the_same_mount(place: Path) -> None:
    cases = [case for case in all_cases() if "mapped" in case.name]
    assert len(cases) >= 20
    script = script_of(cases)
    with volume(place, "async") as subchannel:
        files = ends.ask_subchannel(script, subchannel, place)
        for words in (("container", ends.GROUP, subchannel.schid), ("iommufd", NODE)):
            assert ends.ask_library([script], words, subchannel, place) == files, words


def conform(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """`vfioccw conform --driver`, of one case."""
    return subprocess.run(
        command("conform", "--driver", "--case", "TIC to itself", *words),
        env={**os.environ, "PYTHONPATH": str(PROJECT), **environment},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip


def test_a_kernel_without_the_driver_is_one_line(place: Path) -> None:
    done = conform("--kernel", Parts().kernel())
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("vfioccw: bind: no driver vfio_ccw in this kernel; build one")


def test_a_kernel_that_panics_is_one_line_behind_the_last_of_its_console(place: Path) -> None:
    """Its first process ends at once."""
    parts = Parts()
    kernel = parts.kernel()
    cache = place / parts.cache.relative_to(parts.cache.parents[1])
    cache.mkdir(parents=True)
    (place / "init.c").write_text("int main(void) { return 7; }\n")
    subprocess.run(
        ["s390x-linux-gnu-gcc", "-static", place / "init.c", "-o", cache / "busybox"], check=True
    )
    done = conform("--kernel", kernel, XDG_CACHE_HOME=str(place))
    assert done.returncode == 1
    *console, line = done.stderr.splitlines()
    assert line.startswith("vfioccw: the guest's kernel panicked: Attempted to kill init!")
    assert line.endswith("; look at its console above")
    assert 1 <= len(console) <= 20
    assert any("Kernel panic - not syncing" in one for one in console)


def test_a_guest_that_hangs_is_ended(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for an interruption that never comes, longer than it may."""
    monkeypatch.setattr(ends, "SILENT_SECONDS", 1.0)
    said = "^the guest failed: it hangs, or takes longer than 1 s; look at its console above$"
    with pytest.raises(ConformError, match=said):
        ends.ask_driver(script_of([Case("c", "event", "It never comes.")]), driver_of("6.1"))
