"""``vfioccw ssch hsch csch stsch tsch``: a subchannel by hand."""

import subprocess

import pytest

from lab.mounts import command
from lab.waits import SOON
from tests.cli.commands import complaint, run
from vfioccw_fuse.cli.commandcodes import codes_meant, command_code, device_type
from vfioccw_fuse.devices.catalog import words_of


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("3390 /tmp/9336", "3390"),
        ("fba 9336 disk.img", "9336"),
        ("fba 3370 disk.img", "3370"),
        ("something", ""),
        ("", ""),
    ],
)
def test_what_state_says_of_a_device_has_its_type(said, kind):
    assert device_type(said) == kind


def test_the_first_words_of_names_mean_all_of_them():
    eckd = words_of("3390")
    assert command_code("read-track", eckd) in codes_meant("read", eckd)
    assert codes_meant("e4") == {0xE4}
    assert codes_meant("frobnicate", eckd) == set()


@pytest.mark.parametrize(
    ("name", "kind", "code"),
    [
        ("nop", "", 0x03),
        ("e4", "", 0xE4),
        ("0xE4", "", 0xE4),
        ("3", "", 0x03),
        ("sense-id", "", 0xE4),
        ("Sense", "", 0x04),
        ("tic", "", 0x08),
        ("read-device-characteristics", "", 0x64),
        ("read", "fba", 0x42),
        ("read-data", "eckd", 0x06),
        ("define-extent", "9336", 0x63),
    ],
)
def test_commands_have_names_and_numbers(name, kind, code):
    assert command_code(name, words_of(kind)) == code


def test_an_unknown_command_is_a_value_error():
    with pytest.raises(ValueError, match="no name of a command"):
        command_code("frobnicate")


def test_a_command_that_the_device_has_not_is_one_line_with_those_that_it_has(mnt):
    done = run(mnt, "ssch", "--ccw", "define-extend")
    assert done.returncode == 2
    said = complaint(done)
    assert "no name of a command. Did you mean 'define-extent'? The device has " in said
    for name in ("nop", "sense-id", "read-ipl", "device-reserve"):
        assert f" {name}," in said


def test_the_commands_of_a_device_are_listed(mnt):
    done = run(mnt, "ssch", "--ccw", "help")
    assert done.returncode == 0
    lines = done.stdout.decode().splitlines()
    assert "63  define-extent" in lines
    assert "64  read-device-characteristics or rdc" in lines
    assert "starts: 0\n" in (mnt.subchannel / "state").read_text()


def test_ssch_shows_cc_irb_and_data(mnt):
    done = run(mnt, "ssch", "--ccw", "sense-id,sli,20")
    text = done.stdout.decode()
    assert (done.returncode, done.stderr) == (0, b"")
    assert "ssch: cc 0, accepted" in text
    assert "channel end, device end" in text
    assert "residual count 13" in text
    assert "CCW 1 read 7 bytes" in text
    assert "00000000: ff63 1001 9336 00 " in text


def test_ccws_are_chained_and_data_is_placed(mnt):
    done = run(
        mnt,
        *("ssch", "--ccw", "define-extent,=40000200000000000000000000000000"),
        *("--ccw", "locate,=0600000100000000", "--ccw", "read,512"),
    )
    assert done.returncode == 0
    first = mnt.image.read_bytes()[:16].hex()
    groups = " ".join(first[at : at + 4] for at in range(0, 32, 4))
    assert f"00000000: {groups}" in done.stdout.decode()


@pytest.mark.parametrize(
    "program",
    [
        ["--ccw", "nop", "--ccw", "tic,#3", "--ccw", "nop"],
        ["--ccw", "rdc,ida,sli,64", "--idaw", "1"],
        ["--ccw", "rdc,ida,sli,64", "--format", "0"],
        ["--ccw", "e4,sli,cd,3", "--ccw", "0,sli,17", "--no-prefetch"],
        ["--program", "0320000100000000"],
        ["--program", "03600001_00000000 03200001_00000000", "--intparm", "0xcafe"],
        ["--ccw", "e4,sli,7,@0x2000", "--lpm", "0x80", "--key", "0"],
    ],
)
def test_programs_that_end_well(mnt, program):
    done = run(mnt, "ssch", *program)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_program_that_is_in_storage(mnt):
    with open(mnt.subchannel / "memory", "r+b") as memory:
        memory.seek(0x2000)
        memory.write(bytes.fromhex("0320000100000000"))
    assert run(mnt, "ssch", "--cpa", "0x2000").returncode == 0
    assert run(mnt, "ssch", "--orb", "00000000 00c0ff00 00002000").returncode == 0


def test_a_unit_check_is_1_and_shows_the_sense(mnt):
    done = run(mnt, "ssch", "--ccw", "42,512")
    assert done.returncode == 1
    assert b"unit check" in done.stdout
    assert b"sense 80 00: command reject" in done.stdout
    assert b"Basic Sense" not in run(mnt, "ssch", "--ccw", "42,512", "--no-sense").stdout


def test_a_program_check_is_1(mnt):
    done = run(mnt, "ssch", "--cpa", "0x7f000000", "--no-prefetch")
    assert done.returncode == 1
    assert b"program check" in done.stdout


def test_an_errno_is_explained(mnt):
    done = run(mnt, "ssch", "--cpa", "0x7f000000")
    assert done.returncode == 1
    assert "outside guest storage" in complaint(done)


