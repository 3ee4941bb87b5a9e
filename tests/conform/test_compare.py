"""What differs between two ends, and which of it may."""

from __future__ import annotations

from pathlib import Path

import pytest

from vfioccw_fuse.conform import ConformError
from vfioccw_fuse.conform.answers import HOST
from vfioccw_fuse.conform.compare import Kind, as_data, compare, read_kinds


def verdict(linux: list[str], ours: list[str], *kinds: Kind) -> str:
    [one] = compare({"c": linux}, {"c": ours}, kinds)
    return one.problem or one.kind or "equal"


def test_what_is_equal_needs_no_list() -> None:
    assert verdict(["a"], ["a"]) == "equal"


def test_what_differs_and_is_not_listed_is_a_problem() -> None:
    assert verdict(["a"], ["a", "b"]) == "answer 2: Linux: nothing more; ours: b"


def test_what_is_listed_must_differ() -> None:
    kind = Kind("k", "reason", ours={"c": ["a"]})
    assert verdict(["a"], ["a"], kind) == "it is on the list and does not differ"
    assert verdict(["b"], ["a"], kind) == "k"


def test_what_is_listed_must_differ_as_it_is_listed() -> None:
    kind = Kind("k", "reason", ours={"c": ["a"]})
    assert "otherwise than listed" in verdict(["b"], ["x"], kind)


def test_who_is_faster_does_not_matter_within_what_is_listed() -> None:
    kind = Kind("k", "reason", either={"c": [["a"], ["b"]]})
    assert verdict(["a"], ["b"], kind) == verdict(["a"], ["a"], kind) == "k"
    assert "ours is none of the listed" in verdict(["a"], ["x"], kind)
    assert "Linux is none of the listed" in verdict(["x"], ["a"], kind)


def test_what_an_older_driver_does_counts_for_that_one(tmp_path: Path) -> None:
    path = tmp_path / "list.toml"
    path.write_text('[[kind]]\nname = "k"\nbefore = "6.12"\nreason = "r"\ncases = ["c"]\n')
    assert verdict(["b"], ["a"], *read_kinds(path, "6.1")) == "k"
    assert read_kinds(path, "6.12") == []


def test_a_case_is_in_one_kind(tmp_path: Path) -> None:
    path = tmp_path / "list.toml"
    kind = '[[kind]]\nname = "{0}"\nreason = "r"\n[kind.ours]\nc = ["{0}"]\n'
    path.write_text(kind.format("k") + kind.format("l"))
    with pytest.raises(ConformError, match="'c' is in 'k' and 'l'"):
        read_kinds(path)


def test_the_difference_that_is_told_is_one_that_is_not_explained() -> None:
    kind = Kind("k", "reason", sets=[["a", "b"]])
    assert verdict(["a", "c"], ["b", "c"], kind) == "k"
    assert verdict(["a", "c"], ["b", "d"], kind) == "answer 2: Linux: c; ours: d"
    assert verdict(["a"], ["b", "d"], kind) == "answer 2: Linux: nothing more; ours: d"


OWN_COPY = Kind("copy", "reason", rule="an address of the host's", cases=["c"])


def test_an_address_of_the_hosts_is_explained_by_its_rule_in_any_case() -> None:
    linux, ours = f"read 96 00c02001 {HOST} 00000000", "read 96 00c02001 00001008 00000000"
    assert verdict([linux], [ours], OWN_COPY) == "copy"
    [other] = compare({"d": [linux]}, {"d": [ours]}, [OWN_COPY])
    assert (other.kind, other.problem) == ("copy", "")


def test_a_rule_explains_nothing_else() -> None:
    linux, ours = f"read 96 00c02001 {HOST} 00000000", "read 96 00c02011 00001008 00000000"
    assert "answer 1" in verdict([linux], [ours], OWN_COPY)
    assert "answer 1" in verdict([ours], [linux], OWN_COPY)
    assert "answer 2" in verdict(["a"], ["a", "b"], OWN_COPY)


def test_a_case_of_a_rule_must_differ() -> None:
    assert verdict(["a"], ["a"], OWN_COPY) == "it is on the list and does not differ"


def test_a_verdict_for_programs_has_both_answers_and_each_difference_in_words() -> None:
    linux, ours = {"c": ["a", "b", "c"]}, {"c": ["x", "b", "z"]}
    [one] = compare(linux, ours, [])
    data = as_data(one, linux, ours)
    assert data["verdict"] == "problem"
    assert (data["linux"], data["ours"]) == (["a", "b", "c"], ["x", "b", "z"])
    assert [words.split(":")[0] for words in data["differences"]] == ["answer 1", "answer 3"]
