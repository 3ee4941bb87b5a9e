"""Every operation, auxiliary byte and suffix of Locate Record: what is accepted may follow, too.

What is expected stands here as the System/390 Internal Disk Subsystem Reference Guide (SA22-1025)
has it, tables 4-7 to 4-16, and as Hercules does it where that is silent.
"""

from __future__ import annotations

from itertools import product

import pytest

from lab.programs import SLI
from tests.devices.eckd.drive import (
    Command,
    Drive,
    extent,
    locate,
    locate_extended,
    prefix,
    standard_records,
)
from tests.devices.eckd.test_locate import changed

COUNT, HOME, DATA, INDEX = 0x00, 0x40, 0x80, 0xC0
AUXILIARIES_AND_ORIENTATIONS = [*product((0x00, 0x80), (COUNT, HOME, DATA, INDEX))]
BASIC = {
    0x00: {COUNT, HOME, DATA},
    0x01: {COUNT, DATA},
    0x03: {COUNT, HOME, INDEX},
    0x06: {COUNT, HOME, DATA},
    0x0B: {COUNT},
    0x0C: {COUNT, HOME},
    0x16: {COUNT, HOME, DATA, INDEX},
}
"""Operations of Locate Record, and where each may begin."""
IN_BYTE_17 = {
    0x09: {COUNT},
    0x0A: {COUNT},
    0x0E: {COUNT, HOME},
    0x11: {COUNT},
    0x23: {COUNT},
}
"""Those that Locate Record Extended has besides; it lacks 00."""
PARAMETERS = {0x09: b"\1", 0x0A: b"\1", 0x0E: b"\xc0", 0x11: b"\xc0"}
SUFFIXED = {0x01, 0x16}
SUFFIXED_EXTENDED = {0x01, 0x06, 0x09, 0x0A, 0x16}
"""Operations whose domain a Read Count may end."""
ONLY_2107 = {0x11, 0x23}

READS = {0x06, 0x0E, 0x12, 0x1E, 0x16, 0x1A}
MULTITRACK = {code | 0x80 for code in READS}
FOLLOW = {
    0x01: {0x05, 0x85, 0x0D, 0x8D},
    0x03: {0x1D, 0x9D, 0x15, 0x19},
    0x06: READS | MULTITRACK,
    0x09: {0x85},
    0x0A: {0x06, 0x86, 0x12, 0x92, 0x1E, 0x9E},
    0x0B: {0x05, 0x0D, 0x1D, 0x11},
    0x0C: {0xDE, 0xA6},
    0x0E: {0xDE},
    0x11: {0x95},
    0x16: (READS | MULTITRACK) - {0x06},
    0x23: {0xA5},
}
"""Operation to commands that may follow in its domain; a suffix is 12 or 92 at its end."""
MOVES_DATA = set().union(*FOLLOW.values())


def accepts(machine: Drive, opening: list[Command]) -> bool:
    """Whether the last of *opening* is taken; if not, it is an invalid parameter."""
    ending = machine.run(*opening)
    if ending.ok:
        return True
    assert ending.failed(0x80, 0, 4)
    return False


def located(operation: int, orientation: int, auxiliary: int, count: int) -> Command:
    """Locate Record on track 1 of four records of 512 bytes."""
    record = 1 if orientation in (COUNT, DATA) else 0
    length = 512 if auxiliary & 0x80 else 0
    return locate(operation | orientation, 0, 1, record, count, length, auxiliary)


def located_extended(operation: int, orientation: int, auxiliary: int, count: int) -> Command:
    """The same by Locate Record Extended."""
    basic = located(operation, orientation, auxiliary, count)[1]
    assert isinstance(basic, bytes)
    parameter = PARAMETERS.get(operation, b"")
    if operation in IN_BYTE_17:
        extended = locate_extended(0x3F | orientation, 0, 1, 0, count, 0, operation, parameter)
    else:
        extended = locate_extended(operation | orientation, 0, 1, 0, count)
    more = extended[1]
    assert isinstance(more, bytes)
    return (0x4B, more[:1] + basic[1:] + more[16:])


