"""What `--json` prints is what its page documents, key by key, and there is one way to print."""

import importlib
import json
import os
import re
import select
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from lab.mounts import PROJECT, Mount, command, mount_at
from tests.cli.commands import here, vfioccw
from vfioccw_fuse.cli import COMMANDS
from vfioccw_fuse.devices.eckd.track import SLOT

CLI = PROJECT / "vfioccw_fuse" / "cli"
PAGE = (CLI / "JSON.md").read_text()
ELSEWHERE = {"debug", "guest kernel"}
"""Sections whose keys stand on other pages, or are compared where a kernel is built."""


def documented() -> dict[str, set[str]]:
    """The keys of each command, as the page has them."""
    found: dict[str, set[str]] = {}
    for section in PAGE.split("\n## ")[1:]:
        head, _, text = section.partition("\n")
        keys = {
            key for row in re.findall(r"^\| (`.*?) \|", text, re.M)
            for key in re.findall(r"`(.*?)`", row)
        }  # fmt: skip
        if "," not in head:
            found[head] = keys
        for name in head.split(", ") if "," in head else ():
            found[name] = keys
    return found


def keys_of(value: Any, path: str = "") -> Iterator[str]:
    """The keys of a JSON value as the page writes them."""
    if isinstance(value, dict):
        for key, inner in value.items():
            below = f"{path}.{key}" if path else key
            deeper = set(keys_of(inner, below))
            # An empty list may have had objects or not.
            yield from deeper or ({below} if inner != [] else {below, f"{below}[]"})
    elif isinstance(value, list):
        for inner in value:
            yield from keys_of(inner, f"{path}[]" if path else "")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("json")


@pytest.fixture(scope="module")
def mounted(place: Path) -> Iterator[Mount]:
    disk = place / "disk.img"
    disk.write_bytes(bytes(512 * 512))
    (place / "tape.aws").touch()
    made = mount_at(
        place / "mnt", "--device", f"fba@0.0.0313:{disk}",
        "--device", f"3490@0.0.0181:{place}/tape.aws",
    )  # fmt: skip
    try:
        yield made
        assert made.unmount().returncode == 0
    finally:
        made.give_up()


def printed(*words: object, status: int = 0) -> Any:
    returned, text = here(*words, "--json")
    assert returned == status, (words, text)
    return json.loads(text)


def outputs(mnt: Mount, place: Path) -> dict[str, list[Any]]:
    """What each command prints, in all its shapes."""
    sub = mnt.path / "0.0.0313"
    found: dict[str, list[Any]] = {
        "mounts": [[one for one in printed("mounts") if one["mount"] == str(mnt.path)]],
        "ls": [printed("ls", mnt.path)],
        "decode": [printed("decode", "ccw", "03000001", "00000000", "04200020", "00001000")],
        "stsch": [printed("stsch", sub)],
        "chp list": [printed("chp", "list", mnt.path)],
        "bench": [printed("bench", sub, "--rounds", 10)],
        "guest fetch": [printed("guest", "fetch")],
        "fsm": [printed("fsm")],
        "conform": [printed("conform", "--case", "IDAW")],
    }
    (place / "torn.aws").write_bytes(bytes((80, 0, 0, 0, 0xA0, 0)) + bytes(3))
    assert here("image", "create", "3390", place / "a.ckd", "--cylinders", 1)[0] == 0
    volume = bytearray((place / "a.ckd").read_bytes())
    second = 512 + SLOT
    volume[second : second + 40] = b"\xff" * 40
    (place / "bad.ckd").write_bytes(volume)
    images = ("a.ckd", "disk.img", "tape.aws", "torn.aws")
    found["image info"] = [printed("image", "info", place / name) for name in images]
    (place / "raw.img").write_bytes(bytes(1 << 16))
    assert here("image", "convert", place / "raw.img", place / "cdl.ckd")[0] == 0
    found["image info"].append(printed("image", "info", place / "cdl.ckd", "--vtoc"))
    found["image check"] = [
        printed("image", "check", place / name, status=int(name in ("torn.aws", "bad.ckd")))
        for name in (*images, "bad.ckd")
    ]
    found |= instructions(mnt)
    vectors = PROJECT / "tests" / "vectors"
    summary = printed("run", vectors / "tic.json.gz", "--check", "--images", vectors / "images")
    summary["scenarios"] = summary["scenarios"][:2]
    found["run"] = [summary]
    return found


