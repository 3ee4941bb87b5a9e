"""Which writes a medium must hold: each is put down before it is asked for and when it is answered.

A ledger is a file, so that it outlives its writer, who may be killed between any two lines. What a
unit may hold is the last acknowledged write, or one without an answer that came after it. Lines:
`I write unit count` (it is about to be asked for), `A write` (acknowledged), `O unit write` (seen
by a program that ended well, so it is what the unit holds now).
"""

import os
from abc import ABC, abstractmethod
from pathlib import Path

from attack.media import Medium, blocks_of, content, records_of, stamp_of


class _Record(ABC):
    """What both ledgers are: a file of lines, each of which changes what is held."""

    def __init__(self, medium: Medium, path: Path) -> None:
        """Read *path*, or begin it; what lines change must be there."""
        self.medium = medium
        self.path = path
        self.last = 0
        """The number of the last write."""
        # The write that was put down last: its number, where, and how much.
        self._asked = (0, 0, 0)
        if path.exists():
            for line in path.read_bytes().splitlines(keepends=True):
                if line.endswith(b"\n"):
                    self._take(line.decode().split())
        self._fd = -1

    def intend(self, place: int, extent: int) -> int:
        """Put down a write at *place*, of *extent* units or bytes; its number."""
        self._say(f"I {self.last + 1} {place} {extent}")
        return self.last

    def acknowledged(self) -> None:
        """The write that was put down last has been answered well."""
        self._say(f"A {self._asked[0]}")

    def _say(self, line: str) -> None:
        os.write(self._fd, f"{line}\n".encode())
        self._take(line.split())

    @abstractmethod
    def _take(self, words: list[str]) -> None:
        """Do what a line says."""


class Ledger(_Record):
    """The ledger of a disk: a write for each unit, and which others may have come after it."""

    def __init__(self, medium: Medium, path: Path) -> None:
        """Read *path*, or begin it."""
        self.held = [0] * medium.units
        """The write that each unit must hold at least."""
        self.maybe: dict[int, list[int]] = {}
        """By unit: later writes that nobody has acknowledged."""
        super().__init__(medium, path)

    def open(self) -> None:
        """Become its writer: a shorter file of the same meaning takes the place of the old one."""
        young = self.path.with_suffix(".new")
        with young.open("w") as file:
            file.write(f"I {self.last} 0 0\n")
            file.writelines(f"O {unit} {write}\n" for unit, write in enumerate(self.held) if write)
            file.writelines(
                f"I {write} {unit} 1\n" for unit, more in self.maybe.items() for write in more
            )
            file.write(f"I {self.last} 0 0\n")
        young.rename(self.path)
        self._fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)

    def judge(self, unit: int, data: bytes) -> str:
        """What is wrong with *data* as the content of *unit*; "" if nothing."""
        allowed = [self.held[unit], *self.maybe.get(unit, ())]
        texts = [content(self.medium.key, write, unit, self.medium.size) for write in allowed]
        if data in texts:
            return ""
        # A write without an answer may have got only so far, between two CCWs or two pages of the
        # file; what follows is as it was, or zeros, with which a block is filled up.
        if len(texts) > 1 and _is_mixed(data, [*texts, bytes(self.medium.size)]):
            return ""
        return (
            f"{self.medium.path.name}: unit {unit} holds {stamp_of(data)}{_rest(data, texts)}; "
            f"acknowledged is write {allowed[0]}, later ones without an answer: {allowed[1:]}"
        )

    def seen(self, unit: int, data: bytes) -> None:
        """A program that ended well has read *data*, which `judge` allows: it stays so."""
        for write in self.maybe.get(unit, ()):
            if data == content(self.medium.key, write, unit, self.medium.size):
                self._say(f"O {unit} {write}")
                return
        held = self.held[unit]
        if unit in self.maybe and data == content(self.medium.key, held, unit, self.medium.size):
            self._say(f"O {unit} {held}")

    def judge_image(self) -> list[str]:
        """What is wrong in the file itself, which nobody serves at this moment."""
        image = self.medium.path.read_bytes()
        size = self.medium.size
        if self.medium.kind == "3390":
            places = dict(records_of(image))
            if len(places) != self.medium.units:
                return [f"{self.medium.path.name}: {len(places)} records of {self.medium.units}"]
        else:
            places = {unit: unit * size for unit in range(self.medium.units)}
            if len(image) != self.medium.units * size:
                return [f"{self.medium.path.name}: its size is now {len(image)}"]
        found = (self.judge(unit, image[at : at + size]) for unit, at in places.items())
        return [wrong for wrong in found if wrong]

    def _take(self, words: list[str]) -> None:
        kind, *numbers = words[0], *map(int, words[1:])
        match kind, numbers:
            case "I", [write, unit, count]:
                self._asked = (write, unit, count)
                self.last = write
                for one in range(unit, unit + count):
                    self.maybe.setdefault(one, []).append(write)
            case "A", [write] if write == self._asked[0]:
                _, unit, count = self._asked
                for one in range(unit, unit + count):
                    self.held[one] = write
                    self.maybe.pop(one, None)
            case "O", [unit, write]:
                self.held[unit] = write
                self.maybe.pop(unit, None)
            case _:
                raise AssertionError(f"{self.path}: {words}")


