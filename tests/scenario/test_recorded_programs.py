"""Channel programs recorded from an independent emulator: ours must do the same, mask by mask.

What the recordings are is in tests/vectors/README.md. Time stands still while a program runs and
jumps over every wait, so that all of them take a few seconds.
"""

from __future__ import annotations

import gzip
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from vfioccw_fuse.scenario.check import differences
from vfioccw_fuse.scenario.images import Images
from vfioccw_fuse.scenario.run import run_scenario

Json = dict[str, Any]

VECTORS = Path(__file__).resolve().parents[1] / "vectors"
IMAGES = Images(str(VECTORS / "images"))
BY_NAME: dict[str, Json] = {}
for _file in sorted(VECTORS.glob("*.json.gz")):
    with gzip.open(_file) as _opened:
        for _vector in json.load(_opened):
            assert _vector["name"] not in BY_NAME
            BY_NAME[_vector["name"]] = _vector
RULES = tomllib.loads((VECTORS / "suspects.toml").read_text())["rule"]
LISTED = [name for rule in RULES for name in rule["vectors"]]


def named(*confidences: str) -> list[str]:
    return [name for name, vector in BY_NAME.items() if vector["confidence"] in confidences]


def run(vector: Json) -> Json:
    done: Json = trio.run(run_scenario, vector, IMAGES, clock=MockClock(autojump_threshold=0))
    return done


def only(vector: Json) -> Json:
    """The recording without its second opinion."""
    return {key: value for key, value in vector.items() if key != "alt_3_13"}


def test_the_recordings_are_all_there() -> None:
    assert len(named("agreed")) > 850
    assert len(named("agreed", "single", "disputed", "suspect")) == len(BY_NAME) > 1050


@pytest.mark.parametrize("name", named("agreed", "single"))
def test_comes_out_as_recorded(name: str) -> None:
    assert not differences(only(BY_NAME[name]), run(BY_NAME[name]))


@pytest.mark.parametrize("name", named("disputed"))
def test_comes_out_as_one_of_the_two_opinions(name: str) -> None:
    assert not differences(BY_NAME[name], run(BY_NAME[name]))


@pytest.mark.parametrize("name", named("suspect"))
def test_a_suspect_recording_differs_exactly_if_it_is_listed(name: str) -> None:
    differs = differences(only(BY_NAME[name]), run(BY_NAME[name]))
    if name in LISTED:
        assert differs, "it comes out as recorded: take it out of suspects.toml"
    else:
        assert not differs


def test_each_listed_suspect_exists_once_and_says_what_the_manual_asks_and_what_happens() -> None:
    assert len(set(LISTED)) == len(LISTED)
    assert not set(LISTED) - set(named("suspect"))
    for rule in RULES:
        assert len(rule["manual"]) > 20
        assert len(rule["here"]) > 10
