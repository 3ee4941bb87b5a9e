"""Card reader, card punch and printer: cards, lines, unit status, sense data."""

from __future__ import annotations

import os
import resource
import signal

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.programs import CD, ENDED, INCORRECT_LENGTH, UC, UE
from tests.devices.unit import attached, ccw, spec
from tests.machine import DATA
from vfioccw_fuse.devices.unitrec.printer import Printer1403
from vfioccw_fuse.devices.unitrec.punch import Punch3525
from vfioccw_fuse.devices.unitrec.reader import Reader3505
from vfioccw_fuse.errors import UserError

NOP, SENSE_ID, RDC = 0x03, 0xE4, 0x64
READ = 0x02

CARDS = [bytes((0xC1 + 16 * n + at) & 0xFF for at in range(80)) for n in range(5)]


def ebcdic(text: str) -> bytes:
    return text.encode("cp037")


@pytest.fixture
def deck(tmp_path):
    path = tmp_path / "deck"
    path.write_bytes(b"".join(CARDS))
    return path


# ---------------------------------------------------------------------------------------- reader
@pytest.fixture
async def reader(deck, tmp_path):
    async with attached(Reader3505.open(spec("3505", deck, ebcdic="")), tmp_path) as unit:
        yield unit


@pytest.mark.parametrize("code", [0x02, 0x42, 0x82, 0xC2, 0x22, 0xEA])
async def test_every_read_reads_the_next_card(reader, code):
    for card in CARDS[:3]:
        ending = await reader.run(ccw(code, 80, flags=0))
        assert (ending.dstat, ending.cstat, ending.count) == (ENDED, 0, 0)
        assert reader.load(DATA, 80) == card


async def test_a_card_has_eighty_columns(reader):
    ending = await reader.run(ccw(READ, 79, flags=0))
    assert (ending.dstat, ending.cstat) == (ENDED, INCORRECT_LENGTH)
    ending = await reader.run(ccw(READ, 81))
    assert (ending.dstat, ending.cstat, ending.count) == (ENDED, 0, 1)
    assert reader.load(DATA, 80) == CARDS[1]


async def test_a_card_can_be_scattered(reader):
    ending = await reader.run(ccw(READ, 40, DATA, CD) + ccw(READ, 30, DATA + 80, 0))
    assert (ending.dstat, ending.cstat) == (ENDED, INCORRECT_LENGTH)
    assert reader.load(DATA, 40) + reader.load(DATA + 80, 30) == CARDS[0][:70]


async def test_behind_the_last_card_the_operator_is_needed(reader, deck):
    ending = await reader.run(*[ccw(READ, 80)] * 7)
    assert (ending.dstat, ending.commands) == (ENDED | UC, 6)
    assert (await reader.sense()).hex() == "40100000"
    assert (await reader.sense()).hex() == "40100000"  # and as long as the hopper is empty
    with deck.open("ab") as file:
        file.write(b"\xf0" * 80)
    assert (await reader.sense()).hex() == "00000000"
    assert (await reader.run(ccw(READ, 80, flags=0))).dstat == ENDED
    assert reader.load(DATA, 80) == b"\xf0" * 80


async def test_end_of_file_is_unit_exception_once(deck, tmp_path):
    async with attached(Reader3505.open(spec("3505", deck, eof="")), tmp_path) as unit:
        ending = await unit.run(*[ccw(READ, 80)] * 6)
        assert (ending.dstat, ending.commands, ending.count) == (ENDED | UE, 6, 80)
        assert (await unit.run(ccw(READ, 80))).dstat == ENDED | UC
        assert (await unit.sense())[:2] == b"\x40\x10"


@pytest.mark.parametrize("code", [0x23, 0x63, 0xA3, NOP])
async def test_a_feed_alone_moves_no_card(reader, code):
    assert (await reader.run(ccw(code), ccw(READ, 80, flags=0))).dstat == ENDED
    assert reader.load(DATA, 80) == CARDS[0]


@pytest.mark.parametrize("code", [0x01, RDC, 0xFA, 0xFF, 0xBA])
async def test_a_reader_only_reads(reader, code):
    assert (await reader.run(ccw(code, 80))).dstat & UC
    assert (await reader.sense()).hex() == "80000000"


