"""HyperPAV: bases, aliases, and the logical control unit that they are in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.programs import UC
from tests.devices.eckd.drive import (
    Command,
    Drive,
    extent,
    locate,
    locate_extended,
    make_volume,
    pattern,
    prefix,
    seek,
)
from vfioccw_fuse.devices.base import Device
from vfioccw_fuse.devices.catalog import attach
from vfioccw_fuse.devices.eckd.alias import Alias
from vfioccw_fuse.devices.eckd.device import Eckd3390
from vfioccw_fuse.errors import UserError
from vfioccw_fuse.vfio.control import parse_device

BASE, ALIAS, OTHER = "0.0.0313", "0.0.03f0", "0.0.0314"
NUMBER = 0x0313
VERIFY, HYPER_PAV = 0x20, 0x10
TAKING = VERIFY | HYPER_PAV
STATE_CHANGE = 0x85
ESTABLISH = bytes([0x80]) + b"\xc1host-------"[:11]
SECONDARY = (0x80, 0, 0x0E)
"""Command reject, format 0 message E."""
WRITES = extent(mask=0x80)


class Box:
    """Devices side by side, as in a mount; each behind a machine of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.models: dict[str, Device] = {}
        self.drives: dict[str, Drive] = {}
        self.volume = make_volume(directory / "vol.ckd")

    def add(self, schid: str, options: str, image: str | None = None) -> Drive:
        """Attach a 3390 with these options."""
        spec = parse_device(f"3390@{schid}:{image or self.volume},{options}")
        opened = attach(spec)
        try:
            model = opened.beside(self.models)
        except BaseException:
            opened.close()
            raise
        assert isinstance(model, (Eckd3390, Alias))
        self.models[schid] = model
        place = self.directory / schid
        place.mkdir(exist_ok=True)
        self.drives[schid] = Drive(model, place)
        return self.drives[schid]

    def base(self, schid: str = BASE, options: str = "cu=2107,pav=base") -> Drive:
        """A base; other than the first it has a volume of its own, with the same serial number."""
        image = self.volume if schid == BASE else make_volume(self.directory / f"{schid}.ckd")
        return self.add(schid, options, str(image))

    def alias(self, schid: str = ALIAS, of: str = BASE) -> Drive:
        """An alias."""
        return self.add(schid, f"alias-of={of}", "-")

    def remove(self, schid: str) -> None:
        """Take a device away."""
        self.models.pop(schid).withdraw()
        self.drives.pop(schid).close()


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path)
    yield made
    for drive in made.drives.values():
        drive.close()


def reading(
    track: tuple[int, int], base: int = NUMBER, validity: int = TAKING
) -> tuple[Command, ...]:
    """Prefix with Locate Record Extended, and Read Data of record 1."""
    located = locate_extended(0x06, *track, record=1, length=512)
    return prefix(extent(), located, base, validity), (0x06, 512)


def addresses(drive: Drive) -> list[tuple[int, int]]:
    """The unit address configuration that a device tells: type and base by unit address."""
    order = bytes([0x18, 0, 0, 0, 0, 0, 0x0E, 0, 0, 0, 0, 0])
    data = drive.run((0x27, order), (0x3E, 512)).data[1]
    return [(data[at], data[at + 1]) for at in range(0, 512, 2)]


# --- who is who -----------------------------------------------------------------------------------


def qualifiers(drive: Drive) -> list[bytes]:
    """The node element qualifiers of the configuration data, the general one last."""
    data = drive.run((0xFA, 256)).data[0]
    parts = [data[at : at + 32] for at in range(0, 256, 32)]
    return [part for part in parts if part[0] >> 6 in (1, 2)]


@pytest.mark.parametrize(
    ("schid", "kind", "base"), [(BASE, 1, 0x13), (ALIAS, 3, 0)], ids=["base", "alias"]
)
def test_configuration_data_say_what_a_unit_is(box: Box, schid: str, kind: int, base: int) -> None:
    box.base()
    box.alias()
    specific, general = qualifiers(box.drives[schid])
    assert specific[:4] == bytes([0x40, 0, 0, 1])
    assert (specific[8], specific[9]) == (kind, base)
    assert general[8:10] == b"\x03\x00"


def test_an_alias_has_its_own_unit_address_and_its_bases_serial_number(box: Box) -> None:
    box.base()
    data = box.alias().run((0xFA, 256)).data[0]
    assert data[18:30].decode("cp037") == "ABC123456789"
    assert data[30:32] == b"\x03\xf0"


def test_a_3390_alone_has_no_qualifier_of_its_own(box: Box) -> None:
    drive = box.add(BASE, "cu=2107")
    assert len(qualifiers(drive)) == 1
    assert set(addresses(drive)) == {(0, 0)}


