"""What is on a volume, as fdasd, dasdls and the kernel see it."""

from __future__ import annotations

import datetime
import struct
from pathlib import Path

import pytest

from tests.devices.eckd.test_hercules import tool
from vfioccw_fuse.devices.eckd import labels
from vfioccw_fuse.devices.eckd.image import HEADER_LENGTH, CkdImage
from vfioccw_fuse.devices.eckd.labels import EBCDIC, Record
from vfioccw_fuse.devices.eckd.track import SLOT
from vfioccw_fuse.devices.eckd.volume import create, info
from vfioccw_fuse.devices.eckd.vtoc import Contents, Extent, Partition, contents_of

FDASD_4 = bytes.fromhex(
    "f400000001030009000000000000000100000064000fe5a20000003000000c00000000000000000000000000"
    "0000000000000000000000000000000000010000000001000000010000000000000000000000000000000000"
    "0000006400004000"
)
FDASD_1 = bytes.fromhex(
    "f1f0e7f1f3f1f300017e014d63016d010000c9c2d440d3c9d5e4e7404040407e014d00000000000088001000"
    "10000000008080000000000000000000000100000000020063000e0000000000000000000000000000000000"
    "0000000000000000"
)
"""The DSCBs that `fdasd -a` wrote on a 3390 of 100 cylinders, device 0.0.1313."""


def contents(path: Path) -> Contents:
    image = CkdImage.open(path, readonly=True)
    try:
        return contents_of(image)
    finally:
        image.close()


def put_vtoc(path: Path, *dscbs: Record) -> None:
    """Write a VTOC of these records and free ones, behind the format-4 DSCB that is there."""
    first = labels.cdl_tracks("LINUX1", 2)[1][0]
    free = Record(bytes(44), bytes(96))
    records = [first, *dscbs, *[free] * (11 - len(dscbs))]
    with path.open("r+b") as file:
        file.seek(HEADER_LENGTH + SLOT)
        file.write(labels.pack_track(0, 1, records))


def data_set(name: str, *extents: tuple[int, int], form: int = 0xF1, follows: int = 0) -> Record:
    """A format-1 DSCB; *follows*: number of the record on track 1 with more extents."""
    data = bytearray(FDASD_1)
    data[0] = form
    data[61:] = b"".join(extent(*one) for one in extents).ljust(30, b"\0")
    data += struct.pack(">HHB", 0, 1, follows) if follows else bytes(5)
    return Record(name.ljust(44).encode(EBCDIC), bytes(data))


def extent(first: int, last: int) -> bytes:
    return struct.pack(">BBHHHH", 1, 0, *divmod(first, 15), *divmod(last, 15))


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    create(tmp_path / "vol.ckd", 2, "LINUX1", "cdl")
    return tmp_path / "vol.ckd"


def test_a_partition_is_written_as_fdasd_writes_it() -> None:
    """It counts days from 0."""
    vtoc = labels.cdl_tracks("0X1313", 100, datetime.date(2026, 11, 29))[1]
    assert [record.data for record in vtoc[:3]] == [FDASD_4, b"\xf5".ljust(96, b"\0"), FDASD_1]
    assert vtoc[2].key == "LINUX.V0X1313.PART0001.NATIVE".ljust(44).encode(EBCDIC)
    assert vtoc[1].key == b"\5\5\5\5".ljust(44, b"\0")


def test_a_large_volume_has_its_partition_behind_the_format_7_dscb() -> None:
    vtoc = labels.cdl_tracks("BIG001", 5000, datetime.date(2026, 11, 29))[1]
    assert [record.data[0] for record in vtoc[:5]] == [0xF4, 0xF5, 0xF7, 0xF1, 0]
    assert vtoc[0].data[1:8] == bytes([0, 0, 0, 1, 4, 0, 9])
    assert vtoc[2].key == b"\7\7\7\7".ljust(44, b"\0")


