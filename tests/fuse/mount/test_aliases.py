"""Programs of a base and its aliases at the same time: the order of extents, and who lets go.

The volume lies on a file system that holds requests until the test lets them go (`lab.slowfs`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.client import Client
from lab.mounts import BLOCK, Mount, mount_at, mounted_at, vfioccw
from lab.programs import BITS, CC, ENDED, FORMAT1, START, Ccw, ccws
from lab.slowfs import SlowFiles, slow_files
from tests.devices.eckd.drive import extent, locate_extended, make_volume, pattern, prefix
from tests.fuse.mount.endings import ending
from tests.fuse.mount.units import in_3390

BASE, ONE, TWO, THREE = SUBCHANNELS = "0.0.0313", "0.0.03f0", "0.0.03f1", "0.0.03f2"
TAKING = 0x30
TRACK, OTHER = (0, 5), (0, 6)
SUSPENDABLE, SUSPEND = 0x08, 0x02
"""In the ORB, and in a CCW."""
PROGRAM_CHECK = 0x20
NEW = pattern(99, BLOCK)
OLD = pattern(5 * 8, BLOCK)
"""Record 1 of `TRACK`."""
ALIASES = tuple(word for schid in (ONE, TWO, THREE)
                for word in ("--device", f"3390@{schid}:-,alias-of={BASE}"))  # fmt: skip


class Unit(Client):
    """The base or an alias. All have one storage; each has its own place in it."""

    def __init__(self, directory: Path, place: int) -> None:
        super().__init__(directory)
        self.at = 0x10000 * (1 + place)
        self.data = self.at + 0x1000

    def go(self, *program: Ccw, ctrl0: int = FORMAT1) -> None:
        """Start *program*, which lies at its place."""
        self.store(self.at, ccws(*program))
        assert self.request(START, ctrl0, self.at) == 0

    def prefixed(
        self, code: int, track: tuple[int, int], ends: tuple[tuple[int, int], tuple[int, int]]
    ) -> tuple[Ccw, ...]:
        """Prefix with the extent between *ends*, then *code* on record 1 of *track*."""
        writes = code == 0x05
        define = extent(0x80 if writes else 0x40, *ends)
        located = locate_extended(0x01 if writes else 0x06, *track, record=1, length=BLOCK)
        [_, parameters, *_] = prefix(define, located, 0x0313, TAKING)
        assert isinstance(parameters, bytes)
        self.store(self.at + 0x800, parameters)
        return (0xE7, CC, len(parameters), self.at + 0x800), (code, 0, BLOCK, self.data)

    def reading(self, track: tuple[int, int] = TRACK) -> None:
        """Begin to read a record in an extent of its track."""
        self.go(*self.prefixed(0x06, track, (track, track)))

    def writing(self, data: bytes = NEW, track: tuple[int, int] = TRACK) -> None:
        """Begin to write it."""
        self.store(self.data, data)
        self.go(*self.prefixed(0x05, track, (track, track)))

    def ended(self) -> bytes:
        """The program has ended as it should; what its data area holds."""
        irb = self.take()
        assert (irb.dstat, irb.cstat, irb.count) == (ENDED, 0, 0)
        return self.load(self.data, BLOCK)

    def waits(self) -> bool:
        """The program has not ended, and does not soon."""
        return not self.wait(0.2)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """The volume's own file, behind the file system that sleeps."""
    (tmp_path / "files").mkdir()
    return make_volume(tmp_path / "files" / "vol.ckd")


@pytest.fixture
def slow(image: Path, tmp_path: Path) -> Iterator[SlowFiles]:
    with slow_files(tmp_path / "slow", image.parent) as files:
        yield files


@pytest.fixture
def options() -> str:
    """What the base has besides."""
    return ""


@pytest.fixture
def system(slow: SlowFiles, tmp_path: Path, options: str) -> Iterator[Mount]:
    """A base and three aliases, which are named first."""
    base = f"3390@{BASE}:{slow.path}/vol.ckd,cu=2107,pav=base{options}"
    with mounted_at(tmp_path / "mnt", *ALIASES, "--device", base) as made:
        yield made
        slow.release()


Units = tuple[Unit, Unit, Unit, Unit]


