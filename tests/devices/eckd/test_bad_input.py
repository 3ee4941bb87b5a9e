"""Whatever bytes a program or an image is made of: an architected ending and a whole volume."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab.programs import SLI, UC
from tests.devices.eckd.drive import (
    Command,
    attach,
    extent,
    locate,
    locate_extended,
    make_volume,
    prefix,
    search,
    seek,
)
from tests.machine import PROGRAM
from vfioccw_fuse.devices.eckd.control_unit import CONTROL_UNITS
from vfioccw_fuse.devices.eckd.device import Eckd3390
from vfioccw_fuse.devices.eckd.image import HEADER_LENGTH
from vfioccw_fuse.devices.eckd.track import SLOT
from vfioccw_fuse.devices.eckd.volume import Severity, check

CODES = sorted(Eckd3390.commands)
DATA_CODES = [code for code in CODES if code & 3 in (1, 2)]
UNITS = st.sampled_from(sorted(CONTROL_UNITS))

small = st.integers(0, 3)
heads = st.integers(0, 16)
operations = st.sampled_from(
    [0, 1, 3, 6, 9, 0x0A, 0x0B, 0x0C, 0x0E, 0x11, 0x16, 0x23, 0x3F]
).flatmap(lambda code: st.sampled_from([code, code | 0x40, code | 0x80, code | 0xC0]))
lengths = st.sampled_from([0, 0, 8, 128, 136, 256, 512, 57334, 65535])
counts = st.integers(0, 4)

parameters: st.SearchStrategy[Command] = st.one_of(
    st.builds(
        extent,
        st.sampled_from([0x00, 0x18, 0x20, 0x40, 0x80, 0xC0, 0xC2, 0xC6]),
        st.tuples(small, heads),
        st.tuples(small, heads),
        lengths,
        st.sampled_from([0xC0, 0xC0, 0xC0, 0xE0, 0x00]),
    ),
    st.just(extent(0xC0)),
    st.just(extent(0xC0)),
    st.builds(locate, operations, small, heads, counts, counts, lengths),
    st.builds(
        locate_extended,
        operations,
        small,
        heads,
        counts,
        counts,
        lengths,
        st.sampled_from([0, 9, 0x0A, 0x0E, 0x11, 0x23]),
        st.binary(max_size=2),
    ),
    st.builds(seek, small, heads, st.sampled_from([0x07, 0x0B, 0x1B])),
    st.builds(search, small, heads, counts, st.sampled_from([0x31, 0x51, 0x71, 0xB1, 0xD1, 0xF1])),
    st.builds(
        lambda code, c, h, r, k, d, rest: (code, struct.pack(">HHBBH", c, h, r, k, d) + rest, SLI),
        st.sampled_from([0x1D, 0x9D, 0x15, 0x11, 0x95]),
        small,
        heads,
        counts,
        st.sampled_from([0, 0, 4, 255]),
        st.sampled_from([0, 8, 512, 4096, 56664, 65535]),
        st.binary(max_size=600),
    ),
    st.builds(lambda mask: (0x1F, bytes([mask])), st.integers(0, 255)),
)
prefixes = st.builds(prefix, st.just(extent(0xC0)), parameters).filter(
    lambda command: len(command[1]) >= 64 if isinstance(command[1], bytes) else False
)
anything: st.SearchStrategy[Command] = st.one_of(
    parameters,
    prefixes,
    st.tuples(st.sampled_from(DATA_CODES), st.sampled_from([1, 8, 512, 4096]), st.just(SLI)),
    st.tuples(st.sampled_from(DATA_CODES), st.binary(min_size=1, max_size=600), st.just(SLI)),
    st.tuples(st.sampled_from(CODES), st.binary(min_size=1, max_size=70), st.just(SLI)),
    st.tuples(st.integers(1, 255).filter(lambda code: code & 15 not in (0, 8)), st.integers(1, 99)),
)
chains = st.lists(anything, min_size=1, max_size=14)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory) -> Path:
    return make_volume(tmp_path_factory.mktemp("pristine") / "vol.ckd")


def fresh(pristine: Path, tmp_path_factory) -> tuple[Path, Path]:
    directory = tmp_path_factory.mktemp("run")
    path = directory / "vol.ckd"
    shutil.copyfile(pristine, path)
    return path, directory


SLOW = settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)


@SLOW
@given(chains, UNITS, st.booleans())
def test_any_program_ends_and_leaves_a_well_formed_volume(
    pristine, tmp_path_factory, chain, unit, readonly
):
    path, directory = fresh(pristine, tmp_path_factory)
    machine = attach(path, directory, cu=unit, readonly=readonly)
    try:
        for _ in range(2):
            ending = machine.run(*chain)
            assert ending.dstat & 0x80 == 0
            assert ending.dstat == 0 or ending.dstat & 0x0C == 0x0C
            assert ending.ccws <= len(chain) + 1
            if ending.dstat & UC:
                assert len(ending.sense) == 32
                assert ending.sense[27] == 0x80
                assert any(ending.sense[:2])
    finally:
        machine.close()
    assert path.stat().st_size == pristine.stat().st_size
    if readonly:
        assert path.read_bytes() == pristine.read_bytes()
    assert [p for p in check(path) if p.severity is Severity.ERROR] == []
    shutil.rmtree(directory)


@SLOW
@given(
    chains,
    st.lists(
        st.tuples(st.integers(0, 44), st.integers(0, 60), st.binary(min_size=1, max_size=40)),
        min_size=1,
        max_size=8,
    ),
    UNITS,
)
def test_any_image_content_is_invalid_track_format_at_worst(
    pristine, tmp_path_factory, chain, damage, unit
):
    path, directory = fresh(pristine, tmp_path_factory)
    with open(path, "r+b") as file:
        for track, offset, data in damage:
            file.seek(HEADER_LENGTH + track * SLOT + offset)
            file.write(data)
    machine = attach(path, directory, cu=unit)
    try:
        ending = machine.run(*chain)
        assert ending.dstat == 0 or ending.dstat & 0x0C == 0x0C
    finally:
        machine.close()
    assert path.stat().st_size == pristine.stat().st_size
    shutil.rmtree(directory)


@SLOW
@given(st.lists(st.binary(min_size=8, max_size=8), min_size=1, max_size=12), st.booleans())
def test_any_ccws_leave_a_well_formed_volume(pristine, tmp_path_factory, ccws, prefetch):
    path, directory = fresh(pristine, tmp_path_factory)
    machine = attach(path, directory)
    try:
        # Data addresses within storage, or most programs would end at once.
        program = b"".join(ccw[:4] + b"\0\0" + ccw[6:] for ccw in ccws)
        machine.space.write(PROGRAM, program)
        ending = machine.start(PROGRAM, prefetch=prefetch)
        assert ending.dstat == 0 or ending.dstat & 0x0C == 0x0C
    finally:
        machine.close()
    assert [p for p in check(path) if p.severity is Severity.ERROR] == []
    shutil.rmtree(directory)
