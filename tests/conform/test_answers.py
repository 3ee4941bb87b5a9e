"""Answers: by case, as a file keeps them, and in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from vfioccw_fuse.conform import ConformError
from vfioccw_fuse.conform.answers import HOST, heard, in_words, read_answers, sort, write_answers

IRB = "00c04007000010080c00002c00800000".ljust(192, "0")


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


def test_an_irb_area_that_is_read_is_kept_as_an_irb_is() -> None:
    digits = IRB.replace("00001008", "01ab2008")
    [read] = sort(["case c", f"read 96 {digits}"])["c"]
    assert read == f"read 96 00c04007 {HOST} 0c00002c 00800000"


NOT_MAPPED = ["case c", "write ENOENT ret_code -ENOENT", "irq ENOENT"]


def test_what_is_not_mapped_has_the_containers_errno_by_iommufd_too() -> None:
    told = heard(["asked iommufd 6.12.1", *NOT_MAPPED])
    assert told.release == "6.12.1"
    assert told.answers == {"c": ["write EINVAL ret_code -EINVAL", "irq ENOENT"]}


def test_by_container_no_errno_becomes_another() -> None:
    assert heard(["asked container 6.1.0-50-s390x", *NOT_MAPPED]).answers == {"c": NOT_MAPPED[1:]}


@pytest.mark.parametrize("lines", [[], ["case c"], ["asked nobody 6.1"], ["asked iommufd"]])
def test_what_the_client_did_not_print_is_refused(lines: list[str]) -> None:
    with pytest.raises(ConformError, match="they begin with a line asked WAY RELEASE"):
        heard(lines)
