"""Sizes and addresses on the command line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfioccw_fuse.cli.sizes import parse_address
from vfioccw_fuse.errors import UserError
from vfioccw_fuse.sizes import parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("4096", 4096),
        ("4096b", 4096),
        ("512K", 512 << 10),
        ("512KiB", 512 << 10),
        ("16MiB", 16 << 20),
        ("16m", 16 << 20),
        (" 2 GiB ", 2 << 30),
        ("1T", 1 << 40),
    ],
)
def test_sizes_have_binary_units(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MiB", "16MB", "1.5M", "-1", "0x10", "16 M iB", "x"])
def test_other_sizes_are_refused_with_the_remedy(text):
    with pytest.raises(UserError, match="such as 512K, 16MiB, 2GiB"):
        parse_size(text)


@given(st.integers(0, 1 << 50))
def test_plain_bytes_are_themselves(size):
    assert parse_size(str(size)) == size


@pytest.mark.parametrize(("text", "address"), [("0x2000", 0x2000), ("0X1f", 31), ("8192", 8192)])
def test_addresses_are_decimal_or_0x(text, address):
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", "2000h", "-1", "0x", "0x10000000000000000"])
def test_other_addresses_are_refused(text):
    with pytest.raises(UserError, match="is not an address"):
        parse_address(text)