async def test_a_reader_tells_what_it_is(reader):
    ending = await reader.run(ccw(SENSE_ID, 256))
    assert (ending.dstat, ending.count) == (ENDED, 249)
    assert reader.load(DATA, 7).hex() == "ff350501350501"


async def test_a_text_is_read_as_cards(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(b"//JOB  X\r\n\tA\n\n" + b"x" * 81 + b"\nlast \xc3\xa9")
    async with attached(Reader3505.open(spec("3505", path, ascii="")), tmp_path) as unit:
        for text in ("//JOB  X", "        A", ""):
            assert (await unit.run(ccw(READ, 80, flags=0))).dstat == ENDED
            assert unit.load(DATA, 80) == ebcdic(text.ljust(80))
        assert (await unit.run(ccw(READ, 80))).dstat == ENDED | UC
        assert (await unit.sense()).hex() == "08000000"
        assert (await unit.run(ccw(READ, 80))).dstat == ENDED
        assert unit.load(DATA, 80) == ebcdic("last é".ljust(80))
        assert (await unit.run(ccw(READ, 80))).dstat == ENDED | UC


async def test_a_deck_that_is_cut_has_no_more_cards(reader, deck):
    os.truncate(deck, 100)
    assert (await reader.run(ccw(READ, 80))).dstat == ENDED
    assert (await reader.run(ccw(READ, 80))).dstat == ENDED | UC
    assert (await reader.sense())[0] == 0x40


@pytest.mark.parametrize(
    ("size", "options", "words"),
    [(81, {}, "81 bytes are not whole cards"), (80, {"ascii": "", "ebcdic": ""}, "not both")],
)
def test_what_is_no_deck_is_refused(tmp_path, size, options, words):
    path = tmp_path / "x"
    path.write_bytes(bytes(size))
    with pytest.raises(UserError, match=words):
        Reader3505.open(spec("3505", path, **options))


def test_a_deck_must_be_a_file(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        Reader3505.open(spec("3505", tmp_path / "none"))
    with pytest.raises(UserError, match="not a file"):
        Reader3505.open(spec("3505", "/dev/null"))


# ----------------------------------------------------------------------------------------- punch
@pytest.fixture
async def punch(tmp_path):
    async with attached(Punch3525.open(spec("3525", tmp_path / "out")), tmp_path) as unit:
        yield unit


@pytest.mark.parametrize("code", [0x01, 0x41, 0x81])
async def test_a_card_is_punched(punch, tmp_path, code):
    punch.store(DATA, CARDS[0] + CARDS[1])
    ending = await punch.run(ccw(code, 80, flags=0), ccw(code, 80, DATA + 80, 0))
    assert (ending.dstat, ending.cstat) == (ENDED, 0)
    assert (tmp_path / "out").read_bytes() == CARDS[0] + CARDS[1]


async def test_columns_left_out_are_blank(punch, tmp_path):
    punch.store(DATA, CARDS[0])
    ending = await punch.run(ccw(0x01, 20, flags=0))
    assert (ending.dstat, ending.cstat) == (ENDED, INCORRECT_LENGTH)
    assert (tmp_path / "out").read_bytes() == CARDS[0][:20] + b"\x40" * 60


async def test_columns_too_many_are_left(punch, tmp_path):
    punch.store(DATA, CARDS[0] + b"\xff")
    ending = await punch.run(ccw(0x01, 81))
    assert (ending.dstat, ending.cstat, ending.count) == (ENDED, 0, 1)
    assert (tmp_path / "out").read_bytes() == CARDS[0]


async def test_a_punch_tells_what_it_is_and_how_it_is(punch):
    ending = await punch.run(ccw(SENSE_ID, 256))
    assert (ending.dstat, ending.count) == (ENDED, 249)
    assert punch.load(DATA, 7).hex() == "ff350501352501"
    assert (await punch.run(ccw(READ, 80))).dstat & UC
    assert await punch.sense() == b"\x80"


async def test_punching_goes_on_behind_old_cards(tmp_path, deck):
    async with attached(Punch3525.open(spec("3525", deck)), tmp_path) as unit:
        unit.store(DATA, CARDS[0])
        await unit.run(ccw(0x01, 80))
    assert deck.read_bytes() == b"".join(CARDS) + CARDS[0]


async def test_a_full_disk_is_equipment_check_and_leaves_whole_cards(tmp_path):
    path = tmp_path / "out"
    path.touch()
    old = 80 * 20000  # more than the storage, whose file the limit must not hit
    os.truncate(path, old)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    async with attached(Punch3525.open(spec("3525", path)), tmp_path) as unit:
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (old + 100, hard))
            assert (await unit.run(ccw(0x01, 80))).dstat == ENDED
            assert (await unit.run(ccw(0x01, 80))).dstat == ENDED | UC
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, before)
        assert await unit.sense() == b"\x10"
    assert path.stat().st_size == old + 80


