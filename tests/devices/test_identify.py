"""A medium is known by its content: what each file is called, by everybody, and what helps.

The media are made by the tools of their format (packages hercules and qemu-utils),
or by hand where there is none. What is advised is done here, and the result is attached.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import logging
import lzma
import os
import random
import re
import shutil
import stat
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from lab.mounts import IMPORTS, PROJECT, SCHID, mounted_at, vfioccw
from lab.slowfs import slow_files
from lab.waits import SOON
from vfioccw_fuse.cli.image import image_command
from vfioccw_fuse.devices.catalog import attach
from vfioccw_fuse.devices.fba.device import Fba
from vfioccw_fuse.devices.identify import Kind, identify_file
from vfioccw_fuse.devices.options import DeviceSpec
from vfioccw_fuse.errors import UserError

BLOCK = 512
WANTED = {"fba": "a raw disk", "3390": "a CKD image", "3490": "a tape image in AWS format"}
"""What each device takes, as it says itself."""

AS_IT_IS = ", or format=raw takes it as it is"
"""What the refusal of a disk says last, if the file has whole blocks."""


def run(directory: Path, *words: str) -> None:
    done = subprocess.run(
        words, cwd=directory, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, timeout=SOON, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout.decode("latin-1")


Make = Callable[[Path], None]
"""Makes a file of that name."""


def tool(*words: str) -> Make:
    """By a command; FILE stands for the file."""
    return lambda path: run(path.parent, *(word.replace("FILE", path.name) for word in words))


def holding(data: bytes) -> Make:
    def make(path: Path) -> None:
        path.write_bytes(data)

    return make


def header(previous: int, length: int, flags: int = 0xA0) -> bytes:
    return struct.pack("<HHBB", length, previous, flags, 0)


def aws(*blocks: bytes | None) -> bytes:
    """A tape of these blocks; None is a tape mark."""
    image, previous = b"", 0
    for block in blocks:
        data = block or b""
        image += header(previous, len(data), 0x40 if block is None else 0xA0) + data
        previous = len(data)
    return image


def faketape(*blocks: bytes) -> bytes:
    image, previous = b"", 0
    for block in blocks:
        image += b"%04X%04X%04X" % (previous, len(block), previous ^ len(block)) + block
        previous = len(block)
    return image


def simh(*blocks: bytes, end: bytes = b"") -> bytes:
    image = b""
    for block in blocks:
        word = struct.pack("<I", len(block))
        image += word + (block + bytes(len(block) % 2) + word if block else b"")
    return image + end


def het(path: Path) -> None:
    """As hetupd writes it: what zlib makes longer, the first block here, is left as it is."""
    plain = path.with_name("plain.aws")
    plain.write_bytes(aws(random.Random(1).randbytes(80), bytes(4000), None, None))
    run(path.parent, "hetupd", "-z", plain.name, path.name)
    assert not path.read_bytes()[4] & 3


def patched(make: Make, offset: int, data: bytes) -> Make:
    def patch(path: Path) -> None:
        make(path)
        with path.open("r+b") as file:
            file.seek(offset)
            file.write(data)

    return patch


def cut(make: Make, size: int) -> Make:
    def shorten(path: Path) -> None:
        make(path)
        os.truncate(path, size)

    return shorten


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("disk.img", bytes(1024))


def qemu(driver: str, *more: str) -> Make:
    return tool("qemu-img", "create", "-q", "-f", driver, *more, "FILE", "1M")


DISK = random.Random(7).randbytes(4 * BLOCK)
TEXT = b"name = disk\n" + "größe = 5\n".encode() * 600
CCKD = tool("dasdinit", "-z", "FILE", "3390", "VOL001", "2")
CFBA = tool("dasdinit", "-z", "FILE", "9336", "VOL001", "1000")
XMIT = b"\x50\xe0" + "INMR01".encode("cp037") + bytes(500)
LABELS = {mark: bytes(BLOCK) + f"{mark}0X0313".encode("cp037") for mark in ("VOL1", "LNX1", "CMS1")}


class Ours(NamedTuple):
    """What is attached."""

    make: Make
    taken_by: str
    what: str


class Foreign(NamedTuple):
    """What is not, and what helps."""

    make: Make
    what: str
    remedy: str
    """How the remedy begins."""


def disk(data: bytes) -> Ours:
    """A raw disk with *data* at its beginning."""
    return Ours(holding(data.ljust(-(-len(data) // BLOCK) * BLOCK, b"\0")), "fba", "a raw disk")


def tape(make: Make) -> Ours:
    return Ours(make, "3490", "a tape in AWS format")


def volume(make: Make) -> Ours:
    return Ours(make, "3390", "a CKD image of a 3390")


OURS = {
    "zeros": disk(bytes(8192)),
    "ones": disk(b"\xff" * 8192),
    "digits": disk(b"0" * 8192),
    "letters": disk(b"x" * 8192),
    "blanks": disk(b"\x40" * 8192),
    "random": disk(DISK),
    **{f"label-{mark}": disk(label) for mark, label in LABELS.items()},
    "partitions": disk(bytes(510) + b"\x55\xaa" + bytes(BLOCK)),
    "ext4": disk(bytes(1024 + 56) + b"\x53\xef" + bytes(2000)),
    "boot-record": disk(b"\xeb\x3c\x90mkfs.fat" + bytes(499) + b"\x55\xaa"),
    "one-line": disk(b"a line, then nothing\n"),
    "one-block-of-a-tape": disk(aws(b"A" * 80)),
    "three-headers-of-a-tape": disk(aws(b"A" * 80, b"B" * 90, None)),
    "three-records-of-simh": disk(simh(b"A" * 80, b"B" * 90, b"C").ljust(8192, b"\0")),
    "one-block-of-a-faketape": disk(faketape(b"A" * 80)),
    "fba-9336": Ours(tool("dasdinit", "FILE", "9336", "VOL001", "100"), "fba", "a raw disk"),
    "fba-3370": Ours(tool("dasdinit", "FILE", "3370", "VOL001", "100"), "fba", "a raw disk"),
    "fba-0671": Ours(tool("dasdinit", "FILE", "0671", "VOL001", "100"), "fba",
                     "a raw disk"),
    "ckd": volume(tool("dasdinit", "FILE", "3390", "VOL001", "2")),
    "ckd-linux": volume(tool("dasdinit", "-linux", "FILE", "3390-3", "LIN001", "3")),
    "aws": tape(holding(aws(b"A" * 80, b"B" * 4096, None, None))),
    "aws.img": tape(holding(aws(b"A" * 80, b"B" * 4096, None, None).ljust(BLOCK * 9, b"\0"))),
    "aws-mark": tape(holding(aws(None))),
    "aws-first-mark": tape(holding(aws(None, b"A" * 80, None))),
    "aws-one-block": tape(holding(aws(b"A" * 80))),
    "aws-odd-flags": tape(holding(struct.pack("<HHBB", 3, 0, 0xA0, 0x5A) + b"abc")),
    "aws-torn": tape(holding(aws(b"A" * 80, b"B" * 4096)[:-7])),
    "hetinit-plain": tape(tool("hetinit", "-d", "FILE", "VOL001", "ME")),
    "hetinit-no-label": tape(tool("hetinit", "-n", "FILE")),
}  # fmt: skip
"""By the name of the file: the names say nothing to the product."""

CKD_TYPES = {
    "2305": 0x05, "2311": 0x11, "2314": 0x14, "3330": 0x30, "3340": 0x40, "3350": 0x50,
    "3375": 0x75, "3380": 0x80, "9345": 0x45,
}  # fmt: skip
BY_QEMU = "convert it with qemu-img convert -f {} -O raw FILE NEW.img"
FOREIGN = {
    **{
        f"ckd-{name}": Foreign(tool("dasdinit", "-r", "FILE", name, "2"),
                               f"a CKD image of a {name}", "only a 3390 can be attached")
        for name in CKD_TYPES
    },
    "ckd-unknown": Foreign(patched(tool("dasdinit", "-r", "FILE", "3390", "2"), 16, b"\x77"),
                           "a CKD image of a device of type xx77", "only a 3390 can be attached"),
    "ckd-short": Foreign(cut(CCKD, 20), "a CKD image cut short: 20 bytes of a header of 512",
                         "use a complete copy"),
    "cckd": Foreign(CCKD, "a compressed CKD image of a 3390 (CCKD)",
                    "convert it with cckd2ckd -lfs FILE NEW.ckd"),
    "cckd-bzip2": Foreign(tool("dasdinit", "-bz2", "FILE", "3390", "VOL001", "2"),
                          "a compressed CKD image of a 3390 (CCKD)",
                          "convert it with cckd2ckd -lfs FILE NEW.ckd"),
    "cckd-3380": Foreign(tool("dasdinit", "-z", "FILE", "3380", "VOL001", "2"),
                         "a compressed CKD image of a 3380 (CCKD)", "only a 3390 can be attached"),
    "cckd-shadow": Foreign(patched(CCKD, 0, b"CKD_S370"),
                           "a shadow file of a compressed CKD image of a 3390 (CCKD)",
                           "convert it with cckd2ckd -lfs BASE sf=FILE NEW.ckd"),
    "cckd64": Foreign(patched(CCKD, 0, b"CKD_C064"),
                      "a 64-bit compressed CKD image of a 3390 (CCKD64)",
                      "convert it with dasdcopy64 -lfs -o CKD FILE NEW.ckd"),
    "cckd64-shadow": Foreign(patched(CCKD, 0, b"CKD_S064"),
                             "a 64-bit shadow file of a compressed CKD image of a 3390 (CCKD64)",
                             "convert it with dasdcopy64 -lfs -o CKD BASE sf=FILE NEW.ckd"),
    "ckd64": Foreign(patched(CCKD, 0, b"CKD_P064"), "a 64-bit CKD image of a 3390",
                     "convert it with dasdcopy64 -lfs -o CKD FILE NEW.ckd"),
    "cfba": Foreign(CFBA, "a compressed FBA image (CFBA)",
                    "convert it with cfba2fba -lfs FILE NEW.img"),
    "cfba-bzip2": Foreign(tool("dasdinit", "-bz2", "FILE", "3370", "VOL001", "1000"),
                          "a compressed FBA image (CFBA)",
                          "convert it with cfba2fba -lfs FILE NEW.img"),
    "cfba-shadow": Foreign(patched(CFBA, 0, b"FBA_S370"),
                           "a shadow file of a compressed FBA image (CFBA)",
                           "convert it with cfba2fba -lfs BASE sf=FILE NEW.img"),
    "cfba64": Foreign(patched(CFBA, 0, b"FBA_C064"), "a 64-bit compressed FBA image (CFBA64)",
                      "convert it with dasdcopy64 -lfs -o FBA FILE NEW.img"),
    "cfba-padded": Foreign(cut(CFBA, 3584), "a compressed FBA image (CFBA)",
                           "convert it with cfba2fba -lfs FILE NEW.img"),
    "het": Foreign(tool("hetinit", "FILE", "VOL001", "ME"), "a compressed tape (HET)",
                   "unpack it with hetupd -d FILE NEW.aws"),
    "het-first-block-plain": Foreign(het, "a compressed tape (HET)",
                                     "unpack it with hetupd -d FILE NEW.aws"),
    "het-late.aws": Foreign(
        holding(aws(*[b"A" * 80] * 300) + header(80, 3, 0xA2) + b"BZh"),
        "a compressed tape (HET)", "unpack it with hetupd -d FILE NEW.aws (package hercules)"),
    "het-bus-tech": Foreign(
        holding(aws(b"A" * 80) + struct.pack("<HHBB", 3, 80, 0xA0, 0x80) + b"abc"),
        "a compressed tape (HET)", "unpack it with hetupd -d FILE NEW.aws (Hercules 4)"),
    "faketape": Foreign(holding(faketape(b"VOL1" + bytes(76), b"B" * 900, b"", b"")), "a FakeTape",
                        "no tool converts it"),
    "simh.tap": Foreign(holding(simh(b"A" * 80, b"B" * 81, b"", b"")),
                        "a tape in SIMH format (.tap)", "no tool converts it"),
    "simh-end": Foreign(holding(simh(b"A" * 80, end=b"\xff" * 4 + bytes(900))),
                        "a tape in SIMH format (.tap)", "no tool converts it"),
    "simh-whole-blocks": Foreign(holding(simh(*[b"A" * 1016] * 9)),
                                 "a tape in SIMH format (.tap)", "no tool converts it"),
    "tape.tdf": Foreign(holding(b"@TDF\nfile1.bin FIXED RECSIZE 80\nTM\nEOT\n"),
                        "the description of an OMA tape (TDF)", "no tool converts it"),
    "qcow": Foreign(qemu("qcow"), "a disk image in qcow format", BY_QEMU.format("qcow")),
    "qcow2": Foreign(qemu("qcow2"), "a disk image in qcow2 format", BY_QEMU.format("qcow2")),
    "qcow2-old": Foreign(qemu("qcow2", "-o", "compat=0.10"), "a disk image in qcow2 format",
                         BY_QEMU.format("qcow2")),
    "vmdk": Foreign(qemu("vmdk"), "a disk image in vmdk format", BY_QEMU.format("vmdk")),
    "vmdk-flat": Foreign(qemu("vmdk", "-o", "subformat=monolithicFlat"),
                         "a disk image in vmdk format", BY_QEMU.format("vmdk")),
    "vdi": Foreign(qemu("vdi"), "a disk image in vdi format", BY_QEMU.format("vdi")),
    "vhdx": Foreign(qemu("vhdx"), "a disk image in vhdx format", BY_QEMU.format("vhdx")),
    "vpc": Foreign(qemu("vpc"), "a disk image in vpc format", BY_QEMU.format("vpc")),
    "vpc-fixed": Foreign(qemu("vpc", "-o", "subformat=fixed"), "a disk image in vpc format",
                         BY_QEMU.format("vpc")),
    "luks": Foreign(holding(b"LUKS\xba\xbe\0\1".ljust(4096, b"\0")), "a disk encrypted by LUKS",
                    "convert it with qemu-img convert --object secret,id=key,"),
    "luks2": Foreign(holding(b"LUKS\xba\xbe\0\2".ljust(4096, b"\0")),
                     "a disk encrypted by LUKS, version 2", "open it with cryptsetup open FILE"),
    "gzip": Foreign(holding(gzip.compress(DISK)), "a file compressed by gzip",
                    "unpack it with gunzip -c FILE > NEW"),
    "xz": Foreign(holding(lzma.compress(DISK)), "a file compressed by xz",
                  "unpack it with xz -dc FILE > NEW"),
    "bzip2": Foreign(holding(bz2.compress(DISK)), "a file compressed by bzip2",
                     "unpack it with bzip2 -dc FILE > NEW"),
    "bzip2-of-nothing": Foreign(holding(bz2.compress(b"")), "a file compressed by bzip2",
                                "unpack it with bzip2 -dc FILE > NEW"),
    "zstd": Foreign(holding(b"\x28\xb5\x2f\xfd\x20\x00\x01\x00\x00"), "a file compressed by zstd",
                    "unpack it with zstd -dc FILE > NEW"),
    "zip": Foreign(zipped, "a file compressed by zip", "unpack it with unzip FILE"),
    "xmit": Foreign(holding(XMIT), "a TSO TRANSMIT file (XMIT)", "dasdload"),
    "text": Foreign(holding(TEXT), "a text file", "name an image"),
    "text-of-whole-blocks": Foreign(holding(b"0123456\n" * 128), "a text file", "name an image"),
}  # fmt: skip
ADVISED = {
    "cckd": "3390", "cckd-bzip2": "3390", "cfba": "fba", "cfba-bzip2": "fba", "het": "3490",
    "het-first-block-plain": "3490", "qcow": "fba", "qcow2": "fba", "vmdk": "fba",
    "vmdk-flat": "fba", "vdi": "fba", "vhdx": "fba", "vpc": "fba", "vpc-fixed": "fba",
    "gzip": "fba", "xz": "fba",
}  # fmt: skip
"""Whose remedy is a command that is there, and what takes its result."""


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All media of both tables."""
    directory = tmp_path_factory.mktemp("media")
    rows: dict[str, Ours | Foreign] = {**OURS, **FOREIGN}
    for name, row in rows.items():
        row.make(directory / name)
    return directory


