"""Options: each is declared once, with help and an owner; how they are read, set and listed."""

from __future__ import annotations

import ast
import contextlib
import inspect
import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfioccw_fuse.cli.chp import chp_command
from vfioccw_fuse.devices import catalog
from vfioccw_fuse.devices.catalog import TYPES, device_class
from vfioccw_fuse.devices.faults import BEHAVIOUR, QUALIFIERS, Fault, behaviour_of
from vfioccw_fuse.devices.options import (
    READONLY,
    DeviceText,
    Option,
    Options,
    Owner,
    parse_flag,
    parse_time,
    show_time,
)
from vfioccw_fuse.errors import UserError
from vfioccw_fuse.regions.table import Interface
from vfioccw_fuse.vfio.control import (
    CHPIDS,
    CONTROL,
    EVENTS,
    INTERFACE,
    PATH_STATES,
    SUBCHANNEL,
    SWITCHES,
    options_of,
    parse_device,
)

TEXT = st.text(st.characters()) | st.from_regex(r"[-+]?(0x)?[\d_.]+(us|ms|s)?")
"""Any text, surrogates too; and what looks like a number."""
PAGES = Path(__file__).parents[2] / "vfioccw_fuse" / "docs"
TEXT_OF_PAGES = "".join((PAGES / name).read_text() for name in ("devices.md", "faults.md"))


def declared() -> list[Option[Any]]:
    """Every option of every device, each declaration once; then the words of `control` alone."""
    own = [option for name in TYPES for option in device_class(name).options.values()]
    return list(dict.fromkeys([*own, *BEHAVIOUR.values(), *SUBCHANNEL.values(), *CONTROL.values()]))


def table(heading: str) -> list[str]:
    """The rows of the table below the line that begins with *heading*, without its head."""
    rows = TEXT_OF_PAGES[TEXT_OF_PAGES.index(f"\n{heading}") + 1 :].splitlines()[2:]
    return rows[: next(at for at, row in enumerate(rows) if not row.startswith("|"))]


def test_each_word_is_declared_once() -> None:
    words = [option.word for option in declared()]
    assert sorted(set(words)) == sorted(words)


def test_each_type_is_declared_once_and_says_what_it_is() -> None:
    [types] = [
        node.value
        for node in ast.walk(ast.parse(inspect.getsource(catalog)))
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "TYPES"
    ]
    assert isinstance(types, ast.Dict)
    names = [ast.literal_eval(key) for key in types.keys if key is not None]
    assert sorted(set(names)) == sorted(names)
    for name in names:
        kind = device_class(name)
        assert kind.type_name == name or device_class(kind.type_name) is kind
        assert kind.description
        assert kind.takes


@pytest.mark.parametrize("name", TYPES)
def test_a_types_own_options_belong_to_it_and_clash_with_no_others(name: str) -> None:
    assert all(option.owner is Owner.DEVICE for option in device_class(name).options.values())
    assert set(options_of(name)) >= {*BEHAVIOUR, *SUBCHANNEL}


def test_a_declaration_twice_or_without_help_or_owner_is_an_error() -> None:
    with pytest.raises(ValueError, match="readonly"):
        Options(READONLY, READONLY)
    with pytest.raises(ValueError, match="readonly"):
        Options(READONLY) | Options(READONLY)
    for owner, help in ((Owner.DEVICE, ""), (None, "helps")):
        with pytest.raises(ValueError, match="word"):
            Option(word="word", owner=owner, help=help, parse=parse_flag)  # type: ignore[arg-type]


def test_help_is_a_phrase() -> None:
    for option in declared():
        assert not option.help.endswith("."), option.word
    assert all(fault.effect for fault in Fault)