class TapeLedger(_Record):
    """The ledger of a tape: which blocks it must begin with, and what may follow.

    Lines: `I write position size`, `A write`, `O write`: the block was read and is the next.
    """

    def __init__(self, medium: Medium, path: Path) -> None:
        """Read *path*, or begin it."""
        self.held: list[tuple[int, int]] = []
        """Write and size of each block that must be there."""
        self.maybe: dict[int, list[tuple[int, int]]] = {}
        """By position: what may be there, but need not."""
        super().__init__(medium, path)

    def open(self) -> None:
        """Become its writer."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        if self.path.exists() and not self.path.read_bytes().endswith(b"\n"):
            with self.path.open("rb+") as file:
                file.truncate(self.path.read_bytes().rfind(b"\n") + 1)
        self._fd = os.open(self.path, flags, 0o600)

    def content(self, write: int, position: int, size: int) -> bytes:
        """The block that write number *write* puts at *position*."""
        return content(self.medium.key, write, position, size)

    def judge(self, position: int, data: bytes) -> str:
        """What is wrong with *data* as the block at *position*; "" if nothing."""
        must = self.held[position : position + 1]
        allowed = must + self.maybe.get(position, [])
        if any(data == self.content(write, position, size) for write, size in allowed):
            return ""
        return (
            f"{self.medium.path.name}: block {position} of {len(data)} bytes is {stamp_of(data)}; "
            f"acknowledged is {must}, perhaps {self.maybe.get(position, [])}"
        )

    def seen(self, position: int, data: bytes) -> None:
        """A program that ended well has read *data* at *position*, which `judge` allows."""
        for write, size in self.maybe.get(position, []):
            if data == self.content(write, position, size):
                self._say(f"O {position} {write} {size}")
                return

    def judge_image(self) -> list[str]:
        """What is wrong in the file itself, which nobody serves at this moment."""
        blocks, whole = blocks_of(self.medium.path.read_bytes())
        wrong = [w for n, block in enumerate(blocks) if (w := self.judge(n, block))]
        if len(blocks) < len(self.held):
            wrong.append(
                f"{self.medium.path.name}: {len(blocks)} blocks, "
                f"and {len(self.held)} were acknowledged"
            )
        if not whole and not self.maybe:
            wrong.append(f"{self.medium.path.name}: torn, and every write was acknowledged")
        return wrong

    def _take(self, words: list[str]) -> None:
        kind, *numbers = words[0], *map(int, words[1:])
        match kind, numbers:
            case "I", [write, position, size]:
                # What is behind the position goes with this write, if it is done at all.
                for at, block in enumerate(self.held[position:], position):
                    self.maybe.setdefault(at, []).append(block)
                del self.held[position:]
                self.maybe.setdefault(position, []).append((write, size))
                self._asked = (write, position, size)
                self.last = write
            case "A", [write] if write == self._asked[0]:
                _, position, size = self._asked
                self.held = [*self.held[:position], (write, size)]
                self.maybe = {at: m for at, m in self.maybe.items() if at < position}
            case "O", [position, write, size]:
                self.held = [*self.held[:position], (write, size)]
                self.maybe = {at: m for at, m in self.maybe.items() if at > position}
            case _:
                raise AssertionError(f"{self.path}: {words}")


def ledger_of(medium: Medium, directory: Path) -> Ledger | TapeLedger:
    """The ledger of *medium* in *directory*."""
    kind = Ledger if medium.units else TapeLedger
    return kind(medium, directory / f"{medium.path.name}.ledger")


def _rest(data: bytes, texts: list[bytes]) -> str:
    """For people: where *data* leaves that of *texts* which it begins with, and what follows."""
    at = max(_same(data, text) for text in texts)
    if at < 16:
        return ""
    behind = "zeros" if not any(data[at:]) else data[at : at + 16].hex()
    if any(data[at:] == text[at:] for text in texts):
        behind = "the end of another of those"
    return f" up to byte {at}, then {behind}"


def _same(data: bytes, text: bytes) -> int:
    """How many bytes both begin with."""
    pairs = enumerate(zip(data, text, strict=True))
    return next((at for at, (one, other) in pairs if one != other), len(data))


def _is_mixed(data: bytes, texts: list[bytes]) -> bool:
    """Whether each byte of *data* is that of one of *texts*."""
    return all(byte in those for byte, *those in zip(data, *texts, strict=True))
