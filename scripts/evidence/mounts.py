"""Mounts of their own for the evidence: the real command, images in a temporary directory."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The project."""
COMMANDS = Path(sys.executable).parent
"""Where ``vfioccw`` is, beside this Python."""
SCHID = "0.0.0313"
"""The subchannel of the FBA disk; a 3390, if there is one, is 0.0.0314."""
BLOCKS = 2048
"""Blocks of 512 bytes on the FBA disk."""


def vfioccw(*words: object) -> None:
    """Run ``vfioccw words``; CalledProcessError, with what it said, if it fails."""
    subprocess.run(
        [COMMANDS / "vfioccw", *map(str, words)], check=True, capture_output=True, text=True
    )


@contextlib.contextmanager
def mounted(*options: str, interface: str = "full", eckd: bool = False) -> Iterator[Path]:
    """Mount an FBA disk, and with ``eckd`` a 3390 beside it; give the mount point.

    ``options`` go to the FBA disk: ``delay=600s``, ``fault=hang``.
    """
    directory = Path(tempfile.mkdtemp(prefix="vfioccw-evidence-"))
    mount = directory / "m"
    mount.mkdir()
    try:
        image = directory / "disk.img"
        # No two blocks are equal: each begins with its number.
        image.write_bytes(b"".join(n.to_bytes(4) + bytes(508) for n in range(BLOCKS)))
        devices = ["--device", ",".join([f"fba@{SCHID}:{image}", *options])]
        if eckd:
            volume = directory / "volume.ckd"
            vfioccw("image", "create", "3390", volume, "--cylinders", 2, "--volser", "THREAD")
            devices += ["--device", f"3390@0.0.0314:{volume}"]
        vfioccw("mount", mount, "--interface", interface, *devices)
        try:
            yield mount
        finally:
            # Whatever still has a file open there, it must not outlive this.
            subprocess.run(["fusermount3", "-u", "-z", mount], check=True)
    finally:
        if not os.path.ismount(mount):
            shutil.rmtree(directory)
