"""What devices/STORAGE.md says of images that are elsewhere, typed as it stands there."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from lab.mounts import PROJECT, detach, end_servers
from lab.processes import command_of
from lab.waits import SOON

PAGE = PROJECT / "vfioccw_fuse" / "devices" / "STORAGE.md"
HEADING = re.compile(r"^##+ (.*)\n", re.MULTILINE)
ENDED = re.compile(r"^@@(\d+)@@\n", re.MULTILINE)


class Typed(NamedTuple):
    """A command of the page, and what it shows below."""

    command: str
    shown: list[str]


def typed(section: str) -> list[Typed]:
    """The commands of a section: lines with `$`, gone on by lines with `>`; what each shows."""
    commands: list[Typed] = []
    for block in re.findall(r"(?:^    .*\n)+", section, re.MULTILINE):
        for line in block.replace("\n    ", "\n").strip().split("\n"):
            if line.startswith("$ "):
                commands.append(Typed(line[2:], []))
            elif commands and line.startswith("> "):
                commands[-1] = Typed(f"{commands[-1].command}\n{line[2:]}", [])
            elif commands and block.lstrip().startswith("$ "):
                commands[-1].shown.append(line)
    return commands


_, *_parts = HEADING.split(PAGE.read_text())
SECTIONS = dict(zip(_parts[::2], map(typed, _parts[1::2]), strict=True))


def play(commands: list[Typed], place: Path) -> list[tuple[int, str]]:
    """Type *commands* in *place*; exit status and output of each, stderr too."""
    script = "".join(f"{command}\necho @@$?@@\n" for command, _ in commands)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    # A file, because what runs in the background has it open, too.
    with open(place / ".output", "w+") as output:
        subprocess.run(
            ["bash"], input=script, text=True, cwd=place, env={**os.environ, "PATH": path},
            stdout=output, stderr=output, timeout=2 * SOON, check=True,
        )  # fmt: skip
        output.seek(0)
        _, *found = ENDED.split("@@0@@\n" + output.read())
    return [(int(status), said) for said, status in zip(found[1::2], found[2::2], strict=False)]


def clean_up(place: Path) -> None:
    """End what a failed test left: mounts, servers, loop devices."""
    points = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for point in reversed([Path(point) for point in points if point.startswith(f"{place}/")]):
        end_servers(point)
        detach(point)
    for file in place.glob("server.pid"):
        pid = int(file.read_text())
        if "nbdkit" in command_of(pid):
            os.kill(pid, signal.SIGKILL)
    if (place / "behind").exists():
        named = ["losetup", "--noheadings", "--output", "NAME", "--associated"]
        done = subprocess.run(
            [*named, place / "behind"], capture_output=True, text=True, check=False
        )
        for name in done.stdout.split():
            subprocess.run(["losetup", "--detach", name], check=False)


@pytest.mark.parametrize("name", [name for name, commands in SECTIONS.items() if commands])
def test_the_page_typed_as_it_is(name: str, tmp_path: Path) -> None:
    commands = SECTIONS[name]
    try:
        for (command, shown), (status, said) in zip(
            commands, play(commands, tmp_path), strict=True
        ):
            fails = any(line.startswith("vfioccw: ") for line in shown)
            assert (status != 0) == fails, (command, said)
            pattern = "(?s:.*)".join(".*".join(map(re.escape, line.split("..."))) for line in shown)
            assert re.search(pattern, said), (command, said)
    finally:
        clean_up(tmp_path)


def test_most_of_the_page_is_typed() -> None:
    assert sum(map(bool, SECTIONS.values())) >= 7