@pytest.fixture
def units(system: Mount) -> Iterator[Units]:
    """Base and aliases."""
    base, one, two, three = (
        Unit(system.path / schid, place) for place, schid in enumerate(SUBCHANNELS)
    )
    yield base, one, two, three
    for unit in (base, one, two, three):
        unit.close()


# --- the order of extents -------------------------------------------------------------------------


def test_who_reads_what_is_being_written_waits(slow: SlowFiles, units: Units) -> None:
    base, alias, *_ = units
    slow.hold("write")
    base.writing()
    slow.until_held("write")
    alias.reading()
    assert alias.waits()
    slow.release()
    base.ended()
    assert alias.ended() == NEW


def test_who_writes_what_is_being_read_waits(slow: SlowFiles, units: Units) -> None:
    base, alias, *_ = units
    slow.hold("read")
    base.reading()
    slow.until_held("read")
    alias.writing()
    assert alias.waits()
    assert slow.held("read") == 1, "it has not come to the volume"
    slow.release()
    assert base.ended() == OLD
    alias.ended()


def test_disjoint_extents_do_not_wait(slow: SlowFiles, units: Units, image: Path) -> None:
    base, one, two, _ = units
    slow.hold("write")
    base.writing()
    slow.until_held("write")
    one.reading(OTHER)
    assert one.ended() == pattern(6 * 8, BLOCK)
    two.writing(track=OTHER)  # which the host's own file system lets wait: it is one file
    slow.release()
    base.ended()
    two.ended()
    assert in_3390(image.read_bytes(), 5 * 4) == in_3390(image.read_bytes(), 6 * 4) == NEW


def test_readers_do_not_wait_for_each_other(slow: SlowFiles, units: Units) -> None:
    slow.hold("read")
    for unit in units:
        unit.reading()
    slow.until_held("read", len(units))
    slow.release()
    assert [unit.ended() for unit in units] == [OLD] * len(units)


def test_it_is_the_extents_that_meet_not_the_tracks(slow: SlowFiles, units: Units) -> None:
    base, alias, *_ = units
    slow.hold("write")
    base.store(base.data, NEW)
    base.go(*base.prefixed(0x05, TRACK, ((0, 0), (0, 14))))
    slow.until_held("write")
    alias.reading(OTHER)
    assert alias.waits()
    slow.release()
    base.ended()
    alias.ended()


def test_a_program_without_an_extent_has_the_whole_volume(slow: SlowFiles, units: Units) -> None:
    base, alias, *_ = units
    slow.hold("write")
    alias.writing()
    slow.until_held("write")
    base.store(base.at + 0x800, bytes(6))
    base.go((0x07, CC, 6, base.at + 0x800), (0x03, 0x20, 1, 0))
    assert base.waits()
    slow.release()
    alias.ended()
    base.take()


def test_nobody_passes_who_waits(slow: SlowFiles, units: Units) -> None:
    base, one, two, _ = units
    slow.hold("read")
    base.reading()
    slow.until_held("read")
    one.writing()
    two.reading()
    assert one.waits()
    assert slow.held("read") == 1, "the second reader came behind the writer"
    slow.release()
    assert base.ended() == OLD
    one.ended()
    assert two.ended() == NEW


# --- who lets go ----------------------------------------------------------------------------------


@ending
def test_who_waits_and_is_ended_holds_up_nobody(
    slow: SlowFiles, units: Units, end: Callable[[Client], None]
) -> None:
    base, one, two, _ = units
    slow.hold("read")
    base.reading()
    slow.until_held("read")
    one.writing()
    two.reading()
    assert one.waits()
    end(one)
    slow.until_held("read", 2)
    slow.release()
    assert base.ended() == two.ended() == OLD


@ending
def test_whose_program_is_ended_lets_go(
    slow: SlowFiles, units: Units, end: Callable[[Client], None], image: Path
) -> None:
    base, alias, *_ = units
    slow.hold("read")
    base.reading()
    slow.until_held("read")
    alias.writing()
    end(base)
    slow.release()
    alias.ended()
    assert in_3390(image.read_bytes(), 5 * 4) == NEW


def test_a_program_that_the_channel_ends_lets_go(units: Units) -> None:
    base, alias, *_ = units
    first, _ = base.prefixed(0x05, TRACK, (TRACK, TRACK))
    base.go(first, (0x00, 0, 1, base.data))
    assert base.take().cstat & PROGRAM_CHECK
    alias.writing()
    alias.ended()