def state(path: Path) -> tuple[bytes, int, int]:
    """What may not change of a file that is only looked at."""
    status = path.stat()
    return path.read_bytes(), status.st_size, status.st_mtime_ns


def taken(kind: str, path: Path, **options: str | bool) -> bool:
    device = attach(DeviceSpec(kind, SCHID, str(path), options))
    media = [Path(medium.path) for medium in device.media]
    device.close()
    return path in media


def refused(kind: str, path: Path, **options: str) -> str:
    """The one line behind the file's name with which a device of that type refuses it."""
    with pytest.raises(UserError) as caught:
        attach(DeviceSpec(kind, SCHID, str(path), options))
    return behind(path, caught.value.message)


def behind(path: Path, line: str) -> str:
    assert line.startswith(f"{path}: ")
    assert "\n" not in line
    return line.removeprefix(f"{path}: ")


def asked(command: str, path: Path) -> tuple[int, str]:
    """Exit status of `vfioccw image command path`, and what it says."""
    done = CliRunner().invoke(image_command, [command, str(path)], standalone_mode=False)
    if isinstance(done.exception, UserError):
        return 1, behind(path, done.exception.message)
    assert done.exception is None, done.exception
    return done.return_value or 0, done.output


@pytest.mark.parametrize("name", OURS)
def test_what_is_ours_is_attached_where_it_belongs_and_nowhere_else(
    directory: Path, name: str
) -> None:
    path, row = directory / name, OURS[name]
    before = state(path)
    assert identify_file(str(path)).what == row.what
    for kind, wanted in WANTED.items():
        if kind == row.taken_by or (kind == "3490" and identify_file(str(path)).begins_as_tape):
            assert taken(kind, path)
            assert taken(kind, path, readonly=True)
        else:
            said = refused(kind, path)
            assert said.startswith(f"{row.what}, not {wanted}; ")
            assert said.endswith(AS_IT_IS) == (kind == "fba" and before[1] % BLOCK == 0)
    assert state(path) == before


