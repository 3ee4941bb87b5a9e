"""``vfioccw read`` and ``write``."""

import pytest

from lab.mounts import BLOCK, BLOCKS
from tests.cli.commands import complaint, run


def test_read_copies_the_whole_disk(mnt, tmp_path):
    copy = tmp_path / "copy"
    done = run(mnt, "read", "--output", copy)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert copy.read_bytes() == mnt.image.read_bytes()


@pytest.mark.parametrize(("block", "count"), [(0, 1), (5, 97), (BLOCKS - 1, 1), (3, 0)])
def test_read_gives_blocks_to_stdout(mnt, block, count):
    done = run(mnt, "read", "--block", block, "--count", count)
    assert done.returncode == 0
    assert done.stdout == mnt.image.read_bytes()[block * BLOCK : (block + count) * BLOCK]


@pytest.mark.parametrize("through", ["pipe", "file"])
@pytest.mark.parametrize(("block", "count"), [(0, BLOCKS), (7, 100)])
def test_write_puts_blocks_into_the_image(mnt, tmp_path, through, block, count):
    expected = bytearray(mnt.image.read_bytes())
    new = bytes(expected[::-1][: count * BLOCK])
    expected[block * BLOCK : (block + count) * BLOCK] = new
    if through == "file":
        (tmp_path / "new").write_bytes(new)
        done = run(mnt, "write", "--block", block, "--input", tmp_path / "new")
    else:
        done = run(mnt, "write", "--block", block, data=new)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert mnt.image.read_bytes() == expected


def test_count_limits_a_write(mnt):
    before = mnt.image.read_bytes()
    assert run(mnt, "write", "--count", 1, data=bytes(3 * BLOCK)).returncode == 0
    assert mnt.image.read_bytes() == bytes(BLOCK) + before[BLOCK:]


@pytest.mark.parametrize(
    "options",
    [["--block", BLOCKS + 1], ["--count", BLOCKS + 1], ["--block", BLOCKS, "--count", 1]],
)
def test_blocks_that_the_disk_does_not_have(mnt, options):
    done = run(mnt, "read", *options)
    assert (done.returncode, done.stdout) == (1, b"")
    assert f"the disk has blocks 0 to {BLOCKS - 1}" in complaint(done)


def test_a_file_that_does_not_fit_is_not_begun(mnt, tmp_path):
    before = mnt.image.read_bytes()
    for size, words in ((700, "multiple of 512"), ((BLOCKS + 1) * BLOCK, "the disk has blocks")):
        (tmp_path / "new").write_bytes(bytes(size))
        done = run(mnt, "write", "--input", tmp_path / "new")
        assert done.returncode == 1
        assert words in complaint(done)
    assert mnt.image.read_bytes() == before


def test_only_a_file_of_no_known_format_is_to_be_padded(mnt, tmp_path):
    before = mnt.image.read_bytes()
    cckd = b"CKD_C370".ljust(700, b"\0")
    for data, words in ((bytes(700), "truncate"), (cckd, "compressed CKD")):
        (tmp_path / "new").write_bytes(data)
        line = complaint(run(mnt, "write", "--input", tmp_path / "new"))
        assert words in line
        assert ("truncate" in line) == (words == "truncate")
    assert mnt.image.read_bytes() == before


def test_a_pipe_that_is_too_long_says_what_was_written(mnt):
    done = run(mnt, "write", "--block", BLOCKS - 1, data=bytes(2 * BLOCK))
    assert done.returncode == 1
    assert "the disk ends after 1 blocks" in complaint(done)
    assert mnt.image.read_bytes().endswith(bytes(BLOCK))
    done = run(mnt, "write", data=bytes(BLOCK + 9))
    assert done.returncode == 1
    assert "the last 9 bytes are no block" in complaint(done)
    assert mnt.image.read_bytes().startswith(bytes(BLOCK))


def test_a_fault_is_one_line_and_the_next_read_works(mnt):
    mnt.control("fault=unit-check,sense=1000,count=1")
    done = run(mnt, "read", "--count", 1)
    assert done.returncode == 1
    assert "equipment check" in complaint(done)
    assert run(mnt, "read", "--count", 1).returncode == 0


def test_missing_input_is_one_line(mnt):
    done = run(mnt, "write", "--input", "/nowhere/at/all")
    assert done.returncode == 1
    assert "/nowhere/at/all" in complaint(done)
