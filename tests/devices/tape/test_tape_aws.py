"""The AWS format: a tape that is a file."""

from __future__ import annotations

import os
import struct
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfioccw_fuse.devices.tape.aws import AwsTape, MediumError, Trouble
from vfioccw_fuse.errors import UserError

BLOCKS: list[bytes | None] = [b"A" * 80, b"B" * 4096, None, b"C" * 18, None, None]


def segment(data: bytes, previous: int = 0, flags: int = 0xA0) -> bytes:
    return struct.pack("<HHBB", len(data), previous, flags, 0) + data


def write_all(path: Path, blocks: list[bytes | None]) -> Path:
    path.touch()
    tape = AwsTape.open(str(path))
    for block in blocks:
        tape.write_mark() if block is None else tape.write(block)
    tape.close()
    return path


@pytest.fixture
def image(tmp_path):
    return write_all(tmp_path / "t.aws", BLOCKS)


def trouble(action) -> Trouble:
    with pytest.raises(MediumError) as caught:
        action()
    return caught.value.trouble


def read_all(tape: AwsTape) -> list[bytes | None]:
    blocks = sum(tape.survey().blocks) + tape.survey().marks
    found = [tape.read() for _ in range(blocks)]
    assert trouble(tape.read) is Trouble.VOID
    return found


def test_what_was_written_is_read(image):
    assert read_all(AwsTape.open(str(image))) == BLOCKS


def test_the_bytes_are_those_of_the_format(tmp_path):
    path = write_all(tmp_path / "t", [b"abc", None, b"de"])
    assert path.read_bytes() == (
        b"\x03\0\0\0\xa0\0abc" + b"\0\0\x03\0\x40\0" + b"\x02\0\0\0\xa0\0de"
    )


def test_backward_reading_gives_blocks_in_reverse(image):
    tape = AwsTape.open(str(image))
    read_all(tape)
    assert [tape.read_backward() for _ in BLOCKS] == BLOCKS[::-1]
    assert tape.at_load_point
    assert trouble(tape.read_backward) is Trouble.LOAD_POINT
    assert trouble(tape.space_backward) is Trouble.LOAD_POINT


def test_spacing_tells_marks_from_blocks_and_counts_them(image):
    tape = AwsTape.open(str(image))
    assert [tape.space_forward() for _ in BLOCKS] == [block is not None for block in BLOCKS]
    assert tape.block_number == len(BLOCKS)
    assert trouble(tape.space_forward) is Trouble.VOID
    assert tape.block_number == len(BLOCKS)
    assert [tape.space_backward() for _ in BLOCKS] == [b is not None for b in BLOCKS[::-1]]
    assert tape.block_number == 0


def test_writing_ends_the_tape_behind_the_block(image):
    tape = AwsTape.open(str(image))
    tape.read()
    tape.write(b"new")
    tape.rewind()
    assert read_all(tape) == [BLOCKS[0], b"new"]


def test_writing_after_backward_motion_keeps_the_lengths(image):
    tape = AwsTape.open(str(image))
    read_all(tape)
    for _ in range(3):
        tape.space_backward()
    tape.write_mark()
    tape.write(b"x")
    assert [tape.read_backward() for _ in range(5)] == [b"x", None, None, BLOCKS[1], BLOCKS[0]]


def test_erase_ends_the_tape_here(image):
    tape = AwsTape.open(str(image))
    tape.read()
    tape.erase()
    tape.rewind()
    assert read_all(tape) == BLOCKS[:1]


def test_long_blocks_are_segments_and_one_block(tmp_path):
    long = bytes(range(256)) * 600
    path = write_all(tmp_path / "t", [b"a", long, None, long, b"z"])
    tape = AwsTape.open(str(path))
    assert read_all(tape) == [b"a", long, None, long, b"z"]
    assert tape.block_number == 5
    assert [tape.read_backward() for _ in range(5)] == [b"z", long, None, long, b"a"]


def test_an_empty_file_is_a_blank_tape(tmp_path):
    (tmp_path / "t").touch()
    tape = AwsTape.open(str(tmp_path / "t"))
    assert trouble(tape.read) is Trouble.VOID
    assert tape.at_load_point


