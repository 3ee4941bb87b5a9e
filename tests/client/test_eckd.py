"""Tracks, records and Linux's blocks of a 3390, against the image that they come from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.mounts import SCHID, Mount, mount_at, mounted_at
from vfioccw_fuse.client import EckdDisk, LinuxBlocks, Subchannel, Unsupported
from vfioccw_fuse.client.eckd import TRACK_END
from vfioccw_fuse.devices.eckd.image import CkdImage
from vfioccw_fuse.devices.eckd.labels import EBCDIC, Record, pack_track
from vfioccw_fuse.devices.eckd.track import SLOT, survey
from vfioccw_fuse.devices.eckd.volume import check, create

BLOCK, PER_TRACK, CYLINDERS = 4096, 12, 2
UNITS = ("2107", "3990-6", "3990-3", "3990-2")
PLACES = {name: f"0.0.03{at:02x}" for at, name in enumerate([*UNITS, "ldl", "none"], 0x20)}


def pattern(seed: int, length: int) -> bytes:
    return bytes((seed * 37 + 11 * at + (at >> 8)) & 0xFF for at in range(length))


class Disks:
    """One mount with a compatible volume behind each control unit, and other volumes."""

    def __init__(self, directory: Path) -> None:
        self.images = {name: directory / f"{name}.ckd" for name in PLACES}
        words = []
        for name, image in self.images.items():
            layout = name if name in ("ldl", "none") else "cdl"
            create(image, CYLINDERS, format=layout)  # type: ignore[arg-type]
            option = f",cu={name}" if name in UNITS else ""
            words += ["--device", f"3390@{PLACES[name]}:{image}{option}"]
        fba = directory / "fba.img"
        fba.write_bytes(bytes(512))
        self.system: Mount = mount_at(directory / "mnt", *words, "--device", f"fba@{SCHID}:{fba}")

    def path(self, name: str) -> Path:
        return self.system.path / PLACES[name]

    def track(self, name: str, track: int) -> bytes:
        """The records of a track as the file has them, and their end."""
        image = CkdImage.open(self.images[name], readonly=True)
        slot = bytearray(SLOT)
        assert image.read_track(track, slot)
        image.close()
        return bytes(slot[5 : survey(slot).end + 8])


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disks]:
    made = Disks(tmp_path_factory.mktemp("eckd"))
    try:
        yield made
        assert made.system.unmount().returncode == 0
        made.system.assert_nothing_is_left()
        assert [check(made.images[name]) for name in UNITS] == [[]] * len(UNITS)
    finally:
        made.system.give_up()


@pytest.fixture(params=UNITS)
def unit(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def disk(disks: Disks, unit: str) -> Iterator[EckdDisk]:
    with Subchannel(disks.path(unit)) as sub:
        yield EckdDisk(sub)


def test_it_knows_its_size_and_its_control_unit(disk: EckdDisk, unit: str) -> None:
    assert (disk.cylinders, disk.heads, disk.tracks) == (CYLINDERS, 15, CYLINDERS * 15)
    assert disk.has_prefix == (unit == "2107")


def test_tracks_are_read_as_they_are(disks: Disks, disk: EckdDisk, unit: str) -> None:
    tracks = list(disk.read_tracks(0, disk.tracks))
    assert tracks == [disks.track(unit, at) for at in range(disk.tracks)]


def test_a_track_is_written_anew(disks: Disks, disk: EckdDisk, unit: str) -> None:
    """Keys, an end of file and a long record; what is behind the end is left out."""
    records = [Record(b"key", b"x" * 80), Record(b"", b""), Record(b"", pattern(1, 20000))]
    track = pack_track(1, 14, records)[5:]
    disk.write_track(29, track + b"behind")
    assert disks.track(unit, 29) == track
    assert [(one.record, one.key, one.data) for one in disk.counts(29)] == [
        (0, 0, 8), (1, 3, 80), (2, 0, 0), (3, 0, 20000),
    ]  # fmt: skip
    assert disk.read_record(29, 1)[1:] == (b"key", b"x" * 80)
    assert disk.read_record(29, 2)[1:] == (b"", b"")
    disk.write_track(29, pack_track(1, 14, [Record(b"", bytes(BLOCK))] * PER_TRACK)[5:])


def test_records_are_read_and_updated(disks: Disks, disk: EckdDisk, unit: str) -> None:
    label = disk.read_record(0, 3)
    assert (label.key.decode(EBCDIC), label.data[:10].decode(EBCDIC)) == ("VOL1", "VOL10X0000")
    changed = label.data[:4] + "NEWSER".encode(EBCDIC) + label.data[10:]
    disk.write_record(0, 3, changed, label.key)
    assert disk.read_record(0, 3) == (label.field, label.key, changed)
    disk.write_record(0, 3, label.data)
    assert disk.read_record(0, 3) == label
    disk.write_record(17, 5, pattern(5, BLOCK))
    assert disk.read_record(17, 5).data == pattern(5, BLOCK)
    assert pattern(5, BLOCK) in disks.track(unit, 17)


@pytest.mark.parametrize(("first", "count"), [(0, 30), (22, 3), (24, 1), (30, 200), (359, 1)])
def test_blocks_are_those_that_linux_sees(disk: EckdDisk, first: int, count: int) -> None:
    volume = LinuxBlocks(disk)
    assert (volume.layout, volume.block_size, volume.blocks) == ("cdl", BLOCK, 360)
    before = b"".join(volume.read_blocks(first, count))
    data = pattern(first, count * BLOCK)
    volume.write_blocks(first, data)
    after = b"".join(volume.read_blocks(first, count))
    for at in range(count):
        block = slice(at * BLOCK, (at + 1) * BLOCK)
        number = first + at
        short = {0: 28, 1: 148, 2: 84}.get(number, 140 if 12 <= number < 24 else BLOCK)
        assert after[block] == data[block][:short].ljust(BLOCK, b"\xe5")
    volume.write_blocks(first, before)
    assert b"".join(volume.read_blocks(first, count)) == before


def test_the_blocks_of_the_linux_layout_are_all_equal(disks: Disks) -> None:
    with Subchannel(disks.path("ldl")) as sub:
        volume = LinuxBlocks(EckdDisk(sub))
        assert (volume.layout, volume.blocks) == ("ldl", 360)
        volume.write_blocks(11, pattern(2, 300 * BLOCK))
        assert b"".join(volume.read_blocks(11, 300)) == pattern(2, 300 * BLOCK)


@pytest.mark.parametrize("interface", ["async", "start-only"])
def test_older_interfaces_and_little_storage_do(tmp_path: Path, interface: str) -> None:
    """Their programs are translated, which has limits; and a track is a quarter of the storage."""
    create(tmp_path / "vol.ckd", 2, format="cdl")
    words = ("--memory", "256KiB", "--interface", interface)
    device = f"3390@{SCHID}:{tmp_path}/vol.ckd"
    with (
        mounted_at(tmp_path / "mnt", "--device", device, *words) as system,
        Subchannel(system.path / SCHID) as sub,
    ):
        disk = EckdDisk(sub)
        assert len(list(disk.read_tracks(0, 30))) == 30
        volume = LinuxBlocks(disk)
        volume.write_blocks(24, pattern(3, 200 * BLOCK))
        assert b"".join(volume.read_blocks(24, 200)) == pattern(3, 200 * BLOCK)


def test_what_is_not_there_is_a_value_error(disk: EckdDisk) -> None:
    end = TRACK_END
    with pytest.raises(ValueError, match="not all on a disk of 30"):
        list(disk.read_tracks(29, 2))
    with pytest.raises(ValueError, match="no record 13"):
        disk.read_record(2, 13)
    with pytest.raises(ValueError, match="has 4096 bytes of data, not 5"):
        disk.write_record(2, 1, b"short")
    with pytest.raises(ValueError, match="has 4 bytes of key, not 1"):
        disk.write_record(0, 1, bytes(24), b"k")
    with pytest.raises(ValueError, match="with its track only"):
        disk.write_record(2, 0, bytes(8))
    for data, words in ((b"", "no end"), (bytes(16), "no end"), (end, "record 0 is not the first")):
        with pytest.raises(ValueError, match=words):
            disk.write_track(2, data)
    volume = LinuxBlocks(disk)
    with pytest.raises(ValueError, match="not all on a volume of 360"):
        list(volume.read_blocks(360, 1))
    with pytest.raises(ValueError, match="multiple of 4096"):
        volume.write_blocks(24, b"short")


def test_a_volume_that_is_not_formatted_has_tracks_and_no_blocks(disks: Disks) -> None:
    with Subchannel(disks.path("none")) as sub:
        disk = EckdDisk(sub)
        with pytest.raises(Unsupported, match="not formatted by Linux"):
            LinuxBlocks(disk)
        assert next(disk.read_tracks(3, 1)) == disks.track("none", 3)


def test_another_device_is_named(disks: Disks) -> None:
    fba = disks.system.path / SCHID
    with Subchannel(fba) as sub, pytest.raises(Unsupported, match="not a 3390"):
        EckdDisk(sub)
