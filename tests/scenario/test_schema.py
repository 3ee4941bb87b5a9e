"""The schema of scenarios: it is one, recordings keep to it, and what does not is told where."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from vfioccw_fuse.errors import UserError
from vfioccw_fuse.scenario.schema import SCHEMA, check

Json = dict[str, Any]
VECTORS = Path(__file__).resolve().parents[1] / "vectors"
ORB = "00000000" "0080ff00" "00010000"


def scenario(*steps: Json, **more: Any) -> Json:
    return {"name": "mine", "device": {"type": "3215"}, "steps": list(steps), **more}


def complaint(loaded: Any) -> str:
    with pytest.raises(UserError) as wrong:
        check("FILE", loaded)
    return wrong.value.message


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("file", sorted(VECTORS.glob("*.json.gz")), ids=lambda path: path.stem)
def test_the_recordings_keep_to_it(file: Path) -> None:
    with gzip.open(file) as opened:
        check(file.name, json.load(opened))


def test_a_scenario_needs_a_device_and_steps_alone() -> None:
    check("FILE", scenario({"op": "ssch", "orb": ORB}, {"op": "wait"}, {"op": "tsch"}))
    check("FILE", {"device": {"type": "fba", "image": "disk.img"}, "steps": []})
    check("FILE", [scenario({"op": "ssch", "ccws": ["nop"], "lpm": 128, "prefetch": False})])
    check("FILE", scenario({"op": "ssch", "orb": "00000000 0080ff00 00010000"}))


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ({}, "steps[1]: op is missing"),
        (3, 'steps[1]: a step: an object with op, such as {"op": "wait"}; not 3'),
        ({"op": "wiat"}, "steps[1].op: 'wiat' is none, did you mean wait?; one of ssch, hsch, "),
        ({"op": ["wait"]}, "steps[1].op: a list of 1 is none; one of"),
        ({"op": "ssch"}, "steps[1]: orb or ccws is missing"),
        ({"op": "ssch", "orb": "00"}, "steps[1].orb: 12 bytes as hexadecimal digits; not '00'"),
        ({"op": "ssch", "orb": ORB + "0g"}, "steps[1].orb: 12 bytes as hexadecimal digits; not "),
        ({"op": "ssch", "orb": ORB, "key": 3}, "steps[1]: key goes with ccws alone"),
        ({"op": "ssch", "orb": ORB, "memory": []}, "steps[1]: memory goes with ccws alone"),
        ({"op": "ssch", "ccws": []}, "steps[1].ccws: a list of CCWs as vfioccw ssch --ccw takes"),
        ({"op": "ssch", "ccws": [3]}, "steps[1].ccws[0]: a CCW as vfioccw ssch --ccw takes it"),
        ({"op": "ssch", "ccws": ["nop"], "format": 2}, "steps[1].format: the format of the CCWs"),
        ({"op": "ssch", "obr": ORB}, "steps[1]: obr: unknown, did you mean orb?; one of op, orb, "),
        ({"op": "msch"}, "steps[1]: schib is missing"),
        ({"op": "delay", "ms": True}, "steps[1].ms: milliseconds, 0 to 3600000; not True"),
        ({"op": "delay"}, "steps[1]: ms is missing"),
        ({"op": "store", "memory": [[0]]}, "steps[1].memory[0]: an address and the bytes from"),
        ({"op": "store", "memory": [[1.0, ""]]}, "steps[1].memory[0][0]: an address, 0 or more"),
        ({"op": "tsch", "cc": 4}, "steps[1].cc: a condition code, 0 to 3, or null; not 4"),
        ({"op": "tsch", "irb": "00"}, "steps[1].irb: 96 bytes as hexadecimal digits, or null"),
    ],
)
def test_a_step_that_is_none_is_told_with_its_place(step: Any, said: str) -> None:
    made = scenario({"op": "wait"}, step)
    assert complaint(made).startswith(f'FILE: "mine": {said}')
    assert complaint([scenario(), made]).startswith(f'FILE: scenario 2 "mine": {said}')


@pytest.mark.parametrize(
    ("loaded", "said"),
    [
        (3, "FILE: a scenario, or a list of them; not 3"),
        ([3], "FILE: scenario 1: a scenario: an object with device and steps; not 3"),
        ({"steps": []}, "FILE: device is missing"),
        ({"device": {}, "steps": []}, "FILE: device: type is missing"),
        ({"device": {"type": "3391"}, "steps": []}, "FILE: device.type: '3391' is none, did you"),
        (scenario(name=3), "FILE: name: what it is called; not 3"),
        (scenario(memory={}), 'FILE: "mine": memory: a list of [address, bytes as hex'),
        (scenario(colour="red"), 'FILE: "mine": colour: unknown; one of $schema, name, '),
        (scenario(confidence="sure"), "FILE: \"mine\": confidence: 'sure' is none; one of agreed"),
    ],
)
def test_a_scenario_that_is_none_is_told_with_its_place(loaded: Any, said: str) -> None:
    assert complaint(loaded).startswith(said)
