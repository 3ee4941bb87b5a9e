"""A medium is changed while its device is attached: what the device does then."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.programs import ENDED, UC
from tests.devices.unit import Unit, attached, ccw, spec
from tests.machine import DATA
from vfioccw_fuse.devices.base import Device
from vfioccw_fuse.devices.catalog import TYPES, attach, device_class

READ, WRITE, PRINT, PUNCH, REWIND, UNLOAD = 0x02, 0x01, 0x09, 0x01, 0x07, 0x0F
DRIVES = ["3420", "3480", "3490"]
LOADED = ["3420", "3480", "3490", "3505", "3525", "1403"]
WRITES = {"3420": WRITE, "3480": WRITE, "3490": WRITE, "3525": PUNCH, "1403": PRINT}


def made(kind: str, path: Path | str, **words: str) -> Device:
    return attach(spec(kind, path, readonly=False, **words))


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Two media that may be anything."""
    one, other = tmp_path / "one", tmp_path / "other"
    one.touch()
    other.touch()
    return one, other


async def put(unit: Unit, kind: str, letters: bytes) -> int:
    """Write 80 bytes; gives the unit status."""
    unit.store(DATA, letters.ljust(80, b"\xc1"))
    return (await unit.run(ccw(WRITES[kind], 80))).dstat


def test_what_has_a_medium_that_comes_and_goes_loads() -> None:
    assert [kind for kind in TYPES if device_class(kind).loads] == LOADED


@pytest.mark.parametrize("kind", sorted(WRITES))
async def test_what_is_written_goes_to_the_medium_that_is_in(kind, files, tmp_path):
    one, other = files
    device = made(kind, one)
    async with attached(device, tmp_path) as unit:
        assert await put(unit, kind, b"") == ENDED
        first = one.read_bytes()
        device.exchange(made(kind, other))
        assert device.spec is not None
        assert (device.spec.path, str(other) in device.name) == (str(other), True)
        assert await put(unit, kind, b"") == ENDED
    assert one.read_bytes() == first == other.read_bytes()


@pytest.mark.parametrize("kind", LOADED)
async def test_without_a_medium_the_operator_is_needed(kind, files, tmp_path):
    device = made(kind, files[0])
    async with attached(device, tmp_path) as unit:
        device.exchange(made(kind, "-"))
        for _ in range(2):
            assert (await unit.run(ccw(WRITES.get(kind, READ), 80))).dstat & UC
            assert (await unit.sense())[0] & 0x40
        device.exchange(made(kind, files[1]))
        if kind in WRITES:
            assert await put(unit, kind, b"") == ENDED


@pytest.mark.parametrize("kind", DRIVES)
async def test_another_tape_is_at_its_load_point(kind, files, tmp_path):
    one, other = files
    device = made(kind, one)
    async with attached(device, tmp_path) as unit:
        for letters in (b"\xf1", b"\xf2"):
            assert await put(unit, kind, letters) == ENDED
        device.exchange(made(kind, other))
        assert await put(unit, kind, b"\xf3") == ENDED
        device.exchange(made(kind, one))
        assert (await unit.run(ccw(READ, 80))).dstat == ENDED
        assert unit.load(DATA, 1) == b"\xf1"


@pytest.mark.parametrize("kind", DRIVES)
async def test_a_drive_that_has_unloaded_by_itself_is_loaded_again(kind, files, tmp_path):
    device = made(kind, files[0])
    async with attached(device, tmp_path) as unit:
        assert (await unit.run(ccw(UNLOAD))).dstat & UC
        device.exchange(made(kind, files[0]))
        assert await put(unit, kind, b"") == ENDED


async def test_another_deck_begins_with_its_first_card(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).write_text(f"{name} a\n{name} b\n")
    device = made("3505", tmp_path / "one", ascii="", eof="")
    async with attached(device, tmp_path) as unit:
        assert (await unit.run(ccw(READ, 80))).dstat == ENDED
        device.exchange(made("3505", tmp_path / "other", ascii="", eof=""))
        for letter in "ab":
            assert (await unit.run(ccw(READ, 80))).dstat == ENDED
            assert unit.load(DATA, 7) == f"other {letter}".encode("cp037")
        assert (await unit.run(ccw(READ, 80))).dstat == ENDED | 0x01
        assert (await unit.run(ccw(READ, 80))).dstat & UC
        assert (await unit.sense())[0] == 0x40
        device.exchange(made("3505", tmp_path / "one", ascii="", eof=""))
        assert (await unit.sense())[0] == 0
        assert (await unit.run(ccw(READ, 80))).dstat == ENDED


async def test_new_paper_begins_with_line_1(files, tmp_path):
    device = made("1403", files[0])
    async with attached(device, tmp_path) as unit:
        assert (await unit.run(ccw(0xDB))).dstat == ENDED  # to line 55
        device.exchange(made("1403", files[1]))
        assert (await unit.run(ccw(0x93))).dstat == ENDED  # to line 7
    assert files[1].read_bytes() == b"\n" * 6


async def test_the_medium_that_goes_is_free_for_others(files, tmp_path):
    device = made("3480", files[0])
    async with attached(device, tmp_path):
        device.exchange(made("3480", files[1]))
        made("3480", files[0]).close()
