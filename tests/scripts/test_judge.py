"""What judges by Linux's driver: requests as they are written, answers, and what may differ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from judge import JudgeError
from judge.answers import HOST, in_words, read_answers, sort, write_answers
from judge.chance import Chance, asked, shrink
from judge.changes import written
from judge.compare import Kind, as_data, compare, read_kinds
from judge.script import GOOD, Case, read_cases, script_of
from lab import programs

IRB = "00c04007000010080c00002c00800000".ljust(192, "0")


def script(do: str) -> list[str]:
    return script_of([Case("c", do, "why")]).splitlines()[1:]


def test_a_start_is_the_bytes_of_the_lab() -> None:
    orb = programs.orb(0x1000, 0x00C0, lpm=0x80)
    request = programs.request(programs.START, orb, 120).hex()
    assert script("start lpm=80") == [f"write 0 0 {request}.=0"]


def test_run_waits_for_the_end() -> None:
    assert script("run")[1:] == ["final"]


def test_a_short_start_is_cut() -> None:
    assert script("start size=12") == [f"write 0 0 {programs.orb(0x1000, 0x00C0).hex()}"]


@pytest.mark.parametrize(
    ("do", "line"),
    [
        ("1000: 03/60/1*2 08/00/0@20", "store 1000 " + "0360000100000000" * 2 + "0800000000000020"),
        ("format0 1000: e4/20/64@2000", "store 1000 e400200020000040"),
        ("idal 3000: 2000", "store 3000 0000000000002000"),
        ("idal31 3000: 2000 2800", "store 3000 0000200000002800"),
        ("write schib 4: 00*3", "write 2 4 000000"),
        ("write io 0: ", "write 0 0 "),
        ("read crw 0 8", "read 3 0 8"),
        ("read 63 1 16", "read 3f 1 10"),
        ("hsch", "write 1 0 =1.=0"),
        ("csch", "write 1 0 =2.=0"),
        ("command 40", "write 1 0 =40.=0"),
        ("load 2000 20", "load 2000 14"),
        ("reset", "reset"),
        ("bytes 2000: 0a0b*2", "store 2000 0a0b0a0b"),
        ("irq 0 bool1", "irq 0 bool1"),
        ("chp 41 off", "chp 41 off"),
    ],
)  # fmt: skip
def test_requests_as_the_client_takes_them(do: str, line: str) -> None:
    assert script(do) == [line]


def test_segments_are_chained_by_tics() -> None:
    assert [line.split()[1] for line in script("chain 3")] == ["1000", "4000", "4100"]


def test_faults_are_switched_off_before_the_next_case() -> None:
    two = [Case("a", "control fault=hang", "x"), Case("b", "reset", "x"), Case("c", "reset", "x")]
    lines = script_of(two).splitlines()
    assert [line for line in lines if line.startswith("control")] == [
        "control fault=hang", f"control {GOOD}"
    ]  # fmt: skip


@pytest.mark.parametrize("do", ["nonsense", "1000: 03", "start speed=1", "read nowhere 0 1", ""])
def test_what_is_no_request_is_refused_by_the_name_of_its_case(do: str) -> None:
    with pytest.raises(JudgeError, match="'c'"):
        script(do)


def test_two_cases_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "cases.toml"
    path.write_text('[[case]]\nname = "a"\ndo = "reset"\nwhy = "x"\n' * 2)
    with pytest.raises(JudgeError, match="two cases are named a"):
        read_cases(path)


def test_an_irb_is_kept_in_words_without_the_zeros_at_its_end() -> None:
    assert sort(["case c", f"events 1 irb {IRB}"]) == {
        "c": ["events 1 irb 00c04007 00001008 0c00002c 00800000"]
    }


def test_addresses_beyond_the_clients_storage_are_a_hosts() -> None:
    digits = IRB.replace("00001008", "01ab2008")
    schib = "01af4c00" + "0" * 56 + "01ab2008".rjust(8, "0") + "0" * 32
    [irb, read] = sort(["case c", f"events 1 irb {digits}", f"read 52 {schib:0<104}"])["c"]
    assert irb == f"events 1 irb 00c04007 {HOST} 0c00002c 00800000"
    assert read.startswith(f"read 52 {HOST} ")


def test_answers_are_read_as_they_were_written(tmp_path: Path) -> None:
    answers = {"a": ["write 124 ret_code 0", "events 0"], "b, no more": []}
    write_answers(tmp_path / "answers", answers, "what it is")
    assert read_answers(tmp_path / "answers") == answers


def test_a_difference_of_irbs_is_said_by_its_fields() -> None:
    linux = "events 1 irb 00c04007 00001008 0c00002c 00800000"
    ours = "events 1 irb 00c04017 00001008 0c40002c 00800000"
    said = in_words(linux, ours)
    assert "cstat: Linux 00, ours 40 (incorrect length)" in said
    assert "cpa" not in said


def test_another_difference_is_said_as_it_is() -> None:
    assert in_words("write EINVAL ret_code -EINVAL", None) == (
        "Linux: write EINVAL ret_code -EINVAL; ours: nothing more"
    )


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
    path.write_text('[[kind]]\nname = "k"\nonly = "6.1"\nreason = "r"\ncases = ["c"]\n')
    assert verdict(["b"], ["a"], *read_kinds(path, "6.1")) == "k"
    assert read_kinds(path, "6.12") == []


def test_a_case_is_in_one_kind(tmp_path: Path) -> None:
    path = tmp_path / "list.toml"
    kind = '[[kind]]\nname = "{0}"\nreason = "r"\n[kind.ours]\nc = ["{0}"]\n'
    path.write_text(kind.format("k") + kind.format("l"))
    with pytest.raises(JudgeError, match="'c' is in 'k' and 'l'"):
        read_kinds(path)


def test_an_irb_area_that_is_read_is_kept_as_an_irb_is() -> None:
    digits = IRB.replace("00001008", "01ab2008")
    [read] = sort(["case c", f"read 96 {digits}"])["c"]
    assert read == f"read 96 00c04007 {HOST} 0c00002c 00800000"


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


def test_requests_by_chance_are_those_of_their_seed() -> None:
    assert list(Chance(7).cases(500)) == list(Chance(7).cases(500))
    assert list(Chance(7).cases(500)) != list(Chance(8).cases(500))


@pytest.mark.parametrize("seed", range(1, 9))
def test_requests_by_chance_can_all_be_asked_and_are_as_many_as_wanted(seed: int) -> None:
    cases = list(Chance(seed).cases(8000))
    assert 8000 <= sum(map(asked, cases)) < 8200
    assert len({case.name for case in cases}) == len(cases)


def test_what_differs_is_made_as_short_as_it_can_be() -> None:
    def differ(tried: Sequence[Case]) -> list[bool]:
        return ["hsch" in one.do and "reset" in one.do for one in tried]

    found = shrink(Case("c", "csch; wait; hsch; wait; start; reset; quiet; event", "x"), differ)
    assert found.do == "hsch; wait; reset; quiet; event", "who waits belongs to the request"


def test_what_cannot_be_made_shorter_stays() -> None:
    case = Case("c", "csch; wait", "x")
    assert shrink(case, lambda tried: [False] * len(tried)) == case


def test_a_case_is_printed_as_a_file_has_it(tmp_path: Path) -> None:
    path = tmp_path / "cases.toml"
    case = Case("a name", "1000: 03/20/1; run", "What it says.")
    path.write_text(case.text())
    assert read_cases(path) == [case]


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