def instructions(mnt: Mount) -> dict[str, list[Any]]:
    sub = mnt.path / "0.0.0313"
    trace = subprocess.Popen(
        command("trace", mnt.path, "--json", "--data", 4), stdout=subprocess.PIPE
    )
    try:
        lines = follow(trace, sub)
        found = {
            "ssch": [
                printed("ssch", sub, "--ccw", "sense-id,sli,20"),
                printed("ssch", sub, "--ccw", "99,sli,1", status=1),
                printed("ssch", sub, "--ccw", "nop", "--no-wait"),
                printed("ssch", sub, "--ccw", "nop", status=1),
                printed("ssch", sub, "--ccw", "help"),
            ],
            "control": [printed("control", sub, "fault=hang", "count=5")],
            "tsch": [printed("tsch", sub)],
        }
        mnt.control("fault=hang count=1", "0.0.0313")
        for name in ("hsch", "csch"):
            assert here("ssch", sub, "--ccw", "nop", "--no-wait")[0] == 0
            found[name] = [printed(name, sub)]
        mnt.control("fault=none", "0.0.0313")
        found["xsch"] = [printed("xsch", sub, status=1)]
        found["rsch"] = [printed("rsch", sub, status=1)]
        found["msch"] = [printed("msch", sub, "--isc", "3")]
        trace.terminate()
        assert trace.stdout is not None
        lines += trace.stdout.read()
    finally:
        trace.kill()
        trace.wait()
    found["trace"] = [json.loads(line) for line in lines.splitlines()]
    lost = {"seconds": 0, "subchannel": "", "device": "", "ns": 0, "event": "lost", "words": ""}
    found["trace"].append({**lost, "ccws": 1, "others": 0})
    return found


def follow(trace: subprocess.Popen[bytes], sub: Path) -> bytes:
    """Start programs until the trace shows one."""
    assert trace.stdout is not None
    while not select.select([trace.stdout], [], [], 0)[0]:
        assert here("ssch", sub, "--ccw", "nop")[0] == 0
    return os.read(trace.stdout.fileno(), 0)


SHARED = {"ssch", "hsch", "csch", "tsch", "xsch", "rsch", "msch"}
"""They have one section."""


def test_what_is_printed_is_what_the_page_has(mounted: Mount, place: Path) -> None:
    page = documented()
    found = outputs(mounted, place)
    assert set(found) | ELSEWHERE == set(page)
    seen = {name: set().union(*map(set, map(keys_of, values))) for name, values in found.items()}
    together = set().union(*(seen[name] for name in SHARED))
    for name, keys in seen.items():
        empty = {key for key in keys if key.endswith("[]") or f"{key}[]" in keys}
        unknown = keys - page[name] - empty
        assert not unknown, f"{name} prints what the page does not have"
        missing = page[name] - (together if name in SHARED else keys)
        assert missing <= {"taken_by_another"}, f"the page has of {name} what it does not print"


def test_every_command_with_the_option_has_a_section_and_says_it_the_same_way() -> None:
    def all_of(name: str, found: click.Command) -> Iterator[tuple[str, click.Command]]:
        if isinstance(found, click.Group):
            for inner in found.commands.values():
                yield from all_of(f"{name} {inner.name}", inner)
        else:
            yield name, found

    having = set()
    for name, entry in COMMANDS.items():
        module = importlib.import_module(f"vfioccw_fuse.cli.{entry.module}")
        for full, found in all_of(name, getattr(module, f"{name}_command")):
            options = [word for option in found.params for word in option.opts]
            if "--json" in options:
                having.add(full)
    assert having == set(documented())
    for path in CLI.rglob("*.py"):
        assert "json.dumps" not in path.read_text() or path.name in SPEAKING, path


SPEAKING = {"asjson.py", "asking.py", "background.py", "link.py", "live.py", "perfetto.py"}
"""Who else makes JSON, to talk with a server or a daemon, or for Perfetto."""


def test_the_debugger_prints_the_events_of_its_file(mounted: Mount) -> None:
    script = "scsw\nstorage 0 4\nfrobnicate\n"
    done = vfioccw("debug", mounted.path / "0.0.0313", "--json", data=script.encode())
    assert done.returncode == 1
    assert done.stderr == (
        b"vfioccw: line 3: frobnicate: no such command; help lists them\n"
    )
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["event"] for event in events] == ["attached", "look", "storage"]


def test_what_a_debugger_prints_is_what_the_page_of_its_file_has(place: Path) -> None:
    (place / "stepped.img").write_bytes(bytes(512 * 8))
    file = place / "stepped.json"
    steps = [{"op": "ssch", "ccws": ["sense-id,sli,20", "nop"]}, {"op": "wait"}]
    file.write_text(json.dumps({"device": {"type": "fba", "image": "stepped.img"}, "steps": steps}))
    script = "start\nstep\nscsw\nstorage 0 4\nstore 0 00\nhalt\nstart\n"
    done = vfioccw("run", "--debug", file, "--json", data=script.encode())
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    names = {event["event"] for event in events}
    assert names >= {"attached", "stopped", "instruction", "storage", "stored", "over", "cancelled"}
    readme = (PROJECT / "regions" / "README.md").read_text()
    section = readme.partition("\n## debug\n")[2].partition("\n## ")[0]
    known = set(re.findall(r"`(\w+)`", section + PAGE.partition("\n## run\n")[2]))
    looks = [event[which] for event in events for which in ("next", "last") if event.get(which)]
    assert looks
    assert names | {key for found in (*events, *looks) for key in found} <= known | {"event"}


def test_an_error_is_a_line_and_no_json(mounted: Mount) -> None:
    for words in (("ls", "/nowhere"), ("tsch", mounted.path / "0.0.0313", "--timeout", "0.01")):
        done = vfioccw(*words, "--json")
        assert (done.returncode, done.stdout) == (1, b"")
        assert len(done.stderr.splitlines()) == 1