@pytest.mark.parametrize(("auxiliary", "orientation"), AUXILIARIES_AND_ORIENTATIONS)
def test_locate_record_has_the_operations_that_the_manual_lists(
    machine: Drive, auxiliary: int, orientation: int
) -> None:
    for operation in range(0x40):
        count = 1 if operation else 0
        opening = [extent(0xC0), located(operation, orientation, auxiliary, count)]
        expected = orientation in BASIC.get(operation, ())
        assert accepts(machine, opening) == expected, f"{operation:02x}"


@pytest.mark.parametrize("unit", ["3990-6", "2107"])
@pytest.mark.parametrize(("auxiliary", "orientation"), AUXILIARIES_AND_ORIENTATIONS)
def test_locate_record_extended_has_some_more(
    volume, attached, unit: str, auxiliary: int, orientation: int
) -> None:
    machine = attached(volume, cu=unit)
    operations = {code: begin for code, begin in (BASIC | IN_BYTE_17).items() if code}
    if unit == "3990-6":
        operations = {code: begin for code, begin in operations.items() if code not in ONLY_2107}
    for operation in range(1, 0x3F):
        count = 2 if operation == 0x0E else 1
        opening = [extent(0xC0), located_extended(operation, orientation, auxiliary, count)]
        expected = orientation in operations.get(operation, ())
        assert accepts(machine, opening) == expected, f"{operation:02x}"


@pytest.mark.parametrize("operation", [code for code in BASIC | IN_BYTE_17 if code])
def test_the_auxiliary_byte_has_two_bits(machine_2107: Drive, operation: int) -> None:
    """With 80 there is a length, with 01 a suffix, if the operation has one."""
    for auxiliary in range(256):
        defined = not auxiliary & 0x7E
        if operation in BASIC:
            opening = [extent(0xC0), located(operation, COUNT, auxiliary, 2)]
            expected = defined and (not auxiliary & 1 or operation in SUFFIXED)
            assert accepts(machine_2107, opening) == expected, f"{auxiliary:02x}"
        opening = [extent(0xC0), located_extended(operation, COUNT, auxiliary, 2)]
        expected = defined and (not auxiliary & 1 or operation in SUFFIXED_EXTENDED)
        assert accepts(machine_2107, opening) == expected, f"{auxiliary:02x}"


def may_follow(machine: Drive, opening: list[Command], code: int) -> bool:
    """Whether command *code* may come behind *opening*; it may fail for another reason."""
    data: bytes | int = 56000
    if code & 3 == 1:
        data = {0x19: b"\0\0\0\0\1", 0x95: machine.track(0, 1)[5:2200]}.get(code, bytes(512))
    ending = machine.run(*opening, (code, data, SLI))
    return not (ending.failed(0x80, 0, 2) or ending.failed(0x80, 0, 1))


FROM_THE_START = {0x15: HOME, 0x19: HOME, 0x16: HOME, 0x96: HOME, 0x1A: INDEX, 0x9A: INDEX}
"""Commands that need the start of the track where the operation is Format Write or Read."""
NEVER_FIRST = 0x9D


@pytest.mark.parametrize("operation", FOLLOW)
def test_what_an_operation_announces_may_follow_and_nothing_else(
    machine_2107: Drive, operation: int
) -> None:
    slots = [machine_2107.track(0, head) for head in range(3)]
    auxiliaries = (0x80, 0x81) if operation in SUFFIXED_EXTENDED else (0x80,)
    for auxiliary, code in product(auxiliaries, sorted(MOVES_DATA)):
        where = COUNT
        if operation in (0x03, 0x16):
            where = FROM_THE_START.get(code, COUNT)
        count = 2 if auxiliary & 1 or operation == 0x0E else 1
        opening = [extent(0xC0), located_extended(operation, where, auxiliary, count)]
        expected = code in FOLLOW[operation] and code != NEVER_FIRST
        assert may_follow(machine_2107, opening, code) == expected, f"{auxiliary:02x} {code:02x}"
        for track, slot in enumerate(slots):
            machine_2107.device.image.write(track, 0, slot)


