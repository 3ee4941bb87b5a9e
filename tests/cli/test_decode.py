"""``vfioccw decode``: bytes in, words out; a wrong length is wrong use."""

import pytest

from tests.cli.commands import complaint, vfioccw

SIZES = {"orb": 12, "ccw": 8, "scsw": 12, "irb": 96, "schib": 52, "pmcw": 28, "crw": 4}


@pytest.mark.parametrize("structure", sorted(SIZES))
def test_every_structure_is_decoded(structure):
    done = vfioccw("decode", structure, "00" * SIZES[structure])
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout


@pytest.mark.parametrize("structure", sorted(SIZES))
def test_a_wrong_length_is_wrong_use(structure):
    done = vfioccw("decode", structure, "00" * (SIZES[structure] - 1))
    assert done.returncode == 2
    assert f"{SIZES[structure]} bytes" in complaint(done)


@pytest.mark.parametrize(
    "digits",
    [
        ["00c0ffee00c2ff0000001000"],
        ["00c0ffee", "00c2ff00", "00001000"],
        ["0x00c0ffee", "0x00c2ff00", "0x00001000"],
        ["00 c0 ff ee 00 c2 ff 00 00 00 10 00"],
    ],
)
def test_hexadecimal_may_be_written_as_one_likes(digits):
    lines = vfioccw("decode", "orb", *digits).stdout.decode().splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["intparm", "00c0ffee"],
        ["ctrl0", "00c2"],
        ["lpm", "ff"],
        ["ctrl1", "00"],
        ["cpa", "00001000"],
    ]
    assert "format-1 CCWs, prefetch, format-2 IDAWs" in lines[1]


def test_stdin_is_a_dash():
    done = vfioccw("decode", "sense", "-", "--device", "3390", data=b"80 00\n")
    assert b"command reject" in done.stdout


def test_a_program_is_decoded_ccw_by_ccw():
    done = vfioccw("decode", "ccw", "4240020000002000" * 2, "--device", "fba")
    assert done.stdout.count(b"chain command") == 2


def test_format_0_and_host_order_are_options():
    assert b"024680" in vfioccw("decode", "ccw", "--format", "0", "e402468020000014").stdout
    import sys

    word = (0x00C2).to_bytes(2, sys.byteorder).hex()
    orb = f"00000000{word}ff0000000000"
    assert b"00c2" in vfioccw("decode", "orb", "--order", "host", orb).stdout


@pytest.mark.parametrize("digits", ["xyz", "0", "00 0"])
def test_what_is_not_hexadecimal_is_wrong_use(digits):
    done = vfioccw("decode", "orb", digits)
    assert done.returncode == 2
    assert "hexadecimal" in complaint(done)


def test_lines_into_a_pipe_are_whole():
    rows = vfioccw("decode", "schib", "ff" * 52).stdout.decode().splitlines()
    assert all(len(row.split()) > 1 and row == row.rstrip() for row in rows)
    assert len(rows) == 21
