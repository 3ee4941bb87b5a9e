"""The client in C: one header, compiled by a strict compiler, on a mount."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lab.mounts import PROJECT, SCHID, MountedSystem
from lab.mounts import mount as mount_one
from lab.typed import blocks, sections
from lab.waits import SOON, until
from tests.cli.commands import vfioccw

HERE = PROJECT / "vfioccw_fuse" / "client"
STRICT = ("-Wall", "-Wextra", "-Werror", "-pedantic", "-O2", f"-I{HERE}")
SENSE_ID = "dstat 0c cstat 00: ff 63 10 01 93 36 00\n"
COMMANDS = r"""
#include "vfioccw.h"
#include <stdlib.h>
#include <sys/mman.h>

/* Does what its words say, one after the other, and prints what came. */
int main(int argc, char **argv)
{
    static const char *const names[] = {"open", "map", "unmap", "nop", "hang", "halt", "clear",
                                        "wait", "irb", "stsch", "close", "gone"};
    struct vfioccw sch;
    struct vfioccw_irb irb;
    uint8_t orb[VFIOCCW_ORB], schib[VFIOCCW_SCHIB];
    int file = memfd_create("guest", MFD_CLOEXEC), result = 0;
    uint8_t *memory;

    if (ftruncate(file, 1 << 20))
        return 1;
    memory = (uint8_t *)mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    for (int at = 2; at < argc; at++) {
        const char *word = argv[at];
        size_t which = 0;

        while (strcmp(names[which], word))
            which++;
        switch (which) {
        case 0: result = vfioccw_open(&sch, argv[1]); break;
        case 1: result = vfioccw_map_file(&sch, 0, 1 << 20, file, 0); break;
        case 2: result = vfioccw_unmap(&sch, 0, 1 << 20); break;
        case 3:
        case 4:
            vfioccw_ccw(memory + 0x1000, 0x03, 0x20, 1, 0);
            vfioccw_orb(orb, 0x1000);
            result = vfioccw_start(&sch, orb);
            break;
        case 5: result = vfioccw_halt(&sch); break;
        case 6: result = vfioccw_clear(&sch); break;
        case 7: result = vfioccw_wait(&sch, 20000); break;
        case 8:
            result = vfioccw_result(&sch, &irb);
            printf("irb %04x %02x %02x\n", irb.ctrl, irb.dstat, irb.cstat);
            break;
        case 9:
            result = vfioccw_store(&sch, schib);
            if (!result)
                printf("schib devno %04x\n", vfioccw_get16(schib + 6));
            break;
        case 10: vfioccw_close(&sch); break;
        default:
            fflush(stdout);
            if (read(0, orb, 1) < 0)
                return 1;
        }
        printf("%s %d%s%s\n", word, result, result < 0 ? " " : "", result < 0 ? sch.error : "");
    }
    fflush(stdout);
    return 0;
}
"""


def compiled(compiler: str, source: Path, program: Path, *words: str) -> Path:
    done = subprocess.run(
        [compiler, *words, *STRICT, "-o", str(program), str(source)],
        capture_output=True, text=True, timeout=SOON, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return program


def run(program: Path, *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(program), *map(str, words)], capture_output=True, text=True, timeout=SOON, check=False
    )


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("c")
    (place / "commands.c").write_text(COMMANDS)
    return compiled("gcc", place / "commands.c", place / "commands", "-std=c11")


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("example")
    return compiled("gcc", HERE / "example.c", place / "example", "-std=c11")


def test_the_example_reads_the_sense_id(mnt: MountedSystem, example: Path) -> None:
    for path in (mnt.subchannel, f"{mnt.subchannel}/"):
        done = run(example, path)
        assert (done.returncode, done.stdout, done.stderr) == (0, SENSE_ID, "")
    mnt.control("fault=hang count=1")
    done = run(example, mnt.subchannel, 200)
    assert done.stdout == "no interruption within 200 ms: it is halted\ndstat 00 cstat 00:\n"
    assert done.returncode == 1


def test_the_page_says_how_it_is_compiled(mnt: MountedSystem, tmp_path: Path) -> None:
    page = (PROJECT / "vfioccw_fuse" / "docs" / "clients.md").read_text()
    [lines] = blocks(sections(page)["In C"])
    assert [line.split()[0] for line in lines] == ["cd", "gcc"]
    script = "\n".join(lines).replace("/tmp/example", f"{tmp_path}/example")
    done = subprocess.run(
        ["bash", "-e", "-c", script.replace("/tmp/m/", f"{mnt.path}/")], cwd=PROJECT, text=True,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True, timeout=SOON, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, SENSE_ID, "")


def test_every_instruction_has_its_condition_code(mnt: MountedSystem, commands: Path) -> None:
    words = "open map nop wait irb stsch"
    assert run(commands, mnt.subchannel, *words.split()).stdout.splitlines() == [
        "open 0", "map 0", "nop 0", "wait 1", "irb 4007 0c 00", "irb 0",
        "schib devno 0313", "stsch 0",
    ]  # fmt: skip
    mnt.control("fault=hang")
    words = "open map hang nop halt wait irb hang clear wait irb unmap close"
    assert run(commands, mnt.subchannel, *words.split()).stdout.splitlines() == [
        "open 0", "map 0", "hang 0", "nop 2", "halt 0", "wait 1", "irb 6001 00 00", "irb 0",
        "hang 0", "clear 0", "wait 1", "irb 1001 00 00", "irb 0", "unmap 0", "close 0",
    ]  # fmt: skip
    mnt.control("fault=not-operational")
    assert run(commands, mnt.subchannel, "open", "map", "nop").stdout.splitlines()[-1] == "nop 3"


@pytest.mark.parametrize(
    ("interface", "halted", "stored"),
    [
        ("start-only", f"halt -1 {SCHID}: hsch: Operation not supported", "stsch -1"),
        ("scsw", "halt 0", "stsch -1"),
        ("async", "halt 0", "stsch 0"),
    ],
)
def test_older_interfaces_are_used_as_they_are(
    mount, commands: Path, interface: str, halted: str, stored: str
) -> None:
    system = mount(f"interface={interface}", "fault=hang")
    done = run(commands, system.subchannel, "open", "map", "hang", "halt", "stsch")
    # A start that was accepted runs: start-only has no halt then but EBUSY, which is cc 2.
    lines = done.stdout.splitlines()
    assert lines[:3] == ["open 0", "map 0", "hang 0"]
    assert lines[3] == ("halt 2" if interface == "start-only" else halted)
    assert lines[-1].startswith(stored)


def test_what_goes_wrong_is_one_line_and_an_errno(
    mnt: MountedSystem, commands: Path, example: Path, tmp_path: Path
) -> None:
    for place, name in ((mnt.path / "0.0.9999", "0.0.9999"), (tmp_path / "no", "no")):
        done = run(commands, place, "open")
        assert done.stdout == f"open -1 {name}: device: is it mounted?: No such file or directory\n"
    done = run(commands, mnt.subchannel, "open", "nop", "map", "map", "unmap", "unmap")
    lines = done.stdout.splitlines()
    assert lines[2] == "map 0"
    assert re.match(rf'map -1 {SCHID}: {{"error": ".*overlap', lines[3])
    assert lines[4] == "unmap 0"
    assert lines[5].startswith(f'unmap -1 {SCHID}: {{"error": ')
    assert run(example).returncode == 2


@pytest.mark.parametrize("end", ["killed", "removed"])
def test_a_mount_or_subchannel_that_goes_is_told(
    commands: Path, tmp_path: Path, end: str
) -> None:
    system = mount_one(tmp_path, "fault=hang")
    words = ["open", "map", "hang", "gone", *(["wait"] if end == "killed" else []), "nop", "close"]
    try:
        with subprocess.Popen(
            [commands, system.subchannel, *words],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            until(lambda: "device active" in system.state()["scsw.actl"], "it hangs")
            if end == "killed":
                os.kill(system.pid, signal.SIGKILL)
                assert system.ended()
            else:
                assert vfioccw("remove", system.subchannel).returncode == 0
            said, _ = process.communicate("x", timeout=SOON)
        lines = said.splitlines()
        if end == "killed":
            assert lines[4] == f"wait -1 {SCHID}: the mount is gone: No such device"
        assert re.match(rf"nop (3|-1 {SCHID}: ssch: )", lines[-2])
        assert lines[-1].startswith("close ")
    finally:
        system.give_up()


def test_it_is_one_of_cplusplus_too(tmp_path: Path) -> None:
    source = tmp_path / "client.cc"
    source.write_text(COMMANDS)
    compiled("g++", source, tmp_path / "client", "-std=c++11")