@pytest.mark.parametrize("suffix", [0x12, 0x92])
@pytest.mark.parametrize(
    ("operation", "code"), [(0x01, 0x85), (0x06, 0x86), (0x09, 0x85), (0x0A, 0x86), (0x16, 0x86)]
)
def test_a_read_count_ends_every_domain_that_announces_it(
    machine_2107: Drive, operation: int, code: int, suffix: int
) -> None:
    data: bytes | int = bytes(512) if code == 0x85 else 512
    for opening in (
        [extent(0xC0), located_extended(operation, COUNT, 0x81, 3)],
        [prefix(extent(0xC0), located_extended(operation, COUNT, 0x81, 3))],
    ):
        if operation in PARAMETERS and len(opening) == 1:
            body = opening[0][1]
            assert isinstance(body, bytes)
            assert body[64:] == PARAMETERS[operation]
        ending = machine_2107.run(*opening, (code, data), (code, data), (suffix, 8))
        assert ending.ok, ending.sense.hex()
        assert ending.data[-1][:5] == b"\0\0\0\1\3"


def test_a_read_count_comes_into_a_write_domain_only_where_it_was_announced(
    machine_2107: Drive,
) -> None:
    write = (0x85, bytes(512))
    for operation in (0x01, 0x09):
        early = [extent(0xC0), located_extended(operation, COUNT, 0x81, 3), write, (0x92, 8)]
        assert machine_2107.run(*early, write).failed(0x80, 0, 2)
        never = [extent(0xC0), located_extended(operation, COUNT, 0x80, 2), write, (0x92, 8)]
        assert machine_2107.run(*never).failed(0x80, 0, 2)


def test_read_any_without_a_search_argument_begins_before_the_first_record(
    machine: Drive,
) -> None:
    """Record 0 is none: the first count, and the first data, are those of record 1."""
    any_ = changed(locate_extended(0x3F, 0, 1, 0, 4, 0, 0x0A, b"\1"), 8, bytes(5))
    pairs = [(0x92, 8), (0x86, 512)] * 2
    counts = machine.run(extent(), any_, *pairs)
    assert counts.data[2].hex() == "0000000101000200"
    assert counts.data[3] == standard_records(1)[0][1]
    assert counts.data[4].hex() == "0000000102000200"
    one = changed(locate_extended(0x3F, 0, 1, 0, 1, 0, 0x0A, b"\1"), 8, bytes(5))
    assert machine.run(extent(), one, (0x86, 512)).data[2] == standard_records(1)[0][1]
    whole = [any_, *[(0x92, 8)] * 5]
    assert [data[4] for data in machine.run(extent(), *whole).data[2:]] == [1, 2, 3, 4, 1]


@pytest.mark.parametrize("operation", [0x09, 0x0A])
def test_any_record_of_a_track_that_has_none(machine: Drive, operation: int) -> None:
    empty = locate_extended(0x3F, 2, 2, 0, 1, 0, operation, b"\1")
    assert machine.run(extent(0xC0), empty).failed(0, 0x08)


@pytest.mark.parametrize("operation", [0x09, 0x0A])
def test_an_extent_of_any_record_need_not_have_an_end(machine_2107: Drive, operation: int) -> None:
    """z/VM names the track before as the last one: the operation never leaves the track."""
    any_ = locate_extended(0x3F, 1, 1, 0, 1, 0, operation, b"\1")
    reversed_ = extent(0xC0, (1, 1), (1, 0))
    assert machine_2107.run(prefix(reversed_, any_)).ok
    assert machine_2107.run(reversed_, any_).failed(0x80, 0, 4)
    read = prefix(reversed_, locate_extended(0x06, 1, 1, 1))
    assert machine_2107.run(read).failed(0x80, 0, 4)
    before = prefix(extent(0xC0, (1, 2), (1, 0)), any_)
    assert machine_2107.run(before).failed(0, 0x04)
