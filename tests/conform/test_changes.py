"""How one Linux differs from the next, as a table."""

from __future__ import annotations

from vfioccw_fuse.conform.answers import Answers
from vfioccw_fuse.conform.changes import Recording, written
from vfioccw_fuse.conform.compare import Kind
from vfioccw_fuse.conform.script import Case


def recording(series: str, answers: Answers) -> Recording:
    return Recording(series, f"{series}.5", answers)


def test_what_changed_from_each_driver_to_the_next_is_a_table() -> None:
    cases = [Case(name, f"do {name}", "x") for name in ("same", "other", "fast")]
    oldest = {"same": ["a"], "other": ["write 8 ret_code 0"], "fast": ["a"]}
    newer = {"same": ["a"], "other": ["write EINVAL ret_code -EINVAL"], "fast": ["b"]}
    kinds = [
        Kind("who is faster", "r", either={"fast": [["a"], ["b"]]}),
        Kind("IDAWs", "why", before="6.12", cases=["other"]),
        Kind("later", "why", before="7.3", cases=["same"]),
    ]
    recordings = [recording("6.1", oldest), recording("6.12", newer), recording("7.3", newer)]
    text = written(cases, recordings, kinds)
    rows = [line for line in text.splitlines() if line.startswith(("| ", "#"))]
    assert rows == [
        "# How vfio-ccw changed: Linux 6.1, 6.12 and 7.3",
        "| Linux | asked | cases that it answers otherwise than the one before |",
        "| 6.1 | 6.1.5 | |",
        "| 6.12 | 6.12.5 | 1 |",
        "| 7.3 | 7.3.5 | 0 |",
        "## 6.1 to 6.12: IDAWs",
        "| case | requests | 6.1, then 6.12 |",
        "| other | `do other` | answer 1: 6.1: write 8 ret_code 0; "
        "6.12: write EINVAL ret_code -EINVAL |",
    ]


def test_what_changed_and_no_kind_explains_is_in_the_table_too() -> None:
    cases = [Case("c", "do c", "x")]
    recordings = [recording("6.1", {"c": ["a"]}), recording("6.12", {"c": ["b"]})]
    text = written(cases, recordings, [Kind("later", "why", before="7.3", cases=["c"])])
    assert "## 6.1 to 6.12: what no kind explains" in text
    assert "| c | `do c` | answer 1: 6.1: a; 6.12: b |" in text
