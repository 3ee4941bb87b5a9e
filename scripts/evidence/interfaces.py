"""``scripts/interfaces``: one client that does not know beforehand what it talks to.

It asks the infos, as QEMU does, and follows their capability chains; what no capability tells it
tries: START works everywhere, and halt and clear through the io region's fctl are EOPNOTSUPP where
there are none, which is how the thread's patch wanted to be detected. Then it does the same work on
each: start, halt, clear, by the best way there is.
"""

import argparse
import sys
from pathlib import Path
from typing import NamedTuple

from evidence.mounts import mounted
from lab.client import name_of, write_file
from lab.ends import ended
from lab.mounts import SCHID
from lab.programs import request
from vfioccw_fuse.client import Program, Subchannel
from vfioccw_fuse.regions import codec
from vfioccw_fuse.regions import constants as c
from vfioccw_fuse.regions.layouts import CmdRegion
from vfioccw_fuse.regions.table import Interface

_SUBTYPES = {
    c.VFIO_REGION_SUBTYPE_CCW_ASYNC_CMD: "cmd_region",
    c.VFIO_REGION_SUBTYPE_CCW_SCHIB: "schib_region",
    c.VFIO_REGION_SUBTYPE_CCW_CRW: "crw_region",
    c.VFIO_REGION_SUBTYPE_CCW_STATUS: "status_region",
    c.VFIO_REGION_SUBTYPE_CCW_PROGRAM: "program_region",
    c.VFIO_REGION_SUBTYPE_CCW_MEASUREMENT: "measurement_region",
}
_INDEX_END = 64


class Detected(NamedTuple):
    """One thing that the client found out."""

    what: str
    """Region, interrupt or function."""
    how: str
    """By capability, by info, or by trying."""
    detail: str
    """What was seen."""


def detect(subchannel: Path) -> list[Detected]:
    """What a client can find out about the interface of ``subchannel``; nothing runs afterwards."""
    found = [*_by_infos(subchannel), *_by_trying(subchannel)]
    if any(one.what == "cmd_region" for one in found):
        found += _commands(subchannel)
    return found


def _by_infos(subchannel: Path) -> list[Detected]:
    """The regions and interrupts that the infos name."""
    device = codec.DEVICE_INFO.parse((subchannel / "device_info").read_bytes())
    infos = (subchannel / "region_info").read_bytes()
    found = []
    at = 0
    while at < len(infos):
        info = codec.REGION_INFO.parse(infos, at)
        access = "rw" if info.flags & c.VFIO_REGION_INFO_FLAG_WRITE else "ro"
        detail = f"index {info.index}, {info.size} bytes, {access}"
        if info.flags & c.VFIO_REGION_INFO_FLAG_CAPS:
            cap = codec.REGION_INFO_CAP_TYPE.parse(infos, at + info.cap_offset)
            name = _SUBTYPES.get(cap.subtype, "unknown region")
            detail += f", type {cap.type} subtype {cap.subtype:#x}"
            found.append(Detected(name, "by capability", detail))
        else:
            found.append(Detected("io_region", "by info", detail))
        at += info.argsz
    assert len(found) == device.num_regions
    irqs = ["io_irq", "crw_irq", "req_irq"][: device.num_irqs]
    return [*found, Detected(" ".join(irqs), "by info", f"{device.num_irqs} interrupts")]


def _by_trying(subchannel: Path) -> list[Detected]:
    """START, and halt and clear through fctl: no capability tells of them."""
    with Subchannel(subchannel) as sub, Program(sub.storage) as program:
        program.ccw(0x03, c.CCW_FLAG_SLI, 1)
        program.lay_out()
        irb = sub.execute(program)
    found = [Detected("start", "by trying", f"unit status {irb.scsw_dstat:02x}")]
    for name, fctl in (("halt", c.SCSW_FCTL_HALT_FUNC), ("clear", c.SCSW_FCTL_CLEAR_FUNC)):
        answer = _write(subchannel / "io_region", request(fctl, size=c.IO_REGION_SIZE))
        found.append(Detected(f"{name} by fctl", "by trying", answer))
        if answer == "accepted":
            (subchannel / "reset").write_text("1")
    return found


def _commands(subchannel: Path) -> list[Detected]:
    """Which bits the cmd region takes: EINVAL for one that it does not have."""
    names = {
        "hsch": c.VFIO_CCW_ASYNC_CMD_HSCH,
        "csch": c.VFIO_CCW_ASYNC_CMD_CSCH,
        "xsch": c.VFIO_CCW_ASYNC_CMD_XSCH,
        "rsch": c.VFIO_CCW_ASYNC_CMD_RSCH,
    }
    found = []
    for name, bit in names.items():
        answer = _write(subchannel / "cmd_region", codec.CMD_REGION.pack(CmdRegion(bit, 0)))
        found.append(Detected(f"{name} by command", "by trying", answer))
        (subchannel / "reset").write_text("1")
    return found


def _write(path: Path, data: bytes) -> str:
    number = write_file(path, data)
    return name_of(number) if number else "accepted"


def work(subchannel: Path) -> str:
    """Start, halt and clear by the client; what became of it, in one line."""
    (subchannel / "control").write_text("fault=hang")
    done = []
    with Subchannel(subchannel) as sub, Program(sub.storage) as program:
        program.ccw(0x03, c.CCW_FLAG_SLI, 1)
        program.lay_out()
        for name, function in (("halt", sub.halt), ("clear", sub.clear)):
            (subchannel / "reset").write_text("1")
            sub.start(program.orb())
            try:
                cc = function()
            except Exception as unsupported:  # a client that shows what it was told
                done.append(f"{name}: {unsupported}")
                continue
            if cc:
                done.append(f"{name}: cc {cc}")
                continue
            sub.wait(60)
            done.append(f"{name}: IRB fctl {sub.result().scsw_ctrl & c.SCSW_CTRL_MASK_FCTL:#06x}")
    (subchannel / "reset").write_text("1")
    (subchannel / "control").write_text("fault=none")
    return "; ".join(done)


def show(subchannel: Path) -> None:
    """Print what was detected, and what the client's work came to."""
    for one in detect(subchannel):
        print(f"  {one.what:24} {one.how:14} {one.detail}")
    print(f"  the same client's work   {work(subchannel)}", flush=True)


def main() -> int:
    """All four interfaces, or the subchannel that the command line names."""
    parser = argparse.ArgumentParser(
        prog="scripts/interfaces",
        description="One client against all four interfaces: what it detected, and how.",
    )
    parser.add_argument("subchannel", nargs="?", type=Path, help="that one alone: MNT/0.0.0313")
    subchannel = parser.parse_args().subchannel
    if subchannel is not None:
        if not (subchannel / "io_region").exists():
            parser.error(f"{subchannel}: no subchannel; name its directory, such as MNT/0.0.0313")
        show(subchannel)
        return 0
    for interface in Interface:
        print(interface.value)
        with mounted(interface=interface.value) as mount:
            show(mount / SCHID)
    return 0


if __name__ == "__main__":
    sys.exit(ended("scripts/interfaces", main))
