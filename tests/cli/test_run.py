"""`vfioccw run`: what is no scenario is one line, whatever its size and depth."""

import gzip
import json

import pytest

from tests.cli.commands import complaint, vfioccw

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
        (b"[3]", "a JSON object, or a list of them"),
        (b" " * (33 << 20), "more than 32 MiB; split it"),
        (gzip.compress(bytes(40 << 20)), "more than 32 MiB; split it"),
        (b"\x1f\x8b\x08\x00" + bytes(30), "give a scenario"),
        (gzip.compress(b"{}")[:-4], "give a scenario"),
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
    "wrong",
    [
        {"memory_after": [[0]]},
        {"memory_after": 3},
        {"tags": 3},
        {"memory_dont_care": [3]},
        {"alt_3_13": {"steps": 3}, "steps": [{"op": "stsch", "cc": 1}]},
    ],
)
def test_recorded_values_that_are_none_are_one_line(wrong):
    done = vfioccw("run", "--check", "-", data=json.dumps({**RECORDED, **wrong}).encode())
    assert (done.returncode, done.stdout) == (1, b"")
    assert "its recorded values are none" in complaint(done)


def test_what_does_not_count_may_be_all_addresses():
    wide = {**RECORDED, "memory_dont_care": [[0, 1 << 62]], "group": ["x"], "name": "\udcff"}
    done = vfioccw("run", "--check", "-", data=json.dumps(wide).encode())
    assert done.returncode == 0, done.stderr
    assert b"1 scenarios, 0 failed" in done.stdout
