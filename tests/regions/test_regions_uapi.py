"""Layouts and numbers are those of the Linux headers, as the C compiler sees them."""

import subprocess
from pathlib import Path

import pytest

from vfioccw_fuse.regions import codec
from vfioccw_fuse.regions import constants as c

# Struct of the headers, our codec, our name for each of its fields.
STRUCTS = [
    (
        "ccw_io_region",
        codec.IO_REGION,
        {field: field for field in ("orb_area", "scsw_area", "irb_area", "ret_code")},
    ),
    ("ccw_cmd_region", codec.CMD_REGION, {"command": "command", "ret_code": "ret_code"}),
    ("ccw_schib_region", codec.SCHIB_REGION, {"schib_area": "pmcw_intparm"}),
    ("ccw_crw_region", codec.CRW_REGION, {"crw": "flags", "pad": "pad"}),
    (
        "vfio_region_info",
        codec.REGION_INFO,
        {f: f for f in ("argsz", "flags", "index", "cap_offset", "size", "offset")},
    ),
    (
        "vfio_region_info_cap_type",
        codec.REGION_INFO_CAP_TYPE,
        {
            "header.id": "id",
            "header.version": "version",
            "header.next": "next",
            "type": "type",
            "subtype": "subtype",
        },
    ),
    (
        "vfio_irq_info",
        codec.IRQ_INFO,
        {f: f for f in ("argsz", "flags", "index", "count")},
    ),
]

DEVICE_INFO_FIELDS = ("argsz", "flags", "num_regions", "num_irqs", "cap_offset")

# Ours, not Linux's; the capability's version is in a comment of the header alone.
OWN = {
    "VFIO_CCW_ASYNC_CMD_XSCH",
    "VFIO_CCW_ASYNC_CMD_RSCH",
    "VFIO_CCW_ASYNC_CMD_SSCH",
    "VFIO_CCW_ASYNC_CMD_SSCH_A",
    "VFIO_CCW_ASYNC_CMD_SSCH_B",
    "VFIO_REGION_SUBTYPE_CCW_STATUS",
    "VFIO_REGION_SUBTYPE_CCW_PROGRAM",
    "VFIO_REGION_SUBTYPE_CCW_MEASUREMENT",
    "VFIO_REGION_INFO_CAP_TYPE_VERSION",
}

AREAS = ("ORB_AREA_SIZE", "SCSW_AREA_SIZE", "IRB_AREA_SIZE", "SCHIB_AREA_SIZE")
NUMBERS = sorted({name for name in vars(c) if name.startswith("VFIO_")} - OWN | set(AREAS))


@pytest.fixture(scope="module")
def header(tmp_path_factory) -> dict[str, int]:
    """Everything asked for above, printed by a C program: expression to value."""
    asked = list(NUMBERS)
    for name, _, fields in STRUCTS:
        asked.append(f"sizeof(struct {name})")
        asked += [f"offsetof(struct {name}, {field})" for field in fields]
    asked += [f"offsetof(struct vfio_device_info, {field})" for field in DEVICE_INFO_FIELDS]
    lines = "\n".join(f'printf("%lld\\n", (long long)({one}));' for one in asked)
    directory: Path = tmp_path_factory.mktemp("uapi")
    source = directory / "uapi.c"
    source.write_text(
        "#include <stddef.h>\n#include <stdio.h>\n"
        "#include <linux/vfio.h>\n#include <linux/vfio_ccw.h>\n"
        f"int main(void) {{\n{lines}\nreturn 0;\n}}\n"
    )
    program = directory / "uapi"
    subprocess.run(["gcc", "-o", program, source], check=True, timeout=60)
    printed = subprocess.run([program], check=True, capture_output=True, text=True, timeout=60)
    return dict(zip(asked, map(int, printed.stdout.split()), strict=True))


def test_numbers(header):
    assert {name: getattr(c, name) for name in NUMBERS} == {name: header[name] for name in NUMBERS}


@pytest.mark.parametrize(("name", "layout", "fields"), STRUCTS)
def test_structs(header, name, layout, fields):
    assert layout.size == header[f"sizeof(struct {name})"]
    assert {field: layout.offset_of(ours) for field, ours in fields.items()} == {
        field: header[f"offsetof(struct {name}, {field})"] for field in fields
    }


def test_device_info_ends_with_cap_offset(header):
    # Kernels from 6.6 on have four bytes of padding behind; a caller says by argsz what it knows.
    offsets = [header[f"offsetof(struct vfio_device_info, {f})"] for f in DEVICE_INFO_FIELDS]
    assert offsets == [codec.DEVICE_INFO.offset_of(field) for field in DEVICE_INFO_FIELDS]
    assert codec.DEVICE_INFO.size == offsets[-1] + 4


def test_areas_lie_where_the_struct_has_them():
    assert codec.IO_REGION.offset_of("orb_area") == c.ORB_AREA_OFFSET
    assert codec.IO_REGION.offset_of("scsw_area") == c.SCSW_AREA_OFFSET
    assert codec.IO_REGION.offset_of("irb_area") == c.IRB_AREA_OFFSET
    assert codec.IO_REGION.offset_of("ret_code") == c.RET_CODE_OFFSET
    assert codec.IRB.offset_of("esw_logout") == c.ESW_OFFSET
    assert codec.IRB.offset_of("ecw") == c.ECW_OFFSET
    assert codec.IRB.offset_of("emw") == c.EMW_OFFSET
    assert codec.SCHIB.offset_of("scsw_flags") == c.SCHIB_SCSW_OFFSET
    assert codec.SCHIB.offset_of("mda") == c.SCHIB_MDA_OFFSET


@pytest.mark.parametrize(
    ("size", "layout"),
    [
        (c.IO_REGION_SIZE, codec.IO_REGION),
        (c.CMD_REGION_SIZE, codec.CMD_REGION),
        (c.SCHIB_REGION_SIZE, codec.SCHIB_REGION),
        (c.CRW_REGION_SIZE, codec.CRW_REGION),
        (c.ORB_SIZE, codec.ORB),
        (c.SCSW_SIZE, codec.SCSW),
        (c.ESW_SIZE, codec.ESW),
        (c.ECW_SIZE, codec.ECW),
        (c.IRB_SIZE, codec.IRB),
        (c.PMCW_SIZE, codec.PMCW),
        (c.SCHIB_SIZE, codec.SCHIB),
        (c.CRW_SIZE, codec.CRW),
        (c.CCW_SIZE, codec.CCW0),
        (c.CCW_SIZE, codec.CCW1),
        (c.IDAW1_SIZE, codec.IDAW1),
        (c.IDAW2_SIZE, codec.IDAW2),
        (c.MIDAW_SIZE, codec.MIDAW),
    ],
)
def test_the_constant_sizes_are_those_of_the_layouts(size, layout):
    assert size == layout.size