@pytest.mark.parametrize("name", OURS)
def test_what_is_ours_is_shown_and_checked(directory: Path, name: str) -> None:
    path, row = directory / name, OURS[name]
    before = state(path)
    kind = {"fba": "FBA disk", "3390": "ECKD disk (3390-1)", "3490": "tape, AWS image"}
    status, said = asked("info", path)
    assert (status, kind[row.taken_by] in said.splitlines()[0]) == (0, True), said
    damaged = name in ("aws-torn", "aws.img")
    assert asked("check", path)[0] == damaged
    assert state(path) == before


@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_foreign_is_called_by_its_name_everywhere_and_stays_as_it_is(
    directory: Path, name: str
) -> None:
    path, row = directory / name, FOREIGN[name]
    before = state(path)
    said = refused("3390", path)
    assert said.startswith(f"{row.what}; {row.remedy.replace('FILE', str(path))}")
    assert "truncate" not in said
    assert refused("fba", path) == said + AS_IT_IS * (before[1] % BLOCK == 0)
    assert refused("3490", path) == said
    assert asked("info", path) == asked("check", path) == (1, said)
    assert state(path) == before


@pytest.mark.parametrize("name", ADVISED)
def test_the_advised_command_makes_what_is_attached(
    directory: Path, name: str, tmp_path: Path
) -> None:
    remedy = identify_file(str(directory / name)).remedy
    command = re.fullmatch(r"\w+ it with (.*?)( \(package [\w-]+\))? and attach that.*", remedy)
    assert command is not None
    run(tmp_path, "sh", "-c", command[1])
    [new] = tmp_path.iterdir()
    assert taken(ADVISED[name], new)


