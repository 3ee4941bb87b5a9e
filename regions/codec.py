"""Fast reading and writing of the layouts, derived from their declarations at import.

A `Codec` walks a Construct layout once, finds its fields and their order, and from then on uses one
`struct.Struct`: 0.3 to 1 us a structure where Construct itself takes ten or more.  Nothing is
declared a second time: a field that moves in `layouts` moves here, and a value type that does not
have the layout's fields fails the import.

Use it wherever bytes of a layout are read or written:

    orb = codec.ORB.parse(region)            # an Orb, from the front of any buffer
    bytes = codec.SCSW.pack(orb_status)      # from an Scsw
    bytes = codec.CCW1.build(cmd=3, count=1) # from names; the rest is zero

It must not know what a field means.
"""

import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import construct

from . import layouts

Buffer = bytes | bytearray | memoryview
"""What can be parsed: anything with contiguous bytes."""

T = TypeVar("T", bound=tuple[Any, ...])

_NATIVE = "<" if sys.byteorder == "little" else ">"
# The letters of struct for unsigned integers, by size in bytes.
_INTEGERS = {1: "B", 2: "H", 4: "I", 8: "Q"}


class _Field(NamedTuple):
    """One leaf of a layout, in the order of its bytes."""

    name: str
    """With the names of the structures around it, `_` between; empty if the leaf has no name."""
    order: str
    """`<` or `>`; empty where order means nothing (bytes, one-byte integers)."""
    format: str
    """What `struct` reads for it: one or several raw items."""
    raw: int
    """How many raw items that are."""
    join: Callable[[Sequence[Any]], Any] | None
    """From the raw items to the value; None: the one raw item is the value."""
    split: Callable[[Any], tuple[Any, ...]] | None
    """The inverse of `join`."""
    length: int | None
    """How many bytes a Bytes field has, else None."""


class LayoutError(TypeError):
    """A layout uses what the codec cannot derive, or its value type has other fields."""


def _integer(name: str, order: str, size: int) -> _Field:
    """An unsigned integer of *size* bytes, 1, 2, 3, 4 or 8."""
    if size == 3:
        # struct knows no 24-bit integer: the byte and the halfword, in memory order.
        high = order == ">"
        return _Field(
            name,
            order,
            "BH" if high else "HB",
            2,
            (lambda raw: raw[0] << 16 | raw[1]) if high else (lambda raw: raw[1] << 16 | raw[0]),
            (lambda v: (v >> 16, v & 0xFFFF)) if high else (lambda v: (v & 0xFFFF, v >> 16)),
            None,
        )
    return _Field(name, order if size > 1 else "", _INTEGERS[size], 1, None, None, None)


def _const(name: str, value: bytes) -> _Field:
    """Fixed bytes: written always, checked when read."""

    def check(raw: Sequence[Any]) -> bytes:
        if raw[0] != value:
            raise ValueError(f"expected {value.hex()}, found {raw[0].hex()}")
        return value

    return _Field(name, "", f"{len(value)}s", 1, check, lambda _: (value,), len(value))


def _array(name: str, of: _Field, count: int) -> _Field:
    """*count* integers one after the other; the value is a tuple."""
    if of.join is not None or of.length is not None:
        raise LayoutError(f"{name}: an array of other than plain integers")
    return _Field(name, of.order, f"{count}{of.format}", count, tuple, tuple, None)