@pytest.mark.parametrize("schid", [BASE, ALIAS])
def test_every_unit_tells_all_unit_addresses(box: Box, schid: str) -> None:
    box.base()
    box.alias()
    box.alias("0.0.03f1")
    found = addresses(box.drives[schid])
    assert found[0x13] == (1, 0x13)
    assert found[0xF0] == found[0xF1] == (3, 0)
    assert {kind for kind, _ in found[:0xF0]} == {1}, "what is no alias is no alias"


def test_an_alias_is_identified_as_its_base(box: Box) -> None:
    base, alias = box.base(), box.alias()
    for command in ((0xE4, 20), (0x64, 64)):
        assert alias.run(command).data == base.run(command).data


# --- the base of a program ------------------------------------------------------------------------


def test_an_alias_reads_the_volume_of_its_base(box: Box) -> None:
    box.base()
    ending = box.alias().run(*reading((1, 3)))
    assert ending.ok
    assert ending.data[1] == pattern(18 * 8, 512)


def test_a_prefix_without_a_locate_names_the_base_of_what_follows(box: Box) -> None:
    box.base()
    ending = box.alias().run(
        prefix(extent(), None, NUMBER, TAKING),
        locate(0x06, 1, 3, 1, 2, 512),
        *((0x86, 512), (0x86, 512)),
    )
    assert ending.ok
    assert ending.data[2:] == [pattern(18 * 8, 512), pattern(18 * 8 + 1, 512)]


def test_what_an_alias_writes_the_base_reads(box: Box) -> None:
    base = box.base()
    located = locate_extended(0x01, 0, 5, record=2, length=512)
    data = pattern(3, 512)
    assert box.alias().run(prefix(WRITES, located, NUMBER, TAKING), (0x05, data)).ok
    assert base.run(extent(), locate(0x06, 0, 5, 2), (0x06, 512)).data[2] == data


NEED_A_BASE: tuple[Command, ...] = (extent(), seek(0, 1), (0x02, 24), (0x1F, b"\0"), (0xB4, 32))


@pytest.mark.parametrize("command", NEED_A_BASE, ids=lambda command: f"{command[0]:02x}")
def test_without_a_base_a_command_that_needs_a_volume_is_rejected(
    box: Box, command: Command
) -> None:
    box.base()
    alias = box.alias()
    assert alias.run(command).failed(*SECONDARY)
    assert alias.run(*reading((0, 1))).ok


@pytest.mark.parametrize("validity", [0, VERIFY])
def test_a_prefix_that_takes_no_base_is_rejected(box: Box, validity: int) -> None:
    box.base()
    assert box.alias().run(*reading((0, 1), validity=validity)).failed(*SECONDARY)


def test_a_base_lasts_for_one_program(box: Box) -> None:
    box.base()
    alias = box.alias()
    assert alias.run(*reading((0, 1))).ok
    assert alias.run(extent(), locate(0x06, 0, 1, 1), (0x06, 512)).failed(*SECONDARY)


@pytest.mark.parametrize("base", [0x0314, 0x03F0, 0x0413], ids=["nobody", "itself", "subsystem"])
def test_a_base_that_is_not_there_is_told_with_reason_67(box: Box, base: int) -> None:
    box.base()
    ending = box.alias().run(*reading((0, 1), base))
    assert ending.failed(0x10, 0, 0x0F)
    assert ending.sense[8] == 0x67


def test_a_program_keeps_its_base(box: Box) -> None:
    box.base()
    box.base(OTHER)
    first, second = (prefix(extent(), None, NUMBER + more, TAKING) for more in (0, 1))
    alias = box.alias()
    assert alias.run(first, first, *reading((0, 1))).ok
    ending = alias.run(first, second)
    assert ending.failed(0x10, 0, 0x0F)


def test_a_base_takes_its_own_name_and_no_other(box: Box) -> None:
    base = box.base()
    assert base.run(*reading((0, 1), validity=VERIFY)).ok
    ending = base.run(*reading((0, 1), 0x0314, VERIFY))
    assert ending.failed(0x10, 0, 0x0F)
    assert ending.sense[8] == 0x67
    assert base.run(*reading((0, 1), 0x0314, 0)).ok, "nobody asked whether it is the base"


def test_an_alias_serves_every_base_of_its_control_unit(box: Box) -> None:
    box.base()
    other = box.base(OTHER)
    data = pattern(77, 512)
    assert other.run(WRITES, locate(0x01, 0, 1, 1, 1, 512), (0x05, data)).ok
    alias = box.alias()
    assert alias.run(*reading((0, 1), 0x0314)).data[1] == data
    assert alias.run(*reading((0, 1))).data[1] == pattern(8, 512)


