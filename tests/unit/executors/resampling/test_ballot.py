"""Counting votes: leaders, representatives, shares."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from executors.resampling import Ballot, Tally, Vote, parse_agreement
from tests.unit.executors.resampling.test_structured import SPEC, finding
from tests.unit.executors.resampling.votes import CHOICE, leader, tally


def plain(votes: str, *, order: list[int] | None = None) -> Ballot:
    """Return the ballot of a string of votes, added in the given order of places."""
    ballot = Ballot(CHOICE)
    for index in order or range(len(votes)):
        ballot.add(index, votes[index])
    return ballot


def test_of_equal_classes_the_one_that_led_first_leads() -> None:
    """B reached two votes before A did."""
    assert plain("ABBA").leader() == "B"
    assert plain("ABAB").leader() == "A"
    assert plain("--").leader() is None


@given(
    votes=st.text(alphabet="ABC-", min_size=1, max_size=12),
    shuffle=st.randoms(use_true_random=False),
)
def test_the_order_of_arrival_changes_nothing(votes: str, shuffle: random.Random) -> None:
    """Votes are counted by index."""
    order = list(range(len(votes)))
    shuffle.shuffle(order)
    ballot = plain(votes, order=order)
    assert ballot.standing() == plain(votes).standing()
    assert ballot.tallies() == [tally(votes)]
    assert ballot.leader() == leader(votes)


def test_a_sample_counts_once() -> None:
    """The first text of an index stays."""
    ballot = plain("AB")
    ballot.add(0, "B")
    assert ballot.tallies() == [Tally(n=2, v1=1, v2=1)]
    assert len(ballot) == 2


def test_an_empty_ballot_has_a_tally_for_every_field() -> None:
    """A policy is asked before anything is drawn."""
    assert Ballot(CHOICE).tallies() == [Tally(n=0, v1=0, v2=0)]
    assert Ballot(parse_agreement(SPEC)).tallies() == [Tally(n=0, v1=0, v2=0)] * 2
    assert Ballot(CHOICE).standing().representative is None


def test_classes_carry_counts_and_their_first_example() -> None:
    """Most votes first, then the earliest."""
    assert plain("B-AAC").votes() == (Vote("A", 2, 2), Vote("B", 1, 0), Vote("C", 1, 4))


def test_the_representative_has_every_winning_field() -> None:
    """The lowest index that does, though another class of documents came first."""
    ballot = Ballot(parse_agreement(SPEC))
    samples = [finding("L5-S1"), finding(grade="severe"), finding(), finding(), finding("L5-S1")]
    for index, text in enumerate(samples):
        ballot.add(index, text)
    standing = ballot.standing()
    assert (standing.representative, standing.agreeing, standing.runner_up) == (2, 2, 2)
    assert standing.field_shares == {"/level": 0.6, "/grade": 0.8}
    assert not standing.composite_missing


def test_without_a_sample_that_has_all_winners_the_closest_is_taken_and_marked() -> None:
    """Shares are then those of its own values, not of the winners."""
    schema = {"properties": {name: {"type": "integer"} for name in "abc"}}
    spec = {"type": "json", "schema": schema, "critical": ["/a", "/b", "/c"]}
    ballot = Ballot(parse_agreement(spec))
    for index, (a, b, c) in enumerate([(9, 8, 1), (1, 1, 9), (1, 9, 1), (9, 1, 1), (1, 1, 7)]):
        ballot.add(index, f'{{"a": {a}, "b": {b}, "c": {c}}}')
    standing = ballot.standing()
    assert standing.composite_missing
    assert standing.representative == 1
    assert standing.agreeing == 1
    assert standing.field_shares == {"/a": 0.6, "/b": 0.6, "/c": 0.2}


def test_a_long_class_is_written_short_and_stays_distinct() -> None:
    """Two long texts that differ at the end only."""
    ballot = Ballot(parse_agreement({"type": "exact"}))
    for index, ending in enumerate("ab"):
        ballot.add(index, "x" * 5_000 + ending)
    labels = [found.canonical for found in ballot.votes()]
    assert len(set(labels)) == 2
    assert all(len(label) <= 200 for label in labels)
