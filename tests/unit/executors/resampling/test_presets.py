"""Policies by name."""

from __future__ import annotations

import pytest

from executors.errors import ExecutorError
from executors.resampling import POLICY_NAMES, KOutOfRange, PolicyUnknown, parse_policy
from executors.resampling.lookahead import Lookahead
from tests.unit.executors.resampling.votes import walk


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("dynamic", (0.80, 3, 2, 7)),
        ("latency", (0.60, 5, 6, 11)),
        ("lean", (0.80, 2, 7, 9)),
        ("balanced", (0.90, 3, 6, 15)),
        ("deep", (0.90, 3, 1, 40)),
        ("thorough", (0.95, 4, 1, 40)),
        ("lookahead:.9,2,1,40", (0.90, 2, 1, 40)),
    ],
)
def test_a_lookahead_has_the_published_parameters(
    name: str, shape: tuple[float, int, int, int]
) -> None:
    """And keeps the name it was asked for by."""
    policy = parse_policy(name)
    assert isinstance(policy, Lookahead)
    assert (policy.stop_posterior, policy.first_wave, policy.min_wave, policy.max_k) == shape
    assert policy.name == name


@pytest.mark.parametrize(
    ("prior", "k"), [("0.8", 3), ("0.75", 5), ("0.6", 5), ("0.54", 7), ("1", 3)]
)
def test_a_prior_confidence_chooses_the_seed_schedule_at_once(prior: str, k: int) -> None:
    """One wave and no second look, even on a split."""
    assert walk(parse_policy(f"seed_3_5_7:{prior}"), "ABCDEFG").steps == (k,)


@pytest.mark.parametrize(
    "spec",
    [
        "",
        "Dynamic",
        "fixed",
        "fixed:",
        "fixed:three",
        "fixed:3 ",
        "fixed:٣",
        "lookahead:0.8,3,2",
        "lookahead:0.5,3,2,7",
        "lookahead:1.0,3,2,7",
        "lookahead:nan,3,2,7",
        "seed_3_5_7:1.5",
        "x" * 10_000,
        None,
        3,
    ],
)
def test_an_unknown_policy_is_an_error_that_lists_the_known_ones(spec: str) -> None:
    """And stays short, whatever was asked for."""
    with pytest.raises(PolicyUnknown) as caught:
        parse_policy(spec)
    assert (caught.value.code, caught.value.http_status) == ("POLICY_UNKNOWN", 400)
    assert all(name in caught.value.suggested_action for name in POLICY_NAMES)
    assert len(caught.value.message) < 200
    assert isinstance(caught.value, ExecutorError)


@pytest.mark.parametrize(
    "spec",
    [
        "fixed:0",
        "fixed:41",
        "fixed:-1",
        "lookahead:0.8,3,2,41",
        "lookahead:0.8,0,2,7",
        "lookahead:0.8,8,2,7",
    ],
)
def test_a_number_of_samples_outside_one_to_forty_is_refused(spec: str) -> None:
    """So is a first wave beyond the maximum."""
    with pytest.raises(KOutOfRange) as caught:
        parse_policy(spec)
    assert (caught.value.code, caught.value.http_status) == ("K_OUT_OF_RANGE", 400)