def test_what_is_no_stack_of_cards_is_refused(tmp_path):
    (tmp_path / "x").write_bytes(b"precious data")
    with pytest.raises(UserError, match="13 bytes are not whole records of 80 bytes"):
        Punch3525.open(spec("3525", tmp_path / "x"))
    assert (tmp_path / "x").read_bytes() == b"precious data"


@pytest.mark.parametrize("cls", [Punch3525, Printer1403])
def test_output_needs_a_file_that_can_be_written(tmp_path, cls):
    with pytest.raises(UserError, match="readonly"):
        cls.open(spec(cls.type_name, tmp_path / "x", readonly=True))
    with pytest.raises(UserError, match="directory"):
        cls.open(spec(cls.type_name, tmp_path / "none" / "x"))
    with pytest.raises(UserError, match="directory"):
        cls.open(spec(cls.type_name, tmp_path))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="pipe"):
        cls.open(spec(cls.type_name, tmp_path / "pipe"))


# --------------------------------------------------------------------------------------- printer
@pytest.fixture
async def printer(tmp_path):
    async with attached(Printer1403.open(spec("1403", tmp_path / "out")), tmp_path) as unit:
        yield unit


@pytest.fixture
def paper(tmp_path):
    return tmp_path / "out"


async def put(unit, code: int, text: str = ""):
    data = ebcdic(text)
    unit.store(DATA, data)
    return await unit.run(ccw(code, max(len(data), 1), flags=0x20 if not data else 0))


async def test_lines_are_text_without_trailing_blanks(printer, paper):
    assert (await put(printer, 0x09, "HELLO  ")).dstat == ENDED
    await put(printer, 0x11, "two")
    await put(printer, 0x19, "three")
    await put(printer, 0x01, "over")
    await put(printer, 0x09, "print")
    assert paper.read_bytes() == b"HELLO\ntwo\n\nthree\n\n\nover\rprint\n"


async def test_any_length_up_to_a_line_is_accepted(printer, paper):
    for size in (1, 20, 132):
        printer.store(DATA, ebcdic("x" * size))
        ending = await printer.run(ccw(0x09, size, flags=0))
        assert (ending.dstat, ending.cstat, ending.count) == (ENDED, 0, 0)
    ending = await printer.run(ccw(0x09, 133, flags=0))
    assert (ending.dstat, ending.cstat, ending.count) == (ENDED, INCORRECT_LENGTH, 1)


async def test_what_cannot_be_printed_leaves_a_blank(printer, paper):
    printer.store(DATA, bytes.fromhex("c1 00 15 27 ff c2"))
    await printer.run(ccw(0x09, 6, flags=0))
    assert paper.read_bytes() == b"A    B\n"


async def test_a_line_can_be_gathered(printer, paper):
    printer.store(DATA, ebcdic("ABCDEF"))
    ending = await printer.run(ccw(0x09, 2, DATA, CD) + ccw(0, 4, DATA + 2, 0))
    assert (ending.dstat, ending.cstat) == (ENDED, 0)
    assert paper.read_bytes() == b"ABCDEF\n"


async def test_the_carriage_moves_without_printing(printer, paper):
    for code in (0x0B, 0x13, 0x1B):
        assert (await put(printer, code)).dstat == ENDED
    assert paper.read_bytes() == b"\n" * 6


async def test_skipping_goes_to_the_line_of_the_channel(printer, paper):
    await put(printer, 0x93)
    assert paper.read_bytes() == b"\n" * 6
    await put(printer, 0xE3)
    assert paper.read_bytes() == b"\n" * 60
    await put(printer, 0x89, "END")
    assert paper.read_bytes() == b"\n" * 60 + b"END\f"


async def test_skipping_to_where_the_carriage_stands(printer, paper):
    await put(printer, 0x8B)
    assert paper.read_bytes() == b""
    await put(printer, 0x01, "A")
    await put(printer, 0x8B)
    assert paper.read_bytes() == b"A\r\f"
    await put(printer, 0x89, "B")
    assert paper.read_bytes() == b"A\r\fB\f"