def _leaves(layout: Any, name: str = "") -> Iterator[_Field]:
    """The leaves of a Construct layout in order; LayoutError for what has no fixed simple form."""
    match layout:
        case construct.Renamed():
            inner = f"{name}_{layout.name}" if name else layout.name
            yield from _leaves(layout.subcon, inner)
        case construct.Struct():
            for subcon in layout.subcons:
                if isinstance(subcon, construct.Renamed):
                    yield from _leaves(subcon, name)
                else:
                    yield from (leaf._replace(name="") for leaf in _leaves(subcon))
        case construct.FormatField():
            order = layout.fmtstr[0].replace("=", _NATIVE)
            if layout.fmtstr[1] not in "BHLQ":
                raise LayoutError(f"{name}: {layout.fmtstr!r} is not an unsigned integer")
            yield _integer(name, order, layout.length)
        case construct.BytesInteger() if layout.length == 3 and not layout.signed:
            yield _integer(name, "<" if construct.evaluate(layout.swapped, None) else ">", 3)
        case construct.Bytes() if isinstance(layout.length, int):
            yield _Field(name, "", f"{layout.length}s", 1, None, None, layout.length)
        case construct.Const() if isinstance(layout.value, bytes):
            yield _const(name, layout.value)
        case construct.Padded() if layout.subcon is construct.Pass:
            yield _Field("", "", f"{layout.length}x", 0, None, None, None)
        case construct.Array() if isinstance(layout.count, int):
            [item] = _leaves(layout.subcon)
            yield _array(name, item, layout.count)
        case _:
            raise LayoutError(f"{name or 'layout'}: {type(layout).__name__} has no fast form")


def _special(leaves: Sequence[_Field]) -> Iterator[tuple[int, _Field]]:
    """Every leaf whose raw items are not just its one value, and where its raw items begin."""
    at = 0
    for leaf in leaves:
        if leaf.join:
            yield at, leaf
        at += leaf.raw


class Codec(Generic[T]):
    """Reads and writes one layout.

    *layout* is a Construct Struct of fixed size, made of unsigned integers (8, 16, 24, 32, 64
    bits), Bytes, arrays of integers, constants, padding and further Structs; all integers of one
    byte order.  *kind* is the NamedTuple of its named fields, nested ones with a prefix.
    LayoutError if they do not agree.
    """

    __slots__ = ("_lengths", "_special", "fields", "kind", "layout", "size", "struct")

    def __init__(self, layout: Any, kind: type[T]) -> None:
        leaves = list(_leaves(layout))
        if any(leaf.raw and not leaf.name and not leaf.join for leaf in leaves):
            raise LayoutError(f"{kind.__name__}: a field that is not constant must have a name")
        names = tuple(leaf.name for leaf in leaves if leaf.name)
        if names != getattr(kind, "_fields", None):
            raise LayoutError(f"{kind.__name__} must have the fields {', '.join(names)}")
        orders = {leaf.order for leaf in leaves} - {""}
        if len(orders) > 1:
            raise LayoutError(f"{kind.__name__}: both byte orders in one layout")
        order = orders.pop() if orders else "="
        self.layout = layout
        self.kind = kind
        self.fields = names
        self.struct = struct.Struct(order + "".join(leaf.format for leaf in leaves))
        self.size = self.struct.size
        # Where a Bytes field lies in the value: struct would cut or fill a wrong length silently.
        self._lengths = tuple(
            (index, leaf.length)
            for index, leaf in enumerate(leaf for leaf in leaves if leaf.name)
            if leaf.length is not None
        )
        self._special = tuple(_special(leaves))

    def parse(self, buffer: Buffer, offset: int = 0) -> T:
        """The structure at *offset* of *buffer*; bytes behind it do not matter.

        struct.error if the buffer ends before the structure does.
        """
        raw: Sequence[Any] = self.struct.unpack_from(buffer, offset)
        if self._special:
            raw = self._join(raw)
        return tuple.__new__(self.kind, raw)

    def pack(self, value: T) -> bytes:
        """The `size` bytes of a value.

        ValueError if a Bytes field has another length, struct.error if a number does not fit.
        """
        for index, length in self._lengths:
            if len(value[index]) != length:
                raise ValueError(f"{self.fields[index]} must be {length} bytes")
        return self.struct.pack(*(self._split(value) if self._special else value))

    def pack_into(self, buffer: bytearray | memoryview, offset: int, value: T) -> None:
        """As `pack`, straight into *buffer* at *offset*; it must have room there (struct.error)."""
        for index, length in self._lengths:
            if len(value[index]) != length:
                raise ValueError(f"{self.fields[index]} must be {length} bytes")
        self.struct.pack_into(buffer, offset, *(self._split(value) if self._special else value))

    def build(self, **fields: Any) -> bytes:
        """The bytes of a structure with these fields; a field not named has its type's default.

        TypeError for an unknown name, else as `pack`.
        """
        return self.pack(self.kind(**fields))

    def offset_of(self, field: str) -> int:
        """Where a named field begins, in bytes from the structure's start; KeyError if unknown."""
        front = "="
        for leaf in _leaves(self.layout):
            if leaf.name == field:
                return struct.calcsize(front)
            front += leaf.format
        raise KeyError(field)

    def _join(self, raw: Sequence[Any]) -> list[Any]:
        """From what struct read to the values of the named fields."""
        values = list(raw)
        # From the end, so that the places before stay where they are.
        for at, leaf in reversed(self._special):
            if leaf.join:
                value = leaf.join(values[at : at + leaf.raw])
                values[at : at + leaf.raw] = (value,) if leaf.name else ()
        return values

    def _split(self, value: Sequence[Any]) -> list[Any]:
        """From the values of the named fields to what struct writes."""
        raw = list(value)
        for at, leaf in self._special:
            if leaf.split:
                # A leaf without a name has no value that it could take the place of.
                raw[at : at + bool(leaf.name)] = leaf.split(raw[at] if leaf.name else None)
        return raw


