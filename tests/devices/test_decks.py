"""Decks of cards: texts and their code pages, the end of a deck, several files as one deck."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lab.programs import ENDED, UC, UE
from tests.devices.unit import Unit, attached, ccw, spec
from tests.machine import DATA
from vfioccw_fuse.devices.ebcdic import PAGES
from vfioccw_fuse.devices.unitrec.printer import Printer1403
from vfioccw_fuse.devices.unitrec.reader import Reader3505
from vfioccw_fuse.errors import UserError

READ = 0x02
INTERVENTION = b"\x40\x10"


def card(text: str, page: str = "037") -> bytes:
    return PAGES[page].encode(text.ljust(80))


def text_reader(path: Path, **words: str) -> Reader3505:
    return Reader3505.open(spec("3505", path, readonly=False, ascii="", **words))


async def card_of(unit: Unit) -> bytes:
    """The next card, which must be there."""
    assert (await unit.run(ccw(READ, 80, flags=0))).dstat == ENDED
    return unit.load(DATA, 80)


async def ends(unit: Unit) -> None:
    """There is no card, and sense says why."""
    assert (await unit.run(ccw(READ, 80))).dstat == ENDED | UC
    assert (await unit.sense())[:2] == INTERVENTION


# --- X'1A' ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", [b"ONE\nTWO\n\x1a", b"ONE\nTWO\x1a", b"ONE\r\nTWO\r\n\x1a\x1a\x1ajunk\xff\nno card\n"]
)
async def test_1a_is_the_end_of_the_file_and_no_card(tmp_path, text):
    (tmp_path / "deck").write_bytes(text)
    async with attached(text_reader(tmp_path / "deck"), tmp_path) as unit:
        assert await card_of(unit) == card("ONE")
        assert await card_of(unit) == card("TWO")
        ending = await unit.run(ccw(READ, 80))
        assert (ending.dstat, ending.count) == (ENDED | UE, 80)
        await ends(unit)


async def test_1a_and_eof_are_one_end(tmp_path):
    (tmp_path / "deck").write_bytes(b"ONE\n\x1a")
    async with attached(text_reader(tmp_path / "deck", eof=""), tmp_path) as unit:
        await card_of(unit)
        assert (await unit.run(ccw(READ, 80))).dstat == ENDED | UE
        await ends(unit)


async def test_a_deck_of_cards_may_have_1a(tmp_path):
    (tmp_path / "deck").write_bytes(b"\x1a" * 80)
    async with attached(Reader3505.open(spec("3505", tmp_path / "deck")), tmp_path) as unit:
        assert await card_of(unit) == b"\x1a" * 80


# --- what has no counterpart ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("//A\n\tprice 5 \u20ac\n".encode(), "line 2, column 10", "U+20AC"),
        ("\ufeff//A\n".encode(), "line 1, column 1", "U+FEFF"),
        (b"//A\n//B\nx\xff\n", "line 3, column 2", "byte ff is not UTF-8"),
        ("\u00e9\u00e9".encode() + b"\xc3", "line 1, column 3", "byte c3 is not UTF-8"),
        (b"\n" * 5000 + "\u4e16".encode(), "line 5001, column 1", "U+4E16"),
    ],
)
def test_a_character_without_counterpart_is_found_when_the_deck_is_attached(
    tmp_path, text, where, what
):
    path = tmp_path / "deck"
    path.write_bytes(text)
    with pytest.raises(UserError) as refused:
        text_reader(path)
    message = refused.value.message
    assert message.startswith(f"{path}: {where}: {what}")
    assert "\n" not in message
    assert path.read_bytes() == text


async def test_a_character_without_counterpart_that_comes_later_is_a_data_check(tmp_path):
    path = tmp_path / "deck"
    path.write_bytes(b"ONE\n")
    async with attached(text_reader(path), tmp_path) as unit:
        await card_of(unit)
        with path.open("ab") as file:
            file.write("\u20ac\n".encode() + b"\xff\nTWO\n")
        for _ in range(2):
            assert (await unit.run(ccw(READ, 80))).dstat == ENDED | UC
            assert (await unit.sense())[:1] == b"\x08"
        assert await card_of(unit) == card("TWO")


# --- code pages -----------------------------------------------------------------------------------


@pytest.mark.parametrize("page", ["037", "500", "1047"])
def test_a_page_is_as_iconv_has_it(page):
    """The C library's tables; 1047 is the one that Python has not."""
    letters = "".join(PAGES[page].decode(bytes([byte])) for byte in range(0x40, 0xFF))
    letters = "".join(letter for letter in letters if letter.isprintable() and letter != "\ufffd")
    assert len(letters) > 140
    done = subprocess.run(
        ["iconv", "-f", "UTF-8", "-t", f"IBM{page}"],
        input=letters.encode(), capture_output=True, check=True,
    )  # fmt: skip
    assert PAGES[page].encode(letters) == done.stdout
    assert PAGES[page].decode(done.stdout) == letters