@pytest.mark.parametrize("cut", range(1, 6 + 18))
def test_a_torn_last_block_is_told_and_passed_by_nobody(tmp_path, cut):
    path = write_all(tmp_path / "t", [b"first", b"C" * 18])
    os.truncate(path, path.stat().st_size - cut)
    tape = AwsTape.open(str(path))
    tape.read()
    assert trouble(tape.read) is (Trouble.TORN)
    assert trouble(tape.space_forward) is Trouble.TORN
    assert tape.block_number == 1
    assert tape.read_backward() == b"first"


def test_a_torn_block_can_be_written_over(tmp_path):
    path = write_all(tmp_path / "t", [b"first", b"C" * 18])
    os.truncate(path, path.stat().st_size - 3)
    tape = AwsTape.open(str(path))
    tape.read()
    tape.write(b"again")
    tape.rewind()
    assert read_all(tape) == [b"first", b"again"]


@pytest.mark.parametrize(
    "bad",
    [
        segment(b"xyz", 5, 0x00),
        segment(b"xyz", 5, 0x20),
        segment(b"", 5, 0xA0),
        segment(b"xyz", 5, 0x40),
        segment(b"xyz", 5, 0x80) + segment(b"xyz", 3, 0xA0),
        segment(b"xyz", 5, 0x80) + segment(b"", 3, 0x40),
        (segment(b"x", 1, 0x80) + segment(b"x", 1, 0x00) * 2000 + segment(b"x", 1, 0x20)),
    ],
)
def test_a_damaged_block_is_told(tmp_path, bad):
    path = tmp_path / "t"
    path.write_bytes(segment(b"first") + bad)
    tape = AwsTape.open(str(path))
    assert tape.read() == b"first"
    assert trouble(tape.read) is Trouble.DAMAGED
    assert trouble(tape.space_forward) is Trouble.DAMAGED
    assert tape.block_number == 1


@pytest.mark.parametrize("previous", [0, 3, 4, 6, 0xFFFF])
def test_a_wrong_previous_length_stops_backward_motion(tmp_path, previous):
    path = tmp_path / "t"
    path.write_bytes(segment(b"first") + segment(b"second", previous))
    tape = AwsTape.open(str(path))
    assert [tape.read(), tape.read()] == [b"first", b"second"]
    assert tape.read_backward() == b"second"
    assert trouble(tape.read_backward) is Trouble.DAMAGED
    assert tape.read() == b"second"


def test_a_file_that_is_cut_while_in_use_is_torn_and_grows_no_hole(image, caplog):
    tape = AwsTape.open(str(image))
    tape.read()
    tape.read()
    os.truncate(image, 40)
    assert trouble(tape.read) is Trouble.TORN
    assert trouble(tape.read_backward) is Trouble.TORN
    assert trouble(lambda: tape.write(b"x")) is Trouble.TORN
    assert trouble(tape.erase) is Trouble.TORN
    assert image.stat().st_size == 40
    [said] = caplog.messages
    assert said.startswith(f"{image}: another program has cut it short")


def test_a_tape_of_limited_length_warns_and_ends(tmp_path):
    (tmp_path / "t").touch()
    tape = AwsTape.open(str(tmp_path / "t"), capacity=256 * 1024)
    block = bytes(60000)
    warned = []
    for _ in range(4):
        tape.write(block)
        warned.append(tape.past_early_warning)
    assert warned == [False, False, True, True]
    assert trouble(lambda: tape.write(block)) is Trouble.FULL
    tape.rewind()
    assert not tape.past_early_warning
    assert read_all(tape) == [block] * 4


def test_a_protected_tape_is_open_for_reading_only(image):
    image.chmod(0o444)
    tape = AwsTape.open(str(image), readonly=True)
    assert tape.readonly
    assert trouble(lambda: tape.write(b"x")) is Trouble.WRITE
    assert trouble(tape.write_mark) is Trouble.WRITE
    assert read_all(tape) == BLOCKS


