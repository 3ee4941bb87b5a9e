"""Numbers, sizes and addresses as people write them."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfioccw_fuse.errors import UserError
from vfioccw_fuse.sizes import DIGITS, parse_address, parse_number, parse_size


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


@pytest.mark.parametrize("base", [10, 16])
@pytest.mark.parametrize("text", ["", "-1", "+1", " 1", "1_0", "1.0", "x", "²", "٣", "\uff11"])
def test_a_number_is_ascii_digits_alone(text, base):
    with pytest.raises(UserError, match="is not a number of"):
        parse_number(text, base)


@pytest.mark.parametrize("parse", [parse_number, parse_size, parse_address])
@pytest.mark.parametrize("text", ["9" * 5000, "0" * 5000, "0x" + "f" * 5000, f"{'9' * 5000}T"])
def test_a_number_of_thousands_of_digits_is_refused_in_a_short_line(parse, text):
    with pytest.raises(UserError) as wrong:
        parse(text)
    assert len(wrong.value.message) < 400


def test_the_limit_of_digits_is_said():
    assert parse_number("9" * DIGITS) == 10**DIGITS - 1
    with pytest.raises(UserError, match=f"{DIGITS + 1} digits; at most {DIGITS} are read"):
        parse_number("9" * (DIGITS + 1))


@pytest.mark.parametrize("parse", [parse_number, parse_size, parse_address])
@given(text=st.text() | st.from_regex(r"(0x)?\d+[kmgt]?", fullmatch=True))
def test_any_text_is_a_number_of_64_bits_or_so_or_a_user_error(parse, text):
    with contextlib.suppress(UserError):
        assert 0 <= parse(text) < 1 << 128
