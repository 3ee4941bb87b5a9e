"""A guest without an operating system judges channel I/O: its checks are in `bare/checks.c`.

It says on its console what it wants switched on the device, and a line for each check.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.qemu.conftest import Lab
from vfioccw_fuse.devices.eckd.volume import create
from vfioccw_fuse.devices.tape.aws import AwsTape
from vfioccw_fuse.guest.machine import END_SECONDS, Guest

SOURCES = Path(__file__).parent / "bare"
COMPILER = "s390x-linux-gnu-gcc"
OPTIONS = (
    *("-std=gnu2x", "-O2", "-Wall", "-Wextra", "-march=z10", "-msoft-float"),
    *("-ffreestanding", "-fno-pic", "-fno-stack-protector", "-fno-delete-null-pointer-checks"),
    *("-nostdlib", "-static", "-no-pie", f"-Wl,-T,{SOURCES / 'guest.lds'}"),
)
SCHID = "0.0.0313"
NUMBER = "1234"
DATA = bytes.fromhex("000a0000 0000000f 03000000 00000001 00000000 00000000")
"""What the first block of each medium begins with: the IPL1 record of a formatted 3390."""
MAC = "52:54:00:12:34:56"
CHECKS = {
    ("fba", "full"): 625, ("3390", "full"): 625, ("tape", "full"): 625,
    ("fba", "async"): 615, ("3390", "async"): 615, ("tape", "async"): 615,
    ("virtio", "virtual"): 364,
}  # fmt: skip
"""How many there are for a kind of device and who stands before it, as `checks.c` has them."""
LONG = 500.0
"""Seconds in which it ends even if nothing that it waits for comes; it takes 3 if all does."""
LINE = re.compile(r"^(PASS|FAIL) (.*)$", re.M)
ASKS_OR_ENDS = r"CONTROL ([^\n]*)\n|CHECKS (\d+) FAILED (\d+)\n"


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The guest, compiled."""
    path = tmp_path_factory.mktemp("bare") / "guest.elf"
    sources = sorted(map(str, [*SOURCES.glob("*.S"), *SOURCES.glob("*.c")]))
    done = subprocess.run(
        [COMPILER, *OPTIONS, "-o", str(path), *sources],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return path


def make_medium(kind: str, path: Path) -> None:
    """A medium whose first block, or each on a tape, begins with DATA."""
    match kind:
        case "fba":
            path.write_bytes(DATA.ljust(1 << 20, b"."))
        case "3390":
            create(path, 2, volser="BARE01", format="cdl")
        case "tape":
            path.touch()
            tape = AwsTape.open(str(path))
            for _ in range(40):
                tape.write(DATA.ljust(80, b"."))
            tape.close()


@contextmanager
def booted_on(lab: Lab, image: Path, kind: str, place: str) -> Iterator[Guest]:
    options = ["-kernel", str(image), "-append"]
    if kind == "virtio":
        words = f"{kind} {place} {MAC.replace(':', '')}"
        nic = f"virtio-net-ccw,devno=fe.0.{NUMBER},mac={MAC}"
        devices, more = [], [words, "-device", nic]
    else:
        medium = lab.directory / "medium.aws"
        make_medium(kind, medium)
        device = "3490" if kind == "tape" else kind
        lab.mount(f"{device}@{SCHID}:{medium},interface={place}")
        devices, more = [lab.device(SCHID, NUMBER)], [f"{kind} {place} {DATA.hex()}"]
    with lab.guest(*devices, kernel=False, qemu=[*options, *more]) as guest:
        yield guest


@pytest.mark.parametrize(("kind", "place"), CHECKS)
def test_each_of_its_checks_passes(lab: Lab, image: Path, kind: str, place: str) -> None:
    with booted_on(lab, image, kind, place) as guest:
        while (asked := guest.expect(ASKS_OR_ENDS, LONG)[1]) is not None:
            lab.control(SCHID, asked)
            guest.type("\n")
        assert guest.process.wait(END_SECONDS) == 0
    lines = LINE.findall(guest.console_text)
    failed = [text for verdict, text in lines if verdict == "FAIL"]
    assert not failed, guest.console_text
    names = [text for _, text in lines]
    assert len(set(names)) == len(names) == CHECKS[kind, place]
