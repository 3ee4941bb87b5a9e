"""The ledgers of `scripts/soak`: a lost write is found, and one that nobody answered is none."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from attack.ledger import Ledger, TapeLedger
from attack.media import Media, Medium, content, copy_of, records_of, tape_of
from attack.plan import PARTS, Plan
from lab.mounts import BLOCK, IMPORTS, PROJECT

UNITS = 16


def disk(directory: Path) -> Ledger:
    path = directory / "disk.img"
    medium = Medium("0.0.0313", "fba", path, "full", units=UNITS)
    if not path.exists():
        path.write_bytes(b"".join(content(medium.key, 0, n, BLOCK) for n in range(UNITS)))
    return Ledger(medium, directory / "ledger")


def put(ledger: Ledger, write: int, unit: int) -> None:
    """What the server does."""
    with ledger.medium.path.open("rb+") as file:
        file.seek(unit * BLOCK)
        file.write(content(ledger.medium.key, write, unit, BLOCK))


@pytest.mark.parametrize("again", [False, True], ids=["same process", "after a kill"])
def test_an_acknowledged_write_that_is_not_there_is_found(tmp_path: Path, again: bool) -> None:
    ledger = disk(tmp_path)
    ledger.open()
    assert ledger.judge_image() == []
    write = ledger.intend(3, 2)
    put(ledger, write, 3)
    assert ledger.judge_image() == [], "as long as it has no answer, it may be there or not"
    ledger.acknowledged()
    if again:
        ledger = disk(tmp_path)
        ledger.open()
        ledger = disk(tmp_path)
    [wrong] = ledger.judge_image()
    assert "unit 4 holds write 0 of unit 4; acknowledged is write 1" in wrong
    put(ledger, write, 4)
    assert ledger.judge_image() == []


def test_a_write_without_an_answer_may_not_come_after_a_later_one(tmp_path: Path) -> None:
    ledger = disk(tmp_path)
    ledger.open()
    early = ledger.intend(0, 1)
    late = ledger.intend(0, 1)
    ledger.acknowledged()
    put(ledger, late, 0)
    assert ledger.judge_image() == []
    put(ledger, early, 0)
    assert len(ledger.judge_image()) == 1


def test_what_a_program_has_read_stays(tmp_path: Path) -> None:
    ledger = disk(tmp_path)
    ledger.open()
    write = ledger.intend(0, 1)
    put(ledger, write, 0)
    ledger.seen(0, content(ledger.medium.key, write, 0, BLOCK))
    put(ledger, 0, 0)
    assert len(ledger.judge_image()) == 1


def test_foreign_bytes_in_a_block_that_nobody_wrote_are_found(tmp_path: Path) -> None:
    ledger = disk(tmp_path)
    with ledger.medium.path.open("rb+") as file:
        file.seek(5 * BLOCK + 500)
        file.write(b"x")
    [wrong] = ledger.judge_image()
    assert "unit 5" in wrong


def test_of_a_write_without_an_answer_a_part_may_be_there(tmp_path: Path) -> None:
    ledger = disk(tmp_path)
    ledger.open()
    write = ledger.intend(2, 1)
    old, new = (content(ledger.medium.key, number, 2, BLOCK) for number in (0, write))
    for rest in (old[100:], bytes(BLOCK - 100)):
        assert ledger.judge(2, new[:100] + rest) == ""
        ledger.seen(2, new[:100] + rest)
    assert "up to byte 100" in ledger.judge(2, new[:100] + b"\1" * (BLOCK - 100))
    ledger.acknowledged()
    assert ledger.judge(2, new[:100] + old[100:]) != ""
    assert ledger.judge(2, new) == ""


def test_a_3390_is_looked_at_record_by_record(tmp_path: Path) -> None:
    (tmp_path / "tmpfs").mkdir()
    media = Media(tmp_path, tmp_path / "tmpfs")
    media.make()
    [medium] = [m for m in media.checked if m.kind == "3390" and m.interface == "full"]
    ledger = Ledger(medium, tmp_path / "ledger")
    ledger.open()
    assert ledger.judge_image() == []
    image = bytearray(medium.path.read_bytes())
    at = dict(records_of(bytes(image)))[7]
    write = ledger.intend(7, 1)
    new = content(medium.key, write, 7, medium.size)
    image[at : at + 1000] = new[:1000]
    medium.path.write_bytes(image)
    assert ledger.judge_image() == [], "without an answer it may be there in part"
    ledger.acknowledged()
    assert len(ledger.judge_image()) == 1


def test_a_tape_begins_with_what_was_acknowledged(tmp_path: Path) -> None:
    medium = Medium("0.0.0313", "3490", tmp_path / "tape.aws", "full")
    ledger = TapeLedger(medium, tmp_path / "ledger")
    ledger.open()
    blocks = []
    for position in range(4):
        write = ledger.intend(position, 80)
        ledger.acknowledged()
        blocks.append(ledger.content(write, position, 80))
    medium.path.write_bytes(tape_of(blocks))
    assert ledger.judge_image() == []
    medium.path.write_bytes(tape_of(blocks[:3]))
    assert "3 blocks, and 4 were acknowledged" in ledger.judge_image()[0]
    write = ledger.intend(1, 20)
    new = [blocks[0], ledger.content(write, 1, 20)]
    for possible in (blocks[:1], blocks, new):
        medium.path.write_bytes(tape_of(possible))
        assert TapeLedger(medium, tmp_path / "ledger").judge_image() == []
    ledger.acknowledged()
    assert ledger.judge_image() == []
    medium.path.write_bytes(tape_of(blocks))
    assert ledger.judge_image() != []


def test_a_copy_of_a_medium_is_never_written_to_a_consoles_terminal(tmp_path: Path) -> None:
    base, terminal, link = tmp_path / "base.img", tmp_path / "terminal", tmp_path / "added"
    base.write_bytes(b"medium")
    terminal.write_bytes(b"")
    link.symlink_to(terminal)
    copy_of(Medium("", "fba", base, "full"), link, lambda data: data)
    assert (terminal.read_bytes(), link.read_bytes()) == (b"", b"medium")


def test_the_command_that_repeats_a_run_names_its_seed_and_its_parts() -> None:
    assert Plan(7, without=frozenset(["fifos"])).again().endswith("--minutes 5 --without fifos")
    only = Plan(7, kills=9, without=frozenset(PARTS) - {"maps"})
    assert only.again() == "scripts/soak --seed 7 --clients 6 --kills 9 --only maps"
    chance = [Plan(7).chance("attacker 0", 3).random() for _ in range(2)]
    assert chance[0] == chance[1] != Plan(8).chance("attacker 0", 3).random()


def test_every_part_of_the_attack_is_described_and_there() -> None:
    from attack.assault import ATTACKS

    elsewhere = {"client-kills", "server-kills", "lazy-unmounts", "unmounts"}
    assert {part for part, _, _ in ATTACKS} == set(PARTS) - elsewhere


def test_help_lists_the_parts() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "attack", "--help"],
        env={"PYTHONPATH": IMPORTS}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    words = re.sub(r"\s+", "", done.stdout)  # a long word is broken at its hyphen
    assert all(part in words for part in PARTS)
    assert (PROJECT / "scripts" / "soak").exists()