async def test_the_holes_of_channels_9_and_12_are_told(printer):
    await put(printer, 0xDB)  # channel 11 is line 55
    for _ in range(5):
        assert (await put(printer, 0x0B)).dstat == ENDED
    assert (await put(printer, 0x0B)).dstat == ENDED | UE
    assert (await put(printer, 0x0B)).dstat == ENDED
    assert (await put(printer, 0x0B)).dstat == ENDED | UC
    assert (await printer.sense()).hex() == "0100"
    await put(printer, 0xDB)
    await put(printer, 0x1B)
    await put(printer, 0x13)
    assert (await put(printer, 0x1B)).dstat == ENDED | UC | UE
    for _ in range(2):
        await put(printer, 0x1B)
    assert (await put(printer, 0x8B)).dstat == ENDED


async def test_diagnostic_commands_use_the_print_line_buffer(printer, paper):
    await put(printer, 0x05, "SECRET")
    assert paper.read_bytes() == b""
    ending = await printer.run(ccw(0x02, 132, flags=0))
    assert (ending.dstat, printer.load(DATA, 132)) == (ENDED, ebcdic("SECRET").ljust(132, b"\0"))
    ending = await printer.run(ccw(0x06, 132, flags=0))
    assert (ending.dstat, printer.load(DATA, 132)) == (ENDED, b"\x04" * 132)


async def test_the_character_set_is_loaded_through_its_gate(printer, paper):
    assert (await printer.run(ccw(0xFB, 240))).dstat & UC
    assert (await printer.sense()).hex() == "8000"
    assert (await printer.run(ccw(0xEB), ccw(0xFB, 239))).dstat == ENDED | UC
    assert (await printer.sense()).hex() == "0200"
    assert (await printer.run(ccw(0xEB), ccw(0xF3, 240, flags=0))).dstat == ENDED
    await put(printer, 0x09, "Small")
    assert (await printer.run(ccw(0xEB), ccw(0xFB, 240, flags=0))).dstat == ENDED
    await put(printer, 0x09, "Small")
    await put(printer, 0x93)
    assert paper.read_bytes() == b"SMALL\nSmall\n\f" + b"\n" * 6


@pytest.mark.parametrize("code", [0x73, 0x7B, NOP])
async def test_data_checks_are_blocked_and_allowed(printer, code):
    assert (await printer.run(ccw(code))).dstat == ENDED


@pytest.mark.parametrize("code", [RDC, 0x63, 0x23, 0x43, 0x07, 0x0A, 0x12, 0x83, 0xFF])
async def test_what_a_1403_does_not_know(printer, code):
    assert (await printer.run(ccw(code, 8))).dstat & UC
    assert (await printer.sense()).hex() == "8000"


async def test_printing_goes_on_behind_an_old_listing(tmp_path, paper):
    paper.write_bytes(b"old\n")
    async with attached(Printer1403.open(spec("1403", paper)), tmp_path) as unit:
        await put(unit, 0x09, "NEW")
    assert paper.read_bytes() == b"old\nNEW\n"


# ------------------------------------------------------------------------------- whatever comes
COMMANDS = st.tuples(
    st.integers(1, 255).filter(lambda code: code & 0x0F not in (0, 8)),
    st.integers(1, 300),
    st.binary(max_size=40),
)


@pytest.mark.parametrize("cls", [Reader3505, Punch3525, Printer1403])
@settings(max_examples=60)
@given(cards=st.binary(max_size=200), text=st.booleans(), programs=st.lists(COMMANDS, max_size=12))
def test_any_commands_on_any_file_end(tmp_path_factory, cls, cards, text, programs):
    directory = tmp_path_factory.mktemp("any")
    path = directory / "file"
    path.write_bytes(cards)
    try:
        kind = cls.type_name
        device = cls.open(spec(kind, path, ascii="") if text else spec(kind, path))
    except UserError:
        return

    async def main() -> None:
        async with attached(device, directory) as unit:
            for code, count, operand in programs:
                unit.store(DATA, operand)
                ending = await unit.run(ccw(code, count), ccw(NOP))
                assert not ending.dstat & ~(ENDED | UC | UE)
                if ending.dstat & UC:
                    assert len(await unit.sense()) == device.sense_length

    trio.run(main)