ORB = Codec(layouts.ORB, layouts.Orb)
ORB_HOST = Codec(layouts.ORB_HOST, layouts.Orb)
SCSW = Codec(layouts.SCSW, layouts.Scsw)
SCSW_HOST = Codec(layouts.SCSW_HOST, layouts.Scsw)
ESW = Codec(layouts.ESW, layouts.Esw)
ECW = Codec(layouts.ECW, layouts.Ecw)
IRB = Codec(layouts.IRB, layouts.Irb)
PMCW = Codec(layouts.PMCW, layouts.Pmcw)
SCHIB = Codec(layouts.SCHIB, layouts.Schib)
CRW = Codec(layouts.CRW, layouts.Crw)
CCW0 = Codec(layouts.CCW0, layouts.Ccw0)
CCW1 = Codec(layouts.CCW1, layouts.Ccw1)
IDAW1 = Codec(layouts.IDAW1, layouts.Idaw1)
IDAW2 = Codec(layouts.IDAW2, layouts.Idaw2)
MIDAW = Codec(layouts.MIDAW, layouts.Midaw)
IO_REGION = Codec(layouts.IO_REGION, layouts.IoRegion)
CMD_REGION = Codec(layouts.CMD_REGION, layouts.CmdRegion)
SCHIB_REGION = SCHIB
CRW_REGION = Codec(layouts.CRW_REGION, layouts.CrwRegion)
STATUS_REGION = Codec(layouts.STATUS_REGION, layouts.StatusRegion)
PROGRAM_REGION_HEADER = Codec(layouts.PROGRAM_REGION_HEADER, layouts.ProgramRegionHeader)
MEASUREMENT_REGION = Codec(layouts.MEASUREMENT_REGION, layouts.MeasurementRegion)
DEVICE_INFO = Codec(layouts.DEVICE_INFO, layouts.DeviceInfo)
REGION_INFO = Codec(layouts.REGION_INFO, layouts.RegionInfo)
REGION_INFO_CAP_TYPE = Codec(layouts.REGION_INFO_CAP_TYPE, layouts.RegionInfoCapType)
IRQ_INFO = Codec(layouts.IRQ_INFO, layouts.IrqInfo)
PATH_GROUP_ID = Codec(layouts.PATH_GROUP_ID, layouts.PathGroupId)