def test_the_names_of_tools_are_those_of_debian(directory: Path) -> None:
    """Every command in a remedy but those that are said to be of Hercules 4."""
    packaged = {"hercules": "cckd2ckd cfba2fba hetupd dasdload", "qemu-utils": "qemu-img"}
    for package, names in packaged.items():
        for name in names.split():
            assert shutil.which(name)
            remedies = [r for r in map(remedy_of(directory), FOREIGN) if f"{name} " in r]
            assert remedies
            assert all(f"(package {package})" in r or "(Hercules 4)" in r for r in remedies)


def remedy_of(directory: Path) -> Callable[[str], str]:
    return lambda name: identify_file(str(directory / name)).remedy


def test_a_name_that_a_shell_would_take_apart_is_quoted(tmp_path: Path) -> None:
    path = tmp_path / "my tape"
    path.write_bytes(gzip.compress(DISK))
    assert f"gunzip -c '{path}' > NEW" in refused("fba", path)


def test_a_check_finds_a_compressed_block_where_no_attach_looks(tmp_path: Path) -> None:
    path = tmp_path / "long"
    path.write_bytes(aws(*[b"A" * 80] * 1024) + header(80, 3, 0xA1) + b"abc")
    assert taken("3490", path)
    status, said = asked("check", path)
    assert status == 1
    assert f"hetupd -d at offset {1024 * 86}" in said


