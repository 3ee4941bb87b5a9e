"""How one Linux differs from another, as a table."""

from __future__ import annotations

from vfioccw_fuse.conform.changes import written
from vfioccw_fuse.conform.compare import Kind
from vfioccw_fuse.conform.script import Case


def test_what_changed_between_two_drivers_is_a_table() -> None:
    cases = [Case(name, f"do {name}", "x") for name in ("same", "other", "fast")]
    older = {"same": ["a"], "other": ["write 8 ret_code 0"], "fast": ["a"]}
    newer = {"same": ["a"], "other": ["write EINVAL ret_code -EINVAL"], "fast": ["b"]}
    kinds = [
        Kind("who is faster", "r", either={"fast": [["a"], ["b"]]}),
        Kind("the rule", "r", only="6.1", cases=["other"]),
    ]
    text = written(cases, older, newer, kinds, ("6.1", "6.12"))
    rows = [line for line in text.splitlines() if line.startswith(("| ", "## "))]
    assert rows == [
        "## The rule",
        "| case | requests | 6.1, then 6.12 |",
        "| other | `do other` | answer 1: 6.1: write 8 ret_code 0; "
        "6.12: write EINVAL ret_code -EINVAL |",
    ]


def test_what_changed_and_no_kind_explains_is_in_the_table_too() -> None:
    cases = [Case("c", "do c", "x")]
    text = written(cases, {"c": ["a"]}, {"c": ["b"]}, [], ("6.1", "6.12"))
    assert "## What no kind explains" in text
    assert "| c | `do c` | answer 1: 6.1: a; 6.12: b |" in text
