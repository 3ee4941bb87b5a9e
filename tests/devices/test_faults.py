"""Faults: how they are written, what contradicts itself, when each hits; without a channel."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.css.machine import DiskMachine
from vfioccw_fuse.devices.faults import (
    BEFORE_COMMANDS,
    BEHAVIOUR,
    KINDS,
    QUALIFIERS,
    Armed,
    Behaviour,
    Fault,
    FaultRule,
    Hit,
    codes_of,
    parse_faults,
    show_faults,
)
from vfioccw_fuse.errors import UserError, shortened

NOWHERE = range(0)


def armed(text: str, count: int | None = None) -> Behaviour:
    behaviour = Behaviour()
    behaviour.switch(parse_faults(text), count)
    return behaviour


def hits(behaviour: Behaviour, *codes: int, place: range = NOWHERE) -> list[str]:
    """A start function of commands *codes*: what hits which of them, until one ends it."""
    begun = behaviour.begin()
    said = []
    for nth, code in enumerate(codes, 1):
        for hit in behaviour.meet(begun, nth, code, place):
            said.append(f"{hit.fault.value} {nth}")
            if hit.fault not in (Fault.DELAY, Fault.LOST_INTERRUPTION):
                return said
    return said


# --- written --------------------------------------------------------------------------------------

SPANS = st.tuples(st.integers(1, 500), st.integers(0, 500)).flatmap(
    lambda low: st.sampled_from([str(low[0]), f"{low[0]}-{sum(low)}", f"{low[0]}-"])
)
VALUES: dict[str, st.SearchStrategy[str]] = {
    "command": st.lists(
        st.sampled_from(list(KINDS)) | st.integers(0, 255).map("{:02x}".format), min_size=1
    ).map("/".join),
    "nth": SPANS,
    "start": SPANS,
    "blocks": SPANS,
    "tracks": SPANS,
    "rate": st.integers(1, 10**9).map(lambda n: f"{n / 1e9:.9f}") | st.just("12.5%"),
    "seed": st.integers(0, 2**63).map(str),
    "sense": st.binary(min_size=1, max_size=32).map(bytes.hex),
    "for": st.integers(0, 3_600_000_000).map("{}us".format),
    "count": st.integers(1, 999_999_999).map(str),
}


@st.composite
def written(draw: st.DrawFn) -> str:
    """One fault that is well written."""
    fault = draw(st.sampled_from(list(Fault)[1:]))
    words = [word for word in QUALIFIERS if fault in QUALIFIERS[word].faults]
    chosen = draw(st.lists(st.sampled_from(words), unique=True))
    if "seed" in chosen and "rate" not in chosen:
        chosen.append("rate")
    if "blocks" in chosen and "tracks" in chosen:
        chosen.remove("tracks")
    said = (f":{word}={draw(VALUES[word])}" for word in chosen)
    return f"{fault.value}{''.join(said)}"


@given(texts=st.lists(written(), min_size=1, max_size=4))
def test_what_is_shown_is_read_as_the_same_faults(texts: list[str]) -> None:
    rules = parse_faults(texts[0])
    with contextlib.suppress(UserError):  # some may hide others
        rules = parse_faults("+".join(texts))
    assert [rule.fault.value for rule in rules] == [
        text.partition(":")[0] for text in texts[: len(rules)]
    ]
    assert parse_faults(show_faults(rules)) == rules
    behaviour = Behaviour()
    behaviour.switch(rules)
    assert behaviour.faults == rules
    again = Behaviour()
    BEHAVIOUR.put(again, BEHAVIOUR.read(BEHAVIOUR.show(behaviour)))
    assert BEHAVIOUR.show(again) == BEHAVIOUR.show(behaviour)


def test_every_qualifier_has_values_here() -> None:
    assert set(VALUES) == set(QUALIFIERS)


@given(text=st.text() | st.from_regex(r"\A(hang|delay|busy)(:[a-z]+=[0-9%./-]*){0,3}(\+hang)?\Z"))
def test_any_text_is_faults_or_a_user_error(text: str) -> None:
    try:
        rules = parse_faults(text)
    except UserError:
        return
    assert parse_faults(show_faults(rules)) == rules


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fire", "unknown; one of none, hang"),
        ("hang:", ": no such option; one of blocks"),
        ("hang:when=5", "when: no such option; one of blocks, command, count"),
        ("hang:nth=0", "nth=0: a number or a range from 1 to 999999999"),
        ("hang:nth=5-4", "nth=5-4: a number or a range from 1"),
        ("hang:nth=1000000000", "nth=1000000000: a number or a range"),
        ("hang:start=-5", "start=-5: a number or a range from 1"),
        ("hang:blocks=x", "blocks=x: a number or a range from 0"),
        ("hang:rate=0", "rate=0: more than 0 and at most 1"),
        ("hang:rate=1.1", "rate=1.1: more than 0 and at most 1"),
        ("hang:rate=101%", "rate=101%: more than 0 and at most 1"),
        ("hang:rate=-1", "rate=-1: more than 0"),
        ("hang:rate=nan", "rate=nan: more than 0"),
        ("hang:rate=0.1:seed=x", "seed=x: a number"),
        ("hang:seed=7", "seed without a rate; say rate, too"),
        ("hang:nth=1:nth=2", "nth is said twice of hang"),
        ("hang:command=6", "command=6: codes of two hex digits or write, read"),
        ("hang:command=read/erase", "command=read/erase: codes of two hex digits"),
        ("hang:sense=10", "sense cannot be said of hang; leave it out"),
        ("unit-check:for=1s", "for cannot be said of unit-check"),
        ("unit-check:sense=", "sense=: 1 to 32 bytes in hex"),
        ("delay:for=2h", "for=2h: a time such as 3s"),
        ("delay:count=0", "count=0: a number of hits"),
        ("not-operational:command=06", "command cannot be said of not-operational"),
        ("processing:nth=2", "nth cannot be said of processing"),
        ("none:count=1", "count cannot be said of none"),
        ("hang+none", "none stands alone"),
        ("hang:blocks=1:tracks=1", "no device has both blocks and tracks"),
        ("+".join(["delay"] * 33), "33 faults; at most 32 at a time"),
        ("hang+busy", "busy never hits, as hang comes before it"),
        ("hang+busy:command=06", "busy:command=06 never hits, as hang comes before it"),
        ("busy:nth=2+hang:nth=2:command=read", "hang:nth=2:command=read never hits"),
        ("hang+not-operational", "hang never hits, as not-operational comes before it"),
    ],
)
def test_what_is_wrong_is_named_with_the_remedy(text: str, said: str) -> None:
    with pytest.raises(UserError) as wrong:
        parse_faults(text)
    assert wrong.value.message.startswith(said)
    with pytest.raises(UserError) as wrong:
        BEHAVIOUR.read({"fault": text})
    assert wrong.value.message.startswith(f"fault={shortened(text)}: {said}")


@pytest.mark.parametrize(
    "text",
    [
        "hang:count=1+busy",  # the first is over some day
        "busy:rate=0.5+hang",
        "hang:start=3+busy",
        "hang:command=06+busy",
        "delay+hang",  # they come together
        "lost-interruption+delay+busy",
        "processing+not-operational",
        "not-operational:start=2+hang",
    ],
)
def test_faults_that_can_all_hit_do_not_contradict(text: str) -> None:
    assert show_faults(parse_faults(text)) == text


def test_a_list_of_a_configuration_file_is_the_faults_apart_by_plus() -> None:
    texts = ["delay:for=1ms", "unit-check:command=read"]
    assert [str(rule) for rule in parse_faults("+".join(texts))] == ["delay:for=0.001s", texts[1]]


# --- hit ------------------------------------------------------------------------------------------


def test_the_kinds_of_commands_are_every_code_but_tic_and_the_invalid_once() -> None:
    codes = sorted(code for kind in KINDS.values() for code in kind)
    assert codes == [code for code in range(256) if code & 0x0F not in (0x00, 0x08)]
    assert {0x06, 0x86, 0x02} < codes_of(["read"])
    assert codes_of(["sense", "06"]) == KINDS["sense"] | {0x06}


def test_a_fault_alone_hits_the_first_command_of_every_start() -> None:
    behaviour = armed("hang")
    assert [hits(behaviour, 0x63, 0x43, 0x42) for _ in range(3)] == [["hang 1"]] * 3


def test_command_says_which_commands() -> None:
    behaviour = armed("unit-check:command=42/write")
    assert hits(behaviour, 0x63, 0x43, 0x42) == ["unit-check 3"]
    assert hits(behaviour, 0x63, 0x43, 0x41) == ["unit-check 3"]
    assert hits(behaviour, 0x63, 0x43, 0x02) == []


def test_nth_says_which_command_of_each_start() -> None:
    behaviour = armed("unit-check:nth=2-3:command=read")
    assert hits(behaviour, 0x02, 0x43, 0x02) == ["unit-check 3"]
    assert hits(behaviour, 0x02, 0x43, 0x43, 0x02) == []
    assert hits(armed("busy:nth=3-"), 3, 3, 3) == ["busy 3"]


def test_start_says_which_start_function_since_it_was_switched_on() -> None:
    behaviour = armed("busy:start=2-3")
    assert [bool(hits(behaviour, 3)) for _ in range(5)] == [False, True, True, False, False]
    behaviour.switch(parse_faults("busy:start=1"))
    assert hits(behaviour, 3) == ["busy 1"]


@pytest.mark.parametrize(
    ("place", "hit"),
    [(range(4, 5), False), (range(4, 6), True), (range(7, 8), True), (range(9, 99), True),
     (range(10, 11), False), (range(0), False)],
)  # fmt: skip
@pytest.mark.parametrize("word", ["blocks", "tracks"])
def test_blocks_and_tracks_say_where(word: str, place: range, hit: bool) -> None:
    assert bool(hits(armed(f"busy:{word}=5-9"), 3, place=place)) == hit


def test_a_rate_hits_about_so_many_and_the_same_ones_by_the_same_seed() -> None:
    def pattern(text: str) -> list[bool]:
        behaviour = armed(text)
        return [bool(hits(behaviour, 3)) for _ in range(4000)]

    by_seed = {seed: pattern(f"busy:rate=10%:seed={seed}") for seed in range(3)}
    assert by_seed[1] == pattern("busy:rate=0.1:seed=1") == pattern("busy:rate=0.1")
    assert by_seed[0] != by_seed[1] != by_seed[2]
    for found in by_seed.values():
        assert 320 < sum(found) < 480
    assert all(pattern("busy:rate=1"))


def test_a_rate_is_asked_only_of_what_the_others_mean() -> None:
    reads = armed("busy:command=02:rate=0.5:seed=3")
    mixed = armed("busy:command=02:rate=0.5:seed=3")
    alone = [bool(hits(reads, 0x02)) for _ in range(50)]
    between = [bool(hits(mixed, 0x03, 0x03, 0x02)) for _ in range(50)]
    assert alone == between


def test_count_ends_the_fault_that_says_it_and_what_is_left_is_shown() -> None:
    behaviour = armed("busy:count=2+hang")
    assert [hits(behaviour, 3) for _ in range(2)] == [["busy 1"]] * 2
    assert show_faults(behaviour.faults) == "hang"
    behaviour = armed("busy:count=5:rate=1")
    hits(behaviour, 3)
    assert show_faults(behaviour.faults) == "busy:count=4:rate=1"


def test_the_option_count_is_for_faults_that_say_none() -> None:
    behaviour = armed("hang:nth=1+busy:nth=2:count=1", count=2)
    assert hits(behaviour, 3, 3) == ["hang 1"]
    assert BEHAVIOUR.show(behaviour)["count"] == "1"
    assert hits(behaviour, 3, 3) == ["hang 1"]
    assert show_faults(behaviour.faults) == "busy:nth=2:count=1"
    assert "count" not in BEHAVIOUR.show(behaviour)
    assert hits(behaviour, 3, 3) == ["busy 2"]
    assert behaviour.faults == ()


def test_the_first_that_ends_the_command_ends_the_asking() -> None:
    behaviour = armed("delay+busy:start=1+hang:rate=1")
    assert hits(behaviour, 3) == ["delay 1", "busy 1"]
    assert hits(behaviour, 3) == ["delay 1", "hang 1"]


def test_sense_and_time_of_a_fault_come_before_the_options() -> None:
    behaviour = armed("delay:for=3ms+unit-check:sense=0800:start=1+unit-check")
    behaviour.sense, behaviour.time = b"\x40", 1.0
    begun = behaviour.begin()
    assert behaviour.meet(begun, 1, 3, NOWHERE) == [
        Hit(Fault.DELAY, b"\x40", 0.003),
        Hit(Fault.UNIT_CHECK, b"\x08\x00", 1.0),
    ]
    assert behaviour.meet(behaviour.begin(), 1, 3, NOWHERE)[1].sense == b"\x40"


def test_a_fault_that_is_over_hits_no_program_that_has_begun() -> None:
    behaviour = armed("busy:nth=2")
    begun = behaviour.begin()
    behaviour.switch(Fault.NONE)
    assert behaviour.meet(begun, 2, 3, NOWHERE) == []


def test_not_operational_uses_up_count_by_every_instruction() -> None:
    behaviour = armed("not-operational:count=2")
    assert [behaviour.refuses(start=start) for start in (False, True, True)] == [True, True, False]
    assert behaviour.faults == ()


def test_not_operational_of_a_start_lets_other_instructions_be() -> None:
    behaviour = armed("not-operational:start=2")
    assert [behaviour.refuses(start=start) for start in (True, False, True, True)] == [
        False, False, True, False,
    ]  # fmt: skip


def test_processing_is_for_the_driver_alone() -> None:
    behaviour = armed("processing:for=500ms+hang:start=1", count=2)
    assert hits(behaviour, 3) == ["hang 1"]
    assert behaviour.processing() == 0.5
    assert behaviour.processing() is None, "both that say no number are over"
    assert armed("hang").processing() is None


def test_each_fault_is_asked_at_one_place() -> None:
    for fault in list(Fault)[1:]:
        behaviour = Behaviour()
        behaviour.switch(fault)
        places = [
            behaviour.refuses(), behaviour.processing() is not None, bool(hits(behaviour, 3)),
        ]  # fmt: skip
        assert places.count(True) == 1, fault
        assert places[2] == (fault not in BEFORE_COMMANDS)


def test_what_is_armed_is_not_shared_by_those_who_arm_it() -> None:
    rule = FaultRule(Fault.BUSY, {"count": 1})
    one, other = Armed(rule), Armed(rule)
    one.left = 0
    assert other.left == 1


# --- the places of a device -----------------------------------------------------------------------


def test_a_disk_is_at_the_blocks_that_were_located(tmp_path: Path) -> None:
    machine = DiskMachine(tmp_path)
    machine.sch.behaviour.switch(parse_faults("unit-check:blocks=9-"))
    before = machine.reading(5, 4, (0x42, 0x20, 2048, 0x10000))
    assert machine.run(*before).dstat == 0x0C
    assert machine.run(*machine.reading(5, 5, (0x42, 0x20, 2560, 0x10000))).dstat == 0x0E
    assert machine.device.at() == range(5, 10)
    machine.close()