def test_the_readme_lists_the_options_as_they_are_declared() -> None:
    types = {option: set[str]() for option in declared()}
    for name in TYPES:
        for option in device_class(name).options.values():
            types[option].add(name)
    rows = {
        usage.replace("\\|", "|"): (whose, control, help)
        for usage, whose, control, help in (
            re.split(r"(?<!\\)\|", row.strip("|")) for row in table("| option |")
        )
    }
    assert {usage.strip() for usage in rows} == {f"`{option.usage}`" for option in declared()}
    for usage, (whose, control, help) in rows.items():
        [option] = [one for one in declared() if f"`{one.usage}`" == usage.strip()]
        assert help.strip() == option.help, usage
        if option.owner is Owner.DEVICE:
            assert set(whose.replace(",", " ").split()) == types[option], usage
        else:
            assert whose.strip() == option.owner.value, usage
        both, alone = option.word in options_of("fba"), option.word in CONTROL
        expected = "" if not alone else "yes" if both else "only there"
        assert control.strip() == expected, usage


def test_the_readme_lists_the_faults_as_they_are_declared() -> None:
    rows = [
        tuple(cell.strip() for cell in row.strip("|").split("|")) for row in table("| `fault=`")
    ]
    assert rows == [(f"`{fault.value}`", fault.effect) for fault in Fault]


def test_the_readme_lists_what_can_be_said_of_a_fault_as_it_is_declared() -> None:
    rows = [tuple(cell.strip() for cell in row.strip("|").split("|")) for row in table("| when |")]
    assert rows == [(f"`:{one.usage}`", one.help) for one in QUALIFIERS.values()]


def test_the_readme_names_every_device_type() -> None:
    cells = [row.split("|")[1] for row in table("| `--device TYPE@...`")]
    assert set(re.findall("`([^`]+)`", " ".join(cells))) == set(TYPES)


def test_the_commands_of_chp_are_the_states_of_a_path() -> None:
    assert set(chp_command.commands) - {"list"} == set(PATH_STATES)


# --- reading --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("order=foo", "order=foo: big or host"),
        ("csense=x", "csense=x: on or off"),
        ("address-limit=9g", "address-limit=9g: an absolute address below 2 GiB"),
        ("interface=none", "interface=none: not one of start-only, scsw, async, full"),
        ("chpids=zz", "chpids=zz: one to eight different ids in hex"),
        ("chpids=40+40", "chpids=40+40: one to eight"),
        ("delay=soon", "delay=soon: a time such as 3s"),
        ("delay", "delay=: a time such as 3s"),
        ("for=3601", "for=3601: a time such as 3s"),
        ("fault=fire", "fault=fire: unknown; one of none, hang"),
        ("sense=zz", "sense=zz: 1 to 32 bytes in hex"),
        ("count=0", "count=0: a number of hits"),
        (f"count={'9' * 5000}", "count=999"),
        (f"count={'0' * 5000}1", "count=000"),
        (f"delay={'0' * 5000}1", "delay=000"),
        (f"for={'9' * 5000}", "for=999"),
        (f"address-limit={'9' * 5000}", "address-limit=999"),
        (f"address-limit=0x{'f' * 5000}", "address-limit=0xfff"),
        (f"chpids={'4' * 5000}", "chpids=444"),
        ("count=٣", "count=٣: a number of hits"),
        ("delay=٣s", "delay=٣s: a time such as 3s"),
        ("address-limit=٣", "address-limit=٣: an absolute address"),
        ("chpids=٤٠", "chpids=٤٠: one to eight"),
        ("readonly=yes", "readonly=yes: takes no value"),
        ("speed=9", "speed: no such option; one of address-limit"),
        ("unsolicited=80", "unsolicited: no such option"),
    ],
)
def test_what_is_wrong_names_device_word_value_and_remedy(text: str, said: str) -> None:
    with pytest.raises(UserError) as wrong:
        parse_device(f"fba@0.0.0313:disk.img,{text}")
    assert wrong.value.message.startswith(f"fba@0.0.0313: {said}")
    assert len(wrong.value.message) < 400


@given(option=st.sampled_from(declared()), text=TEXT)
def test_any_text_is_a_value_or_a_user_error(option: Option[Any], text: str) -> None:
    with contextlib.suppress(UserError):
        option.read(text)


