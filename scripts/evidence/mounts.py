"""A mount of its own for each row of the evidence, in a temporary directory."""

import contextlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import lab.mounts
from lab.mounts import BLOCK, vfioccw

COMMANDS = Path(sys.executable).parent
"""Where `vfioccw` is, beside this Python."""
BLOCKS = 2048
"""Blocks on the FBA disk, 0.0.0313; a 3390, if there is one, is 0.0.0314."""


@contextlib.contextmanager
def mounted(*options: str, interface: str = "full", eckd: bool = False) -> Iterator[Path]:
    """Mount an FBA disk, and with *eckd* a 3390 beside it; give the mount point.

    *options* go to the FBA disk: `delay=600s`, `fault=hang`.
    """
    with tempfile.TemporaryDirectory(prefix="vfioccw-evidence-") as name:
        directory = Path(name)
        image = directory / "disk.img"
        # No two blocks are equal: each begins with its number.
        image.write_bytes(b"".join(n.to_bytes(4) + bytes(BLOCK - 4) for n in range(BLOCKS)))
        words = [*options, f"--interface={interface}"]
        if eckd:
            volume = directory / "volume.ckd"
            create = ("image", "create", "3390", volume, "--cylinders", 2, "--volser", "THREAD")
            done = vfioccw(*create)
            assert done.returncode == 0, done.stderr
            words.append(f"--device=3390@0.0.0314:{volume}")
        system = lab.mounts.mount(directory, *words, image=image)
        try:
            yield system.path
        finally:
            # Whatever still has a file open there, it must not outlive this.
            lab.mounts.detach(system.path)
            system.ended(lab.mounts.GONE_WITHIN)
            system.give_up()
