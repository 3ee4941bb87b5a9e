"""Faults at will through a mount: `--device`, `--config` and `control`, and what a client meets."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.client import Client
from lab.mounts import SCHID, make_image, mounted, mounted_at
from lab.programs import CC, DATA_CHECK, ENDED, NOP, SLI, UC
from tests.machine import DATA

SPECS = "interface-control-check:command=42:blocks=8-15:count=2+unit-check:start=5:sense=0840"
"""Of the commands that read some blocks, two; and of the starts one."""


def shown(directory: Path) -> dict[str, str]:
    """What `control` shows, by word, without the reason of a refusal."""
    lines = (directory / "control").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if not line.startswith("#"))


def meets_them(client: Client) -> None:
    """A new client meets the faults of SPECS, each where it was said, and nothing else."""
    assert len(client.read_blocks(0, 8)) == 8 * 512
    read = client.blocks_io(0x06, 0x42, 15, 2)
    assert (read.dstat, read.cstat) == (0, 0x02)
    nop = client.run((NOP, SLI, 1, 0))
    assert nop.dstat == ENDED | UC
    assert client.run((0x04, SLI, 32, DATA)).dstat == ENDED
    assert client.load(DATA, 2) == b"\x08\x40"
    assert shown(client.directory)["fault"] == (
        "interface-control-check:command=42:blocks=8-15:count=1+unit-check:start=5:sense=0840"
    )
    assert client.blocks_io(0x06, 0x42, 8, 1).cstat == 0x02
    assert len(client.read_blocks(8, 8)) == 8 * 512
    assert shown(client.directory)["fault"] == "unit-check:start=5:sense=0840"


@pytest.fixture(params=["device", "config", "control"])
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Client]:
    """A client of a disk that has the faults of SPECS, said in one of the three ways."""
    if request.param == "config":
        make_image(tmp_path / "disk.img")
        faults = ", ".join(f'"{text}"' for text in SPECS.split("+"))
        (tmp_path / "css.toml").write_text(
            f'[[device]]\ntype = "fba"\nsubchannel = "{SCHID}"\nimage = "disk.img"\n'
            f"fault = [{faults}]\n"
        )
        with mounted_at(tmp_path / "mnt", "--config", tmp_path / "css.toml") as system, Client(
            system.path / SCHID
        ) as made:  # fmt: skip
            yield made
        return
    options = [f"fault={SPECS}"] if request.param == "device" else []
    with mounted(tmp_path, *options) as system, Client(system.subchannel) as made:
        if not options:
            assert made.control(f"fault={SPECS}") == 0
        yield made


def test_faults_hit_what_they_say_however_they_were_said(client: Client) -> None:
    assert shown(client.directory)["fault"] == SPECS
    meets_them(client)


@pytest.mark.parametrize(
    "words",
    [
        "delay=1s fault=hang+busy",
        "delay=1s fault=busy:rate=2",
        "delay=1s fault=busy:blocks=0-999999",
        "delay=1s fault=busy:tracks=0",
        "delay=1s fault=none+busy",
        "delay=1s fault=busy:nth=9-3",
    ],
)
def test_what_contradicts_itself_or_the_disk_is_einval_and_changes_nothing(
    tmp_path: Path, words: str
) -> None:
    with mounted(tmp_path, "fault=channel-data-check:nth=2") as system:
        client = Client(system.subchannel)
        before = shown(client.directory)
        assert client.control(words) == errno.EINVAL
        assert shown(client.directory) == before
        assert client.run((NOP, CC | SLI, 1, 0), (NOP, SLI, 1, 0)).cstat == DATA_CHECK
        client.close()


def test_not_operational_is_over_after_so_many_requests(tmp_path: Path) -> None:
    with mounted(tmp_path, "fault=not-operational", "count=2") as system:
        client = Client(system.subchannel)
        client.program((NOP, SLI, 1, 0))
        answers = [client.start((NOP, SLI, 1, 0)) for _ in range(3)]
        assert answers == [errno.ENODEV, errno.ENODEV, 0]
        assert client.take().dstat == ENDED
        assert shown(client.directory)["fault"] == "none"
        client.close()
