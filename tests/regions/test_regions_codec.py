"""The fast codec is the Construct declaration, only faster."""

import functools
import operator
import struct
from typing import Any, NamedTuple

import construct
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfioccw_fuse.regions import codec, layouts
from vfioccw_fuse.regions.codec import Codec, LayoutError

CODECS = {name: value for name, value in vars(codec).items() if isinstance(value, Codec)}

SIZES = {
    "ORB": 12,
    "ORB_HOST": 12,
    "SCSW": 12,
    "SCSW_HOST": 12,
    "ESW": 20,
    "ECW": 32,
    "IRB": 96,
    "PMCW": 28,
    "SCHIB": 52,
    "CRW": 4,
    "CCW0": 8,
    "CCW1": 8,
    "IDAW1": 4,
    "IDAW2": 8,
    "MIDAW": 16,
    "IO_REGION": 124,
    "CMD_REGION": 8,
    "SCHIB_REGION": 52,
    "CRW_REGION": 8,
    "DEVICE_INFO": 20,
    "REGION_INFO": 32,
    "REGION_INFO_CAP_TYPE": 16,
    "IRQ_INFO": 16,
    "STATUS_REGION": 128,
    "PROGRAM_REGION_HEADER": 16,
    "MEASUREMENT_REGION": 128,
    "PATH_GROUP_ID": 12,
}

SIZES_OF_OWN_REGIONS = {
    "STATUS_REGION": 128,
    "PROGRAM_REGION_HEADER": 1008,
    "MEASUREMENT_REGION": 128,
}

every_codec = pytest.mark.parametrize("name", CODECS)


def flat(container: Any, prefix: str = "") -> dict[str, Any]:
    """The fields of a Construct container, nested ones under their prefix."""
    fields: dict[str, Any] = {}
    for name, value in container.items():
        if name == "_io":
            continue
        if isinstance(value, construct.Container):
            fields |= flat(value, f"{prefix}{name}_")
        else:
            fields[prefix + name] = value
    return fields


def values(of: Codec[Any]) -> st.SearchStrategy[Any]:
    """Every value that a layout can hold, by its fields and not by its bytes."""
    widest = of.parse(b"\xff" * of.size)
    fields = [
        st.integers(0, most) if isinstance(most, int) else st.binary(min_size=n, max_size=n)
        for most, n in ((most, 0 if isinstance(most, int) else len(most)) for most in widest)
    ]
    return st.tuples(*fields).map(of.kind._make)


def test_sizes_are_those_of_the_contract():
    assert {name: each.size for name, each in CODECS.items()} == SIZES
    assert {name: getattr(layouts, name).sizeof() for name in SIZES} == SIZES


@every_codec
@given(data=st.data())
def test_codec_reads_what_construct_reads(name, data):
    each = CODECS[name]
    raw = data.draw(st.binary(min_size=each.size, max_size=each.size))
    value = each.parse(raw)
    assert type(value) is each.kind
    assert value._asdict() == flat(each.layout.parse(raw))


@every_codec
@given(data=st.data())
def test_codec_writes_what_construct_writes(name, data):
    each = CODECS[name]
    raw = data.draw(st.binary(min_size=each.size, max_size=each.size))
    assert each.pack(each.parse(raw)) == each.layout.build(each.layout.parse(raw)) == raw


@every_codec
@given(data=st.data())
def test_values_survive_the_way_through_bytes(name, data):
    each = CODECS[name]
    value = data.draw(values(each))
    assert each.parse(each.pack(value)) == value
    assert each.build(**value._asdict()) == each.pack(value)


@every_codec
def test_defaults_are_zero(name):
    each = CODECS[name]
    if "version" in each.fields and "size" in each.fields:
        # A region beyond Linux's says what it is: its version, its size, where its parts are.
        own = each.kind()._asdict()
        assert (own["version"], own["size"]) == (1, SIZES_OF_OWN_REGIONS[name])
        return
    assert each.build() == bytes(each.size)
    assert each.parse(bytes(each.size)) == each.kind()


@every_codec
@given(front=st.integers(0, 9), behind=st.integers(0, 9))
def test_a_structure_within_a_buffer(name, front, behind):
    each = CODECS[name]
    raw = bytes(range(each.size))
    value = each.parse(raw)
    buffer = bytearray(front + each.size + behind)
    each.pack_into(buffer, front, value)
    assert buffer == bytes(front) + raw + bytes(behind)
    assert each.parse(buffer, front) == each.parse(memoryview(buffer)[front:]) == value


@every_codec
def test_a_short_buffer_is_an_error(name):
    each = CODECS[name]
    with pytest.raises(struct.error):
        each.parse(bytes(each.size - 1))


@every_codec
def test_offsets_follow_the_fields(name):
    each = CODECS[name]
    for field in each.fields:
        marked = each.build(
            **{field: each.kind._make(each.parse(b"\xff" * each.size))[each.fields.index(field)]}
        )
        assert marked.index(0xFF) == each.offset_of(field)


