"""Which regions an interface shows, and the vfio structs that say so."""

from pathlib import Path

import pytest

from vfioccw_fuse.regions import codec, table
from vfioccw_fuse.regions import constants as c
from vfioccw_fuse.regions.layouts import DeviceInfo, IrqInfo, RegionInfo, RegionInfoCapType
from vfioccw_fuse.regions.table import Interface, RegionRow

README = Path(table.__file__).with_name("README.md")
every_interface = pytest.mark.parametrize("interface", list(Interface))


def names(interface: str) -> list[tuple[str, int, int, str]]:
    return [(r.name, r.index, r.size, r.access) for r in table.regions_of(interface)]


@pytest.mark.parametrize("interface", ["start-only", "scsw"])
def test_the_old_interfaces_have_one_region_and_one_interrupt(interface):
    assert names(interface) == [("io_region", 0, 124, "rw")]
    assert [(irq.name, irq.index) for irq in table.irqs_of(interface)] == [("io_irq", 0)]


def test_async_is_linux_today():
    assert names("async") == [
        ("io_region", 0, 124, "rw"),
        ("cmd_region", 1, 8, "rw"),
        ("schib_region", 2, 52, "ro"),
        ("crw_region", 3, 8, "ro"),
    ]
    assert [(irq.name, irq.index) for irq in table.irqs_of("async")] == [
        ("io_irq", 0),
        ("crw_irq", 1),
        ("req_irq", 2),
    ]


def test_full_begins_with_what_async_has_and_lets_the_schib_be_written():
    def known(interface: str) -> list[RegionRow]:
        regions = table.regions_of(interface)[: len(table.regions_of("async"))]
        return [region._replace(writable=True) for region in regions]

    assert known("full") == known("async")
    assert names("full")[2] == ("schib_region", 2, 52, "rw")
    assert table.irqs_of("full") == table.irqs_of("async")


@every_interface
def test_indexes_have_no_gap_and_regions_fit_between_offsets(interface):
    regions = table.regions_of(interface)
    assert [region.index for region in regions] == list(range(len(regions)))
    for region in regions:
        assert region.offset == region.index * 1024
        assert 0 < region.size <= c.REGION_MAX_SIZE
    kinds = [(region.type, region.subtype) for region in regions]
    assert len(set(kinds)) == len(kinds)


@every_interface
def test_device_info(interface):
    raw = table.device_info(interface)
    assert len(raw) == 20
    assert codec.DEVICE_INFO.parse(raw) == DeviceInfo(
        argsz=20,
        flags=0x11,
        num_regions=len(table.regions_of(interface)),
        num_irqs=len(table.irqs_of(interface)),
        cap_offset=0,
    )


@every_interface
def test_region_info_is_a_walk_by_argsz(interface):
    raw = table.region_info(interface)
    at = 0
    for region in table.regions_of(interface):
        info = codec.REGION_INFO.parse(raw, at)
        flags = c.VFIO_REGION_INFO_FLAG_READ
        flags |= c.VFIO_REGION_INFO_FLAG_WRITE if region.writable else 0
        if region.index == 0:
            assert info == RegionInfo(32, flags, 0, 0, 124, 0)
        else:
            flags |= c.VFIO_REGION_INFO_FLAG_CAPS
            assert info == RegionInfo(48, flags, region.index, 32, region.size, region.offset)
            assert codec.REGION_INFO_CAP_TYPE.parse(raw, at + 32) == RegionInfoCapType(
                id=c.VFIO_REGION_INFO_CAP_TYPE, version=1, next=0, type=2, subtype=region.subtype
            )
        at += info.argsz
    assert at == len(raw)


@every_interface
def test_no_region_can_be_mapped(interface):
    raw = table.region_info(interface)
    at = 0
    while at < len(raw):
        info = codec.REGION_INFO.parse(raw, at)
        assert not info.flags & c.VFIO_REGION_INFO_FLAG_MMAP
        at += info.argsz


@every_interface
def test_irq_info(interface):
    raw = table.irq_info(interface)
    assert [codec.IRQ_INFO.parse(raw, at) for at in range(0, len(raw), 16)] == [
        IrqInfo(argsz=16, flags=1, index=irq.index, count=1) for irq in table.irqs_of(interface)
    ]


@pytest.mark.parametrize(
    "function",
    [
        table.regions_of,
        table.irqs_of,
        table.device_info,
        table.region_info,
        table.irq_info,
        table.interface_of,
    ],
)
def test_an_unknown_interface_is_told_the_known_ones(function):
    with pytest.raises(
        ValueError, match="interface 'ful' is not one of start-only, scsw, async, full"
    ):
        function("ful")


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def section(heading: str) -> list[list[str]]:
    """The rows of the first table under a heading of the README, without its two head lines."""
    lines = README.read_text().split(f"# {heading}", 1)[1].splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("|"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append(cells(line))
    return rows


def test_the_readme_lists_the_regions_there_are():
    rows = [row[:4] for row in section("Which region where")]
    assert rows == [
        [
            f"`{full.name}`",
            str(full.index),
            str(full.size),
            full.access
            if full in before.values() or full.name not in before
            else "ro; rw on `full`",
        ]
        for before in [{region.name: region for region in table.regions_of("async")}]
        for full in table.regions_of("full")
    ]


@pytest.mark.parametrize(
    ("heading", "layout"),
    [
        ("io_region\n", codec.IO_REGION),
        ("status_region\n", codec.STATUS_REGION),
        ("measurement_region\n", codec.MEASUREMENT_REGION),
        ("ORB (", codec.ORB),
        ("SCSW (", codec.SCSW),
        ("IRB (", codec.IRB),
        ("cmd_region\n", codec.CMD_REGION),
        ("schib_region\n", codec.SCHIB),
        ("crw_region\n", codec.CRW_REGION),
    ],
)
def test_the_readme_has_every_field_where_it_is(heading, layout):
    rows = section(heading)
    said = {row[2].strip("`").replace(".", "_"): (int(row[0]), int(row[1])) for row in rows}
    offsets = {field: layout.offset_of(field) for field in layout.fields}
    for field, (offset, _) in said.items():
        nested = [offsets[name] for name in offsets if name.startswith(f"{field}_")]
        assert offsets.get(field, min(nested, default=None)) == offset, field
    # One after the other, without a gap, to the end: so nothing is left out.
    places = sorted(said.values())
    for (offset, size), (following, _) in zip(places, [*places[1:], (layout.size, 0)], strict=True):
        assert offset + size == following
