"""A medium is changed while mounted: by `control` and by command, and what is refused."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.client import DATA, Client, Connection
from lab.mounts import IMPORTS, Mount, command, make_image, mounted_at, vfioccw
from lab.programs import ENDED, SENSE, SENSE_ID, SLI, UC
from lab.slowfs import SlowFiles
from lab.waits import SOON, until

TAPE, OLD_TAPE, READER, PRINTER, DISK = "0.0.0181", "0.0.0182", "0.0.000c", "0.0.000e", "0.0.0313"
READ, WRITE = 0x02, 0x01
DE, READY = 0x04, 0x85


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name in ("one.aws", "two.aws", "old.aws"):
        (tmp_path / name).touch()
    (tmp_path / "deck").write_text("FIRST DECK\n")
    (tmp_path / "a b, #c").write_text("SECOND DECK\n")
    make_image(tmp_path / "disk.img")
    return tmp_path


@pytest.fixture
def system(place: Path) -> Iterator[Mount]:
    with mounted_at(
        place / "mnt",
        *("--device", f"3480@{TAPE}:{place}/one.aws"),
        *("--device", f"3420@{OLD_TAPE}:-"),
        *("--device", f"3505@{READER}:{place}/deck,ascii"),
        *("--device", f"1403@{PRINTER}:{place}/paper"),
        *("--device", f"fba@{DISK}:{place}/disk.img"),
    ) as made:
        yield made


def presented(client: Client) -> int:
    """Unit status of the unsolicited interruption that comes."""
    irb = client.take()
    assert irb.ctrl & 0x1F == 0x11  # alert and status pending: no function has ended
    return irb.dstat


def card(client: Client) -> str:
    """The next card, which must be there."""
    assert client.run((READ, SLI, 80, DATA)).dstat == ENDED
    return client.load(DATA, 80).decode("cp037").rstrip()


def needs_the_operator(client: Client, code: int = READ) -> bool:
    assert client.run((code, SLI, 80, DATA)).dstat & UC
    assert client.run((SENSE, SLI, 1, DATA)).dstat == ENDED
    return client.load(DATA, 1) == b"\x40"


def block(client: Client, data: bytes) -> int:
    client.store(DATA, data)
    return client.run((WRITE, SLI, len(data), DATA)).dstat


# --- what happens ---------------------------------------------------------------------------------


def test_a_tape_is_taken_out_and_another_put_in(system: Mount, place: Path) -> None:
    with Client(system.path / TAPE) as client:
        assert block(client, b"first tape") == ENDED
        assert client.control("unload") == 0
        assert system.state(TAPE)["medium"] == "-"
        assert needs_the_operator(client)
        assert client.control(f"load={place}/two.aws") == 0
        assert presented(client) == READY
        assert system.state(TAPE)["medium"] == f"{place}/two.aws"
        assert block(client, b"second tape") == ENDED
        assert client.control(f"load={place}/one.aws") == 0  # in place of the other
        assert presented(client) == READY
        assert client.run((READ, SLI, 80, DATA)).dstat == ENDED
        assert client.load(DATA, 10) == b"first tape"
    assert b"second tape" in (place / "two.aws").read_bytes()


def test_a_drive_that_was_empty_is_loaded(system: Mount, place: Path) -> None:
    with Client(system.path / OLD_TAPE) as client:
        assert needs_the_operator(client)
        assert vfioccw("load", system.path / OLD_TAPE, place / "old.aws").returncode == 0
        assert presented(client) == DE
        assert block(client, b"here") == ENDED
        assert vfioccw("unload", system.path / OLD_TAPE).returncode == 0
        assert needs_the_operator(client)
    assert b"here" in (place / "old.aws").read_bytes()


def test_why_a_medium_is_not_loaded_stands_in_control(system: Mount, place: Path) -> None:
    subchannel = system.path / TAPE
    with Client(subchannel) as client:
        assert client.control(f"load={place}/none.aws") == errno.EINVAL
    refused = (subchannel / "control").read_text().splitlines()[-1]
    assert refused.startswith(f"# refused: {place}/none.aws: no such")
    done = vfioccw("control", subchannel, f"load={place}/none.aws")
    assert done.returncode == 1
    assert done.stderr.endswith(f"{refused.removeprefix('# refused: ')}\n")
    assert vfioccw("control", subchannel, "load=two.aws", cwd=place).returncode == 0
    assert system.state(TAPE)["medium"] == f"{place}/two.aws"


def test_a_name_may_have_blanks_and_what_begins_a_comment(system: Mount, place: Path) -> None:
    with Client(system.path / READER) as client:
        assert card(client) == "FIRST DECK"
        assert client.control(f"load={place}/a b, #c\n") == 0
        assert presented(client) == DE
        assert card(client) == "SECOND DECK"
        assert client.control("unload") == 0
        assert needs_the_operator(client)


def test_lines_go_to_the_paper_that_is_in(system: Mount, place: Path) -> None:
    with Client(system.path / PRINTER) as client:
        for name in ("paper", "more paper"):
            assert client.control(f"load={place}/{name}") == 0
            assert presented(client) == DE
            client.store(DATA, name.encode("cp037"))
            assert client.run((0x09, SLI, len(name), DATA)).dstat == ENDED
        assert client.control("unload") == 0
        assert needs_the_operator(client, 0x09)
    assert (place / "paper").read_text() == "paper\n"
    assert (place / "more paper").read_text() == "more paper\n"


def test_the_command_takes_a_name_from_where_it_is(system: Mount, place: Path) -> None:
    done = subprocess.run(
        command("load", system.path / READER, "a b, #c"),
        env={**os.environ, "PYTHONPATH": IMPORTS}, cwd=place, capture_output=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert system.state(READER)["medium"] == f"{place}/a b, #c"


def test_by_the_socket(system: Mount, place: Path) -> None:
    with Connection(system.path) as connection:
        for message in (
            {"do": "load", "subchannel": TAPE, "file": f"{place}/two.aws"},
            {"do": "unload", "subchannel": TAPE},
        ):
            connection.socket.send(json.dumps(message).encode())
            assert json.loads(connection.socket.recv(4096)) == {"ok": True}
    assert system.state(TAPE)["medium"] == "-"


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schid", "name", "said"),
    [
        (TAPE, "none.aws", "no such tape image"),
        (TAPE, "disk.img", "convert|no tape|raw disk|not"),
        (TAPE, "one.aws", "in use by another device"),
        (TAPE, "old.aws", "in use by PID"),
        (TAPE, "mnt/0.0.0313/state", "is inside the mount itself"),
        (READER, "bad", "line 1, column 1: byte ff is not UTF-8"),
        (READER, "none", "No such file"),
        (PRINTER, "none/x", "no such directory"),
        (DISK, "disk.img", "a fba has no medium that could be changed"),
        ("0.0.9999", "deck", "no subchannel|no such subchannel"),
    ],
)
def test_what_cannot_be_loaded_is_one_line_and_nothing_has_changed(
    system: Mount, place: Path, schid: str, name: str, said: str
) -> None:
    (place / "bad").write_bytes(b"\xff\n")
    before = system.state(schid)["medium"] if schid != "0.0.9999" else ""
    with mounted_at(place / "other", "--device", f"3490@0.0.0490:{place}/old.aws"):
        done = vfioccw("load", system.path / schid, place / name)
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        assert any(words in done.stderr for words in said.split("|")), done.stderr
        if schid == "0.0.9999":
            return
        assert system.file("control", schid).exists()
        with Client(system.path / schid) as client:
            assert client.control(f"load={place / name}") == errno.EINVAL
            assert system.state(schid)["medium"] == before
            assert not client.wait(0.1)
            if schid == TAPE:
                assert block(client, b"still here") == ENDED


@pytest.mark.parametrize("words", ["load=", "load=two.aws", "load", "unload=1", "load=/a\x01"])
def test_words_that_are_wrong_change_nothing(system: Mount, place: Path, words: str) -> None:
    with Client(system.path / TAPE) as client:
        assert client.control(words) == errno.EINVAL
        assert client.control(f"delay=1s load={place}/two.aws") == errno.EINVAL
        assert system.state(TAPE)["medium"] == f"{place}/one.aws"
        assert system.state(TAPE)["delay"] == "0s"


def test_nothing_can_be_taken_out_twice(system: Mount) -> None:
    assert vfioccw("unload", system.path / TAPE).returncode == 0
    done = vfioccw("unload", system.path / TAPE)
    assert (done.returncode, done.stderr) == (1, f"vfioccw: {TAPE}: nothing is loaded\n")
    done = vfioccw("unload", system.path / DISK)
    assert "no medium that could be changed" in done.stderr


def test_not_while_a_program_runs(system: Mount, place: Path) -> None:
    with Client(system.path / TAPE) as client:
        assert client.control("fault=hang count=1") == 0
        assert client.start((READ, SLI, 80, DATA)) == 0
        assert client.control("unload") == errno.EINVAL
        done = vfioccw("load", system.path / TAPE, place / "two.aws")
        assert "a channel program runs; try again when it has ended" in done.stderr
        assert client.command(1 << 1) == 0
        client.take()
        assert client.control(f"load={place}/two.aws") == 0
        assert presented(client) == READY


def test_a_medium_that_does_not_answer_holds_up_nobody_else(
    system: Mount, slow: SlowFiles, place: Path
) -> None:
    (place / "files" / "slow.deck").write_text("SLOW DECK\n")
    slow.hold("open")
    loading = subprocess.Popen(
        command("load", system.path / READER, slow.path / "slow.deck"),
        env={**os.environ, "PYTHONPATH": IMPORTS}, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        slow.until_held("open")
        with Client(system.path / READER) as client:
            assert card(client) == "FIRST DECK"
            assert client.run((SENSE_ID, SLI, 7, DATA)).dstat == ENDED
            slow.release("open")
            assert loading.wait(SOON) == 0
            assert presented(client) == DE
            assert card(client) == "SLOW DECK"
    finally:
        slow.release("open")
        loading.kill()
        loading.communicate()


def test_who_waits_for_a_medium_can_be_killed(system: Mount, slow: SlowFiles, place: Path) -> None:
    (place / "files" / "slow.deck").write_text("SLOW DECK\n")
    slow.hold("open")
    writer = subprocess.Popen(
        ["bash", "-c", f"echo load={slow.path}/slow.deck >{system.file('control', READER)}"]
    )
    try:
        slow.until_held("open")
        writer.kill()
        assert writer.wait(SOON) != 0
        slow.release("open")
        with Client(system.path / READER) as client:
            assert card(client) == "FIRST DECK"
        assert system.state(READER)["medium"] == f"{place}/deck"
    finally:
        slow.release("open")
        writer.kill()
        writer.wait()


def test_a_removed_device_is_not_loaded(system: Mount, slow: SlowFiles, place: Path) -> None:
    (place / "files" / "slow.deck").write_text("SLOW DECK\n")
    slow.hold("open")
    loading = subprocess.Popen(
        command("load", system.path / READER, slow.path / "slow.deck"),
        env={**os.environ, "PYTHONPATH": IMPORTS}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        slow.until_held("open")
        assert vfioccw("remove", system.path / READER).returncode == 0
        slow.release("open")
        _, said = loading.communicate(timeout=SOON)
        assert "removed meanwhile" in said
        until(lambda: "slow.deck" not in _open_files(system.pid), "the deck is let go")
    finally:
        slow.release("open")
        loading.kill()


def _open_files(pid: int) -> str:
    """The names of a process's open files."""
    names = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            names.append(os.readlink(entry))
        except OSError:
            continue
    return "\n".join(names)
