"""What a mount says at its end, when its mount point and its socket are gone already.

A file beside the socket: whoever opens it before the end reads it until then, also when it has been
removed. The last whole line counts, a JSON object: `writing` names the media whose written data is
not yet on stable storage, `failed` says what will not be there, both as phrases, empty if none;
`over` comes last.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import Final, NamedTuple, Self

NAME: Final = "end"
"""The file's name, in the directory of the socket."""
_LONGEST: Final = 1 << 16  # bytes of the file that are read


class Ending(NamedTuple):
    """How far a mount's end is."""

    writing: str = ""
    """The media that are being written to stable storage."""
    failed: str = ""
    """What may not be on stable storage, and why."""
    over: bool = False
    """Nothing more is said."""


class EndWriter:
    """The mount's side."""

    def __init__(self, directory: str) -> None:
        """Make the file in *directory*; OSError if it cannot be made."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._fd = os.open(os.path.join(directory, NAME), flags, 0o600)

    def say(self, ending: Ending) -> None:
        """This is how far it is; where there is no room for it nobody is told."""
        with contextlib.suppress(OSError):
            os.write(self._fd, json.dumps(ending._asdict()).encode() + b"\n")

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


class EndReader:
    """The side of who waits for the end."""

    def __init__(self, directory: str) -> None:
        """Open the file in *directory*; OSError if there is none."""
        self._fd = os.open(os.path.join(directory, NAME), os.O_RDONLY | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *what: object) -> None:
        os.close(self._fd)

    def ask(self) -> Ending:
        """How far it is now; nothing is said while the mount goes on."""
        lines = os.pread(self._fd, _LONGEST, 0).split(b"\n")
        return Ending(**json.loads(lines[-2])) if len(lines) > 1 else Ending()
