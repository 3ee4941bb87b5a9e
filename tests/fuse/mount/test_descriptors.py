"""Descriptors of a mount: one for each image."""

from __future__ import annotations

import os
from pathlib import Path

from lab.mounts import make_image, mounted_at
from lab.waits import until


def devices(directory: Path, count: int) -> list[str]:
    """Words for so many disks."""
    words = []
    for number in range(count):
        image = make_image(directory / f"{number}.img", 8)
        words += ["--device", f"fba@0.0.{0x313 + number:04x}:{image}"]
    return words


def test_a_subchannel_takes_one_descriptor(tmp_path: Path) -> None:
    counts = []
    for count in (1, 12):
        with mounted_at(tmp_path / "mnt", *devices(tmp_path, count)) as system:
            for directory in system.path.glob("0.0.*"):
                assert (directory / "state").read_bytes()

            def idle(pid: int = system.pid) -> int:
                return len(os.listdir(f"/proc/{pid}/fd"))

            until(lambda idle=idle: idle() <= 40, "it has come to rest")  # type: ignore[misc]
            counts.append(idle())
    assert counts[1] - counts[0] == 11
