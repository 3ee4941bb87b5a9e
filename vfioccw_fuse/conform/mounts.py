"""A mount with a 3390 that is asked what Linux's driver is asked, and what its host switches.

It is the package's command that mounts, as anybody's would be; it ends with this process.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from ..children import ending_with_us
from ..devices.eckd.image import HEADER_LENGTH
from ..devices.eckd.track import SLOT
from ..devices.eckd.volume import create
from ..guest.machine import VFIOCCW
from ..regions.state import is_attached, parse_state
from . import ConformError
from .script import GOOD

SCHID: Final = "0.0.0313"
"""The subchannel of a mount that is made here."""
DEVICE: Final = f"3390@{SCHID}:IMAGE,cu=3990-6"
"""The device that was below Linux's driver when it was asked."""
INTERFACES: Final = ("start-only", "scsw", "async")
"""Those that Linux has or had; the first two have neither a cmd region nor those behind it."""
CHPIDS: Final = ("40", "41")
"""The paths that the cases are about."""
WANTED: Final = {
    "devtype": "3390",
    "cutype": "3990/e9",
    "pmcw.devno": "0313",
    "pmcw.chpid": "40410000",
}
"""How `state` describes a device that answers as the one below Linux's driver did."""
CYLINDERS: Final = 5
"""Of the volume that was below Linux's driver."""
VOLSER: Final = "VFC001"
"""Its label."""
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

    def state(self) -> dict[str, str]:
        """What its file `state` says."""
        return parse_state((self.directory / "state").read_text())

    def check(self) -> str:
        """Its interface; ConformError or OSError if Linux's driver was not asked of such a one."""
        state = self.state()
        if state["interface"] not in INTERFACES:
            raise ConformError(
                f"{self.directory}: interface {state['interface']}, which Linux has not; mount it "
                "with --interface async"
            )
        found = {name: state.get(name, "none")[: len(wanted)] for name, wanted in WANTED.items()}
        if found != WANTED:
            raise ConformError(
                f"{self.directory}: the cases are for --device {DEVICE}; this has "
                + ", ".join(f"{name} {value}" for name, value in found.items())
            )
        if not _is_like_ours(Path(state["medium"])):
            raise ConformError(
                f"{state['medium']}: the cases read the size and the label of a volume; take one "
                f"of vfioccw image create 3390 FILE --cylinders {CYLINDERS} --volser {VOLSER}"
            )
        if is_attached(state):
            raise ConformError(f"{self.directory}: in use by another client; end it")
        return state["interface"]

    @contextmanager
    def lent(self) -> Iterator[None]:
        """For a while the cases switch it; then `control` is as before, and all paths are there."""
        control = self.directory / "control"
        before = control.read_text().split()
        paths = self.state()["pmcw.pam"]
        self.switch(f"control {GOOD} order=big")
        try:
            yield
        finally:
            self.until_free()
            control.write_text(" ".join(before))
            if self.state()["pmcw.pam"] != paths:
                for chpid in CHPIDS:
                    self.switch(f"chp {chpid} on")

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
        while is_attached(self.state()):
            if time.monotonic() > deadline:
                raise ConformError(f"{self.directory}: still in use {_SOON:g} s after its client")
            time.sleep(0.01)


@contextmanager
def volume(directory: Path, interface: str) -> Iterator[Subchannel]:
    """A 3390 of a mount below *directory*; ConformError with what `vfioccw` says against it."""
    image, mnt = directory / "volume.ckd", directory / "mnt"
    create(image, CYLINDERS, VOLSER)
    mnt.mkdir()
    device = DEVICE.replace("IMAGE", str(image))
    words = ("mount", "-f", mnt, "--device", device, "--interface", interface)
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


def _is_like_ours(image: Path) -> bool:
    """Whether an *image* has the size and the first track of ours; OSError.

    What is in front of the track, the header, has a serial number of its own.
    """
    with tempfile.TemporaryDirectory(prefix="conform-") as name:
        ours = Path(name) / "volume.ckd"
        create(ours, CYLINDERS, VOLSER)
        found = [(path.stat().st_size, _first_track(path)) for path in (image, ours)]
        return found[0] == found[1]


def _first_track(image: Path) -> bytes:
    with image.open("rb") as file:
        file.seek(HEADER_LENGTH)
        return file.read(SLOT)


def _vfioccw(*words: str) -> None:
    """Run the package's command; ConformError with what it says if it fails."""
    done = subprocess.run(
        [*VFIOCCW, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ConformError(done.stderr.strip())
