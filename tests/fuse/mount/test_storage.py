"""Images that are no files of this machine: on an NBD server, and block devices.

What a mount does while its storage sleeps or fails is tested step by step in `test_slow_media`;
here it is with the tools that users have.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.client import DATA, PARAMETERS, Client
from lab.mounts import (
    BLOCK,
    OTHER,
    SCHID,
    Mount,
    is_mounted,
    make_image,
    mounted_at,
    mounted_for_now,
    vfioccw,
)
from lab.nbd import NbdFile, nbd_file
from lab.programs import (
    ENDED,
    FORMAT1,
    NOP,
    PREFETCH,
    READ,
    READING,
    SENSE,
    SLI,
    UC,
    extent,
    locate,
    located,
)

BLOCKS = 8192
FAR = 4000
"""A block that no read ahead has brought."""


@pytest.fixture
def nbd(tmp_path: Path) -> Iterator[NbdFile]:
    with nbd_file(tmp_path / "disk.img", "file", make_image(tmp_path / "served", BLOCKS)) as file:
        yield file


@pytest.fixture
def system(nbd: NbdFile, tmp_path: Path) -> Iterator[Mount]:
    here = make_image(tmp_path / "here.img", 8)
    words = "--device", f"fba@{SCHID}:{nbd.path}", "--device", f"fba@{OTHER}:{here}"
    with mounted_for_now(tmp_path / "mnt", *words) as made:
        yield made


def begin_read(client: Client) -> None:
    """START a read of the block `FAR`."""
    client.store(PARAMETERS, extent(BLOCKS) + locate(READING, 1, FAR))
    # Prefetched: all subchannels have one storage, and the next program of another is put there.
    program = (*located(PARAMETERS), (READ, 0, BLOCK, DATA))
    assert client.start(*program, ctrl0=FORMAT1 | PREFETCH) == 0


def test_hundreds_of_programs_run_while_a_server_is_silent(
    nbd: NbdFile, disk: Client, other: Client
) -> None:
    nbd.stop()
    begin_read(disk)
    for _ in range(500):
        assert other.run((NOP, SLI, 1, 0)).dstat == ENDED
    assert other.read_blocks(0, 8)
    assert not disk.wait(0)
    nbd.go_on()
    assert disk.take().dstat == ENDED


def test_umount_does_not_wait_for_a_server_that_is_silent(
    nbd: NbdFile, system: Mount, disk: Client
) -> None:
    nbd.stop()
    try:
        begin_read(disk)
        disk.close()
        done = vfioccw("umount", system.path)
        assert (done.returncode, done.stderr) == (0, "")
        assert not is_mounted(system.path)
    finally:
        nbd.go_on()


def test_a_server_that_dies_is_an_equipment_check_and_umount_is_as_ever(
    nbd: NbdFile, system: Mount, disk: Client, other: Client
) -> None:
    assert disk.read_blocks(0, 8)
    nbd.kill()
    for _ in range(3):
        begin_read(disk)
        assert disk.take().dstat == ENDED | UC
        assert disk.run((SENSE, SLI, 32, DATA)).dstat == ENDED
        assert disk.load(DATA, 2) == b"\x10\x00"
    assert other.read_blocks(0, 8)
    for client in (disk, other):
        client.close()
    done = vfioccw("umount", system.path)
    assert (done.returncode, done.stderr) == (0, "")
    system.assert_nothing_is_left(within=10)


def test_a_read_of_a_silent_server_ends_when_nbdfuse_is_killed(nbd: NbdFile, disk: Client) -> None:
    nbd.stop()
    begin_read(disk)
    assert not disk.wait(0.1)
    nbd.cut()
    assert disk.take().dstat == ENDED | UC


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[Path]:
    """A block device: the bytes of the file `behind`."""
    command = ["losetup", "--find", "--show", str(make_image(tmp_path / "behind", BLOCKS))]
    device = Path(subprocess.check_output(command, text=True).strip())
    yield device
    subprocess.run(["losetup", "--detach", device], check=True)


def test_a_block_device_is_a_disk_of_its_size(loop: Path, tmp_path: Path) -> None:
    given = os.urandom(4 * BLOCK)
    wanted = bytearray(loop.read_bytes())
    wanted[100 * BLOCK : 104 * BLOCK] = given
    with mounted_at(tmp_path / "mnt", "--device", f"fba@{SCHID}:{loop}") as system:
        state = system.state()
        assert (state["medium.reads"], state["medium.writes"]) == ("thread", "thread")
        with Client(system.path / SCHID) as client:
            client.write_blocks(100, given)
            assert client.read_blocks(64, 64) == wanted[64 * BLOCK : 128 * BLOCK]
            # There is no block behind the last one.
            assert client.blocks_io(READING, READ, BLOCKS, 1).dstat & UC
    assert (tmp_path / "behind").read_bytes() == wanted
