"""What is no scenario, or names a file that is not its own, is a UserError and nothing else."""

from __future__ import annotations

import contextlib
import copy
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from vfioccw_fuse.errors import UserError
from vfioccw_fuse.scenario.images import Images
from vfioccw_fuse.scenario.run import run_scenario
from vfioccw_fuse.scenario.schema import check

Json = dict[str, Any]
SIZE = 1 << 20
SCENARIO: Json = {
    "name": "made up",
    "device": {"type": "fba", "image": "disk", "csense": False},
    "memory_size": SIZE,
    "memory": [[0x10000, "03200001" "00000000"]],
    "steps": [
        {"op": "store", "memory": [[0x20000, "c1c2"]]},
        {"op": "ssch", "orb": "00000000" "0080ff00" "00010000"},
        {"op": "delay", "ms": 1},
        {"op": "wait"},
        {"op": "tsch"},
        {"op": "stsch"},
    ],
}


def images(directory: Path, **known: Any) -> Images:
    (directory / "images.json").write_text(json.dumps(known))
    return Images(str(directory))


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Images:
    directory = tmp_path_factory.mktemp("images")
    (directory / "disk.img").write_bytes(bytes(4096))
    return images(directory, disk={"file": "disk.img"})


def run(scenario: Json, shelf: Images) -> Json:
    check("file", scenario)
    done: Json = trio.run(run_scenario, scenario, shelf, clock=MockClock(autojump_threshold=0))
    return done


def changed(place: tuple[Any, ...], value: Any) -> Json:
    scenario = copy.deepcopy(SCENARIO)
    inner: Any = scenario
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    return scenario


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where there is anything in *value*."""
    if isinstance(value, dict | list):
        for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield (*place, name)
            yield from places(inner, (*place, name))


def test_it_runs_as_it_is(shelf: Images) -> None:
    done = run(SCENARIO, shelf)
    assert [step.get("cc") for step in done["steps"]] == [None, 0, None, None, 0, 0]
    assert done["memory_after"] == []


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("memory_size",), 10**4000, "memory_size: a number of bytes, a multiple of 4096, 4096 to"),
        (("memory_size",), float("inf"), "memory_size: a number of bytes"),
        (("memory_size",), -4096, "not -4096"),
        (("memory_size",), 4097, "memory_size: a number of bytes, a multiple of 4096"),
        (("memory", 0, 0), SIZE - 4, "memory[0]: the 8 bytes are not in storage"),
        (("memory", 0, 0), -8, "memory[0][0]: an address, 0 or more; not -8"),
        (("memory", 0, 0), 10**4000, "memory[0]: the 8 bytes are not in storage"),
        (("memory", 0, 1), "00" * (SIZE + 1), f"memory[0]: the {SIZE + 1} bytes are not in"),
        (("steps", 0, "memory", 0, 0), 10**30, "steps[0].memory[0]: the 2 bytes are not in"),
        (("steps", 0, "memory", 0, 0), -1, "steps[0].memory[0][0]: an address"),
        (("steps", 2, "ms"), 10**400, "steps[2].ms: milliseconds, 0 to 3600000"),
        (("steps", 2, "ms"), float("inf"), "steps[2].ms: milliseconds, 0 to 3600000"),
        (("steps", 2, "ms"), float("nan"), "steps[2].ms: milliseconds, 0 to 3600000"),
        (("steps", 2, "ms"), -1, "steps[2].ms: milliseconds, 0 to 3600000"),
        (("device", "type"), "9" * 5000, "device.type: '9999"),
        (("steps", 1, "ccws"), ["nop"], "steps[1].ccws: whoever runs this"),
    ],
)
def test_what_is_out_of_all_bounds_is_said_in_a_short_line(
    shelf: Images, place: tuple[Any, ...], value: Any, said: str
) -> None:
    with pytest.raises(UserError) as wrong:
        run(changed(place, value), shelf)
    assert said in wrong.value.message
    assert len(wrong.value.message) < 400


JSON: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**32, 2**63, 2**64, 10**4000, -1])
    | st.floats()
    | st.text(st.characters())
    | st.lists(st.integers(), max_size=2)
    | st.just({})
)


@given(place=st.sampled_from(list(places(SCENARIO))), value=JSON)
def test_any_value_anywhere_runs_or_is_a_user_error(
    shelf: Images, place: tuple[Any, ...], value: Any
) -> None:
    with contextlib.suppress(UserError):
        run(changed(place, value), shelf)


@pytest.mark.parametrize(
    "name",
    ["../out.img", "sub/../../out.img", "/etc/hostname", "link.img", "link/out.img", "..", ".", ""],
)
def test_a_file_that_is_not_in_the_directory_is_not_read_and_not_written(
    tmp_path: Path, name: str
) -> None:
    directory = tmp_path / "images"
    (directory / "sub").mkdir(parents=True)
    (tmp_path / "out.img").write_bytes(bytes(4096))
    (directory / "link.img").symlink_to(tmp_path / "out.img")
    (directory / "link").symlink_to(tmp_path)
    shelf = images(directory, disk={"file": name})
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=r"images\.json: disk: .* is not in .*; put the file there"):
        run(SCENARIO, shelf)
    by_path = changed(("device", "image"), name)
    if name:  # an empty one is no image at all
        with pytest.raises(UserError, match=r"device\.image: .* is not in .*; put the file there"):
            run(by_path, Images(str(directory)))
    assert sorted(tmp_path.rglob("*")) == before


def test_a_file_below_the_directory_and_a_link_inside_it_are_read(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "disk.img").write_bytes(bytes(4096))
    (tmp_path / "link.img").symlink_to("sub/disk.img")
    for name in ("sub/disk.img", "link.img", "./sub/disk.img"):
        assert run(SCENARIO, images(tmp_path, disk={"file": name}))["steps"][1]["cc"] == 0
        by_path = changed(("device", "image"), name)
        assert run(by_path, Images("/nowhere", str(tmp_path)))["steps"][1]["cc"] == 0


def test_a_scenario_writes_a_copy_of_its_image(tmp_path: Path) -> None:
    disk = tmp_path / "disk.img"
    disk.write_bytes(bytes(4096))
    scenario = changed(("device", "image"), "disk.img")
    scenario["memory"] = [
        [0x10000, "6340001000011000" "4340000800011010" "4120020000011020"],
        [0x11000, "c0000000" "00000000" "00000000" "00000007" "0100000100000000" + "c1" * 512],
    ]
    done = run(scenario, Images(str(tmp_path)))
    assert done["image_after"]["changed"]
    assert disk.read_bytes() == bytes(4096)


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("none.img", "none.img: no such file"),
        ("fifo", "fifo: no such file"),
        ("a\0b", "a control character"),
        (5, "must be a string"),
        (["disk.img"], "must be a string"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path, file: Any, said: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(UserError, match=said):
        run(SCENARIO, images(tmp_path, disk={"file": file}))


@pytest.mark.parametrize(
    "text", ["[1]", '{"disk": 3}', "{", "[" * 100_000, f'{{"a": {"9" * 5000}}}']
)
def test_an_index_that_is_none_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "images.json").write_text(text)
    with pytest.raises(UserError, match=r"images\.json: "):
        Images(str(tmp_path))
