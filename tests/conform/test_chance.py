"""Requests by chance, and how a difference is made short."""

from __future__ import annotations

import pytest

from vfioccw_fuse.conform import ConformError
from vfioccw_fuse.conform.chance import FIRST, Outcome, by_chance, requests_of
from vfioccw_fuse.conform.script import Case, script_of


def asked(seed: int, requests: int, *, older: bool = False) -> list[str]:
    """What is asked from a *seed* where nothing differs."""
    found: list[str] = []

    def equal(case: Case) -> str:
        found.append(case.do)
        return ""

    outcome = by_chance(seed, requests, equal, older=older)
    assert outcome == Outcome(sum(map(requests_of, found)), None, "")
    return found


def test_requests_by_chance_are_those_of_their_seed() -> None:
    assert asked(7, 100) == asked(7, 100) != asked(8, 100)


@pytest.mark.parametrize("older", [False, True])
def test_requests_by_chance_can_all_be_asked_and_are_as_many_as_wanted(older: bool) -> None:
    found = asked(3, 600, older=older)
    assert 600 <= sum(map(requests_of, found)) < 800
    assert len(set(found)) == len(found), "nothing is asked twice"
    lines = script_of([FIRST, *(Case("c", do, "x") for do in found)]).splitlines()
    assert max(map(len, lines)) < 4096, "a terminal takes them"
    said = {line.split()[0] for line in lines}
    assert {"store", "write", "read", "final", "race", "cleared", "control", "irq"} <= said


def test_what_follows_a_race_does_not_tell_who_was_faster() -> None:
    """A return code stays until the next request to the region."""
    races = [do for seed in (9, 10, 11) for do in asked(seed, 1000) if "race start" in do]
    assert races
    for do in races:
        for rest in do.split("; cleared; ")[1:]:
            assert rest.startswith("start; final")


def test_older_linuxes_are_asked_only_what_they_answer_alike() -> None:
    """No storage key, no IDAWs but those of 4K: those are in changes.toml."""
    found = asked(5, 400, older=True)
    orbs = [word for do in found for word in do.split() if word.startswith("ctrl0=")]
    assert orbs
    assert all(int(orb.strip(";")[6:], 16) & 0xF001 == 0 for orb in orbs)
    assert not any("idal31" in do for do in found)


@pytest.mark.parametrize(
    ("part", "shortest"),
    [
        ("start ctrl0=00c2; final", "1000: 03/20/1@8000 03/20/1; start ctrl0=00c2; final"),
        ("unsolicited", "read io 24 96; control unsolicited=80; wait"),
    ],
)
def test_what_differs_is_made_as_short_and_simple_as_it_can_be(part: str, shortest: str) -> None:
    outcome = by_chance(1, 4000, lambda case: "it differs" if part in case.do else "")
    assert outcome.case is not None
    assert (outcome.case.do, outcome.problem) == (shortest, "it differs")
    assert 0 < outcome.asked < 4000


def test_a_difference_that_is_not_there_again_is_the_one_that_was_found() -> None:
    """Who is faster: what was seen once is told, and nothing shorter made up."""
    seen: list[str] = []

    def once(case: Case) -> str:
        seen.append(case.do)
        return "it differs" if len(seen) == 20 else ""

    outcome = by_chance(1, 4000, once)
    assert outcome.case is not None
    assert outcome.case.do == seen[19]


def test_what_goes_wrong_with_an_end_is_no_difference() -> None:
    def broken(case: Case) -> str:
        raise ConformError("the guest is gone")

    with pytest.raises(ConformError, match="the guest is gone"):
        by_chance(1, 100, broken)