def test_one_drive_writes_a_tape_and_any_number_reads_it(image):
    first = AwsTape.open(str(image))
    with pytest.raises(UserError, match="in use by another device"):
        AwsTape.open(str(image))
    AwsTape.open(str(image), readonly=True)
    AwsTape.open(str(image), readonly=True)
    first.close()
    AwsTape.open(str(image)).close()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (segment(b"xyz", 0, 0xA1), "compressed"),
        (segment(b"xyz", 0, 0xA2), "compressed"),
        (segment(b"first") + segment(b"xyz", 5, 0xA1), "compressed"),
        (b"VOL1 and so on", "not a tape image"),
        (b"#!/bin/sh\n", "a text file"),
        (segment(b"xyz", 7), "not a tape image"),
        (bytes(100), "not a tape image"),
    ],
)
def test_what_is_no_tape_image_is_refused(tmp_path, data, words):
    path = tmp_path / "t"
    path.write_bytes(data)
    with pytest.raises(UserError, match=words) as caught:
        AwsTape.open(str(path))
    assert str(path) in caught.value.message


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="touch"):
        AwsTape.open(str(tmp_path / "none"))
    with pytest.raises(UserError, match="directory"):
        AwsTape.open(str(tmp_path))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="not a file"):
        AwsTape.open(str(tmp_path / "pipe"), readonly=True)


def test_a_survey_counts_files_and_finds_where_it_is_damaged(image):
    tape = AwsTape.open(str(image))
    survey = tape.survey()
    assert survey.blocks == (2, 1, 0, 0)
    assert (survey.marks, survey.longest, survey.trouble) == (3, 4096, None)
    assert survey.offset == image.stat().st_size
    os.truncate(image, 200)
    survey = tape.survey()
    assert (survey.trouble, survey.offset) == (Trouble.TORN, 86)


def test_hercules_tools_agree(tmp_path):
    path = write_all(tmp_path / "t.aws", [b"x" * 80, b"y" * 65535, None, b"z" * 18, None, None])
    done = subprocess.run(
        ["tapemap", str(path)], capture_output=True, text=True, check=True, timeout=60
    )
    words = " ".join(done.stdout.split())
    assert words == (
        "File 1: Blocks=2, block size min=80, max=65535 "
        "File 2: Blocks=1, block size min=18, max=18 "
        "File 3: Blocks=0, block size min=0, max=0 End of tape."
    )


@given(
    data=st.binary(max_size=400),
    motions=st.lists(st.sampled_from(["read", "read_backward", "space_forward", "space_backward",
                                      "write", "write_mark", "erase", "rewind"]), max_size=30),
)  # fmt: skip
def test_any_file_is_refused_or_is_a_tape(data, motions):
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        try:
            tape = AwsTape.open(file.name)
        except UserError:
            return
        for motion in motions:
            before = tape.block_number
            try:
                if motion == "write":
                    tape.write(b"block")
                else:
                    getattr(tape, motion)()
            except MediumError:
                assert tape.block_number == before
        tape.close()


Recorded = list[bytes | None]


@given(
    st.lists(
        st.one_of(
            st.binary(min_size=1, max_size=5),
            st.sampled_from(["mark", "read", "back", "forward", "backward", "rewind", "erase"]),
        ),
        max_size=60,
    )
)
def test_a_tape_is_a_list_with_a_position(actions):
    with tempfile.NamedTemporaryFile() as file:
        tape = AwsTape.open(file.name)
        model: Recorded = []
        at = 0
        for action in actions:
            if isinstance(action, bytes) or action == "mark":
                block = action if isinstance(action, bytes) else None
                tape.write_mark() if block is None else tape.write(block)
                model[at:] = [block]
                at += 1
            elif action == "rewind":
                tape.rewind()
                at = 0
            elif action == "erase":
                tape.erase()
                del model[at:]
            elif action in ("read", "forward"):
                if at == len(model):
                    assert trouble(tape.read) is Trouble.VOID
                    continue
                if action == "read":
                    assert tape.read() == model[at]
                else:
                    assert tape.space_forward() is (model[at] is not None)
                at += 1
            elif at == 0:
                assert trouble(tape.space_backward) is Trouble.LOAD_POINT
            else:
                at -= 1
                if action == "back":
                    assert tape.read_backward() == model[at]
                else:
                    assert tape.space_backward() is (model[at] is not None)
            assert tape.block_number == at
            assert tape.at_load_point is (at == 0)
        tape.close()