@given(text=TEXT | st.builds("fba@0.0.0313:{},{}={}".format, TEXT, TEXT, TEXT))
def test_any_text_is_a_device_or_a_user_error(text: str) -> None:
    with contextlib.suppress(UserError):
        parse_device(text)


@pytest.mark.parametrize("letter", ["\0", "\n", "\r", "\x1b", "\x85", "\u2028", "\ud800"])
@pytest.mark.parametrize("kind", ["fba", "3390", "3420", "3490", "3505", "3525", "1403", "3215"])
def test_a_name_that_no_medium_can_have_is_refused(kind: str, letter: str) -> None:
    with pytest.raises(UserError, match="rename it") as wrong:
        parse_device(f"{kind}@0.0.0313:/nowhere/a{letter}b")
    assert wrong.value.message.startswith("/nowhere/a")
    assert wrong.value.message.isprintable()


def test_a_name_that_is_not_utf8_is_a_name() -> None:
    name = b"a-\xff.img"
    spec = parse_device(f"fba@0.0.0313:{os.fsdecode(name)}")
    assert os.fsencode(spec.path) == name


@pytest.mark.parametrize("name", ["3215", "3525", "1403"])
def test_what_is_written_cannot_be_readonly(name: str) -> None:
    with pytest.raises(UserError, match="readonly: no such option; one of"):
        parse_device(f"{name}@0.0.0313:x,readonly")


def test_what_is_attached_has_values() -> None:
    spec = parse_device(
        "FBA@0.0.0313:disk.img,readonly,csense,delay=250ms,fault=unit_check,count=2,sense=4001,"
        "interface=async,chpids=40+42,address-limit=0x1000,for=1s"
    )
    assert (spec.type, spec.schid, spec.path) == ("fba", "0.0.0313", "disk.img")
    assert spec.get(READONLY, False)
    assert spec.get(INTERFACE, None) is Interface.ASYNC
    assert spec.get(CHPIDS, None) == b"\x40\x42"
    assert spec.options["csense"] is True
    assert spec.options["address-limit"] == 0x1000
    assert BEHAVIOUR.show(behaviour_of(spec)) == {
        "delay": "0.25s",
        "fault": "unit-check",
        "sense": "4001",
        "count": "2",
        "for": "1s",
    }


@pytest.mark.parametrize(
    "text", ["fba@0.0.0313:disk.img,readonly,delay=3s", "fba@0.0.0313:a,,b,,,readonly,delay=1,,5s"]
)
def test_a_device_in_words_comes_back_as_it_was(text: str) -> None:
    assert str(DeviceText.parse(text)) == text


def test_a_comma_that_is_written_twice_belongs_to_the_path() -> None:
    said = DeviceText.parse("fba@0.0.0313:,,a,,,,b,,,readonly")
    assert (said.path, said.words) == (",a,,b,", {"readonly": ""})


@pytest.mark.parametrize(
    ("short", "schid"),
    [("0313", "0.0.0313"), ("3F0", "0.0.03f0"), ("0.0.03F0", "0.0.03f0"), ("1.2.0000", "1.2.0000")],
)
def test_an_id_may_be_short(short: str, schid: str) -> None:
    assert DeviceText.parse(f"fba@{short}:disk.img").schid == schid


@pytest.mark.parametrize("wrong", ["", "00313", "0.313", "0.4.0313", "g", "0x313", "0.0.313"])
def test_what_is_no_id_is_none(wrong: str) -> None:
    with pytest.raises(UserError, match=r"not a subchannel id|TYPE@SUBCHANNEL"):
        DeviceText.parse(f"fba@{wrong}:disk.img")


@pytest.mark.parametrize("text", ["3s", "250ms", "100us", "1us", "0", "0.5", "3600"])
def test_a_time_that_is_shown_can_be_written(text: str) -> None:
    seconds = parse_time(text)
    assert parse_time(show_time(seconds)) == pytest.approx(seconds)


def test_switches_and_events_are_all_that_control_takes_beside_help() -> None:
    assert set(CONTROL) == {*BEHAVIOUR, *SWITCHES, *EVENTS, "help"}
