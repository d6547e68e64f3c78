"""The stopping rules, over every order of votes where that is possible."""

from __future__ import annotations

import itertools
from math import exp, lgamma, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executors.resampling import (
    KOutOfRange,
    StopReason,
    Tally,
    bounded,
    parse_policy,
)
from executors.resampling.lookahead import posterior
from tests.unit.executors.resampling.votes import every_sequence, leader, tally, walk

LOOKAHEADS = ("dynamic", "latency", "lean", "balanced", "deep", "thorough")


def test_the_posterior_is_the_beta_mass_above_one_half() -> None:
    """Midpoint integration of the density agrees with the closed form to seven places."""
    cells = 20_000
    for a, b in itertools.product(range(8), repeat=2):
        scale = lgamma(a + b + 2) - lgamma(a + 1) - lgamma(b + 1)
        points = (0.5 + (cell + 0.5) / (2 * cells) for cell in range(cells))
        mass = sum(exp(scale + a * log(x) + b * log(1 - x)) for x in points) / (2 * cells)
        assert posterior(a, b) == pytest.approx(mass, abs=1e-7)


def test_dynamic_draws_three_five_or_seven_and_nothing_else_on_every_order() -> None:
    """All ways in which seven samples can agree, differ or be invalid."""
    policy = parse_policy("dynamic")
    ends: dict[int, set[str]] = {}
    for votes in every_sequence(7):
        walked = walk(policy, votes)
        assert walked.steps in {(3,), (3, 5), (3, 5, 7)}
        ends.setdefault(walked.steps[-1], set()).add(walked.reason)
    assert ends == {
        3: {StopReason.CONFIDENT},
        5: {StopReason.CONFIDENT},
        7: {StopReason.CONFIDENT, StopReason.EXHAUSTED},
    }


@pytest.mark.parametrize(
    ("votes", "steps", "reason"),
    [
        ("AAABBBB", (3,), "confident"),
        ("AA-BBBB", (3,), "confident"),
        ("AABAABB", (3, 5), "confident"),
        ("ABCAACC", (3, 5), "confident"),
        ("AABABAA", (3, 5, 7), "confident"),
        ("AABBACD", (3, 5, 7), "exhausted"),
        ("ABCABCA", (3, 5, 7), "exhausted"),
        ("-------", (3, 5, 7), "exhausted"),
    ],
)
def test_dynamic_stops_where_the_votes_say_so(
    votes: str, steps: tuple[int, ...], reason: str
) -> None:
    """Three agreeing end it, one dissenter costs a second wave, a split a third."""
    walked = walk(parse_policy("dynamic"), votes)
    assert (walked.steps, walked.reason) == (steps, reason)


@pytest.mark.parametrize("leaves", [2, 3])
def test_dynamic_keeps_to_its_steps_with_several_fields(leaves: int) -> None:
    """Whatever the fields' votes, a wave ends at 3, 5 or 7."""
    policy = parse_policy("dynamic")
    for drawn in (3, 5, 7):
        states = sorted({(t.v1, t.v2) for t in map(tally, every_sequence(drawn))})
        for fields in itertools.combinations_with_replacement(states, leaves):
            decision = policy.decide([Tally(n=drawn, v1=v1, v2=v2) for v1, v2 in fields])
            assert drawn + decision.draw in {3, 5, 7}


def test_a_field_in_doubt_keeps_the_others_drawing() -> None:
    """The wave is that of the most doubtful field, the reason to stop that of the worst one."""
    deep = parse_policy("deep")
    sure, split = Tally(n=6, v1=6, v2=0), Tally(n=6, v1=3, v2=3)
    assert deep.decide([sure]).draw == 0
    assert deep.decide([sure, split]) == deep.decide([split])
    assert deep.decide([split, sure]) == deep.decide([split])
    dynamic = parse_policy("dynamic")
    certain, doubtful = Tally(n=7, v1=7, v2=0), Tally(n=7, v1=3, v2=3)
    assert dynamic.decide([certain, doubtful]).reason == StopReason.EXHAUSTED


def test_an_invalid_sample_counts_as_drawn_and_for_nobody() -> None:
    """It uses up the maximum without making anyone more likely."""
    policy = parse_policy("lookahead:0.8,2,1,4")
    assert walk(policy, "A--A").steps == (2, 3, 4)
    assert walk(policy, "AA").steps == (2,)


