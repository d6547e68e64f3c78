"""Tokens are drawn by their probabilities, each answer by its own rules and numbers."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from executors.token_choice import Draw, choose  # noqa: E402
from executors.types import Sampling  # noqa: E402

LOGITS = [2.0, 1.0, 0.0, -1.0, -2.0]


def draw(prompt: tuple[int, ...] = (), **sampling: Any) -> Draw:
    defaults: dict[str, Any] = {"temperature": 1.0, "seed": 1}
    return Draw(Sampling(**(defaults | sampling)), prompt=prompt)


def one(chosen: Draw) -> int:
    tokens, _ = choose(torch.tensor([LOGITS]), [chosen])
    return tokens[0]


def shares(times: int = 4000, **sampling: Any) -> dict[int, float]:
    chosen = draw(**sampling)
    counts = Counter(one(chosen) for _ in range(times))
    return {token: count / times for token, count in sorted(counts.items())}


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_shares_are_the_softmax_at_the_temperature(temperature: float) -> None:
    """Drawn often, each token comes as often as it should."""
    expected = torch.softmax(torch.tensor(LOGITS) / temperature, dim=-1).tolist()

    found = shares(temperature=temperature)

    for token, share in enumerate(expected):
        assert abs(found.get(token, 0.0) - share) < 0.03


def test_temperature_zero_takes_the_likeliest() -> None:
    """Greedy."""
    assert {one(draw(temperature=0.0, seed=seed)) for seed in range(20)} == {0}


@pytest.mark.parametrize(
    ("sampling", "allowed"),
    [
        ({"top_k": 2}, {0, 1}),
        ({"top_k": 1}, {0}),
        ({"top_p": 0.6}, {0}),
        ({"top_p": 0.7}, {0, 1}),
        ({"top_p": 1e-9}, {0}),
        ({"min_p": 0.2}, {0, 1}),
        ({"min_p": 1.0}, {0}),
        ({"top_k": 3, "top_p": 0.95, "min_p": 0.01}, {0, 1, 2}),
    ],
)
def test_truncation_leaves_the_likely_tokens(sampling: dict[str, Any], allowed: set[int]) -> None:
    """The shares are .64 .23 .09 .03 .01: what is cut off never comes, what stays does."""
    assert set(shares(times=600, **sampling)) == allowed


def test_a_bias_can_forbid_and_force() -> None:
    """Logit bias is added before anything else."""
    assert 0 not in shares(times=200, logit_bias={0: -100.0})
    assert set(shares(times=200, logit_bias={4: 100.0})) == {4}


def test_penalties_push_tokens_away_that_were_used() -> None:
    """Presence once, frequency each time, repetition also for the prompt."""
    presence = draw(temperature=0.0, presence_penalty=1.5)
    assert [one(presence) for _ in range(3)] == [0, 1, 0]
    frequency = draw(temperature=0.0, frequency_penalty=0.7)
    assert [one(frequency) for _ in range(4)] == [0, 0, 1, 0]
    repetition = draw(prompt=(0,), temperature=0.0, repetition_penalty=3.0)
    assert one(repetition) == 1


def test_an_answer_does_not_depend_on_its_neighbours() -> None:
    """The same answer alone and in a batch with every other kind of sampling."""
    kinds: list[dict[str, Any]] = [
        {},
        {"temperature": 0.0},
        {"top_p": 0.8},
        {"top_k": 3, "min_p": 0.05},
        {"presence_penalty": 1.0},
        {"logprobs": 1},
    ]
    alone = []
    for kind in kinds:
        chosen = draw(**kind)
        alone.append([one(chosen) for _ in range(30)])

    together: list[list[int]] = [[] for _ in kinds]
    draws = [draw(**kind) for kind in kinds]
    for _ in range(30):
        tokens, _ = choose(torch.tensor([LOGITS] * len(kinds)), draws)
        for answer, token in zip(together, tokens, strict=True):
            answer.append(token)

    assert together == alone


def test_a_seed_repeats_and_no_seed_does_not() -> None:
    """Without a seed two answers differ."""
    assert [one(draw(seed=7)) for _ in range(3)] == [one(draw(seed=7))] * 3

    def run(seed: int | None) -> list[int]:
        chosen = draw(seed=seed)
        return [one(chosen) for _ in range(40)]

    assert run(5) == run(5) != run(6)
    assert run(None) != run(None)


def test_the_logprob_is_the_models_own() -> None:
    """Neither temperature nor truncation changes what the model thinks of a token."""
    chosen = draw(temperature=0.3, top_k=1, logprobs=0)
    tokens, logprobs = choose(torch.tensor([LOGITS]), [chosen])

    expected = torch.log_softmax(torch.tensor(LOGITS), dim=-1)[tokens[0]].item()
    assert logprobs[0] == pytest.approx(expected, abs=1e-6)
    assert choose(torch.tensor([LOGITS]), [draw()])[1] == [None]


def test_rounding_never_chooses_an_impossible_token() -> None:
    """Half precision and a mass that sums to less than one still give a possible token."""
    logits = torch.full((1, 50), -torch.inf, dtype=torch.bfloat16)
    logits[0, 3] = 0.0
    for seed in range(50):
        assert choose(logits, [draw(seed=seed)])[0] == [3]
        assert choose(logits, [draw(seed=seed, top_p=0.5)])[0] == [3]