def test_a_hang_is_left_running_and_can_be_halted_or_cleared(mnt):
    mnt.control("fault=hang")
    done = run(mnt, "ssch", "--ccw", "nop", "--timeout", "0.1")
    assert done.returncode == 1
    assert "vfioccw csch ends it" in complaint(done)
    done = run(mnt, "ssch", "--ccw", "nop")
    assert (done.returncode, done.stderr) == (1, b"")
    assert b"cc 2, status pending or busy\nthe subchannel says: start function; " in done.stdout
    done = run(mnt, "hsch")
    assert done.returncode == 0
    assert b"start function, halt function" in done.stdout
    assert run(mnt, "ssch", "--ccw", "nop", "--no-wait").returncode == 0
    done = run(mnt, "csch")
    assert done.returncode == 0
    assert b"clear function" in done.stdout
    mnt.control("fault=none")
    assert run(mnt, "ssch", "--ccw", "nop").returncode == 0


@pytest.mark.parametrize(
    "words", [("--ccw", "sense-id,sli,20"), ("--program", "e4200014_00002000")]
)
def test_a_start_that_is_refused_writes_nothing_over_the_program_that_runs(mnt, words):
    mnt.control("fault=hang")
    assert run(mnt, "ssch", "--ccw", "nop", "--no-wait").returncode == 0
    storage = mnt.file("memory").read_bytes()
    done = run(mnt, "ssch", *words)
    assert done.returncode == 1
    assert b"cc 2, status pending or busy\nthe subchannel says: start function; " in done.stdout
    assert mnt.file("memory").read_bytes() == storage


def test_an_interruption_waits_until_it_is_taken(mnt):
    assert run(mnt, "ssch", "--ccw", "nop", "--no-wait").returncode == 0
    done = run(mnt, "ssch", "--ccw", "nop")
    assert done.returncode == 1
    assert b"status pending" in done.stdout
    assert b"channel end, device end" in run(mnt, "tsch").stdout
    done = run(mnt, "tsch", "--timeout", "0.1")
    assert done.returncode == 1
    assert "no interruption" in complaint(done)


def test_a_start_that_somebody_clears_ends_too(mnt):
    mnt.control("fault=hang")
    with subprocess.Popen(
        command("ssch", mnt.subchannel, "--ccw", "nop", "--timeout", "30"),
        stdout=subprocess.PIPE,
        text=True,
    ) as starter:
        assert starter.stdout is not None
        assert starter.stdout.readline() == "ssch: cc 0, accepted\n"
        assert run(mnt, "csch").returncode in (0, 1)  # either of the two takes the interruption
        assert starter.wait(SOON) == 1


def test_not_operational_is_cc_3(mnt):
    mnt.control("fault=not-operational")
    for name in ("hsch", "csch"):
        done = run(mnt, name)
        assert done.returncode == 1
        assert b"cc 3, not operational" in done.stdout
    assert run(mnt, "ssch", "--ccw", "nop").returncode == 1


def test_stsch_shows_the_schib(mnt):
    done = run(mnt, "stsch")
    assert done.returncode == 0
    assert b"pmcw.devno    0313" in done.stdout


WRONG = [
    ([], "one of --ccw, --program, --cpa, --orb"),
    (["--ccw", "nop", "--cpa", "0"], "one of --ccw, --program, --cpa, --orb"),
    (["--ccw", "frob"], "'frob'"),
    (["--ccw", "nop,often"], "'often' is no flag"),
    (["--ccw", "tic"], "say where to"),
    (["--ccw", "tic,#2"], "there is no CCW #2"),
    (["--ccw", "nop,#1"], "#N is for tic"),
    (["--ccw", "nop,=0g"], "hexadecimal"),
    (["--ccw", "nop,99999"], "16 of count"),
    (["--ccw", "read,mida,5"], "mida takes @ADDRESS"),
    (["--program", "0320"], "8 bytes"),
    (["--orb", "00"], "12 bytes"),
    (["--cpa", "here"], "'here' is not an address"),
    (["--ccw", "nop", "--lpm", "0x100"], "--lpm has 8 bits"),
    (["--cpa", "0x100000000"], "--cpa have 32"),
    (["--cpa", "9" * 5000], "64 bits"),
    (["--ccw", f"nop,{'9' * 5000}"], "5000 digits; at most"),
    (["--ccw", f"read,1,@{'9' * 5000}"], "64 bits"),
    (["--ccw", f"tic,#{'9' * 5000}"], "5000 digits; at most"),
    (["--ccw", "nop,²"], "not a number of decimal digits"),
    (["--ccw", "nop,٣"], "not a number of decimal digits"),
    (["--ccw", "nop", "--timeout", "nan"], "no number of seconds"),
    (["--ccw", "nop", "--timeout", "9" * 5000], "not in the range"),
]


def test_wrong_use_is_2_and_starts_nothing(mnt):
    for options, words in WRONG:
        done = run(mnt, "ssch", *options)
        assert done.returncode == 2, options
        assert words in complaint(done)
    assert "starts: 0\n" in (mnt.subchannel / "state").read_text()


def test_without_a_clear_in_the_interface(mount):
    done = run(mount("--interface=start-only"), "csch")
    assert done.returncode == 1
    assert "the interface of this subchannel has none" in complaint(done)


def test_a_client_in_host_order_is_understood(mount):
    system = mount("order=host")
    assert run(system, "ssch", "--ccw", "sense-id,sli,20").returncode == 0