def test_host_order_differs_from_big_endian_only_in_order():
    big = codec.ORB.parse(bytes.fromhex("01020304 00c2 80 40 00001000"))
    assert codec.ORB_HOST.pack(big) == struct.pack("=IHBBI", 0x01020304, 0x00C2, 0x80, 0x40, 0x1000)
    ended = layouts.Scsw(0x00C0, 0x4007, 0x1010, 0x0C, 0, 512)
    assert codec.SCSW.pack(ended) == struct.pack(">HHIBBH", *ended)
    assert codec.SCSW_HOST.pack(ended) == struct.pack("=HHIBBH", *ended)


def test_values_cannot_be_changed():
    orb = codec.ORB.parse(bytes(12))
    with pytest.raises(AttributeError):
        orb.cpa = 8  # type: ignore[misc]  # that it cannot be is the test


class TestWhatCannotBeWritten:
    def test_bytes_of_another_length(self):
        with pytest.raises(ValueError, match="orb_area must be 12 bytes"):
            codec.IO_REGION.build(orb_area=bytes(13))
        with pytest.raises(ValueError, match="ecw must be 32 bytes"):
            codec.IRB.pack_into(bytearray(96), 0, layouts.Irb(ecw=b""))

    def test_a_number_that_does_not_fit(self):
        with pytest.raises(struct.error):
            codec.CCW1.build(count=0x10000)
        with pytest.raises(struct.error):
            codec.CCW0.build(cda=1 << 24)

    def test_a_field_that_is_not_there(self):
        with pytest.raises(TypeError):
            codec.ORB.build(intparam=1)
        with pytest.raises(KeyError):
            codec.ORB.offset_of("intparam")


class Sample(NamedTuple):
    big: int
    inner_small: int
    inner_list: tuple[int, ...]
    tag: bytes


SAMPLE = construct.Struct(
    construct.Const(b"v1"),
    "big" / construct.Int24ul,
    construct.Padding(3),
    "inner"
    / construct.Struct(
        "small" / construct.Int8ub,
        "list" / construct.Array(3, construct.Int16ul),
        construct.Padding(1),
    ),
    "tag" / construct.Const(b"end"),
)


class TestDerivation:
    """What later layouts may use: constants, padding, arrays, 24-bit integers, nesting."""

    sample = Codec(SAMPLE, Sample)

    def test_every_kind_of_field_at_once(self):
        value = Sample(0x030201, 4, (5, 6, 0x0807), b"end")
        raw = bytes.fromhex("7631 010203 000000 04 05000600 0708 00 656e64")
        assert self.sample.pack(value) == raw
        assert self.sample.parse(raw) == value
        assert value._asdict() == {
            key: tuple(item) if isinstance(item, list) else item
            for key, item in flat(SAMPLE.parse(raw)).items()
        }
        assert self.sample.size == SAMPLE.sizeof() == len(raw)
        assert self.sample.offset_of("inner_list") == 9

    def test_a_wrong_constant_is_an_error_as_in_construct(self):
        raw = bytearray(self.sample.size)
        with pytest.raises(ValueError, match="expected 656e64, found 000000"):
            self.sample.parse(raw)
        with pytest.raises(construct.ConstError):
            SAMPLE.parse(raw)

    @pytest.mark.parametrize(
        ("layout", "kind", "why"),
        [
            (layouts.ORB, layouts.Scsw, "must have the fields intparm"),
            (
                construct.Struct("flags" / construct.Int16ub, "rsid" / construct.Int16ul),
                layouts.Crw,
                "both byte orders",
            ),
            (construct.Struct("address" / construct.Int32sb), layouts.Idaw1, "not an unsigned"),
            (construct.Struct("address" / construct.VarInt), layouts.Idaw1, "no fast form"),
            (
                construct.Struct("address" / construct.Int32ub, construct.Int8ub),
                layouts.Idaw1,
                "must have a name",
            ),
            (
                construct.Struct("address" / construct.Array(2, construct.Bytes(2))),
                layouts.Idaw1,
                "plain integers",
            ),
        ],
    )
    def test_what_the_codec_cannot_keep_fails_at_once(self, layout, kind, why):
        with pytest.raises(LayoutError, match=why):
            Codec(layout, kind)


@given(word=st.integers(0, 0xFFFFFFFF), data=st.data())
def test_bit_fields_are_got_and_put(word, data):
    name = data.draw(st.sampled_from(sorted(layouts.BITS)))
    for bit in layouts.BITS[name]:
        assert bit.put(bit.get(word)) == word & bit.mask


def test_a_value_too_big_for_its_bit_field():
    [key] = [bit for bit in layouts.BITS["orb.ctrl0"] if bit.name == "key"]
    assert key.put(3) == 0x3000
    assert key.get(0x30C2) == 3
    with pytest.raises(ValueError, match="key: 16 does not fit"):
        key.put(16)


@pytest.mark.parametrize("name", layouts.BITS)
def test_bit_fields_of_a_word_do_not_overlap(name):
    bits = layouts.BITS[name]
    assert len({bit.name for bit in bits}) == len(bits)
    # Or-ed together they equal their sum only if no two share a bit.
    assert functools.reduce(operator.or_, (bit.mask for bit in bits)) == sum(
        bit.mask for bit in bits
    )