def test_partitions_are_the_first_extents_of_the_first_three_data_sets(volume: Path) -> None:
    names = [f"LINUX.VLINUX1.PART000{at}.NATIVE" for at in range(1, 5)]
    sets = [data_set(name, (5 * at, 5 * at + 4)) for at, name in enumerate(names, 1)]
    put_vtoc(volume, Record(b"\5" * 44, b"\xf5".ljust(96, b"\0")), *sets)
    found = contents(volume)
    assert [one.name for one in found.data_sets] == names
    assert found.data_sets[0].extents == (Extent(5, 9),)
    assert found.data_sets[0].created == "2026-11-29"
    assert found.partitions == tuple(
        Partition(at, 60 * at, 60, name) for at, name in enumerate(names[:3], 1)
    )


def test_linux_looks_no_further_than_a_dscb_that_it_does_not_know(volume: Path) -> None:
    put_vtoc(volume, data_set("A", (2, 3), form=0xF8), Record(bytes(44), bytes(96)),
             data_set("B", (4, 5)))  # fmt: skip
    found = contents(volume)
    assert [one.name for one in found.data_sets] == ["A", "B"]
    assert [one.data_set for one in found.partitions] == ["A"]


def test_further_extents_are_found_and_a_circle_of_them_ends(volume: Path) -> None:
    third = b"\3" * 4 + b"".join(extent(20 + at, 20 + at) for at in range(4))
    more = b"\xf3" + extent(28, 29).ljust(90, b"\0") + struct.pack(">HHB", 0, 1, 3)
    put_vtoc(volume, data_set("A", (2, 3), (5, 6), (8, 9), follows=3), Record(third, more))
    (found,) = contents(volume).data_sets
    assert found.extents == (
        (2, 3), (5, 6), (8, 9), (20, 20), (21, 21), (22, 22), (23, 23), (28, 29),
    )  # fmt: skip


def test_the_linux_layout_is_one_partition_behind_the_label(tmp_path: Path) -> None:
    create(tmp_path / "ldl.ckd", 10, "LDL001", "ldl")
    found = contents(tmp_path / "ldl.ckd")
    assert found.data_sets == ()
    assert found.partitions == (Partition(1, 3, 1797, ""),)
    first = labels.ldl_tracks("LDL001", 5)[0]  # what was formatted is less than the disk
    with (tmp_path / "ldl.ckd").open("r+b") as file:
        file.seek(HEADER_LENGTH)
        file.write(labels.pack_track(0, 0, first))
    assert contents(tmp_path / "ldl.ckd").partitions == (Partition(1, 3, 897, ""),)


def test_what_has_no_vtoc_or_a_damaged_one_has_nothing(volume: Path, tmp_path: Path) -> None:
    create(tmp_path / "none.ckd", 2, format="none")
    assert contents(tmp_path / "none.ckd")[1:] == ((), ())
    with volume.open("r+b") as file:
        file.seek(HEADER_LENGTH + SLOT)
        file.write(labels.pack_track(0, 1, [Record(b"", b"x")]))
    assert contents(volume)[1:] == ((), ())
    with volume.open("r+b") as file:
        file.seek(HEADER_LENGTH + SLOT)
        file.write(bytes(range(256)) * 4)
    assert contents(volume)[1:] == ((), ())
    assert info(volume).layout == "cdl"


def test_dasdls_lists_the_same_data_sets(tmp_path: Path) -> None:
    (tmp_path / "input").write_bytes(b"text".ljust(80))
    (tmp_path / "control").write_text(
        "LOADVO 3390 4\nSYSVTOC VTOC TRK 5\nTEST.PDS EMPTY CYL 1 0 5 PO FB 80 3120 0\n"
        "TEST.SEQ SEQ input TRK 1 0 0 PS FB 80 800 0\n"
    )
    tool("dasdload", "control", "loaded.ckd", directory=tmp_path)
    said = tool("dasdls", "-info", "loaded.ckd", directory=tmp_path).splitlines()
    theirs = [line.split() for line in said if line.startswith("TEST.")]
    ours = contents(tmp_path / "loaded.ckd").data_sets
    assert [[one.name, str(one.record_length), str(one.block_size)] for one in ours] == [
        [words[0], words[4], words[5]] for words in theirs
    ]
    assert [(one.organization, one.record_format) for one in ours] == [("PO", "FB"), ("PS", "FB")]
    assert [words[2:4] for words in theirs] == [["PO", "FB"], ["PS", "FB"]]
    assert [one.extents for one in ours] == [((15, 29),), ((30, 30),)]