# ------------------------------------------------------------------------------ as it is


@pytest.mark.parametrize("name", ["qcow2", "vhdx", "text-of-whole-blocks", "ckd", "aws.img"])
def test_format_raw_takes_a_file_as_it_is_with_one_warning(
    directory: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = directory / name
    what = identify_file(str(path)).what
    before = state(path)
    with caplog.at_level(logging.WARNING):
        if before[1] % BLOCK:
            assert refused("fba", path, format="raw").startswith(f"{what} of {before[1]} bytes")
        else:
            assert taken("fba", path, format="raw")
            [warning] = caplog.messages
            assert warning.startswith(f"{path}: {what}; ")
    assert state(path) == before


def test_format_raw_of_a_raw_disk_warns_of_nothing(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert taken("fba", directory / "zeros", format="raw")
    assert not caplog.messages


@pytest.mark.parametrize("name", ["cckd", "het", "text", "gzip"])
def test_nobody_is_told_to_pad_what_is_known(directory: Path, name: str) -> None:
    path = directory / name
    assert path.stat().st_size % BLOCK
    said = refused("fba", path, format="raw")
    assert FOREIGN[name].what in said
    assert "truncate" not in said


def test_only_what_nobody_knows_is_padded(tmp_path: Path) -> None:
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(513))
    for kind in WANTED:
        assert "no known format, and its 513 bytes are no multiple of 512" in refused(kind, path)
    assert "512; if it is a raw disk: truncate -s %512" in refused("fba", path)
    for kind in ("3390", "3490"):
        assert "truncate" not in refused(kind, path)
    assert asked("info", path) == asked("check", path)
    assert "truncate -s %512" in asked("info", path)[1]
    run(tmp_path, "truncate", "-s", "%512", str(path))
    assert taken("fba", path)


def test_only_raw_can_be_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="format=qcow2: only raw"):
        Fba.options.read({"format": "qcow2"})


