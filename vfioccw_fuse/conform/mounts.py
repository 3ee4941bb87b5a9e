"""A mount with a 3390 that is asked what Linux's driver is asked, and what its host switches.

It is the package's command that mounts, as anybody's would be; it ends with this process.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from ..children import ending_with_us
from ..devices.eckd.volume import create
from ..guest.machine import VFIOCCW
from ..regions.state import is_attached, parse_state
from . import ConformError

SCHID: Final = "0.0.0313"
"""The subchannel of a mount that is made here."""
_SOON: Final = 60.0
"""Seconds after which a server that does not notice the end of a client hangs."""


class Subchannel(NamedTuple):
    """A subchannel of a mount."""

    mount: Path
    schid: str = SCHID

    @property
    def directory(self) -> Path:
        """Where its files are."""
        return self.mount / self.schid

    def switch(self, asked: str) -> None:
        """Do what the client asks of its host: `control WORDS`, or `chp ID STATE`."""
        word, _, rest = asked.strip().partition(" ")
        if word == "control":
            (self.directory / "control").write_text(rest)
        else:
            chpid, state = rest.split()
            _vfioccw("chp", state, str(self.mount), chpid)

    def until_free(self) -> None:
        """Wait until the server has noticed that its client is gone: it does so after `close`."""
        deadline = time.monotonic() + _SOON
        while is_attached(parse_state((self.directory / "state").read_text())):
            if time.monotonic() > deadline:
                raise ConformError(f"{self.directory}: still in use {_SOON:g} s after its client")
            time.sleep(0.01)


@contextmanager
def volume(directory: Path, interface: str) -> Iterator[Subchannel]:
    """A 3390 of a mount below *directory*; ConformError with what `vfioccw` says against it."""
    image, mnt = directory / "volume.ckd", directory / "mnt"
    create(image, 5, volser="VFC001")
    mnt.mkdir()
    words = ("mount", "-f", mnt, "--device", f"3390@{SCHID}:{image}", "--interface", interface)
    with subprocess.Popen(
        [*VFIOCCW, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, preexec_fn=ending_with_us(),
    ) as server:  # fmt: skip
        assert server.stdout is not None
        assert server.stderr is not None
        try:
            # It says one line when it can be used.
            if not server.stdout.readline():
                raise ConformError(server.stderr.read().strip() or f"{mnt}: not mounted")
            yield Subchannel(mnt)
        finally:
            server.terminate()


def _vfioccw(*words: str) -> None:
    """Run the package's command; ConformError with what it says if it fails."""
    done = subprocess.run(
        [*VFIOCCW, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ConformError(done.stderr.strip())
