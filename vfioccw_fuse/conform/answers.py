"""Answers: as the client gives them, as a file keeps them, and in words.

What no two runs have in common is taken out: addresses of a driver's own copies.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from ..regions import constants as c
from ..regions.descriptions import Row, describe_irb
from . import ConformError

Answers = dict[str, list[str]]
"""The lines that a case got for its answers, by its name, in the order of the cases."""


class Told(NamedTuple):
    """What an end said, and who it is."""

    release: str
    """The kernel's release, such as 6.12.95."""
    answers: Answers


STORAGE: Final = 1 << 20
"""Bytes of the client's storage; a CCW address beyond is none of the client's."""
HOST: Final = "--host--"
"""What stands for such an address."""
_ASKED: Final = re.compile(r"asked (container|iommufd|mount) (\S+)\s*")
_NOT_MAPPED: Final = ("write ENOENT ret_code -ENOENT", "write EINVAL ret_code -EINVAL")
"""What says that an address is not mapped: by iommufd, by a container."""
_IRB: Final = re.compile(r"events (\d+) irb ([0-9a-f]{192})")
_SHOWN: Final = re.compile(r"events (\d+) irb (\S{8}(?: \S{8})*)")
_CPA: Final = re.compile(r"(?:events \d+ irb|read 96) \S{8} (\S{8})(?: \S{8})*")
_AREA: Final = re.compile(r"read 96 ([0-9a-f]{192})")
_SCHIB: Final = re.compile(r"read 52 ([0-9a-f]{104})")


def shown_address(line: str) -> str:
    """The CCW address of the IRB that an answer shows, or `HOST`; empty if it shows none."""
    found = _CPA.fullmatch(line)
    return found[1] if found else ""


def heard(lines: Iterable[str]) -> Told:
    """What `client.c` printed; ConformError if it did not print that.

    Where iommufd has ENOENT for an address that is not mapped it becomes the container's EINVAL.
    """
    rest = iter(lines)
    found = _ASKED.fullmatch(next(rest, ""))
    if found is None:
        raise ConformError("no answers of the client: they begin with a line asked WAY RELEASE")
    answers = sort(rest)
    if found[1] == "iommufd":
        for told in answers.values():
            told[:] = [_NOT_MAPPED[1] if line == _NOT_MAPPED[0] else line for line in told]
    return Told(found[2], answers)


def sort(lines: Iterable[str]) -> Answers:
    """The lines that `client.c` printed by case, an IRB without the zeros at its end."""
    answers: Answers = {}
    mine: list[str] = []
    for line in lines:
        found = re.fullmatch(r"case (.*?)\s*", line)
        if found:
            mine = answers[found[1]] = []
        else:
            mine.append(_plain(line.strip()))
    return answers


def _plain(line: str) -> str:
    irb, area, schib = (kind.fullmatch(line) for kind in (_IRB, _AREA, _SCHIB))
    if irb:
        return f"events {irb[1]} irb {_words(irb[2], 1)}"
    if area:
        return f"read 96 {_words(area[1], 1)}".rstrip()
    if schib:
        # The interruption parameter, and the SCSW's address.
        return f"read 52 {_words(schib[1], 0, 8)}"
    return line


def _words(digits: str, *addresses: int) -> str:
    """Words of 8 digits without the zeros at the end; some are *addresses*."""
    words = [digits[at : at + 8] for at in range(0, len(digits), 8)]
    for number in addresses:
        if int(words[number], 16) >= STORAGE:
            words[number] = HOST
    while words and words[-1] == "00000000":
        words.pop()
    return " ".join(words)


def write_answers(path: Path, answers: Answers, of_what: str) -> None:
    """Keep *answers* in a file that begins with *of_what* they are."""
    text = f"# {of_what}\n"
    text += "".join(f"\n## {name}\n" + "".join(f"{line}\n" for line in lines)
                    for name, lines in answers.items())  # fmt: skip
    path.write_text(text)


def read_answers(path: Path) -> Answers:
    """The answers of a file."""
    answers: Answers = {}
    for line in path.read_text().splitlines():
        if line.startswith("## "):
            mine = answers[line.removeprefix("## ")] = []
        elif line and not line.startswith("# "):
            mine.append(line)
    return answers


def in_words(linux: str | None, ours: str | None) -> str:
    """What two answers differ in, said to people: the fields of an IRB by name."""
    one, two = _rows(linux), _rows(ours)
    if not one or not two:
        return f"Linux: {linux or 'nothing more'}; ours: {ours or 'nothing more'}"
    both = [(a, b) for a, b in zip(one, two, strict=True) if a != b]
    return "; ".join(f"{a.field}: Linux {_value(a)}, ours {_value(b)}" for a, b in both)


def _rows(line: str | None) -> list[Row]:
    """The events and the IRB of an answer; nothing if it is another."""
    found = _SHOWN.fullmatch(line or "")
    if found is None:
        return []
    digits = found[2].replace(" ", "").replace(HOST, "00000000").ljust(2 * c.IRB_SIZE, "0")
    rows = [Row("events", found[1], ""), *describe_irb(bytes.fromhex(digits))]
    return [row._replace(value=HOST, meaning="") if row.field == "scsw.cpa" and HOST in found[2]
            else row for row in rows if not row.field.startswith("sense.")]  # fmt: skip


def _value(row: Row) -> str:
    return f"{row.value} ({row.meaning})" if row.meaning else row.value
