"""Clients as they were written for an older interface, and `full`: they see no difference.

Each is as short as such a client could be and knows nothing but Linux's layouts of its time.
"""

import contextlib
import errno
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab import programs
from lab.client import name_of
from lab.programs import (
    BITS,
    CLEAR,
    FORMAT1,
    HALT,
    IO_REGION,
    IRB_AT,
    NOP,
    PREFETCH,
    SLI,
    START,
    Irb,
)

PROGRAM = 0x2000
ENDED = 0x0C00
Seen = dict[str, object]


@contextlib.contextmanager
def opened(path: Path, flags: int = os.O_RDWR) -> Iterator[int]:
    fd = os.open(path, flags)
    try:
        yield fd
    finally:
        os.close(fd)


def io_request(fctl: int) -> bytes:
    """struct ccw_io_region with an ORB for the program, and fctl."""
    return programs.request(fctl, programs.orb(PROGRAM, FORMAT1 | PREFETCH), IO_REGION)


def send(fd: int, data: bytes, offset: int = 0) -> str:
    try:
        os.pwrite(fd, data, offset)
    except OSError as refused:
        return name_of(refused.errno or 0)
    return "accepted"


def interruption(io: int, irq: int, at: int = 0) -> tuple[int, int]:
    """Wait for it as for an eventfd; fctl and unit with subchannel status of the IRB."""
    assert int.from_bytes(os.read(irq, 8), "little") == 1
    irb = Irb.of(os.pread(io, IO_REGION, at)[IRB_AT:120])
    return irb.ctrl & 0x7000, irb.dstat << 8 | irb.cstat


def start_only_client(sch: Path) -> Seen:
    """2017: one region, one interrupt, START."""
    with opened(sch / "io_region") as io, opened(sch / "io_irq", os.O_RDONLY) as irq:
        seen: Seen = {"start": send(io, io_request(START)), "irb": interruption(io, irq)}
        (sch / "control").write_text("fault=hang")
        seen["hang"] = send(io, io_request(START))
        seen["busy"] = send(io, io_request(START))
        seen["ret_code"] = struct.unpack("=i", os.pread(io, 4, 120))[0]
    (sch / "reset").write_text("1")
    (sch / "control").write_text("fault=none")
    with opened(sch / "io_region") as io, opened(sch / "io_irq", os.O_RDONLY) as irq:
        seen["again"] = send(io, io_request(START)), interruption(io, irq)
    return seen


def scsw_client(sch: Path) -> Seen:
    """The patch: halt and clear by fctl."""
    (sch / "control").write_text("fault=hang")
    with opened(sch / "io_region") as io, opened(sch / "io_irq", os.O_RDONLY) as irq:
        seen: Seen = {}
        for name, fctl in (("halt", START | HALT), ("clear", CLEAR)):
            seen[f"start before {name}"] = send(io, io_request(START))
            seen[name] = send(io, io_request(fctl)), interruption(io, irq)
        seen["nothing"] = send(io, io_request(0))
    return seen


def async_client(sch: Path) -> Seen:
    """Linux today: everything through the device file, regions found by index as QEMU keeps it."""
    (sch / "control").write_text("fault=hang")
    with opened(sch / "device") as fd, opened(sch / "io_irq", os.O_RDONLY) as irq:
        seen: Seen = {}
        for name in ("halt", "clear"):
            seen[f"start before {name}"] = send(fd, io_request(START))
            sent = send(fd, programs.command(BITS[f"{name[0]}sch"], 8), 1 << 10)
            seen[name] = sent, interruption(fd, irq)
        schib = os.pread(fd, 52, 2 << 10)
        seen["devno"], seen["scsw"] = schib[6:8].hex(), schib[30:32].hex()
        seen["crw"] = os.pread(fd, 8, 3 << 10)
        seen["two commands"] = send(fd, programs.command(3, 8), 1 << 10)
    return seen


CLIENTS: dict[str, Callable[[Path], Seen]] = {
    "start-only": start_only_client,
    "scsw": scsw_client,
    "async": async_client,
}


@pytest.mark.parametrize("written_for", CLIENTS)
def test_a_client_of_an_older_interface_sees_the_same_on_full(mount, written_for) -> None:
    seen = []
    for interface in (written_for, "full"):
        system = mount(f"--interface={interface}")
        with system.storage.open("r+b") as storage:
            storage.seek(PROGRAM)
            storage.write(programs.ccw(NOP, SLI, 1, 0))
        seen.append(CLIENTS[written_for](system.subchannel))
    assert seen[0] == seen[1]
    flat = repr(seen[0])
    assert "accepted" in flat
    if written_for == "start-only":
        assert seen[0]["irb"] == (START, ENDED)
        assert seen[0]["busy"] == "EBUSY"
        assert seen[0]["ret_code"] == -errno.EBUSY
    else:
        assert seen[0]["halt"] == ("accepted", (START | HALT, 0))
        assert seen[0]["clear"] == ("accepted", (CLEAR, 0))


@pytest.mark.parametrize("interface", ["start-only", "scsw", "async"])
def test_what_an_older_interface_lacks_is_absent_everywhere(mount, interface) -> None:
    from vfioccw_fuse.regions import codec
    from vfioccw_fuse.regions.table import regions_of

    system = mount(f"--interface={interface}")
    names = set(os.listdir(system.subchannel))
    has = [region.name for region in regions_of(interface)]
    assert {name for name in names if name.endswith("_region")} == set(has)
    irqs = {"io_irq"} | ({"crw_irq", "req_irq"} if interface == "async" else set())
    assert {name for name in names if name.endswith("_irq")} == irqs
    device = codec.DEVICE_INFO.parse((system.subchannel / "device_info").read_bytes())
    assert device.num_regions == len(has)
    assert device.num_irqs == len(irqs)
    with opened(system.subchannel / "device") as fd:
        assert (system.subchannel / "device").stat().st_size == len(has) << 10
        with pytest.raises(OSError, match="Invalid argument"):
            os.pread(fd, 4, len(has) << 10)


def test_each_subchannel_may_have_an_interface_of_its_own(tmp_path, mount) -> None:
    from lab.mounts import make_image, vfioccw

    system = mount("--interface=async")
    other = make_image(tmp_path / "other.img")
    done = vfioccw("add", system.path, f"fba@0.0.0400:{other},interface=scsw")
    assert done.returncode == 0, done.stderr
    assert not (system.path / "0.0.0400" / "cmd_region").exists()
    assert (system.subchannel / "cmd_region").exists()


def test_the_script_of_the_interfaces_runs_and_tells_how_it_knows() -> None:
    import subprocess

    from lab.mounts import PROJECT

    done = subprocess.run(
        [PROJECT / "scripts" / "interfaces"],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    parts = [part.splitlines() for part in done.stdout.split("\n  the same client's work")]
    assert len(parts) == 5
    text = " ".join(done.stdout.split())
    for said in (
        "halt by fctl by trying EOPNOTSUPP",
        "halt by fctl by trying accepted",
        "cmd_region by capability index 1, 8 bytes, rw, type 2 subtype 0x1",
        "status_region by capability index 4",
    ):
        assert said in text
