"""`vfioccw run`: what is no scenario is one line, whatever its size and depth."""

import gzip
import json
from typing import Any

import pytest

from lab.mounts import command
from lab.terminal import Terminal
from tests.cli.commands import complaint, run, vfioccw

RECORDED = {
    "name": "made up",
    "device": {"type": "3420"},
    "memory_size": 1 << 20,
    "memory": [],
    "steps": [{"op": "stsch", "cc": 0}],
    "memory_after": [],
}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"[" * 100_000, "not JSON"),
        (b"[" * 100_000 + b"]" * 100_000, "not JSON"),
        (b'{"a": ' + b"[" * 500 + b"]" * 500 + b"}", "more than 16 levels"),
        (b'{"memory_size": ' + b"9" * 5000 + b"}", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[3]", "scenario 1: a scenario: an object with device and steps; not 3"),
        (b" " * (33 << 20), "more than 32 MiB; split it"),
        (gzip.compress(bytes(40 << 20)), "more than 32 MiB; split it"),
        (b"\x1f\x8b\x08\x00" + bytes(30), "give a scenario"),
        (gzip.compress(b"{}", mtime=0)[:-4], "give a scenario"),
        (b"\x1f\x8b\x08" + bytes(7) + b"\xff" * 20, "give a scenario"),
    ],
)
@pytest.mark.parametrize("stdin", [False, True], ids=["file", "stdin"])
def test_what_is_no_scenario_is_one_line(tmp_path, data, said, stdin):
    (tmp_path / "file").write_bytes(data)
    done = vfioccw("run", "-", data=data) if stdin else vfioccw("run", tmp_path / "file")
    assert (done.returncode, done.stdout) == (1, b"")
    assert said in complaint(done)
    assert len(complaint(done)) < 1000


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"memory_after": [[0]]}, "memory_after[0]: an address and the bytes"),
        ({"memory_after": 3}, "memory_after: a list of"),
        ({"tags": 3}, "tags: a list of words; not 3"),
        ({"memory_dont_care": [[0]]}, "memory_dont_care[0]: [address, length, why]; not a"),
        ({"alt_3_13": {"steps": 3}}, "alt_3_13.steps: a list of steps; not 3"),
        ({"image_after": {}}, "image_after: sha256_after is missing"),
    ],
)
def test_recorded_values_that_are_none_are_one_line(wrong, said):
    done = vfioccw("run", "--check", "-", data=json.dumps({**RECORDED, **wrong}).encode())
    assert (done.returncode, done.stdout) == (1, b"")
    assert complaint(done).startswith(f'-: "made up": {said}')


def test_what_does_not_count_may_be_all_addresses():
    wide = {**RECORDED, "memory_dont_care": [[0, 1 << 62]], "group": "x", "name": "\udcff"}
    done = vfioccw("run", "--check", "-", data=json.dumps(wide).encode())
    assert done.returncode == 0, done.stderr
    assert b"1 scenarios, 0 failed" in done.stdout


CCWS: dict[str, Any] = {
    "device": {"type": "fba", "image": "disk.img"},
    "memory": [[0x10000, "c1c2"]],
    "steps": [
        {"op": "ssch", "ccws": ["define-extent,=40000200000000000000000000000000",
                                "locate,=0600000100000000", "read,ida,512"], "lpm": 0x80},
        {"op": "wait"},
        {"op": "tsch"},
        {"op": "ssch", "ccws": ["e4,sli,20"], "format": 0, "key": 0},
    ],
}  # fmt: skip
"""CCWs as people write them, with storage where they would lie otherwise."""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "disk.img").write_bytes(b"\xc9" * 4096)
    (tmp_path / "scenario.json").write_text(json.dumps(CCWS))
    return tmp_path


def test_a_program_is_written_ccw_by_ccw_and_shows_what_it_has_read(folder):
    done = vfioccw("run", folder / "scenario.json", "--trace")
    assert done.returncode == 0, done.stderr
    steps = json.loads(done.stdout)["steps"]
    assert steps[0]["orb"] == "0000000000c28000" "00011000", "the next page that is free"
    [[address, content]] = steps[0]["memory"]
    assert (address, content[:16]) == (0x11000, "63400010" "00011030")
    assert steps[2]["irb"].startswith("00c04007" "00011018" "0c000000")
    [read] = steps[2]["read"]
    assert (read["ccw"], read["data"]) == (3, "c9" * 512)
    assert json.loads(done.stdout)["memory_after"][0] == [read["address"], "c9" * 512]
    assert steps[3]["orb"].endswith("0042ff00" "00013000"), "in room of its own"
    assert [step["op"] for step in steps[4:]] == ["wait", "tsch"]
    assert steps[5]["read"][0]["data"].startswith("ff631001933600")
    assert b"ssch   ccws=define-extent," in done.stderr
    assert (folder / "disk.img").read_bytes() == b"\xc9" * 4096


