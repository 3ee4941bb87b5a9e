"""The check that judges the recordings: what counts differs, what is masked does not."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from vfioccw_fuse.scenario.check import differences

Json = dict[str, Any]

INTERRUPT = "000103130000abcd00000000"
RECORDED: Json = {
    "memory": [[0x10000, "00112233"]],
    "steps": [
        {"op": "ssch", "orb": "0000abcd0080ff0000010000", "cc": 0},
        {"op": "store", "memory": [[0x20000, "44"]]},
        {"op": "wait", "interrupt": INTERRUPT, "interrupt_dont_care": "ffffffff00000000ffffffff"},
        {"op": "tsch", "cc": 0, "irb": "00" * 96, "irb_dont_care": "00" * 32 + "ff" * 64},
        {"op": "stsch", "cc": 0, "schib": "00" * 52, "schib_dont_care": "00" * 51 + "ff"},
        {"op": "wait", "interrupt": None},
    ],
    "memory_after": [[0x10000, "55"]],
    "memory_dont_care": [[0x10001, 2, "sense"]],
    "image_after": {"sha256_after": "ab"},
}


def flipped(data: str, byte: int) -> str:
    changed = bytearray.fromhex(data)
    changed[byte] ^= 0x01
    return changed.hex()


def result(step: int | None = None, **values: Any) -> Json:
    """What is recorded, but with other *values* in a step, or in the whole."""
    made = copy.deepcopy(RECORDED)
    (made if step is None else made["steps"][step]).update(values)
    return made


@pytest.mark.parametrize(
    ("done", "said"),
    [
        (result(0, cc=1), "step 0 ssch: condition code 1, recorded 0"),
        (result(2, interrupt=None), "step 2 wait: interruption None"),
        (result(2, interrupt=flipped(INTERRUPT, 7)), "step 2 wait: interrupt"),
        (result(3, irb=flipped("00" * 96, 31)), "step 3 tsch: irb"),
        (result(3, irb=""), "step 3 tsch: no irb"),
        (result(4, schib=flipped("00" * 52, 50)), "step 4 stsch: schib"),
        (result(steps=RECORDED["steps"][:-2]), "steps ssch store wait tsch, recorded"),
        (result(memory_after=[]), "storage: 1 bytes differ, the first at 10000: 00, recorded 55"),
        (result(memory_after=[[0x10000, "55"], [0x20000, "45"]]), "the first at 20000"),
        (result(memory_after=[[0x10000, "55"], [0x30000, "01"]]), "the first at 30000"),
        (result(image_after={"sha256_after": "cd"}), "the medium's contents differ"),
    ],
)
def test_what_counts_is_told(done: Json, said: str) -> None:
    [told] = differences(RECORDED, done)
    assert said in told


@pytest.mark.parametrize(
    "done",
    [
        RECORDED,
        result(2, interrupt=flipped(INTERRUPT, 0)),
        result(3, irb=flipped("00" * 96, 32)),
        result(4, schib=flipped("00" * 52, 51)),
        result(memory_after=[[0x10000, "55eeee"]]),
        result(steps=RECORDED["steps"][:-1]),
    ],
    ids=["the same", "interruption", "irb", "schib", "storage", "an idle wait at the end"],
)
def test_what_is_masked_does_not_count(done: Json) -> None:
    assert differences(RECORDED, done) == []


def test_a_second_opinion_is_right_too_and_a_third_is_not() -> None:
    other = {
        "steps": [{"op": "ssch", "cc": 2}],
        "memory_after": [],
        "image_sha256_after": "cd",
    }
    disputed = RECORDED | {"alt_3_13": other}
    done = result(steps=other["steps"], memory_after=[], image_after={"sha256_after": "cd"})
    assert differences(disputed, RECORDED) == []
    assert differences(disputed, done) == []
    assert differences(RECORDED, done)
    assert differences(disputed, done | {"steps": [{"op": "ssch", "cc": 1}]})


@pytest.mark.parametrize("ctrl", ["0009", "4009"])
def test_intermediate_status_may_come_alone_or_with_the_end(ctrl: str) -> None:
    intermediate = [
        {"op": "wait", "interrupt": INTERRUPT},
        {"op": "tsch", "cc": 0, "irb": "0000" + ctrl + "00" * 92},
    ]
    steps = [RECORDED["steps"][0], *intermediate, *RECORDED["steps"][1:]]
    assert differences(RECORDED, RECORDED | {"steps": steps})
    timing = RECORDED | {"tags": ["timing"]}
    assert differences(timing, timing | {"steps": steps}) == []
