"""LPM, PAM, POM, PIM, LPUM and PNOM right after a path went or came back, and after a start."""

import errno

import pytest

from lab.mounts import vfioccw
from lab.programs import ENDED, NOP, SLI, START, orb, request
from tests.rig import PROGRAM, Rig, rigged
from vfioccw_fuse.regions import constants as c

FRESH = {"lpm": "c0", "pam": "c0", "pom": "ff", "pim": "c0", "lpum": "00", "pnom": "00"}
NO_PATH = c.SCSW_FLAGS_MASK_CC | c.SCSW_FLAGS_MASK_PNO


def chp(rig: Rig, state: str, chpid: str = "40") -> None:
    done = vfioccw("chp", state, rig.system.path, chpid)
    assert done.returncode == 0, done.stderr


def run(rig: Rig, lpm: int = 0xC0) -> None:
    assert rig.start((NOP, SLI, 1, 0), lpm=lpm) == 0
    assert rig.take().scsw_dstat == ENDED


@pytest.mark.parametrize(
    ("state", "at_once", "after_a_start"),
    [
        ("vary-off", {"lpm": "40"}, {"lpm": "40", "lpum": "40"}),
        ("off", {"pam": "40"}, {"pam": "40", "lpum": "40"}),
        ("fail", {}, {"pom": "7f", "pnom": "80", "lpum": "40"}),
    ],
)
def test_masks_after_a_path_went_and_when_it_is_back(rig: Rig, state, at_once, after_a_start):
    assert rig.masks() == FRESH
    chp(rig, state)
    assert rig.masks() == FRESH | at_once
    run(rig)
    assert rig.masks() == FRESH | after_a_start
    chp(rig, "on")
    assert rig.masks() == FRESH | {"lpum": "40"}
    run(rig)
    assert rig.masks() == FRESH | {"lpum": "80"}


@pytest.mark.parametrize("state", ["vary-off", "off"])
def test_a_start_without_its_path_is_eacces_while_another_is_left_then_enodev(rig: Rig, state):
    chp(rig, state)
    with pytest.raises(OSError, match="Permission denied") as refused:
        ssch(rig, 0x80)
    assert refused.value.errno == errno.EACCES
    assert rig.full.status().cc == 3
    run(rig, lpm=0x40)
    chp(rig, state, "41")
    for lpm in (0x80, 0x40, 0xC0, 0xFF):
        with pytest.raises(OSError, match="No such device") as refused:
            ssch(rig, lpm)
        assert refused.value.errno == errno.ENODEV
    chp(rig, "on")
    run(rig)


def ssch(rig: Rig, lpm: int) -> None:
    """A start by the io region; OSError with its errno as it is."""
    with (rig.path / "io_region").open("r+b", buffering=0) as file:
        file.write(request(START, orb(PROGRAM, lpm=lpm), 16))


def test_paths_that_failed_all_end_a_start_with_deferred_condition_code_3(rig: Rig) -> None:
    chp(rig, "fail")
    assert rig.start((NOP, SLI, 1, 0), lpm=0x80) == 0, "it is still available"
    irb = rig.take()
    assert irb.scsw_flags & NO_PATH == NO_PATH
    assert irb.scsw_dstat == 0
    assert rig.masks()["pnom"] == "80"
    chp(rig, "fail", "41")
    assert rig.start((NOP, SLI, 1, 0)) == 0
    assert rig.take().scsw_flags & NO_PATH == NO_PATH
    assert rig.masks() == FRESH | {"pom": "3f", "pnom": "c0", "lpm": "ff"}
    chp(rig, "on")
    chp(rig, "on", "41")
    run(rig)
    assert rig.masks() == FRESH | {"lpum": "80"}


@pytest.mark.parametrize("state", ["off", "fail"])
def test_what_runs_on_a_path_that_goes_ends_with_interface_control_check(rig: Rig, state) -> None:
    rig.situation("active")
    chp(rig, state)
    irb = rig.take()
    assert irb.scsw_cstat == c.SCSW_CSTAT_INTF_CTRL_CHK
    run(rig)


def test_what_runs_on_a_path_that_is_varied_off_goes_on(rig: Rig) -> None:
    rig.situation("active")
    chp(rig, "vary-off")
    assert not rig.sub.wait(0.2)
    assert rig.sub.clear() == 0
    rig.take()


def test_a_subchannel_may_have_eight_paths_of_its_own(mount, tmp_path) -> None:
    chpids = "+".join(f"{chpid:02x}" for chpid in range(0xA0, 0xA8))
    system = mount(f"chpids={chpids}")
    with rigged(system) as rig:
        assert rig.masks() == FRESH | {"lpm": "ff", "pam": "ff", "pim": "ff"}
        assert rig.full.store().pmcw_chpid == bytes(range(0xA0, 0xA8))
        for path in range(8):
            assert rig.start((NOP, SLI, 1, 0), lpm=0x80 >> path) == 0
            rig.take()
            assert rig.masks()["lpum"] == f"{0x80 >> path:02x}"


def test_the_masks_are_in_status_region_too(rig: Rig) -> None:
    chp(rig, "off")
    assert rig.full.status().pmcw_area[15] == 0x40


def test_wrong_chpids_and_words_are_one_line(rig: Rig) -> None:
    for words, said in (
        (("chp", "off", rig.system.path, "99"), "no subchannel has it"),
        (("chp", "off", rig.system.path, "xyz"), "two hex digits"),
        (("chp", "list", rig.path), "is it mounted?"),
        (("remove", rig.system.path / "0.0.9999"), "no such subchannel"),
        (("remove", "/nowhere"), "name its directory"),
        (("add", rig.system.path, "fba@0.0.0313:x"), "is there already"),
        (("add", rig.system.path, "nonsense"), "TYPE@SUBCHANNEL:IMAGE"),
    ):
        done = vfioccw(*words)
        assert done.returncode == 1, words
        assert done.stderr.startswith("vfioccw: ")
        assert done.stderr.count("\n") == 1
        assert said in done.stderr


def test_chp_list_shows_states_and_who_is_behind(rig: Rig) -> None:
    chp(rig, "vary-off")
    done = vfioccw("chp", "list", rig.system.path)
    assert done.stdout.splitlines() == [
        "CHPID  State       Subchannels",
        "40     varied off  0.0.0313",
        "41     online      0.0.0313",
    ]
