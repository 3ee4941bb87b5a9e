"""The channel programs of Linux's dasd_eckd driver and of dasdfmt, CCW by CCW.

From `drivers/s390/block/dasd_eckd.c` and, for going online, as they were seen.
"""

from __future__ import annotations

import struct

import pytest

from lab.programs import IDA, SLI, ccw
from tests.devices.eckd.drive import (
    Command,
    Drive,
    Ending,
    extent,
    locate,
    locate_extended,
    make_track,
    pattern,
    prefix,
)
from tests.machine import PROGRAM
from vfioccw_fuse.devices.eckd.geometry import HEADS
from vfioccw_fuse.devices.eckd.labels import EBCDIC
from vfioccw_fuse.devices.eckd.volume import check, create, info

PER_TRACK = 12
BLOCK = 4096
PGID = bytes.fromhex("8000000000001234567890")


def sector(record: int, length: int) -> int:
    """Where Linux expects a record to begin: `locate_record`."""
    segments = -(-(length + 6) // 232)
    return (49 + (record - 1) * (10 + 9 + -(-(length + 6 * (segments + 1)) // 34))) // 8


def blocks(first: int, count: int, code: int, data: list[bytes | int]) -> list[Command]:
    """`dasd_eckd_build_cp_cmd_single`: Define Extent, one locate, a CCW for each block."""
    write = code & 3 == 1
    track, record = divmod(first, PER_TRACK)
    last = (first + count - 1) // PER_TRACK
    where = divmod(track, HEADS)
    return [
        extent(0x80 if write else 0x40, where, divmod(last, HEADS)),
        locate(
            0x01 if write else 0x06,
            *(*where, record + 1, count, BLOCK),
            sector=sector(record + 1, BLOCK),
        ),
        *[(code, item) for item in data],
    ]


def analysis(machine: Drive) -> Ending:
    """`dasd_eckd_analysis_ccw`: four count fields of track 0 and one of track 2."""
    return machine.run(
        extent(0x40, (0, 0), (0, 2), attributes=0xC4),
        locate(0x06, 0, 0, 0, 4, sector=0),
        *[(0x12, 8)] * 4,
        locate(0x06, 0, 2, 0, 1, sector=0),
        (0x12, 8),
    )


@pytest.fixture(params=["3990-6", "2107", "3990-3"])
def unit(request):
    return request.param


@pytest.fixture(params=["ldl", "cdl"])
def formatted(request, tmp_path):
    path = tmp_path / f"{request.param}.ckd"
    create(path, 2, "LINUX1", request.param)
    return path


def test_going_online(volume, attached, unit):
    """SNID and SPID on each path, RCD on each path, features, characteristics."""
    machine = attached(volume, cu=unit)
    for lpm in (0x80, 0x40):
        assert machine.run((0xE4, 32, SLI), lpm=lpm).ok
        assert machine.run((0x34, 12, SLI), lpm=lpm).ok
    for lpm in (0x80, 0x40):
        assert machine.run((0xAF, b"\x80" + PGID, SLI), lpm=lpm).ok
        assert machine.run((0x34, 12, SLI), lpm=lpm).data[0] == b"\xc8" + PGID
        assert machine.run((0xFA, 256), lpm=lpm).ok
    uac = bytearray(12)
    uac[0], uac[6] = 0x18, 0x0E
    assert machine.run((0x27, bytes(uac)), (0x3E, 512)).ok
    assert machine.run((0x27, b"\x1d\0\0\0\0\0\xc0".ljust(66, b"\0"))).ok
    for suborder, length in ((0x41, 256), (0x52, 28), (0x53, 3616)):
        uac[6] = suborder
        assert machine.run((0x27, bytes(uac)), (0x3E, length, SLI)).ok
    assert machine.run((0x64, 64)).ok
    assert machine.run((0xAF, b"\xa0" + PGID, SLI), lpm=0x80).ok


def test_analysis_recognizes_the_layout(formatted, attached, unit):
    """`dasd_eckd_end_analysis`: keyed records of known lengths on track 0, or five equal ones."""
    counts = [data for data in analysis(attached(formatted, cu=unit)).data if len(data) == 8]
    fields = [struct.unpack(">HHBBH", data) for data in counts]
    if info(formatted).layout == "cdl":
        assert fields[:3] == [(0, 0, 1, 4, 24), (0, 0, 2, 4, 144), (0, 0, 3, 4, 80)]
        assert fields[4] == (0, 2, 1, 0, 4096)
    else:
        assert fields[:4] == [(0, 0, at, 0, 4096) for at in (1, 2, 3, 4)]
        assert fields[4] == (0, 2, 1, 0, 4096)


def test_analysis_of_an_unformatted_volume_finds_no_record(tmp_path, attached):
    create(tmp_path / "n.ckd", 1, format="none")
    assert analysis(attached(tmp_path / "n.ckd")).failed(0, 0x08)


@pytest.mark.parametrize(("first", "count"), [(24, 1), (24, 12), (30, 30), (200, 96), (359, 1)])
def test_blocks_are_written_and_read(formatted, attached, unit, first, count):
    machine = attached(formatted, cu=unit)
    data: list[bytes | int] = [pattern(first + at, BLOCK) for at in range(count)]
    assert machine.run(*blocks(first, count, 0x85, data)).ok
    assert machine.run(*blocks(first, count, 0x86, [BLOCK] * count)).data[2:] == data
    assert check(formatted) == []


def test_labels_of_a_compatible_volume_are_read_with_their_keys(tmp_path, attached):
    """Blocks of the first two tracks: one locate each, key and data together."""
    path = tmp_path / "cdl.ckd"
    create(path, 1, "LINUX1", "cdl")
    machine = attached(path)
    lengths = [28, 148, 84]
    ending = machine.run(
        extent(0x40, (0, 0), (0, 1)),
        *[
            command
            for at, length in enumerate(lengths)
            for command in (locate(0x06, 0, 0, at + 1, 1, length), (0x8E, length))
        ],
        locate(0x06, 0, 0, 4, 1, BLOCK),
        (0x86, BLOCK),
        locate(0x06, 0, 1, 1, 1, 140),
        (0x8E, 140),
    )
    assert ending.ok
    label = ending.data[6]
    assert label[:8].decode(EBCDIC) == "VOL1VOL1"
    assert ending.data[-1][:45] == b"\x04" * 44 + b"\xf4"


def test_labels_of_a_compatible_volume_are_written(tmp_path, attached):
    path = tmp_path / "cdl.ckd"
    create(path, 1, "LINUX1", "cdl")
    machine = attached(path)
    label = ("VOL1VOL1" + "NEWSER").encode(EBCDIC).ljust(84, b"\x40")
    assert machine.run(extent(0x80, (0, 0), (0, 0)), locate(1, 0, 0, 3, 1, 84), (0x8D, label)).ok
    assert info(path).volser == "NEWSER"


# ------------------------------------------------------------------ dasdfmt


def invalidate(machine: Drive) -> Ending:
    """An end-of-file record as the only one of track 0."""
    count = struct.pack(">HHBBH", 0, 0, 1, 0, 0)
    return machine.run(
        extent(0x00, (0, 0), (0, 0), attributes=0xC4), locate(3, 0, 0, 0, 1, 8), (0x1D, count, SLI)
    )


def count_fields(track: int, layout: str) -> list[bytes]:
    """The count fields that `dasd_eckd_build_format` sends for a track."""
    cylinder, head = divmod(track, HEADS)
    fields = []
    for record in range(1, PER_TRACK + 1):
        key, data = 0, BLOCK
        if layout == "cdl" and track == 0 and record <= 3:
            key, data = 4, (24, 144, 80)[record - 1]
        elif layout == "cdl" and track == 1:
            key, data = 44, 96
        fields.append(struct.pack(">HHBBH", cylinder, head, record, key, data))
    return fields


def format_tracks(machine: Drive, first: int, count: int, layout: str) -> Ending:
    """Intensity 0: several tracks in one program, the first record of each further one by 9D."""
    commands: list[Command] = [
        extent(0x00, divmod(first, HEADS), divmod(first + count - 1, HEADS), attributes=0xC4),
        locate(0x03, *divmod(first, HEADS), 0, count * PER_TRACK, BLOCK),
    ]
    for track in range(first, first + count):
        for at, field in enumerate(count_fields(track, layout)):
            commands.append((0x9D if at == 0 and track > first else 0x1D, field, SLI))
    return machine.run(*commands)


def format_track_with_r0(machine: Drive, track: int, layout: str) -> Ending:
    """Intensity 1: record 0 as well."""
    cylinder, head = divmod(track, HEADS)
    r0 = struct.pack(">HHBBH", cylinder, head, 0, 0, 8)
    return machine.run(
        extent(0xC2, (cylinder, head), (cylinder, head), attributes=0xC4),
        locate(0x43, cylinder, head, 0, PER_TRACK + 1),
        (0x15, r0, SLI),
        *[(0x1D, field, SLI) for field in count_fields(track, layout)],
    )


@pytest.mark.parametrize("layout", ["ldl", "cdl"])
def test_dasdfmt_makes_the_same_tracks_as_create(tmp_path, attached, unit, layout):
    ours, theirs = tmp_path / "ours.ckd", tmp_path / "theirs.ckd"
    create(ours, 2, "LINUX1", layout, "000000000001")
    create(theirs, 2, format="none", serial="000000000001")
    machine = attached(theirs, cu=unit)
    assert invalidate(machine).ok
    assert machine.run((0x07, bytes(6)), (0x06, 8)).dstat == 0x0D
    for track in range(1, 30, 6):
        assert format_tracks(machine, track, min(6, 30 - track), layout).ok
    assert format_track_with_r0(machine, 0, layout).ok
    ipl = attached(ours)
    for track in range(2, 30):
        where = divmod(track, HEADS)
        used = len(make_track(*where, [(b"", bytes(BLOCK))] * PER_TRACK))
        assert machine.track(*where)[:used] == ipl.track(*where)[:used]
    assert analysis(machine).data[2:6] == analysis(ipl).data[2:6]
    assert [str(problem) for problem in check(theirs)] == []


def test_a_format_check_reads_counts_until_there_is_no_more(formatted, attached):
    """`dasd_eckd_build_check`: more Read Count than there are records ends with no record found."""
    machine = attached(formatted)
    ending = machine.run(
        extent(0x40, (0, 5), (0, 5), attributes=0xC4),
        locate(0x06, 0, 5, 0, 50, sector=0),
        *[(0x12, 8, SLI)] * 50,
    )
    assert ending.failed(0, 0x08)
    assert [data[4] for data in ending.data[2:26]] == [*range(1, 13)] * 2


# ------------------------------------------------------------------ track commands of a 2107


def track_data(
    machine: Drive, first: int, count: int, data: bytes | None = None
) -> tuple[Ending, bytes]:
    """`dasd_eckd_build_cp_cmd_track`: Prefix, then one CCW a track; gives what was read."""
    track, record = divmod(first, PER_TRACK)
    last_track, last_record = divmod(first + count - 1, PER_TRACK)
    tracks = last_track - track + 1
    where = divmod(track, HEADS)
    in_last = last_record - record + 1 if tracks == 1 else last_record + 1
    define = extent(
        0x40 if data is None else 0x80,
        where,
        divmod(last_track, HEADS),
        0 if data is None else BLOCK,
    )
    if data is None:
        located = locate_extended(0x0C, *where, record + 1, tracks, in_last * BLOCK)
    else:
        located = locate_extended(0x3F, *where, record + 1, tracks, BLOCK, extended=0x23)
    commands = [prefix(define, located)]
    done = 0
    for number in range(tracks):
        start = record if number == 0 else 0
        end = last_record + 1 if number == tracks - 1 else PER_TRACK
        length = (end - start) * BLOCK
        if data is None:
            commands.append((0xA6, length))
        else:
            commands.append((0xA5, data[done : done + length]))
        done += length
    ending = machine.run(*commands)
    return ending, b"".join(ending.data[1:])


@pytest.mark.parametrize(("first", "count"), [(24, 12), (30, 1), (26, 7), (30, 30), (11, 50)])
def test_track_data_is_written_and_read(tmp_path, attached, first, count):
    path = tmp_path / "ldl.ckd"
    create(path, 2, format="ldl")
    machine = attached(path, cu="2107")
    data = b"".join(pattern(at, BLOCK) for at in range(first, first + count))
    ending, _ = track_data(machine, first, count, data)
    assert ending.ok
    ending, read = track_data(machine, first, count)
    assert ending.ok
    assert read == data
    single: list[bytes | int] = [data[at : at + BLOCK] for at in range(0, len(data), BLOCK)]
    assert machine.run(*blocks(first, count, 0x86, [BLOCK] * count)).data[2:] == single
    assert check(path) == []


def test_track_data_of_the_wrong_length_is_refused(machine_2107, volume):
    before = volume.read_bytes()
    ending, _ = track_data(machine_2107, 24, 2, bytes(2 * BLOCK))
    assert ending.failed(0, 0x40)
    assert volume.read_bytes() == before


def test_track_data_stays_in_its_domain_and_extent(tmp_path, attached):
    path = tmp_path / "ldl.ckd"
    create(path, 2, format="ldl")
    machine = attached(path, cu="2107")
    located = locate_extended(0x0C, 0, 3, 1, 2, BLOCK)
    ending = machine.run(prefix(extent(last=(0, 3)), located), (0xA6, 49152), (0xA6, BLOCK))
    assert ending.failed(0, 0x04)
    two = extent(last=(1, 14))
    assert machine.run(two, locate(0x0C, 0, 3, 1), (0xA6, BLOCK, SLI)).ok
    assert machine.run(two, locate(0x06, 0, 3, 1), (0xA6, BLOCK)).failed(0x80, 0, 2)
    assert machine.run((0xA6, BLOCK)).failed(0x80, 0, 2)
    assert machine.run((0xA5, bytes(BLOCK))).failed(0x80, 0, 2)


def test_track_data_by_indirect_addresses(tmp_path, attached):
    path = tmp_path / "ldl.ckd"
    create(path, 2, format="ldl")
    machine = attached(path, cu="2107")
    data = b"".join(pattern(at, BLOCK) for at in range(12))
    assert track_data(machine, 24, 12, data)[0].ok
    located = locate_extended(0x0C, 0, 2, 1, 1, 12 * BLOCK)
    prefixed = prefix(extent(last=(1, 14)), located)[1]
    assert isinstance(prefixed, bytes)
    machine.space.write(0x8000, prefixed)
    pages = [0x100000 - at * 0x1000 for at in range(12)]
    halves = [half for page in pages for half in (page, page + 2048)]
    machine.space.write(0x9000, struct.pack(">24I", *halves))
    machine.space.write(
        PROGRAM,
        ccw(0xE7, 0x40, 64, 0x8000) + ccw(0xA6, IDA, 12 * BLOCK, 0x9000),
    )
    assert machine.start(PROGRAM).ok
    assert b"".join(machine.space.read(page, BLOCK) for page in pages) == data


# ------------------------------------------------------------------ raw track access


def raw(machine: Drive, track: int, count: int, data: list[bytes] | None = None) -> Ending:
    """`dasd_eckd_build_cp_raw`: whole tracks with their count fields, 57326 bytes a CCW."""
    where = divmod(track, HEADS)
    last = divmod(track + count - 1, HEADS)
    if data is None:
        located = locate_extended(0x4C, *where, 1, count)
        commands: list[Command] = [(0xDE, 57326, SLI)] * count
        if machine.device.control_unit.prefix:
            return machine.run(prefix(extent(0x40, where, last), located), *commands)
        return machine.run(extent(0x40, where, last), located, *commands)
    located = locate_extended(
        0x3F, *where, 1, count, extended=0x11, parameter=bytes([0xFF << 8 - count & 0xFF, 0])
    )
    writes: list[Command] = [(0x95, item.ljust(57326, b"\0"), SLI) for item in data]
    return machine.run(prefix(extent(0xC0, where, last), located), *writes)


@pytest.mark.parametrize("name", ["3990-6", "2107"])
def test_raw_tracks_are_read(volume, attached, name):
    ending = raw(attached(volume, cu=name), 17, 2)
    assert ending.ok
    tracks = [data for data in ending.data if len(data) == 57326]
    assert tracks[0][:8].hex() == "0001000200000008"
    assert tracks[1][:8].hex() == "0001000300000008"


def test_raw_tracks_are_written(machine_2107, volume):
    new = [make_track(1, 2 + at, [(b"KEY", pattern(at, 1000))] * 3)[5:] for at in range(2)]
    assert raw(machine_2107, 17, 2, new).ok
    for at in range(2):
        assert machine_2107.track(1, 2 + at)[5 : 5 + len(new[at])] == new[at]
    assert check(volume) == []
    back = raw(machine_2107, 17, 2)
    assert [data[: len(track)] for data, track in zip(back.data[1:], new, strict=True)] == new


def test_a_raw_track_may_be_written_where_there_was_none(tmp_path, attached):
    create(tmp_path / "n.ckd", 1, format="none")
    machine = attached(tmp_path / "n.ckd", cu="2107")
    assert raw(machine, 3, 1, [make_track(0, 3, [(b"", b"first")])[5:]]).ok


@pytest.mark.parametrize(
    "data",
    [
        b"\xff" * 8,
        bytes(100),
        b"\0\0\0\1\1\0\0\4data" + b"\xff" * 8,
        b"\0\0\0\1\0\0\0\x08" + bytes(8) + b"\0\0\0\1\1\0\xff\xf0",
        make_track(0, 1, [(b"", bytes(4096))] * 13)[5:],
    ],
)
def test_raw_tracks_that_are_no_tracks(machine_2107, volume, data):
    before = volume.read_bytes()
    assert raw(machine_2107, 1, 1, [data]).failed(0, 0x40)
    assert volume.read_bytes() == before


def test_a_raw_track_without_an_end_marker_is_given_one(machine_2107):
    located = locate_extended(0x3F, 0, 1, 1, 1, extended=0x11, parameter=b"\x80")
    track = make_track(0, 1, [(b"", b"only")])[5:-8]
    assert machine_2107.run(prefix(extent(0xC0), located), (0x95, track)).ok
    assert machine_2107.track(0, 1)[5 : 5 + len(track) + 8] == track + b"\xff" * 8


@pytest.mark.parametrize("cut", [1, 3, 7, 9, 15])
def test_a_raw_track_that_is_cut_short_is_refused(machine_2107, volume, cut):
    before = volume.read_bytes()
    located = locate_extended(0x3F, 0, 1, 1, 1, extended=0x11, parameter=b"\x80")
    track = make_track(0, 1, [])[5 : 5 + cut]
    assert machine_2107.run(prefix(extent(0xC0), located), (0x95, track)).failed(0, 0x40)
    assert volume.read_bytes() == before