@pytest.mark.parametrize(("page", "bracket"), [("037", "ba"), ("500", "4a"), ("1047", "ad")])
async def test_cards_are_in_the_code_page_that_is_asked_for(tmp_path, page, bracket):
    (tmp_path / "deck").write_text("[x]\n")
    words = {"code-page": page}
    async with attached(text_reader(tmp_path / "deck", **words), tmp_path) as unit:
        read = await card_of(unit)
        assert read[:1].hex() == bracket
        assert read == card("[x]", page)


async def test_a_page_decides_what_has_a_counterpart(tmp_path):
    (tmp_path / "deck").write_text("5 \u20ac\n")
    async with attached(text_reader(tmp_path / "deck", **{"code-page": "1140"}), tmp_path) as unit:
        assert await card_of(unit) == card("5 \u20ac", "1140")


async def test_lines_are_printed_from_the_code_page(tmp_path):
    words = {"code-page": "1047"}
    device = Printer1403.open(spec("1403", tmp_path / "out", readonly=False, **words))
    async with attached(device, tmp_path) as unit:
        unit.store(DATA, PAGES["1047"].encode("a[i]^"))
        assert (await unit.run(ccw(0x09, 5, flags=0))).dstat == ENDED
    assert (tmp_path / "out").read_text() == "a[i]^\n"


def test_an_unknown_page_is_refused(tmp_path):
    with pytest.raises(UserError, match="code-page=99999: one of 037, "):
        text_reader(tmp_path / "deck", **{"code-page": "99999"})
    with pytest.raises(UserError, match="is for a text; add `ascii`"):
        Reader3505.open(spec("3505", tmp_path / "deck", readonly=False, **{"code-page": "500"}))


# --- several files --------------------------------------------------------------------------------


@pytest.fixture
def decks(tmp_path):
    """A directory of three decks, and what is none."""
    place = tmp_path / "decks"
    place.mkdir()
    for name, text in (("b", "THREE\n"), ("a", "ONE\nTWO\n"), ("c", "FOUR\n"), (".hidden", "NO\n")):
        (place / name).write_text(text)
    (place / "sub").mkdir()
    return place


async def test_the_files_of_a_directory_are_one_deck_in_the_order_of_their_names(decks, tmp_path):
    async with attached(text_reader(decks, eof=""), tmp_path) as unit:
        for text in ("ONE", "TWO", "THREE", "FOUR"):
            assert await card_of(unit) == card(text)
        assert (await unit.run(ccw(READ, 80))).dstat == ENDED | UE
        await ends(unit)
        with (decks / "c").open("a") as file:
            file.write("FIVE\n")
        assert await card_of(unit) == card("FIVE")


async def test_without_eof_the_operator_is_needed_behind_the_last_file_alone(decks, tmp_path):
    async with attached(text_reader(decks), tmp_path) as unit:
        for text in ("ONE", "TWO", "THREE", "FOUR"):
            assert await card_of(unit) == card(text)
        await ends(unit)


async def test_1a_ends_one_file_of_several(decks, tmp_path):
    (decks / "a").write_text("ONE\n\x1anothing\n")
    async with attached(text_reader(decks), tmp_path) as unit:
        assert await card_of(unit) == card("ONE")
        assert (await unit.run(ccw(READ, 80))).dstat == ENDED | UE
        assert await card_of(unit) == card("THREE")


async def test_files_of_cards_are_a_deck_too(tmp_path):
    place = tmp_path / "decks"
    place.mkdir()
    for name in "ab":
        (place / name).write_bytes(card(name))
    async with attached(Reader3505.open(spec("3505", place)), tmp_path) as unit:
        assert await card_of(unit) == card("a")
        assert await card_of(unit) == card("b")
        await ends(unit)


def test_one_file_that_is_no_deck_refuses_them_all(decks, tmp_path):
    with pytest.raises(UserError, match="decks/a: 8 bytes are not whole cards"):
        Reader3505.open(spec("3505", decks))
    (decks / "c").write_bytes(b"\xff")
    with pytest.raises(UserError, match="decks/c: line 1, column 1"):
        text_reader(decks)


def test_a_directory_without_files_is_no_deck(tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match="no file in this directory; put decks there"):
        text_reader(tmp_path / "none")


async def test_a_reader_may_be_empty(tmp_path):
    async with attached(Reader3505.open(spec("3505", "-")), tmp_path) as unit:
        await ends(unit)
