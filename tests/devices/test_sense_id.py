"""Sense ID: every type says what the systems that ask it expect, or rejects it as old hardware."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.programs import ENDED, SENSE, SLI, UC
from tests.machine import DATA, Machine
from vfioccw_fuse.devices.catalog import TYPES, attach, device_class
from vfioccw_fuse.devices.eckd.volume import create
from vfioccw_fuse.errors import UserError
from vfioccw_fuse.vfio.control import parse_device
from vfioccw_fuse.vfio.device import CcwDevice
from vfioccw_fuse.vfio.text import state_text

SENSE_ID = 0xE4
EXPECTED = {
    "fba": "6310 01 9336 00",  # dasd_fba: 6310/9336
    "9336": "6310 01 9336 00",
    "3370": "3880 01 3370 00",  # dasd_fba: 3880/3370
    "3390": "2107 e8 3390 02",  # dasd_eckd: 2107/3390
    "3420": "3803 02 3420 06",
    "3480": "3480 31 3480 31",  # tape_34xx: 3480/3480
    "3490": "3490 50 3490 50",  # tape_34xx: 3490/3490
    "3505": "3505 01 3505 01",
    "3525": "3505 01 3525 01",
    "1403": "2821 01 1403 01",
    "3215": "3215 00 3215 00",  # con3215: control unit 3215
}
"""Control unit type and model, device type and model: Linux's driver where it has one, Hercules."""
LEGACY = ["1403", "3420", "3505"]
"""Those that old hardware, or an emulator of it, has without Sense ID."""


def machine(kind: str, directory: Path, *words: str) -> Machine:
    """One attached as a mount does it."""
    path = directory / "medium"
    if kind == "3390":
        create(path, 1, format="none")
    elif kind in ("fba", "9336", "3370"):
        path.write_bytes(bytes(4096))
    elif kind != "3215":
        path.write_bytes(b"")
    said = ",".join([f"{kind}@0.0.0313:{path}", *words])
    return Machine(attach(parse_device(said)), directory)


def test_every_type_has_an_identity_here() -> None:
    assert set(EXPECTED) == set(TYPES)


@pytest.mark.parametrize("kind", EXPECTED)
def test_a_device_says_what_it_is(kind: str, tmp_path: Path) -> None:
    unit = machine(kind, tmp_path)
    irb = unit.run((SENSE_ID, SLI, 64, DATA))
    assert irb.dstat == ENDED
    assert unit.load(DATA, 7) == bytes.fromhex(f"ff {EXPECTED[kind]}")
    unit.close()


@pytest.mark.parametrize("kind", LEGACY)
def test_old_hardware_rejects_it_if_that_is_asked_for(kind: str, tmp_path: Path) -> None:
    unit = machine(kind, tmp_path, "sense-id=legacy")
    assert unit.run((SENSE_ID, SLI, 7, DATA)).dstat & UC
    assert unit.run((SENSE, SLI, 32, DATA)).dstat == ENDED
    assert unit.load(DATA, 1)[0] & 0x80
    assert "devtype:" not in state_text(CcwDevice(unit.sch))
    unit.close()


def test_the_option_is_for_old_devices_alone() -> None:
    assert [kind for kind in TYPES if "sense-id" in device_class(kind).options] == [
        "3420", "3505", "1403",
    ]  # fmt: skip
    with pytest.raises(UserError, match="sense-id=no: one of yes, legacy"):
        parse_device("1403@0.0.0313:x,sense-id=no")