def test_what_ssch_lays_out_is_what_a_scenario_lays_out(mnt):
    words = ["rdc,ida,sli,64", "tic,#3", "nop", "e4,sli,cd,3", "0,sli,17"]
    options = [word for ccw in words for word in ("--ccw", ccw)]
    assert run(mnt, "ssch", *options, "--idaw", "1", "--no-sense").returncode in (0, 1)
    made = {
        "device": {"type": "fba", "image": mnt.image.name},
        "steps": [{"op": "ssch", "ccws": words, "idaw": 1}],
    }
    done = vfioccw("run", "-", "--images", mnt.image.parent, data=json.dumps(made).encode())
    [[address, content]] = json.loads(done.stdout)["steps"][0]["memory"]
    ccws = bytes.fromhex(content)[: 8 * len(words)]
    assert mnt.file("memory").read_bytes()[address : address + len(ccws)] == ccws


def test_a_result_is_a_recording(folder):
    recorded = folder / "recorded.json"
    recorded.write_bytes(vfioccw("run", folder / "scenario.json").stdout)
    done = vfioccw("run", recorded, "--check")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b"group    -\n-      1/1\n1 scenarios, 0 failed, 0 suspects differ\n"


@pytest.mark.parametrize("confidence", ["agreed", "suspect", None])
def test_what_differs_is_told_shortly_and_all_of_it_when_asked(folder, confidence):
    made = json.loads(vfioccw("run", folder / "scenario.json").stdout)
    made["steps"][2]["irb"] = "00c04017" + made["steps"][2]["irb"][8:]
    made["steps"][3]["cc"] = 1
    if confidence:
        made["confidence"] = confidence
    told = "step 2 tsch: irb scsw.stctl 0007, recorded 0017 (alert status)"
    suspect = confidence == "suspect"
    done = vfioccw("run", "--check", "-", "--images", folder, data=json.dumps(made).encode())
    assert done.returncode == (0 if suspect else 1)
    lines = done.stdout.decode().splitlines()
    assert (f"  {told}" in lines) is not suspect
    assert max(map(len, lines)) < 100
    done = vfioccw("run", "-v", "--check", "-", "--images", folder, data=json.dumps(made).encode())
    lines = done.stdout.decode().splitlines()
    assert {f"  {told}", "  step 3 ssch: condition code 0, recorded 1"} <= set(lines)
    if confidence == "suspect":
        assert "suspect: the emulator is thought to be wrong: a difference is no failure" in lines
    done = vfioccw("run", "--check", "--json", "-", "--images", folder,
                   data=json.dumps(made).encode())  # fmt: skip
    assert json.loads(done.stdout) == {
        "scenarios": [
            {
                "name": None,
                "group": None,
                "confidence": confidence,
                "differences": [told, "step 3 ssch: condition code 0, recorded 1"],
            }
        ],
        "failed": 0 if suspect else 1,
        "suspects_that_differ": 1 if suspect else 0,
    }


def test_differences_are_folded_to_the_width_of_the_terminal(folder):
    made = json.loads(vfioccw("run", folder / "scenario.json").stdout)
    made["memory_after"] = [[0x40000, "c1"]]
    (folder / "recorded.json").write_text(json.dumps(made))
    with Terminal(command("run", folder / "recorded.json", "--check"), columns=40) as terminal:
        shown = terminal.expect("1 failed")
    assert "  storage: " in shown
    assert max(map(len, shown.splitlines())) <= 40


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"image": "none.img"}, "device.image: none.img: no such file in "),
        ({"image": "../disk.img"}, "device.image: ../disk.img is not in "),
        ({"image": "scenario.json"}, "device.image: scenario.json: "),
        ({"image": ""}, "device.image: the name of an image in images.json, or"),
    ],
)
def test_an_image_that_is_not_there_is_one_line(folder, change, said):
    made = {**CCWS, "device": {**CCWS["device"], **change}}
    (folder / "wrong.json").write_text(json.dumps([made]))
    done = vfioccw("run", folder / "wrong.json")
    assert (done.returncode, done.stdout) == (1, b"")
    assert complaint(done).startswith(f"{folder}/wrong.json: scenario 1: {said}")


def test_a_ccw_that_is_none_is_told_with_its_place(folder):
    steps = [{"op": "wait"}, {"op": "ssch", "ccws": ["nop", "define-exten,16"]}]
    (folder / "wrong.json").write_text(json.dumps({**CCWS, "name": "x", "steps": steps}))
    done = vfioccw("run", folder / "wrong.json")
    assert (done.returncode, done.stdout) == (1, b"")
    said = complaint(done)
    assert said.startswith(f'{folder}/wrong.json: "x": steps[1].ccws[1]: define-exten,16: ')
    assert "Did you mean 'define-extent'? The device has define-extent, " in said


def test_the_schema_is_printed():
    done = vfioccw("run", "--schema")
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout)["$schema"].startswith("https://json-schema.org/")
