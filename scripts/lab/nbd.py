"""A file whose bytes are elsewhere: nbdfuse shows what nbdkit serves, as a user's own would be.

`nbd_file` mounts one over a plain file; with filters of nbdkit it is slow, or fails, or throws away
what is written. The server can be stopped and killed while the file is in use.
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from lab.mounts import detach
from lab.processes import command_of, stop
from lab.waits import SOON, until


class NbdFile:
    """A file on nbdfuse, and the server behind it."""

    def __init__(self, path: Path, nbdfuse: subprocess.Popen[bytes], server: int) -> None:
        self.path = path
        """The file."""
        self.server = server
        """The process id of nbdkit."""
        self._nbdfuse = nbdfuse

    def stop(self) -> None:
        """The server answers nothing from now on."""
        stop(self.server)

    def go_on(self) -> None:
        """It answers what has come meanwhile, and what comes."""
        os.kill(self.server, signal.SIGCONT)

    def kill(self) -> None:
        """The server is gone, with SIGKILL. What nbdfuse makes of it depends on its version."""
        os.kill(self.server, signal.SIGKILL)

    def cut(self) -> None:
        """nbdfuse is gone, with SIGKILL: who waits for the file gets an error."""
        self._nbdfuse.kill()


@contextlib.contextmanager
def nbd_file(path: Path, *words: object) -> Iterator[NbdFile]:
    """Show at *path*, which is made, what `nbdkit WORDS...` serves; unmounted at the end."""
    path.touch()
    pids = [path.with_name(f"{path.name}.{whose}") for whose in ("nbdfuse", "nbdkit")]
    command = ["nbdfuse", "-P", pids[0], path, "[", "nbdkit", "-P", pids[1], *words, "]"]
    # A version that dies with its server leaves a core, if at all, beside the file.
    process = subprocess.Popen(
        [str(word) for word in command], cwd=path.parent, stdin=subprocess.DEVNULL, process_group=0
    )
    try:
        until(
            lambda: process.poll() is not None or all(map(_is_written, pids)), f"{path} is mounted"
        )
        assert process.returncode is None, f"{path}: nbdfuse did not start"
        file = NbdFile(path, process, int(pids[1].read_text()))
        yield file
        # Nobody uses it any more; a server that a failed test left stopped would keep it.
        with contextlib.suppress(ProcessLookupError):
            file.go_on()
        subprocess.run(["fusermount3", "-u", str(path)], check=True)
        process.wait(SOON)
    finally:
        process.kill()
        process.wait()
        detach(path)
        server = int(pids[1].read_text()) if _is_written(pids[1]) else 0
        if server and "nbdkit" in command_of(server):
            os.kill(server, signal.SIGKILL)


def _is_written(path: Path) -> bool:
    """Whether a file has something in it."""
    return path.exists() and path.stat().st_size > 0