def test_a_guest_that_writes_a_foreign_mark_is_found_at_the_next_attach(
    directory: Path, tmp_path: Path
) -> None:
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(8 * BLOCK))
    device = Fba.open(DeviceSpec("fba", SCHID, str(path)))
    device.media[0].write((directory / "qcow2").read_bytes()[:BLOCK], 0)
    device.close()
    assert refused("fba", path).endswith(AS_IT_IS)
    assert taken("fba", path, format="raw")


# ----------------------------------------------------------------------------- half there


def test_an_empty_file_is_a_blank_tape_and_no_disk(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.touch()
    assert taken("3490", path)
    for kind in ("fba", "3390"):
        said = refused(kind, path)
        assert said.startswith(f"an empty file, not {WANTED[kind]}; make ")
        assert said.endswith(f"with vfioccw image create {kind}")
    status, said = asked("info", path)
    assert (status, "blank tape" in said) == (0, True)
    assert asked("check", path)[0] == 0


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    """A volume of four cylinders in two files, as dasdinit makes them beyond 2 GiB."""
    whole = tmp_path / "whole.ckd"
    run(tmp_path, "dasdinit", "-r", whole.name, "3390", "4")
    data = whole.read_bytes()
    half = (len(data) - BLOCK) // 2
    paths = []
    for number, highest in ((1, 1), (2, 0)):
        begin = bytearray(data[:BLOCK])
        struct.pack_into("<BH", begin, 17, number, highest)
        paths.append(tmp_path / f"vol_{number}.ckd")
        tracks = data[BLOCK:][(number - 1) * half : number * half]
        paths[-1].write_bytes(bytes(begin) + tracks)
    whole.unlink()
    return paths


def test_a_volume_in_several_files_is_one(parts: list[Path]) -> None:
    assert taken("3390", parts[0])
    assert asked("info", parts[0])[0] == asked("check", parts[0])[0] == 0
    before = state(parts[1])
    what = "file 2 of a CKD image of a 3390"
    assert refused("fba", parts[1]).startswith(f"{what}, not a raw disk; attach the first file")
    assert "name the first one" in refused("3390", parts[1])
    assert "name the first one" in asked("info", parts[1])[1]
    assert state(parts[1]) == before


def test_a_volume_with_a_file_missing_names_it(parts: list[Path]) -> None:
    parts[1].unlink()
    before = state(parts[0])
    with pytest.raises(UserError, match=rf"^{parts[1]}: missing; .*put it there"):
        attach(DeviceSpec("3390", SCHID, str(parts[0])))
    for command in ("info", "check"):
        done = CliRunner().invoke(image_command, [command, str(parts[0])])
        assert isinstance(done.exception, UserError)
        assert done.exception.message.startswith(f"{parts[1]}: missing")
    assert state(parts[0]) == before


def test_what_is_no_file_is_said_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder", "nothing"):
        path = tmp_path / name
        for kind in WANTED:
            assert ";" in refused(kind, path)
        assert asked("info", path) == asked("check", path)
        assert ";" in asked("info", path)[1]


@pytest.fixture
def failing(directory: Path, tmp_path: Path) -> Iterator[Path]:
    """A file that can be opened and not be read."""
    files = tmp_path / "files"
    files.mkdir()
    for name in ("zeros", "ckd", "aws"):
        shutil.copy(directory / name, files / name)
    with slow_files(tmp_path / "slow", files) as slow:
        slow.fail(errno.EIO, "read")
        yield slow.path


def test_a_file_that_cannot_be_read_is_one_line(failing: Path) -> None:
    for kind, name in (("fba", "zeros"), ("3390", "ckd"), ("3490", "aws")):
        for said in (refused(kind, failing / name), asked("info", failing / name)[1]):
            assert said.startswith("cannot be read: Input/output error; ")


def test_a_file_of_somebody_else_is_one_line(directory: Path, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    shutil.copy(directory / "zeros", path)
    path.chmod(stat.S_IRUSR)
    nobody = 65534
    code = (
        "import os, sys\n"
        "from vfioccw_fuse.devices.catalog import attach\n"
        "from vfioccw_fuse.devices.identify import identify_file\n"
        "from vfioccw_fuse.devices.options import DeviceSpec\n"
        "from vfioccw_fuse.errors import UserError\n"
        "path = sys.argv[1]\n"
        f"for kind in {list(WANTED)}: attach.__globals__['device_class'](kind)\n"
        "fd = os.open(os.path.dirname(path), os.O_PATH)\n"
        f"os.fchdir(fd); os.setresuid({nobody}, {nobody}, {nobody})\n"
        f"for kind in {list(WANTED)}:\n"
        "    try: attach(DeviceSpec(kind, '0.0.0313', 'secret'))\n"
        "    except UserError as refused: print(refused.message)\n"
        "try: identify_file('secret')\n"
        "except UserError as refused: print(refused.message)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], cwd=PROJECT, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": IMPORTS}, timeout=SOON, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) == 4
    for line in lines:
        assert line.lower().startswith(("secret: permission denied", "secret: no permission"))
        assert ";" in line


@given(data=st.binary(max_size=3000), whole=st.booleans())
def test_any_file_is_something(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, whole: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "anything"
    path.write_bytes(data.ljust(-(-len(data) // BLOCK) * BLOCK, b"\0") if whole else data)
    found = identify_file(str(path))
    assert found.size == path.stat().st_size
    assert (found.kind is Kind.RAW) <= (found.size % BLOCK == 0)
    for wanted in (None, Kind.RAW, Kind.CKD, Kind.TAPE):
        assert ";" in behind(path, found.refusal(wanted).message)


# ------------------------------------------------------------------------- through a mount


def test_a_mount_is_told_the_same_and_adds_nothing(directory: Path, tmp_path: Path) -> None:
    point = tmp_path / "mnt"
    raw = tmp_path / "whole.qcow2"
    qemu("qcow2")(raw)
    run(tmp_path, "truncate", "-s", "%512", str(raw))
    before = state(raw)
    with mounted_at(point, "--device", f"fba@{SCHID}:{directory / 'random'}") as system:
        for schid, kind, path in (
            ("0.0.0001", "fba", directory / "cckd"),
            ("0.0.0002", "3390", directory / "qcow2"),
            ("0.0.0003", "3490", directory / "het-first-block-plain"),
            ("0.0.0004", "fba", raw),
        ):
            done = vfioccw("add", point, f"{kind}@{schid}:{path}")
            assert (done.returncode, done.stderr.count("\n")) == (1, 1)
            assert f"{path}: {refused(kind, path)}" in done.stderr
            assert not (system.path / schid).exists()
        done = vfioccw("add", point, f"fba@0.0.0004:{raw},format=raw")
        assert (done.returncode, done.stderr) == (0, "")
        assert system.file("state", "0.0.0004").exists()
    assert state(raw) == before
