"""Requests by chance, and how a difference is made short."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from vfioccw_fuse.conform.chance import Chance, asked, shrink
from vfioccw_fuse.conform.script import Case


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
