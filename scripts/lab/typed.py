"""Pages that are typed as they stand: what a reader types, and what he is told that he will see.

In an indented block that begins with `$`, each line that begins so is a command, lines with `>`
right below go on with it, and the others are what it shows: `...` stands for anything, and what is
left out between two lines may be anything, too. A command fails if a line that it shows begins as
an error does. A fenced block whose first line is a comment with the name of a file is that file.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from lab.mounts import detach, end_servers
from lab.processes import command_of
from lab.waits import SOON

HEADING = re.compile(r"^##+ (.*)\n", re.MULTILINE)
"""What a section begins with."""
_BLOCK = re.compile(r"(?:^    .*\n)+", re.MULTILINE)
_FENCED = re.compile(r"^```(?:\w*)\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
_NAMED = re.compile(r"# ([\w./-]+\.\w+)\n")
_ENDED = re.compile(r"@@(\d+)@@\n")
_ERRORS = ("vfioccw: ", "dd: ")


class Typed(NamedTuple):
    """A command of a page, and what it shows below."""

    command: str
    """What is typed, in one line or several."""
    shown: list[str]
    """The lines below it."""


def sections(text: str) -> dict[str, str]:
    """The sections of a page by their headings; what is above the first is ""."""
    inside = _FENCED.sub(lambda fence: fence[0].replace("\n#", "\n\0"), text)
    first, *rest = HEADING.split(inside)
    found = {"": first, **dict(zip(rest[::2], rest[1::2], strict=True))}
    return {heading: section.replace("\n\0", "\n#") for heading, section in found.items()}


def blocks(section: str) -> list[list[str]]:
    """The indented blocks of a section, line by line."""
    found = _BLOCK.findall(_FENCED.sub("\n", section))
    return [block.replace("\n    ", "\n").strip().split("\n") for block in found]


def typed(section: str) -> list[Typed]:
    """The commands of a section, and what each shows."""
    commands: list[Typed] = []
    for block in blocks(section):
        if not block[0].startswith("$ "):
            continue
        for line in block:
            if line.startswith("$ "):
                commands.append(Typed(line[2:], []))
            elif line.startswith("> ") and not commands[-1].shown:
                commands[-1] = Typed(f"{commands[-1].command}\n{line[2:]}", [])
            else:
                commands[-1].shown.append(line)
    return commands


def files(text: str) -> dict[str, str]:
    """The files that a page has in it, by name."""
    named = ((_NAMED.match(fenced), fenced) for fenced in _FENCED.findall(text))
    return {name[1]: fenced for name, fenced in named if name}


def play(commands: Iterable[Typed], place: Path) -> list[tuple[int, str]]:
    """Type *commands* in *place*; exit status and output of each, stderr too."""
    script = "".join(f"{command}\necho @@$?@@\n" for command, _ in commands)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    # A file, because what runs in the background has it open, too.
    with open(place / ".output", "w+") as output:
        subprocess.run(
            ["bash"], input=script, text=True, cwd=place,
            env={**os.environ, "PATH": path, "LC_ALL": "C.UTF-8"},
            stdout=output, stderr=output, timeout=2 * SOON, check=True,
        )  # fmt: skip
        output.seek(0)
        _, *found = _ENDED.split("@@0@@\n" + output.read())
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


def type_as_it_is(commands: list[Typed], place: Path) -> None:
    """Type *commands* in *place*: each fails or not, and shows, as the page says."""
    try:
        for (command, shown), (status, said) in zip(commands, play(commands, place), strict=True):
            fails = any(line.startswith(_ERRORS) for line in shown)
            assert (status != 0) == fails, (command, said)
            pattern = "(?s:.*)".join(".*".join(map(re.escape, line.split("..."))) for line in shown)
            assert re.search(pattern, said), (command, said)
    finally:
        clean_up(place)