def test_a_suspended_program_has_let_go(units: Units) -> None:
    base, alias, *_ = units
    first, second = base.prefixed(0x05, TRACK, (TRACK, TRACK))
    suspended = (second[0], SUSPEND, *second[2:])
    base.go(first, suspended, ctrl0=FORMAT1 | SUSPENDABLE)
    base.take()
    alias.writing()
    alias.ended()
    assert base.command(BITS["csch"]) == 0


def test_an_alias_that_is_removed_lets_go(slow: SlowFiles, system: Mount, units: Units) -> None:
    _, one, two, _ = units
    slow.hold("read")
    one.reading()
    slow.until_held("read")
    two.writing()
    assert vfioccw("remove", system.path / ONE).returncode == 0
    slow.release()
    two.ended()


# --- the volume is one ----------------------------------------------------------------------------


def test_delays_overlap(units: Units) -> None:
    for unit in units:
        assert unit.control("delay=2s") == 0
    begun = time.monotonic()
    for place, unit in enumerate(units):
        unit.reading((0, place))
    for unit in units:
        unit.ended()
    assert 2 <= time.monotonic() - begun < 2 * len(units)


@pytest.mark.parametrize("options", [",sync=always"])
def test_what_an_alias_writes_is_as_safe_as_what_its_base_writes(
    slow: SlowFiles, units: Units
) -> None:
    before = slow.seen("fsync")
    units[1].writing()
    units[1].ended()
    assert slow.seen("fsync") > before


@pytest.mark.parametrize("options", [",readonly"])
def test_an_alias_of_what_is_not_written_does_not_write(units: Units) -> None:
    units[1].writing()
    assert units[1].take().dstat & 0x02


def test_the_volume_of_an_alias_is_shown(system: Mount, slow: SlowFiles) -> None:
    state = system.state(ONE)
    assert state["device"] == f"3390 alias of {BASE}"
    assert state["medium"] == system.state(BASE)["medium"] == f"{slow.path}/vol.ckd"
    assert f"{slow.path}/vol.ckd" in vfioccw("ls", system.path).stdout.splitlines()[2]


# --- coming and going -----------------------------------------------------------------------------


def test_a_base_stays_until_its_aliases_are_gone(system: Mount, units: Units) -> None:
    refused = vfioccw("remove", system.path / BASE)
    assert (refused.returncode, refused.stderr) == (
        1, f"vfioccw: {BASE}: aliases serve it; remove them first: {ONE}, {TWO}, {THREE}\n",
    )  # fmt: skip
    units[1].reading()
    assert units[1].ended() == OLD
    for schid in (ONE, TWO, THREE, BASE):
        assert vfioccw("remove", system.path / schid).returncode == 0


def test_an_alias_may_come_later(system: Mount, units: Units) -> None:
    new = "0.0.03ff"
    refused = vfioccw("add", system.path, f"3390@{new}:-,alias-of={ONE}")
    assert refused.returncode == 1
    assert refused.stderr == (
        f"vfioccw: {new}: alias-of={ONE}: that is an alias itself; name its base\n"
    )
    assert not (system.path / new).exists()
    assert vfioccw("add", system.path, f"3390@{new}:-,alias-of={BASE}").returncode == 0
    with Unit(system.path / new, 9) as late:
        late.reading()
        assert late.ended() == OLD


def test_a_circle_of_aliases_is_no_mount(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=f"{ONE}: alias-of={TWO}: there is no such base"):
        mount_at(
            tmp_path / "mnt",
            *("--device", f"3390@{ONE}:-,alias-of={TWO}"),
            *("--device", f"3390@{TWO}:-,alias-of={ONE}"),
        )


def test_a_configuration_file_names_aliases(image: Path, tmp_path: Path) -> None:
    config = tmp_path / "css.toml"
    config.write_text(
        f"""
        [[device]]
        type = "3390"
        subchannel = "{ONE}"
        image = "-"
        alias-of = "{BASE}"

        [[device]]
        type = "3390"
        subchannel = "{BASE}"
        image = "{image}"
        cu = "2107"
        pav = "base"
        """
    )
    with (
        mounted_at(tmp_path / "mnt", "--config", config) as system,
        Unit(system.path / ONE, 0) as alias,
    ):
        alias.reading()
        assert alias.ended() == OLD
