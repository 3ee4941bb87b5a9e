"""A mount for a test: served by a child of this process, and gone when that is.

It starts the command `vfioccw mount -f` and knows of it what a user knows. Nothing here is imported
before a test wants it, and it imports little.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..children import ending_with_us
from ..mountinfo import mounted
from ..regions.state import parse_state

if TYPE_CHECKING:
    from ..client import Subchannel

READY_SECONDS: Final = 60.0
"""A mount that is not there by then has failed; it takes half a second."""
END_SECONDS: Final = 45.0
"""A mount that has not ended by then is killed; what was written may take 30 s to be safe."""
# Not what lies in the directory where the user is.
_VFIOCCW: Final = (sys.executable, "-P", "-m", "vfioccw_fuse")


class MountFailed(Exception):
    """`vfioccw` did not do what a test asked for; the message is the line that it said."""


def vfioccw(*words: object) -> str:
    """Run the command `vfioccw` with *words*; gives what it printed. MountFailed if it fails."""
    done = subprocess.run(
        [*_VFIOCCW, *map(str, words)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
        errors="surrogateescape", check=False,
    )  # fmt: skip
    if done.returncode:
        raise MountFailed(done.stderr.strip() or f"vfioccw ended with {done.returncode}")
    return done.stdout


class Mounted:
    """A mount of one test."""

    def __init__(self, path: Path, devices: Sequence[str], options: Sequence[str] = ()) -> None:
        """Make the directory *path* and mount *devices* there, each as `--device` takes it.

        *options*: further words of `vfioccw mount`. MountFailed with the line that it says if it
        does not mount.
        """
        self.path = path
        """The mount point."""
        self._clients: list[Subchannel] = []
        self.subchannels: list[Path] = []
        """The directories of its devices, in their order."""
        path.mkdir()
        self._log = path.with_name(f"{path.name}.log")
        words = [word for device in devices for word in ("--device", device)]
        with open(self._log, "wb") as log:
            # In a session of its own: Ctrl-C is pytest's, whose fixtures end the mount.
            self._process = subprocess.Popen(
                [*_VFIOCCW, "mount", "-f", str(path), *words, *options],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
                start_new_session=True, preexec_fn=ending_with_us(),
            )  # fmt: skip
        try:
            self._await_ready()
            self.subchannels += [path / device.split("@")[1].split(":")[0] for device in devices]
        except BaseException:
            self.end()
            raise

    def _await_ready(self) -> None:
        """Wait for the line that says that the mount is usable."""
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], READY_SECONDS)[0]:
            raise MountFailed(f"{self.path}: not mounted within {READY_SECONDS:g} s")
        if not self._process.stdout.readline():
            self._process.wait(END_SECONDS)
            raise MountFailed(self.log().strip() or f"{self.path}: the server ended at once")

    def log(self) -> str:
        """What the server wrote to stderr by now: warnings and errors."""
        return self._log.read_text(errors="replace")

    def client(self, number: int = 0) -> Subchannel:
        """Give a client of device *number*, which is closed when the mount ends."""
        from ..client import Subchannel

        made = Subchannel(self.subchannels[number])
        self._clients.append(made)
        return made

    def control(self, words: str, number: int = 0) -> None:
        """Switch faults and timing of device *number*, as a line of its file `control`.

        OSError (EINVAL) for words that it does not know.
        """
        (self.subchannels[number] / "control").write_text(f"{words}\n")

    def state(self, number: int = 0) -> dict[str, str]:
        """What the file `state` of device *number* says, by name."""
        return parse_state((self.subchannels[number] / "state").read_text())

    def unmount(self) -> None:
        """End it, as a test may want to before its end. MountFailed if that does not end well."""
        self.end()
        if self._process.returncode:
            raise MountFailed(self.log().strip() or f"{self.path}: did not end well")

    def end(self) -> None:
        """End it, whatever state it is in; again: nothing. MountFailed if it was gone already."""
        while self._clients:
            self._clients.pop().close()
        process = self._process
        if process.stdout is None or process.stdout.closed:
            return
        died = process.poll() is not None
        process.terminate()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
        self._detach()
        if died and self.subchannels:
            raise MountFailed(f"{self.path}: the server ended by itself: {self.log().strip()}")

    def _detach(self) -> None:
        """Take the mount out of the tree, if a server that was killed has left it there."""
        deadline = time.monotonic() + 2.0
        point = os.path.realpath(self.path)
        while any(mount.point == point for mount in mounted()):
            with contextlib.suppress(FileNotFoundError):
                subprocess.run(
                    ["fusermount3", "-u", "-z", point], capture_output=True, check=False
                )
            if time.monotonic() > deadline:
                break
            time.sleep(0.02)
