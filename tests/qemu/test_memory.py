"""Where the guest's memory is, and that the server reaches all of it."""

from __future__ import annotations

from pathlib import Path

from lab.mounts import servers_of
from lab.processes import files_of
from tests.qemu.conftest import MIB, Lab, by_each_way, digest, make_eckd, make_fba

FBA, ECKD = "0.0.0313", "0.0.0314"


def maps_of(pid: int) -> str:
    return Path(f"/proc/{pid}/maps").read_text()


@by_each_way
def test_more_than_2_gib_is_reached_by_idaws(lab: Lab) -> None:
    fba = make_fba(lab.directory / "disk.img", 8 * MIB)
    eckd = make_eckd(lab.directory / "vol.ckd", 5)
    lab.mount(f"fba@{FBA}:{fba}", f"3390@{ECKD}:{eckd}")
    devices = [lab.device(FBA, "1234"), lab.device(ECKD, "1235")]
    with lab.guest(*devices, memory="3G") as guest:
        one, two = guest.check("online 0.0.1234; online 0.0.1235").split()
        assert guest.check(f"md5sum < /dev/{one}").split()[0] == digest(fba)
        guest.check(
            f"head -c 2000000 /dev/{one} > /tmp/data; "
            f"dd if=/tmp/data of=/dev/{two} bs=4096 seek=50 2>/dev/null; sync; "
            "echo 3 > /proc/sys/vm/drop_caches; "
            f"dd if=/dev/{two} bs=4096 skip=50 2>/dev/null | head -c 2000000 | cmp - /tmp/data"
        )
        # The whole of it is one file, which each device has mapped.
        [server] = servers_of(lab.path)
        assert maps_of(server).count("qemu_back_mem") == 2
        with open(lab.file(FBA, "trace"), "rb", buffering=0) as trace:
            guest.check(f"dd if=/dev/{one} of=/dev/null iflag=direct bs=4096 count=1 2>/dev/null")
            assert b"ida" in trace.read(1 << 16).lower()
        assert guest.power_off() == 0
    assert "qemu_back_mem" not in maps_of(server)


@by_each_way
def test_memory_that_is_no_file_is_the_processes(lab: Lab) -> None:
    fba = make_fba(lab.directory / "disk.img")
    lab.mount(f"fba@{FBA}:{fba}")
    backend = ("-object", "memory-backend-ram,id=own,size=512M", "-machine", "memory-backend=own")
    with lab.guest(lab.device(FBA, "1234"), qemu=backend) as guest:
        name = guest.check("online 0.0.1234")
        assert guest.check(f"md5sum < /dev/{name}").split()[0] == digest(fba)
        [server] = servers_of(lab.path)
        assert "qemu_back_mem" not in maps_of(server)
        assert [file for file in files_of(server) if file.endswith("/mem")]
