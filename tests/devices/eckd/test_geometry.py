"""How much fits on a track of a 3390: the numbers of the 3390 reference and of Linux."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfioccw_fuse.devices.eckd.geometry import fits, model_of, record_cells, records_per_track


@pytest.mark.parametrize(
    ("length", "records"),
    [(56664, 1), (27998, 2), (18452, 3), (4096, 12), (2048, 21), (1024, 33), (512, 49), (80, 78)],
)
def test_records_of_one_length_per_track(length, records):
    assert records_per_track(length) == records
    assert not fits([(0, 8)] + [(0, length)] * (records + 1))


def test_longest_record_zero_fills_the_track():
    assert fits([(0, 57326)])
    assert not fits([(0, 57327)])


def test_vtoc_records_with_keys():
    assert records_per_track(96, key=44) == 50


@given(st.integers(0, 60000), st.integers(0, 255))
def test_a_longer_record_never_takes_less_room(data, key):
    assert record_cells(key, data + 1) >= record_cells(key, data)
    assert record_cells(key + 1, data) >= record_cells(key, data)


@pytest.mark.parametrize(
    ("cylinders", "number", "byte"),
    [(1, 1, 2), (1113, 1, 2), (1114, 2, 6), (3339, 3, 0xA), (3340, 9, 0xC), (65520, 54, 0xC)],
)
def test_model_by_size(cylinders, number, byte):
    assert (model_of(cylinders).number, model_of(cylinders).byte) == (number, byte)