def test_an_extent_ends_where_the_volume_of_the_base_ends(box: Box) -> None:
    box.base()
    box.add(OTHER, "cu=2107,pav=base", str(make_volume(box.directory / "small.ckd", 1)))
    alias = box.alias()
    small = extent(last=(0, 14))
    assert alias.run(prefix(extent(), None, NUMBER, TAKING)).ok
    assert alias.run(prefix(small, None, 0x0314, TAKING)).ok
    assert alias.run(prefix(extent(), None, 0x0314, TAKING)).failed(0x80, 0, 4)


@pytest.mark.parametrize(
    ("schid", "serial"), [(OTHER, "000000000001"), ("0.0.0414", "ABC123456789")]
)
def test_other_serial_numbers_and_subsystems_are_other_control_units(
    box: Box, schid: str, serial: str
) -> None:
    box.base()
    box.alias()
    other = box.base(schid, f"cu=2107,pav=base,serial={serial}")
    assert {kind for kind, _ in addresses(other)} == {1}
    number = int(schid[-4:], 16)
    assert box.drives[ALIAS].run(*reading((0, 1), number)).failed(0x10, 0, 0x0F)


def test_sense_data_and_path_groups_are_an_aliass_own(box: Box) -> None:
    base, alias = box.base(), box.alias()
    assert base.run((0xAF, ESTABLISH)).ok
    assert alias.run((0x34, 12)).data[0][0] == 0
    assert alias.run(extent()).sense[7] == 0x0E
    assert not base.run((0x04, 32)).dstat & UC


# --- coming and going -----------------------------------------------------------------------------


def test_who_has_a_host_is_told_of_every_change(box: Box) -> None:
    base = box.base()
    box.alias()
    assert not base.machine.sch.scsw.status_pending, "it has no path group"
    assert base.run((0xAF, ESTABLISH)).ok
    for change in (lambda: box.alias("0.0.03f1"), lambda: box.remove("0.0.03f1")):
        change()
        assert base.machine.take().dstat == STATE_CHANGE
        assert not base.machine.sch.scsw.status_pending
        assert not box.drives[ALIAS].machine.sch.scsw.status_pending


def test_an_alias_that_has_gone_is_in_no_configuration(box: Box) -> None:
    base = box.base()
    box.alias()
    box.remove(ALIAS)
    assert addresses(base)[0xF0] == (1, 0xF0)
    assert box.alias().run(*reading((0, 1))).ok, "and may come again"


def test_a_base_with_aliases_stays(box: Box) -> None:
    box.base()
    box.alias()
    with pytest.raises(UserError, match=f"aliases serve it; remove them first: {ALIAS}"):
        box.models[BASE].withdraw()
    box.remove(ALIAS)
    box.remove(BASE)


Line = tuple[str, str, str, str]
"""Subchannel, options, image, and what is said."""
REFUSED: dict[str, Line] = {
    "no base": (ALIAS, "alias-of=0.0.0999", "-", "there is no such base"),
    "of itself": (ALIAS, f"alias-of={ALIAS}", "-", "there is no such base"),
    "of an alias": (ALIAS, "alias-of=0.0.03ff", "-", "that is an alias itself; name its base"),
    "of no 2107": (ALIAS, "alias-of=0.0.0315", "-", "not a base; a 3390 is one with"),
    "with an image": (ALIAS, f"alias-of={BASE}", "other.ckd", "an alias has no image; write -"),
    "unit address": ("0.1.0313", f"alias-of={BASE}", "-", "unit address 13 is taken"),
    "control unit": (OTHER, "cu=3990-6,pav=base", "", "pav=base: behind a 3990-6 are no aliases"),
    "shared": (OTHER, "pav=base,shared", "", "pav=base: a shared volume is reserved as a whole"),
    "word": (OTHER, "cu=2107,pav=alias", "", "pav=alias: base or no"),
    "schid": (ALIAS, "alias-of=31x", "-", "alias-of=31x: 31x: not a subchannel id"),
    "its base's": (ALIAS, f"alias-of={BASE},cu=2107", "-", "cu: an alias has what its base has"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_in_one_line_and_changes_nothing(box: Box, case: str) -> None:
    box.base()
    box.alias("0.0.03ff")
    box.add("0.0.0315", "cu=3990-6", str(make_volume(box.directory / "old.ckd")))
    before = addresses(box.drives[BASE])
    schid, options, image, said = REFUSED[case]
    with pytest.raises(UserError) as refused:
        box.add(schid, options, image)
    assert said in refused.value.message
    assert "\n" not in refused.value.message
    assert addresses(box.drives[BASE]) == before


def test_the_image_of_the_base_may_be_named(box: Box) -> None:
    box.base()
    assert box.add(ALIAS, f"alias-of={BASE}", str(box.volume)).run(*reading((0, 1))).ok
