"""A subchannel driven with nothing but dd, xxd, od, printf and bash."""

from __future__ import annotations

import errno
import os
import subprocess

import pytest

from lab.mounts import BLOCK, MountedSystem
from lab.waits import SOON

LIBRARY = r"""
set -euo pipefail
export LC_ALL=C

# put FILE OFFSET: standard input into a file of the mount, as one write.
put() { dd of="$1" bs=64K seek="$2" oflag=seek_bytes conv=notrunc iflag=fullblock status=none; }
# hex WORDS...: their bytes.
hex() { printf '%s' "$*" | xxd -r -p; }
# store ADDRESS HEX: into guest storage.
store() { hex "${@:2}" | put memory "$1"; }
# request FCTL: ORB (format 1, program at 0x1000) and SCSW.
request() { hex "000000010080ff0000001000 0000${1}0000000000000000" | put io_region 0; }
# command NUMBER: into the cmd region, in the host's byte order.
command_() { printf "\\x$1\\x00\\x00\\x00" | put cmd_region 0; }
# await: until io_irq is signalled.
await() { dd if=io_irq bs=8 count=1 status=none | od -An -tu8 | tr -d ' '; }
# irb OFFSET LENGTH: of the IRB, in hex; one read of all of it, which takes it.
irb() {
    dd if=io_region bs=96 skip=24 iflag=skip_bytes count=1 status=none |
        xxd -p -c 96 -s "$1" -l "$2"
}
"""


@pytest.fixture
def bash(mnt: MountedSystem):
    """Run a script in the subchannel's directory; gives its output."""

    def run(script: str, *words: str) -> str:
        done = subprocess.run(
            ["bash", "-c", LIBRARY + script, "script", *words],
            cwd=mnt.subchannel, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=SOON, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    return run


def test_sense_id_by_printf_and_dd_is_awaited_and_its_irb_read(bash) -> None:
    out = bash("""
        store $((0x1000)) e400000700010000
        request 4000
        await
        irb 0 12
        dd if=memory bs=1 skip=$((0x10000)) count=7 status=none | xxd -p
    """)
    assert out.splitlines() == ["1", "00804007000010080c000000", "ff631001933600"]


def test_one_block_is_read_by_a_chain_of_three(bash, mnt: MountedSystem) -> None:
    out = bash("""
        store $((0x2000)) c0000000 00000000 00000000 000001ff 06000001 00000005
        store $((0x1000)) 6340001000002000 4340000800002010 4200020000010000
        request 4000
        await > /dev/null
        irb 8 4
        dd if=memory bs=512 skip=128 count=1 status=none | xxd -p -c 512
    """)  # fmt: skip
    status, block = out.splitlines()
    assert status == "0c000000"
    assert bytes.fromhex(block) == mnt.image.read_bytes()[5 * BLOCK : 6 * BLOCK]


def test_one_block_is_written_and_is_in_the_image(bash, mnt: MountedSystem) -> None:
    out = bash(
        """
        head -c 512 "$1" | put memory $((0x10000))
        store $((0x2000)) c0000000 00000000 00000000 000001ff 01000001 00000007
        store $((0x1000)) 6340001000002000 4340000800002010 4100020000010000
        request 4000
        await > /dev/null
        irb 8 4
    """,
        "/proc/self/exe",
    )
    assert out == "0c000000\n"
    assert mnt.image.read_bytes()[7 * BLOCK : 8 * BLOCK].startswith(b"\x7fELF")


def test_a_hanging_request_is_halted_and_another_cleared_by_the_cmd_region(bash) -> None:
    out = bash("""
        store $((0x1000)) 0320000100000000
        for command in 01 02; do
            printf 'fault=hang count=1' > control
            request 4000
            command_ $command
            await
            irb 2 2
        done
        request 4000
        await
        irb 8 1
    """)
    assert out.splitlines() == ["1", "6001", "1", "1001", "1", "0c"]


def test_a_refused_request_fails_dd_with_its_errno(bash) -> None:
    out = bash("""
        store $((0x1000)) 0320000100000000
        printf 'fault=hang' > control
        request 4000
        if said=$(request 4000 2>&1); then echo accepted; else echo "$said"; fi
        dd if=io_region bs=4 skip=30 count=1 status=none | od -An -td4
        request 1000
        await > /dev/null
    """)
    said, ret_code = out.strip().splitlines()
    assert os.strerror(errno.EBUSY) in said
    assert int(ret_code) == -errno.EBUSY


def test_xxd_od_cat_and_head_read_the_files_to_their_end(bash) -> None:
    out = bash("""
        xxd -p schib_region | tr -d '\\n' | wc -c
        od -An -v -tx1 io_region | wc -w
        cat device_info | wc -c
        head -c 4 crw_region | xxd -p
        wc -c < region_info
        grep -c . state > /dev/null
        grep ^fsm: state
    """)
    lines = [line.strip() for line in out.splitlines()]
    assert lines[:4] == ["104", "124", "20", "00000000"]
    assert int(lines[4]) % 16 == 0
    assert lines[5] == "fsm: IDLE"


def test_dd_that_waits_gets_the_interruption_that_comes_later(bash) -> None:
    out = bash("""
        printf 'delay=200ms' > control
        store $((0x1000)) e400000700010000
        await &
        request 4000
        wait $!
        irb 8 1
    """)
    assert out.splitlines() == ["1", "0c"]


def test_writing_1_into_reset_ends_what_hangs(bash) -> None:
    out = bash("""
        printf 'fault=hang count=1' > control
        store $((0x1000)) e400000700010000
        request 4000
        echo 1 > reset
        dd if=schib_region bs=1 skip=28 count=12 status=none | xxd -p
        request 4000
        await
    """)
    assert out.splitlines() == ["0" * 24, "1"]


def test_the_whole_disk_is_read_by_dd_and_equals_the_image(bash, mnt: MountedSystem) -> None:
    out = bash(
        """
        store $((0x1000)) 6340001000002000 4340000800002010 4200800000010000
        for ((block = 0; block < 512; block += 64)); do
            store $((0x2000)) "$(printf 'c0000000 00000000 00000000 000001ff 06000040 %08x' $block)"
            request 4000
            await > /dev/null
            irb 8 4 >> "$2"
            dd if=memory bs=32K skip=2 count=1 status=none
        done > "$1"
        sort -u "$2"
    """,
        str(mnt.image) + ".copy",
        str(mnt.image) + ".status",
    )
    assert out == "0c000000\n"
    assert mnt.image.with_name("disk.img.copy").read_bytes() == mnt.image.read_bytes()