def test_a_leader_that_cannot_be_overtaken_is_settled() -> None:
    """With one sample left and a lead of two, nothing can change."""
    policy = parse_policy("lookahead:0.99,1,1,7")
    assert policy.decide([Tally(n=6, v1=4, v2=2)]).reason == StopReason.SETTLED
    assert policy.decide([Tally(n=6, v1=3, v2=3)]).draw == 1
    assert policy.decide([Tally(n=7, v1=5, v2=2)]).reason == StopReason.EXHAUSTED


@pytest.mark.parametrize("name", ["deep", "thorough"])
@given(
    votes=st.text(alphabet="AABC-", min_size=40, max_size=40)
    | st.text(alphabet="AAAAAAAB", min_size=40, max_size=40)
)
def test_waves_end_like_the_sequential_rule_and_never_draw_more(name: str, votes: str) -> None:
    """One at a time until the posterior is reached: the same leader, never fewer samples."""
    policy = parse_policy(name)
    stop = {"deep": 0.90, "thorough": 0.95}[name]
    drawn = next(
        (n for n in range(1, 41) if posterior(tally(votes[:n]).v1, tally(votes[:n]).v2) >= stop),
        40,
    )
    walked = walk(policy, votes)
    assert walked.leader == leader(votes[:drawn])
    assert walked.steps[-1] <= drawn
    assert len(walked.steps) <= drawn


@pytest.mark.parametrize("name", LOOKAHEADS)
@given(votes=st.text(alphabet="AAB-CD", min_size=40, max_size=40))
def test_every_lookahead_ends_inside_its_maximum(name: str, votes: str) -> None:
    """Waves are positive, reach the maximum at most, and only a stop reason ends them."""
    policy = parse_policy(name)
    walked = walk(policy, votes)
    assert walked.steps[0] == policy.first_wave
    assert walked.steps[-1] <= policy.max_k
    assert StopReason(walked.reason) in StopReason


def test_the_seed_schedule_reaches_three_five_and_seven() -> None:
    """Three alike stop, two alike go to 5, none alike to 7; it does not look a third time."""
    policy = parse_policy("seed_3_5_7")
    assert walk(policy, "AAABBBB").steps == (3,)
    assert walk(policy, "AABBBAA").steps == (3, 5)
    assert walk(policy, "ABCAAAA").steps == (3, 7)
    assert walk(policy, "A--AAAA").steps == (3, 7)
    assert [walk(policy, votes).reason for votes in ("AAABBBB", "AABBCAA", "ABCABCA")] == [
        StopReason.CONFIDENT,
        StopReason.FIXED,
        StopReason.EXHAUSTED,
    ]


def test_the_seed_schedule_looks_at_its_weakest_field() -> None:
    """One split field among agreed ones asks for all seven."""
    fields = [Tally(n=3, v1=3, v2=0), Tally(n=3, v1=1, v2=1)]
    assert parse_policy("seed_3_5_7").decide(fields).draw == 4


def test_a_fixed_number_is_one_wave() -> None:
    """It looks at no vote."""
    assert walk(parse_policy("fixed:4"), "AAAA").steps == (4,)
    assert walk(parse_policy("fixed:4"), "ABCD").reason == StopReason.FIXED


@pytest.mark.parametrize("name", [*LOOKAHEADS, "seed_3_5_7", "seed_3_5_7:0.4", "fixed:9"])
@given(
    limits=st.tuples(st.integers(1, 40), st.integers(1, 40)).map(sorted),
    votes=st.text(alphabet="AAB-C", min_size=40, max_size=40),
)
def test_a_bounded_policy_stays_inside_the_limits(name: str, limits: list[int], votes: str) -> None:
    """From the first wave to the last."""
    low, high = limits
    policy = bounded(parse_policy(name), min_k=low, max_k=high)
    assert low <= walk(policy, votes).steps[-1] <= high
    assert low <= policy.first_wave <= policy.max_k <= high


def test_limits_that_change_nothing_leave_the_policy_as_it_is() -> None:
    """The version tells whether limits were applied."""
    dynamic = parse_policy("dynamic")
    assert bounded(dynamic, max_k=40) == dynamic
    assert bounded(dynamic, min_k=5).version == "1+k5..40"
    assert walk(bounded(dynamic, min_k=5), "AAAAAAA").steps == (5,)
    assert walk(bounded(dynamic, max_k=2), "ABAAAAA").steps == (2,)


@pytest.mark.parametrize(("low", "high"), [(0, 3), (4, 3), (1, 41), (-1, 0)])
def test_limits_that_cross_or_leave_the_range_are_refused(low: int, high: int) -> None:
    """With the figures in the error."""
    with pytest.raises(KOutOfRange) as caught:
        bounded(parse_policy("dynamic"), min_k=low, max_k=high)
    assert caught.value.details["min_k"] == low
